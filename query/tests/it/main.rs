//! SQL over segments and live rows, from plain data: no engine runs here.

mod answers;
mod damage;
mod errors;
mod floats;
mod formats;
mod functions;
mod fuzz;
mod fuzz_target;
mod guide;
mod hostile;
mod lineage;
mod packs;
mod parameters;
mod policy;
mod pruning;
mod scan_random;
mod store;
mod support;
mod table_functions;
mod tables;
