//! Random questions about `metrics`.

use stepwell_tests::random::Random;

use super::rows::{Rows, Values, one};
use crate::support::{Record, TIME};

/// Names a record.
const KEY: &str = "run_id, rank, attempt, seq";
const COLUMNS: [&str; 12] = [
    "run_id",
    "metrics_name",
    "metric",
    "step",
    "time",
    "value",
    "rank",
    "attempt",
    "seq",
    "pipeline",
    "stage",
    "run_name",
];
const TEXTS: [&str; 6] = ["run_id", "metrics_name", "metric", "pipeline", "stage", "run_name"];
const NUMBERS: [&str; 4] = ["step", "seq", "rank", "attempt"];
const COMPARISONS: [&str; 8] = ["=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM"];
/// `runs` with a number: `{RUNS}` in a question, which the two sides write in their own ways.
pub const RUNS: &str = "{RUNS}";

/// How much of the order of an answer is determined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    All,
    /// That of so many columns, the first.
    Columns(usize),
    /// As before, and of equal rows any may be in the answer.
    ColumnsCut(usize),
}

/// A question and how its answers are compared.
#[derive(Debug)]
pub struct Question {
    pub sql: String,
    pub order: Order,
}

/// Asks about one store.
pub struct Asker<'a> {
    random: &'a mut Random,
    rows: &'a Rows,
}

impl<'a> Asker<'a> {
    pub fn new(random: &'a mut Random, rows: &'a Rows) -> Self {
        Self { random, rows }
    }

    pub fn question(&mut self) -> Question {
        match self.below(10) {
            0..=2 => self.plain(),
            3 | 4 => self.sorted(),
            5 | 6 => self.groups(),
            7 => self.window(),
            8 => self.join(),
            _ => self.other(),
        }
    }

    fn below(&mut self, end: u64) -> u64 {
        self.random.below(end)
    }

    fn one<T: Clone>(&mut self, items: &[T]) -> T {
        one(self.random, items)
    }

