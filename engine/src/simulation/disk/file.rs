//! Open files of a simulated disk.

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;

use super::{Content, PAGE, SimDisk};
use crate::simulation::memory::Memory;
use crate::storage::{LockKind, Region, StorageFile};

/// An open file of a simulated disk.
pub(super) struct SimFile {
    pub disk: SimDisk,
    pub node: usize,
    pub id: u64,
}

impl std::fmt::Debug for SimFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimFile").field("node", &self.node).finish_non_exhaustive()
    }
}

impl StorageFile for SimFile {
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.disk.state();
        let outcome = state.begin();
        let taken = match &outcome {
            Ok(()) => bytes.len(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return outcome.map(|()| 0),
            // A disk that fills up or stops takes part of a write, and refuses the rest.
            Err(_) => bytes.len() / 2,
        };
        let Content::Bytes(content) = &mut state.file(self.node).content else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let from = content.len();
        content.extend_from_slice(&bytes[..taken]);
        state.file(self.node).touch(from, from + taken);
        match outcome {
            Err(error) if taken > 0 && state.stopped.is_none() => {
                state.fail_at = Some((state.operations, error.kind()));
                Ok(taken)
            }
            Err(error) => Err(error),
            Ok(()) => Ok(taken),
        }
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.begin()?;
        let (from, to) = (offset as usize, offset as usize + bytes.len());
        let file = state.file(self.node);
        let Content::Bytes(content) = &mut file.content else { return Err(io::ErrorKind::Unsupported.into()) };
        content.resize(content.len().max(to), 0);
        content[from..to].copy_from_slice(bytes);
        file.touch(from, to);
        Ok(())
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        state.begin()?;
        let content = &state.file(self.node).content;
        let from = (offset as usize).min(content.len());
        let count = bytes.len().min(content.len() - from);
        match content {
            Content::Bytes(content) => bytes[..count].copy_from_slice(&content[from..from + count]),
            Content::Mapped(memory) => bytes[..count].copy_from_slice(&memory.bytes(from, count)),
        }
        Ok(count)
    }

    fn len(&self) -> io::Result<u64> {
        let mut state = self.disk.state();
        state.begin()?;
        Ok(state.file(self.node).content.len() as u64)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.begin()?;
        if let Content::Bytes(content) = &mut state.file(self.node).content {
            content.resize(bytes as usize, 0);
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let outcome = state.begin();
        let file = state.file(self.node);
        match &outcome {
            Ok(()) => file.sync(),
            Err(_) => file.forget(0, usize::MAX),
        }
        outcome
    }

    fn try_lock(&self, kind: LockKind) -> io::Result<bool> {
        let mut state = self.disk.state();
        state.begin()?;
        let locks = &mut state.file(self.node).locks;
        let excluded = |held: LockKind| held == LockKind::Exclusive || kind == LockKind::Exclusive;
        if locks.iter().any(|(owner, held)| *owner != self.id && excluded(*held)) {
            return Ok(false);
        }
        locks.push((self.id, kind));
        Ok(true)
    }

    fn links(&self) -> io::Result<u64> {
        Ok(self.disk.state().file(self.node).links)
    }

    fn map(&self, bytes: u64) -> io::Result<Box<dyn Region>> {
        let mut state = self.disk.state();
        state.begin()?;
        let memory = Arc::new(Memory::new(bytes as usize));
        state.file(self.node).content = Content::Mapped(Arc::clone(&memory));
        Ok(Box::new(SimRegion { disk: self.disk.clone(), node: self.node, memory }))
    }

    fn descriptor(&self) -> Option<RawFd> {
        None
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let id = self.id;
        self.disk.state().file(self.node).locks.retain(|(owner, _)| *owner != id);
    }
}

struct SimRegion {
    disk: SimDisk,
    node: usize,
    memory: Arc<Memory>,
}

impl Region for SimRegion {
    fn base(&self) -> std::ptr::NonNull<u8> {
        self.memory.base()
    }

    fn len(&self) -> usize {
        self.memory.len()
    }

    fn sync(&self, offset: usize, bytes: usize) -> io::Result<()> {
        let mut state = self.disk.state();
        let outcome = state.begin();
        let (from, to) = (offset / PAGE * PAGE, (offset + bytes).next_multiple_of(PAGE).min(self.memory.len()));
        let file = state.file(self.node);
        match &outcome {
            Ok(()) => {
                let live = file.content.bytes();
                file.sync_range(&live, from, to);
                // The reserved length is part of what a sync makes durable.
                file.durable.resize(live.len(), 0);
            }
            Err(_) => file.forget(from, to),
        }
        outcome
    }

    fn populate(&self, _offset: usize, _bytes: usize) {}
}
