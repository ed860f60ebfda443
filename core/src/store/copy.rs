//! Copying the state into a fresh file: row by row to compact it, and by what can still be read to
//! salvage a damaged one. The old file stays in place until the new one is complete and durable.

use std::cell::Cell;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{ReadableTable, TableDefinition};
use rustix::fs::RenameFlags;

use crate::error::{Error, ErrorKind, Result};
use crate::options::Durability;
use crate::path::split_root;
use crate::root_record::{RootRecord, RootState};
use crate::snapshot::{BlockOp, DirNode, Placer, Tree};

use super::create::{self, Fresh};
use super::load;
use super::schema::{self, FORMAT};
use super::work::{self, Item, Owner, WorkTable};
use super::{Config, Db, Faults, Rows, Segments, Store, Txn, guard, wrap_plain};

/// What a rebuild saved.
#[derive(Debug)]
pub(crate) struct Salvage {
    pub(crate) roots: u64,
    pub(crate) entries: u64,
    pub(crate) lost_rows: u64,
    pub(crate) spaces_rows: u64,
    pub(crate) kept_as: PathBuf,
}

/// Copies all rows in key order, which fills pages, into a file that then takes the name if it is
/// smaller.
pub(super) fn compact(
    path: &Path,
    config: &Config,
    rows: &Rows,
    old_bytes: u64,
) -> Result<Option<(Db, Result<()>)>> {
    remove_left_over(path);
    let fresh = Fresh::new(path, config)?;
    let (temporary, store) = as_store(path, config, fresh);
    let copied = (|| {
        let txn = store.begin(Durability::Durable)?;
        copy_table(rows, &txn, schema::META)?;
        copy_table(rows, &txn, schema::ROOTS)?;
        copy_table(rows, &txn, schema::SEGMENTS)?;
        copy_table(rows, &txn, schema::JOURNAL)?;
        copy_table(rows, &txn, schema::OPERATIONS)?;
        copy_table(rows, &txn, schema::ATTRS)?;
        copy_table(rows, &txn, schema::SPACES)?;
        copy_table(rows, &txn, schema::CURSORS)?;
        for table in Owner::ALL.map(Owner::definition) {
            if has_table(rows, table)? {
                copy_table(rows, &txn, table)?;
            }
        }
        for table in WorkTable::ALL.map(WorkTable::definition) {
            if has_table(rows, table)? {
                copy_table(rows, &txn, table)?;
            }
        }
        txn.commit()
    })();
    // Nothing to gain: the old file stays as it is.
    let smaller = copied.and_then(|()| Ok(store.file_bytes()? < old_bytes));
    match smaller {
        Ok(false) => {
            let _ = std::fs::remove_file(&temporary);
            Ok(None)
        }
        smaller => finish(path, &temporary, store, smaller.map(|_| ())).map(Some),
    }
}

/// Removes what a killed compaction left beside the state file. A file that is locked is still being
/// written by somebody.
fn remove_left_over(path: &Path) {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return };
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let ours = entry
            .file_name()
            .as_bytes()
            .strip_prefix(name.as_bytes())
            .is_some_and(|rest| rest.starts_with(b"-tw-"));
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if ours && is_file && std::fs::File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok()) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn as_store(path: &Path, config: &Config, fresh: Fresh) -> (create::FreshPath, Store) {
    let store = Store::of(path.to_owned(), config.clone(), fresh.db);
    (fresh.path, store)
}

/// Gives the new file the name. Whatever fails afterwards, from then on it is the state file: the
/// second value says whether the name is durable.
fn finish(
    path: &Path,
    temporary: &create::FreshPath,
    store: Store,
    copied: Result<()>,
) -> Result<(Db, Result<()>)> {
    let parent = copied.and_then(|()| create::open_parent(path));
    let named = parent.and_then(|parent| Ok((temporary.give_name(path, RenameFlags::empty())?, parent)));
    let (named, parent) = match named {
        Ok(named) => named,
        Err(error) => {
            let _ = std::fs::remove_file(temporary);
            return Err(error);
        }
    };
    let db = store.db.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    match db.and_then(Arc::into_inner) {
        Some(db) if named => Ok((db, create::sync(&parent))),
        _ => Err(Error::new(ErrorKind::Io, "the new state file could not take its name")),
    }
}

