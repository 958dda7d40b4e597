//! One training run: what a user's training script would look like.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;
use stepwell_engine::{ArtifactSpec, Direction, LogError, ParamValue, Run, RunOptions, Store};

use super::digits::{Images, Random};
use super::model::{HIDDEN, Model};
use crate::error::{CliError, Result};
use crate::{messages, out};

/// Pipeline of the demo's training.
pub const PIPELINE: &str = "digits";
/// Stage of the training runs.
pub const STAGE: &str = "train";
/// Metrics name of what is logged at every step.
pub const STEP_METRICS: &str = "training_metrics";
/// The metrics logged at every step, in one row.
pub const ROW: [&str; 3] = ["loss", "accuracy", "grad_norm"];
/// Metrics name of what is logged once per epoch.
pub const EPOCH_METRICS: &str = "validation_metrics";
/// The metric logged once per epoch.
pub const VAL_ACCURACY: &str = "val_accuracy";
/// Images in one batch.
const BATCH: usize = 32;

/// What a training run is made of.
#[derive(Clone, Debug)]
pub struct TrainSpec {
    /// Name of the run.
    pub name: String,
    /// Learning rate.
    pub learning_rate: f64,
    /// Seed of weights and order.
    pub seed: u32,
    /// How often all images are seen.
    pub epochs: u32,
}

/// The prepared data and where it lies.
pub struct DataSet {
    /// Training images.
    pub train: Images,
    /// Validation images.
    pub validation: Images,
    folder: PathBuf,
}

impl DataSet {
    /// Where the training images lie in the demo's folder.
    pub fn train_path(folder: &Path) -> PathBuf {
        folder.join("train.csv")
    }

    /// Where the validation images lie in the demo's folder.
    pub fn validation_path(folder: &Path) -> PathBuf {
        folder.join("validation.csv")
    }

    /// Reads what the stage `prepare` wrote.
    ///
    /// # Errors
    /// [`CliError::Io`].
    pub fn read(folder: &Path) -> Result<Self> {
        let (train, validation) =
            (Images::read(&Self::train_path(folder))?, Images::read(&Self::validation_path(folder))?);
        Ok(Self { train, validation, folder: folder.to_owned() })
    }

    /// Steps of one epoch.
    pub fn steps_per_epoch(&self) -> u64 {
        self.train.len().div_ceil(BATCH) as u64
    }
}

/// How a run went.
#[derive(Clone, Copy, Debug, Default)]
pub struct TrainOutcome {
    /// Log calls made.
    pub calls: u64,
    /// Records they logged.
    pub records: u64,
    /// Time from the first step to the last.
    pub training: Duration,
}

/// Told after each log call that returned: the step, and how many records were logged so far.
pub type OnLogged<'a> = dyn FnMut(i64, u64) -> Result<()> + 'a;

/// Starts the run of a specification, with its parameters and inputs.
///
/// # Errors
/// [`CliError::Engine`].
pub fn start(store: &Store, spec: &TrainSpec, data: &DataSet) -> Result<Run> {
    let options = RunOptions::new(PIPELINE, STAGE)
        .name(&spec.name)
        .param("lr", spec.learning_rate)
        .param("seed", i64::from(spec.seed))
        .param("epochs", i64::from(spec.epochs))
        .param("hidden", HIDDEN as i64)
        .tag("made_by", "stepwell demo");
    let run = store.start_run(options)?;
    for path in [DataSet::train_path(&data.folder), DataSet::validation_path(&data.folder)] {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        run.log_artifact(Direction::Input, ArtifactSpec::new("Dataset", path).name(name))?;
    }
    Ok(run)
}

