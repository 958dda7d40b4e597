//! Named remotes of a store: `remotes.json` in its folder. No credentials are in it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::dir::Root;
use crate::error::{Error, Result};
use crate::location::Location;

const FILE: &str = "remotes.json";
const FORMAT: u32 = 1;

/// A remote by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteEntry {
    /// Its name in this store.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// Endpoint of an S3 service other than Amazon's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Region of an S3 bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct File {
    format: u32,
    remotes: Vec<RemoteEntry>,
}

impl RemoteEntry {
    /// A remote at `url`, with the endpoint and region of the environment.
    pub fn new(name: impl Into<String>, url: impl Into<String>) -> Self {
        Self { name: name.into(), url: url.into(), endpoint: None, region: None }
    }

    /// Checks name, URL and endpoint. A path becomes absolute.
    ///
    /// # Errors
    /// [`Error::InvalidUrl`], [`Error::InvalidSetting`].
    pub fn checked(mut self) -> Result<Self> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if self.name.is_empty() || self.name.len() > 100 || !self.name.chars().all(is_plain) {
            let fault = format!("{:?} is no name of a remote: use letters, digits, `-`, `_` and `.`", self.name);
            return Err(Error::InvalidSetting { fault });
        }
        self.url = Location::parse(&self.url)?.url.to_string();
        if let Some(endpoint) = &self.endpoint {
            let url = Location::parse(endpoint)?.url;
            if !matches!(url.scheme(), "http" | "https") {
                return Err(Error::InvalidUrl {
                    url: endpoint.clone(),
                    fault: "an endpoint is http:// or https://".to_owned(),
                });
            }
        }
        Ok(self)
    }
}

/// The remotes of the store in the folder `store`, by name.
///
/// # Errors
/// [`Error::Io`], [`Error::InvalidSetting`] when the file is not what this module writes, [`Error::NewerFormat`].
pub fn list(store: &Path) -> Result<Vec<RemoteEntry>> {
    let path = store.join(FILE);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    let file: File = serde_json::from_slice(&text).map_err(|error| Error::InvalidSetting {
        fault: format!("{} cannot be read: {error}; mend or delete it", path.display()),
    })?;
    if file.format > FORMAT {
        return Err(Error::NewerFormat { what: path.display().to_string(), found: file.format, supported: FORMAT });
    }
    Ok(file.remotes)
}

/// Adds a remote to a store, or changes the one of that name with `replace`.
///
/// # Errors
/// As [`list`] and [`RemoteEntry::checked`]; [`Error::InvalidSetting`] when there is one of that name.
pub fn add(store: &Path, entry: RemoteEntry, replace: bool) -> Result<()> {
    let entry = entry.checked()?;
    let mut remotes = list(store)?;
    match remotes.iter().position(|known| known.name == entry.name) {
        Some(_) if !replace => {
            let fault = format!("there is a remote {:?} already; `stepwell remote remove` it first", entry.name);
            return Err(Error::InvalidSetting { fault });
        }
        Some(at) => remotes[at] = entry,
        None => remotes.push(entry),
    }
    save(store, remotes)
}

/// Removes a remote from the list. What lies there stays.
///
/// # Errors
/// As [`list`]; [`Error::NoSuchRemote`].
pub fn remove(store: &Path, name: &str) -> Result<()> {
    let mut remotes = list(store)?;
    let before = remotes.len();
    remotes.retain(|known| known.name != name);
    if remotes.len() == before {
        return Err(Error::NoSuchRemote { name: name.to_owned() });
    }
    save(store, remotes)
}

/// The remote that `name` means: the one of that name, the one at that URL, or without a name `origin` or the only one.
///
/// # Errors
/// As [`list`]; [`Error::NoSuchRemote`], [`Error::InvalidUrl`].
pub fn find(store: &Path, name: Option<&str>) -> Result<RemoteEntry> {
    let remotes = list(store)?;
    if let [only] = remotes.as_slice()
        && name.is_none()
    {
        return Ok(only.clone());
    }
    let wanted = name.unwrap_or("origin");
    if let Some(known) = remotes.into_iter().find(|known| known.name == wanted) {
        return Ok(known);
    }
    if wanted.contains('/') {
        return Ok(RemoteEntry { url: Location::parse(wanted)?.url.to_string(), ..RemoteEntry::new("-", "") });
    }
    Err(Error::NoSuchRemote { name: wanted.to_owned() })
}

fn save(store: &Path, remotes: Vec<RemoteEntry>) -> Result<()> {
    let text = serde_json::to_vec_pretty(&File { format: FORMAT, remotes })
        .map_err(|error| Error::InvalidSetting { fault: error.to_string() })?;
    Root::new(store).write(FILE, &text, true)?;
    Ok(())
}
