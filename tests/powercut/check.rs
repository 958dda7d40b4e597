//! What has to be there after a power cut.
//!
//! Three promises are held against the rows found. Each record below the position that `durable_seq` reported, and each
//! that a returned `sync`, `commit` or `finish` covers, is there: no clock is needed for these. And each record that was
//! acknowledged `sync_interval + seal_deadline` before the cut is there. That one speaks of the sealer's schedule, so the
//! time in which the machine let the writer's threads wait is added to it: as measured by a thread of the writer that does
//! nothing but sleep 5 ms at a time, and as the kernel tells of all who waited for a processor or a disk. [`SLACK`] is added for
//! the sealer's tick (20 ms) and the work of a sync itself. Where the machine kept more than [`LATE_MAX`] from the writer,
//! the schedule is not judged.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use stepwell_engine::events::GapKind;
use stepwell_engine::layout::parse_events_file;
use stepwell_engine::verify::DamagedFile;
use stepwell_engine::{Access, RunId, RunState, Snapshot, Store};
use stepwell_tests::board::{Board, Told};
use stepwell_tests::rows::rows_of;
use stepwell_tests::tally::Tally;
use stepwell_tests::{metric_of, tight_config, value_of};

use crate::case::Case;

/// Allowed beyond the two intervals: one tick of the sealer, and the time a sync of all rings and a segment may take.
pub const SLACK: Duration = Duration::from_millis(250);

/// Most time the machine may have kept from the writer for the schedule to be held against it.
const LATE_MAX: Duration = Duration::from_millis(50);

/// How long ago a record must have been acknowledged to be safe by the schedule alone.
#[derive(Clone, Copy, Debug)]
pub struct Promise {
    pub window: Duration,
}

impl Promise {
    pub fn of(case: &Case) -> Self {
        Self { window: case.sync_interval + case.seal_deadline }
    }
}

/// One cut.
pub struct Cut {
    pub run: RunId,
    pub threads: usize,
    /// What each thread had told when it began.
    pub told: Vec<Told>,
    /// When it began, by the monotonic clock.
    pub time: u64,
    pub promise: Promise,
    pub case: String,
}

/// What a campaign has met, for the reader of its output.
#[derive(Default)]
pub struct Seen {
    pub recoveries_cut: u64,
    /// Cuts by how far the writer had come: nothing, opened, started, logging, something durable, done.
    pub reached: [u64; 6],
    /// Records that were promised by `durable_seq`, by a call that returned, and by the schedule.
    pub promised: [u64; 3],
    /// Threads whose schedule was not judged, because the machine was busy with something else.
    pub too_late: u64,
    /// Records that were lost and told as durable when the cut had begun.
    pub lost_of_late: u64,
    /// Empty or torn slots that recovery told.
    pub told: u64,
    /// Cuts after which nothing of the writer was left.
    pub without_a_trace: u64,
    /// Most event logs without content in one store at a time.
    pub nameless: u64,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [nothing, opened, started, logging, durable, done] = self.reached;
        let [by_position, by_call, by_time] = self.promised;
        write!(
            f,
            "cut before open {nothing}, opened {opened}, started {started}, logging {logging}, durable {durable}, done {done}; \
             {} recoveries cut; records promised by durable_seq {by_position}, by a call {by_call}, by the schedule {by_time} \
             ({} threads on a busy machine not judged by it); {} slots told as gaps; {} records lost that were told as \
             durable when the cut had begun; {} writers without a trace, at most {} empty event logs at a time",
            self.recoveries_cut, self.too_late, self.told, self.lost_of_late, self.without_a_trace, self.nameless
        )
    }
}

/// A row: its sequence number, its step, and the bits of its value.
type Found = (i64, (i64, u64));

/// Opens the store after a cut, and holds what is there against what was promised.
pub fn check(
    store: &Path,
    cut: &Cut,
    board: &Board,
    earlier: &mut Vec<(RunId, u64)>,
    tally: &mut Tally,
    seen: &mut Seen,
) {
    let case = &cut.case;
    let store = Store::open_with(store, Access::Create, tight_config(4096))
        .unwrap_or_else(|error| panic!("the store does not open after the cut: {error:?}, {case}"));
    assert!(store.recovery().failures.is_empty(), "{:?}, {case}", store.recovery().failures);
    let snapshot = store.snapshot().expect("snapshot");
    assert!(snapshot.live().is_empty(), "recovery leaves nothing in journals, {case}");
    let damaged = store.verify(&mut |_, _| {}).expect("verify").damaged;
    // A cut before the first sync of a run leaves the name of its event log without content. What was promised of such a
    // run is checked below like that of any other.
    let (nameless, damaged): (Vec<_>, Vec<_>) = damaged.iter().partition(|file| is_without_first_event(file));
    assert!(damaged.is_empty(), "{damaged:?}, {case}");
    seen.nameless = seen.nameless.max(nameless.len() as u64);
    for (run, rows) in earlier.iter() {
        assert_eq!(rows_in_segments(&snapshot, *run), *rows, "rows of a run that an earlier cut ended, {case}");
    }
    let rows = rows_of(&snapshot, cut.run).expect("each row once, each segment readable");
    tally.kept += rows.len() as u64;
    let mut threads: BTreeMap<String, Vec<Found>> = BTreeMap::new();
    for ((metric, seq), row) in rows {
        threads.entry(metric).or_default().push((seq, row));
    }
    let mut holes = 0;
    for thread in 0..cut.threads {
        let own = threads.remove(&metric_of(thread)).unwrap_or_default();
        holes += check_thread(cut, board, thread, &own, tally, seen);
    }
    tally.invented += threads.values().map(|rows| rows.len() as u64).sum::<u64>();
    let durable = cut.told.iter().any(|told| told.durable > 0);
    check_gaps(&snapshot, cut, holes, durable, seen);
    check_catalog(&store, &snapshot, case);
    earlier.push((cut.run, rows_in_segments(&snapshot, cut.run)));
}

