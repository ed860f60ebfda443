//! The store a Rust program would pick first: redb, one row per file, path to packed metadata, with redb's own defaults.

use std::path::Path;
use std::time::Instant;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use crate::Result;
use crate::measure::{Record, record};
use crate::paths::Paths;
use crate::peers;
use crate::rows::{Rows, Stat, compare};

const FILES: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new("files");

/// Walk, insert everything, one durable commit.
pub(crate) fn first(db: &Path, dir: &Path, threads: usize) -> Result<Record> {
    let start = Instant::now();
    let database = Database::create(db)?;
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(FILES)?;
        peers::jwalk_files(dir, threads, |path, metadata| {
            let bytes = Stat::of(metadata).encode();
            table.insert(path, bytes.as_slice())?;
            Ok(())
        })?;
    }
    transaction.commit()?;
    Ok(record([("seconds", start.elapsed().as_secs_f64())]))
}

/// Read all rows, walk, compare; nothing differs, so nothing is written.
pub(crate) fn again(db: &Path, dir: &Path, threads: usize) -> Result<Record> {
    let start = Instant::now();
    let database = Database::open(db)?;
    let mut rows = Rows::new();
    each_row(&database, |path, stat| {
        rows.insert(path.to_vec(), stat);
    })?;
    let files = compare(dir, threads, &rows)?;
    Ok(record([("seconds", start.elapsed().as_secs_f64()), ("files", files as f64)]))
}

/// Opens and reads every row.
pub(crate) fn read_all(db: &Path) -> Result<Record> {
    let start = Instant::now();
    let database = Database::open(db)?;
    let (mut files, mut total) = (0_u64, 0_i64);
    each_row(&database, |_, stat| {
        files += 1;
        total = total.wrapping_add(stat.size).wrapping_add(stat.mtime_ns);
    })?;
    let seconds = start.elapsed().as_secs_f64();
    std::hint::black_box(total);
    Ok(record([("seconds", seconds), ("files", files as f64)]))
}

/// Random lookups by path, in one read transaction.
pub(crate) fn lookup(db: &Path, most: usize) -> Result<Record> {
    let database = Database::open(db)?;
    let mut paths = Vec::new();
    each_row(&database, |path, _| paths.push(path.to_vec()))?;
    let paths = Paths::shuffled(paths, most);
    let transaction = database.begin_read()?;
    let table = transaction.open_table(FILES)?;
    let start = Instant::now();
    let mut total = 0_i64;
    for path in paths.iter() {
        let found = table.get(path)?.ok_or("a stored path is not found")?;
        total = total.wrapping_add(Stat::decode(found.value()).ok_or("a row is too short")?.size);
    }
    let seconds = start.elapsed().as_secs_f64();
    std::hint::black_box(total);
    Ok(record([("seconds", seconds), ("ns_per_lookup", seconds * 1e9 / paths.len().max(1) as f64)]))
}

fn each_row(database: &Database, mut each: impl FnMut(&[u8], Stat)) -> Result<()> {
    let transaction = database.begin_read()?;
    let table = transaction.open_table(FILES)?;
    for row in table.iter()? {
        let (path, bytes) = row?;
        each(path.value(), Stat::decode(bytes.value()).ok_or("a row is too short")?);
    }
    Ok(())
}
