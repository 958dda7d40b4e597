//! Credentials of remotes, in a file that only its owner may read.
//!
//! The file is `$STEPWELL_CREDENTIALS`, else `stepwell/remotes.toml` in `$XDG_CONFIG_HOME`, else in `~/.config`. It has a table per
//! URL, which serves every remote whose URL begins with it:
//!
//! ```toml
//! ["s3://bucket/team"]
//! access_key_id = "..."
//! secret_access_key = "..."
//! ```

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Credentials of one remote; all that is absent comes from the environment or the platform.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// S3: id of the access key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<String>,
    /// S3: the secret key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_access_key: Option<String>,
    /// S3: token of a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_token: Option<String>,
    /// HTTP: bearer token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// HTTP: a file that holds the bearer token, read anew at each use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// SFTP: password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// SFTP: file of the private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// SFTP: what the private key is encrypted with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_passphrase: Option<String>,
    /// SFTP: file of known host keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_hosts: Option<PathBuf>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Secrets do not belong into logs.
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// Where the file is.
///
/// # Errors
/// [`Error::InvalidSetting`] when there is no home folder.
pub fn path() -> Result<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("STEPWELL_CREDENTIALS")
        .or_else(|| variable("XDG_CONFIG_HOME").map(|folder| folder.join("stepwell/remotes.toml")))
        .or_else(|| variable("HOME").map(|home| home.join(".config/stepwell/remotes.toml")))
        .ok_or_else(|| Error::InvalidSetting {
            fault: "there is no home folder; name the file of credentials in STEPWELL_CREDENTIALS".to_owned(),
        })
}

/// The credentials for a URL: those of the longest table that it begins with. None is no error.
///
/// # Errors
/// [`Error::OpenCredentials`] when others may read the file, [`Error::InvalidSetting`], [`Error::Io`].
pub fn find(url: &str) -> Result<Credentials> {
    let tables = read()?;
    let fits = |table: &str| {
        let table = table.trim_end_matches('/');
        url.strip_prefix(table).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let best = tables.into_iter().filter(|(table, _)| fits(table)).max_by_key(|(table, _)| table.len());
    Ok(best.map(|(_, credentials)| credentials).unwrap_or_default())
}

fn read() -> Result<BTreeMap<String, Credentials>> {
    let path = path()?;
    let mut file = match std::fs::File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    // Of the open file, so that it is the one which is read.
    let metadata = file.metadata().map_err(Error::io("read", &path))?;
    if metadata.mode() & 0o077 != 0 {
        return Err(Error::OpenCredentials { path });
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(Error::io("read", &path))?;
    // The parser's own words quote the line, and with it the secret.
    toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        Error::InvalidSetting { fault: format!("{} cannot be read: line {line} is wrong", path.display()) }
    })
}

/// Writes the credentials for a URL into the file, which is made with mode 0600.
///
/// # Errors
/// As [`find`].
pub fn save(url: &str, credentials: &Credentials) -> Result<PathBuf> {
    let path = path()?;
    let mut tables = read()?;
    tables.insert(url.to_owned(), credentials.clone());
    let text = toml::to_string(&tables).map_err(|error| Error::InvalidSetting { fault: error.to_string() })?;
    let folder = path.parent().unwrap_or(std::path::Path::new("."));
    std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let temp = folder.join(format!(".remotes-{}", uuid::Uuid::now_v7().simple()));
    let written = (|| {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temp)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&temp, &path)
    })();
    written.map_err(|error| {
        let _ = std::fs::remove_file(&temp);
        Error::io("write", &path)(error)
    })?;
    Ok(path)
}
