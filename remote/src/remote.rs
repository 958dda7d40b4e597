//! A remote, as its callers see it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use stepwell_engine::{RunId, Store, WriterId};

use crate::backend::{self, Backend, Mode};
use crate::credentials::{self, Credentials};
use crate::entries::RemoteEntry;
use crate::error::{Error, Result};
use crate::key::{Key, LOGS, PartName};
use crate::location::{Kind, Location};
use crate::pull::{self, PullOptions};
use crate::push::{self, PushOptions};
use crate::report::{Failure, Progress, Report};
use crate::retry::retry;
use crate::source::Source;
use crate::transfer::{Transfers, read_small};

/// Format of remotes.
const FORMAT: u32 = 1;
const MARKER_BYTES_MAX: usize = 4096;

#[derive(Serialize, Deserialize)]
struct Marker {
    format: u32,
}

/// Parts of logs as a remote lists them, and names that are refused.
struct Listed {
    parts: BTreeMap<(RunId, WriterId), Vec<PartName>>,
    refused: Vec<Failure>,
}

/// A remote: a folder, a bucket, or a place reached by SFTP or HTTP.
pub struct Remote {
    entry: RemoteEntry,
    location: Location,
    backend: Arc<dyn Backend>,
    runtime: tokio::runtime::Runtime,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote").field("url", &self.entry.url).finish_non_exhaustive()
    }
}

impl Remote {
    /// Opens a remote with the credentials of the user's file, see [`credentials`].
    ///
    /// # Errors
    /// [`Error::InvalidUrl`], [`Error::InvalidSetting`], [`Error::OpenCredentials`]; with SFTP also those of connecting.
    pub fn open(entry: &RemoteEntry) -> Result<Self> {
        Self::open_with(entry, &credentials::find(&entry.url)?)
    }

    /// Opens a remote with these credentials. What they lack comes from the environment or the platform.
    ///
    /// # Errors
    /// As [`Remote::open`].
    pub fn open_with(entry: &RemoteEntry, credentials: &Credentials) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("stepwell-remote")
            .enable_all()
            .build()
            .map_err(Error::io("start the threads of", "the remote"))?;
        let location = Location::parse(&entry.url)?;
        let backend = runtime.block_on(backend::open(entry, credentials))?;
        Ok(Self { entry: entry.clone(), location, backend, runtime })
    }

    /// Sends what is committed in the store and not at the remote: segments and objects, then the lines of event logs that name
    /// them. Journals are not sent; the report says how many rows are in them. What fails is in the report, and the rest is sent.
    ///
    /// # Durability
    /// What the report counts was confirmed by the remote. A push that is cut short leaves nothing that a pull would take for
    /// whole, and the next one goes on where it was.
    ///
    /// # Errors
    /// Those that leave nothing to be done: [`Error::Unreachable`], [`Error::Denied`], [`Error::NewerFormat`], [`Error::Engine`].
    pub fn push(&self, store: &Store, options: &PushOptions, progress: &(dyn Fn(Progress) + Sync)) -> Result<Report> {
        self.check_apart(store)?;
        // Held until the end: what it names is not removed meanwhile.
        let snapshot = store.snapshot()?;
        let transfers = Transfers::new(self.backend.clone(), options.jobs, options.dry_run, progress);
        self.runtime.block_on(async {
            let is_new = !self.check_marker().await?;
            if is_new && !options.dry_run {
                let text = serde_json::to_vec(&Marker { format: FORMAT }).unwrap_or_default();
                let (key, source) = (Key::marker(), Source::Memory(text.into()));
                retry(async |_| self.backend.put(&key, &source, Mode::IfAbsent).await).await?;
            }
            let Listed { parts, refused } = if is_new { Listed::none() } else { self.list().await? };
            let mut report = push::push(&transfers, &snapshot, options, parts).await?;
            report.failures.extend(refused);
            Ok(report)
        })
    }

    /// Fetches what is at the remote and not in the store, every file checked against its hash before it gets its name. Runs that
    /// are there already are continued. What fails is in the report, and the rest is fetched.
    ///
    /// # Durability
    /// Files and folders are synced before the log that names them gets its name.
    ///
    /// # Errors
    /// As [`Remote::push`]; [`Error::Empty`] when nothing was ever pushed there.
    pub fn pull(&self, store: &Store, options: &PullOptions, progress: &(dyn Fn(Progress) + Sync)) -> Result<Report> {
        self.check_apart(store)?;
        let transfers = Transfers::new(self.backend.clone(), options.jobs, options.dry_run, progress);
        let report = self.runtime.block_on(async {
            if !self.check_marker().await? {
                return Err(Error::Empty { remote: self.entry.url.clone() });
            }
            let Listed { parts, refused } = self.list().await?;
            let mut report = pull::pull(&transfers, store, options, parts).await?;
            report.failures.extend(refused);
            Ok(report)
        })?;
        if report.writers > 0 && !options.dry_run {
            // Brings the catalog up to date.
            store.snapshot()?;
        }
        Ok(report)
    }

    /// The entry that it was opened from.
    pub fn entry(&self) -> &RemoteEntry {
        &self.entry
    }

    async fn check_marker(&self) -> Result<bool> {
        let key = Key::marker();
        let Some(text) = read_small(&*self.backend, &key, MARKER_BYTES_MAX).await? else { return Ok(false) };
        let Marker { format } =
            serde_json::from_slice(&text).map_err(|error| Error::corrupt(&key, error.to_string()))?;
        if format > FORMAT {
            return Err(Error::NewerFormat { what: self.entry.url.clone(), found: format, supported: FORMAT });
        }
        Ok(true)
    }

    async fn list(&self) -> Result<Listed> {
        let mut listed = Listed::none();
        for name in retry(async |_| self.backend.list(LOGS).await).await? {
            match PartName::parse(&name) {
                Ok(part) => listed.parts.entry((part.run, part.writer)).or_default().push(part),
                Err(error) => listed.refused.push(Failure { run: None, writer: None, error }),
            }
        }
        Ok(listed)
    }

    /// A remote in the store's own folder would be read as part of it.
    fn check_apart(&self, store: &Store) -> Result<()> {
        let Kind::Folder(path) = &self.location.kind else { return Ok(()) };
        let real = |path: &std::path::Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if real(path).starts_with(real(store.layout().root())) {
            let fault = format!("the remote {} is in the store's own folder; choose another one", path.display());
            return Err(Error::InvalidSetting { fault });
        }
        Ok(())
    }
}

impl Listed {
    fn none() -> Self {
        Self { parts: BTreeMap::new(), refused: Vec::new() }
    }
}
