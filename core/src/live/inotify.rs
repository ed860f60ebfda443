//! The backend of Linux: one inotify instance for all roots, a watch for each directory, set through
//! the open descriptor of the directory that is about to be read. So a watch belongs to exactly the
//! directory that is listed, whatever happens to its path meanwhile.
//!
//! A watch follows its directory when that is moved. Each has one or more places (path in a root; more
//! than one where the same directory can be reached twice, as through a bind mount, or while a move is
//! only half known). A watch without a place is loose, and ended after the next look.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::ops::Bound;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};

use crate::error::{Error, ErrorKind, Result};
use crate::path::{join, split_last};
use crate::sys::{Errno, as_path};

use super::backend::{Backend, Sink, Uncovered};

/// Bytes of events read at once: about 2,000 events. The kernel's queue holds 16,384 by default.
const BUFFER_BYTES: usize = 64 * 1024;
/// The largest event: its head and a name of 255 bytes with a NUL.
const EVENT_BYTES_MAX: u64 = 16 + 256;
/// Watches ended in one go. Each puts an event of its own into the queue, which must not overflow.
const END_AT_ONCE: usize = 2_048;

/// What a change of content, name or facts makes known. `CLOSE_WRITE` is the only sign of a file that
/// was written through a mapping. Nothing that reading causes is among them.
const MASK: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR)
    .union(WatchFlags::EXCL_UNLINK);

/// Where a watched directory is found.
#[derive(Debug, Clone)]
struct Place {
    root: u32,
    path: Arc<[u8]>,
    /// The stamp at which a scan last came by.
    stamp: u64,
}

#[derive(Debug, Default)]
struct Watch {
    places: Places,
    /// The stamp at which it lost its last place.
    loose_since: u64,
}

/// Nearly always one.
#[derive(Debug, Default)]
enum Places {
    #[default]
    None,
    One(Place),
    Many(Vec<Place>),
}

impl Places {
    fn as_slice(&self) -> &[Place] {
        match self {
            Self::None => &[],
            Self::One(place) => std::slice::from_ref(place),
            Self::Many(places) => places,
        }
    }

    fn put(&mut self, place: Place) {
        if let Self::One(known) = self
            && (known.root, &known.path) == (place.root, &place.path)
        {
            known.stamp = place.stamp;
            return;
        }
        let mut all = self.take();
        all.retain(|p| (p.root, &p.path) != (place.root, &place.path));
        all.push(place);
        self.set(all);
    }

    fn drop(&mut self, root: u32, path: &[u8]) {
        let mut all = self.take();
        all.retain(|p| p.root != root || *p.path != *path);
        self.set(all);
    }

    fn take(&mut self) -> Vec<Place> {
        match std::mem::take(self) {
            Self::None => Vec::new(),
            Self::One(place) => vec![place],
            Self::Many(places) => places,
        }
    }

    fn set(&mut self, mut all: Vec<Place>) {
        *self = match all.len() {
            0 => Self::None,
            1 => all.pop().map_or(Self::None, Self::One),
            _ => Self::Many(all),
        };
    }
}

struct RootWatches {
    path: PathBuf,
    /// In byte order: what lies below a directory are the paths from `dir/` up to `dir0`.
    by_path: BTreeMap<Arc<[u8]>, i32>,
}

#[derive(Default)]
struct Watches {
    by_wd: HashMap<i32, Watch>,
    roots: HashMap<u32, RootWatches>,
    loose: Vec<i32>,
}

impl Watches {
    /// Takes a directory, and everything below it, from its place.
    fn detach(&mut self, root: u32, dir: &[u8], stamp: u64) {
        let Some(watches) = self.roots.get_mut(&root) else { return };
        let mut paths: Vec<(Arc<[u8]>, i32)> = Vec::new();
        if let Some((path, wd)) = watches.by_path.get_key_value(dir) {
            paths.push((Arc::clone(path), *wd));
        }
        let (from, to) = ([dir, b"/"].concat(), [dir, b"0"].concat());
        let below = (Bound::Included(&from[..]), Bound::Excluded(&to[..]));
        if dir.is_empty() {
            paths.extend(watches.by_path.iter().map(|(path, wd)| (Arc::clone(path), *wd)));
        } else {
            let range = watches.by_path.range::<[u8], _>(below);
            paths.extend(range.map(|(path, wd)| (Arc::clone(path), *wd)));
        }
        for (path, wd) in paths {
            watches.by_path.remove(&path);
            Self::leave(&mut self.by_wd, &mut self.loose, wd, root, &path, stamp);
        }
    }

