//! Rows of the pipelines and mirrors: what they are, and what is kept for each of their items. The rows are
//! sealed with their keys and opaque here; `work/` and `mirror/` know what is in them. Only what a key names can
//! be told. A file that has never seen a pipeline or a mirror has none of these tables.

use redb::{ReadableTable, TableDefinition, TableError};

use crate::error::Result;

use super::schema::{seal, space_seed, unseal};
use super::{Rows, Txn, damaged, wrap_plain};

pub(super) const PIPELINES: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("pipelines");
pub(super) const MIRRORS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("mirrors");
pub(super) const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("work");
pub(super) const LEASES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("leases");
pub(super) const REQUESTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("requests");
/// One row for each pipeline that refreshes in runs, under its id alone.
pub(super) const RUNS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("runs");
/// One row for each pipeline with a rate, under its id alone.
pub(super) const LIMITERS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("limiters");
/// One row for each object of a mirror, under its id and the object's key.
pub(super) const OBJECTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("objects");
/// One row for each object that is being sent in parts.
pub(super) const UPLOADS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("uploads");
/// One row for each address that a CDN is still to forget.
pub(super) const PURGES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("purges");

/// Whose rows they are. Ids are never shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    Pipeline,
    Mirror,
}

impl Owner {
    pub(super) const ALL: [Self; 2] = [Self::Pipeline, Self::Mirror];

    pub(super) fn definition(self) -> TableDefinition<'static, u32, &'static [u8]> {
        match self {
            Self::Pipeline => PIPELINES,
            Self::Mirror => MIRRORS,
        }
    }
}

/// What is kept for an item of a pipeline or mirror. Keys start with the id of the owner, big-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WorkTable {
    Records,
    Leases,
    Requests,
    Limiters,
    Runs,
    Objects,
    Uploads,
    Purges,
}

impl WorkTable {
    pub(super) const ALL: [Self; 8] = [
        Self::Records,
        Self::Leases,
        Self::Requests,
        Self::Limiters,
        Self::Runs,
        Self::Objects,
        Self::Uploads,
        Self::Purges,
    ];

    pub(super) fn definition(self) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
        match self {
            Self::Records => RECORDS,
            Self::Leases => LEASES,
            Self::Requests => REQUESTS,
            Self::Limiters => LIMITERS,
            Self::Runs => RUNS,
            Self::Objects => OBJECTS,
            Self::Uploads => UPLOADS,
            Self::Purges => PURGES,
        }
    }
}

/// A row to put; `None` deletes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WorkWrite {
    pub(crate) table: WorkTable,
    pub(crate) key: Vec<u8>,
    pub(crate) row: Option<Vec<u8>>,
}

/// A table that nobody has written to yet is empty.
fn or_empty<T>(table: Result<T, TableError>) -> Result<Option<T>> {
    match table {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(wrap_plain(error)),
    }
}

fn open_row(key: &[u8], row: &[u8]) -> Result<Vec<u8>> {
    let body = unseal(space_seed(key), row).map_err(|e| damaged("a row of a pipeline", e))?;
    Ok(body.to_vec())
}

/// What a record or a request is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item<'key> {
    /// A file or symlink by itself, by its id.
    Entry(u64),
    /// A group, by its key: an address.
    Group(&'key [u8]),
}

/// The pipeline or mirror that a row of a [`WorkTable`] belongs to, by its key.
pub(super) fn owner(key: &[u8]) -> Option<u32> {
    key.first_chunk::<4>().map(|id| u32::from_be_bytes(*id))
}

impl WorkTable {
    /// What the row under this key is about; `None` in tables that keep no records or requests.
    pub(super) fn item(self, key: &[u8]) -> Option<Item<'_>> {
        if !matches!(self, Self::Records | Self::Requests) {
            return None;
        }
        let (kind, item) = key.get(4..)?.split_first()?;
        match *kind {
            0 => Some(Item::Entry(u64::from_be_bytes(item.try_into().ok()?))),
            1 => Some(Item::Group(item)),
            _ => None,
        }
    }
}

impl Rows {
    /// Every pipeline, or every mirror: id and row.
    pub(crate) fn owners(&self, owner: Owner) -> Result<Vec<(u32, Vec<u8>)>> {
        let Some(table) = or_empty(self.txn.open_table(owner.definition()))? else { return Ok(Vec::new()) };
        let mut out = Vec::new();
        for row in table.iter().map_err(wrap_plain)? {
            let (id, row) = row.map_err(wrap_plain)?;
            let body = unseal(u64::from(id.value()), row.value());
            out.push((id.value(), body.map_err(|e| damaged("a pipeline or mirror", e))?.to_vec()));
        }
        Ok(out)
    }

    /// One row. A panic of the store is an error about a damaged file here.
    pub(crate) fn work_get(&self, table: WorkTable, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.guarded(|rows| {
            let Some(table) = or_empty(rows.txn.open_table(table.definition()))? else { return Ok(None) };
            let found = table.get(key).map_err(wrap_plain)?;
            found.map(|row| open_row(key, row.value())).transpose()
        })
    }

