//! Functions whose result can be much larger than what they are given, held to the memory limit of the query.
//!
//! DataFusion's memory pool counts what operators keep, not what one call of a function makes: `lpad('x', 2000000000)`
//! would take the memory of the machine, and with it the training that runs beside the query. So a bound of the result is
//! computed from the arguments before the function is called.
//!
//! Not bounded: `||`, which makes no more than it is given.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Int64Type, IntervalMonthDayNanoType, IntervalUnit, TimeUnit};
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::udf_eq::UdfEq;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

/// One call may make this part of what the query may hold.
const CALLS_AT_ONCE: u64 = 4;
/// Most bytes of a character.
const CHARACTER_BYTES: u64 = 4;
/// Bytes of a number in a list.
const NUMBER_BYTES: u64 = 8;
const DAY_NANOS: i64 = 86_400_000_000_000;

/// How the size of a result follows from the arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Growth {
    /// The sum of all arguments.
    Sum,
    /// The first, as often as the second says.
    Repeated,
    /// As many characters as the second says.
    Padded,
    /// The third may stand wherever the second was found in the first.
    Replaced,
    /// The third may stand at each place of the first.
    ReplacedAnywhere,
    /// As many elements as the second says.
    Resized,
    /// The numbers, or the times, from the first to the second.
    Range,
}

const GROWING: [(&str, Growth); 11] = [
    ("array_repeat", Growth::Repeated),
    ("array_resize", Growth::Resized),
    ("concat", Growth::Sum),
    ("concat_ws", Growth::Sum),
    ("generate_series", Growth::Range),
    ("lpad", Growth::Padded),
    ("range", Growth::Range),
    ("regexp_replace", Growth::ReplacedAnywhere),
    ("repeat", Growth::Repeated),
    ("replace", Growth::Replaced),
    ("rpad", Growth::Padded),
];

/// Puts bounds on the functions of `context` for a query that may hold `memory_limit` bytes.
pub(crate) fn register(context: &SessionContext, memory_limit: usize) {
    let limit = memory_limit as u64 / CALLS_AT_ONCE;
    let functions = context.state().scalar_functions().clone();
    for (name, growth) in GROWING {
        if let Some(function) = functions.get(name) {
            context.register_udf(Bounded::of(function, growth, limit));
        }
    }
}

/// A function that is not called when its result could be larger than a limit.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: UdfEq<Arc<dyn ScalarUDFImpl>>,
    growth: Growth,
    limit: u64,
}

impl Bounded {
    fn of(function: &ScalarUDF, growth: Growth, limit: u64) -> ScalarUDF {
        ScalarUDF::from(Self { inner: Arc::clone(function.inner()).into(), growth, limit })
    }
}

// `simplify` is not passed on: it may put the function without its bound in this one's place.
impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn with_updated_config(&self, config: &ConfigOptions) -> Option<ScalarUDF> {
        self.inner.with_updated_config(config).map(|function| Self::of(&function, self.growth, self.limit))
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let bytes = self.growth.bound(&args.args, args.number_rows)?;
        if bytes > self.limit {
            return Err(DataFusionError::ResourcesExhausted(format!(
                "{} would make up to {bytes} bytes at once, and one call may make {}",
                self.name(),
                self.limit
            )));
        }
        self.inner.invoke_with_args(args)
    }
}

impl Growth {
    /// Most bytes of the result.
    fn bound(self, args: &[ColumnarValue], rows: usize) -> Result<u64> {
        let size = |number: usize| args.get(number).map_or(Ok(Numbers::One(0)), sizes);
        let count = |number: usize| args.get(number).map_or(Ok(Numbers::One(0)), counts);
        // The longest that is made for one row; a result for constants has one row.
        let rows = if args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_))) { 1 } else { rows };
        Ok(match self {
            Self::Sum => {
                let parts = args.iter().map(sizes).collect::<Result<Vec<_>>>()?;
                sum(rows, |row| parts.iter().fold(0, |all, part| all.saturating_add(part.at(row))))
            }
            Self::Repeated => {
                let (text, times) = (size(0)?, count(1)?);
                sum(rows, |row| text.at(row).max(1).saturating_mul(times.at(row)))
            }
            Self::Padded => {
                let characters = count(1)?;
                sum(rows, |row| characters.at(row).saturating_mul(CHARACTER_BYTES))
            }
            Self::Replaced => {
                let (text, from, to) = (size(0)?, size(1)?, size(2)?);
                sum(rows, |row| replaced(text.at(row), from.at(row), to.at(row)))
            }
            Self::ReplacedAnywhere => {
                let (text, to) = (size(0)?, size(2)?);
                sum(rows, |row| replaced(text.at(row), 1, to.at(row)))
            }
            Self::Resized => {
                let elements = count(1)?;
                sum(rows, |row| elements.at(row).saturating_mul(NUMBER_BYTES))
            }
            Self::Range => range(args, rows)?,
        })
    }
}

