//! The portable backend, over the crate `notify`. On Linux it sets a watch for each directory that a scan
//! reads; elsewhere it asks for one watch on the whole of each root.
//!
//! The crate knows watches by path, and on Linux it forgets by itself what lies below a watched directory
//! that was moved or deleted. This file keeps account of what the crate still has, and errs to the side of
//! setting a watch again. After an overflow nothing of that account is sure: the crate starts anew.
//!
//! Invariants: the handler runs on the crate's thread and never calls the crate. Locks are taken in this
//! order: the barrier, the watcher, the account. The sink is called under them, so it never calls back.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fs, io};

use ::notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RemoveKind, RenameMode};
use ::notify::{
    Config, Event, EventKind, EventKindMask, RecommendedWatcher, RecursiveMode, WatchPathConfig, Watcher,
};

use crate::error::{Error, ErrorKind, Result};
use crate::path::split_last;
use crate::sys::{self, as_path};

use super::backend::{Backend, Sink, Uncovered};

/// Whether each directory has a watch of its own.
const PER_DIRECTORY: bool = cfg!(any(target_os = "linux", target_os = "android"));
const MODE: RecursiveMode =
    if PER_DIRECTORY { RecursiveMode::NonRecursive } else { RecursiveMode::Recursive };
/// To end one watch the crate walks over all that it has, at about a quarter of a microsecond each. Beyond
/// this product, a second, it is cheaper to start anew.
const END_COST_MAX: u64 = 4_000_000;

#[derive(Debug)]
struct Watch {
    /// Device and inode number of the directory that it was set for.
    inode: (u64, u64),
    /// The stamp at which a scan last came by.
    seen: u64,
    /// A thread is about to set it.
    coming: bool,
    /// The stamp since which the crate may have it no more, or have it on a directory that has moved.
    doubted: Option<u64>,
}

impl Watch {
    fn is_sure(&self) -> bool {
        !self.coming && self.doubted.is_none()
    }
}

#[derive(Debug)]
struct Root {
    path: PathBuf,
    /// In byte order: what lies below a directory are the paths from `dir/` up to `dir0`.
    dirs: BTreeMap<Vec<u8>, Watch>,
    /// Watches that have come into doubt since the last sweep.
    doubts: u64,
}

impl Root {
    /// What an absolute path is in this root, by component; empty for the root itself.
    fn inside<'p>(&self, path: &'p [u8]) -> Option<&'p [u8]> {
        below(path, bytes(&self.path))
    }

    fn absolute(&self, dir: &[u8]) -> PathBuf {
        if dir.is_empty() { self.path.clone() } else { self.path.join(as_path(dir)) }
    }

    /// Doubts the watches of a directory and of all below it, or drops them if the crate has `forgotten`
    /// them as well. True when there was one.
    fn lose(&mut self, dir: &[u8], forgotten: bool, stamp: u64) -> bool {
        let itself = (Bound::Included(dir.to_vec()), Bound::Included(dir.to_vec()));
        let below = if dir.is_empty() {
            (Bound::Excluded(Vec::new()), Bound::Unbounded)
        } else {
            (Bound::Included([dir, b"/"].concat()), Bound::Excluded([dir, b"0"].concat()))
        };
        let mut lost = false;
        for range in [itself, below] {
            let dropped = self.dirs.extract_if(range, |_, watch| {
                lost = true;
                let drops = forgotten && !watch.coming;
                if !drops && watch.doubted.is_none() {
                    watch.doubted = Some(stamp);
                    self.doubts += 1;
                }
                drops
            });
            dropped.for_each(drop);
        }
        lost
    }
}

/// The account of what the crate watches, or may watch.
#[derive(Debug, Default)]
struct Account {
    roots: BTreeMap<u32, Root>,
    /// Events were lost, and the sink knows. The crate starts anew before the next watch is set.
    broken: bool,
}

impl Account {
    fn len(&self) -> u64 {
        self.roots.values().map(|root| root.dirs.len() as u64).sum()
    }

