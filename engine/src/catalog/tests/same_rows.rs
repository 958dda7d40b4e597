//! The catalog does not depend on how it came about.

use std::process::Command;
use std::sync::Arc;

use super::*;
use crate::catalog::ids::Ids;

/// The catalog of `logs`, all there when it is built.
fn built_at_once(logs: &[Log]) -> Vec<String> {
    let store = TestStore::new();
    store.write(logs);
    dump(&store.refreshed())
}

fn assert_same(actual: &[String], expected: &[String], how: &str) {
    let missing: Vec<_> = expected.iter().filter(|line| !actual.contains(line)).collect();
    let surplus: Vec<_> = actual.iter().filter(|line| !expected.contains(line)).collect();
    assert!(missing.is_empty() && surplus.is_empty(), "{how}\nmissing: {missing:#?}\nsurplus: {surplus:#?}");
    assert_eq!(actual.len(), expected.len(), "{how}");
}

/// A small deterministic generator, so that a failing order can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

#[test]
fn any_order_of_logs_gives_the_same_rows() {
    let expected = built_at_once(&sample());
    for seed in 0..6 {
        let mut random = Random(seed);
        let store = TestStore::new();
        let mut catalog = store.open();
        let mut left = sample();
        while !left.is_empty() {
            store.write(&[left.swap_remove(random.below(left.len()))]);
            catalog.refresh(&store.layout).expect("refreshes");
        }
        assert_same(&dump(&catalog), &expected, &format!("seed {seed}"));
    }
}

#[test]
fn logs_that_grow_byte_by_byte_give_the_same_rows() {
    let expected = built_at_once(&sample());
    for seed in 10..13 {
        let mut random = Random(seed);
        let store = TestStore::new();
        let mut catalog = store.open();
        let mut left: Vec<(Log, Vec<u8>)> =
            sample().into_iter().map(|log| (log.clone(), log.text().into_bytes())).collect();
        while !left.is_empty() {
            let index = random.below(left.len());
            let (log, bytes) = &mut left[index];
            let take = (1 + random.below(700)).min(bytes.len());
            store.append(log, &bytes[..take]);
            bytes.drain(..take);
            if bytes.is_empty() {
                left.swap_remove(index);
            }
            if random.below(3) == 0 {
                catalog.refresh(&store.layout).expect("refreshes");
            }
        }
        catalog.refresh(&store.layout).expect("refreshes");
        assert_same(&dump(&catalog), &expected, &format!("seed {seed}"));
    }
}

#[test]
fn rebuilt_refreshed_twice_and_in_memory_are_the_same() {
    let store = TestStore::new();
    store.write(&sample());
    let mut catalog = store.refreshed();
    let expected = dump(&catalog);
    assert_eq!(catalog.refresh(&store.layout).expect("refreshes"), Default::default(), "nothing is left to do");
    assert_same(&dump(&catalog), &expected, "twice");

    let report = Catalog::rebuild(&store.layout).expect("rebuilds");
    assert_eq!((report.runs, report.damaged.len()), (7, 0));
    assert_eq!(report.events, sample().iter().map(|log| log.lines.len() as u64).sum::<u64>());
    assert_same(&dump(&catalog), &expected, "rebuilt");

    let mut memory = Catalog::open_in_memory().expect("opens");
    memory.refresh(&store.layout).expect("refreshes");
    assert_same(&dump(&memory), &expected, "in memory");
    memory.copy_to_memory().expect("copies");
    assert_same(&dump(&memory), &expected, "copied");

    drop(catalog);
    std::fs::remove_file(store.layout.catalog()).expect("removed");
    assert_same(&dump(&store.refreshed()), &expected, "deleted");
}

#[test]
fn a_run_that_is_deleted_leaves_no_trace() {
    let logs = sample();
    let expected = built_at_once(&logs[..1]);
    let store = TestStore::new();
    store.write(&logs);
    let mut catalog = store.refreshed();
    for log in &logs[1..] {
        let _ = std::fs::remove_dir_all(store.layout.run(log.run));
    }
    let report = catalog.refresh(&store.layout).expect("refreshes");
    assert_eq!((report.runs_removed, report.runs_changed), (6, 0));
    assert_same(&dump(&catalog), &expected, "all but one deleted");
    std::fs::remove_dir_all(store.layout.runs()).expect("removed");
    catalog.refresh(&store.layout).expect("refreshes");
    assert_same(&dump(&catalog), &built_at_once(&[]), "all deleted");
}

