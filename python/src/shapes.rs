//! Recognises what is logged again and again: a metrics name and the keys of a dict, by the identity of their strings.
//!
//! Python interns the string constants of a program, so the usual call passes the same key objects every time. A shape
//! remembers the addresses of the keys, in order, and what the engine knows them by. Each shape holds its keys, so that
//! no address can come to mean another string. What is not recognised is looked up by content, and then remembered.

use pyo3::prelude::*;
use pyo3::types::PyString;
use stepwell_engine::{Logger, Row};

/// Shapes remembered for one metrics name. A program that makes up new key sets all the time goes by content.
const SHAPES_MAX: usize = 64;

/// What the log calls of one run share. Borrowed only while no Python code can run.
pub struct HotState {
    /// The run's logger, or why there is none.
    pub logger: LoggerSlot,
    /// Whether a thread is waiting for room in the ring; the others wait for that thread.
    pub waiting: bool,
    names: Vec<NameCache>,
    recent: usize,
}

/// The logger of a run, or why there is none.
pub enum LoggerSlot {
    /// Log.
    Ready(Logger),
    /// Handed back: the run was finished.
    Closed,
    /// In the parent process.
    Forked,
}

/// Number of a metrics name within a [`HotState`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameIndex(usize);

/// Metrics name of [`run.log`](crate::run::Run): always known, so that the call need not look for it.
pub const SHORT_NAME: NameIndex = NameIndex(0);

impl HotState {
    /// The state of a run that was just started. `short_name` is the metrics name of `run.log`.
    pub fn new(logger: Logger, short_name: &Bound<'_, PyString>, text: &str) -> Self {
        let mut short = NameCache::unseen(text);
        short.remember(short_name);
        Self { logger: LoggerSlot::Ready(logger), waiting: false, names: vec![short], recent: 0 }
    }

    /// The metrics name whose string object lies at `address`.
    #[inline(always)]
    pub fn name_at(&mut self, address: usize) -> Option<NameIndex> {
        if self.names[self.recent].address == address {
            return Some(NameIndex(self.recent));
        }
        self.recent = self.names.iter().position(|name| name.address == address)?;
        Some(NameIndex(self.recent))
    }

    /// The row for the keys at `addresses`, where metrics name and keys are recognised. No name is the short one.
    pub fn known_row(&mut self, name: Option<&Bound<'_, PyAny>>, addresses: &[usize]) -> Option<Row> {
        let index = name.map_or(Some(SHORT_NAME), |name| self.name_at(name.as_ptr() as usize))?;
        self.names[index.0].find(addresses).map(|shape| shape.row.clone())
    }

    /// Remembers a row under the objects that its metrics name and its keys came as.
    pub fn remember<'a, 'py: 'a>(
        &mut self,
        name: Option<&Bound<'py, PyAny>>,
        text: &str,
        keys: impl Iterator<Item = &'a Bound<'py, PyAny>>,
        row: &Row,
    ) {
        let index = self.names.iter().position(|known| known.text == text).unwrap_or(self.names.len());
        if index == self.names.len() {
            self.names.push(NameCache::unseen(text));
        }
        let cache = &mut self.names[index];
        // A subclass of str may run code when it is freed, so only plain strings are kept.
        if let Some(name) = name.and_then(|name| name.cast_exact::<PyString>().ok()) {
            cache.remember(name);
        }
        let held: Option<Box<[Py<PyString>]>> =
            keys.map(|key| key.cast_exact::<PyString>().ok().map(|key| key.clone().unbind())).collect();
        if let Some(held) = held {
            let addresses = held.iter().map(|key| key.as_ptr() as usize).collect();
            cache.remember_shape(Shape { addresses, _keys: held, row: row.clone() });
        }
    }

    /// The logger and what is known of a metrics name, borrowed together.
    #[inline(always)]
    pub fn parts(&mut self, name: NameIndex) -> (&mut LoggerSlot, &mut NameCache) {
        (&mut self.logger, &mut self.names[name.0])
    }
}

/// What is known of one metrics name.
pub struct NameCache {
    /// Address of the string object last seen; 0 while there is none.
    address: usize,
    /// Holds that object.
    _object: Option<Py<PyString>>,
    text: String,
    shapes: Vec<Shape>,
    recent: usize,
}

/// Keys that were logged together, in their order.
pub struct Shape {
    /// Addresses of the key objects.
    pub addresses: Box<[usize]>,
    /// Holds the key objects.
    _keys: Box<[Py<PyString>]>,
    /// What the engine knows them by.
    pub row: Row,
}

impl NameCache {
    fn unseen(text: &str) -> Self {
        Self { address: 0, _object: None, text: text.to_owned(), shapes: Vec::new(), recent: 0 }
    }

    fn remember(&mut self, name: &Bound<'_, PyString>) {
        self.address = name.as_ptr() as usize;
        self._object = Some(name.clone().unbind());
    }

    /// The shape used last.
    #[inline(always)]
    pub fn recent(&self) -> Option<&Shape> {
        self.shapes.get(self.recent)
    }

    /// The shape whose keys lie at `addresses`; it becomes the recent one.
    pub fn find(&mut self, addresses: &[usize]) -> Option<&Shape> {
        self.recent = self.shapes.iter().position(|shape| *shape.addresses == *addresses)?;
        self.recent()
    }

    /// Remembers a shape in place of one with the same content: its keys are made anew each time, as by an f-string.
    fn remember_shape(&mut self, shape: Shape) {
        match self.shapes.iter().position(|known| known.row.metrics() == shape.row.metrics()) {
            Some(index) => {
                self.shapes[index] = shape;
                self.recent = index;
            }
            None if self.shapes.len() < SHAPES_MAX => {
                self.recent = self.shapes.len();
                self.shapes.push(shape);
            }
            None => {}
        }
    }
}
