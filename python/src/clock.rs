//! A clock that tests move by hand.

use pyo3::prelude::*;

use crate::convert;

/// A source of wall-clock time that a test moves by hand: ``treewarden.open(path, clock=Clock.manual(0))``.
#[pyclass(frozen, module = "treewarden")]
pub(crate) struct Clock(pub(crate) treewarden::Clock);

#[pymethods]
impl Clock {
    /// Returns a clock that stands still until it is moved.
    ///
    /// Args:
    ///     start_ns: The time that it shows, in nanoseconds since 1970 UTC.
    #[staticmethod]
    fn manual(start_ns: i64) -> Self {
        Self(treewarden::Clock::manual(start_ns))
    }

    /// Returns the time in nanoseconds since 1970 UTC.
    fn now_ns(&self) -> i64 {
        self.0.now_ns()
    }

    /// Moves the clock forward, by whole milliseconds.
    fn advance(&self, py: Python<'_>, seconds: f64) -> PyResult<()> {
        self.0.advance_ms(convert::millis(py, "a step", seconds)?);
        Ok(())
    }

    /// Sets the clock, backwards too.
    fn set_ns(&self, ns: i64) {
        self.0.set_ns(ns);
    }

    fn __repr__(&self) -> String {
        format!("Clock(now_ns={})", self.0.now_ns())
    }
}
