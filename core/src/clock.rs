//! The one source of wall-clock time: the system's, or one that a test moves by hand.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Wall-clock time in nanoseconds since 1970-01-01 UTC. Cheap to clone; clones share one clock.
#[derive(Debug, Clone, Default)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl Clock {
    /// Returns the clock of the system.
    #[must_use]
    pub fn real() -> Self {
        Self(None)
    }

    /// Returns a clock that stands still until it is moved.
    #[must_use]
    pub fn manual(start_ns: i64) -> Self {
        Self(Some(Arc::new(AtomicI64::new(start_ns))))
    }

    /// Returns the time. Before 1970 and after 2262 it saturates.
    #[must_use]
    pub fn now_ns(&self) -> i64 {
        match &self.0 {
            Some(now) => now.load(Ordering::SeqCst),
            None => match SystemTime::now().duration_since(UNIX_EPOCH) {
                Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
                Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |n| -n),
            },
        }
    }

    /// Returns nanoseconds on a clock that is never set, for waiting; of a manual clock, its time.
    pub(crate) fn mono_ns(&self) -> i64 {
        static START: OnceLock<Instant> = OnceLock::new();
        match &self.0 {
            Some(now) => now.load(Ordering::SeqCst),
            None => i64::try_from(START.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(i64::MAX),
        }
    }

    pub(crate) fn is_manual(&self) -> bool {
        self.0.is_some()
    }

    /// Moves a manual clock forward; the system's clock does not listen.
    pub fn advance_ms(&self, ms: u64) {
        if let Some(now) = &self.0 {
            let step = i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000_000);
            now.fetch_add(step, Ordering::SeqCst);
        }
    }

    /// Sets a manual clock, backwards too; the system's clock does not listen.
    pub fn set_ns(&self, now_ns: i64) {
        if let Some(now) = &self.0 {
            now.store(now_ns, Ordering::SeqCst);
        }
    }
}