    /// The most specific root that holds an absolute path, and the path within it.
    fn find<'p>(&self, path: &'p [u8]) -> Option<(u32, &Root, &'p [u8])> {
        let holding = self.roots.iter().filter_map(|(id, root)| Some((*id, root, root.inside(path)?)));
        holding.min_by_key(|(_, _, inside)| inside.len())
    }

    /// The watch of an absolute path, in whatever root.
    fn watch(&self, path: &[u8]) -> Option<&Watch> {
        self.roots.values().find_map(|root| root.dirs.get(root.inside(path)?))
    }

    /// True when a directory has its watch. Notes that a scan came by.
    fn renew(&mut self, id: u32, dir: &[u8], inode: (u64, u64), seen: u64) -> Result<bool, Uncovered> {
        let root = self.roots.get_mut(&id).ok_or(Uncovered::Gone)?;
        let sure = |watch: &&mut Watch| !self.broken && watch.is_sure() && watch.inode == inode;
        Ok(root.dirs.get_mut(dir).filter(sure).map(|watch| watch.seen = seen).is_some())
    }

    /// A path was moved or deleted. True when a watch was lost with it. `kept`: the crate goes on watching
    /// the directory under its old path.
    fn lose(&mut self, path: &[u8], kept: bool, stamp: u64) -> bool {
        // The crate forgets what lies below a path when it watches that path itself, and only then.
        let forgotten = PER_DIRECTORY && !kept && self.watch(path).is_some_and(Watch::is_sure);
        let mut lost = false;
        for root in self.roots.values_mut() {
            let above = below(bytes(&root.path), path).is_some();
            if let Some(dir) = root.inside(path).or(above.then_some(&b""[..])) {
                lost |= root.lose(dir, forgotten, stamp);
            }
        }
        lost
    }

    /// Drops watches of a root. Answers the paths that the crate is to end: those that no other root
    /// watches as well.
    fn take(&mut self, id: u32, ends: impl Fn(&Watch) -> bool) -> Vec<PathBuf> {
        let Some(root) = self.roots.get_mut(&id) else { return Vec::new() };
        let ended: Vec<_> = root.dirs.extract_if(.., |_, watch| ends(watch)).map(|(dir, _)| dir).collect();
        root.doubts = root.dirs.values().filter(|watch| watch.doubted.is_some()).count() as u64;
        let mut paths: Vec<_> = ended.iter().map(|dir| root.absolute(dir)).collect();
        paths.retain(|path| self.watch(bytes(path)).is_none());
        paths
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

/// What `path` is below `above`, by component; empty where they are the same. Both are absolute.
fn below<'p>(path: &'p [u8], above: &[u8]) -> Option<&'p [u8]> {
    let rest = path.strip_prefix(above)?;
    if rest.is_empty() || above.ends_with(b"/") { Some(rest) } else { rest.strip_prefix(b"/") }
}

/// What an event says of each path that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    /// A name has come, or its content is another.
    Changed { deep: bool },
    /// The mode, the owner or a time.
    Facts,
    /// A name has gone. `kept`: the crate goes on watching the directory under its old path.
    Went { deep: bool, deleted: bool, kept: bool },
}

fn news(event: &Event) -> News {
    match event.kind {
        EventKind::Create(kind) => News::Changed { deep: kind != CreateKind::File },
        EventKind::Modify(ModifyKind::Metadata(_)) => News::Facts,
        EventKind::Modify(ModifyKind::Name(mode)) => match mode {
            // A directory that tells of its own move has no cookie: the crate does nothing about it.
            RenameMode::From => News::Went { deep: true, deleted: false, kept: event.tracker().is_none() },
            RenameMode::To | RenameMode::Both => News::Changed { deep: true },
            RenameMode::Any | RenameMode::Other => News::Went { deep: true, deleted: false, kept: true },
        },
        EventKind::Modify(_) | EventKind::Access(_) => News::Changed { deep: false },
        EventKind::Remove(kind) => {
            let known = matches!(kind, RemoveKind::File | RemoveKind::Folder);
            News::Went { deep: !known, deleted: event.info() != Some("unmount"), kept: false }
        }
        EventKind::Any | EventKind::Other => News::Changed { deep: true },
    }
}

