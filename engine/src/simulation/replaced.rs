//! A journal whose sync fails is replaced, and its records become durable as segments.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use super::disk::SimDisk;
use super::history::{Fate, History};
use super::random::Random;
use super::readback::stored_rows;
use crate::layout::Layout;
use crate::recovery::recover_writer;

/// Operations that may be made to fail.
const OPERATIONS: u64 = 40;

// After a sync of the journal had failed, nothing was durable any more until the ring was half full or a minute old, and
// nothing was synced until the end of the run.
#[test]
fn records_are_durable_again_at_the_next_look_after_a_sync_of_the_journal_failed() {
    let mut replaced = 0;
    for operation in 0..OPERATIONS {
        let disk = SimDisk::new();
        let mut history = History::begin(&disk, &mut Random::new(operation), Fate::Death);
        let core = history.start().expect("a sound disk");
        let (metric, mut logger) = (history.metrics[0], history.loggers.remove(0));
        let mut log = |count| (0..count).for_each(|step| logger.log(metric, step, 0.5).expect("room"));
        log(100);
        disk.fail_after(operation, ErrorKind::Other);
        let synced = core.sync();
        core.tick(history.now + Duration::from_millis(30));
        log(10);
        if logger.next_seq() >> 44 == 0 {
            // The error met something else.
            continue;
        }
        replaced += 1;
        synced.expect("segments take the place of the sync");
        for millis in [60, 90, 120] {
            core.tick(history.now + Duration::from_millis(millis));
        }
        assert_eq!(logger.durable_seq(), logger.next_seq(), "operation {operation}");
        disk.stop();
        for seed in 0..20 {
            let disk = disk.after_power_cut(&mut Random::new(seed));
            let layout = Layout::on(Arc::new(disk), "/store");
            let recovered = recover_writer(&layout, &history.config, history.run, history.writer);
            assert!(recovered.is_ok_and(|recovered| recovered.is_some()), "operation {operation}, seed {seed}");
            let (rows, gaps) = stored_rows(&layout, history.run, history.writer);
            assert_eq!((rows.len(), gaps), (110, 0), "operation {operation}, seed {seed}");
        }
    }
    assert!(replaced > 0, "no sync of a journal failed");
}
