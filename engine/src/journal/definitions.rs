//! Metric definitions in the journal: what the numbers in slots mean.
//!
//! ```text
//! offset  bytes  field
//!      0      4  CRC-32C of the bytes from 4 to the end of the names
//!      4      2  length of the metrics name in bytes, never 0
//!      6      2  length of the metric in bytes
//!      8      n  metrics name, then metric; padded with zeros to 8 bytes
//! ```
//!
//! The n-th definition defines number n. Eight zero bytes end the list.

use crate::journal::header::u32_at;

/// One metric that slots refer to by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Definition {
    pub metrics_name: String,
    pub metric: String,
}

/// The bytes of a definition.
pub(crate) fn encode(metrics_name: &str, metric: &str) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    bytes.extend((metrics_name.len() as u16).to_le_bytes());
    bytes.extend((metric.len() as u16).to_le_bytes());
    bytes.extend(metrics_name.as_bytes());
    bytes.extend(metric.as_bytes());
    let crc = crc32c::crc32c(&bytes[4..]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

/// Reads definitions up to the first that is absent or damaged.
pub(crate) fn decode_all(mut bytes: &[u8]) -> Vec<Definition> {
    let mut definitions = Vec::new();
    while let Some((definition, length)) = decode(bytes) {
        definitions.push(definition);
        bytes = &bytes[length.min(bytes.len())..];
    }
    definitions
}

fn decode(bytes: &[u8]) -> Option<(Definition, usize)> {
    let lengths = bytes.get(4..8)?;
    let name_len = usize::from(u16::from_le_bytes([lengths[0], lengths[1]]));
    let metric_len = usize::from(u16::from_le_bytes([lengths[2], lengths[3]]));
    let end = 8 + name_len + metric_len;
    let names = bytes.get(8..end)?;
    if name_len == 0 || u32_at(bytes, 0) != crc32c::crc32c(&bytes[4..end]) {
        return None;
    }
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    let definition = Definition { metrics_name: text(&names[..name_len])?, metric: text(&names[name_len..])? };
    Some((definition, end.next_multiple_of(8)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_round_trip_up_to_the_first_damaged_one() {
        let names = [("training", "loss"), ("training", "vérité"), ("eval", "a")];
        let mut bytes: Vec<u8> = names.iter().flat_map(|(name, metric)| encode(name, metric)).collect();
        let third = bytes.len() - encode("eval", "a").len();
        bytes.resize(bytes.len() + 64, 0);
        let decoded = decode_all(&bytes);
        assert_eq!(decoded.len(), 3);
        assert_eq!(decoded[1], Definition { metrics_name: "training".into(), metric: "vérité".into() });
        bytes[third + 9] ^= 1;
        assert_eq!(decode_all(&bytes).len(), 2);
        assert!(decode_all(&[0; 64]).is_empty());
        assert!(decode_all(&[]).is_empty());
    }
}
