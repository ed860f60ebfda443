//! From rows to the tree: every segment is checked and cut into blocks, then the nodes are linked
//! from the leaves up. Nothing recurses, and nothing that the file says is trusted.

use std::collections::HashMap;
use std::sync::Arc;

use redb::ReadableTable;

use crate::bytes::Malformed;
use crate::entry::Kind;
use crate::error::Result;
use crate::root_record::RootRecord;
use crate::snapshot::{DirNode, Head, Page, PageView, Pages, Place, RootView, Tree};

use super::schema::{self, Counters};
use super::segment::{self, Segments};
use super::write::inconsistent;
use super::{Rows, damaged, wrap_plain};

/// Everything that opening reads.
pub(crate) struct Loaded {
    pub(crate) database: u128,
    pub(crate) counters: Counters,
    pub(crate) tree: Tree,
    pub(crate) segments: Segments,
    /// Rows that could not be used; only a lenient load goes on in spite of them.
    pub(crate) lost_rows: u64,
}

/// The blocks of one node.
#[derive(Default)]
struct Parts {
    head: Option<(Head, u64)>,
    pages: Vec<(Place, Arc<[u8]>)>,
}

pub(super) fn counters(rows: &Rows) -> Result<Counters> {
    let table = rows.txn.open_table(schema::META).map_err(wrap_plain)?;
    let row = table.get(schema::META_STATE).map_err(wrap_plain)?;
    let row = row.ok_or_else(|| inconsistent("its counters are gone"))?;
    Counters::decode(row.value()).map_err(|e| damaged("the counters", e))
}

fn database(rows: &Rows) -> Result<u128> {
    let table = rows.txn.open_table(schema::META).map_err(wrap_plain)?;
    let row = table.get(schema::META_DATABASE).map_err(wrap_plain)?;
    let id = row.and_then(|row| Some(u128::from_le_bytes(*row.value().first_chunk::<16>()?)));
    id.ok_or_else(|| inconsistent("its database id is gone"))
}

pub(super) fn load(rows: &Rows, lenient: bool) -> Result<Loaded> {
    let mut lost_rows = 0;
    let mut segments = Segments::default();
    let mut parts: HashMap<u64, Parts> = HashMap::new();
    let table = rows.txn.open_table(schema::SEGMENTS).map_err(wrap_plain)?;
    for row in table.iter().map_err(wrap_plain)? {
        let (key, row) = match row {
            Ok(row) => row,
            Err(_) if lenient => {
                lost_rows += 1;
                break;
            }
            Err(error) => return Err(wrap_plain(error)),
        };
        let segment = key.value();
        segments.note(segment, row.value().len());
        match take_segment(segment, row.value(), &mut parts) {
            Ok(()) => {}
            Err(_) if lenient => lost_rows += 1,
            Err(error) => return Err(damaged("a segment of directories", error)),
        }
    }
    let mut counters = match counters(rows) {
        Ok(counters) => counters,
        Err(_) if lenient => {
            lost_rows += 1;
            Counters::default()
        }
        Err(error) => return Err(error),
    };
    let mut tree = Tree { seq: counters.seq, roots: Vec::new() };
    for record in roots(rows, lenient, &mut lost_rows)? {
        let mut link = Link { parts: &mut parts, lenient, lost_rows: &mut lost_rows };
        let live = link.node(record.live_node)?;
        let gone = link.node(record.gone_node)?;
        tree.set_root(RootView { record: Arc::new(record), live, gone });
    }
    if !parts.is_empty() && !lenient {
        return Err(inconsistent("it holds directories that belong to no root"));
    }
    if lenient {
        raise_ids(&tree, &mut counters);
    }
    let database = match database(rows) {
        Err(_) if lenient => super::create::new_database_id().unwrap_or_default(),
        other => other?,
    };
    Ok(Loaded { database, counters, tree, segments, lost_rows })
}

/// Without its counters, a salvaged file must not give an id twice.
fn raise_ids(tree: &Tree, counters: &mut Counters) {
    let mut pending: Vec<&Arc<DirNode>> = Vec::new();
    for root in &tree.roots {
        counters.next_root = counters.next_root.max(root.record.id + 1);
        pending.extend([&root.live, &root.gone]);
    }
    while let Some(node) = pending.pop() {
        counters.next_id = counters.next_id.max(node.head.node + 1).max(node.head.entry_id + 1);
        for (slot, kid) in node.children() {
            counters.next_id = counters.next_id.max(slot.id() + 1);
            counters.seq = counters.seq.max(slot.seq());
            pending.extend(kid);
        }
    }
}

fn take_segment(segment: u64, row: &[u8], parts: &mut HashMap<u64, Parts>) -> Result<(), Malformed> {
    for block in segment::blocks(segment, row)? {
        let part = parts.entry(block.node).or_default();
        if block.number == 0 {
            let head = Head::decode(block.node, block.bytes)?;
            if part.head.replace((head, segment)).is_some() {
                return Err(Malformed);
            }
        } else {
            PageView::new(block.bytes).validate().map_err(|_| Malformed)?;
            part.pages.push((Place { segment, number: block.number }, block.bytes.into()));
        }
    }
    Ok(())
}