    /// Every row of one pipeline or mirror, in key order. A panic of the store is an error about a damaged file; one
    /// of `each` is a panic.
    pub(crate) fn work_each(
        &self,
        table: WorkTable,
        owner: u32,
        mut each: impl FnMut(&[u8], &[u8]) -> Result<()>,
    ) -> Result<()> {
        let from = owner.to_be_bytes();
        let range = self.guarded(|rows| {
            let table = or_empty(rows.txn.open_table(table.definition()))?;
            table.map(|table| table.range::<&[u8]>(from.as_slice()..).map_err(wrap_plain)).transpose()
        })?;
        let Some(mut range) = range else { return Ok(()) };
        while let Some((key, row)) = self.guarded(|_| range.next().transpose().map_err(wrap_plain))? {
            if !key.value().starts_with(&from) {
                break;
            }
            let body = unseal(space_seed(key.value()), row.value());
            each(key.value(), body.map_err(|e| damaged("a row of a pipeline", e))?)?;
        }
        Ok(())
    }

    /// Checks every row.
    pub(super) fn work_check(&self) -> Result<()> {
        for owner in Owner::ALL {
            for (id, _) in self.owners(owner)? {
                for table in WorkTable::ALL {
                    self.work_each(table, id, |_, _| Ok(()))?;
                }
            }
        }
        Ok(())
    }
}

impl Txn {
    pub(crate) fn put_owner(&self, owner: Owner, id: u32, row: &[u8]) -> Result<()> {
        let mut table = self.raw().open_table(owner.definition()).map_err(wrap_plain)?;
        let row = seal(u64::from(id), row.to_vec());
        table.insert(id, row.as_slice()).map_err(wrap_plain)?;
        Ok(())
    }

    /// Deletes a pipeline or mirror and everything that is kept for its items.
    pub(crate) fn delete_owner(&self, owner: Owner, id: u32) -> Result<()> {
        let mut owners = self.raw().open_table(owner.definition()).map_err(wrap_plain)?;
        owners.remove(id).map_err(wrap_plain)?;
        let from = id.to_be_bytes();
        let to = id.checked_add(1).map(u32::to_be_bytes);
        for table in WorkTable::ALL {
            let mut table = self.raw().open_table(table.definition()).map_err(wrap_plain)?;
            match &to {
                Some(to) => table.retain_in::<&[u8], _>(from.as_slice()..to.as_slice(), |_, _| false),
                None => table.retain_in::<&[u8], _>(from.as_slice().., |_, _| false),
            }
            .map_err(wrap_plain)?;
        }
        Ok(())
    }

    /// Writes rows of items; each table is opened once.
    pub(crate) fn work_write(&self, writes: &[WorkWrite]) -> Result<()> {
        for which in WorkTable::ALL {
            if !writes.iter().any(|write| write.table == which) {
                continue;
            }
            let mut table = self.raw().open_table(which.definition()).map_err(wrap_plain)?;
            for WorkWrite { key, row, .. } in writes.iter().filter(|write| write.table == which) {
                match row {
                    Some(row) => {
                        let row = seal(space_seed(key), row.clone());
                        table.insert(key.as_slice(), row.as_slice()).map_err(wrap_plain)?;
                    }
                    None => {
                        table.remove(key.as_slice()).map_err(wrap_plain)?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Durability;
    use crate::store::{Config, Faults, Store};

    /// What stays would be that of another one, once the number is given again after the counters were lost.
    #[test]
    fn nothing_is_left_of_a_mirror_that_is_deleted_and_everything_of_its_neighbours() -> Result<()> {
        let dir = tempfile::tempdir().unwrap();
        let store =
            Store::open(&dir.path().join("s.tw"), Config::new(true, false, 1 << 20, Faults::default()))?;
        for id in [7, u32::MAX] {
            let owners = [id - 1, id, id.wrapping_add(1)];
            let txn = store.begin(Durability::Durable)?;
            for owner in owners {
                txn.put_owner(Owner::Mirror, owner, b"its options")?;
                let key = [owner.to_be_bytes().as_slice(), b"key"].concat();
                let write = |table| WorkWrite { table, key: key.clone(), row: Some(b"row".to_vec()) };
                txn.work_write(&WorkTable::ALL.map(write))?;
            }
            txn.delete_owner(Owner::Mirror, id)?;
            txn.commit()?;
            for owner in owners {
                let expected = usize::from(owner != id);
                for table in WorkTable::ALL {
                    let mut rows = 0;
                    store.read(|all| {
                        all.work_each(table, owner, |_, _| {
                            rows += 1;
                            Ok(())
                        })
                    })?;
                    assert_eq!(rows, expected, "{table:?} of {owner}, without {id}");
                }
                let is_there =
                    store.read(|all| Ok(all.owners(Owner::Mirror)?.iter().any(|(it, _)| *it == owner)))?;
                assert_eq!(is_there, owner != id, "{owner}");
            }
        }
        Ok(())
    }
}
