//! The calls that a training loop makes, `run.log_metric` and `run.log` (a metric handle is next door), written against Python's C
//! interface so that a call costs what Python's own builtins cost. Whatever is not the usual case goes to
//! [`crate::slow`], before anything was done.
//!
//! The usual case: the arguments in their places, a plain dict whose keys are those of a known shape, values that are
//! floats or small integers, room in the ring. No Python code runs in it, nothing is allocated, no lock is taken.
//!
//! Invariants of the unsafe code in this file:
//!
//! - INV-1: The interpreter's lock is held in every function that Python calls, until it is released by
//!   [`Python::detach`]. An interpreter built without that lock does not load modules of this stable ABI (3.10).
//! - INV-2: A method in the type's dict is called with an instance of that type as `self`: CPython checks it.
//! - INV-3: Pointers to arguments are valid during the call: the caller owns them. `args` holds `nargs` positional
//!   values, then one for each name in `kwnames`.
//! - INV-4: Keys and values that `PyDict_Next` gives belong to the dict; they stay valid as long as no Python code runs
//!   and the lock is kept.
#![allow(unsafe_code)]

use std::cell::{RefCell, RefMut};
use std::ffi::{CStr, c_char, c_int};
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple, PyType};
use stepwell_engine::{LogError, Row};

use crate::arguments::Arguments;
use crate::docs::{LOG_DOC, LOG_METRIC_DOC};
use crate::error::{self, Class};
use crate::handle;
use crate::run::{Inner, Run};
use crate::shapes::{LoggerSlot, SHORT_NAME, Shape};
use crate::slow;
use crate::values::EXACT_INT_MAX;

/// Rows of up to this many keys are read on the stack; longer ones take the way of [`slow::log`].
const KEYS_MAX: usize = 64;

/// State that the interpreter's lock guards, with a check that it is not borrowed twice.
pub struct GilCell<T>(RefCell<T>);

// SAFETY: INV-1: the cell is reached only with a `Python` token at hand, so by one thread at a time; a borrow cannot be
// carried into `Python::detach`, because `RefMut` is not `Send`. `T: Send` because the threads take turns.
unsafe impl<T: Send> Sync for GilCell<T> {}

impl<T> GilCell<T> {
    /// Wraps `value`.
    pub fn new(value: T) -> Self {
        Self(RefCell::new(value))
    }

    /// Borrows the state. The borrow must end before Python code runs.
    ///
    /// # Errors
    /// `StepwellError` when it is borrowed already, which is a mistake in this crate.
    pub fn borrow_mut<'a>(&'a self, py: Python<'a>) -> PyResult<RefMut<'a, T>> {
        self.0
            .try_borrow_mut()
            .map_err(|_| Class::Stepwell.error(py, "a log call was entered twice at the same moment"))
    }

    /// Borrows the state, unless it is borrowed already.
    #[inline(always)]
    pub fn try_borrow_mut<'a>(&'a self, _py: Python<'a>) -> Option<RefMut<'a, T>> {
        self.0.try_borrow_mut().ok()
    }
}

/// The interned string `step`, which a call that says `step=` passes.
static STEP: AtomicPtr<ffi::PyObject> = AtomicPtr::new(ptr::null_mut());

/// The type `numpy.float32`, once a value of it was seen.
static FLOAT32: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(ptr::null_mut());

/// Arguments as the vectorcall convention hands them over.
pub type Args = *const *mut ffi::PyObject;
type Values = [MaybeUninit<f64>; KEYS_MAX];

/// Outcome of the usual case.
enum Fast {
    Done,
    /// Nothing was done; take the other way.
    Unusual,
    /// The engine refused the row.
    Refused(PyErr),
}

