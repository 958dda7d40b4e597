//! Making packs of what is small, and removing those that are of no use any more.
//!
//! Packs grow as runs of a log-structured merge tree do (O'Neil et al., "The log-structured merge-tree", Acta Informatica 33, 1996, in the
//! tiered form): new segments become a pack of their own, and many small packs become one, so that a row is written a few times and not
//! with each pack.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use arrow::array::{Array, AsArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use parquet::file::metadata::ParquetMetaDataReader;

use super::contents::{Listed, PACK_KEY};
use super::{PackContents, PackFile, list_on};
use crate::batch::{MetricColumns, columns_of, segment_schema};
use crate::catalog::CatalogSnapshot;
use crate::compaction::{CompactFailure, CompactOptions, CompactReport, Packed};
use crate::error::{Error, Result, with_causes};
use crate::fail_point;
use crate::ids::{ContentHash, RunId, random_u64};
use crate::layout::{Layout, TEMP_PREFIX};
use crate::segment::{
    FORMAT_KEY, FileColumns, NewFile, SEGMENT_FORMAT, SegmentSource, TextRuns, key_values, open_reader, properties,
    without_panic,
};
use crate::snapshot::{RunState, SegmentInfo};
use crate::storage::{LockKind, StorageFile, create_folder, list_if_there, publish, remove_file, sync_folder};
use crate::verify::check_on;

/// Small packs of a metrics name from which on they become one.
const SMALL_PACKS_MAX: usize = 8;

/// The small segments of ended runs, and all segments that count.
pub(crate) struct Candidates {
    small: Vec<SegmentInfo>,
    all: HashSet<ContentHash>,
}

impl Candidates {
    /// As the catalog says.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub(crate) fn of(catalog: &CatalogSnapshot, options: &CompactOptions) -> Result<Self> {
        let has_ended = |state: RunState| state != RunState::Running;
        let runs = catalog.runs()?.into_iter();
        let ended: HashSet<RunId> =
            runs.filter(|run| run.writers.iter().all(|writer| has_ended(writer.state))).map(|run| run.run_id).collect();
        let mut candidates = Self::among(catalog.segments()?, options);
        candidates.small.retain(|segment| ended.contains(&segment.run_id));
        Ok(candidates)
    }

    /// Those of `segments` that are small.
    pub(super) fn among(mut segments: Vec<SegmentInfo>, options: &CompactOptions) -> Self {
        let all = segments.iter().map(|segment| segment.blake3).collect();
        segments.retain(|segment| options.is_small(segment.bytes, segment.rows));
        Self { small: segments, all }
    }
}

/// Packs what is due, and removes packs whose rows others have, or nobody.
///
/// # Errors
/// [`Error::Io`], [`Error::SyncFailed`], [`Error::Parquet`]: what was packed until then is of use. Segments that are damaged are left out and
/// told in the report.
pub(crate) fn build(
    layout: &Layout,
    candidates: &Candidates,
    options: &CompactOptions,
    report: &mut CompactReport,
) -> Result<()> {
    let folder = layout.packs();
    let is_there = layout.storage().exists(&folder);
    if !is_there && candidates.small.len() < options.pack_segments_min {
        return Ok(());
    }
    if !options.dry_run && !is_there {
        create_folder(layout.storage(), &folder)?;
    }
    let Some(_lock) = lock(layout, options.dry_run)? else { return Ok(()) };
    let mut work = Packing { layout, options, report, packs: Vec::new(), useless: Vec::new() };
    fail_point::reach("pack.begin");
    work.look(candidates)?;
    for (name, segments) in work.due(candidates) {
        work.pack(&name, segments)?;
    }
    fail_point::reach("pack.published");
    work.remove_useless()
}

/// Keeps other processes from the same work; `None` while one is at it. The lock file is left: whoever opened it before it was removed would
/// hold a lock that nobody sees.
fn lock(layout: &Layout, dry_run: bool) -> Result<Option<Option<Box<dyn StorageFile>>>> {
    if dry_run {
        return Ok(Some(None));
    }
    let path = layout.packs().join("lock");
    let storage = layout.storage();
    let file = match storage.create_new(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => storage.open_write(&path),
        other => other,
    };
    let file = file.map_err(Error::io("open", &path))?;
    // Some network file systems have no locks: two at once then do the same work twice.
    let is_ours = file.try_lock(LockKind::Exclusive).unwrap_or(true);
    Ok(is_ours.then_some(Some(file)))
}

