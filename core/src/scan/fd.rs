//! The walker over directory descriptors: a rayon task for each directory, opened relative to its
//! parent and never through a symlink. Tasks lie on the heap, so depth costs no stack; the number
//! of open descriptors is bounded, and beyond the bound a directory is reached again from the root.

use std::collections::{BTreeMap, HashSet};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::{Scope as TaskScope, ThreadPool};
use rustix::io::Errno;

use crate::path;
use crate::sys::{self, Hint};

use super::context::{Child, Context, Reads, Scope, Start, Walk};
use super::walk::{Seen, Visit};

/// Descriptors that pending tasks may hold at most, whatever the process is allowed.
const HELD_MAX: usize = 512;
/// Names between two looks at the cancel token.
const CANCEL_EVERY: usize = 256;

/// Walks with the threads of `pool`.
pub(crate) struct FdWalk {
    pub(crate) pool: Arc<ThreadPool>,
}

/// An open directory whose children are still to be visited.
struct Dir {
    fd: OwnedFd,
    held: Arc<AtomicUsize>,
}

impl Drop for Dir {
    fn drop(&mut self) {
        self.held.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Task {
    path: Vec<u8>,
    parent: Option<Arc<Dir>>,
    parent_dev: u64,
    child: Child,
    scope: Scope,
}

struct Shared<'a> {
    context: &'a Context,
    /// Where the walk starts: nobody else looks at the facts of these.
    starts: HashSet<Vec<u8>>,
    held: Arc<AtomicUsize>,
    held_max: usize,
}

impl Walk for FdWalk {
    fn walk(&self, context: &Arc<Context>, starts: Vec<Start>) {
        let allowed = usize::try_from(sys::descriptor_limit()).unwrap_or(usize::MAX) / 4;
        let held_max = allowed.clamp(1, HELD_MAX);
        let paths = starts.iter().map(|start| start.path.clone()).collect();
        let shared = Shared { context, starts: paths, held: Arc::default(), held_max };
        let shared = &shared;
        let begin = |start: Start| {
            let id = start.node.head.node;
            Task {
                parent: None,
                // A walk that starts at a mount point finds it as it was.
                parent_dev: if start.path.is_empty() {
                    context.root_dev
                } else {
                    start_dev(context, &start.path, start.node.head.is_mount)
                },
                path: start.path,
                child: Child { old: Some(start.node), id },
                scope: start.scope,
            }
        };
        self.pool.scope(|scope| {
            for start in starts {
                scope.spawn(move |scope| visit(scope, shared, begin(start)));
            }
        });
    }
}

/// The device of the directory above the start of a subtree walk.
pub(crate) fn start_dev(context: &Context, path: &[u8], was_mount: bool) -> u64 {
    let (parent, _) = path::split_last(path);
    let dev = sys::open_dir_below(&context.root_fd, parent).and_then(sys::look_fd).map(|look| look.dev);
    dev.unwrap_or(if was_mount { 0 } else { context.root_dev })
}

fn visit<'s>(scope: &TaskScope<'s>, shared: &'s Shared<'s>, task: Task) {
    let context = shared.context;
    if context.tally.is_cancelled() {
        return;
    }
    let Task { path, parent, parent_dev, child, scope: asked } = task;
    let fd = match open(context, &path, parent.as_deref()) {
        Ok(fd) => fd,
        Err(error) => return unopened(context, &path, parent.as_deref(), &child, error),
    };
    // The parent's descriptor is closed as soon as its last child is open.
    drop(parent);
    // Watched first, then read: its own facts, too.
    let escort = context.escort.as_ref();
    let for_facts = matches!(asked, Scope::Facts);
    if let Some(escort) = escort.filter(|_| !for_facts) {
        let reads = match asked {
            Scope::Names(_) | Scope::Facts => Reads::Some,
            Scope::Listing(_) => Reads::Names,
            Scope::Deep => Reads::All,
        };
        escort.enter(&path, fd.as_fd(), reads);
    }
    let Some(mut visit) = Visit::begin(context, path, &fd, parent_dev, child, &asked) else { return };
    let asked = if visit.needs_all() { Scope::Deep } else { asked };
    if matches!(asked, Scope::Facts) {
        return visit.finish(context, fd.as_fd(), false);
    }
    if let Some(escort) = escort.filter(|_| for_facts) {
        escort.enter(visit.path(), fd.as_fd(), Reads::All);
        visit.look_again(&fd);
    }
    let mut children = Vec::new();
    let complete = match &asked {
        Scope::Names(names) => look_up(context, &mut visit, &fd, names, &mut children),
        _ => list(context, &mut visit, &fd, &mut children),
    };
    let dev = visit.dev;
    let path = visit.path().to_vec();
    visit.finish(context, fd.as_fd(), complete);
    if children.is_empty() || context.tally.is_cancelled() {
        return;
    }
    // A name that was listed twice is one directory; the first counts, as it does for its entry.
    children.sort_by(|a, b| a.0.cmp(&b.0));
    children.dedup_by(|again, first| again.0 == first.0);
    let held = shared.held.fetch_add(1, Ordering::Relaxed);
    let dir = Arc::new(Dir { fd, held: Arc::clone(&shared.held) });
    for (name, child) in children {
        let deep = match &asked {
            Scope::Deep => true,
            Scope::Facts => false,
            Scope::Listing(deep) => deep.contains(&name),
            Scope::Names(names) => names.get(&name).copied().unwrap_or_default(),
        };
        let below = path::join(&path, &name);
        let deep = deep || child.old.is_none();
        if !deep && shared.starts.contains(&below) {
            continue;
        }
        let task = Task {
            path: below,
            parent: (held < shared.held_max).then(|| Arc::clone(&dir)),
            parent_dev: dev,
            scope: if deep { Scope::Deep } else { Scope::Facts },
            child,
        };
        scope.spawn(move |scope| self::visit(scope, shared, task));
    }
}

