//! A folder: of this machine, or mounted from elsewhere.

use std::io::{Read, Write};
use std::path::PathBuf;

use bytes::Bytes;
use futures::StreamExt;

use super::{Backend, Chunks, Mode, Put};
use crate::dir::Root;
use crate::error::{Error, Result};
use crate::key::Key;
use crate::source::{CHUNK_BYTES, Source};

/// A remote in a folder.
pub(crate) struct Folder {
    root: Root,
}

impl Folder {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { root: Root::new(path) }
    }
}

#[async_trait::async_trait(?Send)]
impl Backend for Folder {
    async fn list(&self, folder: &str) -> Result<Vec<String>> {
        tokio::task::block_in_place(|| self.root.list(folder))
    }

    async fn size(&self, key: &Key) -> Result<Option<u64>> {
        self.root.size(key.as_str())
    }

    async fn get(&self, key: &Key) -> Result<Option<Chunks>> {
        let Some(mut file) = self.root.open(key.as_str())? else { return Ok(None) };
        let path = self.root.path().join(key.as_str());
        let chunks = std::iter::from_fn(move || {
            let mut chunk = vec![0; CHUNK_BYTES];
            match tokio::task::block_in_place(|| file.read(&mut chunk)) {
                Ok(0) => None,
                Ok(read) => {
                    chunk.truncate(read);
                    Some(Ok(Bytes::from(chunk)))
                }
                Err(error) => Some(Err(Error::io("read", &path)(error))),
            }
        });
        Ok(Some(futures::stream::iter(chunks).boxed()))
    }

    async fn put(&self, key: &Key, source: &Source, mode: Mode) -> Result<Put> {
        let path = self.root.path().join(key.as_str());
        tokio::task::block_in_place(|| {
            let mut reader = source.open()?;
            let mut temp = self.root.create(key.as_str())?;
            while let Some(chunk) = reader.next()? {
                temp.file.write_all(&chunk).map_err(Error::io("write", &path))?;
            }
            Ok(if temp.publish(mode == Mode::Overwrite)? { Put::Created } else { Put::Existed })
        })
    }
}
