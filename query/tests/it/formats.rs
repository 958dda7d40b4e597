//! Results on their way out.

use std::io;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use stepwell_engine::ParamValue;
use stepwell_query::output::{Format, write};
use stepwell_query::{Error, QueryResult};

use crate::support::{Fixture, PLACEMENTS, Placement};

fn result(sql: &str) -> QueryResult {
    let mut fixture = Fixture::new();
    let run = fixture.run("p", "s", None, &[("lr", ParamValue::Float(f64::NAN)), ("note", "a,\"b\"\nc".into())]);
    fixture.log(run, "m", "x", &[0.1, f64::NAN, f64::NEG_INFINITY, -0.0, 1e300]);
    fixture.session(Placement::Split).sql(sql).expect("rows")
}

fn text(result: &QueryResult, format: Format) -> String {
    let mut out = Vec::new();
    write(result, format, &mut out).expect("written");
    String::from_utf8(out).expect("text")
}

const VALUES: &str = "SELECT step, value, run_name, time, metric FROM metrics ORDER BY step";

#[test]
fn tables_are_aligned() {
    let expected = "\
╭──────┬───────┬──────────╮
│ step ┆ value ┆ run_name │
╞══════╪═══════╪══════════╡
│    0 ┆   0.1 ┆ null     │
│    1 ┆   NaN ┆ null     │
│    2 ┆  -inf ┆ null     │
│    3 ┆  -0.0 ┆ null     │
│    4 ┆ 1e300 ┆ null     │
╰──────┴───────┴──────────╯
";
    let table = text(&result("SELECT step, value, run_name FROM metrics ORDER BY step"), Format::Table);
    assert_eq!(table, expected);
    assert!(text(&result("SELECT 'a\u{1b}[31m\nb' AS x"), Format::Table).contains("a\\u{1b}[31m\\nb"));
}

#[test]
fn csv_has_a_header_and_quotes() {
    assert_eq!(
        text(&result(VALUES), Format::Csv),
        "step,value,run_name,time,metric\n\
         0,0.1,,2026-01-02T03:04:06Z,x\n\
         1,NaN,,2026-01-02T03:04:06.000001Z,x\n\
         2,-inf,,2026-01-02T03:04:06.000002Z,x\n\
         3,-0.0,,2026-01-02T03:04:06.000003Z,x\n\
         4,1e300,,2026-01-02T03:04:06.000004Z,x\n"
    );
    assert_eq!(text(&result("SELECT params['note'] AS n FROM runs"), Format::Csv), "n\n\"a,\"\"b\"\"\nc\"\n");
    assert_eq!(
        text(&result("SELECT params FROM runs"), Format::Csv),
        "params\n\"{\"\"lr\"\":\"\"NaN\"\",\"\"note\"\":\"\"a,\\\"\"b\\\"\"\\nc\"\"}\"\n"
    );
    assert_eq!(text(&result("SELECT step FROM metrics WHERE step > 99"), Format::Csv), "step\n");
}

#[test]
fn json_loses_no_value() {
    let rows = "\
{\"step\":0,\"value\":0.1,\"run_name\":null,\"time\":\"2026-01-02T03:04:06Z\",\"metric\":\"x\"}
{\"step\":1,\"value\":\"NaN\",\"run_name\":null,\"time\":\"2026-01-02T03:04:06.000001Z\",\"metric\":\"x\"}
{\"step\":2,\"value\":\"-inf\",\"run_name\":null,\"time\":\"2026-01-02T03:04:06.000002Z\",\"metric\":\"x\"}
{\"step\":3,\"value\":-0.0,\"run_name\":null,\"time\":\"2026-01-02T03:04:06.000003Z\",\"metric\":\"x\"}
{\"step\":4,\"value\":1e300,\"run_name\":null,\"time\":\"2026-01-02T03:04:06.000004Z\",\"metric\":\"x\"}
";
    assert_eq!(text(&result(VALUES), Format::NdJson), rows);
    let array = text(&result(VALUES), Format::Json);
    assert_eq!(array, format!("[\n{}\n]\n", rows.trim_end().replace("}\n", "},\n")));
    let parsed: serde_json::Value = serde_json::from_str(&array).expect("JSON");
    assert_eq!(parsed[3]["value"].as_f64().map(f64::to_bits), Some((-0.0_f64).to_bits()));
    let params = text(&result("SELECT params FROM runs"), Format::NdJson);
    assert_eq!(params, "{\"params\":{\"lr\":\"NaN\",\"note\":\"a,\\\"b\\\"\\nc\"}}\n");
    let none = result("SELECT step FROM metrics WHERE step > 99");
    serde_json::from_str::<Vec<serde_json::Value>>(&text(&none, Format::Json)).expect("an empty array");
    assert_eq!(text(&none, Format::NdJson), "");
}

fn bytes(result: &QueryResult, format: Format) -> Vec<u8> {
    let mut out = Vec::new();
    write(result, format, &mut out).expect("written");
    out
}

#[test]
fn arrow_and_parquet_give_back_what_was_written() {
    let everything = [
        "SELECT * FROM metrics ORDER BY seq",
        "SELECT * FROM runs",
        "SELECT * FROM metrics WHERE step > 99",
        "SELECT * FROM summary",
    ];
    for sql in everything {
        let result = result(sql);
        let stream = StreamReader::try_new(io::Cursor::new(bytes(&result, Format::Arrow)), None).expect("stream");
        assert_eq!(stream.schema().fields(), result.schema().fields(), "{sql}");
        let read: Vec<RecordBatch> = stream.collect::<Result<_, _>>().expect("batches");
        let shown =
            |batches: &[RecordBatch]| arrow::util::pretty::pretty_format_batches(batches).expect("text").to_string();
        assert_eq!(shown(&read), shown(result.batches()), "{sql}");
        let parquet = bytes::Bytes::from(bytes(&result, Format::Parquet));
        let reader = ParquetRecordBatchReaderBuilder::try_new(parquet).expect("footer");
        assert_eq!(reader.schema().fields(), result.schema().fields(), "{sql}");
        let read: Vec<RecordBatch> = reader.build().expect("reader").collect::<Result<_, _>>().expect("batches");
        assert_eq!(shown(&read), shown(result.batches()), "{sql}");
    }
}

/// Runs without parameters and tags must not make a file that cannot be written.
#[test]
fn every_table_fits_every_format() {
    let mut fixture = Fixture::new();
    fixture.run("p", "s", None, &[]);
    fixture.runs[0].tags.clear();
    for placement in PLACEMENTS {
        let session = fixture.session(placement);
        for table in stepwell_query::table_names() {
            let result = session.sql(&format!("SELECT * FROM {table}")).expect("rows");
            for format in Format::ALL {
                bytes(&result, format);
            }
        }
    }
}

#[test]
fn formats_have_names() {
    for (format, name) in Format::ALL.into_iter().zip(Format::NAMES) {
        assert_eq!(name.parse::<Format>().expect("a format"), format);
        assert_eq!(format.to_string(), name);
    }
    let error = "xml".parse::<Format>().expect_err("not a format");
    assert_eq!(
        error.to_string(),
        "there is no output format \"xml\"; formats: table, csv, json, ndjson, arrow, parquet"
    );
}

struct Gone;

impl io::Write for Gone {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_went_away_is_told_apart() {
    let result = Arc::new(result(VALUES));
    for format in Format::ALL {
        let error = write(&result, format, &mut Gone).expect_err("nobody reads");
        assert!(matches!(error, Error::Output { .. }));
        assert!(error.is_broken_pipe(), "{format}: {error:?}");
    }
}
