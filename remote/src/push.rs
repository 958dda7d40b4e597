//! Push: what is committed goes to the remote. Segments and objects first, then the lines that name them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use futures::StreamExt;
use futures::future::try_join_all;
use stepwell_engine::layout::Layout;
use stepwell_engine::{ContentHash, RunId, Snapshot, WriterId};

use crate::dir::Root;
use crate::error::{Error, Result};
use crate::history::{History, explained, resolve, wanted};
use crate::key::{Key, PartName};
use crate::log::{self, Facts};
use crate::part::{self, ObjectRecord};
use crate::pull::read_parts;
use crate::report::{Failure, Report, Uncommitted};
use crate::source::Source;
use crate::transfer::{Thing, Transfers};

/// Largest object that is looked into for the names of others: the list of a folder's files.
const LIST_BYTES_MAX: u64 = 256 << 20;
/// Jobs when the caller does not say.
pub(crate) const JOBS_DEFAULT: usize = 16;

/// What is pushed, and how.
#[derive(Clone, Debug)]
pub struct PushOptions {
    /// Only these runs; empty means all.
    pub runs: Vec<RunId>,
    /// Only runs of this pipeline.
    pub pipeline: Option<String>,
    /// Files sent at once; 1 to 256.
    pub jobs: usize,
    /// Only say what would be sent.
    pub dry_run: bool,
    /// Ask for each file whether the remote has it, also for those that the logs there name already.
    pub check: bool,
}

impl Default for PushOptions {
    fn default() -> Self {
        Self { runs: Vec::new(), pipeline: None, jobs: JOBS_DEFAULT, dry_run: false, check: false }
    }
}

/// One log of the store that is pushed.
struct Pushed<'a> {
    layout: &'a Layout,
    run: RunId,
    writer: WriterId,
    parts: Vec<PartName>,
}

/// Pushes what the snapshot holds. `parts` are those that the remote lists, by log.
pub(crate) async fn push(
    transfers: &Transfers<'_>,
    snapshot: &Snapshot,
    options: &PushOptions,
    mut parts: BTreeMap<(RunId, WriterId), Vec<PartName>>,
) -> Result<Report> {
    let is_wanted = |run: RunId, pipeline: &str| {
        (options.runs.is_empty() || options.runs.contains(&run))
            && options.pipeline.as_deref().is_none_or(|wanted| wanted == pipeline)
    };
    let runs: Vec<_> = snapshot.runs().iter().filter(|run| is_wanted(run.run_id, &run.pipeline)).collect();
    let mut logs = Vec::new();
    for run in &runs {
        for writer in &run.writers {
            let (run, writer) = (run.run_id, writer.writer);
            let parts = parts.remove(&(run, writer)).unwrap_or_default();
            logs.push(Pushed { layout: snapshot.layout(), run, writer, parts });
        }
    }
    transfers.begin_writers(logs.len() as u64);
    let (mut failures, mut written, mut writers) = (Vec::new(), Vec::new(), 0);
    let work = logs.iter().map(async |log| (log, log.push(transfers, options.check).await));
    let mut work = futures::stream::iter(work).buffer_unordered(options.jobs.clamp(1, 32));
    while let Some((log, done)) = work.next().await {
        transfers.end_writer();
        match done {
            Ok(keys) => {
                writers += u64::from(!keys.is_empty());
                written.extend(keys);
            }
            Err(error) => failures.push(Failure { run: Some(log.run), writer: Some(log.writer), error }),
        }
    }
    if !options.dry_run && !written.is_empty() {
        transfers.backend.announce(&written).await?;
    }
    let uncommitted = uncommitted(snapshot, &runs.iter().map(|run| run.run_id).collect());
    Ok(Report { runs: runs.len() as u64, writers, failures, uncommitted, ..transfers.report() })
}

fn uncommitted(snapshot: &Snapshot, runs: &BTreeSet<RunId>) -> Vec<Uncommitted> {
    let mut rows: BTreeMap<RunId, u64> = BTreeMap::new();
    for live in snapshot.live().iter().filter(|live| runs.contains(&live.run_id)) {
        *rows.entry(live.run_id).or_default() += live.batch.num_rows() as u64;
    }
    rows.into_iter().map(|(run, rows)| Uncommitted { run, rows }).collect()
}

