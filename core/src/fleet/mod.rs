//! What several machines share through one Redis (feature `fleet`): a limit of requests, leadership, and the
//! journal of a warden.
//!
//! * [`SharedLimiter`]: at most so many requests in any rolling window, over all machines, also over killed
//!   workers and over a Redis that restarts, fails over or loses its data.
//! * [`Lease`]: at most one of them is the [`Leader`], with a token that rises.
//! * [`Publisher`] and [`Consumer`]: the changes of a warden as a stream, for workers elsewhere.
//!
//! Everything blocks, and everything fails closed: without Redis there is no permit, no leader and no change,
//! and errors say `Unavailable`. Connections that break are made anew by themselves. Redis 7 or later (or
//! Valkey) is needed, as a single server or one with replicas, and it must not evict keys.
//!
//! ```no_run
//! use std::time::Duration;
//! use treewarden::RateLimit;
//! use treewarden::fleet::Fleet;
//!
//! let fleet = Fleet::connect("redis://queue.internal:6379")?;
//! let limiter = fleet.limiter("catalogue", &RateLimit::new(35, Duration::from_secs(10)))?;
//! if let Some(permit) = limiter.acquire(Some(Duration::from_secs(60)))? {
//!     // Send the request, wait for the answer.
//!     permit.done();
//! }
//! # Ok::<(), treewarden::Error>(())
//! ```

mod connection;
mod consumer;
mod journal;
mod lease;
mod limiter;
mod script;
mod wait;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::path;
use crate::warden::Warden;
use crate::work::RateLimit;

use connection::{Pool, Target};

pub use consumer::{Consumer, Item};
pub use journal::Publisher;
pub use lease::{Leader, Lease};
pub use limiter::{Permit, SharedLimiter};
pub use wait::Stop;

/// How long a connection may take, and how long an answer.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(2);
const TIMEOUT_MAX: Duration = Duration::from_secs(60 * 60);

/// How to reach a Redis. Nothing happens before [`FleetOptions::connect`].
#[derive(Clone)]
#[must_use = "options do nothing until `connect` is called"]
pub struct FleetOptions {
    url: String,
    prefix: String,
    connect_timeout: Duration,
    command_timeout: Duration,
}

impl FleetOptions {
    /// Sets how long making a connection may take (default 2 s; 1 ms to 1 hour). Resolving the host's name is
    /// up to the system and takes as long as that takes.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets how long an answer may be awaited without a byte of it (default 2 s; 1 ms to 1 hour).
    pub fn command_timeout(mut self, timeout: Duration) -> Self {
        self.command_timeout = timeout;
        self
    }

    /// Sets what all keys begin with (default `treewarden`): 1 to 255 bytes without `/` and control
    /// characters. Fleets with different prefixes know nothing of each other.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Connects, and looks whether this Redis can be used.
    ///
    /// # Errors
    ///
    /// As [`Fleet::connect`].
    pub fn connect(self) -> Result<Fleet> {
        let fleet = self.connect_later()?;
        fleet.ping()?;
        Ok(fleet)
    }

    /// As [`FleetOptions::connect`], but connects when it is needed first: for programs that may start before
    /// Redis does.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` and `Unsupported` as [`Fleet::connect`].
    pub fn connect_later(self) -> Result<Fleet> {
        for (what, timeout) in [("connect", self.connect_timeout), ("command", self.command_timeout)] {
            if timeout < Duration::from_millis(1) || timeout > TIMEOUT_MAX {
                return Err(Error::invalid(format!("a {what} timeout of {timeout:?} makes no sense"))
                    .with_hint("1 ms to 1 hour are possible"));
            }
        }
        path::check_name("prefix", &self.prefix)?;
        let target = Target::parse(&self.url)?;
        Ok(Fleet(Arc::new(Pool::new(target, self.prefix, self.connect_timeout, self.command_timeout))))
    }
}

