//! A store written by the engine, asked while it is written and after.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use stepwell_engine::{Access, CompactOptions, EngineConfig, RunOptions, Store};
use stepwell_query::{DamagedPolicy, QueryOptions, Session, SnapshotData, SnapshotSource};

use crate::support::ask;

#[test]
fn rows_are_there_once_while_they_are_logged_and_after() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(folder.path().join("store")).expect("store");
    let session = Session::new(&store);
    let options = RunOptions::new("digits", "train").param("lr", 0.1).param("seed", 3);
    let run = store.start_run(options).expect("run");
    let loss = run.metric("training_metrics", "loss").expect("metric");
    let accuracy = run.metric("training_metrics", "accuracy").expect("metric");
    let mut log = run.logger().expect("logger");
    let count = || ask(&session, "SELECT count(*) FROM metrics").join("");
    for step in 0..1000 {
        log.log(loss, step, 1.0 / (step + 1) as f64).expect("logged");
        log.log(accuracy, step, f64::NAN).expect("logged");
    }
    assert_eq!(count(), "2000", "live");
    assert_eq!(ask(&session, "SELECT state, params['lr'], params['seed'] FROM runs"), ["running|0.1|3"]);
    run.commit("training_metrics").expect("committed");
    assert_eq!(count(), "2000", "committed");
    log.log(loss, 1000, -1.0).expect("logged");
    assert_eq!(count(), "2001", "committed and live");
    let sql = "SELECT metric, count, non_finite, min, min_step FROM summary ORDER BY metric";
    assert_eq!(ask(&session, sql), ["accuracy|1000|1000|null|null", "loss|1001|0|-1.0|1000"]);
    drop(log);
    run.finish().expect("finished");
    assert_eq!(count(), "2001", "finished");
    let sql = "SELECT step, value FROM metrics WHERE metric = 'loss' AND value < 0.001001 ORDER BY step";
    assert_eq!(ask(&session, sql), ["999|0.001", "1000|-1.0"]);
    let sql = "SELECT sum(m.value) FROM metrics m JOIN runs r ON r.run_id = m.run_id WHERE r.params['seed'] = 3 AND m.step < 2 AND m.metric = 'loss'";
    assert_eq!(ask(&session, sql), ["1.5"]);
    assert_eq!(ask(&session, "SELECT count(*) > 0, count(DISTINCT run_id) FROM segments"), ["true|1"]);
    assert_eq!(ask(&session, "SELECT state, ended IS NOT NULL FROM runs"), ["finished|true"]);
    let sql = "SELECT DISTINCT l.direction, l.type FROM lineage l JOIN artifacts a ON a.id = l.artifact_id";
    assert_eq!(ask(&session, sql), ["output|Step_Metrics"]);
    for table in stepwell_query::table_names() {
        ask(&session, &format!("SELECT * FROM {table}"));
    }
}

// A query whose files another process had compacted away failed, or with damaged files skipped left their rows out.
#[test]
fn a_query_whose_files_were_compacted_away_is_answered_from_those_in_their_place() {
    let folder = tempfile::tempdir().expect("folder");
    let mut config = EngineConfig::default();
    config.replaced_grace = Duration::ZERO;
    config.compact_at_finish_rows_max = 0;
    let store = Store::open_with(folder.path(), Access::Create, config).expect("store");
    let run = store.start_run(RunOptions::new("p", "s")).expect("run");
    let loss = run.metric("m", "loss").expect("metric");
    let mut log = run.logger().expect("logger");
    for step in 0..20 {
        log.log(loss, step, step as f64).expect("logged");
        run.commit("m").expect("committed");
    }
    drop(log);
    run.finish().expect("finished");
    // As another process sees it, whose snapshots hold no file here.
    let before = store.snapshot().expect("snapshot");
    let data = SnapshotData {
        root: folder.path().to_owned(),
        runs: before.runs().to_vec(),
        segments: before.segments().to_vec(),
        ..SnapshotData::default()
    };
    drop(before);
    let report = store.compact(&CompactOptions::default(), &mut |_, _| {}).expect("compacted");
    assert_eq!(report.compacted[0].segments_before, 20);
    store.compact(&CompactOptions::default(), &mut |_, _| {}).expect("removed");
    assert!(!data.segments[0].path.exists(), "the old files are gone");
    for policy in [DamagedPolicy::Refuse, DamagedPolicy::Skip] {
        let first = Mutex::new(Some(data.clone()));
        let store = store.clone();
        let take = move || -> stepwell_engine::Result<Arc<dyn SnapshotSource>> {
            match first.lock().expect("lock").take() {
                Some(old) => Ok(Arc::new(old)),
                None => Ok(Arc::new(store.snapshot()?)),
            }
        };
        let session = Session::from_snapshots(take, QueryOptions::default().with_damaged(policy));
        assert_eq!(ask(&session, "SELECT count(*), sum(value) FROM metrics WHERE value >= 0"), ["20|190.0"]);
    }
    std::fs::remove_file(&store.snapshot().expect("snapshot").segments()[0].path).expect("removed by hand");
    let error = Session::new(&store).sql("SELECT sum(value) FROM metrics").expect_err("it is missing");
    assert!(error.is_corruption(), "{error}");
}
