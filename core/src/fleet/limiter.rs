//! A limit of requests over all machines: never more than `limit` in any rolling window.
//!
//! Invariant: the moment at which a request may arrive lies between the grant of its permit and its end, and
//! the permit counts from the grant until one window after the end. What ends without a word (a killed worker,
//! a lost connection) counts as if it went on for as long as a permit may be held. When in doubt, wait.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};
use crate::path::{check_name, escape};
use crate::signal::wait_until;
use crate::work::RateLimit;

use super::connection::{Link, Pool};
use super::wait::{Doubts, LOOK_AGAIN, Moment, SLEEP_MAX, may_wait};

/// The longest time between the grant of a permit and the end of its request, unless told otherwise.
pub(super) const HOLD_DEFAULT: Duration = Duration::from_secs(60);
const HOLD_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Nobody is made to wait for longer, whatever a server says.
const PAUSE_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Grants at most `limit` requests in any rolling window, over all machines that ask for the same name.
///
/// Clones share one; any number of threads may use it at once, in no particular order. Without Redis nothing
/// is granted. After a restart or failover of Redis, when its first replica comes or comes back after an hour, or
/// when its data was lost, and on a Redis that nobody has used before, nothing is granted for one window and the
/// longest time that a permit may be held: what was granted before is not known.
///
/// A window is counted one thousandth and a millisecond longer than asked for, because the clocks of Redis and
/// of whoever counts the requests do not run equally fast.
#[derive(Clone)]
pub struct SharedLimiter(Arc<Shared>);

struct Shared {
    pool: Arc<Pool>,
    name: String,
    rate: RateLimit,
    hold: Duration,
    /// Server, state, permits.
    keys: [String; 3],
    window_us: u64,
    gap_us: u64,
    line: Mutex<Line>,
    wake: Condvar,
    /// Permits that may have been granted to nobody.
    doubts: Doubts,
}

/// The calls of this process that wait.
#[derive(Default)]
struct Line {
    waiting: usize,
    interrupts: u64,
    interrupt_next: bool,
    /// One asks for all: the others would get the same answer.
    asking: bool,
    /// Before this there is no use in asking.
    not_before: Option<Instant>,
    why: Option<Why>,
}

/// Why nothing is granted.
#[derive(Debug, Clone, Copy)]
enum Why {
    Full(Instant),
    Paced(Instant),
    Paused(Instant),
    /// Known since, and closed until.
    New(Instant, Instant),
    Lost(Instant),
    Unreachable,
}

/// What Redis has answered.
enum Answer {
    Granted,
    Wait(Why, Duration),
}

impl SharedLimiter {
    pub(super) fn new(pool: &Arc<Pool>, name: &str, rate: &RateLimit, hold: Duration) -> Result<Self> {
        check_name("limiter", name)?;
        rate.check()?;
        if hold < Duration::from_millis(1) || hold > HOLD_MAX {
            return Err(Error::invalid(format!("a permit cannot be held for {hold:?}"))
                .with_hint("1 ms to 1 day are possible"));
        }
        let window_ms = rate.window_ms();
        let window_us = window_ms.saturating_mul(1_001).saturating_add(1_000);
        let gap_us = if rate.is_paced() { window_us / u64::from(rate.limit().max(1)) } else { 0 };
        Ok(Self(Arc::new(Shared {
            keys: [pool.server_key(), pool.key("limiter", name), pool.key("permits", name)],
            pool: Arc::clone(pool),
            name: name.to_owned(),
            rate: rate.clone(),
            hold,
            window_us,
            gap_us,
            line: Mutex::default(),
            wake: Condvar::new(),
            doubts: Doubts::default(),
        })))
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns the rate that was asked for.
    #[must_use]
    pub fn rate(&self) -> &RateLimit {
        &self.0.rate
    }

    /// Waits until a request may be sent, at most for `timeout` or without end. `None` on a timeout and on
    /// [`SharedLimiter::interrupt`]; [`SharedLimiter::waiting`] says why. A Redis that cannot be reached is
    /// waited for like anything else. A call may take longer by the timeouts of the connection.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when other machines use the name with another rate or time to hold,
    /// `PermissionDenied` and `Unsupported` as [`super::Fleet::connect`], `Forked`.
    pub fn acquire(&self, timeout: Option<Duration>) -> Result<Option<Permit>> {
        let shared = &self.0;
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let may_wait = may_wait(timeout);
        let mut line = shared.lock();
        if may_wait && std::mem::take(&mut line.interrupt_next) {
            return Ok(None);
        }
        let seen = line.interrupts;
        line.waiting += usize::from(may_wait);
        // One name for all tries, and for the next call: a grant whose answer was lost is found again.
        let (id, mut is_doubtful) = shared.doubts.take();
        let ended = loop {
            if may_wait && line.interrupts != seen {
                break Ok(None);
            }
            let now = Instant::now();
            let not_before = line.not_before.filter(|at| *at > now);
            if line.asking || not_before.is_some() {
                if deadline.is_some_and(|deadline| deadline <= now) {
                    break Ok(None);
                }
                let latest = now.checked_add(SLEEP_MAX);
                let until = [deadline, not_before, latest].into_iter().flatten().min();
                line = shared.sleep(line, until);
                continue;
            }
            line.asking = true;
            drop(line);
            let asking = Asking(shared);
            let asked = Moment::now();
            let answer = shared.ask(&id);
            drop(asking);
            line = shared.lock();
            match answer {
                Ok(Answer::Granted) => {
                    (line.why, line.not_before) = (None, None);
                    break Ok(Some(asked));
                }
                Ok(Answer::Wait(why, wait)) => {
                    line.why = Some(why);
                    line.not_before = Instant::now().checked_add(wait.min(SLEEP_MAX));
                }
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    is_doubtful = true;
                    line.why = Some(Why::Unreachable);
                    line.not_before = Instant::now().checked_add(LOOK_AGAIN);
                }
                Err(error) => break Err(error),
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                break Ok(None);
            }
        };
        line.waiting -= usize::from(may_wait);
        drop(line);
        if let Ok(Some(asked)) = ended {
            return Ok(Some(self.permit(id, asked)));
        }
        // It may have been granted, and the answer lost. What gives it back may be read later than whatever is sent
        // after that: an id for which that was sent is never used again.
        if is_doubtful && shared.pool.rests() {
            shared.doubts.keep(id);
        } else if is_doubtful {
            shared.end(&id, "unused");
        }
        ended.map(|_| None)
    }