/// The tables of pipelines come with the first of them.
fn has_table<K: redb::Key, V: redb::Value>(rows: &Rows, table: TableDefinition<'_, K, V>) -> Result<bool> {
    match rows.txn.open_table(table) {
        Ok(_) => Ok(true),
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(false),
        Err(error) => Err(wrap_plain(error)),
    }
}

fn copy_table<K: redb::Key, V: redb::Value>(
    rows: &Rows,
    txn: &Txn,
    table: TableDefinition<'_, K, V>,
) -> Result<()> {
    let from = rows.txn.open_table(table).map_err(wrap_plain)?;
    let mut to = txn.raw().open_table(table).map_err(wrap_plain)?;
    for row in from.iter().map_err(wrap_plain)? {
        let (key, value) = row.map_err(wrap_plain)?;
        to.insert(key.value(), value.value()).map_err(wrap_plain)?;
    }
    Ok(())
}

/// As [`copy_table`], but a table that breaks off is kept as far as it goes. Returns rows kept.
fn salvage_table<K: redb::Key, V: redb::Value>(
    rows: &Rows,
    txn: &Txn,
    table: TableDefinition<'_, K, V>,
    lost: &mut u64,
    keep: impl Fn(&K::SelfType<'_>, &V::SelfType<'_>) -> bool,
) -> Result<u64> {
    // A damaged page may make redb panic in the middle of a table; what came before it is kept.
    let mut kept = 0;
    let copied = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        salvage_rows_of(rows, txn, table, lost, &keep, &mut kept)
    }));
    match copied {
        Ok(result) => result?,
        Err(_) => *lost += 1,
    }
    Ok(kept)
}

fn salvage_rows_of<K: redb::Key, V: redb::Value>(
    rows: &Rows,
    txn: &Txn,
    table: TableDefinition<'_, K, V>,
    lost: &mut u64,
    keep: &impl Fn(&K::SelfType<'_>, &V::SelfType<'_>) -> bool,
    kept: &mut u64,
) -> Result<()> {
    let mut to = txn.raw().open_table(table).map_err(wrap_plain)?;
    let from = match rows.txn.open_table(table) {
        Ok(from) => from,
        Err(_) => {
            *lost += 1;
            return Ok(());
        }
    };
    let Ok(iter) = from.iter() else {
        *lost += 1;
        return Ok(());
    };
    for row in iter {
        let Ok((key, value)) = row else {
            *lost += 1;
            break;
        };
        if keep(&key.value(), &value.value()) {
            to.insert(key.value(), value.value()).map_err(wrap_plain)?;
            *kept += 1;
        } else {
            *lost += 1;
        }
    }
    Ok(())
}

pub(super) fn rebuild(path: &Path) -> Result<Salvage> {
    let config = Config::new(false, true, 16 << 20, Faults::default());
    let kept_as = free_name(path)?;
    let writable = Config { create: true, read_only: false, ..config.clone() };
    let old = match create::open(path, &config) {
        Ok(db) => Some(Store::of(path.to_owned(), config, db)),
        Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Io) => None,
        Err(error) => return Err(error),
    };
    let fresh = Fresh::new(path, &writable)?;
    let (temporary, store) = as_store(path, &writable, fresh);
    let mut salvage = Salvage { roots: 0, entries: 0, lost_rows: 0, spaces_rows: 0, kept_as };
    let written = guard(path, || {
        let txn = store.begin(Durability::Durable)?;
        txn.put_format(FORMAT)?;
        txn.create_tables()?;
        match &old {
            Some(old) => salvage_rows(&old.rows()?, &txn, &mut salvage)?,
            None => {
                salvage.lost_rows = 1;
                let id = create::new_database_id().map_err(|e| store.io("draw a database id for", e))?;
                txn.put_database(id)?;
                txn.put_counters(&schema::Counters { next_id: 1, next_root: 1, ..Default::default() })?;
            }
        }
        txn.commit()
    });
    // The damaged file keeps its content under the new name; the name itself is never empty.
    let written = written.and_then(|()| {
        rustix::fs::link(path, &salvage.kept_as).map_err(|e| {
            Error::io("keep the damaged state file as", salvage.kept_as.as_os_str().as_bytes(), e.into())
        })
    });
    let (_, durable) = finish(path, &temporary, store, written)?;
    durable.map(|()| salvage)
}

