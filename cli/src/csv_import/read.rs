//! From CSV to checked records; knows nothing of a store.

use std::collections::HashMap;
use std::io::Read;

use csv::StringRecord;

/// Integers beyond this do not fit a 64-bit float exactly.
const EXACT_INTEGER_MAX: i128 = 1 << 53;
/// Most columns of metrics a file may have.
const METRICS_MAX: usize = 10_000;

/// Which columns mean what.
#[derive(Clone, Debug, Default)]
pub struct CsvColumns {
    /// Tells the runs apart.
    pub run: Option<String>,
    /// Has one value per run.
    pub group: Option<String>,
    /// Holds the step.
    pub step: Option<String>,
    /// Holds metrics; empty means every other column.
    pub metrics: Vec<String>,
}

/// One value of one metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CsvRecord {
    /// Index into [`CsvData::metrics`].
    pub metric: u32,
    /// The step.
    pub step: i64,
    /// The value; NaN and infinities are kept.
    pub value: f64,
}

/// The rows of one run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CsvRun {
    /// Value of the run column.
    pub name: String,
    /// Value of the group column.
    pub group: Option<String>,
    /// Its values, in the order of the file.
    pub records: Vec<CsvRecord>,
    rows: i64,
}

/// A checked file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CsvData {
    /// Names of the metrics.
    pub metrics: Vec<String>,
    /// The runs, in the order of their first rows.
    pub runs: Vec<CsvRun>,
}

impl CsvData {
    /// Values in all runs together.
    pub fn records(&self) -> u64 {
        self.runs.iter().map(|run| run.records.len() as u64).sum()
    }
}

/// What is wrong with a CSV file, and where. Lines count from 1, the header included.
#[derive(Debug, thiserror::Error)]
pub enum CsvError {
    /// The file is not CSV, not UTF-8, or not readable.
    #[error("it cannot be read as CSV")]
    Parse(#[from] csv::Error),
    /// There is no header or no row below it.
    #[error("it holds no rows; the first line names the columns, and each further line is one step")]
    Empty,
    /// A column of this name was asked for.
    #[error("it has no column {column:?}; its columns are {have}")]
    NoColumn {
        /// The name.
        column: String,
        /// Those there are.
        have: String,
    },
    /// Two columns have the same name, or one is asked for twice.
    #[error("the column {column:?} occurs twice; every column needs a name and a use of its own")]
    DuplicateColumn {
        /// The name.
        column: String,
    },
    /// No column is left for metrics.
    #[error("it has no column of metrics besides those of run, group and step")]
    NoMetrics,
    /// More columns than can be metrics.
    #[error("it has {columns} columns of metrics, and {METRICS_MAX} is the most; choose some with --metric-columns")]
    TooManyColumns {
        /// How many.
        columns: usize,
    },
    /// A cell that should be a number is none.
    #[error("line {line}, column {column:?}: {cell:?} is not a number; choose the columns with --metric-columns")]
    NotANumber {
        /// The line.
        line: u64,
        /// The column.
        column: String,
        /// What it says.
        cell: String,
    },
    /// A whole number that a 64-bit float cannot hold.
    #[error(
        "line {line}, column {column:?}: {cell} is above 2^53 and would be rounded; divide it, or leave the column out"
    )]
    NotExact {
        /// The line.
        line: u64,
        /// The column.
        column: String,
        /// What it says.
        cell: String,
    },
    /// A cell that should be a step is none.
    #[error("line {line}, column {column:?}: {cell:?} is not a step; a step is a whole number")]
    NotAStep {
        /// The line.
        line: u64,
        /// The column.
        column: String,
        /// What it says.
        cell: String,
    },
    /// The run column is empty.
    #[error("line {line}, column {column:?}: the name of the run is empty")]
    NoRunName {
        /// The line.
        line: u64,
        /// The column.
        column: String,
    },
    /// One run has two values in the group column.
    #[error("line {line}, column {column:?}: run {run:?} has {second:?} here and {first:?} above; a run has one value")]
    TwoGroups {
        /// The line.
        line: u64,
        /// The column.
        column: String,
        /// The run.
        run: String,
        /// Value in the run's first line.
        first: String,
        /// Value in this line.
        second: String,
    },
}

/// Positions of the columns in a row.
struct Plan {
    header: Vec<String>,
    run: Option<usize>,
    group: Option<usize>,
    step: Option<usize>,
    metrics: Vec<usize>,
}

