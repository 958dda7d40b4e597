//! JSON in which no value is lost: JSON has no NaN and no infinity, so those are the strings `"NaN"`, `"inf"`, `"-inf"`.

use std::io::{self, Write};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float32Array, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::FieldRef;
use arrow::error::ArrowError;
use arrow::json::writer::{
    Encoder, EncoderFactory, EncoderOptions, JsonFormat, LineDelimited, NullableEncoder, Writer, WriterBuilder,
    make_encoder,
};

use crate::error::OutputError;

/// An array with each row on a line of its own: valid as a whole, and still readable line by line.
#[derive(Debug, Default)]
struct RowPerLine;

impl JsonFormat for RowPerLine {
    fn start_stream<W: Write>(&self, writer: &mut W) -> Result<(), ArrowError> {
        Ok(writer.write_all(b"[")?)
    }

    fn start_row<W: Write>(&self, writer: &mut W, is_first_row: bool) -> Result<(), ArrowError> {
        Ok(writer.write_all(if is_first_row { b"\n" } else { b",\n" })?)
    }

    fn end_stream<W: Write>(&self, writer: &mut W) -> Result<(), ArrowError> {
        Ok(writer.write_all(b"\n]\n")?)
    }
}

pub(super) fn write_array(batches: &[RecordBatch], out: &mut (dyn Write + Send)) -> Result<(), OutputError> {
    write::<RowPerLine>(batches, out)
}

pub(super) fn write_lines(batches: &[RecordBatch], out: &mut (dyn Write + Send)) -> Result<(), OutputError> {
    write::<LineDelimited>(batches, out)
}

fn write<F: JsonFormat>(batches: &[RecordBatch], out: &mut (dyn Write + Send)) -> Result<(), OutputError> {
    // The encoder writes in small pieces; the destination may be a terminal or a pipe.
    let out = io::BufWriter::new(out);
    let mut writer: Writer<_, F> =
        WriterBuilder::new().with_explicit_nulls(true).with_encoder_factory(Arc::new(AllFloats)).build(out);
    for batch in batches {
        writer.write(batch)?;
    }
    writer.finish()?;
    Ok(writer.into_inner().flush()?)
}

/// Each value of a column as JSON text; null stays null.
pub(super) fn texts(field: &FieldRef, column: &ArrayRef) -> Result<ArrayRef, OutputError> {
    let options = EncoderOptions::default().with_encoder_factory(Arc::new(AllFloats));
    let mut encoder = make_encoder(field, column, &options)?;
    let mut texts: Vec<Option<String>> = Vec::with_capacity(column.len());
    for row in 0..column.len() {
        if encoder.is_null(row) {
            texts.push(None);
            continue;
        }
        let mut bytes = Vec::new();
        encoder.encode(row, &mut bytes);
        texts.push(Some(String::from_utf8(bytes).map_err(io::Error::other)?));
    }
    Ok(Arc::new(StringArray::from(texts)))
}

/// Makes encoders for floats; everything else has Arrow's own.
#[derive(Debug)]
struct AllFloats;

impl EncoderFactory for AllFloats {
    fn make_default_encoder<'a>(
        &self,
        _field: &'a FieldRef,
        array: &'a dyn Array,
        _options: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        let any = array.as_any();
        let encoder: Box<dyn Encoder + 'a> = if let Some(array) = any.downcast_ref::<Float64Array>() {
            Box::new(Floats(move |row| array.value(row)))
        } else if let Some(array) = any.downcast_ref::<Float32Array>() {
            Box::new(Floats(move |row| array.value(row)))
        } else {
            return Ok(None);
        };
        Ok(Some(NullableEncoder::new(encoder, array.nulls().cloned())))
    }
}

/// Writes the float of a row: its shortest text that reads back as the same float.
struct Floats<F>(F);

trait Float: Copy + std::fmt::Display + std::fmt::Debug + Into<f64> {}

impl Float for f64 {}
impl Float for f32 {}

impl<F: Fn(usize) -> T, T: Float> Encoder for Floats<F> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        let value = (self.0)(row);
        // Debug has a point or an exponent where Display may write hundreds of digits.
        let text = if value.into().is_finite() { format!("{value:?}") } else { format!("\"{value}\"") };
        out.extend_from_slice(text.as_bytes());
    }
}