struct Packing<'a> {
    layout: &'a Layout,
    options: &'a CompactOptions,
    report: &'a mut CompactReport,
    /// Those that are of use, with what they have.
    packs: Vec<(PackFile, PackContents)>,
    useless: Vec<PackFile>,
}

impl Packing<'_> {
    /// Looks at the packs there are, and clears away what was left half written.
    fn look(&mut self, candidates: &Candidates) -> Result<()> {
        let (storage, folder) = (self.layout.storage(), self.layout.packs());
        for entry in list_if_there(storage, &folder)? {
            if entry.name.starts_with(TEMP_PREFIX) && !self.options.dry_run {
                remove_file(storage, &folder.join(&entry.name))?;
            }
        }
        for pack in list_on(storage, &folder)? {
            match open(self.layout, &pack) {
                Ok(contents) => {
                    let of_use = contents.segments().filter(|segment| candidates.all.contains(segment));
                    let rows: u64 = of_use.map(|segment| contents.rows_of_segment(segment)).sum();
                    if rows > contents.rows() / 2 {
                        self.packs.push((pack, contents));
                    } else {
                        self.useless.push(pack);
                    }
                }
                // What it repeats is in the segments.
                Err(error) if error.is_corruption() => self.useless.push(pack),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The segments that are to be packed, by metrics name. Packs that they take the place of are of no use from then on.
    fn due<'s>(&mut self, candidates: &'s Candidates) -> BTreeMap<String, Vec<&'s SegmentInfo>> {
        let mut due: BTreeMap<String, Vec<&SegmentInfo>> = BTreeMap::new();
        for segment in &candidates.small {
            if !self.packs.iter().any(|(_, contents)| contents.has(segment.blake3)) {
                due.entry(segment.metrics_name.clone()).or_default().push(segment);
            }
        }
        due.retain(|_, segments| segments.len() >= self.options.pack_segments_min.max(1));
        let small: HashMap<ContentHash, &SegmentInfo> =
            candidates.small.iter().map(|segment| (segment.blake3, segment)).collect();
        for (name, segments) in &mut due {
            let rows_max = self.options.pack_rows_max;
            let is_small = |(pack, contents): &(PackFile, PackContents)| {
                contents.metrics_name() == name && pack.rows < rows_max / 2
            };
            let small_packs = self.packs.iter().filter(|pack| is_small(pack)).count();
            if small_packs < SMALL_PACKS_MAX || !self.options.merges_packs {
                continue;
            }
            let (merged, kept) = std::mem::take(&mut self.packs).into_iter().partition(is_small);
            self.packs = kept;
            for (pack, contents) in merged {
                segments.extend(contents.segments().filter_map(|segment| small.get(&segment).copied()));
                self.useless.push(pack);
            }
        }
        for segments in due.values_mut() {
            segments.sort_by_key(|segment| (segment.run_id, segment.writer, segment.n));
            segments.dedup_by_key(|segment| segment.blake3);
        }
        due
    }

    /// Packs segments of one metrics name, in their order, into packs that are not too large.
    fn pack(&mut self, name: &str, segments: Vec<&SegmentInfo>) -> Result<()> {
        let mut rest = segments.as_slice();
        while !rest.is_empty() {
            let mut rows = 0;
            let mut fits = |segment: &SegmentInfo| {
                rows += segment.rows;
                rows <= self.options.pack_rows_max
            };
            let (chosen, after) = rest.split_at(rest.iter().take_while(|segment| fits(segment)).count().max(1));
            rest = after;
            let mut packed = Packed {
                metrics_name: name.to_owned(),
                segments: chosen.len() as u64,
                rows: chosen.iter().map(|segment| segment.rows).sum(),
                bytes_of_segments: chosen.iter().map(|segment| segment.bytes).sum(),
                bytes: None,
            };
            if !self.options.dry_run {
                let sources = self.read(chosen);
                if sources.is_empty() {
                    continue;
                }
                let temp = self.layout.packs().join(format!("{TEMP_PREFIX}{:016x}", random_u64()));
                let written = self.write(name, &sources, &temp);
                let (pack, bytes) = written.inspect_err(|_| drop(remove_file(self.layout.storage(), &temp)))?;
                fail_point::reach("pack.written");
                publish(self.layout.storage(), &temp, &pack.path)?;
                // The same rows make the same file, and one that was damaged has been replaced.
                self.useless.retain(|old| old.path != pack.path);
                packed.bytes = Some(bytes);
                (packed.segments, packed.rows) = (pack.segments, pack.rows);
            }
            self.report.packed.push(packed);
        }
        Ok(())
    }

    /// The rows of segments; those that cannot be read are told and left out.
    fn read<'s>(&mut self, segments: &[&'s SegmentInfo]) -> Vec<Source<'s>> {
        let mut sources = Vec::with_capacity(segments.len());
        for segment in segments {
            match Source::read(self.layout, segment) {
                Ok(source) => sources.push(source),
                Err(error) => self.report.failures.push(CompactFailure {
                    run_id: segment.run_id,
                    writer: segment.writer,
                    why: with_causes(&error),
                    is_corruption: error.is_corruption(),
                }),
            }
        }
        sources
    }

    /// Writes a pack and reads it back.
    fn write(&self, name: &str, sources: &[Source<'_>], temp: &Path) -> Result<(PackFile, u64)> {
        let storage = self.layout.storage();
        let rows = Rows::of(sources);
        let listed = Listed {
            metrics_name: name.to_owned(),
            metrics: rows.metrics.iter().map(|metric| (*metric).to_owned()).collect(),
            segments: rows.listed(sources),
        };
        let text = serde_json::to_string(&listed).unwrap_or_default();
        let footer = key_values([(FORMAT_KEY, SEGMENT_FORMAT.to_string()), (PACK_KEY, text)]);
        let columns = rows.columns(name, sources);
        let file = NewFile::create(storage, temp)?.write(&columns, properties([2, 0], footer))?;
        let (blake3, bytes) = file.sync()?;
        check_on(storage, temp, blake3)?;
        let is_same = without_panic(temp, || is_same(self.layout, temp, &columns))?;
        if !is_same {
            let fault = "it does not hold the rows that were packed; nothing was replaced".to_owned();
            return Err(Error::Damaged { path: temp.to_owned(), fault });
        }
        let rows = columns.parts.iter().map(|part| part.len() as u64).sum();
        Ok((PackFile::new(&self.layout.packs(), blake3, sources.len() as u64, rows), bytes))
    }

    /// Removes packs whose rows others have, or nobody. Whoever reads one has it open, or goes on with the segments.
    fn remove_useless(&mut self) -> Result<()> {
        if self.useless.is_empty() || self.options.dry_run {
            return Ok(());
        }
        for pack in &self.useless {
            remove_file(self.layout.storage(), &pack.path)?;
            self.report.packs_removed += 1;
        }
        fail_point::reach("pack.removed");
        sync_folder(self.layout.storage(), &self.layout.packs())
    }
}

