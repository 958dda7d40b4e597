//! The body of the fuzz target `sql`: any bytes as the text of a query. libFuzzer runs it in `tests/fuzz`, the test
//! `fuzz` replays the corpus with it.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use stepwell_engine::{Access, EngineConfig, RunOptions, Store};
use stepwell_query::{Error, QueryOptions, Session};

/// A store with two runs, one finished and one whose rows are live.
struct Asked {
    folder: tempfile::TempDir,
    session: Session,
    /// Length and path of each file.
    files: Vec<(u64, String)>,
}

/// Asks the text.
///
/// # Panics
/// When the answer breaks a promise: files of the store were changed, an error has no words, or a result is larger than
/// its limit. What the engine behind it panics over is an error that says so, and counts as told.
pub fn sql(input: &[u8]) {
    static ASKED: OnceLock<Asked> = OnceLock::new();
    let asked = ASKED.get_or_init(Asked::new);
    let text = String::from_utf8_lossy(input);
    match asked.session.sql(&text) {
        Ok(result) => assert!(result.num_rows() <= 1000, "{} rows", result.num_rows()),
        Err(Error::Engine(error)) => panic!("the store is in order, and yet: {error}"),
        Err(error) => {
            let words = error.to_string();
            assert!(!words.trim().is_empty() && !words.contains("DataFusion error"), "{words:?}");
        }
    }
    assert_eq!(files(asked.folder.path()), asked.files, "the files of the store");
}

impl Asked {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let mut config = EngineConfig::default();
        config.segment_age = Duration::from_secs(7 * 24 * 3600);
        let store = Store::open_with(folder.path(), Access::Create, config).expect("store");
        for seed in 0..2 {
            let options = RunOptions::new("digits", "train").param("lr", 0.1).param("seed", seed);
            let run = store.start_run(options).expect("run");
            let metrics = ["loss", "accuracy"].map(|name| run.metric("train", name).expect("metric"));
            let mut log = run.logger().expect("logger");
            for step in 0..40 {
                let values = [1.0 / (step + 1) as f64, if step == 7 { f64::NAN } else { step as f64 }];
                metrics.iter().zip(values).for_each(|(metric, value)| log.log(*metric, step, value).expect("logged"));
            }
            if seed == 0 {
                drop(log);
                run.finish().expect("finished");
            } else {
                // Its rows stay live, and its files as they are, for as long as the process asks.
                std::mem::forget((log, run));
            }
        }
        let options = QueryOptions::default()
            .with_memory_limit_bytes(64 << 20)
            .with_rows_max(Some(1000))
            .with_timeout(Some(Duration::from_secs(2)))
            .with_parallelism(2);
        let session = Session::with_options(&store, options);
        let files = files(folder.path());
        Self { folder, session, files }
    }
}

fn files(folder: &Path) -> Vec<(u64, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("list") {
        let entry = entry.expect("entry");
        let metadata = entry.metadata().expect("metadata");
        if metadata.is_dir() {
            found.extend(files(&entry.path()));
        // SQLite's side files come and go with its readers.
        } else if !entry.file_name().to_string_lossy().starts_with("catalog.db-") {
            found.push((metadata.len(), entry.path().to_string_lossy().into_owned()));
        }
    }
    found.sort();
    found
}
