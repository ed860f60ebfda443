//! Watching: how roots are watched, waiting until the engine has caught up with the disk, and what it tells
//! meanwhile.

use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyMapping;
use treewarden::{ErrorKind, Interrupter, Schedule, Subscription, WatchBackend, WatchMode, WatchOptions};

use crate::aside::aside;
use crate::convert;
use crate::errors::{self, OrRaise};
use crate::event_types;
use crate::handle::{Handle, wait_in_slices};

const MODES: &[(&str, WatchMode)] =
    &[("auto", WatchMode::Auto), ("native", WatchMode::Native), ("poll", WatchMode::Poll)];

const BACKENDS: &[(&str, WatchBackend)] =
    &[("auto", WatchBackend::Auto), ("inotify", WatchBackend::Inotify), ("notify", WatchBackend::Notify)];

/// A name, and how it makes its options.
type Preset = (&'static str, fn() -> treewarden::RootWatch);

const PRESETS: &[Preset] = &[
    ("default", treewarden::RootWatch::new),
    ("small", treewarden::RootWatch::small),
    ("large", treewarden::RootWatch::large),
    ("busy", treewarden::RootWatch::busy),
];

/// How one root is watched. Immutable and comparable.
///
/// Schedules are intervals, ``15m``, ``every 24h`` or ``7d``, or cron texts of five fields, in UTC or in a time
/// zone: ``0 3 * * *``, ``cron 0 3 * * * Europe/Vienna``. ``Warden.watch`` checks that the times make sense
/// together.
///
/// Args:
///     preset: What the rest begins with. ``default``: debounce 0.3 s, at most 2 s, polls every 10 s where it must.
///         ``small``, for trees of some thousand files that people wait for: 0.05 s, 0.5 s, 2 s. ``large``, for
///         hundreds of thousands: 1 s, 10 s, 60 s. ``busy``, where something is always written: 2 s, 15 s, 30 s.
///     mode: ``auto`` watches, and polls network file systems; ``native`` always watches; ``poll`` always polls.
///     debounce: How long a directory must be quiet before it is looked at, in seconds.
///     max_wait: After how long it is looked at although it is not quiet, in seconds.
///     poll: How often what has no watch is looked at, in seconds.
///     quick: Schedule of quick scans.
///     full: Schedule of full scans.
///     reconcile: When the root is scanned although nothing was heard of it (default 24 h after the last scan).
///     no_reconcile: Believes the events for ever.
#[pyclass(frozen, eq, module = "treewarden")]
pub(crate) struct RootWatch {
    watch: treewarden::RootWatch,
    /// As it was made, for people.
    shown: String,
}

impl PartialEq for RootWatch {
    fn eq(&self, other: &Self) -> bool {
        self.watch == other.watch
    }
}

#[pymethods]
impl RootWatch {
    #[new]
    #[pyo3(signature = (*, preset="default", mode="auto", debounce=None, max_wait=None, poll=None, quick=None,
        full=None, reconcile=None, no_reconcile=false))]
    fn new(
        py: Python<'_>,
        preset: &str,
        mode: &str,
        debounce: Option<f64>,
        max_wait: Option<f64>,
        poll: Option<f64>,
        quick: Option<&str>,
        full: Option<&str>,
        reconcile: Option<&str>,
        no_reconcile: bool,
    ) -> PyResult<Self> {
        let begin = convert::one_of(py, "preset", preset, PRESETS)?;
        let mut watch = begin();
        let mut shown = Vec::new();
        if preset != "default" {
            shown.push(format!("preset='{preset}'"));
        }
        if mode != "auto" {
            watch = watch.mode(convert::one_of(py, "mode", mode, MODES)?);
            shown.push(format!("mode='{mode}'"));
        }
        for (name, seconds) in [("debounce", debounce), ("max_wait", max_wait), ("poll", poll)] {
            let Some(seconds) = seconds else { continue };
            let ms = convert::millis(py, &format!("`{name}`"), seconds)?;
            watch = match name {
                "debounce" => watch.debounce_ms(ms),
                "max_wait" => watch.max_wait_ms(ms),
                _ => watch.poll_ms(ms),
            };
            shown.push(format!("{name}={seconds:?}"));
        }
        for (name, text) in [("quick", quick), ("full", full), ("reconcile", reconcile)] {
            let Some(text) = text else { continue };
            let schedule = Schedule::parse(text).or_raise(py)?;
            shown.push(format!("{name}='{schedule}'"));
            watch = match name {
                "quick" => watch.quick(schedule),
                "full" => watch.full(schedule),
                _ => watch.reconcile(schedule),
            };
        }
        if no_reconcile {
            if reconcile.is_some() {
                let message = "`reconcile` says when, and `no_reconcile` says never";
                return Err(errors::invalid_with_hint(py, message, "give one of them"));
            }
            watch = watch.no_reconcile();
            shown.push("no_reconcile=True".to_owned());
        }
        Ok(Self { watch, shown: format!("RootWatch({})", shown.join(", ")) })
    }

    /// How long a directory must be quiet before it is looked at, in seconds, as it holds.
    #[getter]
    fn debounce(&self) -> f64 {
        Duration::from_millis(self.watch.quiet_times_ms().0).as_secs_f64()
    }

    /// After how long a directory is looked at although it is not quiet, in seconds, as it holds.
    #[getter]
    fn max_wait(&self) -> f64 {
        Duration::from_millis(self.watch.quiet_times_ms().1).as_secs_f64()
    }

    fn __repr__(&self) -> &str {
        &self.shown
    }
}

