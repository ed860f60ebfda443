//! The persistent tree: a directory is an immutable node that shares everything unchanged with
//! its predecessors. A node holds its own facts, its packed pages, and the nodes of its
//! subdirectories beside the page that names them.
//!
//! Invariants: the entries of all pages of a node are sorted by name across pages; `kids[i]` of a
//! page is the node of its i-th directory entry; totals are those of the whole subtree.

use std::sync::Arc;

use crate::bytes::{Malformed, Put, Take};
use crate::entry::{Kind, Stat, Totals};

use super::page::{PageView, Slot, Summary};

/// The facts of a directory itself, stored in a block of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// Key of this node's blocks in the state file.
    pub(crate) node: u64,
    /// Id of the directory as an entry; 0 in a node that only holds tombstones together.
    pub(crate) entry_id: u64,
    pub(crate) stat: Stat,
    pub(crate) seq: u64,
    /// Lies on another file system than its parent.
    pub(crate) is_mount: bool,
    /// Known by name, but not listed yet.
    pub(crate) is_unread: bool,
    pub(crate) missing_since_ns: Option<i64>,
}

const HEAD_MOUNT: u8 = 1;
const HEAD_UNREAD: u8 = 2;
const HEAD_MISSING: u8 = 4;
const HEAD_NO_BTIME: u8 = 8;
const HEAD_OWN_ENTRY: u8 = 16;

impl Head {
    /// A directory that has a place in the tree and nothing else yet.
    pub(crate) fn empty(node: u64, entry_id: u64) -> Self {
        Self {
            node,
            entry_id,
            stat: Stat::EMPTY_DIR,
            seq: 0,
            is_mount: false,
            is_unread: false,
            missing_since_ns: None,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(48);
        let own = self.entry_id != self.node;
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        out.push(
            flag(self.is_mount, HEAD_MOUNT)
                | flag(self.is_unread, HEAD_UNREAD)
                | flag(self.missing_since_ns.is_some(), HEAD_MISSING)
                | flag(self.stat.btime_ns == 0, HEAD_NO_BTIME)
                | flag(own, HEAD_OWN_ENTRY),
        );
        out.put_num(u64::from(self.stat.mode));
        out.put_num(self.seq);
        out.put_num(self.stat.inode);
        out.put_num(self.stat.size);
        out.put_i64(self.stat.mtime_ns);
        out.put_i64(self.stat.ctime_ns);
        if self.stat.btime_ns != 0 {
            out.put_i64(self.stat.btime_ns);
        }
        if own {
            out.put_num(self.entry_id);
        }
        if let Some(since) = self.missing_since_ns {
            out.put_i64(since);
        }
        out
    }

    pub(crate) fn decode(node: u64, row: &[u8]) -> Result<Self, Malformed> {
        let mut take = Take(row);
        let flags = take.u8()?;
        let mode = u32::try_from(take.num()?).map_err(|_| Malformed)?;
        let seq = take.num()?;
        let inode = take.num()?;
        let size = take.num()?;
        let mtime_ns = take.i64()?;
        let ctime_ns = take.i64()?;
        let btime_ns = if flags & HEAD_NO_BTIME == 0 { take.i64()? } else { 0 };
        let entry_id = if flags & HEAD_OWN_ENTRY != 0 { take.num()? } else { node };
        let missing_since_ns = if flags & HEAD_MISSING != 0 { Some(take.i64()?) } else { None };
        if !take.is_done() {
            return Err(Malformed);
        }
        Ok(Self {
            node,
            entry_id,
            stat: Stat { kind: Kind::Dir, size, mtime_ns, ctime_ns, btime_ns, inode, mode, linked: false },
            seq,
            is_mount: flags & HEAD_MOUNT != 0,
            is_unread: flags & HEAD_UNREAD != 0,
            missing_since_ns,
        })
    }
}

/// Where a block lies in the state file: the row that holds it, and its number within the node.
/// Number 0 is the head, pages count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub(crate) segment: u64,
    pub(crate) number: u32,
}

/// One page of a node, with the nodes of the directories that it names.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    pub(crate) bytes: Arc<[u8]>,
    pub(crate) kids: Box<[Arc<DirNode>]>,
    pub(crate) place: Place,
    /// Files and bytes of the page itself, and everything below its directories.
    pub(crate) totals: Totals,
}

impl Page {
    pub(crate) fn new(bytes: Arc<[u8]>, kids: Box<[Arc<DirNode>]>, place: Place) -> Self {
        let own = PageView::new(&bytes).summary();
        Self::summed(bytes, kids, place, own)
    }

