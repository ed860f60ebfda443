//! Waiting that can be ended from elsewhere, and time that goes on while a machine sleeps.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::signal::{Flag, wait_until};

/// Nobody sleeps for longer without looking again.
pub(super) const SLEEP_MAX: Duration = Duration::from_secs(1);
/// Names whose outcome is not known that are kept at most.
const DOUBTS_MAX: usize = 16;
/// A Redis that is away is looked for this often.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Ends what runs until it is told to, such as [`super::Publisher::run`]. Clones are the same; any thread may
/// stop it, for good.
#[derive(Clone, Default)]
pub struct Stop(Arc<Line>);

#[derive(Default)]
struct Line {
    state: Mutex<Stopping>,
    wake: Condvar,
}

#[derive(Default)]
struct Stopping {
    stopped: bool,
    flags: Vec<Arc<Flag>>,
}

impl Stop {
    /// Returns one that is not stopped.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops. What waits for Redis to answer ends when it has, or at its timeout.
    pub fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        let flags = std::mem::take(&mut state.flags);
        drop(state);
        self.0.wake.notify_all();
        flags.iter().for_each(|flag| flag.raise());
    }

    /// True after [`Stop::stop`].
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// Sleeps, unless it is stopped.
    pub(super) fn sleep(&self, time: Duration) {
        let Some(until) = Instant::now().checked_add(time) else { return };
        let mut state = self.lock();
        while !state.stopped {
            match wait_until(&self.0.wake, state, Some(until)) {
                Some(woken) => state = woken,
                None => return,
            }
        }
    }

    /// Has a flag raised when this is stopped, while the result lives.
    pub(super) fn raises(&self, flag: Arc<Flag>) -> Raises {
        let mut state = self.lock();
        if state.stopped {
            drop(state);
            flag.raise();
        } else {
            state.flags.push(Arc::clone(&flag));
        }
        Raises { stop: self.clone(), flag }
    }

    fn lock(&self) -> MutexGuard<'_, Stopping> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stop").field("stopped", &self.is_stopped()).finish_non_exhaustive()
    }
}

pub(super) struct Raises {
    stop: Stop,
    flag: Arc<Flag>,
}

impl Drop for Raises {
    fn drop(&mut self) {
        self.stop.lock().flags.retain(|flag| !Arc::ptr_eq(flag, &self.flag));
    }
}

/// Where calls sleep that can be interrupted.
#[derive(Default)]
pub(super) struct Sleeper {
    state: Mutex<Sleeping>,
    wake: Condvar,
}

#[derive(Default)]
struct Sleeping {
    waiting: usize,
    interrupts: u64,
    interrupt_next: bool,
}

impl Sleeper {
    /// Begins a call; `None` where it may wait and was interrupted before it began.
    pub(super) fn begin(&self, timeout: Option<Duration>) -> Option<Turn<'_>> {
        let may_wait = may_wait(timeout);
        let mut state = self.lock();
        if may_wait && std::mem::take(&mut state.interrupt_next) {
            return None;
        }
        state.waiting += usize::from(may_wait);
        Some(Turn { sleeper: self, seen: state.interrupts, may_wait })
    }

    /// Interrupts all calls that have begun and may wait; if there is none, the next that may.
    pub(super) fn interrupt(&self) {
        let mut state = self.lock();
        if state.waiting == 0 {
            state.interrupt_next = true;
        } else {
            state.interrupts += 1;
            self.wake.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sleeping> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One call that may wait.
pub(super) struct Turn<'s> {
    sleeper: &'s Sleeper,
    seen: u64,
    may_wait: bool,
}

impl Turn<'_> {
    pub(super) fn is_interrupted(&self) -> bool {
        self.may_wait && self.sleeper.lock().interrupts != self.seen
    }

    /// Sleeps for `time`, and for a second at most; true when that was not interrupted.
    pub(super) fn sleep(&self, time: Duration) -> bool {
        let Some(until) = Instant::now().checked_add(time.min(SLEEP_MAX)) else { return false };
        let mut state = self.sleeper.lock();
        while state.interrupts == self.seen {
            match wait_until(&self.sleeper.wake, state, Some(until)) {
                Some(woken) => state = woken,
                None => return true,
            }
        }
        false
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.sleeper.lock().waiting -= usize::from(self.may_wait);
    }
}

