//! Journals outside the store, in a folder of this machine: for a store on a file system that must not be mapped, or by
//! choice.
//!
//! ```text
//! <scratch>/stepwell-<uid>/<run id>/<writer>/   locked (flock) for as long as the writer lives
//!     <ring>.journal
//!     store                                     the path of the store, as text
//! ```
//!
//! 1. `stepwell-<uid>` belongs to the user with that number, and nobody else may write to it: in a folder such as
//!    `/var/tmp`, which all users share, others could put journals there, or links to files of ours.
//! 2. An event log names the folder, and whoever can write to a shared store can write an event log. Only a folder of the
//!    form above, of that run and that writer, is believed.
//! 3. The lock is on the folder, not on a file in it: what cleans up temporary folders by the age of files leaves a locked
//!    folder alone (tmpfiles.d), and there is no file that has to be kept young. It is local, so that it works where the
//!    store's file system has no locks, or does not carry them to other machines.
//! 4. A store may be copied while a writer is at work or dead. The copy names the same folder; its recovery reads the
//!    journals, and leaves them to the store they were written for, which `store` names.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::config::EngineConfig;
use crate::error::{Error, Result};
use crate::event_log::take_from_readers;
use crate::events::WriterStarted;
use crate::fork::LockFile;
use crate::ids::{RunId, WriterId};
use crate::layout::Layout;
use crate::storage::{FileSystem, LockKind};

/// Name of the variable that sets [`EngineConfig::journal_folder`].
pub(crate) const JOURNAL_DIR: &str = "STEPWELL_JOURNAL_DIR";
const PREFIX: &str = "stepwell-";
/// File that names the store.
const STORE_FILE: &str = "store";
/// Most times the folder of a run is made again because another writer of the run removed it when it ended.
const TRIES_MAX: usize = 8;

/// Oldest a record gets before its segment is written to a remote store. With the machine goes what is only in its scratch,
/// so the store is told more often than one on a local disk, where the journal outlives all but the disk. Shorter would mean
/// more small files on file systems that are slow with them: at 10 s there are 8,640 a day for each metrics name and writer.
pub(crate) const REMOTE_SEGMENT_AGE_MAX: Duration = Duration::from_secs(10);

/// The folder of one writer's journals, locked.
#[derive(Debug)]
pub(crate) struct Scratch {
    _lock: LockFile,
}

/// What is found where a writer has its journals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Somebody holds the lock.
    Held,
    /// Nobody does.
    Free,
    /// There is no such folder.
    Gone,
    /// It is the folder of another user, or not of the form it has to have.
    Closed,
}

/// What came of taking the folder of a dead writer over.
pub(crate) enum Takeover {
    Taken(Scratch),
    Gone,
    /// Somebody else has it, or it is not ours to take.
    Refused,
}

impl WriterStarted {
    /// Folder of this writer's journals, in the store or in scratch.
    pub(crate) fn journal_folder(&self, layout: &Layout) -> PathBuf {
        layout.journal_folder(self.run_id, self.writer, self.journals.as_deref())
    }
}

/// Chooses where a new writer has its journals: `None` for the store itself, otherwise the folder to hand to
/// [`Scratch::create`].
///
/// # Errors
/// [`Error::NetworkFileSystem`] when the store's file system must not be mapped and there is no local folder;
/// [`Error::InvalidSetting`] when the one that was set cannot be used.
pub(crate) fn choose(
    config: &EngineConfig,
    layout: &Layout,
    store: &FileSystem,
    (run, writer): (RunId, WriterId),
) -> Result<Option<PathBuf>> {
    let of_writer = |own: PathBuf| own.join(run.to_string()).join(writer.to_string());
    let is_remote = |folder: &Path| layout.storage().file_system(folder).is_remote;
    if let Some(root) = &config.journal_folder {
        let refused = |fault| Error::InvalidSetting { setting: JOURNAL_DIR, value: root.display().to_string(), fault };
        let made = std::path::absolute(root).and_then(|root| {
            DirBuilder::new().recursive(true).mode(0o700).create(&root)?;
            if is_remote(&root) {
                let fault = "it is on a network or FUSE file system too; name a folder on a disk of this machine";
                return Err(io::Error::other(fault));
            }
            own_folder(&root)
        });
        return made.map(|own| Some(of_writer(own))).map_err(|error| refused(error.to_string()));
    }
    if !store.is_remote {
        return Ok(None);
    }
    let candidates = candidates();
    let mut local = candidates.iter().filter(|root| root.is_absolute() && root.is_dir() && !is_remote(root));
    match local.find_map(|root| own_folder(root).ok()) {
        Some(own) => Ok(Some(of_writer(own))),
        None => Err(Error::NetworkFileSystem { path: layout.root().to_owned() }),
    }
}

