//! The two signals by which a disk can end a program that stores to mapped files and writes: SIGBUS and SIGXFSZ.

mod bus;
mod file_size;
mod table;

pub(crate) use bus::{Guard, after_fork_in_child};
pub(crate) use file_size::let_writes_fail;
