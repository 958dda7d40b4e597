//! Native half of the Python package `stepwell`: registers what the other files define, nothing else.

mod arguments;
mod docs;
mod error;
mod handle;
mod hot;
mod lifetime;
mod parquet_file;
mod query;
mod reports;
mod rows;
mod run;
mod shapes;
mod slow;
mod start;
mod stores;
mod upkeep;
mod values;

use pyo3::prelude::*;

/// The native module; the package `stepwell` re-exports its public names.
#[pymodule]
#[pyo3(name = "_native")]
fn native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("__build__", build())?;
    module.add_class::<run::Run>()?;
    module.add_class::<query::QueryAnswer>()?;
    module.add_class::<reports::Artifact>()?;
    module.add_class::<reports::MetricsArtifact>()?;
    module.add_class::<reports::Report>()?;
    module.add_class::<reports::Stats>()?;
    module.add_function(wrap_pyfunction!(start::start, module)?)?;
    module.add_function(wrap_pyfunction!(query::sql, module)?)?;
    module.add_function(wrap_pyfunction!(query::runs, module)?)?;
    module.add_function(wrap_pyfunction!(upkeep::compact, module)?)?;
    module.add_function(wrap_pyfunction!(upkeep::catalog_path, module)?)?;
    module.add_function(wrap_pyfunction!(query::metrics, module)?)?;
    module.add_function(wrap_pyfunction!(query::history, module)?)?;
    module.add_function(wrap_pyfunction!(parquet_file::write_parquet, module)?)?;
    module.add_function(wrap_pyfunction!(lifetime::finish_open_runs, module)?)?;
    module.add_function(wrap_pyfunction!(lifetime::after_fork_in_child, module)?)?;
    hot::register(module)
}

/// Profile of the build and its level of optimisation. Checks of a debug build make it one, whatever the profile is called.
fn build() -> &'static str {
    if cfg!(debug_assertions) { concat!("debug assertions, ", env!("STEPWELL_BUILD")) } else { env!("STEPWELL_BUILD") }
}
