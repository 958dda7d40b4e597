//! A page that a writer under test and its observer share: what was called, what was promised, and when.
//!
//! It lies outside the file system under test and outlives the writer, and writing to it takes no system call, so that
//! it neither waits for a broken disk nor counts among the calls that are made to fail.
//!
//! Invariant 1: the mapping covers `BYTES` bytes, and is only reached through atomics at offsets that are multiples of
//! their size.
#![allow(unsafe_code)]

use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use memmap2::{MmapOptions, MmapRaw};
use rustix::time::{ClockId, clock_gettime};

/// Most threads of a writer.
pub const THREADS_MAX: usize = 4;
/// Most calls of a training program whose outcome is kept one by one.
pub const CALLS_MAX: usize = 1 << 22;
/// Moments that are kept per thread: one a millisecond, so of the last four seconds.
const MARKS: usize = 4096;
/// Beats that are kept, each with two words: of the last five seconds.
const BEATS: usize = 1024;
/// Time between two beats.
pub const BEAT: Duration = Duration::from_millis(5);
/// Longest text.
const TEXT_BYTES_MAX: usize = 1 << 16;

const SIGNALS: usize = 16;
const THREAD_WORDS: usize = 8 + 2 * MARKS;
const BEATS_WORD: usize = SIGNALS;
const THREADS_WORD: usize = BEATS_WORD + 2 * BEATS;
const TEXT_BYTE: usize = (THREADS_WORD + THREADS_MAX * THREAD_WORDS) * 8;
const OUTCOMES_BYTE: usize = TEXT_BYTE + TEXT_BYTES_MAX;
/// Size of the page. Most of it is never touched.
const BYTES: usize = OUTCOMES_BYTE + CALLS_MAX;

/// One number that either side sets and the other waits for.
#[derive(Clone, Copy, Debug)]
pub enum Signal {
    /// The observer lets the writer begin.
    Go,
    /// The observer asks the writer to come to an end.
    Stop,
    /// How far the writer has come: a [`Stage`].
    Stage,
    /// Calls a training program has made.
    Calls,
    /// Calls that returned `Ok`.
    Taken,
    /// Calls that returned an error.
    Refused,
    /// Length of the text.
    TextBytes,
    /// Beats so far.
    Beats,
}

/// How far a writer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The process runs.
    Begun = 1,
    /// The store is open.
    Opened = 2,
    /// The run was started.
    Started = 3,
    /// A logger exists.
    Logging = 4,
    /// Some record was reported to be on the device.
    Durable = 5,
    /// Everything that was to be done was done.
    Done = 6,
}

/// What became of one log call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was not made.
    None = 0,
    /// It had not returned.
    Called = 1,
    /// It returned `Ok`.
    Taken = 2,
    /// It returned an error.
    Refused = 3,
}

/// What one logging thread has told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Log calls that have returned.
    pub acknowledged: u64,
    /// Records below the position that `Logger::durable_seq` reported.
    pub durable: u64,
    /// Records below the one that a returned `Run::sync`, `Run::commit` or `Run::finish` covers.
    pub covered: u64,
}

/// The shared page.
pub struct Board {
    page: MmapRaw,
}

/// The monotonic clock, which all processes of a machine share, in nanoseconds.
pub fn now_nanos() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