impl Pushed<'_> {
    /// Pushes what the remote lacks of one log, and returns the names of the parts that were written.
    async fn push(&self, transfers: &Transfers<'_>, check: bool) -> Result<Vec<Key>> {
        let path = self.layout.events(self.run, self.writer);
        let mut own = log::read(&path)?;
        own.truncate(log::pushed_len(&own));
        let holds = explained(&own, &self.parts);
        let read = read_parts(transfers, wanted(&self.parts, &holds)).await?;
        let History { is_pushed, .. } = resolve(&own, &self.parts, &holds, &read)?;
        let claimed = self.parts.iter().zip(&holds).filter(|(_, holds)| **holds);
        let base = claimed.map(|(part, _)| part.end as usize).max().unwrap_or(0);
        let is_all_there = is_pushed && (base == own.len() || !read.is_empty());
        if own.is_empty() || (is_all_there && !check) {
            return Ok(Vec::new());
        }
        let damaged = |fault| Error::LocalDamaged { path: path.clone(), fault };
        let facts = log::facts(&own, self.run, self.writer).map_err(damaged)?;
        let known = if check { 0 } else { base };
        self.push_segments(transfers, &facts, &own[..known]).await?;
        let objects = self.objects(&facts, &own[known..])?;
        try_join_all(objects.iter().map(async |object| {
            let path = self.layout.object(object.blake3);
            let source = Source::File { path, bytes: object.bytes, hash: object.blake3 };
            transfers.upload(Thing::Object, &Key::object(object.blake3), &source).await
        }))
        .await?;
        if is_all_there {
            return Ok(Vec::new());
        }
        let mut keys = Vec::new();
        // The last first: nobody follows it before the first is there, and then all that the lines name is, too.
        for (name, content) in part::make(self.run, self.writer, &own, base, &objects).into_iter().rev() {
            let key = Key::part(&name);
            transfers.upload(Thing::Part, &key, &Source::Memory(content)).await?;
            keys.push(key);
        }
        Ok(keys)
    }

    /// Sends the segments that count now and did not when the lines at the remote ended.
    async fn push_segments(&self, transfers: &Transfers<'_>, facts: &Facts, before: &[u8]) -> Result<()> {
        let before = log::facts(before, self.run, self.writer).map(|facts| facts.segments).unwrap_or_default();
        let known: BTreeSet<&str> = before.iter().map(|segment| segment.file.as_str()).collect();
        let new = facts.segments.iter().filter(|segment| !known.contains(segment.file.as_str()));
        let sent = new.map(async |segment| {
            let (folder, file) = log::place_of(segment, self.writer)?;
            let path = self.layout.run(self.run).join(&folder).join(file.file_name());
            let source = Source::File { path, bytes: segment.bytes, hash: segment.blake3 };
            transfers.upload(Thing::Segment, &Key::segment(self.run, &folder, file), &source).await
        });
        try_join_all(sent).await.map(drop)
    }

    /// The objects that lines name, and those that the folders among them list.
    fn objects(&self, facts: &Facts, lines: &[u8]) -> Result<Vec<ObjectRecord>> {
        let root = Root::new(self.layout.root());
        let mut open: Vec<ContentHash> = log::hashes(lines).into_iter().collect();
        let stored: BTreeSet<_> = open.iter().filter(|hash| facts.stored.contains(hash)).copied().collect();
        let mut seen = BTreeSet::new();
        let mut found = BTreeSet::new();
        while let Some(hash) = open.pop() {
            if !seen.insert(hash) {
                continue;
            }
            let hex = hash.to_string();
            let path = self.layout.object(hash);
            let Some(mut file) = root.open(&format!("objects/{}/{hex}", &hex[..2]))? else {
                if stored.contains(&hash) {
                    return Err(Error::LocalDamaged {
                        path,
                        fault: "an artifact was stored as it, and it is not there".into(),
                    });
                }
                continue;
            };
            let bytes = file.metadata().map_err(Error::io("read", &path))?.len();
            found.insert(ObjectRecord { blake3: hash, bytes });
            let mut first = [0];
            if bytes <= LIST_BYTES_MAX
                && file.read(&mut first).map_err(Error::io("read", &path))? == 1
                && first == *b"{"
            {
                let mut list = first.to_vec();
                file.read_to_end(&mut list).map_err(Error::io("read", &path))?;
                open.extend(log::hashes(&list));
            }
        }
        Ok(found.into_iter().collect())
    }
}
