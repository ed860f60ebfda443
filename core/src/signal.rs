//! The signal that wakes those who wait for a commit: threads, and descriptors that a program polls.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use crate::bell::Bell;
use crate::error::Result;

/// Tells followers that something was committed. Clones share one signal.
#[derive(Debug, Clone)]
pub(crate) struct Signal(Arc<Line>);

#[derive(Debug)]
struct Line {
    seq: AtomicU64,
    /// Calls that wait, or are about to, and bells.
    waiters: AtomicUsize,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    bells: Vec<Weak<Bell>>,
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, state: &mut State) {
        state.bells.retain(|bell| match bell.upgrade() {
            Some(bell) => {
                bell.ring();
                true
            }
            None => false,
        });
        self.wake.notify_all();
    }
}

/// Why a wait has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    /// Something was committed: the seq now.
    Seq(u64),
    TimedOut,
    Interrupted,
    Closed,
}

impl Signal {
    pub(crate) fn new(seq: u64) -> Self {
        let (waiters, state) = (AtomicUsize::new(0), Mutex::default());
        Self(Arc::new(Line { seq: AtomicU64::new(seq), waiters, state, wake: Condvar::new() }))
    }

    /// Says that `seq` can be looked at. Nearly free when nobody waits.
    pub(crate) fn raise(&self, seq: u64) {
        // A waiter counts itself and then reads the seq; here it is the other way round. In the one order
        // of these four steps either the waiter sees the seq or it is seen here.
        self.0.seq.fetch_max(seq, Ordering::SeqCst);
        if self.0.waiters.load(Ordering::SeqCst) > 0 {
            // Whoever saw the old seq holds the lock until it sleeps.
            let mut state = self.0.lock();
            self.0.wake(&mut state);
        }
    }

    /// A descriptor that is readable after each commit from now on, and when this is closed.
    pub(crate) fn listen(&self) -> Result<Listener> {
        let bell = Arc::new(Bell::new()?);
        let mut state = self.0.lock();
        self.0.waiters.fetch_add(1, Ordering::SeqCst);
        state.bells.push(Arc::downgrade(&bell));
        // There may be something already.
        bell.ring();
        drop(state);
        Ok(Listener { bell, line: Arc::clone(&self.0) })
    }

    /// Wakes every waiter with `Closed`, and every later one.
    pub(crate) fn close(&self) {
        let mut state = self.0.lock();
        state.closed = true;
        self.0.wake(&mut state);
    }

    /// Waits until a commit after `after` can be looked at. The interrupt must be one of this signal.
    pub(crate) fn wait(&self, after: u64, deadline: Option<Instant>, interrupted: &Interrupt) -> Waited {
        debug_assert!(Arc::ptr_eq(&self.0, &interrupted.0.line), "an interrupt of another signal");
        let line = &*self.0;
        let mut state = line.lock();
        line.waiters.fetch_add(1, Ordering::SeqCst);
        let waited = loop {
            if state.closed {
                break Waited::Closed;
            }
            if interrupted.take() {
                break Waited::Interrupted;
            }
            let seq = line.seq.load(Ordering::SeqCst);
            if seq > after {
                break Waited::Seq(seq);
            }
            match wait_until(&line.wake, state, deadline) {
                Some(woken) => state = woken,
                None => break Waited::TimedOut,
            }
        };
        line.waiters.fetch_sub(1, Ordering::SeqCst);
        waited
    }
}

/// A bell that is rung by a signal.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) bell: Arc<Bell>,
    line: Arc<Line>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.line.waiters.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What interrupts the waits of one follower.
#[derive(Debug)]
pub(crate) struct Interrupt(Arc<Flag>);

/// Raised, it ends one wait.
#[derive(Debug)]
pub(crate) struct Flag {
    raised: AtomicBool,
    line: Arc<Line>,
}

impl Flag {
    pub(crate) fn raise(&self) {
        // Under the lock: whoever is about to wait sees it, or is woken.
        let mut state = self.line.lock();
        self.raised.store(true, Ordering::Release);
        self.line.wake(&mut state);
    }
}

impl Interrupt {
    pub(crate) fn new(signal: &Signal) -> Self {
        Self(Arc::new(Flag { raised: AtomicBool::new(false), line: Arc::clone(&signal.0) }))
    }

    pub(crate) fn flag(&self) -> Arc<Flag> {
        Arc::clone(&self.0)
    }

    fn take(&self) -> bool {
        self.0.raised.swap(false, Ordering::AcqRel)
    }
}

/// Sleeps until it is woken, for a reason or for none. `None` when the deadline has passed before.
pub(crate) fn wait_until<'g, T>(
    wake: &Condvar,
    guard: MutexGuard<'g, T>,
    deadline: Option<Instant>,
) -> Option<MutexGuard<'g, T>> {
    let Some(deadline) = deadline else {
        return Some(wake.wait(guard).unwrap_or_else(PoisonError::into_inner));
    };
    let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
    Some(wake.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0)
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;

    fn soon() -> Option<Instant> {
        Some(Instant::now() + Duration::from_secs(60))
    }

    #[test]
    fn a_signal_answers_each_of_its_ends() {
        let signal = Signal::new(3);
        let interrupt = Interrupt::new(&signal);
        assert_eq!(signal.wait(2, None, &interrupt), Waited::Seq(3));
        assert_eq!(signal.wait(3, Some(Instant::now()), &interrupt), Waited::TimedOut);
        interrupt.flag().raise();
        assert_eq!(signal.wait(2, None, &interrupt), Waited::Interrupted);
        signal.raise(5);
        signal.raise(4);
        assert_eq!(signal.wait(3, None, &interrupt), Waited::Seq(5));
        signal.close();
        assert_eq!(signal.wait(3, None, &interrupt), Waited::Closed);
    }

    #[test]
    fn a_waiting_follower_is_woken_by_interrupt_and_by_close() {
        let signal = Signal::new(0);
        let (one, other) = (Interrupt::new(&signal), Interrupt::new(&signal));
        let (hand, its) = (one.flag(), signal.clone());
        let first = thread::spawn(move || its.wait(0, soon(), &one));
        let its = signal.clone();
        let second = thread::spawn(move || its.wait(0, soon(), &other));
        hand.raise();
        assert_eq!(first.join().unwrap(), Waited::Interrupted);
        signal.close();
        assert_eq!(second.join().unwrap(), Waited::Closed);
    }

    #[test]
    fn no_wake_up_is_ever_lost() {
        const ROUNDS: u64 = 20_000;
        let (there, back) = (Signal::new(0), Signal::new(0));
        let (wait_there, raise_back) = (there.clone(), back.clone());
        let echo = thread::spawn(move || {
            let interrupt = Interrupt::new(&wait_there);
            for round in 1..=ROUNDS {
                assert_eq!(wait_there.wait(round - 1, soon(), &interrupt), Waited::Seq(round));
                raise_back.raise(round);
            }
        });
        let interrupt = Interrupt::new(&back);
        for round in 1..=ROUNDS {
            there.raise(round);
            assert_eq!(back.wait(round - 1, soon(), &interrupt), Waited::Seq(round));
        }
        echo.join().unwrap();
    }
}
