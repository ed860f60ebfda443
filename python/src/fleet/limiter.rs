//! A limit of requests over all machines, and the permits that it grants.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use treewarden::fleet;

use super::check_process;
use crate::aside::aside;
use crate::convert;
use crate::errors::OrRaise;
use crate::handle::drop_detached;
use crate::limiter::{RateLimit, asked_for};

/// Grants at most so many requests in any rolling window, over all machines that ask for the same name. Made by
/// ``Fleet.limiter``.
///
/// Any number of threads may use it at once, in no particular order. Without Redis nothing is granted.
#[pyclass(frozen, module = "treewarden")]
pub(crate) struct SharedLimiter {
    limiter: fleet::SharedLimiter,
    interrupts: AtomicU64,
    process: u32,
}

impl SharedLimiter {
    pub(super) fn of(limiter: fleet::SharedLimiter, process: u32) -> Self {
        Self { limiter, interrupts: AtomicU64::new(0), process }
    }

    /// The limiter, for one call.
    fn ready(&self, py: Python<'_>) -> PyResult<fleet::SharedLimiter> {
        check_process(py, self.process)?;
        Ok(self.limiter.clone())
    }

    fn permit(&self, permit: fleet::Permit) -> SharedPermit {
        SharedPermit {
            permit: Mutex::new(Some(permit)),
            limiter: self.limiter.clone(),
            process: self.process,
        }
    }
}

#[pymethods]
impl SharedLimiter {
    /// Its name.
    #[getter]
    fn name(&self) -> &str {
        self.limiter.name()
    }

    /// The rate that was asked for.
    #[getter]
    fn rate(&self) -> RateLimit {
        self.limiter.rate().clone().into()
    }

