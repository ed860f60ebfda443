//! What jobs are measured against: the rows of claims and completions in bare redb, in the mode the engine uses it in, and a table of
//! jobs in SQLite. Each function with a state file is one child process's whole life.

use std::path::Path;
use std::time::Instant;

use redb::{Database, TableDefinition, WriteTransaction};
use rusqlite::params;

use crate::Result;
use crate::measure::{Record, record};
use crate::{peers, sqlite_rows};

use super::BATCH;

type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

const RECORDS: Table = TableDefinition::new("records");
const LEASES: Table = TableDefinition::new("leases");
/// As the engine has it where nobody says otherwise.
const CACHE_BYTES: usize = 16 << 20;
/// As long as the rows of the engine are in this tree, on average.
const LEASE: [u8; 50] = [1; 50];
const RECORD: [u8; 100] = [2; 100];

const SCHEMA: &str = "CREATE TABLE jobs (id INTEGER PRIMARY KEY, path BLOB NOT NULL, state INTEGER NOT NULL, holder TEXT, \
     expires_ns INTEGER, done_ns INTEGER);";
const INDEX: &str = "CREATE INDEX jobs_by_state ON jobs (state);";
const INSERT: &str = "INSERT INTO jobs (path, state) VALUES (?1, 0)";
const CLAIM: &str = "UPDATE jobs SET state = 1, holder = ?1, expires_ns = ?2 \
     WHERE id IN (SELECT id FROM jobs WHERE state = 0 ORDER BY id LIMIT ?3) RETURNING id, path";
const COMPLETE: &str =
    "UPDATE jobs SET state = 2, holder = NULL, expires_ns = NULL, done_ns = ?2 WHERE id = ?1";
const COUNT: &str = "SELECT count(*) FROM jobs WHERE state = 2";
const HOLDER: &str = "worker";
/// Any time will do.
const TIME_NS: i64 = 1_750_000_000_000_000_000;

/// A redb database, written to as the engine writes to its own.
pub(super) struct Bare(Database);

impl Bare {
    pub(super) fn open(db: &Path) -> Result<Bare> {
        Ok(Bare(Database::builder().set_cache_size(CACHE_BYTES).create(db)?))
    }

    /// One row, durable.
    pub(super) fn put(&self, number: u64) -> Result<()> {
        self.commit(|transaction| {
            let mut leases = transaction.open_table(LEASES)?;
            leases.insert(key(number).as_slice(), LEASE.as_slice())?;
            Ok(())
        })
    }

    fn commit(&self, write: impl FnOnce(&WriteTransaction) -> Result<()>) -> Result<()> {
        let mut transaction = self.0.begin_write()?;
        transaction.set_two_phase_commit(true);
        transaction.set_quick_repair(true);
        write(&transaction)?;
        transaction.commit()?;
        Ok(())
    }
}

/// The rows of so many jobs that are claimed and completed batch by batch, and nothing else.
pub(super) fn jobs_bare(db: &Path, jobs: u64) -> Result<Record> {
    let bare = Bare::open(db)?;
    let start = Instant::now();
    for first in (0..jobs).step_by(BATCH as usize) {
        let end = jobs.min(first + BATCH);
        bare.commit(|transaction| {
            let mut leases = transaction.open_table(LEASES)?;
            for number in first..end {
                leases.insert(key(number).as_slice(), LEASE.as_slice())?;
            }
            Ok(())
        })?;
        bare.commit(|transaction| {
            let mut records = transaction.open_table(RECORDS)?;
            let mut leases = transaction.open_table(LEASES)?;
            for number in first..end {
                records.insert(key(number).as_slice(), RECORD.as_slice())?;
                leases.remove(key(number).as_slice())?;
            }
            Ok(())
        })?;
    }
    Ok(rate(start, jobs))
}

/// As the engine's: a pipeline, a kind, and the number of the entry.
fn key(number: u64) -> [u8; 13] {
    let mut key = [0; 13];
    key[3] = 1;
    key[5..].copy_from_slice(&number.to_be_bytes());
    key
}

/// Writes a job for every file of the tree.
pub(super) fn fill(db: &Path, dir: &Path, threads: usize) -> Result<Record> {
    let start = Instant::now();
    let mut connection = sqlite_rows::open(db)?;
    connection.execute_batch(SCHEMA)?;
    let transaction = connection.transaction()?;
    {
        let mut insert = transaction.prepare(INSERT)?;
        peers::jwalk_files(dir, threads, |path, _| {
            insert.execute(params![path])?;
            Ok(())
        })?;
    }
    transaction.execute_batch(INDEX)?;
    transaction.commit()?;
    Ok(record([("seconds", start.elapsed().as_secs_f64())]))
}

/// Claims so many jobs of a table and completes them, batch by batch.
pub(super) fn jobs_sqlite(db: &Path, jobs: u64) -> Result<Record> {
    let connection = sqlite_rows::open(db)?;
    let mut claim = connection.prepare(CLAIM)?;
    let mut complete = connection.prepare(COMPLETE)?;
    let mut claimed: Vec<(i64, Vec<u8>)> = Vec::with_capacity(BATCH as usize);
    let start = Instant::now();
    for first in (0..jobs).step_by(BATCH as usize) {
        let want = BATCH.min(jobs - first);
        claimed.clear();
        let mut rows = claim.query(params![HOLDER, TIME_NS, want as i64])?;
        while let Some(row) = rows.next()? {
            claimed.push((row.get(0)?, row.get(1)?));
        }
        drop(rows);
        if claimed.len() as u64 != want {
            return Err(format!("a claim of {want} jobs gave {}", claimed.len()).into());
        }
        // Not `transaction`: that wants the connection for itself, and statements are prepared on it.
        let transaction = connection.unchecked_transaction()?;
        for (id, _) in &claimed {
            complete.execute(params![id, TIME_NS])?;
        }
        transaction.commit()?;
    }
    let figures = rate(start, jobs);
    let done: i64 = connection.query_row(COUNT, (), |row| row.get(0))?;
    if done.unsigned_abs() != jobs {
        return Err(format!("{jobs} jobs were completed, but {done} rows are").into());
    }
    Ok(figures)
}

fn rate(start: Instant, jobs: u64) -> Record {
    let seconds = start.elapsed().as_secs_f64();
    record([("seconds", seconds), ("jobs_per_second", jobs as f64 / seconds)])
}

#[cfg(test)]
mod tests {
    use redb::{ReadableDatabase, ReadableTableMetadata};

    use super::*;

    fn files(dir: &Path, count: u64) -> Result<()> {
        std::fs::create_dir(dir)?;
        for number in 0..count {
            std::fs::write(dir.join(format!("file-{number}")), "x")?;
        }
        Ok(())
    }

    #[test]
    fn sqlite_completes_as_many_jobs_as_it_is_asked_to() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let (dir, db) = (folder.path().join("tree"), folder.path().join("jobs.sqlite"));
        files(&dir, 300)?;
        fill(&db, &dir, 2)?;
        jobs_sqlite(&db, 260)?;
        assert!(jobs_sqlite(&db, 41).is_err(), "40 are left");
        Ok(())
    }

    #[test]
    fn bare_rows_are_put_and_removed() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let db = folder.path().join("jobs.redb");
        jobs_bare(&db, 260)?;
        let bare = Bare::open(&db)?;
        bare.put(7)?;
        let transaction = bare.0.begin_read()?;
        let (records, leases) = (transaction.open_table(RECORDS)?, transaction.open_table(LEASES)?);
        assert_eq!((records.len()?, leases.len()?), (260, 1));
        Ok(())
    }
}
