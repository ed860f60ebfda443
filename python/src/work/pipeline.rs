//! A pipeline: claiming jobs, asking for files, and how it stands.

use std::time::Duration;

use pyo3::exceptions::{PyBaseException, PyTypeError};
use pyo3::prelude::*;
use treewarden::WorkState;

use super::group;
use super::job::{Job, Sources, has_ended};
use super::jobs::Jobs;
use super::lists::{ItemList, JobList};
use super::options::PRIORITIES;
use crate::convert::{self, Address};
use crate::errors::{self, OrRaise};
use crate::event_types;
use crate::handle::{Handle, wait_in_slices};
use crate::limiter::RateLimiter;
use crate::types;

const STATES: &[(&str, WorkState)] = &[
    ("new", WorkState::New),
    ("changed", WorkState::Changed),
    ("stale", WorkState::Stale),
    ("error", WorkState::Error),
    ("missing", WorkState::Missing),
    ("processing", WorkState::Processing),
    ("indexed", WorkState::Indexed),
];

/// A named consumer of work: which files it works on, and what is still to be done about each of them.
///
/// Made by ``Warden.pipeline``. What changes something is durable on return; what many threads ask for at once
/// shares commits. All methods may be called from any thread, but none from a group function.
#[pyclass(frozen, module = "treewarden")]
#[derive(Clone)]
pub(crate) struct Pipeline {
    /// Dropped before the handle, so it is never what closes the warden.
    pipeline: treewarden::Pipeline,
    handle: Handle,
    sources: Sources,
}

impl Pipeline {
    pub(super) fn of(pipeline: treewarden::Pipeline, handle: &Handle) -> Self {
        Self { pipeline, sources: Sources::new([handle.clone()]), handle: handle.clone() }
    }

    /// Refuses a call on a closed warden, in the child of a fork, and from within a group function.
    pub(super) fn check(&self, py: Python<'_>) -> PyResult<()> {
        self.handle.check(py)?;
        group::refuse(py)
    }

    /// As [`Pipeline::check`], but for a closed warden there may be something to clear away.
    pub(super) fn check_caller(&self, py: Python<'_>) -> PyResult<()> {
        self.handle.check_process(py)?;
        group::refuse(py)
    }

    pub(super) fn is_forked(&self) -> bool {
        self.handle.is_forked()
    }

    /// The engine's, to be asked detached.
    pub(super) fn engine(&self) -> &treewarden::Pipeline {
        &self.pipeline
    }

    pub(super) fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Asks the pipeline something while other Python threads run.
    fn run<T: Send>(
        &self,
        py: Python<'_>,
        ask: impl FnOnce(&treewarden::Pipeline) -> treewarden::Result<T> + Send,
    ) -> PyResult<T> {
        self.check(py)?;
        group::outside(py, || ask(&self.pipeline)).or_raise(py)
    }

    /// Repeats a wait in slices until it has something. `None` at the timeout, on `interrupt`, and on a Ctrl-C
    /// that came while a group function ran and is still to be raised.
    fn wait<T: Send>(
        &self,
        py: Python<'_>,
        timeout: Option<Duration>,
        mut wait: impl FnMut(&treewarden::Pipeline, Duration) -> treewarden::Result<Option<T>> + Send,
    ) -> PyResult<Option<T>> {
        self.check(py)?;
        let interrupts = self.pipeline.interrupts();
        let found = wait_in_slices(py, timeout, |slice| {
            if let Some(found) = wait(&self.pipeline, slice)? {
                return Ok(Some(Some(found)));
            }
            // Counted: one that comes between two slices is not missed.
            let is_over = self.pipeline.interrupts() != interrupts || group::was_interrupted();
            Ok(is_over.then_some(None))
        });
        group::settle(py);
        found.map(Option::flatten)
    }

    /// Takes up to `count` jobs, and waits for the first. None at the timeout and on `interrupt`.
    pub(super) fn wait_for_jobs(
        &self,
        py: Python<'_>,
        count: usize,
        timeout: Option<Duration>,
    ) -> PyResult<Vec<treewarden::Job>> {
        let jobs = self.wait(py, timeout, |pipeline, slice| {
            let jobs = pipeline.claim_wait(count, Some(slice))?;
            Ok(if jobs.is_empty() { None } else { Some(jobs) })
        })?;
        Ok(jobs.unwrap_or_default())
    }

    /// True for a job of this pipeline, not of another one of the same name; of one that has ended the name is all
    /// there is to go by. To be called detached.
    fn has(&self, job: &Job) -> bool {
        match job.lock().as_ref() {
            Some(its) => self.pipeline.is_of(its),
            None => job.pipeline_name() == self.pipeline.name(),
        }
    }