impl Plan {
    fn new(header: &StringRecord, columns: &CsvColumns) -> Result<Self, CsvError> {
        let header: Vec<String> = header.iter().map(|name| name.trim().to_owned()).collect();
        let twice = header.iter().enumerate().find(|(i, name)| header[..*i].contains(name));
        if let Some((_, name)) = twice {
            return Err(CsvError::DuplicateColumn { column: name.clone() });
        }
        let mut used = Vec::new();
        let mut find = |name: &String| {
            let index = header.iter().position(|column| column == name);
            let index = index.ok_or_else(|| CsvError::NoColumn { column: name.clone(), have: header.join(", ") })?;
            if used.contains(&index) {
                return Err(CsvError::DuplicateColumn { column: name.clone() });
            }
            used.push(index);
            Ok(index)
        };
        let run = columns.run.as_ref().map(&mut find).transpose()?;
        let group = columns.group.as_ref().map(&mut find).transpose()?;
        let step = columns.step.as_ref().map(&mut find).transpose()?;
        let mut metrics: Vec<usize> = columns.metrics.iter().map(&mut find).collect::<Result<_, _>>()?;
        if columns.metrics.is_empty() {
            metrics = (0..header.len()).filter(|index| !used.contains(index)).collect();
        }
        match metrics.len() {
            0 => Err(CsvError::NoMetrics),
            columns if columns > METRICS_MAX => Err(CsvError::TooManyColumns { columns }),
            _ => Ok(Self { header, run, group, step, metrics }),
        }
    }

    fn name(&self, column: usize) -> String {
        self.header[column].clone()
    }
}

/// Reads a whole file. A file without a run column is one run named `default_name`.
///
/// # Errors
/// [`CsvError`] for the first line that is wrong.
pub fn read(reader: impl Read, columns: &CsvColumns, default_name: &str) -> Result<CsvData, CsvError> {
    let mut reader = csv::Reader::from_reader(reader);
    let plan = Plan::new(reader.headers()?, columns)?;
    let mut data = CsvData { metrics: plan.metrics.iter().map(|index| plan.name(*index)).collect(), runs: Vec::new() };
    let mut index_of: HashMap<String, usize> = HashMap::new();
    let mut row = StringRecord::new();
    while reader.read_record(&mut row)? {
        let line = row.position().map_or(0, csv::Position::line);
        let name = plan.run.map_or(default_name, |column| cell(&row, column));
        if name.is_empty() {
            return Err(CsvError::NoRunName { line, column: plan.run.map_or(String::new(), |run| plan.name(run)) });
        }
        let index = match index_of.get(name) {
            Some(index) => *index,
            None => {
                data.runs.push(CsvRun { name: name.to_owned(), ..CsvRun::default() });
                index_of.insert(name.to_owned(), data.runs.len() - 1);
                data.runs.len() - 1
            }
        };
        read_row(&plan, &row, line, &mut data.runs[index])?;
    }
    if data.runs.is_empty() { Err(CsvError::Empty) } else { Ok(data) }
}

fn read_row(plan: &Plan, row: &StringRecord, line: u64, run: &mut CsvRun) -> Result<(), CsvError> {
    if let Some(column) = plan.group {
        let second = cell(row, column);
        match &run.group {
            None => run.group = Some(second.to_owned()),
            Some(first) if first == second => {}
            Some(first) => {
                return Err(CsvError::TwoGroups {
                    line,
                    column: plan.name(column),
                    run: run.name.clone(),
                    first: first.clone(),
                    second: second.to_owned(),
                });
            }
        }
    }
    let step = match plan.step {
        None => run.rows,
        Some(column) => parse_step(cell(row, column)).ok_or_else(|| CsvError::NotAStep {
            line,
            column: plan.name(column),
            cell: cell(row, column).to_owned(),
        })?,
    };
    run.rows += 1;
    for (metric, column) in plan.metrics.iter().enumerate() {
        let text = cell(row, *column);
        if text.is_empty() {
            continue;
        }
        if !is_exact(text) {
            return Err(CsvError::NotExact { line, column: plan.name(*column), cell: text.to_owned() });
        }
        let value = text.parse().ok().filter(|value: &f64| value.is_finite() || !has_digit(text));
        let Some(value) = value else {
            return Err(CsvError::NotANumber { line, column: plan.name(*column), cell: text.to_owned() });
        };
        run.records.push(CsvRecord { metric: metric as u32, step, value });
    }
    Ok(())
}

fn cell(row: &StringRecord, column: usize) -> &str {
    row.get(column).unwrap_or_default().trim()
}

/// Whether a whole number, however long, is one that a float holds exactly. What is no whole number is none of this.
fn is_exact(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    !is_whole || text.parse::<i128>().is_ok_and(|whole| (-EXACT_INTEGER_MAX..=EXACT_INTEGER_MAX).contains(&whole))
}

/// A number that is written out but too large for a float would become infinite.
fn has_digit(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_digit())
}

