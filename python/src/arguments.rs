//! Arguments of the hand-written calls, bound to names as Python binds them.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

/// The arguments of one call, as the vectorcall convention hands them over.
pub struct Arguments<'py> {
    /// Positional arguments.
    pub positional: Vec<Bound<'py, PyAny>>,
    /// Keyword arguments.
    pub keywords: Vec<(String, Bound<'py, PyAny>)>,
}

impl<'py> Arguments<'py> {
    /// Binds the arguments to the parameters `names` of `function`, of which the first `required` must be given.
    ///
    /// # Errors
    /// `TypeError`, in the words Python uses for its own functions.
    pub fn bind<const N: usize>(
        self,
        function: &str,
        names: [&str; N],
        required: usize,
    ) -> PyResult<[Option<Bound<'py, PyAny>>; N]> {
        let given = self.positional.len();
        if given > N {
            return Err(PyTypeError::new_err(format!(
                "{function}() takes at most {N} positional arguments ({given} given)"
            )));
        }
        let mut bound = [const { None }; N];
        for (place, value) in bound.iter_mut().zip(self.positional) {
            *place = Some(value);
        }
        for (keyword, value) in self.keywords {
            let Some(index) = names.iter().position(|name| *name == keyword) else {
                let fault = format!("{function}() got an unexpected keyword argument '{keyword}'");
                return Err(PyTypeError::new_err(fault));
            };
            if bound[index].replace(value).is_some() {
                let fault = format!("{function}() got multiple values for argument '{keyword}'");
                return Err(PyTypeError::new_err(fault));
            }
        }
        match names[..required].iter().zip(&bound).find(|(_, value)| value.is_none()) {
            Some((name, _)) => Err(PyTypeError::new_err(format!("{function}() missing required argument '{name}'"))),
            None => Ok(bound),
        }
    }
}
