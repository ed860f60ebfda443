//! Mirrors: a root in step with a remote copy, and a CDN told of it.
//!
//! Invariant: what may use the network, or wait for a run that does, is made detached from the interpreter. Storages
//! and CDNs in Python attach to it from the threads of a run.

mod cdn;
mod follow;
mod options;
mod results;
mod run;
mod storage;
mod upload;
mod urls;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use treewarden::Warden;
use treewarden::mirror::AuditOptions;

use crate::aside::aside;
use crate::convert::Address;
use crate::errors::{self, OrRaise};
use crate::handle::Handle;
use crate::scan::CancelToken;
use crate::types;

pub(crate) use cdn::Cloudflare;
pub(crate) use follow::Following;
pub(crate) use options::export_sink;
pub(crate) use results::status;
pub(crate) use upload::Upload;
pub(crate) use urls::UrlMap;

/// A root, or part of one, in step with a remote copy.
///
/// Made by ``Warden.mirror``. What the storage has acknowledged is kept in the state file: where nothing changed, a run
/// makes no request, and after a crash it goes on where it stopped. All methods may be called from any thread; runs of
/// one mirror take turns.
#[pyclass(frozen, module = "treewarden")]
pub(crate) struct Mirror {
    /// Dropped before the handle, so it is never what closes the warden.
    mirror: treewarden::mirror::Mirror,
    handle: Handle,
}

impl Mirror {
    /// The engine's, for one call.
    fn ready(&self, py: Python<'_>) -> PyResult<treewarden::mirror::Mirror> {
        self.handle.check(py)?;
        Ok(self.mirror.clone())
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        if self.handle.is_forked() {
            // The threads that its end would wait for are the parent's.
            std::mem::forget(self.mirror.clone());
        }
    }
}

#[pymethods]
impl Mirror {
    /// Its name.
    #[getter]
    fn name(&self) -> &str {
        self.mirror.name()
    }

    /// Brings the remote copy in step with the current snapshot: uploads and copies first, then deletions, then purges.
    ///
    /// A file that fails is in the report, and the run goes on. Very many deletions at once wait for
    /// ``accept_deletes``, and all of them while the root is held. Ctrl-C cancels it; what was acknowledged stays so.
    ///
    /// Args:
    ///     progress: Called about ten times a second with a ``MirrorProgress``, on this thread. An exception cancels
    ///         the run and is raised here.
    ///     accept_deletes: Deletes however many objects there are to delete.
    ///     cancel: Stops the run: ``CancelledError``.
    ///
    /// Raises:
    ///     UnavailableError: The root cannot be trusted.
    ///     PermissionDeniedError: The credentials are wrong, have expired, or do not allow it.
    ///     NotFoundError: The root, the bucket or the account is not there.
    #[pyo3(signature = (*, progress=None, accept_deletes=false, cancel=None))]
    fn sync(
        &self,
        py: Python<'_>,
        progress: Option<&Bound<'_, PyAny>>,
        accept_deletes: bool,
        cancel: Option<&Bound<'_, CancelToken>>,
    ) -> PyResult<Py<PyAny>> {
        let mirror = self.ready(py)?;
        let report = run::run(py, progress, cancel, move |context, _| {
            mirror.sync(&context.accept_deletes(accept_deletes))
        })?;
        results::report(py, &report)
    }

    /// Tells what the next run would do, with exact counts and bytes. No request is made; a run under way is waited
    /// for.
    ///
    /// Raises:
    ///     NotFoundError: The root is gone.
    ///     UnavailableError: The root cannot be trusted.
    #[pyo3(signature = ())]
    fn plan(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let mirror = self.ready(py)?;
        let plan = aside(py, move || mirror.plan(), drop)?.or_raise(py)?;
        results::plan(py, &plan)
    }

    /// Lists the storage and compares it with what it has acknowledged. Ctrl-C cancels it, and nothing is mended.
    ///
    /// Args:
    ///     repair: What is lost or different is sent again with the next run.
    ///     delete_unknown: Objects below the prefix that this mirror knows nothing of are deleted with the next run, as
    ///         far as its limits for deletions allow.
    ///     cancel: Stops the audit: ``CancelledError``.
    ///
    /// Raises:
    ///     UnsupportedError: The storage cannot be listed.
    ///     PermissionDeniedError, NotFoundError, IoError: The storage does not answer as it should.
    #[pyo3(signature = (*, repair=false, delete_unknown=false, cancel=None))]
    fn audit(
        &self,
        py: Python<'_>,
        repair: bool,
        delete_unknown: bool,
        cancel: Option<&Bound<'_, CancelToken>>,
    ) -> PyResult<Py<PyAny>> {
        let mirror = self.ready(py)?;
        let options = AuditOptions::new().repair(repair).delete_unknown(delete_unknown);
        let report = run::run(py, None, cancel, move |_, stop| mirror.audit(&options.cancel(stop)))?;
        results::audit(py, &report)
    }