type Children = Vec<(Box<[u8]>, Child)>;

/// Lists a directory; true when it was listed to the end.
fn list(context: &Context, visit: &mut Visit, fd: &OwnedFd, children: &mut Children) -> bool {
    let mut countdown = CANCEL_EVERY;
    let mut cancelled = false;
    let listed = sys::list(fd, |name, hint| {
        countdown -= 1;
        if countdown == 0 {
            countdown = CANCEL_EVERY;
            cancelled = context.tally.is_cancelled();
        }
        if let Seen::Descend(child) = visit.entry(context, fd.as_fd(), name, hint) {
            children.push((Box::<[u8]>::from(name.to_bytes()), child));
        }
        !cancelled
    });
    match listed {
        Ok(()) => {}
        // Removed after it was opened: as one that was removed before.
        Err(Errno::NOENT) if !visit.path().is_empty() => {
            if let Some(escort) = context.escort.as_ref() {
                escort.missed(visit.path());
            }
        }
        Err(error) => context.tally.io_error("list", visit.path(), error),
    }
    listed.is_ok() && !cancelled
}

/// Looks names up one by one; true when each got an answer.
fn look_up(
    context: &Context,
    visit: &mut Visit,
    fd: &OwnedFd,
    names: &BTreeMap<Box<[u8]>, bool>,
    children: &mut Children,
) -> bool {
    for (n, name) in names.keys().enumerate() {
        if n % CANCEL_EVERY == 0 && context.tally.is_cancelled() {
            return false;
        }
        let Ok(c_name) = sys::c_name(name) else { continue };
        let hint = match sys::look_at(fd, &c_name) {
            Ok(look) => look.stat.map_or(Hint::Special, |stat| Hint::of_kind(stat.kind)),
            // Gone: the end of the visit decides what that means.
            Err(Errno::NOENT) => continue,
            Err(error) => {
                context.tally.io_error("look at", &path::join(visit.path(), name), error);
                continue;
            }
        };
        if let Seen::Descend(child) = visit.entry(context, fd.as_fd(), &c_name, hint) {
            children.push((name.clone(), child));
        }
    }
    true
}

fn open(context: &Context, path: &[u8], parent: Option<&Dir>) -> Result<OwnedFd, Errno> {
    match parent {
        Some(dir) => sys::open_dir_at(&dir.fd, sys::c_name(path::split_last(path).1)?.as_c_str()),
        None => sys::open_dir_below(&context.root_fd, path),
    }
}

/// A directory that cannot be opened keeps its last state; a new one becomes an entry without
/// content. One that is gone, or no directory any more, is for the next look: its parent's listing
/// is older than this.
fn unopened(context: &Context, path: &[u8], parent: Option<&Dir>, child: &Child, error: Errno) {
    let escort = context.escort.as_ref();
    if matches!(error, Errno::NOENT | Errno::NOTDIR | Errno::LOOP) && !path.is_empty() {
        if let Some(escort) = escort {
            escort.missed(path);
        }
        return;
    }
    context.tally.io_error("open", path, error);
    if let Some(escort) = escort {
        escort.refused(path, error);
    }
    if child.old.is_some() {
        return;
    }
    let Ok(name) = sys::c_name(path::split_last(path).1) else { return };
    let look = match parent {
        Some(dir) => sys::look_at(&dir.fd, &name),
        None => sys::open_dir_below(&context.root_fd, path::split_last(path).0)
            .and_then(|dir| sys::look_at(dir, &name)),
    };
    if let Some(stat) = look.ok().and_then(|look| look.stat) {
        context.push_unread(path.to_vec(), child.id, stat);
    }
}
