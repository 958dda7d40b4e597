//! The folder of the demo's store: new each time, and nothing but a demo's store is ever deleted.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use stepwell_engine::{Access, EngineConfig, RunInfo, RunState, Store};

use super::{NANOGPT_PIPELINE, train};
use crate::error::{CliError, Result};

/// Pipelines of the runs that the demo makes.
const DEMO_PIPELINES: [&str; 2] = [train::PIPELINE, NANOGPT_PIPELINE];

/// Folder inside the store with the demo's own files.
const FILES: &str = "demo";
/// File in there that says whose store this is.
const MARKER: &str = "made-by-stepwell-demo.txt";
const MARKER_TEXT: &str = "`stepwell demo` made this store. The next `stepwell demo` deletes it and starts anew.\n";

/// What a store made by the demo has in its folder.
const OWN_ENTRIES: [&str; 7] =
    ["catalog.db", "catalog.db-shm", "catalog.db-wal", FILES, "objects", "runs", "stepwell.json"];

/// Makes an empty demo store at `store`, in place of an earlier one. Returns the folder for the demo's own files.
///
/// # Errors
/// [`CliError::NotADemoStore`] when there is something else; [`CliError::Io`].
pub fn renew(store: &Path) -> Result<PathBuf> {
    let files = store.join(FILES);
    match fs::symlink_metadata(store) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(CliError::io("look at", store)(error)),
        Ok(metadata) if !metadata.is_dir() => return Err(CliError::NotADemoStore { path: store.to_owned() }),
        Ok(_) if is_demo_store(&files) && holds_only_the_demo(store) => {
            fs::remove_dir_all(store).map_err(CliError::io("delete", store))?
        }
        Ok(_) => {
            let mut entries = fs::read_dir(store).map_err(CliError::io("look at", store))?;
            if entries.next().is_some() {
                return Err(CliError::NotADemoStore { path: store.to_owned() });
            }
        }
    }
    fs::create_dir_all(&files).map_err(CliError::io("create", &files))?;
    let marker = files.join(MARKER);
    fs::write(&marker, MARKER_TEXT).map_err(CliError::io("write", &marker))?;
    Ok(files)
}

fn is_demo_store(files: &Path) -> bool {
    fs::read_to_string(files.join(MARKER)).is_ok_and(|text| text == MARKER_TEXT)
}

/// Whether nothing was added to a demo store: no file, no run of another pipeline, and no run that is being written.
/// A store that cannot be read any more holds nothing to be kept.
fn holds_only_the_demo(store: &Path) -> bool {
    let own = |name: &std::ffi::OsStr| name.to_str().is_some_and(|name| OWN_ENTRIES.contains(&name));
    if !fs::read_dir(store).is_ok_and(|entries| entries.flatten().all(|entry| own(&entry.file_name()))) {
        return false;
    }
    let snapshot = Store::open_with(store, Access::Read, EngineConfig::default()).and_then(|store| store.snapshot());
    snapshot.map_or(true, |snapshot| {
        let made = |run: &RunInfo| DEMO_PIPELINES.contains(&run.pipeline.as_str()) && run.state != RunState::Running;
        snapshot.runs().iter().all(made)
    })
}

#[cfg(test)]
mod tests {
    use stepwell_engine::RunOptions;

    use super::*;

    #[test]
    fn only_a_demo_store_is_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        let files = renew(&store).unwrap();
        fs::write(files.join("old"), "x").unwrap();
        assert_eq!(renew(&store).unwrap(), files);
        assert!(!files.join("old").exists());

        let added = Store::open(&store).unwrap();
        added.start_run(RunOptions::new("mine", "train")).unwrap().finish().unwrap();
        assert!(matches!(renew(&store), Err(CliError::NotADemoStore { .. })), "a run that the demo did not make");
        fs::remove_dir_all(&store).unwrap();
        renew(&store).unwrap();
        fs::write(store.join("notes.txt"), "x").unwrap();
        assert!(matches!(renew(&store), Err(CliError::NotADemoStore { .. })), "a file that the demo did not make");
        assert!(store.join("notes.txt").exists());

        let other = folder.path().join("other");
        fs::create_dir(&other).unwrap();
        renew(&other).unwrap();
        fs::remove_dir_all(&other).unwrap();
        fs::create_dir(&other).unwrap();
        fs::write(other.join("precious"), "x").unwrap();
        assert!(matches!(renew(&other), Err(CliError::NotADemoStore { .. })));
        assert!(matches!(renew(&other.join("precious")), Err(CliError::NotADemoStore { .. })));
        assert!(other.join("precious").exists());
    }
}