    /// Completes those that have not ended: an answer for each of them. To be called detached. What cannot be
    /// stored leaves all as they are.
    fn complete_all(&self, jobs: &[Py<Job>]) -> treewarden::Result<Vec<Option<treewarden::Result<()>>>> {
        let completion = treewarden::Completion::new();
        let mut taken: Vec<(usize, &Job, treewarden::Job)> = Vec::with_capacity(jobs.len());
        for (place, job) in jobs.iter().enumerate() {
            let job = job.get();
            match job.take(|its| job.prepare(its, &completion)) {
                Ok(its) => taken.extend(its.map(|its| (place, job, its))),
                Err(error) => {
                    for (_, job, its) in taken {
                        job.put_back(its);
                    }
                    return Err(error);
                }
            }
        }
        let mut answers: Vec<Option<treewarden::Result<()>>> = jobs.iter().map(|_| None).collect();
        let (mut places, mut ends) = (Vec::with_capacity(taken.len()), Vec::with_capacity(taken.len()));
        for (place, job, its) in taken {
            job.note_end();
            places.push(place);
            ends.push(its);
        }
        for (place, answer) in places.into_iter().zip(self.pipeline.complete_many(ends)?) {
            if let Some(slot) = answers.get_mut(place) {
                *slot = Some(answer);
            }
        }
        Ok(answers)
    }
}

#[pymethods]
impl Pipeline {
    /// Its name.
    #[getter]
    fn name(&self) -> &str {
        self.pipeline.name()
    }

    /// Its limiter, if it has a rate.
    #[getter]
    fn limiter(&self, py: Python<'_>) -> PyResult<Option<RateLimiter>> {
        Ok(self.run(py, |pipeline| Ok(pipeline.limiter()))?.map(RateLimiter::of))
    }

    /// Takes up to ``n`` jobs that are due (at most 10,000), best first. Where the pipeline has a rate, as many
    /// as may begin now. Ctrl-C ends the wait.
    ///
    /// Args:
    ///     n: How many at most.
    ///     timeout: How long to wait for the first, in seconds; 0, the default, does not wait, None waits without
    ///         end. Empty at the timeout and after ``interrupt``.
    #[pyo3(signature = (n=1, *, timeout=Some(0.0)), text_signature = "($self, n=1, *, timeout=0.0)")]
    fn claim(&self, py: Python<'_>, n: usize, timeout: Option<f64>) -> PyResult<JobList> {
        let timeout = convert::timeout(py, timeout)?;
        self.check(py)?;
        let jobs = if n == 0 { Vec::new() } else { self.wait_for_jobs(py, n, timeout)? };
        JobList::of(py, jobs, &self.sources)
    }

    /// Takes up to ``n`` jobs that are due in several pipelines: all of the one whose best job is in the best
    /// class, of the next one when that has no more. ``Job.pipeline`` tells which is whose. Does not wait.
    ///
    /// Args:
    ///     pipelines: The pipelines; with the same class they are served in this order.
    ///     n: How many at most.
    #[staticmethod]
    #[pyo3(signature = (pipelines, n))]
    fn claim_from(pipelines: &Bound<'_, PyAny>, n: usize) -> PyResult<JobList> {
        let py = pipelines.py();
        let mut own = Vec::new();
        for pipeline in pipelines.try_iter()? {
            let pipeline = pipeline?.cast_into::<Self>()?;
            pipeline.get().check(py)?;
            own.push(pipeline.unbind());
        }
        let sources = Sources::new(own.iter().map(|pipeline| pipeline.get().handle.clone()));
        let asked: Vec<_> = own.iter().map(|pipeline| pipeline.get().pipeline.clone()).collect();
        let jobs = group::outside(py, || treewarden::Pipeline::claim_from(&asked, n)).or_raise(py)?;
        JobList::of(py, jobs, &sources)
    }

    /// Iterates over the jobs as they become due, and waits for them: ``for job in pipeline.jobs(): with job: …``.
    /// ``interrupt`` ends the iteration, and so does Ctrl-C.
    ///
    /// Args:
    ///     batch: How many are claimed at once. Those not reached when the iterator ends are given back.
    ///     idle: Ends after so many seconds without work; None, the default, never.
    #[pyo3(signature = (*, batch=1, idle=None))]
    fn jobs(&self, py: Python<'_>, batch: usize, idle: Option<f64>) -> PyResult<Jobs> {
        let idle = convert::timeout(py, idle)?;
        self.check(py)?;
        Ok(Jobs::of(self, batch, idle))
    }

    /// Completes several jobs in one commit. One answer for each: None, or the error, such as a lease that was
    /// lost; that of one does not keep the others from being recorded.
    ///
    /// Raises:
    ///     TooLargeError: The attributes of a job take more than 64 KiB. All jobs stay in hand.
    ///     InvalidArgumentError: A job is one of another pipeline. All jobs stay in hand.
    fn complete_many(
        &self,
        py: Python<'_>,
        jobs: &Bound<'_, PyAny>,
    ) -> PyResult<Vec<Option<Py<PyBaseException>>>> {
        self.check(py)?;
        let jobs = jobs.try_iter()?.map(|job| Ok(job?.cast_into::<Job>()?.unbind()));
        let jobs = jobs.collect::<PyResult<Vec<Py<Job>>>>()?;
        if let Some(job) = group::outside(py, || jobs.iter().find(|job| !self.has(job.get()))) {
            let shown = job.get().shown_path();
            return Err(errors::invalid(py, format!("job `{shown}` is one of another pipeline")));
        }
        let answers = group::outside(py, || self.complete_all(&jobs)).or_raise(py)?;
        let answer = |answer| match answer {
            Some(Ok(())) => None,
            Some(Err(error)) => Some(errors::raise(py, error).into_value(py)),
            None => Some(has_ended(py).into_value(py)),
        };
        Ok(answers.into_iter().map(answer).collect())
    }

