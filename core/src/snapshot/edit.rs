//! Making the next tree from the last: a list of directory edits goes in, a new root node and the
//! blocks to write or delete come out. Pure: no file, no clock, no thread.
//!
//! Edits are visited in path order with one stack of open directories, so depth costs memory and
//! never call stack. A directory that no edit names or lies above is shared, not copied.

use std::sync::Arc;

use crate::entry::Kind;
use crate::path;

use super::node::{DirNode, Head, Page, Pages, Place, Trail};
use super::page::{self, ENTRIES_MAX, PageView, Record, Slot, pack};

/// What happens to one directory. At most one edit for a path.
#[derive(Debug, Default)]
pub(crate) struct DirEdit {
    pub(crate) path: Vec<u8>,
    /// The directory is made anew from `head` and `pages`; otherwise it is changed in place.
    pub(crate) create: bool,
    pub(crate) head: Option<Head>,
    /// Packed content of a directory made anew; the seq is stamped here.
    pub(crate) pages: Vec<Arc<[u8]>>,
    pub(crate) upserts: Vec<Record>,
    pub(crate) removes: Vec<Box<[u8]>>,
}

/// One write to the state file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BlockOp {
    Put { segment: u64, node: u64, number: u32, bytes: Arc<[u8]> },
    Delete { segment: u64, node: u64, number: u32 },
}

/// Chooses the row that a block goes to. `now` is where it lies so far, with its length.
pub(crate) trait Placer {
    fn place(&mut self, now: Option<(u64, usize)>, len: usize) -> u64;
}

/// The edits contradict the tree: a bug in the plan, caught before anything is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inconsistent(pub(crate) String);

fn inconsistent(what: &str) -> Inconsistent {
    Inconsistent(what.to_owned())
}

fn inconsistent_at(what: &str, name: &[u8]) -> Inconsistent {
    Inconsistent(format!("{what}: `{}`", path::escape(name)))
}

struct Open {
    path_len: usize,
    name: Box<[u8]>,
    old: Option<Arc<DirNode>>,
    trail: Arc<Trail>,
    edit: Option<DirEdit>,
    /// Finished subdirectories, in name order.
    kids: Vec<(Box<[u8]>, Arc<DirNode>)>,
}

/// Applies `edits` on top of `base` as commit `seq`.
pub(crate) fn apply(
    base: Option<&Arc<DirNode>>,
    mut edits: Vec<DirEdit>,
    seq: u64,
    placer: &mut dyn Placer,
) -> Result<(Arc<DirNode>, Vec<BlockOp>), Inconsistent> {
    edits.sort_by(|a, b| path::compare(&a.path, &b.path));
    let mut run = Run { seq, placer, ops: Vec::new() };
    let root = Open {
        path_len: 0,
        name: Box::default(),
        old: base.map(Arc::clone),
        trail: base.map_or_else(Arc::default, |node| Arc::clone(&node.trail)),
        edit: None,
        kids: Vec::new(),
    };
    let mut stack = vec![root];
    let mut current: Vec<u8> = Vec::new();
    for edit in edits {
        while stack.len() > 1 && !path::is_within(&edit.path, &current) {
            run.close_top(&mut stack, &mut current)?;
        }
        let done = if current.is_empty() { 0 } else { current.len() + 1 };
        for name in path::components(edit.path.get(done.min(edit.path.len())..).unwrap_or_default()) {
            let parent = stack.last().ok_or_else(|| inconsistent("no open directory"))?;
            let kept = parent.edit.as_ref().is_none_or(|e| !e.create);
            let old = parent.old.as_ref().filter(|_| kept).and_then(|n| n.kid(name)).map(Arc::clone);
            let path_len = current.len();
            if !current.is_empty() {
                current.push(b'/');
            }
            current.extend_from_slice(name);
            let trail = match &old {
                Some(node) => Arc::clone(&node.trail),
                None => Trail::below(&parent.trail, name),
            };
            stack.push(Open { path_len, name: name.into(), old, trail, edit: None, kids: Vec::new() });
        }
        let top = stack.last_mut().ok_or_else(|| inconsistent("no open directory"))?;
        if top.edit.is_some() {
            return Err(inconsistent("two edits for one directory"));
        }
        top.edit = Some(edit);
    }
    while stack.len() > 1 {
        run.close_top(&mut stack, &mut current)?;
    }
    let root = stack.pop().ok_or_else(|| inconsistent("no root"))?;
    let node = run.close(root)?;
    Ok((node, run.ops))
}

