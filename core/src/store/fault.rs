//! Failures of the disk on demand, for the tests. Without the feature `testing` it is nothing.

use std::io;

/// What an injected failure looks like.
#[cfg(feature = "testing")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// EIO.
    Io,
    /// ENOSPC.
    Full,
    /// No failure and no answer, until healed.
    Stall,
}

/// A plan of failures: operation number n of the backend fails, and all after it, until healed.
#[cfg(feature = "testing")]
#[derive(Debug, Default)]
pub struct FaultPlan {
    count: std::sync::atomic::AtomicU64,
    fail_at: std::sync::Mutex<Option<(u64, FaultKind)>>,
    healed: std::sync::Condvar,
}

#[cfg(feature = "testing")]
impl FaultPlan {
    /// Fails operation number `n`, counted from 1 over the life of the plan, and all after it.
    pub fn fail_at(&self, n: u64, kind: FaultKind) {
        *self.fail_at.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some((n, kind));
    }

    /// Lets everything through again.
    pub fn heal(&self) {
        *self.fail_at.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
        self.healed.notify_all();
    }

    /// Returns how many operations there have been.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.count.load(std::sync::atomic::Ordering::SeqCst)
    }

    fn check(&self) -> io::Result<()> {
        let now = self.count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
        let plan = self.fail_at.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let stalls = |plan: &mut Option<(u64, FaultKind)>| {
            plan.is_some_and(|(n, kind)| kind == FaultKind::Stall && now >= n)
        };
        let plan = *self.healed.wait_while(plan, stalls).unwrap_or_else(std::sync::PoisonError::into_inner);
        match plan {
            Some((n, FaultKind::Io)) if now >= n => Err(io::Error::from_raw_os_error(5)),
            Some((n, FaultKind::Full)) if now >= n => Err(io::Error::from(io::ErrorKind::StorageFull)),
            _ => Ok(()),
        }
    }
}

/// The plan in force, if any.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    #[cfg(feature = "testing")]
    pub(crate) plan: Option<std::sync::Arc<FaultPlan>>,
}

impl Faults {
    #[cfg(feature = "testing")]
    pub(crate) fn check(&self) -> io::Result<()> {
        self.plan.as_ref().map_or(Ok(()), |plan| plan.check())
    }

    #[cfg(not(feature = "testing"))]
    #[inline]
    #[allow(clippy::unused_self, clippy::unnecessary_wraps)]
    pub(crate) fn check(&self) -> io::Result<()> {
        Ok(())
    }
}
