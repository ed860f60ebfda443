//! Scans and verifications on behalf of a Python thread: the work runs on a thread of its own, the calling one
//! calls the progress function and lets Ctrl-C through.
//!
//! Invariant: no thread of the engine ever calls Python.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use treewarden::{Progress, ScanContext};

use crate::errors::{self, OrRaise};
use crate::types;

/// How long Ctrl-C and a cancel token may go unnoticed.
const SLICE: Duration = Duration::from_millis(50);

/// Stops a scan or a verification from another thread.
#[pyclass(frozen, module = "treewarden")]
pub(crate) struct CancelToken(treewarden::CancelToken);

#[pymethods]
impl CancelToken {
    #[new]
    fn new() -> Self {
        Self(treewarden::CancelToken::new())
    }

    /// Asks it to stop; it does so at the next directory or block of a file.
    fn cancel(&self) {
        self.0.cancel();
    }

    /// True after ``cancel``.
    #[getter]
    fn cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    fn __repr__(&self) -> String {
        format!("<treewarden.CancelToken cancelled={}>", if self.0.is_cancelled() { "True" } else { "False" })
    }
}

/// Runs something long to its end.
///
/// An exception of the progress function, or of a signal handler, cancels it and is raised when it has ended; a
/// second Ctrl-C does not wait for that. What is cancelled through the token answers as the engine says.
///
/// # Errors
///
/// The above, what the engine says, and `TypeError` for a progress function that cannot be called.
pub(crate) fn run<T, F>(
    py: Python<'_>,
    progress: Option<&Bound<'_, PyAny>>,
    cancel: Option<&CancelToken>,
    work: F,
) -> PyResult<T>
where
    T: Send + 'static,
    F: FnOnce(&ScanContext) -> treewarden::Result<T> + Send + 'static,
{
    if progress.is_some_and(|progress| !progress.is_callable()) {
        return Err(PyTypeError::new_err("`progress` is a function of one argument"));
    }
    // Not the caller's token: that may stop more than this, and may be used again.
    let stop = treewarden::CancelToken::new();
    let is_cancelled = || cancel.is_some_and(|token| token.0.is_cancelled());
    if is_cancelled() {
        stop.cancel();
    }
    let line = start(py, stop.clone(), progress.is_some(), work)?;

    let mut broken: Option<PyErr> = None;
    loop {
        let (news, end) = py.detach(|| line.wait());
        let is_whole = broken.is_none();
        if let (Some(news), Some(progress)) = (news, progress)
            && is_whole
            && let Err(error) = tell(py, progress, &news)
        {
            stop.cancel();
            broken = Some(error);
        }
        match (end, broken.take()) {
            (Some(_), Some(error)) => return Err(error),
            (Some(Ok(result)), None) => return result.or_raise(py),
            (Some(Err(_)), None) => return Err(errors::panicked(py, "a scan")),
            (None, before) => broken = before,
        }
        if let Err(error) = py.check_signals() {
            if broken.is_some() {
                // Whoever presses it again does not want to wait for a disk that hangs.
                return Err(error);
            }
            stop.cancel();
            broken = Some(error);
        }
        if is_cancelled() {
            stop.cancel();
        }
    }
}

/// Starts the thread that does the work.
fn start<T, F>(
    py: Python<'_>,
    stop: treewarden::CancelToken,
    is_told: bool,
    work: F,
) -> PyResult<Arc<Line<T>>>
where
    T: Send + 'static,
    F: FnOnce(&ScanContext) -> treewarden::Result<T> + Send + 'static,
{
    let line = Arc::new(Line::new());
    let mut context = ScanContext::new().cancel(stop);
    if is_told {
        let its = Arc::clone(&line);
        context = context.progress(move |news| its.tell(news));
    }
    let its = Arc::clone(&line);
    let run = move || its.end(catch_unwind(AssertUnwindSafe(|| work(&context))));
    thread::Builder::new()
        .name("treewarden-call".to_owned())
        .spawn(run)
        .map_err(|error| errors::os(py, "start a thread for the scan", &error))?;
    Ok(line)
}

fn tell(py: Python<'_>, progress: &Bound<'_, PyAny>, news: &Progress) -> PyResult<()> {
    progress.call1((types::progress(py, news)?,))?;
    Ok(())
}

/// How the work ended: with a result, or by a panic.
type End<T> = thread::Result<treewarden::Result<T>>;

/// The line from the thread that works to the one that waits.
struct Line<T> {
    state: Mutex<State<T>>,
    wake: Condvar,
}

struct State<T> {
    /// The newest; one that nobody fetched gives way.
    news: Option<Progress>,
    end: Option<End<T>>,
}

impl<T> Line<T> {
    fn new() -> Self {
        Self { state: Mutex::new(State { news: None, end: None }), wake: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, news: &Progress) {
        self.lock().news = Some(news.clone());
        self.wake.notify_one();
    }

    fn end(&self, end: End<T>) {
        self.lock().end = Some(end);
        self.wake.notify_one();
    }

    /// What there is, and if there is nothing, what there is a slice later.
    fn wait(&self) -> (Option<Progress>, Option<End<T>>) {
        let mut state = self.lock();
        if state.news.is_none() && state.end.is_none() {
            state = self.wake.wait_timeout(state, SLICE).unwrap_or_else(PoisonError::into_inner).0;
        }
        (state.news.take(), state.end.take())
    }
}
