//! Remotes: committed runs and artifacts pushed to, and pulled from, a folder, S3, SFTP or HTTP.
//!
//! `docs/REMOTES.md` says how a remote is laid out and what a reader sees after a crash at each step. In short:
//!
//! * Every name at a remote ends with the BLAKE3 of what it holds, and is written once, if it is absent. Pushes commute.
//! * A *part* holds lines of one event log. It is written after everything that its lines name: whoever sees a part finds the
//!   segments and objects behind it.
//! * What is pulled is hashed while it streams into a temporary file, and gets its name in the store only when the hash fits.
//!
//! ```no_run
//! use stepwell_engine::Store;
//! use stepwell_remote::{PushOptions, Remote, RemoteEntry};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = Store::open(".stepwell")?;
//! let remote = Remote::open(&RemoteEntry::new("origin", "s3://bucket/team"))?;
//! let report = remote.push(&store, &PushOptions::default(), &|_| {})?;
//! assert!(report.failures.is_empty());
//! # Ok(())
//! # }
//! ```

mod backend;
pub mod credentials;
mod dir;
pub mod entries;
pub mod error;
mod history;
mod key;
mod location;
mod log;
mod part;
mod pull;
mod push;
mod remote;
mod report;
mod retry;
mod source;
mod transfer;

pub use credentials::Credentials;
pub use entries::RemoteEntry;
pub use error::{Error, Result};
pub use location::{Kind, Location};
pub use pull::PullOptions;
pub use push::PushOptions;
pub use remote::Remote;
pub use report::{Failure, FailureKind, Progress, Report, Uncommitted};
