//! SQL over segments and live rows, from plain data: no engine runs here.

mod answers;
mod damage;
mod errors;
mod floats;
mod formats;
mod functions;
mod guide;
mod policy;
mod pruning;
mod store;
mod support;
mod tables;
