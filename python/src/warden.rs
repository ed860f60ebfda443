//! The open state file as Python sees it. Every method is thin: arguments, one call of the engine, the answer.

mod opening;
mod options;

use std::os::unix::ffi::OsStrExt;

use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};
use treewarden::VerifyOptions;

use crate::change::{Changes, Since};
use crate::convert::{self, Address, FsPath};
use crate::handle::Handle;
use crate::history::History;
use crate::scan::{self, CancelToken};
use crate::snapshot::Snapshot;
use crate::state::{Batch, Space};
use crate::{errors, export, follow, live, metrics, mirror, types, work};

pub(crate) use opening::{open, rebuild};

/// An open state file: roots, scans, snapshots, the journal, and the program's own state.
///
/// Made by ``treewarden.open``. What changes something is durable on return; reading never waits for the writer.
/// A context manager: it closes the file at the end.
#[pyclass(frozen, module = "treewarden")]
pub(crate) struct Warden {
    pub(crate) handle: Handle,
}

impl Warden {
    fn new(handle: Handle) -> Self {
        Self { handle }
    }
}

#[pymethods]
impl Warden {
    /// Ends the engine: stops watching, wakes whoever waits, waits for commits under way.
    ///
    /// Snapshots stay readable; everything else answers ``ClosedError``. Closing twice does nothing.
    #[pyo3(signature = ())]
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        // It would wait for the lock of the pipeline that asks.
        work::refuse_group_functions(py)?;
        self.handle.close(py)
    }

    /// True after ``close``.
    #[getter]
    fn closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// Absolute path of the state file.
    #[getter]
    fn path<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        convert::decode_path(py, self.handle.path().as_os_str().as_bytes())
    }

    /// The number of the last commit.
    #[getter]
    fn seq(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.handle.get(py)?.seq())
    }

    /// Returns the present place in the journal as text that knows its database, for ``changes``.
    #[pyo3(signature = ())]
    fn token(&self, py: Python<'_>) -> PyResult<String> {
        Ok(self.handle.get(py)?.token().to_string())
    }

    fn __enter__(slf: Py<Self>, py: Python<'_>) -> PyResult<Py<Self>> {
        slf.get().handle.check(py)?;
        Ok(slf)
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
        // A child of a fork that leaves the block has nothing to close: the file is the parent's.
        if self.handle.is_forked() { Ok(()) } else { self.close(py) }
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let path = self.path(py)?.repr()?;
        if self.handle.is_closed() {
            return Ok(format!("<treewarden.Warden {path} closed>"));
        }
        if self.handle.is_forked() {
            return Ok(format!("<treewarden.Warden {path} of the parent process>"));
        }
        Ok(format!("<treewarden.Warden {path} seq={}>", self.handle.get(py)?.seq()))
    }

    /// Adds a directory tree as a root. Nothing is scanned yet.
    ///
    /// Roots may lie inside one another: a path belongs to the most specific of them.
    ///
    /// Args:
    ///     name: First component of every address in it; no ``/``, no control character.
    ///     dir: The directory.
    ///     ignore: Gitignore patterns of what is left out.
    ///     junk: Leaves out names that start with ``.`` or end in ``~``, ``*.tmp``, ``*.temp``, ``.DS_Store`` and
    ///         ``Thumbs.db``, too.
    ///     content_hash: ``changed`` keeps the xxh3-128 of every file that is new or changed.
    ///     compare: What "unchanged" means; ``auto`` chooses by the file system.
    ///
    /// Raises:
    ///     AlreadyExistsError: The name or the directory is taken.
    ///     InvalidArgumentError, NotFoundError, PermissionDeniedError.
    #[pyo3(
        signature = (name, dir, *, ignore=None, junk=false, content_hash="off", compare="auto"),
        text_signature = "($self, name, dir, *, ignore=(), junk=False, content_hash='off', compare='auto')"
    )]
    fn add_root(
        &self,
        py: Python<'_>,
        name: &str,
        dir: FsPath,
        ignore: Option<&Bound<'_, PyAny>>,
        junk: bool,
        content_hash: &str,
        compare: &str,
    ) -> PyResult<Py<PyAny>> {
        let options = options::root(py, ignore, junk, content_hash, compare)?;
        let info = self.handle.run(py, |warden| warden.add_root_with(name, &dir.0, &options))?;
        types::root_info(py, &info)
    }

    /// Replaces ignore rules, content hashes and comparison of a root; the next scan applies them.
    ///
    /// Args:
    ///     name: Which root.
    ///     ignore, junk, content_hash, compare: As for ``add_root``. What is not given gets its default.
    ///
    /// Raises:
    ///     NotFoundError: There is no such root.
    ///     InvalidArgumentError: A pattern cannot be read.
    #[pyo3(
        signature = (name, *, ignore=None, junk=false, content_hash="off", compare="auto"),
        text_signature = "($self, name, *, ignore=(), junk=False, content_hash='off', compare='auto')"
    )]
    fn set_root_options(
        &self,
        py: Python<'_>,
        name: &str,
        ignore: Option<&Bound<'_, PyAny>>,
        junk: bool,
        content_hash: &str,
        compare: &str,
    ) -> PyResult<Py<PyAny>> {
        let options = options::root(py, ignore, junk, content_hash, compare)?;
        let info = self.handle.run(py, |warden| warden.set_root_options(name, &options))?;
        types::root_info(py, &info)
    }

    /// Removes a root with everything known about it: entries, tombstones, attributes. The files themselves are not
    /// touched. The journal says ``forgotten`` for each entry.
    #[pyo3(signature = (name))]
    fn remove_root(&self, py: Python<'_>, name: &str) -> PyResult<()> {
        self.handle.run(py, |warden| warden.remove_root(name))
    }

    /// Says that the tree of a root lies in another directory now, or that a directory recreated under the old path
    /// is to be taken for it. Ids, attributes and history stay.
    #[pyo3(signature = (name, dir))]
    fn move_root(&self, py: Python<'_>, name: &str, dir: FsPath) -> PyResult<Py<PyAny>> {
        let info = self.handle.run(py, |warden| warden.move_root(name, &dir.0))?;
        types::root_info(py, &info)
    }

    /// Returns all roots in order of their names.
    #[pyo3(signature = ())]
    fn roots(&self, py: Python<'_>) -> PyResult<Vec<Py<PyAny>>> {
        types::each(py, &self.handle.get(py)?.roots(), types::root_info)
    }

    /// Scans a root or part of one, ``music`` or ``music/2024``, and applies what it finds as one commit.
    ///
    /// With a target it returns its report; with ``targets``, or with none at all, which means all roots, one report
    /// for each. A scan that finds nothing new writes not one byte. A root that is unavailable, or a result that is
    /// held, is said in the report. Ctrl-C cancels it.
    ///
    /// Args:
    ///     target: What to scan.
    ///     targets: Several of them instead.
    ///     full: Reads all content again where the root keeps hashes, and reports silent corruption.
    ///     walker: ``fd`` walks over directory descriptors, ``jwalk`` by path.
    ///     threads: How many; 0 means as ``open`` was told.
    ///     accept_missing: Applies what would otherwise be held.
    ///     progressive: Publishes the first scan of a root in batches as it goes.
    ///     progress: Called about ten times a second with a ``Progress``, on this thread. An exception cancels the
    ///         scan and is raised here.
    ///     cancel: Stops the scan; its report says ``cancelled`` then.
    ///
    /// Raises:
    ///     InvalidArgumentError: Something is not an address.
    ///     NotFoundError: There is no such root.
    #[pyo3(
        signature = (
            target=None, *, targets=None, full=false, walker="auto", threads=0, accept_missing=false,
            progressive=false, progress=None, cancel=None
        ),
        text_signature = "($self, target=None, *, targets=(), full=False, walker='auto', threads=0, accept_missing=False, progressive=False, progress=None, cancel=None)"
    )]
    fn scan(
        &self,
        py: Python<'_>,
        target: Option<Address>,
        targets: Option<&Bound<'_, PyAny>>,
        full: bool,
        walker: &str,
        threads: usize,
        accept_missing: bool,
        progressive: bool,
        progress: Option<&Bound<'_, PyAny>>,
        cancel: Option<&CancelToken>,
    ) -> PyResult<Py<PyAny>> {
        let is_one = target.is_some();
        let targets = options::targets(py, target, targets)?;
        let options = options::scan(py, targets, full, walker, threads, accept_missing, progressive)?;
        let warden = self.handle.get(py)?;
        let reports = scan::run(py, progress, cancel, move |context| warden.scan_with(&options, context))?;
        match (reports.first(), is_one) {
            (Some(report), true) => types::report(py, report),
            (None, true) => Err(errors::invalid(py, "there is nothing to scan")),
            (_, false) => types::each(py, &reports, types::report)?.into_py_any(py),
        }
    }

    /// Takes the current snapshot. Never waits.
    #[pyo3(signature = ())]
    fn snapshot(&self, py: Python<'_>) -> PyResult<Snapshot> {
        Ok(Snapshot::new(self.handle.get(py)?.snapshot()))
    }

    /// Iterates over every change after ``since``, oldest first, up to now. 0 means from the beginning.
    ///
    /// Args:
    ///     since: A seq, or the text that ``token`` returned.
    ///
    /// Raises:
    ///     ResetError: The journal does not reach back that far, or the token is of another database: read the
    ///         snapshot and go on from ``restart_seq``.
    #[pyo3(signature = (since=Since::Seq(0)), text_signature = "($self, since=0)")]
    fn changes(&self, py: Python<'_>, since: Since) -> PyResult<Changes> {
        Changes::open(py, &self.handle, since)
    }

    /// Returns the durable cursor of that name. It comes into being with its first advance, and starts at 0.
    #[pyo3(signature = (name))]
    fn cursor(&self, py: Python<'_>, name: &str) -> PyResult<Py<PyAny>> {
        follow::cursor(py, &self.handle, name)?.into_py_any(py)
    }

    /// Returns the cursors with their places.
    #[pyo3(signature = ())]
    fn cursors(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        follow::cursors(py, &self.handle)?.into_py_any(py)
    }

    /// Follows the journal under a durable name: after a restart it goes on where it had come to.
    ///
    /// Args:
    ///     name: Of the cursor.
    ///     batch: About how many changes are delivered at once; a commit is never split.
    ///     ack: Acknowledges each delivery when the next one is asked for. False leaves that to ``Delivery.ack``.
    #[pyo3(signature = (name, *, batch=1000, ack=true))]
    fn follow(&self, py: Python<'_>, name: &str, batch: usize, ack: bool) -> PyResult<Py<PyAny>> {
        follow::follow(py, &self.handle, name, batch, ack)?.into_py_any(py)
    }

    /// Waits for a commit after ``after`` and returns the seq then; at the end of ``timeout`` the seq as it is. None
    /// waits without end; Ctrl-C ends the wait.
    #[pyo3(signature = (after, timeout=None))]
    fn wait(&self, py: Python<'_>, after: u64, timeout: Option<f64>) -> PyResult<u64> {
        follow::wait(py, &self.handle, after, timeout)
    }

    /// Returns the attributes of an entry, there or missing.
    ///
    /// Raises:
    ///     NotFoundError: There is no such entry.
    #[pyo3(signature = (address))]
    fn attrs<'py>(&self, py: Python<'py>, address: Address) -> PyResult<Bound<'py, PyDict>> {
        let attrs = self.handle.run(py, |warden| warden.attrs(address.0))?;
        let dict = PyDict::new(py);
        for (name, value) in &attrs {
            dict.set_item(name, PyBytes::new(py, value))?;
        }
        Ok(dict)
    }

    /// Sets attributes of an entry, and removes those given as None. Returns the seq of the commit.
    ///
    /// They follow the entry when it moves, and go when it is forgotten. All of one entry take at most 64 KiB.
    ///
    /// Raises:
    ///     NotFoundError: There is no such entry.
    ///     TooLargeError, InvalidArgumentError.
    #[pyo3(signature = (address, attrs))]
    fn set_attrs(&self, py: Python<'_>, address: Address, attrs: &Bound<'_, PyAny>) -> PyResult<u64> {
        let attrs = convert::attrs(attrs)?;
        self.handle.run(py, |warden| {
            let attrs = attrs.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
            warden.set_attrs(address.0, attrs)
        })
    }

    /// Returns a named key-value space. It comes into being with its first value.
    #[pyo3(signature = (name))]
    fn space(&self, py: Python<'_>, name: String) -> PyResult<Space> {
        Space::open(py, &self.handle, name)
    }

    /// Begins a batch over spaces, attributes and cursors: one commit, all or nothing.
    #[pyo3(signature = ())]
    fn batch(&self, py: Python<'_>) -> PyResult<Batch> {
        Batch::open(py, &self.handle)
    }

    /// Returns the state of the engine and its roots.
    #[pyo3(signature = ())]
    fn status(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let status = work::status(py, &self.handle)?;
        types::status(py, &status)
    }

    /// Returns the newest operations, newest first.
    #[pyo3(signature = (limit=100))]
    fn history(&self, py: Python<'_>, limit: usize) -> PyResult<History> {
        let operations = self.handle.run(py, |warden| warden.history(limit))?;
        History::new(py, operations)
    }

    /// Tells all that is known about one address, and why.
    #[pyo3(signature = (address))]
    fn explain(&self, py: Python<'_>, address: Address) -> PyResult<Py<PyAny>> {
        let told = self.handle.run(py, |warden| warden.explain(address.0))?;
        types::explanation(py, &told)
    }

    /// Compares the disk with the state, and changes neither. Ctrl-C cancels it.
    ///
    /// Args:
    ///     root: One root only.
    ///     content: Reads content too, and compares it with the hashes that are kept.
    ///     progress: As for ``scan``.
    ///     cancel: Stops it: ``CancelledError``.
    #[pyo3(signature = (root=None, *, content=false, progress=None, cancel=None))]
    fn verify(
        &self,
        py: Python<'_>,
        root: Option<&str>,
        content: bool,
        progress: Option<&Bound<'_, PyAny>>,
        cancel: Option<&CancelToken>,
    ) -> PyResult<Py<PyAny>> {
        let mut options = VerifyOptions::new();
        if let Some(name) = root {
            options = options.root(name);
        }
        if content {
            options = options.content();
        }
        let warden = self.handle.get(py)?;
        let report = scan::run(py, progress, cancel, move |context| warden.verify(&options, context))?;
        types::verify_report(py, &report)
    }

    /// Reads every row of the state file and checks it.
    ///
    /// Raises:
    ///     CorruptError: One of them is damaged; ``treewarden.rebuild`` saves the others.
    #[pyo3(signature = ())]
    fn check(&self, py: Python<'_>) -> PyResult<()> {
        self.handle.run(py, treewarden::Warden::check)
    }

    /// Rewrites the state file without its free space, if that makes it smaller. Needs room for a second copy. Commits
    /// wait meanwhile, readers do not.
    #[pyo3(signature = ())]
    fn compact(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let report = self.handle.run(py, treewarden::Warden::compact)?;
        types::compact_report(py, &report)
    }

    /// Applies the retention of tombstones and journal now; every scan that commits does so too. Returns how many
    /// files and symlinks were forgotten.
    #[pyo3(signature = ())]
    fn maintain(&self, py: Python<'_>) -> PyResult<u64> {
        self.handle.run(py, treewarden::Warden::maintain)
    }

    /// Watches roots from now on: every change on disk is looked at and committed.
    ///
    /// Returns at once: the first scan runs in the background, and ``sync`` waits for it. Called again with other
    /// options, it restarts only what differs.
    ///
    /// Args:
    ///     roots: Which roots, and how: a mapping from names to ``RootWatch``. Without it all roots, present and
    ///         future.
    ///     default: How all roots are watched when none is named.
    ///     backend: Where events come from: ``auto``, ``inotify`` or ``notify``.
    ///     watches_max: How many directories are watched at most; the others are polled.
    ///     scan_threads: Threads of scans that the engine starts itself; 0 means as ``open`` was told.
    ///     nice: Niceness of those threads, 0 to 19.
    ///     yields: Such scans give way while the machine is under pressure.
    #[pyo3(signature = (
        *, roots=None, default=None, backend="auto", watches_max=None, scan_threads=0, nice=0, yields=true
    ))]
    fn watch(
        &self,
        py: Python<'_>,
        roots: Option<Bound<'_, PyAny>>,
        default: Option<Bound<'_, PyAny>>,
        backend: &str,
        watches_max: Option<u64>,
        scan_threads: usize,
        nice: i32,
        yields: bool,
    ) -> PyResult<()> {
        live::watch(py, &self.handle, roots, default, backend, watches_max, scan_threads, nice, yields)
    }

    /// Stops watching. The state stays as it is.
    #[pyo3(signature = ())]
    fn unwatch(&self, py: Python<'_>) -> PyResult<()> {
        live::unwatch(py, &self.handle)
    }

    /// True between ``watch`` and ``unwatch``.
    #[getter]
    fn watching(&self, py: Python<'_>) -> PyResult<bool> {
        live::is_watching(py, &self.handle)
    }

    /// Waits until every change that was made on disk before this call is in ``snapshot``. Returns its seq. Ctrl-C
    /// ends the wait.
    ///
    /// Raises:
    ///     TimeoutError: It took longer; the engine goes on.
    ///     InvalidArgumentError: Nothing is watched.
    ///     UnavailableError: Watching is paused.
    #[pyo3(signature = (timeout=60.0))]
    fn sync(&self, py: Python<'_>, timeout: f64) -> PyResult<u64> {
        live::sync(py, &self.handle, timeout)
    }

    /// Holds everything that the engine does by itself, and returns when no scan is running.
    ///
    /// What changes meanwhile is remembered. Must not be called from the progress function of a scan.
    #[pyo3(signature = ())]
    fn pause(&self, py: Python<'_>) -> PyResult<()> {
        live::pause(py, &self.handle)
    }

    /// Goes on after ``pause``, with what has changed meanwhile.
    #[pyo3(signature = ())]
    fn resume(&self, py: Python<'_>) -> PyResult<()> {
        live::resume(py, &self.handle)
    }

    /// Subscribes to what happens in the engine, with room for so many events.
    ///
    /// When there is no room left, all that waits gives way to one ``reset``; the engine never waits for anybody.
    #[pyo3(signature = (*, max_events=1024))]
    fn events(&self, py: Python<'_>, max_events: usize) -> PyResult<Py<PyAny>> {
        live::events(py, &self.handle, max_events)?.into_py_any(py)
    }

    /// Opens the pipeline of that name: which files a program works on, and what is still to be done.
    ///
    /// Without options an existing one is opened as it was made, and one that there is not is made with the
    /// defaults. With options it takes those, and the defaults for all others.
    ///
    /// Args:
    ///     name: Its name.
    ///     root: Works on these roots only.
    ///     glob: Works on files whose path below the root matches one of these only.
    ///     group: Which files are one job. None: each by itself. ``parent``: those in one directory. ``stem``: those
    ///         that differ in the last extension only. ``depth:N``: those that share so many components. Or a function
    ///         from the address of a file to the key of its group, an address in the same root; None leaves the file
    ///         out.
    ///     group_name: Under which the function is stored (default: its ``__qualname__``).
    ///     version: Of what is done with a file (default 1). Another one makes everything changed once.
    ///     priority: Class of new files (default ``high``).
    ///     concurrency: How many jobs are handed out at once (default 0: no bound).
    ///     settle: For how long a new or changed file must be still, in seconds (default 1).
    ///     lease: For how long a job is held without being renewed, in seconds (default 300).
    ///     retry_base: Wait after the first failure, in seconds (default 60); twice as long each time.
    ///     retry_cap: Longest wait (default a day).
    ///     max_attempts: Failures of the same content after which it is dead (default 5).
    ///     jitter: Makes each wait longer by a random 0 to 10 percent (default).
    ///     refresh: When a completed item is done anew. None: never. A number: so many seconds later. ``tiers``: the
    ///         default tiers. ``at_completion``: when the completion says. Or tiers of your own, each an age below
    ///         which it counts (None for the last one) and a wait, in seconds.
    ///     refresh_schedule: Hands stale items out in runs only.
    ///     refresh_batch: Of so many items.
    ///     refresh_gap: With so many seconds between batches.
    ///     rate: How many jobs begin in any window: ``(35, 10.0)`` is 35 in any 10 seconds.
    ///     max_crashes: Leases in a row whose process ended after which a job is dead (default 100; 0: never).
    ///     paths_matter: A file that was moved is to be done anew.
    #[pyo3(signature = (name, **options))]
    fn pipeline(
        &self,
        py: Python<'_>,
        name: &str,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        work::pipeline(py, &self.handle, name, options)?.into_py_any(py)
    }

    /// Returns the pipelines by name.
    #[pyo3(signature = ())]
    fn pipelines(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        work::pipelines(py, &self.handle)?.into_py_any(py)
    }

    /// Removes a pipeline with all that it knows of its items. Leases in force are lost.
    #[pyo3(signature = (name))]
    fn remove_pipeline(&self, py: Python<'_>, name: &str) -> PyResult<()> {
        work::remove_pipeline(py, &self.handle, name)
    }

    #[doc = include_str!("mirror/open.txt")]
    #[pyo3(signature = (name, address=None, target=None, *, cdn=None, **options))]
    fn mirror(
        &self,
        py: Python<'_>,
        name: &str,
        address: Option<Address>,
        target: Option<&Bound<'_, PyAny>>,
        cdn: Option<&Bound<'_, PyAny>>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        mirror::open(py, &self.handle, name, address, target, cdn, options)?.into_py_any(py)
    }

    /// Returns the mirrors by name.
    #[pyo3(signature = ())]
    fn mirrors(&self, py: Python<'_>) -> PyResult<Vec<Py<PyAny>>> {
        mirror::mirrors(py, &self.handle)
    }

    /// Says how the mirrors stand that are open, by name. No request is made.
    #[pyo3(signature = ())]
    fn mirror_status(&self, py: Python<'_>) -> PyResult<Vec<Py<PyAny>>> {
        mirror::mirror_status(py, &self.handle)
    }

    /// Forgets a mirror and what it knows of its objects, which stay where they are.
    #[pyo3(signature = (name))]
    fn remove_mirror(&self, py: Python<'_>, name: &str) -> PyResult<()> {
        mirror::remove_mirror(py, &self.handle, name)
    }

    /// Returns the numbers of the whole engine at this moment. Nothing is scanned or counted for them.
    #[pyo3(signature = ())]
    fn metrics(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        metrics::metrics(py, &self.handle)
    }

    #[doc = include_str!("export.txt")]
    #[pyo3(
        signature = (
            path, prefix=Address::everything(), *, since=None, glob=None, missing=false, host=None, partitioned=false,
            replace=false, **store
        ),
        text_signature = "($self, path, prefix='', *, since=None, glob=None, missing=False, host=None, partitioned=False, replace=False, **store)"
    )]
    fn export(
        &self,
        py: Python<'_>,
        path: FsPath,
        prefix: Address,
        since: Option<Since>,
        glob: Option<&str>,
        missing: bool,
        host: Option<String>,
        partitioned: bool,
        replace: bool,
        store: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        let options = export::options(host, partitioned, replace);
        export::export(py, &self.handle, path, prefix, since, glob, missing, options, store)
    }
}
