//! The rate limiter by itself, in this process: what a request costs while nobody has to wait, and how much of a limit is used while
//! somebody always does.

use std::thread;
use std::time::{Duration, Instant};

use treewarden::{RateLimit, RateLimiter};

use crate::Result;
use crate::measure::{Record, nanos_per_call, record};

const CALLS: u64 = 2_000_000;
/// With the highest limit there is: more than any thread asks for, and short enough that old requests leave the window all the time.
const FAR_WINDOW: Duration = Duration::from_millis(20);

pub(super) const LIMIT: u32 = 35;
pub(super) const WINDOW: Duration = Duration::from_secs(1);
/// A whole number of windows.
const TIME: Duration = Duration::from_secs(5);

/// Acquire and done, one thread, nobody waits.
pub(super) fn far_away() -> Result<Record> {
    let limit = RateLimit::new(RateLimit::LIMIT_MAX, FAR_WINDOW).pacing(false);
    let limiter = RateLimiter::new(&limit)?;
    let mut outcome: Result<()> = Ok(());
    let nanos = nanos_per_call(CALLS, || match limiter.acquire(1, Some(Duration::ZERO)) {
        Ok(Some(permit)) => permit.done(),
        Ok(None) => outcome = Err("the limit that is meant to be far away was reached".into()),
        Err(error) => outcome = Err(error.into()),
    });
    outcome?;
    Ok(record([("seconds", nanos * CALLS as f64 / 1e9), ("ns", nanos)]))
}

/// How much of the limit threads get that always wait for the next request and have its answer at once.
pub(super) fn share(threads: usize) -> Result<Record> {
    let limiter = RateLimiter::new(&RateLimit::new(LIMIT, WINDOW))?;
    let start = Instant::now();
    let granted = thread::scope(|scope| -> Result<u64> {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| grants(&limiter, start))).collect();
        let mut granted = 0;
        for worker in workers {
            granted += worker.join().map_err(|_| "a thread that waits for the limiter panicked")??;
        }
        Ok(granted)
    })?;
    let most = f64::from(LIMIT) * TIME.as_secs_f64() / WINDOW.as_secs_f64();
    let percent = granted as f64 * 100.0 / most;
    Ok(record([("seconds", start.elapsed().as_secs_f64()), ("percent", percent)]))
}

/// Requests of one thread until the time is over.
fn grants(limiter: &RateLimiter, start: Instant) -> Result<u64> {
    let mut granted = 0;
    loop {
        let left = TIME.saturating_sub(start.elapsed());
        let Some(permit) = limiter.acquire(1, Some(left))? else { return Ok(granted) };
        permit.done();
        // The last one may come when it is over.
        if start.elapsed() >= TIME {
            return Ok(granted);
        }
        granted += 1;
    }
}
