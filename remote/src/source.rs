//! What is sent: bytes, or a file of the store that is hashed while it is read.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use bytes::Bytes;
use stepwell_engine::ContentHash;

use crate::error::{Error, Result};

/// Bytes of a file read at a time.
pub(crate) const CHUNK_BYTES: usize = 1 << 20;

/// Something to send. It can be opened again for another attempt.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// Bytes in memory.
    Memory(Bytes),
    /// A file, its size and BLAKE3.
    File { path: PathBuf, bytes: u64, hash: ContentHash },
}

impl Source {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File { bytes, .. } => *bytes,
        }
    }

    pub(crate) fn open(&self) -> Result<Reader> {
        Ok(match self {
            Self::Memory(bytes) => Reader::Memory(Some(bytes.clone())),
            Self::File { path, bytes, hash } => {
                let file = File::open(path).map_err(Error::io("read", path))?;
                let (path, left, hasher) = (path.clone(), *bytes, blake3::Hasher::new());
                Reader::File(Box::new(FileReader { file, path, left, expected: *hash, hasher }))
            }
        })
    }

    /// Fails when the file is damaged: the reason why sending it broke off.
    pub(crate) fn read_again_if_damaged(&self) -> Result<()> {
        let mut reader = self.open()?;
        while reader.next()?.is_some() {}
        Ok(())
    }

    /// All of it, checked; for what is small.
    pub(crate) fn read(&self) -> Result<Bytes> {
        let mut reader = self.open()?;
        let mut all = Vec::with_capacity(self.len() as usize);
        while let Some(chunk) = reader.next()? {
            all.extend_from_slice(&chunk);
        }
        Ok(all.into())
    }
}

/// Reads a source in chunks. The last chunk of a file comes only when all of it has the expected hash, so that a file which is
/// damaged never arrives whole.
pub(crate) enum Reader {
    Memory(Option<Bytes>),
    File(Box<FileReader>),
}

pub(crate) struct FileReader {
    file: File,
    path: PathBuf,
    left: u64,
    expected: ContentHash,
    hasher: blake3::Hasher,
}

impl Reader {
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>> {
        match self {
            Self::Memory(bytes) => Ok(bytes.take().filter(|bytes| !bytes.is_empty())),
            Self::File(file) => file.next(),
        }
    }
}

impl FileReader {
    fn next(&mut self) -> Result<Option<Bytes>> {
        if self.left == 0 {
            return Ok(None);
        }
        let wanted = self.left.min(CHUNK_BYTES as u64) as usize;
        let mut chunk = vec![0; wanted];
        self.file.read_exact(&mut chunk).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => self.damaged("it is shorter than its log says".to_owned()),
            _ => Error::io("read", &self.path)(error),
        })?;
        self.hasher.update(&chunk);
        self.left -= wanted as u64;
        if self.left == 0 {
            let actual = ContentHash::from(self.hasher.finalize());
            if actual != self.expected {
                return Err(self.damaged(format!("its BLAKE3 is {actual}, and should be {}", self.expected)));
            }
        }
        Ok(Some(chunk.into()))
    }

    fn damaged(&self, fault: String) -> Error {
        Error::LocalDamaged { path: self.path.clone(), fault }
    }
}
