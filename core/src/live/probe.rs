//! Does the file system report changes at all? Some sandboxes accept watches and never send an event.

use std::os::fd::BorrowedFd;

/// Opens a directory under watch and waits for the event of that. Nothing is written for it.
#[cfg(target_os = "linux")]
pub(crate) fn delivers(dir: BorrowedFd<'_>) -> bool {
    use std::os::fd::AsRawFd;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

    let Ok(instance) = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK) else {
        // No instance is another matter than no events: the backend says so itself.
        return true;
    };
    let path = format!("/proc/self/fd/{}", dir.as_raw_fd());
    if inotify::add_watch(&instance, path.as_str(), WatchFlags::OPEN).is_err() {
        return true;
    }
    if crate::sys::open_dir_at(dir, c".").is_err() {
        return true;
    }
    // The event is in the queue before the call above returns.
    let patience = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
    poll(&mut [PollFd::new(&instance, PollFlags::IN)], Some(&patience)).is_ok_and(|ready| ready > 0)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn delivers(_: BorrowedFd<'_>) -> bool {
    true
}
