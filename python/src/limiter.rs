//! Rate limiters: of a pipeline, or on their own.
//!
//! Invariant: nothing here touches a limiter in the child of a fork, not even to drop a permit: its lock may be
//! held by a thread that is not there.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::aside::aside;
use crate::clock::Clock;
use crate::convert;
use crate::errors::{self, OrRaise};
use crate::event_types;
use crate::handle::drop_detached;

/// How fast: at most ``limit`` requests in any ``window`` of seconds. Immutable, comparable, hashable; it can be
/// pickled.
///
/// Args:
///     limit: 1 to 1,000,000.
///     window: In seconds, from a millisecond to 30 days.
///     pacing: Requests are spread evenly over the window. False grants up to ``limit`` at once, and then none
///         for a window.
///     floor: How far throttling may lower the limit, as a share of it: 0.01 to 1.0.
#[pyclass(frozen, eq, module = "treewarden")]
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RateLimit(treewarden::RateLimit);

impl From<treewarden::RateLimit> for RateLimit {
    fn from(rate: treewarden::RateLimit) -> Self {
        Self(rate)
    }
}

#[pymethods]
impl RateLimit {
    #[new]
    #[pyo3(
        signature = (limit, window, *, pacing=true, floor=0.2),
        text_signature = "(limit, window, *, pacing=True, floor=0.2)"
    )]
    fn new(py: Python<'_>, limit: i64, window: f64, pacing: bool, floor: f64) -> PyResult<Self> {
        let window = convert::duration(py, "a window", window)?;
        let rate = treewarden::RateLimit::new(whole(py, "a limit", limit)?, window)
            .pacing(pacing)
            // What gets lost is less than anybody can mean.
            .floor(floor as f32);
        rate.check().or_raise(py)?;
        Ok(Self(rate))
    }

    /// Requests in a window.
    #[getter]
    fn limit(&self) -> u32 {
        self.0.limit()
    }

    /// The window in seconds.
    #[getter]
    fn window(&self) -> f64 {
        Duration::from_millis(self.0.window_ms()).as_secs_f64()
    }

    /// Whether requests are spread evenly over the window.
    #[getter]
    fn pacing(&self) -> bool {
        self.0.is_paced()
    }

    /// How far throttling may lower the limit, as a share of it.
    #[getter]
    fn floor(&self) -> f64 {
        let share = self.0.lowest_share();
        // By its shortest digits: 0.2 is 0.2 again, and not 0.20000000298.
        share.to_string().parse().unwrap_or(f64::from(share))
    }

    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.0.limit(), self.0.window_ms(), self.0.is_paced(), self.0.lowest_share().to_bits())
            .hash(&mut hasher);
        hasher.finish()
    }

    fn __repr__(&self) -> String {
        let mut shown = format!("RateLimit({}, {:?}", self.limit(), self.window());
        if !self.pacing() {
            shown.push_str(", pacing=False");
        }
        let usual = treewarden::RateLimit::new(1, Duration::from_secs(1));
        if self.0.lowest_share().to_bits() != usual.lowest_share().to_bits() {
            shown.push_str(&format!(", floor={:?}", self.floor()));
        }
        shown.push(')');
        shown
    }

    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyDict>)> {
        let fields = PyDict::new(py);
        fields.set_item("pacing", self.pacing())?;
        fields.set_item("floor", self.floor())?;
        Ok(((self.limit(), self.window()).into_pyobject(py)?, fields))
    }
}

/// Reads a rate: a `RateLimit`, or a tuple of requests and seconds.
///
/// # Errors
///
/// `InvalidArgumentError` for one that makes no sense, `TypeError` for anything else.
pub(crate) fn rate(obj: &Bound<'_, PyAny>) -> PyResult<treewarden::RateLimit> {
    if let Ok(rate) = obj.cast::<RateLimit>() {
        return Ok(rate.get().0.clone());
    }
    let py = obj.py();
    let Ok((limit, window)) = obj.extract::<(i64, f64)>() else {
        let kind = obj.get_type().name()?;
        let message = format!("a rate is a RateLimit or a tuple of requests and seconds, not {kind}");
        return Err(PyTypeError::new_err(message));
    };
    let window = convert::duration(py, "a window", window)?;
    let rate = treewarden::RateLimit::new(whole(py, "a limit", limit)?, window);
    rate.check().or_raise(py)?;
    Ok(rate)
}

/// A number as the engine counts.
///
/// # Errors
///
/// `InvalidArgumentError` for a negative one, and for one beyond 4,294,967,295.
pub(crate) fn whole(py: Python<'_>, what: &str, number: i64) -> PyResult<u32> {
    u32::try_from(number).map_err(|_| errors::invalid(py, format!("{what} of {number} makes no sense")))
}

/// The wait that a server has asked for.
pub(crate) fn asked_for(py: Python<'_>, retry_after: Option<f64>) -> PyResult<Option<Duration>> {
    retry_after.map(|seconds| convert::duration(py, "a wait", seconds)).transpose()
}

