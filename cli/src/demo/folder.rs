//! The folder of the demo's store: new each time, and nothing but a demo's store is ever deleted.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{CliError, Result};

/// Folder inside the store with the demo's own files.
const FILES: &str = "demo";
/// File in there that says whose store this is.
const MARKER: &str = "made-by-stepwell-demo.txt";
const MARKER_TEXT: &str = "`stepwell demo` made this store. The next `stepwell demo` deletes it and starts anew.\n";

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
        Ok(_) if is_demo_store(&files) => fs::remove_dir_all(store).map_err(CliError::io("delete", store))?,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_demo_store_is_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        let files = renew(&store).unwrap();
        fs::write(store.join("old"), "x").unwrap();
        assert_eq!(renew(&store).unwrap(), files);
        assert!(!store.join("old").exists());

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
