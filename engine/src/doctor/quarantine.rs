//! Setting damaged files aside: `quarantine/` in the store, below the path that a file had.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::layout::{Layout, TEMP_PREFIX};
use crate::storage::{Storage, append_all, create_folder, read_file, sync_folder};

/// Names that are tried for one file.
const NAMES_MAX: u32 = 1_000;

/// Moves a file of the store to the quarantine. It keeps its name; when one of that name is there, a number is added.
pub(super) fn set_aside(layout: &Layout, path: &Path) -> Result<PathBuf> {
    set_aside_as(layout, path, path)
}

/// The same with a file that need not lie in the store: it gets the place that one at `place` in the store would get.
pub(super) fn set_aside_as(layout: &Layout, path: &Path, place: &Path) -> Result<PathBuf> {
    let storage = layout.storage();
    let relative = place.strip_prefix(layout.root()).unwrap_or(place);
    let mut folder = layout.quarantine();
    create_folder(storage, &folder)?;
    for part in relative.parent().into_iter().flat_map(Path::components) {
        folder.push(part);
        create_folder(storage, &folder)?;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let target = free_name(storage, &folder.join(&*name))?;
    match storage.rename(path, &target) {
        Err(error) if error.kind() == ErrorKind::CrossesDevices => {
            copy(storage, path, &target)?;
            return storage.remove_file(path).map(|()| target).map_err(Error::io("set aside", path));
        }
        renamed => renamed.map_err(Error::io("set aside", path))?,
    }
    // The new name first: between the two, a file with two names is better than one with none.
    sync_folder(storage, &folder)?;
    sync_folder(storage, path.parent().unwrap_or(layout.root()))?;
    Ok(target)
}

/// Gives what the file at `path` holds the second name `target`, or one like it, which an earlier attempt may have done.
pub(super) fn keep_as(storage: &dyn Storage, path: &Path, target: &Path) -> Result<PathBuf> {
    for n in 1..=NAMES_MAX {
        let name = numbered(target, n);
        if !storage.exists(&name) {
            match storage.link(path, &name) {
                Err(error) if has_no_links(&error) => copy(storage, path, &name)?,
                linked => linked.map_err(Error::io("keep the damaged file as", &name))?,
            }
            return Ok(name);
        }
        let read = |path: &Path| read_file(storage, path, u64::MAX).map_err(Error::io("read", path));
        if read(path)? == read(&name)? {
            return Ok(name);
        }
    }
    Err(no_name(target))
}

/// Whether the file system does not know hard links.
fn has_no_links(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOSYS | libc::EOPNOTSUPP))
}

/// Copies a file; the copy gets its name once it is whole and on the device.
fn copy(storage: &dyn Storage, path: &Path, target: &Path) -> Result<()> {
    let failed = || Error::io("keep a copy as", target);
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let temp = target.with_file_name(format!("{TEMP_PREFIX}copy-{name}"));
    let bytes = read_file(storage, path, u64::MAX).map_err(Error::io("read", path))?;
    let file = storage.create(&temp).map_err(failed())?;
    append_all(&*file, &bytes).map_err(failed())?;
    file.sync().map_err(|source| Error::SyncFailed { path: temp.clone(), source })?;
    storage.rename(&temp, target).map_err(failed())?;
    sync_folder(storage, target.parent().unwrap_or(target))
}

fn free_name(storage: &dyn Storage, target: &Path) -> Result<PathBuf> {
    let mut names = (1..=NAMES_MAX).map(|n| numbered(target, n));
    names.find(|name| !storage.exists(name)).ok_or_else(|| no_name(target))
}

fn numbered(target: &Path, n: u32) -> PathBuf {
    if n == 1 {
        return target.to_owned();
    }
    let mut name = target.as_os_str().to_owned();
    name.push(format!(".{n}"));
    name.into()
}

fn no_name(target: &Path) -> Error {
    Error::io("find a free name like", target)(std::io::ErrorKind::AlreadyExists.into())
}
