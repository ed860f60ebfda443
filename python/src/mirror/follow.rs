//! A mirror that follows by itself, for as long as somebody keeps what says so.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyCFunction;
use treewarden::mirror;

use crate::aside::aside;
use crate::errors::{self, OrRaise};
use crate::handle::{Handle, drop_detached};

/// A mirror that follows its root. Made by ``Mirror.follow``.
///
/// A context manager: it stops at the end. It stops when it is forgotten, too, and when the program ends.
// The registration that ends it with the program holds it weakly.
#[pyclass(frozen, weakref, module = "treewarden")]
pub(crate) struct Following {
    inner: Arc<Inner>,
    name: String,
}

struct Inner {
    /// Empty when it was stopped.
    following: Mutex<Option<mirror::Following>>,
    process: u32,
}

impl Inner {
    fn is_forked(&self) -> bool {
        self.process != std::process::id()
    }

    fn lock(&self) -> MutexGuard<'_, Option<mirror::Following>> {
        self.following.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends it, in the process that began it. Waits for its threads; to be called detached.
    fn end(&self) {
        if !self.is_forked() {
            let following = self.lock().take();
            drop(following);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let is_forked = self.is_forked();
        let following = self.following.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        match following {
            // Its threads are the parent's, and nobody here can wait for them.
            Some(following) if is_forked => std::mem::forget(following),
            Some(following) => drop_detached(following),
            None => {}
        }
    }
}

impl Following {
    /// Begins to follow.
    ///
    /// # Errors
    ///
    /// As `Mirror::follow`.
    pub(super) fn start<'py>(
        py: Python<'py>,
        mirror: mirror::Mirror,
        handle: &Handle,
    ) -> PyResult<Bound<'py, Self>> {
        handle.check(py)?;
        let name = mirror.name().to_owned();
        let following = py.detach(move || mirror.follow()).or_raise(py)?;
        let inner = Arc::new(Inner { following: Mutex::new(Some(following)), process: std::process::id() });
        let weak = Arc::downgrade(&inner);
        let following = Bound::new(py, Self { inner, name })?;
        // Its threads may call a CDN in Python, which must not happen while the interpreter ends.
        let end = PyCFunction::new_closure(py, None, None, move |args, _| -> PyResult<bool> {
            let inner = weak.upgrade();
            args.py().detach(|| {
                if let Some(inner) = &inner {
                    inner.end();
                }
            });
            Ok(inner.is_some())
        })?;
        py.import(intern!(py, "weakref"))?.call_method1(intern!(py, "finalize"), (&following, end))?;
        Ok(following)
    }
}

#[pymethods]
impl Following {
    /// Stops, and waits until what is under way has ended: within a part of a file. What is acknowledged stays so.
    /// Stopping twice does nothing. Not to be called from the function of a CDN.
    fn stop(&self, py: Python<'_>) -> PyResult<()> {
        if self.inner.is_forked() {
            let message = "this mirror began to follow before a fork, in the parent process";
            return Err(errors::forked_with_hint(py, message, "open the state file after the fork"));
        }
        let inner = Arc::clone(&self.inner);
        aside(py, move || inner.end(), drop)
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (exc_type, exc_value, traceback))]
    fn __exit__(
        &self,
        py: Python<'_>,
        exc_type: &Bound<'_, PyAny>,
        exc_value: &Bound<'_, PyAny>,
        traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let _ = (exc_type, exc_value, traceback);
        // A child of a fork that leaves the block has nothing to stop.
        if self.inner.is_forked() { Ok(()) } else { self.stop(py) }
    }

    fn __repr__(&self) -> String {
        format!("<treewarden.Following of `{}`>", treewarden::escape(self.name.as_bytes()))
    }
}
