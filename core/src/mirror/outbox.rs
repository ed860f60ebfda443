//! What is known of the remote copy: one row for each object that was acknowledged or may be there, written
//! before anything is sent and again when the storage has answered. The rows in memory are a persistent map, so
//! that whoever reads addresses has a state of its own and waits for nobody.
//!
//! Invariants: a row says `sure` only for an object that the storage acknowledged, and that nothing was begun
//! with since; the map never says more than the disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use crate::bytes::{Malformed, Put, Take};
use crate::commit::{Engine, Task, WorkTask};
use crate::error::{Error, ErrorKind, Result};
use crate::path::escape;
use crate::store::{WorkTable, WorkWrite};
use crate::work::Version;

const SURE: u8 = 1;
const HAS_ETAG: u8 = 2;
const LISTED: u8 = 4;
const OWED: u8 = 8;

/// What is known of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object {
    /// Acknowledged, and nothing was begun with it since.
    pub(super) sure: bool,
    /// An object is there for those who read: the acknowledged one, or one that is just taking its place.
    pub(super) listed: bool,
    /// It was listed until its deletion was begun, and no CDN was told yet.
    pub(super) owed: bool,
    /// Id of the entry that was sent.
    pub(super) entry: u64,
    /// Its seq then.
    pub(super) seq: u64,
    /// Its content then.
    pub(super) version: Version,
    /// Bytes that were sent.
    pub(super) size: u64,
    /// What the storage answered.
    pub(super) etag: Option<Box<str>>,
    /// How often this key was acknowledged.
    pub(super) generation: u64,
    /// When, nanoseconds since 1970 UTC.
    pub(super) at_ns: i64,
}

impl Object {
    /// One that somebody else put there.
    pub(super) fn unknown() -> Self {
        Self {
            sure: false,
            listed: false,
            owed: false,
            entry: 0,
            seq: 0,
            version: Version { facts: 0, hash: None },
            size: 0,
            etag: None,
            generation: 0,
            at_ns: 0,
        }
    }

    /// Somebody may have kept what was there.
    pub(super) fn was_seen(&self) -> bool {
        self.listed || self.owed
    }

    /// Somebody may have kept what is there, known or not.
    pub(super) fn may_be_seen(&self) -> bool {
        self.was_seen() || !self.sure
    }

    /// It was announced once, and never came to be there as far as anybody knows: its absence is no loss.
    pub(super) fn was_never(&self) -> bool {
        !self.sure && !self.was_seen() && self.generation == 0 && self.entry != 0
    }

    fn encode(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(96);
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        row.push(
            bit(self.sure, SURE)
                | bit(self.etag.is_some(), HAS_ETAG)
                | bit(self.listed, LISTED)
                | bit(self.owed, OWED),
        );
        for number in [self.entry, self.seq, self.size, self.generation] {
            row.put_num(number);
        }
        row.put_i64(self.at_ns);
        self.version.put(&mut row);
        if let Some(etag) = &self.etag {
            row.put_bytes(etag.as_bytes());
        }
        row
    }

    fn decode(row: &[u8]) -> Result<Self, Malformed> {
        let mut take = Take(row);
        let flags = take.u8()?;
        if flags & !(SURE | HAS_ETAG | LISTED | OWED) != 0 {
            return Err(Malformed);
        }
        let (entry, seq, size, generation) = (take.num()?, take.num()?, take.num()?, take.num()?);
        let at_ns = take.i64()?;
        let version = Version::take(&mut take)?;
        let etag = if flags & HAS_ETAG != 0 { Some(take.string()?.into_boxed_str()) } else { None };
        let (sure, listed, owed) = (flags & SURE != 0, flags & LISTED != 0, flags & OWED != 0);
        if !take.is_done() {
            return Err(Malformed);
        }
        Ok(Self { sure, listed, owed, entry, seq, version, size, etag, generation, at_ns })
    }
}

/// All objects by key.
pub(super) type Objects = imbl::OrdMap<Arc<str>, Arc<Object>>;

/// Numbers over all objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) sure: u64,
    /// Their bytes.
    pub(super) sure_bytes: u64,
    pub(super) listed: u64,
    /// Announced, and never there.
    pub(super) never: u64,
}

impl Totals {
    fn add(&mut self, object: &Object) {
        self.sure += u64::from(object.sure);
        self.sure_bytes += if object.sure { object.size } else { 0 };
        self.listed += u64::from(object.listed);
        self.never += u64::from(object.was_never());
    }

    fn take(&mut self, object: &Object) {
        self.sure -= u64::from(object.sure);
        self.sure_bytes -= if object.sure { object.size } else { 0 };
        self.listed -= u64::from(object.listed);
        self.never -= u64::from(object.was_never());
    }
}