fn salvage_rows(rows: &Rows, txn: &Txn, salvage: &mut Salvage) -> Result<()> {
    let mut loaded = load::load(rows, true)?;
    let lost = &mut salvage.lost_rows;
    *lost += loaded.lost_rows;
    let mut segments = Segments::default();
    for root in &loaded.tree.roots {
        // What was lost cannot be told apart from what was never there, nor even be counted: a damaged page may
        // show fewer rows without a sign. Until a whole scan nothing may be taken for missing.
        txn.put_root(&RootRecord { state: RootState::New, rebuilt: true, ..(*root.record).clone() })?;
        for node in [&root.live, &root.gone] {
            txn.apply(&lay_out(node, &mut segments), &mut segments)?;
        }
        salvage.roots += 1;
        salvage.entries += root.live.totals.files;
    }
    let whole = |key: u64, row: &[u8]| schema::unseal(key, row).is_ok();
    salvage_table(rows, txn, schema::OPERATIONS, lost, |id, row| whole(*id, row))?;
    // Noted of each row that is whole, kept or not: somebody outside may still know the id.
    let used = UsedIds::default();
    salvage_table(rows, txn, schema::ATTRS, lost, |id, row| {
        let is_whole = whole(*id, row);
        if is_whole {
            used.entry(*id);
        }
        is_whole
    })?;
    salvage.spaces_rows = salvage_table(rows, txn, schema::SPACES, lost, |key, row| {
        schema::unseal(schema::space_seed(key), row).is_ok()
    })?;
    salvage_table(rows, txn, schema::CURSORS, lost, |name, row| schema::decode_cursor(name, row).is_ok())?;
    for table in Owner::ALL.map(Owner::definition) {
        if has_table(rows, table).unwrap_or(true) {
            salvage_table(rows, txn, table, lost, |id, row| {
                let is_whole = whole(u64::from(*id), row);
                if is_whole {
                    used.owner(*id);
                }
                is_whole
            })?;
        }
    }
    let left = (loaded.lost_roots > 0).then(|| Left::of(&loaded.tree));
    for table in WorkTable::ALL {
        if has_table(rows, table.definition()).unwrap_or(true) {
            salvage_table(rows, txn, table.definition(), lost, |key, row| {
                let is_whole = whole(schema::space_seed(key), row);
                if is_whole {
                    used.key(table, key);
                }
                is_whole && left.as_ref().is_none_or(|left| left.keeps(table, key))
            })?;
        }
    }
    let counters = &mut loaded.counters;
    counters.next_id = counters.next_id.max(used.entry.get().saturating_add(1));
    // The last one that was given, as it is counted up first.
    counters.next_pipeline = counters.next_pipeline.max(used.owner.get());
    // What was lost cannot be told by the journal: consumers start over from the snapshot.
    for (_, place) in rows.cursors().unwrap_or_default() {
        loaded.counters.seq = loaded.counters.seq.max(place);
    }
    loaded.counters.seq += 1;
    loaded.counters.journal_floor = loaded.counters.seq;
    loaded.counters.journal_bytes = 0;
    txn.put_database(loaded.database)?;
    txn.put_counters(&loaded.counters)
}

/// The greatest ids that rows are kept under. Without its counters, a salvaged file must not give an id twice.
#[derive(Default)]
struct UsedIds {
    entry: Cell<u64>,
    owner: Cell<u32>,
}

impl UsedIds {
    fn entry(&self, id: u64) {
        self.entry.set(self.entry.get().max(id));
    }

    fn owner(&self, id: u32) {
        self.owner.set(self.owner.get().max(id));
    }

