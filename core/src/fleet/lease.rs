//! Leadership: at most one holder of a lease at a time, over all machines, each with a token that is higher
//! than that of everyone before.
//!
//! Invariant: a leader stops believing in its lease before Redis lets another have it. It counts from before
//! its question was sent, Redis from when it was answered, and a share is taken off for clocks that do not run
//! equally fast. What cannot be guarded by a clock (a process that is stopped between looking and doing) is
//! guarded by the token, at whoever is written to.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};
use crate::path::{check_name, escape};

use super::connection::{Link, Pool};
use super::limiter::micros;
use super::wait::{Doubts, LOOK_AGAIN, Moment, Sleeper, Stop, left};

const TTL_MIN: Duration = Duration::from_millis(100);
const TTL_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// The share of a lease that its holder does not count on.
const SAFETY_SHARE: u32 = 10;
/// A lease is renewed when a third of it has passed.
const RENEWALS_PER_LEASE: u32 = 3;
/// When that fails, as many times in each of the thirds.
const TRIES_PER_RENEWAL: u32 = 4;

/// The right to be the leader, of which there is one. Clones are the same; any thread may use it.
#[derive(Clone)]
pub struct Lease(Arc<Shared>);

struct Shared {
    pool: Arc<Pool>,
    name: String,
    ttl: Duration,
    /// Server, lease.
    keys: [String; 2],
    sleeper: Sleeper,
    /// Owners that may have the lease without knowing it.
    doubts: Doubts,
}

/// What Redis has answered.
enum Answer {
    Granted(u64),
    Wait(Duration),
}

impl Lease {
    pub(super) fn new(pool: &Arc<Pool>, name: &str, ttl: Duration) -> Result<Self> {
        check_name("lease", name)?;
        if !(TTL_MIN..=TTL_MAX).contains(&ttl) {
            return Err(Error::invalid(format!("a lease of {ttl:?} makes no sense"))
                .with_hint("100 ms to 1 day are possible"));
        }
        Ok(Self(Arc::new(Shared {
            keys: [pool.server_key(), pool.key("lease", name)],
            pool: Arc::clone(pool),
            name: name.to_owned(),
            ttl,
            sleeper: Sleeper::default(),
            doubts: Doubts::default(),
        })))
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Takes the lease if nobody has it. Two calls in one program are two candidates.
    ///
    /// # Errors
    ///
    /// `Unavailable` when Redis cannot be reached, `InvalidArgument` when the present leader uses another
    /// time, `PermissionDenied` and `Unsupported` as [`super::Fleet::connect`], `Forked`.
    pub fn try_acquire(&self) -> Result<Option<Leader>> {
        let (owner, is_doubtful) = self.0.doubts.take();
        match self.0.ask(&owner) {
            Ok((Answer::Granted(token), asked)) => Ok(Some(self.leader(token, owner, asked))),
            Ok((Answer::Wait(_), _)) => Ok(None),
            Err(error) => {
                if is_doubtful || error.kind() == ErrorKind::Unavailable {
                    self.0.doubts.keep(owner);
                }
                Err(error)
            }
        }
    }

    /// Waits until the lease is free and takes it, at most for `timeout` or without end. `None` on a timeout
    /// and on [`Lease::interrupt`]. Redis is waited for as well. A call may take longer by the timeouts of the
    /// connection.
    ///
    /// # Errors
    ///
    /// As [`Lease::try_acquire`]; `Unavailable` only when Redis cannot be reached at the end of the timeout.
    pub fn acquire(&self, timeout: Option<Duration>) -> Result<Option<Leader>> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let Some(turn) = self.0.sleeper.begin(timeout) else { return Ok(None) };
        // One name for all tries, and for the next call: a lease whose answer was lost is found again.
        let (owner, mut is_doubtful) = self.0.doubts.take();
        let ended = loop {
            let (wait, failed) = match self.0.ask(&owner) {
                Ok((Answer::Granted(token), asked)) => return Ok(Some(self.leader(token, owner, asked))),
                Ok((Answer::Wait(wait), _)) => (wait, None),
                Err(error) if error.kind() == ErrorKind::Unavailable => (LOOK_AGAIN, Some(error)),
                Err(error) => break Err(error),
            };
            is_doubtful |= failed.is_some();
            let left = left(deadline);
            if left.is_some_and(|left| left.is_zero()) {
                break failed.map_or(Ok(None), Err);
            }
            if !turn.sleep(left.map_or(wait, |left| left.min(wait))) {
                break Ok(None);
            }
        };
        // It may have been granted, and the answer lost. A release may be read later than whatever is sent after it: a
        // name for which one was sent is never used again.
        if is_doubtful && self.0.pool.rests() {
            self.0.doubts.keep(owner);
        } else if is_doubtful {
            let _ = self.0.pool.try_call(|link| self.0.run(link, "release", &owner));
        }
        ended
    }