    /// Waits until a request may be sent, and returns the permit for it. None at the timeout and after ``interrupt``;
    /// ``waiting`` says why. Redis is waited for as well. Ctrl-C ends the wait.
    ///
    /// Args:
    ///     timeout: How long to wait, in seconds; None, the default, waits without end.
    ///
    /// Raises:
    ///     InvalidArgumentError: Other machines use the name with another rate or ``hold_max``.
    #[pyo3(signature = (timeout=None))]
    fn acquire(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Option<SharedPermit>> {
        let timeout = convert::timeout(py, timeout)?;
        let limiter = self.ready(py)?;
        let call = move |slice| limiter.acquire(Some(slice));
        // Nobody sends anything for what comes after Ctrl-C.
        let granted = super::wait(py, timeout, &self.interrupts, call, fleet::Permit::unused)?;
        Ok(granted.map(|permit| self.permit(permit)))
    }

    /// Grants a request if it may be sent now. Asks once.
    ///
    /// Raises:
    ///     UnavailableError: Redis cannot be reached.
    #[pyo3(signature = ())]
    fn try_acquire(&self, py: Python<'_>) -> PyResult<Option<SharedPermit>> {
        let limiter = self.ready(py)?;
        let late = |late: treewarden::Result<Option<fleet::Permit>>| {
            if let Ok(Some(permit)) = late {
                permit.unused();
            }
        };
        let granted = aside(py, move || limiter.try_acquire(), late)?.or_raise(py)?;
        Ok(granted.map(|permit| self.permit(permit)))
    }

    /// Why the last call did not get a permit, or why calls wait now, for people; None when the last was granted.
    #[getter]
    fn waiting(&self, py: Python<'_>) -> PyResult<Option<String>> {
        let limiter = self.ready(py)?;
        Ok(py.detach(|| limiter.waiting()))
    }

    /// Takes in that a server has refused a request because there were too many: HTTP 429. No machine is granted
    /// anything for so many seconds (default one window, at most seven days).
    ///
    /// Raises:
    ///     UnavailableError: Redis cannot be told.
    #[pyo3(signature = (retry_after=None))]
    fn throttled(&self, py: Python<'_>, retry_after: Option<f64>) -> PyResult<()> {
        let wait = asked_for(py, retry_after)?;
        let limiter = self.ready(py)?;
        aside(py, move || limiter.throttled(wait), drop)?.or_raise(py)
    }

    /// Makes this rate count for all machines from now on. Those that use another get ``InvalidArgumentError``.
    #[pyo3(signature = ())]
    fn enforce(&self, py: Python<'_>) -> PyResult<()> {
        let limiter = self.ready(py)?;
        aside(py, move || limiter.enforce(), drop)?.or_raise(py)
    }

    /// Makes every call of this process that waits return without a permit.
    #[pyo3(signature = ())]
    fn interrupt(&self, py: Python<'_>) -> PyResult<()> {
        let limiter = self.ready(py)?;
        self.interrupts.fetch_add(1, Ordering::AcqRel);
        py.detach(|| limiter.interrupt());
        Ok(())
    }

    fn __repr__(&self) -> String {
        format!("<treewarden.SharedLimiter `{}`>", treewarden::escape(self.limiter.name().as_bytes()))
    }
}

/// The right to send one request. Hold it until the answer has come, or until it is certain that none will, and not for
/// longer than ``hold_max`` of the limiter.
///
/// A context manager: it is done at the end. So it is when it is dropped. Ending it twice does nothing.
#[pyclass(frozen, module = "treewarden")]
pub(crate) struct SharedPermit {
    /// Empty when it has ended.
    permit: Mutex<Option<fleet::Permit>>,
    limiter: fleet::SharedLimiter,
    process: u32,
}

impl SharedPermit {
    fn lock(&self) -> MutexGuard<'_, Option<fleet::Permit>> {
        self.permit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the permit, if it has not ended.
    fn end(&self, py: Python<'_>, end: fn(fleet::Permit)) -> PyResult<()> {
        check_process(py, self.process)?;
        let permit = self.lock().take();
        match permit {
            Some(permit) => aside(py, move || end(permit), drop),
            None => Ok(()),
        }
    }
}

impl Drop for SharedPermit {
    fn drop(&mut self) {
        let permit = self.permit.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        match permit {
            // The parent's request is none of the child's.
            Some(permit) if self.process != std::process::id() => std::mem::forget(permit),
            Some(permit) => drop_detached(permit),
            None => {}
        }
    }
}

#[pymethods]
impl SharedPermit {
    /// How many seconds the request may still go on; 0.0 when it has ended, or was held for too long.
    #[getter]
    fn left(&self, py: Python<'_>) -> PyResult<f64> {
        check_process(py, self.process)?;
        Ok(self.lock().as_ref().map_or(0.0, |permit| permit.left().as_secs_f64()))
    }

    /// Says that the answer has come. The request counts for one more window from now.
    #[pyo3(signature = ())]
    fn done(&self, py: Python<'_>) -> PyResult<()> {
        self.end(py, fleet::Permit::done)
    }

    /// Says that nothing was sent and nothing will be: it does not count any more.
    #[pyo3(signature = ())]
    fn unused(&self, py: Python<'_>) -> PyResult<()> {
        self.end(py, fleet::Permit::unused)
    }

    /// Says that the answer was a refusal because there were too many requests, as ``SharedLimiter.throttled``. The
    /// permit ends.
    #[pyo3(signature = (retry_after=None))]
    fn throttled(&self, py: Python<'_>, retry_after: Option<f64>) -> PyResult<()> {
        let wait = asked_for(py, retry_after)?;
        check_process(py, self.process)?;
        let (permit, limiter) = (self.lock().take(), self.limiter.clone());
        let tell = move || match permit {
            Some(permit) => permit.throttled(wait),
            None => limiter.throttled(wait),
        };
        aside(py, tell, drop)?.or_raise(py)
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
        // Whatever has happened: the request may have arrived.
        let _ = (exc_type, exc_value, traceback);
        self.done(py)
    }

    fn __repr__(&self) -> String {
        format!("<treewarden.SharedPermit of `{}`>", treewarden::escape(self.limiter.name().as_bytes()))
    }
}