/// Watches roots from now on. Without any option it changes nothing where something is watched already.
///
/// # Errors
///
/// As `Warden::watch_with`; `TypeError` for what is no `RootWatch`.
pub(crate) fn watch(
    py: Python<'_>,
    handle: &Handle,
    roots: Option<Bound<'_, PyAny>>,
    default: Option<Bound<'_, PyAny>>,
    backend: &str,
    watches_max: Option<u64>,
    scan_threads: usize,
    nice: i32,
    yields: bool,
) -> PyResult<()> {
    let is_plain = roots.is_none() && default.is_none();
    let mut options = WatchOptions::new()
        .backend(convert::one_of(py, "backend", backend, BACKENDS)?)
        .scan_threads(scan_threads)
        .nice(nice)
        .yields(yields);
    if let Some(watches) = watches_max {
        options = options.watches_max(watches);
    }
    if let Some(watch) = default {
        options = options.default_root(root_watch("default", &watch)?);
    }
    if let Some(roots) = roots {
        let named = roots.cast_into::<PyMapping>()?.items()?;
        if named.is_empty() {
            let hint = "leave `roots` out to watch all of them; `unwatch` stops watching";
            return Err(errors::invalid_with_hint(py, "`roots` names no root", hint));
        }
        for item in named {
            let (name, watch): (String, Bound<'_, PyAny>) = item.extract()?;
            let watch = root_watch(&name, &watch)?;
            options = options.root(name, watch);
        }
    }
    if is_plain && options == WatchOptions::new() {
        return handle.run(py, treewarden::Warden::watch);
    }
    handle.run(py, |warden| warden.watch_with(&options))
}

fn root_watch(name: &str, obj: &Bound<'_, PyAny>) -> PyResult<treewarden::RootWatch> {
    match obj.cast::<RootWatch>() {
        Ok(watch) => Ok(watch.get().watch.clone()),
        Err(_) => {
            let (name, kind) = (treewarden::escape(name.as_bytes()), obj.get_type().name()?);
            Err(PyTypeError::new_err(format!("how `{name}` is watched says a RootWatch, not {kind}")))
        }
    }
}

/// Stops watching, and waits until what was under way has ended.
pub(crate) fn unwatch(py: Python<'_>, handle: &Handle) -> PyResult<()> {
    handle.run(py, treewarden::Warden::unwatch)
}

/// True between `watch` and `unwatch`.
pub(crate) fn is_watching(py: Python<'_>, handle: &Handle) -> PyResult<bool> {
    handle.run(py, |warden| Ok(warden.is_watching()))
}

/// Waits until every change that was made on disk before this call is in the snapshot; its seq. Ctrl-C ends the
/// wait.
///
/// # Errors
///
/// As `Warden::sync`.
pub(crate) fn sync(py: Python<'_>, handle: &Handle, timeout: f64) -> PyResult<u64> {
    let timeout = convert::duration(py, "a timeout", timeout)?;
    let warden = handle.get(py)?;
    // In one piece: each call asks for a new look, and short ones might never see the end of one.
    aside(py, move || warden.sync(timeout), drop)?.or_raise(py)
}

/// Holds everything that the engine does by itself, and returns when no scan is running. Ctrl-C ends the wait; it
/// is paused then, too.
///
/// # Errors
///
/// As `Warden::pause`.
pub(crate) fn pause(py: Python<'_>, handle: &Handle) -> PyResult<()> {
    let warden = handle.get(py)?;
    aside(py, move || warden.pause(), drop)?.or_raise(py)
}

/// Goes on after `pause`.
pub(crate) fn resume(py: Python<'_>, handle: &Handle) -> PyResult<()> {
    handle.run(py, treewarden::Warden::resume)
}

/// Subscribes to what happens in the engine.
pub(crate) fn events(py: Python<'_>, handle: &Handle, max_events: usize) -> PyResult<Events> {
    let subscription = handle.run(py, |warden| Ok(warden.subscribe_with(max_events)))?;
    Ok(Events {
        interrupter: subscription.interrupter(),
        interrupted: AtomicBool::new(false),
        subscription: Mutex::new(Some(Arc::new(subscription))),
        handle: handle.clone(),
    })
}

/// An iterator over what happens in the engine, which waits for it.
///
/// It holds a bounded number of events: those that say the same again are joined, and when there is no room left
/// all of them give way to one ``reset``. The journal is the record; events only say that it is worth a look.
/// Threads may share it; each event goes to one of them.
///
/// It never ends by itself: ``interrupt`` ends an iteration, and closing the warden ends it with ``ClosedError``,
/// after what was told before. A context manager: it closes itself at the end.
#[pyclass(frozen, module = "treewarden")]
pub(crate) struct Events {
    /// Empty when this was closed.
    subscription: Mutex<Option<Arc<Subscription>>>,
    interrupter: Interrupter,
    /// Beside the interrupt of the engine, which a slice of a wait cannot tell from its end.
    interrupted: AtomicBool,
    handle: Handle,
}

impl Events {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<Subscription>>> {
        self.subscription.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The subscription, for one call. That of a closed warden, too: something may be left in it.
    fn ready(&self, py: Python<'_>) -> PyResult<Arc<Subscription>> {
        self.handle.check_process(py)?;
        let open = self.lock().clone();
        open.ok_or_else(|| errors::of_kind(py, ErrorKind::Closed, "these events have been closed"))
    }

    fn take(&self, py: Python<'_>, timeout: Option<Duration>) -> PyResult<Option<Py<PyAny>>> {
        let subscription = self.ready(py)?;
        let taken = wait_in_slices(py, timeout, |slice| {
            if let Some(event) = subscription.next(Some(slice))? {
                return Ok(Some(Some(event)));
            }
            let is_over = self.interrupted.swap(false, Ordering::AcqRel) || self.lock().is_none();
            Ok(is_over.then_some(None))
        })?;
        let event = match taken {
            // An interrupt that was answered before may have cut the last slice short.
            None => subscription.try_next(),
            Some(None) => {
                self.ready(py)?;
                None
            }
            Some(event) => event,
        };
        event.map(|event| event_types::event(py, &event)).transpose()
    }
}

#[pymethods]
impl Events {
    /// Takes the next event, and waits for it if need be. None at the timeout and after ``interrupt``.
    ///
    /// Args:
    ///     timeout: How long to wait, in seconds; 0 does not wait, None, the default, waits without end.
    ///
    /// Raises:
    ///     ClosedError: This, or the warden, has been closed and nothing is left.
    #[pyo3(signature = (timeout=None))]
    fn next(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Option<Py<PyAny>>> {
        self.take(py, convert::timeout(py, timeout)?)
    }

    /// Makes one waiting call return without a result; if none waits, the next call.
    fn interrupt(&self, py: Python<'_>) -> PyResult<()> {
        self.ready(py)?;
        self.interrupted.store(true, Ordering::Release);
        py.detach(|| self.interrupter.interrupt());
        Ok(())
    }

    /// Returns a descriptor that is readable while there is an event, and when the warden has been closed.
    ///
    /// For ``select`` and event loops; not to be read from. Wake-ups coalesce: call ``next(0)`` until that
    /// returns None. It lives until this is closed.
    fn fileno(&self, py: Python<'_>) -> PyResult<i32> {
        let subscription = self.ready(py)?;
        let descriptor = py.detach(|| subscription.descriptor().map(|descriptor| descriptor.as_raw_fd()));
        descriptor.or_raise(py)
    }

    /// Ends the subscription. Whoever waits gets ``ClosedError``. Closing twice does nothing.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.handle.check_process(py)?;
        let closed = self.lock().take();
        py.detach(|| {
            self.interrupter.interrupt();
            drop(closed);
        });
        Ok(())
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
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
        let path = treewarden::escape(self.handle.path().as_os_str().as_bytes());
        format!("<treewarden.Events of `{path}`>")
    }
}
