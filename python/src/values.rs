//! What a Python value means as a metric value, a step, a parameter or a tag.
//!
//! Conversions here may run Python code (`item()`, `__index__`, `__float__`), which may call this module again. They
//! are therefore made before any state of a run is borrowed.

use std::collections::BTreeMap;
use std::fmt;

use pyo3::exceptions::{PyOverflowError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyComplex, PyDateTime, PyDict, PyFloat, PyInt, PyList, PyMapping, PyString, PyTuple,
    PyTzInfoAccess,
};
use stepwell_engine::{Direction, ParamValue};
use stepwell_query::Parameter;

use crate::error::Class;
use crate::hot;
use crate::slow::SHORT_NAME_TEXT;

/// Integers up to this magnitude are exact as `f64`.
pub const EXACT_INT_MAX: i64 = 1 << 53;

/// Which value of a call is meant, for messages.
pub struct Which<'a, 'py> {
    /// The metrics name; `None` for that of `run.log`.
    pub metrics_name: Option<&'a Bound<'py, PyAny>>,
    /// The key.
    pub key: &'a Bound<'py, PyAny>,
}

impl fmt::Display for Which<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.metrics_name.map_or_else(|| SHORT_NAME_TEXT.to_owned(), ToString::to_string);
        write!(f, "metric {:?} of {name:?}", self.key.to_string())
    }
}

/// The value of a metric. `which` is told when it cannot be logged.
///
/// # Errors
/// `InputTypeError` for what is not a number, `InputError` for a number that cannot be kept exactly or for an array of
/// several. An exception that is neither a `TypeError` nor a `ValueError` and comes from the object itself (an
/// interrupt, a device error) is passed on as it is.
pub fn metric_value(value: &Bound<'_, PyAny>, which: &Which<'_, '_>) -> PyResult<f64> {
    if let Some(number) = plain_number(value, which)? {
        return Ok(number);
    }
    let py = value.py();
    let refuse = |cause: PyErr| {
        // torch tells of several elements by a RuntimeError, as it does of a device that failed.
        let is_several = || value.call_method0("numel").and_then(|n| n.extract::<u64>()).is_ok_and(|n| n != 1);
        let is_input = cause.is_instance_of::<PyTypeError>(py)
            || cause.is_instance_of::<PyValueError>(py)
            || cause.is_instance_of::<PyOverflowError>(py)
            || cause.is_instance_of::<PyRuntimeError>(py) && is_several();
        if !is_input {
            return cause;
        }
        let refusal = refusal(value, which);
        refusal.set_cause(py, Some(cause));
        refusal
    };
    if is_never_a_number(value) {
        return Err(refusal(value, which));
    }
    hot::learn_float_type(value)?;
    // Tensors and arrays of one element, and numpy scalars, give their Python scalar: integers stay exact that way.
    if let Some(item) = value.getattr_opt(intern!(py, "item"))? {
        // numpy's masked constant would give its fill value.
        if let Some(mask) = value.getattr_opt(intern!(py, "mask"))?
            && mask.is_truthy().unwrap_or(false)
        {
            return Err(refusal(value, which));
        }
        let scalar = item.call0().map_err(refuse)?;
        if let Some(number) = plain_number(&scalar, which)? {
            return Ok(number);
        }
        if is_never_a_number(&scalar) {
            return Err(refusal(&scalar, which));
        }
        return scalar.extract().map_err(refuse);
    }
    if value.hasattr(intern!(py, "__index__"))? && !value.hasattr(intern!(py, "__float__"))? {
        let index = value.call_method0(intern!(py, "__index__")).map_err(refuse)?;
        return plain_number(&index, which)?.ok_or_else(|| refusal(value, which));
    }
    value.extract().map_err(refuse)
}

/// A Python `bool`, `int` or `float`, subclasses included: no Python code runs.
fn plain_number(value: &Bound<'_, PyAny>, which: &Which<'_, '_>) -> PyResult<Option<f64>> {
    if let Ok(float) = value.cast::<PyFloat>() {
        return Ok(Some(float.value()));
    }
    if let Ok(truth) = value.cast::<PyBool>() {
        return Ok(Some(if truth.is_true() { 1.0 } else { 0.0 }));
    }
    let Ok(int) = value.cast::<PyInt>() else { return Ok(None) };
    match int.extract::<i64>() {
        Ok(int) if int.unsigned_abs() <= EXACT_INT_MAX.unsigned_abs() => Ok(Some(int as f64)),
        _ => Err(Class::Input.error(
            value.py(),
            format!(
                "{which} is an integer beyond 2**53, which a 64-bit float cannot hold exactly; \
                 log float(value) if rounding is fine, or keep it as a parameter (run.set_params)"
            ),
        )),
    }
}

fn is_never_a_number(value: &Bound<'_, PyAny>) -> bool {
    value.is_none()
        || value.is_instance_of::<PyString>()
        || value.is_instance_of::<PyBytes>()
        || value.is_instance_of::<PyByteArray>()
        || value.is_instance_of::<PyComplex>()
        || value.is_instance_of::<PyList>()
        || value.is_instance_of::<PyTuple>()
        || value.is_instance_of::<PyDict>()
}

