use stepwell_query::SnapshotData;
use stepwell_query::lineage::tree::{self, Glyphs};
use stepwell_query::lineage::{Graph, Selection, Way};

use super::{HOSTILE, data, example, hostile};

fn drawn(data: &SnapshotData, selection: &Selection) -> String {
    let graph = Graph::read(data).expect("graph");
    tree::write(&graph.select(selection).expect("a lineage"), Glyphs::Unicode)
}

fn from(start: &str, way: Way, depth_max: Option<u32>) -> Selection {
    Selection { start: Some(start.to_owned()), way, depth_max, ..Selection::default() }
}

/// The tree without what stands in brackets but `(see above)`.
fn bare(tree: &str) -> Vec<String> {
    let line = |line: &str| {
        let (start, rest) = line.split_once("  (").unwrap_or((line, ""));
        let marks = [("(see above)", " ^"), ("  ...", " ...")];
        let found = marks.iter().filter(|(mark, _)| rest.contains(mark) || start.contains(mark));
        format!("{}{}", start.replace("  ...", ""), found.map(|(_, short)| *short).collect::<String>())
    };
    tree.lines().map(line).collect()
}

#[test]
fn a_tree_goes_both_ways_and_ends_on_a_cycle() {
    let hash = |text: &str| blake3::hash(text.as_bytes()).to_string()[..8].to_owned();
    let (raw, clean, model) = (hash("raw\n"), hash("clean\n"), hash("model\n"));
    let expected = format!(
        "\
model.pkl  (Model {model})
├─ came from
│  └─ train  (digits/train, finished, 0190b2f5)
│     └─ data/clean.csv  (Dataset {clean})
│        ├─ prepare  (digits/prepare, finished, 0190b2f4)
│        │  └─ data/raw.csv  (Dataset {raw})
│        └─ label  (review/label, failed, 0190b2f6)
│           └─ model.pkl  (Model {model})  (see above)
└─ led to
   └─ label  (review/label, failed, 0190b2f6)
      └─ data/clean.csv  (Dataset {clean})
         └─ train  (digits/train, finished, 0190b2f5)
            └─ model.pkl  (Model {model})  (see above)
"
    );
    let data = example();
    for start in ["model.pkl", &blake3::hash(b"model\n").to_string(), &model] {
        assert_eq!(drawn(&data, &from(start, Way::Both, None)), expected, "{start}");
    }
}

#[test]
fn the_limit_on_depth_says_where_more_lies() {
    let data = example();
    let back = bare(&drawn(&data, &from("0190b2f5", Way::Backward, Some(1))));
    assert_eq!(back, ["train", "└─ data/clean.csv ..."]);
    let forth = bare(&drawn(&data, &from("data/raw.csv", Way::Forward, Some(2))));
    assert_eq!(forth, ["data/raw.csv", "└─ prepare", "   └─ data/clean.csv ..."]);
    assert_eq!(bare(&drawn(&data, &from("train", Way::Both, Some(0)))), ["train ..."]);
}

#[test]
fn everything_begins_where_nothing_led_to() {
    let data = example();
    let expected = [
        "data/raw.csv",
        "└─ prepare",
        "   └─ data/clean.csv",
        "      └─ train",
        "         └─ model.pkl",
        "            └─ label",
        "               └─ data/clean.csv ^",
    ];
    assert_eq!(bare(&drawn(&data, &Selection::default())), expected);
}

#[test]
fn a_pipeline_is_its_runs_and_what_they_touched() {
    let data = example();
    let of = |pipeline: &str| Selection { pipeline: Some(pipeline.to_owned()), ..Selection::default() };
    assert_eq!(bare(&drawn(&data, &of("review"))), ["model.pkl", "└─ label", "   └─ data/clean.csv"]);
    let within = Selection { start: Some("model.pkl".to_owned()), ..of("review") };
    assert_eq!(bare(&drawn(&data, &within)), ["model.pkl", "└─ led to", "   └─ label", "      └─ data/clean.csv"]);
}

#[test]
fn a_name_that_is_not_there_is_told_the_nearest() {
    let data = example();
    let graph = Graph::read(&data).expect("graph");
    let error = graph.select(&from("model.pk", Way::Both, None)).err().expect("an error").to_string();
    assert_eq!(error, "there is no artifact or run \"model.pk\"; did you mean \"model.pkl\"?");
    let error = graph.select(&from("clean", Way::Both, None)).err().expect("an error");
    assert_eq!(error.near, ["data/clean.csv"], "a part of a name");
    let pipeline = Selection { pipeline: Some("digit".to_owned()), ..Selection::default() };
    let error = graph.select(&pipeline).err().expect("an error").to_string();
    assert_eq!(error, "there is no pipeline \"digit\"; did you mean \"digits\"?");
    let other = Selection {
        start: Some("data/raw.csv".to_owned()),
        pipeline: Some("review".to_owned()),
        ..Selection::default()
    };
    assert!(graph.select(&other).is_err(), "what another pipeline read is not found in this one");
}

#[test]
fn a_tree_holds_nothing_that_steers_a_terminal() {
    let folder = tempfile::tempdir().expect("folder");
    let mut data = data(&hostile(folder.path()));
    data.runs[0].name = Some(HOSTILE.to_owned());
    let graph = Graph::read(&data).expect("graph");
    let lineage = graph.select(&Selection::default()).expect("a lineage");
    for glyphs in [Glyphs::Unicode, Glyphs::Ascii] {
        let tree = tree::write(&lineage, glyphs);
        assert_eq!(tree.lines().count(), 2 + 2 + 1, "{tree}");
        assert!(tree.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{tree}");
        assert_eq!(tree.is_ascii(), glyphs == Glyphs::Ascii, "{tree}");
    }
}
