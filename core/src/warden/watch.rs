//! What a warden does by itself, and what it tells of that: watching, waiting, following.

use std::time::{Duration, Instant};

use crate::changes::Follow;
use crate::error::{Error, ErrorKind, Result};
use crate::events::Subscription;
use crate::live::WatchOptions;
use crate::signal::{Interrupt, Waited};

use super::Warden;

impl Warden {
    /// Watches all roots, present and future, as [`WatchOptions::new`] says. Returns at once: the first
    /// scan runs in the background, and [`Warden::sync`] waits for it. Watching already is fine. Where the
    /// system has no room for one more watcher, roots are polled, and [`Warden::status`] says why.
    ///
    /// # Errors
    ///
    /// `ReadOnly`, `Closed`, and `Io` where no thread can be started.
    pub fn watch(&self) -> Result<()> {
        if self.is_watching() { Ok(()) } else { self.watch_with(&WatchOptions::new()) }
    }

    /// Watches roots from now on: every change on disk is looked at when its directory has been quiet for
    /// the debounce, and committed. Called again with other options, it restarts only what differs. Another
    /// backend is started before the old one ends. A pause stays a pause.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let (state, photos) = (dir.path().join("state.tw"), dir.path().join("photos"));
    /// # std::fs::create_dir(&photos).unwrap();
    /// use std::time::Duration;
    /// use treewarden::{RootWatch, Warden, WatchOptions};
    ///
    /// let warden = Warden::open(&state)?;
    /// warden.add_root("photos", &photos)?;
    /// warden.watch_with(&WatchOptions::new().root("photos", RootWatch::small()))?;
    ///
    /// std::fs::write(photos.join("new.jpg"), "x").unwrap();
    /// warden.sync(Duration::from_secs(10))?;
    /// assert!(warden.snapshot().contains("photos/new.jpg"));
    /// # Ok::<(), treewarden::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `NotFound` for a root that is named and not registered, `InvalidArgument` for times that make no
    /// sense, `Unsupported` for a backend that this system lacks, and as [`Warden::watch`]. What was
    /// watched before is watched as before then.
    pub fn watch_with(&self, options: &WatchOptions) -> Result<()> {
        self.inner.live.watch(options)
    }

    /// Stops watching. The state stays as it is.
    ///
    /// # Errors
    ///
    /// None so far.
    pub fn unwatch(&self) -> Result<()> {
        self.engine().check_process()?;
        self.inner.live.unwatch();
        Ok(())
    }

    /// Returns true between [`Warden::watch`] and [`Warden::unwatch`].
    #[must_use]
    pub fn is_watching(&self) -> bool {
        !self.engine().is_forked() && self.inner.live.is_watching()
    }

    /// Waits until every change that was made on disk before this call is in [`Warden::snapshot`], and
    /// returns its seq. Debouncing and waiting between scans are cut short, and a scan that gives way to
    /// other programs stops doing so. Nothing is written into the trees for it.
    ///
    /// A root that is unavailable or held keeps its last state; [`Warden::status`] tells. Roots may be
    /// added, removed or changed meanwhile: it goes on with those that there are.
    ///
    /// # Errors
    ///
    /// `Timeout`; `InvalidArgument` when nothing is watched; `Unavailable` while watching is paused;
    /// `Closed`; and what kept a change from being committed, such as `StorageFull`.
    pub fn sync(&self, timeout: Duration) -> Result<u64> {
        self.inner.live.sync(timeout)
    }

    /// Holds everything that the engine does by itself, and returns when no scan is running: one that the
    /// engine had started is cancelled and made up for later, one that the program asked for is waited
    /// for. What changes meanwhile is remembered. Scans that the program asks for are still run.
    ///
    /// It must not be called from the progress callback of a scan: it waits for that scan, which waits for
    /// the callback.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when nothing is watched.
    pub fn pause(&self) -> Result<()> {
        self.engine().check_process()?;
        self.inner.live.pause()
    }

    /// Goes on after [`Warden::pause`], with what has changed meanwhile.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when nothing is watched.
    pub fn resume(&self) -> Result<()> {
        self.engine().check_process()?;
        self.inner.live.resume()
    }

    /// Subscribes to what happens in the engine, with room for 1,024 events.
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        self.subscribe_with(1_024)
    }

    /// Subscribes with room for `events_max` events, at least one. When there is no room left, all that
    /// waits gives way to one [`crate::Event::Reset`]; the engine never waits for a subscriber.
    #[must_use]
    pub fn subscribe_with(&self, events_max: usize) -> Subscription {
        self.engine().hub.subscribe(events_max)
    }

    /// Waits for a commit after `after` and returns the seq then; at the end of `timeout` the seq as it
    /// is. `None` waits for ever. [`Warden::close`] ends the wait.
    ///
    /// # Errors
    ///
    /// `Closed`.
    pub fn wait(&self, after: u64, timeout: Option<Duration>) -> Result<u64> {
        self.engine().check_process()?;
        let signal = &self.engine().signal;
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        match signal.wait(after, deadline, &Interrupt::new(signal)) {
            Waited::Seq(seq) => Ok(seq),
            Waited::TimedOut | Waited::Interrupted => Ok(self.seq()),
            Waited::Closed => Err(Error::new(ErrorKind::Closed, "the warden has been closed")),
        }
    }

    /// Follows the journal under a durable name: blocks until something was committed, and goes on where
    /// the last acknowledged delivery of that name ended, after a restart too.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a bad name.
    pub fn follow(&self, name: &str) -> Result<Follow> {
        Ok(Follow::new(self.cursor(name)?, &self.engine().signal))
    }
}
