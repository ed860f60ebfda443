//! Hooks of the project's own tests: named points at which a child process kills itself, faults of
//! the disk, a panic in the commit thread. Without the feature `testing` every hook is empty.

#[cfg(feature = "testing")]
mod hooks {
    use std::path::Path;
    use std::sync::{Arc, Mutex, PoisonError};

    use crate::error::Result;
    use crate::options::Options;
    use crate::warden::Warden;

    pub use crate::store::{FaultKind, FaultPlan};

    static KILL: Mutex<Option<(&'static str, u64)>> = Mutex::new(None);
    static RECLAIMED: Mutex<Vec<String>> = Mutex::new(Vec::new());

    /// Kills this process with SIGKILL at the `nth` pass (from 1) of the named point.
    pub fn set_kill_point(name: &'static str, nth: u64) {
        *KILL.lock().unwrap_or_else(PoisonError::into_inner) = Some((name, nth.max(1)));
    }

    pub(crate) fn pass(name: &'static str) {
        let mut kill = KILL.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((point, left)) = kill.as_mut().filter(|(point, _)| *point == name) {
            let _ = point;
            *left -= 1;
            if *left == 0 {
                let _ =
                    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            }
        }
    }

    pub(crate) fn note_reclaim() {
        let name = std::thread::current().name().unwrap_or("?").to_owned();
        RECLAIMED.lock().unwrap_or_else(PoisonError::into_inner).push(name);
    }

    /// Names of the threads that have freed trees so far.
    #[must_use]
    pub fn reclaimed_on() -> Vec<String> {
        RECLAIMED.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Opens a state file over a disk that fails as planned.
    ///
    /// # Errors
    ///
    /// As [`Options::open`], and what the plan injects.
    pub fn open_with_faults(
        options: Options,
        path: impl AsRef<Path>,
        plan: Arc<FaultPlan>,
    ) -> Result<Warden> {
        Warden::open_faulty(path.as_ref(), options, crate::store::Faults { plan: Some(plan) })
    }

    /// As if the system had reported now that events were lost.
    pub fn lose_events(warden: &Warden) {
        warden.live().lose_events();
    }

    /// Drops every event from now on without a word, or no more.
    pub fn deaf(warden: &Warden, deaf: bool) {
        warden.live().deaf(deaf);
    }

    /// Makes the next commit panic.
    pub fn panic_in_commit(warden: &Warden) {
        let _ = warden.engine().submit(crate::commit::Task::Panic);
    }

    /// Writes another format version into a state file.
    ///
    /// # Errors
    ///
    /// As [`Warden::open`].
    pub fn set_format_version(path: impl AsRef<Path>, version: u32) -> Result<()> {
        crate::store::Store::set_format_version(path.as_ref(), version)
    }
}

#[cfg(feature = "testing")]
pub use hooks::*;

#[cfg(not(feature = "testing"))]
#[inline]
pub(crate) fn pass(_: &'static str) {}

#[cfg(not(feature = "testing"))]
#[inline]
pub(crate) fn note_reclaim() {}
