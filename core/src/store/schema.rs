//! The tables of the state file and the rows in them. docs/format.md describes each byte.

use std::os::unix::ffi::{OsStrExt, OsStringExt};

use redb::TableDefinition;

use crate::bytes::{Malformed, Put, Take};
use crate::entry::Compare;
use crate::hash::checksum;
use crate::operation::{Counts, Operation, OperationKind, OperationStatus};
use crate::options::ContentHash;
use crate::root_record::{RootIdentity, RootRecord, RootState};

/// Version of everything in this folder and of the page format.
pub(crate) const FORMAT: u32 = 1;

pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
pub(super) const ROOTS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("roots");
pub(super) const SEGMENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("segments");
pub(super) const JOURNAL: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("journal");
pub(super) const OPERATIONS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("operations");
pub(super) const ATTRS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("attrs");
pub(super) const SPACES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("spaces");
pub(super) const CURSORS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("cursors");

pub(super) const META_FORMAT: &str = "format";
pub(super) const META_DATABASE: &str = "database";
pub(super) const META_STATE: &str = "state";

/// The counters of the engine, rewritten in every commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counters {
    pub(crate) seq: u64,
    /// Next id for an entry or node.
    pub(crate) next_id: u64,
    pub(crate) next_root: u32,
    pub(crate) next_operation: u64,
    /// Changes after this seq are all in the journal.
    pub(crate) journal_floor: u64,
    pub(crate) journal_bytes: u64,
    /// The oldest tombstone is not older than this, nanoseconds since 1970 UTC.
    pub(crate) oldest_missing_ns: i64,
    pub(crate) next_pipeline: u32,
}

impl Counters {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        for value in [
            self.seq,
            self.next_id,
            u64::from(self.next_root),
            self.next_operation,
            self.journal_floor,
            self.journal_bytes,
            self.oldest_missing_ns as u64,
            u64::from(self.next_pipeline),
        ] {
            out.put_u64(value);
        }
        seal(0, out)
    }

    pub(super) fn decode(row: &[u8]) -> Result<Self, Malformed> {
        let mut take = Take(unseal(0, row)?);
        let mut counters = Self {
            seq: take.u64()?,
            next_id: take.u64()?,
            next_root: u32::try_from(take.u64()?).map_err(|_| Malformed)?,
            next_operation: take.u64()?,
            journal_floor: take.u64()?,
            journal_bytes: take.u64()?,
            oldest_missing_ns: take.i64()?,
            next_pipeline: 0,
        };
        // Files of before there were pipelines end here.
        if !take.is_done() {
            counters.next_pipeline = u32::try_from(take.u64()?).map_err(|_| Malformed)?;
        }
        Ok(counters)
    }
}

/// Puts the checksum in front of a row.
pub(super) fn seal(key: u64, row: Vec<u8>) -> Vec<u8> {
    let mut out = checksum(key, &row).to_le_bytes().to_vec();
    out.extend(row);
    out
}

/// Takes a row out from behind its checksum.
pub(super) fn unseal(key: u64, row: &[u8]) -> Result<&[u8], Malformed> {
    let (sum, body) = row.split_first_chunk::<8>().ok_or(Malformed)?;
    if u64::from_le_bytes(*sum) == checksum(key, body) { Ok(body) } else { Err(Malformed) }
}

/// The checksum of a journal row covers both parts of its key.
pub(super) fn journal_seed(seq: u64, part: u32) -> u64 {
    seq.rotate_left(20) ^ u64::from(part)
}

const STATE_NEW: u8 = 0;
const STATE_READY: u8 = 1;
const STATE_UNAVAILABLE: u8 = 2;
const STATE_HELD: u8 = 3;

pub(super) fn encode_root(root: &RootRecord) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    out.put_bytes(root.name.as_bytes());
    out.put_bytes(root.path.as_os_str().as_bytes());
    out.put_u64(root.identity.inode);
    out.put_u64(root.identity.fs_type);
    out.put_u64(root.identity.fs_id);
    out.put_i64(root.identity.born_ns);
    out.push(root.compare_asked as u8);
    out.push(root.compare as u8);
    out.push(root.content_hash as u8);
    out.push(u8::from(root.adopt) | u8::from(root.rebuilt) << 1);
    out.put_num(root.live_node);
    out.put_num(root.gone_node);
    out.put_i64(root.last_scan_ns);
    out.put_u64(root.rules_digest);
    out.put_num(root.ignore.len() as u64);
    for pattern in &root.ignore {
        out.put_bytes(pattern.as_bytes());
    }
    match &root.state {
        RootState::New => out.push(STATE_NEW),
        RootState::Ready => out.push(STATE_READY),
        RootState::Unavailable { reason } => {
            out.push(STATE_UNAVAILABLE);
            out.put_bytes(reason.as_bytes());
        }
        RootState::Held { missing, of } => {
            out.push(STATE_HELD);
            out.put_num(*missing);
            out.put_num(*of);
        }
    }
    out.put_i64(root.last_full_ns);
    seal(u64::from(root.id), out)
}

