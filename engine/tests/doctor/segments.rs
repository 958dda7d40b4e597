use std::fs;

use stepwell_engine::doctor::{FindingKind as Kind, Severity};
use stepwell_engine::layout::SegmentFile;

use super::{Place, damage, flip_middle, kinds, name_of, the};

#[test]
fn a_bad_segment_is_set_aside_and_its_records_are_told_as_lost() {
    for kind in [Kind::SegmentDamaged, Kind::SegmentMissing, Kind::SegmentUnreadable] {
        let place = Place::new();
        let writer = place.finished(1000);
        let untouched = place.finished(300);
        let segment = place.segments_of(writer).swap_remove(0);
        let sound = fs::read(&segment).expect("segment");
        match kind {
            Kind::SegmentDamaged => flip_middle(&segment),
            Kind::SegmentMissing => fs::remove_file(&segment).expect("removed"),
            _ => damage(&segment, |bytes| bytes.truncate(100)),
        }
        let report = place.examine();
        let finding = the(&report, kind);
        assert_eq!((finding.severity, finding.records_lost), (Severity::Damage, 2000), "{finding:?}");
        assert_eq!(kinds(&report), [kind], "an artifact is not judged by a segment that is bad");
        place.heal();
        assert_eq!(place.gaps(), [("damaged_segment".to_owned(), 2000)]);
        assert_eq!(place.rows().len(), 100 + 700);
        let aside = place.path().join("quarantine").join(segment.strip_prefix(place.path()).expect("below"));
        assert_eq!(aside.exists(), kind != Kind::SegmentMissing);
        assert_eq!(place.segments_of(untouched).len(), 2);
        // Brought back from a copy, it counts again.
        fs::write(&segment, sound).expect("write");
        assert_eq!(kinds(&place.examine()), [Kind::SegmentUnnamed]);
        place.heal();
        assert_eq!(place.rows().len(), 2100 + 700);
    }
}

#[test]
fn opening_the_store_leaves_a_segment_that_was_set_aside_alone() {
    let place = Place::new();
    let writer = place.finished(1000);
    flip_middle(&place.segments_of(writer)[1]);
    place.heal();
    let store = place.open();
    assert!(store.recovery().failures.is_empty() && store.recovery().writers.is_empty(), "{:?}", store.recovery());
    let artifacts = store.snapshot().expect("snapshot").artifacts().expect("artifacts");
    let versions: Vec<_> = artifacts.iter().filter_map(|artifact| artifact.version).collect();
    assert_eq!(versions.iter().max(), Some(&3), "what is left is a version of its own");
}

#[test]
fn a_segment_whose_records_others_hold_is_not_read_twice() {
    let place = Place::new();
    let writer = place.finished(1000);
    let segment = place.segments_of(writer).swap_remove(0);
    let file = SegmentFile::parse(&name_of(&segment)).expect("name");
    fs::copy(&segment, segment.with_file_name(SegmentFile { n: 7, ..file }.file_name())).expect("copy");
    assert_eq!(kinds(&place.examine()), [Kind::SegmentUnnamed]);
    place.heal();
    assert_eq!(place.rows().len(), 2100);
    assert_eq!(place.gaps(), []);
}

#[test]
fn a_damaged_segment_that_no_event_names_is_set_aside() {
    let place = Place::new();
    let writer = place.finished(1000);
    let segment = place.segments_of(writer).swap_remove(0);
    let file = SegmentFile::parse(&name_of(&segment)).expect("name");
    fs::write(segment.with_file_name(SegmentFile { n: 7, ..file }.file_name()), "rubbish").expect("write");
    assert!(the(&place.examine(), Kind::SegmentUnnamed).what.contains("damaged"));
    place.heal();
    assert_eq!(place.rows().len(), 2100);
    assert_eq!(place.gaps(), [("damaged_segment".to_owned(), 0)]);
}

#[test]
fn an_artifact_whose_records_are_others_is_registered_anew() {
    let place = Place::new();
    let writer = place.finished(1000);
    let log = place.log_of(writer);
    // The event that named the first segment is gone without a trace, and so is the segment.
    let text = fs::read_to_string(&log).expect("log");
    let segments = text.lines().find(|line| line.contains("\"event\":\"segments\"")).expect("event");
    fs::write(&log, text.replacen(&format!("{segments}\n"), "", 1)).expect("write");
    fs::remove_file(&place.segments_of(writer)[0]).expect("removed");
    let report = place.examine();
    assert!(the(&report, Kind::ArtifactDiffers).what.contains("2100"), "{:?}", report.findings);
    place.heal();
    assert_eq!(place.rows().len(), 100);
}