    /// Makes all calls of [`Lease::acquire`] that wait in this process return `None`; if none waits, the next
    /// that may: a call with a timeout of zero does not. A call that talks to Redis ends when that has ended.
    pub fn interrupt(&self) {
        self.0.sleeper.interrupt();
    }

    fn leader(&self, token: u64, owner: String, asked: Moment) -> Leader {
        let shared = Arc::clone(&self.0);
        let (lost, asked) = (AtomicBool::new(false), Mutex::new(asked));
        Leader {
            term: Arc::new(Term { shared, owner, token, asked, lost }),
            keeper: Stop::new(),
            kept: false,
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("name", &self.0.name).field("ttl", &self.0.ttl).finish_non_exhaustive()
    }
}

/// Whoever has the lease. Dropping it gives the lease back; what cannot be given back runs out.
#[must_use = "dropping a leader gives the lease back"]
pub struct Leader {
    term: Arc<Term>,
    keeper: Stop,
    kept: bool,
}

/// The time of one leader.
struct Term {
    shared: Arc<Shared>,
    owner: String,
    token: u64,
    /// When the last question was sent that was answered with yes.
    asked: Mutex<Moment>,
    lost: AtomicBool,
}

impl Leader {
    /// Returns the fencing token: higher than that of every leader before, also where Redis has lost its data
    /// (unless the clock of the new one is behind). Whoever the leader writes to should refuse a token that is
    /// lower than one it has seen, as a stream does ([`super::Publisher::fenced`]).
    #[must_use]
    pub fn token(&self) -> u64 {
        self.term.token
    }

    /// True while no other can be the leader, by the clocks of this machine, with a tenth of the time as
    /// reserve. Asks nobody. Work that takes long needs a look at it again and again.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.term.is_valid()
    }

    /// Renews the lease: it is valid for its whole time again.
    ///
    /// # Errors
    ///
    /// `LeaseLost` when it has run out or Redis no longer knows it; then it stays lost. `Unavailable` when
    /// Redis cannot be reached: [`Leader::is_valid`] says how things stand.
    pub fn renew(&self) -> Result<()> {
        self.term.renew()
    }

    /// Renews the lease from now on, by a thread of its own, as often as needed, until it is lost: what fails is
    /// tried again. Whether that works is to be seen by [`Leader::is_valid`]. Calling it twice does nothing.
    ///
    /// # Errors
    ///
    /// `Io` when no thread can be started.
    pub fn keep(&mut self) -> Result<()> {
        if self.kept {
            return Ok(());
        }
        let (term, stop) = (Arc::clone(&self.term), self.keeper.clone());
        thread::Builder::new()
            .name("tw-lease".to_owned())
            .spawn(move || keep(&term, &stop))
            .map_err(|e| Error::new(ErrorKind::Io, format!("cannot start a thread: {e}")).with_source(e))?;
        self.kept = true;
        Ok(())
    }