    /// Asks for a file, or everything below a directory, to be done now whatever its state.
    ///
    /// Args:
    ///     address: ``ROOT/path``, ``ROOT``, or nothing for everything.
    ///     priority: The class in which it waits.
    ///
    /// Raises:
    ///     NotFoundError: There is no item at or below it.
    #[pyo3(
        signature = (address=Address::everything(), priority="critical"),
        text_signature = "($self, address='', priority='critical')"
    )]
    fn request(&self, py: Python<'_>, address: Address, priority: &str) -> PyResult<Py<PyAny>> {
        let priority = convert::one_of(py, "priority", priority, PRIORITIES)?;
        let report = self.run(py, move |pipeline| pipeline.request(address.0, priority))?;
        event_types::request_report(py, &report)
    }

    /// Makes items in error at or below an address due at once, the dead ones too. Returns how many.
    #[pyo3(signature = (address=Address::everything()), text_signature = "($self, address='')")]
    fn retry(&self, py: Python<'_>, address: Address) -> PyResult<u64> {
        self.run(py, move |pipeline| pipeline.retry(address.0))
    }

    /// Lists items at or below an address, by address; of one state where one is given.
    ///
    /// Args:
    ///     address: ``ROOT/path``, ``ROOT``, or nothing for everything.
    ///     state: ``new``, ``changed``, ``stale``, ``error``, ``missing``, ``processing`` or ``indexed``.
    ///     limit: How many at most.
    #[pyo3(
        signature = (address=Address::everything(), *, state=None, limit=1000),
        text_signature = "($self, address='', *, state=None, limit=1000)"
    )]
    fn list(
        &self,
        py: Python<'_>,
        address: Address,
        state: Option<&str>,
        limit: usize,
    ) -> PyResult<ItemList> {
        let state = state.map(|state| convert::one_of(py, "state", state, STATES)).transpose()?;
        self.run(py, move |pipeline| pipeline.list(address.0, state, limit)).map(ItemList::of)
    }

    /// Says how the pipeline stands.
    fn status(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let status = self.run(py, treewarden::Pipeline::status)?;
        types::pipeline_status(py, &status)
    }

    /// Tells all that is known of one item: a file, or a group by its key or one of its files.
    ///
    /// Raises:
    ///     NotFoundError: The pipeline has no such item.
    #[pyo3(signature = (address))]
    fn explain(&self, py: Python<'_>, address: Address) -> PyResult<Py<PyAny>> {
        let told = self.run(py, move |pipeline| pipeline.explain(address.0))?;
        event_types::work_explanation(py, &told)
    }

    /// Wakes every call that waits for work, in all threads; they return without any.
    fn interrupt(&self, py: Python<'_>) -> PyResult<()> {
        self.run(py, |pipeline| {
            pipeline.interrupt();
            Ok(())
        })
    }

    /// Waits until nothing is left to be done: nothing is new, changed, stale or missing, in hand or asked for.
    /// Items in error wait for their next try and do not count. False at the timeout and after ``interrupt``.
    ///
    /// Args:
    ///     timeout: How long to wait, in seconds; None, the default, waits without end.
    #[pyo3(signature = (timeout=None))]
    fn wait_idle(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let timeout = convert::timeout(py, timeout)?;
        let idle =
            self.wait(py, timeout, |pipeline, slice| Ok(pipeline.wait_idle(Some(slice))?.then_some(())))?;
        Ok(idle.is_some())
    }

    /// Starts threads that call ``function`` with each job as it becomes due, until ``Workers.stop``.
    ///
    /// A return completes the job, an exception fails it with backoff; ``treewarden.Permanent`` fails it for good,
    /// ``treewarden.PutOff`` puts it off. Leases are renewed while it runs.
    ///
    /// Args:
    ///     function: What is done with a job.
    ///     threads: 1 to 1,024.
    #[pyo3(signature = (function, *, threads=4))]
    fn work<'py>(
        slf: &Bound<'py, Self>,
        function: &Bound<'py, PyAny>,
        threads: i64,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        slf.get().check(py)?;
        if !function.is_callable() {
            return Err(PyTypeError::new_err("`function` is a function of a job"));
        }
        py.import("treewarden._workers")?.call_method1("start", (slf, function, threads))
    }

    fn __repr__(&self) -> String {
        format!("<treewarden.Pipeline `{}`>", treewarden::escape(self.pipeline.name().as_bytes()))
    }
}
