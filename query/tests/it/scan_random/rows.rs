//! Random stores, and the same rows as one plain table of DataFusion.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use stepwell_engine::packs::pack;
use stepwell_engine::{CompactOptions, ParamValue, RunId, RunInfo, WriterId};
use stepwell_tests::random::Random;

use crate::support::{Fixture, PLACEMENTS, Record, TIME};

const METRICS_NAMES: [&str; 3] = ["m", "m2", "Ω val"];
/// One is the beginning of another, some need quotes, some sort otherwise as bytes than as words.
const METRICS: [&str; 9] = ["loss", "loss/a", "los", "Loss", "it's", "\"q\"", "été", "_%", "ζ loss"];
const RUN_NAMES: [&str; 4] = ["loss", "run b", "it's", "été"];
const SPECIAL_STEPS: [i64; 6] = [i64::MIN, i64::MIN + 1, i64::MAX, i64::MAX - 1, -1, 1 << 53];

/// How special the values of a store are. Zeros with a sign and NaN make plans of DataFusion differ among themselves, so
/// some questions are only asked without them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Values {
    Finite,
    SignedZeros,
    Any,
}

/// A store to be asked.
pub struct Rows {
    pub fixture: Fixture,
    pub values: Values,
    /// Whether steps are so small that sums and casts of them stay exact.
    pub small_steps: bool,
}

/// One of `items`.
pub fn one<T: Clone>(random: &mut Random, items: &[T]) -> T {
    items[random.below(items.len() as u64) as usize].clone()
}

impl Rows {
    /// A store of a few up to some thousand rows.
    pub fn small(random: &mut Random) -> Self {
        let rows_max = one(random, &[1, 3, 40, 200, 1500]);
        let values = one(random, &[Values::Finite, Values::SignedZeros, Values::Any, Values::Any]);
        let mut rows = Self { fixture: Fixture::new(), values, small_steps: random.below(3) > 0 };
        rows.fixture.segment_per_metric = random.below(2) == 0;
        for _ in 0..=random.below(6) {
            let run = rows.add_run(random);
            for _ in 0..=random.below(3) {
                let writer = WriterId { rank: random.below(3) as i32, attempt: random.below(2) as i32, nonce: 4 };
                for _ in 0..=random.below(3) {
                    let (name, metric) = (one(random, &METRICS_NAMES), one(random, &METRICS));
                    rows.log(random, run, writer, (name, metric), rows_max);
                }
            }
        }
        if random.below(12) == 0 {
            // Segments of a run whose event log is gone.
            rows.fixture.runs.pop();
        }
        rows
    }

    /// A store of many short runs, some of whose segments are in packs.
    pub fn many(random: &mut Random) -> Self {
        let values = one(random, &[Values::Finite, Values::Any]);
        let mut rows = Self { fixture: Fixture::new(), values, small_steps: random.below(3) > 0 };
        rows.fixture.segment_per_metric = random.below(4) == 0;
        let names = &METRICS_NAMES[..=random.below(2) as usize];
        for _ in 0..20 + random.below(40) {
            let run = rows.add_run(random);
            for _ in 0..=random.below(2) {
                let writer = WriterId { rank: random.below(2) as i32, attempt: 0, nonce: 4 };
                for _ in 0..=random.below(4) {
                    let (name, metric) = (one(random, names), one(random, &METRICS[..4]));
                    rows.log(random, run, writer, (name, metric), 30);
                }
            }
        }
        let options = {
            let mut options = CompactOptions::default();
            (options.pack_segments_min, options.pack_rows_max) = (2, one(random, &[100, 1000, 1 << 20]));
            options
        };
        let snapshots = PLACEMENTS.map(|placement| rows.fixture.snapshot(placement).segments);
        let mut segments = snapshots.concat();
        segments.retain(|_| random.below(5) > 0);
        for share in [segments.len() / 2, segments.len()] {
            pack(rows.fixture.root(), &segments[..share], &options).expect("packed");
        }
        rows
    }

    fn add_run(&mut self, random: &mut Random) -> RunId {
        let name = (random.below(3) > 0).then(|| one(random, &RUN_NAMES));
        let lr = one(random, &[0.1, 0.5, -1.0]);
        let (pipeline, stage) = (one(random, &["p", "p/2"]), one(random, &["train", "eval"]));
        self.fixture.run(pipeline, stage, name, &[("lr", ParamValue::Float(lr))])
    }