    /// The addresses of its objects as they are now.
    #[getter]
    fn urls(&self, py: Python<'_>) -> PyResult<UrlMap> {
        let mirror = self.ready(py)?;
        Ok(UrlMap::of(py.detach(move || mirror.urls())))
    }

    /// Says how it stands. No request is made.
    #[pyo3(signature = ())]
    fn status(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let mirror = self.ready(py)?;
        let status = py.detach(move || mirror.status());
        results::status(py, &status)
    }

    /// Follows the root: threads of the engine run it after each commit, and purge meanwhile. Failures are told by
    /// ``status`` and tried again with growing waits.
    ///
    /// It ends with ``stop`` of what is returned, when that is forgotten, with the warden, and with the program: keep
    /// it, or ``with mirror.follow():``.
    ///
    /// Raises:
    ///     BusyError: It follows already.
    #[pyo3(signature = ())]
    fn follow<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, Following>> {
        let mirror = self.ready(py)?;
        Following::start(py, mirror, &self.handle)
    }

    fn __repr__(&self) -> String {
        format!("<treewarden.Mirror `{}`>", treewarden::escape(self.mirror.name().as_bytes()))
    }
}

/// Opens a mirror: with an address and a target one of this name that comes into being or takes the options up,
/// without both the one that is stored.
///
/// # Errors
///
/// `TypeError` for an unknown option and for what is no target, `InvalidArgumentError` for an address without a target
/// or the other way round, and as `Warden::mirror_to_with`, `Warden::mirror_with` and `Warden::mirror`.
pub(crate) fn open(
    py: Python<'_>,
    handle: &Handle,
    name: &str,
    address: Option<Address>,
    target: Option<&Bound<'_, PyAny>>,
    cdn: Option<&Bound<'_, PyAny>>,
    options: Option<&Bound<'_, PyDict>>,
) -> PyResult<Mirror> {
    handle.check(py)?;
    let cdn = cdn.map(cdn::of).transpose()?;
    let credentials = options::credentials(py, options)?;
    let mirror = match (address, target) {
        (Some(address), Some(target)) if !options::is_place(target)? => {
            let storage = storage::of(target)?;
            let options = options::read_alone(&address, options)?;
            handle.run(py, move |warden| warden.mirror_with(name, &options, storage, cdn))?
        }
        (Some(address), Some(target)) => {
            let (options, target) = options::read(&address, target, options)?;
            handle.run(py, move |warden| warden.mirror_to_with(name, &options, &target, &credentials, cdn))?
        }
        (None, None) => {
            options::refuse_all(py, options)?;
            handle.run(py, move |warden| warden.mirror(name, &credentials, cdn))?
        }
        _ => {
            let hint = "give both, or neither to open the mirror as it was made";
            return Err(errors::invalid_with_hint(py, "a mirror has an address and a target", hint));
        }
    };
    Ok(Mirror { mirror, handle: handle.clone() })
}

/// The mirrors by name.
pub(crate) fn mirrors(py: Python<'_>, handle: &Handle) -> PyResult<Vec<Py<PyAny>>> {
    let mirrors = handle.run(py, Warden::mirrors)?;
    types::each(py, &mirrors, results::info)
}

/// How the mirrors stand that are open, by name.
pub(crate) fn mirror_status(py: Python<'_>, handle: &Handle) -> PyResult<Vec<Py<PyAny>>> {
    let status = handle.run(py, |warden| Ok(warden.mirror_status()))?;
    types::each(py, &status, results::status)
}

/// Forgets a mirror. Its objects stay where they are.
///
/// # Errors
///
/// `NotFoundError` when there is none.
pub(crate) fn remove_mirror(py: Python<'_>, handle: &Handle, name: &str) -> PyResult<()> {
    handle.run(py, |warden| warden.remove_mirror(name))
}
