//! Leadership over all machines: a lease, and whoever has it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use treewarden::{ErrorKind, fleet};

use super::check_process;
use crate::aside::aside;
use crate::convert;
use crate::errors::{self, OrRaise};
use crate::handle::drop_detached;

/// The right to be the leader, of which there is one over all machines. Made by ``Fleet.lease``.
#[pyclass(frozen, module = "treewarden")]
pub(crate) struct Lease {
    lease: fleet::Lease,
    interrupts: AtomicU64,
    process: u32,
}

impl Lease {
    pub(super) fn of(lease: fleet::Lease, process: u32) -> Self {
        Self { lease, interrupts: AtomicU64::new(0), process }
    }

    fn leader(&self, leader: fleet::Leader) -> Leader {
        let (token, name) = (leader.token(), self.lease.name().to_owned());
        Leader { leader: Mutex::new(Some(Arc::new(leader))), token, name, process: self.process }
    }
}

#[pymethods]
impl Lease {
    /// Its name.
    #[getter]
    fn name(&self) -> &str {
        self.lease.name()
    }

    /// Waits until the lease is free and takes it. None at the timeout and after ``interrupt``. Redis is waited for as
    /// well. Ctrl-C ends the wait.
    ///
    /// Args:
    ///     timeout: How long to wait, in seconds; 0 asks once, None, the default, waits without end.
    ///     keep: Renews it from then on, by a thread of its own. Whether that works is to be seen by
    ///         ``Leader.is_valid``.
    ///
    /// Raises:
    ///     InvalidArgumentError: The present leader uses another ``ttl``.
    ///     UnavailableError: Redis cannot be reached at the end of the timeout.
    #[pyo3(signature = (timeout=None, *, keep=false))]
    fn acquire(&self, py: Python<'_>, timeout: Option<f64>, keep: bool) -> PyResult<Option<Leader>> {
        let timeout = convert::timeout(py, timeout)?;
        check_process(py, self.process)?;
        let lease = self.lease.clone();
        let call = move |slice| -> treewarden::Result<Option<fleet::Leader>> {
            let Some(mut leader) = lease.acquire(Some(slice))? else { return Ok(None) };
            if keep {
                leader.keep()?;
            }
            Ok(Some(leader))
        };
        // Nobody leads with what comes after Ctrl-C: it is given back.
        let leader = super::wait(py, timeout, &self.interrupts, call, fleet::Leader::release)?;
        Ok(leader.map(|leader| self.leader(leader)))
    }

    /// Makes every call of this process that waits return None.
    #[pyo3(signature = ())]
    fn interrupt(&self, py: Python<'_>) -> PyResult<()> {
        check_process(py, self.process)?;
        self.interrupts.fetch_add(1, Ordering::AcqRel);
        py.detach(|| self.lease.interrupt());
        Ok(())
    }

    fn __repr__(&self) -> String {
        format!("<treewarden.Lease `{}`>", treewarden::escape(self.lease.name().as_bytes()))
    }
}

/// Whoever has a lease. Made by ``Lease.acquire``.
///
/// A context manager: it gives the lease back at the end. So it does when it is dropped.
#[pyclass(frozen, module = "treewarden")]
pub(crate) struct Leader {
    /// Empty when it was given back. Shared with calls that renew it: nobody waits for Redis behind the lock.
    leader: Mutex<Option<Arc<fleet::Leader>>>,
    token: u64,
    name: String,
    process: u32,
}

impl Leader {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<fleet::Leader>>> {
        self.leader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The engine's, for one call.
    pub(super) fn ready(&self, py: Python<'_>) -> PyResult<Arc<fleet::Leader>> {
        check_process(py, self.process)?;
        let leader = self.lock().clone();
        leader.ok_or_else(|| {
            let name = treewarden::escape(self.name.as_bytes());
            errors::of_kind(py, ErrorKind::LeaseLost, format!("the lease `{name}` was given back"))
        })
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        let leader = self.leader.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        match leader {
            // The parent still leads.
            Some(leader) if self.process != std::process::id() => std::mem::forget(leader),
            Some(leader) => drop_detached(leader),
            None => {}
        }
    }
}

#[pymethods]
impl Leader {
    /// The fencing token: higher than that of every leader before. Whoever the leader writes to should refuse a token
    /// that is lower than one it has seen.
    #[getter]
    fn token(&self) -> u64 {
        self.token
    }

    /// True while no other can be the leader, by the clocks of this machine, with a tenth of the time as reserve. Asks
    /// nobody.
    #[getter]
    fn is_valid(&self, py: Python<'_>) -> PyResult<bool> {
        check_process(py, self.process)?;
        Ok(self.lock().as_ref().is_some_and(|leader| leader.is_valid()))
    }

    /// Renews the lease: it is valid for its whole time again.
    ///
    /// Raises:
    ///     LeaseLostError: It has run out, or was given back; it stays lost.
    ///     UnavailableError: Redis cannot be reached; ``is_valid`` says how things stand.
    #[pyo3(signature = ())]
    fn renew(&self, py: Python<'_>) -> PyResult<()> {
        let leader = self.ready(py)?;
        aside(py, move || leader.renew(), drop)?.or_raise(py)
    }

    /// Gives the lease back, so that another can have it at once. Giving it back twice does nothing.
    #[pyo3(signature = ())]
    fn release(&self, py: Python<'_>) -> PyResult<()> {
        check_process(py, self.process)?;
        let leader = self.lock().take();
        aside(py, move || drop(leader), drop)
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
        self.release(py)
    }

    fn __repr__(&self) -> String {
        format!("<treewarden.Leader of `{}` token={}>", treewarden::escape(self.name.as_bytes()), self.token)
    }
}
