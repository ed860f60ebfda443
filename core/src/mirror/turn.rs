//! Whose turn it is: one run or audit of a mirror at a time. Who waits can be called off.

use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::Result;

/// How often who waits looks whether it still should.
const LOOK: Duration = Duration::from_millis(20);

/// What only the one whose turn it is may touch.
#[derive(Debug)]
pub(super) struct Gate<T> {
    free: Mutex<Option<T>>,
    given_back: Condvar,
}

impl<T> Gate<T> {
    pub(super) fn new(value: T) -> Self {
        Self { free: Mutex::new(Some(value)), given_back: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Option<T>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the turn, for as long as `check` lets it.
    pub(super) fn take(&self, check: impl Fn() -> Result<()>) -> Result<Turn<'_, T>> {
        let mut free = self.lock();
        loop {
            if let Some(value) = free.take() {
                return Ok(Turn { gate: self, value: Some(value) });
            }
            drop(free);
            // Not under the lock: whoever has the turn can give it back meanwhile.
            check()?;
            free = self.lock();
            if free.is_none() {
                free = self.given_back.wait_timeout(free, LOOK).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }

    /// Waits until nobody has it.
    pub(super) fn wait_free(&self) {
        let mut free = self.lock();
        while free.is_none() {
            free = self.given_back.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A turn. It is over when this is dropped.
pub(super) struct Turn<'a, T> {
    gate: &'a Gate<T>,
    /// Empty only while it is dropped.
    value: Option<T>,
}

impl<T> Deref for Turn<'_, T> {
    type Target = T;

    #[expect(clippy::unreachable, reason = "it is there until it is dropped")]
    fn deref(&self) -> &T {
        self.value.as_ref().unwrap_or_else(|| unreachable!())
    }
}

impl<T> DerefMut for Turn<'_, T> {
    #[expect(clippy::unreachable, reason = "it is there until it is dropped")]
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().unwrap_or_else(|| unreachable!())
    }
}

impl<T> Drop for Turn<'_, T> {
    fn drop(&mut self) {
        *self.gate.lock() = self.value.take();
        self.gate.given_back.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::error::{Error, ErrorKind};

    #[test]
    fn turns_come_one_after_another_and_a_wait_can_be_called_off() {
        let gate = Arc::new(Gate::new(0_u32));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let gate = Arc::clone(&gate);
                std::thread::spawn(move || {
                    for _ in 0..100 {
                        let mut turn = gate.take(|| Ok(())).unwrap();
                        let before = *turn;
                        std::thread::yield_now();
                        *turn = before + 1;
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let turn = gate.take(|| Ok(())).unwrap();
        assert_eq!(*turn, 800);
        let stop = || Err(Error::new(ErrorKind::Cancelled, "called off"));
        assert_eq!(gate.take(stop).map(|turn| *turn).map_err(|e| e.kind()), Err(ErrorKind::Cancelled));
        let waited = Arc::new(AtomicBool::new(false));
        let thread = {
            let (gate, waited) = (Arc::clone(&gate), Arc::clone(&waited));
            std::thread::spawn(move || {
                gate.wait_free();
                waited.store(true, Ordering::SeqCst);
            })
        };
        assert!(!waited.load(Ordering::SeqCst));
        drop(turn);
        thread.join().unwrap();
        assert!(gate.take(stop).is_ok(), "a free turn is given without a look");
    }
}