    /// Asks once, without waiting for a turn.
    ///
    /// # Errors
    ///
    /// As [`SharedLimiter::acquire`], and `Unavailable` when Redis cannot be reached.
    pub fn try_acquire(&self) -> Result<Option<Permit>> {
        let (id, is_doubtful) = self.0.doubts.take();
        let asked = Moment::now();
        match self.0.ask(&id) {
            Ok(Answer::Granted) => Ok(Some(self.permit(id, asked))),
            Ok(Answer::Wait(why, _)) => {
                self.0.lock().why = Some(why);
                Ok(None)
            }
            Err(error) => {
                if is_doubtful || error.kind() == ErrorKind::Unavailable {
                    self.0.doubts.keep(id);
                }
                Err(error)
            }
        }
    }

    /// Says for people why the last call did not get a permit, or why calls wait now: `all 35 permits of the
    /// last 10 s are used; next in 1.2 s`, or that Redis cannot be reached. `None` when the last was granted.
    #[must_use]
    pub fn waiting(&self) -> Option<String> {
        let why = self.0.lock().why?;
        let in_seconds = |at: Instant| {
            format!("next in {:.1} s", at.saturating_duration_since(Instant::now()).as_secs_f64())
        };
        let window = Duration::from_millis(self.0.rate.window_ms()).as_secs_f64();
        Some(match why {
            Why::Full(at) => {
                let limit = self.0.rate.limit();
                format!("all {limit} permits of the last {window} s are used; {}", in_seconds(at))
            }
            Why::Paced(at) => format!("requests are spread evenly; {}", in_seconds(at)),
            Why::Paused(at) => format!("a server has asked for a pause; {}", in_seconds(at)),
            Why::New(since, at) => {
                let since = since.elapsed().as_secs_f64();
                format!(
                    "this Redis is new, or was restarted or replaced, {since:.1} s ago: waiting until all that \
                     may have been granted before is over; {}",
                    in_seconds(at)
                )
            }
            Why::Lost(at) => format!(
                "permits were lost, or the window has grown: waiting until all that may have been granted \
                 before is over; {}",
                in_seconds(at)
            ),
            Why::Unreachable => {
                self.0.pool.unreachable().unwrap_or_else(|| "Redis could not be reached".to_owned())
            }
        })
    }

    /// Makes all calls of [`SharedLimiter::acquire`] that wait in this process return `None`; if none waits,
    /// the next that may: a call with a timeout of zero does not. Never blocks for long.
    pub fn interrupt(&self) {
        let mut line = self.0.lock();
        if line.waiting == 0 {
            line.interrupt_next = true;
        } else {
            line.interrupts += 1;
            self.0.wake.notify_all();
        }
    }

    /// Takes in that a server has refused a request because there were too many (HTTP 429, or 503 with a
    /// `Retry-After`): no machine is granted anything for `retry_after` (default: one window; at most seven
    /// days), or for as long as an earlier report has asked for.
    ///
    /// # Errors
    ///
    /// `Unavailable` when Redis cannot be told, and as [`SharedLimiter::acquire`].
    pub fn throttled(&self, retry_after: Option<Duration>) -> Result<()> {
        let pause = retry_after.unwrap_or(Duration::from_millis(self.0.rate.window_ms())).min(PAUSE_MAX);
        self.0.command("pause", "", micros(pause)).map(drop)
    }

    /// Makes this rate, and this time to hold a permit, count for all machines from now on. Those that use
    /// another get `InvalidArgument` until they are told the new one. A longer window or a longer time to hold
    /// begins with a wait, because what no longer counted may count again.
    ///
    /// # Errors
    ///
    /// As [`SharedLimiter::throttled`].
    pub fn enforce(&self) -> Result<()> {
        self.0.command("enforce", "", 0).map(drop)
    }

