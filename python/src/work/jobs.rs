//! The iterator over the jobs of a pipeline, which claims them in batches.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use treewarden::ErrorKind;

use super::group;
use super::job::Job;
use super::pipeline::Pipeline;
use crate::errors;

/// A job that has waited for longer in a batch gets its lease renewed when it is handed out: the shortest lease
/// is a second.
const FRESH: Duration = Duration::from_millis(250);

/// An iterator over the jobs of a pipeline as they become due, which waits for them. Threads may share it; each
/// job goes to one of them.
///
/// It ends when nothing was due for long enough, if it was told how long that is, and on ``Pipeline.interrupt``;
/// then it may be gone on with. ``close``, and the end of the iterator, give back what was claimed and not handed
/// out. A context manager: it closes itself at the end.
#[pyclass(frozen, module = "treewarden")]
pub(crate) struct Jobs {
    pipeline: Pipeline,
    batch: usize,
    idle: Option<Duration>,
    ready: Mutex<VecDeque<Ready>>,
    is_closed: AtomicBool,
}

/// Claimed, and not handed out.
struct Ready {
    job: treewarden::Job,
    since: Instant,
}

impl Jobs {
    pub(super) fn of(pipeline: &Pipeline, batch: usize, idle: Option<Duration>) -> Self {
        Self {
            pipeline: pipeline.clone(),
            batch: batch.max(1),
            idle,
            ready: Mutex::default(),
            is_closed: AtomicBool::new(false),
        }
    }

    /// Held for as long as it takes to put something in or to take something out.
    fn lock(&self) -> MutexGuard<'_, VecDeque<Ready>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job of the batch whose lease is in force.
    fn next_ready(&self, py: Python<'_>) -> PyResult<Option<treewarden::Job>> {
        loop {
            let next = self.lock().pop_front();
            let Some(Ready { mut job, since }) = next else { return Ok(None) };
            if since.elapsed() < FRESH {
                return Ok(Some(job));
            }
            let renewed = group::outside(py, || job.renew());
            match renewed {
                Ok(()) => return Ok(Some(job)),
                // Somebody else has it by now.
                Err(error) if error.kind() == ErrorKind::LeaseLost => {
                    py.detach(|| job.sends_nothing());
                }
                Err(error) => return Err(errors::raise(py, error)),
            }
        }
    }

    fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }
}

/// Gives back what nobody has begun. Where that cannot be recorded the leases run out.
fn give_back(pipeline: &treewarden::Pipeline, ready: VecDeque<Ready>) {
    let unsent = |Ready { mut job, .. }: Ready| {
        job.sends_nothing();
        job
    };
    let jobs: Vec<treewarden::Job> = ready.into_iter().map(unsent).collect();
    if !jobs.is_empty() {
        let _ = pipeline.release_many(jobs);
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        let ready = std::mem::take(self.ready.get_mut().unwrap_or_else(PoisonError::into_inner));
        if ready.is_empty() || group::runs() {
            // From within a group function nothing can be asked of its pipeline: the leases run out.
            return;
        }
        if self.pipeline.is_forked() {
            // The parent's.
            std::mem::forget(ready);
            return;
        }
        let pipeline = self.pipeline.engine();
        // Without an interpreter to let go of, the process is about to end, and with it the leases.
        let _ = Python::try_attach(|py| py.detach(|| give_back(pipeline, ready)));
    }
}

#[pymethods]
impl Jobs {
    /// Gives back what was claimed and not handed out, and ends the iteration. Closing twice does nothing.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.pipeline.check_caller(py)?;
        self.is_closed.store(true, Ordering::Release);
        let ready = std::mem::take(&mut *self.lock());
        let pipeline = self.pipeline.engine();
        group::outside(py, || give_back(pipeline, ready));
        Ok(())
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Job>> {
        self.pipeline.check(py)?;
        loop {
            if let Some(job) = self.next_ready(py)? {
                return Ok(Some(Job::new(job, self.pipeline.sources())));
            }
            if self.is_closed() {
                return Ok(None);
            }
            let jobs = self.pipeline.wait_for_jobs(py, self.batch, self.idle)?;
            if jobs.is_empty() {
                return Ok(None);
            }
            let since = Instant::now();
            self.lock().extend(jobs.into_iter().map(|job| Ready { job, since }));
        }
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
}
