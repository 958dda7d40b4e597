//! From checked records to runs in a store.

use std::collections::HashMap;
use std::path::PathBuf;

use indicatif::ProgressBar;
use stepwell_engine::events::FinishState;
use stepwell_engine::names::{MetricsName, NameKind, check_name};
use stepwell_engine::{ArtifactSpec, Direction, Run, RunId, RunOptions, RunState, Store};

use super::read::{CsvColumns, CsvData, CsvRun};
use crate::error::{CliError, Result};
use crate::messages;

/// Tag with the BLAKE3 of the file a run was imported from.
pub const TAG_HASH: &str = "import_blake3";
/// Tag with the BLAKE3 of that and of how the file was read: what makes two imports the same.
const TAG_KEY: &str = "import_key";
/// Tag with the name of the file a run was imported from.
pub const TAG_FILE: &str = "import_file";

/// How a file becomes runs.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// The file.
    pub file: PathBuf,
    /// Pipeline of the runs.
    pub pipeline: String,
    /// Stage of the runs.
    pub stage: String,
    /// Metrics name of the records.
    pub metrics_name: String,
    /// Parameter that gets the value of the group column.
    pub group_param: Option<String>,
    /// How the columns were read.
    pub columns: CsvColumns,
    /// Import again what was imported before.
    pub is_forced: bool,
}

impl ImportOptions {
    /// What makes two imports the same: the content of the file, and how it is read.
    fn key(&self, hash: &str) -> String {
        let parts = format!("{hash}\0{:?}\0{}\0{}\0{}", self.columns, self.pipeline, self.stage, self.metrics_name);
        blake3::hash(parts.as_bytes()).to_hex().to_string()
    }

    /// Checks every name before the store is touched.
    ///
    /// # Errors
    /// [`stepwell_engine::Error::InvalidName`].
    pub fn check(&self, data: &CsvData) -> Result<()> {
        check_name(NameKind::Pipeline, &self.pipeline)?;
        check_name(NameKind::Stage, &self.stage)?;
        MetricsName::try_new(&self.metrics_name)?;
        if let Some(param) = &self.group_param {
            check_name(NameKind::Param, param)?;
        }
        data.metrics.iter().try_for_each(|metric| check_name(NameKind::Metric, metric))?;
        Ok(data.runs.iter().try_for_each(|run| check_name(NameKind::Run, &run.name))?)
    }

    fn file_name(&self) -> String {
        self.file.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// One run of the file in the store.
#[derive(Clone, Debug)]
pub struct ImportedRun {
    /// The run.
    pub run_id: RunId,
    /// Its name.
    pub name: String,
    /// Records in it.
    pub records: u64,
    /// Whether this import made it; else an earlier one did.
    pub is_new: bool,
}

/// What an import did.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The runs of the file, in its order.
    pub runs: Vec<ImportedRun>,
}

/// Writes the runs of a file, but for those that an earlier import of the same content finished.
///
/// An interrupted import leaves finished runs and one that died; importing again adds what is missing.
///
/// # Errors
/// [`CliError::Engine`], [`CliError::Log`], [`CliError::Incomplete`]. The run at hand is marked as failed then.
pub fn import(store: &Store, data: &CsvData, options: &ImportOptions) -> Result<Outcome> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_mmap_rayon(&options.file).map_err(CliError::io("read", &options.file))?;
    let hash = hasher.finalize().to_hex().to_string();
    let key = options.key(&hash);
    let known = if options.is_forced { HashMap::new() } else { finished_before(store, &key)? };
    let bar = messages::bar("importing", "records", data.records());
    let mut outcome = Outcome::default();
    for run in &data.runs {
        let records = run.records.len() as u64;
        let known = known.get(&run.name).copied();
        let run_id = match known {
            Some(run_id) => run_id,
            None => import_run(store, data, run, options, [(TAG_HASH, &hash), (TAG_KEY, &key)], &bar)?,
        };
        outcome.runs.push(ImportedRun { run_id, name: run.name.clone(), records, is_new: known.is_none() });
        bar.inc(if known.is_some() { records } else { 0 });
    }
    bar.finish_and_clear();
    Ok(outcome)
}

/// Runs that an earlier import of the same content, read in the same way, brought in whole; by name.
fn finished_before(store: &Store, key: &str) -> Result<HashMap<String, RunId>> {
    let snapshot = store.snapshot()?;
    let is_known = |run: &&stepwell_engine::RunInfo| {
        run.state == RunState::Finished && run.tags.get(TAG_KEY).is_some_and(|tag| tag == key)
    };
    let named = |run: &stepwell_engine::RunInfo| Some((run.name.clone()?, run.run_id));
    Ok(snapshot.runs().iter().filter(is_known).filter_map(named).collect())
}

fn import_run(
    store: &Store,
    data: &CsvData,
    run: &CsvRun,
    options: &ImportOptions,
    tags: [(&str, &String); 2],
    bar: &ProgressBar,
) -> Result<RunId> {
    let mut start =
        RunOptions::new(&options.pipeline, &options.stage).name(&run.name).tag(TAG_FILE, options.file_name());
    for (name, value) in tags {
        start = start.tag(name, value);
    }
    if let (Some(param), Some(value)) = (&options.group_param, &run.group) {
        start = start.param(param, value.as_str());
    }
    let target = store.start_run(start)?;
    match fill(&target, data, run, options, bar) {
        Ok(()) => Ok(target.id()),
        Err(error) => {
            // The first error says what happened; the run is marked so that nobody takes it for a whole one.
            let _ = target.finish_as(FinishState::Failed);
            Err(error)
        }
    }
}

fn fill(target: &Run, data: &CsvData, run: &CsvRun, options: &ImportOptions, bar: &ProgressBar) -> Result<()> {
    let input = ArtifactSpec::new("Dataset", &options.file).name(options.file_name()).reference_only();
    target.log_artifact(Direction::Input, input)?;
    let metrics = data
        .metrics
        .iter()
        .map(|metric| target.metric(&options.metrics_name, metric))
        .collect::<stepwell_engine::Result<Vec<_>>>()?;
    let mut logger = target.logger()?;
    for batch in run.records.chunks(4096) {
        for record in batch {
            logger
                .log(metrics[record.metric as usize], record.step, record.value)
                .map_err(|source| CliError::Log { run: run.name.clone(), source })?;
        }
        bar.inc(batch.len() as u64);
    }
    drop(logger);
    let report = target.finish()?;
    report.warnings.iter().for_each(|warning| messages::say(warning));
    report.gaps.iter().for_each(|gap| messages::tell_loss(report.run_id, gap));
    let (logged, kept) = (run.records.len() as u64, report.rows);
    if kept == logged { Ok(()) } else { Err(CliError::Incomplete { run: run.name.clone(), logged, kept }) }
}
