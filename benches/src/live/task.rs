//! What the children of this group do: the hidden commands, by name.

use std::path::Path;

use treewarden::WatchBackend;

use crate::Result;
use crate::measure::Record;

use super::{overflow, start, storm, visible};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Task {
    Rescan,
    KnownInotify,
    KnownNotify,
    New,
    Idle,
    Overflow,
    Stall,
    Visible,
    Wake,
    RemoveInotify,
    RemoveNotify,
    BurstWatched,
    BurstScanned,
}

impl Task {
    pub(crate) const ALL: [Task; 13] = [
        Task::Rescan,
        Task::KnownInotify,
        Task::KnownNotify,
        Task::New,
        Task::Idle,
        Task::Overflow,
        Task::Stall,
        Task::Visible,
        Task::Wake,
        Task::RemoveInotify,
        Task::RemoveNotify,
        Task::BurstWatched,
        Task::BurstScanned,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Task::Rescan => "live-rescan",
            Task::KnownInotify => "live-known-inotify",
            Task::KnownNotify => "live-known-notify",
            Task::New => "live-new",
            Task::Idle => "live-idle",
            Task::Overflow => "live-overflow",
            Task::Stall => "live-stall",
            Task::Visible => "live-visible",
            Task::Wake => "live-wake",
            Task::RemoveInotify => "live-remove-inotify",
            Task::RemoveNotify => "live-remove-notify",
            Task::BurstWatched => "live-burst-watched",
            Task::BurstScanned => "live-burst-scanned",
        }
    }

    /// `count` is the debounce of [`Task::Visible`] in milliseconds, the files of a burst, and the parent process of [`Task::Stall`].
    pub(crate) fn measure(self, db: &Path, dir: &Path, threads: usize, count: u64) -> Result<Record> {
        match self {
            Task::Rescan => start::rescan(db, threads),
            Task::KnownInotify => start::known(db, threads, WatchBackend::Inotify),
            Task::KnownNotify => start::known(db, threads, WatchBackend::Notify),
            Task::New => start::new(db, dir, threads),
            Task::Idle => start::idle(db, threads),
            Task::Overflow => overflow::overflow(db, dir, threads),
            Task::Stall => overflow::stall(dir, count),
            Task::Visible => visible::changes(db, dir, threads, count),
            Task::Wake => visible::wake(db),
            Task::RemoveInotify => storm::remove(db, dir, threads, WatchBackend::Inotify),
            Task::RemoveNotify => storm::remove(db, dir, threads, WatchBackend::Notify),
            Task::BurstWatched => storm::burst_watched(db, dir, threads, count),
            Task::BurstScanned => storm::burst_scanned(db, dir, threads, count),
        }
    }
}