/// Deletes every block of a subtree.
pub(crate) fn delete_all(node: &Arc<DirNode>, ops: &mut Vec<BlockOp>) {
    let mut pending = vec![node];
    while let Some(node) = pending.pop() {
        delete_own(node, ops);
        for page in node.pages.iter() {
            pending.extend(page.kids.iter());
        }
    }
}

fn delete_own(node: &DirNode, ops: &mut Vec<BlockOp>) {
    let id = node.head.node;
    ops.push(BlockOp::Delete { segment: node.head_segment, node: id, number: 0 });
    ops.extend(node.pages.iter().map(|page| BlockOp::Delete {
        segment: page.place.segment,
        node: id,
        number: page.place.number,
    }));
}

struct Run<'a> {
    seq: u64,
    placer: &'a mut dyn Placer,
    ops: Vec<BlockOp>,
}

impl Run<'_> {
    fn close_top(&mut self, stack: &mut Vec<Open>, current: &mut Vec<u8>) -> Result<(), Inconsistent> {
        let top = stack.pop().ok_or_else(|| inconsistent("no open directory"))?;
        current.truncate(top.path_len);
        let name = top.name.clone();
        let node = self.close(top)?;
        stack.last_mut().ok_or_else(|| inconsistent("no parent"))?.kids.push((name, node));
        Ok(())
    }

    fn close(&mut self, mut open: Open) -> Result<Arc<DirNode>, Inconsistent> {
        let edit = open.edit.take();
        match edit {
            Some(edit) if edit.create => self.create(open, edit),
            edit => self.change(open, edit.unwrap_or_default()),
        }
    }

    fn create(&mut self, open: Open, edit: DirEdit) -> Result<Arc<DirNode>, Inconsistent> {
        let head = self.dated(edit.head.ok_or_else(|| inconsistent("a new directory has no head"))?);
        if let Some(old) = open.old.as_ref().filter(|old| old.head.node == head.node) {
            delete_all(old, &mut self.ops);
        }
        let head_segment = self.put_head(&head, None);
        let mut kids = Kids { trail: &open.trail, new: open.kids.into_iter(), old: None };
        let mut pages = Vec::with_capacity(edit.pages.len());
        for (number, bytes) in (1..).zip(edit.pages) {
            pages.push(Arc::new(self.put_page(head.node, number, bytes, None, &mut kids)?));
        }
        kids.finish()?;
        Ok(Arc::new(DirNode::new(head, head_segment, Pages::from_vec(pages), open.trail)))
    }

    fn change(&mut self, open: Open, edit: DirEdit) -> Result<Arc<DirNode>, Inconsistent> {
        let old = open.old.ok_or_else(|| inconsistent("a changed directory does not exist"))?;
        let (head, head_segment) = match edit.head.map(|head| self.dated(head)) {
            Some(head) if head != old.head => {
                let now = Some((old.head_segment, 48));
                (head, self.put_head(&head, now))
            }
            _ => (old.head, old.head_segment),
        };
        if head.node != old.head.node {
            return Err(inconsistent("a changed directory has another key"));
        }
        if edit.upserts.is_empty() && edit.removes.is_empty() {
            let pages = relink(&old, open.kids)?;
            return Ok(Arc::new(DirNode::new(head, head_segment, pages, open.trail)));
        }
        let mut changes = group_by_page(&old, edit);
        let mut last_number = old.last_number;
        let mut kids = Kids { trail: &open.trail, new: open.kids.into_iter(), old: Some(&old) };
        let mut pages: Vec<Arc<Page>> = Vec::with_capacity(old.pages.len() + 1);
        for index in 0..old.pages.len().max(1) {
            let page = old.pages.get(index);
            let Some(change) = changes.get_mut(index).and_then(Option::take) else {
                if let Some(shared) = old.pages.share(index) {
                    pages.push(kids.relink_page(&shared)?);
                }
                continue;
            };
            let records = change.merge(page.map(Page::view));
            if let Some(page) = page {
                self.drop_lost_kids(page, &records);
            }
            let packed = pack(&records, self.seq);
            let mut reuse = page.map(|p| (p.place, p.bytes.len()));
            if let (Some((place, _)), true) = (reuse, packed.is_empty()) {
                let op = BlockOp::Delete { segment: place.segment, node: head.node, number: place.number };
                self.ops.push(op);
            }
            for bytes in packed {
                let now = reuse.take();
                let number = now.map_or_else(
                    || {
                        last_number += 1;
                        last_number
                    },
                    |(place, _)| place.number,
                );
                let now = now.map(|(place, len)| (place.segment, len));
                pages.push(Arc::new(self.put_page(head.node, number, bytes, now, &mut kids)?));
            }
        }
        kids.finish()?;
        let node = DirNode::new(head, head_segment, Pages::from_vec(pages), open.trail);
        Ok(Arc::new(self.repack_if_sparse(node)?))
    }

    /// A head made before its commit was known gets its seq here.
    fn dated(&self, head: Head) -> Head {
        if head.seq == page::SEQ_OF_PAGE { Head { seq: self.seq, ..head } } else { head }
    }

    /// A directory that shrank keeps many pages with few entries each; pack it again.
    fn repack_if_sparse(&mut self, node: DirNode) -> Result<DirNode, Inconsistent> {
        let entries: usize = node.pages.iter().map(|p| p.view().len()).sum();
        if node.pages.len() < 4 || entries >= node.pages.len() * (ENTRIES_MAX / 8) {
            return Ok(node);
        }
        let records: Vec<Record> =
            node.pages.iter().flat_map(|p| p.view().slots()).map(Slot::to_record).collect();
        let all_kids = node.children().filter_map(|(slot, kid)| Some((slot.name().into(), Arc::clone(kid?))));
        let mut kids = Kids { trail: &node.trail, new: all_kids.collect::<Vec<_>>().into_iter(), old: None };
        let id = node.head.node;
        for page in node.pages.iter() {
            let Place { segment, number } = page.place;
            self.ops.push(BlockOp::Delete { segment, node: id, number });
        }
        let mut pages = Vec::new();
        for (number, bytes) in (node.last_number + 1..).zip(pack(&records, self.seq)) {
            pages.push(Arc::new(self.put_page(id, number, bytes, None, &mut kids)?));
        }
        Ok(DirNode::new(node.head, node.head_segment, Pages::from_vec(pages), Arc::clone(&node.trail)))
    }

    fn put_head(&mut self, head: &Head, now: Option<(u64, usize)>) -> u64 {
        let bytes: Arc<[u8]> = head.encode().into();
        let segment = self.placer.place(now, bytes.len());
        self.put(now, segment, head.node, 0, bytes);
        segment
    }

    fn put_page(
        &mut self,
        node: u64,
        number: u32,
        mut bytes: Arc<[u8]>,
        now: Option<(u64, usize)>,
        kids: &mut Kids<'_>,
    ) -> Result<Page, Inconsistent> {
        // Nobody else has seen the page yet, so this copies nothing.
        page::stamp(Arc::make_mut(&mut bytes), self.seq);
        let segment = self.placer.place(now, bytes.len());
        self.put(now, segment, node, number, Arc::clone(&bytes));
        let mut found = Vec::new();
        for slot in PageView::new(&bytes).slots().filter(|s| s.kind() == Kind::Dir) {
            found.push(match kids.take(slot.name(), slot.id())? {
                Some(kid) => kid,
                None => self.unread(slot.id(), Trail::below(kids.trail, slot.name())),
            });
        }
        Ok(Page::new(bytes, found.into_boxed_slice(), Place { segment, number }))
    }

    fn put(&mut self, now: Option<(u64, usize)>, segment: u64, node: u64, number: u32, bytes: Arc<[u8]>) {
        if let Some((old, _)) = now.filter(|(old, _)| *old != segment) {
            self.ops.push(BlockOp::Delete { segment: old, node, number });
        }
        self.ops.push(BlockOp::Put { segment, node, number, bytes });
    }

    /// A directory that is known by name only, because it has not been listed yet.
    fn unread(&mut self, id: u64, trail: Arc<Trail>) -> Arc<DirNode> {
        let head = Head { is_unread: true, seq: self.seq, ..Head::empty(id, id) };
        let segment = self.put_head(&head, None);
        Arc::new(DirNode::new(head, segment, Pages::None, trail))
    }

    /// Deletes the blocks of directories that `records` no longer name, or name with another id.
    fn drop_lost_kids(&mut self, page: &Page, records: &[Record]) {
        let view = page.view();
        for (slot, kid) in view.slots().filter(|s| s.kind() == Kind::Dir).zip(&page.kids) {
            let kept = records
                .binary_search_by(|r| (*r.name).cmp(slot.name()))
                .ok()
                .and_then(|i| records.get(i))
                .is_some_and(|r| r.stat.kind == Kind::Dir && r.id == slot.id());
            if !kept {
                delete_all(kid, &mut self.ops);
            }
        }
    }
}

