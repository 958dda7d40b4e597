use stepwell_engine::{Access, EngineConfig, Error, LogError, RunOptions, Store};

use crate::common::{open, small_config};

#[test]
fn names_are_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), small_config());
    let long = "x".repeat(201);
    for bad in ["", "a\0b", "a\nb", " a", long.as_str()] {
        assert!(matches!(store.start_run(RunOptions::new(bad, "s")), Err(Error::InvalidName { .. })), "{bad:?}");
        assert!(matches!(store.start_run(RunOptions::new("p", bad)), Err(Error::InvalidName { .. })), "{bad:?}");
    }
    assert!(matches!(store.start_run(RunOptions::new("p", "s").rank(-1)), Err(Error::InvalidSetting { .. })));
    assert_eq!(std::fs::read_dir(store.layout().runs()).expect("runs").count(), 0);
    let run = store.start_run(RunOptions::new("p", "s")).expect("run");
    for bad in ["", "a\0b", "a\nb", " a", long.as_str()] {
        assert!(matches!(run.metric(bad, "x"), Err(Error::InvalidName { .. })), "{bad:?}");
        assert!(matches!(run.metric("m", bad), Err(Error::InvalidName { .. })), "{bad:?}");
    }
    assert!(matches!(run.commit("m"), Err(Error::NotFound { .. })));
}

#[test]
fn handles_of_another_run_are_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), small_config());
    let one = store.start_run(RunOptions::new("p", "s")).expect("run");
    let two = store.start_run(RunOptions::new("p", "s")).expect("run");
    let foreign = one.metric("m", "x").expect("metric");
    let row = one.row("m", &["x", "y"]).expect("row");
    let mut log = two.logger().expect("logger");
    assert_eq!(log.log(foreign, 0, 1.0), Err(LogError::ForeignMetric));
    assert_eq!(log.log_row(&row, 0, &[1.0, 2.0]), Err(LogError::ForeignMetric));
    two.metric("m", "x").expect("metric");
    assert_eq!(log.log(foreign, 0, 1.0), Err(LogError::ForeignMetric), "also when the numbers fit");
    assert_eq!(two.stats().rows_logged, 0);
}

#[test]
fn the_number_of_metrics_is_bounded() {
    let folder = tempfile::tempdir().expect("folder");
    let mut config = small_config();
    config.definition_bytes = 4096;
    let store = open(folder.path(), config);
    let run = store.start_run(RunOptions::new("p", "s")).expect("run");
    let mut log = run.logger().expect("logger");
    let mut made = 0;
    let error = loop {
        match run.metric("m", &format!("metric{made}")) {
            Ok(metric) => log.log(metric, made, 1.0).expect("every metric that was given can be logged"),
            Err(error) => break error,
        }
        made += 1;
    };
    assert!(matches!(error, Error::TooManyMetrics { .. }) && made > 100, "{made} {error}");
    drop(log);
    assert_eq!(run.finish().expect("finish").rows, made as u64);
}

#[test]
fn paths_that_are_no_store_say_so() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "x").expect("write");
    let missing = folder.path().join("missing");
    let read = |path: &std::path::Path| Store::open_with(path, Access::Read, EngineConfig::default());
    assert!(matches!(Store::open(&file), Err(Error::StoreIsAFile { .. })));
    assert!(matches!(Store::open(file.join("below")), Err(Error::StoreIsAFile { .. })));
    assert!(matches!(read(&missing), Err(Error::NoStore { .. })));
    assert!(matches!(read(folder.path()), Err(Error::NoStore { .. })), "a folder that is no store");
    assert!(!missing.exists());
}

#[test]
fn a_store_opened_for_reading_is_not_written() {
    let folder = tempfile::tempdir().expect("folder");
    open(folder.path(), small_config());
    let reader = Store::open_with(folder.path(), Access::Read, small_config()).expect("reader");
    assert!(matches!(reader.start_run(RunOptions::new("p", "s")), Err(Error::ReadOnlyStore { .. })));
    assert!(matches!(reader.reindex(), Err(Error::ReadOnlyStore { .. })));
}
