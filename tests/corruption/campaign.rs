//! Runs the cases on all processors, and reports what the engine did wrong by kind.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use stepwell_tests::damage::judge::{Verdict, judge};
use stepwell_tests::damage::strata::Stratum;
use stepwell_tests::memory_folder;
use stepwell_tests::random::Random;
use stepwell_tests::settings::{number, seed};
use stepwell_tests::tally::Tally;

use crate::kinds;

/// A case that takes this long hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// In more cases than this, the doctor repairs every eighth store and not each.
const SAMPLE_MAX: usize = 10_000;

#[derive(Default)]
struct Results {
    tally: Tally,
    /// By kind of fault: how often, and the first cases.
    faults: BTreeMap<String, (u64, Vec<String>)>,
    /// By stratum: cases and time.
    times: BTreeMap<&'static str, (u64, Duration)>,
}

#[test]
fn damage_costs_no_record_but_the_damaged_and_is_told() {
    let mut random = Random::new(seed("corruption"));
    let folder = memory_folder();
    let mut strata = kinds::all(folder.path(), &mut random);
    let wanted = std::env::var("STEPWELL_CORRUPT").unwrap_or_default();
    strata.retain(|stratum| stratum.name.contains(&wanted));
    let queue = choose(&strata, number("STEPWELL_CORRUPTIONS", 1000), &mut random);
    println!("corruption: {} of {} cases", queue.len(), strata.iter().map(Stratum::cases).sum::<u64>());
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Results::default()));
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for worker in 0..workers {
            let root = folder.path().join(format!("case{worker}"));
            let (strata, queue, next, results) = (&strata, &queue, &next, &results);
            scope.spawn(move || work(root, strata, queue, next, results));
        }
    });
    let results = results.into_inner().expect("results");
    for (name, (cases, time)) in &results.times {
        println!("  {name}: {cases} cases, {:.2} ms each", time.as_secs_f64() * 1000.0 / *cases as f64);
    }
    for (fault, (count, examples)) in &results.faults {
        println!("{count} times {fault}");
        examples.iter().for_each(|example| println!("    {example}"));
    }
    results.tally.close("corruption");
    assert!(results.faults.is_empty(), "{} kinds of faults, see above", results.faults.len());
}

/// Cases as pairs of stratum and number: all of them for 0, otherwise about `count`, the same number of each stratum as far
/// as it has so many, evenly spread over it.
fn choose(strata: &[Stratum], count: u64, random: &mut Random) -> Vec<(usize, u64)> {
    let mut chosen = Vec::new();
    let mut left = if count == 0 { u64::MAX } else { count };
    let mut order: Vec<usize> = (0..strata.len()).collect();
    order.sort_by_key(|number| strata[*number].cases());
    for (position, number) in order.into_iter().enumerate() {
        let cases = strata[number].cases();
        let share = (left / (strata.len() - position) as u64).min(cases);
        left -= share;
        let picks = (0..share).map(|pick| {
            let (from, to) = (u128::from(pick) * u128::from(cases), (u128::from(pick) + 1) * u128::from(cases));
            let (from, to) = ((from / u128::from(share)) as u64, (to / u128::from(share)) as u64);
            (number, from + random.below((to - from).max(1)))
        });
        chosen.extend(picks);
    }
    chosen
}

fn work(root: PathBuf, strata: &[Stratum], queue: &[(usize, u64)], next: &AtomicUsize, results: &Mutex<Results>) {
    let (begin, begun) = channel::<String>();
    let watchdog = std::thread::spawn(move || {
        let mut last = String::new();
        loop {
            match begun.recv_timeout(PATIENCE) {
                Ok(case) => last = case,
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    eprintln!("{last} hangs");
                    std::process::abort();
                }
            }
        }
    });
    let mut own = Results::default();
    // What the doctor does of its own is half the time of a case.
    let doctor_every = if queue.len() > SAMPLE_MAX { 8 } else { 1 };
    loop {
        let position = next.fetch_add(1, Ordering::Relaxed);
        let Some((number, case)) = queue.get(position) else { break };
        let stratum = &strata[*number];
        let change = stratum.case(*case);
        begin.send(format!("{} {case}", stratum.name)).expect("watched");
        let start = Instant::now();
        let with_doctor = (position as u64).is_multiple_of(doctor_every);
        let verdict = judge(stratum, &change, &root, with_doctor).expect("the case could be set up");
        let time = own.times.entry(stratum.name).or_default();
        *time = (time.0 + 1, time.1 + start.elapsed());
        own.add(verdict, *case);
    }
    drop(begin);
    watchdog.join().expect("watchdog");
    results.lock().expect("results").merge(own);
}

impl Results {
    fn add(&mut self, verdict: Verdict, case: u64) {
        self.tally.add(&verdict.tally);
        for (fault, particulars) in verdict.faults {
            let (count, examples) = self.faults.entry(fault).or_default();
            *count += 1;
            if examples.len() < 3 {
                examples.push(format!("case {case}: {}", particulars.chars().take(600).collect::<String>()));
            }
        }
    }

    fn merge(&mut self, other: Self) {
        self.tally.add(&other.tally);
        for (fault, (count, examples)) in other.faults {
            let known = self.faults.entry(fault).or_default();
            known.0 += count;
            known.1.extend(examples);
            known.1.truncate(3);
        }
        for (name, (cases, time)) in other.times {
            let known = self.times.entry(name).or_default();
            *known = (known.0 + cases, known.1 + time);
        }
    }
}