/// A moment of which it is known how long ago it was. One clock stands still while the machine sleeps, the
/// other may be set: the longer of both counts, so that nothing that runs out is taken for valid.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    monotonic: Instant,
    wall: SystemTime,
}

impl Moment {
    pub(super) fn now() -> Self {
        Self { monotonic: Instant::now(), wall: SystemTime::now() }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.monotonic.elapsed().max(self.wall.elapsed().unwrap_or_default())
    }
}

/// What is left until a deadline; `None` where there is no deadline.
pub(super) fn left(deadline: Option<Instant>) -> Option<Duration> {
    deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
}

/// True for a call that can be interrupted: one that only looks has nothing to be interrupted in.
pub(super) fn may_wait(timeout: Option<Duration>) -> bool {
    timeout.is_none_or(|timeout| !timeout.is_zero())
}

/// Names that were asked for something, whose answer was lost, and which could not give it back either. Whoever
/// asks next asks under such a name, and finds what it may have been granted.
#[derive(Default)]
pub(super) struct Doubts(Mutex<Vec<String>>);

impl Doubts {
    /// Returns a name to ask under, which nobody else has, and whether it may have been granted something.
    pub(super) fn take(&self) -> (String, bool) {
        let kept = self.lock().pop();
        let is_doubtful = kept.is_some();
        (kept.unwrap_or_else(random_name), is_doubtful)
    }

    /// Keeps a name for the next to ask. Of too many it is forgotten: what it was granted runs out.
    pub(super) fn keep(&self, name: String) {
        let mut kept = self.lock();
        if kept.len() < DOUBTS_MAX {
            kept.push(name);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name that no other machine has.
fn random_name() -> String {
    use std::hash::{BuildHasher, Hasher};
    // The keys of the standard library's hasher are drawn from the system, and differ from one to the next.
    let draw = |salt: u32| {
        let mut hasher = std::collections::hash_map::RandomState::new().build_hasher();
        hasher.write_u32(salt);
        hasher.finish()
    };
    format!("{:016x}{:016x}", draw(std::process::id()), draw(0))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_sleeping_call_is_interrupted_and_so_is_the_next_when_none_sleeps() {
        let sleeper = Arc::new(Sleeper::default());
        sleeper.interrupt();
        assert!(sleeper.begin(None).is_none());
        let its = Arc::clone(&sleeper);
        let (begun, begins) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            let turn = its.begin(None).unwrap();
            begun.send(()).unwrap();
            while turn.sleep(Duration::from_secs(60)) {}
            turn.is_interrupted()
        });
        begins.recv().unwrap();
        sleeper.interrupt();
        assert!(thread.join().unwrap());
        assert!(sleeper.begin(None).unwrap().sleep(Duration::ZERO));
    }

    #[test]
    fn a_call_that_does_not_wait_neither_heeds_nor_takes_an_interrupt() {
        let sleeper = Sleeper::default();
        sleeper.interrupt();
        let look = sleeper.begin(Some(Duration::ZERO)).unwrap();
        assert!(!look.is_interrupted());
        // It is not one of those that wait: what comes now is for the next as well.
        sleeper.interrupt();
        assert!(!look.is_interrupted());
        drop(look);
        assert!(sleeper.begin(Some(Duration::from_secs(1))).is_none());
        assert!(sleeper.begin(Some(Duration::from_secs(1))).is_some());
    }

    #[test]
    fn a_name_in_doubt_is_the_next_to_ask_and_nobody_elses() {
        let doubts = Doubts::default();
        let (name, is_doubtful) = doubts.take();
        assert!(!is_doubtful);
        doubts.keep(name.clone());
        assert_eq!(doubts.take(), (name.clone(), true));
        assert_ne!(doubts.take(), (name, true));
        for n in 0..100 {
            doubts.keep(n.to_string());
        }
        assert_eq!(doubts.lock().len(), DOUBTS_MAX);
    }

    #[test]
    fn a_stop_ends_every_sleep() {
        let stop = Stop::new();
        let its = stop.clone();
        let thread = thread::spawn(move || its.sleep(Duration::from_secs(600)));
        stop.stop();
        thread.join().unwrap();
        assert!(stop.is_stopped());
    }

    #[test]
    fn names_differ() {
        assert_ne!(random_name(), random_name());
        assert_eq!(random_name().len(), 32);
    }
}