/// What a pack has, once its hash was compared.
fn open(layout: &Layout, pack: &PackFile) -> Result<PackContents> {
    check_on(layout.storage(), &pack.path, pack.blake3)?;
    let file = SegmentSource::open(layout, &pack.path).map_err(Error::io("open the pack", &pack.path))?;
    without_panic(&pack.path, || {
        let footer = ParquetMetaDataReader::new().parse_and_finish(&file);
        let parquet = |source| Error::Parquet { action: "read", path: pack.path.clone(), source };
        PackContents::of(&footer.map_err(parquet)?, &pack.path)
    })
}

/// A segment that is packed, with its rows by metric.
struct Source<'a> {
    segment: &'a SegmentInfo,
    columns: Vec<MetricColumns>,
}

impl<'a> Source<'a> {
    fn read(layout: &Layout, segment: &'a SegmentInfo) -> Result<Self> {
        check_on(layout.storage(), &segment.path, segment.blake3)?;
        let columns = without_panic(&segment.path, || {
            let parquet = |source| Error::Parquet { action: "read", path: segment.path.clone(), source };
            let batches = open_reader(layout, &segment.path)?.build().map_err(parquet)?;
            let batches = batches.collect::<std::result::Result<Vec<_>, _>>()?;
            columns_by_metric(&concat_batches(&segment_schema(), &batches)?, segment)
        })?;
        Ok(Self { segment, columns })
    }
}