/// All objects at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    objects: Objects,
    pub(super) totals: Totals,
}

impl Known {
    fn put(&mut self, key: Arc<str>, object: Object) {
        self.totals.add(&object);
        if let Some(before) = self.objects.insert(key, Arc::new(object)) {
            self.totals.take(&before);
        }
    }

    fn remove(&mut self, key: &Arc<str>) {
        if let Some(before) = self.objects.remove(key) {
            self.totals.take(&before);
        }
    }
}

impl std::ops::Deref for Known {
    type Target = Objects;

    fn deref(&self) -> &Objects {
        &self.objects
    }
}

/// An address that a CDN is still to forget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Purge {
    /// The order in which they were queued.
    pub(super) number: u64,
    pub(super) url: String,
    /// Nanoseconds since 1970 UTC.
    pub(super) queued_ns: i64,
}

/// Parts that were sent and are not yet an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Upload {
    pub(super) key: String,
    pub(super) upload_id: String,
}

/// The rows of one mirror.
pub(super) struct Outbox {
    engine: Arc<Engine>,
    id: u32,
    objects: ArcSwap<Known>,
    next_purge: AtomicU64,
}

/// What is written in one go.
#[derive(Debug, Default)]
pub(super) struct Writes {
    objects: Vec<(Arc<str>, Option<Object>)>,
    rows: Vec<WorkWrite>,
}

impl Writes {
    pub(super) fn put(&mut self, key: &Arc<str>, object: Object) {
        self.objects.push((Arc::clone(key), Some(object)));
    }

    pub(super) fn remove(&mut self, key: &Arc<str>) {
        self.objects.push((Arc::clone(key), None));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.rows.is_empty()
    }
}

impl Outbox {
    /// Reads the rows of a mirror.
    pub(super) fn load(engine: &Arc<Engine>, id: u32) -> Result<(Self, Vec<Purge>, Vec<Upload>)> {
        let (mut objects, mut totals) = (Vec::new(), Totals::default());
        let (mut purges, mut uploads) = (Vec::new(), Vec::new());
        engine.store.read(|rows| {
            rows.work_each(WorkTable::Objects, id, |key, row| {
                let object = Object::decode(row).map_err(|_| damaged("an object"))?;
                totals.add(&object);
                objects.push((Arc::from(text(key)?), Arc::new(object)));
                Ok(())
            })?;
            rows.work_each(WorkTable::Purges, id, |key, row| {
                let number = key.get(4..12).and_then(|n| n.try_into().ok()).map(u64::from_be_bytes);
                let mut take = Take(row);
                let purge = (|| {
                    let queued_ns = take.i64()?;
                    Ok(Purge { number: number.ok_or(Malformed)?, queued_ns, url: take.string()? })
                })();
                purges.push(purge.map_err(|_: Malformed| damaged("a purge"))?);
                Ok(())
            })?;
            rows.work_each(WorkTable::Uploads, id, |key, row| {
                // The key of the row is the object's, a zero byte, and the id of the upload.
                let upload_id = String::from_utf8(row.to_vec()).map_err(|_| damaged("an upload"))?;
                let whole = text(key)?;
                let object = whole.strip_suffix(upload_id.as_str()).and_then(|key| key.strip_suffix('\0'));
                let key = object.ok_or_else(|| damaged("an upload"))?.to_owned();
                uploads.push(Upload { key, upload_id });
                Ok(())
            })
        })?;
        // Above all numbers of before: another handle may still be busy with those.
        let now = u64::try_from(engine.options.clock.now_ns()).unwrap_or(0);
        let next_purge = purges.last().map_or(0, |purge: &Purge| purge.number + 1).max(now);
        let known = Known { objects: objects.into_iter().collect(), totals };
        let outbox = Self {
            engine: Arc::clone(engine),
            id,
            objects: ArcSwap::from_pointee(known),
            next_purge: AtomicU64::new(next_purge),
        };
        Ok((outbox, purges, uploads))
    }

    /// What is known now. Lock-free.
    pub(super) fn objects(&self) -> Arc<Known> {
        self.objects.load_full()
    }

    fn row_key(&self, key: &[u8]) -> Vec<u8> {
        let mut row = self.id.to_be_bytes().to_vec();
        row.extend_from_slice(key);
        row
    }

    /// Adds an address to forget.
    pub(super) fn queue_purge(&self, writes: &mut Writes, url: String, now_ns: i64) -> Purge {
        let number = self.next_purge.fetch_add(1, Ordering::Relaxed);
        let mut row = Vec::with_capacity(16 + url.len());
        row.put_i64(now_ns);
        row.put_bytes(url.as_bytes());
        let key = self.row_key(&number.to_be_bytes());
        writes.rows.push(WorkWrite { table: WorkTable::Purges, key, row: Some(row) });
        Purge { number, url, queued_ns: now_ns }
    }