/// Folders for journals when none is set. In this order because /var/tmp outlives a restart of the machine and a batch job, the
/// folder for temporary files may not, and /dev/shm never does.
fn candidates() -> [PathBuf; 3] {
    [PathBuf::from("/var/tmp"), std::env::temp_dir(), PathBuf::from("/dev/shm")]
}

/// The folder of the journals of a writer whose event log does not name it, if this user has one where new ones would be made.
pub(crate) fn find(run: RunId, writer: WriterId) -> Option<PathBuf> {
    let set = std::env::var_os(JOURNAL_DIR).and_then(|root| std::path::absolute(root).ok());
    let own = format!("{PREFIX}{}", rustix::process::geteuid().as_raw());
    let folders = set.into_iter().chain(candidates()).map(|root| root.join(&own));
    let mut folders = folders.map(|own| own.join(run.to_string()).join(writer.to_string()));
    folders.find(|folder| folder.is_dir())
}

/// Says on stderr, once per process and store, where the journals of a remote store are and what that means.
pub(crate) fn announce(layout: &Layout, store: &FileSystem, folder: &Path, segment_age: Duration) {
    static TOLD: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    if !store.is_remote || !TOLD.lock().unwrap_or_else(PoisonError::into_inner).insert(layout.root().to_owned()) {
        return;
    }
    let own = folder.ancestors().nth(2).unwrap_or(folder);
    let memory = layout.storage().file_system(own).name == "tmpfs";
    let loss = if memory { "a restart or the loss of this machine" } else { "the loss of this machine" };
    eprintln!(
        "stepwell: {} lies on {}, which must not be mapped: journals are in {}; records reach the store when their segment \
         is written (every {} s, at commit and at finish), and until then survive the end of this process but not {loss}",
        layout.root().display(),
        store.name,
        own.display(),
        segment_age.as_secs_f64(),
    );
}

impl Scratch {
    /// Creates the folder that [`choose`] chose, and takes its lock.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn create(layout: &Layout, folder: &Path) -> Result<Self> {
        let create = || {
            make_with_parent(folder)?;
            let lock = open_to_lock(folder)?;
            if !lock.try_lock(LockKind::Exclusive)? {
                return Err(io::Error::other("another process holds the lock of a folder that was just created"));
            }
            std::fs::write(folder.join(STORE_FILE), layout.root().as_os_str().as_encoded_bytes())?;
            Ok(Self { _lock: lock })
        };
        create().inspect_err(|_| remove(folder)).map_err(Error::io("create the journal folder", folder))
    }

    /// Takes the folder of a dead writer over.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn take_over(folder: &Path, run: RunId, writer: WriterId) -> Result<Takeover> {
        let failed = || Error::io("lock the journal folder", folder);
        let lock = match open(folder, run, writer).map_err(failed())? {
            Ok(lock) => lock,
            Err(Found::Gone) => return Ok(Takeover::Gone),
            Err(_) => return Ok(Takeover::Refused),
        };
        let take = || lock.try_lock(LockKind::Exclusive).map_err(failed());
        let is_held = || Ok(look(folder, run, writer)? != Found::Free);
        // Whoever had it before may have recovered the writer and removed the folder since it was opened. The name of a writer
        // is given once, so that a folder that is there is the one that was opened.
        if !take_from_readers(take, is_held)? || !folder.exists() {
            return Ok(Takeover::Refused);
        }
        Ok(Takeover::Taken(Self { _lock: lock }))
    }
}

