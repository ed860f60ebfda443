//! Following the journal: cursors, whose place is durable, and waiting for what comes after it.

use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use treewarden::{ErrorKind, Interrupter};

use crate::arrow;
use crate::change::Change;
use crate::convert;
use crate::errors::{self, OrRaise};
use crate::handle::{Handle, wait_in_slices};
use crate::sequence::{ItemIter, Items, out_of_range};

/// Follows the journal under a durable name. Deliveries have about `batch` changes; with `ack` each is
/// acknowledged when the next one is asked for.
///
/// # Errors
///
/// `InvalidArgumentError` for a bad name.
pub(crate) fn follow(
    py: Python<'_>,
    handle: &Handle,
    name: &str,
    batch: usize,
    ack: bool,
) -> PyResult<Follow> {
    let follow = handle.run(py, |warden| warden.follow(name))?;
    Ok(Follow {
        cursor: follow.cursor().clone(),
        interrupter: follow.interrupter(),
        follow: Mutex::new(Some(Arc::new(follow))),
        interrupted: AtomicBool::new(false),
        last: Mutex::new(None),
        batch,
        acks: ack,
        handle: handle.clone(),
    })
}

/// The durable cursor of a name.
///
/// # Errors
///
/// `InvalidArgumentError` for a bad name.
pub(crate) fn cursor(py: Python<'_>, handle: &Handle, name: &str) -> PyResult<Cursor> {
    let cursor = handle.run(py, |warden| warden.cursor(name))?;
    Ok(Cursor { cursor, handle: handle.clone() })
}

/// The cursors with their places.
pub(crate) fn cursors(py: Python<'_>, handle: &Handle) -> PyResult<Py<PyDict>> {
    let cursors = PyDict::new(py);
    for (name, seq) in handle.run(py, treewarden::Warden::cursors)? {
        cursors.set_item(name, seq)?;
    }
    Ok(cursors.unbind())
}

/// Waits for a commit after `after`: the seq then, or as it is at the end of the time.
pub(crate) fn wait(py: Python<'_>, handle: &Handle, after: u64, timeout: Option<f64>) -> PyResult<u64> {
    let timeout = convert::timeout(py, timeout)?;
    let warden = handle.get(py)?;
    let seq = wait_in_slices(py, timeout, |slice| {
        let seq = warden.wait(after, Some(slice))?;
        Ok((seq > after).then_some(seq))
    })?;
    Ok(seq.unwrap_or_else(|| warden.seq()))
}

/// A named place in the journal that survives restarts.
///
/// What has been read counts as read only when it is acknowledged: a consumer that is killed in between reads it
/// again.
// The engine's own comes first in each of these classes: dropped before the handle, it is never what closes the
// warden.
#[pyclass(frozen, module = "treewarden")]
pub(crate) struct Cursor {
    cursor: treewarden::Cursor,
    handle: Handle,
}

#[pymethods]
impl Cursor {
    /// Its name.
    #[getter]
    fn name(&self) -> &str {
        self.cursor.name()
    }

    /// The seq up to which changes have been acknowledged; 0 before the first time.
    #[getter]
    fn position(&self, py: Python<'_>) -> PyResult<u64> {
        self.handle.check(py)?;
        py.detach(|| self.cursor.position()).or_raise(py)
    }

    /// Reads the changes after the cursor: whole commits, until there are at least so many or the journal ends.
    /// Never waits.
    ///
    /// Raises:
    ///     ResetError: The journal no longer reaches back to the cursor: read the snapshot, then ``advance`` it to
    ///         ``restart_seq``.
    #[pyo3(signature = (max_changes=1000))]
    fn read(&self, py: Python<'_>, max_changes: usize) -> PyResult<Delivery> {
        self.handle.check(py)?;
        let delivery = py.detach(|| self.cursor.read(max_changes)).or_raise(py)?;
        Ok(Delivery::of(delivery, &self.cursor, &self.handle))
    }

    /// Moves the cursor forward without reading, for example after a ``ResetError``. Durable on return; returns
    /// the seq of the commit.
    ///
    /// Raises:
    ///     ConflictError: It is further already.
    ///     InvalidArgumentError: There is no such commit yet.
    #[pyo3(signature = (seq))]
    fn advance(&self, py: Python<'_>, seq: u64) -> PyResult<u64> {
        self.handle.check(py)?;
        py.detach(|| self.cursor.advance(seq)).or_raise(py)
    }

    fn __repr__(&self) -> String {
        format!("<treewarden.Cursor `{}`>", treewarden::escape(self.cursor.name().as_bytes()))
    }
}