/// Hands out the nodes of subdirectories in name order: the finished ones, else the old ones.
struct Kids<'a> {
    /// Of the directory that they are in.
    trail: &'a Arc<Trail>,
    new: std::vec::IntoIter<(Box<[u8]>, Arc<DirNode>)>,
    old: Option<&'a Arc<DirNode>>,
}

impl Kids<'_> {
    fn take(&mut self, name: &[u8], id: u64) -> Result<Option<Arc<DirNode>>, Inconsistent> {
        let kid = match self.new.as_slice().first() {
            Some((next, _)) if **next == *name => self.new.next().map(|(_, kid)| kid),
            _ => self.old.and_then(|old| old.kid(name)).filter(|kid| kid.head.node == id).map(Arc::clone),
        };
        match kid {
            Some(kid) if kid.head.node != id => Err(inconsistent("a directory and its entry differ in id")),
            kid => Ok(kid),
        }
    }

    /// A page whose entries stay, with the nodes that changed below it.
    fn relink_page(&mut self, page: &Arc<Page>) -> Result<Arc<Page>, Inconsistent> {
        let view = page.view();
        let last = view.slot(view.len().saturating_sub(1)).name();
        let first = view.slot(0).name();
        let mut kids: Option<Box<[Arc<DirNode>]>> = None;
        while let Some((name, _)) = self.new.as_slice().first() {
            if **name > *last || **name < *first {
                break;
            }
            let Some((name, node)) = self.new.next() else { break };
            let index = view.find(&name).ok_or_else(|| inconsistent("an edit below an unknown directory"))?;
            let entry = view.slot(index);
            let at = if entry.kind() == Kind::Dir { entry.dir_number() } else { usize::MAX };
            let slot = kids.get_or_insert_with(|| page.kids.clone()).get_mut(at);
            let slot = slot.ok_or_else(|| inconsistent("an edit below a file"))?;
            if slot.head.node != node.head.node {
                return Err(inconsistent("a directory was replaced without its entry"));
            }
            *slot = node;
        }
        Ok(kids.map_or_else(|| Arc::clone(page), |kids| Arc::new(page.with_kids(kids))))
    }

    fn finish(mut self) -> Result<(), Inconsistent> {
        match self.new.next() {
            Some((name, _)) => Err(inconsistent_at("an edit below a directory that is gone", &name)),
            None => Ok(()),
        }
    }
}