    fn log(&mut self, random: &mut Random, run: RunId, writer: WriterId, names: (&'static str, &str), rows_max: u64) {
        let (mut step, special) = (random.below(50) as i64 - 10, one(random, &[0, 0, 20, 3]));
        let width = one(random, &[4, 1000]);
        for _ in 0..=random.below(rows_max) {
            step += match random.below(12) {
                0 => 0,
                1 => -(random.below(30) as i64),
                2 => random.below(20) as i64,
                _ => 1,
            };
            let place = if !self.small_steps && random.below(60) == 0 { one(random, &SPECIAL_STEPS) } else { step };
            let is_special = special > 0 && random.below(special) == 0;
            let value = if is_special { self.special(random) } else { random.below(width) as f64 / 4.0 - 1.0 };
            self.fixture.log_as(writer, run, names.0, names.1, place, value);
        }
    }

    fn special(&self, random: &mut Random) -> f64 {
        let finite = [1e308, -1e308, f64::MAX, f64::MIN, 5e-324, -5e-324, 0.0, f64::MIN_POSITIVE];
        let beyond =
            [f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, f64::from_bits(0x7ff0_0000_0000_0001)];
        match self.values {
            Values::Finite => one(random, &finite),
            Values::SignedZeros => one(random, &[0.0, -0.0, 1.0]),
            Values::Any if random.below(2) == 0 => one(random, &finite),
            Values::Any => one(random, &beyond),
        }
    }

    /// A store with one or two curves long enough for several streams, pages and pieces that are read ahead.
    pub fn large(random: &mut Random) -> Self {
        let mut rows = Self { fixture: Fixture::new(), values: Values::Finite, small_steps: true };
        rows.fixture.segment_per_metric = random.below(2) == 0;
        let writer = WriterId { rank: 0, attempt: 0, nonce: 4 };
        for _ in 0..=random.below(2) {
            let run = rows.add_run(random);
            for (metric, count) in
                [("los", 50_000 + random.below(100_000)), ("loss", random.below(40_000)), ("it's", 9)]
            {
                let (repeats, back) = (1 + random.below(3) as i64, random.below(3) == 0);
                for row in 0..=count as i64 {
                    let step = if back && row % 1000 == 7 { row / repeats - 500 } else { row / repeats };
                    rows.fixture.log_as(writer, run, "m", metric, step, (row % 7919) as f64);
                }
            }
        }
        rows
    }

    /// The same rows in tables of DataFusion: `metrics`, and `runs` with `run_id` and `lr`.
    pub fn oracle(&self) -> SessionContext {
        let mut config = SessionConfig::new().with_target_partitions(2);
        config.options_mut().execution.time_zone = Some("UTC".to_owned());
        let context = SessionContext::new_with_config(config);
        for (name, batch) in [("metrics", self.metrics()), ("runs", self.runs())] {
            let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).expect("a table");
            context.register_table(name, Arc::new(table)).expect("registered");
        }
        context
    }

    fn metrics(&self) -> RecordBatch {
        let records = &self.fixture.records;
        let find = |record: &Record| self.fixture.runs.iter().find(|run| run.run_id == record.run);
        let of_run = |get: fn(&RunInfo) -> &str| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(records.iter().map(|record| find(record).map_or("", get))))
        };
        let text =
            |get: fn(&Record) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(records.iter().map(get))) };
        let times = TimestampMicrosecondArray::from_iter_values(records.iter().map(|record| TIME + record.seq));
        let names = records.iter().map(|record| find(record).and_then(|run| run.name.as_deref()));
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("run_id", Arc::new(StringArray::from_iter_values(records.iter().map(|record| record.run.to_string())))),
            ("metrics_name", text(|record| record.metrics_name)),
            ("metric", text(|record| &record.metric)),
            ("step", Arc::new(Int64Array::from_iter_values(records.iter().map(|record| record.step)))),
            ("time", Arc::new(times.with_timezone("UTC"))),
            ("value", Arc::new(Float64Array::from_iter_values(records.iter().map(|record| record.value)))),
            ("rank", Arc::new(Int32Array::from_iter_values(records.iter().map(|record| record.writer.rank)))),
            ("attempt", Arc::new(Int32Array::from_iter_values(records.iter().map(|record| record.writer.attempt)))),
            ("seq", Arc::new(Int64Array::from_iter_values(records.iter().map(|record| record.seq)))),
            ("pipeline", of_run(|run| &run.pipeline)),
            ("stage", of_run(|run| &run.stage)),
            ("run_name", Arc::new(names.collect::<StringArray>())),
        ];
        let types = columns.iter().map(|(name, column)| {
            let kind = match *name {
                "time" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
                _ => column.data_type().clone(),
            };
            Field::new(*name, kind, *name == "run_name")
        });
        let schema = Arc::new(Schema::new(types.collect::<Vec<_>>()));
        RecordBatch::try_new(schema, columns.into_iter().map(|(_, column)| column).collect()).expect("a batch")
    }

    fn runs(&self) -> RecordBatch {
        let runs = &self.fixture.runs;
        let ids: ArrayRef = Arc::new(StringArray::from_iter_values(runs.iter().map(|run| run.run_id.to_string())));
        let rate = |run: &RunInfo| match run.params.get("lr") {
            Some(ParamValue::Float(rate)) => Some(*rate),
            _ => None,
        };
        let rates: ArrayRef = Arc::new(runs.iter().map(rate).collect::<Float64Array>());
        RecordBatch::try_from_iter([("run_id", ids), ("lr", rates)]).expect("a batch")
    }
}
