//! What is stored of an item in a pipeline: its record, the lease in force and the request for it, and the
//! keys and rows they have in the state file. The rows are bare: the store puts its checksum in front.
//!
//! Invariant: nothing that can be derived from the snapshot is stored here. Reading never trusts a length.

use std::collections::BTreeMap;

use crate::bytes::{Malformed, Put, Take};
use crate::commit::ATTRS_BYTES_MAX;
use crate::entry::Kind;
use crate::error::{Error, ErrorKind, Result};
use crate::hash;
use crate::snapshot::EntryRef;

use super::lifecycle::Priority;
use super::limiter::Saved;

/// The text of a failure that is stored, in bytes.
pub(crate) const ERROR_BYTES_MAX: usize = 1_000;

/// What identifies content: kind, size, mtime and target, and the hash where there is one. Neither the
/// inode nor the ctime takes part, for a rename or a chmod makes no other content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version {
    /// Digest of what a look without reading tells.
    pub(crate) facts: u64,
    /// xxh3-128 of the content, where the root keeps hashes.
    pub(crate) hash: Option<u128>,
}

impl Version {
    /// The version of a file or symlink in a snapshot.
    pub(crate) fn of(entry: &EntryRef<'_>) -> Self {
        Self::of_entry(entry.kind(), entry.size(), entry.mtime_ns(), entry.hash(), entry.target())
    }

    /// The version of one file or symlink: `size` in bytes, `mtime_ns` in nanoseconds since 1970 UTC,
    /// `target` of a symlink.
    pub(crate) fn of_entry(
        kind: Kind,
        size: u64,
        mtime_ns: i64,
        hash: Option<u128>,
        target: Option<&[u8]>,
    ) -> Self {
        let target = target.unwrap_or_default();
        let mut row = Vec::with_capacity(17 + target.len());
        row.push(kind as u8);
        row.put_u64(size);
        row.put_i64(mtime_ns);
        row.extend_from_slice(target);
        Self { facts: hash::digest(&row), hash }
    }

    /// The same content under a path that matters: elsewhere it is another version.
    pub(crate) fn under(self, path: &[u8]) -> Self {
        let path = hash::digest(path);
        let hash = self.hash.map(|hash| hash ^ (u128::from(path) << 64 | u128::from(path)));
        Self { facts: self.facts ^ path, hash }
    }

    /// True for the same content. Two hashes decide alone: a touched file is the same, and one that was
    /// edited under its old size and mtime is not. Where one has no hash, kind, size, mtime and target
    /// decide.
    pub(crate) fn same(&self, other: &Self) -> bool {
        match (self.hash, other.hash) {
            (Some(a), Some(b)) => a == b,
            _ => self.facts == other.facts,
        }
    }

    pub(crate) fn put(&self, row: &mut Vec<u8>) {
        row.put_u64(self.facts);
        row.push(u8::from(self.hash.is_some()));
        if let Some(hash) = self.hash {
            row.extend_from_slice(&hash.to_le_bytes());
        }
    }

    pub(crate) fn take(take: &mut Take<'_>) -> Result<Self, Malformed> {
        let facts = take.u64()?;
        let hash = match flag(take)? {
            true => Some(u128::from_le_bytes(take.exact(16)?.try_into().map_err(|_| Malformed)?)),
            false => None,
        };
        Ok(Self { facts, hash })
    }
}

/// The content of a group: a sum over its members that no order changes, so that a member is added and
/// taken away without a look at the others. Of a member that has a hash, that alone counts: touching it
/// changes nothing. A guard against chance, not against an adversary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Digest {
    sum: u64,
    count: u64,
}

impl Digest {
    /// Adds a member, `id` being the number of its entry: it stays over moves.
    pub(crate) fn add(&mut self, id: u64, version: &Version) {
        self.sum = self.sum.wrapping_add(Self::of(id, version));
        self.count = self.count.saturating_add(1);
    }

