//! Event logs: any bytes.

use stepwell_engine::events::EventLine;

use crate::fuzz::place::{Place, put};

const CRC_FIELD: &[u8] = b",\"crc\":\"";
/// Stands in an input for the id of the run, which is another one each time.
pub const RUN: &str = "01a20000-0000-7000-8000-000000000000";
/// Stands for the id of the writer.
pub const WRITER: &str = "w-0-0-00000000";

/// Reads and recovers a store whose only event log has these bytes. When the first byte is odd, the checksum of each line is
/// put right. Every line that can be read is the same once it was written and read again.
///
/// # Panics
/// When it is not so, or when the engine panics or refuses the store.
pub fn event_log(data: &[u8]) {
    let Some((flags, text)) = data.split_first() else { return };
    let place = Place::new();
    let text = replace(text, RUN.as_bytes(), place.run.to_string().as_bytes());
    let text = replace(&text, WRITER.as_bytes(), place.writer.to_string().as_bytes());
    let text: Vec<u8> = if flags & 1 == 0 {
        text
    } else {
        text.split_inclusive(|byte| *byte == b'\n').flat_map(with_checksum).collect()
    };
    for line in text.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok()) {
        if let Ok(line) = EventLine::decode(line) {
            let written = line.encode();
            let again = EventLine::decode(written.trim_end()).expect("what was written can be read");
            assert_eq!(again.encode(), written);
        }
    }
    put(&place.layout().events(place.run, place.writer), &text);
    place.views();
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        replaced.extend(&rest[..at]);
        replaced.extend(to);
        rest = &rest[at + from.len()..];
    }
    replaced.extend(rest);
    replaced
}

fn with_checksum(line: &[u8]) -> Vec<u8> {
    let Some(at) = line.windows(CRC_FIELD.len()).rposition(|window| window == CRC_FIELD) else { return line.to_vec() };
    let tail = format!("{:08x}\"}}\n", crc32c::crc32c(&line[..at]));
    [&line[..at], CRC_FIELD, tail.as_bytes()].concat()
}
