use stepwell_engine::*;
#[test]
fn smoke() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().join("s")).unwrap();
    let run = store.start_run(RunOptions::new("digits","train").param("lr", 0.1)).unwrap();
    let loss = run.metric("training_metrics","loss").unwrap();
    let mut log = run.logger().unwrap();
    let n = 5_000_000;
    let t = std::time::Instant::now();
    for step in 0..n { log.log(loss, step, 1.0/(step+1) as f64).unwrap(); }
    println!("{:?} per {}", t.elapsed(), n);
    let t = std::time::Instant::now();
    println!("{:?}", run.finish().unwrap());
    println!("finish {:?}", t.elapsed());
    std::process::Command::new("find").arg(folder.path()).arg("-type").arg("f").arg("-size").arg("+0").arg("-ls").status().unwrap();
}
