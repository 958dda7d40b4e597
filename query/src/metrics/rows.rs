//! Makes the columns of the answer from the rows of a part: those that differ from row to row are read, the others follow from where the
//! rows are from.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, DictionaryArray, Int32Array, RecordBatch, RecordBatchOptions, StringArray};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::Int32Type;
use datafusion::error::Result;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;

use super::exec::Scan;
use super::facts::{Facts, RUN_COLUMNS, constant_text, run_column};
use super::parts::{Origin, Part};
use super::segment;

/// Columns of `metrics` that a segment has no need to store, as they are the same in all its rows, or follow from the
/// statistics: `run_id`, `metrics_name`, `metric`, `rank` and `attempt`.
const KNOWN: [usize; 5] = [0, 1, 2, 6, 7];
/// Columns of `metrics` that are columns of a segment.
const STORED: usize = 9;

/// Those of `columns` of `metrics` that have to be read, ascending.
pub(crate) fn stored_columns(columns: &[usize]) -> Vec<usize> {
    let stored = columns.iter().copied().filter(|column| *column < STORED && !KNOWN.contains(column));
    let mut stored: Vec<usize> = stored.collect();
    stored.sort_unstable();
    stored.dedup();
    stored
}

/// Where the columns of an open part come from that differ from row to row.
pub(crate) enum Rows {
    /// Read from a segment or a pack.
    Stored(Box<ParquetRecordBatchReader>),
    /// In memory: the columns, and the rows of them that are wanted.
    Live { columns: Vec<ArrayRef>, ranges: VecDeque<Range<usize>> },
    /// None is asked for: the number of rows is all there is.
    Known(usize),
}

/// A part that is being read.
pub(crate) struct OpenPart {
    rows: Rows,
    columns: Vec<Column>,
    origins: Origins,
}

/// A column of the answer.
enum Column {
    /// The value of all rows, as an array that is long enough for any batch.
    Constant(ArrayRef),
    /// A text for each pick of the part: number of the text in `texts`, -1 where there is none.
    Texts { texts: ArrayRef, by_pick: Vec<i32> },
    /// A number for each pick of the part.
    Numbers(Vec<i32>),
    /// Place in the batches that are read.
    Stored(usize),
}

/// The picks that the rows of a part are of, one after another.
struct Origins {
    /// Rows of each pick that were not given yet; the front is that of number `first`.
    rows: VecDeque<usize>,
    first: usize,
}

impl Origins {
    /// The next `count` rows: numbers of picks, and rows of each.
    fn next(&mut self, mut count: usize) -> Vec<(usize, usize)> {
        let mut taken = Vec::new();
        while let Some(rows) = self.rows.front_mut().filter(|_| count > 0) {
            let of_pick = (*rows).min(count);
            taken.push((self.first, of_pick));
            count -= of_pick;
            *rows -= of_pick;
            if *rows == 0 {
                self.rows.pop_front();
                self.first += 1;
            }
        }
        taken
    }
}

