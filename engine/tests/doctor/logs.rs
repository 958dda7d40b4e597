use std::fs;

use stepwell_engine::doctor::{FindingKind as Kind, Severity};
use stepwell_engine::events::{Event, EventLine, WriterStarted};

use super::{Place, damage, damage_line, kinds, name_of, the};

fn first_event(text: &str) -> WriterStarted {
    let line = EventLine::decode(text.lines().next().expect("a line")).expect("an event");
    match line.event {
        Event::WriterStarted(started) => *started,
        other => panic!("{other:?}"),
    }
}

/// Puts another first line in the place of the one that is there.
fn change_start(text: &str, change: impl FnOnce(&mut WriterStarted)) -> String {
    let (first, rest) = text.split_once('\n').expect("lines");
    let mut line = EventLine::decode(first).expect("an event");
    let Event::WriterStarted(started) = &mut line.event else { panic!("{line:?}") };
    change(started);
    format!("{}{rest}", line.encode())
}

#[test]
fn a_dead_writer_waits_for_its_recovery() {
    let place = Place::new();
    place.died(1000);
    let report = place.examine();
    assert_eq!(kinds(&report), [Kind::JournalWaiting, Kind::WriterDied]);
    assert!(report.is_healthy(), "a crash is nothing wrong");
    assert!(the(&report, Kind::JournalWaiting).what.contains("2000 records"));
    let repaired = place.heal();
    assert_eq!(repaired.recovered[0].rows_recovered, 2000);
    assert_eq!(place.rows().len(), 2000);
}

#[test]
fn a_line_that_was_cut_off_is_cut_off_in_full() {
    let place = Place::new();
    for writer in [place.finished(100), place.died(100)] {
        let log = place.log_of(writer);
        let sound = fs::read(&log).expect("log");
        damage(&log, |bytes| bytes.extend(b"{\"n\":99,\"time\":"));
        let report = place.examine();
        assert_eq!(the(&report, Kind::LogTorn).severity, Severity::Note);
        place.heal();
        assert!(fs::read(&log).expect("log").starts_with(&sound));
    }
    assert_eq!(place.rows().len(), 300 + 200);
}

#[test]
fn a_damaged_line_is_told_and_the_log_that_had_it_is_kept() {
    let place = Place::new();
    let writer = place.finished(1000);
    let log = place.log_of(writer);
    damage_line(&log, "\"lr\"");
    let damaged = fs::read(&log).expect("log");
    let report = place.examine();
    assert!(the(&report, Kind::LogDamagedLine).what.contains("checksum"));
    let repaired = place.heal();
    assert_eq!(repaired.found.findings.len(), report.findings.len());
    let kept = log.with_file_name(format!("{}.damaged", name_of(&log)));
    assert_eq!(fs::read(kept).expect("kept"), damaged);
    assert!(place.path().join("quarantine/catalog.db").exists(), "the catalog may know what the line said");
    assert_eq!(place.gaps(), [("damaged_event".to_owned(), 0)]);
    assert_eq!(place.rows().len(), 2100);
}

#[test]
fn segments_that_a_damaged_line_named_are_taken_up() {
    let place = Place::new();
    let writer = place.finished(1000);
    damage_line(&place.log_of(writer), "\"event\":\"segments\"");
    let report = place.examine();
    let found = kinds(&report);
    assert!(found.contains(&Kind::LogDamagedLine) && found.contains(&Kind::SegmentUnnamed), "{found:?}");
    assert_eq!(the(&report, Kind::SegmentUnnamed).severity, Severity::Damage, "its rows are in no answer");
    place.heal();
    assert_eq!(place.rows().len(), 2100);
}

#[test]
fn the_first_line_comes_back_from_the_footer_of_a_segment() {
    let place = Place::new();
    let writer = place.finished(1000);
    let log = place.log_of(writer);
    let started = first_event(&fs::read_to_string(&log).expect("log"));
    for round in 0..2 {
        if round == 0 {
            damage_line(&log, "\"pipeline\"");
        } else {
            damage(&log, |bytes| drop(bytes.drain(..=bytes.iter().position(|byte| *byte == b'\n').expect("line"))));
        }
        assert_eq!(the(&place.examine(), Kind::LogHeadless).severity, Severity::Damage);
        place.heal();
        assert_eq!(first_event(&fs::read_to_string(&log).expect("log")), started);
        assert_eq!(place.rows().len(), 2100);
    }
}

#[test]
fn an_empty_log_is_made_anew_from_what_the_catalog_or_the_journals_know() {
    for has_catalog in [true, false] {
        let place = Place::new();
        let writer = place.died(1000);
        if !has_catalog {
            fs::remove_file(place.layout().catalog()).expect("removed");
        }
        damage(&place.log_of(writer), Vec::clear);
        let report = place.examine();
        assert_eq!(the(&report, Kind::LogEmpty).severity, Severity::Loss);
        place.heal();
        let started = first_event(&fs::read_to_string(place.log_of(writer)).expect("log"));
        let pipeline = if has_catalog { "digits" } else { "(unknown)" };
        assert_eq!((started.run_id, started.writer, started.pipeline.as_str()), (writer.run, writer.writer, pipeline));
        assert_eq!(place.rows().len(), 2000);
    }
}

#[test]
fn a_log_that_is_gone_is_made_anew() {
    let place = Place::new();
    let (finished, died) = (place.finished(1000), place.died(500));
    let started = first_event(&fs::read_to_string(place.log_of(finished)).expect("log"));
    fs::remove_file(place.log_of(finished)).expect("removed");
    fs::remove_file(place.log_of(died)).expect("removed");
    assert_eq!(kinds(&place.examine()).iter().filter(|kind| **kind == Kind::LogMissing).count(), 1);
    place.heal();
    assert_eq!(first_event(&fs::read_to_string(place.log_of(finished)).expect("log")), started);
    assert_eq!(place.rows().len(), 2100 + 1000);
}

#[test]
fn the_log_of_a_newer_stepwell_and_that_of_another_run_are_left_alone() {
    let place = Place::new();
    let died = place.all_died(&[100, 100]);
    let (newer, other) = (died[0], died[1]);
    let text = fs::read_to_string(place.log_of(newer)).expect("log");
    let text = change_start(&text, |started| started.format = 99);
    fs::write(place.log_of(newer), &text).expect("write");
    let copied = super::Writer { run: other.run, writer: newer.writer };
    fs::copy(place.log_of(other), place.log_of(copied)).expect("copy");
    let report = place.repair();
    assert!(!report.is_complete());
    assert_eq!(the(&report.found, Kind::LogNewer).repair, None);
    assert_eq!(the(&report.found, Kind::LogMisplaced).repair, None);
    assert_eq!(fs::read_to_string(place.log_of(newer)).expect("log"), text);
    assert!(place.journal_of(newer).exists());
}

#[test]
fn a_machine_that_went_down_may_have_taken_records_along() {
    let place = Place::new();
    let writer = place.died(1000);
    let text = fs::read_to_string(place.log_of(writer)).expect("log");
    let text = change_start(&text, |started| started.process.boot_id = "an earlier boot".to_owned());
    fs::write(place.log_of(writer), text).expect("write");
    let report = place.examine();
    let finding = the(&report, Kind::MachineDown);
    assert_eq!((finding.severity, finding.records_lost, finding.records_max), (Severity::Loss, 0, Some(4096 - 2000)));
    place.heal();
    assert_eq!(place.gaps(), [("machine_down".to_owned(), 0)]);
}
