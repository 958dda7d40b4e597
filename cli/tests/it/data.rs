//! What is imported comes out again: SQL, formats, pages, pictures, verification.

use std::fs;
use std::path::PathBuf;

use super::Place;

#[test]
fn an_import_is_answered_by_sql() {
    let place = Place::with_two_runs();
    let rows = place.sql("SELECT run_name, metric, step, value FROM metrics ORDER BY run_name, metric, step");
    assert_eq!(
        rows,
        ["a,acc,1,0.5", "a,loss,0,2.5", "a,loss,1,NaN", "b,acc,0,0.25", "b,acc,1,0.75", "b,loss,0,1.5", "b,loss,1,0.5"]
    );
    assert_eq!(
        place.sql("SELECT name, state, params['group'] FROM runs ORDER BY name"),
        ["a,finished,x", "b,finished,y"]
    );
    assert_eq!(place.sql("SELECT count(*), count(DISTINCT name) FROM lineage WHERE name LIKE 'two.csv%'"), ["2,1"]);
}

#[test]
fn values_and_limits_of_a_query_are_options() {
    let place = Place::with_two_runs();
    let sql = ["sql", "SELECT count(*) AS n FROM metrics WHERE metric = $m AND step IN ($steps)", "--format=csv"];
    assert_eq!(place.ok(&[&sql[..], &["-p", "m=loss", "--param", "steps=[0, 1]"]].concat()), "n\n4\n");
    place.fails(&[&sql[..], &["-p", "m=loss"]].concat(), 2, &["$steps", "given: m"]);
    let without_value = place.run(&["sql", "SELECT 1", "-p", "lr"]);
    assert!(without_value.code == 2 && without_value.stderr.contains("write NAME=VALUE"), "{}", without_value.stderr);
    let cut = place.run(&["sql", "SELECT step FROM metrics", "--max-rows=3", "--format=ndjson"]);
    assert_eq!((cut.code, cut.stdout.lines().count()), (0, 3));
    assert!(cut.stderr.contains("cut after 3 rows"), "{}", cut.stderr);
    place.fails(&["sql", "SELECT sum(value) FROM generate_series(1, 1000000000000)", "--timeout=0.1"], 1, &["100 ms"]);
    place.fails(&["sql", "SELECT lpad('x', 10000000, 'y')", "--memory-limit=1"], 1, &["memory"]);
}

#[test]
fn importing_the_same_content_again_changes_nothing_unless_forced() {
    let place = Place::with_two_runs();
    fs::copy(place.path().join("two.csv"), place.path().join("copy.csv")).unwrap();
    let import = ["import", "csv", "copy.csv", "--run-column=run", "--group-column=group", "--step-column=step"];
    let again = place.run(&import);
    assert_eq!((again.code, again.stdout.as_str()), (0, ""));
    assert!(
        again.stderr.contains("2 runs of \"copy.csv\" imported before") && again.stderr.contains("--force"),
        "{}",
        again.stderr
    );
    assert_eq!(place.sql("SELECT count(*) FROM runs"), ["2"]);
    let forced = place.ok(&[&import[..], &["--force", "--json"]].concat());
    assert_eq!(forced.matches("\"is_new\":true").count(), 2, "{forced}");
    assert_eq!(place.sql("SELECT count(*) FROM runs"), ["4"]);
    place.fails(&["show", "a"], 2, &["fits 2 runs"]);
}