/// Most bytes of a text after something of `from` bytes was replaced in it.
fn replaced(text: u64, from: u64, to: u64) -> u64 {
    (text / from.max(1) + 1).saturating_mul(to).saturating_add(text)
}

fn sum(rows: usize, bytes_of: impl Fn(usize) -> u64) -> u64 {
    (0..rows).map(bytes_of).fold(0, u64::saturating_add)
}

/// Bytes of `range(stop)`, `range(start, stop)` or `range(start, stop, step)`.
fn range(args: &[ColumnarValue], rows: usize) -> Result<u64> {
    let zero = Ticks::One(0);
    let (start, stop) = match args {
        [stop] => (zero, ticks(stop)?),
        [start, stop, ..] => (ticks(start)?, ticks(stop)?),
        [] => return Ok(0),
    };
    let step = args.get(2).map_or(Ok(Ticks::One(1)), ticks)?;
    Ok(sum(rows, |row| {
        let elements = start.at(row).abs_diff(stop.at(row)) / step.at(row).unsigned_abs().max(1) + 1;
        elements.saturating_mul(NUMBER_BYTES)
    }))
}

/// A number for each row.
enum Of<T> {
    One(T),
    Each(Vec<T>),
}

type Numbers = Of<u64>;
type Ticks = Of<i64>;

impl<T: Copy> Of<T> {
    fn at(&self, row: usize) -> T {
        match self {
            Self::One(number) => *number,
            Self::Each(numbers) => numbers[row],
        }
    }

    fn new(value: &ColumnarValue, of: impl Fn(&dyn Array) -> Result<Vec<T>>) -> Result<Self> {
        Ok(match value {
            ColumnarValue::Scalar(scalar) => Self::One(of(&scalar.to_array()?)?[0]),
            ColumnarValue::Array(array) => Self::Each(of(array)?),
        })
    }
}

/// Bytes of each text; of what is no text, those of a number.
fn sizes(value: &ColumnarValue) -> Result<Numbers> {
    Of::new(value, |array| {
        let length = |text: Option<&str>| text.map_or(0, |text| text.len() as u64);
        Ok(match array.data_type() {
            DataType::Utf8 => array.as_string::<i32>().iter().map(length).collect(),
            DataType::LargeUtf8 => array.as_string::<i64>().iter().map(length).collect(),
            DataType::Utf8View => array.as_string_view().iter().map(length).collect(),
            _ => {
                let bytes = (array.get_array_memory_size() / array.len().max(1)) as u64;
                vec![bytes.max(NUMBER_BYTES); array.len()]
            }
        })
    })
}

/// What stands for a number of characters, elements or repetitions; negative ones stand for none.
fn counts(value: &ColumnarValue) -> Result<Numbers> {
    Of::new(value, |array| {
        let numbers = cast(array, &DataType::Int64)?;
        let numbers = numbers.as_primitive::<Int64Type>();
        Ok(numbers.iter().map(|number| number.unwrap_or(0).max(0) as u64).collect())
    })
}

/// Numbers, times in nanoseconds, or an interval in nanoseconds.
fn ticks(value: &ColumnarValue) -> Result<Ticks> {
    Of::new(value, |array| {
        if matches!(array.data_type(), DataType::Interval(_)) {
            let intervals = cast(array, &DataType::Interval(IntervalUnit::MonthDayNano))?;
            let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>().iter();
            let nanos = intervals.map(|interval| {
                let interval = interval.unwrap_or_default();
                let days = i64::from(interval.months) * 28 + i64::from(interval.days);
                days.saturating_mul(DAY_NANOS).saturating_add(interval.nanoseconds)
            });
            return Ok(nanos.collect());
        }
        let numbers = if array.data_type().is_temporal() {
            cast(&cast(array, &DataType::Timestamp(TimeUnit::Nanosecond, None))?, &DataType::Int64)?
        } else {
            cast(array, &DataType::Int64)?
        };
        Ok(numbers.as_primitive::<Int64Type>().iter().map(Option::unwrap_or_default).collect())
    })
}
