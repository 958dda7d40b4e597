//! The few file operations whose order decides what survives a power cut.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::error::{Error, Result};

/// Syncs a folder, so that names created, renamed or removed in it are on the device.
pub(crate) fn sync_folder(path: &Path) -> Result<()> {
    let folder = File::open(path).map_err(Error::io("open", path))?;
    folder.sync_all().map_err(|source| Error::SyncFailed { path: path.to_owned(), source })
}

/// Creates a folder below an existing one; the parent is synced when it did not exist before.
pub(crate) fn create_folder(path: &Path) -> Result<()> {
    if create_folder_unsynced(path)? { sync_folder(path.parent().unwrap_or(Path::new("."))) } else { Ok(()) }
}

/// Creates a folder below an existing one; whether it did not exist before.
pub(crate) fn create_folder_unsynced(path: &Path) -> Result<bool> {
    match std::fs::create_dir(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(Error::io("create the folder", path)(error)),
    }
}

/// Gives a finished, synced temporary file its final name in the same folder, and syncs the folder.
pub(crate) fn publish(temp: &Path, target: &Path) -> Result<()> {
    std::fs::rename(temp, target).map_err(Error::io("publish", target))?;
    sync_folder(target.parent().unwrap_or(Path::new(".")))
}

/// Removes a file; one that is gone already is no error.
pub(crate) fn remove_file(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Whether `path` lies on a file system across a network or in user space, where a mapping is not safe.
pub(crate) fn is_remote(path: &Path) -> bool {
    #[cfg(target_os = "linux")]
    {
        // Magic numbers of statfs(2): NFS, SMB (two), CIFS, FUSE, Lustre, GPFS, 9P, Ceph, AFS.
        const REMOTE: [u64; 10] = [
            0x6969,
            0x517b,
            0xfe53_4d42,
            0xff53_4d42,
            0x6573_5546,
            0x0bd0_0bd0,
            0x4750_4653,
            0x0102_1997,
            0x00c3_6400,
            0x5346_414f,
        ];
        rustix::fs::statfs(path).is_ok_and(|info| REMOTE.contains(&(info.f_type as u64 & 0xffff_ffff)))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = path;
        false
    }
}
