//! Segments, objects, identities and the catalog, read by the tables and formulas of `docs/FORMAT.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;

use super::events::check_object;
use super::{DOCUMENT, constant, table, tables};
use crate::events::{Direction, ParamValue};
use crate::ids::ContentHash;
use crate::layout::SegmentFile;
use crate::run::{ArtifactSpec, MetricsArtifact, Run, RunOptions};
use crate::store::Store;

/// A store with one finished run, which logged two metrics with steps that went back, a folder and final values.
pub(super) struct Place {
    folder: TempDir,
    store: Store,
    run: Run,
    commit: MetricsArtifact,
}

impl Place {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let data = folder.path().join("data");
        fs::create_dir_all(data.join("deep")).expect("create");
        fs::write(data.join("b.txt"), "b").expect("write");
        fs::write(data.join("deep/a.txt"), "aa").expect("write");
        let store = Store::open(folder.path().join("store")).expect("open");
        let run = store.start_run(RunOptions::new("digits", "train").param("lr", 0.1)).expect("start");
        run.log_artifact(Direction::Input, ArtifactSpec::new("Dataset", &data).name("data")).expect("link");
        run.log_artifact(Direction::Output, ArtifactSpec::new("Chart", data.join("b.txt")).name("b")).expect("link");
        run.log_execution_metrics("result", BTreeMap::from([("best".into(), ParamValue::Int(1))])).expect("log");
        let row = run.row("train/metrics", &["loss", "accuracy"]).expect("row");
        let mut log = run.logger().expect("logger");
        for step in [0, 1, 2, 1, 5, 3] {
            log.log_row(&row, step, &[f64::NAN, step as f64]).expect("log");
        }
        run.commit("train/metrics").expect("commit");
        for step in [4, 0, 7] {
            log.log_row(&row, step, &[0.5, step as f64]).expect("log");
        }
        drop(log);
        let commit = run.finish().expect("finish").artifacts.swap_remove(0);
        store.snapshot().expect("snapshot, which brings the catalog up to date");
        Self { folder, store, run, commit }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn catalog(&self) -> Connection {
        Connection::open(self.store.layout().catalog()).expect("catalog")
    }

    fn id(&self, sql: &str) -> i64 {
        self.catalog().query_row(sql, [], |row| row.get(0)).expect(sql)
    }

    fn text(&self, sql: &str) -> String {
        self.catalog().query_row(sql, [], |row| row.get(0)).expect(sql)
    }

    /// The segments, by their numbers.
    fn segments(&self) -> Vec<PathBuf> {
        let folder = self.store.layout().run(self.run.id()).join("train%2Fmetrics");
        let mut files: Vec<_> = fs::read_dir(folder).expect("list").map(|entry| entry.expect("entry").path()).collect();
        files.sort_by_key(|path| parse(path).n);
        files
    }
}

fn parse(path: &Path) -> SegmentFile {
    SegmentFile::parse(path.file_name().and_then(|name| name.to_str()).expect("name")).expect("a segment's name")
}

fn batches(path: &Path) -> Vec<RecordBatch> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path).expect("open")).expect("parquet");
    builder.build().expect("reader").collect::<Result<_, _>>().expect("rows")
}

fn footer(path: &Path) -> ParquetMetaData {
    let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Optional);
    reader.parse_and_finish(&File::open(path).expect("open")).expect("footer")
}

#[test]
fn segments_are_as_their_tables_say() {
    let place = Place::new();
    let segments = place.segments();
    assert_eq!(segments.len(), 2, "one for the commit, one for the end");
    for path in &segments {
        let hash = ContentHash::from(blake3::hash(&fs::read(path).expect("read")));
        assert_eq!((parse(path).blake3, parse(path).writer), (hash, place.run.writer()));
        check_columns(&footer(path), &batches(path)[0]);
        let footer = footer(path);
        let metadata = footer.file_metadata().key_value_metadata().expect("metadata");
        let keys: BTreeSet<String> = metadata.iter().map(|pair| pair.key.clone()).collect();
        assert_eq!(keys, table("segment footer").into_iter().map(|mut row| row.swap_remove(0)).collect());
        let value = |key: &str| metadata.iter().find(|pair| pair.key == key).and_then(|pair| pair.value.as_deref());
        assert_eq!(value("stepwell.format"), Some(constant("segment format").to_string().as_str()));
        assert_eq!(value("stepwell.metrics_name"), Some("train/metrics"));
        let rows = records(path);
        assert!(rows.is_sorted_by_key(|(metric, step, seq, _, _)| (metric.clone(), *step, *seq)));
    }
}