/// The number in the name of the barrier's file.
fn barrier_number(name: &[u8]) -> Option<u64> {
    std::str::from_utf8(name.strip_prefix(b"b-")?).ok()?.parse().ok()
}

/// What the handler and the callers share.
struct Shared {
    sink: Arc<dyn Sink>,
    account: Mutex<Account>,
    stamp: AtomicU64,
    barrier_dir: PathBuf,
    /// The barrier's directory has gone, and its watch with it.
    barrier_lost: AtomicBool,
    /// Asked for and not told yet.
    barriers: Mutex<BTreeSet<u64>>,
}

impl Shared {
    /// The handler.
    fn hear(&self, event: ::notify::Result<Event>) {
        match event {
            // First: an overflow names no path.
            Ok(event) if event.need_rescan() => self.lose_events(&mut lock(&self.account)),
            Ok(event) => self.event(&event),
            Err(error) => {
                if matches!(error.kind, ::notify::ErrorKind::MaxFilesWatch) {
                    self.sink.overflow(None);
                }
                self.sink.error(format!("the watcher reports an error: {error}"));
            }
        }
    }

    /// Nobody can set a watch between the steps: a rescan that the sink asks for finds the account broken
    /// and gets fresh watches.
    fn lose_events(&self, account: &mut Account) {
        account.broken = true;
        self.sink.overflow(None);
        self.tell_barriers();
    }

    /// Tells the barriers whose own events may be lost. All events before them have come, or are lost and
    /// the sink knows.
    fn tell_barriers(&self) {
        let asked = std::mem::take(&mut *lock(&self.barriers));
        asked.into_iter().for_each(|number| self.sink.barrier(number));
    }

    fn event(&self, event: &Event) {
        // That a file was read or opened is no news.
        if matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write)) {
            return;
        }
        if event.info() == Some("unmount") {
            self.sink.mounts_changed();
        }
        if matches!(event.kind, EventKind::Any | EventKind::Other) {
            self.sink.error(format!("the watcher reports something unknown: {event:?}"));
        }
        let news = news(event);
        for path in &event.paths {
            match below(bytes(path), bytes(&self.barrier_dir)) {
                Some(name) if !name.is_empty() => {
                    let asked = barrier_number(name).filter(|number| lock(&self.barriers).remove(number));
                    asked.into_iter().for_each(|number| self.sink.barrier(number));
                }
                _ => self.path(news, bytes(path)),
            }
        }
    }

    fn path(&self, news: News, path: &[u8]) {
        let mut account = lock(&self.account);
        let lost = match news {
            News::Went { kept, .. } => self.went(&mut account, path, kept),
            _ => false,
        };
        let Some((id, root, inside)) = account.find(path) else { return };
        if inside.is_empty() {
            return match news {
                News::Went { deleted, .. } => self.sink.root_gone(id, deleted),
                News::Changed { deep: true } => self.sink.root_gone(id, false),
                _ => self.sink.facts(id, b""),
            };
        }
        let deep = lost || matches!(news, News::Went { deep: true, .. } | News::Changed { deep: true });
        let (dir, name) = split_last(inside);
        self.sink.name(id, dir, name, deep);
        if news == News::Facts && root.dirs.contains_key(inside) {
            self.sink.facts(id, inside);
        }
    }

    /// Something was moved or deleted, and all below it. True when a watch was lost.
    fn went(&self, account: &mut Account, path: &[u8], kept: bool) -> bool {
        if below(bytes(&self.barrier_dir), path).is_some() {
            self.barrier_lost.store(true, Ordering::Release);
        }
        let lost = account.lose(path, kept, self.stamp.load(Ordering::Acquire));
        for (id, root) in &account.roots {
            if below(bytes(&root.path), path).is_some_and(|inside| !inside.is_empty()) {
                self.sink.root_gone(*id, false);
            }
        }
        // Beyond this it would take too long to set all doubted watches again one by one.
        let doubts: u64 = account.roots.values().map(|root| root.doubts).sum();
        if PER_DIRECTORY && !account.broken && doubts.saturating_mul(account.len()) > END_COST_MAX {
            self.lose_events(account);
        }
        lost
    }
}