    fn key(&self, table: WorkTable, key: &[u8]) {
        if let Some(owner) = work::owner(key) {
            self.owner(owner);
        }
        if let Some(Item::Entry(id)) = table.item(key) {
            self.entry(id);
        }
    }
}

/// What is left of the items of pipelines where the row of a root was lost. A root that is absent counts as removed, so
/// that every record of an item in it would be work: clean up what was made of it. A record too few costs work that is
/// done twice, one too many costs what is still needed.
struct Left<'a> {
    tree: &'a Tree,
    /// Ids in the roots that could be read, of what is there and of tombstones, sorted.
    entries: Vec<u64>,
}

impl<'a> Left<'a> {
    fn of(tree: &'a Tree) -> Self {
        let mut entries = Vec::new();
        let mut pending: Vec<&Arc<DirNode>> =
            tree.roots.iter().flat_map(|root| [&root.live, &root.gone]).collect();
        while let Some(node) = pending.pop() {
            for (slot, kid) in node.children() {
                entries.push(slot.id());
                pending.extend(kid);
            }
        }
        entries.sort_unstable();
        Self { tree, entries }
    }

    fn keeps(&self, table: WorkTable, key: &[u8]) -> bool {
        match table.item(key) {
            Some(Item::Entry(id)) => self.entries.binary_search(&id).is_ok(),
            Some(Item::Group(group)) => self.tree.root(split_root(group).0).is_some(),
            None => true,
        }
    }
}

/// Every block of a subtree, in rows of its own.
fn lay_out(root: &Arc<DirNode>, segments: &mut Segments) -> Vec<BlockOp> {
    let mut ops = Vec::new();
    let mut pending = vec![root];
    while let Some(node) = pending.pop() {
        let id = node.head.node;
        let head: Arc<[u8]> = node.head.encode().into();
        let segment = segments.place(None, head.len());
        ops.push(BlockOp::Put { segment, node: id, number: 0, bytes: head });
        for (number, page) in (1..).zip(node.pages.iter()) {
            let segment = segments.place(None, page.bytes.len());
            ops.push(BlockOp::Put { segment, node: id, number, bytes: Arc::clone(&page.bytes) });
            pending.extend(page.kids.iter());
        }
    }
    ops
}

/// `NAME.damaged-1`, or the next number that is free.
fn free_name(path: &Path) -> Result<PathBuf> {
    for n in 1..10_000 {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".damaged-{n}"));
        let candidate = PathBuf::from(name);
        if matches!(rustix::fs::lstat(&candidate), Err(rustix::io::Errno::NOENT)) {
            return Ok(candidate);
        }
    }
    Err(Error::new(ErrorKind::AlreadyExists, "there are 10,000 damaged files beside the state file")
        .with_path(path.as_os_str().as_bytes())
        .with_hint("remove some of them"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::store::WorkWrite;

    #[test]
    fn without_its_counters_a_rebuilt_file_gives_no_id_twice() -> Result<()> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.tw");
        let config = Config::new(true, false, 1 << 20, Faults::default());
        let store = Store::open(&path, config.clone())?;
        let txn = store.begin(Durability::Durable)?;
        txn.put_attrs(40, &BTreeMap::from([("name".to_owned(), b"value".to_vec())]))?;
        let key = [7_u32.to_be_bytes().as_slice(), &[0], &50_u64.to_be_bytes()].concat();
        txn.work_write(&[WorkWrite { table: WorkTable::Records, key, row: Some(vec![0]) }])?;
        {
            let mut meta = txn.raw().open_table(schema::META).map_err(wrap_plain)?;
            meta.insert(schema::META_STATE, b"damaged".as_slice()).map_err(wrap_plain)?;
        }
        txn.commit()?;
        drop(store);
        assert!(Store::rebuild(&path)?.lost_rows > 0);
        let counters = load::counters(&Store::open(&path, config)?.rows()?)?;
        assert_eq!((counters.next_id, counters.next_root, counters.next_pipeline), (51, 1, 7));
        Ok(())
    }
}
