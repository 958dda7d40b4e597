//! CMF's and DVC's metadata in and out, on the command line.

use std::path::Path;

use super::Place;

fn sample() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/cmf-sample").to_str().unwrap().to_owned()
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

fn theirs() -> serde_json::Value {
    json(&std::fs::read_to_string(Path::new(&sample()).join("metadata-export.json")).unwrap())
}

#[test]
fn cmf_s_store_goes_in_and_comes_out() {
    let place = Place::new();
    let ran = place.run(&["import", "cmf", &sample()]);
    assert_eq!((ran.code, ran.stdout.lines().count()), (0, 2), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("imported 2 runs with 6 records; the source has 10 artifacts and 12 events"),
        "{}",
        ran.stderr
    );
    assert_eq!(place.ok(&["import", "cmf", &sample()]), "", "nothing new the second time");
    assert_eq!(
        place.sql("SELECT step, value FROM metrics WHERE metric = 'train_loss' ORDER BY step"),
        ["1,1.0", "2,0.5", "3,0.3333333333333333"]
    );
    assert_eq!(json(&place.ok(&["metadata", "export", "-p", "demo-pipeline"])), theirs());
    assert_eq!(place.ok(&["metadata", "export", "-p", "demo-pipeline", "-j", "out.json"]), "");
    assert_eq!(json(&std::fs::read_to_string(place.path().join("out.json")).unwrap()), theirs());
    assert_eq!(place.ok(&["export", "cmf", "out/mlmd"]), "out/mlmd\n");
    assert_eq!(json(&place.ok(&["metadata", "export", "-p", "demo-pipeline", "-f", "out/mlmd"])), theirs());
    place.fails(&["export", "cmf", "out/mlmd"], 5, &["exists"]);
}

#[test]
fn lists_understand_cmf_s_flags() {
    let place = Place::new();
    let file = format!("{}/mlmd", sample());
    let pipelines = place.ok(&["pipeline", "list", "-f", &file]);
    assert!(pipelines.starts_with("PIPELINE") && pipelines.contains("demo-pipeline"), "{pipelines}");
    let executions =
        json(&place.ok(&["execution", "list", "-p", "demo-pipeline", "--file_name", &file, "--format=json"]));
    assert_eq!(
        (executions[0]["id"].as_i64(), executions[1]["Context_Type"].as_str()),
        (Some(1), Some("demo-pipeline/train"))
    );
    let uuid = "598635fc-e6eb-11f1-b6c0-02fc00000001";
    let one = place.ok(&["execution", "list", "--pipeline_name", "demo-pipeline", "-e", uuid, "-f", &file]);
    assert!(one.contains("custom_properties_lr") && one.contains("0.01"), "{one}");
    let artifacts = json(&place.ok(&["artifact", "list", "-p", "demo-pipeline", "-f", &file, "--json"]));
    assert_eq!(artifacts.as_array().map(Vec::len), Some(10));
    let one = place.ok(&["artifact", "list", "-p", "demo-pipeline", "-a", "model.pkl", "-f", &file]);
    assert!(one.contains("RandomForestClassifier"), "{one}");
    place.fails(&["artifact", "list", "-p", "none", "-f", &file], 4, &["no pipeline"]);
    place.fails(&["artifact", "list", "-p", "demo-pipeline", "-a", "none", "-f", &file], 4, &["none"]);
    place.fails(&["pipeline", "list", "-f", "missing"], 4, &["missing"]);
    place.fails(&["pipeline", "list"], 4, &["no store"]);
}

#[test]
fn wrong_files_have_their_exit_codes() {
    let place = Place::new();
    place.write("text", &"not a database".repeat(20));
    place.fails(&["import", "cmf", "text"], 2, &["not an SQLite database"]);
    place.fails(&["import", "cmf", "none"], 4, &["none"]);
    let whole = std::fs::read(Path::new(&sample()).join("mlmd")).unwrap();
    std::fs::write(place.path().join("torn"), &whole[..100_000]).unwrap();
    place.fails(&["import", "cmf", "torn"], 3, &["cut off"]);
    place.write("dvc.lock", "schema: '2.0'\nstages:\n  a:\n    outs:\n    - path: ../x\n      md5: y\n");
    place.fails(&["import", "dvc"], 2, &["leads out"]);
    place.write("dvc.lock", "schema: '2.0'\nstages:\n  a:\n    outs:\n    - path: x\n      md5: y\n");
    assert_eq!(place.ok(&["import", "dvc", ".", "--pipeline", "mine"]).lines().count(), 1);
    assert_eq!(place.sql("SELECT pipeline, stage FROM runs"), ["mine,a"]);
    assert_eq!(place.sql("SELECT name FROM lineage"), ["x:y"]);
}
