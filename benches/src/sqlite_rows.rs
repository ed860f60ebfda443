//! The store most programs would pick: SQLite in WAL mode with `synchronous=FULL`, one row per file, the path as primary key without a
//! row id, and a cache as large as the other stores get in these measurements.

use std::path::Path;
use std::time::Instant;

use rusqlite::{Connection, Row, params};

use crate::Result;
use crate::measure::{Record, record};
use crate::paths::Paths;
use crate::peers;
use crate::rows::{Rows, Stat, compare};

const SETTINGS: &str = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-65536;";
const SCHEMA: &str = "CREATE TABLE files (path BLOB PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, \
     ctime_ns INTEGER NOT NULL, inode INTEGER NOT NULL, mode INTEGER NOT NULL) WITHOUT ROWID;";
const COLUMNS: &str = "path, size, mtime_ns, ctime_ns, inode, mode";

/// Walk, insert everything in one transaction, durable commit.
pub(crate) fn first(db: &Path, dir: &Path, threads: usize) -> Result<Record> {
    let start = Instant::now();
    let mut connection = open(db)?;
    connection.execute_batch(SCHEMA)?;
    let transaction = connection.transaction()?;
    {
        let mut insert =
            transaction.prepare(&format!("INSERT INTO files ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"))?;
        peers::jwalk_files(dir, threads, |path, metadata| {
            let Stat { size, mtime_ns, ctime_ns, inode, mode } = Stat::of(metadata);
            insert.execute(params![path, size, mtime_ns, ctime_ns, inode, mode])?;
            Ok(())
        })?;
    }
    transaction.commit()?;
    Ok(record([("seconds", start.elapsed().as_secs_f64())]))
}

/// Read all rows, walk, compare; nothing differs, so nothing is written.
pub(crate) fn again(db: &Path, dir: &Path, threads: usize) -> Result<Record> {
    let start = Instant::now();
    let connection = open(db)?;
    let mut rows = Rows::new();
    each_row(&connection, |path, stat| {
        rows.insert(path.to_vec(), stat);
    })?;
    let files = compare(dir, threads, &rows)?;
    Ok(record([("seconds", start.elapsed().as_secs_f64()), ("files", files as f64)]))
}

/// Opens and reads every row.
pub(crate) fn read_all(db: &Path) -> Result<Record> {
    let start = Instant::now();
    let connection = open(db)?;
    let (mut files, mut total) = (0_u64, 0_i64);
    each_row(&connection, |_, stat| {
        files += 1;
        total = total.wrapping_add(stat.size).wrapping_add(stat.mtime_ns);
    })?;
    let seconds = start.elapsed().as_secs_f64();
    std::hint::black_box(total);
    Ok(record([("seconds", seconds), ("files", files as f64)]))
}

/// Random lookups by path with a prepared statement, in one read transaction.
pub(crate) fn lookup(db: &Path, most: usize) -> Result<Record> {
    let mut connection = open(db)?;
    let mut paths = Vec::new();
    each_row(&connection, |path, _| paths.push(path.to_vec()))?;
    let paths = Paths::shuffled(paths, most);
    let transaction = connection.transaction()?;
    let mut select = transaction.prepare(&format!("SELECT {COLUMNS} FROM files WHERE path = ?1"))?;
    let start = Instant::now();
    let mut total = 0_i64;
    for path in paths.iter() {
        total = total.wrapping_add(select.query_row(params![path], stat)?.size);
    }
    let seconds = start.elapsed().as_secs_f64();
    std::hint::black_box(total);
    Ok(record([("seconds", seconds), ("ns_per_lookup", seconds * 1e9 / paths.len().max(1) as f64)]))
}

/// Opens a database, or creates it, with these settings.
pub(crate) fn open(db: &Path) -> Result<Connection> {
    let connection = Connection::open(db)?;
    connection.execute_batch(SETTINGS)?;
    Ok(connection)
}

fn each_row(connection: &Connection, mut each: impl FnMut(&[u8], Stat)) -> Result<()> {
    let mut select = connection.prepare(&format!("SELECT {COLUMNS} FROM files"))?;
    let mut rows = select.query(())?;
    while let Some(row) = rows.next()? {
        each(row.get_ref(0)?.as_blob()?, stat(row)?);
    }
    Ok(())
}

fn stat(row: &Row<'_>) -> rusqlite::Result<Stat> {
    Ok(Stat {
        size: row.get(1)?,
        mtime_ns: row.get(2)?,
        ctime_ns: row.get(3)?,
        inode: row.get(4)?,
        mode: row.get(5)?,
    })
}
