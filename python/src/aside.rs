//! Waits of the engine that cannot be cut into slices: a wait that keeps its turn among others, or that would begin
//! anew each time.
//!
//! Python runs the handlers of signals in its main thread only. So a wait of that thread runs in a thread of its
//! own, while the main thread looks for signals; any other thread waits itself.

use std::sync::mpsc::{self, RecvTimeoutError, SendError};
use std::thread;
use std::time::Duration;

use pyo3::intern;
use pyo3::prelude::*;

use crate::errors;

/// How long Ctrl-C may go unnoticed.
const SLICE: Duration = Duration::from_millis(50);

/// Waits for what `wait` returns, while other Python threads run. When Ctrl-C ends that, `wait` goes on without
/// anybody, and what it returns then goes to `unwanted`.
///
/// # Errors
///
/// What a signal handler raises, and `IoError` where no thread can be started.
pub(crate) fn aside<T, F, U>(py: Python<'_>, wait: F, unwanted: U) -> PyResult<T>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
    U: FnOnce(T) + Send + 'static,
{
    if !is_main_thread(py)? {
        return Ok(py.detach(wait));
    }
    // Without room: a result is either in the hands of this thread, or never leaves the other one.
    let (sender, mut receiver) = mpsc::sync_channel(0);
    let run = move || {
        if let Err(SendError(late)) = sender.send(wait()) {
            unwanted(late);
        }
    };
    thread::Builder::new()
        .name("treewarden-wait".to_owned())
        .spawn(run)
        .map_err(|error| errors::os(py, "start a thread to wait", &error))?;
    loop {
        // The receiver goes along: threads cannot share it.
        let (answer, back) = py.detach(move || (receiver.recv_timeout(SLICE), receiver));
        receiver = back;
        match answer {
            Ok(result) => return Ok(result),
            Err(RecvTimeoutError::Timeout) => py.check_signals()?,
            Err(RecvTimeoutError::Disconnected) => return Err(errors::panicked(py, "a wait")),
        }
    }
}

fn is_main_thread(py: Python<'_>) -> PyResult<bool> {
    let threading = py.import(intern!(py, "threading"))?;
    let main = threading.call_method0(intern!(py, "main_thread"))?.getattr(intern!(py, "ident"))?;
    // Not `current_thread`, which makes an object for each thread that Python does not know.
    threading.call_method0(intern!(py, "get_ident"))?.eq(main)
}
