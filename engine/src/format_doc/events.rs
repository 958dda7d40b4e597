//! The event log, read by the tables of `docs/FORMAT.md`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{DOCUMENT, WRITER, table, tables};
use crate::events::*;
use crate::ids::{ContentHash, RunId};

/// Compares an object with its table: each field is listed, has the type that is said, and is missing only when optional.
pub(super) fn check_object(table_name: &str, full: &Value, least: &Value) {
    let (full, least) = (full.as_object().expect("object"), least.as_object().expect("object"));
    let rows = table(table_name);
    let listed: BTreeSet<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(full.keys().map(String::as_str).collect::<BTreeSet<_>>(), listed, "{table_name}");
    for row in &rows {
        let (name, types, optional) = (row[0].as_str(), &row[1], row[2] == "yes");
        assert_eq!(!least.contains_key(name), optional, "{table_name}: is {name} optional?");
        for value in [full.get(name), least.get(name)].into_iter().flatten() {
            let found = match value {
                Value::Null => "null",
                Value::Bool(_) => "boolean",
                Value::Number(number) if number.is_f64() => "number",
                Value::Number(_) => "integer",
                Value::String(_) => "text",
                Value::Array(_) => "array",
                Value::Object(_) => "object",
            };
            assert!(types.split(" or ").any(|one| one == found), "{table_name}: {name} is {found}, not {types}");
        }
    }
}

fn json(value: impl serde::Serialize) -> Value {
    serde_json::to_value(value).expect("JSON")
}

fn started(full: bool) -> WriterStarted {
    let text = |text: &str| full.then(|| text.to_owned());
    WriterStarted {
        format: EVENT_FORMAT,
        run_id: RunId::generate(),
        writer: WRITER,
        pipeline: "p".into(),
        stage: "s".into(),
        name: text("n"),
        started: 1,
        process: ProcessInfo { host: "h".into(), boot_id: "b".into(), pid: 1, pid_start: 2 },
        version: "0".into(),
        command: text("c").unwrap_or_default(),
        git_repo: text("r"),
        git_commit: text("c"),
        git_branch: text("b"),
        journals: text("j").map(Into::into),
    }
}

fn stats(full: bool) -> MetricStats {
    let extreme = full.then_some(Extreme { value: 0.5, step: 1 });
    let placed = PlacedValue { step: 1, time: 2, seq: 3, value: if full { 0.5 } else { f64::NAN } };
    let metric = "loss".to_owned();
    MetricStats { metric, count: 1, non_finite: 0, min: extreme, max: extreme, first: placed, last: placed, sum: 0.5 }
}

fn segment() -> SegmentRecord {
    SegmentRecord {
        n: 0,
        metrics_name: "m".into(),
        file: "m/f".into(),
        blake3: blake3::hash(b"").into(),
        bytes: 1,
        rows: 1,
        time_min: 1,
        time_max: 1,
        metrics: vec![stats(true)],
    }
}

fn origin(full: bool) -> Origin {
    let number = full.then_some(1);
    Origin { source_id: number, state: number, created_millis: number, updated_millis: number }
}

fn key(full: bool) -> ArtifactKey {
    let scope = if full { "s" } else { "" };
    ArtifactKey { artifact_type: "t".into(), uri: "u".into(), scope: scope.into() }
}

fn record(full: bool, values: &Properties) -> ArtifactRecord {
    let values = if full { values.clone() } else { Properties::new() };
    ArtifactRecord {
        direction: full.then_some(Direction::InternalOutput),
        artifact_type: "t".into(),
        name: "n".into(),
        uri: "u".into(),
        declared: values.clone(),
        properties: values,
        path: full.then(|| "p".to_owned()),
        bytes: full.then_some(1),
        content: full.then(|| blake3::hash(b"").into()),
        attributed: full,
        time_millis: full.then_some(1),
        origin: origin(full),
    }
}

