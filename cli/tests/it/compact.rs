//! `stepwell compact`.

use std::fs;
use std::path::PathBuf;

use super::{Place, Ran};

/// Settings under which an import writes a segment for every 2,048 records, and leaves them as they are.
const SMALL: [(&str, &str); 3] =
    [("STEPWELL_RING_RECORDS", "4096"), ("STEPWELL_SEGMENT_ROWS", "2048"), ("STEPWELL_COMPACT_AT_FINISH_ROWS", "0")];

/// A store with one run, `long`, of more than eight segments.
fn place() -> Place {
    let place = Place::new();
    let rows: String = (0..30_000).map(|step| format!("long,{step},{}\n", f64::from(step).sin())).collect();
    place.write("long.csv", &format!("run,step,loss\n{rows}"));
    let import = ["import", "csv", "long.csv", "--run-column=run", "--step-column=step"];
    let ran = run_with(&place, &import, &SMALL);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(segments(&place).len() > 8);
    place
}

fn run_with(place: &Place, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
    Ran::from(place.command(arguments).envs(variables.iter().copied()).output().unwrap())
}

/// The Parquet files of the run.
fn segments(place: &Place) -> Vec<PathBuf> {
    let run = &place.sql("SELECT run_id FROM runs")[0];
    let folder = place.path().join(".stepwell/runs").join(run).join("metrics");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "parquet")).collect()
}

#[test]
fn segments_are_merged_and_old_files_go_when_it_is_time() {
    let place = place();
    let (rows, before) = (place.sql("SELECT count(*), sum(value) FROM metrics"), segments(&place).len());
    let dry = place.run(&["compact", "--dry-run"]);
    assert_eq!(dry.code, 0, "{}", dry.stderr);
    assert!(dry.stdout.contains("SEGMENTS") && dry.stderr.contains("would become 1"), "{}{}", dry.stdout, dry.stderr);
    assert_eq!(segments(&place).len(), before);

    let json = place.run(&["compact", "long", "--json"]);
    assert_eq!(json.code, 0, "{}", json.stderr);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json[0]["segments_before"].as_u64(), Some(before as u64));
    assert_eq!((json[0]["segments_after"].as_u64(), json[0]["rows"].as_u64()), (Some(1), Some(30_000)));
    assert_eq!(place.sql("SELECT count(*) FROM segments"), ["1"]);
    assert_eq!(place.sql("SELECT count(*), sum(value) FROM metrics").len(), rows.len());
    assert_eq!(place.sql("SELECT count(*) FROM metrics"), ["30000"]);
    assert_eq!(segments(&place).len(), before + 1, "kept for their grace period");
    place.ok(&["verify"]);

    let again = place.run(&["compact"]);
    assert_eq!((again.code, again.stdout.as_str()), (0, ""));
    assert!(again.stderr.contains("nothing is due") && again.stderr.contains("kept until"), "{}", again.stderr);
    let removed = place.run(&["compact", "--remove-now"]);
    assert_eq!(removed.code, 0, "{}", removed.stderr);
    assert!(removed.stderr.contains("removed"), "{}", removed.stderr);
    assert_eq!(segments(&place).len(), 1);
    assert_eq!(place.sql("SELECT count(*) FROM metrics"), ["30000"]);
    place.ok(&["verify"]);
    assert_eq!(place.run(&["doctor"]).code, 0);
}

#[test]
fn a_damaged_segment_ends_compact_with_its_exit_code() {
    let place = place();
    let files = segments(&place);
    let mut bytes = fs::read(&files[0]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&files[0], bytes).unwrap();
    let ran = place.run(&["compact"]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stderr.contains("not compacted") && ran.stderr.contains("BLAKE3"), "{}", ran.stderr);
    assert_eq!(segments(&place).len(), files.len());
}

#[test]
fn compact_refuses_what_it_cannot_do() {
    let place = place();
    assert_eq!(place.run(&["compact", "nobody"]).code, 4);
    assert_eq!(place.run(&["compact", "--segments", "0"]).code, 2);
}

/// The kernel says who has the store open; where it does not, this is not known.
#[test]
fn files_are_not_removed_at_once_while_another_process_has_the_store_open() {
    let place = place();
    place.ok(&["compact"]);
    if fs::read_to_string("/proc/locks").is_err() {
        println!("skipped: that a store is open elsewhere is not known without /proc/locks");
        return;
    }
    // This process reads the store, too.
    let reader = stepwell_engine::Store::open_with(
        place.path().join(".stepwell"),
        stepwell_engine::Access::Read,
        stepwell_engine::EngineConfig::default(),
    );
    let reader = reader.unwrap();
    let ran = place.run(&["compact", "--remove-now"]);
    assert_eq!(ran.code, 5, "{}", ran.stderr);
    assert!(ran.stderr.contains(&format!("process {}", std::process::id())), "{}", ran.stderr);
    drop(reader);
    assert_eq!(place.run(&["compact", "--remove-now"]).code, 0);
    assert_eq!(segments(&place).len(), 1);
}
