//! Pull: what the remote holds comes into the store. Segments and objects first, then the log that names them.

use std::collections::BTreeMap;
use std::path::Path;

use futures::StreamExt;
use futures::future::try_join_all;
use rustix::fs::FlockOperation;
use stepwell_engine::layout::Layout;
use stepwell_engine::{RunId, Store, WriterId};

use crate::dir::Root;
use crate::error::{Error, Result};
use crate::history::{History, explained, resolve, wanted};
use crate::key::{Key, LOGS, PartName};
use crate::log::{self, Facts};
use crate::part::{self, HEAD_BYTES_MAX, Part};
use crate::push::JOBS_DEFAULT;
use crate::report::{Failure, Report};
use crate::transfer::{Expected, Thing, Transfers};

/// What is pulled, and how.
#[derive(Clone, Debug)]
pub struct PullOptions {
    /// Only runs whose ids begin so; empty means all.
    pub runs: Vec<String>,
    /// Only runs of this pipeline. Their logs are read to find out.
    pub pipeline: Option<String>,
    /// Files fetched at once; 1 to 256.
    pub jobs: usize,
    /// Only say what would be fetched.
    pub dry_run: bool,
}

impl Default for PullOptions {
    fn default() -> Self {
        Self { runs: Vec::new(), pipeline: None, jobs: JOBS_DEFAULT, dry_run: false }
    }
}

/// One log of the remote that is pulled.
struct Pulled<'a> {
    layout: &'a Layout,
    run: RunId,
    writer: WriterId,
    parts: Vec<PartName>,
}

/// Pulls the logs that `parts` make up into a store.
pub(crate) async fn pull(
    transfers: &Transfers<'_>,
    store: &Store,
    options: &PullOptions,
    parts: BTreeMap<(RunId, WriterId), Vec<PartName>>,
) -> Result<Report> {
    let is_named = |run: RunId| {
        let id = run.to_string();
        options.runs.is_empty() || options.runs.iter().any(|wanted| id.starts_with(wanted.as_str()))
    };
    for wanted in &options.runs {
        if wanted.is_empty() || !parts.keys().any(|(run, _)| run.to_string().starts_with(wanted.as_str())) {
            let hint = "`stepwell pull` takes run ids and beginnings of them";
            return Err(
                stepwell_engine::Error::NotFound { what: "run at the remote", name: wanted.clone(), hint }.into()
            );
        }
    }
    let named = parts.into_iter().filter(|((run, _), _)| is_named(*run));
    let logs: Vec<_> =
        named.map(|((run, writer), parts)| Pulled { layout: store.layout(), run, writer, parts }).collect();
    transfers.begin_writers(logs.len() as u64);
    let (mut failures, mut writers) = (Vec::new(), 0);
    let mut runs: Vec<RunId> = logs.iter().map(|log| log.run).collect();
    runs.dedup();
    let work = logs.iter().map(async |log| (log, log.pull(transfers, options.pipeline.as_deref()).await));
    let mut work = futures::stream::iter(work).buffer_unordered(options.jobs.clamp(1, 32));
    while let Some((log, done)) = work.next().await {
        transfers.end_writer();
        match done {
            Ok(moved) => writers += u64::from(moved),
            Err(error) => failures.push(Failure { run: Some(log.run), writer: Some(log.writer), error }),
        }
    }
    Ok(Report { runs: runs.len() as u64, writers, failures, ..transfers.report() })
}

/// Reads parts of logs; each is checked against its name.
pub(crate) async fn read_parts(transfers: &Transfers<'_>, names: Vec<PartName>) -> Result<BTreeMap<PartName, Part>> {
    let read = names.into_iter().map(async |name| {
        let key = Key::part(&name);
        if name.end > log::LOG_BYTES_MAX {
            return Err(Error::corrupt(key, "its log is longer than logs can be"));
        }
        let content = transfers.fetch(&key, name.end - name.start + HEAD_BYTES_MAX, name.content).await?;
        let part = part::read(&name, &content).map_err(|fault| Error::corrupt(key, fault))?;
        Ok((name, part))
    });
    Ok(try_join_all(read).await?.into_iter().collect())
}

