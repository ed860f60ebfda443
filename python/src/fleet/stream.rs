//! The journal of a warden as a stream: who appends to it, and who reads it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use treewarden::fleet;

use super::check_process;
use crate::aside::aside;
use crate::change::Change;
use crate::convert;
use crate::errors::OrRaise;
use crate::handle::Handle;

/// Appends the changes of a warden to a stream, for the consumers of other machines. Made by ``Fleet.publisher``.
///
/// Only one publisher of a warden and a stream may run at a time.
#[pyclass(frozen, module = "treewarden")]
pub(crate) struct Publisher {
    /// Dropped before the handle, so it is never what closes the warden.
    publisher: Arc<Mutex<fleet::Publisher>>,
    /// Of the runs under way.
    stop: Mutex<fleet::Stop>,
    stream: String,
    handle: Handle,
}

impl Publisher {
    pub(super) fn of(publisher: fleet::Publisher, stream: &str, handle: &Handle) -> Self {
        Self {
            publisher: Arc::new(Mutex::new(publisher)),
            stop: Mutex::default(),
            stream: stream.to_owned(),
            handle: handle.clone(),
        }
    }

    fn stops(&self) -> MutexGuard<'_, fleet::Stop> {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held for as long as something is published: to be called detached.
fn publishing(publisher: &Mutex<fleet::Publisher>) -> MutexGuard<'_, fleet::Publisher> {
    publisher.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Publisher {
    fn drop(&mut self) {
        if self.handle.is_forked() {
            std::mem::forget(Arc::clone(&self.publisher));
        }
    }
}

#[pymethods]
impl Publisher {
    /// Appends what is new, and returns how many entries were appended; 0 means that there is nothing new. What was
    /// appended by a call that failed is not appended again.
    ///
    /// Args:
    ///     max_changes: About how many changes at most.
    ///
    /// Raises:
    ///     LeaseLostError: Another has published with a higher token.
    ///     UnavailableError: Redis cannot be reached.
    ///     ConflictError: Another publisher moves the same cursor.
    #[pyo3(signature = (max_changes=1000))]
    fn publish_once(&self, py: Python<'_>, max_changes: usize) -> PyResult<u64> {
        self.handle.check(py)?;
        let publisher = Arc::clone(&self.publisher);
        aside(py, move || publishing(&publisher).publish_once(max_changes), drop)?.or_raise(py)
    }

    /// Appends what is new, waits for more, and goes on until ``stop``, or Ctrl-C. Waits over a Redis that cannot be
    /// reached.
    ///
    /// Raises:
    ///     LeaseLostError: Another has published with a higher token.
    ///     ClosedError: The warden was closed.
    #[pyo3(signature = ())]
    fn run(&self, py: Python<'_>) -> PyResult<()> {
        self.handle.check(py)?;
        // One that came just before it counts: whoever stopped it need not know which was first.
        let stop = self.stops().clone();
        let (publisher, its) = (Arc::clone(&self.publisher), stop.clone());
        let ended = aside(py, move || publishing(&publisher).run(&its), drop);
        if ended.is_err() {
            stop.stop();
        }
        let mut next = self.stops();
        if next.is_stopped() {
            *next = fleet::Stop::new();
        }
        drop(next);
        ended?.or_raise(py)
    }

    /// Ends ``run``, from another thread.
    #[pyo3(signature = ())]
    fn stop(&self, py: Python<'_>) -> PyResult<()> {
        self.handle.check_process(py)?;
        let stop = self.stops().clone();
        py.detach(|| stop.stop());
        Ok(())
    }

    fn __repr__(&self) -> String {
        format!("<treewarden.Publisher to `{}`>", treewarden::escape(self.stream.as_bytes()))
    }
}

/// Reads a stream as one of a group. Made by ``Fleet.consumer``. Any thread may use it; two that read at once share the
/// changes.
#[pyclass(frozen, module = "treewarden")]
pub(crate) struct Consumer {
    consumer: Arc<fleet::Consumer>,
    interrupts: AtomicU64,
    stream: String,
    process: u32,
}

impl Consumer {
    pub(super) fn of(consumer: fleet::Consumer, stream: &str, process: u32) -> Self {
        let consumer = Arc::new(consumer);
        Self { consumer, interrupts: AtomicU64::new(0), stream: stream.to_owned(), process }
    }

