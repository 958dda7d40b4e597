//! Segments: a file of any bytes that no event names, under the name that its BLAKE3 gives it.

use stepwell_engine::layout::SegmentFile;
use stepwell_engine::names::MetricsName;
use stepwell_engine::verify::hash_file;

use crate::fuzz::place::{Place, put};

/// Has recovery look at the segment of a dead writer: it is taken up, or told to be unreadable.
///
/// # Panics
/// When it is neither, or when the engine panics or refuses the store.
pub fn segment(data: &[u8]) {
    let place = Place::new();
    let folder = place.layout().segments(place.run, &MetricsName::try_new("train").expect("a name"));
    let temp = folder.join("segment");
    put(&temp, data);
    let (blake3, _) = hash_file(&temp).expect("hashed");
    let file = SegmentFile { writer: place.writer, n: 0, blake3 };
    let path = folder.join(file.file_name());
    std::fs::rename(&temp, &path).expect("named");
    let [_, view] = place.views();
    let view = view.expect("opened");
    let is_taken_up = view.parts.iter().any(|part| part.path.as_ref() == Some(&path));
    assert!(path.exists(), "a segment that was the only place of its rows is kept");
    assert!(is_taken_up || view.is_told(), "neither taken up nor told");
}
