//! A job: one item in the hands of a Python program.
//!
//! The engine's job is used up by what ends it. What can be asked of an ended job, and what is asked often, lies
//! beside it.

use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::{PyBaseException, PyException, PyTypeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyString, PyType};
use treewarden::{Completion, ErrorKind, Failed, Priority, WorkState, escape};

use super::attrs::{Attrs, JobAttrs};
use super::{group, log};
use crate::convert::{self, TimeNs, decode_path};
use crate::errors::{self, OrRaise};
use crate::handle::{Handle, drop_detached};
use crate::limiter::{RateLimiter, asked_for};

/// The wardens that the jobs of one claim come from: they stay open while a job is in hand.
#[derive(Clone)]
pub(super) struct Sources(Arc<[Handle]>);

impl Sources {
    pub(super) fn new(handles: impl IntoIterator<Item = Handle>) -> Self {
        Self(handles.into_iter().collect())
    }

    /// True in the child of a fork.
    pub(super) fn are_forked(&self) -> bool {
        self.0.iter().any(Handle::is_forked)
    }

    /// Refuses a call in the child of a fork. Whether a warden is closed the engine knows.
    fn check(&self, py: Python<'_>) -> PyResult<()> {
        self.0.iter().try_for_each(|handle| handle.check_process(py))
    }
}

/// One unit of work that was handed out, under a lease.
///
/// It ends with ``complete``, ``fail``, ``snooze`` or ``release``, each of which answers ``LeaseLostError`` when
/// the lease has run out and the job was handed out again. One that is dropped without any of them is handed out
/// again when its lease has run out.
///
/// A context manager: success completes it. An exception fails it with backoff, is logged to the logger
/// ``treewarden`` and goes no further; ``treewarden.Permanent`` fails it for good, ``treewarden.PutOff`` puts it
/// off. What is no ``Exception``, such as a ``KeyboardInterrupt``, gives it back and goes on. A job that was
/// ended inside of the block stays as it is.
#[pyclass(frozen, module = "treewarden")]
pub(crate) struct Job {
    pipeline: String,
    path: Vec<u8>,
    fs_path: Vec<u8>,
    done_path: Option<Vec<u8>>,
    files: Vec<Vec<u8>>,
    state: WorkState,
    priority: Priority,
    attempt: u32,
    token: u64,
    is_gone: bool,
    expires_ns: AtomicI64,
    limiter: Option<treewarden::RateLimiter>,
    attrs: Arc<Attrs>,
    attrs_object: PyOnceLock<Py<JobAttrs>>,
    /// The engine's. Empty when it has ended, or while it is about to. Never locked while attached: see `work.rs`.
    job: Mutex<Option<treewarden::Job>>,
    has_ended: AtomicBool,
    sources: Sources,
}

impl Job {
    pub(super) fn new(mut job: treewarden::Job, sources: &Sources) -> Self {
        let attrs = Arc::new(Attrs::new(std::mem::take(job.attrs_mut())));
        Self {
            pipeline: job.pipeline().to_owned(),
            path: job.path().to_vec(),
            fs_path: job.fs_path().as_os_str().as_bytes().to_vec(),
            done_path: job.done_path().map(<[u8]>::to_vec),
            files: job.files(),
            state: job.state(),
            priority: job.priority(),
            attempt: job.attempt(),
            token: job.token(),
            is_gone: job.is_gone(),
            expires_ns: AtomicI64::new(job.expires_ns()),
            limiter: job.limiter().cloned(),
            attrs,
            attrs_object: PyOnceLock::new(),
            job: Mutex::new(Some(job)),
            has_ended: AtomicBool::new(false),
            sources: sources.clone(),
        }
    }

    pub(super) fn pipeline_name(&self) -> &str {
        &self.pipeline
    }

    /// Its address, for people.
    pub(super) fn shown_path(&self) -> String {
        escape(&self.path)
    }

    /// To be called detached.
    pub(super) fn lock(&self) -> MutexGuard<'_, Option<treewarden::Job>> {
        self.job.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    /// Takes the engine's job to be ended; to be called detached. `None` for one that has ended. What `prepare`
    /// refuses stays as it is.
    pub(super) fn take(
        &self,
        prepare: impl FnOnce(&mut treewarden::Job) -> treewarden::Result<()>,
    ) -> treewarden::Result<Option<treewarden::Job>> {
        let mut held = self.lock();
        let Some(job) = held.as_mut() else { return Ok(None) };
        prepare(job)?;
        Ok(held.take())
    }

    /// Gives it the attributes that are to be stored, and sees that this completion can be.
    pub(super) fn prepare(
        &self,
        job: &mut treewarden::Job,
        completion: &Completion,
    ) -> treewarden::Result<()> {
        *job.attrs_mut() = self.attrs.copy();
        job.check(completion)
    }

