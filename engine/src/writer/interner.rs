//! Metric names to the numbers that slots carry.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use crate::error::{Error, Result};
use crate::ids::RunId;
use crate::journal::{Definition, encode_definition};
use crate::names::{MetricsName, NameKind, check_name};

/// All metrics of one writer, numbered in the order in which they were first asked for.
pub(crate) struct Interner {
    names: HashMap<String, InternedName>,
    definitions: Vec<Definition>,
    /// Bytes the definitions take in a journal.
    bytes: u64,
    bytes_max: u64,
}

struct InternedName {
    numbers: HashMap<String, u32>,
    next_step: Arc<AtomicI64>,
}

impl Interner {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self { names: HashMap::new(), definitions: Vec::new(), bytes: 0, bytes_max }
    }

    /// The number of a metric that is known already.
    pub(crate) fn get(&self, metrics_name: &str, metric: &str) -> Option<u32> {
        self.names.get(metrics_name)?.numbers.get(metric).copied()
    }

    /// The number of a metric; defines it when it is new.
    pub(crate) fn intern(&mut self, run: RunId, metrics_name: &str, metric: &str) -> Result<u32> {
        if let Some(number) = self.get(metrics_name, metric) {
            return Ok(number);
        }
        let name = MetricsName::try_new(metrics_name)?;
        check_name(NameKind::Metric, metric)?;
        let bytes = encode_definition(metrics_name, metric).len() as u64;
        // Eight zero bytes end the list in the journal.
        if self.bytes + bytes + 8 > self.bytes_max {
            return Err(Error::TooManyMetrics { run, metrics: self.definitions.len() });
        }
        self.bytes += bytes;
        let number = self.definitions.len() as u32;
        self.definitions.push(Definition { metrics_name: metrics_name.to_owned(), metric: metric.to_owned() });
        self.name_entry(name.as_str()).numbers.insert(metric.to_owned(), number);
        Ok(number)
    }

    /// The counter of steps of a metrics name, for calls that give none.
    pub(crate) fn next_step(&mut self, metrics_name: &str) -> Result<Arc<AtomicI64>> {
        let name = MetricsName::try_new(metrics_name)?;
        Ok(Arc::clone(&self.name_entry(name.as_str()).next_step))
    }

    fn name_entry(&mut self, name: &str) -> &mut InternedName {
        self.names
            .entry(name.to_owned())
            .or_insert_with(|| InternedName { numbers: HashMap::new(), next_step: Arc::new(AtomicI64::new(0)) })
    }

    /// All definitions, by number.
    pub(crate) fn definitions(&self) -> &[Definition] {
        &self.definitions
    }
}
