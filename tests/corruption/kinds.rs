//! The kinds of damage, over the sample stores.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use stepwell_engine::Access;
use stepwell_tests::damage::catalog;
use stepwell_tests::damage::image::StoredFile;
use stepwell_tests::damage::look::{Look, View, look};
use stepwell_tests::damage::samples::{
    Row, Sample, compacted_run, compacted_run_alone, finished_runs, packed_runs, small_journal, wrapped_journal,
};
use stepwell_tests::damage::strata::{Change, Changes, DEFINITIONS, HEADER_FIXED, Role, SLOTS, Stratum, TAIL_BYTES};
use stepwell_tests::random::Random;

/// The open block at the start of the ring holds 308 records; this is a part of it.
const OPEN_BYTES: usize = 2 << 10;

/// A sample, and what its sound store shows.
struct Known {
    sample: Arc<Sample>,
    view: View,
}

impl Known {
    fn new(folder: &Path, make: fn(&Path) -> Sample) -> Self {
        let sample = Arc::new(make(folder));
        sample.image.write(folder).expect("the sample");
        let Look::Seen(view) = look(folder, Access::Read, &sample.runs) else { panic!("the sample cannot be opened") };
        let mut rows: Vec<Row> = view.parts.iter().flat_map(|part| part.rows.iter().copied()).collect();
        rows.sort_unstable();
        assert!(rows == sample.records, "the sound sample shows what was logged");
        let mut view = view;
        view.verify().expect("verified");
        assert!(!view.is_told(), "{:?} {:?}", view.told, view.damaged);
        Self { sample, view: *view }
    }

    fn stratum(&self, name: &'static str, file: usize, role: Role, changes: Changes) -> Stratum {
        let path = &self.sample.image.files[file].path;
        let part = self.view.parts.iter().find(|part| part.path.as_ref().is_some_and(|full| full.ends_with(path)));
        let own: BTreeSet<_> = part.iter().flat_map(|part| part.rows.iter().map(|row| row.0)).collect();
        assert!(role != Role::Segment || !own.is_empty());
        // An event log that was cut off is what a crash leaves: what its last lines would have said is not known.
        let is_cut_log = path.extension().is_some_and(|kind| kind == "jsonl") && matches!(changes, Changes::Cuts(_));
        let facts_stay = self.sample.committed == u64::MAX && !is_cut_log;
        Stratum {
            name,
            sample: Arc::clone(&self.sample),
            file,
            role,
            own,
            facts: self.view.facts.clone(),
            facts_stay,
            takes_doctor: false,
            changes,
        }
    }

    /// Numbers of the segments of one metrics name: those that count, or those that no longer do.
    fn train_segments(&self, counts: bool) -> Vec<usize> {
        let image = &self.sample.image;
        let is_seen = |path: &Path| {
            self.view.parts.iter().any(|part| part.path.as_ref().is_some_and(|full| full.ends_with(path)))
        };
        let mut segments = image.all(".parquet");
        segments.retain(|file| {
            let path = &image.files[*file].path;
            path.parent().is_some_and(|name| name.ends_with("train")) && is_seen(path) == counts
        });
        segments
    }