    pub(super) fn forget_purge(&self, writes: &mut Writes, purge: &Purge) {
        let key = self.row_key(&purge.number.to_be_bytes());
        writes.rows.push(WorkWrite { table: WorkTable::Purges, key, row: None });
    }

    fn upload_key(&self, upload: &Upload) -> Vec<u8> {
        let mut key = self.row_key(upload.key.as_bytes());
        key.push(0);
        key.extend_from_slice(upload.upload_id.as_bytes());
        key
    }

    /// Notes parts that are about to be sent. Returns when that is on disk.
    pub(super) fn begin_upload(&self, upload: &Upload) -> Result<()> {
        let (table, row) = (WorkTable::Uploads, Some(upload.upload_id.as_bytes().to_vec()));
        self.submit(vec![WorkWrite { table, key: self.upload_key(upload), row }])
    }

    pub(super) fn end_upload(&self, writes: &mut Writes, upload: &Upload) {
        writes.rows.push(WorkWrite { table: WorkTable::Uploads, key: self.upload_key(upload), row: None });
    }

    fn submit(&self, rows: Vec<WorkWrite>) -> Result<()> {
        self.engine.submit(Task::Work(WorkTask::Write(rows))).map(|_| ())
    }

    /// Writes it all in one transaction, and shows it when it is on disk. Only one thread may write objects at a
    /// time: the one that holds the mirror's turn.
    pub(super) fn write(&self, writes: Writes) -> Result<()> {
        if writes.is_empty() {
            return Ok(());
        }
        let Writes { objects, mut rows } = writes;
        for (key, object) in &objects {
            let (key, row) = (self.row_key(key.as_bytes()), object.as_ref().map(Object::encode));
            rows.push(WorkWrite { table: WorkTable::Objects, key, row });
        }
        self.submit(rows)?;
        if objects.is_empty() {
            return Ok(());
        }
        let mut next = Known::clone(&self.objects());
        for (key, object) in objects {
            match object {
                Some(object) => next.put(key, object),
                None => next.remove(&key),
            }
        }
        self.objects.store(Arc::new(next));
        Ok(())
    }
}

fn text(key: &[u8]) -> Result<&str> {
    std::str::from_utf8(key.get(4..).unwrap_or_default()).map_err(|_| damaged("a key of a mirror"))
}

pub(super) fn damaged(what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("{} cannot be read", escape(what.as_bytes())))
        .with_hint("`verify` tells what else is damaged; `rebuild` saves the rest")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_follow_each_write() {
        let object = |sure, listed, size| Object { sure, listed, size, ..Object::unknown() };
        let mut known = Known::default();
        let (a, b) = (Arc::from("a"), Arc::from("b"));
        known.put(Arc::clone(&a), object(true, true, 5));
        known.put(Arc::clone(&b), object(true, true, 7));
        assert_eq!(known.totals, Totals { sure: 2, sure_bytes: 12, listed: 2, never: 0 });
        known.put(Arc::clone(&a), object(false, true, 9));
        assert_eq!(known.totals, Totals { sure: 1, sure_bytes: 7, listed: 2, never: 0 });
        known.remove(&b);
        known.remove(&b);
        assert_eq!(known.totals, Totals { sure: 0, sure_bytes: 0, listed: 1, never: 0 });
        let announced = Object { entry: 1, ..object(false, false, 3) };
        known.put(Arc::clone(&b), announced.clone());
        assert_eq!(known.totals, Totals { sure: 0, sure_bytes: 0, listed: 1, never: 1 });
        known.put(Arc::clone(&b), Object { owed: true, ..announced });
        assert_eq!(known.totals, Totals { sure: 0, sure_bytes: 0, listed: 1, never: 0 });
        known.remove(&b);
        known.remove(&a);
        assert_eq!(known.totals, Totals::default());
    }

    #[test]
    fn a_row_is_read_back() {
        let version = Version { facts: 7, hash: Some(8) };
        let object = Object {
            sure: true,
            listed: true,
            owed: true,
            entry: 1,
            seq: 2,
            version,
            size: 3,
            etag: None,
            generation: 4,
            at_ns: -5,
        };
        let tagged = Object { etag: Some("abc".into()), sure: false, ..object.clone() };
        for object in [object, tagged] {
            let row = object.encode();
            assert_eq!(Object::decode(&row).as_ref(), Ok(&object));
            for end in 0..row.len() {
                assert!(Object::decode(&row[..end]).is_err(), "{end}");
            }
        }
        assert!(Object::decode(&[0xFF; 60]).is_err());
    }
}
