//! A disk in memory that can stop after any operation, and that loses, keeps or reorders what was not synced.
//!
//! What a power cut leaves, by the rules that POSIX gives and no more:
//! * content of a file: each 512-byte sector that was changed since it was synced last is as it was or as it is;
//! * length of a file: as it was, as it is, or between; what is missing of the content then reads as zeros;
//! * names in a folder: each creation, removal and rename since the folder was synced last has happened or has not, in any
//!   order, except that two changes of one name stay in order and a rename is one change;
//! * a file whose folder lost its name is gone, synced or not.
//!
//! A sync that fails takes nothing to the device, and a later one does not make up for it: the kernel forgets which pages
//! it could not write (Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020).

mod file;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::memory::Memory;
use super::random::Random;
use crate::storage::{Entry, FileSystem, LockKind, Storage, StorageFile};
use file::SimFile;

/// Unit in which a device writes.
const SECTOR: usize = 512;
/// Unit in which the page cache keeps a file.
const PAGE: usize = 4096;

/// A simulated disk. Clones are the same disk.
#[derive(Clone)]
pub(super) struct SimDisk(Arc<Mutex<State>>);

struct State {
    nodes: Vec<Node>,
    /// Operations so far.
    operations: u64,
    /// Nothing happens any more from this operation on.
    stop_at: Option<u64>,
    /// The operation that fails, once, with this error.
    fail_at: Option<(u64, io::ErrorKind)>,
    /// What the disk held when it stopped.
    stopped: Option<Vec<Node>>,
}

#[derive(Clone)]
enum Node {
    Folder(Folder),
    File(FileNode),
}

#[derive(Clone, Default)]
struct Folder {
    names: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    /// Changes since the last sync: the names they touch, and what they are bound to afterwards.
    changes: Vec<Vec<(String, Option<usize>)>>,
}

#[derive(Clone, Default)]
struct FileNode {
    content: Content,
    durable: Vec<u8>,
    /// Sectors that a failed sync left behind: no later sync writes them.
    forgotten: BTreeSet<usize>,
    locks: Vec<(u64, LockKind)>,
    links: u64,
}

#[derive(Clone)]
enum Content {
    Bytes(Vec<u8>),
    Mapped(Arc<Memory>),
}

impl Default for Content {
    fn default() -> Self {
        Self::Bytes(Vec::new())
    }
}

impl Content {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.clone(),
            Self::Mapped(memory) => memory.bytes(0, memory.len()),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Mapped(memory) => memory.len(),
        }
    }
}

impl std::fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimDisk").finish_non_exhaustive()
    }
}

impl SimDisk {
    /// An empty disk.
    pub(super) fn new() -> Self {
        Self::holding(vec![Node::Folder(Folder::default())])
    }

