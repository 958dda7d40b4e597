//! The files that a store speaks of, found by path or by hash, and taken only when the hash is right.

use std::fmt;
use std::io::{ErrorKind, Read};
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use md5::{Digest, Md5};

/// Largest file that is taken: metrics of about 80 million rows. It is held in memory.
const FILE_BYTES_MAX: u64 = 2 << 30;

/// Where files are looked for: beside the store, then in DVC's caches and remotes.
#[derive(Clone, Debug, Default)]
pub struct FileSource {
    folder: PathBuf,
    caches: Vec<PathBuf>,
}

/// A file that has the hash it should have.
#[derive(Clone, Debug)]
pub struct Found {
    /// Where it lies.
    pub path: PathBuf,
    /// Its content.
    pub bytes: Bytes,
}

/// Why there is no file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotFound {
    /// It is not where it was looked for.
    Missing,
    /// The path is absolute, has `..`, or passes through a link to another place.
    LeadsOut,
    /// There is a file with another content.
    WrongHash {
        /// MD5 of the content found.
        actual: String,
    },
    /// There is something that is no file, too large, or unreadable.
    Unreadable {
        /// Why.
        fault: String,
    },
}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("is not there, and not in DVC's cache"),
            Self::LeadsOut => f.write_str("leads out of the folder, and was not read"),
            Self::WrongHash { actual } => write!(f, "has the MD5 {actual}, and was not taken"),
            Self::Unreadable { fault } => write!(f, "could not be read: {fault}"),
        }
    }
}

impl FileSource {
    /// Files of the folder in which the store lies, of DVC's cache in it, and of the remotes on this machine that its DVC
    /// configuration names. `caches` are other caches or remotes, each a folder with `files/md5` in it.
    pub fn new(folder: impl Into<PathBuf>, caches: &[PathBuf]) -> Self {
        let folder = folder.into();
        let own = folder.join(".dvc");
        let mut all = vec![own.join("cache")];
        all.extend(crate::dvc::local_remotes(&own));
        all.extend(caches.iter().cloned());
        Self { folder, caches: all }
    }

    /// The file at `path` below the folder, or one of a cache, that has this MD5. Nothing else is taken.
    ///
    /// # Errors
    /// Why there is none: what was found at `path` itself counts most.
    pub fn find(&self, path: &str, md5: &str) -> Result<Found, NotFound> {
        let first = match below(&self.folder, path) {
            Ok(path) => match read_checked(&path, md5) {
                Ok(found) => return Ok(found),
                Err(reason) => reason,
            },
            Err(reason) => reason,
        };
        let is_md5 = md5.len() == 32 && md5.bytes().all(|byte| byte.is_ascii_hexdigit());
        let places = self.caches.iter().filter(|_| is_md5).flat_map(|cache| {
            let (folder, rest) = md5.split_at(2);
            [cache.join("files/md5").join(folder).join(rest), cache.join(folder).join(rest)]
        });
        places.map(|place| read_checked(&place, md5)).find_map(Result::ok).ok_or(first)
    }
}

/// The path below `folder`, links followed.
///
/// # Errors
/// [`NotFound::LeadsOut`], [`NotFound::Missing`].
fn below(folder: &Path, path: &str) -> Result<PathBuf, NotFound> {
    if !is_plain(path) {
        return Err(NotFound::LeadsOut);
    }
    let real = |path: &Path| path.canonicalize().map_err(|_| NotFound::Missing);
    let (root, found) = (real(folder)?, real(&folder.join(path))?);
    if found.starts_with(&root) { Ok(found) } else { Err(NotFound::LeadsOut) }
}

/// Whether a path from a file stays below the folder it is joined to, on every system.
pub(crate) fn is_plain(path: &str) -> bool {
    let windows = path.contains('\\') || path.as_bytes().get(1) == Some(&b':');
    let mut components = Path::new(path).components();
    !path.is_empty()
        && !windows
        && !path.contains('\0')
        && components.all(|component| matches!(component, Component::Normal(_)))
}

fn read_checked(path: &Path, md5: &str) -> Result<Found, NotFound> {
    let unreadable = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => NotFound::Missing,
        _ => NotFound::Unreadable { fault: error.to_string() },
    };
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(NotFound::Unreadable { fault: "it is not a file".to_owned() });
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(NotFound::Unreadable { fault: format!("it has more than {FILE_BYTES_MAX} bytes") });
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(unreadable)?;
    let actual = md5_of(&bytes);
    if actual == md5 {
        Ok(Found { path: path.to_owned(), bytes: bytes.into() })
    } else {
        Err(NotFound::WrongHash { actual })
    }
}

/// MD5 in hexadecimal digits.
pub(crate) fn md5_of(bytes: &[u8]) -> String {
    Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_paths_are_followed() {
        for path in ["a", "a/b.c", "a/%2e%2e/b", "..a", "a/..b"] {
            assert!(is_plain(path), "{path}");
        }
        for path in ["", "/a", "../a", "a/../../b", "./a", "a\\b", "C:/a", "C:a", "a\0b", "\\\\host\\a"] {
            assert!(!is_plain(path), "{path}");
        }
    }

    #[test]
    fn a_file_is_taken_by_its_hash_from_the_folder_or_a_cache() {
        let folder = tempfile::tempdir().expect("folder");
        let md5 = md5_of(b"content");
        let source = FileSource::new(folder.path(), &[]);
        assert_eq!(source.find("a/b", &md5).expect_err("nothing there"), NotFound::Missing);
        let cached = folder.path().join(".dvc/cache/files/md5").join(&md5[..2]);
        std::fs::create_dir_all(&cached).expect("cache");
        std::fs::write(cached.join(&md5[2..]), b"content").expect("write");
        assert_eq!(&source.find("a/b", &md5).expect("found").bytes[..], b"content");
        std::fs::create_dir(folder.path().join("a")).expect("folder");
        std::fs::write(folder.path().join("a/b"), b"other").expect("write");
        assert!(source.find("a/b", &md5).expect("the cache's").path.starts_with(folder.path().join(".dvc")));
        let other = md5_of(b"neither");
        assert_eq!(source.find("a/b", &other).expect_err("wrong"), NotFound::WrongHash { actual: md5_of(b"other") });
    }

    #[cfg(unix)]
    #[test]
    fn a_link_out_of_the_folder_is_not_followed() {
        let (folder, outside) = (tempfile::tempdir().expect("folder"), tempfile::tempdir().expect("outside"));
        std::fs::write(outside.path().join("secret"), b"secret").expect("write");
        std::os::unix::fs::symlink(outside.path(), folder.path().join("cmf_artifacts")).expect("link");
        let source = FileSource::new(folder.path(), &[]);
        let refused = source.find("cmf_artifacts/secret", &md5_of(b"secret"));
        assert_eq!(refused.expect_err("refused"), NotFound::LeadsOut);
    }
}