/// Trains, and logs every step.
///
/// # Errors
/// [`CliError::Engine`], [`CliError::Log`], and what `on_logged` returns.
pub fn train(
    run: &Run,
    spec: &TrainSpec,
    data: &DataSet,
    on_logged: &mut OnLogged<'_>,
) -> Result<(Model, TrainOutcome)> {
    let row = run.row(STEP_METRICS, &ROW)?;
    let val_accuracy = run.metric(EPOCH_METRICS, VAL_ACCURACY)?;
    let mut log = run.logger()?;
    let refused = |source: LogError| CliError::Log { run: spec.name.clone(), source };

    let mut model = Model::new(u64::from(spec.seed));
    let mut random = Random::new(u64::from(spec.seed) + 1_000_000);
    let mut order: Vec<usize> = (0..data.train.len()).collect();
    let mut outcome = TrainOutcome::default();
    let mut step = 0;
    let start = Instant::now();
    for _ in 0..spec.epochs {
        random.shuffle(&mut order);
        for batch in order.chunks(BATCH) {
            let seen = model.step(&data.train, batch, spec.learning_rate as f32);
            log.log_row(&row, step, &[seen.loss, seen.accuracy, seen.grad_norm]).map_err(refused)?;
            outcome.calls += 1;
            outcome.records += ROW.len() as u64;
            on_logged(step, outcome.records)?;
            step += 1;
        }
        log.log(val_accuracy, step - 1, model.accuracy(&data.validation)).map_err(refused)?;
        outcome.calls += 1;
        outcome.records += 1;
        on_logged(step - 1, outcome.records)?;
    }
    outcome.training = start.elapsed();
    Ok((model, outcome))
}

/// Trains one run from start to finish, and keeps its weights.
///
/// # Errors
/// Those of [`start`] and [`train`]; [`CliError::Incomplete`] when a record was lost.
pub fn run(store: &Store, spec: &TrainSpec, data: &DataSet, on_logged: &mut OnLogged<'_>) -> Result<TrainOutcome> {
    let run = start(store, spec, data)?;
    let (model, outcome) = train(&run, spec, data, on_logged)?;
    let weights = data.folder.join(format!("{}.safetensors", spec.name.replace(' ', "-")));
    out::write_file(&weights, |file| write_weights(&model, file).map_err(CliError::io("write", &weights)))?;
    let name = weights.file_name().unwrap_or_default().to_string_lossy().into_owned();
    run.log_artifact(Direction::Output, ArtifactSpec::new("Model", &weights).name(name))?;
    let finals: BTreeMap<String, ParamValue> = [
        ("train_accuracy".to_owned(), model.accuracy(&data.train).into()),
        (VAL_ACCURACY.to_owned(), model.accuracy(&data.validation).into()),
        ("training_secs".to_owned(), outcome.training.as_secs_f64().into()),
    ]
    .into();
    run.log_execution_metrics("result", finals)?;
    let report = run.finish()?;
    report.gaps.iter().for_each(|gap| messages::tell_loss(report.run_id, gap));
    if report.rows != outcome.records {
        return Err(CliError::Incomplete { run: spec.name.clone(), logged: outcome.records, kept: report.rows });
    }
    Ok(outcome)
}

/// Writes the weights in the safetensors format: the length of a JSON header, the header, the values.
fn write_weights(model: &Model, file: &mut impl Write) -> std::io::Result<()> {
    let mut header = serde_json::Map::new();
    let mut offset = 0;
    for (name, shape, values) in model.tensors() {
        let end = offset + size_of_val(values);
        header.insert(name.to_owned(), json!({"dtype": "F32", "shape": shape, "data_offsets": [offset, end]}));
        offset = end;
    }
    let mut header = serde_json::Value::Object(header).to_string();
    // The format wants the values to start at a multiple of eight bytes.
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    let values = model.tensors().into_iter().flat_map(|(_, _, values)| values);
    values.into_iter().try_for_each(|value| file.write_all(&value.to_le_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::model::WEIGHTS;

    #[test]
    fn weights_are_a_valid_safetensors_file() {
        let mut bytes = Vec::new();
        write_weights(&Model::new(1), &mut bytes).unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        assert!(length.is_multiple_of(8));
        let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        let ends: Vec<u64> =
            header.as_object().unwrap().values().map(|tensor| tensor["data_offsets"][1].as_u64().unwrap()).collect();
        assert_eq!(ends.iter().max(), Some(&(4 * WEIGHTS as u64)));
        assert_eq!(bytes.len(), 8 + length + 4 * WEIGHTS);
    }
}