/// One watcher of the crate. It is never dropped but by `end`.
struct Running {
    watcher: RecommendedWatcher,
    /// False once it has been ended: its thread may take a moment longer.
    live: Arc<AtomicBool>,
}

impl Running {
    /// Starts a watcher that watches the barrier and nothing else.
    fn start(shared: &Arc<Shared>) -> Result<Self> {
        let failed = |error: ::notify::Error| {
            let hint = "`fs.inotify.max_user_instances` and `ulimit -n` limit how many programs may watch";
            let message = format!("cannot start to watch: {error}");
            Error::new(ErrorKind::Io, message).with_hint(hint).with_source(error)
        };
        let live = Arc::new(AtomicBool::new(true));
        let (its, is_live) = (Arc::clone(shared), Arc::clone(&live));
        let handler = move |event: ::notify::Result<Event>| {
            if is_live.load(Ordering::Acquire) {
                its.hear(event);
            }
        };
        // Nothing that reading causes is among these.
        let kinds = EventKindMask::CORE | EventKindMask::ACCESS_CLOSE;
        let config = Config::default().with_follow_symlinks(false).with_event_kinds(kinds);
        let mut running = Self { watcher: RecommendedWatcher::new(handler, config).map_err(failed)?, live };
        match running.watch(&shared.barrier_dir, false) {
            Ok(()) => Ok(running),
            Err(error) => {
                running.end();
                Err(failed(error))
            }
        }
    }

    fn watch(&mut self, path: &Path, follow: bool) -> ::notify::Result<()> {
        self.watcher.watch_with(path, WatchPathConfig::new(MODE).with_dereference_symlinks(follow))
    }

    /// Ends a watch if there is one.
    fn unwatch(&mut self, path: &Path) {
        // All that it may say is that there is none, or that its thread is dead and has none either.
        let _ = self.watcher.unwatch(path);
    }

    fn end(self) {
        self.live.store(false, Ordering::Release);
        let watcher = self.watcher;
        // It panics when its thread has died before it.
        let _ = catch_unwind(AssertUnwindSafe(move || drop(watcher)));
    }
}

fn uncovered(error: &::notify::Error) -> Uncovered {
    use io::ErrorKind::{NotADirectory, NotFound, OutOfMemory, StorageFull};
    match &error.kind {
        ::notify::ErrorKind::MaxFilesWatch => Uncovered::Limit,
        ::notify::ErrorKind::PathNotFound => Uncovered::Gone,
        ::notify::ErrorKind::Io(error) => match error.kind() {
            StorageFull | OutOfMemory => Uncovered::Limit,
            NotFound | NotADirectory => Uncovered::Gone,
            _ => Uncovered::Denied(error.to_string()),
        },
        _ => Uncovered::Denied(error.to_string()),
    }
}

/// Watches through the crate `notify`.
pub(crate) struct NotifyBackend {
    shared: Arc<Shared>,
    running: Mutex<Option<Running>>,
    watches_max: AtomicU64,
    /// The number that the barrier's file has now.
    barrier_at: Mutex<Option<u64>>,
    stopped: AtomicBool,
}

impl NotifyBackend {
    /// Starts with no root. `barrier_dir` is created if it is not there, and removed in the end with all
    /// that is in it; nobody else may use it meanwhile.
    pub(crate) fn start(sink: Arc<dyn Sink>, barrier_dir: PathBuf, watches_max: u64) -> Result<Self> {
        let barrier_dir = std::path::absolute(&barrier_dir).unwrap_or(barrier_dir);
        make_dir(&barrier_dir)?;
        let shared = Arc::new(Shared {
            sink,
            account: Mutex::default(),
            stamp: AtomicU64::new(1),
            barrier_dir,
            barrier_lost: AtomicBool::new(false),
            barriers: Mutex::default(),
        });
        let running = Mutex::new(Some(Running::start(&shared)?));
        let (watches_max, stopped) = (AtomicU64::new(watches_max), AtomicBool::new(false));
        Ok(Self { shared, running, watches_max, barrier_at: Mutex::default(), stopped })
    }