#[test]
fn every_format_holds_the_rows() {
    let place = Place::with_two_runs();
    let query = "SELECT step, value FROM metrics WHERE metric = 'loss' AND run_name = 'a' ORDER BY step";
    let of = |format: &str| place.run(&["sql", query, "--format", format]);
    assert!(of("table").stdout.contains("2.5"));
    assert_eq!(of("csv").stdout, "step,value\n0,2.5\n1,NaN\n");
    let json = place.run(&["sql", query, "--json"]).stdout;
    assert!(json.contains("\"value\":2.5") && json.contains("\"value\":\"NaN\""), "{json}");
    assert_eq!(of("ndjson").stdout.lines().count(), 2);
    assert!(of("arrow").bytes.starts_with(&[0xff; 4]));
    assert!(of("parquet").bytes.starts_with(b"PAR1"));
    // The format comes from the name of the file.
    place.ok(&["sql", query, "-o", "loss.parquet"]);
    assert_eq!(fs::read(place.path().join("loss.parquet")).unwrap(), of("parquet").bytes);
    let unwritable = place.fails(&["sql", query, "-o", "no/such/folder/x.csv"], 4, &["no/such/folder/x.csv"]);
    assert!(unwritable.lines().count() == 1, "{unwritable}");
}

#[test]
fn runs_are_listed_and_filtered() {
    let place = Place::with_two_runs();
    let table = place.ok(&["runs", "--metric=loss"]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert!(lines[0].starts_with("RUN") && lines[0].contains("LOSS"), "{table}");
    assert!(lines[1].contains(" b ") && lines[1].contains("group=y") && lines[1].contains("imported/train"), "{table}");
    assert!(lines[2].contains(" a ") && lines[2].contains("NaN"), "{table}");
    assert_eq!(place.ok(&["runs", "--limit=1"]).lines().count(), 2);
    assert_eq!(place.ok(&["runs", "--state=died"]), "");
    assert_eq!(place.ok(&["runs", "--pipeline=imported", "--stage=train", "--format=csv"]).lines().count(), 3);
    assert_eq!(place.ok(&["runs", "--pipeline=other", "--format=csv"]).lines().count(), 1);
    // The id in the table is enough to name the run.
    let id = lines[1].split_whitespace().next().unwrap();
    assert!(place.ok(&["show", id]).contains("Name     b\n"));
}

#[test]
fn show_tells_everything_about_a_run() {
    let place = Place::with_two_runs();
    let page = place.ok(&["show", "a"]);
    for word in
        ["State    finished", "group=x", "Writers", "Metrics", "loss", "Artifacts", "two.csv", "input", "Step_Metrics"]
    {
        assert!(page.contains(word), "{word}: {page}");
    }
    let json: serde_json::Value = serde_json::from_str(&place.ok(&["show", "a", "--json"])).unwrap();
    assert_eq!(json["name"], "a");
    assert_eq!(json["params"]["group"], "x");
    assert_eq!(json["metrics"][1]["non_finite"], 1);
    let csv = place.ok(&["show", "a", "--format=csv"]);
    assert_eq!(csv.lines().count(), 3, "{csv}");
}

#[test]
fn plots_in_the_terminal_and_as_pictures() {
    let place = Place::with_two_runs();
    let ran = place.run(&["plot", "a", "b", "--metric=loss", "--width=60", "--height=8"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("a a") && ran.stdout.contains("b b") && ran.stdout.contains("step"), "{}", ran.stdout);
    assert!(ran.stderr.contains("a: 1 value is NaN or infinite and not drawn"), "{}", ran.stderr);
    assert!(!ran.stdout.contains('\x1b'), "no colours in a pipe");
    place.ok(&["plot", "b", "--metric=loss", "--svg=loss.svg", "--png=loss.png", "--log-y", "--smooth=0.5"]);
    let svg = fs::read_to_string(place.path().join("loss.svg")).unwrap();
    assert!(svg.starts_with("<svg") || svg.contains("<svg"), "{}", &svg[..200]);
    assert!(fs::read(place.path().join("loss.png")).unwrap().starts_with(b"\x89PNG"));
    place.ok(&["plot", "--metric=loss", "--x=acc", "--pipeline=imported"]);
    place.ok(&["plot", "b", "--metric=loss", "--x=time"]);
    let grouped = place.ok(&["plot", "--metric=acc", "--by=group", "--y-max=0.6"]);
    assert!(grouped.contains("a group=x") && grouped.contains("b group=y"), "{grouped}");
}

#[test]
fn a_flipped_byte_is_found_and_refused_and_can_be_left_out() {
    let place = Place::with_two_runs();
    assert!(place.run(&["verify"]).stderr.contains("all as written"));
    let run_id = &place.sql("SELECT run_id FROM runs WHERE name = 'a'")[0];
    let segment = segment_of(&place, run_id);
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let file_name = segment.file_name().unwrap().to_string_lossy().into_owned();

    let verified = place.run(&["verify"]);
    assert_eq!(verified.code, 3, "{}", verified.stderr);
    assert!(verified.stdout.contains(&file_name), "{}", verified.stdout);
    assert!(place.run(&["verify", "--json"]).stdout.contains(&file_name));
    place.fails(&["sql", "SELECT sum(value) FROM metrics"], 3, &[&file_name]);
    let rest = place.run(&["sql", "--skip-damaged", "--format=csv", "SELECT sum(value) AS s FROM metrics"]);
    assert_eq!((rest.code, rest.stdout.as_str()), (0, "s\n3.0\n"));
    assert!(rest.stderr.contains(&file_name), "{}", rest.stderr);
}

fn segment_of(place: &Place, run_id: &str) -> PathBuf {
    let folder = place.path().join(".stepwell/runs").join(run_id).join("metrics");
    let mut files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.find(|path| path.extension().is_some_and(|extension| extension == "parquet")).unwrap()
}

#[test]
fn the_catalog_can_be_deleted_and_rebuilt() {
    let place = Place::with_two_runs();
    let rows = || place.sql("SELECT run_id, artifact_id, type, name, direction FROM lineage");
    let before = rows();
    fs::remove_file(place.path().join(".stepwell/catalog.db")).unwrap();
    let reindexed = place.run(&["reindex"]);
    assert_eq!(reindexed.code, 0, "{}", reindexed.stderr);
    assert!(reindexed.stderr.contains("indexed 2 runs"), "{}", reindexed.stderr);
    assert_eq!(rows(), before);
}

#[test]
fn committing_a_finished_run_leaves_it_as_it_is() {
    let place = Place::with_two_runs();
    let committed = place.run(&["commit", "a"]);
    assert_eq!(committed.code, 0, "{}", committed.stderr);
    assert_eq!(place.sql("SELECT count(*) FROM metrics"), ["7"]);
    place.fails(&["commit", "none"], 4, &["none"]);
}

/// Spreadsheets begin UTF-8 files with a byte order mark; it became part of the first column's name.
#[test]
fn a_byte_order_mark_is_no_part_of_a_name() {
    let place = Place::new();
    place.write("excel.csv", "\u{feff}step,loss\r\n0,1\r\n1,0.5\r\n");
    place.ok(&["import", "csv", "excel.csv", "--step-column=step"]);
    assert_eq!(
        place.ok(&["sql", "--format=csv", "SELECT metric, step, value FROM metrics ORDER BY step"]),
        "metric,step,value\nloss,0,1.0\nloss,1,0.5\n"
    );
}

#[test]
fn the_same_file_read_in_another_way_is_another_import() {
    let place = Place::new();
    place.write("f.csv", "step,loss,acc\n0,1,0.5\n");
    for columns in ["loss", "acc", "acc"] {
        place.ok(&["import", "csv", "f.csv", "--step-column=step", "--metric-columns", columns]);
    }
    assert_eq!(place.ok(&["sql", "--format=csv", "SELECT metric FROM metrics ORDER BY metric"]), "metric\nacc\nloss\n");
}

#[test]
fn numbers_that_a_float_cannot_hold_are_refused() {
    let place = Place::new();
    for row in ["0,170141183460469231731687303715884105729", "0,1e400", "9007199254740993.0,1"] {
        place.write("f.csv", &format!("step,loss\n{row}\n"));
        let ran = place.run(&["import", "csv", "f.csv", "--step-column=step"]);
        assert_eq!(ran.code, 2, "{row}: {}{}", ran.stdout, ran.stderr);
        assert!(ran.stderr.contains("line 2"), "{}", ran.stderr);
    }
    assert_ne!(place.run(&["import", "csv", "/dev/null"]).code, 0, "not a file");
}