/// What a cursor has read and not yet acknowledged; one that never is comes again.
///
/// A list of changes, oldest first, with indices and slices; it is a table, too: ``polars.DataFrame(delivery)``. A
/// context manager: it acknowledges at the end, but not after an exception.
#[pyclass(frozen, module = "treewarden")]
pub(crate) struct Delivery {
    delivery: treewarden::Delivery,
    cursor: treewarden::Cursor,
    handle: Handle,
    /// What the acknowledgement returned.
    acked: Mutex<Option<u64>>,
}

impl Delivery {
    fn of(delivery: treewarden::Delivery, cursor: &treewarden::Cursor, handle: &Handle) -> Self {
        Self { delivery, cursor: cursor.clone(), handle: handle.clone(), acked: Mutex::new(None) }
    }

    fn changes(&self) -> &[treewarden::Change] {
        self.delivery.changes()
    }

    fn lock(&self) -> MutexGuard<'_, Option<u64>> {
        self.acked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As `treewarden::Delivery::ack`, which would take the changes along.
    fn acknowledge(&self) -> treewarden::Result<u64> {
        if self.changes().is_empty() {
            return self.cursor.position();
        }
        self.cursor.advance(self.delivery.upto())
    }
}

impl Items for Delivery {
    fn places(&self) -> usize {
        self.changes().len()
    }

    fn item(&self, py: Python<'_>, place: usize) -> PyResult<Py<PyAny>> {
        let change = self.changes().get(place).ok_or_else(out_of_range)?;
        Change::from(change.clone()).into_py_any(py)
    }
}

#[pymethods]
impl Delivery {
    /// The commit up to which this goes: what to advance the cursor to, here or in a batch.
    #[getter]
    fn upto(&self) -> u64 {
        self.delivery.upto()
    }

    /// Acknowledges: advances the cursor durably. Returns the seq of that commit, or, where there was nothing
    /// new, the place of the cursor. Again it does nothing.
    ///
    /// Raises:
    ///     ConflictError: Another consumer of the same name was faster.
    fn ack(&self, py: Python<'_>) -> PyResult<u64> {
        self.handle.check_process(py)?;
        let acked = *self.lock();
        if let Some(seq) = acked {
            return Ok(seq);
        }
        self.handle.check(py)?;
        let seq = py.detach(|| self.acknowledge()).or_raise(py)?;
        *self.lock() = Some(seq);
        Ok(seq)
    }

    fn __len__(&self) -> usize {
        self.places()
    }

    fn __getitem__(&self, py: Python<'_>, index: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        self.picked(py, index)
    }

    fn __iter__(slf: &Bound<'_, Self>) -> ItemIter {
        ItemIter::over(slf.as_any())
    }

    fn __reversed__(slf: &Bound<'_, Self>) -> ItemIter {
        ItemIter::back_over(slf.as_any())
    }

    /// Returns the place of the first change that equals ``value``. ``ValueError`` where there is none.
    #[pyo3(signature = (value, start=0, stop=None))]
    fn index(
        &self,
        py: Python<'_>,
        value: &Bound<'_, PyAny>,
        start: isize,
        stop: Option<isize>,
    ) -> PyResult<usize> {
        self.place_of(py, value, start, stop)
    }

    /// Returns how many changes equal ``value``.
    fn count(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<usize> {
        self.how_many(py, value)
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
        let _ = (exc_value, traceback);
        if exc_type.is_none() {
            self.ack(py)?;
        }
        Ok(())
    }

    /// Exports the changes as an Arrow stream: ``seq``, ``root``, ``kind``, ``entry_kind``, ``path``,
    /// ``path_bytes``, ``from``, ``from_bytes``, ``id``.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__(
        &self,
        py: Python<'_>,
        requested_schema: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        // A wish that the interface allows to be passed over.
        let _ = requested_schema;
        let changes = self.changes().to_vec();
        arrow::capsule(py, treewarden::arrow::changes(changes.into_iter().map(Ok)))
    }

    fn __repr__(&self) -> String {
        let (count, upto) = (self.places(), self.delivery.upto());
        format!("<treewarden.Delivery of {count} changes, up to {upto}>")
    }
}

