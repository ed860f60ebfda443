//! The portable walker: jwalk lists by path, and each directory is opened once more to look at its
//! entries relative to a descriptor. It ends where paths get longer than the system allows, which
//! becomes an error in the report. jwalk was retired with 0.9.0 by its maintainers; it stays as the
//! second opinion that runs the same tests.

use std::collections::HashMap;
use std::ffi::CStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use jwalk::{DirEntry, Parallelism, WalkDirGeneric};
use rayon::ThreadPool;
use rustix::io::Errno;

use crate::error::ErrorKind;
use crate::path;
use crate::sys::{self, Hint};

use super::context::{Child, Context, Scope, Start, Walk};
use super::fd::start_dev;
use super::walk::{Seen, Visit};

/// Walks with the threads of `pool`.
pub(crate) struct PortableWalk {
    pub(crate) pool: Arc<ThreadPool>,
    /// Path of the root on disk.
    pub(crate) root: std::path::PathBuf,
}

/// What a directory passes on to the visit of a subdirectory.
#[derive(Debug, Clone, Default)]
struct State {
    parent_dev: u64,
    child: Child,
    scope: Scope,
}

type Entry = DirEntry<(State, ())>;

impl Walk for PortableWalk {
    fn walk(&self, context: &Arc<Context>, starts: Vec<Start>) {
        for start in starts {
            self.walk_one(context, start);
        }
    }
}

impl PortableWalk {
    fn walk_one(&self, context: &Arc<Context>, start: Start) {
        let at = self.root.join(sys::as_path(&start.path));
        let id = start.node.head.node;
        let parent_dev = if start.path.is_empty() {
            context.root_dev
        } else {
            start_dev(context, &start.path, start.node.head.is_mount)
        };
        let first = State { parent_dev, child: Child { old: Some(start.node), id }, scope: start.scope };
        // Children that jwalk could not list never get a visit; they are settled at the end.
        let announced: Arc<Mutex<HashMap<Vec<u8>, Child>>> = Arc::default();
        let (shared, root, noted) = (Arc::clone(context), self.root.clone(), Arc::clone(&announced));
        let walk = WalkDirGeneric::<(State, ())>::new(&at)
            .sort(false)
            .skip_hidden(false)
            .follow_links(false)
            .root_read_dir_state(first)
            .parallelism(Parallelism::RayonExistingPool { pool: Arc::clone(&self.pool), busy_timeout: None })
            .process_read_dir(move |depth, dir, state, entries| {
                if depth.is_some() {
                    let Some(relative) = relative(&root, dir) else { return };
                    lock(&noted).remove(&relative);
                    visit(&shared, relative, state, entries, &noted);
                }
            });
        for entry in walk {
            let failed = match &entry {
                Ok(entry) => {
                    entry.read_children.as_ref().and_then(|r| r.error()).map(|e| (Some(entry.path()), e))
                }
                Err(error) => Some((error.path().map(Path::to_path_buf), error)),
            };
            if let Some((at, error)) = failed {
                let below = at.and_then(|p| relative(&self.root, &p)).unwrap_or_default();
                let errno =
                    error.io_error().and_then(std::io::Error::raw_os_error).map(Errno::from_raw_os_error);
                match errno {
                    Some(Errno::NOENT | Errno::NOTDIR) if !below.is_empty() => {
                        lock(&announced).remove(&below);
                    }
                    Some(errno) => context.tally.io_error("open", &below, errno),
                    None => context.tally.error(&below, ErrorKind::Io, error.to_string()),
                }
            }
        }
        for (below, child) in lock(&announced).drain() {
            unlisted(context, below, &child);
        }
    }
}

fn lock(map: &Mutex<HashMap<Vec<u8>, Child>>) -> std::sync::MutexGuard<'_, HashMap<Vec<u8>, Child>> {
    map.lock().unwrap_or_else(PoisonError::into_inner)
}

fn relative(root: &Path, at: &Path) -> Option<Vec<u8>> {
    Some(at.strip_prefix(root).ok()?.as_os_str().as_bytes().to_vec())
}

fn visit(
    context: &Context,
    path: Vec<u8>,
    state: &State,
    entries: &mut Vec<jwalk::Result<Entry>>,
    announced: &Mutex<HashMap<Vec<u8>, Child>>,
) {
    if context.tally.is_cancelled() {
        entries.clear();
        return;
    }
    let fd = match sys::open_dir_below(&context.root_fd, &path) {
        Ok(fd) => fd,
        Err(error) => {
            if !matches!(error, Errno::NOENT | Errno::NOTDIR | Errno::LOOP) {
                context.tally.io_error("open", &path, error);
            }
            entries.clear();
            return;
        }
    };
    let begun = Visit::begin(context, path, &fd, state.parent_dev, state.child.clone(), &state.scope);
    let Some(mut visit) = begun else {
        entries.clear();
        return;
    };
    let mut complete = true;
    for entry in entries.iter_mut() {
        let Ok(entry) = entry else {
            complete = false;
            continue;
        };
        if !visit.is_wanted(entry.file_name.as_bytes()) {
            entry.read_children = None;
            continue;
        }
        let Ok(name) = sys::c_name(entry.file_name.as_bytes()) else { continue };
        let seen = visit.entry(
            context,
            &fd,
            CStr::from_bytes_with_nul(name.as_bytes_with_nul()).unwrap_or(c"?"),
            hint(entry),
        );
        match (seen, &mut entry.read_children) {
            (Seen::Descend(child), Some(read)) => {
                lock(announced).insert(path::join(visit.path(), name.as_bytes()), child.clone());
                read.client_read_state = Some(State { parent_dev: visit.dev, child, scope: Scope::Deep });
            }
            (Seen::Descend(child), None) => {
                lock(announced).insert(path::join(visit.path(), name.as_bytes()), child);
            }
            (Seen::Nothing, read) => *read = None,
        }
    }
    if !complete {
        context.tally.refuse("list all of", visit.path(), ErrorKind::Io, "an entry could not be read");
    }
    let cancelled = context.tally.is_cancelled();
    visit.finish(context, &fd, complete && !cancelled);
}

fn hint(entry: &Entry) -> Hint {
    let kind = entry.file_type;
    if kind.is_dir() {
        Hint::Dir
    } else if kind.is_file() || kind.is_symlink() {
        Hint::Leaf
    } else {
        Hint::Unknown
    }
}

/// A new directory that could not be listed still is an entry.
fn unlisted(context: &Context, path: Vec<u8>, child: &Child) {
    if child.old.is_some() || context.tally.is_cancelled() {
        return;
    }
    let (dir, name) = path::split_last(&path);
    let Ok(name) = sys::c_name(name) else { return };
    let look = sys::open_dir_below(&context.root_fd, dir).and_then(|dir| sys::look_at(dir, &name));
    if let Some(stat) = look.ok().and_then(|look| look.stat) {
        context.push_unread(path, child.id, stat);
    }
}
