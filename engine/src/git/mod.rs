//! The Git repository that a run was started from, read from its files: commit, branch, remote, and whether something in it
//! was changed. Nothing is written, and no process started: not `git`, and none of the filters that a repository may name.
//!
//! [`head_of`] reads three small files. [`is_changed`] looks at every tracked file, and belongs on a thread that nobody waits for.

mod attributes;
mod changes;
mod config;
mod index;
mod refs;
mod repository;
mod store;

#[cfg(test)]
mod tests;

pub use changes::{Limits, is_changed};
pub(crate) use refs::head_of_current_folder;
pub use refs::{Head, head_of};
