//! An ML Metadata store, row for row: read from an SQLite file, written to a new one.
//!
//! Read are the schema versions 8 to 10 ([`read::SCHEMA_VERSIONS`]), of ml-metadata 1.6 and newer; written is version 10, of
//! ml-metadata 1.15 to 1.21.

mod model;
mod read;
mod write;

pub use model::{
    ArtifactRow, BUILT_IN_TYPES, ContextRow, EventRow, ExecutionRow, LinkRow, MlmdStore, PathStep, Property,
    SCHEMA_VERSION, TypeKind, TypeRow, Value, declared_text, property,
};
pub use read::SCHEMA_VERSIONS;
