//! What several machines share through one Redis: a limit of requests, leadership, and the journal of a warden.
//!
//! Invariant: every call that may talk to Redis is made detached from the interpreter, and lets Ctrl-C through. In the
//! child of a fork nothing of it is touched: its locks may be held by threads that are not there.

mod lease;
mod limiter;
mod stream;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use pyo3::types::PyString;
use treewarden::ErrorKind;

use crate::aside::aside;
use crate::convert;
use crate::errors::{self, OrRaise};
use crate::limiter as rates;
use crate::warden::Warden;

pub(crate) use lease::{Leader, Lease};
pub(crate) use limiter::{SharedLimiter, SharedPermit};
pub(crate) use stream::{Consumer, Publisher, StreamItem};

/// A wait is cut into pieces of this length: nothing goes on for longer after Ctrl-C.
const SLICE: Duration = Duration::from_secs(1);

/// What several machines share through one Redis, version 7 or later.
///
/// It fails closed: without Redis there is no permit, no leader and no change, and errors are ``UnavailableError``.
/// Connections that break are made anew. It does not survive a ``fork``: connect after it.
///
/// Args:
///     url: ``redis://[user:password@]host[:port][/database]`` or ``unix:///path/to/socket``. User and password are
///         never shown.
///     prefix: What all keys begin with. Fleets with different prefixes know nothing of each other.
///     connect_timeout: How long making a connection may take, in seconds.
///     command_timeout: How long an answer may take, in seconds.
///     later: Connects when it is needed first, for programs that may start before Redis does.
///
/// Raises:
///     UnavailableError: Redis cannot be reached or does not serve.
///     PermissionDeniedError: It refuses the user.
///     UnsupportedError: ``rediss://``, a Redis before 7, one of a cluster, one that evicts keys.
#[pyclass(frozen, module = "treewarden")]
pub(crate) struct Fleet {
    fleet: treewarden::fleet::Fleet,
    prefix: String,
    process: u32,
}