    fn leave(
        by_wd: &mut HashMap<i32, Watch>,
        loose: &mut Vec<i32>,
        wd: i32,
        root: u32,
        path: &[u8],
        stamp: u64,
    ) {
        let Some(watch) = by_wd.get_mut(&wd) else { return };
        watch.places.drop(root, path);
        if watch.places.as_slice().is_empty() {
            watch.loose_since = stamp;
            loose.push(wd);
        }
    }

    fn put(&mut self, root: u32, dir: &[u8], wd: i32, stamp: u64) {
        let Some(watches) = self.roots.get_mut(&root) else { return };
        let path: Arc<[u8]> = match watches.by_path.get_key_value(dir) {
            Some((path, _)) => Arc::clone(path),
            None => dir.into(),
        };
        if let Some(before) = watches.by_path.insert(Arc::clone(&path), wd)
            && before != wd
        {
            // Another directory took this place.
            Self::leave(&mut self.by_wd, &mut self.loose, before, root, dir, stamp);
        }
        self.by_wd.entry(wd).or_default().places.put(Place { root, path, stamp });
    }

    /// The kernel has ended a watch; its places are told.
    fn ended(&mut self, wd: i32) -> Vec<Place> {
        let Some(mut watch) = self.by_wd.remove(&wd) else { return Vec::new() };
        let places = watch.places.take();
        for place in &places {
            if let Some(watches) = self.roots.get_mut(&place.root)
                && watches.by_path.get(&place.path) == Some(&wd)
            {
                watches.by_path.remove(&place.path);
            }
        }
        places
    }

    /// Watches that lost their place before `stamp` and have none now.
    fn take_loose(&mut self, stamp: u64) -> Vec<i32> {
        let mut ended = Vec::new();
        let by_wd = &mut self.by_wd;
        self.loose.retain(|wd| match by_wd.get(wd) {
            Some(watch) if !watch.places.as_slice().is_empty() => false,
            Some(watch) if watch.loose_since < stamp => {
                by_wd.remove(wd);
                ended.push(*wd);
                false
            }
            Some(_) => true,
            None => false,
        });
        ended
    }
}

struct Shared {
    inotify: OwnedFd,
    /// Wakes the thread.
    wake: OwnedFd,
    watches: Mutex<Watches>,
    watches_max: AtomicU64,
    stamp: AtomicU64,
    barriers: Mutex<Vec<u64>>,
    stopped: AtomicBool,
    sink: Arc<dyn Sink>,
}

/// Watches through inotify.
pub(crate) struct InotifyBackend {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl InotifyBackend {
    pub(crate) fn start(sink: Arc<dyn Sink>, watches_max: u64) -> Result<Self> {
        let failed = |what: &str, error: Errno| {
            let kind = if error == Errno::MFILE { ErrorKind::TooLarge } else { ErrorKind::Io };
            Error::new(kind, format!("cannot {what}: {error}")).with_hint(
                "`fs.inotify.max_user_instances` and `ulimit -n` limit how many programs may watch",
            )
        };
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)
            .map_err(|error| failed("open an inotify instance", error))?;
        let wake = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)
            .map_err(|error| failed("open an event descriptor", error))?;
        let shared = Arc::new(Shared {
            inotify,
            wake,
            watches: Mutex::default(),
            watches_max: AtomicU64::new(watches_max),
            stamp: AtomicU64::new(1),
            barriers: Mutex::default(),
            stopped: AtomicBool::new(false),
            sink,
        });
        let its = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("tw-events".to_owned())
            .spawn(move || its.run_to_the_end())
            .map_err(|e| Error::new(ErrorKind::Io, format!("cannot start a thread: {e}")).with_source(e))?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Watches> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // An event descriptor counts in words of the machine (eventfd(2)).
    #[allow(clippy::host_endian_bytes)]
    fn poke(&self) {
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    /// Whatever goes wrong with one event, the next ones are read.
    fn run_to_the_end(&self) {
        while catch_unwind(AssertUnwindSafe(|| self.run())).is_err() {
            self.sink.error("the thread that reads events panicked; it starts anew".to_owned());
            self.sink.overflow(None);
        }
    }

    fn run(&self) {
        let mut buffer = vec![MaybeUninit::<u8>::uninit(); BUFFER_BYTES];
        while !self.stopped.load(Ordering::Acquire) {
            let mut fds = [PollFd::new(&self.inotify, PollFlags::IN), PollFd::new(&self.wake, PollFlags::IN)];
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => {
                    self.sink.error(format!("cannot wait for events: {error}"));
                    self.sink.overflow(None);
                    return;
                }
            }
            let [_, wake] = &fds;
            let poked = !wake.revents().is_empty();
            let barriers = if poked { self.take_barriers() } else { Vec::new() };
            let mut least = 1;
            if !barriers.is_empty() {
                // Whatever was changed before the call lies in the queue already.
                let queued = rustix::io::ioctl_fionread(&self.inotify).unwrap_or(0);
                least += queued / (BUFFER_BYTES as u64 - EVENT_BYTES_MAX);
            }
            self.read(&mut buffer, least);
            for number in barriers {
                self.sink.barrier(number);
            }
        }
    }