    /// Some of `items`, in any order, without repetition.
    fn some(&mut self, items: &[&'static str], most: u64) -> Vec<&'static str> {
        let mut some: Vec<&'static str> = Vec::new();
        for _ in 0..=self.below(most) {
            let item = self.one(items);
            if !some.contains(&item) {
                some.push(item);
            }
        }
        some
    }

    /// A record of the store: what is asked for is near to what there is.
    fn record(&mut self) -> &'a Record {
        let records = &self.rows.fixture.records;
        &records[self.random.below(records.len() as u64) as usize]
    }

    fn text_of(&mut self, column: &str) -> String {
        let record = self.record();
        let run = self.rows.fixture.runs.iter().find(|run| run.run_id == record.run);
        let text = match (column, run) {
            ("run_id", _) => record.run.to_string(),
            ("metrics_name", _) => record.metrics_name.to_owned(),
            ("metric", _) => record.metric.clone(),
            ("pipeline", Some(run)) => run.pipeline.clone(),
            ("stage", Some(run)) => run.stage.clone(),
            ("run_name", Some(run)) => run.name.clone().unwrap_or_default(),
            _ => String::new(),
        };
        if self.below(8) == 0 { self.one(&["", "a", "zz", "loss", "%"]).to_owned() } else { text }
    }

    fn number_of(&mut self, column: &str) -> String {
        let record = self.record();
        let near = self.below(5) as i64 - 2;
        let number = match column {
            "step" => record.step,
            "seq" => record.seq,
            "rank" => i64::from(record.writer.rank),
            _ => i64::from(record.writer.attempt),
        };
        format!("CAST('{}' AS BIGINT)", number.saturating_add(near))
    }

    fn float(&mut self) -> String {
        let special = [0.0, -0.0, f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e308, 5e-324];
        let value = match self.below(4) {
            0 => self.one(&special[..if self.rows.values == Values::Any { 8 } else { 1 }]),
            1 => self.record().value + 0.125,
            _ => self.record().value,
        };
        if value.is_nan() && value.is_sign_negative() {
            return "(-CAST('NaN' AS DOUBLE))".to_owned();
        }
        format!("CAST('{value:?}' AS DOUBLE)")
    }

    fn time(&mut self) -> String {
        let time = TIME + self.record().seq + self.below(3) as i64 - 1;
        format!("arrow_cast({time}, 'Timestamp(Microsecond, Some(\"UTC\"))')")
    }

    /// A filter with up to `depth` levels.
    fn filter(&mut self, depth: u32) -> String {
        if depth == 0 || self.below(3) == 0 {
            return self.atom();
        }
        let (left, right) = (self.filter(depth - 1), self.filter(depth - 1));
        match self.below(6) {
            0..=2 => format!("({left} AND {right})"),
            3 => format!("({left} OR {right})"),
            4 => format!("NOT ({left})"),
            _ => format!("CASE WHEN {left} THEN {right} ELSE {} END", self.one(&["true", "false", "step > 5"])),
        }
    }

    fn atom(&mut self) -> String {
        let atom = match self.below(10) {
            0..=3 => self.text_atom(),
            4..=6 => self.number_atom(),
            7 | 8 => self.value_atom(),
            _ => {
                let (time, other, sign) = (self.time(), self.time(), self.one(&COMPARISONS));
                match self.below(3) {
                    0 => format!("time BETWEEN {time} AND {other}"),
                    1 => format!("time + INTERVAL '2' SECOND > {time}"),
                    _ => format!("time {sign} {time}"),
                }
            }
        };
        format!("({atom})")
    }

    fn text_atom(&mut self) -> String {
        let column = self.one(&TEXTS);
        let column = if self.below(3) == 0 { "metric" } else { column };
        let texts = [self.text_of(column), self.text_of(column), self.text_of(column)];
        let head: String = texts[0].chars().take(2).collect();
        let [a, b, c] = texts.map(|text| format!("'{}'", text.replace('\'', "''")));
        let head = head.replace('\'', "''");
        let (sign, not) = (self.one(&COMPARISONS), self.one(&["", "NOT "]));
        match self.below(14) {
            0..=3 => format!("{column} = {a}"),
            4 => format!("{column} {sign} {a}"),
            5 => format!("{column} {not}IN ({a}, {b})"),
            6 => format!("{column} {not}IN ({a}, {b}, {c}, 'x', NULL)"),
            7 => format!("{column} {not}LIKE '{head}%'"),
            8 => format!("{column} {not}ILIKE '%{head}_%'"),
            9 => format!("{column} {not}BETWEEN {a} AND {b}"),
            10 => format!("{column} IS {not}NULL"),
            11 => format!("{column} || 'x' {sign} {a} || 'x'"),
            12 => format!("coalesce(run_name, metric) {sign} {a}"),
            _ => format!("length({column}) > {} AND {column} {sign} upper({b})", self.below(8)),
        }
    }

    fn number_atom(&mut self) -> String {
        let column = self.one(&NUMBERS);
        let column = if self.below(2) == 0 { "step" } else { column };
        let [a, b, c] = [self.number_of(column), self.number_of(column), self.number_of(column)];
        let (sign, not) = (self.one(&COMPARISONS), self.one(&["", "NOT "]));
        match self.below(12) {
            0..=3 => format!("{column} {sign} {a}"),
            4 => format!("{column} {not}IN ({a}, {b}, {c})"),
            5 => format!("{column} {not}BETWEEN {a} AND {b}"),
            6 => format!("CAST({column} AS DOUBLE) {sign} CAST({a} AS DOUBLE)"),
            7 => format!("{column} + 1 {sign} {a}"),
            8 => format!("{column} % 3 = {}", self.below(3)),
            9 => format!("CAST({column} AS VARCHAR) {sign} CAST({a} AS VARCHAR)"),
            10 => format!("{column} {sign} {}", self.one(&NUMBERS)),
            _ => format!("{column} = {a} OR {column} = {b}"),
        }
    }

    fn value_atom(&mut self) -> String {
        let [a, b] = [self.float(), self.float()];
        let (sign, not) = (self.one(&COMPARISONS), self.one(&["", "NOT "]));
        match self.below(10) {
            0..=3 => format!("value {sign} {a}"),
            4 => format!("value {not}IN ({a}, {b})"),
            5 => format!("value {not}BETWEEN {a} AND {b}"),
            6 => format!("{not}isnan(value)"),
            7 => "value <> value".to_owned(),
            8 => format!("value + 1 {sign} {a}"),
            _ => format!("value {sign} step"),
        }
    }

    /// A WHERE clause, or none.
    fn clause(&mut self) -> String {
        match self.below(6) {
            0 => String::new(),
            1 | 2 => format!(" WHERE {}", self.atom()),
            3 => format!(" WHERE {} AND {}", self.atom(), self.atom()),
            _ => format!(" WHERE {}", self.filter(3)),
        }
    }

    /// Rows in no order.
    fn plain(&mut self) -> Question {
        let mut columns = self.some(&COLUMNS, 6).join(", ");
        match self.below(8) {
            0 => columns = "*".to_owned(),
            1 => columns = "count(*)".to_owned(),
            2 => columns = "1".to_owned(),
            3 => columns = "step AS s, step AS t, value, metric AS m, metric || '!' AS n".to_owned(),
            4 => columns = "value AS step, step AS value".to_owned(),
            _ => {}
        }
        let clause = self.clause();
        let limit = if columns == "1" && self.below(2) == 0 { " LIMIT 7" } else { "" };
        Question { sql: format!("SELECT {columns} FROM metrics{clause}{limit}"), order: Order::Columns(0) }
    }

    /// Columns that may be sorted by: those with equal values that are told apart would make the order of others unclear.
    fn sortable(&self) -> Vec<&'static str> {
        COLUMNS.into_iter().filter(|column| *column != "value" || self.rows.values == Values::Finite).collect()
    }