pub(super) fn decode_root(id: u32, row: &[u8]) -> Result<RootRecord, Malformed> {
    let mut take = Take(unseal(u64::from(id), row)?);
    let name = take.string()?;
    let path = std::ffi::OsString::from_vec(take.bytes()?.to_vec()).into();
    let identity =
        RootIdentity { inode: take.u64()?, fs_type: take.u64()?, fs_id: take.u64()?, born_ns: take.i64()? };
    let compare_asked = Compare::from_code(take.u8()?).ok_or(Malformed)?;
    let compare = Compare::from_code(take.u8()?).ok_or(Malformed)?;
    let content_hash = match take.u8()? {
        0 => ContentHash::Off,
        1 => ContentHash::Changed,
        _ => return Err(Malformed),
    };
    let marks = take.u8()?;
    let live_node = take.num()?;
    let gone_node = take.num()?;
    let last_scan_ns = take.i64()?;
    let rules_digest = take.u64()?;
    let mut ignore = Vec::new();
    for _ in 0..take.num()? {
        ignore.push(take.string()?);
    }
    let state = match take.u8()? {
        STATE_NEW => RootState::New,
        STATE_READY => RootState::Ready,
        STATE_UNAVAILABLE => RootState::Unavailable { reason: take.string()? },
        STATE_HELD => RootState::Held { missing: take.num()?, of: take.num()? },
        _ => return Err(Malformed),
    };
    // The first state files end here.
    let last_full_ns = if take.is_done() { 0 } else { take.i64()? };
    Ok(RootRecord {
        id,
        name,
        path,
        identity,
        compare_asked,
        compare,
        content_hash,
        ignore,
        live_node,
        gone_node,
        state,
        last_scan_ns,
        rules_digest,
        adopt: marks & 1 != 0,
        rebuilt: marks & 2 != 0,
        last_full_ns,
    })
}

pub(super) fn encode_operation(operation: &Operation) -> Vec<u8> {
    let mut out = Vec::with_capacity(96);
    out.push(operation.kind as u8);
    out.push(operation.status as u8);
    out.put_bytes(operation.root.as_bytes());
    out.put_i64(operation.start_ns);
    out.put_i64(operation.end_ns);
    out.put_num(operation.seq);
    let c = &operation.counts;
    for n in [c.added, c.modified, c.moved, c.missing, c.restored, c.forgotten, c.errors] {
        out.put_num(n);
    }
    out.put_bytes(operation.error.as_deref().unwrap_or_default().as_bytes());
    seal(operation.id, out)
}

pub(super) fn decode_operation(id: u64, row: &[u8]) -> Result<Operation, Malformed> {
    let mut take = Take(unseal(id, row)?);
    Ok(Operation {
        id,
        kind: OperationKind::from_code(take.u8()?).ok_or(Malformed)?,
        status: OperationStatus::from_code(take.u8()?).ok_or(Malformed)?,
        root: take.string()?,
        start_ns: take.i64()?,
        end_ns: take.i64()?,
        seq: take.num()?,
        counts: Counts {
            added: take.num()?,
            modified: take.num()?,
            moved: take.num()?,
            missing: take.num()?,
            restored: take.num()?,
            forgotten: take.num()?,
            errors: take.num()?,
        },
        error: Some(take.string()?).filter(|e| !e.is_empty()),
    })
}

/// Attributes of one entry: name, value, name, value, sorted by name.
pub(super) fn encode_attrs(id: u64, attrs: &std::collections::BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in attrs {
        out.put_bytes(name.as_bytes());
        out.put_bytes(value);
    }
    seal(id, out)
}

pub(super) fn decode_attrs(
    id: u64,
    row: &[u8],
) -> Result<std::collections::BTreeMap<String, Vec<u8>>, Malformed> {
    let mut take = Take(unseal(id, row)?);
    let mut attrs = std::collections::BTreeMap::new();
    while !take.is_done() {
        let name = take.string()?;
        attrs.insert(name, take.bytes()?.to_vec());
    }
    Ok(attrs)
}

/// Key of a value in a space: the length of the space's name, the name, the key.
pub(super) fn space_key(space: &str, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + space.len() + key.len());
    out.push(space.len() as u8);
    out.extend_from_slice(space.as_bytes());
    out.extend_from_slice(key);
    out
}

/// The checksum of a value in a space covers its key.
pub(super) fn space_seed(key: &[u8]) -> u64 {
    checksum(0, key)
}

pub(super) fn encode_cursor(name: &str, seq: u64) -> Vec<u8> {
    seal(space_seed(name.as_bytes()), seq.to_le_bytes().to_vec())
}

pub(super) fn decode_cursor(name: &str, row: &[u8]) -> Result<u64, Malformed> {
    Take(unseal(space_seed(name.as_bytes()), row)?).u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_back() {
        let counters =
            Counters { seq: 1, next_id: 2, oldest_missing_ns: -3, next_pipeline: 4, ..Counters::default() };
        assert_eq!(Counters::decode(&counters.encode()), Ok(counters));
        for state in [
            RootState::New,
            RootState::Ready,
            RootState::Unavailable { reason: "gone".into() },
            RootState::Held { missing: 5, of: 6 },
        ] {
            let root = RootRecord {
                id: 4,
                name: "music".into(),
                path: "/srv/\u{fc}".into(),
                identity: RootIdentity { inode: 1, fs_type: 2, fs_id: 3, born_ns: 4 },
                compare_asked: Compare::Auto,
                compare: Compare::Full,
                content_hash: ContentHash::Changed,
                ignore: vec!["*.part".into()],
                live_node: 1,
                gone_node: 2,
                state,
                last_scan_ns: 9,
                rules_digest: 8,
                adopt: true,
                rebuilt: true,
                last_full_ns: 7,
            };
            let row = encode_root(&root);
            assert_eq!(decode_root(4, &row).as_ref(), Ok(&root));
            assert!(decode_root(5, &row).is_err(), "a row belongs to its key");
        }
        let operation = Operation {
            id: 3,
            kind: OperationKind::Subtree,
            root: "r".into(),
            start_ns: 1,
            end_ns: 2,
            seq: 3,
            counts: Counts { added: 1, errors: 7, ..Counts::default() },
            status: OperationStatus::Partial,
            error: Some("why".into()),
        };
        assert_eq!(decode_operation(3, &encode_operation(&operation)), Ok(operation));
    }
}
