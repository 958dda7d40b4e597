//! Keeps `docs/FORMAT.md` true: real files are read with nothing but the document's tables and formulas.
//!
//! A table of the document stands under a comment `<!-- table: name -->`. What a table does not say, the code below
//! does not know; what the engine writes and the table does not list, fails.

mod events;
mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::atomic::Ordering;

use crate::config::EngineConfig;
use crate::events::{EVENT_FORMAT, EVENT_FORMAT_FIRST};
use crate::ids::{RunId, WriterId};
use crate::journal::{BLOCK_SLOTS, Geometry, Header, JournalFile};
use crate::names::NAME_BYTES_MAX;
use crate::ring::{RECORD_BYTES, RINGS_MAX, Record, SEQ_INDEX_BITS, sequence};
use crate::segment::SEGMENT_FORMAT;
use crate::store::STORE_FORMAT;
use store::Place;

const DOCUMENT: &str = include_str!("../../docs/FORMAT.md");
const GUIDE: &str = include_str!("../../docs/GUIDE.md");
const MARK: &str = "<!-- table: ";

/// Rows of the table `name`, cell by cell, without code marks.
fn table_in(document: &str, name: &str) -> Vec<Vec<String>> {
    let mark = format!("{MARK}{name} -->\n");
    let (_, rest) = document.split_once(&mark).unwrap_or_else(|| panic!("the document has no table {name:?}"));
    let lines = rest.lines().take_while(|line| line.starts_with('|')).skip(2);
    let cells = |line: &str| -> Vec<String> {
        let line = line.trim().trim_start_matches('|').trim_end_matches('|');
        line.split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    lines.map(cells).collect()
}

fn table(name: &str) -> Vec<Vec<String>> {
    table_in(DOCUMENT, name)
}

/// Names of the document's tables that begin with `prefix`, without it.
fn tables(prefix: &str) -> BTreeSet<&'static str> {
    let marked = DOCUMENT.split(MARK).skip(1).filter_map(|rest| rest.split_once(" -->"));
    marked.filter_map(|(name, _)| name.strip_prefix(prefix)).collect()
}

fn integer(text: &str) -> u64 {
    let digits = text.replace('`', "");
    match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).expect(text),
        None => digits.parse().expect(text),
    }
}

fn constants() -> BTreeMap<String, u64> {
    table("constants").iter().map(|row| (row[0].clone(), integer(&row[1]))).collect()
}

fn constant(name: &str) -> u64 {
    constants().get(name).copied().unwrap_or_else(|| panic!("the document has no constant {name:?}"))
}

/// A table of offsets, as a reader uses it.
struct Fields {
    rows: Vec<(usize, usize, String)>,
}

impl Fields {
    fn of(name: &str) -> Self {
        let row = |row: &Vec<String>| (integer(&row[0]) as usize, row[1].parse().unwrap_or(0), row[2].clone());
        let rows: Vec<_> = table(name).iter().map(row).collect();
        for pair in rows.windows(2) {
            assert!(pair[0].0 + pair[0].1 <= pair[1].0, "{name}: {pair:?} overlap");
        }
        Self { rows }
    }

