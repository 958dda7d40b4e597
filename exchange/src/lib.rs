//! Metadata from elsewhere, and back: CMF, ML Metadata, DVC.
//!
//! - [`mlmd`] mirrors an ML Metadata store row for row: read from an SQLite file, written to a new one.
//! - [`cmf`] reads such a mirror as CMF does, and the files that CMF keeps beside it.

pub mod cmf;
mod dvc;
pub mod error;
mod export;
mod import;
pub mod mlmd;
mod objects;

pub use dvc::{DvcOptions, import_dvc};
pub use error::{Error, Result};
pub use export::{ExportReport, export_cmf, mirror_of};
pub use import::{CmfOptions, ImportReport, Note, import_cmf};