/// The rows of each metric of a segment, as its statistics count them.
fn columns_by_metric(batch: &RecordBatch, segment: &SegmentInfo) -> Result<Vec<MetricColumns>> {
    let mut start = 0;
    let mut columns = Vec::with_capacity(segment.metrics.len());
    for stats in &segment.metrics {
        let end = start + usize::try_from(stats.count).unwrap_or(usize::MAX);
        // Rows are sorted by metric: where the first and the last have it, all have.
        let is_of = |row: usize| row < batch.num_rows() && text_at(batch, "metric", row) == Some(&stats.metric);
        if !(start < end && is_of(start) && is_of(end - 1)) {
            break;
        }
        columns.push(columns_of(batch, start..end));
        start = end;
    }
    if columns.len() == segment.metrics.len() && start == batch.num_rows() {
        return Ok(columns);
    }
    let fault = "it has other rows or metrics than the event log says".to_owned();
    Err(Error::Damaged { path: segment.path.clone(), fault })
}

fn text_at<'a>(batch: &'a RecordBatch, column: &str, row: usize) -> Option<&'a str> {
    let column = batch.column_by_name(column)?.as_dictionary_opt::<Int32Type>()?;
    let values = column.values().as_string_opt::<i32>()?;
    let key = usize::try_from(column.keys().values()[row]).ok()?;
    (key < values.len()).then(|| values.value(key))
}

/// The order of the rows of a pack.
struct Rows<'a> {
    /// Sorted.
    metrics: Vec<&'a str>,
    /// Metric, source, and position of the metric among those of the source.
    picks: Vec<(usize, usize, usize)>,
}

impl<'a> Rows<'a> {
    fn of(sources: &[Source<'a>]) -> Self {
        let mut places: BTreeMap<&str, Vec<(usize, usize)>> = BTreeMap::new();
        for (number, source) in sources.iter().enumerate() {
            for (place, stats) in source.segment.metrics.iter().enumerate() {
                places.entry(&stats.metric).or_default().push((number, place));
            }
        }
        let picks = places.values().enumerate();
        let picks = picks.flat_map(|(metric, of)| of.iter().map(move |(source, place)| (metric, *source, *place)));
        Self { picks: picks.collect(), metrics: places.into_keys().collect() }
    }

    fn listed(&self, sources: &[Source<'_>]) -> Vec<(ContentHash, Vec<(u32, u64)>)> {
        let mut listed: Vec<_> = sources.iter().map(|source| (source.segment.blake3, Vec::new())).collect();
        for (metric, source, place) in &self.picks {
            listed[*source].1.push((*metric as u32, sources[*source].columns[*place].len() as u64));
        }
        listed
    }

    fn columns<'s>(&self, name: &'s str, sources: &'s [Source<'s>]) -> FileColumns<'s>
    where
        'a: 's,
    {
        let parts: Vec<&MetricColumns> =
            self.picks.iter().map(|(_, source, place)| &sources[*source].columns[*place]).collect();
        let mut runs: Vec<RunId> = sources.iter().map(|source| source.segment.run_id).collect();
        runs.dedup();
        let (mut of_run, mut of_metric) = (Vec::new(), Vec::new());
        let (mut rank, mut attempt) = (Vec::new(), Vec::new());
        let mut start = 0;
        for ((metric, source, _), part) in self.picks.iter().zip(&parts) {
            let segment = sources[*source].segment;
            let end = start + part.len();
            let run = runs.binary_search(&segment.run_id).unwrap_or_default();
            append(&mut of_run, run as u32, start..end);
            append(&mut of_metric, *metric as u32, start..end);
            rank.resize(end, segment.writer.rank);
            attempt.resize(end, segment.writer.attempt);
            start = end;
        }
        FileColumns {
            run: TextRuns { values: runs.iter().map(|run| run.to_string().into()).collect(), runs: of_run },
            metrics_name: TextRuns::constant(name, start),
            metric: TextRuns { values: self.metrics.iter().map(|metric| (*metric).into()).collect(), runs: of_metric },
            parts,
            rank,
            attempt,
        }
    }
}

