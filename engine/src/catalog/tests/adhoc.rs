use super::*;
use std::time::Instant;
#[test]
fn adhoc_keep() {
    let Some(root) = std::env::var_os("ADHOC_KEEP") else { return };
    let store = TestStore::new();
    store.write(&sample());
    store.write(&[Log::new(30, writer(0, 0), 7, "digits", "mlmd.Train").then(1, artifact(Direction::Input, "mlmd.Dataset", "x", "x", &[])).finish()]);
    drop(store.refreshed());
    std::fs::create_dir_all(&root).unwrap();
    for e in std::fs::read_dir(store.folder.path()).unwrap() {
        let e = e.unwrap();
        if e.path().is_file() { std::fs::copy(e.path(), std::path::Path::new(&root).join(e.file_name())).unwrap(); }
    }
}
#[test]
fn adhoc_speed() {
    let Some(n) = std::env::var("ADHOC_SPEED").ok().and_then(|n| n.parse::<u128>().ok()) else { return };
    let store = TestStore::new();
    let t = Instant::now();
    for i in 0..n {
        store.write(&[Log::new(i + 10, writer(0, 0), i as i64, "digits", &format!("train{}", i % 3))
            .then(1, params(&[("lr", 0.1.into()), ("seed", 3.into()), ("text", "abc".into())]))
            .then(1, artifact(Direction::Input, "Dataset", "data", "digits", &[("rows", 1797.into())]))
            .then(1, segments(i, writer(0, 0), 0))
            .then(1, segments(i, writer(0, 0), 1))
            .then(1, committed(i, 1))
            .then(1, artifact(Direction::Output, "Model", "stored model", &format!("w{i}"), &[]))
            .finish()]);
    }
    eprintln!("written in {:?}", t.elapsed());
    store.let_folders_settle();
    let t = Instant::now();
    let mut catalog = store.open();
    eprintln!("created in {:?}", t.elapsed());
    let t = Instant::now();
    let r = catalog.refresh(&store.layout).unwrap();
    eprintln!("first build {:?} {} runs {} events", t.elapsed(), r.runs_changed, r.events_read);
    drop(catalog);
    for _ in 0..3 {
        let t = Instant::now();
        let mut catalog = store.open();
        let o = t.elapsed();
        catalog.refresh(&store.layout).unwrap();
        eprintln!("open {o:?} open+refresh unchanged {:?}", t.elapsed());
    }
    let mut catalog = store.open();
    let log = Log::new(5, writer(0, 0), 9, "digits", "train1").then(1, artifact(Direction::Input, "Dataset", "data", "digits", &[("rows", 1797.into())]));
    store.write(&[log.clone()]);
    let t = Instant::now();
    catalog.refresh(&store.layout).unwrap();
    eprintln!("new run sharing the data set {:?}", t.elapsed());
    store.append(&log, EventLine { n: 2, time: T0, event: params(&[("a", 1.into())]) }.encode().as_bytes());
    let t = Instant::now();
    catalog.refresh(&store.layout).unwrap();
    eprintln!("it grew {:?}", t.elapsed());
    let t = Instant::now();
    let s = catalog.snapshot(&store.layout).unwrap();
    eprintln!("snapshot {:?}", t.elapsed());
    let t = Instant::now();
    eprintln!("runs {} {:?}", s.runs().unwrap().len(), t.elapsed());
    let t = Instant::now();
    eprintln!("segments {} {:?}", s.segments().unwrap().len(), t.elapsed());
    let t = Instant::now();
    eprintln!("artifacts {} {:?}", s.artifacts().unwrap().len(), t.elapsed());
    let t = Instant::now();
    eprintln!("lineage {} {:?}", s.lineage().unwrap().len(), t.elapsed());
    drop(s);
    let t = Instant::now();
    Catalog::rebuild(&store.layout).unwrap();
    eprintln!("rebuild {:?}", t.elapsed());
    let t = Instant::now();
    catalog.copy_to_memory().unwrap();
    eprintln!("copy to memory {:?}", t.elapsed());
    eprintln!("bytes {}", std::fs::metadata(store.layout.catalog()).unwrap().len());
    // Tiny stores: a refresh in a store with one run.
    let small = TestStore::new();
    let t = Instant::now();
    let mut c = small.open();
    eprintln!("create tiny {:?}", t.elapsed());
    small.write(&[log.clone()]);
    let t = Instant::now();
    c.refresh(&small.layout).unwrap();
    eprintln!("refresh tiny {:?}", t.elapsed());
}