/// `Run.log_metric(name, metrics, step=None)`, or without the name `Run.log(metrics, step=None)`.
unsafe extern "C" fn log_row<const NAMED: bool>(
    run: *mut ffi::PyObject,
    args: Args,
    nargs: ffi::Py_ssize_t,
    kwnames: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    let before = if NAMED { 2 } else { 1 };
    guarded(|| {
        // SAFETY: INV-1.
        let py = unsafe { Python::assume_attached() };
        // SAFETY: INV-2.
        let inner = unsafe { inner_of(py, run) };
        // SAFETY: INV-3.
        if let Some(step) = unsafe { step_argument(args, nargs, kwnames, before) } {
            // SAFETY: INV-3: there are at least `before` positional arguments, as `step_argument` saw.
            let (name, metrics) = unsafe { (NAMED.then_some(*args), *args.offset(before - 1)) };
            // SAFETY: INV-1, INV-3.
            match unsafe { fast_row(py, inner, name, metrics, step) } {
                Fast::Done => return Ok(()),
                Fast::Refused(refusal) => return Err(refusal),
                Fast::Unusual => {}
            }
        }
        Python::attach(|py| {
            // SAFETY: INV-3.
            let given = unsafe { arguments(py, args, nargs, kwnames) }?;
            let none = || py.None().into_bound(py);
            if NAMED {
                let [name, metrics, step] = given.bind("log_metric", ["name", "metrics", "step"], 2)?;
                slow::log(inner, name.as_ref(), &metrics.unwrap_or_else(none), step.as_ref())
            } else {
                let [metrics, step] = given.bind("log", ["metrics", "step"], 1)?;
                slow::log(inner, None, &metrics.unwrap_or_else(none), step.as_ref())
            }
        })
    })
}

/// Logs a row whose keys are known and whose values are plain numbers.
///
/// # Safety
/// - The interpreter's lock is held (INV-1).
/// - `name` and `metrics` are valid objects (INV-3).
#[inline(always)]
unsafe fn fast_row(
    py: Python<'_>,
    run: &Inner,
    name: Option<*mut ffi::PyObject>,
    metrics: *mut ffi::PyObject,
    step: Option<i64>,
) -> Fast {
    // SAFETY: INV-3; the type objects are static.
    if unsafe { ffi::Py_TYPE(metrics) } != &raw mut ffi::PyDict_Type {
        return Fast::Unusual;
    }
    let Some(mut state) = run.hot.try_borrow_mut(py) else { return Fast::Unusual };
    let index = match name {
        Some(name) => match state.name_at(name as usize) {
            Some(index) => index,
            None => return Fast::Unusual,
        },
        None => SHORT_NAME,
    };
    let (LoggerSlot::Ready(logger), shapes) = state.parts(index) else { return Fast::Unusual };
    let mut values: Values = [MaybeUninit::uninit(); KEYS_MAX];
    let Some(mut shape) = shapes.recent() else { return Fast::Unusual };
    // SAFETY: INV-4: no Python code runs before the values are read.
    let mut read = unsafe { read_row(metrics, shape, &mut values) };
    if let Read::OtherKeys = read {
        let mut addresses = [0; KEYS_MAX];
        // SAFETY: INV-4.
        let Some(addresses) = (unsafe { read_keys(metrics, &mut addresses) }) else { return Fast::Unusual };
        let Some(found) = shapes.find(addresses) else { return Fast::Unusual };
        shape = found;
        // SAFETY: INV-4.
        read = unsafe { read_row(metrics, shape, &mut values) };
    }
    let Read::Filled(count) = read else { return Fast::Unusual };
    // SAFETY: `read_row` filled the first `count` places.
    let values = unsafe { values[..count].assume_init_ref() };
    let step = step.unwrap_or_else(|| shape.row.next_step());
    match logger.try_log_row(&shape.row, step, values) {
        Ok(()) => Fast::Done,
        Err(refusal) => {
            let row = shape.row.clone();
            drop(state);
            match refused(run, &row, step, values, refusal) {
                Ok(()) => Fast::Done,
                Err(refusal) => Fast::Refused(refusal),
            }
        }
    }
}

/// Does what is right when the engine did not take a row at once.
///
/// # Errors
/// Those of [`slow::push`].
#[cold]
pub fn refused(run: &Inner, row: &Row, step: i64, values: &[f64], refusal: LogError) -> PyResult<()> {
    Python::attach(|py| match refusal {
        LogError::Full => slow::push(py, run, row, Some(step), values),
        refusal => Err(error::log(py, refusal)),
    })
}

enum Read {
    /// So many values were filled.
    Filled(usize),
    OtherKeys,
    /// A value that is not a plain number.
    OtherValues,
}

