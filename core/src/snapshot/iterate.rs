//! Walking a snapshot in path order. The walk keeps its own stack; an entry is decoded when it is
//! asked for, and its path is put together only on demand.

use std::sync::Arc;

use globset::Candidate;

use crate::entry::{Entry, Kind, Stat, Totals};
use crate::path;

use super::filter::Filter;
use super::node::{DirNode, Page, Trail};
use super::page::Slot;
use super::read::Snapshot;
use super::tree::RootView;

/// One entry of a snapshot: a cheap view that lives as long as the snapshot.
#[derive(Debug, Clone)]
pub struct EntryRef<'s> {
    root: &'s RootView,
    /// The directory that holds the entry; a root itself.
    dir: &'s DirNode,
    /// `None` for a root itself.
    slot: Option<Slot<'s>>,
    node: Option<&'s Arc<DirNode>>,
}

impl<'s> EntryRef<'s> {
    #[inline]
    pub(crate) fn new(
        root: &'s RootView,
        dir: &'s DirNode,
        slot: Slot<'s>,
        node: Option<&'s Arc<DirNode>>,
    ) -> Self {
        Self { root, dir, slot: Some(slot), node }
    }

    pub(crate) fn of_root(root: &'s RootView, node: &'s Arc<DirNode>) -> Self {
        Self { root, dir: node, slot: None, node: Some(node) }
    }

    #[inline]
    fn stat(&self) -> Stat {
        match (self.node, &self.slot) {
            (Some(node), _) => node.head.stat,
            (None, Some(slot)) => slot.stat(),
            (None, None) => Stat::EMPTY_DIR,
        }
    }

    /// Returns the full address, `ROOT/relative/path`.
    #[must_use]
    pub fn path(&self) -> Vec<u8> {
        let name = self.slot.as_ref().map_or(&[][..], Slot::name);
        self.dir.trail.path(self.root.record.name.as_bytes(), name)
    }

    /// The way to the directory that holds the entry.
    #[inline]
    pub(crate) fn trail(&self) -> &'s Arc<Trail> {
        &self.dir.trail
    }

    /// When the content may have changed last, as far as the file system can be trusted to say; 0 where
    /// all it says lies in the future.
    pub(crate) fn touched_ns(&self, now_ns: i64) -> i64 {
        let stat = self.stat();
        let ctime_ns = self.root.record.compare.trusts_ctime().then_some(stat.ctime_ns);
        [Some(stat.mtime_ns), ctime_ns].into_iter().flatten().filter(|at| *at <= now_ns).max().unwrap_or(0)
    }

    /// Returns the path within the root; empty for the root itself.
    #[must_use]
    pub fn relative_path(&self) -> Vec<u8> {
        path::split_root(&self.path()).1.to_vec()
    }

    /// The last component; `None` for a root itself.
    #[inline]
    pub(crate) fn name_in_dir(&self) -> Option<&'s [u8]> {
        self.slot.as_ref().map(Slot::name)
    }

    /// Returns the name of the root.
    #[must_use]
    #[inline]
    pub fn root(&self) -> &'s str {
        &self.root.record.name
    }

    /// Returns the last component; for a root its name.
    #[must_use]
    #[inline]
    pub fn name(&self) -> &'s [u8] {
        self.slot.as_ref().map_or(self.root.record.name.as_bytes(), Slot::name)
    }

    /// Returns what it is.
    #[must_use]
    #[inline]
    pub fn kind(&self) -> Kind {
        self.slot.as_ref().map_or(Kind::Dir, Slot::kind)
    }

    /// Returns the size in bytes.
    #[must_use]
    #[inline]
    pub fn size(&self) -> u64 {
        match (self.node, &self.slot) {
            (None, Some(slot)) => slot.size(),
            _ => self.stat().size,
        }
    }

    /// Returns the modification time in nanoseconds since 1970 UTC.
    #[must_use]
    #[inline]
    pub fn mtime_ns(&self) -> i64 {
        match (self.node, &self.slot) {
            (None, Some(slot)) => slot.mtime_ns(),
            _ => self.stat().mtime_ns,
        }
    }

    /// Returns the time of the last change of the inode in nanoseconds since 1970 UTC.
    #[must_use]
    pub fn ctime_ns(&self) -> i64 {
        self.stat().ctime_ns
    }

    /// Returns the time of birth in nanoseconds since 1970 UTC, where the file system keeps it.
    #[must_use]
    pub fn btime_ns(&self) -> Option<i64> {
        Some(self.stat().btime_ns).filter(|&ns| ns != 0)
    }

    /// Returns the inode number.
    #[must_use]
    pub fn inode(&self) -> u64 {
        self.stat().inode
    }

    /// Returns the type and permission bits.
    #[must_use]
    pub fn mode(&self) -> u32 {
        self.stat().mode
    }

    /// Returns what the file system said of it, all at once: several of these asked for one by one cost as often.
    #[must_use]
    #[inline]
    pub fn meta(&self) -> Meta {
        let Stat { size, mtime_ns, ctime_ns, btime_ns, inode, mode, .. } = self.stat();
        let btime_ns = Some(btime_ns).filter(|&ns| ns != 0);
        Meta { size, mtime_ns, ctime_ns, btime_ns, inode, mode }
    }

    /// Returns the xxh3-128 of the content, where it is kept.
    #[must_use]
    #[inline]
    pub fn hash(&self) -> Option<u128> {
        self.slot.as_ref().and_then(Slot::hash)
    }

    /// Returns the target of a symlink.
    #[must_use]
    #[inline]
    pub fn target(&self) -> Option<&'s [u8]> {
        self.slot.as_ref().and_then(Slot::target)
    }

    /// Returns the stable id.
    #[must_use]
    #[inline]
    pub fn id(&self) -> u64 {
        match (self.node, &self.slot) {
            (Some(node), _) => node.head.entry_id,
            (None, slot) => slot.as_ref().map_or(0, Slot::id),
        }
    }

    /// Returns the commit that changed the entry last.
    #[must_use]
    #[inline]
    pub fn seq(&self) -> u64 {
        match (self.node, &self.slot) {
            (Some(node), _) => node.head.seq,
            (None, slot) => slot.as_ref().map_or(0, Slot::seq),
        }
    }

    /// Returns when the entry went missing; `None` while it is there.
    #[must_use]
    #[inline]
    pub fn missing_since_ns(&self) -> Option<i64> {
        match (self.node, &self.slot) {
            (Some(node), _) => node.head.missing_since_ns,
            (None, slot) => slot.as_ref().and_then(Slot::missing_since_ns),
        }
    }

    /// Returns true when the entry was changed so shortly before it was seen that the clock of the
    /// file system could not tell a further change apart; the next scan looks closer.
    #[must_use]
    pub fn is_racy(&self) -> bool {
        self.slot.as_ref().is_some_and(Slot::is_racy)
    }

    /// Returns the totals of a directory.
    #[must_use]
    pub fn totals(&self) -> Option<Totals> {
        self.node.map(|node| node.totals)
    }

    /// Returns everything as owned values.
    #[must_use]
    pub fn to_entry(&self) -> Entry {
        let stat = self.stat();
        Entry {
            path: self.path(),
            kind: self.kind(),
            size: stat.size,
            mtime_ns: stat.mtime_ns,
            ctime_ns: stat.ctime_ns,
            btime_ns: self.btime_ns(),
            inode: stat.inode,
            mode: stat.mode,
            hash: self.hash(),
            target: self.target().map(<[u8]>::to_vec),
            id: self.id(),
            seq: self.seq(),
            missing_since_ns: self.missing_since_ns(),
        }
    }
}