    /// Takes a member away, with the very version that it was added with.
    pub(crate) fn remove(&mut self, id: u64, version: &Version) {
        self.sum = self.sum.wrapping_sub(Self::of(id, version));
        self.count = self.count.saturating_sub(1);
    }

    /// Returns what identifies the members and their contents.
    pub(crate) fn version(&self) -> Version {
        Version { facts: self.sum, hash: None }
    }

    /// Returns the number of members. A group without any is not there.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    fn of(id: u64, version: &Version) -> u64 {
        let mut row = Vec::with_capacity(24);
        match version.hash {
            Some(hash) => row.extend_from_slice(&hash.to_le_bytes()),
            None => row.put_u64(version.facts),
        }
        hash::checksum(id, &row)
    }
}

/// What a pipeline remembers of one item. Times are nanoseconds since 1970 UTC.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Record {
    /// The last completion.
    pub(crate) done: Option<Done>,
    /// The last failure since then.
    pub(crate) failure: Option<Failure>,
    /// Nothing is handed out before; 0 for no snooze.
    pub(crate) not_before_ns: i64,
    /// Leases in a row whose process ended.
    pub(crate) crashes: u32,
    /// The address at the last completion, or, where there was none, the last known one; of a group, its
    /// key.
    pub(crate) path: Vec<u8>,
    /// The claim whose lease ended with this record; 0 for none. Later claims have greater numbers.
    pub(crate) claim: u64,
    /// What the consumer stored, at most 65,536 bytes; see [`check_attrs`].
    pub(crate) attrs: BTreeMap<String, Vec<u8>>,
}

/// A completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Done {
    /// The content that was handed out, not what is there now.
    pub(crate) version: Version,
    pub(crate) pipeline_version: u32,
    pub(crate) at_ns: i64,
    /// When it is stale; 0 for never.
    pub(crate) refresh_at_ns: i64,
}

/// A failure, and the ones in a row before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The content that was handed out; `None` where it was missing.
    pub(crate) version: Option<Version>,
    pub(crate) pipeline_version: u32,
    /// Failures of that content in a row.
    pub(crate) attempts: u32,
    pub(crate) at_ns: i64,
    pub(crate) retry_at_ns: i64,
    /// Not to be tried again.
    pub(crate) dead: bool,
    /// Stored up to [`ERROR_BYTES_MAX`].
    pub(crate) error: String,
}

const HAS_DONE: u8 = 1;
const HAS_FAILURE: u8 = 2;

impl Record {
    /// Returns when the last completion is stale, nanoseconds since 1970 UTC; 0 for never.
    pub(crate) fn refresh_at_ns(&self) -> i64 {
        self.done.as_ref().map_or(0, |done| done.refresh_at_ns)
    }

    /// Returns the row. The text of a failure is cut to [`ERROR_BYTES_MAX`].
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(96 + self.path.len());
        let done = if self.done.is_some() { HAS_DONE } else { 0 };
        let failure = if self.failure.is_some() { HAS_FAILURE } else { 0 };
        row.push(done | failure);
        if let Some(done) = &self.done {
            done.put(&mut row);
        }
        if let Some(failure) = &self.failure {
            failure.put(&mut row);
        }
        row.put_i64(self.not_before_ns);
        row.put_num(u64::from(self.crashes));
        row.put_bytes(&self.path);
        row.put_num(self.claim);
        row.put_num(self.attrs.len() as u64);
        for (name, value) in &self.attrs {
            row.put_bytes(name.as_bytes());
            row.put_bytes(value);
        }
        row
    }

    /// Reads a row.
    ///
    /// # Errors
    ///
    /// `Malformed` for anything that [`Record::encode`] does not write.
    pub(crate) fn decode(row: &[u8]) -> Result<Self, Malformed> {
        let mut take = Take(row);
        let parts = take.u8()?;
        if parts & !(HAS_DONE | HAS_FAILURE) != 0 {
            return Err(Malformed);
        }
        let done = if parts & HAS_DONE == 0 { None } else { Some(Done::take(&mut take)?) };
        let failure = if parts & HAS_FAILURE == 0 { None } else { Some(Failure::take(&mut take)?) };
        let not_before_ns = take.i64()?;
        let crashes = u32_num(&mut take)?;
        let path = take.bytes()?.to_vec();
        let claim = take.num()?;
        let mut attrs = BTreeMap::new();
        // Each turn takes bytes or ends: a count that lies reads no more than the row holds.
        for _ in 0..take.num()? {
            let name = take.string()?;
            if attrs.insert(name, take.bytes()?.to_vec()).is_some() {
                return Err(Malformed);
            }
        }
        finished(&take)?;
        Ok(Self { done, failure, not_before_ns, crashes, path, claim, attrs })
    }
}