    /// Rows in a complete order, or in one the scan may have, with limits.
    fn sorted(&mut self) -> Question {
        let clause = self.clause();
        let limit = match self.below(4) {
            0 => String::new(),
            1 => format!(" LIMIT {} OFFSET {}", self.below(50), self.below(self.rows.fixture.records.len() as u64 + 3)),
            _ => format!(" LIMIT {}", 1 + self.below(20)),
        };
        if self.below(2) == 0 {
            let (columns, sortable) = (self.some(&COLUMNS, 5).join(", "), self.sortable());
            let keys = self.some(&sortable, 3);
            let keys: Vec<String> =
                keys.iter().map(|key| format!("{key}{}", self.one(&["", " DESC", " NULLS FIRST"]))).collect();
            let sql = format!("SELECT {columns} FROM metrics{clause} ORDER BY {}, {KEY}{limit}", keys.join(", "));
            return Question { sql, order: Order::All };
        }
        let known = ["run_id", "metrics_name", "metric", "step"];
        let mut keys = known[self.below(4) as usize..].to_vec();
        keys.truncate(1 + self.below(4) as usize);
        let others = self.some(&COLUMNS, 3);
        let others: Vec<&str> = others.into_iter().filter(|column| !keys.contains(column)).collect();
        let columns = [keys.clone(), others].concat().join(", ");
        let direction = self.one(&["", "", "", " DESC"]);
        let sql = format!(
            "SELECT {columns} FROM metrics{clause} ORDER BY {}{direction}{limit}",
            keys.join(&format!("{direction}, "))
        );
        let order = if limit.is_empty() { Order::Columns(keys.len()) } else { Order::ColumnsCut(keys.len()) };
        Question { sql, order }
    }

    /// An aggregate without sums of floats, which depend on the order of rows.
    fn aggregate(&mut self) -> String {
        let number = self.one(&NUMBERS);
        let text = self.one(&TEXTS);
        let extremes = self.extremes();
        match self.below(9) {
            0 => "count(*)".to_owned(),
            1 => format!("count({text})"),
            2 => format!("count(DISTINCT {text})"),
            3 => format!("min({number}), max({number})"),
            4 => format!("min({text}), max({text})"),
            5 => format!("sum({})", if self.rows.small_steps { number } else { "rank" }),
            6 => format!("count(*) FILTER (WHERE {})", self.atom()),
            _ => extremes,
        }
    }

    /// The lowest and the highest value. In groups, DataFusion forgets at a NaN what came before, takes none below `f64::MAX`
    /// and none above `f64::MIN`, and tells no zero from the other: these are not asked for.
    fn extremes(&self) -> String {
        match self.rows.values {
            Values::Finite => "min(value), max(value)".to_owned(),
            Values::SignedZeros => "min(value) + 0.0, max(value) + 0.0".to_owned(),
            Values::Any => ["min", "max"]
                .map(|name| format!("{name}(value) FILTER (WHERE value BETWEEN -1e300 AND 1e300) + 0.0"))
                .join(", "),
        }
    }

    fn groups(&mut self) -> Question {
        let clause = self.clause();
        let is_grouped = self.below(3) > 0;
        let mut aggregates: Vec<String> = (0..=self.below(3)).map(|_| self.aggregate()).collect();
        aggregates.sort();
        aggregates.dedup();
        if self.below(3) == 0 {
            aggregates = vec![format!("{}, min(step), max(step)", self.extremes())];
        }
        let aggregates = aggregates.join(", ");
        if !is_grouped {
            return Question { sql: format!("SELECT {aggregates} FROM metrics{clause}"), order: Order::All };
        }
        let keyed: Vec<&'static str> = COLUMNS.into_iter().filter(|column| *column != "value").collect();
        let keys = self.some(&keyed, 3).join(", ");
        let having = if self.below(5) == 0 { " HAVING count(*) > 2" } else { "" };
        let sql = format!("SELECT {keys}, {aggregates} FROM metrics{clause} GROUP BY {keys}{having}");
        Question { sql, order: Order::Columns(0) }
    }

