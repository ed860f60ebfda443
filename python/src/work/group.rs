//! Group functions in Python: which files are one job.
//!
//! The engine calls one behind the lock of the pipeline, in a thread that waits detached for a pipeline or for the
//! status of the warden. So it must not call what takes that lock itself, which would wait for ever: it is refused.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use treewarden::{Error, ErrorKind, Group, escape};

use super::log;
use crate::convert::encode_path;
use crate::errors;

/// Failures of one function that are logged: a million files may fail for one reason.
const LOGGED_MAX: u32 = 10;

thread_local! {
    /// A group function runs in this thread.
    static RUNS: Cell<bool> = const { Cell::new(false) };
    /// Ctrl-C came while one ran.
    static INTERRUPTED: Cell<bool> = const { Cell::new(false) };
}

/// Groups files by a function in Python, which is stored under this name.
pub(super) fn by(name: String, function: Py<PyAny>) -> Group {
    let failures = AtomicU32::new(0);
    let shown = escape(name.as_bytes());
    Group::by(name, move |address| {
        let failed = |what: &str| {
            let (message, kind) =
                (format!("the group function `{shown}` {what}"), ErrorKind::InvalidArgument);
            // The engine adds the file, and leaves it out.
            Error::new(kind, message)
        };
        let key = Python::try_attach(|py| {
            let _running = Running::begin();
            key_of(py, &function, address).map_err(|error| {
                complain(py, &shown, address, &error, failures.fetch_add(1, Ordering::Relaxed));
                failed(&format!("raised {}", escape(error.to_string().as_bytes())))
            })
        });
        key.unwrap_or_else(|| Err(failed("cannot be called: the interpreter is ending")))
    })
}

/// While this exists, a group function runs, or its failure is told.
struct Running;

impl Running {
    fn begin() -> Self {
        RUNS.set(true);
        Self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNS.set(false);
    }
}

fn key_of(py: Python<'_>, function: &Py<PyAny>, address: &[u8]) -> PyResult<Option<Vec<u8>>> {
    match ask(py, function, address) {
        // The file would be left out for that. It is asked for again, and Ctrl-C comes into its own afterwards.
        Err(error) if error.is_instance_of::<PyKeyboardInterrupt>(py) => {
            INTERRUPTED.set(true);
            ask(py, function, address)
        }
        key => key,
    }
}

fn ask(py: Python<'_>, function: &Py<PyAny>, address: &[u8]) -> PyResult<Option<Vec<u8>>> {
    let key = function.bind(py).call1((PyBytes::new(py, address),))?;
    if key.is_none() { Ok(None) } else { encode_path(&key).map(Some) }
}

fn complain(py: Python<'_>, name: &str, address: &[u8], error: &PyErr, before: u32) {
    if before >= LOGGED_MAX {
        return;
    }
    let more = if before + 1 == LOGGED_MAX { " (further ones are not logged)" } else { "" };
    let message =
        format!("the group function `{name}` failed for `{}`, which is left out{more}", escape(address));
    if let Err(broken) = log(py, "error", &message, Some(error.value(py).as_any())) {
        broken.write_unraisable(py, None);
    }
}

/// True while a group function runs in this thread.
pub(super) fn runs() -> bool {
    RUNS.get()
}

/// Refuses a call from within a group function.
///
/// # Errors
///
/// `InvalidArgumentError`.
pub(crate) fn refuse(py: Python<'_>) -> PyResult<()> {
    if !runs() {
        return Ok(());
    }
    let hint = "it decides by the address alone, and gives the same key for the same address";
    let message =
        "a group function cannot ask for pipelines, jobs or the status, and cannot close the warden";
    Err(errors::invalid_with_hint(py, message, hint))
}

/// Asks a pipeline something while other Python threads run.
pub(super) fn outside<T: Send>(py: Python<'_>, ask: impl FnOnce() -> T + Send) -> T {
    let answer = py.detach(ask);
    settle(py);
    answer
}

/// True when Ctrl-C came while a group function ran in this thread: a wait is to end.
pub(super) fn was_interrupted() -> bool {
    INTERRUPTED.get()
}

/// Lets a Ctrl-C that came while a group function ran come into its own, as soon as Python goes on.
pub(super) fn settle(py: Python<'_>) {
    if !INTERRUPTED.take() {
        return;
    }
    let armed = py.import(intern!(py, "_thread")).and_then(|thread| thread.call_method0("interrupt_main"));
    if let Err(error) = armed {
        error.write_unraisable(py, None);
    }
}