impl OpenPart {
    /// `stored` are the columns of `rows`.
    pub(crate) fn new(part: &Part, rows: Rows, scan: &Scan, stored: &[usize], batch_rows: usize) -> Result<Self> {
        let making = Making::new(part, scan, batch_rows.min(part.rows()));
        let mut columns = Vec::with_capacity(scan.columns.len());
        for column in &scan.columns {
            columns.push(match column {
                0 => making.texts(|facts, _| Some(facts.run_id), |run| run.to_string())?,
                1 => making.texts(|facts, _| Some(facts.metrics_name), |name| (*name).to_owned())?,
                2 => {
                    let name = |facts: &Facts<'_>, metric: usize| Some(facts.metrics[metric].metric.clone());
                    making.texts(name, String::clone)?
                }
                6 => making.numbers(|facts| facts.writer.rank),
                7 => making.numbers(|facts| facts.writer.attempt),
                column => match column.checked_sub(STORED) {
                    Some(of_run) => {
                        let text = |facts: &Facts<'_>, _| {
                            run_column(scan.runs.get(facts.run_id), RUN_COLUMNS[of_run]).map(str::to_owned)
                        };
                        making.texts(text, String::clone)?
                    }
                    None => Column::Stored(stored.iter().position(|stored| stored == column).unwrap_or_default()),
                },
            });
        }
        let origins = Origins { rows: part.picks.iter().map(|pick| pick.rows.len()).collect(), first: 0 };
        Ok(Self { rows, columns, origins })
    }

    /// The next rows, at most `most`; `None` after the last.
    pub(crate) fn next(&mut self, scan: &Scan, most: usize) -> Result<Option<RecordBatch>> {
        let (read, rows) = match &mut self.rows {
            Rows::Stored(reader) => match segment::next_batch(reader)? {
                Some(batch) => {
                    let rows = batch.num_rows().min(most);
                    (batch.columns().to_vec(), rows)
                }
                None => return Ok(None),
            },
            Rows::Live { columns, ranges } => match ranges.pop_front() {
                Some(range) => {
                    let rows = range.len().min(most);
                    if range.len() > rows {
                        ranges.push_front(range.start + rows..range.end);
                    }
                    (columns.iter().map(|column| column.slice(range.start, rows)).collect(), rows)
                }
                None => return Ok(None),
            },
            Rows::Known(left) => {
                let rows = most.min(*left);
                *left -= rows;
                (Vec::new(), rows)
            }
        };
        if rows == 0 {
            return Ok(None);
        }
        let picks = self.origins.next(rows);
        let mut arrays = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            arrays.push(match column {
                Column::Constant(array) => array.slice(0, rows),
                Column::Texts { texts, by_pick } => text_rows(texts, &spread(by_pick, &picks, rows))?,
                Column::Numbers(by_pick) => Arc::new(Int32Array::from(spread(by_pick, &picks, rows))),
                Column::Stored(place) => read[*place].slice(0, rows),
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(Some(RecordBatch::try_new_with_options(Arc::clone(&scan.schema), arrays, &options)?))
    }
}

/// The value of each row, from that of each pick.
fn spread(by_pick: &[i32], picks: &[(usize, usize)], rows: usize) -> Vec<i32> {
    let mut values = Vec::with_capacity(rows);
    for (pick, count) in picks {
        values.resize(values.len() + count, by_pick[*pick]);
    }
    values
}

/// The texts with these numbers.
fn text_rows(texts: &ArrayRef, numbers: &[i32]) -> Result<ArrayRef> {
    let nulls = numbers.iter().any(|number| *number < 0);
    let nulls = nulls.then(|| NullBuffer::from_iter(numbers.iter().map(|number| *number >= 0)));
    let keys: ScalarBuffer<i32> = numbers.iter().map(|number| (*number).max(0)).collect();
    Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(Int32Array::new(keys, nulls), Arc::clone(texts))?))
}

/// The making of columns that follow from where rows are from.
struct Making<'a> {
    part: &'a Part,
    scan: &'a Scan,
    /// Rows of the longest batch.
    longest: usize,
}

impl<'a> Making<'a> {
    fn new(part: &'a Part, scan: &'a Scan, longest: usize) -> Self {
        Self { part, scan, longest }
    }

    /// A value for each pick; computed once for picks of the same origin and metric that adjoin.
    fn by_pick<T: Copy>(&self, mut value: impl FnMut(&Facts<'a>, usize) -> T) -> Vec<T> {
        let mut last: Option<((Origin, usize), T)> = None;
        let picks = self.part.picks.iter().map(|pick| {
            let place = (pick.origin, pick.metric);
            let known = last.filter(|(of, _)| *of == place).map(|(_, value)| value);
            let value = known.unwrap_or_else(|| value(&pick.origin.facts(self.scan.snapshot.as_ref()), pick.metric));
            last = Some((place, value));
            value
        });
        picks.collect()
    }

    /// A column of texts, which are told apart by `key`.
    fn texts<K: Eq + Hash + Clone>(
        &self,
        key: impl Fn(&Facts<'a>, usize) -> Option<K>,
        text: impl Fn(&K) -> String,
    ) -> Result<Column> {
        let mut numbers: HashMap<K, i32> = HashMap::new();
        let mut texts: Vec<String> = Vec::new();
        let by_pick = self.by_pick(|facts, metric| {
            let Some(key) = key(facts, metric) else { return -1 };
            *numbers.entry(key).or_insert_with_key(|key| {
                texts.push(text(key));
                texts.len() as i32 - 1
            })
        });
        if by_pick.iter().all(|number| Some(number) == by_pick.first()) {
            let text = texts.first().map(String::as_str);
            return Ok(Column::Constant(constant_text(text, self.longest)?));
        }
        Ok(Column::Texts { texts: Arc::new(StringArray::from(texts)), by_pick })
    }

    fn numbers(&self, number: impl Fn(&Facts<'a>) -> i32) -> Column {
        let by_pick = self.by_pick(|facts, _| number(facts));
        match by_pick.first() {
            Some(first) if by_pick.iter().any(|number| number != first) => Column::Numbers(by_pick),
            first => {
                let value = first.copied().unwrap_or_default();
                Column::Constant(Arc::new(Int32Array::from_value(value, self.longest)))
            }
        }
    }
}