    fn holding(nodes: Vec<Node>) -> Self {
        Self(Arc::new(Mutex::new(State { nodes, operations: 0, stop_at: None, fail_at: None, stopped: None })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops the disk after `operations` more.
    pub(super) fn stop_after(&self, operations: u64) {
        let mut state = self.state();
        state.stop_at = Some(state.operations + operations);
    }

    /// Has the operation after `operations` more fail, once.
    pub(super) fn fail_after(&self, operations: u64, kind: io::ErrorKind) {
        let mut state = self.state();
        state.fail_at = Some((state.operations + operations, kind));
    }

    /// Whether an operation has failed as it was to; none fails any more.
    pub(super) fn take_failure(&self) -> bool {
        self.state().fail_at.take().is_none()
    }

    /// Stops it now.
    pub(super) fn stop(&self) {
        self.state().stop();
    }

    pub(super) fn has_stopped(&self) -> bool {
        self.state().stopped.is_some()
    }

    /// The disk after the death of the process at the moment it stopped: nothing is lost, locks are let go.
    pub(super) fn after_death(&self) -> Self {
        let mut nodes = self.frozen();
        for node in &mut nodes {
            if let Node::File(file) = node {
                file.content = Content::Bytes(file.content.bytes());
                file.locks.clear();
            }
        }
        Self::holding(nodes)
    }

    /// The disk after a power cut at the moment it stopped.
    pub(super) fn after_power_cut(&self, random: &mut Random) -> Self {
        let mut nodes = self.frozen();
        for node in &mut nodes {
            match node {
                Node::Folder(folder) => folder.cut(random),
                Node::File(file) => file.cut(random),
            }
        }
        Self::holding(nodes)
    }

    fn frozen(&self) -> Vec<Node> {
        let mut state = self.state();
        state.stop();
        state.stopped.clone().unwrap_or_default()
    }
}

impl Folder {
    fn change(&mut self, names: Vec<(String, Option<usize>)>) {
        for (name, node) in &names {
            match node {
                Some(node) => drop(self.names.insert(name.clone(), *node)),
                None => drop(self.names.remove(name)),
            }
        }
        self.changes.push(names);
    }

    fn cut(&mut self, random: &mut Random) {
        let mut lost: BTreeSet<String> = BTreeSet::new();
        let mut names = self.durable.clone();
        for change in self.changes.drain(..) {
            if random.coin() || change.iter().any(|(name, _)| lost.contains(name)) {
                lost.extend(change.into_iter().map(|(name, _)| name));
                continue;
            }
            for (name, node) in change {
                match node {
                    Some(node) => drop(names.insert(name, node)),
                    None => drop(names.remove(&name)),
                }
            }
        }
        self.durable.clone_from(&names);
        self.names = names;
    }
}

impl FileNode {
    fn sync(&mut self) {
        let live = self.content.bytes();
        self.sync_range(&live, 0, live.len());
        self.durable.truncate(live.len());
    }

    fn sync_range(&mut self, live: &[u8], from: usize, to: usize) {
        if self.durable.len() < to {
            self.durable.resize(to, 0);
        }
        for sector in from / SECTOR..to.div_ceil(SECTOR) {
            if self.forgotten.contains(&sector) {
                continue;
            }
            let range = sector * SECTOR..(sector * SECTOR + SECTOR).min(to);
            self.durable[range.clone()].copy_from_slice(&live[range]);
        }
    }

    /// A sync failed: what it should have written is taken for written.
    fn forget(&mut self, from: usize, to: usize) {
        let live = self.content.bytes();
        let to = to.min(live.len());
        for sector in from / SECTOR..to.div_ceil(SECTOR) {
            let range = sector * SECTOR..(sector * SECTOR + SECTOR).min(to);
            if self.durable.get(range.clone()) != Some(&live[range]) {
                self.forgotten.insert(sector);
            }
        }
    }

    /// Pages that are written to are part of the next sync again.
    fn touch(&mut self, from: usize, to: usize) {
        self.forgotten
            .retain(|sector| *sector < from / PAGE * (PAGE / SECTOR) || *sector >= to.div_ceil(PAGE) * (PAGE / SECTOR));
    }

    fn cut(&mut self, random: &mut Random) {
        let live = self.content.bytes();
        let mut left = std::mem::take(&mut self.durable);
        if left.len() != live.len() {
            let length = match random.below(3) {
                0 => left.len(),
                1 => live.len(),
                _ => left.len().min(live.len()) + random.below(left.len().abs_diff(live.len()) as u64 + 1) as usize,
            };
            left.resize(length, 0);
        }
        // Most cuts tear a few sectors, some lose or keep nearly all.
        let keep = [0, 1, 8, 15, 16][random.below(5) as usize];
        for sector in 0..left.len().min(live.len()).div_ceil(SECTOR) {
            let range = sector * SECTOR..(sector * SECTOR + SECTOR).min(left.len()).min(live.len());
            if left[range.clone()] != live[range.clone()]
                && random.below(16) < keep
                && !self.forgotten.contains(&sector)
            {
                left[range.clone()].copy_from_slice(&live[range]);
            }
        }
        self.durable.clone_from(&left);
        self.content = Content::Bytes(left);
        self.forgotten.clear();
        self.locks.clear();
    }
}

impl State {
    fn stop(&mut self) {
        if self.stopped.is_none() {
            // Memory that is mapped can be stored to after the machine has stopped; what counts is what it was then.
            let mut nodes = self.nodes.clone();
            for node in &mut nodes {
                if let Node::File(file) = node {
                    file.content = Content::Bytes(file.content.bytes());
                }
            }
            self.stopped = Some(nodes);
        }
    }

    /// Counts an operation; an error when the disk has stopped or the operation was chosen to fail.
    fn begin(&mut self) -> io::Result<()> {
        if self.stopped.is_some() {
            return Err(io::Error::other("the simulated machine has stopped"));
        }
        self.operations += 1;
        if self.stop_at.is_some_and(|stop_at| self.operations > stop_at) {
            self.stop();
            return Err(io::Error::other("the simulated machine has stopped"));
        }
        match self.fail_at {
            Some((at, kind)) if self.operations > at => {
                self.fail_at = None;
                Err(kind.into())
            }
            _ => Ok(()),
        }
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        let mut node = 0;
        for component in path.components() {
            let Component::Normal(name) = component else { continue };
            let Node::Folder(folder) = &self.nodes[node] else { return Err(io::ErrorKind::NotADirectory.into()) };
            node = *folder.names.get(&*name.to_string_lossy()).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(node)
    }

    fn folder(&mut self, path: &Path) -> io::Result<&mut Folder> {
        let node = self.find(path)?;
        match &mut self.nodes[node] {
            Node::Folder(folder) => Ok(folder),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn file(&mut self, node: usize) -> &mut FileNode {
        match &mut self.nodes[node] {
            Node::File(file) => file,
            Node::Folder(_) => unreachable!("folders are not opened as files"),
        }
    }

    /// Folder and name of a path.
    fn place(path: &Path) -> (&Path, String) {
        (path.parent().unwrap_or(Path::new("/")), path.file_name().unwrap_or_default().to_string_lossy().into_owned())
    }

    fn add(&mut self, path: &Path, node: Node) -> io::Result<usize> {
        let (folder, name) = Self::place(path);
        if self.folder(folder)?.names.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.nodes.push(node);
        let number = self.nodes.len() - 1;
        self.folder(folder)?.change(vec![(name, Some(number))]);
        Ok(number)
    }
}

impl SimDisk {
    fn handle(&self, node: usize) -> Box<dyn StorageFile> {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
        let id = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Box::new(SimFile { disk: self.clone(), node, id })
    }

    fn open_node(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        let mut state = self.state();
        state.begin()?;
        let node = state.find(path)?;
        drop(state);
        Ok(self.handle(node))
    }
}

impl Storage for SimDisk {
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        let mut state = self.state();
        state.begin()?;
        let node = state.add(path, Node::File(FileNode { links: 1, ..FileNode::default() }))?;
        drop(state);
        Ok(self.handle(node))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        let mut state = self.state();
        state.begin()?;
        let node = match state.find(path) {
            Ok(node) => {
                state.file(node).content = Content::default();
                node
            }
            Err(_) => state.add(path, Node::File(FileNode { links: 1, ..FileNode::default() }))?,
        };
        drop(state);
        Ok(self.handle(node))
    }

    fn open_write(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        self.open_node(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        self.open_node(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.begin()?;
        let node = state.find(from)?;
        let ((folder, old), (_, new)) = (State::place(from), State::place(to));
        state.folder(folder)?.change(vec![(old, None), (new, Some(node))]);
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.begin()?;
        let node = state.find(from)?;
        let (folder, new) = State::place(to);
        if state.folder(folder)?.names.contains_key(&new) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.folder(folder)?.change(vec![(new, Some(node))]);
        state.file(node).links += 1;
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.begin()?;
        let node = state.find(path)?;
        let (folder, name) = State::place(path);
        state.folder(folder)?.change(vec![(name, None)]);
        let file = state.file(node);
        file.links = file.links.saturating_sub(1);
        Ok(())
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.begin()?;
        if !state.folder(path)?.names.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let (folder, name) = State::place(path);
        state.folder(folder)?.change(vec![(name, None)]);
        Ok(())
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.begin()?;
        state.add(path, Node::Folder(Folder::default())).map(drop)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        let mut state = self.state();
        state.begin()?;
        let names = state.folder(folder)?.names.clone();
        let entry =
            |(name, node): (String, usize)| Entry { name, is_folder: matches!(state.nodes[node], Node::Folder(_)) };
        Ok(names.into_iter().map(entry).collect())
    }

    fn exists(&self, path: &Path) -> bool {
        self.state().find(path).is_ok()
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let failed = state.begin();
        let folder = state.folder(path)?;
        if failed.is_ok() {
            folder.durable.clone_from(&folder.names);
            folder.changes.clear();
        }
        failed
    }

    fn file_system(&self, _path: &Path) -> FileSystem {
        FileSystem { name: "simulated", is_remote: false }
    }
}
