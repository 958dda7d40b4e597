//! Folders as manifests: which files a folder holds, with the size and hash of each.

use serde::{Deserialize, Serialize};

use super::publish::read_object;
use crate::error::{Error, Result};
use crate::ids::ContentHash;
use crate::layout::{Layout, stays_inside};

/// Longest line that is read; a path has at most 4,096 bytes.
const LINE_BYTES_MAX: usize = 1 << 16;
/// How every line begins, and nothing else that is likely to be somebody's file.
pub(super) const LINE_BEGIN: &[u8] = b"{\"path\":\"";

/// One file of a folder. Fields are written in this order, lines sorted by path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// Path below the folder, with `/` between its parts.
    pub path: String,
    /// Size in bytes.
    pub bytes: u64,
    /// BLAKE3 of the content.
    pub blake3: ContentHash,
}

/// What a folder holds: its files, sorted by the bytes of their paths, none twice. Empty folders, permissions and times are
/// no part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    files: Vec<ManifestFile>,
}

impl Manifest {
    /// The manifest of these files.
    pub fn new(mut files: Vec<ManifestFile>) -> Self {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Self { files }
    }

    /// The files, sorted by path.
    pub fn files(&self) -> &[ManifestFile] {
        &self.files
    }

    /// Sum of the sizes of its files, in bytes.
    pub fn bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes))
    }

    /// The text whose BLAKE3 is the identity of the folder: one JSON object a line.
    pub fn to_text(&self) -> String {
        let lines = self.files.iter().map(|file| {
            serde_json::to_string(file).unwrap_or_else(|error| {
                // Text, a number and a hash.
                unreachable!("a line of a manifest does not serialise: {error}")
            }) + "\n"
        });
        lines.collect()
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// What is wrong with it, in words: a line that is none of a manifest, paths that are not sorted or leave the folder.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        let mut files: Vec<ManifestFile> = Vec::new();
        for (index, line) in text.split_terminator('\n').enumerate() {
            let fault = |what: String| format!("line {}: {what}", index + 1);
            if line.len() > LINE_BYTES_MAX {
                return Err(fault("it is too long".to_owned()));
            }
            let file: ManifestFile = serde_json::from_str(line).map_err(|error| fault(error.to_string()))?;
            check_path(&file.path).map_err(|what| fault(format!("the path {:?} {what}", file.path)))?;
            if files.last().is_some_and(|last| last.path >= file.path) {
                return Err(fault(format!("the path {:?} is not in its place", file.path)));
            }
            files.push(file);
        }
        Ok(Self { files })
    }

    /// Reads the manifest that is the object `hash`, and compares it with its hash.
    ///
    /// # Errors
    /// [`Error::Io`] when it is not there, [`Error::HashMismatch`], [`Error::Damaged`] when it is no manifest.
    pub fn read(layout: &Layout, hash: ContentHash) -> Result<Self> {
        let bytes = read_object(layout, hash)?;
        let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned());
        text.and_then(|text| Self::parse(&text)).map_err(|fault| Error::Damaged {
            path: layout.object(hash),
            fault: format!("it is no manifest of a folder: {fault}"),
        })
    }
}

/// Refuses a path that, joined to a folder, would not name a file in it.
pub(super) fn check_path(path: &str) -> std::result::Result<(), &'static str> {
    if path.contains('\0') {
        return Err("holds a NUL byte");
    }
    // `a//b`, `a/./b` and `a/` name what `a/b` and `a` name: only one spelling is taken, so that none is there twice.
    if path.is_empty() || path.split('/').any(|part| matches!(part, "" | "." | "..")) || !stays_inside(path) {
        return Err("leaves the folder");
    }
    if cfg!(windows) && path.contains(['\\', ':']) {
        return Err("leaves the folder");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> ManifestFile {
        ManifestFile { path: path.to_owned(), bytes: 3, blake3: blake3::hash(path.as_bytes()).into() }
    }

    #[test]
    fn manifests_round_trip_with_any_name_that_is_utf8() {
        let names = ["b", "a/b", "a b", "a\nb", "\"quoted\"", "ünï", "a\\b", "%2e%2e", "..x", "C:x", "-rf"];
        let manifest = Manifest::new(names.map(file).to_vec());
        let text = manifest.to_text();
        assert_eq!(text.lines().count(), names.len());
        assert!(text.lines().all(|line| line.as_bytes().starts_with(LINE_BEGIN)));
        assert_eq!(Manifest::parse(&text).expect("parses"), manifest);
        assert_eq!(manifest.bytes(), 3 * names.len() as u64);
        assert_eq!(Manifest::parse("").expect("an empty folder"), Manifest::default());
    }

    #[test]
    fn paths_that_leave_the_folder_are_refused() {
        for path in
            ["", "/", "/etc/passwd", "..", "../x", "a/../../x", "a/..", ".", "./a", "a/./b", "a//b", "a/", "a\0b"]
        {
            let fault = Manifest::parse(&Manifest { files: vec![file(path)] }.to_text()).expect_err(path);
            assert!(fault.contains("line 1"), "{path:?}: {fault}");
        }
    }

    #[test]
    fn lines_that_are_out_of_order_twice_there_or_no_lines_of_a_manifest_are_refused() {
        let text = |paths: &[&str]| Manifest { files: paths.iter().map(|path| file(path)).collect() }.to_text();
        assert!(Manifest::parse(&text(&["a", "b"])).is_ok());
        assert!(Manifest::parse(&text(&["b", "a"])).expect_err("order").contains("line 2"));
        assert!(Manifest::parse(&text(&["a", "a"])).is_err());
        for bad in ["x", "{}", "{\"path\":\"a\"}", "[]", "{\"path\":\"a\",\"bytes\":-1,\"blake3\":\"00\"}"] {
            assert!(Manifest::parse(bad).is_err(), "{bad}");
        }
    }
}
