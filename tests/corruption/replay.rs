//! What the fuzz targets have kept: the corpus, every input that once found a defect, and random changes to them.
//!
//! `STEPWELL_MUTATIONS` sets the number of changed inputs per target (200 by default); `cargo fuzz` has libFuzzer look for
//! more.

use std::path::{Path, PathBuf};

use stepwell_engine::events::{Event, EventLine, ProcessInfo};
use stepwell_tests::damage::samples::{finished_runs, small_journal};
use stepwell_tests::fuzz::{RUN, TARGETS, WRITER, journal_input};
use stepwell_tests::memory_folder;
use stepwell_tests::random::Random;
use stepwell_tests::settings::{number, seed};

/// Most bytes of an input.
const BYTES_MAX: usize = 16 << 10;

fn folder(kind: &str, target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(kind).join(target)
}

fn inputs(kind: &str, target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = std::fs::read_dir(folder(kind, target)).into_iter().flatten().flatten();
    let mut inputs: Vec<_> =
        entries.map(|entry| (entry.path(), std::fs::read(entry.path()).expect("an input"))).collect();
    inputs.sort();
    inputs
}

fn replay(target: &str) {
    let (_, run) = TARGETS.iter().find(|(name, _)| *name == target).expect("a target");
    let corpus = inputs("corpus", target);
    assert!(!corpus.is_empty(), "the corpus of {target} is gone");
    for (path, input) in corpus.iter().chain(&inputs("regressions", target)) {
        println!("{}", path.display());
        run(input);
    }
    let mut random = Random::new(seed(target));
    let count = number("STEPWELL_MUTATIONS", 200);
    for mutation in 0..count {
        let input = mutate(&corpus, &mut random);
        let outcome = std::panic::catch_unwind(|| run(&input));
        if let Err(panic) = outcome {
            let path = std::env::temp_dir().join(format!("stepwell-{target}-{mutation}"));
            std::fs::write(&path, &input).expect("the input");
            println!("mutation {mutation}, kept in {}", path.display());
            std::panic::resume_unwind(panic);
        }
    }
    println!("{target}: {} inputs kept, {count} changed ones", corpus.len());
}

/// One of the inputs, with one to eight changes.
fn mutate(corpus: &[(PathBuf, Vec<u8>)], random: &mut Random) -> Vec<u8> {
    const NUMBERS: [u64; 8] = [0, 1, 0x7f, 0xff, 0xffff_ffff, i64::MAX as u64, i64::MIN as u64, u64::MAX];
    let pick = |random: &mut Random| corpus[random.below(corpus.len() as u64) as usize].1.clone();
    let mut input = pick(random);
    for _ in 0..=random.below(8) {
        if input.is_empty() {
            break;
        }
        let at = random.below(input.len() as u64) as usize;
        let length = (random.below(64) as usize).min(input.len() - at);
        match random.below(7) {
            0 => input[at] ^= 1 << random.below(8),
            1 => input[at] = random.number() as u8,
            2 => drop(input.drain(at..at + length)),
            3 => input.truncate(at),
            4 => {
                let part = input[at..at + length].to_vec();
                input.splice(at..at, part);
            }
            5 => {
                let number = NUMBERS[random.below(8) as usize].to_le_bytes();
                let length = number.len().min(input.len() - at);
                input[at..at + length].copy_from_slice(&number[..length]);
            }
            _ => {
                let other = pick(random);
                let from = random.below(other.len() as u64) as usize;
                let end = (from + length).min(other.len());
                input.splice(at..at, other[from..end].iter().copied());
            }
        }
    }
    input.truncate(BYTES_MAX);
    input
}

#[test]
fn journals_of_any_bytes_are_recovered_or_told() {
    replay("journal");
}

#[test]
fn event_logs_of_any_bytes_are_read_or_told() {
    replay("event_log");
}

#[test]
fn segments_of_any_bytes_are_taken_up_or_told() {
    replay("segment");
}

#[test]
#[ignore = "writes the first inputs of the corpus, made from real files"]
fn write_the_corpus() {
    let folder_of_stores = memory_folder();
    // Neither the host nor the checkout belongs into the corpus.
    std::env::set_current_dir("/").expect("a folder outside of any checkout");
    let small = small_journal(&folder_of_stores.path().join("small"));
    let finished = finished_runs(&folder_of_stores.path().join("finished"));
    let put = |target: &str, name: &str, bytes: &[u8]| {
        std::fs::create_dir_all(folder("corpus", target)).expect("folder");
        std::fs::write(folder("corpus", target).join(name), bytes).expect("input");
    };
    let journal = &small.image.files[small.image.only(".journal")].bytes;
    for (flags, slots) in [(0, 8), (1, 80), (3, 48)] {
        put("journal", &format!("real-{flags}"), &journal_input(flags, journal, slots));
    }
    for (name, sample) in [("dead", &small), ("finished", &finished)] {
        let log = &sample.image.files[sample.image.all(".events.jsonl")[0]];
        let writer = log.path.file_name().and_then(|name| name.to_str()).expect("a name");
        let writer = writer.trim_end_matches(".events.jsonl");
        let text = String::from_utf8_lossy(&log.bytes);
        let lines = text.lines().map(|line| neutral(EventLine::decode(line).expect("a line")).encode());
        let text = lines.collect::<String>().replace(&sample.runs[0].to_string(), RUN).replace(writer, WRITER);
        for flags in [0, 1] {
            put("event_log", &format!("{name}-{flags}"), &[&[flags], text.as_bytes()].concat());
        }
    }
    for (name, number) in [("train", 1), ("eval", 0)] {
        let mut bytes = small.image.files[small.image.all(".parquet")[number]].bytes.clone();
        hide(&mut bytes, "\"host\":\"", "\"");
        hide(&mut bytes, "\"boot_id\":\"", "\"");
        put("segment", name, &bytes);
    }
}

fn neutral(mut line: EventLine) -> EventLine {
    if let Event::WriterStarted(started) = &mut line.event {
        started.process = ProcessInfo { host: "host".to_owned(), boot_id: String::new(), pid: 1, pid_start: 2 };
    }
    line
}

/// Makes what stands between `before` and `after` as many letters x.
fn hide(bytes: &mut [u8], before: &str, after: &str) {
    let find = |bytes: &[u8], text: &str| bytes.windows(text.len()).position(|window| window == text.as_bytes());
    let from = find(bytes, before).expect("the text before") + before.len();
    let length = find(&bytes[from..], after).expect("the text after");
    bytes[from..from + length].fill(b'x');
}
