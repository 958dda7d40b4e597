//! What the store of the questions holds: runs, their records and their files, told before anything is written.

use stepwell_engine::{Direction, ParamValue};

/// One record.
#[derive(Clone, Debug)]
pub struct Logged {
    pub metrics_name: &'static str,
    pub metric: String,
    pub step: i64,
    pub value: f64,
}

/// A file that a run reads or writes.
#[derive(Clone, Copy, Debug)]
pub struct File {
    pub direction: Direction,
    pub kind: &'static str,
    pub name: &'static str,
    pub content: &'static str,
}

/// One process that writes to a run. Several of one rank are its attempts, in their order.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    pub rank: i32,
    pub records: Vec<Logged>,
}

impl Writer {
    pub fn of_rank(rank: i32) -> Self {
        Self { rank, records: Vec::new() }
    }

    /// Logs under the metrics name `metrics`.
    pub fn log(&mut self, metric: impl Into<String>, step: i64, value: f64) {
        self.log_as("metrics", metric, step, value);
    }

    pub fn log_as(&mut self, metrics_name: &'static str, metric: impl Into<String>, step: i64, value: f64) {
        self.records.push(Logged { metrics_name, metric: metric.into(), step, value });
    }
}

/// How the writers of a run leave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It is still running when it is asked for.
    Open,
    Finished,
    /// Gone without a word.
    Died,
}

/// One run.
#[derive(Clone, Debug)]
pub struct RunSpec {
    pub pipeline: &'static str,
    pub stage: &'static str,
    pub name: String,
    pub params: Vec<(String, ParamValue)>,
    pub tags: Vec<(String, String)>,
    pub writers: Vec<Writer>,
    pub files: Vec<File>,
    pub end: End,
}

impl RunSpec {
    pub fn new(pipeline: &'static str, stage: &'static str, name: impl Into<String>) -> Self {
        Self {
            pipeline,
            stage,
            name: name.into(),
            params: Vec::new(),
            tags: Vec::new(),
            writers: Vec::new(),
            files: Vec::new(),
            end: End::Open,
        }
    }

    pub fn param(mut self, key: &str, value: impl Into<ParamValue>) -> Self {
        self.params.push((key.to_owned(), value.into()));
        self
    }

    pub fn tag(mut self, key: &str, value: &str) -> Self {
        self.tags.push((key.to_owned(), value.to_owned()));
        self
    }

    pub fn writer(mut self, writer: Writer) -> Self {
        self.writers.push(writer);
        self
    }

    pub fn reads(self, kind: &'static str, name: &'static str, content: &'static str) -> Self {
        self.file(File { direction: Direction::Input, kind, name, content })
    }

    pub fn writes(self, kind: &'static str, name: &'static str, content: &'static str) -> Self {
        self.file(File { direction: Direction::Output, kind, name, content })
    }

    fn file(mut self, file: File) -> Self {
        self.files.push(file);
        self
    }

    pub fn ends(mut self, end: End) -> Self {
        self.end = end;
        self
    }
}
