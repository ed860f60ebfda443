//! A run on behalf of a Python thread: the work is done on a thread of its own, the calling one calls the progress
//! function and lets Ctrl-C through.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use treewarden::mirror::{MirrorContext, MirrorProgress};

use super::results;
use crate::errors::{self, OrRaise};
use crate::scan::CancelToken;

/// How long Ctrl-C and a cancel token may go unnoticed.
const SLICE: Duration = Duration::from_millis(50);

/// Runs something long to its end.
///
/// An exception of the progress function, or of a signal handler, cancels it and is raised when it has ended; a
/// second Ctrl-C does not wait for that.
///
/// # Errors
///
/// The above, what the engine says, and `TypeError` for a progress function that cannot be called.
pub(super) fn run<T, F>(
    py: Python<'_>,
    progress: Option<&Bound<'_, PyAny>>,
    cancel: Option<&Bound<'_, CancelToken>>,
    work: F,
) -> PyResult<T>
where
    T: Send + 'static,
    F: FnOnce(MirrorContext, treewarden::CancelToken) -> treewarden::Result<T> + Send + 'static,
{
    if progress.is_some_and(|progress| !progress.is_callable()) {
        return Err(PyTypeError::new_err("`progress` is a function of one argument"));
    }
    // Not the caller's token: that may stop more than this, and may be used again.
    let stop = treewarden::CancelToken::new();
    if is_cancelled(py, cancel)? {
        stop.cancel();
    }
    // The newest; one that nobody fetched gives way.
    let news: Arc<Mutex<Option<MirrorProgress>>> = Arc::default();
    let mut context = MirrorContext::new().cancel(stop.clone());
    if progress.is_some() {
        let its = Arc::clone(&news);
        context = context.progress(move |progress| {
            *its.lock().unwrap_or_else(PoisonError::into_inner) = Some(progress.clone());
        });
    }
    let (sender, mut receiver) = mpsc::channel();
    let token = stop.clone();
    let run = move || {
        // Nobody listens any more after a second Ctrl-C.
        let _ = sender.send(work(context, token));
    };
    thread::Builder::new()
        .name("treewarden-call".to_owned())
        .spawn(run)
        .map_err(|error| errors::os(py, "start a thread for the mirror", &error))?;

    let mut broken: Option<PyErr> = None;
    loop {
        // The receiver goes along: threads cannot share it.
        let (answer, back) = py.detach(move || (receiver.recv_timeout(SLICE), receiver));
        receiver = back;
        let told = news.lock().unwrap_or_else(PoisonError::into_inner).take();
        let is_whole = broken.is_none();
        if let (Some(told), Some(progress)) = (told, progress)
            && is_whole
            && let Err(error) = tell(py, progress, &told)
        {
            stop.cancel();
            broken = Some(error);
        }
        match (answer, broken.take()) {
            (Err(RecvTimeoutError::Timeout), before) => broken = before,
            (_, Some(error)) => return Err(error),
            (Ok(result), None) => return result.or_raise(py),
            (Err(RecvTimeoutError::Disconnected), None) => {
                return Err(errors::panicked(py, "a run of a mirror"));
            }
        }
        if let Err(error) = py.check_signals() {
            if broken.is_some() {
                // Whoever presses it again does not want to wait for a network that hangs.
                return Err(error);
            }
            stop.cancel();
            broken = Some(error);
        }
        if is_cancelled(py, cancel)? {
            stop.cancel();
        }
    }
}

fn tell(py: Python<'_>, progress: &Bound<'_, PyAny>, told: &MirrorProgress) -> PyResult<()> {
    progress.call1((results::progress(py, told)?,))?;
    Ok(())
}

fn is_cancelled(py: Python<'_>, cancel: Option<&Bound<'_, CancelToken>>) -> PyResult<bool> {
    match cancel {
        Some(token) => token.as_any().getattr(intern!(py, "cancelled"))?.is_truthy(),
        None => Ok(false),
    }
}
