//! What users do wrong, and what they are told.

use std::io::Write;
use std::process::Stdio;

use super::{Place, Ran};

#[test]
fn wrong_options_are_usage_errors() {
    let place = Place::new();
    for arguments in [
        vec!["no-such-command"],
        vec!["runs", "--format=xml"],
        vec!["plot", "a"],
        vec!["plot", "a", "--metric=loss", "--smooth=1"],
        vec!["sql"],
        vec!["import", "csv"],
    ] {
        let ran = place.run(&arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{arguments:?}");
    }
}

#[test]
fn a_store_that_is_missing_or_a_file() {
    let place = Place::new();
    for arguments in
        [vec!["runs"], vec!["show", "a"], vec!["sql", "SELECT 1"], vec!["verify"], vec!["doctor"], vec!["reindex"]]
    {
        place.fails(&arguments, 4, &["there is no store at"]);
    }
    assert!(!place.path().join(".stepwell").exists(), "reading must not create a store");
    place.write("file", "x");
    place.fails(&["runs", "--store=file"], 2, &["is a file"]);
}

#[test]
fn runs_and_metrics_that_do_not_exist() {
    let place = Place::with_two_runs();
    place.fails(&["show", "no-such-run"], 4, &["no-such-run"]);
    place.fails(&["plot", "no-such-run", "--metric=loss"], 4, &["no-such-run"]);
    place.fails(&["plot", "a", "--metric=los"], 4, &["\"los\"", "loss (metrics)", "acc (metrics)"]);
    place.fails(&["plot", "--metric=los"], 4, &["no runs to plot"]);
    place.fails(&["plot", "a", "--metric=loss", "--x=seconds"], 4, &["seconds"]);
    place.fails(&["show", "0"], 2, &["fits 2 runs"]);
}

#[test]
fn sql_that_cannot_be_answered() {
    let place = Place::with_two_runs();
    place.fails(&["sql", "SELEKT 1"], 2, &["does not parse"]);
    place.fails(&["sql", "SELECT * FROM metric"], 2, &["metric", "did you mean \"metrics\"?"]);
    place.fails(&["sql", "SELECT los FROM summary"], 2, &["los"]);
    place.fails(&["sql", "DROP TABLE metrics"], 5, &["refused", "only reads"]);
    place.fails(&["sql", "COPY metrics TO 'x.csv'"], 5, &["refused"]);
    place.fails(&["sql", " ;"], 2, &["no SQL statement in the argument"]);
    place.fails(&["sql", "-f", "none.sql"], 4, &["none.sql"]);
    assert_eq!(place.sql("SELECT count(*) FROM metrics"), ["7"]);
}

#[test]
fn a_csv_file_with_a_mistake_imports_nothing() {
    let place = Place::new();
    let import = ["import", "csv", "bad.csv", "--run-column=run", "--step-column=step"];
    place.fails(&import, 4, &["bad.csv"]);
    for (text, words) in [
        ("run,step,loss\na,0,1\nb,0,high\n", ["line 3", "\"loss\"", "\"high\" is not a number"]),
        ("run,step,loss\na,0,1\na,first,2\n", ["line 3", "\"step\"", "is not a step"]),
        ("run,step,loss\na,0,9007199254740993\n", ["line 2", "\"loss\"", "2^53"]),
        ("run,loss\na,0\n", ["no column", "\"step\"", "run, loss"]),
        ("run,step,loss\n", ["no rows", "bad.csv", "nothing was imported"]),
        ("", ["nothing was imported", "bad.csv", ""]),
        ("run,step,loss\na,0\n", ["nothing was imported", "bad.csv", "CSV"]),
        ("run,step,loss\n\"a\nb\",0,1\n", ["run name", "control character", ""]),
    ] {
        place.write("bad.csv", text);
        place.fails(&import, 2, &words);
    }
    assert!(!place.path().join(".stepwell").exists(), "a file that is refused must not create a store");
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let place = Place::with_two_runs();
    // Far more than a pipe holds, so that the program must notice.
    let query = "SELECT a.value, b.value FROM metrics a, metrics b, metrics c, metrics d, metrics e, metrics f";
    let mut child =
        place.command(&["sql", query, "--format=csv"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
}

#[test]
fn sql_comes_from_an_argument_a_file_or_stdin() {
    let place = Place::with_two_runs();
    place.write("q.sql", "SELECT count(*) AS n\nFROM runs;\n");
    assert_eq!(place.ok(&["sql", "-f", "q.sql", "--format=csv"]), "n\n2\n");
    let mut child =
        place.command(&["sql", "-", "--format=csv"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"SELECT 1 AS one").unwrap();
    assert_eq!(Ran::from(child.wait_with_output().unwrap()).stdout, "one\n1\n");
}