impl Done {
    fn put(&self, row: &mut Vec<u8>) {
        self.version.put(row);
        row.put_num(u64::from(self.pipeline_version));
        row.put_i64(self.at_ns);
        row.put_i64(self.refresh_at_ns);
    }

    fn take(take: &mut Take<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            version: Version::take(take)?,
            pipeline_version: u32_num(take)?,
            at_ns: take.i64()?,
            refresh_at_ns: take.i64()?,
        })
    }
}

impl Failure {
    fn put(&self, row: &mut Vec<u8>) {
        put_version(row, self.version.as_ref());
        row.put_num(u64::from(self.pipeline_version));
        row.put_num(u64::from(self.attempts));
        row.put_i64(self.at_ns);
        row.put_i64(self.retry_at_ns);
        row.push(u8::from(self.dead));
        row.put_bytes(cut_error(&self.error).as_bytes());
    }

    fn take(take: &mut Take<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            version: take_version(take)?,
            pipeline_version: u32_num(take)?,
            attempts: u32_num(take)?,
            at_ns: take.i64()?,
            retry_at_ns: take.i64()?,
            dead: flag(take)?,
            error: take.string()?,
        })
    }
}

/// Returns as much of the text of a failure as is stored: whole characters, [`ERROR_BYTES_MAX`] at most.
pub(crate) fn cut_error(text: &str) -> &str {
    text.get(..text.floor_char_boundary(ERROR_BYTES_MAX)).unwrap_or_default()
}

/// Checks what a consumer wants to have stored with an item.
///
/// # Errors
///
/// `InvalidArgument` for a name that is none, `TooLarge` when names and values take more than 65,536
/// bytes. Neither names a path: the caller knows it.
pub(crate) fn check_attrs(attrs: &BTreeMap<String, Vec<u8>>) -> Result<()> {
    for name in attrs.keys() {
        crate::path::check_name("attribute", name)?;
    }
    let bytes: usize = attrs.iter().map(|(name, value)| name.len().saturating_add(value.len())).sum();
    if bytes > ATTRS_BYTES_MAX {
        let message = format!("the attributes of a job would take {bytes} bytes; at most 65,536 fit");
        return Err(Error::new(ErrorKind::TooLarge, message).with_hint("keep large values in a space"));
    }
    Ok(())
}

/// Somebody asked for an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) priority: Priority,
    /// When it was asked for first, nanoseconds since 1970 UTC.
    pub(crate) since_ns: i64,
}

impl Request {
    /// Returns the row.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut row = vec![self.priority.code()];
        row.put_i64(self.since_ns);
        row
    }

    /// Reads a row.
    ///
    /// # Errors
    ///
    /// `Malformed` for anything that [`Request::encode`] does not write.
    pub(crate) fn decode(row: &[u8]) -> Result<Self, Malformed> {
        let mut take = Take(row);
        let priority = Priority::from_code(take.u8()?).ok_or(Malformed)?;
        let request = Self { priority, since_ns: take.i64()? };
        finished(&take)?;
        Ok(request)
    }
}

impl Saved {
    /// Returns the row.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(18);
        row.put_i64(self.until_ns);
        row.put_num(u64::from(self.share));
        row.put_i64(self.paused_until_ns);
        row
    }

    /// Reads a row.
    ///
    /// # Errors
    ///
    /// `Malformed` for anything that [`Saved::encode`] does not write.
    pub(crate) fn decode(row: &[u8]) -> Result<Self, Malformed> {
        let mut take = Take(row);
        let until_ns = take.i64()?;
        let share = u16::try_from(take.num()?).map_err(|_| Malformed)?;
        let saved = Self { until_ns, share, paused_until_ns: take.i64()? };
        finished(&take)?;
        Ok(saved)
    }
}

