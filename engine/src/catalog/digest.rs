//! From event logs to the facts of a run. Pure: no database, no clock.

use std::collections::{BTreeMap, BTreeSet};

use super::ids::Ids;
use super::references::{
    Reference, SEGMENTS_PROPERTY, commit_reference, content_reference, metrics_reference, numbers, record_reference,
};
use crate::event_log::{LogContents, LogFault};
use crate::events::{
    AliasEvent, ContextRecord, Event, EventLine, ExecutionRecord, FinishState, GapEvent, LinkEvent, MetricsCommitted,
    ParamValue, ProcessInfo, SegmentRecord, SegmentsReplaced, WriterStarted,
};
use crate::ids::{RunId, WriterId};
use crate::layout::stays_inside;
use crate::manifest::UNKNOWN;
use crate::snapshot::{RunState, WriterInfo};

/// All a run's event logs say.
#[derive(Clone, Debug)]
pub(super) struct RunDigest {
    pub run_id: RunId,
    pub logs: Vec<LogPosition>,
    /// Every writer finished: nothing will be added to these logs.
    pub closed: bool,
    pub faults: Vec<(WriterId, LogFault)>,
    /// `None` when there is no readable line.
    pub facts: Option<RunFacts>,
}

/// How far a log was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LogPosition {
    pub writer: WriterId,
    pub bytes: i64,
    pub complete_bytes: i64,
    pub lines: i64,
    pub damaged_lines: i64,
}

/// The facts of a run that has at least one readable line.
#[derive(Clone, Debug)]
pub(super) struct RunFacts {
    pub start: RunStart,
    pub state: RunState,
    /// Nanoseconds since the Unix epoch, as all times here.
    pub started: i64,
    pub ended: Option<i64>,
    pub last_event: i64,
    pub params: BTreeMap<String, ParamValue>,
    pub tags: BTreeMap<String, String>,
    pub writers: Vec<WriterFacts>,
    pub watermarks: BTreeMap<(WriterId, u32), u64>,
    /// By writer and file.
    pub segments: BTreeMap<(WriterId, String), SegmentRecord>,
    /// Segments that others took the place of, by writer and number.
    pub replaced: BTreeMap<(WriterId, u64), ReplacedFacts>,
    pub commits: Vec<Told<MetricsCommitted>>,
    pub gaps: Vec<Told<GapEvent>>,
    pub references: Vec<Reference>,
    pub execution: ExecutionRecord,
    pub contexts: Vec<Told<ContextRecord>>,
    pub links: Vec<Told<LinkEvent>>,
    pub aliases: Vec<Told<AliasEvent>>,
}

/// A segment that others took the place of.
#[derive(Clone, Debug, Default)]
pub(super) struct ReplacedFacts {
    /// When.
    pub time: i64,
    /// What the log says of it; `None` when the line that named it is gone.
    pub record: Option<SegmentRecord>,
    /// The log says that its file was removed.
    pub is_removed: bool,
}

/// What the first writer said about the run.
#[derive(Clone, Debug)]
pub(super) struct RunStart {
    pub pipeline: String,
    pub stage: String,
    pub name: Option<String>,
    pub command: String,
    pub git_repo: Option<String>,
    pub git_commit: Option<String>,
    pub git_branch: Option<String>,
}

impl RunStart {
    /// Name of the stage's context in ML Metadata.
    pub fn context_name(&self) -> String {
        format!("{}/{}", self.pipeline, self.stage)
    }
}

#[derive(Clone, Debug)]
pub(super) struct WriterFacts {
    pub info: WriterInfo,
    /// Records logged, as told at the end; 0 before.
    pub rows: u64,
}

/// What a writer told in line `n` of its log.
#[derive(Clone, Debug)]
pub(super) struct Told<T> {
    pub writer: WriterId,
    pub n: u64,
    pub time: i64,
    pub what: T,
}

/// Reads what the logs of a run say. The result does not depend on the order of `logs`.
pub(super) fn digest(run_id: RunId, mut logs: Vec<(WriterId, LogContents)>, ids: Ids) -> RunDigest {
    logs.sort_by_key(|(writer, _)| *writer);
    let mut faults = Vec::new();
    for (writer, log) in &mut logs {
        faults.extend(log.faults.iter().cloned().map(|fault| (*writer, fault)));
        let repeats = drop_repeats(log);
        faults.extend(repeats.into_iter().map(|fault| (*writer, LogFault { offset: 0, fault })));
        if let Some(fault) = misplaced(run_id, *writer, log) {
            faults.push((*writer, LogFault { offset: 0, fault }));
            log.lines.clear();
        }
    }
    let positions = logs.iter().map(|(writer, log)| position(*writer, log)).collect();
    let closed = logs.iter().all(|(_, log)| is_closed(log)) && !logs.is_empty();
    let facts = RunFacts::read(run_id, &logs, ids, &mut faults);
    RunDigest { run_id, logs: positions, closed, faults, facts }
}