    /// Puts back what was taken and not ended; to be called detached.
    pub(super) fn put_back(&self, job: treewarden::Job) {
        *self.lock() = Some(job);
    }

    /// Whatever comes of it: it is in nobody's hands here any more.
    pub(super) fn note_end(&self) {
        self.attrs.end();
        self.has_ended.store(true, Ordering::Release);
    }

    /// Ends it. True when this call did so, false when it had ended before.
    fn end(
        &self,
        py: Python<'_>,
        prepare: impl FnOnce(&mut treewarden::Job) -> treewarden::Result<()> + Send,
        end: impl FnOnce(treewarden::Job) -> treewarden::Result<()> + Send,
    ) -> PyResult<treewarden::Result<bool>> {
        self.sources.check(py)?;
        group::refuse(py)?;
        Ok(group::outside(py, || {
            let Some(job) = self.take(prepare)? else { return Ok(false) };
            self.note_end();
            end(job).map(|()| true)
        }))
    }

    fn end_by(
        &self,
        py: Python<'_>,
        end: impl FnOnce(treewarden::Job) -> treewarden::Result<()> + Send,
    ) -> PyResult<treewarden::Result<bool>> {
        self.end(py, |_| Ok(()), end)
    }

    fn end_completed(&self, py: Python<'_>, completion: &Completion) -> PyResult<treewarden::Result<bool>> {
        self.end(py, |job| self.prepare(job, completion), |job| job.complete_with(completion))
    }

    fn end_failed(&self, py: Python<'_>, failed: &Failed) -> PyResult<treewarden::Result<bool>> {
        self.end_by(py, |job| job.fail(failed))
    }

    /// Does something with it while it is in hand.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        act: impl FnOnce(&mut treewarden::Job) -> T + Send,
    ) -> PyResult<T> {
        self.sources.check(py)?;
        group::refuse(py)?;
        group::outside(py, || self.lock().as_mut().map(act)).ok_or_else(|| has_ended(py))
    }

    /// After a block without an exception.
    fn exit_well(&self, py: Python<'_>) -> PyResult<()> {
        match self.end_completed(py, &Completion::new())? {
            Err(error) if !self.has_ended() => {
                // What it wants to have stored cannot be: another try may want less.
                let told = errors::raise(py, &error);
                self.log(py, "error", "could not be completed", Some(told.value(py).as_any()))?;
                let failed = self.end_failed(py, &Failed::transient(error.message()))?;
                self.see(py, failed)
            }
            ended => self.see(py, ended),
        }
    }

    /// After an exception that is an `Exception`.
    fn exit_ill(&self, py: Python<'_>, error: &Bound<'_, PyAny>) -> PyResult<()> {
        static PUT_OFF: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        static PERMANENT: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        if error.is_instance(PUT_OFF.import(py, "treewarden._errors", "PutOff")?.as_any())? {
            let seconds = error.getattr("seconds")?.extract::<f64>()?;
            let wait = convert::duration(py, "a wait", seconds)?;
            let ended = self.end_by(py, |job| job.snooze(wait))?;
            return self.see(py, ended);
        }
        let reason = reason_of(error)?;
        let is_permanent =
            error.is_instance(PERMANENT.import(py, "treewarden._errors", "Permanent")?.as_any())?;
        let (failed, text) = if is_permanent {
            (Failed::permanent(reason), "failed for good")
        } else {
            (Failed::transient(reason), "failed")
        };
        self.log(py, "error", text, Some(error))?;
        let ended = self.end_failed(py, &failed)?;
        self.see(py, ended)
    }

    /// How it ended in a block. A lease that was lost is no fault of the block: it is told, and the loop goes on.
    fn see(&self, py: Python<'_>, ended: treewarden::Result<bool>) -> PyResult<()> {
        match ended {
            Err(error) if error.kind() == ErrorKind::LeaseLost => {
                let text = format!("was not recorded: {}", error.message());
                self.log(py, "warning", &text, None)
            }
            ended => ended.or_raise(py).map(|_| ()),
        }
    }

    fn log(
        &self,
        py: Python<'_>,
        level: &str,
        what: &str,
        exception: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let (path, pipeline) = (escape(&self.path), escape(self.pipeline.as_bytes()));
        log(py, level, &format!("job `{path}` of pipeline `{pipeline}` {what}"), exception)
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if self.sources.are_forked() {
            // The parent's: its lease and its permit are none of the child's, and their locks may be held for ever.
            std::mem::forget(self.job.get_mut().unwrap_or_else(PoisonError::into_inner).take());
            return;
        }
        // The end of its permit may be written.
        if let Some(job) = self.job.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            drop_detached(job);
        }
    }
}

