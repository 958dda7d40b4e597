//! A metric handle: a Python object that is called as `loss(value, step)`, by way of the vectorcall convention.
//!
//! Invariants of the unsafe code in this file, besides INV-1 and INV-3 of [`crate::hot`]:
//!
//! - INV-5: The functions of the type are called with an instance of it: CPython takes them from the type. It cannot be
//!   subclassed or made by its class, so every instance comes from [`new_metric`].
//! - INV-6: The fields of a `MetricObject` are written once, before Python sees it, and dropped once, in its dealloc.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int, c_uint, c_void};
use std::mem::{offset_of, size_of};
use std::ptr;
use std::sync::Arc;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};
use stepwell_engine::{LogError, Row};

use crate::arguments::Arguments;
use crate::docs::METRIC_DOC;
use crate::hot::{Args, arguments, guarded, number, refused, step_argument};
use crate::run::{Inner, Run};
use crate::shapes::{HotState, LoggerSlot};
use crate::slow;
use crate::values::Which;

/// A metric handle as Python holds it.
#[repr(C)]
struct MetricObject {
    head: ffi::PyObject,
    /// Where CPython finds the function to call.
    call: unsafe extern "C" fn(*mut ffi::PyObject, Args, usize, *mut ffi::PyObject) -> *mut ffi::PyObject,
    /// The `Run`, held.
    run: *mut ffi::PyObject,
    /// The metrics name, a `str`, held.
    metrics_name: *mut ffi::PyObject,
    /// The key, a `str`, held.
    name: *mut ffi::PyObject,
    inner: Arc<Inner>,
    row: Row,
}

/// A metric handle, called as `loss(value)` or `loss(value, step)`.
unsafe extern "C" fn call_metric(
    metric: *mut ffi::PyObject,
    args: Args,
    nargsf: usize,
    kwnames: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    guarded(|| {
        // The highest bit says that the caller lent us the place before `args`.
        let nargs = (nargsf & !(1 << (usize::BITS - 1))) as ffi::Py_ssize_t;
        // SAFETY: INV-1.
        let py = unsafe { Python::assume_attached() };
        // SAFETY: INV-5, INV-6.
        let metric = unsafe { &*metric.cast::<MetricObject>() };
        // SAFETY: INV-3.
        if let Some(step) = unsafe { step_argument(args, nargs, kwnames, 1) } {
            // SAFETY: INV-3: there is a positional argument, as `step_argument` saw.
            if let Some(value) = unsafe { number(*args) } {
                return push_one(py, &metric.inner, &metric.row, step, value);
            }
        }
        Python::attach(|py| {
            // SAFETY: INV-3.
            let given = unsafe { arguments(py, args, nargs, kwnames) }?;
            log_through_handle(py, metric, given)
        })
    })
}

/// A metric handle, called with a tuple and a dict: `loss(*args, **keywords)` from C code that knows no vectorcall.
unsafe extern "C" fn call_metric_with_tuple(
    metric: *mut ffi::PyObject,
    args: *mut ffi::PyObject,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    guarded(|| {
        Python::attach(|py| {
            // SAFETY: INV-5, INV-6.
            let metric = unsafe { &*metric.cast::<MetricObject>() };
            // SAFETY: INV-3: `tp_call` is given a tuple, and a dict or null.
            let (args, keywords) =
                unsafe { (Bound::from_borrowed_ptr(py, args), Bound::from_borrowed_ptr_or_opt(py, keywords)) };
            let positional = args.cast_into::<PyTuple>()?.iter().collect();
            let keywords = match keywords {
                Some(keywords) => keywords
                    .cast_into::<PyDict>()?
                    .iter()
                    .map(|(key, value)| Ok((key.extract()?, value)))
                    .collect::<PyResult<_>>()?,
                None => Vec::new(),
            };
            log_through_handle(py, metric, Arguments { positional, keywords })
        })
    })
}

fn log_through_handle(py: Python<'_>, metric: &MetricObject, given: Arguments<'_>) -> PyResult<()> {
    let [value, step] = given.bind("metric", ["value", "step"], 1)?;
    let value = value.unwrap_or_else(|| py.None().into_bound(py));
    // SAFETY: INV-6: both are `str` objects that the handle holds.
    let (metrics_name, name) =
        unsafe { (Bound::from_borrowed_ptr(py, metric.metrics_name), Bound::from_borrowed_ptr(py, metric.name)) };
    let which = Which { metrics_name: Some(&metrics_name), key: &name };
    slow::log_one(&metric.inner, &metric.row, &which, &value, step.as_ref())
}

/// Logs one value through a handle.
#[inline(always)]
fn push_one(py: Python<'_>, run: &Inner, row: &Row, step: Option<i64>, value: f64) -> PyResult<()> {
    let step = step.unwrap_or_else(|| row.next_step());
    let outcome = match run.hot.try_borrow_mut(py).as_deref_mut() {
        Some(HotState { logger: LoggerSlot::Ready(logger), .. }) => logger.try_log_row(row, step, &[value]),
        // Whatever the reason, the other way finds it again and says it.
        _ => Err(LogError::Full),
    };
    match outcome {
        Ok(()) => Ok(()),
        Err(refusal) => refused(run, row, step, &[value], refusal),
    }
}

