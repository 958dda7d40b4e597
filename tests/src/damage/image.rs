//! A store in memory, written to a folder as often as a campaign needs it.

use std::io;
use std::path::{Path, PathBuf};

/// One file of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// Path below the store folder.
    pub path: PathBuf,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// The files of a store, sorted by path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreImage {
    /// The files.
    pub files: Vec<StoredFile>,
}

impl StoreImage {
    /// Reads all files below `root`; files that are being written are left out.
    ///
    /// # Errors
    /// The error of the file system.
    pub fn read(root: &Path) -> io::Result<Self> {
        let mut files = Vec::new();
        collect(root, root, &mut files)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self { files })
    }

    /// Number of the only file whose path ends with `suffix`.
    ///
    /// # Panics
    /// When there is none, or more than one.
    pub fn only(&self, suffix: &str) -> usize {
        let found = self.all(suffix);
        assert_eq!(found.len(), 1, "files that end with {suffix:?}: {found:?}");
        found[0]
    }

    /// Numbers of the files whose path ends with `suffix`.
    pub fn all(&self, suffix: &str) -> Vec<usize> {
        let fits = |file: &StoredFile| file.path.to_str().is_some_and(|path| path.ends_with(suffix));
        (0..self.files.len()).filter(|number| fits(&self.files[*number])).collect()
    }

    /// Makes `root` a folder with these files and nothing else.
    ///
    /// # Errors
    /// The error of the file system.
    pub fn write(&self, root: &Path) -> io::Result<()> {
        match std::fs::remove_dir_all(root) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut folder = PathBuf::new();
        for file in &self.files {
            let path = root.join(&file.path);
            let parent = path.parent().unwrap_or(root);
            if parent != folder {
                std::fs::create_dir_all(parent)?;
                parent.clone_into(&mut folder);
            }
            std::fs::write(&path, &file.bytes)?;
        }
        Ok(())
    }
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<StoredFile>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, files)?;
        } else {
            let relative = path.strip_prefix(root).unwrap_or(&path).to_owned();
            files.push(StoredFile { path: relative, bytes: std::fs::read(&path)? });
        }
    }
    Ok(())
}