    fn take_barriers(&self) -> Vec<u64> {
        let mut count = [0u8; 8];
        let _ = rustix::io::read(&self.wake, &mut count);
        std::mem::take(&mut *self.barriers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads at least so many buffers of events, or all there are.
    fn read(&self, buffer: &mut [MaybeUninit<u8>], least: u64) {
        let mut reader = Reader::new(&self.inotify, buffer);
        let mut buffers = 0;
        loop {
            if reader.is_buffer_empty() {
                if buffers >= least || self.stopped.load(Ordering::Acquire) {
                    return;
                }
                buffers += 1;
            }
            match reader.next() {
                Ok(event) => self.event(event.wd(), event.events(), event.file_name()),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(error) => {
                    self.sink.error(format!("cannot read events: {error}"));
                    return self.sink.overflow(None);
                }
            }
        }
    }

    fn event(&self, wd: i32, what: ReadFlags, name: Option<&CStr>) {
        if what.contains(ReadFlags::QUEUE_OVERFLOW) {
            return self.sink.overflow(None);
        }
        let mut watches = self.lock();
        if what.contains(ReadFlags::IGNORED) {
            for place in watches.ended(wd) {
                // Whoever watched the directory above has told of it; perhaps nobody does.
                if !place.path.is_empty() {
                    let (dir, name) = split_last(&place.path);
                    self.sink.name(place.root, dir, name, true);
                }
            }
            return;
        }
        let Some(watch) = watches.by_wd.get(&wd) else { return };
        let is_dir = what.contains(ReadFlags::ISDIR);
        let Some(name) = name.map(CStr::to_bytes).filter(|name| !name.is_empty()) else {
            for place in watch.places.as_slice() {
                self.own_event(what, place);
            }
            return;
        };
        // Both ends of a move are looked at together, of a file too: so it keeps its id.
        let moved = what.intersects(ReadFlags::MOVED_FROM | ReadFlags::MOVED_TO);
        let deep = moved || (is_dir && what.contains(ReadFlags::CREATE));
        for place in watch.places.as_slice() {
            self.sink.name(place.root, &place.path, name, deep);
        }
        if is_dir && what.contains(ReadFlags::MOVED_FROM) {
            let moved: Vec<_> =
                watch.places.as_slice().iter().map(|place| (place.root, join(&place.path, name))).collect();
            let stamp = self.stamp.load(Ordering::Acquire);
            for (root, dir) in moved {
                watches.detach(root, &dir, stamp);
            }
        }
    }

    /// An event of a watched directory itself.
    fn own_event(&self, what: ReadFlags, place: &Place) {
        let gone = ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT;
        if !what.intersects(gone) {
            return self.sink.facts(place.root, &place.path);
        }
        if place.path.is_empty() {
            self.sink.root_gone(place.root, what.contains(ReadFlags::DELETE_SELF));
        } else if what.contains(ReadFlags::UNMOUNT) {
            let (dir, name) = split_last(&place.path);
            self.sink.name(place.root, dir, name, true);
        }
        // The directory above tells of the others.
    }

    fn end(&self, wds: &[i32]) {
        for some in wds.chunks(END_AT_ONCE) {
            for wd in some {
                // The kernel may have ended it already.
                let _ = inotify::remove_watch(&self.inotify, *wd);
            }
            let high = END_AT_ONCE as u64 * EVENT_BYTES_MAX / 4;
            for _ in 0..100 {
                if rustix::io::ioctl_fionread(&self.inotify).is_ok_and(|queued| queued < high) {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
    }
}

impl Backend for InotifyBackend {
    fn name(&self) -> &'static str {
        "inotify"
    }

    fn add_root(&self, root: u32, path: &Path) {
        self.remove_root(root);
        let watches = RootWatches { path: path.to_owned(), by_path: BTreeMap::new() };
        self.shared.lock().roots.insert(root, watches);
    }

    fn remove_root(&self, root: u32) {
        let mut watches = self.shared.lock();
        watches.detach(root, b"", 0);
        watches.roots.remove(&root);
        let ended = watches.take_loose(u64::MAX);
        drop(watches);
        self.shared.end(&ended);
    }

    fn cover(&self, root: u32, dir: &[u8], fd: BorrowedFd<'_>) -> Result<(), Uncovered> {
        let shared = &self.shared;
        // Held until the watch has its place: one that ends in between would be kept as if it lived.
        let mut watches = shared.lock();
        let Some(of_root) = watches.roots.get(&root) else { return Err(Uncovered::Gone) };
        let full = watches.by_wd.len() as u64 >= shared.watches_max.load(Ordering::Relaxed);
        if full && !of_root.by_path.contains_key(dir) {
            return Err(Uncovered::Limit);
        }
        let at = of_root.path.join(as_path(dir));
        // Through its descriptor a directory is found under any path, however long, and never another
        // one. Where /proc is not mounted the path has to do.
        let number = CString::new(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()));
        let through = number.map_err(|_| Errno::INVAL);
        let added = through.and_then(|through| inotify::add_watch(&shared.inotify, through.as_c_str(), MASK));
        let added = match added {
            Err(Errno::NOENT) => inotify::add_watch(&shared.inotify, &at, MASK | WatchFlags::DONT_FOLLOW),
            added => added,
        };
        match added {
            Ok(wd) => {
                watches.put(root, dir, wd, shared.stamp.load(Ordering::Acquire));
                Ok(())
            }
            Err(Errno::NOSPC | Errno::NOMEM) => Err(Uncovered::Limit),
            Err(Errno::NOENT | Errno::NOTDIR) => Err(Uncovered::Gone),
            Err(error) => Err(Uncovered::Denied(error.to_string())),
        }
    }

    fn stamp(&self) -> u64 {
        self.shared.stamp.fetch_add(1, Ordering::AcqRel) + 1
    }

    fn sweep(&self, _: u32, stamp: u64) {
        let ended = self.shared.lock().take_loose(stamp);
        self.shared.end(&ended);
    }

    fn sweep_all(&self, root: u32, stamp: u64) {
        let mut watches = self.shared.lock();
        let Some(of_root) = watches.roots.get(&root) else { return };
        let mut stale = Vec::new();
        for (path, wd) in &of_root.by_path {
            let places = watches.by_wd.get(wd).map_or(&[][..], |watch| watch.places.as_slice());
            let renewed = places.iter().any(|p| p.root == root && p.path == *path && p.stamp >= stamp);
            if !renewed {
                stale.push((Arc::clone(path), *wd));
            }
        }
        for (path, wd) in stale {
            if let Some(of_root) = watches.roots.get_mut(&root) {
                of_root.by_path.remove(&path);
            }
            let Watches { by_wd, loose, .. } = &mut *watches;
            Watches::leave(by_wd, loose, wd, root, &path, 0);
        }
        let ended = watches.take_loose(stamp);
        drop(watches);
        self.shared.end(&ended);
    }

    fn watched(&self, root: u32) -> u64 {
        self.shared.lock().roots.get(&root).map_or(0, |watches| watches.by_path.len() as u64)
    }

    fn barrier(&self, number: u64) -> Result<()> {
        self.shared.barriers.lock().unwrap_or_else(PoisonError::into_inner).push(number);
        self.shared.poke();
        Ok(())
    }

    fn set_max(&self, watches_max: u64) {
        self.shared.watches_max.store(watches_max, Ordering::Relaxed);
    }

    fn stop(&self) {
        self.shared.stopped.store(true, Ordering::Release);
        self.shared.poke();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Drop for InotifyBackend {
    fn drop(&mut self) {
        self.stop();
    }
}