impl Board {
    /// Opens the page at `path`, creating it empty.
    ///
    /// # Errors
    /// The error of the file system.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        file.set_len(BYTES as u64)?;
        Ok(Self { page: MmapOptions::new().len(BYTES).map_raw(&file)? })
    }

    fn word(&self, word: usize) -> &AtomicU64 {
        assert!(word < OUTCOMES_BYTE / 8);
        // SAFETY: INV-1: inside the mapping, aligned to 8, and reached through atomics only.
        unsafe { AtomicU64::from_ptr(self.page.as_mut_ptr().cast::<u64>().add(word)) }
    }

    fn byte(&self, byte: usize) -> &AtomicU8 {
        assert!((TEXT_BYTE..BYTES).contains(&byte));
        // SAFETY: INV-1: inside the mapping, and reached through atomics only.
        unsafe { AtomicU8::from_ptr(self.page.as_mut_ptr().add(byte)) }
    }

    fn of_thread(&self, thread: usize, word: usize) -> &AtomicU64 {
        assert!(thread < THREADS_MAX && word < THREAD_WORDS);
        self.word(THREADS_WORD + thread * THREAD_WORDS + word)
    }

    /// Sets a signal.
    pub fn set(&self, signal: Signal, value: u64) {
        self.word(signal as usize).store(value, Ordering::Release);
    }

    /// Reads a signal.
    pub fn get(&self, signal: Signal) -> u64 {
        self.word(signal as usize).load(Ordering::Acquire)
    }

    /// Says that the writer has come to `stage`, unless it was further already.
    pub fn reach(&self, stage: Stage) {
        self.word(Signal::Stage as usize).fetch_max(stage as u64, Ordering::AcqRel);
    }

    /// Whether the writer has come to `stage`.
    pub fn has_reached(&self, stage: Stage) -> bool {
        self.get(Signal::Stage) >= stage as u64
    }

    /// Says that `count` log calls of `thread` have returned.
    pub fn acknowledge(&self, thread: usize, count: u64) {
        self.of_thread(thread, 0).store(count, Ordering::Release);
    }

    /// Says that the first `count` records of `thread` were reported as durable.
    pub fn durable(&self, thread: usize, count: u64) {
        self.of_thread(thread, 1).fetch_max(count, Ordering::AcqRel);
    }

    /// Says that a call that makes everything durable has returned, and covers the first `count` records of `thread`.
    pub fn cover(&self, thread: usize, count: u64) {
        self.of_thread(thread, 2).fetch_max(count, Ordering::AcqRel);
    }

    /// Keeps that `count` calls of `thread` had returned at `nanos`; at most once a millisecond.
    pub fn mark(&self, thread: usize, nanos: u64, count: u64) {
        let used = self.of_thread(thread, 3).load(Ordering::Relaxed);
        let place = |n: u64| 8 + 2 * (n as usize % MARKS);
        if used > 0 && nanos < self.of_thread(thread, place(used - 1)).load(Ordering::Relaxed) + 1_000_000 {
            return;
        }
        self.of_thread(thread, place(used)).store(nanos, Ordering::Relaxed);
        self.of_thread(thread, place(used) + 1).store(count, Ordering::Relaxed);
        self.of_thread(thread, 3).store(used + 1, Ordering::Release);
    }

    /// What `thread` has told.
    pub fn told(&self, thread: usize) -> Told {
        let read = |word| self.of_thread(thread, word).load(Ordering::Acquire);
        Told { acknowledged: read(0), durable: read(1), covered: read(2) }
    }

    /// How many calls of `thread` had certainly returned at `nanos`.
    pub fn acknowledged_at(&self, thread: usize, nanos: u64) -> u64 {
        let used = self.of_thread(thread, 3).load(Ordering::Acquire);
        let marks = (used.saturating_sub(MARKS as u64)..used).map(|n| 8 + 2 * (n as usize % MARKS));
        let read = |word| self.of_thread(thread, word).load(Ordering::Relaxed);
        marks.filter(|mark| read(*mark) <= nanos).map(|mark| read(mark + 1)).max().unwrap_or(0)
    }

    /// Keeps that a thread that sleeps for [`BEAT`] at a time was awake at `nanos`, and for how many nanoseconds anybody
    /// had waited for the machine by then.
    pub fn beat(&self, nanos: u64, waited: u64) {
        let beats = self.get(Signal::Beats);
        let place = BEATS_WORD + 2 * (beats as usize % BEATS);
        self.word(place).store(nanos, Ordering::Relaxed);
        self.word(place + 1).store(waited, Ordering::Relaxed);
        self.set(Signal::Beats, beats + 1);
    }

    /// By how much the beats between two moments came late, all together, and for how long anybody waited for the machine
    /// between them.
    pub fn lateness(&self, from: u64, to: u64) -> Duration {
        let used = self.get(Signal::Beats);
        let places = (used.saturating_sub(BEATS as u64)..used).map(|beat| BEATS_WORD + 2 * (beat as usize % BEATS));
        let read = |word| self.word(word).load(Ordering::Relaxed);
        let beats: Vec<[u64; 2]> = places.map(|place| [read(place), read(place + 1)]).collect();
        let beats: Vec<[u64; 2]> = beats.into_iter().filter(|[nanos, _]| (from..=to).contains(nanos)).collect();
        let ends = beats.iter().map(|[nanos, _]| *nanos).skip(1).chain([to]);
        let expected = BEAT.as_nanos() as u64;
        let late: u64 = beats.iter().zip(ends).map(|([nanos, _], end)| (end - nanos).saturating_sub(expected)).sum();
        let waited = beats.last().map_or(0, |[_, last]| last.saturating_sub(beats[0][1]));
        Duration::from_nanos(late + waited)
    }

    /// Adds a line to the text.
    pub fn say(&self, line: &str) {
        let mut used = self.get(Signal::TextBytes) as usize;
        for byte in line.bytes().chain(*b"\n") {
            if used < TEXT_BYTES_MAX {
                self.byte(TEXT_BYTE + used).store(byte, Ordering::Relaxed);
                used += 1;
            }
        }
        self.set(Signal::TextBytes, used as u64);
    }

    /// The text.
    pub fn text(&self) -> String {
        let used = self.get(Signal::TextBytes) as usize;
        let bytes: Vec<u8> = (0..used).map(|byte| self.byte(TEXT_BYTE + byte).load(Ordering::Relaxed)).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Says what became of a call.
    pub fn conclude(&self, call: usize, outcome: Outcome) {
        self.byte(OUTCOMES_BYTE + call).store(outcome as u8, Ordering::Release);
    }

    /// What became of a call.
    pub fn outcome(&self, call: usize) -> Outcome {
        match self.byte(OUTCOMES_BYTE + call).load(Ordering::Acquire) {
            0 => Outcome::None,
            1 => Outcome::Called,
            2 => Outcome::Taken,
            _ => Outcome::Refused,
        }
    }
}
