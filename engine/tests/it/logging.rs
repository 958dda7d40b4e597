use std::thread;

use stepwell_engine::{FinishState, LogError, RunOptions, RunState, WhenFull};

use crate::common::{assert_distinct, open, rows, small_config};

#[test]
fn every_value_comes_back_bit_for_bit() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), small_config());
    let run = store.start_run(RunOptions::new("p", "s").name("exact")).expect("run");
    let values = [
        0.0,
        -0.0,
        1.5,
        f64::NAN,
        -f64::NAN,
        f64::from_bits(0x7ff0_0000_0000_0001),
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MIN_POSITIVE / 4.0,
        f64::MAX,
    ];
    let steps = [i64::MIN, -1, 0, 0, 7, 3, i64::MAX, 3, 3, 2];
    let metric = run.metric("m", "value").expect("metric");
    let mut log = run.logger().expect("logger");
    for (step, value) in steps.iter().zip(values) {
        log.log(metric, *step, value).expect("logged");
    }
    for live in [true, false] {
        let found = rows(&store.snapshot().expect("snapshot"));
        assert_eq!(found.iter().map(|row| row.step).collect::<Vec<_>>(), steps, "live: {live}");
        assert_eq!(
            found.iter().map(|row| row.value_bits).collect::<Vec<_>>(),
            values.map(f64::to_bits).to_vec(),
            "live: {live}"
        );
        assert!(found.windows(2).all(|pair| pair[0].time <= pair[1].time), "time never goes back");
        if live {
            assert_eq!(store.snapshot().expect("snapshot").live().len(), 1);
            run.commit("m").expect("commit");
        }
    }
    assert!(store.snapshot().expect("snapshot").live().is_empty());
}

#[test]
fn rows_share_one_time_and_steps_count_up_when_absent() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), small_config());
    let run = store.start_run(RunOptions::new("p", "s")).expect("run");
    let row = run.row("train", &["loss", "acc", "lr"]).expect("row");
    let other = run.row("eval", &["acc"]).expect("row");
    let mut log = run.logger().expect("logger");
    for _ in 0..5 {
        log.log_row(&row, row.next_step(), &[1.0, 2.0, 3.0]).expect("logged");
    }
    log.log_row(&other, other.next_step(), &[0.5]).expect("logged");
    assert_eq!(log.log_row(&row, 0, &[1.0]), Err(LogError::WrongLength));
    drop(log);
    run.finish().expect("finish");
    let found = rows(&store.snapshot().expect("snapshot"));
    assert_eq!(found.len(), 16);
    for part in found[..15].chunks(3) {
        assert!(part.iter().all(|row| row.time == part[0].time && row.step == part[0].step));
        assert_eq!(part.iter().map(|row| row.metric.as_str()).collect::<Vec<_>>(), ["loss", "acc", "lr"]);
    }
    assert_eq!(found[..15].chunks(3).map(|part| part[0].step).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert_eq!((found[15].metrics_name.as_str(), found[15].step), ("eval", 0), "each metrics name counts for itself");
}

#[test]
fn eight_threads_lose_nothing_while_their_rings_wrap() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), small_config());
    let run = store.start_run(RunOptions::new("p", "s")).expect("run");
    let each = 30_000;
    thread::scope(|scope| {
        for number in 0..8 {
            let run = run.clone();
            scope.spawn(move || {
                let metric = run.metric("m", &format!("thread{number}")).expect("metric");
                let mut log = run.logger().expect("logger");
                for step in 0..each {
                    log.log(metric, step, (number * each + step) as f64).expect("logged");
                }
            });
        }
    });
    let report = run.finish().expect("finish");
    assert_eq!((report.rows, report.drops), (8 * each as u64, 0));
    assert!(report.warnings.is_empty(), "{:?}", report.warnings);
    let found = rows(&store.snapshot().expect("snapshot"));
    assert_eq!(found.len() as i64, 8 * each);
    assert_distinct(&found);
    let mut values: Vec<i64> = found.iter().map(|row| f64::from_bits(row.value_bits) as i64).collect();
    values.sort_unstable();
    assert!(values.iter().copied().eq(0..8 * each));
    assert!(!store.layout().journals(run.id(), run.writer()).exists(), "journals go once their rows are committed");
}

#[test]
fn a_dropped_loggers_ring_is_used_again() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), small_config());
    let run = store.start_run(RunOptions::new("p", "s")).expect("run");
    for round in 0..20 {
        let metric = run.metric("m", &format!("round{round}")).expect("metric");
        run.logger().expect("logger").log(metric, round, 0.0).expect("logged");
    }
    let journals = std::fs::read_dir(store.layout().journals(run.id(), run.writer())).expect("folder").count();
    assert_eq!(journals, 1);
    let found = rows(&store.snapshot().expect("snapshot"));
    assert_eq!(found.iter().map(|row| row.seq).collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
}