/// Grants at most so many requests in any rolling window, to any number of threads.
///
/// It begins with an empty window: what an earlier process has sent it does not know. The limiter of a pipeline
/// does.
///
/// Args:
///     rate: How fast: a ``RateLimit``, or a tuple of requests and seconds, as ``(35, 10.0)``.
///     clock: A clock that a test moves; timeouts, too, go by it then.
#[pyclass(frozen, module = "treewarden")]
pub(crate) struct RateLimiter {
    limiter: treewarden::RateLimiter,
    process: u32,
}

impl RateLimiter {
    pub(crate) fn of(limiter: treewarden::RateLimiter) -> Self {
        Self { limiter, process: std::process::id() }
    }

    /// The limiter, for one call.
    fn ready(&self, py: Python<'_>) -> PyResult<&treewarden::RateLimiter> {
        check_process(py, self.process)?;
        Ok(&self.limiter)
    }

    fn permit(&self, permit: treewarden::Permit) -> Permit {
        Permit {
            cost: permit.cost(),
            limiter: self.limiter.clone(),
            permit: Mutex::new(Some(permit)),
            process: self.process,
        }
    }
}

fn check_process(py: Python<'_>, process: u32) -> PyResult<()> {
    if process == std::process::id() {
        return Ok(());
    }
    let message = "this limiter was made before a fork, by the parent process";
    Err(errors::forked_with_hint(py, message, "make one after the fork"))
}

#[pymethods]
impl RateLimiter {
    #[new]
    #[pyo3(signature = (rate, *, clock=None))]
    fn new(rate: &Bound<'_, PyAny>, clock: Option<&Bound<'_, Clock>>) -> PyResult<Self> {
        let py = rate.py();
        let rate = self::rate(rate)?;
        let limiter = match clock {
            Some(clock) => treewarden::RateLimiter::with_clock(&rate, clock.get().0.clone()),
            None => treewarden::RateLimiter::new(&rate),
        };
        limiter.or_raise(py).map(Self::of)
    }

    /// Waits until a request may be sent, and returns the permit for it. None at the timeout and after
    /// ``interrupt``.
    ///
    /// Calls are served in their order: a small cost never overtakes a large one. Ctrl-C ends the wait.
    ///
    /// Args:
    ///     cost: How much of the limit it takes.
    ///     timeout: How long to wait, in seconds; 0 does not wait, None, the default, waits without end.
    ///
    /// Raises:
    ///     InvalidArgumentError: The cost is 0 or above the limit.
    ///     ClosedError: The limiter was closed, or the warden whose pipeline it belongs to.
    #[pyo3(signature = (cost=1, timeout=None))]
    fn acquire(&self, py: Python<'_>, cost: i64, timeout: Option<f64>) -> PyResult<Option<Permit>> {
        let cost = whole(py, "a cost", cost)?;
        let timeout = convert::timeout(py, timeout)?;
        let limiter = self.ready(py)?;
        let mut granted = py.detach(|| limiter.try_acquire(cost)).or_raise(py)?;
        if granted.is_none() && timeout.is_none_or(|timeout| !timeout.is_zero()) {
            // In one piece, which keeps its turn. Nobody sends anything for what comes after Ctrl-C.
            let limiter = limiter.clone();
            let late = |granted: treewarden::Result<Option<treewarden::Permit>>| {
                if let Ok(Some(permit)) = granted {
                    permit.unused();
                }
            };
            granted = aside(py, move || limiter.acquire(cost, timeout), late)?.or_raise(py)?;
        }
        Ok(granted.map(|permit| self.permit(permit)))
    }

    /// Grants a request if it may be sent now. Never waits for its turn and never overtakes those who wait.
    #[pyo3(signature = (cost=1))]
    fn try_acquire(&self, py: Python<'_>, cost: i64) -> PyResult<Option<Permit>> {
        let cost = whole(py, "a cost", cost)?;
        let limiter = self.ready(py)?;
        let granted = py.detach(|| limiter.try_acquire(cost)).or_raise(py)?;
        Ok(granted.map(|permit| self.permit(permit)))
    }

    /// Takes in that the server has refused a request because there were too many: HTTP 429, or 503 with a
    /// ``Retry-After``.
    ///
    /// Nobody is granted anything for so many seconds (default one window, at most seven days), and the limit
    /// falls to four fifths. It comes back by itself. ``Permit.throttled`` knows which request it was, and is to
    /// be preferred.
    #[pyo3(signature = (retry_after=None))]
    fn throttled(&self, py: Python<'_>, retry_after: Option<f64>) -> PyResult<()> {
        let wait = asked_for(py, retry_after)?;
        let limiter = self.ready(py)?;
        py.detach(|| limiter.throttled(wait));
        Ok(())
    }