fn is_without_first_event(file: &DamagedFile) -> bool {
    let name = file.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    parse_events_file(name).is_some() && std::fs::metadata(&file.path).is_ok_and(|file| file.len() == 0)
}

fn rows_in_segments(snapshot: &Snapshot, run: RunId) -> u64 {
    snapshot.segments().iter().filter(|segment| segment.run_id == run).map(|segment| segment.rows).sum()
}

/// Checks the rows of one thread, by rising sequence number; returns how many are missing in front of others.
fn check_thread(cut: &Cut, board: &Board, thread: usize, own: &[Found], tally: &mut Tally, seen: &mut Seen) -> u64 {
    let Told { durable, covered, .. } = cut.told[thread];
    let after = board.told(thread);
    let acknowledged = after.acknowledged;
    let window = cut.promise.window + SLACK;
    let late = board.lateness(cut.time.saturating_sub(2 * window.as_nanos() as u64), cut.time);
    let old = cut.time.saturating_sub((window + late).as_nanos() as u64);
    // A machine that is late by this much runs something else, and says nothing of the schedule.
    let by_time = if late > LATE_MAX { 0 } else { board.acknowledged_at(thread, old) };
    seen.too_late += u64::from(late > LATE_MAX);
    tally.acknowledged += acknowledged;
    [durable, covered, by_time].iter().zip(&mut seen.promised).for_each(|(count, sum)| *sum += count);
    let mut present = vec![false; acknowledged as usize + 1];
    let offset = own.first().map(|(seq, (step, _))| seq - step);
    for (seq, (step, bits)) in own {
        let genuine = (0..=acknowledged as i64).contains(step)
            && Some(seq - step) == offset
            && *bits == value_of(thread, *step).to_bits();
        if genuine {
            present[*step as usize] = true;
        } else {
            eprintln!("invented: thread {thread}, seq {seq}, step {step}, bits {bits:x}, {}", cut.case);
            tally.invented += 1;
        }
    }
    let missing = |end: u64| present[..end as usize].iter().filter(|there| !**there).count() as u64;
    let lost = missing(acknowledged);
    let beyond = missing(durable.max(covered).max(by_time));
    if beyond > 0 {
        eprintln!(
            "lost beyond the promise: thread {thread}, {acknowledged} acknowledged, {} found; below durable_seq {durable} \
             lack {}, below a returned call {covered} lack {}, older than {window:?} + {late:?} {by_time} lack {}, {}",
            own.len(),
            missing(durable),
            missing(covered),
            missing(by_time),
            cut.case
        );
    }
    tally.lost_beyond += beyond;
    seen.lost_of_late += missing(after.durable.max(after.covered)).saturating_sub(beyond);
    tally.lost_within += lost - beyond;
    let last = present.iter().rposition(|there| *there).map_or(0, |last| last as u64);
    missing(last)
}

/// The catalog that came out of the cut says what one that is built anew from the event logs says.
fn check_catalog(store: &Store, before: &Snapshot, case: &str) {
    store.reindex().unwrap_or_else(|error| panic!("the catalog cannot be built anew: {error:?}, {case}"));
    let after = store.snapshot().expect("snapshot");
    let rest = |snapshot: &Snapshot| {
        let lineage = snapshot.lineage().expect("lineage").len();
        (snapshot.gaps().expect("gaps"), snapshot.artifacts().expect("artifacts"), lineage)
    };
    assert_eq!(before.runs(), after.runs(), "{case}");
    assert_eq!(before.segments(), after.segments(), "{case}");
    assert_eq!(rest(before), rest(&after), "{case}");
}

/// What is missing in front of a record that is there was told as a gap.
fn check_gaps(snapshot: &Snapshot, cut: &Cut, holes: u64, durable: bool, seen: &mut Seen) {
    let gaps = snapshot.gaps().expect("gaps");
    let own: Vec<_> = gaps.iter().filter(|gap| gap.run_id == cut.run).collect();
    let slots = own.iter().filter(|gap| matches!(gap.gap.kind, GapKind::DamagedSlot | GapKind::MissingSlots));
    let told: u64 = slots.map(|gap| gap.gap.records).sum();
    seen.told += told;
    assert!(told >= holes, "{holes} records are missing in front of others, {told} are told: {own:?}, {}", cut.case);
    match snapshot.runs().iter().find(|run| run.run_id == cut.run) {
        // The writer saw another boot id than this process (see `Campaign::writer`): to the recovery, the machine was
        // restarted. Where records are durable through segments alone, a journal may lack its beginning.
        Some(run) if run.state == RunState::Died && durable => {
            let told = own.iter().any(|gap| matches!(gap.gap.kind, GapKind::MachineDown | GapKind::DamagedSlot));
            assert!(told, "no gap says that the machine was restarted: {own:?}, {}", cut.case);
        }
        Some(_) => {}
        None => seen.without_a_trace += 1,
    }
}