/// Follows the journal: an iterator over deliveries that waits until there is something new.
///
/// It goes on where the last acknowledged delivery of its name ended, after a restart too. Each delivery is
/// acknowledged when the next one is asked for, unless ``Warden.follow`` was told ``ack=False``: one that was
/// still being worked on when the loop was left comes again.
///
/// It never ends by itself: ``interrupt`` ends an iteration, and closing the warden ends it with ``ClosedError``. A
/// context manager: it closes itself at the end, and acknowledges nothing then.
///
/// Raises:
///     ResetError: The journal no longer reaches back to the cursor: read the snapshot, then
///         ``follow.cursor.advance(error.restart_seq)``, and go on.
#[pyclass(frozen, module = "treewarden")]
pub(crate) struct Follow {
    /// Empty when this was closed.
    follow: Mutex<Option<Arc<treewarden::Follow>>>,
    cursor: treewarden::Cursor,
    interrupter: Interrupter,
    /// Beside the interrupt of the engine, which a slice of a wait cannot tell from its end.
    interrupted: AtomicBool,
    /// To be acknowledged when the next one is asked for.
    last: Mutex<Option<Py<Delivery>>>,
    batch: usize,
    acks: bool,
    handle: Handle,
}

impl Follow {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<treewarden::Follow>>> {
        self.follow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn last(&self) -> MutexGuard<'_, Option<Py<Delivery>>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What follows, for one call.
    fn ready(&self, py: Python<'_>) -> PyResult<Arc<treewarden::Follow>> {
        self.handle.check(py)?;
        let open = self.lock().clone();
        open.ok_or_else(|| {
            let name = treewarden::escape(self.cursor.name().as_bytes());
            errors::of_kind(py, ErrorKind::Closed, format!("following `{name}` has been closed"))
        })
    }

    fn take(&self, py: Python<'_>, timeout: Option<Duration>) -> PyResult<Option<Py<Delivery>>> {
        let follow = self.ready(py)?;
        let last = self.last().take();
        if let Some(last) = last {
            last.get().ack(py)?;
        }
        let taken = wait_in_slices(py, timeout, |slice| {
            if let Some(delivery) = follow.next(self.batch, Some(slice))? {
                return Ok(Some(Some(delivery)));
            }
            let is_over = self.interrupted.swap(false, Ordering::AcqRel) || self.lock().is_none();
            Ok(is_over.then_some(None))
        })?;
        let Some(delivery) = taken.flatten() else {
            self.ready(py)?;
            return Ok(None);
        };
        let delivery = Py::new(py, Delivery::of(delivery, &self.cursor, &self.handle))?;
        if self.acks {
            let before = self.last().replace(delivery.clone_ref(py));
            // Of another thread, which has asked at the same time. Not behind the lock: its end may run Python
            // code.
            drop(before);
        }
        Ok(Some(delivery))
    }
}

#[pymethods]
impl Follow {
    /// Its cursor, to advance it after a ``ResetError``.
    #[getter]
    fn cursor(&self) -> Cursor {
        Cursor { cursor: self.cursor.clone(), handle: self.handle.clone() }
    }

    /// The seq up to which changes have been acknowledged.
    #[getter]
    fn position(&self, py: Python<'_>) -> PyResult<u64> {
        self.cursor().position(py)
    }

    /// Reads what is new, and waits for it if need be. None at the timeout and after ``interrupt``.
    ///
    /// Args:
    ///     timeout: How long to wait, in seconds; 0 does not wait, None, the default, waits without end.
    #[pyo3(signature = (timeout=None))]
    fn next(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Option<Py<Delivery>>> {
        self.take(py, convert::timeout(py, timeout)?)
    }

    /// Makes one waiting call return without a result; if none waits, the next call that has to wait.
    fn interrupt(&self, py: Python<'_>) -> PyResult<()> {
        self.ready(py)?;
        self.interrupted.store(true, Ordering::Release);
        py.detach(|| self.interrupter.interrupt());
        Ok(())
    }

    /// Returns a descriptor that becomes readable with each commit, and when the warden has been closed.
    ///
    /// For ``select`` and event loops; not to be read from. When it is readable call ``next(0)`` until that returns
    /// None. It lives until this is closed.
    fn fileno(&self, py: Python<'_>) -> PyResult<i32> {
        let follow = self.ready(py)?;
        py.detach(|| follow.descriptor().map(|descriptor| descriptor.as_raw_fd())).or_raise(py)
    }

    /// Ends the following. Whoever waits gets ``ClosedError``; nothing is acknowledged. Closing twice does nothing.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.handle.check_process(py)?;
        let closed = self.lock().take();
        py.detach(|| {
            self.interrupter.interrupt();
            drop(closed);
        });
        let last = self.last().take();
        drop(last);
        Ok(())
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<Delivery>>> {
        self.take(py, None)
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
        self.close(py)
    }

    fn __repr__(&self) -> String {
        format!("<treewarden.Follow `{}`>", treewarden::escape(self.cursor.name().as_bytes()))
    }
}