fn position(writer: WriterId, log: &LogContents) -> LogPosition {
    LogPosition {
        writer,
        bytes: clamp(log.file_bytes),
        complete_bytes: clamp(log.complete_bytes),
        lines: clamp(log.lines.len() as u64),
        damaged_lines: clamp(log.faults.len() as u64),
    }
}

/// SQL has no unsigned integers; what is beyond them can only come from a log somebody made up.
pub(super) fn clamp(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn start_of(log: &LogContents) -> Option<&WriterStarted> {
    log.lines.iter().find_map(|line| match &line.event {
        Event::WriterStarted(started) => Some(started.as_ref()),
        _ => None,
    })
}

/// A log in the folder of another run, or under the name of another writer, would be indexed twice.
fn misplaced(run_id: RunId, writer: WriterId, log: &LogContents) -> Option<String> {
    let started = start_of(log).filter(|started| started.run_id != run_id || started.writer != writer)?;
    Some(format!("the log is that of writer {} of run {}, so it is not read here", started.writer, started.run_id))
}

/// Keeps the lines whose numbers rise: a number stands for one event.
fn drop_repeats(log: &mut LogContents) -> Vec<String> {
    let mut repeats = Vec::new();
    let mut next_n = 0;
    log.lines.retain(|line| {
        let rises = line.n >= next_n;
        if rises {
            next_n = line.n.saturating_add(1);
        } else {
            repeats.push(format!("event {} comes after event {}, so it is not read", line.n, next_n - 1));
        }
        rises
    });
    repeats
}

/// The lines that tell of the run, and not only of its files.
fn told(log: &LogContents) -> impl DoubleEndedIterator<Item = &EventLine> {
    log.lines.iter().filter(|line| !line.is_upkeep())
}

/// Whether nothing will be added. To a log with damaged lines, recovery may add what they named.
fn is_closed(log: &LogContents) -> bool {
    is_finished(log) && !log.has_torn_tail() && log.faults.is_empty()
}

fn is_finished(log: &LogContents) -> bool {
    matches!(told(log).last().map(|line| &line.event), Some(Event::WriterFinished { .. }))
}

/// State of a run from that of its writers: running while one runs; then what the last attempt of each rank came to, the
/// worst of them first: died, failed, finished.
pub fn run_state(writers: &[WriterInfo]) -> RunState {
    if writers.iter().any(|writer| writer.state == RunState::Running) {
        return RunState::Running;
    }
    let last_attempts: BTreeMap<i32, i32> = writers.iter().fold(BTreeMap::new(), |mut last, writer| {
        let attempt = last.entry(writer.writer.rank).or_insert(writer.writer.attempt);
        *attempt = (*attempt).max(writer.writer.attempt);
        last
    });
    let counts = |state| {
        writers.iter().any(|writer| {
            writer.state == state && last_attempts.get(&writer.writer.rank) == Some(&writer.writer.attempt)
        })
    };
    if counts(RunState::Died) {
        RunState::Died
    } else if counts(RunState::Failed) {
        RunState::Failed
    } else {
        RunState::Finished
    }
}

/// A line with the writer who wrote it.
type Line<'a> = (WriterId, &'a EventLine);