static METRIC_TYPE: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// A handle for the single metric of `row`.
///
/// # Errors
/// `MemoryError`.
pub fn new_metric<'py>(
    run: &Bound<'py, Run>,
    metrics_name: &Bound<'py, PyString>,
    name: &Bound<'py, PyString>,
    row: Row,
) -> PyResult<Bound<'py, PyAny>> {
    let py = run.py();
    let kind = metric_type(py)?;
    // SAFETY: INV-1. The type's instances have the size of `MetricObject`; the memory comes zeroed and with its head set.
    // INV-6: all fields are written before the object is handed out; the four pointers come with a reference each.
    unsafe {
        let object = ffi::PyType_GenericAlloc(kind.as_ptr().cast(), 0);
        let object = Bound::from_owned_ptr_or_err(py, object)?;
        let fields = object.as_ptr().cast::<MetricObject>();
        (&raw mut (*fields).call).write(call_metric);
        (&raw mut (*fields).run).write(run.clone().into_ptr());
        (&raw mut (*fields).metrics_name).write(metrics_name.clone().into_ptr());
        (&raw mut (*fields).name).write(name.clone().into_ptr());
        (&raw mut (*fields).inner).write(run.get().inner_arc());
        (&raw mut (*fields).row).write(row);
        Ok(object)
    }
}

unsafe extern "C" fn drop_metric(metric: *mut ffi::PyObject) {
    // SAFETY: INV-6: called once, when nobody refers to the object any more. An instance of a heap type holds its type.
    unsafe {
        let kind = ffi::Py_TYPE(metric);
        let fields = metric.cast::<MetricObject>();
        ptr::drop_in_place(&raw mut (*fields).row);
        ptr::drop_in_place(&raw mut (*fields).inner);
        for held in [(*fields).name, (*fields).metrics_name, (*fields).run] {
            ffi::Py_DECREF(held);
        }
        ffi::PyObject_Free(metric.cast());
        ffi::Py_DECREF(kind.cast());
    }
}

unsafe extern "C" fn repr_metric(metric: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: INV-5, INV-6; the format asks for two objects.
    unsafe {
        let fields = metric.cast::<MetricObject>();
        ffi::PyUnicode_FromFormat(c"<stepwell.Metric %R of %R>".as_ptr(), (*fields).name, (*fields).metrics_name)
    }
}

/// The class `Metric`.
///
/// # Errors
/// `MemoryError`.
pub fn metric_type(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    Ok(METRIC_TYPE.get_or_try_init(py, || make_type(py))?.bind(py))
}

fn make_type(py: Python<'_>) -> PyResult<Py<PyType>> {
    let member = |name: &'static CStr, kind: c_int, offset: usize| ffi::PyMemberDef {
        name: name.as_ptr(),
        type_code: kind,
        offset: offset as ffi::Py_ssize_t,
        flags: ffi::Py_READONLY,
        doc: ptr::null(),
    };
    // Python keeps pointers into these as long as the type lives, which is for ever.
    let members = Box::leak(Box::new([
        member(c"__vectorcalloffset__", ffi::Py_T_PYSSIZET, offset_of!(MetricObject, call)),
        member(c"run", ffi::Py_T_OBJECT_EX, offset_of!(MetricObject, run)),
        member(c"metrics_name", ffi::Py_T_OBJECT_EX, offset_of!(MetricObject, metrics_name)),
        member(c"name", ffi::Py_T_OBJECT_EX, offset_of!(MetricObject, name)),
        ffi::PyMemberDef::default(),
    ]));
    let slot = |slot: c_int, pfunc: *mut c_void| ffi::PyType_Slot { slot, pfunc };
    let slots = Box::leak(Box::new([
        slot(ffi::Py_tp_dealloc, drop_metric as *mut _),
        slot(ffi::Py_tp_call, call_metric_with_tuple as *mut _),
        slot(ffi::Py_tp_repr, repr_metric as *mut _),
        slot(ffi::Py_tp_members, members.as_mut_ptr().cast()),
        slot(ffi::Py_tp_doc, METRIC_DOC.as_ptr().cast_mut().cast()),
        slot(0, ptr::null_mut()),
    ]));
    // The limited API names the flag only from 3.12 on, and every version since 3.8 honours it.
    const HAVE_VECTORCALL: u64 = 1 << 11;
    let flags = ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION | HAVE_VECTORCALL;
    let mut spec = ffi::PyType_Spec {
        name: c"stepwell.Metric".as_ptr(),
        basicsize: size_of::<MetricObject>() as c_int,
        itemsize: 0,
        flags: flags as c_uint,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: INV-1; name, members and slots are static; the sizes and offsets are those of `MetricObject`.
    let kind = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpec(&mut spec)) }?;
    Ok(kind.cast_into::<PyType>()?.unbind())
}
