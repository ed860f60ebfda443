//! What uploads share: the pause that a storage asks for, the memory for content, the bandwidth; and the waits
//! between attempts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::scan::CancelToken;

use super::options::MirrorOptions;
use super::storage::{StorageError, StorageFault, StorageResult};

/// How often a waiting thread looks whether it was cancelled.
const LOOK: Duration = Duration::from_millis(50);
/// The first pause after a storage said that it is too much, where it does not say for how long.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// The longest pause that a storage may ask for.
const ASKED_MAX: Duration = Duration::from_secs(600);

/// What is shared.
#[derive(Debug)]
pub(super) struct Pace {
    state: Mutex<State>,
    freed: Condvar,
    memory: u64,
    /// Bytes a second; 0 for no limit.
    bandwidth: u64,
    /// Of the caller, and of the mirror.
    cancel: [CancelToken; 2],
    /// No further request is made: who waits to make one need not. Those under way go on.
    given_up: AtomicBool,
}

#[derive(Debug)]
struct State {
    used: u64,
    /// Nothing is sent before.
    resume: Option<Instant>,
    /// The next pause, when nothing has worked since the last one.
    pause: Duration,
    /// When everything that was let through so far has been sent at the given rate.
    sent: Instant,
}

impl Pace {
    pub(super) fn new(options: &MirrorOptions, cancel: [CancelToken; 2]) -> Self {
        let state = State { used: 0, resume: None, pause: PAUSE, sent: Instant::now() };
        Self {
            state: Mutex::new(state),
            freed: Condvar::new(),
            memory: options.memory_bytes,
            bandwidth: options.bandwidth_bytes_per_s,
            cancel,
            given_up: AtomicBool::new(false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails once it was cancelled.
    pub(super) fn check(&self) -> StorageResult<()> {
        if self.cancel.iter().any(CancelToken::is_cancelled) {
            return Err(StorageError::new(StorageFault::Cancelled, "it was cancelled"));
        }
        Ok(())
    }

    /// Ends the waits before requests, those that begin later too, or lets them be again.
    pub(super) fn give_up(&self, yes: bool) {
        self.given_up.store(yes, Ordering::Release);
    }

    /// Fails once it was cancelled, or no further request is made.
    pub(super) fn check_next(&self) -> StorageResult<()> {
        self.check()?;
        if self.given_up.load(Ordering::Acquire) {
            return Err(StorageError::new(StorageFault::Cancelled, "it was given up"));
        }
        Ok(())
    }

    /// Waits for `len` bytes of memory, and for their turn on the line. More than there is waits for all of it.
    pub(super) fn take(self: &Arc<Self>, len: u64) -> StorageResult<Loan> {
        let len = len.min(self.memory);
        let mut state = self.lock();
        while state.used > 0 && state.used.saturating_add(len) > self.memory {
            self.check()?;
            state = self.freed.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.used = state.used.saturating_add(len);
        let now = Instant::now();
        let mut until = now;
        if self.bandwidth > 0 {
            // An idle second saves up nothing: the rate holds in each.
            let begin = state.sent.max(now);
            until = begin;
            state.sent = begin + Duration::from_secs_f64(len as f64 / self.bandwidth as f64);
        }
        drop(state);
        let loan = Loan { pace: Arc::clone(self), len };
        self.wait_until(until, Self::check)?;
        Ok(loan)
    }

    /// Waits while a storage asked for a pause.
    pub(super) fn wait_turn(&self) -> StorageResult<()> {
        self.check_next()?;
        loop {
            // The lock is given back before the wait: the pause may be put off meanwhile, and others have to tell
            // how their requests ended.
            let resume = self.lock().resume.filter(|resume| *resume > Instant::now());
            let Some(resume) = resume else { return Ok(()) };
            self.wait_until(resume, Self::check_next)?;
        }
    }

    /// Everybody pauses.
    pub(super) fn throttled(&self, retry_after: Option<Duration>) {
        let mut state = self.lock();
        let now = Instant::now();
        // No time at all is no leave to ask at once.
        let asked = retry_after.unwrap_or_default().min(ASKED_MAX);
        if state.resume.is_some_and(|resume| resume > now) && asked.is_zero() {
            // Others who were under way are told the same.
            return;
        }
        // Never sooner than it asked for, nor all at the same moment.
        let pause = if asked.is_zero() { state.pause } else { asked };
        state.pause = (state.pause * 2).min(PAUSE_MAX);
        let resume = now + pause.mul_f64(1.0 + share() / 2.0);
        state.resume = Some(state.resume.map_or(resume, |before| before.max(resume)));
    }

    /// It works again.
    pub(super) fn worked(&self) {
        let mut state = self.lock();
        state.pause = PAUSE;
        if state.resume.is_some_and(|resume| resume <= Instant::now()) {
            state.resume = None;
        }
    }

    /// Waits before the next request.
    pub(super) fn wait(&self, time: Duration) -> StorageResult<()> {
        self.wait_until(Instant::now() + time, Self::check_next)
    }

    fn wait_until(&self, until: Instant, check: fn(&Self) -> StorageResult<()>) -> StorageResult<()> {
        loop {
            check(self)?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(LOOK));
        }
    }
}

/// Memory that is given back when it is dropped.
#[derive(Debug)]
pub(super) struct Loan {
    pace: Arc<Pace>,
    len: u64,
}

impl Loan {
    /// The bytes hold the loan for as long as anybody has them.
    pub(super) fn bytes(self, content: Vec<u8>) -> Bytes {
        struct Lent(Vec<u8>, #[expect(dead_code, reason = "given back with the bytes")] Loan);
        impl AsRef<[u8]> for Lent {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        Bytes::from_owner(Lent(content, self))
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        let mut state = self.pace.lock();
        state.used = state.used.saturating_sub(self.len);
        self.pace.freed.notify_all();
    }
}

/// The wait before attempt `attempt` (from 2 on): doubled each time, up to a bound, and half of it by chance.
pub(super) fn backoff(options: &MirrorOptions, attempt: u32) -> Duration {
    let doublings = attempt.saturating_sub(2).min(30);
    let ms = options.backoff_ms.saturating_mul(1 << doublings).min(options.backoff_max_ms);
    spread(Duration::from_millis(ms))
}

/// From half of it to one and a half, by chance, so that those who failed together do not come back together.
fn spread(time: Duration) -> Duration {
    time.mul_f64(0.5 + share())
}

/// A number by chance, from 0 up to 1.
fn share() -> f64 {
    use std::hash::{BuildHasher, Hasher};
    let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
    (random >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_its_bound() {
        let options =
            MirrorOptions::new("r").retry(9, Duration::from_millis(100), Duration::from_millis(1_000));
        for (attempt, ms) in [(2, 100), (3, 200), (4, 400), (5, 800), (6, 1_000), (90, 1_000)] {
            for _ in 0..20 {
                let wait = backoff(&options, attempt).as_millis();
                assert!((ms / 2..=ms * 3 / 2).contains(&wait), "{attempt}: {wait}");
            }
        }
    }

    /// Whoever waited had the lock: requests under way could not tell that they had worked before the pause was over,
    /// and each that was told to slow down then began a longer pause of its own.
    #[test]
    fn who_waits_for_its_turn_holds_nobody_up() {
        let cancel = CancelToken::new();
        let pace = Arc::new(Pace::new(&MirrorOptions::new("r"), [cancel.clone(), CancelToken::new()]));
        pace.throttled(Some(Duration::from_secs(5)));
        let resume = pace.lock().resume;
        let waits = {
            let pace = Arc::clone(&pace);
            std::thread::spawn(move || pace.wait_turn())
        };
        std::thread::sleep(LOOK * 3);
        pace.worked();
        pace.throttled(None);
        assert!(!waits.is_finished(), "who waited had the lock until the pause was over");
        assert_eq!(pace.lock().resume, resume, "the pause is the same for all");
        cancel.cancel();
        assert_eq!(waits.join().unwrap().map_err(|error| error.fault), Err(StorageFault::Cancelled));
    }

    #[test]
    fn who_waits_to_ask_is_woken_when_nobody_asks_any_more() {
        let pace = Arc::new(Pace::new(&MirrorOptions::new("r"), [CancelToken::new(), CancelToken::new()]));
        pace.throttled(Some(ASKED_MAX));
        let waits = |wait: fn(&Pace) -> StorageResult<()>| {
            let pace = Arc::clone(&pace);
            std::thread::spawn(move || wait(&pace).map_err(|error| error.fault))
        };
        let (turn, attempt) = (waits(Pace::wait_turn), waits(|pace| pace.wait(ASKED_MAX)));
        pace.give_up(true);
        for waits in [turn, attempt] {
            assert_eq!(waits.join().unwrap(), Err(StorageFault::Cancelled));
        }
        assert_eq!(pace.check(), Ok(()), "what is under way goes on");
        assert!(pace.take(1).is_ok(), "and reads on");
        pace.give_up(false);
        assert_eq!(pace.wait(Duration::ZERO), Ok(()));
    }

    #[test]
    fn memory_is_lent_up_to_its_limit_and_comes_back_with_the_bytes() {
        let options = MirrorOptions::new("r").memory_bytes(10);
        let cancel = CancelToken::new();
        let pace = Arc::new(Pace::new(&options, [cancel.clone(), CancelToken::new()]));
        let first = pace.take(6).unwrap().bytes(vec![1; 6]);
        let copy = first.clone();
        drop(first);
        let waits = {
            let pace = Arc::clone(&pace);
            std::thread::spawn(move || pace.take(6).map(drop))
        };
        // More than there is gets all of it, once nobody else has any.
        assert_eq!(pace.lock().used, 6);
        drop(copy);
        waits.join().unwrap().unwrap();
        let all = pace.take(1_000).unwrap();
        assert_eq!(pace.lock().used, 10);
        cancel.cancel();
        assert_eq!(pace.take(1).map(drop).map_err(|e| e.fault), Err(StorageFault::Cancelled));
        drop(all);
        assert_eq!(pace.lock().used, 0);
    }
}
