//! Rows to Arrow.
use std::sync::Arc;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
/// Schema of segments: run_id, metrics_name, metric (dictionary of Utf8), step, time (us, UTC), value, rank, attempt, seq.
pub fn segment_schema() -> SchemaRef {
    let text = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    Arc::new(Schema::new(vec![
        Field::new("run_id", text.clone(), false),
        Field::new("metrics_name", text.clone(), false),
        Field::new("metric", text, false),
        Field::new("step", DataType::Int64, false),
        Field::new("time", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
        Field::new("value", DataType::Float64, false),
        Field::new("rank", DataType::Int32, false),
        Field::new("attempt", DataType::Int32, false),
        Field::new("seq", DataType::Int64, false),
    ]))
}
