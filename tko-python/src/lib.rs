//! The native part of the Python package `tko`: packages, validation, expressions, clients and
//! embedded stores. The rest of the package is Python, in `python/tko`.

mod changes;
mod connections;
mod controller;
mod data;
mod error;
mod expression;
mod identifier;
mod json;
mod operation;
mod package;
mod plugin_call;
mod record;
mod resource_text;
mod running_calls;
mod runtime;
mod select;
mod store;
mod stream;
mod validation;
mod yaml;

use pyo3::prelude::*;
use tokio::runtime::Builder;

/// Threads of the runtime. Python code waits for it, so few are enough.
const THREADS: usize = 2;

/// Whether a pattern for ids matches: `*` within a segment, `**` across segments.
#[pyfunction]
fn matches_id(pattern: &str, text: &str) -> PyResult<bool> {
    Ok(select::id_pattern(pattern)?.matches(text))
}

/// Whether a pattern for metadata values matches: `*` is any text.
#[pyfunction]
fn matches_value(pattern: &str, text: &str) -> PyResult<bool> {
    Ok(select::value_pattern(pattern)?.matches(text))
}

#[pymodule]
fn _tko(module: &Bound<'_, PyModule>) -> PyResult<()> {
    // Another part of the process may have chosen a provider already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(THREADS).enable_all();
    pyo3_async_runtimes::tokio::init(builder);
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    error::register(module)?;
    module.add_class::<identifier::PyGvk>()?;
    module.add_class::<identifier::PyIdentifier>()?;
    module.add_class::<package::PyPackage>()?;
    module.add_class::<plugin_call::DecodedCall>()?;
    module.add_class::<record::PyEntity>()?;
    module.add_class::<record::PyModification>()?;
    module.add_class::<stream::PyListing>()?;
    module.add_class::<stream::PyWatching>()?;
    module.add_class::<stream::PyEvent>()?;
    module.add_class::<changes::PyChanges>()?;
    module.add_class::<operation::ApiOperation>()?;
    module.add_class::<data::PyData>()?;
    module.add_class::<store::EmbeddedStore>()?;
    module.add_class::<controller::RunningController>()?;
    module.add_class::<controller::HandlerCall>()?;
    module.add_function(wrap_pyfunction!(matches_id, module)?)?;
    module.add_function(wrap_pyfunction!(matches_value, module)?)?;
    module.add_function(wrap_pyfunction!(yaml::decode_yaml, module)?)?;
    module.add_function(wrap_pyfunction!(yaml::encode_yaml, module)?)?;
    module.add_function(wrap_pyfunction!(plugin_call::encode_answer, module)?)?;
    module.add_function(wrap_pyfunction!(plugin_call::encode_hello, module)?)
}
