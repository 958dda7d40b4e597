use std::fs;

use rusqlite::Connection;
use stepwell_engine::doctor::{FindingKind as Kind, Severity};
use stepwell_engine::{Access, Store};

use super::{Place, damage, kinds, small_config, the};

fn sql(place: &Place, statement: &str) {
    Connection::open(place.layout().catalog()).expect("catalog").execute_batch(statement).expect(statement);
}

fn remove_catalog(place: &Place) {
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(place.path().join(format!("catalog.db{suffix}")));
    }
}

#[test]
fn a_catalog_that_is_missing_is_built_anew() {
    let place = Place::new();
    place.finished(100);
    remove_catalog(&place);
    let report = place.examine();
    assert_eq!(the(&report, Kind::CatalogMissing).severity, Severity::Note);
    assert!(!place.layout().catalog().exists(), "an examination writes nothing");
    place.heal();
    assert_eq!(place.rows().len(), 300);
}

#[test]
fn rows_that_the_event_logs_do_not_make_are_found() {
    let place = Place::new();
    place.finished(100);
    sql(&place, "UPDATE stepwell_run SET pipeline = 'digitz'");
    let report = place.examine();
    assert!(the(&report, Kind::CatalogDiffers).what.contains("stepwell_run"));
    place.heal();
    assert!(place.path().join("quarantine/catalog.db").exists());
    let store = Store::open_with(place.path(), Access::Read, small_config()).expect("open");
    assert_eq!(store.snapshot().expect("snapshot").runs()[0].pipeline, "digits");
}

#[test]
fn a_catalog_that_is_behind_the_logs_is_nothing_wrong() {
    let place = Place::new();
    let writer = place.finished(100);
    place.died(100);
    assert!(place.examine().is_healthy());
    sql(&place, &format!("DELETE FROM stepwell_log WHERE run_id = '{}'", writer.run));
    sql(&place, "DELETE FROM stepwell_scan");
    assert!(place.examine().is_healthy());
}

#[test]
fn a_catalog_that_is_no_database_is_built_anew() {
    for rubbish in [true, false] {
        let place = Place::new();
        place.finished(100);
        remove_catalog(&place);
        if rubbish {
            fs::write(place.layout().catalog(), [b'x'; 8192]).expect("write");
        } else {
            drop(place.open());
            sql(&place, "PRAGMA wal_checkpoint(TRUNCATE)");
            damage(&place.layout().catalog(), |bytes| {
                bytes[4096..].chunks_mut(4096).for_each(|page| page[..64].fill(7))
            });
        }
        let report = place.examine();
        assert_eq!(kinds(&report), [Kind::CatalogDamaged], "{:?}", report.findings);
        place.heal();
        assert_eq!(place.rows().len(), 300);
    }
}

#[test]
fn what_another_application_or_a_newer_stepwell_made_is_left_alone() {
    for (statement, kind) in
        [("PRAGMA application_id = 7", Kind::CatalogForeign), ("PRAGMA user_version = 99", Kind::CatalogNewer)]
    {
        let place = Place::new();
        place.finished(100);
        sql(&place, statement);
        let report = place.repair();
        assert_eq!(the(&report.found, kind).repair, None);
        assert!(report.done.is_empty() && !report.is_complete());
    }
}
