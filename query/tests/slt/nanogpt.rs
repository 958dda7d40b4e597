//! The real runs: 36 training logs of the NanoGPT speedrun; `fixtures/README.md` says where they are from.

use std::io::Read;

use crate::spec::{RunSpec, Writer};

const LOGS: &[u8] = include_bytes!("../../../fixtures/nanogpt-speedrun.csv.gz");
/// The record whose training time is kept at each step. Of the others it is kept where the validation loss is, so that
/// the store, digits and made runs included, stays below 100,000 rows, which DataFusion reads fast enough without optimisation.
const TIMED_RECORD: &str = "2026-02-03_VeTuned";

/// Every run, named by the beginning of its id in the logs.
pub fn runs() -> Vec<RunSpec> {
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(LOGS).read_to_string(&mut text).expect("the training logs");
    let mut runs: Vec<RunSpec> = Vec::new();
    for line in text.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let [record, id, step, train_loss, val_loss, train_time_ms] = cells[..] else { panic!("another form: {line}") };
        let name = &id[..8];
        if runs.last().is_none_or(|run| run.name != name) {
            let run = RunSpec::new("nanogpt", "train", name).param("record", record);
            runs.push(run.writer(Writer::default()));
        }
        let writer = &mut runs.last_mut().expect("a run").writers[0];
        let step = step.parse().expect("a step");
        for (metric, cell) in [("train_loss", train_loss), ("val_loss", val_loss)] {
            if !cell.is_empty() {
                writer.log(metric, step, cell.parse().expect("a loss"));
            }
        }
        if !val_loss.is_empty() || record == TIMED_RECORD {
            writer.log("train_time_ms", step, train_time_ms.parse().expect("a time"));
        }
    }
    runs
}
