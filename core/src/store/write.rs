//! The write side: one transaction, several batches, one fsync.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use redb::ReadableTable;

use crate::error::{Error, Result};
use crate::operation::Operation;
use crate::options::Durability;
use crate::root_record::RootRecord;
use crate::snapshot::BlockOp;

use super::schema::{self, Counters};
use super::segment::{self, Segments};
use super::{Db, Store, cursor_value, damaged, space_value, wrap, wrap_plain};

/// Space, key, and the value to put; `None` deletes.
pub(crate) type SpaceWrite = (String, Vec<u8>, Option<Vec<u8>>);

/// A write transaction. Dropped without [`Txn::commit`], it changes nothing.
pub(crate) struct Txn {
    txn: redb::WriteTransaction,
    path: PathBuf,
    _db: Arc<Db>,
}

impl Store {
    /// Begins the one write transaction there is.
    pub(crate) fn begin(&self, durability: Durability) -> Result<Txn> {
        let db = self.handle()?;
        db.disk.arm().map_err(|e| self.io("write to the state file", e))?;
        let mut txn = db.redb()?.begin_write().map_err(|e| self.failed(wrap(&self.path, e)))?;
        match durability {
            // Two phases, so that file names chosen by strangers cannot forge a commit, and with
            // the allocator's state, so that a kill costs no repair (redb docs/design.md).
            Durability::Durable => txn.set_quick_repair(true),
            Durability::Relaxed => {
                txn.set_durability(redb::Durability::None).map_err(|e| wrap(&self.path, e))?;
            }
        }
        Ok(Txn { txn, path: self.path.clone(), _db: db })
    }
}

impl Txn {
    pub(super) fn create_tables(&self) -> Result<()> {
        self.txn.open_table(schema::ROOTS).map_err(wrap_plain)?;
        self.txn.open_table(schema::SEGMENTS).map_err(wrap_plain)?;
        self.txn.open_table(schema::JOURNAL).map_err(wrap_plain)?;
        self.txn.open_table(schema::OPERATIONS).map_err(wrap_plain)?;
        self.txn.open_table(schema::ATTRS).map_err(wrap_plain)?;
        self.txn.open_table(schema::SPACES).map_err(wrap_plain)?;
        self.txn.open_table(schema::CURSORS).map_err(wrap_plain)?;
        Ok(())
    }

    fn put_meta(&self, key: &str, row: &[u8]) -> Result<()> {
        let mut table = self.txn.open_table(schema::META).map_err(wrap_plain)?;
        table.insert(key, row).map_err(wrap_plain)?;
        Ok(())
    }

    pub(super) fn put_format(&self, format: u32) -> Result<()> {
        self.put_meta(schema::META_FORMAT, &format.to_le_bytes())
    }

    pub(super) fn put_database(&self, database: u128) -> Result<()> {
        self.put_meta(schema::META_DATABASE, &database.to_le_bytes())
    }

    pub(crate) fn put_counters(&self, counters: &Counters) -> Result<()> {
        self.put_meta(schema::META_STATE, &counters.encode())
    }

    pub(crate) fn put_root(&self, root: &RootRecord) -> Result<()> {
        let mut table = self.txn.open_table(schema::ROOTS).map_err(wrap_plain)?;
        table.insert(root.id, schema::encode_root(root).as_slice()).map_err(wrap_plain)?;
        Ok(())
    }

    pub(crate) fn delete_root(&self, id: u32) -> Result<()> {
        let mut table = self.txn.open_table(schema::ROOTS).map_err(wrap_plain)?;
        table.remove(id).map_err(wrap_plain)?;
        Ok(())
    }

    /// Writes blocks, a row at a time.
    pub(crate) fn apply(&self, ops: &[BlockOp], segments: &mut Segments) -> Result<()> {
        let mut by_segment: HashMap<u64, Vec<&BlockOp>> = HashMap::new();
        for op in ops {
            let (BlockOp::Put { segment, .. } | BlockOp::Delete { segment, .. }) = op;
            by_segment.entry(*segment).or_default().push(op);
        }
        let mut keys: Vec<u64> = by_segment.keys().copied().collect();
        keys.sort_unstable();
        let mut table = self.txn.open_table(schema::SEGMENTS).map_err(wrap_plain)?;
        for key in keys {
            let ops = by_segment.remove(&key).unwrap_or_default();
            let old = table.get(key).map_err(wrap_plain)?;
            let row = segment::patch(key, old.as_ref().map(redb::AccessGuard::value), &ops)
                .map_err(|e| damaged("a segment", e))?;
            drop(old);
            segments.note(key, row.as_ref().map_or(0, Vec::len));
            match row {
                Some(row) => {
                    table.insert(key, row.as_slice()).map_err(wrap_plain)?;
                }
                None => {
                    table.remove(key).map_err(wrap_plain)?;
                }
            }
        }
        Ok(())
    }

    /// Writes the journal rows of one commit; returns their bytes.
    pub(crate) fn put_journal(&self, seq: u64, now_ns: i64, rows: &[Vec<u8>]) -> Result<u64> {
        let mut table = self.txn.open_table(schema::JOURNAL).map_err(wrap_plain)?;
        let mut bytes = 0;
        for (part, row) in (0u32..).zip(rows) {
            let mut stamped = now_ns.to_le_bytes().to_vec();
            stamped.extend_from_slice(row);
            let row = schema::seal(schema::journal_seed(seq, part), stamped);
            table.insert((seq, part), row.as_slice()).map_err(wrap_plain)?;
            bytes += row.len() as u64;
        }
        Ok(bytes)
    }