#[pymethods]
impl Fleet {
    #[new]
    #[pyo3(
        signature = (url, *, prefix="treewarden", connect_timeout=2.0, command_timeout=2.0, later=false),
        text_signature = "(url, *, prefix='treewarden', connect_timeout=2.0, command_timeout=2.0, later=False)"
    )]
    fn new(
        py: Python<'_>,
        url: &Bound<'_, PyString>,
        prefix: &str,
        connect_timeout: f64,
        command_timeout: f64,
        later: bool,
    ) -> PyResult<Self> {
        // The error of Python would quote it.
        let url = url.extract::<String>();
        let url = url.map_err(|_| errors::invalid(py, "the URL of Redis holds what is no character"))?;
        let options = treewarden::fleet::Fleet::options(&url)
            .prefix(prefix)
            .connect_timeout(convert::duration(py, "`connect_timeout`", connect_timeout)?)
            .command_timeout(convert::duration(py, "`command_timeout`", command_timeout)?);
        let connect = move || if later { options.connect_later() } else { options.connect() };
        let fleet = aside(py, connect, drop)?.or_raise(py)?;
        Ok(Self { fleet, prefix: prefix.to_owned(), process: std::process::id() })
    }

    /// Asks Redis for a sign of life.
    #[pyo3(signature = ())]
    fn ping(&self, py: Python<'_>) -> PyResult<()> {
        check_process(py, self.process)?;
        let fleet = self.fleet.clone();
        aside(py, move || fleet.ping(), drop)?.or_raise(py)
    }

    /// Returns the limiter of that name: at most ``rate`` over all machines that ask for it. Does not ask Redis yet.
    ///
    /// After a restart of Redis, when its data was lost, and on a new one, nothing is granted for a window and
    /// ``hold_max``.
    ///
    /// Args:
    ///     name: Its name.
    ///     rate: A ``RateLimit``, or a tuple of requests and seconds. The floor is not used.
    ///     hold_max: The longest time between the grant of a permit and the end of its request, in seconds. All
    ///         machines must give the same.
    #[pyo3(signature = (name, rate, *, hold_max=60.0))]
    fn limiter(
        &self,
        py: Python<'_>,
        name: &str,
        rate: &Bound<'_, PyAny>,
        hold_max: f64,
    ) -> PyResult<SharedLimiter> {
        check_process(py, self.process)?;
        let hold_max = convert::duration(py, "`hold_max`", hold_max)?;
        let limiter = self.fleet.limiter_with(name, &rates::rate(rate)?, hold_max).or_raise(py)?;
        Ok(SharedLimiter::of(limiter, self.process))
    }

    /// Returns the lease of that name, of which there is one holder at most. Does not ask Redis yet.
    ///
    /// Args:
    ///     name: Its name.
    ///     ttl: After how many seconds a leader loses it that does not renew it: 0.1 s to a day. All machines must give
    ///         the same.
    #[pyo3(signature = (name, ttl))]
    fn lease(&self, py: Python<'_>, name: &str, ttl: f64) -> PyResult<Lease> {
        check_process(py, self.process)?;
        let ttl = convert::duration(py, "`ttl`", ttl)?;
        Ok(Lease::of(self.fleet.lease(name, ttl).or_raise(py)?, self.process))
    }

    /// Returns what appends the journal of a warden to a stream. Its place is the cursor ``fleet.STREAM`` of the warden.
    /// Does not ask Redis yet.
    ///
    /// Args:
    ///     stream: The name of the stream.
    ///     warden: Whose journal.
    ///     root: Of this root alone.
    ///     entries_max: How many entries the stream keeps at least (default 100,000).
    ///     leader: Publishes with its token, so that the stream refuses those who led before.
    #[pyo3(signature = (stream, warden, root=None, *, entries_max=None, leader=None))]
    fn publisher(
        &self,
        py: Python<'_>,
        stream: &str,
        warden: &Bound<'_, Warden>,
        root: Option<&str>,
        entries_max: Option<u64>,
        leader: Option<&Bound<'_, Leader>>,
    ) -> PyResult<Publisher> {
        check_process(py, self.process)?;
        let handle = &warden.get().handle;
        let mut publisher = handle.run(py, |warden| self.fleet.publisher(stream, warden, root))?;
        if let Some(entries) = entries_max {
            publisher = publisher.entries_max(entries).or_raise(py)?;
        }
        if let Some(leader) = leader {
            let leader = leader.get().ready(py)?;
            publisher = publisher.fenced(&leader);
        }
        Ok(Publisher::of(publisher, stream, handle))
    }

    /// Returns a reader of a stream. The consumers of one group divide the changes among themselves; every group gets
    /// all of them. Does not ask Redis yet.
    ///
    /// Args:
    ///     stream: The name of the stream.
    ///     group: The name of the group.
    ///     name: Tells the consumers of a group apart, over all machines.
    ///     takeover_after: After how many seconds what lies unacknowledged with another consumer is taken over (default
    ///         300). Longer than the longest work.
    #[pyo3(signature = (stream, group, name, *, takeover_after=300.0))]
    fn consumer(
        &self,
        py: Python<'_>,
        stream: &str,
        group: &str,
        name: &str,
        takeover_after: f64,
    ) -> PyResult<Consumer> {
        check_process(py, self.process)?;
        let idle = convert::duration(py, "`takeover_after`", takeover_after)?;
        let consumer = self.fleet.consumer(stream, group, name).or_raise(py)?;
        Ok(Consumer::of(consumer.takeover_after(idle).or_raise(py)?, stream, self.process))
    }

    fn __repr__(&self) -> String {
        format!("<treewarden.Fleet prefix='{}'>", treewarden::escape(self.prefix.as_bytes()))
    }
}

/// Refuses a call in the child of a fork.
fn check_process(py: Python<'_>, process: u32) -> PyResult<()> {
    if process == std::process::id() {
        return Ok(());
    }
    let message = "this connection to Redis was made before a fork, by the parent process";
    Err(errors::forked_with_hint(py, message, "connect after the fork"))
}

/// Repeats a wait in slices until it has something. `None` at the end of `timeout` (`None`: never) and when
/// `interrupts` rises. Redis is waited for as well. What comes after Ctrl-C goes to `unwanted`.
///
/// # Errors
///
/// What a signal handler raises, and what the engine says; `UnavailableError` only at the end of the time.
fn wait<T, F>(
    py: Python<'_>,
    timeout: Option<Duration>,
    interrupts: &AtomicU64,
    call: F,
    unwanted: fn(T),
) -> PyResult<Option<T>>
where
    T: Send + 'static,
    F: Fn(Duration) -> treewarden::Result<Option<T>> + Clone + Send + 'static,
{
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let seen = interrupts.load(Ordering::Acquire);
    loop {
        let left = deadline.map_or(SLICE, |end| end.saturating_duration_since(Instant::now()));
        let (one, slice) = (call.clone(), left.min(SLICE));
        let late = move |late: treewarden::Result<Option<T>>| {
            if let Ok(Some(late)) = late {
                unwanted(late);
            }
        };
        let answer = aside(py, move || one(slice), late)?;
        let is_over = deadline.is_some_and(|end| Instant::now() >= end);
        match answer {
            Ok(Some(found)) => return Ok(Some(found)),
            Err(error) if is_over || error.kind() != ErrorKind::Unavailable => {
                return Err(errors::raise(py, error));
            }
            _ if is_over || interrupts.load(Ordering::Acquire) != seen => return Ok(None),
            _ => {}
        }
    }
}
