//! Random questions about random stores, asked of the table `metrics` and of a plain table of DataFusion with the same rows.
//!
//! `STEPWELL_SCANS` sets how many questions, `STEPWELL_SCANS_LARGE` how many about stores of 100,000 rows and more,
//! `STEPWELL_SCANS_PACKED` how many about stores with packs; `STEPWELL_SEED` which: the short form is always the same.

mod grammar;
mod rows;

use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::prelude::SessionContext;
use stepwell_query::{QueryOptions, Session};
use stepwell_tests::random::Random;
use stepwell_tests::settings::number;
use stepwell_tests::tally::Tally;
use tokio::runtime::{Builder, Runtime};

use crate::support::PLACEMENTS;
use grammar::{Asker, Order, Question, RUNS};
use rows::{Rows, one};

/// Questions about one store.
const QUESTIONS: u64 = 15;
/// Planning recurses, and an unoptimised build needs many times the stack of a release.
const STACK_BYTES: usize = 16 << 20;

/// Fields of rows as text.
type Answer = Result<Vec<Vec<String>>, String>;

fn text(batches: &[RecordBatch]) -> Vec<Vec<String>> {
    let options = FormatOptions::default().with_null("null");
    let mut rows = Vec::new();
    for batch in batches {
        let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).expect("text"));
        let columns: Vec<ArrayFormatter<'_>> = columns.collect();
        rows.extend(
            (0..batch.num_rows()).map(|row| columns.iter().map(|column| column.value(row).to_string()).collect()),
        );
    }
    rows
}

fn ask_store(session: &Session, sql: &str, parallelism: usize) -> Answer {
    let sql = sql.replace(RUNS, "(SELECT run_id, CAST(params['lr'] AS DOUBLE) AS lr FROM runs)");
    let options = QueryOptions::default().with_parallelism(parallelism);
    let result = session.sql_with(&sql, &options).map_err(|error| error.to_string())?;
    Ok(text(result.batches()))
}

fn ask_oracle(runtime: &Runtime, context: &SessionContext, sql: &str) -> Answer {
    let (context, sql) = (context.clone(), sql.replace(RUNS, "runs"));
    let asked = runtime.spawn(async move { context.sql(&sql).await?.collect().await });
    let batches = runtime.block_on(asked).expect("no panic").map_err(|error| error.to_string())?;
    Ok(text(&batches))
}

/// The part of an answer that is determined: rows as a set, and columns in their order.
fn determined(order: Order, mut rows: Vec<Vec<String>>) -> (Vec<Vec<String>>, Vec<Vec<String>>) {
    let keys = |rows: &[Vec<String>], count: usize| rows.iter().map(|row| row[..count].to_vec()).collect();
    match order {
        Order::All => (rows, Vec::new()),
        Order::ColumnsCut(count) => (Vec::new(), keys(&rows, count)),
        Order::Columns(count) => {
            let keys = keys(&rows, count);
            rows.sort();
            (rows, keys)
        }
    }
}

fn compare(question: &Question, found: Answer, expected: &Answer, place: &str) -> Result<(), String> {
    let Question { sql, order } = question;
    match (found, expected) {
        // Which of several rows fails first, and in which words, is left open.
        (Err(_), Err(_)) => Ok(()),
        (Ok(found), Ok(expected)) => {
            let (found, expected) = (determined(*order, found), determined(*order, expected.clone()));
            if found == expected {
                return Ok(());
            }
            let show = |all: &(Vec<Vec<String>>, Vec<Vec<String>>)| {
                let (rows, keys) = all;
                let first = |rows: &[Vec<String>]| rows.iter().take(8).map(|row| row.join("|")).collect::<Vec<_>>();
                format!("{} rows {:?}, keys {:?}", rows.len().max(keys.len()), first(rows), first(keys))
            };
            Err(format!("{sql}\n  {place}\n  found    {}\n  expected {}", show(&found), show(&expected)))
        }
        (found, expected) => Err(format!(
            "{sql}\n  {place}\n  found    {:?}\n  expected {:?}",
            found.map(|rows| rows.len()),
            expected.as_ref().map(Vec::len)
        )),
    }
}

/// Asks about stores of one kind.
fn campaign(name: &str, count: u64, seed: u64, store: fn(&mut Random) -> Rows) {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()
        .expect("threads");
    println!("{name}: STEPWELL_SEED={seed} repeats this campaign");
    let (mut random, mut tally, mut faults) =
        (Random::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)), Tally::default(), Vec::new());
    let mut refused = 0;
    while tally.cases < count {
        let rows = store(&mut random);
        let oracle = rows.oracle();
        let sessions = PLACEMENTS.map(|placement| rows.fixture.session(placement));
        tally.acknowledged += rows.fixture.records.len() as u64;
        tally.kept += rows.fixture.records.len() as u64;
        for _ in 0..QUESTIONS.min(count - tally.cases) {
            let question = Asker::new(&mut random, &rows).question();
            let expected = ask_oracle(&runtime, &oracle, &question.sql);
            refused += u64::from(expected.is_err());
            // One of them twice: once its files are verified, other ways are taken.
            let again = one(&mut random, &[0, 1, 2]);
            for place in [0, 1, 2, again] {
                let parallelism = 1 + random.below(4) as usize;
                let found = ask_store(&sessions[place], &question.sql, parallelism);
                let place = format!("case {}, {:?}, parallelism {parallelism}", tally.cases, PLACEMENTS[place]);
                if let Err(fault) = compare(&question, found, &expected, &place) {
                    println!("{fault}");
                    faults.push(fault);
                    break;
                }
            }
            tally.cases += 1;
        }
    }
    println!("{name}: {refused} questions have no answer on either side");
    tally.close(name);
    assert!(faults.is_empty(), "{} answers differ, the first:\n{}", faults.len(), faults[0]);
}

#[test]
fn random_questions_have_the_answers_of_a_plain_table() {
    campaign("scans", number("STEPWELL_SCANS", 100), number("STEPWELL_SEED", 1), Rows::small);
}

#[test]
fn random_questions_about_long_curves_have_the_answers_of_a_plain_table() {
    campaign("long scans", number("STEPWELL_SCANS_LARGE", 6), number("STEPWELL_SEED", 1), Rows::large);
}

#[test]
fn random_questions_about_packed_runs_have_the_answers_of_a_plain_table() {
    campaign("packed scans", number("STEPWELL_SCANS_PACKED", 60), number("STEPWELL_SEED", 1), Rows::many);
}