    fn window(&mut self) -> Question {
        let clause = self.clause();
        let value = if self.rows.values == Values::Finite { "value" } else { "step" };
        let call = match self.below(5) {
            0 => "row_number()".to_owned(),
            1 => "lag(value)".to_owned(),
            2 => format!("min({value})"),
            3 => "count(*)".to_owned(),
            _ => "first_value(step)".to_owned(),
        };
        let keys = self.one(&["run_id, metrics_name, metric", "run_id, metric", "metric", "run_id", "rank"]);
        let order = self.one(&["step, ", "step DESC, ", "seq, ", ""]);
        let window = format!("{call} OVER (PARTITION BY {keys} ORDER BY {order}{KEY})");
        let sql = format!("SELECT {keys}, step, seq, {window} AS w FROM metrics{clause}");
        if self.below(3) == 0 {
            return Question { sql: format!("SELECT * FROM ({sql}) WHERE w < 3"), order: Order::Columns(0) };
        }
        Question { sql, order: Order::Columns(0) }
    }

    fn join(&mut self) -> Question {
        let (mine, other) = (self.clause(), self.clause());
        let kind = self.one(&["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "LEFT SEMI JOIN", "LEFT ANTI JOIN"]);
        let both = !kind.contains("SEMI") && !kind.contains("ANTI");
        let rate = self.one(&["0.1", "0.5", "-1.0"]);
        let sql = match self.below(5) {
            0 | 1 => {
                let columns =
                    if both { "a.run_id, a.metric, a.step, b.metric, b.value" } else { "a.run_id, a.metric, a.value" };
                let on = self.one(&[
                    "a.run_id = b.run_id AND a.step = b.step AND a.rank = b.rank",
                    "a.run_id = b.run_id AND a.seq = b.seq",
                    "a.seq = b.seq AND a.metric = b.metric",
                ]);
                format!(
                    "SELECT {columns} FROM (SELECT * FROM metrics{mine}) a {kind} (SELECT * FROM metrics{other}) b ON {on} AND a.seq < 300 AND b.seq < 300"
                )
            }
            2 => format!(
                "SELECT r.lr, m.metric, m.step FROM (SELECT * FROM metrics{mine}) m JOIN {RUNS} r ON r.run_id = m.run_id WHERE r.lr = {rate}"
            ),
            3 => format!(
                "SELECT m.seq, m.value FROM metrics m JOIN {RUNS} r USING (run_id) WHERE r.lr > 0.3 ORDER BY m.step DESC, m.run_id, rank, attempt, seq LIMIT 9"
            ),
            _ => format!(
                "SELECT count(*) FROM metrics WHERE run_id {}IN (SELECT run_id FROM {RUNS} r WHERE lr = {rate})",
                self.one(&["", "NOT "])
            ),
        };
        Question { sql, order: Order::Columns(0) }
    }

    fn other(&mut self) -> Question {
        let (mine, other) = (self.clause(), self.clause());
        let columns = self.some(&["run_id", "metric", "step", "rank", "run_name", "metrics_name"], 3).join(", ");
        let sql = match self.below(9) {
            0 => format!("SELECT DISTINCT {columns} FROM metrics{mine}"),
            1 => format!("SELECT {columns} FROM metrics{mine} UNION ALL SELECT {columns} FROM metrics{other}"),
            2 => format!("SELECT {columns} FROM metrics{mine} EXCEPT SELECT {columns} FROM metrics{other}"),
            3 => format!("SELECT {columns} FROM metrics WHERE step = (SELECT max(step) FROM metrics{mine})"),
            4 => format!("SELECT count(*) FROM metrics WHERE metric IN (SELECT metric FROM metrics{mine})"),
            5 => format!("SELECT m.run_id, m.seq FROM metrics m WHERE EXISTS (SELECT 1 FROM (SELECT * FROM metrics{mine}) o WHERE o.run_id = m.run_id AND o.step = m.step + 1)"),
            6 => format!("WITH c AS (SELECT run_id, metric, count(*) AS n, min(step) AS low FROM metrics{mine} GROUP BY 1, 2) SELECT m.metric, m.step, c.n FROM metrics m JOIN c ON m.run_id = c.run_id AND m.metric = c.metric AND m.step = c.low"),
            7 => "WITH RECURSIVE r(s) AS (SELECT CAST(0 AS BIGINT) UNION ALL SELECT DISTINCT m.step FROM r JOIN metrics m ON m.step = r.s + 1 WHERE r.s < 12) SELECT s FROM r".to_owned(),
            _ => format!("SELECT {columns} FROM (SELECT * FROM metrics{mine} ORDER BY step DESC, {KEY} LIMIT 11) ORDER BY {columns}"),
        };
        Question { sql, order: Order::Columns(0) }
    }
}
