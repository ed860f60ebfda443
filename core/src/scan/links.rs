//! Hard links: a change through one name of a file changes what is known of its other names, and nobody
//! is told about those. Whoever looks at a few names only has to look at the others too.

use std::collections::HashSet;
use std::sync::Arc;

use crate::snapshot::{DirNode, PageView, RootView, Slot};

use super::context::{Content, Found};

/// Names that are looked at again after a scan at most.
pub(super) const NAMES_MAX: usize = 10_000;

/// What a look found of files with several names.
#[derive(Debug, Default)]
pub(crate) struct Linked {
    /// Inode numbers of those that differ.
    pub(crate) inodes: HashSet<u64>,
    /// Their names as they were known before.
    pub(crate) names: Vec<Name>,
}

/// Files with several names among what differs. `before`: those that the last look found. Their names are
/// looked at because of that, and one that is gone by then may never have been seen as one of several.
pub(super) fn linked(view: &RootView, found: &[Found], before: &HashSet<u64>) -> Linked {
    let inodes = touched(view, found, before);
    let names = if inodes.is_empty() { Vec::new() } else { names_of(view, &inodes) };
    Linked { inodes, names }
}

fn touched(view: &RootView, found: &[Found], before: &HashSet<u64>) -> HashSet<u64> {
    let mut inodes = HashSet::new();
    let is_linked = |slot: &Slot<'_>| slot.is_linked() || before.contains(&slot.stat().inode);
    for dir in found {
        match &dir.content {
            Content::New(pages) => {
                for slot in pages.iter().flat_map(|page| PageView::new(page).slots()) {
                    if slot.is_linked() {
                        inodes.insert(slot.stat().inode);
                    }
                }
            }
            Content::Known { fresh, lost, .. } => {
                let Some(node) = view.live.descend(&dir.path) else { continue };
                inodes.extend(fresh.iter().filter(|(r, _)| r.stat.linked).map(|(r, _)| r.stat.inode));
                let names = fresh.iter().map(|(record, _)| &record.name).chain(lost);
                for (page, index) in names.filter_map(|name| node.find(name)) {
                    let slot = page.view().slot(index);
                    if let Some(kid) = page.kid(index) {
                        linked_below(kid, &is_linked, &mut inodes);
                    } else if is_linked(&slot) {
                        inodes.insert(slot.stat().inode);
                    }
                }
            }
        }
        if let Some(node) = &dir.replaced {
            linked_below(node, &is_linked, &mut inodes);
        }
    }
    inodes
}

/// A directory, and a name in it.
pub(crate) type Name = (Vec<u8>, Box<[u8]>);

/// Every known name of these files, also of one that had no other name when it was seen.
fn names_of(view: &RootView, inodes: &HashSet<u64>) -> Vec<Name> {
    let mut names = Vec::new();
    let mut pending = vec![&view.live];
    while let Some(node) = pending.pop() {
        for (slot, kid) in node.children() {
            pending.extend(kid);
            if kid.is_none() && inodes.contains(&slot.stat().inode) {
                names.push((node.trail.path(b"", b""), slot.name().into()));
            }
        }
    }
    names
}

/// Inode numbers of the files below a directory that have more names than one.
fn linked_below(node: &Arc<DirNode>, is_linked: &dyn Fn(&Slot<'_>) -> bool, inodes: &mut HashSet<u64>) {
    let mut pending = vec![node];
    while let Some(node) = pending.pop() {
        for (slot, kid) in node.children() {
            pending.extend(kid);
            if kid.is_none() && is_linked(&slot) {
                inodes.insert(slot.stat().inode);
            }
        }
    }
}
