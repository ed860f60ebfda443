//! Walking a snapshot that the walk itself keeps: for callers who cannot borrow, such as other languages,
//! and for those who want the paths of very many entries.

use std::sync::Arc;

use self_cell::self_cell;

use super::filter::Filter;
use super::iterate::{Entries, EntryRef};
use super::node::Trail;
use super::read::Snapshot;

type Borrowed<'s> = Entries<'s>;

self_cell!(
    struct Kept {
        owner: Snapshot,
        #[not_covariant]
        dependent: Borrowed,
    }
);

/// A walk over the entries of a snapshot, in path order, that keeps the snapshot. `Send`; one thread at a
/// time.
pub struct Walk(Kept);

impl Walk {
    pub(super) fn new(snapshot: Snapshot, filter: &Filter) -> Self {
        Self(Kept::new(snapshot, |snapshot| snapshot.select(filter)))
    }

    /// Returns the snapshot.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        self.0.borrow_owner()
    }

    /// Hands the next entries to `each`, `entries_max` at most. Returns how many there were; fewer than
    /// asked for means the end.
    #[inline]
    pub fn each(&mut self, entries_max: usize, mut each: impl FnMut(&EntryRef<'_>)) -> usize {
        self.0.with_dependent_mut(|_, entries| {
            entries.by_ref().take(entries_max).map(|entry| each(&entry)).count()
        })
    }
}

impl std::fmt::Debug for Walk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Walk").field("snapshot", self.snapshot()).finish_non_exhaustive()
    }
}

/// Puts the paths of entries together in one buffer; entries of one directory that come one after the
/// other, as in a walk, share the work.
#[derive(Debug, Default)]
pub struct Paths {
    /// The directory of the last entry, and where the name of its root lies.
    dir: Option<(Arc<Trail>, usize)>,
    bytes: Vec<u8>,
    dir_len: usize,
}

impl Paths {
    /// An empty buffer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The path of an entry, `ROOT/relative/path`, as [`EntryRef::path`] gives it.
    #[inline]
    pub fn of(&mut self, entry: &EntryRef<'_>) -> &[u8] {
        let Some(name) = entry.name_in_dir() else {
            self.dir = None;
            self.bytes.clear();
            self.bytes.extend_from_slice(entry.root().as_bytes());
            return &self.bytes;
        };
        // A way belongs to one root, but for the one at the top, which a root may share with another.
        let root = entry.root();
        let is_same = |(trail, of): &(Arc<Trail>, usize)| {
            Arc::ptr_eq(trail, entry.trail()) && *of == root.as_ptr().addr()
        };
        if !self.dir.as_ref().is_some_and(is_same) {
            // Copied, so that the buffer keeps the room that the names need.
            self.bytes.clear();
            self.bytes.extend_from_slice(&entry.trail().path(root.as_bytes(), b""));
            self.bytes.push(b'/');
            self.dir_len = self.bytes.len();
            self.dir = Some((Arc::clone(entry.trail()), root.as_ptr().addr()));
        }
        self.bytes.truncate(self.dir_len);
        self.bytes.extend_from_slice(name);
        &self.bytes
    }
}