impl RunFacts {
    fn read(
        run_id: RunId,
        logs: &[(WriterId, LogContents)],
        ids: Ids,
        faults: &mut Vec<(WriterId, LogFault)>,
    ) -> Option<Self> {
        let mut lines: Vec<Line<'_>> =
            logs.iter().flat_map(|(writer, log)| log.lines.iter().map(|line| (*writer, line))).collect();
        lines.sort_by_key(|(writer, line)| (line.time, *writer, line.n));
        let last_event = lines.iter().rev().find(|(_, line)| !line.is_upkeep()).or(lines.last())?.1.time;
        let mut facts = Self {
            start: run_start(&lines),
            state: RunState::Running,
            started: lines.first()?.1.time,
            ended: None,
            last_event,
            params: BTreeMap::new(),
            tags: BTreeMap::new(),
            writers: logs.iter().filter_map(|(writer, log)| writer_facts(*writer, log)).collect(),
            watermarks: BTreeMap::new(),
            segments: BTreeMap::new(),
            replaced: BTreeMap::new(),
            commits: Vec::new(),
            gaps: Vec::new(),
            references: Vec::new(),
            execution: ExecutionRecord::default(),
            contexts: Vec::new(),
            links: Vec::new(),
            aliases: Vec::new(),
        };
        let infos: Vec<_> = facts.writers.iter().map(|writer| writer.info.clone()).collect();
        facts.state = run_state(&infos);
        let ends = facts.writers.iter().zip(logs).map(|(writer, (_, log))| last_sign_of_life(writer, log));
        facts.ended = if facts.state == RunState::Running { None } else { ends.max() };
        for (writer, line) in lines {
            facts.add(run_id, writer, line, ids, faults);
        }
        facts.follow_commits();
        Some(facts)
    }

    /// Puts segments in the place of others; the rules are those of the manifest.
    fn replace(&mut self, writer: WriterId, time: i64, event: &SegmentsReplaced) {
        let of_writer = (writer, 0)..=(writer, u64::MAX);
        let known = self.replaced.range(of_writer).map(|((_, n), _)| *n).collect();
        if !event.is_usable(&known) {
            return;
        }
        let replaced: BTreeSet<u64> = event.replaced.iter().copied().collect();
        let facts = ReplacedFacts { time, ..ReplacedFacts::default() };
        self.replaced.extend(replaced.iter().map(|n| ((writer, *n), facts.clone())));
        let is_old =
            |key: &(WriterId, String), segment: &mut SegmentRecord| key.0 == writer && replaced.contains(&segment.n);
        for (_, record) in self.segments.extract_if(.., is_old) {
            self.replaced.entry((writer, record.n)).and_modify(|facts| facts.record = Some(record));
        }
        let new = event.segments.iter().map(|segment| ((writer, segment.file.clone()), segment.clone()));
        self.segments.extend(new);
        let commits = self.commits.iter_mut().filter(|commit| commit.writer == writer);
        commits.for_each(|commit| commit.what.follow(&replaced, &event.segments));
    }

    /// Adds to what the execution is called; what is told later replaces what was told before.
    fn describe(&mut self, record: &ExecutionRecord) {
        let ExecutionRecord { execution_type, name, declared, origin } = record;
        let known = &mut self.execution;
        known.execution_type = execution_type.clone().or(known.execution_type.take());
        known.name = name.clone().or(known.name.take());
        known.declared.extend(declared.clone());
        if origin.is_imported() {
            known.origin = origin.clone();
        }
    }

    /// What commits say of their segments, once it is known which ones took the place of others.
    fn follow_commits(&mut self) {
        if self.replaced.is_empty() {
            return;
        }
        let commits: BTreeMap<(String, i64), String> = self
            .commits
            .iter()
            .map(|commit| ((commit.writer.to_string(), clamp(commit.n)), numbers(&commit.what.segments)))
            .collect();
        for reference in &mut self.references {
            if let Some(segments) = commits.get(&(reference.writer.clone(), reference.n)) {
                reference.properties.insert(SEGMENTS_PROPERTY.to_owned(), ParamValue::Text(segments.clone()));
            }
        }
    }