    /// As [`Page::new`], where the page has been added up before.
    pub(crate) fn summed(bytes: Arc<[u8]>, kids: Box<[Arc<DirNode>]>, place: Place, own: Summary) -> Self {
        let totals = Totals { files: own.files, dirs: 0, bytes: own.bytes };
        Self { bytes, kids, place, totals }.with_kid_totals()
    }

    /// The same entries with other nodes below them.
    pub(crate) fn with_kids(&self, kids: Box<[Arc<DirNode>]>) -> Self {
        Self::new(Arc::clone(&self.bytes), kids, self.place)
    }

    fn with_kid_totals(mut self) -> Self {
        for kid in &self.kids {
            self.totals.add(kid.totals);
            self.totals.dirs += 1;
        }
        self
    }

    #[inline]
    pub(crate) fn view(&self) -> PageView<'_> {
        PageView::new(&self.bytes)
    }

    /// The node of the directory in slot `index`; `None` for anything else.
    #[inline]
    pub(crate) fn kid(&self, index: usize) -> Option<&Arc<DirNode>> {
        let slot = self.view().slot(index);
        if slot.kind() == Kind::Dir { self.kids.get(slot.dir_number()) } else { None }
    }
}

/// The pages of a node. Nearly every directory has at most one, which then lies in the node.
#[derive(Debug)]
pub(crate) enum Pages {
    None,
    One(Page),
    Many(Box<[Arc<Page>]>),
}

impl Pages {
    pub(crate) fn from_vec(mut pages: Vec<Arc<Page>>) -> Self {
        match pages.len() {
            0 => Self::None,
            1 => match pages.pop() {
                Some(page) => Self::One(Arc::try_unwrap(page).unwrap_or_else(|shared| (*shared).clone())),
                None => Self::None,
            },
            _ => Self::Many(pages.into_boxed_slice()),
        }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(_) => 1,
            Self::Many(pages) => pages.len(),
        }
    }

    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<&Page> {
        match self {
            Self::None => None,
            Self::One(page) => (index == 0).then_some(page),
            Self::Many(pages) => pages.get(index).map(|p| &**p),
        }
    }

    /// A handle that keeps a page shared with this node.
    pub(crate) fn share(&self, index: usize) -> Option<Arc<Page>> {
        match self {
            Self::None => None,
            Self::One(page) => (index == 0).then(|| Arc::new(page.clone())),
            Self::Many(pages) => pages.get(index).map(Arc::clone),
        }
    }

    #[inline]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Page> {
        (0..self.len()).filter_map(|i| self.get(i))
    }

    /// The page that holds `name` if any does.
    #[inline]
    pub(crate) fn candidate(&self, name: &[u8]) -> Option<usize> {
        match self {
            Self::None => None,
            Self::One(_) => Some(0),
            Self::Many(pages) => {
                Some(pages.partition_point(|p| p.view().slot(0).name() <= name).saturating_sub(1))
            }
        }
    }
}

/// A directory at one seq. What a lookup needs comes first, so that it lies in one cache line.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct DirNode {
    pub(crate) pages: Pages,
    pub(crate) totals: Totals,
    pub(crate) head: Head,
    pub(crate) head_segment: u64,
    /// Highest block number in use, so that new pages get numbers of their own.
    pub(crate) last_number: u32,
    pub(crate) trail: Arc<Trail>,
}

/// The way from the root to a directory. A node never changes its path: a directory that moves gets
/// new nodes, for itself and for all below it. So the way can be shared by all versions of a node.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    parent: Option<Arc<Trail>>,
    name: Box<[u8]>,
}

impl Trail {
    pub(crate) fn below(parent: &Arc<Self>, name: &[u8]) -> Arc<Self> {
        Arc::new(Self { parent: Some(Arc::clone(parent)), name: name.into() })
    }

    /// The path of `name` in this directory, behind `prefix`.
    pub(crate) fn path(&self, prefix: &[u8], name: &[u8]) -> Vec<u8> {
        let mut names: Vec<&[u8]> = Vec::new();
        let mut trail = self;
        while let Some(parent) = &trail.parent {
            names.push(&trail.name);
            trail = parent;
        }
        let len = prefix.len() + name.len() + 2 + names.iter().map(|n| n.len() + 1).sum::<usize>();
        let mut path = Vec::with_capacity(len);
        path.extend_from_slice(prefix);
        for part in names.into_iter().rev().chain([name]).filter(|part| !part.is_empty()) {
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(part);
        }
        path
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        let mut next = self.parent.take();
        while let Some(mut trail) = next.and_then(Arc::into_inner) {
            next = trail.parent.take();
        }
    }
}

