//! The functions for training runs: against plain computations on random rows, and cases made by hand.

mod arguments;
mod bootstrap;
mod curves;
mod downsample;
mod ema;
mod extremes;
mod robust;
mod rolling;
mod unnest;

use stepwell_engine::{RunId, WriterId};
use stepwell_query::{QueryOptions, Session};
use stepwell_tests::random;
use stepwell_tests::settings::seed;

use crate::support::{Fixture, PLACEMENTS, Placement, Record, ask};

/// Random steps and values.
pub struct Random(random::Random);

impl Random {
    /// Seeded by `STEPWELL_SEED`, or the clock; prints the seed.
    pub fn of(test: &str) -> Self {
        Self(random::Random::new(seed(test)))
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.0.below(end)
    }

    /// A number from 0 to below 1.
    pub fn share(&mut self) -> f64 {
        self.below(1 << 53) as f64 / (1_u64 << 53) as f64
    }

    /// Mostly plain numbers, many of them equal, some zeros of either sign, NaN and infinities.
    pub fn value(&mut self) -> f64 {
        match self.below(12) {
            0 => f64::NAN,
            1 => [f64::INFINITY, f64::NEG_INFINITY][self.below(2) as usize],
            2 => [0.0, -0.0][self.below(2) as usize],
            3..6 => self.below(7) as f64 - 3.0,
            _ => (self.share() - 0.5) * 100.0,
        }
    }
}

/// A step and its value.
pub type Row = (i64, f64);

/// Random rows of several groups; each group is a metric `g0`, `g1`, ... of its own.
pub struct Groups {
    pub groups: Vec<Vec<Row>>,
    fixture: Fixture,
}

impl Groups {
    /// Groups of up to `rows` rows, with steps that repeat, go back and are below 0. The first group has one row, the
    /// second one without a finite value.
    pub fn random(random: &mut Random, groups: usize, rows: u64) -> Self {
        let row = |random: &mut Random| (random.below(rows) as i64 - 5, random.value());
        let mut all: Vec<Vec<Row>> =
            (2..groups).map(|_| (0..=random.below(rows)).map(|_| row(random)).collect()).collect();
        all.push(vec![(3, 1.5)]);
        all.push(vec![(3, f64::NAN), (4, f64::INFINITY)]);
        Self::of(all)
    }

    /// The given groups, logged by two writers in turn.
    pub fn of(groups: Vec<Vec<Row>>) -> Self {
        let mut fixture = Fixture::new();
        let runs: [RunId; 2] = [0, 1].map(|_| fixture.run("p", "s", None, &[]));
        let rows = groups.iter().enumerate().flat_map(|(group, rows)| rows.iter().map(move |row| (group, row)));
        for (n, (group, (step, value))) in rows.enumerate() {
            let writer = WriterId { rank: 0, attempt: 0, nonce: 1 };
            fixture.records.push(Record {
                run: runs[n % 2],
                writer,
                metrics_name: "m",
                metric: format!("g{group:03}"),
                step: *step,
                value: *value,
                seq: (n / 2) as i64,
            });
        }
        Self { groups, fixture }
    }

    /// The finite rows of each group.
    pub fn finite(&self) -> Vec<Vec<Row>> {
        let finite = |rows: &Vec<Row>| rows.iter().copied().filter(|row| row.1.is_finite()).collect();
        self.groups.iter().map(finite).collect()
    }

    /// What `expression` gives for each group; the same wherever rows lie and however many streams work on it.
    pub fn ask(&self, expression: &str) -> Vec<String> {
        let sql = format!("SELECT {expression} AS x FROM metrics GROUP BY metric ORDER BY metric");
        self.everywhere(&sql)
    }

    /// The answer to `sql`; the same wherever rows lie and however many streams work on it.
    pub fn everywhere(&self, sql: &str) -> Vec<String> {
        self.everywhere_as(sql, |lines| lines)
    }

    /// As `everywhere`, once `order` has put the lines in order.
    pub fn everywhere_as(&self, sql: &str, order: fn(Vec<String>) -> Vec<String>) -> Vec<String> {
        let mut answers = Vec::new();
        for placement in PLACEMENTS {
            for streams in [1, 4] {
                answers.push(order(ask(&self.session(placement, streams), sql)));
            }
        }
        for answer in &answers[1..] {
            assert_eq!(&answers[0], answer, "{sql}");
        }
        answers.swap_remove(0)
    }

    pub fn session(&self, placement: Placement, streams: usize) -> Session {
        self.fixture.session_with(placement, QueryOptions::default().with_parallelism(streams))
    }
}

/// A session over an empty store, for queries that bring their own rows.
pub fn empty() -> Session {
    Fixture::new().session(Placement::Live)
}

/// Rows as a table of SQL with columns `step` and `value`.
pub fn table(rows: &[Row]) -> String {
    let rows: Vec<String> = rows.iter().map(|(step, value)| format!("({step}, '{value}'::double)")).collect();
    format!("(VALUES {}) AS t(step, value)", rows.join(", "))
}

/// The one field of the one row of an answer.
pub fn one(session: &Session, sql: &str) -> String {
    let lines = ask(session, sql);
    assert_eq!(lines.len(), 1, "{sql}");
    lines.join("")
}

pub fn text<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "null".to_owned(), |value| value.to_string())
}

pub fn parsed(answer: &str) -> Option<f64> {
    (answer != "null").then(|| answer.parse().expect("a number"))
}

/// Fails unless an answer is the number, up to the rounding of a sum.
pub fn close(answer: &str, wanted: Option<f64>, what: &str) {
    match (parsed(answer), wanted) {
        (Some(found), Some(wanted)) => {
            let error = (found - wanted).abs();
            assert!(error <= 1e-9 * wanted.abs().max(1.0), "{what}: {found} is not {wanted}");
        }
        (found, wanted) => assert_eq!(found, wanted, "{what}"),
    }
}

/// Lines of group, place and value, by all three.
pub fn by_place(mut lines: Vec<String>) -> Vec<String> {
    let fields = |line: &str| {
        let fields: Vec<&str> = line.split('|').collect();
        (fields[0].to_owned(), parsed(fields[1]), parsed(fields[2]))
    };
    lines.sort_by(|a, b| {
        let (a, b) = (fields(a), fields(b));
        let number = |a: Option<f64>, b: Option<f64>| a.unwrap_or(f64::NAN).total_cmp(&b.unwrap_or(f64::NAN));
        a.0.cmp(&b.0).then(number(a.1, b.1)).then(number(a.2, b.2))
    });
    lines
}

/// The rows in another order.
pub fn shuffled<T: Clone>(random: &mut Random, rows: &[T]) -> Vec<T> {
    let mut rows = rows.to_vec();
    for n in (1..rows.len()).rev() {
        rows.swap(n, random.below(n as u64 + 1) as usize);
    }
    rows
}
