//! Laying out the resolved differences as edits, journal and counts.

use std::collections::HashSet;

use crate::entry::Kind;
use crate::journal::{ChangeKind, Draft};
use crate::operation::Counts;
use crate::path;
use crate::scan::moves;
use crate::scan::report::Held;
use crate::snapshot::{DirEdit, Record, SEQ_OF_PAGE, Tombstones, pack};

use super::resolve::{Resolver, flatten};
use super::{Dir, Lost, Planned, What};

/// From this many files on, losing more than half of a root is held.
const HELD_FROM: u64 = 100;

pub(super) fn plan(resolver: Resolver<'_>, now_ns: i64) -> Planned {
    let Resolver { view, context, dirs, mut lost, revived, unchanged, .. } = resolver;
    let mut planned = Planned { unchanged, ..Planned::default() };
    lost.retain(|lost| !lost.used);
    let missing = lost.iter().filter(|lost| lost.record.stat.kind.is_counted()).count() as u64;
    let known = view.live.totals.files;
    let trusted = context.accept_missing || context.losses_proven;
    if !trusted && missing >= HELD_FROM && missing * 2 > known {
        planned.held = Some(Held { missing, of: known });
        return planned;
    }
    let mut tombstones = Tombstones::new(&view.gone, &context.ids);
    for (at, kind, _) in &revived {
        if *kind == Kind::Dir { tombstones.remove_dir(at) } else { tombstones.remove(at) }
    }
    let mut drafts = Vec::new();
    for entry in &lost {
        bury(entry, now_ns, &mut tombstones);
        drafts.push(draft(ChangeKind::Missing, &entry.record, entry.path.clone(), None));
    }
    planned.adds_tombstones = !lost.is_empty();
    let name = &view.record.name;
    for dir in dirs {
        forget_ignored(view, &dir, &mut drafts, &mut planned.forgotten_ids);
        announce(name, &dir, &mut drafts);
        planned.live.extend(edit(dir));
    }
    // A tombstone that had to make room may belong to a file that is back under another path.
    let back: HashSet<u64> = revived.iter().map(|(_, _, id)| *id).collect();
    planned.forgotten_ids.extend(tombstones.displaced.iter().filter(|id| !back.contains(id)));
    planned.gone = tombstones.finish();
    planned.counts = count(&drafts);
    for draft in in_order(drafts) {
        planned.journal.push_draft(name, &draft);
    }
    planned
}

fn bury(entry: &Lost, now_ns: i64, tombstones: &mut Tombstones<'_>) {
    match &entry.head {
        Some(head) => tombstones.add_dir(&entry.path, head.entry_id, head.stat, now_ns),
        None => {
            let record = Record { seq: SEQ_OF_PAGE, missing_since_ns: Some(now_ns), ..entry.record.clone() };
            tombstones.add(path::split_last(&entry.path).0, record);
        }
    }
}

fn draft(kind: ChangeKind, record: &Record, path: Vec<u8>, from: Option<(String, Vec<u8>)>) -> Draft {
    Draft { kind, entry_kind: record.stat.kind, path, from, id: record.id }
}

/// What is ignored now is forgotten, with all that lies below it.
fn forget_ignored(
    view: &crate::snapshot::RootView,
    dir: &Dir,
    drafts: &mut Vec<Draft>,
    forgotten_ids: &mut Vec<u64>,
) {
    let Some(node) = view.live.descend(&dir.path) else { return };
    for name in &dir.ignored {
        let Some((page, index)) = node.find(name) else { continue };
        let mut entries = Vec::new();
        flatten(path::join(&dir.path, name), page.view().slot(index), page.kid(index), &mut entries);
        for entry in entries {
            forgotten_ids.push(entry.record.id);
            drafts.push(draft(ChangeKind::Forgotten, &entry.record, entry.path, None));
        }
    }
}

fn announce(root: &str, dir: &Dir, drafts: &mut Vec<Draft>) {
    for item in &dir.items {
        let path = || path::join(&dir.path, &item.record.name);
        let mut push = |kind, from| drafts.push(draft(kind, &item.record, path(), from));
        match &item.what {
            What::Added => push(ChangeKind::Added, None),
            What::Modified => push(ChangeKind::Modified, None),
            What::Moved { from, modified } => {
                push(ChangeKind::Moved, Some((root.to_owned(), from.clone())));
                if *modified {
                    push(ChangeKind::Modified, None);
                }
            }
            What::Restored { modified } => {
                push(ChangeKind::Restored, None);
                if *modified {
                    push(ChangeKind::Modified, None);
                }
            }
            What::Recheck | What::Silent | What::Dropped => {}
        }
    }
}

fn edit(dir: Dir) -> Option<DirEdit> {
    let mut records: Vec<Record> =
        dir.items.into_iter().filter(|item| item.what != What::Dropped).map(|item| item.record).collect();
    records.sort_by(|a, b| a.name.cmp(&b.name));
    if dir.is_new {
        let pages = pack(&records, 0);
        return Some(DirEdit { path: dir.path, create: true, head: dir.head, pages, ..DirEdit::default() });
    }
    let kept: HashSet<&[u8]> = records.iter().map(|r| &*r.name).collect();
    let removes: Vec<Box<[u8]>> =
        dir.lost.into_iter().chain(dir.ignored).filter(|name| !kept.contains(&**name)).collect();
    if dir.head.is_none() && records.is_empty() && removes.is_empty() {
        return None;
    }
    Some(DirEdit { path: dir.path, head: dir.head, upserts: records, removes, ..DirEdit::default() })
}

fn count(drafts: &[Draft]) -> Counts {
    let mut counts = Counts::default();
    for draft in drafts.iter().filter(|d| d.entry_kind.is_counted()) {
        let slot = match draft.kind {
            ChangeKind::Added => &mut counts.added,
            ChangeKind::Modified => &mut counts.modified,
            ChangeKind::Moved => &mut counts.moved,
            ChangeKind::Missing => &mut counts.missing,
            ChangeKind::Restored => &mut counts.restored,
            ChangeKind::Forgotten => &mut counts.forgotten,
        };
        *slot += 1;
    }
    counts
}

/// The order of the journal: what leaves, what moves (each after the one that makes room for it),
/// what comes, what changed; in path order within each.
fn in_order(mut drafts: Vec<Draft>) -> Vec<Draft> {
    let class = |kind: ChangeKind| match kind {
        ChangeKind::Missing | ChangeKind::Forgotten => 0,
        ChangeKind::Moved => 1,
        ChangeKind::Restored => 2,
        ChangeKind::Added => 3,
        ChangeKind::Modified => 4,
    };
    drafts.sort_by(|a, b| class(a.kind).cmp(&class(b.kind)).then_with(|| path::compare(&a.path, &b.path)));
    let from = drafts.partition_point(|d| class(d.kind) < 1);
    let to = drafts.partition_point(|d| class(d.kind) < 2);
    let after = drafts.split_off(to);
    let moved = drafts.split_off(from);
    let pairs: Vec<(&[u8], &[u8])> = moved
        .iter()
        .map(|d| (d.from.as_ref().map_or(&[][..], |(_, path)| path), d.path.as_slice()))
        .collect();
    let order = moves::order(&pairs);
    let mut moved: Vec<Option<Draft>> = moved.into_iter().map(Some).collect();
    drafts.extend(order.into_iter().filter_map(|i| moved.get_mut(i).and_then(Option::take)));
    drafts.extend(after);
    drafts
}