impl Pulled<'_> {
    /// Brings one log, and what it names, up to the version at the remote; whether anything was to be done.
    async fn pull(&self, transfers: &Transfers<'_>, pipeline: Option<&str>) -> Result<bool> {
        let path = self.layout.events(self.run, self.writer);
        let own = match path.symlink_metadata() {
            Ok(metadata) if metadata.is_symlink() => return Err(Error::Symlink { path }),
            Ok(_) => log::read(&path)?,
            Err(_) => Vec::new(),
        };
        let holds = explained(&own, &self.parts);
        let read = read_parts(transfers, wanted(&self.parts, &holds)).await?;
        let History { best, is_own, objects, .. } = resolve(&own, &self.parts, &holds, &read)?;
        if is_own {
            return Ok(false);
        }
        let name = format!("{LOGS}/{}/{}", self.run, self.writer);
        let facts = log::facts(&best, self.run, self.writer).map_err(|fault| Error::corrupt(&name, fault))?;
        if pipeline.is_some_and(|wanted| wanted != facts.pipeline) {
            return Ok(false);
        }
        let root = Root::new(self.layout.root());
        if own.is_empty() && !transfers.is_dry {
            // Until its log is there, nobody takes the files for those of a writer that has lost it.
            tokio::task::block_in_place(|| self.mark(&root))?;
        }
        self.pull_segments(transfers, &root, &facts).await?;
        try_join_all(objects.iter().map(async |object| {
            let key = Key::object(object.blake3);
            let expected = Expected { hash: object.blake3, bytes: object.bytes };
            transfers.download(Thing::Object, &key, &root, key.as_str(), expected).await
        }))
        .await?;
        if !transfers.is_dry {
            tokio::task::block_in_place(|| self.take_over(&root, &best, facts.is_ended))?;
        }
        Ok(true)
    }

    async fn pull_segments(&self, transfers: &Transfers<'_>, root: &Root, facts: &Facts) -> Result<()> {
        let fetched = facts.segments.iter().map(async |segment| {
            let (folder, file) = log::place_of(segment, self.writer)?;
            let key = Key::segment(self.run, &folder, file);
            let expected = Expected { hash: segment.blake3, bytes: segment.bytes };
            transfers.download(Thing::Segment, &key, root, key.as_str(), expected).await
        });
        try_join_all(fetched).await.map(drop)
    }

    /// Makes a log the one of this store. A writer that has not ended lives elsewhere: the mark that says so is there before the
    /// log, and for as long as it holds, nobody here takes the writer for dead.
    fn take_over(&self, root: &Root, log: &[u8], is_ended: bool) -> Result<()> {
        let path = self.layout.events(self.run, self.writer);
        let known = root.open(&self.relative(&path))?;
        if let Some(known) = &known
            && rustix::fs::flock(known, FlockOperation::NonBlockingLockExclusive).is_err()
        {
            let held = std::io::Error::other("its writer, or another pull, holds it; try again when that is done");
            return Err(Error::io("replace the event log", path)(held));
        }
        if !is_ended {
            self.mark(root)?;
        }
        root.write(&self.relative(&path), log, true)?;
        if is_ended {
            root.remove(&self.relative(&self.layout.pulled(self.run, self.writer)))?;
        }
        Ok(())
    }

    /// Says that the writer's files were pulled, and that its journals, if there are any, are elsewhere.
    fn mark(&self, root: &Root) -> Result<()> {
        let mark = self.relative(&self.layout.pulled(self.run, self.writer));
        root.write(&mark, b"{\"format\":1}\n", true).map(drop)
    }

    fn relative(&self, path: &Path) -> String {
        path.strip_prefix(self.layout.root()).unwrap_or(path).to_string_lossy().into_owned()
    }
}