/// A second end of a job.
pub(super) fn has_ended(py: Python<'_>) -> PyErr {
    errors::invalid_with_hint(py, "the job has ended already", "`Job.ended` tells")
}

/// Raises unless this call has ended the job.
fn unless_ended(py: Python<'_>, ended: treewarden::Result<bool>) -> PyResult<()> {
    if ended.or_raise(py)? { Ok(()) } else { Err(has_ended(py)) }
}

/// What went wrong, in words: a text as it is, of an exception its class and what it says.
fn reason_of(error: &Bound<'_, PyAny>) -> PyResult<String> {
    if let Ok(text) = error.cast::<PyString>() {
        return Ok(text.to_string_lossy().into_owned());
    }
    let class = error.get_type().name()?;
    if !error.is_instance_of::<PyBaseException>() {
        return Err(PyTypeError::new_err(format!("an error is a str or an exception, not {class}")));
    }
    let class = class.to_string_lossy();
    // One that cannot say what it is about has a name at least.
    let text = error.str().map(|text| text.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(if text.is_empty() { class.into_owned() } else { format!("{class}: {text}") })
}

#[pymethods]
impl Job {
    /// The name of its pipeline.
    #[getter]
    fn pipeline(&self) -> &str {
        &self.pipeline
    }

    /// The address of the file, or the key of the group.
    #[getter]
    fn path<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        decode_path(py, &self.path)
    }

    /// The address of the file, or the key of the group, exact.
    #[getter]
    fn path_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.path)
    }

    /// Where the file lies on this disk; empty when its root was removed.
    #[getter]
    fn fs_path<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        decode_path(py, &self.fs_path)
    }

    /// Where the file lies on this disk, exact.
    #[getter]
    fn fs_path_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.fs_path)
    }

    /// The address under which it was completed last: a file may have moved since.
    ///
    /// None when it was never completed, and when another file of this pipeline lies there by now.
    #[getter]
    fn done_path<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyString>>> {
        self.done_path.as_deref().map(|path| decode_path(py, path)).transpose()
    }

    /// The address under which it was completed last, exact.
    #[getter]
    fn done_path_bytes<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.done_path.as_deref().map(|path| PyBytes::new(py, path))
    }

    /// Why it was handed out: ``new``, ``changed``, ``stale``, ``error`` (tried again), ``missing`` (clean up
    /// what was made of it), or ``indexed`` where somebody asked for it although nothing changed.
    #[getter]
    pub(super) fn state(&self) -> &'static str {
        self.state.name()
    }

    /// The class in which it waited: ``critical``, ``high``, ``medium``, ``low`` or ``very_low``.
    #[getter]
    pub(super) fn priority(&self) -> &'static str {
        self.priority.name()
    }

    /// How many times this content has been tried, this time included.
    #[getter]
    pub(super) fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The fencing token: no two leases have the same.
    #[getter]
    fn token(&self) -> u64 {
        self.token
    }

    /// When the lease runs out, exact.
    #[getter]
    fn expires_ns(&self) -> i64 {
        self.expires_ns.load(Ordering::Acquire)
    }

    /// When the lease runs out.
    #[getter]
    fn expires<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        convert::datetime(py, self.expires_ns())
    }

    /// True for an item that is gone: what was made of it is to be cleaned up.
    #[getter]
    fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// The addresses of the files of a group, as they were when it was handed out; of a single file its own, or
    /// nothing when it is missing.
    #[getter]
    fn files<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyString>>> {
        self.files.iter().map(|path| decode_path(py, path)).collect()
    }

    /// What was stored with the last completion, and will be stored with this one: a mutable mapping of names to
    /// bytes.
    #[getter]
    fn attrs(&self, py: Python<'_>) -> PyResult<Py<JobAttrs>> {
        let object = || Py::new(py, JobAttrs(Arc::clone(&self.attrs)));
        self.attrs_object.get_or_try_init(py, object).map(|object| object.clone_ref(py))
    }

    /// True after it was completed, failed, put off or given back, and after an error while it was.
    #[getter]
    fn ended(&self) -> bool {
        self.has_ended()
    }

    /// The limiter of the pipeline, if it has a rate: for what the job sends beyond its first request.
    #[getter]
    fn limiter(&self) -> Option<RateLimiter> {
        self.limiter.clone().map(RateLimiter::of)
    }

    /// Ends the job as done; durable on return. A file that changed since it was handed out is handed out again.
    ///
    /// Args:
    ///     refresh_at: When it is to be done anew, whatever the pipeline says: an aware ``datetime``, or
    ///         nanoseconds.
    ///     reference: The date whose age decides between tiers (default: the modification time of the file).
    ///
    /// Raises:
    ///     LeaseLostError: Nothing was recorded.
    ///     TooLargeError: The attributes take more than 64 KiB. The job stays in hand.
    ///     InvalidArgumentError: A refresh in the past, and then it stays in hand; or the job has ended.
    #[pyo3(signature = (*, refresh_at=None, reference=None))]
    fn complete(
        &self,
        py: Python<'_>,
        refresh_at: Option<TimeNs>,
        reference: Option<TimeNs>,
    ) -> PyResult<()> {
        let mut completion = Completion::new();
        if let Some(TimeNs(at_ns)) = refresh_at {
            completion = completion.refresh_at_ns(at_ns);
        }
        if let Some(TimeNs(date_ns)) = reference {
            completion = completion.reference_ns(date_ns);
        }
        unless_ended(py, self.end_completed(py, &completion)?)
    }

    /// Ends the job as failed.
    ///
    /// Args:
    ///     error: What went wrong: text, or an exception. It is kept up to 1,000 bytes.
    ///     permanent: It will not go well with this content: dead until the file changes or somebody asks for it.
    ///     retry_after: Seconds before the next try, instead of the backoff.
    ///
    /// Raises:
    ///     LeaseLostError: Nothing was recorded.
    #[pyo3(signature = (error, *, permanent=false, retry_after=None))]
    fn fail(
        &self,
        py: Python<'_>,
        error: &Bound<'_, PyAny>,
        permanent: bool,
        retry_after: Option<f64>,
    ) -> PyResult<()> {
        let reason = reason_of(error)?;
        let mut failed = if permanent { Failed::permanent(reason) } else { Failed::transient(reason) };
        if let Some(wait) = asked_for(py, retry_after)? {
            failed = failed.retry_after(wait);
        }
        unless_ended(py, self.end_failed(py, &failed)?)
    }

    /// Puts the job off; no attempt.
    ///
    /// Raises:
    ///     LeaseLostError: Nothing was recorded.
    fn snooze(&self, py: Python<'_>, seconds: f64) -> PyResult<()> {
        let wait = convert::duration(py, "a wait", seconds)?;
        unless_ended(py, self.end_by(py, |job| job.snooze(wait))?)
    }

    /// Gives the job back: it is handed out again at once; no attempt.
    ///
    /// Raises:
    ///     LeaseLostError: Nothing was recorded.
    fn release(&self, py: Python<'_>) -> PyResult<()> {
        unless_ended(py, self.end_by(py, treewarden::Job::release)?)
    }

    /// Renews the lease for as long as the pipeline gives them, from now. Any thread may do so.
    ///
    /// Raises:
    ///     LeaseLostError: It has run out and the job was handed out again.
    fn renew(&self, py: Python<'_>) -> PyResult<()> {
        let expires_ns = self.with(py, |job| job.renew().map(|()| job.expires_ns()))?.or_raise(py)?;
        self.expires_ns.store(expires_ns, Ordering::Release);
        Ok(())
    }

    /// Says that the request for this job was refused because there were too many: see ``RateLimiter.throttled``.
    /// Put the job off then.
    ///
    /// Args:
    ///     retry_after: For how many seconds the server asks to be left alone.
    #[pyo3(signature = (retry_after=None))]
    fn throttled(&self, py: Python<'_>, retry_after: Option<f64>) -> PyResult<()> {
        let wait = asked_for(py, retry_after)?;
        self.with(py, |job| job.throttled(wait))
    }

    /// Says that the request for this job has been answered. Without it that is assumed when it ends.
    fn answered(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, treewarden::Job::answered)
    }

    /// Says that nothing is sent for this job: it takes nobody's turn.
    fn sends_nothing(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, treewarden::Job::sends_nothing)
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
    ) -> PyResult<bool> {
        let _ = (exc_type, traceback);
        if self.has_ended() {
            return Ok(false);
        }
        if exc_value.is_none() {
            self.exit_well(py)?;
            return Ok(false);
        }
        if !exc_value.is_instance_of::<PyException>() {
            // Ctrl-C, or the end of a task: that goes on, whatever comes of the job.
            let _ = self.end_by(py, treewarden::Job::release);
            return Ok(false);
        }
        if let Err(error) = self.exit_ill(py, exc_value) {
            error.set_context(py, Some(PyErr::from_value(exc_value.clone())));
            return Err(error);
        }
        Ok(true)
    }

    fn __repr__(&self) -> String {
        let (path, pipeline) = (escape(&self.path), escape(self.pipeline.as_bytes()));
        let ended = if self.has_ended() { " ended" } else { "" };
        format!("<treewarden.Job `{path}` of `{pipeline}`: {}{ended}>", self.state.name())
    }
}