/// Reads a dict that has exactly the keys of `shape`, in their order. Runs no Python code.
///
/// # Safety
/// - The interpreter's lock is held, and `dict` is a valid dict (INV-1, INV-3).
#[inline(always)]
unsafe fn read_row(dict: *mut ffi::PyObject, shape: &Shape, values: &mut Values) -> Read {
    let addresses = &*shape.addresses;
    let (mut position, mut key, mut value) = (0, ptr::null_mut(), ptr::null_mut());
    let mut count = 0;
    // SAFETY: INV-4: `number` runs no Python code.
    while unsafe { ffi::PyDict_Next(dict, &mut position, &mut key, &mut value) } != 0 {
        if addresses.get(count) != Some(&(key as usize)) {
            return Read::OtherKeys;
        }
        // SAFETY: INV-4.
        let Some(number) = (unsafe { number(value) }) else { return Read::OtherValues };
        let Some(place) = values.get_mut(count) else { return Read::OtherValues };
        place.write(number);
        count += 1;
    }
    if count == addresses.len() { Read::Filled(count) } else { Read::OtherKeys }
}

/// Addresses of the keys of a dict, in their order; `None` when there are more than `addresses` holds.
///
/// # Safety
/// - The interpreter's lock is held, and `dict` is a valid dict (INV-1, INV-3).
unsafe fn read_keys(dict: *mut ffi::PyObject, addresses: &mut [usize; KEYS_MAX]) -> Option<&[usize]> {
    let (mut position, mut key, mut count) = (0, ptr::null_mut(), 0);
    // SAFETY: INV-4.
    while unsafe { ffi::PyDict_Next(dict, &mut position, &mut key, ptr::null_mut()) } != 0 {
        *addresses.get_mut(count)? = key as usize;
        count += 1;
    }
    Some(&addresses[..count])
}

/// A plain number: `float` and its subclasses (numpy's `float64`), `bool`, `int` up to 2**53, and numpy's `float32`. Runs
/// no Python code.
///
/// # Safety
/// - The interpreter's lock is held, and `value` is a valid object (INV-1, INV-3).
#[inline(always)]
pub unsafe fn number(value: *mut ffi::PyObject) -> Option<f64> {
    // SAFETY: INV-3; the type objects are static. `PyFloat_AsDouble` of a float reads it and cannot fail.
    unsafe {
        let kind = ffi::Py_TYPE(value);
        if kind == &raw mut ffi::PyFloat_Type {
            return Some(ffi::PyFloat_AsDouble(value));
        }
        if kind == &raw mut ffi::PyLong_Type {
            return integer(value)
                .filter(|int| int.unsigned_abs() <= EXACT_INT_MAX.unsigned_abs())
                .map(|int| int as f64);
        }
        if kind == &raw mut ffi::PyBool_Type {
            return Some(if value == ffi::Py_True() { 1.0 } else { 0.0 });
        }
        if ffi::PyType_IsSubtype(kind, &raw mut ffi::PyFloat_Type) != 0 {
            return Some(ffi::PyFloat_AsDouble(value));
        }
        if kind == FLOAT32.load(Ordering::Relaxed) {
            let number = ffi::PyFloat_AsDouble(value);
            if number != -1.0 || ffi::PyErr_Occurred().is_null() {
                return Some(number);
            }
            ffi::PyErr_Clear();
        }
    }
    None
}

/// Recognises numpy's `float32` from now on, if `value` is one: its conversion is C code that runs no Python code.
///
/// # Errors
/// Those of reading the name of a class.
pub fn learn_float_type(value: &Bound<'_, PyAny>) -> PyResult<()> {
    if FLOAT32.load(Ordering::Relaxed).is_null() {
        let kind = value.get_type();
        if kind.name()? == "float32" && kind.module()? == "numpy" {
            // Held for ever, so that the address stays that of this type.
            FLOAT32.store(kind.into_ptr().cast(), Ordering::Relaxed);
        }
    }
    Ok(())
}

/// The value of an `int` that fits into 64 bits. Runs no Python code.
///
/// # Safety
/// - The interpreter's lock is held, and `value` is an `int` (INV-1, INV-3).
#[inline(always)]
unsafe fn integer(value: *mut ffi::PyObject) -> Option<i64> {
    let mut overflow: c_int = 0;
    // SAFETY: of an `int` this reads the digits and cannot fail.
    let int = unsafe { ffi::PyLong_AsLongLongAndOverflow(value, &mut overflow) };
    (overflow == 0).then_some(int)
}