/// Says why `value` is not a metric value, and what to use instead.
fn refusal(value: &Bound<'_, PyAny>, which: &Which<'_, '_>) -> PyErr {
    let py = value.py();
    let fault = if value.is_none() {
        "is None; leave the metric out of this call, or log float('nan')".to_owned()
    } else if value.is_instance_of::<PyString>() || value.is_instance_of::<PyBytes>() {
        "is text; log a number, or keep text as a parameter or a tag (run.set_params, run.set_tags)".to_owned()
    } else if value.is_instance_of::<PyComplex>() {
        "is a complex number; log .real and .imag as two metrics".to_owned()
    } else if value.is_instance_of::<PyDict>() {
        "is a dict; give each of its values a key of its own".to_owned()
    } else if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
        "is a sequence; log one number, such as its mean, or one metric per element".to_owned()
    } else if let Some(shape) = value.getattr("shape").ok().filter(|shape| !shape.is_none()) {
        let fault = format!(
            "{which} is an array of shape {shape}; log one number, such as its mean, or one metric per element"
        );
        return Class::Input.error(py, fault);
    } else {
        format!("is of type {}, which is not a number; log float(value)", type_name(value))
    };
    Class::InputType.error(py, format!("{which} {fault}"))
}

/// The name of the type of `value`, for messages.
pub fn type_name(value: &Bound<'_, PyAny>) -> String {
    value.get_type().fully_qualified_name().map_or_else(|_| "unknown".to_owned(), |name| name.to_string())
}

/// A step: an integer of 64 bits, from an `int` or through `__index__` (numpy integers, integer tensors).
///
/// # Errors
/// `InputTypeError` for anything else, `InputError` beyond 64 bits.
pub fn step(value: &Bound<'_, PyAny>) -> PyResult<i64> {
    let py = value.py();
    value.extract::<i64>().map_err(|cause| {
        if cause.is_instance_of::<PyOverflowError>(py) {
            Class::Input.error(py, "the step does not fit into 64 bits; use an integer from -2**63 to 2**63 - 1")
        } else if cause.is_instance_of::<PyTypeError>(py) {
            let fault = format!("the step must be an integer and is of type {}; use int(step)", type_name(value));
            Class::InputType.error(py, fault)
        } else {
            cause
        }
    })
}

/// Checks that a name or key is a `str`.
///
/// # Errors
/// `InputTypeError`.
pub fn expect_text<'a, 'py>(text: &'a Bound<'py, PyAny>, what: &str) -> PyResult<&'a Bound<'py, PyString>> {
    text.cast::<PyString>().map_err(|_| {
        let fault = format!("a {what} must be a str and is of type {}; use str(...)", type_name(text));
        Class::InputType.error(text.py(), fault)
    })
}

/// The text of a name or key.
///
/// # Errors
/// `InputTypeError` when it is not a `str`, `InputError` when it is not valid Unicode.
pub fn text(text: &Bound<'_, PyAny>, what: &str) -> PyResult<String> {
    let text = expect_text(text, what)?;
    match text.to_str() {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(Class::Input.error(text.py(), format!("the {what} {} is not valid Unicode", text.repr()?))),
    }
}

/// Parameters or properties: numbers, booleans and text are kept as such, nested dicts become dotted keys.
///
/// # Errors
/// `InputTypeError` or `InputError`, naming the key.
pub fn params(values: Option<&Bound<'_, PyAny>>) -> PyResult<BTreeMap<String, ParamValue>> {
    let mut params = BTreeMap::new();
    if let Some(values) = values {
        flatten(values, "", &mut params)?;
    }
    Ok(params)
}

/// The direction of an edge between a run and an artifact.
///
/// # Errors
/// `InputError` for another word.
pub fn direction(word: &str) -> PyResult<Direction> {
    match word {
        "input" => Ok(Direction::Input),
        "output" => Ok(Direction::Output),
        "internal_output" => Ok(Direction::InternalOutput),
        other => Python::attach(|py| {
            let fault = format!("the direction {other:?} is not possible; use \"input\" or \"output\"");
            Err(Class::Input.error(py, fault))
        }),
    }
}

/// Nesting of parameters deeper than this is refused: a dict that holds itself would never end.
const PARAM_DEPTH_MAX: usize = 16;