    /// Drops the oldest commits from the journal while they are older than `before_ns` or the
    /// journal is larger than `bytes_max`. Whole commits only; never the newest.
    pub(crate) fn trim_journal(
        &self,
        counters: &mut Counters,
        before_ns: i64,
        bytes_max: u64,
    ) -> Result<bool> {
        let mut table = self.txn.open_table(schema::JOURNAL).map_err(wrap_plain)?;
        let mut drop_to = None;
        let mut bytes = counters.journal_bytes;
        {
            let mut current = None;
            for row in table.iter().map_err(wrap_plain)? {
                let (key, row) = row.map_err(wrap_plain)?;
                let seq = key.value().0;
                let row = row.value();
                let time =
                    row.get(8..16).and_then(|t| t.first_chunk::<8>()).map_or(0, |t| i64::from_le_bytes(*t));
                if current != Some(seq) {
                    if seq >= counters.seq || (time >= before_ns && bytes <= bytes_max) {
                        break;
                    }
                    current = Some(seq);
                }
                drop_to = Some(seq);
                bytes = bytes.saturating_sub(row.len() as u64);
            }
        }
        let Some(last) = drop_to else { return Ok(false) };
        table.retain_in(..=(last, u32::MAX), |_, _| false).map_err(wrap_plain)?;
        counters.journal_floor = last;
        counters.journal_bytes = bytes;
        Ok(true)
    }

    pub(crate) fn put_operation(&self, operation: &Operation, keep_max: u32) -> Result<()> {
        let mut table = self.txn.open_table(schema::OPERATIONS).map_err(wrap_plain)?;
        table.insert(operation.id, schema::encode_operation(operation).as_slice()).map_err(wrap_plain)?;
        let floor = (operation.id + 1).saturating_sub(u64::from(keep_max));
        if floor > 0 {
            table.retain_in(..floor, |_, _| false).map_err(wrap_plain)?;
        }
        Ok(())
    }

    pub(crate) fn attrs(&self, id: u64) -> Result<BTreeMap<String, Vec<u8>>> {
        let table = self.txn.open_table(schema::ATTRS).map_err(wrap_plain)?;
        match table.get(id).map_err(wrap_plain)? {
            Some(row) => schema::decode_attrs(id, row.value()).map_err(|e| damaged("an attribute row", e)),
            None => Ok(BTreeMap::new()),
        }
    }

    pub(crate) fn put_attrs(&self, id: u64, attrs: &BTreeMap<String, Vec<u8>>) -> Result<()> {
        let mut table = self.txn.open_table(schema::ATTRS).map_err(wrap_plain)?;
        if attrs.is_empty() {
            table.remove(id).map_err(wrap_plain)?;
        } else {
            table.insert(id, schema::encode_attrs(id, attrs).as_slice()).map_err(wrap_plain)?;
        }
        Ok(())
    }

    pub(crate) fn delete_attrs(&self, ids: &[u64]) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut table = self.txn.open_table(schema::ATTRS).map_err(wrap_plain)?;
        if table.first().map_err(wrap_plain)?.is_none() {
            return Ok(());
        }
        for id in ids {
            table.remove(*id).map_err(wrap_plain)?;
        }
        Ok(())
    }

    pub(crate) fn space_get(&self, space: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let table = self.txn.open_table(schema::SPACES).map_err(wrap_plain)?;
        let key = schema::space_key(space, key);
        let found = table.get(key.as_slice()).map_err(wrap_plain)?;
        found.map(|row| space_value(&key, row.value())).transpose()
    }

    /// Writes values of spaces; `None` deletes.
    pub(crate) fn space_write(&self, writes: &[SpaceWrite]) -> Result<()> {
        if writes.is_empty() {
            return Ok(());
        }
        let mut table = self.txn.open_table(schema::SPACES).map_err(wrap_plain)?;
        for (space, key, value) in writes {
            let key = schema::space_key(space, key);
            match value {
                Some(value) => {
                    let row = schema::seal(schema::space_seed(&key), value.clone());
                    table.insert(key.as_slice(), row.as_slice()).map_err(wrap_plain)?;
                }
                None => {
                    table.remove(key.as_slice()).map_err(wrap_plain)?;
                }
            }
        }
        Ok(())
    }

    pub(crate) fn cursor(&self, name: &str) -> Result<Option<u64>> {
        let table = self.txn.open_table(schema::CURSORS).map_err(wrap_plain)?;
        let found = table.get(name).map_err(wrap_plain)?;
        found.map(|row| cursor_value(name, row.value())).transpose()
    }

    pub(crate) fn put_cursor(&self, name: &str, seq: u64) -> Result<()> {
        let mut table = self.txn.open_table(schema::CURSORS).map_err(wrap_plain)?;
        table.insert(name, schema::encode_cursor(name, seq).as_slice()).map_err(wrap_plain)?;
        Ok(())
    }

    /// Copies one sealed row of attributes as it is.
    pub(super) fn raw(&self) -> &redb::WriteTransaction {
        &self.txn
    }

    pub(crate) fn commit(self) -> Result<()> {
        self.txn.commit().map_err(|e| wrap(&self.path, e))
    }
}

impl std::fmt::Debug for Txn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Txn").finish_non_exhaustive()
    }
}

/// Keeps the type of the error next to the place that makes it.
pub(super) fn inconsistent(what: &str) -> Error {
    Error::new(crate::error::ErrorKind::Corrupt, format!("the state file is damaged: {what}"))
        .with_hint(super::REBUILD_HINT)
}
