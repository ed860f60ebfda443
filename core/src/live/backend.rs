//! What the live engine asks of a source of events, and what it is told by one.

use std::os::fd::BorrowedFd;
use std::path::Path;

use crate::error::Result;

/// Where a backend reports. The methods are cheap and never block. Paths are relative to the root.
pub(crate) trait Sink: Send + Sync {
    /// A name in a directory may have changed. `deep`: it may be another directory than before, or
    /// what lies below it may not be watched any more.
    fn name(&self, root: u32, dir: &[u8], name: &[u8], deep: bool);
    /// The facts of a directory itself may have changed: mode, times.
    fn facts(&self, root: u32, dir: &[u8]);
    /// The root's own directory was deleted (`deleted`: nothing is left of it), moved or unmounted.
    fn root_gone(&self, root: u32, deleted: bool);
    /// Events of one root, or of all, were lost.
    fn overflow(&self, root: Option<u32>);
    /// Something was mounted or unmounted somewhere.
    fn mounts_changed(&self);
    /// The barrier of this number has come through the queue.
    fn barrier(&self, number: u64);
    fn error(&self, message: String);
}

/// A source of events.
pub(crate) trait Backend: Send + Sync {
    /// As it is shown in the status.
    fn name(&self) -> &'static str;

    /// Registers a root under its number. Nothing is watched yet.
    fn add_root(&self, root: u32, path: &Path);

    /// Ends all watches of a root.
    fn remove_root(&self, root: u32);

    /// Watches one directory, before it is read. `fd` is open on it. Called from every thread of a
    /// scan. Cheap when it is watched already.
    fn cover(&self, root: u32, dir: &[u8], fd: BorrowedFd<'_>) -> Result<(), Uncovered>;

    /// A number to hand to `sweep` and `sweep_all`; taken before a look begins.
    fn stamp(&self) -> u64;

    /// After a look that began at `stamp`: ends watches that lost their place before it and found no
    /// new one.
    fn sweep(&self, root: u32, stamp: u64);

    /// After a complete scan of a whole root that began at `stamp`: ends every watch of the root that
    /// the scan did not renew.
    fn sweep_all(&self, root: u32, stamp: u64);

    /// Directories watched in a root.
    fn watched(&self, root: u32) -> u64;

    /// Asks for `Sink::barrier(number)` behind every event of changes made before this call.
    fn barrier(&self, number: u64) -> Result<()>;

    /// Directories watched at most, all roots together.
    fn set_max(&self, watches_max: u64);

    /// Ends the backend and its threads.
    fn stop(&self);
}

/// Why a directory is not watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Uncovered {
    /// There are no more watches.
    Limit,
    /// This directory cannot be watched.
    Denied(String),
    /// It is not there any more.
    Gone,
}