    /// Every truncation and every byte.
    fn all(&self, names: [&'static str; 2], file: usize, role: Role) -> [Stratum; 2] {
        let length = self.sample.image.files[file].bytes.len();
        [
            self.stratum(names[0], file, role, Changes::Cuts(0..length)),
            self.stratum(names[1], file, role, Changes::Bytes(0..length)),
        ]
    }
}

/// All kinds.
pub fn all(folder: &Path, random: &mut Random) -> Vec<Stratum> {
    let wrapped = Known::new(&folder.join("wrapped"), wrapped_journal);
    let small = Known::new(&folder.join("small"), small_journal);
    let finished = Known::new(&folder.join("finished"), finished_runs);
    let mut strata = journals(&wrapped);
    strata.extend(small.all(
        ["event log of a dead writer, cut", "event log of a dead writer, bytes"],
        small.sample.image.only(".events.jsonl"),
        Role::NoRecord,
    ));
    let segment = small.sample.image.all(".parquet")[0];
    strata.extend(small.all(
        ["segment of a dead writer, cut", "segment of a dead writer, bytes"],
        segment,
        Role::Segment,
    ));
    strata.extend(others(&finished, random));
    let packed = Known::new(&folder.join("packed"), packed_runs);
    let is_pack = |file: &StoredFile| file.path.starts_with("packs") && file.path.extension().is_some();
    let pack = packed.sample.image.files.iter().position(is_pack).expect("a pack");
    strata.extend(packed.all(["pack, cut", "pack, bytes"], pack, Role::NoRecord));
    strata.extend(compacted(
        &Known::new(&folder.join("compacted"), compacted_run),
        &Known::new(&folder.join("alone"), compacted_run_alone),
    ));
    strata
}

fn journals(wrapped: &Known) -> Vec<Stratum> {
    let file = wrapped.sample.image.only("/0.journal");
    let role = Role::Journal(0);
    let length = wrapped.sample.image.files[file].bytes.len();
    let stratum = |name, changes| wrapped.stratum(name, file, role, changes);
    vec![
        stratum("journal tail, cut", Changes::Cuts(length - TAIL_BYTES..length)),
        stratum("journal tail, bytes", Changes::Bytes(length - TAIL_BYTES..length)),
        stratum("journal header, bytes", Changes::Bytes(0..HEADER_FIXED)),
        stratum("journal definitions, bytes", Changes::Bytes(DEFINITIONS..DEFINITIONS + 80)),
        stratum("journal head, cut", Changes::Cuts(0..SLOTS)),
        stratum("journal head, bytes", Changes::Bytes(0..SLOTS)),
        stratum("journal open block, cut", Changes::Cuts(SLOTS..SLOTS + OPEN_BYTES)),
        stratum("journal open block, bytes", Changes::Bytes(SLOTS..SLOTS + OPEN_BYTES)),
    ]
}

fn others(finished: &Known, random: &mut Random) -> Vec<Stratum> {
    let image = &finished.sample.image;
    let mut strata = Vec::new();
    strata.extend(finished.all(["event log, cut", "event log, bytes"], image.all(".events.jsonl")[1], Role::NoRecord));
    strata.extend(finished.all(["segment, cut", "segment, bytes"], image.all(".parquet")[1], Role::Segment));
    strata.extend(finished.all(["marker, cut", "marker, bytes"], image.only("stepwell.json"), Role::NoRecord));
    let object = image.files.iter().position(|file| file.path.starts_with("objects")).expect("an object");
    strata.extend(finished.all(["object, cut", "object, bytes"], object, Role::NoRecord));
    let file = image.only("catalog.db");
    let changes: Vec<Change> = catalog::changes(&image.files[file].bytes, 4000, random);
    strata.push(finished.stratum("catalog", file, Role::Catalog, Changes::List(changes)));
    strata
}

/// A compacted store whose replaced files wait to be removed, and one where they were.
fn compacted(waiting: &Known, alone: &Known) -> Vec<Stratum> {
    let mut strata = Vec::new();
    let log = |known: &Known| known.sample.image.only(".events.jsonl");
    strata.extend(waiting.all(
        ["compaction: event log beside old files, cut", "compaction: event log beside old files, bytes"],
        log(waiting),
        Role::NoRecord,
    ));
    let logs = alone.all(
        ["compaction: event log without old files, cut", "compaction: event log without old files, bytes"],
        log(alone),
        Role::NoRecord,
    );
    strata.extend(logs.map(|stratum| Stratum { takes_doctor: true, ..stratum }));
    strata.extend(waiting.all(
        ["compaction: new segment beside old files, cut", "compaction: new segment beside old files, bytes"],
        waiting.train_segments(true)[0],
        Role::Segment,
    ));
    strata.extend(alone.all(
        ["compaction: new segment without old files, cut", "compaction: new segment without old files, bytes"],
        alone.train_segments(true)[0],
        Role::Segment,
    ));
    // What it held is in others by now.
    strata.extend(waiting.all(
        ["compaction: old segment, cut", "compaction: old segment, bytes"],
        waiting.train_segments(false)[0],
        Role::NoRecord,
    ));
    strata
}