    /// Begins anew without any watch. What was in the old queue is lost, and the sink knows.
    fn restart(&self, running: &mut Option<Running>) -> Result<()> {
        if self.stopped.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::Closed, "watching has been stopped"));
        }
        running.take().into_iter().for_each(Running::end);
        let shared = &self.shared;
        let mut account = lock(&shared.account);
        if !account.broken && account.len() > 0 {
            shared.sink.overflow(None);
        }
        account.broken = true;
        for root in account.roots.values_mut() {
            root.dirs.clear();
            root.doubts = 0;
        }
        drop(account);
        let started = make_dir(&shared.barrier_dir).and_then(|()| Running::start(shared));
        shared.barrier_lost.store(started.is_err(), Ordering::Release);
        // Only now: a barrier that was set while nothing listened has no event.
        shared.tell_barriers();
        *running = Some(started?);
        lock(&shared.account).broken = false;
        Ok(())
    }

    /// Ends watches of a root.
    fn end(&self, running: &mut Option<Running>, id: u32, ends: impl Fn(&Watch) -> bool) {
        let mut account = lock(&self.shared.account);
        let paths = account.take(id, ends);
        let (ended, left) = (paths.len() as u64, account.len());
        drop(account);
        if PER_DIRECTORY && ended.saturating_mul(ended + left) > END_COST_MAX {
            if let Err(error) = self.restart(running) {
                self.shared.sink.error(error.to_string());
            }
        } else if let Some(running) = running {
            paths.iter().for_each(|path| running.unwatch(path));
        }
    }
}

impl Backend for NotifyBackend {
    fn name(&self) -> &'static str {
        "notify"
    }

    fn add_root(&self, root: u32, path: &Path) {
        self.remove_root(root);
        // Without a slash at the end: events are compared with it byte by byte.
        let path = path.components().collect();
        lock(&self.shared.account).roots.insert(root, Root { path, dirs: BTreeMap::new(), doubts: 0 });
    }

    fn remove_root(&self, root: u32) {
        let mut running = lock(&self.running);
        self.end(&mut running, root, |_| true);
        lock(&self.shared.account).roots.remove(&root);
    }

    fn cover(&self, root: u32, dir: &[u8], fd: BorrowedFd<'_>) -> Result<(), Uncovered> {
        if !PER_DIRECTORY && !dir.is_empty() {
            return Ok(());
        }
        let shared = &self.shared;
        let look = sys::look_fd(fd).map_err(|error| Uncovered::Denied(error.to_string()))?;
        let inode = look.stat.map(|stat| (look.dev, stat.inode)).ok_or(Uncovered::Gone)?;
        let seen = shared.stamp.load(Ordering::Acquire);
        if lock(&shared.account).renew(root, dir, inode, seen)? {
            return Ok(());
        }
        let mut running = lock(&self.running);
        let broken = lock(&shared.account).broken;
        if broken {
            self.restart(&mut running).map_err(|error| Uncovered::Denied(error.message().to_owned()))?;
        }
        // None only when it has been stopped.
        let Some(running) = running.as_mut() else { return Err(Uncovered::Gone) };
        let mut account = lock(&shared.account);
        if account.renew(root, dir, inode, seen)? {
            // Another thread was faster.
            return Ok(());
        }
        let full = account.len() >= self.watches_max.load(Ordering::Relaxed);
        let Some(of_root) = account.roots.get_mut(&root) else { return Err(Uncovered::Gone) };
        if full && !of_root.dirs.contains_key(dir) {
            return Err(Uncovered::Limit);
        }
        // On the account first: an event that comes before the watch is set casts doubt on it.
        let coming = Watch { inode, seen, coming: true, doubted: None };
        let known = of_root.dirs.insert(dir.to_vec(), coming).is_some();
        let path = of_root.absolute(dir);
        drop(account);
        if known {
            // The crate would keep the one that it has.
            running.unwatch(&path);
        }
        // The path of a root may lead through a symlink: the user named it.
        let result = running.watch(&path, dir.is_empty()).map_err(|error| uncovered(&error));
        let mut account = lock(&shared.account);
        if let Some(of_root) = account.roots.get_mut(&root) {
            if result.is_err() {
                of_root.dirs.remove(dir);
            } else if let Some(watch) = of_root.dirs.get_mut(dir) {
                watch.coming = false;
            }
        }
        result
    }

    fn stamp(&self) -> u64 {
        self.shared.stamp.fetch_add(1, Ordering::AcqRel) + 1
    }

    fn sweep(&self, root: u32, stamp: u64) {
        let doubts = lock(&self.shared.account).roots.get(&root).map_or(0, |root| root.doubts);
        if doubts > 0 {
            let mut running = lock(&self.running);
            self.end(&mut running, root, |watch| watch.doubted.is_some_and(|since| since < stamp));
        }
    }

    fn sweep_all(&self, root: u32, stamp: u64) {
        let mut running = lock(&self.running);
        self.end(&mut running, root, |watch| watch.seen < stamp);
    }

    fn watched(&self, root: u32) -> u64 {
        lock(&self.shared.account).roots.get(&root).map_or(0, |root| root.dirs.len() as u64)
    }

    fn barrier(&self, number: u64) -> Result<()> {
        let shared = &self.shared;
        let file = |number: u64| shared.barrier_dir.join(format!("b-{number}"));
        let mut at = lock(&self.barrier_at);
        if shared.barrier_lost.load(Ordering::Acquire) {
            self.restart(&mut lock(&self.running))?;
        }
        lock(&shared.barriers).insert(number);
        let before = at.replace(number).filter(|before| *before != number);
        if before.is_some_and(|before| fs::rename(file(before), file(number)).is_ok()) {
            return Ok(());
        }
        // It is the first, or somebody took the file away.
        fs::File::create(file(number)).map(drop).map_err(|error| {
            lock(&shared.barriers).remove(&number);
            Error::io("set a barrier in", bytes(&shared.barrier_dir), error)
        })
    }

    fn set_max(&self, watches_max: u64) {
        self.watches_max.store(watches_max, Ordering::Relaxed);
    }

    fn stop(&self) {
        if self.stopped.swap(true, Ordering::AcqRel) {
            return;
        }
        // Nobody moves the barrier meanwhile.
        let _at = lock(&self.barrier_at);
        lock(&self.running).take().into_iter().for_each(Running::end);
        let _ = fs::remove_dir_all(&self.shared.barrier_dir);
    }
}