    /// The engine's, for one call.
    fn ready(&self, py: Python<'_>) -> PyResult<Arc<fleet::Consumer>> {
        check_process(py, self.process)?;
        Ok(Arc::clone(&self.consumer))
    }
}

#[pymethods]
impl Consumer {
    /// Reads changes: first those that others have abandoned, else what nobody of the group has been given yet, and waits
    /// for one if need be. Empty at the timeout and after ``interrupt``. Ctrl-C ends the wait.
    ///
    /// What is not acknowledged comes again, to this consumer or another.
    ///
    /// Args:
    ///     max_items: How many at most, up to 1,000.
    ///     timeout: How long to wait, in seconds; 0 does not wait, None, the default, waits without end.
    ///
    /// Raises:
    ///     ResetError: Changes were cut off before the group was done with them: look at the whole, then
    ///         ``accept_reset``.
    ///     UnavailableError: Redis cannot be reached at the end of the timeout.
    #[pyo3(signature = (max_items=100, timeout=None))]
    fn next(&self, py: Python<'_>, max_items: usize, timeout: Option<f64>) -> PyResult<Vec<StreamItem>> {
        let timeout = convert::timeout(py, timeout)?;
        let consumer = self.ready(py)?;
        let call = move |slice| -> treewarden::Result<Option<Vec<fleet::Item>>> {
            let items = consumer.next(max_items, Some(slice))?;
            Ok(if items.is_empty() { None } else { Some(items) })
        };
        // Those come again when they have lain for long enough.
        let items = super::wait(py, timeout, &self.interrupts, call, drop)?;
        Ok(items.unwrap_or_default().into_iter().map(StreamItem).collect())
    }

    /// Acknowledges: the group is done with these. Returns how many that were.
    ///
    /// Args:
    ///     items: What ``next`` returned.
    ///
    /// Raises:
    ///     UnavailableError: Redis cannot be reached; the items come again, unless they are acknowledged later.
    #[pyo3(signature = (items))]
    fn ack(&self, py: Python<'_>, items: &Bound<'_, PyAny>) -> PyResult<u64> {
        let consumer = self.ready(py)?;
        let items = items.try_iter()?.map(|item| Ok(item?.cast_into::<StreamItem>()?.get().0.clone()));
        let items = items.collect::<PyResult<Vec<fleet::Item>>>()?;
        aside(py, move || consumer.ack(&items), drop)?.or_raise(py)
    }

    /// Goes on after a ``ResetError``, for the whole group. True when there was one.
    #[pyo3(signature = ())]
    fn accept_reset(&self, py: Python<'_>) -> PyResult<bool> {
        let consumer = self.ready(py)?;
        aside(py, move || consumer.accept_reset(), drop)?.or_raise(py)
    }

    /// Makes every call that waits return nothing.
    #[pyo3(signature = ())]
    fn interrupt(&self, py: Python<'_>) -> PyResult<()> {
        let consumer = self.ready(py)?;
        self.interrupts.fetch_add(1, Ordering::AcqRel);
        py.detach(|| consumer.interrupt());
        Ok(())
    }

    fn __repr__(&self) -> String {
        format!("<treewarden.Consumer of `{}`>", treewarden::escape(self.stream.as_bytes()))
    }
}

/// One change, as it came over a stream. Immutable.
#[pyclass(frozen, module = "treewarden")]
pub(crate) struct StreamItem(fleet::Item);

#[pymethods]
impl StreamItem {
    /// The id of the entry in the stream.
    #[getter]
    fn stream_id(&self) -> &str {
        &self.0.stream_id
    }

    /// The database that it comes from, as 32 hexadecimal digits.
    #[getter]
    fn database(&self) -> &str {
        &self.0.database
    }

    /// The commit.
    #[getter]
    fn seq(&self) -> u64 {
        self.0.seq
    }

    /// Which of the changes of that commit, from 1; 0 for a reset.
    #[getter]
    fn part(&self) -> u64 {
        self.0.part
    }

    /// The change. None is a reset: what comes now does not continue what came before, so whoever keeps a copy looks at
    /// the whole.
    #[getter]
    fn change(&self) -> Option<Change> {
        self.0.change.clone().map(Change::from)
    }

    fn __repr__(&self) -> String {
        let kind = self.0.change.as_ref().map_or("reset", |change| change.kind.name());
        let (id, seq, part) = (treewarden::escape(self.0.stream_id.as_bytes()), self.0.seq, self.0.part);
        format!("<treewarden.StreamItem {id} {kind} seq={seq} part={part}>")
    }
}