fn roots(rows: &Rows, lenient: bool, lost_rows: &mut u64) -> Result<Vec<RootRecord>> {
    let table = rows.txn.open_table(schema::ROOTS).map_err(wrap_plain)?;
    let mut out = Vec::new();
    for row in table.iter().map_err(wrap_plain)? {
        let (id, row) = row.map_err(wrap_plain)?;
        match schema::decode_root(id.value(), row.value()) {
            Ok(root) => out.push(root),
            Err(_) if lenient => *lost_rows += 1,
            Err(error) => return Err(damaged("a root", error)),
        }
    }
    Ok(out)
}

struct Link<'a> {
    parts: &'a mut HashMap<u64, Parts>,
    lenient: bool,
    lost_rows: &'a mut u64,
}

impl Link<'_> {
    /// Builds the node `root` and everything below it. Each node's blocks are taken out of the map,
    /// so a cycle ends as a missing node.
    fn node(&mut self, root: u64) -> Result<Arc<DirNode>> {
        let mut order: Vec<(u64, Parts)> = Vec::new();
        let mut pending = vec![root];
        while let Some(id) = pending.pop() {
            let Some(mut parts) = self.parts.remove(&id) else {
                if self.lenient {
                    *self.lost_rows += 1;
                    continue;
                }
                return Err(inconsistent("a directory is gone"));
            };
            parts.pages.sort_by(|a, b| first_name(&a.1).cmp(first_name(&b.1)));
            if !sorted_across(&parts.pages) {
                if !self.lenient {
                    return Err(inconsistent("a directory is out of order"));
                }
                *self.lost_rows += 1;
                parts.pages.clear();
            }
            for (_, bytes) in &parts.pages {
                let dirs = PageView::new(bytes).slots().filter(|s| s.kind() == Kind::Dir);
                pending.extend(dirs.map(|s| s.id()));
            }
            order.push((id, parts));
        }
        // Parents come before their children in `order`, so from the end every child is ready.
        let mut built: HashMap<u64, Arc<DirNode>> = HashMap::new();
        for (id, parts) in order.into_iter().rev() {
            let (head, segment) = match parts.head {
                Some(head) => head,
                None if self.lenient => (unread(id), 0),
                None => return Err(inconsistent("a directory has lost its head")),
            };
            let mut pages = Vec::with_capacity(parts.pages.len());
            for (place, bytes) in parts.pages {
                let dirs = PageView::new(&bytes).slots().filter(|s| s.kind() == Kind::Dir);
                let kids: Vec<_> = dirs
                    .map(|slot| {
                        let lost = || Arc::new(DirNode::new(unread(slot.id()), 0, Pages::None));
                        built.remove(&slot.id()).unwrap_or_else(lost)
                    })
                    .collect();
                pages.push(Arc::new(Page::new(bytes, kids.into(), place)));
            }
            built.insert(id, Arc::new(DirNode::new(head, segment, Pages::from_vec(pages))));
        }
        match built.remove(&root) {
            Some(node) => Ok(node),
            None if self.lenient => Ok(Arc::new(DirNode::new(unread(root), 0, Pages::None))),
            None => Err(inconsistent("the directory of a root is gone")),
        }
    }
}

fn unread(id: u64) -> Head {
    Head { is_unread: true, ..Head::empty(id, id) }
}

fn first_name(page: &Arc<[u8]>) -> &[u8] {
    PageView::new(page).slot(0).name()
}

fn sorted_across(pages: &[(Place, Arc<[u8]>)]) -> bool {
    pages.windows(2).all(|pair| {
        let [(_, before), (_, after)] = pair else { return true };
        let view = PageView::new(before);
        view.slot(view.len().saturating_sub(1)).name() < first_name(after)
    })
}

/// Reads every row of every table.
pub(super) fn check(rows: &Rows) -> Result<()> {
    let loaded = load(rows, false)?;
    let mut place = (0, 0);
    let mut changes = Vec::new();
    while let Some(next) = rows.journal_row(place, &mut changes)? {
        if changes.iter().any(|c| c.seq > loaded.counters.seq) {
            return Err(inconsistent("the journal is ahead of the state"));
        }
        changes.clear();
        place = next;
    }
    rows.operations(usize::MAX)?;
    let attrs = rows.txn.open_table(schema::ATTRS).map_err(wrap_plain)?;
    for row in attrs.iter().map_err(wrap_plain)? {
        let (id, row) = row.map_err(wrap_plain)?;
        schema::decode_attrs(id.value(), row.value()).map_err(|e| damaged("an attribute row", e))?;
    }
    let spaces = rows.txn.open_table(schema::SPACES).map_err(wrap_plain)?;
    for row in spaces.iter().map_err(wrap_plain)? {
        let (key, row) = row.map_err(wrap_plain)?;
        super::space_value(key.value(), row.value())?;
    }
    rows.cursors()?;
    Ok(())
}