    fn permit(&self, id: String, asked: Moment) -> Permit {
        Permit { shared: Arc::clone(&self.0), id, asked, is_unused: false }
    }
}

impl fmt::Debug for SharedLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedLimiter")
            .field("name", &self.0.name)
            .field("rate", &self.0.rate)
            .field("hold_max", &self.0.hold)
            .finish_non_exhaustive()
    }
}

/// The right to send one request. Hold it until the answer has come, or until it is certain that none will,
/// and not for longer than the limiter allows. Dropping it says that the answer has come; that talks to Redis,
/// and gives up quietly when it cannot: then the permit counts as if it were held to the end.
#[must_use = "dropping a permit says that the answer has come"]
pub struct Permit {
    shared: Arc<Shared>,
    id: String,
    asked: Moment,
    is_unused: bool,
}

impl Permit {
    /// Says that the answer has come. The request counts for one more window from now.
    pub fn done(self) {
        drop(self);
    }

    /// Says that nothing was sent and nothing will be: it does not count any more.
    pub fn unused(mut self) {
        self.is_unused = true;
    }

    /// Says that the answer was a refusal because there were too many requests, as
    /// [`SharedLimiter::throttled`].
    ///
    /// # Errors
    ///
    /// As [`SharedLimiter::throttled`]; the permit ends all the same.
    pub fn throttled(self, retry_after: Option<Duration>) -> Result<()> {
        SharedLimiter(Arc::clone(&self.shared)).throttled(retry_after)
    }

    /// Returns how long the request may still go on. Zero when it has been held for too long: then the limit is
    /// no longer kept. Counted from before the permit was asked for, so it errs on the safe side.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.shared.hold.saturating_sub(self.asked.elapsed())
    }

    /// True while the request may go on.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        !self.left().is_zero()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.is_unused && !self.is_valid() {
            let limiter = escape(self.shared.name.as_bytes());
            tracing::warn!(%limiter, "a permit was held for too long; the limit may have been exceeded");
        }
        self.shared.end(&self.id, if self.is_unused { "unused" } else { "done" });
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("left", &self.left()).finish_non_exhaustive()
    }
}

/// Lets the others ask, also when asking has panicked.
struct Asking<'s>(&'s Shared);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.lock().asking = false;
        self.0.wake.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps until it is woken, or until then.
    fn sleep<'g>(&'g self, line: MutexGuard<'g, Line>, until: Option<Instant>) -> MutexGuard<'g, Line> {
        wait_until(&self.wake, line, until).unwrap_or_else(|| self.lock())
    }

    fn ask(&self, id: &str) -> Result<Answer> {
        let answer = self.command("acquire", id, 0)?;
        let number = |at: usize| u64::try_from(answer.get(at).copied().unwrap_or(0)).unwrap_or(0);
        let now = Instant::now();
        let wait = Duration::from_micros(number(1));
        let at = now.checked_add(wait).unwrap_or(now);
        let why = match answer.first() {
            Some(0) => return Ok(Answer::Granted),
            Some(1) => Why::Full(at),
            Some(2) => Why::Paced(at),
            Some(3) => Why::Paused(at),
            Some(4) => Why::New(now.checked_sub(Duration::from_micros(number(2))).unwrap_or(now), at),
            Some(5) => return Err(self.mismatch(number(1), number(2), number(3))),
            _ => Why::Lost(at),
        };
        Ok(Answer::Wait(why, wait))
    }

    fn mismatch(&self, limit: u64, window_us: u64, hold_us: u64) -> Error {
        let name = escape(self.name.as_bytes());
        // The other way round from how it is counted.
        let window_ms = window_us.saturating_sub(1_000) / 1_001;
        let hold_ms = hold_us / 1_000;
        Error::invalid(format!(
            "the limiter `{name}` is in use with another rate: {limit} in {window_ms} ms, permits held for up to \
             {hold_ms} ms"
        ))
        .with_hint("give all machines the same limit, window, pacing and time to hold, or call `enforce`")
    }

    /// Says how a permit has ended; true when Redis has heard it. Else it counts for longer, never for less.
    fn end(&self, id: &str, action: &str) -> bool {
        self.pool.try_call(|link| self.run(link, action, id, 0)).is_some()
    }

    fn command(&self, action: &str, id: &str, pause_us: u64) -> Result<Vec<i64>> {
        self.pool.call(|link| self.run(link, action, id, pause_us))
    }

    fn run(&self, link: &mut Link, action: &str, id: &str, pause_us: u64) -> redis::RedisResult<Vec<i64>> {
        let mut script = self.pool.scripts().limiter.prepare_invoke();
        for key in &self.keys {
            script.key(key.as_str());
        }
        script.arg(link.run()).arg(action).arg(id).arg(self.rate.limit()).arg(self.window_us);
        script.arg(micros(self.hold)).arg(self.gap_us).arg(pause_us);
        script.invoke(link.connection())
    }
}

/// Whole microseconds; parts are rounded up.
pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000)).unwrap_or(u64::MAX)
}