/// The pages of `old` with other nodes for the directories in `kids`.
fn relink(old: &DirNode, kids: Vec<(Box<[u8]>, Arc<DirNode>)>) -> Result<Pages, Inconsistent> {
    let mut kids = Kids { trail: &old.trail, new: kids.into_iter(), old: None };
    let mut pages = Vec::with_capacity(old.pages.len());
    for index in 0..old.pages.len() {
        if let Some(page) = old.pages.share(index) {
            pages.push(kids.relink_page(&page)?);
        }
    }
    kids.finish()?;
    Ok(Pages::from_vec(pages))
}

/// The upserts and removes that fall on one page, each sorted by name.
#[derive(Default)]
struct PageChange {
    upserts: Vec<Record>,
    removes: Vec<Box<[u8]>>,
}

fn group_by_page(old: &DirNode, edit: DirEdit) -> Vec<Option<PageChange>> {
    let mut changes: Vec<Option<PageChange>> = Vec::new();
    changes.resize_with(old.pages.len().max(1), || None);
    let slot_of = |name: &[u8]| old.pages.candidate(name).unwrap_or(0);
    for record in edit.upserts {
        if let Some(change) = changes.get_mut(slot_of(&record.name)) {
            change.get_or_insert_default().upserts.push(record);
        }
    }
    for name in edit.removes {
        if let Some(change) = changes.get_mut(slot_of(&name)) {
            change.get_or_insert_default().removes.push(name);
        }
    }
    for change in changes.iter_mut().flatten() {
        change.upserts.sort_by(|a, b| a.name.cmp(&b.name));
        change.removes.sort();
    }
    changes
}

impl PageChange {
    fn merge(self, page: Option<PageView<'_>>) -> Vec<Record> {
        let mut out = Vec::with_capacity(page.map_or(0, PageView::len) + self.upserts.len());
        let mut upserts = self.upserts.into_iter().peekable();
        for slot in page.iter().flat_map(|p| p.slots()) {
            while let Some(record) = upserts.next_if(|r| *r.name < *slot.name()) {
                out.push(record);
            }
            if let Some(record) = upserts.next_if(|r| *r.name == *slot.name()) {
                out.push(record);
            } else if self.removes.binary_search_by(|n| (**n).cmp(slot.name())).is_err() {
                out.push(slot.to_record());
            }
        }
        out.extend(upserts);
        out
    }
}