/// What the file system said of an entry. Times are nanoseconds since 1970 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// Size in bytes.
    pub size: u64,
    /// Modification time.
    pub mtime_ns: i64,
    /// Time of the last change of the inode.
    pub ctime_ns: i64,
    /// Birth time, where the file system keeps it.
    pub btime_ns: Option<i64>,
    /// Inode number.
    pub inode: u64,
    /// Type and permission bits.
    pub mode: u32,
}

/// One directory on the way down.
struct Frame<'s> {
    node: &'s DirNode,
    page: Option<&'s Page>,
    page_index: usize,
    slot_index: usize,
    slot_count: usize,
    kid_index: usize,
}

impl<'s> Frame<'s> {
    fn new(node: &'s DirNode) -> Self {
        let page = node.pages.get(0);
        let slot_count = page.map_or(0, |p| p.view().len());
        Self { node, page, page_index: 0, slot_index: 0, slot_count, kid_index: 0 }
    }

    /// The next entry where it is no directory and lies in the page at hand.
    #[inline]
    fn next_file(&mut self) -> Option<Slot<'s>> {
        if self.slot_index >= self.slot_count {
            return None;
        }
        let slot = self.page?.view().slot(self.slot_index);
        if slot.kind() == Kind::Dir {
            return None;
        }
        self.slot_index += 1;
        Some(slot)
    }

    #[inline]
    fn next(&mut self) -> Option<(Slot<'s>, Option<&'s Arc<DirNode>>)> {
        loop {
            let page = self.page?;
            if self.slot_index < self.slot_count {
                let slot = page.view().slot(self.slot_index);
                self.slot_index += 1;
                let kid = if slot.kind() == Kind::Dir {
                    self.kid_index += 1;
                    page.kids.get(self.kid_index - 1)
                } else {
                    None
                };
                return Some((slot, kid));
            }
            self.page_index += 1;
            self.page = self.node.pages.get(self.page_index);
            self.slot_count = self.page.map_or(0, |p| p.view().len());
            self.slot_index = 0;
            self.kid_index = 0;
        }
    }
}

