//! The kinds of remotes, behind one small trait.

mod cloud;
mod folder;
mod http;
mod sftp;

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;

use crate::credentials::Credentials;
use crate::entries::RemoteEntry;
use crate::error::Result;
use crate::key::Key;
use crate::location::{Kind, Location};
use crate::source::Source;

/// What is read, in chunks.
pub(crate) type Chunks = BoxStream<'static, Result<Bytes>>;

/// What becomes of a file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It stays: somebody else was first.
    IfAbsent,
    /// It is replaced: it has another size than what its name stands for.
    Overwrite,
}

/// What became of a file that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    Created,
    Existed,
}

/// What is needed of a remote. Errors that may go away are [`Error::Unreachable`](crate::Error), which the caller tries again.
#[async_trait::async_trait(?Send)]
pub(crate) trait Backend: Send + Sync {
    /// The names below a folder, as paths from the remote's root.
    async fn list(&self, folder: &str) -> Result<Vec<String>>;

    /// Size of a file; `None` when it is not there.
    async fn size(&self, key: &Key) -> Result<Option<u64>>;

    /// Reads a file; `None` when it is not there.
    async fn get(&self, key: &Key) -> Result<Option<Chunks>>;

    /// Writes a file whole or not at all, as far as the remote can do that.
    async fn put(&self, key: &Key, source: &Source, mode: Mode) -> Result<Put>;

    /// Enters parts of logs in the list of a remote that cannot list its files.
    async fn announce(&self, _keys: &[Key]) -> Result<()> {
        Ok(())
    }
}

/// Opens the remote at a location. Nothing is sent yet, except that SFTP connects.
pub(crate) async fn open(entry: &RemoteEntry, credentials: &Credentials) -> Result<Arc<dyn Backend>> {
    let location = Location::parse(&entry.url)?;
    Ok(match &location.kind {
        Kind::Folder(path) => Arc::new(folder::Folder::new(path.clone())),
        Kind::Cloud => Arc::new(cloud::Cloud::open(&location, entry, credentials)?),
        Kind::Http => Arc::new(http::Http::open(&location, credentials)?),
        Kind::Sftp => Arc::new(sftp::Sftp::open(&location, credentials).await?),
    })
}
