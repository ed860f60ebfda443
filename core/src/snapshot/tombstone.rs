//! Editing the tree of what is missing. Tombstones lie in the directories in which the entries were;
//! a directory that only holds them together has no entry id and goes when it is empty.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::entry::{Kind, Stat};
use crate::path;

use super::edit::DirEdit;
use super::node::{DirNode, Head};
use super::page::{Record, SEQ_OF_PAGE, pack};

/// Collects edits against the tree of tombstones of one root.
pub(crate) struct Tombstones<'a> {
    root: &'a Arc<DirNode>,
    ids: &'a AtomicU64,
    dirs: BTreeMap<Vec<u8>, Edit>,
    /// Ids of tombstones that had to make room for another one under the same path.
    pub(crate) displaced: Vec<u64>,
}

#[derive(Default)]
struct Edit {
    create: bool,
    head: Option<Head>,
    upserts: BTreeMap<Box<[u8]>, Record>,
    removes: HashSet<Box<[u8]>>,
}

/// A tombstone that has been there long enough.
pub(crate) struct Expired {
    pub(crate) path: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) id: u64,
}

impl<'a> Tombstones<'a> {
    pub(crate) fn new(root: &'a Arc<DirNode>, ids: &'a AtomicU64) -> Self {
        Self { root, ids, dirs: BTreeMap::new(), displaced: Vec::new() }
    }

    /// Adds the tombstone of a file or symlink.
    pub(crate) fn add(&mut self, dir: &[u8], record: Record) {
        self.ensure(dir);
        self.displace(&path::join(dir, &record.name));
        let edit = self.dirs.entry(dir.to_vec()).or_default();
        edit.removes.remove(&record.name);
        edit.upserts.insert(record.name.clone(), record);
    }

    /// Adds the tombstone of a directory; those of its entries are added on their own.
    pub(crate) fn add_dir(&mut self, at: &[u8], entry_id: u64, stat: Stat, since_ns: i64) {
        self.ensure(at);
        let head = self.head(at);
        if head.missing_since_ns.is_some() && head.entry_id != entry_id {
            self.displaced.push(head.entry_id);
        }
        let head = Head { entry_id, stat, seq: SEQ_OF_PAGE, missing_since_ns: Some(since_ns), ..head };
        self.dirs.entry(at.to_vec()).or_default().head = Some(head);
    }

    /// Takes a tombstone away: the file is back, or somewhere else.
    pub(crate) fn remove(&mut self, at: &[u8]) {
        let (dir, name) = path::split_last(at);
        let edit = self.dirs.entry(dir.to_vec()).or_default();
        edit.upserts.remove(name);
        edit.removes.insert(name.into());
    }

    /// A directory is back; what is still missing in it stays.
    pub(crate) fn remove_dir(&mut self, at: &[u8]) {
        let head = Head { entry_id: 0, stat: Stat::EMPTY_DIR, missing_since_ns: None, ..self.head(at) };
        self.dirs.entry(at.to_vec()).or_default().head = Some(head);
    }

    fn head(&self, at: &[u8]) -> Head {
        let edited = self.dirs.get(at).and_then(|edit| edit.head);
        edited.or_else(|| self.root.descend(at).map(|node| node.head)).unwrap_or_else(|| Head::empty(0, 0))
    }

    /// Makes sure that a directory is there to hold something.
    fn ensure(&mut self, at: &[u8]) {
        let mut below = at;
        let mut made: Vec<(Vec<u8>, Vec<u8>, u64)> = Vec::new();
        while !below.is_empty() && !self.exists(below) {
            let (dir, name) = path::split_last(below);
            made.push((below.to_vec(), name.to_vec(), self.ids.fetch_add(1, Ordering::Relaxed)));
            below = dir;
        }
        for (at, name, id) in made.into_iter().rev() {
            self.displace(&at);
            let parent = self.dirs.entry(path::split_last(&at).0.to_vec()).or_default();
            parent.removes.remove(name.as_slice());
            parent.upserts.insert(name.as_slice().into(), Record::stub(&name, id));
            let head = Head { seq: SEQ_OF_PAGE, ..Head::empty(id, 0) };
            self.dirs.insert(at, Edit { create: true, head: Some(head), ..Edit::default() });
        }
    }

    fn exists(&self, at: &[u8]) -> bool {
        self.dirs.get(at).is_some_and(|edit| edit.create) || self.root.descend(at).is_some()
    }

