//! The public face of a published tree.

use std::sync::Arc;

use crate::entry::{Kind, Totals};
use crate::journal::Change;
use crate::path;

use super::cell::Version;
use super::diff;
use super::filter::Filter;
use super::iterate::{Entries, EntryRef};
use super::node::DirNode;
use super::tree::{RootView, Tree};
use super::walk::Walk;

/// The published tree as the engine passes it around.
pub(crate) type Shared = Arc<Version<Tree>>;

/// An immutable view of every root at one seq.
///
/// Taking one is lock-free, reading it needs no lock and no syscall, and it stays exactly as it is
/// however long it is held. It is `Send + Sync`, cheap to clone, and outlives the warden. Dropping
/// the last handle hands the memory to the engine's reclaiming thread.
///
/// Addresses are `ROOT/relative/path` in bytes. Path order is component by component in byte
/// order: a directory is followed by everything below it.
#[derive(Clone)]
pub struct Snapshot(Shared);

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("seq", &self.seq()).field("len", &self.len()).finish()
    }
}

impl Snapshot {
    pub(crate) fn new(shared: Shared) -> Self {
        Self(shared)
    }

    pub(crate) fn roots_of_tree(&self) -> &[Arc<RootView>] {
        self.0.tree().map_or(&[], |tree| &tree.roots)
    }

    pub(crate) fn root_view(&self, name: &[u8]) -> Option<&Arc<RootView>> {
        self.0.tree()?.root(name)
    }

    /// Returns the commit that this is the state of.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.0.seq()
    }

    /// Returns how many files and symlinks are there, in all roots.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.roots_of_tree().iter().map(|r| r.live.totals.files).sum()
    }

    /// Returns true when no root holds a file or symlink.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the names of the roots in order.
    #[must_use]
    pub fn roots(&self) -> Vec<&str> {
        self.roots_of_tree().iter().map(|r| r.record.name.as_str()).collect()
    }

    /// Finds an entry by its address. The root itself is a directory entry. `None` when nothing
    /// is there, and for anything that is not an address.
    #[must_use]
    pub fn get(&self, address: impl AsRef<[u8]>) -> Option<EntryRef<'_>> {
        self.find(address.as_ref(), |root| &root.live)
    }

    /// Returns true when a file, directory or symlink is there.
    #[must_use]
    pub fn contains(&self, address: impl AsRef<[u8]>) -> bool {
        self.get(address).is_some()
    }

    /// Finds the tombstone of an entry that is missing.
    #[must_use]
    pub fn get_missing(&self, address: impl AsRef<[u8]>) -> Option<EntryRef<'_>> {
        self.find(address.as_ref(), |root| &root.gone).filter(|e| e.missing_since_ns().is_some())
    }

    fn find<'s>(
        &'s self,
        address: &[u8],
        which: fn(&'s RootView) -> &'s Arc<DirNode>,
    ) -> Option<EntryRef<'s>> {
        let address = address.strip_suffix(b"/").unwrap_or(address);
        let (name, rest) = path::split_root(address);
        let root = self.root_view(name)?;
        let node = which(root);
        // Behind a slash that is still there an empty name would have to be found: `music//` is not `music`.
        if name.len() == address.len() {
            return Some(EntryRef::of_root(root, node));
        }
        let mut node = node;
        let mut rest = rest;
        loop {
            let (component, below) = path::split_root(rest);
            let (page, index) = node.find(component)?;
            let slot = page.view().slot(index);
            let kid = if slot.kind() == Kind::Dir { page.kid(index) } else { None };
            if component.len() == rest.len() {
                return Some(EntryRef::new(root, node, slot, kid));
            }
            node = kid?;
            rest = below;
        }
    }

    /// Iterates over the files and symlinks below `prefix` in path order; `""` means everything.
    /// A prefix that is a file yields that file; one that is unknown yields nothing.
    pub fn files(&self, prefix: impl AsRef<[u8]>) -> Entries<'_> {
        self.select(&Filter::new().under(prefix))
    }

    /// Iterates over everything below `prefix` in path order, directories included, without the
    /// prefix itself.
    pub fn entries(&self, prefix: impl AsRef<[u8]>) -> Entries<'_> {
        self.select(&Filter::new().under(prefix).with_dirs())
    }

    /// Iterates over the tombstones of files and symlinks below `prefix`, in path order.
    pub fn missing(&self, prefix: impl AsRef<[u8]>) -> Entries<'_> {
        self.select(&Filter::new().under(prefix).missing())
    }

    /// Iterates over the direct children of a directory, directories included. `""` lists the
    /// roots.
    pub fn children(&self, dir: impl AsRef<[u8]>) -> Entries<'_> {
        self.select(&Filter::new().under(dir).with_dirs().direct())
    }

    /// Iterates over what passes the filter, in path order.
    pub fn select(&self, filter: &Filter) -> Entries<'_> {
        Entries::new(self, filter)
    }

    /// As [`Snapshot::select`], for callers who cannot borrow: the walk keeps the snapshot.
    #[must_use]
    pub fn walk(&self, filter: &Filter) -> Walk {
        Walk::new(self.clone(), filter)
    }

    /// Returns the totals of a directory, at any depth in the time of one lookup; `""` means all
    /// roots. A file counts as one. `None` when nothing is there.
    #[must_use]
    pub fn du(&self, prefix: impl AsRef<[u8]>) -> Option<Totals> {
        let prefix = prefix.as_ref();
        if prefix.is_empty() {
            return Some(self.0.tree()?.totals());
        }
        let entry = self.get(prefix)?;
        Some(entry.totals().unwrap_or(Totals { files: 1, dirs: 0, bytes: entry.size() }))
    }

    /// Lists what leads from `older` to this snapshot: added, modified, moved and missing entries,
    /// in path order, each with the seq of this snapshot's entry. Entries are matched by id, so a
    /// file under another name is `moved`. Costs what differs: shared subtrees are not visited.
    #[must_use]
    pub fn diff(&self, older: &Snapshot) -> Vec<Change> {
        diff::between(older, self)
    }
}