/// What names an item within a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum ItemKey {
    /// One file or symlink, by the number of its entry: it stays over moves.
    Entry(u64),
    /// All files that a pipeline maps to this key.
    Group(Box<[u8]>),
}

const KEY_ENTRY: u8 = 0;
const KEY_GROUP: u8 = 1;

impl ItemKey {
    /// Returns the key of a row: the pipeline, then the item. Rows of a pipeline lie together, entries
    /// by number before groups by key.
    pub(crate) fn encode(&self, pipeline: u32) -> Vec<u8> {
        let mut key = Vec::with_capacity(13);
        key.extend_from_slice(&pipeline.to_be_bytes());
        match self {
            Self::Entry(id) => {
                key.push(KEY_ENTRY);
                key.extend_from_slice(&id.to_be_bytes());
            }
            Self::Group(group) => {
                key.push(KEY_GROUP);
                key.extend_from_slice(group);
            }
        }
        key
    }

    /// Reads the key of a row: the pipeline, and the item.
    ///
    /// # Errors
    ///
    /// `Malformed` for anything that [`ItemKey::encode`] does not write.
    pub(crate) fn decode(key: &[u8]) -> Result<(u32, Self), Malformed> {
        let (pipeline, item) = key.split_first_chunk::<4>().ok_or(Malformed)?;
        let (kind, item) = item.split_first().ok_or(Malformed)?;
        let item = match *kind {
            KEY_ENTRY => Self::Entry(u64::from_be_bytes(item.try_into().map_err(|_| Malformed)?)),
            KEY_GROUP => Self::Group(item.into()),
            _ => return Err(Malformed),
        };
        Ok((u32::from_be_bytes(*pipeline), item))
    }
}

/// The error for a row that cannot be read.
pub(crate) fn damaged(_: Malformed) -> Error {
    Error::new(ErrorKind::Corrupt, "the state file is damaged: a row of a pipeline cannot be read")
        .with_hint("`treewarden rebuild` keeps the damaged file and salvages what it can into a new one")
}

fn put_version(row: &mut Vec<u8>, version: Option<&Version>) {
    row.push(u8::from(version.is_some()));
    if let Some(version) = version {
        version.put(row);
    }
}

fn take_version(take: &mut Take<'_>) -> Result<Option<Version>, Malformed> {
    if flag(take)? { Version::take(take).map(Some) } else { Ok(None) }
}

pub(super) fn u32_num(take: &mut Take<'_>) -> Result<u32, Malformed> {
    u32::try_from(take.num()?).map_err(|_| Malformed)
}

pub(super) fn flag(take: &mut Take<'_>) -> Result<bool, Malformed> {
    match take.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Malformed),
    }
}