    /// What lies under a path that is about to be taken is forgotten.
    fn displace(&mut self, at: &[u8]) {
        let (dir, name) = path::split_last(at);
        let Some((page, index)) = self.root.descend(dir).and_then(|node| node.find(name)) else { return };
        let slot = page.view().slot(index);
        if slot.kind() != Kind::Dir {
            if self.dirs.get(dir).is_none_or(|edit| !edit.removes.contains(name)) {
                self.displaced.push(slot.id());
            }
            return;
        }
        let mut pending: Vec<&Arc<DirNode>> = page.kid(index).into_iter().collect();
        while let Some(node) = pending.pop() {
            self.displaced.extend(Some(node.head.entry_id).filter(|&id| id != 0));
            for (slot, kid) in node.children() {
                match kid {
                    Some(kid) => pending.push(kid),
                    None => self.displaced.push(slot.id()),
                }
            }
        }
        // Edits at or below it would hang in the air.
        self.dirs.retain(|path, _| !path::is_within(path, at));
    }

    pub(crate) fn finish(self) -> Vec<DirEdit> {
        let edits = self.dirs.into_iter().map(|(path, edit)| {
            let upserts: Vec<Record> = edit.upserts.into_values().collect();
            let (pages, upserts) =
                if edit.create { (pack(&upserts, 0), Vec::new()) } else { (Vec::new(), upserts) };
            DirEdit {
                path,
                create: edit.create,
                head: edit.head,
                pages,
                upserts,
                removes: edit.removes.into_iter().collect(),
            }
        });
        edits.collect()
    }
}

/// Finds the tombstones older than `before_ns` and the edits that take them away, with the
/// directories that hold nothing any more. The last value is the age of the oldest that stays.
pub(crate) fn expire(root: &Arc<DirNode>, before_ns: i64) -> (Vec<Expired>, Vec<DirEdit>, Option<i64>) {
    let mut expired = Vec::new();
    let mut oldest: Option<i64> = None;
    let mut keep = |since: i64| oldest = Some(oldest.map_or(since, |o| o.min(since)));
    // Parents before children; read backwards, every directory knows what is left below it.
    let mut order: Vec<(Vec<u8>, &Arc<DirNode>)> = vec![(Vec::new(), root)];
    let mut at = 0;
    while let Some((dir, node)) = order.get(at).map(|(dir, node)| (dir.clone(), *node)) {
        for (slot, kid) in node.children() {
            if let Some(kid) = kid {
                order.push((path::join(&dir, slot.name()), kid));
            }
        }
        at += 1;
    }
    let mut empty: HashSet<u64> = HashSet::new();
    let mut edits = Vec::new();
    for (dir, node) in order.iter().rev() {
        let mut removes: Vec<Box<[u8]>> = Vec::new();
        let mut left = 0usize;
        for (slot, kid) in node.children() {
            let goes = match kid {
                Some(kid) => empty.contains(&kid.head.node),
                None => {
                    let since = slot.missing_since_ns().unwrap_or(i64::MIN);
                    let goes = since < before_ns;
                    if goes {
                        let path = path::join(dir, slot.name());
                        expired.push(Expired { path, kind: slot.kind(), id: slot.id() });
                    } else {
                        keep(since);
                    }
                    goes
                }
            };
            if goes {
                removes.push(slot.name().into());
            } else {
                left += 1;
            }
        }
        let own = node.head.missing_since_ns;
        let own_goes = own.is_none_or(|since| since < before_ns);
        if let Some(since) = own {
            if own_goes {
                expired.push(Expired { path: dir.clone(), kind: Kind::Dir, id: node.head.entry_id });
            } else {
                keep(since);
            }
        }
        if left == 0 && own_goes && !dir.is_empty() {
            empty.insert(node.head.node);
            continue;
        }
        let head = (own.is_some() && own_goes).then(|| Head {
            entry_id: 0,
            stat: Stat::EMPTY_DIR,
            missing_since_ns: None,
            ..node.head
        });
        if !removes.is_empty() || head.is_some() {
            edits.push(DirEdit { path: dir.clone(), head, removes, ..DirEdit::default() });
        }
    }
    // An edit below a directory that goes as a whole is pointless, and would hang in the air.
    edits.retain(|edit| !within_empty(root, &edit.path, &empty));
    expired.sort_by(|a, b| path::compare(&a.path, &b.path));
    (expired, edits, oldest)
}

fn within_empty(root: &Arc<DirNode>, at: &[u8], empty: &HashSet<u64>) -> bool {
    let mut node = root;
    for name in path::components(at) {
        match node.kid(name) {
            Some(kid) if !empty.contains(&kid.head.node) => node = kid,
            _ => return true,
        }
    }
    false
}
