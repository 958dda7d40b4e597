//! Parameters: `$name` in the text of a query stands for a value that is given beside it.
//!
//! They are put into the parsed statement, before it is planned: a value can never become SQL, and a parameter may stand
//! wherever a literal may, in `LIMIT`, in the arguments of a table function and in `params[$key]` too.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Array, CastKind, DataType, ExactNumberInfo, Expr, Statement as SqlStatement, TimezoneInfo, Value, VisitMut,
    VisitorMut,
};

use crate::error::{Error, Result};
use crate::suggest::nearest;

/// The value of a parameter.
///
/// ```
/// use stepwell_query::{Parameter, QueryOptions};
///
/// let options = QueryOptions::default().with_parameter("lr", 0.1).with_parameter("names", vec!["a", "b"]);
/// assert_eq!(options.parameters["lr"], Parameter::Float(0.1));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Parameter {
    /// SQL's NULL.
    Null,
    /// A boolean.
    Bool(bool),
    /// A 64-bit integer.
    Int(i64),
    /// A 64-bit float, which may be infinite or not a number.
    Float(f64),
    /// Text.
    Text(String),
    /// A moment, in microseconds since 1970 in UTC.
    Time(i64),
    /// Several values of one type. `x IN ($list)` holds for each of them.
    List(Vec<Parameter>),
}

impl From<bool> for Parameter {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Parameter {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Parameter {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for Parameter {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Parameter {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl<T: Into<Self>> From<Vec<T>> for Parameter {
    fn from(values: Vec<T>) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}

impl Parameter {
    /// The expression that stands for it.
    fn expression(&self) -> Expr {
        match self {
            Self::Null => literal(Value::Null),
            Self::Bool(value) => literal(Value::Boolean(*value)),
            Self::Int(value) => literal(Value::Number(value.to_string(), false)),
            // With a point or an exponent, so that it is not taken for an integer.
            Self::Float(value) if value.is_finite() => literal(Value::Number(format!("{value:?}"), false)),
            Self::Float(value) => cast(value.to_string(), DataType::Double(ExactNumberInfo::None)),
            Self::Text(value) => literal(Value::SingleQuotedString(value.clone())),
            Self::Time(micros) => {
                let integer = literal(Value::Number(micros.to_string(), false));
                cast_of(integer, DataType::Timestamp(Some(6), TimezoneInfo::WithTimeZone))
            }
            Self::List(values) => {
                Expr::Array(Array { elem: values.iter().map(Self::expression).collect(), named: true })
            }
        }
    }
}

fn literal(value: Value) -> Expr {
    Expr::Value(value.into())
}

fn cast(text: String, data_type: DataType) -> Expr {
    cast_of(literal(Value::SingleQuotedString(text)), data_type)
}

fn cast_of(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None }
}

/// Puts the values of `parameters` into a statement.
///
/// # Errors
/// [`Error::MissingParameter`], [`Error::UnusedParameter`].
pub(crate) fn bind(statement: &mut Statement, parameters: &BTreeMap<String, Parameter>) -> Result<()> {
    let mut binder = Binder { parameters, used: BTreeSet::new(), missing: None };
    bind_statement(statement, &mut binder);
    let names = || parameters.keys().cloned().collect::<Vec<_>>();
    if let Some(name) = binder.missing {
        let suggestion = nearest(&name, parameters.keys().map(String::as_str));
        return Err(Error::MissingParameter { name, suggestion, given: names() });
    }
    match parameters.keys().find(|name| !binder.used.contains(*name)) {
        Some(name) => Err(Error::UnusedParameter { name: name.clone() }),
        None => Ok(()),
    }
}

fn bind_statement(statement: &mut Statement, binder: &mut Binder<'_>) {
    match statement {
        Statement::Statement(statement) => {
            let _: ControlFlow<()> = SqlStatement::visit(statement, binder);
        }
        Statement::Explain(explain) => bind_statement(&mut explain.statement, binder),
        _ => {}
    }
}

struct Binder<'a> {
    parameters: &'a BTreeMap<String, Parameter>,
    used: BTreeSet<String>,
    missing: Option<String>,
}

impl Binder<'_> {
    /// The value that `expr` stands for; `None` when it is no parameter, or none that was given.
    fn value(&mut self, expr: &Expr) -> Option<&Parameter> {
        let Expr::Value(value) = expr else { return None };
        let Value::Placeholder(name) = &value.value else { return None };
        let name = name.strip_prefix('$').unwrap_or(name);
        let parameter = self.parameters.get(name);
        if parameter.is_some() {
            self.used.insert(name.to_owned());
        } else {
            self.missing.get_or_insert_with(|| name.to_owned());
        }
        parameter
    }
}

impl VisitorMut for Binder<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::InList { list, .. } = expr {
            let members = std::mem::take(list);
            for member in members {
                match self.value(&member) {
                    Some(Parameter::List(values)) => list.extend(values.iter().map(Parameter::expression)),
                    _ => list.push(member),
                }
            }
        } else if let Some(parameter) = self.value(expr) {
            *expr = parameter.expression();
        }
        ControlFlow::Continue(())
    }
}