/// The argument `step`, which comes after `before` positional ones: `Some(None)` when it is absent, `None` when the call
/// is not made in a usual way, such as with fewer than `before`.
///
/// # Safety
/// - The arguments are those of a call (INV-1, INV-3).
#[inline(always)]
pub unsafe fn step_argument(
    args: Args,
    nargs: ffi::Py_ssize_t,
    kwnames: *mut ffi::PyObject,
    before: ffi::Py_ssize_t,
) -> Option<Option<i64>> {
    // SAFETY: INV-3: `kwnames` is null or a tuple of interned names, each with a value behind the positional ones.
    unsafe {
        let step = if kwnames.is_null() {
            match nargs - before {
                0 => return Some(None),
                1 => *args.offset(before),
                _ => return None,
            }
        } else if nargs == before
            && ffi::PyTuple_Size(kwnames) == 1
            && ffi::PyTuple_GetItem(kwnames, 0) == STEP.load(Ordering::Relaxed)
        {
            *args.offset(before)
        } else {
            return None;
        };
        if ffi::Py_TYPE(step) == &raw mut ffi::PyLong_Type {
            return integer(step).map(Some);
        }
        (step == ffi::Py_None()).then_some(None)
    }
}

/// The arguments of a call as objects that are held.
///
/// # Safety
/// - The arguments are those of a call (INV-1, INV-3).
pub unsafe fn arguments<'py>(
    py: Python<'py>,
    args: Args,
    nargs: ffi::Py_ssize_t,
    kwnames: *mut ffi::PyObject,
) -> PyResult<Arguments<'py>> {
    // SAFETY: INV-3.
    let at = |index: usize| unsafe { Bound::from_borrowed_ptr(py, *args.add(index)) };
    let nargs = nargs as usize;
    let positional = (0..nargs).map(at).collect();
    // SAFETY: INV-3: null or a tuple.
    let names = unsafe { Bound::from_borrowed_ptr_or_opt(py, kwnames) };
    let keywords = match names {
        Some(names) => names
            .cast_into::<PyTuple>()?
            .iter()
            .enumerate()
            .map(|(index, name)| Ok((name.extract()?, at(nargs + index))))
            .collect::<PyResult<_>>()?,
        None => Vec::new(),
    };
    Ok(Arguments { positional, keywords })
}

/// The run behind `self`.
///
/// # Safety
/// - `run` is an instance of `Run` that outlives the use (INV-2, INV-3).
#[inline(always)]
unsafe fn inner_of<'a>(py: Python<'a>, run: *mut ffi::PyObject) -> &'a Inner {
    // SAFETY: INV-2.
    let run: &'a Run = unsafe { Borrowed::<PyAny>::from_ptr(py, run).cast_unchecked::<Run>() }.get();
    run.inner()
}

/// Gives Python `None` or raises. A panic becomes an exception: it must not pass through the interpreter's frames.
#[inline(always)]
pub fn guarded(call: impl FnOnce() -> PyResult<()>) -> *mut ffi::PyObject {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => {
            // SAFETY: INV-1; `None` is static.
            unsafe {
                let none = ffi::Py_None();
                ffi::Py_INCREF(none);
                none
            }
        }
        Ok(Err(raised)) => raise(Some(raised)),
        Err(_) => raise(None),
    }
}

#[cold]
fn raise(raised: Option<PyErr>) -> *mut ffi::PyObject {
    Python::attach(|py| {
        let message = "a log call failed inside Stepwell; the row may be missing";
        raised.unwrap_or_else(|| Class::Stepwell.error(py, message)).restore(py);
    });
    ptr::null_mut()
}

/// Adds the hand-written calls to the class `Run`, and the class `Metric` to the module.
///
/// # Errors
/// `MemoryError`.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let step = PyString::intern(py, "step");
    STEP.store(step.into_ptr(), Ordering::Relaxed);
    let run = py.get_type::<Run>();
    add_method(&run, c"log_metric", log_row::<true>, LOG_METRIC_DOC)?;
    add_method(&run, c"log", log_row::<false>, LOG_DOC)?;
    module.add("Metric", handle::metric_type(py)?)
}

fn add_method(
    class: &Bound<'_, PyType>,
    name: &'static CStr,
    function: ffi::PyCFunctionFastWithKeywords,
    doc: &'static CStr,
) -> PyResult<()> {
    // Python keeps the pointer as long as the class lives, which is for ever.
    let definition = Box::leak(Box::new(ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: function },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: doc.as_ptr().cast::<c_char>(),
    }));
    // SAFETY: INV-1; the definition is static and its flags fit the function's signature.
    let method =
        unsafe { Bound::from_owned_ptr_or_err(class.py(), ffi::PyDescr_NewMethod(class.as_ptr().cast(), definition)) }?;
    class.setattr(PyString::new(class.py(), &name.to_string_lossy()), method)
}