/// Whether the journals in the folder were written for the store of `layout`, and not for one that it is a copy of.
pub(crate) fn is_of(folder: &Path, layout: &Layout, run: RunId, writer: WriterId) -> bool {
    let Ok(root) = std::fs::read_to_string(folder.join(STORE_FILE)) else {
        // The writer died before it wrote the name, and so before there was an event log to copy.
        return true;
    };
    // A store can be mounted in two places.
    Path::new(&root) == layout.root() || is_same(&layout.events(run, writer), &Layout::new(root).events(run, writer))
}

/// Looks at the folder that an event log names.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn look(folder: &Path, run: RunId, writer: WriterId) -> Result<Found> {
    let failed = || Error::io("look at the journal folder", folder);
    match open(folder, run, writer).map_err(failed())? {
        // A shared lock is enough to ask, and two readers that ask at once do not take each other for the writer.
        Ok(lock) => lock.try_lock(LockKind::Shared).map(|free| if free { Found::Free } else { Found::Held }),
        Err(found) => Ok(found),
    }
    .map_err(failed())
}

/// Removes the folder of a writer whose journals are gone, and that of the run when it was the last one.
pub(crate) fn remove(folder: &Path) {
    let _ = std::fs::remove_file(folder.join(STORE_FILE));
    if std::fs::remove_dir(folder).is_ok()
        && let Some(run) = folder.parent()
    {
        // Another writer of the run may be at work in it.
        let _ = std::fs::remove_dir(run);
    }
}

/// The folders whose names lead to the journals, the innermost first.
pub(crate) fn folders_above(folder: &Path) -> impl Iterator<Item = &Path> {
    folder.ancestors().take(4)
}

/// Opens the folder, when it is one whose journals this process may read and remove.
fn open(folder: &Path, run: RunId, writer: WriterId) -> io::Result<Result<LockFile, Found>> {
    let own = folder.ancestors().nth(2).filter(|own| own.join(run.to_string()).join(writer.to_string()) == folder);
    let Some(own) = own.filter(|own| own.is_absolute() && owner_of(own).is_some()) else {
        return Ok(Err(Found::Closed));
    };
    match check_owner(own).and_then(|()| open_to_lock(folder)) {
        Ok(lock) => Ok(Ok(lock)),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound => Ok(Err(Found::Gone)),
            io::ErrorKind::PermissionDenied | io::ErrorKind::NotADirectory => Ok(Err(Found::Closed)),
            _ => Err(error),
        },
    }
}

fn open_to_lock(folder: &Path) -> io::Result<LockFile> {
    LockFile::open(|| Ok(Box::new(File::open(folder)?)))
}

/// The folder of this user below a folder that others may share.
fn own_folder(root: &Path) -> io::Result<PathBuf> {
    let own = root.join(format!("{PREFIX}{}", rustix::process::geteuid().as_raw()));
    // Its name is a field of the event log, which is text.
    if own.to_str().is_none() {
        return Err(io::Error::other("its name is not UTF-8"));
    }
    make(&own)?;
    check_owner(&own)?;
    rustix::fs::access(&own, rustix::fs::Access::WRITE_OK)?;
    Ok(own)
}

fn owner_of(own: &Path) -> Option<u32> {
    own.file_name()?.to_str()?.strip_prefix(PREFIX)?.parse().ok()
}

fn check_owner(own: &Path) -> io::Result<()> {
    let metadata = std::fs::symlink_metadata(own)?;
    let writable_by_others = metadata.mode() & 0o022 != 0;
    if metadata.is_dir() && Some(metadata.uid()) == owner_of(own) && !writable_by_others {
        return Ok(());
    }
    let fault = format!("{} is not a folder that its user alone can write to", own.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, fault))
}

