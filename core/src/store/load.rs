//! From rows to the tree: every segment is checked and cut into blocks, then the nodes are linked
//! from the leaves up. Nothing recurses, and nothing that the file says is trusted.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use redb::ReadableTable;

use crate::bytes::Malformed;
use crate::entry::Kind;
use crate::error::Result;
use crate::root_record::RootRecord;
use crate::snapshot::{DirNode, Head, Page, PageView, Pages, Place, RootView, Summary, Trail, Tree};

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
    /// How many of them were of roots, as far as one can tell.
    pub(crate) lost_roots: u64,
}

/// Rows that are read, and taken apart, at once.
const BATCH_ROWS: usize = 64;
/// Threads that take rows apart at most; the file is read by one.
const LOAD_THREADS_MAX: usize = 4;

/// The blocks of one node.
#[derive(Default)]
struct Parts {
    head: Option<(Head, u64)>,
    pages: Vec<Stored>,
}

/// A page as it lies in the file.
struct Stored {
    place: Place,
    bytes: Arc<[u8]>,
    own: Summary,
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
    let damaged_rows = read_segments(rows, lenient, &mut segments, &mut parts)?;
    if damaged_rows > 0 && !lenient {
        return Err(damaged("a segment of directories", Malformed));
    }
    lost_rows += damaged_rows;
    let mut counters = match counters(rows) {
        Ok(counters) => counters,
        Err(_) if lenient => {
            lost_rows += 1;
            Counters { next_id: 1, next_root: 1, ..Counters::default() }
        }
        Err(error) => return Err(error),
    };
    let mut tree = Tree { seq: counters.seq, roots: Vec::new() };
    let (records, lost_roots) = roots(rows, lenient)?;
    lost_rows += lost_roots;
    for record in records {
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
    Ok(Loaded { database, counters, tree, segments, lost_rows, lost_roots })
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

/// Reads all segments on this thread and takes them apart on others: checksums and the checks of
/// every entry are most of the time that opening takes. Answers how many rows were damaged.
fn read_segments(
    rows: &Rows,
    lenient: bool,
    segments: &mut Segments,
    parts: &mut HashMap<u64, Parts>,
) -> Result<u64> {
    let table = rows.txn.open_table(schema::SEGMENTS).map_err(wrap_plain)?;
    let mut source = table.iter().map_err(wrap_plain)?;
    let broken = Cell::new(false);
    let mut read = || -> Result<Vec<Row>> {
        let mut batch = Vec::with_capacity(BATCH_ROWS);
        for row in source.by_ref().take(BATCH_ROWS) {
            match row {
                Ok((key, row)) => batch.push((key.value(), row.value().to_vec())),
                // A table that breaks off is salvaged as far as it goes.
                Err(_) if lenient => {
                    broken.set(true);
                    break;
                }
                Err(error) => return Err(wrap_plain(error)),
            }
        }
        Ok(batch)
    };
    let first = read()?;
    let lost = Cell::new(0);
    let mut take = |taken: Vec<Taken>| {
        for (segment, len, blocks) in taken {
            segments.note(segment, len);
            let kept = blocks.and_then(|blocks| blocks.into_iter().try_for_each(|block| place(block, parts)));
            lost.set(lost.get() + u64::from(kept.is_err()));
        }
    };
    if first.len() < BATCH_ROWS {
        take(take_apart(first));
        return Ok(lost.get() + u64::from(broken.get()));
    }
    std::thread::scope(|scope| {
        let (rows_in, rows_out) = crossbeam_channel::bounded::<Vec<Row>>(4);
        let (taken_in, taken_out) = crossbeam_channel::unbounded();
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(LOAD_THREADS_MAX);
        for _ in 0..threads {
            let (rows_out, taken_in) = (rows_out.clone(), taken_in.clone());
            scope.spawn(move || {
                for batch in rows_out {
                    let _ = taken_in.send(take_apart(batch));
                }
            });
        }
        drop((rows_out, taken_in));
        let mut batch = first;
        while !batch.is_empty() {
            let last = broken.get();
            if rows_in.send(batch).is_err() {
                break;
            }
            taken_out.try_iter().for_each(&mut take);
            batch = if last { Vec::new() } else { read()? };
        }
        drop(rows_in);
        taken_out.iter().for_each(&mut take);
        Ok(lost.get() + u64::from(broken.get()))
    })
}

/// Key and value of a segment.
type Row = (u64, Vec<u8>);
/// A segment's key and length, and its blocks unless it is damaged.
type Taken = (u64, usize, Result<Vec<Piece>, Malformed>);

/// One block, checked.
enum Piece {
    Head(Head, u64),
    Page(u64, Stored),
}

fn take_apart(batch: Vec<Row>) -> Vec<Taken> {
    let take = |(segment, row): Row| {
        let pieces = segment::blocks(segment, &row).and_then(|blocks| {
            let piece = |block: segment::Block<'_>| {
                if block.number == 0 {
                    return Ok(Piece::Head(Head::decode(block.node, block.bytes)?, segment));
                }
                let own = PageView::new(block.bytes).validate().map_err(|_| Malformed)?;
                let place = Place { segment, number: block.number };
                Ok(Piece::Page(block.node, Stored { place, bytes: block.bytes.into(), own }))
            };
            blocks.into_iter().map(piece).collect()
        });
        (segment, row.len(), pieces)
    };
    batch.into_iter().map(take).collect()
}

fn place(piece: Piece, parts: &mut HashMap<u64, Parts>) -> Result<(), Malformed> {
    match piece {
        Piece::Head(head, segment) => {
            let part = parts.entry(head.node).or_default();
            if part.head.replace((head, segment)).is_some() {
                return Err(Malformed);
            }
        }
        Piece::Page(node, page) => parts.entry(node).or_default().pages.push(page),
    }
    Ok(())
}

/// The roots, and how many rows of the table could not be used.
fn roots(rows: &Rows, lenient: bool) -> Result<(Vec<RootRecord>, u64)> {
    let table = rows.txn.open_table(schema::ROOTS).map_err(wrap_plain)?;
    let (mut out, mut lost) = (Vec::new(), 0);
    for row in table.iter().map_err(wrap_plain)? {
        let (id, row) = match row {
            Ok(row) => row,
            Err(_) if lenient => {
                lost += 1;
                break;
            }
            Err(error) => return Err(wrap_plain(error)),
        };
        match schema::decode_root(id.value(), row.value()) {
            Ok(root) => out.push(root),
            Err(_) if lenient => lost += 1,
            Err(error) => return Err(damaged("a root", error)),
        }
    }
    Ok((out, lost))
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
        let mut order: Vec<(u64, Parts, Arc<Trail>)> = Vec::new();
        let mut pending = vec![(root, Arc::<Trail>::default())];
        while let Some((id, trail)) = pending.pop() {
            let Some(mut parts) = self.parts.remove(&id) else {
                if self.lenient {
                    *self.lost_rows += 1;
                    continue;
                }
                return Err(inconsistent("a directory is gone"));
            };
            parts.pages.sort_by(|a, b| first_name(&a.bytes).cmp(first_name(&b.bytes)));
            if !sorted_across(&parts.pages) {
                if !self.lenient {
                    return Err(inconsistent("a directory is out of order"));
                }
                *self.lost_rows += 1;
                parts.pages.clear();
            }
            for page in parts.pages.iter().filter(|page| page.own.dirs > 0) {
                let dirs = PageView::new(&page.bytes).slots().filter(|s| s.kind() == Kind::Dir);
                pending.extend(dirs.map(|s| (s.id(), Trail::below(&trail, s.name()))));
            }
            order.push((id, parts, trail));
        }
        // Parents come before their children in `order`, so from the end every child is ready.
        let mut built: HashMap<u64, Arc<DirNode>> = HashMap::new();
        for (id, parts, trail) in order.into_iter().rev() {
            let (head, segment) = match parts.head {
                Some(head) => head,
                // What its pages name is known and keeps its ids; the facts of the directory itself are not.
                None if self.lenient && !parts.pages.is_empty() => (Head::empty(id, id), 0),
                None if self.lenient => (unread(id), 0),
                None => return Err(inconsistent("a directory has lost its head")),
            };
            let mut pages = Vec::with_capacity(parts.pages.len());
            for Stored { place, bytes, own } in parts.pages {
                let slots = if own.dirs > 0 { PageView::new(&bytes).len() } else { 0 };
                let kids: Vec<_> = PageView::new(&bytes)
                    .slots()
                    .take(slots)
                    .filter(|s| s.kind() == Kind::Dir)
                    .map(|slot| {
                        let lost = || {
                            let trail = Trail::below(&trail, slot.name());
                            Arc::new(DirNode::new(unread(slot.id()), 0, Pages::None, trail))
                        };
                        built.remove(&slot.id()).unwrap_or_else(lost)
                    })
                    .collect();
                pages.push(Arc::new(Page::summed(bytes, kids.into(), place, own)));
            }
            built.insert(id, Arc::new(DirNode::new(head, segment, Pages::from_vec(pages), trail)));
        }
        match built.remove(&root) {
            Some(node) => Ok(node),
            None if self.lenient => Ok(Arc::new(DirNode::new(unread(root), 0, Pages::None, Arc::default()))),
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

fn sorted_across(pages: &[Stored]) -> bool {
    pages.windows(2).all(|pair| {
        let [before, after] = pair else { return true };
        let view = PageView::new(&before.bytes);
        view.slot(view.len().saturating_sub(1)).name() < first_name(&after.bytes)
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
    rows.work_check()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Stat;
    use crate::snapshot::{RecordRef, pack_refs};

    #[test]
    fn a_directory_that_lost_its_head_keeps_what_its_pages_name() -> Result<()> {
        let file = RecordRef {
            name: b"a",
            stat: Stat { kind: Kind::File, ..Stat::EMPTY_DIR },
            id: 7,
            seq: 3,
            racy: false,
            hash: None,
            target: None,
            missing_since_ns: None,
        };
        let mut pages = Vec::new();
        for (number, bytes) in (1..).zip(pack_refs(&[file], 3)) {
            let own = PageView::new(&bytes).summary();
            pages.push(Stored { place: Place { segment: 5, number }, bytes, own });
        }
        let mut parts = HashMap::from([(1, Parts { head: None, pages })]);
        let mut lost_rows = 0;
        let mut link = Link { parts: &mut parts, lenient: true, lost_rows: &mut lost_rows };
        let headless = link.node(1)?;
        assert!(!headless.head.is_unread, "it would be taken for one that nobody has listed yet");
        let id = headless.find(b"a").map(|(page, index)| page.view().slot(index).id());
        assert_eq!((id, headless.totals.files), (Some(7), 1));
        assert!(link.node(2)?.head.is_unread, "nothing is left of it");
        assert_eq!(lost_rows, 1);
        Ok(())
    }
}