/// A step: a whole number, also written as a float (`12.0`), as spreadsheets and pandas do.
fn parse_step(text: &str) -> Option<i64> {
    if let Ok(step) = text.parse() {
        return Some(step);
    }
    let value: f64 = text.parse().ok()?;
    // Below, not up to: 2^53 + 1 would have been rounded to 2^53 by now.
    (value.fract() == 0.0 && value.abs() < EXACT_INTEGER_MAX as f64).then_some(value as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(run: &str, step: &str) -> CsvColumns {
        let some = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        CsvColumns { run: some(run), step: some(step), ..CsvColumns::default() }
    }

    fn error(text: &str, columns: &CsvColumns) -> String {
        stepwell_engine::with_causes(&read(text.as_bytes(), columns, "file").unwrap_err())
    }

    #[test]
    fn runs_are_told_apart_and_empty_cells_are_no_record() {
        let text = "run,step,loss,acc\na,0,1.5,\nb,0,2.5,0.1\na,10.0,NaN,0.2\n";
        let data = read(text.as_bytes(), &columns("run", "step"), "file").unwrap();
        assert_eq!(data.metrics, ["loss", "acc"]);
        assert_eq!(data.records(), 5);
        assert_eq!(data.runs.iter().map(|run| run.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let first = &data.runs[0].records;
        assert_eq!(first[0], CsvRecord { metric: 0, step: 0, value: 1.5 });
        assert!(first[1].value.is_nan() && first[1].step == 10);
        assert_eq!(first[2], CsvRecord { metric: 1, step: 10, value: 0.2 });
    }

    #[test]
    fn steps_count_up_in_each_run_when_there_is_no_column() {
        let text = "run,loss\na,1\nb,1\na,2\n";
        let data = read(text.as_bytes(), &columns("run", ""), "file").unwrap();
        let steps = |run: usize| data.runs[run].records.iter().map(|record| record.step).collect::<Vec<_>>();
        assert_eq!((steps(0), steps(1)), (vec![0, 1], vec![0]));
    }

    #[test]
    fn a_group_belongs_to_the_run() {
        let grouped = CsvColumns { group: Some("g".into()), ..columns("run", "") };
        let data = read("run,g,loss\na,x,1\na,x,2\n".as_bytes(), &grouped, "file").unwrap();
        assert_eq!(data.runs[0].group.as_deref(), Some("x"));
        assert_eq!(data.metrics, ["loss"]);
        let message = error("run,g,loss\na,x,1\na,y,2\n", &grouped);
        assert!(message.contains("line 3") && message.contains("\"y\" here and \"x\" above"), "{message}");
    }

    #[test]
    fn mistakes_name_line_and_column() {
        let of = |text: &str| error(text, &columns("run", "step"));
        assert!(
            of("run,step,loss\na,0,1\na,1,high\n").starts_with("line 3, column \"loss\": \"high\" is not a number")
        );
        assert!(of("run,step,loss\na,0.5,1\n").starts_with("line 2, column \"step\": \"0.5\" is not a step"));
        assert!(of("run,step,loss\n,0,1\n").starts_with("line 2, column \"run\": the name of the run is empty"));
        assert!(of("run,step,n\na,0,9007199254740993\n").contains("above 2^53"));
        assert!(of("run,step,loss\na,0\n").contains("line: 2"));
        assert!(of("run,step,loss,loss\n").contains("occurs twice"));
        assert!(of("run,step\na,0\n").contains("no column of metrics"));
        assert!(of("run,loss\na,0\n").contains("no column \"step\"; its columns are run, loss"));
        assert!(of("run,step,loss\n").contains("no rows"));
    }

    #[test]
    fn chosen_columns_only() {
        let chosen = CsvColumns { metrics: vec!["loss".into()], ..columns("", "") };
        let data = read("note,loss\nhello,1\n".as_bytes(), &chosen, "file").unwrap();
        assert_eq!((data.metrics, data.runs[0].name.as_str()), (vec!["loss".to_owned()], "file"));
        let twice = CsvColumns { metrics: vec!["loss".into(), "loss".into()], ..columns("", "") };
        assert!(error("note,loss\nhello,1\n", &twice).contains("occurs twice"));
    }

    #[test]
    fn a_run_without_a_value_is_still_a_run() {
        let data = read("run,step,loss\na,0,\n".as_bytes(), &columns("run", "step"), "file").unwrap();
        assert_eq!((data.runs.len(), data.records()), (1, 0));
    }

    #[test]
    fn an_embedded_newline_does_not_shift_the_line_number() {
        let message = error("run,step,loss\n\"a\nb\",0,1\nc,1,x\n", &columns("run", "step"));
        assert!(message.starts_with("line 4,"), "{message}");
    }
}
