//! Pushes and pulls whose process is killed, at every file that moves.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use stepwell_remote::{PullOptions, PushOptions};

use crate::{Place, assert_equal, files, log_run, moved, pull, push};

const FOLDER: &str = "STEPWELL_TEST_FOLDER";
const STORE: &str = "STEPWELL_TEST_STORE";
const ACTION: &str = "STEPWELL_TEST_ACTION";

/// Not a test of its own: what the processes below run. It prints a line for each file that has moved.
#[test]
fn in_a_process_of_its_own() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let store = stepwell_engine::Store::open(folder.join(std::env::var(STORE).expect("store"))).expect("open");
    let remote =
        crate::open(&stepwell_remote::RemoteEntry::new("origin", folder.join("remote").to_str().expect("path")));
    let tell = |_| println!("moved");
    let report = match std::env::var(ACTION).as_deref() {
        Ok("push") => remote.push(&store, &PushOptions { jobs: 2, ..PushOptions::default() }, &tell).expect("push"),
        _ => remote.pull(&store, &PullOptions { jobs: 2, ..PullOptions::default() }, &tell).expect("pull"),
    };
    assert!(report.failures.is_empty(), "{:?}", report.failures);
}

fn start(folder: &Path, store: &str, action: &str) -> Child {
    Command::new(std::env::current_exe().expect("program"))
        .args(["--exact", "kill::in_a_process_of_its_own", "--nocapture"])
        .envs([(STORE, store), (ACTION, action)])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .expect("start")
}

/// Kills the process when so many files have moved; false when it ended before.
fn kill_after(mut child: Child, lines: usize) -> bool {
    let told = BufReader::new(child.stdout.take().expect("stdout")).lines().map_while(Result::ok);
    let seen = told.filter(|line| line.ends_with("moved")).take(lines).count();
    child.kill().expect("kill");
    let status = child.wait().expect("wait");
    assert!(seen == lines || status.success(), "{status}");
    seen == lines
}

fn pushed_store(runs: u64) -> Place {
    let place = Place::new();
    let a = place.store("a");
    for seed in 0..runs {
        log_run(&place, &a, seed).finish().expect("finish");
    }
    place
}

#[test]
fn a_push_that_is_killed_at_any_file_leaves_what_can_be_pulled_and_goes_on() {
    let place = pushed_store(3);
    let a = place.store("a");
    let all = place.store("all");
    push(&place.remote(), &a);
    pull(&place.remote(), &all);
    let whole = files(&all);
    let mut lines = 0;
    loop {
        lines += 1;
        fs::remove_dir_all(place.path("remote")).expect("remove");
        if !kill_after(start(place.folder.path(), "a", "push"), lines) {
            break;
        }
        let name = format!("b{lines}");
        let b = place.store(&name);
        // Whatever has arrived is whole: a run is there with all that it names, or not at all.
        match place.remote().pull(&b, &PullOptions::default(), &|_| {}) {
            Ok(report) => assert!(report.failures.is_empty(), "{lines}: {:?}", report.failures),
            Err(error) => assert!(matches!(error, stepwell_remote::Error::Empty { .. }), "{lines}: {error}"),
        }
        let verified = b.verify(&mut |_, _| {}).expect("verify");
        assert!(verified.damaged.is_empty(), "{lines}: {verified:?}");
        assert!(files(&b).iter().all(|(name, content)| whole.get(name) == Some(content)), "{lines}");
        push(&place.remote(), &a);
        pull(&place.remote(), &b);
        assert_equal(&a, &b);
        assert_eq!(moved(&push(&place.remote(), &a)), 0);
    }
    // Three segments, seven objects, three parts; and the writers are told of, too.
    assert!(lines > 13, "{lines}");
}

#[test]
fn a_pull_that_is_killed_at_any_file_goes_on_where_it_was() {
    let place = pushed_store(3);
    let a = place.store("a");
    push(&place.remote(), &a);
    let mut lines = 0;
    loop {
        lines += 1;
        let name = format!("b{lines}");
        drop(place.store(&name));
        if !kill_after(start(place.folder.path(), &name, "pull"), lines) {
            break;
        }
        let b = place.store(&name);
        let verified = b.verify(&mut |_, _| {}).expect("verify");
        assert!(verified.damaged.is_empty(), "{lines}: {verified:?}");
        pull(&place.remote(), &b);
        assert_equal(&a, &b);
    }
    assert!(lines > 13, "{lines}");
}

#[test]
fn processes_that_push_and_pull_at_once_end_with_equal_stores() {
    let place = pushed_store(4);
    let (a, b, c) = (place.store("a"), place.store("b"), place.store("c"));
    for seed in 10..14 {
        log_run(&place, &b, seed).finish().expect("finish");
    }
    push(&place.remote(), &a);
    fs::remove_dir_all(place.path("remote/logs")).expect("remove");
    let work = [("a", "push"), ("b", "push"), ("a", "push"), ("b", "push"), ("c", "pull"), ("c", "pull")];
    let mut children: Vec<Child> =
        work.iter().map(|(store, action)| start(place.folder.path(), store, action)).collect();
    for child in &mut children {
        let told = BufReader::new(child.stdout.take().expect("stdout")).lines().map_while(Result::ok);
        let told: Vec<String> = told.collect();
        assert!(child.wait().expect("wait").success(), "{told:?}");
    }
    pull(&place.remote(), &c);
    pull(&place.remote(), &a);
    pull(&place.remote(), &b);
    assert_equal(&a, &c);
    assert_equal(&b, &c);
    assert_eq!(c.snapshot().expect("snapshot").runs().len(), 8);
}