    /// The bytes of the field whose description begins with `field`.
    fn bytes<'a>(&self, record: &'a [u8], field: &str) -> &'a [u8] {
        let (offset, bytes, _) = self.rows.iter().find(|row| row.2.starts_with(field)).expect(field);
        &record[*offset..offset + bytes]
    }

    fn number(&self, record: &[u8], field: &str) -> u64 {
        self.bytes(record, field).iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

const WRITER: WriterId = WriterId { rank: 3, attempt: 2, nonce: 0xdead_beef };

/// A journal with one full block, one record of the next lap, two definitions and counters.
fn journal_bytes() -> (Header, Vec<u8>) {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("5.journal");
    let geometry = Geometry { capacity: 1 << 19, definitions_bytes: 5000 };
    let header = Header { run: RunId::generate(), writer: WRITER, ring: 5, geometry, salt: !77, created: 1_795_403 };
    let journal = JournalFile::create(&crate::storage::Disk, &path, header.clone()).expect("create");
    assert!(journal.define("train", "loss") && journal.define("train", "vérité"));
    let slots = journal.slots();
    for index in (0..BLOCK_SLOTS).chain([lap_index(geometry)]) {
        slots.write(index, header.salt, &record_at(index));
    }
    journal.seal_block(0);
    journal.sync(0, BLOCK_SLOTS).expect("sync");
    journal.synced().store(BLOCK_SLOTS, Ordering::Relaxed);
    journal.waits().store(11, Ordering::Relaxed);
    journal.drops().store(12, Ordering::Relaxed);
    (header, fs::read(&path).expect("read"))
}

fn lap_index(geometry: Geometry) -> u64 {
    geometry.capacity + BLOCK_SLOTS + 9
}

fn record_at(index: u64) -> Record {
    let value_bits = (index as f64).sqrt().to_bits();
    Record {
        metric: (index % 2) as u32,
        time: 1_795_403_358_728_123_456 + index as i64,
        step: -(index as i64),
        value_bits,
    }
}

#[test]
fn a_journal_is_read_by_its_tables() {
    let (header, file) = journal_bytes();
    let fields = Fields::of("journal header");
    let expected: [(&str, u64); 14] = [
        ("journal format", constant("journal format")),
        ("ring", 5),
        ("rank", 3),
        ("attempt", 2),
        ("the writer id's random number", 0xdead_beef),
        ("slots of a block", constant("block slots")),
        ("capacity", header.geometry.capacity),
        ("definition bytes", 5000),
        ("salt", !77),
        ("created", 1_795_403),
        ("CRC-32C", u64::from(crc32c::crc32c(&file[..92]))),
        ("waits", 11),
        ("drops", 12),
        ("synced", BLOCK_SLOTS),
    ];
    for (field, value) in expected {
        assert_eq!(fields.number(&file, field), value, "{field}");
    }
    assert_eq!(fields.bytes(&file, "magic"), b"STEPWELJ");
    assert_eq!(fields.bytes(&file, "run id"), header.run.as_uuid().as_bytes());
    assert!(fields.bytes(&file, "zero").iter().all(|byte| *byte == 0));
    assert_eq!(fields.bytes(&file, "copy of bytes 0 to 95"), &file[..96]);
    assert_eq!(fields.rows.len(), expected.len() + 4, "every field of the table is compared");

    let block = Fields::of("block entry");
    let page = |bytes: u64| bytes.next_multiple_of(4096) as usize;
    let table_at = constant("header bytes") as usize;
    let definitions_at = table_at + page(header.geometry.capacity / BLOCK_SLOTS * constant("block entry bytes"));
    let slots_at = definitions_at + page(header.geometry.definitions_bytes);
    let slot_bytes = constant("slot bytes") as usize;
    assert_eq!(file.len(), slots_at + header.geometry.capacity as usize * slot_bytes);
    let sealed = &file[slots_at..slots_at + constant("block slots") as usize * slot_bytes];
    assert_eq!(block.number(&file[table_at..], "first index"), 0);
    assert_eq!(block.number(&file[table_at..], "slots"), BLOCK_SLOTS);
    assert_eq!(block.number(&file[table_at..], "CRC-32C"), u64::from(crc32c::crc32c(sealed)));

    let mut at = definitions_at;
    for (name, metric) in [("train", "loss"), ("train", "vérité")] {
        at += check_definition(&file[at..], name, metric);
    }
    assert_eq!(file[at..at + 8], [0; 8], "zeros end the list");
    for index in [0, 1, 2047, lap_index(header.geometry)] {
        let slot = slots_at + (index % header.geometry.capacity) as usize * slot_bytes;
        check_slot(&file[slot..slot + slot_bytes], index, header.salt);
    }
}

/// Reads one definition, and returns how many bytes it takes.
fn check_definition(bytes: &[u8], name: &str, metric: &str) -> usize {
    let fields = Fields::of("definition");
    assert_eq!(fields.number(bytes, "length of the metrics name"), name.len() as u64);
    assert_eq!(fields.number(bytes, "length of the metric in"), metric.len() as u64);
    let end = 8 + name.len() + metric.len();
    assert_eq!(&bytes[8..end], format!("{name}{metric}").as_bytes());
    assert_eq!(fields.number(bytes, "CRC-32C"), u64::from(crc32c::crc32c(&bytes[4..end])));
    end.next_multiple_of(8)
}

/// Reads one slot, and computes its commit word by the document's formula.
fn check_slot(slot: &[u8], index: u64, salt: u64) {
    let fields = Fields::of("slot");
    let record = record_at(index);
    assert_eq!(fields.number(slot, "time") as i64, record.time);
    assert_eq!(fields.number(slot, "step") as i64, record.step);
    assert_eq!(fields.number(slot, "value"), record.value_bits);
    let (a, b) = (constant("check multiplier A"), constant("check multiplier B"));
    let id = u64::from(record.metric) + 1;
    let left = (record.time as u64 ^ salt.wrapping_add(index.wrapping_mul(b))).wrapping_mul(a);
    let right = (record.value_bits ^ (record.step as u64).rotate_left(32) ^ id).wrapping_mul(b);
    let mixed = (left ^ right.rotate_left(29)).wrapping_mul(a);
    assert_eq!(fields.number(slot, "commit word"), (mixed >> 32) << 32 | id, "index {index}");
}

#[test]
fn constants_are_the_codes() {
    let config = EngineConfig::default();
    let geometry = Geometry { capacity: 1 << 19, definitions_bytes: 4096 };
    let (header, bytes) = journal_bytes();
    let entries = geometry.definitions_offset() - geometry.table_offset();
    let place = Place::new();
    let pragma = |name: &str| place.catalog().query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
    let schema: i64 =
        place.catalog().query_row("SELECT schema_version FROM MLMDEnv", [], |row| row.get(0)).expect("MLMDEnv");
    let code: BTreeMap<&str, u64> = BTreeMap::from([
        ("store format", STORE_FORMAT.into()),
        ("journal format", Fields::of("journal header").number(&bytes, "journal format")),
        ("event log format", EVENT_FORMAT.into()),
        ("first event log format", EVENT_FORMAT_FIRST.into()),
        ("segment format", SEGMENT_FORMAT.into()),
        ("catalog version", pragma("user_version").expect("version") as u64),
        ("catalog application", pragma("application_id").expect("application") as u64),
        ("ML Metadata schema", schema as u64),
        ("longest name", NAME_BYTES_MAX as u64),
        ("header bytes", geometry.table_offset() as u64),
        ("header fixed bytes", header.encode().len() as u64),
        ("block slots", BLOCK_SLOTS),
        ("block entry bytes", entries as u64 / geometry.blocks()),
        ("slot bytes", RECORD_BYTES as u64),
        ("sequence index bits", SEQ_INDEX_BITS.into()),
        ("most rings", RINGS_MAX.into()),
    ]);
    // The others are part of formulas that are computed elsewhere in this file.
    let formulas = ["check multiplier A", "check multiplier B", "lowest id", "id bits"];
    for (name, value) in constants() {
        match code.get(name.as_str()) {
            Some(known) => assert_eq!(value, *known, "{name}"),
            None => assert!(formulas.contains(&name.as_str()), "{name} is compared with nothing"),
        }
    }
    assert_eq!(sequence(5, 9), 5 << constant("sequence index bits") | 9);
    assert_eq!(fs::read_to_string(place.store().layout().marker()).expect("marker"), "{\"format\":1}\n");
    let default = Geometry { capacity: config.ring_records, definitions_bytes: config.definition_bytes };
    assert_eq!(default.file_bytes(), 37_761_024);
    assert!(DOCUMENT.contains("37,761,024 bytes"));
}

#[test]
fn settings_are_those_of_the_guide() {
    let default = EngineConfig::default();
    let code: BTreeMap<&str, u64> = BTreeMap::from([
        ("STEPWELL_RING_RECORDS", default.ring_records),
        ("STEPWELL_DEFINITION_BYTES", default.definition_bytes),
        ("STEPWELL_SEGMENT_ROWS", default.segment_rows_max),
        ("STEPWELL_SEGMENT_SECS", default.segment_age.as_secs()),
        ("STEPWELL_SYNC_MILLIS", default.sync_interval.as_millis() as u64),
        ("STEPWELL_SEAL_MILLIS", default.seal_deadline.as_millis() as u64),
        ("STEPWELL_WAIT_MILLIS", default.wait_limit.as_millis() as u64),
        ("STEPWELL_GRACE_SECS", default.replaced_grace.as_secs()),
        ("STEPWELL_COMPACT_AT_FINISH_ROWS", default.compact_at_finish_rows_max),
    ]);
    let rows = table_in(GUIDE, "settings");
    let guide = rows.iter().map(|row| (row[0].trim_matches('`'), integer(&row[1].replace(',', ""))));
    assert_eq!(guide.collect::<BTreeMap<_, _>>(), code);
}
