//! Random changes to SQL that is right, most of them by whole words. `STEPWELL_MUTATIONS` sets how many (200 by default),
//! `STEPWELL_SEED` which: the short form is always the same.

use std::path::Path;

use stepwell_tests::random::Random;
use stepwell_tests::settings::number;

use crate::fuzz_target::sql;

/// Most bytes of a text.
const BYTES_MAX: usize = 16 << 10;

fn corpus(kind: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz").join(kind).join("sql");
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut texts: Vec<_> = entries
        .map(|entry| String::from_utf8_lossy(&std::fs::read(entry.path()).expect("a text")).into_owned())
        .collect();
    texts.sort();
    texts
}

/// Words, numbers and signs, with the spaces behind them.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let kind = |c: char| if c.is_alphanumeric() || c == '_' { 0 } else { 1 + u32::from(c.is_whitespace()) };
    for c in text.chars() {
        match words.last_mut() {
            Some(word) if kind(c) == 2 || kind(c) == 0 && word.chars().last().is_some_and(|last| kind(last) == 0) => {
                word.push(c);
            }
            _ => words.push(c.to_string()),
        }
    }
    words
}

/// One of the texts, with one to six changes.
fn mutate(corpus: &[String], random: &mut Random) -> String {
    const EDGES: [&str; 16] = [
        "NULL ",
        "-1 ",
        "9223372036854775807 ",
        "1e308 ",
        "'' ",
        "''' ",
        "( ",
        ") ",
        "[] ",
        "DISTINCT ",
        "NOT ",
        "* ",
        "::INT ",
        "$1 ",
        "0x ",
        "é ",
    ];
    let pick = |random: &mut Random| words(&corpus[random.below(corpus.len() as u64) as usize]);
    let mut text = pick(random);
    for _ in 0..=random.below(6) {
        if text.is_empty() {
            break;
        }
        let at = random.below(text.len() as u64) as usize;
        let end = (at + random.below(8) as usize).min(text.len());
        match random.below(6) {
            0 => drop(text.drain(at..end)),
            1 => text[at] = EDGES[random.below(EDGES.len() as u64) as usize].to_owned(),
            2 => {
                let part = text[at..end].to_vec();
                text.splice(at..at, part);
            }
            3 => {
                let other = random.below(text.len() as u64) as usize;
                text.swap(at, other);
            }
            4 => {
                let part = text[at..end].to_vec();
                for _ in 0..random.below(40) {
                    text.splice(at..at, part.iter().cloned());
                }
            }
            _ => {
                let other = pick(random);
                let from = random.below(other.len() as u64) as usize;
                text.splice(at..end, other[from..(from + 8).min(other.len())].iter().cloned());
            }
        }
    }
    let mut text = text.concat();
    while text.len() > BYTES_MAX {
        text.pop();
    }
    text
}

#[test]
fn any_text_is_answered_or_refused() {
    let corpus_texts = corpus("corpus");
    assert!(!corpus_texts.is_empty(), "the corpus is gone");
    for text in corpus_texts.iter().chain(&corpus("regressions")) {
        sql(text.as_bytes());
    }
    let mut random = Random::new(number("STEPWELL_SEED", 1));
    let count = number("STEPWELL_MUTATIONS", 200);
    for mutation in 0..count {
        let text = mutate(&corpus_texts, &mut random);
        if let Err(panic) = std::panic::catch_unwind(|| sql(text.as_bytes())) {
            println!("mutation {mutation}: {text}");
            std::panic::resume_unwind(panic);
        }
    }
    println!("sql: {} texts kept, {count} changed ones", corpus_texts.len());
}
