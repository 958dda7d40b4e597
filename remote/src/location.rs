//! Where a remote is: the parts of its URL.

use std::path::PathBuf;

use url::Url;

use crate::error::{Error, Result};

/// What kind of place a URL names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A folder of this machine.
    Folder(PathBuf),
    /// A bucket, or container, of S3, Google's or Azure's storage, and what all names in it begin with.
    Cloud,
    /// SSH File Transfer Protocol.
    Sftp,
    /// HTTP or HTTPS.
    Http,
}

/// A checked URL of a remote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// What kind of place it is.
    pub kind: Kind,
    /// The URL; of a folder, its `file:` URL.
    pub url: Url,
}

impl Location {
    /// Reads a URL, or the path of a folder.
    ///
    /// # Errors
    /// [`Error::InvalidUrl`]: a scheme that is not known, a password in the URL, no bucket or host, `..` in the path.
    pub fn parse(text: &str) -> Result<Self> {
        let invalid = |fault: &str| Error::InvalidUrl { url: without_password(text), fault: fault.to_owned() };
        if text.is_empty() || text.chars().any(char::is_control) {
            return Err(invalid("it is empty or holds a control character"));
        }
        if !text.contains("://") {
            let path = std::path::absolute(text).map_err(Error::io("find the folder", text))?;
            return Self::folder(path).ok_or_else(|| invalid("its path is not absolute"));
        }
        let url = Url::parse(text).map_err(|error| invalid(&error.to_string()))?;
        if url.password().is_some() {
            return Err(invalid("a password does not belong into a URL; `stepwell init --help` says where it goes"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(invalid("it has a query or fragment"));
        }
        let has_dots = |path: &str| path.split(['/', '\\']).any(|segment| decoded(segment) == "..");
        if has_dots(text.split_once("://").map_or("", |(_, rest)| rest)) {
            return Err(invalid("its path holds `..`"));
        }
        let kind = match url.scheme() {
            "file" => {
                let path = url.to_file_path().map_err(|()| invalid("its path is not one of this machine"))?;
                return Self::folder(path).ok_or_else(|| invalid("its path is not absolute"));
            }
            "s3" | "gs" | "az" => Kind::Cloud,
            "sftp" | "ssh" => Kind::Sftp,
            "http" | "https" => Kind::Http,
            _ => {
                return Err(invalid(
                    "known are a path, file://, s3://, gs://, az://, ssh://, sftp://, http:// and https://",
                ));
            }
        };
        if url.host_str().is_none_or(str::is_empty) {
            return Err(invalid("it names no bucket or host"));
        }
        Ok(Self { kind, url })
    }

    fn folder(path: PathBuf) -> Option<Self> {
        let url = Url::from_file_path(&path).ok()?;
        Some(Self { kind: Kind::Folder(path), url })
    }

    /// The path below the bucket or host, decoded, without slashes at its ends.
    pub(crate) fn prefix(&self) -> String {
        decoded(self.url.path()).trim_matches('/').to_owned()
    }
}

/// What a percent-encoded text stands for; what is no UTF-8 is replaced.
pub(crate) fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = tail.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The text without what stands between the user's name and the host.
fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((user, host)) if user.contains(':') => {
            format!("{scheme}://{}:...@{host}{path}", user.split(':').next().unwrap_or_default())
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_their_kind_and_bad_ones_are_refused() {
        assert_eq!(Location::parse("s3://b/a/c/").expect("s3").prefix(), "a/c");
        assert_eq!(Location::parse("/tmp/x").expect("path").kind, Kind::Folder("/tmp/x".into()));
        assert_eq!(Location::parse("file:///tmp/x").expect("file").kind, Kind::Folder("/tmp/x".into()));
        assert_eq!(Location::parse("ssh://me@host:2222/data").expect("ssh").kind, Kind::Sftp);
        for bad in
            ["", "ftp://x/y", "s3://", "s3://b/../c", "s3://b/%2e%2e/c", "s3://b/a?x=1", "a\0b", "https://u:secret@h/x"]
        {
            let error = Location::parse(bad).expect_err(bad).to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
