//! What differs between two snapshots. Shared nodes and shared pages are skipped by pointer, so
//! the cost follows the difference, not the tree.

use std::collections::HashMap;
use std::sync::Arc;

use crate::entry::Kind;
use crate::journal::{Change, ChangeKind};
use crate::path;

use super::node::{DirNode, Page};
use super::page::Slot;
use super::read::Snapshot;

/// One side of a difference that is not yet known to be a move.
struct Lone {
    path: Vec<u8>,
    kind: Kind,
    id: u64,
    seq: u64,
}

struct Walk<'a> {
    pending: Vec<(Vec<u8>, Option<&'a DirNode>, Option<&'a DirNode>)>,
    removed: Vec<Lone>,
    added: Vec<Lone>,
    modified: Vec<Lone>,
}

pub(super) fn between(older: &Snapshot, newer: &Snapshot) -> Vec<Change> {
    let mut walk = Walk { pending: Vec::new(), removed: Vec::new(), added: Vec::new(), modified: Vec::new() };
    for root in newer.roots_of_tree() {
        let before = older.root_view(root.record.name.as_bytes()).filter(|b| b.record.id == root.record.id);
        if before.is_none_or(|b| !Arc::ptr_eq(&b.live, &root.live)) {
            let name = root.record.name.as_bytes().to_vec();
            walk.pending.push((name, before.map(|b| &*b.live), Some(&*root.live)));
        }
    }
    for root in older.roots_of_tree() {
        let after = newer.root_view(root.record.name.as_bytes());
        if after.is_none_or(|a| a.record.id != root.record.id) {
            walk.pending.push((root.record.name.as_bytes().to_vec(), Some(&*root.live), None));
        }
    }
    while let Some((dir, old, new)) = walk.pending.pop() {
        walk.directory(&dir, old, new);
    }
    walk.finish(newer.seq())
}

impl<'a> Walk<'a> {
    fn directory(&mut self, dir: &[u8], old: Option<&'a DirNode>, new: Option<&'a DirNode>) {
        let mut old_pages: Vec<&Page> = old.iter().flat_map(|n| n.pages.iter()).collect();
        let mut new_pages: Vec<&Page> = new.iter().flat_map(|n| n.pages.iter()).collect();
        self.skip_shared(dir, &mut old_pages, &mut new_pages);
        let mut old_side = children(&old_pages).peekable();
        for (slot, kid) in children(&new_pages) {
            while let Some((gone, gone_kid)) = old_side.next_if(|(o, _)| o.name() < slot.name()) {
                self.remove(dir, &gone, gone_kid);
            }
            match old_side.next_if(|(o, _)| o.name() == slot.name()) {
                None => self.add(dir, &slot, kid),
                Some((before, before_kid)) if before.id() != slot.id() => {
                    self.remove(dir, &before, before_kid);
                    self.add(dir, &slot, kid);
                }
                Some((before, before_kid)) => match (before_kid, kid) {
                    (Some(a), Some(b)) if std::ptr::eq(a, b) => {}
                    (Some(a), Some(b)) => {
                        self.pending.push((path::join(dir, slot.name()), Some(a), Some(b)));
                    }
                    _ if before.seq() != slot.seq() => {
                        self.modified.push(lone(dir, &slot, kid));
                    }
                    _ => {}
                },
            }
        }
        for (gone, kid) in old_side {
            self.remove(dir, &gone, kid);
        }
    }

    /// Drops the pages that both sides share; only directories below them can differ.
    fn skip_shared(&mut self, dir: &[u8], old: &mut Vec<&'a Page>, new: &mut Vec<&'a Page>) {
        let by_bytes: HashMap<*const u8, &'a Page> = old.iter().map(|p| (p.bytes.as_ptr(), *p)).collect();
        let mut shared = Vec::new();
        new.retain(|page| {
            let Some(before) = by_bytes.get(&page.bytes.as_ptr()) else { return true };
            shared.push(page.bytes.as_ptr());
            let dirs = page.view().slots().filter(|slot| slot.kind() == Kind::Dir);
            for (slot, (a, b)) in dirs.zip(before.kids.iter().zip(&page.kids)) {
                if !Arc::ptr_eq(a, b) {
                    self.pending.push((path::join(dir, slot.name()), Some(a), Some(b)));
                }
            }
            false
        });
        if !shared.is_empty() {
            shared.sort_unstable();
            old.retain(|page| shared.binary_search(&page.bytes.as_ptr()).is_err());
        }
    }

    fn remove(&mut self, dir: &[u8], slot: &Slot<'a>, kid: Option<&'a DirNode>) {
        let lone = lone(dir, slot, kid);
        if kid.is_some() {
            self.pending.push((lone.path.clone(), kid, None));
        }
        self.removed.push(lone);
    }

    fn add(&mut self, dir: &[u8], slot: &Slot<'a>, kid: Option<&'a DirNode>) {
        let lone = lone(dir, slot, kid);
        if kid.is_some() {
            self.pending.push((lone.path.clone(), None, kid));
        }
        self.added.push(lone);
    }

    fn finish(self, seq: u64) -> Vec<Change> {
        let mut from: HashMap<u64, Lone> = self.removed.into_iter().map(|l| (l.id, l)).collect();
        let mut changes = Vec::new();
        for lone in self.added {
            let source = from.remove(&lone.id);
            if source.as_ref().is_some_and(|source| source.path == lone.path) {
                // Its directory is another one now; it is where it was.
                if source.is_some_and(|source| source.seq != lone.seq) {
                    changes.push(lone.into_change(ChangeKind::Modified, None));
                }
                continue;
            }
            let kind = if source.is_some() { ChangeKind::Moved } else { ChangeKind::Added };
            changes.push(lone.into_change(kind, source.map(|l| l.path)));
        }
        changes.extend(self.modified.into_iter().map(|l| l.into_change(ChangeKind::Modified, None)));
        for lone in from.into_values() {
            changes.push(Lone { seq, ..lone }.into_change(ChangeKind::Missing, None));
        }
        changes.sort_by(|a, b| path::compare(&a.path, &b.path).then(b.kind.cmp(&a.kind)));
        changes
    }
}

fn children<'a>(pages: &[&'a Page]) -> impl Iterator<Item = (Slot<'a>, Option<&'a DirNode>)> {
    pages.iter().flat_map(|page| {
        let mut kids = page.kids.iter();
        page.view().slots().map(move |slot| {
            let kid = if slot.kind() == Kind::Dir { kids.next() } else { None };
            (slot, kid.map(|k| &**k))
        })
    })
}

fn lone(dir: &[u8], slot: &Slot<'_>, kid: Option<&DirNode>) -> Lone {
    Lone {
        path: path::join(dir, slot.name()),
        kind: slot.kind(),
        id: slot.id(),
        seq: kid.map_or_else(|| slot.seq(), |k| k.head.seq),
    }
}

impl Lone {
    fn into_change(self, kind: ChangeKind, from: Option<Vec<u8>>) -> Change {
        let root = String::from_utf8_lossy(path::split_root(&self.path).0).into_owned();
        Change { seq: self.seq, root, kind, entry_kind: self.kind, path: self.path, from, id: self.id }
    }
}