impl fmt::Debug for FleetOptions {
    // The URL may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FleetOptions")
            .field("prefix", &self.prefix)
            .field("connect_timeout", &self.connect_timeout)
            .field("command_timeout", &self.command_timeout)
            .finish_non_exhaustive()
    }
}

/// What several machines share through one Redis. Cheap to clone; clones share their connections. All methods
/// may be called from any thread.
///
/// It does not survive `fork`: in the child its methods, and those of everything made from it, answer `Forked`.
#[derive(Clone)]
pub struct Fleet(Arc<Pool>);

impl Fleet {
    /// Connects to `redis://[user:password@]host[:port][/database]` or `unix:///path/to/socket`, with defaults
    /// for everything else. User and password are never shown.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a URL that is not understood, `Unavailable` when Redis cannot be reached or does
    /// not serve, `PermissionDenied` when it refuses the user, `Unsupported` for TLS (`rediss://`), for a Redis
    /// before 7, for one of a cluster, and for one that evicts keys.
    pub fn connect(url: &str) -> Result<Self> {
        Self::options(url).connect()
    }

    /// Returns options to connect with.
    pub fn options(url: &str) -> FleetOptions {
        FleetOptions {
            url: url.to_owned(),
            prefix: "treewarden".to_owned(),
            connect_timeout: TIMEOUT_DEFAULT,
            command_timeout: TIMEOUT_DEFAULT,
        }
    }

    /// Asks Redis for a sign of life.
    ///
    /// # Errors
    ///
    /// As [`Fleet::connect`].
    pub fn ping(&self) -> Result<()> {
        self.0.call(|link| redis::cmd("PING").exec(link.connection()))
    }

    /// Returns the limiter of that name: at most `rate` over all machines that ask for it. Permits are held for
    /// at most 60 s. Does not ask Redis yet.
    ///
    /// Of the rate the limit, the window and the pacing count; throttling pauses and does not lower the limit,
    /// so the floor is not used.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a bad name or a rate that makes no sense.
    pub fn limiter(&self, name: &str, rate: &RateLimit) -> Result<SharedLimiter> {
        self.limiter_with(name, rate, limiter::HOLD_DEFAULT)
    }

    /// As [`Fleet::limiter`], with the longest time between the grant of a permit and the end of its request
    /// (1 ms to 1 day). The permit of a worker that was killed counts for `hold_max` and a window; after a
    /// restart of Redis nothing is granted for as long. All machines must give the same.
    ///
    /// # Errors
    ///
    /// As [`Fleet::limiter`].
    pub fn limiter_with(&self, name: &str, rate: &RateLimit, hold_max: Duration) -> Result<SharedLimiter> {
        SharedLimiter::new(&self.0, name, rate, hold_max)
    }

    /// Returns the lease of that name. A leader that does not renew loses it `ttl` (100 ms to 1 day) after its
    /// last renewal; after a restart of Redis nobody gets it for as long. All machines must give the same. Does
    /// not ask Redis yet.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a bad name or time.
    pub fn lease(&self, name: &str, ttl: Duration) -> Result<Lease> {
        Lease::new(&self.0, name, ttl)
    }

    /// Returns what appends the journal of `warden`, or of one of its roots alone, to a stream. Its place is
    /// the cursor `fleet.STREAM` of the warden. Does not ask Redis yet.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a bad name.
    pub fn publisher(&self, stream: &str, warden: &Warden, root: Option<&str>) -> Result<Publisher> {
        Publisher::new(&self.0, stream, warden, root)
    }

    /// Returns a reader of a stream. The consumers of one `group` divide the changes among themselves; every
    /// group gets all of them. `name` tells the consumers of a group apart, over all machines. Does not ask
    /// Redis yet; the group comes into being with the first read, at the oldest change that is there.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a bad name.
    pub fn consumer(&self, stream: &str, group: &str, name: &str) -> Result<Consumer> {
        Consumer::new(&self.0, stream, group, name)
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet")
            .field("redis", &self.0.place())
            .field("prefix", &self.0.prefix())
            .finish_non_exhaustive()
    }
}
