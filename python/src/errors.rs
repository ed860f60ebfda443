//! Errors of the engine as the exceptions of `treewarden._errors`: the class goes by the stable number of the
//! kind. What these bindings refuse by themselves is raised through the same door.

use std::borrow::Borrow;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict};
use treewarden::{Error, ErrorKind};

/// Turns what the engine answers into what Python expects.
pub(crate) trait OrRaise<T> {
    /// The value, or the error as an exception.
    fn or_raise(self, py: Python<'_>) -> PyResult<T>;
}

impl<T> OrRaise<T> for treewarden::Result<T> {
    fn or_raise(self, py: Python<'_>) -> PyResult<T> {
        self.map_err(|error| raise(py, error))
    }
}

/// The exception of an error of the engine.
pub(crate) fn raise(py: Python<'_>, error: impl Borrow<Error>) -> PyErr {
    let error = error.borrow();
    exception(
        py,
        error.kind(),
        &Details {
            message: error.message(),
            path: error.path(),
            hint: error.hint(),
            restart_seq: error.restart_seq(),
        },
    )
}

/// An argument that has no meaning.
pub(crate) fn invalid(py: Python<'_>, message: impl AsRef<str>) -> PyErr {
    of_kind(py, ErrorKind::InvalidArgument, message)
}

/// An argument that has no meaning, and what would have one.
pub(crate) fn invalid_with_hint(py: Python<'_>, message: impl AsRef<str>, hint: impl AsRef<str>) -> PyErr {
    let details = Details { message: message.as_ref(), hint: Some(hint.as_ref()), ..Details::default() };
    exception(py, ErrorKind::InvalidArgument, &details)
}

/// An error of any kind about which there is no more to say than one sentence.
pub(crate) fn of_kind(py: Python<'_>, kind: ErrorKind, message: impl AsRef<str>) -> PyErr {
    exception(py, kind, &Details { message: message.as_ref(), ..Details::default() })
}

/// Nothing is known under an address.
pub(crate) fn unknown_entry(py: Python<'_>, address: &[u8]) -> PyErr {
    let details = Details {
        message: &format!("there is no entry `{}`", treewarden::escape(address)),
        path: Some(address),
        hint: Some("scan its root if it is new"),
        restart_seq: None,
    };
    exception(py, ErrorKind::NotFound, &details)
}

/// A call on a warden that has been closed.
pub(crate) fn closed(py: Python<'_>) -> PyErr {
    of_kind(py, ErrorKind::Closed, "the warden has been closed")
}

/// A call in the child of a `fork`.
pub(crate) fn forked(py: Python<'_>) -> PyErr {
    let message = "this warden was opened before a fork, by the parent process";
    forked_with_hint(py, message, "open the state file after the fork; one process at a time can hold it")
}

/// A call in the child of a `fork`, and what would work there.
pub(crate) fn forked_with_hint(py: Python<'_>, message: &str, hint: &str) -> PyErr {
    exception(py, ErrorKind::Forked, &Details { message, hint: Some(hint), ..Details::default() })
}

/// A thread that was started for a call has panicked.
pub(crate) fn panicked(py: Python<'_>, doing: &str) -> PyErr {
    let details = Details {
        message: &format!("a bug in Treewarden ended {doing}"),
        hint: Some("nothing that was acknowledged is lost; please report it"),
        ..Details::default()
    };
    exception(py, ErrorKind::Panic, &details)
}

/// The operating system refuses something that a call needs.
pub(crate) fn os(py: Python<'_>, doing: &str, error: &std::io::Error) -> PyErr {
    of_kind(py, ErrorKind::Io, format!("cannot {doing}: {error}"))
}

#[derive(Default)]
struct Details<'a> {
    message: &'a str,
    path: Option<&'a [u8]>,
    hint: Option<&'a str>,
    restart_seq: Option<u64>,
}

/// The exception, or what went wrong while it was made.
fn exception(py: Python<'_>, kind: ErrorKind, details: &Details<'_>) -> PyErr {
    instance(py, kind, details).map_or_else(|broken| broken, PyErr::from_value)
}

fn instance<'py>(py: Python<'py>, kind: ErrorKind, details: &Details<'_>) -> PyResult<Bound<'py, PyAny>> {
    static BY_CODE: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
    let by_code = BY_CODE.import(py, "treewarden._errors", "BY_CODE")?;
    let class = match by_code.get_item(kind.code())? {
        Some(class) => class,
        // A kind that is newer than the Python half of the package.
        None => py.import("treewarden._errors")?.getattr("Error")?,
    };
    let fields = PyDict::new(py);
    fields.set_item(intern!(py, "code"), kind.code())?;
    fields.set_item(intern!(py, "kind"), kind.name())?;
    fields.set_item(intern!(py, "path_bytes"), details.path.map(|path| PyBytes::new(py, path)))?;
    fields.set_item(intern!(py, "hint"), details.hint)?;
    fields.set_item(intern!(py, "restart_seq"), details.restart_seq)?;
    class.call((details.message,), Some(&fields))
}
