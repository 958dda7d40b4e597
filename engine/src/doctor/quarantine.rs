//! Setting damaged files aside: `quarantine/` in the store, below the path that a file had.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::storage::{Storage, create_folder, read_file, sync_folder};

/// Names that are tried for one file.
const NAMES_MAX: u32 = 1_000;

/// Moves a file of the store to the quarantine. It keeps its name; when one of that name is there, a number is added.
pub(super) fn set_aside(layout: &Layout, path: &Path) -> Result<PathBuf> {
    let storage = layout.storage();
    let relative = path.strip_prefix(layout.root()).unwrap_or(path);
    let mut folder = layout.quarantine();
    create_folder(storage, &folder)?;
    for part in relative.parent().into_iter().flat_map(Path::components) {
        folder.push(part);
        create_folder(storage, &folder)?;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let target = free_name(storage, &folder.join(&*name))?;
    storage.rename(path, &target).map_err(Error::io("set aside", path))?;
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
            storage.link(path, &name).map_err(Error::io("keep the damaged file as", &name))?;
            return Ok(name);
        }
        let read = |path: &Path| read_file(storage, path, u64::MAX).map_err(Error::io("read", path));
        if read(path)? == read(&name)? {
            return Ok(name);
        }
    }
    Err(no_name(target))
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