    fn add(
        &mut self,
        run_id: RunId,
        writer: WriterId,
        line: &EventLine,
        ids: Ids,
        faults: &mut Vec<(WriterId, LogFault)>,
    ) {
        let EventLine { n, time, event } = line;
        match event {
            Event::WriterStarted(started) => self.started = self.started.min(started.started),
            Event::Params { params } => self.params.extend(params.clone()),
            Event::Tags { tags } => self.tags.extend(tags.clone()),
            Event::Artifact(artifact) => self.references.push(content_reference(writer, line, artifact)),
            Event::Record(record) => self.references.push(record_reference(writer, line, record)),
            Event::Execution(record) => self.describe(record),
            Event::Context(record) => {
                self.contexts.push(Told { writer, n: *n, time: *time, what: record.as_ref().clone() });
            }
            Event::Link(link) => self.links.push(Told { writer, n: *n, time: *time, what: link.as_ref().clone() }),
            Event::Alias(alias) => self.aliases.push(Told { writer, n: *n, time: *time, what: alias.as_ref().clone() }),
            Event::ExecutionMetrics { name, metrics } => {
                self.references.push(metrics_reference(run_id, writer, line, name, metrics, ids));
            }
            Event::Segments(event) => {
                for segment in &event.segments {
                    if stays_inside(&segment.file) {
                        // Its name holds its hash: told again, it is the same.
                        self.segments.entry((writer, segment.file.clone())).or_insert_with(|| segment.clone());
                    } else {
                        let fault = format!("event {n} names the segment {:?}, which is outside the run", segment.file);
                        faults.push((writer, LogFault { offset: 0, fault }));
                    }
                }
                for watermark in &event.watermarks {
                    let committed = self.watermarks.entry((writer, watermark.ring)).or_default();
                    *committed = watermark.committed.max(*committed);
                }
            }
            Event::SegmentsReplaced(event) => self.replace(writer, *time, event),
            Event::ReplacedRemoved { segments } => {
                for n in segments {
                    self.replaced.entry((writer, *n)).and_modify(|facts| facts.is_removed = true);
                }
            }
            Event::SegmentSetAside { file, .. } => {
                self.segments.remove(&(writer, file.clone()));
            }
            Event::MetricsCommitted(commit) => {
                self.references.push(commit_reference(run_id, writer, line, commit, ids));
                self.commits.push(Told { writer, n: *n, time: *time, what: commit.clone() });
            }
            Event::Gap(gap) => self.gaps.push(Told { writer, n: *n, time: *time, what: gap.clone() }),
            Event::Recovered { .. } | Event::WriterFinished { .. } | Event::Unknown => {}
        }
    }
}

/// What the first writer said; a name may also come from a later one.
fn run_start(lines: &[Line<'_>]) -> RunStart {
    let mut starts = lines.iter().filter_map(|(_, line)| match &line.event {
        Event::WriterStarted(started) => Some(started.as_ref()),
        _ => None,
    });
    let name = starts.clone().find_map(|started| started.name.clone());
    match starts.next() {
        Some(started) => RunStart {
            pipeline: started.pipeline.clone(),
            stage: started.stage.clone(),
            name,
            command: started.command.clone(),
            git_repo: started.git_repo.clone(),
            git_commit: started.git_commit.clone(),
            git_branch: started.git_branch.clone(),
        },
        None => RunStart {
            pipeline: UNKNOWN.to_owned(),
            stage: UNKNOWN.to_owned(),
            name,
            command: String::new(),
            git_repo: None,
            git_commit: None,
            git_branch: None,
        },
    }
}

/// When a writer ended: its last event; of one that died, the last event that no recovering process appended, or the last
/// record, whichever is later.
fn last_sign_of_life(writer: &WriterFacts, log: &LogContents) -> i64 {
    if writer.info.state != RunState::Died {
        return writer.info.last_event;
    }
    let signs = log.lines.iter().filter_map(|line| match &line.event {
        Event::Segments(event) => event.segments.iter().map(|segment| segment.time_max.saturating_mul(1000)).max(),
        Event::MetricsCommitted(_) | Event::Gap(_) | Event::Recovered { .. } => None,
        Event::SegmentSetAside { .. } | Event::Unknown => None,
        _ if line.is_upkeep() => None,
        _ => Some(line.time),
    });
    signs.max().unwrap_or(writer.info.last_event)
}

fn writer_facts(writer: WriterId, log: &LogContents) -> Option<WriterFacts> {
    let (first, last) = (log.lines.first()?, told(log).last().or(log.lines.last())?);
    let start = start_of(log);
    let process = start.map_or_else(
        || ProcessInfo { host: UNKNOWN.to_owned(), boot_id: String::new(), pid: 0, pid_start: 0 },
        |started| started.process.clone(),
    );
    let mut facts = WriterFacts {
        info: WriterInfo {
            writer,
            process,
            state: RunState::Running,
            started: first.time,
            last_event: last.time,
            version: start.map_or_else(String::new, |started| started.version.clone()),
            waits: 0,
            drops: 0,
            journal_folder: start.and_then(|started| started.journals.clone()),
        },
        rows: 0,
    };
    for line in &log.lines {
        match &line.event {
            Event::Recovered { .. } if facts.info.state == RunState::Running => facts.info.state = RunState::Died,
            Event::WriterFinished { state, rows, waits, drops } => {
                facts.info.state = match state {
                    FinishState::Finished => RunState::Finished,
                    FinishState::Failed => RunState::Failed,
                };
                (facts.rows, facts.info.waits, facts.info.drops) = (*rows, *waits, *drops);
            }
            _ => {}
        }
    }
    Some(facts)
}
