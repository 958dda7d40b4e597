//! Real runs of the demo: 12 training logs on handwritten digits; `fixtures/README.md` says how they were made.

use std::io::Read;

use crate::spec::{RunSpec, Writer};

const LOGS: &[u8] = include_bytes!("../../../fixtures/digits-runs.csv.gz");
/// Where the demo logs what, with the columns of the logs.
const METRICS: [(&str, &str); 4] = [
    ("training_metrics", "loss"),
    ("training_metrics", "accuracy"),
    ("training_metrics", "grad_norm"),
    ("validation_metrics", "val_accuracy"),
];

/// Every run, as the demo names it.
pub fn runs() -> Vec<RunSpec> {
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(LOGS).read_to_string(&mut text).expect("the training logs");
    let mut runs: Vec<RunSpec> = Vec::new();
    for line in text.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let [name, lr, seed, epochs, hidden, step, values @ ..] = &cells[..] else { panic!("another form: {line}") };
        if runs.last().is_none_or(|run| run.name != *name) {
            let run = RunSpec::new("digits", "train", *name).param("lr", lr.parse::<f64>().expect("a rate"));
            let whole = |cell: &str| cell.parse::<i64>().expect("a whole number");
            let run = run.param("seed", whole(seed)).param("epochs", whole(epochs)).param("hidden", whole(hidden));
            runs.push(run.writer(Writer::default()));
        }
        let writer = &mut runs.last_mut().expect("a run").writers[0];
        let step: i64 = step.parse().expect("a step");
        for ((metrics_name, metric), cell) in METRICS.into_iter().zip(values) {
            if !cell.is_empty() {
                writer.log_as(metrics_name, metric, step, cell.parse().expect("a value"));
            }
        }
    }
    runs
}
