//! The open warden that all objects of one `treewarden.open` share, and how their calls reach it: never after
//! `close`, never in the child of a `fork`, never while the interpreter is held up.
//!
//! Invariant: no lock is held while Python code may run, and nothing waits for another thread while attached
//! to the interpreter.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use treewarden::Warden;

use crate::errors::{self, OrRaise};

/// A wait looks this often whether a signal handler of Python wants to run.
const SLICE: Duration = Duration::from_millis(100);

/// An open warden. Clones share it; it is closed by [`Handle::close`], or when the last clone is gone.
#[derive(Clone)]
pub(crate) struct Handle(Arc<Shared>);

struct Shared {
    warden: Mutex<Option<Warden>>,
    /// Can be read in the child of a fork, where the lock may be held by a thread that is not there.
    closed: AtomicBool,
    process: u32,
    path: PathBuf,
}

impl Handle {
    /// `path` is what the state file is called from now on.
    pub(crate) fn new(warden: Warden, path: PathBuf) -> Self {
        Self(Arc::new(Shared {
            warden: Mutex::new(Some(warden)),
            closed: AtomicBool::new(false),
            process: std::process::id(),
            path,
        }))
    }

    /// The warden, for one call.
    ///
    /// # Errors
    ///
    /// `ClosedError` after [`Handle::close`], `ForkedError` in the child of a fork.
    pub(crate) fn get(&self, py: Python<'_>) -> PyResult<Warden> {
        self.check_process(py)?;
        let open = self.lock().clone();
        open.ok_or_else(|| errors::closed(py))
    }

    /// Refuses a call that [`Handle::get`] would refuse.
    ///
    /// # Errors
    ///
    /// As [`Handle::get`].
    pub(crate) fn check(&self, py: Python<'_>) -> PyResult<()> {
        self.check_process(py)?;
        if self.is_closed() { Err(errors::closed(py)) } else { Ok(()) }
    }

    /// Refuses a call in the child of a fork.
    ///
    /// # Errors
    ///
    /// `ForkedError`.
    pub(crate) fn check_process(&self, py: Python<'_>) -> PyResult<()> {
        if self.is_forked() { Err(errors::forked(py)) } else { Ok(()) }
    }

    /// Asks the warden something while other Python threads run.
    ///
    /// # Errors
    ///
    /// As [`Handle::get`], and what the engine says.
    pub(crate) fn run<T, F>(&self, py: Python<'_>, ask: F) -> PyResult<T>
    where
        T: Send,
        F: FnOnce(&Warden) -> treewarden::Result<T> + Send,
    {
        let warden = self.get(py)?;
        // Moved: where this is the last clone by then, it ends out there, too.
        py.detach(move || ask(&warden)).or_raise(py)
    }

    /// Closes the warden for all who share it. Those who wait for it are woken with `ClosedError`.
    ///
    /// # Errors
    ///
    /// `ForkedError`, and what the engine says.
    pub(crate) fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.check_process(py)?;
        self.0.closed.store(true, Ordering::SeqCst);
        let open = self.lock().take();
        match open {
            Some(warden) => py.detach(move || warden.close()).or_raise(py),
            None => Ok(()),
        }
    }

    /// True after [`Handle::close`].
    pub(crate) fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::SeqCst)
    }

    /// True in the child of a fork.
    pub(crate) fn is_forked(&self) -> bool {
        self.0.process != std::process::id()
    }

    /// Where the state file lies.
    pub(crate) fn path(&self) -> &Path {
        &self.0.path
    }

    /// Held for as long as it takes to clone or take what is in it.
    fn lock(&self) -> MutexGuard<'_, Option<Warden>> {
        self.0.warden.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let open = self.warden.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(warden) = open {
            drop_detached(warden);
        }
    }
}

/// Repeats a wait in slices until it has something, or until `timeout` is over (`None`: never), which answers
/// `None`. In between signal handlers of Python run, so that Ctrl-C ends it. `wait` is given its slice and
/// answers `None` when that is over.
///
/// # Errors
///
/// What a signal handler raises, and what the engine says.
pub(crate) fn wait_in_slices<T, F>(
    py: Python<'_>,
    timeout: Option<Duration>,
    mut wait: F,
) -> PyResult<Option<T>>
where
    T: Send,
    F: FnMut(Duration) -> treewarden::Result<Option<T>> + Send,
{
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    loop {
        let left = deadline.map_or(SLICE, |end| end.saturating_duration_since(Instant::now()));
        if let Some(found) = py.detach(|| wait(left.min(SLICE))).or_raise(py)? {
            return Ok(Some(found));
        }
        py.check_signals()?;
        if deadline.is_some_and(|end| Instant::now() >= end) {
            return Ok(None);
        }
    }
}

/// Drops something whose end may take a moment, or wait for a thread that wants to call Python, while other
/// Python threads run.
pub(crate) fn drop_detached<T: Send>(value: T) {
    let mut value = Some(value);
    // Where there is no interpreter to let go of, the value ends with this function.
    let _ = Python::try_attach(|py| py.detach(|| drop(value.take())));
}

/// A place for something that is to end as [`drop_detached`] says.
pub(crate) struct Detached<T: Send>(Option<T>);

impl<T: Send> Detached<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Some(value))
    }

    /// Puts something in the place, which is empty.
    pub(crate) fn put(&mut self, value: T) {
        self.0 = Some(value);
    }

    /// Empties the place.
    pub(crate) fn take(&mut self) -> Option<T> {
        self.0.take()
    }

    /// True when there is nothing in the place.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl<T: Send> Drop for Detached<T> {
    fn drop(&mut self) {
        if let Some(value) = self.0.take() {
            drop_detached(value);
        }
    }
}
