use std::fs;
use std::os::unix::fs::FileExt;

use stepwell_engine::RunOptions;
use stepwell_engine::doctor::{FindingKind as Kind, Severity};

use super::{Place, Writer, common, damage, kinds, the};

/// Where the slots of a journal with 4,096 of them begin.
fn slots_offset(place: &Place, writer: Writer) -> u64 {
    fs::metadata(place.journal_of(writer)).expect("journal").len() - 4096 * 32
}

fn write_at(place: &Place, writer: Writer, bytes: &[u8], offset: u64) {
    let journal = fs::File::options().write(true).open(place.journal_of(writer)).expect("journal");
    journal.write_all_at(bytes, offset).expect("damage");
}

#[test]
fn a_journal_without_a_header_is_set_aside_and_told() {
    let place = Place::new();
    let writer = place.died(1000);
    write_at(&place, writer, &[0xff; 4096], 0);
    let report = place.examine();
    let finding = the(&report, Kind::JournalUnreadable);
    assert!(finding.severity == Severity::Damage && finding.records_max > Some(4096), "{finding:?}");
    place.heal();
    let relative = place.journal_of(writer).strip_prefix(place.path()).expect("below").to_owned();
    assert!(place.path().join("quarantine").join(relative).exists());
    assert_eq!(place.gaps(), [("damaged_slot".to_owned(), 0)]);
}

#[test]
fn slots_that_are_damaged_cut_off_or_empty_cost_what_they_held() {
    for (kind, lost, most, kept) in [
        (Kind::JournalDamagedSlots, 1, None, 1999),
        (Kind::JournalMissingSlots, 128, None, 1872),
        (Kind::JournalCut, 0, Some(3096), 1000),
    ] {
        let place = Place::new();
        let writer = place.died(1000);
        let slots = slots_offset(&place, writer);
        match kind {
            Kind::JournalDamagedSlots => write_at(&place, writer, &[0xff], slots + 100 * 32 + 17),
            Kind::JournalMissingSlots => write_at(&place, writer, &[0; 4096], slots + 4096),
            _ => {
                let journal = fs::File::options().write(true).open(place.journal_of(writer)).expect("journal");
                journal.set_len(slots + 1000 * 32).expect("cut");
            }
        }
        let report = place.examine();
        let finding = the(&report, kind);
        assert_eq!((finding.records_lost, finding.records_max), (lost, most), "{finding:?}");
        assert!(!report.is_healthy());
        place.heal();
        assert_eq!(place.rows().len(), kept);
        assert_eq!(place.gaps().len(), 1, "{:?}", place.gaps());
    }
}

#[test]
fn dropped_records_and_undefined_metrics_are_losses() {
    let place = Place::new();
    let writer = place.died(1000);
    write_at(&place, writer, &7_u64.to_le_bytes(), 1032);
    // The second definition, behind 4 KiB of header, 4 KiB of block table and 16 bytes of the first one.
    write_at(&place, writer, &[0xff], 8192 + 16 + 8);
    let report = place.examine();
    assert_eq!(the(&report, Kind::JournalDrops).records_lost, 7);
    assert_eq!(the(&report, Kind::JournalUndefined).records_lost, 1000);
    assert_eq!(report.records_lost(), 1007);
    place.heal();
    assert_eq!(place.rows().len(), 1000);
    let mut gaps = place.gaps();
    gaps.sort();
    assert_eq!(gaps, [("ring_full".to_owned(), 7), ("undefined_metric".to_owned(), 1000)]);
}

/// A journal with a sealed block of 2,048 records, and 952 behind it.
fn sealed(place: &Place) -> Writer {
    let mut config = common::small_config();
    (config.ring_records, config.segment_rows_max) = (1 << 14, 1 << 20);
    let store = common::open(&place.path(), config);
    let run = store.start_run(RunOptions::new("p", "s")).expect("run");
    let metric = run.metric("m", "x").expect("metric");
    let mut log = run.logger().expect("logger");
    (0..3000).for_each(|step| log.log(metric, step, 1.0).expect("logged"));
    run.sync().expect("seals and syncs");
    let writer = Writer { run: run.id(), writer: run.writer() };
    drop((log, run, store));
    place.wait_for_end(writer);
    writer
}

#[test]
fn a_block_is_compared_with_the_checksum_it_was_sealed_with() {
    let place = Place::new();
    let writer = sealed(&place);
    assert_eq!(kinds(&place.examine()), [Kind::JournalWaiting, Kind::WriterDied]);
    // The checksum in the first entry of the block table.
    write_at(&place, writer, &[1, 2, 3, 4], 4096 + 8);
    let report = place.examine();
    assert!(the(&report, Kind::JournalBlock).what.contains("record 0 "));
    assert!(!kinds(&report).contains(&Kind::JournalDamagedSlots));
    place.heal();
    assert_eq!(place.rows().len(), 3000, "each record has a check of its own");
}

#[test]
fn a_journal_of_a_newer_stepwell_is_left_alone() {
    let place = Place::new();
    let writer = place.died(10);
    // In the header and in its copy; in one of them alone it would be damage.
    write_at(&place, writer, &2_u32.to_le_bytes(), 8);
    write_at(&place, writer, &2_u32.to_le_bytes(), 3072 + 8);
    let before = fs::read(place.journal_of(writer)).expect("journal");
    let report = place.repair();
    assert_eq!(the(&report.found, Kind::JournalNewer).repair, None);
    assert!(!report.is_complete());
    assert_eq!(fs::read(place.journal_of(writer)).expect("journal"), before);
}

#[test]
fn one_unreadable_journal_does_not_keep_the_others() {
    let place = Place::new();
    let (store, run) = place.start(500);
    let metric = run.metric("m", "z").expect("metric");
    let (mut first, mut second) = (run.logger().expect("logger"), run.logger().expect("logger"));
    first.log(metric, 1, 1.0).expect("logged");
    second.log(metric, 2, 2.0).expect("logged");
    let writer = Writer { run: run.id(), writer: run.writer() };
    drop((first, second, run, store));
    place.wait_for_end(writer);
    damage(&place.layout().journal(writer.run, writer.writer, 1), |bytes| bytes[..4096].fill(0xff));
    place.heal();
    assert_eq!(place.rows().len(), 1001);
    assert!(!place.layout().journals(writer.run, writer.writer).exists());
}