    /// Gives the lease back, so that another can have it at once.
    pub fn release(self) {
        drop(self);
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        // Not waited for: it may be waiting for Redis, and what it renews after this is refused.
        self.keeper.stop();
        self.term.release();
    }
}

impl fmt::Debug for Leader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leader")
            .field("lease", &self.term.shared.name)
            .field("token", &self.term.token)
            .field("is_valid", &self.is_valid())
            .finish_non_exhaustive()
    }
}

impl Term {
    fn asked(&self) -> Moment {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_valid(&self) -> bool {
        let ttl = self.shared.ttl;
        !self.lost.load(Ordering::Acquire) && self.asked().elapsed() < ttl - ttl / SAFETY_SHARE
    }

    fn renew(&self) -> Result<()> {
        if self.lost.load(Ordering::Acquire) {
            return Err(self.gone());
        }
        let asked = Moment::now();
        let answer = self.shared.pool.call(|link| self.shared.run(link, "renew", &self.owner))?;
        if answer.first() != Some(&1) {
            self.lost.store(true, Ordering::Release);
            return Err(self.gone());
        }
        let mut last = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        // Two threads may renew at once, and the answers may overtake one another.
        if asked.elapsed() < last.elapsed() {
            *last = asked;
        }
        Ok(())
    }

    fn release(&self) {
        // What has run out is free already.
        if self.lost.swap(true, Ordering::AcqRel) || self.asked().elapsed() > self.shared.ttl {
            return;
        }
        let _ = self.shared.pool.try_call(|link| self.shared.run(link, "release", &self.owner));
    }

    fn gone(&self) -> Error {
        let name = escape(self.shared.name.as_bytes());
        Error::new(ErrorKind::LeaseLost, format!("the lease `{name}` is no longer ours"))
            .with_hint("stop what only the leader may do, and acquire it again")
    }
}

fn keep(term: &Term, stop: &Stop) {
    let every = term.shared.ttl / RENEWALS_PER_LEASE;
    let mut wait = every;
    loop {
        stop.sleep(wait);
        if stop.is_stopped() {
            return;
        }
        wait = match term.renew() {
            Ok(()) => every,
            Err(error) if error.kind() == ErrorKind::Unavailable => every / TRIES_PER_RENEWAL,
            Err(error) => {
                if stop.is_stopped() {
                    return;
                }
                tracing::warn!(%error, "a lease was not renewed");
                let is_final = [ErrorKind::LeaseLost, ErrorKind::Forked, ErrorKind::InvalidArgument];
                // Anything else may pass: a user that was changed, a key, an answer that makes no sense.
                if is_final.contains(&error.kind()) || !term.is_valid() {
                    return;
                }
                every / TRIES_PER_RENEWAL
            }
        };
    }
}

impl Shared {
    fn ask(&self, owner: &str) -> Result<(Answer, Moment)> {
        let asked = Moment::now();
        let answer = self.pool.call(|link| self.run(link, "acquire", owner))?;
        let number = u64::try_from(answer.get(1).copied().unwrap_or(0)).unwrap_or(0);
        match answer.first() {
            Some(1) => Ok((Answer::Granted(number), asked)),
            Some(3) => {
                let (name, ours) = (escape(self.name.as_bytes()), self.ttl);
                let theirs = Duration::from_micros(number);
                Err(Error::invalid(format!("the lease `{name}` is held for {theirs:?}, not for {ours:?}"))
                    .with_hint("give all machines the same time"))
            }
            _ => Ok((Answer::Wait(Duration::from_micros(number)), asked)),
        }
    }

    fn run(&self, link: &mut Link, action: &str, owner: &str) -> redis::RedisResult<Vec<i64>> {
        let mut script = self.pool.scripts().lease.prepare_invoke();
        for key in &self.keys {
            script.key(key.as_str());
        }
        script.arg(link.run()).arg(action).arg(owner).arg(micros(self.ttl));
        script.invoke(link.connection())
    }
}