fn make(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Makes the folder of a writer, which must not exist, and that of its run.
fn make_with_parent(folder: &Path) -> io::Result<()> {
    let mut made = Ok(());
    for _ in 0..TRIES_MAX {
        make(folder.parent().unwrap_or(folder))?;
        made = DirBuilder::new().mode(0o700).create(folder);
        match &made {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            _ => break,
        }
    }
    made
}

fn is_same(a: &Path, b: &Path) -> bool {
    let which = |path| std::fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()));
    matches!((which(a), which(b)), (Ok(a), Ok(b)) if a == b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(root: &Path) -> (PathBuf, RunId, WriterId) {
        let (run, writer) = (RunId::generate(), WriterId { rank: 0, attempt: 0, nonce: 7 });
        let own = own_folder(root).expect("own folder");
        (own.join(run.to_string()).join(writer.to_string()), run, writer)
    }

    #[test]
    fn a_folder_is_held_for_as_long_as_its_writer_lives_and_taken_over_once() {
        let root = tempfile::tempdir().expect("folder");
        let (folder, run, writer) = place(root.path());
        let found = || look(&folder, run, writer).expect("look");
        assert_eq!(found(), Found::Gone);
        let scratch = Scratch::create(&Layout::new("/a/store"), &folder).expect("create");
        assert_eq!(found(), Found::Held);
        assert!(matches!(Scratch::take_over(&folder, run, writer), Ok(Takeover::Refused)));
        drop(scratch);
        assert_eq!(found(), Found::Free);
        let Ok(Takeover::Taken(_scratch)) = Scratch::take_over(&folder, run, writer) else { panic!("not taken") };
        assert!(is_of(&folder, &Layout::new("/a/store"), run, writer));
        assert!(!is_of(&folder, &Layout::new("/a/copy"), run, writer));
        remove(&folder);
        assert_eq!(found(), Found::Gone);
        assert_eq!(std::fs::read_dir(folder.ancestors().nth(2).expect("own")).expect("list").count(), 0);
    }

    /// A reader that asked at that moment made recovery give up: the records stayed in scratch until the next time.
    #[test]
    fn readers_that_ask_do_not_keep_a_folder_from_being_taken_over() {
        let root = tempfile::tempdir().expect("folder");
        let (folder, run, writer) = place(root.path());
        drop(Scratch::create(&Layout::new("/a/store"), &folder).expect("create"));
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(std::sync::atomic::Ordering::Relaxed) {
                        look(&folder, run, writer).expect("look");
                    }
                });
            }
            let taken = |_: &i32| matches!(Scratch::take_over(&folder, run, writer), Ok(Takeover::Taken(_)));
            let times = (0..2_000).filter(taken).count();
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            // A program that another test starts holds the lock as well, from its fork until it is another program; and a reader that is
            // pushed aside on a busy machine keeps it until its next turn.
            assert!(times > 1_200, "{times}");
        });
    }

    #[test]
    fn a_folder_of_another_form_or_that_others_can_write_to_is_not_believed() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().expect("folder");
        let (folder, run, writer) = place(root.path());
        drop(Scratch::create(&Layout::new("/a/store"), &folder).expect("create"));
        let own = folder.ancestors().nth(2).expect("own").to_owned();
        let other = WriterId { nonce: 8, ..writer };
        assert_eq!(look(&folder, run, other).expect("look"), Found::Closed);
        assert_eq!(look(Path::new("/etc"), run, writer).expect("look"), Found::Closed);
        let elsewhere = root.path().join("other").join(run.to_string()).join(writer.to_string());
        assert_eq!(look(&elsewhere, run, writer).expect("look"), Found::Closed);
        assert_eq!(look(&folder, run, writer).expect("look"), Found::Free);
        std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o777)).expect("mode");
        assert_eq!(look(&folder, run, writer).expect("look"), Found::Closed);
        assert!(matches!(Scratch::take_over(&folder, run, writer), Ok(Takeover::Refused)));
        assert!(own_folder(root.path()).is_err(), "a new writer refuses it, too");
        std::fs::remove_dir_all(&own).expect("remove");
        std::os::unix::fs::symlink("/etc", &own).expect("link");
        assert!(own_folder(root.path()).is_err(), "a link is not followed");
    }
}