pub(super) fn finished(take: &Take<'_>) -> Result<(), Malformed> {
    if take.is_done() { Ok(()) } else { Err(Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Version = Version { facts: 0x0123_4567_89ab_cdef, hash: None };
    const HASHED: Version = Version { facts: 7, hash: Some(u128::MAX - 5) };

    fn file(size: u64, mtime_ns: i64, hash: Option<u128>) -> Version {
        Version::of_entry(Kind::File, size, mtime_ns, hash, None)
    }

    fn records() -> Vec<Record> {
        let done = Done { version: HASHED, pipeline_version: 3, at_ns: -1, refresh_at_ns: i64::MAX };
        let failure = Failure {
            version: Some(PLAIN),
            pipeline_version: u32::MAX,
            attempts: 300,
            at_ns: i64::MIN,
            retry_at_ns: 5,
            dead: true,
            error: "kein Anschluß".into(),
        };
        let full = Record {
            done: Some(done),
            failure: Some(failure.clone()),
            not_before_ns: 1 << 60,
            crashes: 129,
            path: b"tv/\xff\n/x".to_vec(),
            claim: u64::MAX - 1,
            attrs: [("etag".to_owned(), b"\0\xff".to_vec()), ("empty".to_owned(), Vec::new())].into(),
        };
        let missing = Failure { version: None, dead: false, error: String::new(), ..failure };
        vec![
            Record::default(),
            Record { done: Some(Done { version: PLAIN, ..done }), ..Record::default() },
            Record { failure: Some(missing), ..full.clone() },
            full,
        ]
    }

    fn keys() -> Vec<ItemKey> {
        let group = |key: &[u8]| ItemKey::Group(key.into());
        vec![
            ItemKey::Entry(0),
            ItemKey::Entry(255),
            ItemKey::Entry(256),
            ItemKey::Entry(u64::MAX),
            group(b""),
            group(b"tv/Show"),
            group(b"tv/Show\0"),
        ]
    }

    #[test]
    fn where_paths_matter_the_same_content_elsewhere_is_another_version() {
        for hash in [None, Some(7)] {
            let version = Version { facts: 1, hash };
            assert!(version.under(b"a").same(&version.under(b"a")));
            assert!(!version.under(b"a").same(&version.under(b"b")) && !version.under(b"a").same(&version));
        }
    }

    #[test]
    fn rows_are_read_back() {
        for record in records() {
            assert_eq!(Record::decode(&record.encode()), Ok(record));
        }
        for code in 0..5 {
            let priority = Priority::from_code(code).expect("a class");
            let request = Request { priority, since_ns: i64::MIN + i64::from(code) };
            assert_eq!(Request::decode(&request.encode()), Ok(request));
        }
        for pipeline in [0, 1, 256, u32::MAX] {
            for key in keys() {
                assert_eq!(ItemKey::decode(&key.encode(pipeline)), Ok((pipeline, key)));
            }
        }
    }

    #[test]
    fn the_keys_of_a_pipeline_lie_together_in_order() {
        let mut sorted = Vec::new();
        for pipeline in [0, 1, 255, 256, u32::MAX] {
            sorted.extend(keys().into_iter().map(|key| key.encode(pipeline)));
        }
        assert!(sorted.is_sorted(), "{sorted:?}");
        assert!(keys().is_sorted());
        assert_eq!(ItemKey::Entry(0x0102).encode(3), b"\0\0\0\x03\x00\0\0\0\0\0\0\x01\x02");
        assert_eq!(ItemKey::Group(b"a/b"[..].into()).encode(3), b"\0\0\0\x03\x01a/b");
    }

    /// Reads the bytes as every kind of row. What is read must be written as it was, or as a row of the
    /// same meaning: LEB128 has several forms of a number.
    fn read_as_all(row: &[u8]) {
        if let Ok(record) = Record::decode(row) {
            let mut again = record.clone();
            if let Some(failure) = &mut again.failure {
                failure.error = cut_error(&failure.error).to_owned();
            }
            assert_eq!(Record::decode(&record.encode()), Ok(again));
        }
        if let Ok(request) = Request::decode(row) {
            assert_eq!(request.encode(), row);
        }
        if let Ok((pipeline, key)) = ItemKey::decode(row) {
            assert_eq!(key.encode(pipeline), row);
        }
    }

    #[test]
    fn any_bytes_are_refused_or_read() {
        let mut rows: Vec<Vec<u8>> = records().iter().map(Record::encode).collect();
        rows.push(Request { priority: Priority::Low, since_ns: 9 }.encode());
        rows.extend(keys().iter().map(|key| key.encode(77)));
        // xorshift64: the same rows in every run.
        let mut draw = 0x9E37_79B9_7F4A_7C15_u64;
        let mut random = move |below: usize| {
            draw ^= draw << 13;
            draw ^= draw >> 7;
            draw ^= draw << 17;
            (draw >> 11) as usize % below.max(1)
        };
        for row in &rows {
            for at in 0..row.len() {
                read_as_all(&row[..at]);
                for byte in 0..=u8::MAX {
                    let mut bent = row.clone();
                    bent[at] = byte;
                    read_as_all(&bent);
                }
            }
            for _ in 0..20_000 {
                let mut bent = row.clone();
                for _ in 0..=random(4) {
                    let at = random(bent.len());
                    match random(4) {
                        0 => bent.insert(at, random(256) as u8),
                        1 if bent.len() > 1 => drop(bent.remove(at)),
                        2 => bent[at] = 0xff,
                        _ => bent[at] = random(256) as u8,
                    }
                }
                read_as_all(&bent);
            }
        }
        for _ in 0..20_000 {
            let noise: Vec<u8> = (0..random(60)).map(|_| random(256) as u8).collect();
            read_as_all(&noise);
        }
    }

    #[test]
    fn a_row_that_is_cut_or_goes_on_is_refused() {
        for record in records() {
            let mut row = record.encode();
            for end in 0..row.len() {
                assert_eq!(Record::decode(&row[..end]), Err(Malformed), "{end} of {} bytes", row.len());
            }
            row.push(0);
            assert_eq!(Record::decode(&row), Err(Malformed));
        }
        assert_eq!(Request::decode(&[5, 0, 0, 0, 0, 0, 0, 0, 0]), Err(Malformed), "there is no class 5");
        assert_eq!(ItemKey::decode(&[0, 0, 0, 1, 0, 1, 2, 3]), Err(Malformed), "an entry has eight bytes");
        assert_eq!(ItemKey::decode(&[0, 0, 0, 1, 2]), Err(Malformed), "there is no third kind");
    }

    #[test]
    fn a_count_that_lies_takes_no_memory() {
        let mut row = Record::default().encode();
        assert_eq!(row.pop(), Some(0), "the count of the attributes");
        row.put_num(u64::MAX);
        assert_eq!(Record::decode(&row), Err(Malformed));
    }

    #[test]
    fn content_is_told_by_hashes_or_else_by_facts() {
        let base = file(10, 20, None);
        for (other, same) in [
            (file(10, 20, None), true),
            (file(11, 20, None), false),
            (file(10, 21, None), false),
            (file(10, 19, None), false),
            (Version::of_entry(Kind::Symlink, 10, 20, None, Some(b"a")), false),
        ] {
            assert_eq!((base.same(&other), other.same(&base)), (same, same), "{other:?}");
        }
        let link = |target: &[u8]| Version::of_entry(Kind::Symlink, 1, 20, None, Some(target));
        assert!(link(b"a").same(&link(b"a")) && !link(b"a").same(&link(b"b")));

        let hashed = file(10, 20, Some(1));
        assert!(hashed.same(&file(10, 99, Some(1))), "a touched file is the same");
        assert!(!hashed.same(&file(10, 20, Some(2))), "an edit under the old mtime is not");
        assert!(hashed.same(&base) && base.same(&hashed), "a hash that came or went changes nothing");
        assert!(!hashed.same(&file(10, 99, None)), "without a second hash the facts decide");
    }

    #[test]
    fn the_facts_of_content_never_change_their_digest() {
        let mut row = vec![0];
        row.extend(5u64.to_le_bytes());
        row.extend((-6i64).to_le_bytes());
        assert_eq!(file(5, -6, None).facts, hash::digest(&row));
        row[0] = 2;
        row.extend(b"../x");
        let link = Version::of_entry(Kind::Symlink, 5, -6, None, Some(b"../x"));
        assert_eq!(link.facts, hash::digest(&row));
    }

    #[test]
    fn a_group_is_the_sum_of_its_members_in_any_order() {
        let members: Vec<(u64, Version)> =
            (0..20).map(|n| (n, file(n, n as i64, (n % 2 == 0).then_some(u128::from(n) << 70)))).collect();
        let sum = |members: &mut dyn Iterator<Item = &(u64, Version)>| {
            let mut digest = Digest::default();
            members.for_each(|(id, version)| digest.add(*id, version));
            digest
        };
        let all = sum(&mut members.iter());
        assert_eq!(all, sum(&mut members.iter().rev()));
        assert_eq!(all.count(), 20);
        let mut less = all;
        for (id, version) in members.iter().take(13) {
            less.remove(*id, version);
        }
        assert_eq!(less, sum(&mut members.iter().skip(13)));
        for (id, version) in members.iter().skip(13) {
            less.remove(*id, version);
        }
        assert_eq!((less, less.count()), (Digest::default(), 0));
    }

    #[test]
    fn a_group_changes_with_each_member() {
        let group = |members: &[(u64, Version)]| {
            let mut digest = Digest::default();
            members.iter().for_each(|(id, version)| digest.add(*id, version));
            digest.version()
        };
        let (a, b) = (file(1, 1, None), file(2, 2, None));
        let base = group(&[(1, a), (2, b)]);
        assert!(base.same(&group(&[(2, b), (1, a)])));
        for (sentence, other) in [
            ("one is gone", group(&[(1, a)])),
            ("one came", group(&[(1, a), (2, b), (3, a)])),
            ("one was edited", group(&[(1, a), (2, file(2, 3, None))])),
            ("two changed places", group(&[(1, b), (2, a)])),
            ("one is another file of the same facts", group(&[(1, a), (3, b)])),
            ("all are gone", group(&[])),
        ] {
            assert!(!base.same(&other), "{sentence}");
        }

        let hashed = group(&[(1, file(1, 1, Some(5))), (2, file(2, 2, Some(6)))]);
        assert!(
            hashed.same(&group(&[(1, file(1, 9, Some(5))), (2, file(2, 2, Some(6)))])),
            "one was touched"
        );
        assert!(
            !hashed.same(&group(&[(1, file(1, 1, Some(6))), (2, file(2, 2, Some(5)))])),
            "contents swapped"
        );
        // A symlink has no hash; the others have theirs all the same.
        let half = group(&[(1, file(1, 1, Some(5))), (2, b)]);
        assert!(half.same(&group(&[(1, file(1, 9, Some(5))), (2, b)])), "the one with a hash was touched");
        assert!(
            !half.same(&group(&[(1, file(1, 1, Some(5))), (2, file(2, 3, None))])),
            "the other was edited"
        );
    }

    #[test]
    fn long_errors_are_cut_between_characters() {
        for (text, kept) in [
            (String::new(), 0),
            ("x".repeat(1_000), 1_000),
            ("x".repeat(1_001), 1_000),
            ("\u{df}".repeat(600), 1_000),
            (format!("x{}", "\u{df}".repeat(600)), 999),
            (format!("x{}", "\u{1f333}".repeat(300)), 997),
        ] {
            assert_eq!(cut_error(&text).len(), kept);
            assert!(text.starts_with(cut_error(&text)));
            let mut record = records().pop().expect("the full one");
            record.failure.as_mut().expect("a failure").error = text;
            let stored = Record::decode(&record.encode()).expect("a row");
            assert_eq!(stored.failure.map(|failure| failure.error.len()), Some(kept));
        }
    }

    #[test]
    fn attributes_fit_up_to_the_limit_names_included() {
        let attrs = |name: &str, bytes: usize| BTreeMap::from([(name.to_owned(), vec![0; bytes])]);
        assert!(check_attrs(&BTreeMap::new()).is_ok());
        assert!(check_attrs(&attrs("etag", 65_532)).is_ok());
        let error = check_attrs(&attrs("etag", 65_533)).expect_err("one byte too many");
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert_eq!(error.message(), "the attributes of a job would take 65537 bytes; at most 65,536 fit");
        let mut many = attrs("a", 40_000);
        many.extend(attrs("b", 40_000));
        assert_eq!(check_attrs(&many).map_err(|e| e.kind()), Err(ErrorKind::TooLarge));
        for bad in ["", ".", "a/b", "a\n"] {
            assert_eq!(check_attrs(&attrs(bad, 1)).map_err(|e| e.kind()), Err(ErrorKind::InvalidArgument));
        }
    }
}
