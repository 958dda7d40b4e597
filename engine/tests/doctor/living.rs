use std::fs;

use stepwell_engine::doctor::FindingKind as Kind;

use super::{Place, Writer, damage_line, flip_middle, the};

#[test]
fn the_files_of_a_living_writer_are_left_alone() {
    let place = Place::new();
    let (store, run) = place.start(500);
    run.commit("m").expect("commit");
    assert!(place.examine().findings.is_empty(), "{:?}", place.examine().findings);
    assert_eq!(place.examine().alive, 1);
    let writer = Writer { run: run.id(), writer: run.writer() };
    damage_line(&place.log_of(writer), "\"lr\"");
    flip_middle(&place.segments_of(writer)[0]);
    let (log, segment) = (place.log_of(writer), place.segments_of(writer).swap_remove(0));
    let before = (fs::read(&log).expect("log"), fs::read(&segment).expect("segment"));
    let report = place.repair();
    assert_eq!(the(&report.found, Kind::LogDamagedLine).repair, None);
    assert_eq!(the(&report.found, Kind::SegmentDamaged).repair, None);
    assert!(!report.is_complete());
    assert_eq!((fs::read(&log).expect("log"), fs::read(&segment).expect("segment")), before);
    let metric = run.metric("m", "x").expect("metric");
    run.logger().expect("logger").log(metric, 1000, 1.0).expect("it goes on");
    run.finish().expect("finish");
    drop((store, run));
    place.heal();
    assert_eq!(place.rows().len(), 1);
}

#[test]
fn a_writer_whose_log_was_deleted_under_it_is_alive_as_long_as_it_has_its_journal_mapped() {
    let place = Place::new();
    let (store, run) = place.start(500);
    let writer = Writer { run: run.id(), writer: run.writer() };
    fs::remove_file(place.log_of(writer)).expect("removed");
    let report = place.repair();
    assert_eq!(the(&report.found, Kind::LogMissing).repair, None);
    assert!(!place.log_of(writer).exists() && place.journal_of(writer).exists());
    let journals = place.layout().journals(writer.run, writer.writer);
    drop((run, store));
    // The sealer may hold a run for a moment longer than its handles.
    while fs::read_to_string("/proc/self/maps").expect("maps").contains(&*journals.to_string_lossy()) {
        std::thread::yield_now();
    }
    place.heal();
    assert_eq!(place.rows().len(), 1000);
}