/// An iterator over the entries of a snapshot in path order.
pub struct Entries<'s> {
    roots: std::slice::Iter<'s, Arc<RootView>>,
    root: Option<&'s RootView>,
    stack: Vec<Frame<'s>>,
    /// A prefix that names a single file.
    single: Option<EntryRef<'s>>,
    filter: Filter,
    plain: bool,
}

impl<'s> Entries<'s> {
    pub(crate) fn new(snapshot: &'s Snapshot, filter: &Filter) -> Self {
        let mut entries = Self {
            roots: [].iter(),
            root: None,
            stack: Vec::new(),
            single: None,
            filter: filter.clone(),
            plain: filter.is_plain(),
        };
        if filter.under.is_empty() {
            entries.roots = snapshot.roots_of_tree().iter();
            return entries;
        }
        // The way down skips empty components, and would take `music//` for `music`.
        if path::has_empty_component(&filter.under) {
            return entries;
        }
        let (name, rest) = path::split_root(&filter.under);
        let Some(root) = snapshot.root_view(name) else { return entries };
        entries.root = Some(root);
        let tree = if filter.missing { &root.gone } else { &root.live };
        if let Some(node) = tree.descend(rest) {
            entries.stack.push(Frame::new(node));
        } else if !filter.direct {
            entries.single = if filter.missing {
                snapshot.get_missing(&filter.under)
            } else {
                snapshot.get(&filter.under)
            };
        }
        entries
    }

    #[inline]
    fn passes(&self, slot: &Slot<'s>, node: Option<&'s Arc<DirNode>>, dir: &DirNode) -> bool {
        let kind = slot.kind();
        if kind == Kind::Dir {
            let listed = self.filter.with_dirs
                && (!self.filter.missing || node.is_some_and(|n| n.head.missing_since_ns.is_some()));
            if !listed {
                return false;
            }
        }
        self.plain || self.passes_conditions(slot, node, dir)
    }

    fn passes_conditions(&self, slot: &Slot<'s>, node: Option<&'s Arc<DirNode>>, dir: &DirNode) -> bool {
        let filter = &self.filter;
        if filter.kind.is_some_and(|k| k != slot.kind()) {
            return false;
        }
        let size = node.map_or_else(|| slot.size(), |n| n.head.stat.size);
        if filter.size.is_some_and(|(min, max)| size < min || size > max) {
            return false;
        }
        let mtime = node.map_or_else(|| slot.mtime_ns(), |n| n.head.stat.mtime_ns);
        if filter.mtime.is_some_and(|(min, max)| mtime < min || mtime > max) {
            return false;
        }
        filter.glob.as_ref().is_none_or(|glob| {
            let root = self.root.map_or(&[][..], |root| root.record.name.as_bytes());
            let full = dir.trail.path(root, slot.name());
            let skip = if filter.under.is_empty() { 0 } else { filter.under.len() + 1 };
            let relative = full.get(skip..).filter(|r| !r.is_empty()).unwrap_or(slot.name());
            glob.is_match_candidate(&Candidate::from_bytes(relative))
        })
    }

    fn next_root(&mut self) -> Option<EntryRef<'s>> {
        let root = self.roots.next()?;
        self.root = Some(root);
        let node = if self.filter.missing { &root.gone } else { &root.live };
        if !self.filter.direct {
            self.stack.push(Frame::new(node));
        }
        Some(EntryRef::of_root(root, node))
    }

    /// The next entry, whatever it is and wherever it lies.
    fn advance(&mut self) -> Option<EntryRef<'s>> {
        if let Some(single) = self.single.take() {
            let slot = single.slot?;
            if self.passes(&slot, None, single.dir) {
                return Some(single);
            }
        }
        loop {
            let Some(frame) = self.stack.last_mut() else {
                let root = self.next_root()?;
                if self.filter.direct {
                    return Some(root);
                }
                continue;
            };
            let Some((slot, kid)) = frame.next() else {
                self.stack.pop();
                continue;
            };
            let dir = frame.node;
            if let (Some(kid), false) = (kid, self.filter.direct) {
                self.stack.push(Frame::new(kid));
            }
            if self.passes(&slot, kid, dir) {
                return Some(EntryRef::new(self.root?, dir, slot, kid));
            }
        }
    }
}

impl<'s> Iterator for Entries<'s> {
    type Item = EntryRef<'s>;

    #[inline]
    fn next(&mut self) -> Option<EntryRef<'s>> {
        // Mostly a file comes after a file, and all of them pass.
        if self.plain
            && let (Some(root), Some(frame)) = (self.root, self.stack.last_mut())
            && let Some(slot) = frame.next_file()
        {
            return Some(EntryRef::new(root, frame.node, slot, None));
        }
        self.advance()
    }
}

impl std::fmt::Debug for Entries<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entries").field("under", &path::escape(&self.filter.under)).finish()
    }
}
