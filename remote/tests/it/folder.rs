//! A folder as remote: what is pushed is what is pulled, once, and what goes on goes on.

use std::fs;

use stepwell_engine::{CompactOptions, RunState};
use stepwell_remote::{FailureKind, PullOptions, PushOptions};

use crate::{Place, assert_equal, files, log_rows, log_run, moved, pull, push, reopen, state_of};

#[test]
fn a_pulled_store_equals_the_pushed_one_and_nothing_moves_twice() {
    let place = Place::new();
    let (a, b, remote) = (place.store("a"), place.store("b"), place.remote());
    for seed in 1..4 {
        log_run(&place, &a, seed).finish().expect("finish");
    }
    let first = push(&remote, &a);
    assert_eq!((first.runs, first.writers, first.parts), (3, 3, 3));
    // Three folders, a file in each that is like no other, and one that is the same in all.
    assert_eq!((first.segments, first.objects), (3, 7));
    assert_eq!(moved(&push(&remote, &a)), 0);
    let pulled = pull(&remote, &b);
    assert_eq!((pulled.segments, pulled.objects), (3, 7));
    assert_equal(&a, &b);
    assert_eq!(moved(&pull(&remote, &b)), 0);
    assert_eq!(moved(&push(&remote, &b)), 0, "what was pulled is not pushed back");
}

#[test]
fn two_stores_meet_in_a_third() {
    let place = Place::new();
    let (a, b, c, remote) = (place.store("a"), place.store("b"), place.store("c"), place.remote());
    log_run(&place, &a, 1).finish().expect("finish");
    log_run(&place, &b, 2).finish().expect("finish");
    push(&remote, &a);
    push(&remote, &b);
    pull(&remote, &c);
    pull(&remote, &a);
    pull(&remote, &b);
    assert_equal(&a, &c);
    assert_equal(&b, &c);
    assert_eq!(files(&a).len(), files(&c).len());
}

#[test]
fn a_run_that_goes_on_elsewhere_is_not_recovered_here_and_is_continued_by_the_next_pull() {
    let place = Place::new();
    let (a, b, remote) = (place.store("a"), place.store("b"), place.remote());
    let run = log_run(&place, &a, 1);
    log_rows(&run, 100..150, 1);
    let report = push(&remote, &a);
    assert_eq!(report.uncommitted.iter().map(|open| open.rows).sum::<u64>(), 100);
    pull(&remote, &b);
    drop(b);
    let (b, recovered) = reopen(&place.path("b"));
    assert_eq!(recovered, 0);
    assert_eq!(state_of(&b, run.id()), RunState::Running);
    let before = files(&b);
    assert_eq!(moved(&pull(&remote, &b)), 0);
    run.finish().expect("finish");
    let grown = push(&remote, &a);
    assert_eq!((grown.segments, grown.parts, grown.objects), (1, 1, 0));
    pull(&remote, &b);
    assert_eq!(state_of(&b, run_id(&before)), RunState::Finished);
    assert_equal(&a, &b);
    let (b, recovered) = reopen(&place.path("b"));
    assert_eq!(recovered, 0);
    assert_equal(&a, &b);
}

fn run_id(files: &std::collections::BTreeMap<String, Vec<u8>>) -> stepwell_engine::RunId {
    let name = files.keys().find(|name| name.starts_with("runs/")).expect("a run");
    name.split('/').nth(1).expect("id").parse().expect("id")
}

#[test]
fn compaction_on_both_sides_is_no_divergence() {
    let place = Place::new();
    let (a, b, remote) = (place.store("a"), place.store("b"), place.remote());
    let run = log_run(&place, &a, 1);
    for part in 1..6 {
        log_rows(&run, part * 100..part * 100 + 50, 1);
        run.commit("train/metrics é").expect("commit");
    }
    run.finish().expect("finish");
    push(&remote, &a);
    pull(&remote, &b);
    let mut options = CompactOptions::default();
    (options.remove_now, options.segments_max) = (true, 1);
    a.compact(&options, &mut |_, _| {}).expect("compact");
    b.compact(&options, &mut |_, _| {}).expect("compact");
    push(&remote, &a);
    push(&remote, &b);
    pull(&remote, &a);
    pull(&remote, &b);
    let rows = |store: &stepwell_engine::Store| store.snapshot().expect("snapshot").summary().expect("summary");
    assert_eq!(rows(&a), rows(&b));
    assert!(b.verify(&mut |_, _| {}).expect("verify").damaged.is_empty());
}

#[test]
fn a_log_that_was_continued_in_two_ways_is_refused_by_name() {
    let place = Place::new();
    let (a, b, remote) = (place.store("a"), place.store("b"), place.remote());
    let run = log_run(&place, &a, 1);
    push(&remote, &a);
    pull(&remote, &b);
    let id = run.id();
    run.finish().expect("finish");
    push(&remote, &a);
    // Somebody wrote to the copy: a line that the other log has not.
    let log = fs::read_dir(b.layout().run(id)).expect("list").map(|entry| entry.expect("entry").path());
    let log = log.into_iter().find(|path| path.to_string_lossy().ends_with("events.jsonl")).expect("log");
    let mut text = fs::read_to_string(&log).expect("read");
    let first = text.lines().nth(1).expect("line").to_owned();
    text.push_str(&format!("{first}\n"));
    fs::write(&log, &text).expect("write");
    let report = remote.pull(&b, &PullOptions::default(), &|_| {}).expect("pull");
    assert_eq!(report.failure(), Some(FailureKind::Diverged), "{report:?}");
    assert!(report.failures[0].error.to_string().contains(&id.to_string()));
    assert_eq!(fs::read_to_string(&log).expect("read"), text, "nothing was changed");
    let report = remote.push(&b, &PushOptions::default(), &|_| {}).expect("push");
    assert_eq!(report.failure(), Some(FailureKind::Diverged), "{report:?}");
}

#[test]
fn a_dry_run_moves_nothing_and_says_what_it_would() {
    let place = Place::new();
    let (a, b, remote) = (place.store("a"), place.store("b"), place.remote());
    log_run(&place, &a, 1).finish().expect("finish");
    let would = remote.push(&a, &PushOptions { dry_run: true, ..PushOptions::default() }, &|_| {}).expect("push");
    assert_eq!(moved(&would), 5);
    assert!(!place.path("remote").exists());
    assert_eq!(moved(&push(&remote, &a)), 5);
    let options = PullOptions { dry_run: true, ..PullOptions::default() };
    assert_eq!(moved(&remote.pull(&b, &options, &|_| {}).expect("pull")), 5);
    assert!(files(&b).is_empty());
}
