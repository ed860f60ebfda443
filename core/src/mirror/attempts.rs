//! How often a request is made, and when a storage is given up: what all requests of a run share.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::pace::{Pace, backoff};
use super::shared::Shared;
use super::storage::{StorageError, StorageFault, StorageResult};

/// Answers that ask to slow down are forgiven so many times as often as failures.
const PATIENCE: u32 = 4;
/// Refusals in a row after which the credentials are taken to have expired.
const DENIED_MAX: u32 = 3;
/// Requests in a row that failed as often as they are tried, after which a storage is taken to be away.
const FAILED_MAX: u32 = 20;

/// The requests of a run, and how they fare.
pub(super) struct Attempts<'a> {
    shared: &'a Shared,
    pub(super) pace: Arc<Pace>,
    retries: AtomicU64,
    /// Why no further request is made.
    reason: Mutex<Option<StorageError>>,
    /// Something has worked in this run.
    succeeded: AtomicBool,
    /// Requests in a row that failed for good.
    in_a_row: AtomicU32,
}

impl<'a> Attempts<'a> {
    pub(super) fn new(shared: &'a Shared, pace: &Arc<Pace>) -> Self {
        pace.give_up(false);
        Self {
            shared,
            pace: Arc::clone(pace),
            retries: AtomicU64::new(0),
            reason: Mutex::default(),
            succeeded: AtomicBool::new(false),
            in_a_row: AtomicU32::new(0),
        }
    }

    /// Requests that were repeated.
    pub(super) fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// No further request is made, for this reason, if there was none before; who waits to make one is woken.
    pub(super) fn give_up(&self, reason: &StorageError) {
        let mut known = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        known.get_or_insert_with(|| reason.clone());
        self.pace.give_up(true);
    }

    /// Why they were given up, if they were.
    pub(super) fn reason(&self) -> Option<StorageError> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Requests of another kind may fare better.
    pub(super) fn go_on(&self) {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.pace.give_up(false);
        self.in_a_row.store(0, Ordering::Release);
    }

    /// True when the storage has taken something in this run.
    pub(super) fn has_succeeded(&self) -> bool {
        self.succeeded.load(Ordering::Acquire)
    }

    /// Fails once they were given up.
    pub(super) fn check(&self) -> StorageResult<()> {
        self.pace.check_next()
    }

    /// Tries until it works, it never will, or often enough. A storage that asks to slow down slows everybody.
    pub(super) fn tries<T>(&self, mut once: impl FnMut() -> StorageResult<T>) -> StorageResult<T> {
        let options = self.shared.options();
        let (mut attempts, mut pauses) = (1, 0);
        loop {
            self.pace.wait_turn()?;
            let error = match once() {
                Ok(value) => {
                    self.pace.worked();
                    self.succeeded.store(true, Ordering::Release);
                    self.in_a_row.store(0, Ordering::Release);
                    return Ok(value);
                }
                Err(error) => error,
            };
            match error.fault {
                StorageFault::Throttled(retry_after) => {
                    pauses += 1;
                    // Also when this one is not tried again: the others are.
                    self.pace.throttled(retry_after);
                    if pauses >= options.attempts_max.saturating_mul(PATIENCE) {
                        self.in_a_row.fetch_add(1, Ordering::AcqRel);
                        return Err(error);
                    }
                }
                StorageFault::Transient => {
                    attempts += 1;
                    if attempts > options.attempts_max {
                        self.in_a_row.fetch_add(1, Ordering::AcqRel);
                        return Err(error);
                    }
                    self.pace.wait(backoff(&options, attempts))?;
                }
                StorageFault::Denied => {
                    self.in_a_row.fetch_add(1, Ordering::AcqRel);
                    return Err(error);
                }
                _ => return Err(error),
            }
            self.retries.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// No further request will fare better. One that may not be touched is no reason to give up, and neither are some
    /// that failed among others that did not.
    pub(super) fn is_hopeless(&self, fault: &StorageFault) -> bool {
        let in_a_row = self.in_a_row.load(Ordering::Acquire);
        match fault {
            StorageFault::Misconfigured => true,
            StorageFault::Denied => in_a_row >= DENIED_MAX,
            StorageFault::Transient | StorageFault::Throttled(_) => {
                in_a_row >= FAILED_MAX.max(self.shared.options().uploads_max.saturating_mul(2))
            }
            _ => false,
        }
    }
}

/// True when the same request may fare better the next time.
pub(super) fn may_work(fault: &StorageFault) -> bool {
    matches!(fault, StorageFault::Transient | StorageFault::Throttled(_))
}