impl Drop for NotifyBackend {
    fn drop(&mut self) {
        self.stop();
    }
}

fn make_dir(dir: &Path) -> Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if !dir.is_dir() => Err(Error::io("create the directory", bytes(dir), error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::time::Duration;

    use ::notify::event::{DataChange, Flag, MetadataKind};
    use crossbeam_channel::{Receiver, Sender, unbounded};

    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    enum Told {
        Name(u32, String, bool),
        Facts(u32, String),
        Gone(u32, bool),
        Overflow,
        Mounts,
        Barrier(u64),
        Error(String),
    }

    struct Ear(Sender<Told>);

    impl Ear {
        fn hears(&self, told: Told) {
            let _ = self.0.send(told);
        }
    }

    fn text(path: &[u8]) -> String {
        String::from_utf8_lossy(path).into_owned()
    }

    impl Sink for Ear {
        fn name(&self, root: u32, dir: &[u8], name: &[u8], deep: bool) {
            self.hears(Told::Name(root, text(&crate::path::join(dir, name)), deep));
        }
        fn facts(&self, root: u32, dir: &[u8]) {
            self.hears(Told::Facts(root, text(dir)));
        }
        fn root_gone(&self, root: u32, deleted: bool) {
            self.hears(Told::Gone(root, deleted));
        }
        fn overflow(&self, _: Option<u32>) {
            self.hears(Told::Overflow);
        }
        fn mounts_changed(&self) {
            self.hears(Told::Mounts);
        }
        fn barrier(&self, number: u64) {
            self.hears(Told::Barrier(number));
        }
        fn error(&self, message: String) {
            self.hears(Told::Error(message));
        }
    }

    fn shared(roots: &[(u32, &str, &[&str])]) -> (Shared, Receiver<Told>) {
        let (sender, told) = unbounded();
        let mut account = Account::default();
        for (id, path, dirs) in roots {
            let sure = || Watch { inode: (0, 0), seen: 1, coming: false, doubted: None };
            let dirs = dirs.iter().map(|dir| (dir.as_bytes().to_vec(), sure())).collect();
            account.roots.insert(*id, Root { path: PathBuf::from(path), dirs, doubts: 0 });
        }
        let shared = Shared {
            sink: Arc::new(Ear(sender)),
            account: Mutex::new(account),
            stamp: AtomicU64::new(1),
            barrier_dir: PathBuf::from("/state/barrier"),
            barrier_lost: AtomicBool::new(false),
            barriers: Mutex::default(),
        };
        (shared, told)
    }

    fn event(kind: EventKind, path: &str) -> Event {
        Event::new(kind).add_path(PathBuf::from(path))
    }

    const FROM: EventKind = EventKind::Modify(ModifyKind::Name(RenameMode::From));
    const FACTS: EventKind = EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any));
    const DATA: EventKind = EventKind::Modify(ModifyKind::Data(DataChange::Any));

    fn name(root: u32, path: &str, deep: bool) -> Told {
        Told::Name(root, path.to_owned(), deep)
    }

    fn left(shared: &Shared, root: u32) -> Vec<(String, bool)> {
        let account = lock(&shared.account);
        account.roots[&root].dirs.iter().map(|(dir, watch)| (text(dir), watch.is_sure())).collect()
    }

    #[test]
    fn paths_are_compared_by_component() {
        for (path, above, rest) in [
            ("/a/b", "/a", Some("b")),
            ("/a", "/a", Some("")),
            ("/a-b", "/a", None),
            ("/a", "/a/b", None),
            ("/a/b", "/", Some("a/b")),
            ("/", "/", Some("")),
        ] {
            let found = below(path.as_bytes(), above.as_bytes());
            assert_eq!(found, rest.map(str::as_bytes), "{path} below {above}");
        }
    }

    #[test]
    fn an_event_goes_to_the_most_specific_root() {
        let (shared, told) = shared(&[(1, "/a", &["", "d"]), (2, "/a/b", &[""])]);
        for (kind, path) in [
            (DATA, "/a/d/x"),
            (DATA, "/a/b/x"),
            (DATA, "/a/bx"),
            (EventKind::Create(CreateKind::Folder), "/a/b/y"),
            (FACTS, "/a/d"),
            (FACTS, "/a/b"),
            (EventKind::Access(AccessKind::Close(AccessMode::Write)), "/a/w"),
            (EventKind::Access(AccessKind::Open(AccessMode::Any)), "/a/r"),
            (DATA, "/elsewhere"),
        ] {
            shared.event(&event(kind, path));
        }
        let expected = [
            name(1, "d/x", false),
            name(2, "x", false),
            name(1, "bx", false),
            name(2, "y", true),
            name(1, "d", false),
            Told::Facts(1, "d".to_owned()),
            Told::Facts(2, String::new()),
            name(1, "w", false),
        ];
        assert_eq!(told.try_iter().collect::<Vec<_>>(), expected);
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[test]
    fn what_was_below_a_moved_directory_is_not_watched_any_more() {
        let (shared, told) = shared(&[(1, "/a", &["", "d", "d-e", "d/f", "e/g"])]);
        shared.event(&event(FROM, "/a/d").set_tracker(7));
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [name(1, "d", true)]);
        // The crate does not watch `e` and keeps what is below it.
        shared.event(&event(FROM, "/a/e").set_tracker(8));
        let expected = [("", true), ("d-e", true), ("e/g", false)];
        assert_eq!(left(&shared, 1), expected.map(|(dir, sure)| (dir.to_owned(), sure)));
        assert_eq!(lock(&shared.account).roots[&1].doubts, 1);
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[test]
    fn a_file_that_goes_takes_the_watch_of_a_directory_in_its_place() {
        let (shared, told) = shared(&[(1, "/a", &["", "d"])]);
        shared.event(&event(EventKind::Remove(RemoveKind::File), "/a/d"));
        shared.event(&event(EventKind::Remove(RemoveKind::File), "/a/x"));
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [name(1, "d", true), name(1, "x", false)]);
        assert_eq!(left(&shared, 1), [(String::new(), true)]);
    }

    #[test]
    fn a_root_that_goes_is_told_with_the_reason() {
        let (shared, told) = shared(&[(1, "/a", &[""]), (2, "/b/c", &["", "d"]), (3, "/e", &[""])]);
        shared.event(&event(EventKind::Remove(RemoveKind::Folder), "/a"));
        shared.event(&event(FROM, "/b"));
        let unmount = event(EventKind::Remove(RemoveKind::Other), "/e").set_info("unmount");
        shared.event(&unmount);
        let expected = [Told::Gone(1, true), Told::Gone(2, false), Told::Mounts, Told::Gone(3, false)];
        assert_eq!(told.try_iter().collect::<Vec<_>>(), expected);
        assert!(left(&shared, 2).iter().all(|(_, sure)| !sure));
    }

    #[test]
    fn an_overflow_breaks_the_account_and_lets_barriers_through() {
        let (shared, told) = shared(&[(1, "/a", &[""])]);
        lock(&shared.barriers).extend([4, 5]);
        shared.event(&event(EventKind::Create(CreateKind::File), "/state/barrier/b-4"));
        shared.event(&event(EventKind::Create(CreateKind::File), "/state/barrier/b-9"));
        shared.hear(Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)));
        let expected = [Told::Barrier(4), Told::Overflow, Told::Barrier(5)];
        assert_eq!(told.try_iter().collect::<Vec<_>>(), expected);
        assert_eq!(lock(&shared.account).renew(1, b"", (0, 0), 2), Ok(false));
    }

    /// Everything that is told before a barrier.
    fn until_barrier(backend: &NotifyBackend, told: &Receiver<Told>, number: u64) -> Vec<Told> {
        backend.barrier(number).unwrap();
        let mut before = Vec::new();
        loop {
            match told.recv_timeout(Duration::from_secs(60)).unwrap() {
                Told::Barrier(n) if n == number => return before,
                other => before.push(other),
            }
        }
    }

    #[test]
    fn changes_come_before_the_barrier_and_moved_directories_are_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, barrier) = (dir.path().join("tree"), dir.path().join("barrier"));
        fs::create_dir_all(tree.join("d/e")).unwrap();
        let (sender, told) = unbounded();
        let backend = NotifyBackend::start(Arc::new(Ear(sender)), barrier.clone(), 3).unwrap();
        backend.add_root(1, &tree);
        let cover = |path: &str| {
            let fd = fs::File::open(tree.join(path)).unwrap();
            backend.cover(1, path.as_bytes(), fd.as_fd())
        };
        for path in ["", "d", "d/e", "d"] {
            assert_eq!(cover(path), Ok(()), "{path}");
        }
        fs::write(tree.join("d/e/x"), "1").unwrap();
        assert!(until_barrier(&backend, &told, 1).contains(&name(1, "d/e/x", false)));

        fs::rename(tree.join("d"), tree.join("n")).unwrap();
        let moved = until_barrier(&backend, &told, 2);
        assert!(moved.contains(&name(1, "d", true)) && moved.contains(&name(1, "n", true)), "{moved:?}");
        for path in ["n", "n/e"] {
            assert_eq!(cover(path), Ok(()), "{path}");
        }
        if PER_DIRECTORY {
            assert_eq!(backend.watched(1), 3);
            fs::create_dir(tree.join("more")).unwrap();
            assert_eq!(cover("more"), Err(Uncovered::Limit));
        }
        fs::write(tree.join("n/e/y"), "2").unwrap();
        assert!(until_barrier(&backend, &told, 3).contains(&name(1, "n/e/y", false)));

        // As after an overflow: every watch is set anew, and the barrier works as before.
        lock(&backend.shared.account).broken = true;
        for path in ["", "n", "n/e"] {
            assert_eq!(cover(path), Ok(()), "{path}");
        }
        fs::write(tree.join("n/e/z"), "3").unwrap();
        assert!(until_barrier(&backend, &told, 4).contains(&name(1, "n/e/z", false)));

        let stamp = backend.stamp();
        assert_eq!(cover(""), Ok(()));
        backend.sweep_all(1, stamp);
        assert_eq!(backend.watched(1), 1);
        backend.stop();
        assert!(!barrier.exists());
    }
}