#[test]
fn ids_that_meet_are_made_anew_and_still_do_not_depend_on_order() {
    // With ids of 11 bits, of which the first 1,000 are not used, even a few rows meet.
    let store = TestStore::new();
    let mut catalog = store.open();
    catalog.id_bits = 11;
    let mut salts = Vec::new();
    let more = (10..34).map(|run| Log::new(run, writer(0, 0), 0, "digits", "train").then(1, committed(run, 1)));
    for log in sample().into_iter().chain(more) {
        store.write(&[log]);
        catalog.refresh(&store.layout).expect("refreshes");
        salts.push(one::<i64>(&catalog, "SELECT value FROM stepwell_meta WHERE key = 'id_salt'"));
    }
    assert!(salts.is_sorted() && salts.last() > Some(&0), "{salts:?}");

    let mut other = Catalog::open_in_memory().expect("opens");
    other.id_bits = 11;
    other.refresh(&store.layout).expect("refreshes");
    assert_same(&dump(&other), &dump(&catalog), "small ids");
    assert_ne!(
        Ids { salt: 0, bits: 11 }.pipeline("digits"),
        one::<i64>(&catalog, "SELECT id FROM Context WHERE name = 'digits'")
    );
}

#[test]
fn threads_that_refresh_at_once_do_not_get_in_each_others_way() {
    let expected = built_at_once(&sample());
    let store = TestStore::new();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let refreshers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut catalog = store.open();
                    while !done.load(std::sync::atomic::Ordering::Acquire) {
                        catalog.refresh(&store.layout).expect("refreshes");
                    }
                    catalog.refresh(&store.layout).expect("refreshes");
                })
            })
            .collect();
        for log in sample() {
            for line in &log.lines {
                store.append(&log, line.encode().as_bytes());
                std::thread::yield_now();
            }
        }
        done.store(true, std::sync::atomic::Ordering::Release);
        for refresher in refreshers {
            refresher.join().expect("no panic");
        }
    });
    assert_same(&dump(&store.open()), &expected, "four threads");
}

const CHILD_STORE: &str = "STEPWELL_TEST_CATALOG_CHILD_STORE";

/// Run as another process by the test below; does nothing when it is run as a test.
#[test]
fn child_process_refreshes() {
    let Some(root) = std::env::var_os(CHILD_STORE) else { return };
    let layout = Layout::new(root);
    for _ in 0..20 {
        // Opened anew each time, so that the first to open, the last to close and those in between meet.
        Catalog::open(&layout).expect("opens").refresh(&layout).expect("refreshes");
    }
}

#[test]
fn processes_that_open_and_refresh_at_once_do_not_get_in_each_others_way() {
    let expected = built_at_once(&sample());
    let store = TestStore::new();
    let logs = sample();
    store.write(&logs[..4]);
    let children: Vec<_> = (0..4)
        .map(|_| {
            Command::new(std::env::current_exe().expect("this program"))
                .args(["--exact", "catalog::tests::same_rows::child_process_refreshes", "--test-threads", "1"])
                .env(CHILD_STORE, store.folder.path())
                .stdout(std::process::Stdio::null())
                .spawn()
                .expect("starts")
        })
        .collect();
    store.write(&logs[4..]);
    for mut child in children {
        assert!(child.wait().expect("ends").success());
    }
    let catalog = store.refreshed();
    assert_same(&dump(&catalog), &expected, "four processes");
    assert_eq!(one::<String>(&catalog, "PRAGMA integrity_check"), "ok");
    let rubbish = std::fs::read_dir(store.folder.path()).expect("lists").map(|entry| entry.expect("entry").file_name());
    assert!(rubbish.into_iter().all(|name| !name.to_string_lossy().starts_with(".tmp-")), "temporary files are left");
}

#[test]
fn what_a_snapshot_read_is_kept_until_the_catalog_changes() {
    let store = TestStore::new();
    let mut logs = sample();
    let last = logs.pop().expect("a log");
    store.write(&logs);
    let mut own = store.refreshed();
    let mut reader = Catalog::open_read_only(&store.layout).expect("opens");
    let mut in_memory = Catalog::open_in_memory().expect("opens");
    in_memory.refresh(&store.layout).expect("refreshes");
    let read = |catalog: &mut Catalog| {
        catalog.refresh(&store.layout).expect("refreshes");
        catalog.snapshot(&store.layout).expect("snapshot").committed().expect("committed")
    };
    let before = [read(&mut own), read(&mut reader), read(&mut in_memory)];
    for (catalog, before) in [&mut own, &mut reader, &mut in_memory].into_iter().zip(&before) {
        let again = read(catalog);
        assert!(Arc::ptr_eq(&again.runs, &before.runs) && Arc::ptr_eq(&again.segments, &before.segments));
    }
    // Each learns of the change in another way: by its own hand, from another connection, and from the logs alone.
    store.write(&[last]);
    let mut fresh = Catalog::open_in_memory().expect("opens");
    // In words: a NaN is not equal to itself.
    let expected = format!("{:?}", read(&mut fresh));
    for (catalog, before) in [&mut own, &mut reader, &mut in_memory].into_iter().zip(before) {
        let after = read(catalog);
        assert!(!Arc::ptr_eq(&after.runs, &before.runs));
        assert_eq!(format!("{after:?}"), expected);
        assert_ne!(format!("{before:?}"), expected);
    }
}