#[test]
fn a_full_ring_does_what_the_policy_says_and_counts_it() {
    for policy in [WhenFull::Fail, WhenFull::DropNewest, WhenFull::Wait] {
        let folder = tempfile::tempdir().expect("folder");
        let mut config = small_config();
        config.wait_limit = std::time::Duration::from_millis(20);
        let store = open(folder.path(), config);
        let run = store.start_run(RunOptions::new("p", "s").when_full(policy)).expect("run");
        let metric = run.metric("m", "x").expect("metric");
        let mut log = run.logger().expect("logger");
        // Segments cannot be written where their folder would be: a file is in the way.
        let blocked = store.layout().run(run.id()).join("m");
        std::fs::write(&blocked, "in the way").expect("write");
        let outcomes: Vec<_> = (0..4096 + 10).map(|step| log.log(metric, step, 0.0)).collect();
        assert!(outcomes[..4096].iter().all(Result::is_ok));
        let expected = if policy == WhenFull::DropNewest { Ok(()) } else { Err(LogError::Full) };
        assert!(outcomes[4096..].iter().all(|outcome| *outcome == expected), "{policy:?}");
        assert_eq!(run.stats().drops, 10);
        assert_eq!(run.stats().waits, u64::from(policy == WhenFull::Wait), "only the first call waits");
        std::fs::remove_file(&blocked).expect("remove");
        // Logging resumes by itself once there is room.
        run.commit("m").expect("commit");
        log.log(metric, 9999, 1.0).expect("logged");
        drop(log);
        let report = run.finish().expect("finish");
        assert_eq!((report.rows, report.drops), (4097, 10));
        assert_eq!(report.warnings.len(), 1);
        let snapshot = store.snapshot().expect("snapshot");
        assert_eq!(rows(&snapshot).len(), 4097);
        assert_eq!(snapshot.gaps().expect("gaps").iter().map(|gap| gap.gap.records).sum::<u64>(), 10);
    }
}

#[test]
fn commits_are_versions_and_finishing_is_final() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), small_config());
    let run = store.start_run(RunOptions::new("p", "s")).expect("run");
    let metric = run.metric("m", "x").expect("metric");
    let mut log = run.logger().expect("logger");
    log.log(metric, 0, 1.0).expect("logged");
    let first = run.commit("m").expect("commit");
    assert_eq!(run.commit("m").expect("commit"), first, "nothing new, no new version");
    log.log(metric, -5, 2.0).expect("logged");
    let second = run.commit("m").expect("commit");
    assert_eq!((first.version, first.rows, second.version, second.rows), (1, 1, 2, 2));
    assert_ne!(first.identity, second.identity);
    let report = run.finish_as(FinishState::Failed).expect("finish");
    assert_eq!(report.artifacts, [second]);
    assert_eq!(log.log(metric, 1, 1.0), Err(LogError::Closed));
    assert!(run.finish().is_err() && run.commit("m").is_err() && run.logger().is_err());
    let snapshot = store.snapshot().expect("snapshot");
    assert_eq!(snapshot.runs()[0].state, RunState::Failed);
    assert_eq!(
        snapshot.artifacts().expect("artifacts").iter().filter(|a| a.artifact_type == "Step_Metrics").count(),
        2
    );
    // The identity is that of the rows, however they came into files: a step that went back makes it be read anew.
    assert!(store.verify(&mut |_, _| {}).expect("verify").damaged.is_empty());
}

#[test]
fn summaries_cover_committed_and_live_rows() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), small_config());
    let run = store.start_run(RunOptions::new("p", "s")).expect("run");
    let metric = run.metric("m", "x").expect("metric");
    let mut log = run.logger().expect("logger");
    for (step, value) in [(0, 3.0), (1, f64::NAN), (2, 1.0)] {
        log.log(metric, step, value).expect("logged");
    }
    run.commit("m").expect("commit");
    log.log(metric, 3, 9.0).expect("logged");
    let summary = store.snapshot().expect("snapshot").summary().expect("summary");
    let stats = &summary[0].stats;
    assert_eq!((summary.len(), stats.count, stats.non_finite), (1, 4, 1));
    assert_eq!((stats.min.map(|min| min.step), stats.max.map(|max| max.step)), (Some(2), Some(3)));
    assert_eq!((stats.first.value, stats.last.value, stats.sum), (3.0, 9.0, 13.0));
}