    /// Takes in that a request has gone well. It is counted.
    fn succeeded(&self, py: Python<'_>) -> PyResult<()> {
        let limiter = self.ready(py)?;
        py.detach(|| limiter.succeeded());
        Ok(())
    }

    /// Makes every waiting call return without a permit; if none waits, the next one that would have to.
    fn interrupt(&self, py: Python<'_>) -> PyResult<()> {
        let limiter = self.ready(py)?;
        py.detach(|| limiter.interrupter().interrupt());
        Ok(())
    }

    /// Ends the limiter: calls that wait, and later ones, get ``ClosedError``. Permits that are out stay as they
    /// are.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let limiter = self.ready(py)?;
        py.detach(|| limiter.close());
        Ok(())
    }

    /// Returns how things stand.
    fn status(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let limiter = self.ready(py)?;
        event_types::limiter_status(py, &py.detach(|| limiter.status()))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let limiter = self.ready(py)?;
        let status = py.detach(|| limiter.status());
        let (used, limit) = (status.in_window, status.effective_limit);
        Ok(format!("<treewarden.RateLimiter {used} of {limit} in the window, {} waiting>", status.waiting))
    }
}

/// The right to send one request. Hold it until the answer has come, or until it is certain that none will: the
/// server may receive the request at any moment until then.
///
/// A context manager: it is done at the end. So it is when it is dropped. Ending it twice does nothing.
#[pyclass(frozen, module = "treewarden")]
pub(crate) struct Permit {
    cost: u32,
    limiter: treewarden::RateLimiter,
    /// Empty when it has ended.
    permit: Mutex<Option<treewarden::Permit>>,
    process: u32,
}

impl Permit {
    fn lock(&self) -> MutexGuard<'_, Option<treewarden::Permit>> {
        self.permit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the permit, if it has not ended.
    fn end(&self, py: Python<'_>, end: impl FnOnce(treewarden::Permit) + Send) -> PyResult<()> {
        check_process(py, self.process)?;
        py.detach(|| {
            let permit = self.lock().take();
            if let Some(permit) = permit {
                end(permit);
            }
        });
        Ok(())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            // The parent's request is none of the child's.
            std::mem::forget(self.permit.get_mut().unwrap_or_else(PoisonError::into_inner).take());
            return;
        }
        // Its end may be written.
        if let Some(permit) = self.permit.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            drop_detached(permit);
        }
    }
}

#[pymethods]
impl Permit {
    /// What it was asked for with.
    #[getter]
    fn cost(&self) -> u32 {
        self.cost
    }

    /// Says that the answer has come. The request counts for one more window from now.
    fn done(&self, py: Python<'_>) -> PyResult<()> {
        self.end(py, treewarden::Permit::done)
    }

    /// Says that the request was sent at once, by a caller that does not wait for answers. It counts for one
    /// window from its grant.
    fn sent_at_once(&self, py: Python<'_>) -> PyResult<()> {
        self.end(py, treewarden::Permit::sent_at_once)
    }

    /// Says that nothing was sent and nothing will be: it never counted.
    fn unused(&self, py: Python<'_>) -> PyResult<()> {
        self.end(py, treewarden::Permit::unused)
    }

    /// Says that the answer was a refusal because there were too many requests: as ``RateLimiter.throttled``, but
    /// certain of which request it was. After the end of the permit the limiter guesses that.
    ///
    /// Args:
    ///     retry_after: For how many seconds the server asks to be left alone.
    #[pyo3(signature = (retry_after=None))]
    fn throttled(&self, py: Python<'_>, retry_after: Option<f64>) -> PyResult<()> {
        let wait = asked_for(py, retry_after)?;
        check_process(py, self.process)?;
        py.detach(|| {
            let permit = self.lock().take();
            match permit {
                Some(permit) => permit.throttled(wait),
                None => self.limiter.throttled(wait),
            }
        });
        Ok(())
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
        format!("<treewarden.Permit cost={}>", self.cost)
    }
}

/// Reads the value of an HTTP header ``Retry-After``: seconds, or a date.
///
/// Returns how many seconds to wait, at most seven days; 0.0 for a date that has passed, None for what is neither.
///
/// Args:
///     value: The value of the header.
///     now: The time that a date is compared with, in seconds since 1970 UTC (default: the present).
#[pyfunction]
#[pyo3(signature = (value, now=None))]
pub(crate) fn parse_retry_after(py: Python<'_>, value: &str, now: Option<f64>) -> PyResult<Option<f64>> {
    let now = match now {
        Some(seconds) => {
            let since = convert::duration(py, "a time", seconds)?;
            let now = SystemTime::UNIX_EPOCH.checked_add(since);
            now.ok_or_else(|| errors::invalid(py, format!("a time of {seconds} s makes no sense")))?
        }
        None => SystemTime::now(),
    };
    Ok(treewarden::parse_retry_after(value, now).map(|wait| wait.as_secs_f64()))
}