/// Adds rows with a value, to the run before them where it has the same.
fn append(runs: &mut Vec<(u32, std::ops::Range<usize>)>, key: u32, rows: std::ops::Range<usize>) {
    match runs.last_mut() {
        Some((last, before)) if *last == key => before.end = rows.end,
        _ => runs.push((key, rows)),
    }
}

/// Whether the file at `path` holds the rows of `columns`, bit by bit.
fn is_same(layout: &Layout, path: &Path, columns: &FileColumns<'_>) -> Result<bool> {
    let parquet = |source| Error::Parquet { action: "read", path: path.to_owned(), source };
    let batches = open_reader(layout, path)?.build().map_err(parquet)?;
    let (mut start, mut parts) = (0, columns.parts.iter());
    // The rows of a part that the batches so far did not reach.
    let mut left: Option<(&MetricColumns, usize)> = None;
    for batch in batches {
        let batch = batch?;
        let texts = [("run_id", &columns.run), ("metrics_name", &columns.metrics_name), ("metric", &columns.metric)];
        let rows = start..start + batch.num_rows();
        let same_texts = texts.iter().all(|(name, runs)| has_texts(&batch, name, runs, rows.clone()));
        let numbers = |name: &str| Some(batch.column_by_name(name)?.as_primitive_opt::<Int32Type>()?.values().to_vec());
        let same_numbers = columns.rank.get(rows.clone()).map(<[i32]>::to_vec) == numbers("rank")
            && columns.attempt.get(rows.clone()).map(<[i32]>::to_vec) == numbers("attempt");
        if !same_texts || !same_numbers {
            return Ok(false);
        }
        let mut row = 0;
        while row < batch.num_rows() {
            let Some((part, from)) = left.take().or_else(|| parts.next().map(|part| (*part, 0))) else {
                return Ok(false);
            };
            let count = (part.len() - from).min(batch.num_rows() - row);
            if !has_rows(&batch, row..row + count, part, from) {
                return Ok(false);
            }
            row += count;
            left = (from + count < part.len()).then_some((part, from + count));
        }
        start = rows.end;
    }
    Ok(left.is_none() && parts.next().is_none())
}

fn has_texts(batch: &RecordBatch, column: &str, runs: &TextRuns<'_>, rows: std::ops::Range<usize>) -> bool {
    let first = runs.runs.partition_point(|(_, of)| of.end <= rows.start);
    let mut row = rows.start;
    for (key, of) in &runs.runs[first..] {
        while row < of.end.min(rows.end) {
            if text_at(batch, column, row - rows.start) != Some(runs.values[*key as usize].as_ref()) {
                return false;
            }
            row += 1;
        }
    }
    row == rows.end
}

fn has_rows(batch: &RecordBatch, rows: std::ops::Range<usize>, part: &MetricColumns, from: usize) -> bool {
    let of = from..from + rows.len();
    let column = |name: &str| batch.column_by_name(name);
    let integers = |name: &str| Some(&column(name)?.as_primitive_opt::<Int64Type>()?.values()[rows.clone()]);
    let time = column("time").and_then(|time| time.as_primitive_opt::<TimestampMicrosecondType>());
    let value = column("value").and_then(|value| value.as_primitive_opt::<Float64Type>());
    let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    integers("step") == Some(&part.step[of.clone()])
        && integers("seq") == Some(&part.seq[of.clone()])
        && time.is_some_and(|time| time.values()[rows.clone()] == part.time[of.clone()])
        && value.is_some_and(|value| bits(&value.values()[rows.clone()]) == bits(&part.value[of]))
}