/// Compares each column with its row of the table.
fn check_columns(footer: &ParquetMetaData, batch: &RecordBatch) {
    let group = footer.row_group(0);
    let index = &footer.column_index().expect("column index")[0];
    let rows = table("segment columns");
    assert_eq!(group.num_columns(), rows.len());
    for (position, row) in rows.iter().enumerate() {
        let [name, arrow_type, physical, encoding, compression, statistics] = row.as_slice() else { panic!("{row:?}") };
        let (column, field) = (group.column(position), batch.schema().field(position).clone());
        assert_eq!((column.column_path().string(), field.name()), (name.clone(), name));
        let arrow_name = format!("{}", field.data_type()).replace("µs", "us").replace("\"", "");
        assert_eq!(&arrow_name, arrow_type, "{name}");
        assert!(!field.is_nullable(), "{name}");
        assert_eq!(&column.column_type().to_string(), physical, "{name}");
        let encodings: Vec<String> = column.encodings().map(|encoding| encoding.to_string()).collect();
        assert!(encodings.contains(encoding), "{name}: {encodings:?}");
        assert_eq!(encoding == "RLE_DICTIONARY", column.dictionary_page_offset().is_some(), "{name}");
        assert!(column.compression().to_string().starts_with(compression.as_str()), "{name}: {}", column.compression());
        let has_pages = !matches!(index[position], parquet::file::page_index::column_index::ColumnIndexMetaData::NONE);
        assert!(column.statistics().is_some() && has_pages == (statistics == "page"), "{name}: {statistics}");
    }
}

/// Metric, step, sequence number, time and value bits of each row.
fn records(path: &Path) -> Vec<(String, i64, i64, i64, u64)> {
    let mut records = Vec::new();
    for batch in batches(path) {
        let column = |name: &str| batch.column_by_name(name).expect(name);
        let metric = column("metric").as_dictionary::<Int32Type>();
        let names = metric.values().as_string::<i32>();
        for row in 0..batch.num_rows() {
            records.push((
                names.value(metric.keys().value(row) as usize).to_owned(),
                column("step").as_primitive::<Int64Type>().value(row),
                column("seq").as_primitive::<Int64Type>().value(row),
                column("time").as_primitive::<TimestampMicrosecondType>().value(row),
                column("value").as_primitive::<Float64Type>().value(row).to_bits(),
            ));
        }
    }
    records
}

#[test]
fn an_identity_is_what_the_formula_gives() {
    let place = Place::new();
    let mut all: Vec<_> = place.segments().iter().flat_map(|path| records(path)).collect();
    assert_eq!(all.len() as u64, place.commit.rows);
    all.sort();
    let mut streams: BTreeMap<&str, (u64, blake3::Hasher)> = BTreeMap::new();
    for (metric, step, seq, time, value) in &all {
        let (count, stream) = streams.entry(metric).or_default();
        *count += 1;
        for number in [*step, *seq, *time, *value as i64] {
            stream.update(&number.to_le_bytes());
        }
    }
    let mut identity = blake3::Hasher::new();
    identity.update(b"stepwell metrics artifact 1\n").update(&0_i32.to_le_bytes()).update(&0_i32.to_le_bytes());
    for (metric, (count, stream)) in &streams {
        identity.update(&(metric.len() as u32).to_le_bytes()).update(metric.as_bytes());
        identity.update(&count.to_le_bytes()).update(stream.finalize().as_bytes());
    }
    assert_eq!(place.commit.identity, identity.finalize().into());
}

#[test]
fn a_folder_is_an_object_with_one_line_per_file() {
    let place = Place::new();
    let hash = place.text("SELECT uri FROM stepwell_reference WHERE name LIKE 'data:%'");
    let location = place.text("SELECT location FROM stepwell_reference WHERE name LIKE 'data:%'");
    assert_eq!(location, format!("objects/{}/{hash}", &hash[..2]));
    let root = place.folder.path().join("store");
    let manifest = fs::read_to_string(root.join(location)).expect("manifest");
    assert_eq!(blake3::hash(manifest.as_bytes()).to_hex().as_str(), hash);
    let lines: Vec<Value> = manifest.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    lines.iter().for_each(|line| check_object("folder manifest", line, line));
    assert_eq!(
        lines.iter().map(|line| line["path"].as_str().expect("path")).collect::<Vec<_>>(),
        ["b.txt", "deep/a.txt"]
    );
}