impl DirNode {
    pub(crate) fn new(head: Head, head_segment: u64, pages: Pages, trail: Arc<Trail>) -> Self {
        let mut totals = Totals::default();
        let mut last_number = 0;
        for page in pages.iter() {
            totals.add(page.totals);
            last_number = last_number.max(page.place.number);
        }
        Self { pages, totals, head, head_segment, last_number, trail }
    }

    /// Finds a direct child: its page and its slot.
    #[inline]
    pub(crate) fn find(&self, name: &[u8]) -> Option<(&Page, usize)> {
        let page = self.pages.get(self.pages.candidate(name)?)?;
        Some((page, page.view().find(name)?))
    }

    /// The node of the direct subdirectory `name`.
    #[inline]
    pub(crate) fn kid(&self, name: &[u8]) -> Option<&Arc<DirNode>> {
        let (page, index) = self.find(name)?;
        if page.view().slot(index).kind() == Kind::Dir { page.kid(index) } else { None }
    }

    /// The node at a path below this one.
    pub(crate) fn descend(self: &Arc<Self>, path: &[u8]) -> Option<&Arc<Self>> {
        crate::path::components(path).try_fold(self, |node, name| node.kid(name))
    }

    /// Every direct child with the node of each directory.
    pub(crate) fn children(&self) -> impl Iterator<Item = (Slot<'_>, Option<&Arc<DirNode>>)> {
        self.pages.iter().flat_map(|page| {
            let mut kids = page.kids.iter();
            page.view().slots().map(move |slot| {
                let kid = if slot.kind() == Kind::Dir { kids.next() } else { None };
                (slot, kid)
            })
        })
    }

    fn release_kids(&mut self, into: &mut Vec<Arc<DirNode>>) {
        match &mut self.pages {
            Pages::None => {}
            Pages::One(page) => into.extend(std::mem::take(&mut page.kids)),
            Pages::Many(pages) => {
                for page in std::mem::take(pages) {
                    if let Some(page) = Arc::into_inner(page) {
                        into.extend(page.kids);
                    }
                }
            }
        }
    }
}

/// A tree 5,000 levels deep would overflow the stack if each node dropped its children itself.
impl Drop for DirNode {
    fn drop(&mut self) {
        let mut pending = Vec::new();
        self.release_kids(&mut pending);
        while let Some(kid) = pending.pop() {
            if let Some(mut node) = Arc::into_inner(kid) {
                node.release_kids(&mut pending);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_back_and_cut_rows_are_refused() {
        let mut head = Head::empty(7, 9);
        head.stat.btime_ns = -5;
        head.stat.mode = 0o40755;
        head.missing_since_ns = Some(-1);
        head.is_mount = true;
        let row = head.encode();
        assert_eq!(Head::decode(7, &row), Ok(head));
        assert!((0..row.len()).all(|n| Head::decode(7, &row[..n]).is_err()));
    }

    #[test]
    fn a_trail_tells_the_path_and_is_dropped_without_recursion() {
        let root: Arc<Trail> = Arc::default();
        let below = Trail::below(&Trail::below(&root, b"a"), b"b");
        assert_eq!(below.path(b"music", b"c"), b"music/a/b/c");
        assert_eq!(below.path(b"", b""), b"a/b");
        assert_eq!(root.path(b"music", b""), b"music");
        let mut deep = root;
        for _ in 0..1_000_000 {
            deep = Trail::below(&deep, b"d");
        }
        assert_eq!(deep.path(b"", b"").len(), 2_000_000 - 1);
    }

    #[test]
    fn a_chain_of_a_million_directories_is_dropped_without_recursion() {
        use super::super::page::{Record, pack};
        let page: Arc<[u8]> = pack(&[Record::stub(b"d", 1)], 1).remove(0);
        let mut node = Arc::new(DirNode::new(Head::empty(0, 0), 0, Pages::None, Arc::default()));
        for _ in 0..1_000_000 {
            let page = Page::new(Arc::clone(&page), Box::new([node]), Place::default());
            node = Arc::new(DirNode::new(Head::empty(0, 0), 0, Pages::One(page), Arc::default()));
        }
        assert_eq!(node.totals.dirs, 1_000_000);
    }
}