/// One of each event; with every optional field, or without any.
fn samples(full: bool) -> Vec<Event> {
    let values = BTreeMap::from([("k".to_owned(), ParamValue::Float(0.5))]);
    let hash = || ContentHash::from(blake3::hash(b""));
    let artifact = ArtifactEvent {
        direction: Direction::Input,
        artifact_type: "Dataset".into(),
        name: "n".into(),
        hash: hash(),
        bytes: 1,
        stored: true,
        properties: if full { values.clone() } else { BTreeMap::new() },
    };
    let watermarks = vec![Watermark { ring: 0, committed: 1 }];
    let (metrics_name, segments) = ("m".to_owned(), vec![0]);
    let commit = MetricsCommitted { metrics_name, version: 1, identity: hash(), rows: 1, segments };
    let detail = "d".to_owned();
    let all = vec![
        Event::WriterStarted(Box::new(started(full))),
        Event::Params { params: values.clone() },
        Event::Tags { tags: BTreeMap::from([("k".to_owned(), "v".to_owned())]) },
        Event::Artifact(Box::new(artifact)),
        Event::Record(Box::new(record(full, &values))),
        Event::Execution(Box::new(ExecutionRecord {
            execution_type: full.then(|| "t".to_owned()),
            name: full.then(|| "n".to_owned()),
            declared: if full { values.clone() } else { Properties::new() },
            origin: origin(full),
        })),
        Event::Context(Box::new(ContextRecord {
            pipeline: "p".into(),
            stage: full.then(|| "s".to_owned()),
            properties: if full { values.clone() } else { Properties::new() },
            origin: origin(full),
        })),
        Event::Link(Box::new(LinkEvent { source: key(full), target: key(full), relation: "derived".into() })),
        Event::Alias(Box::new(AliasEvent { alias: "a".into(), name: "n".into(), artifact: full.then(|| key(full)) })),
        Event::ExecutionMetrics { name: "n".into(), metrics: values },
        Event::Segments(Box::new(SegmentsEvent { segments: vec![segment()], watermarks })),
        Event::SegmentSetAside { file: "m/f".into(), rows: 1 },
        Event::SegmentsReplaced(Box::new(SegmentsReplaced {
            metrics_name: "m".into(),
            replaced: vec![0],
            segments: vec![segment()],
        })),
        Event::ReplacedRemoved { segments: vec![0] },
        Event::MetricsCommitted(commit),
        Event::Gap(GapEvent { kind: GapKind::RingFull, ring: 0, records: 1, records_max: full.then_some(2), detail }),
        Event::Recovered { host: "h".into(), pid: 1, rows: 1 },
        Event::WriterFinished { state: FinishState::Finished, rows: 1, waits: 0, drops: 0 },
    ];
    // An event that is added to the enum does not compile here until it has a place in the list above.
    for event in &all {
        match event {
            Event::WriterStarted(_) | Event::Params { .. } | Event::Tags { .. } | Event::Artifact(_) => {}
            Event::ExecutionMetrics { .. } | Event::Segments(_) | Event::MetricsCommitted(_) | Event::Gap(_) => {}
            Event::Record(_) | Event::Execution(_) | Event::Context(_) | Event::Link(_) | Event::Alias(_) => {}
            Event::Recovered { .. } | Event::WriterFinished { .. } | Event::Unknown => {}
            Event::SegmentSetAside { .. } | Event::SegmentsReplaced(_) | Event::ReplacedRemoved { .. } => {}
        }
    }
    all
}

#[test]
fn events_have_the_fields_of_their_tables() {
    let line = |event: &Event| json(EventLine { n: 0, time: 1, event: event.clone() });
    let mut seen = BTreeSet::new();
    for (full, least) in samples(true).iter().zip(samples(false)) {
        let (mut full, mut least) = (line(full), line(&least));
        let name = full["event"].as_str().expect("event").to_owned();
        for value in [&mut full, &mut least] {
            value.as_object_mut().expect("object").retain(|field, _| !["n", "time", "event"].contains(&field.as_str()));
        }
        check_object(&format!("event {name}"), &full, &least);
        seen.insert(name);
    }
    let mut listed: BTreeSet<String> = tables("event ").into_iter().map(str::to_owned).collect();
    assert!(listed.remove("line"));
    assert_eq!(listed, seen);
    check_object("object segment", &json(segment()), &json(segment()));
    let watermark = json(Watermark { ring: 0, committed: 0 });
    check_object("object watermark", &watermark, &watermark);
    check_object("object summary", &json(stats(true)), &json(stats(false)));
    check_object("object placed value", &json(stats(true).first), &json(stats(false).first));
    check_object("object artifact key", &json(key(true)), &json(key(false)));
    check_object("object extreme", &json(stats(true).min), &json(stats(true).max));
}

#[test]
fn lines_and_kinds_are_as_said() {
    let text = EventLine { n: 0, time: 1, event: Event::Recovered { host: "h".into(), pid: 1, rows: 1 } }.encode();
    let (body, tail) = text.rsplit_once(",\"crc\":\"").expect("checksum");
    assert_eq!(tail, format!("{:08x}\"}}\n", crc32c::crc32c(body.as_bytes())));
    let mut line: Value = serde_json::from_str(&text).expect("JSON");
    line.as_object_mut().expect("object").retain(|field, _| !["host", "pid", "rows"].contains(&field.as_str()));
    check_object("event line", &line, &line);
    let example = DOCUMENT.lines().find(|line| line.starts_with("{\"n\":3,")).expect("example");
    EventLine::decode(example).expect("the example is a line");
    let kinds = [
        GapKind::RingFull,
        GapKind::DamagedSlot,
        GapKind::MissingSlots,
        GapKind::UndefinedMetric,
        GapKind::DamagedEvent,
        GapKind::CutJournal,
        GapKind::LostJournal,
        GapKind::MachineDown,
        GapKind::DamagedSegment,
    ];
    // A kind that is added to the enum does not compile here until it has a place in the list above.
    let name = |kind: GapKind| match kind {
        GapKind::RingFull | GapKind::DamagedSlot | GapKind::MissingSlots => kind.as_str(),
        GapKind::UndefinedMetric | GapKind::DamagedEvent | GapKind::DamagedSegment => kind.as_str(),
        GapKind::CutJournal | GapKind::LostJournal | GapKind::MachineDown => kind.as_str(),
    };
    let listed: Vec<String> = table("gap kinds").into_iter().map(|mut row| row.swap_remove(0)).collect();
    assert_eq!(listed, kinds.map(name));
    assert!(kinds.iter().zip(&listed).all(|(kind, name)| json(kind) == name.as_str()));
}