/// The document's id of `kind` and `parts`, whose number the table of ids confirms.
fn id(kind: &str, parts: &[&str]) -> i64 {
    let row = table("ids").into_iter().find(|row| row[1] == kind).unwrap_or_else(|| panic!("no kind {kind:?}"));
    assert_eq!(row[2].split(", ").count(), parts.len(), "{kind}");
    let mut hasher = blake3::Hasher::new();
    hasher.update(&0_u32.to_le_bytes());
    for part in [kind].iter().chain(parts) {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    let first: [u8; 8] = hasher.finalize().as_bytes()[..8].try_into().expect("8 bytes");
    let lowest = constant("lowest id");
    (lowest + u64::from_le_bytes(first) % ((1 << constant("id bits")) - lowest)) as i64
}

#[test]
fn ids_follow_the_rule() {
    let place = Place::new();
    let run = place.run.id().to_string();
    let (pipeline, stage, execution) =
        (id("pipeline", &["digits"]), id("stage", &["digits/train"]), id("execution", &[&run]));
    assert_eq!(place.id("SELECT id FROM Context WHERE type_id = 10 AND name = 'digits'"), pipeline);
    assert_eq!(place.id("SELECT id FROM Context WHERE type_id = 11 AND name = 'digits/train'"), stage);
    assert_eq!(place.id("SELECT id FROM Execution"), execution);
    assert_eq!(
        place.id("SELECT id FROM Type WHERE type_kind = 0 AND name = 'train'"),
        id("execution type", &["train"])
    );
    assert_eq!(place.id("SELECT id FROM Type WHERE type_kind = 1 AND name = 'Chart'"), id("artifact type", &["Chart"]));
    let of = |name: &str, column: &str| {
        place.text(&format!("SELECT {column} FROM stepwell_reference WHERE artifact_type = '{name}' ORDER BY n DESC"))
    };
    let scopes =
        [("Dataset", String::new()), ("Metrics", run.clone()), ("Step_Metrics", format!("{run}/train/metrics"))];
    for (artifact_type, scope) in scopes {
        assert_eq!(of(artifact_type, "scope"), scope);
        let artifact = id("artifact", &[artifact_type, &of(artifact_type, "uri"), &scope]);
        let direction = if artifact_type == "Dataset" { "3" } else { "4" };
        let (artifact, execution, stage) = (artifact.to_string(), execution.to_string(), stage.to_string());
        let event = id("event", &[&artifact, &execution, direction]);
        assert_eq!(place.id(&format!("SELECT id FROM Event WHERE artifact_id = {artifact}")), event);
        let attribution = id("attribution", &[&stage, &artifact]);
        assert_eq!(place.id(&format!("SELECT id FROM Attribution WHERE artifact_id = {artifact}")), attribution);
    }
    let association = id("association", &[&stage.to_string(), &execution.to_string()]);
    assert_eq!(place.id("SELECT id FROM Association"), association);
    let file = place.text("SELECT file FROM stepwell_segment WHERE n = 0");
    let segment = id("segment", &[&run, &place.run.writer().to_string(), &file]);
    assert_eq!(place.id("SELECT id FROM stepwell_segment WHERE n = 0"), segment);
}

#[test]
fn the_catalog_has_the_columns_of_its_tables() {
    let place = Place::new();
    let catalog = place.catalog();
    let rows = |sql: &str| -> Vec<Vec<String>> {
        let mut select = catalog.prepare(sql).expect(sql);
        let columns = select.column_count();
        let cell = |value: rusqlite::types::Value| match value {
            rusqlite::types::Value::Text(text) => text,
            rusqlite::types::Value::Integer(number) => number.to_string(),
            _ => String::new(),
        };
        let row = |row: &rusqlite::Row<'_>| (0..columns).map(|column| row.get(column).map(cell)).collect();
        select.query_map([], row).expect(sql).collect::<Result<_, _>>().expect(sql)
    };
    let own = rows("SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE 'stepwell%'");
    assert_eq!(own.concat().iter().map(String::as_str).collect::<BTreeSet<_>>(), tables("catalog "));
    for name in tables("catalog ") {
        let found = rows(&format!(
            "SELECT name, iif(type = '', 'any', type), iif(\"notnull\", 'no', 'yes'), iif(pk, pk, '')
             FROM pragma_table_info('{name}')"
        ));
        let listed: Vec<Vec<String>> = table(&format!("catalog {name}")).iter().map(|row| row[..4].to_vec()).collect();
        assert_eq!(listed, found, "{name}");
    }
    let found = rows(
        "SELECT id, name, iif(type_kind = 0, 'execution', iif(type_kind = 1, 'artifact', 'context')),
             coalesce((SELECT group_concat(name, ', ') FROM
                 (SELECT name FROM TypeProperty WHERE type_id = Type.id ORDER BY name)), '')
         FROM Type WHERE id < 1000 ORDER BY id",
    );
    assert_eq!(table("types"), found);
    for property in rows("SELECT name FROM TypeProperty WHERE type_id = (SELECT type_id FROM Execution)").concat() {
        assert!(DOCUMENT.contains(&format!("`{property}`")), "{property}");
    }
}
