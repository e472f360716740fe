//! Exceptions: one class for each kind of error, below `tko.Error`.

use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use tko_core::{Error as CoreError, ErrorKind};

create_exception!(
    tko,
    Error,
    PyException,
    "An error of TKO; its subclasses are the kinds."
);
create_exception!(
    tko,
    BadArgument,
    Error,
    "The request is wrong. `violations` lists the faults of a package as dicts of `resource`, `path` and `message`."
);
create_exception!(tko, NotFound, Error, "The entity does not exist.");
create_exception!(tko, AlreadyExists, Error, "The entity exists already.");
create_exception!(
    tko,
    Conflict,
    Error,
    "The entity changed since it was read; read it again."
);
create_exception!(
    tko,
    Busy,
    Error,
    "The entity is being modified or deleted by someone else; retry later."
);
create_exception!(
    tko,
    ClaimExpired,
    Error,
    "The modification has expired, and nothing was written."
);
create_exception!(
    tko,
    Expired,
    Error,
    "The change feed does not continue from that revision; list again."
);
create_exception!(
    tko,
    Unauthenticated,
    Error,
    "The server does not know the caller."
);
create_exception!(tko, Forbidden, Error, "The caller has no permission.");
create_exception!(tko, Unsupported, Error, "The operation is not supported.");
create_exception!(
    tko,
    Unavailable,
    Error,
    "The service is unavailable; a write may have been applied."
);
create_exception!(tko, Internal, Error, "A fault of TKO or of its storage.");

/// Converts an error to the exception of its kind.
pub(crate) fn raised(error: &CoreError) -> PyErr {
    let text = error.chain();
    match error.kind() {
        ErrorKind::BadArgument => bad_argument(error, text),
        ErrorKind::NotFound => NotFound::new_err(text),
        ErrorKind::AlreadyExists => AlreadyExists::new_err(text),
        ErrorKind::Conflict => Conflict::new_err(text),
        ErrorKind::Busy => Busy::new_err(text),
        ErrorKind::ClaimExpired => ClaimExpired::new_err(text),
        ErrorKind::Expired => Expired::new_err(text),
        ErrorKind::Unauthenticated => Unauthenticated::new_err(text),
        ErrorKind::Forbidden => Forbidden::new_err(text),
        ErrorKind::NotImplemented => Unsupported::new_err(text),
        ErrorKind::Unavailable => Unavailable::new_err(text),
        // Internal, and kinds that a later version adds.
        _ => Internal::new_err(text),
    }
}

fn bad_argument(error: &CoreError, mut text: String) -> PyErr {
    let CoreError::BadArgument { violations, .. } = error else {
        return BadArgument::new_err(text);
    };
    for violation in violations {
        let line = violation.to_string();
        if !text.contains(&line) {
            text.push('\n');
            text.push_str(&line);
        }
    }
    Python::attach(|py| {
        let raised = BadArgument::new_err(text);
        let listed: Vec<_> = violations
            .iter()
            .filter_map(|violation| crate::validation::shown(py, violation).ok())
            .collect();
        // Even without the attribute, the text contains everything.
        let _ = raised.value(py).setattr("violations", listed);
        raised
    })
}

/// Adds the exceptions to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add("Error", py.get_type::<Error>())?;
    module.add("BadArgument", py.get_type::<BadArgument>())?;
    module.add("NotFound", py.get_type::<NotFound>())?;
    module.add("AlreadyExists", py.get_type::<AlreadyExists>())?;
    module.add("Conflict", py.get_type::<Conflict>())?;
    module.add("Busy", py.get_type::<Busy>())?;
    module.add("ClaimExpired", py.get_type::<ClaimExpired>())?;
    module.add("Expired", py.get_type::<Expired>())?;
    module.add("Unauthenticated", py.get_type::<Unauthenticated>())?;
    module.add("Forbidden", py.get_type::<Forbidden>())?;
    module.add("Unsupported", py.get_type::<Unsupported>())?;
    module.add("Unavailable", py.get_type::<Unavailable>())?;
    module.add("Internal", py.get_type::<Internal>())
}
