//! The `stepwell` program as a user runs it: arguments in, stdout, stderr and exit code out.

#![allow(clippy::unwrap_used)]

mod bad_input;
mod bench;
mod compact;
mod data;
mod demo;
mod doctor;
mod exchange;
mod gc;
mod lineage;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A folder with a store in it, for one test.
struct Place {
    folder: TempDir,
}

/// What a command left.
struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
    bytes: Vec<u8>,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// A store with two imported runs, `a` and `b`.
    fn with_two_runs() -> Self {
        let place = Self::new();
        place.write("two.csv", "run,group,step,loss,acc\na,x,0,2.5,\na,x,1,NaN,0.5\nb,y,0,1.5,0.25\nb,y,1,0.5,0.75\n");
        let import = ["import", "csv", "two.csv", "--run-column=run", "--group-column=group", "--step-column=step"];
        place.ok(&import);
        place
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stepwell"));
        command.args(arguments).current_dir(self.path()).env_remove("STEPWELL_STORE").stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.command(arguments).output().unwrap())
    }

    /// Runs a command that must succeed, and returns its stdout.
    fn ok(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.stderr);
        ran.stdout
    }

    /// Runs a command that must fail with `code`, saying each of `words` on stderr, once and in one line, and nothing
    /// on stdout.
    fn fails(&self, arguments: &[&str], code: i32, words: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, code, "{arguments:?}: {}", ran.stderr);
        for word in words {
            assert!(ran.stderr.contains(word), "{word:?} is not in {:?}", ran.stderr);
        }
        assert!(ran.stderr.starts_with("stepwell: "), "{:?}", ran.stderr);
        assert_eq!(ran.stdout, "", "{arguments:?}");
        ran.stderr
    }

    /// The answer to an SQL query as CSV lines, without the header.
    fn sql(&self, query: &str) -> Vec<String> {
        self.ok(&["sql", query, "--format=csv"]).lines().skip(1).map(str::to_owned).collect()
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            bytes: output.stdout,
        }
    }
}

#[test]
fn help_lists_every_command_and_exit_code() {
    let place = Place::new();
    let help = place.ok(&["--help"]);
    for word in [
        "demo",
        "runs",
        "show",
        "sql",
        "plot",
        "commit",
        "verify",
        "doctor",
        "reindex",
        "import",
        "Exit codes",
        "--store",
    ] {
        assert!(help.contains(word), "{word}: {help}");
    }
    assert!(!help.contains("demo-worker"), "{help}");
    for command in ["runs", "show", "sql", "plot", "commit", "verify", "doctor", "reindex", "demo"] {
        assert!(place.ok(&[command, "--help"]).contains("Usage: stepwell"), "{command}");
    }
    assert!(place.ok(&["import", "csv", "--help"]).contains("--run-column"));
    assert!(place.ok(&["--version"]).starts_with("stepwell "));
}

#[test]
fn the_environment_names_the_store_and_the_option_wins() {
    let place = Place::with_two_runs();
    std::fs::rename(place.path().join(".stepwell"), place.path().join("elsewhere")).unwrap();
    let by_environment = place.command(&["runs", "--json"]).env("STEPWELL_STORE", "elsewhere").output().unwrap();
    assert_eq!(Ran::from(by_environment).code, 0);
    let by_option = place.command(&["runs", "--store", "none"]).env("STEPWELL_STORE", "elsewhere").output().unwrap();
    assert_eq!(Ran::from(by_option).code, 4);
    place.ok(&["--store=elsewhere", "runs"]);
}
