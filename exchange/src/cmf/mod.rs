//! CMF's reading of an ML Metadata store: pipelines, stages, executions, artifacts, and the files beside the store.

mod document;
mod files;
mod metrics_file;
mod names;
mod view;

pub use document::{document, document_text};
pub use files::{FileSource, Found, NotFound};
pub(crate) use files::{is_plain as files_are_plain, md5_of};
pub use metrics_file::{MetricsFile, read_metrics_file, write_metrics_file};
pub use names::{ArtifactName, stage_of};
pub use view::{
    CONTEXT_PIPELINE, CONTEXT_STAGE, DATASLICE, ENVIRONMENT, Listing, METRICS, STEP_METRICS, View, list_artifacts,
    list_executions, list_pipelines, show_artifacts, show_executions,
};
