use stepwell_engine::events::GapKind;
use stepwell_engine::{RunOptions, RunState, WhenFull};

use super::{Place, common, small_config};

#[test]
fn a_writer_is_told_in_numbers_while_it_lives_and_after() {
    let place = Place::new();
    let (store, run) = place.start(500);
    let stats = store.snapshot().expect("snapshot").writer_stats().expect("stats").swap_remove(0);
    assert_eq!((stats.state, stats.records_logged, stats.records_live), (RunState::Running, 1000, 1000));
    run.sync().expect("sync");
    let stats = store.snapshot().expect("snapshot").writer_stats().expect("stats").swap_remove(0);
    assert_eq!((stats.records_committed, stats.records_durable, stats.segments), (0, 1000, 0));
    assert_eq!(stats.journal_folder, place.layout().journals(run.id(), run.writer()));
    assert!(!stats.file_system.is_empty());
    assert_eq!(stats.durability, "device");
    assert!(run.finish().expect("finish").gaps.is_empty());
    let stats = store.snapshot().expect("snapshot").writer_stats().expect("stats").swap_remove(0);
    assert_eq!((stats.state, stats.records_logged, stats.records_live), (RunState::Finished, 1000, 0));
    assert_eq!((stats.records_committed, stats.records_durable), (1000, 1000));
    assert!(stats.segments > 0 && stats.bytes > 0);
}

#[test]
fn what_was_dropped_is_counted_while_it_happens_and_told_at_the_end() {
    let place = Place::new();
    let mut config = small_config();
    config.wait_limit = std::time::Duration::from_millis(20);
    let store = common::open(&place.path(), config);
    let run = store.start_run(RunOptions::new("p", "s").when_full(WhenFull::DropNewest)).expect("run");
    let metric = run.metric("m", "x").expect("metric");
    let mut log = run.logger().expect("logger");
    // Segments cannot be written where their folder would be: a file is in the way.
    let blocked = store.layout().run(run.id()).join("m");
    std::fs::write(&blocked, "in the way").expect("write");
    for step in 0..4096 + 10 {
        let _ = log.log(metric, step, 0.0);
    }
    let stats = store.snapshot().expect("snapshot").writer_stats().expect("stats").swap_remove(0);
    assert_eq!((stats.records_logged, stats.drops, stats.records_lost), (4096, 10, 0));
    std::fs::remove_file(&blocked).expect("remove");
    drop(log);
    let report = run.finish().expect("finish");
    let told: Vec<_> = report.gaps.iter().map(|gap| (gap.kind, gap.records)).collect();
    assert_eq!(told, [(GapKind::RingFull, 10)]);
    let stats = store.snapshot().expect("snapshot").writer_stats().expect("stats").swap_remove(0);
    assert_eq!((stats.records_logged, stats.drops, stats.records_lost), (4096, 10, 10));
    drop((store, run));
    assert_eq!(place.examine().told.len(), 1, "a loss that is told is no finding");
    assert!(place.examine().findings.is_empty());
}