fn flatten(values: &Bound<'_, PyAny>, prefix: &str, params: &mut BTreeMap<String, ParamValue>) -> PyResult<()> {
    let py = values.py();
    if prefix.split('.').count() > PARAM_DEPTH_MAX {
        return Err(Class::Input.error(py, format!("parameters are nested more than {PARAM_DEPTH_MAX} deep")));
    }
    let mapping = values.cast::<PyMapping>().map_err(|_| {
        Class::InputType.error(py, format!("expected a dict of names to values, not {}", type_name(values)))
    })?;
    for item in mapping.items()?.iter() {
        let (key, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = item.extract()?;
        let key = format!("{prefix}{}", text(&key, "parameter name")?);
        if value.is_instance_of::<PyDict>() {
            flatten(&value, &format!("{key}."), params)?;
        } else {
            let value = param(&value, &key)?;
            params.insert(key, value);
        }
    }
    Ok(())
}

fn param(value: &Bound<'_, PyAny>, key: &str) -> PyResult<ParamValue> {
    let py = value.py();
    if let Ok(truth) = value.cast::<PyBool>() {
        return Ok(ParamValue::Bool(truth.is_true()));
    }
    if value.is_instance_of::<PyInt>() {
        return value.extract().map(ParamValue::Int).map_err(|_| {
            Class::Input
                .error(py, format!("parameter {key:?} is an integer beyond 64 bits; keep it as text: str(value)"))
        });
    }
    if let Ok(float) = value.cast::<PyFloat>() {
        return Ok(ParamValue::Float(float.value()));
    }
    if value.is_instance_of::<PyString>() {
        return text(value, "text").map(ParamValue::Text);
    }
    if value.is_none() {
        return Ok(ParamValue::Text("None".to_owned()));
    }
    if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
        let json = py.import("json")?.call_method1("dumps", (value,));
        return match json {
            Ok(text) => text.extract().map(ParamValue::Text),
            Err(_) => Ok(ParamValue::Text(value.str()?.to_string())),
        };
    }
    if let Some(path) = value.getattr_opt(intern!(py, "__fspath__"))? {
        return path.call0()?.extract().map(ParamValue::Text);
    }
    if let Some(item) = value.getattr_opt(intern!(py, "item"))? {
        let scalar = item.call0()?;
        if !scalar.get_type().is(value.get_type()) {
            return param(&scalar, key);
        }
    }
    let fault = format!(
        "parameter {key:?} is of type {}; use a bool, int, float or text, such as str(value)",
        type_name(value)
    );
    Err(Class::InputType.error(py, fault))
}

/// Values for the names with a `$` in a query.
///
/// # Errors
/// `InputTypeError` for a value that SQL has no literal for.
pub fn sql_parameters(values: Option<&Bound<'_, PyAny>>) -> PyResult<Vec<(String, Parameter)>> {
    let mut parameters = Vec::new();
    let Some(values) = values else { return Ok(parameters) };
    let mapping = values.cast::<PyMapping>().map_err(|_| {
        let fault = format!("params must be a dict of names to values, not {}", type_name(values));
        Class::InputType.error(values.py(), fault)
    })?;
    for item in mapping.items()?.iter() {
        let (name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = item.extract()?;
        let name = text(&name, "parameter name")?;
        let value = sql_parameter(&value, &name)?;
        parameters.push((name, value));
    }
    Ok(parameters)
}

fn sql_parameter(value: &Bound<'_, PyAny>, name: &str) -> PyResult<Parameter> {
    let py = value.py();
    if value.is_none() {
        return Ok(Parameter::Null);
    }
    if let Ok(moment) = value.cast::<PyDateTime>() {
        if moment.get_tzinfo().is_none() {
            let fault = format!("parameter {name:?} has no time zone; give one, such as datetime.timezone.utc");
            return Err(Class::Input.error(py, fault));
        }
        // A 64-bit float holds today's times to a quarter of a microsecond.
        let seconds: f64 = moment.call_method0(intern!(py, "timestamp"))?.extract()?;
        return Ok(Parameter::Time((seconds * 1e6).round() as i64));
    }
    if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
        let members = value.try_iter()?.map(|member| sql_parameter(&member?, name));
        return Ok(Parameter::List(members.collect::<PyResult<_>>()?));
    }
    Ok(match param(value, name)? {
        ParamValue::Bool(value) => value.into(),
        ParamValue::Int(value) => value.into(),
        ParamValue::Float(value) => value.into(),
        ParamValue::Text(value) => value.into(),
    })
}

/// Tags: text by name.
///
/// # Errors
/// `InputTypeError` for a value that is not text.
pub fn tags(values: Option<&Bound<'_, PyAny>>) -> PyResult<BTreeMap<String, String>> {
    let mut tags = BTreeMap::new();
    let Some(values) = values else { return Ok(tags) };
    let py = values.py();
    let mapping = values.cast::<PyMapping>().map_err(|_| {
        Class::InputType.error(py, format!("tags must be a dict of text to text, not {}", type_name(values)))
    })?;
    for item in mapping.items()?.iter() {
        let (key, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = item.extract()?;
        let key = text(&key, "tag name")?;
        if !value.is_instance_of::<PyString>() {
            let fault = format!("tag {key:?} is of type {}; a tag is text, numbers are parameters", type_name(&value));
            return Err(Class::InputType.error(py, fault));
        }
        tags.insert(key, text(&value, "tag")?);
    }
    Ok(tags)
}
