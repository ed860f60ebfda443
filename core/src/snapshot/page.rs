//! The packed page: up to [`ENTRIES_MAX`] entries of one directory, sorted by name. The same bytes
//! lie in the state file and in memory; entries are decoded where they are read, never unpacked.
//!
//! Layout (little endian; docs/format.md draws it):
//!
//! ```text
//! 0   u16 count | u16 reserved | u32 common mode
//! 8   u64 page seq | u64 base id | i64 base mtime | i64 base ctime | u64 base inode
//! 48  u8 tag[count]            eight bits of each name, for lookup
//!     u16 end[count]           end of record i, from the start of the page
//!     record[count]
//!     8 bytes of zero          so that a field is read as one word
//! ```
//!
//! Numbers are stored as the difference to the page's base, in as few bytes as they need; the
//! lengths stand in front, so decoding has no branches. Pages are validated once, when they come
//! from the file; reading a valid page cannot fail, and an invalid one reads as zeros, never as a
//! panic.

use std::sync::Arc;

use crate::bytes::{unzigzag, zigzag};
use crate::entry::{Kind, Stat};
use crate::hash::name_tag;

/// Entries in one page at most; a change rewrites one page, not the directory.
pub(crate) const ENTRIES_MAX: usize = 128;
/// Bytes after which a page is closed. One entry can add at most 255 + 4,095 + 70 to it.
const BYTES_SOFT_MAX: usize = 6 * 1024;
const HEADER: usize = 48;
const TAIL: usize = 8;
/// The seq of an entry that the commit under way writes: it is the page's own seq.
pub(crate) const SEQ_OF_PAGE: u64 = u64::MAX;

const FLAG_KIND: u8 = 0b0000_0011;
const FLAG_RACY: u8 = 0b0000_0100;
const FLAG_SEQ: u8 = 0b0000_1000;
const FLAG_MODE: u8 = 0b0001_0000;
const FLAG_NO_BTIME: u8 = 0b0010_0000;
const FLAG_EXTRA: u8 = 0b0100_0000;
const FLAG_LINKED: u8 = 0b1000_0000;

const EXTRA_HASH: u8 = 1;
const EXTRA_TARGET: u8 = 2;
const EXTRA_MISSING: u8 = 4;

/// One entry on its way into a page. For a directory only `name`, `kind` and `id` are kept here:
/// the rest lies in its own head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) name: Box<[u8]>,
    pub(crate) stat: Stat,
    pub(crate) id: u64,
    pub(crate) seq: u64,
    pub(crate) racy: bool,
    pub(crate) hash: Option<u128>,
    pub(crate) target: Option<Box<[u8]>>,
    pub(crate) missing_since_ns: Option<i64>,
}

impl Record {
    fn as_ref(&self) -> RecordRef<'_> {
        RecordRef {
            name: &self.name,
            stat: self.stat,
            id: self.id,
            seq: self.seq,
            racy: self.racy,
            hash: self.hash,
            target: self.target.as_deref(),
            missing_since_ns: self.missing_since_ns,
        }
    }

    /// The entry of a directory within its parent.
    pub(crate) fn stub(name: &[u8], id: u64) -> Self {
        Self {
            name: name.into(),
            stat: Stat::EMPTY_DIR,
            id,
            seq: SEQ_OF_PAGE,
            racy: false,
            hash: None,
            target: None,
            missing_since_ns: None,
        }
    }
}

/// An entry on its way into a page whose bytes lie elsewhere.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordRef<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) stat: Stat,
    pub(crate) id: u64,
    pub(crate) seq: u64,
    pub(crate) racy: bool,
    pub(crate) hash: Option<u128>,
    pub(crate) target: Option<&'a [u8]>,
    pub(crate) missing_since_ns: Option<i64>,
}

/// Packs sorted records into pages. `seq` is written as the seq of each page.
pub(crate) fn pack(records: &[Record], seq: u64) -> Vec<Arc<[u8]>> {
    let refs: Vec<RecordRef<'_>> = records.iter().map(Record::as_ref).collect();
    pack_refs(&refs, seq)
}

/// As [`pack`].
pub(crate) fn pack_refs(records: &[RecordRef<'_>], seq: u64) -> Vec<Arc<[u8]>> {
    let mut pages = Vec::new();
    let mut rest = records;
    while !rest.is_empty() {
        // An even split, so that the pages of a growing directory stay about half full.
        let want = rest.len().div_ceil(rest.len().div_ceil(ENTRIES_MAX));
        let mut bytes = 0;
        let fits = rest
            .iter()
            .take(want)
            .take_while(|r| {
                let before = bytes;
                bytes += r.name.len() + r.target.map_or(0, <[u8]>::len) + 40;
                before < BYTES_SOFT_MAX
            })
            .count();
        let (page, after) = rest.split_at(fits.max(1));
        pages.push(pack_one(page, seq).into());
        rest = after;
    }
    pages
}

fn pack_one(records: &[RecordRef<'_>], seq: u64) -> Vec<u8> {
    let base = records.iter().find(|r| r.stat.kind != Kind::Dir).or(records.first());
    let (mode, mtime, ctime, inode) =
        base.map_or((0, 0, 0, 0), |r| (r.stat.mode, r.stat.mtime_ns, r.stat.ctime_ns, r.stat.inode));
    let id = records.first().map_or(0, |r| r.id);
    let count = records.len();
    let names: usize = records.iter().map(|r| r.name.len() + 24).sum();
    let mut out = Vec::with_capacity(HEADER + count * 3 + names + TAIL);
    out.extend_from_slice(&(count as u16).to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&mode.to_le_bytes());
    out.extend_from_slice(&seq.to_le_bytes());
    out.extend_from_slice(&id.to_le_bytes());
    out.extend_from_slice(&mtime.to_le_bytes());
    out.extend_from_slice(&ctime.to_le_bytes());
    out.extend_from_slice(&inode.to_le_bytes());
    out.extend(records.iter().map(|r| name_tag(r.name)));
    let ends = out.len();
    out.resize(ends + count * 2, 0);
    let mut dirs = 0;
    for (i, record) in records.iter().enumerate() {
        let base_id = id.wrapping_add(i as u64);
        push_record(&mut out, record, seq, mode, (mtime, ctime, inode, base_id), dirs);
        dirs += u64::from(record.stat.kind == Kind::Dir);
        let end = (out.len() as u16).to_le_bytes();
        if let Some(slot) = out.get_mut(ends + i * 2..ends + i * 2 + 2) {
            slot.copy_from_slice(&end);
        }
    }
    out.extend_from_slice(&[0; TAIL]);
    out
}

fn push_record(
    out: &mut Vec<u8>,
    record: &RecordRef<'_>,
    seq: u64,
    mode: u32,
    (mtime, ctime, inode, id): (i64, i64, u64, u64),
    dirs_before: u64,
) {
    let stat = &record.stat;
    let is_dir = stat.kind == Kind::Dir;
    let own_seq = (record.seq != SEQ_OF_PAGE && record.seq != seq && !is_dir).then_some(record.seq);
    let own_mode = (stat.mode != mode && !is_dir).then_some(stat.mode);
    let extra = (u8::from(record.hash.is_some()) * EXTRA_HASH)
        | (u8::from(record.target.is_some()) * EXTRA_TARGET)
        | (u8::from(record.missing_since_ns.is_some()) * EXTRA_MISSING);
    let flags = stat.kind as u8
        | if record.racy { FLAG_RACY } else { 0 }
        | if own_seq.is_some() { FLAG_SEQ } else { 0 }
        | if own_mode.is_some() { FLAG_MODE } else { 0 }
        | if stat.btime_ns == 0 { FLAG_NO_BTIME } else { 0 }
        | if extra != 0 { FLAG_EXTRA } else { 0 }
        | if stat.linked { FLAG_LINKED } else { 0 };
    let fields = if is_dir {
        // In the place of its size a directory has its number among those of the page.
        [dirs_before, 0, 0, 0, 0, zigzag(record.id.wrapping_sub(id) as i64)]
    } else {
        [
            stat.size,
            zigzag(stat.mtime_ns.wrapping_sub(mtime)),
            // No bytes at all mean "as mtime"; a difference of 0 to the base takes one byte.
            zigzag(stat.ctime_ns.wrapping_sub(ctime)),
            zigzag(stat.btime_ns.wrapping_sub(stat.ctime_ns)),
            zigzag(stat.inode.wrapping_sub(inode) as i64),
            zigzag(record.id.wrapping_sub(id) as i64),
        ]
    };
    let mut lens = fields.map(width);
    if is_dir || stat.ctime_ns == stat.mtime_ns {
        lens[2] = 0;
    } else {
        lens[2] = lens[2].max(1);
    }
    if stat.btime_ns == 0 {
        lens[3] = 0;
    }
    out.push(flags);
    out.push(record.name.len() as u8);
    out.push(lens[0] | lens[1] << 4);
    out.push(lens[2] | lens[3] << 4);
    out.push(lens[4] | lens[5] << 4);
    for (field, len) in fields.iter().zip(lens) {
        out.extend_from_slice(field.to_le_bytes().get(..usize::from(len)).unwrap_or_default());
    }
    out.extend_from_slice(record.name);
    if let Some(seq) = own_seq {
        out.extend_from_slice(&seq.to_le_bytes());
    }
    if let Some(mode) = own_mode {
        out.extend_from_slice(&mode.to_le_bytes());
    }
    if extra != 0 {
        out.push(extra);
        if let Some(hash) = record.hash {
            out.extend_from_slice(&hash.to_le_bytes());
        }
        if let Some(since) = record.missing_since_ns {
            out.extend_from_slice(&since.to_le_bytes());
        }
        if let Some(target) = record.target {
            out.extend_from_slice(&(target.len() as u16).to_le_bytes());
            out.extend_from_slice(target);
        }
    }
}

/// Writes the seq of a page packed before its commit was known.
pub(crate) fn stamp(page: &mut [u8], seq: u64) {
    if let Some(slot) = page.get_mut(8..16) {
        slot.copy_from_slice(&seq.to_le_bytes());
    }
}

fn width(value: u64) -> u8 {
    (8 - value.leading_zeros() as u8 / 8).min(8)
}

#[inline]
fn word(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()).map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

#[inline]
fn field(bytes: &[u8], at: usize, len: usize) -> u64 {
    // `len` is 0 to 8 in a valid page; the two shifts keep 0 and 8 in range.
    let bits = (len.min(8) * 8) as u32;
    if bits == 0 { 0 } else { word(bytes, at) & (u64::MAX >> (64 - bits)) }
}

#[inline]
fn short(bytes: &[u8], at: usize) -> usize {
    bytes.get(at..at + 2).map_or(0, |b| usize::from(b[0]) | usize::from(b[1]) << 8)
}

/// A page to read from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageView<'a> {
    bytes: &'a [u8],
}

/// One entry of a page, decoded as far as its field boundaries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot<'a> {
    bytes: &'a [u8],
    /// Start of the entry; pages are shorter than 64 KiB.
    start: u32,
    number: u16,
    flags: u8,
    name_bytes: u8,
    lens: [u8; 3],
}

impl<'a> PageView<'a> {
    #[inline]
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    #[inline]
    pub(crate) fn len(self) -> usize {
        short(self.bytes, 0)
    }

    #[inline]
    fn start(self, index: usize, count: usize) -> usize {
        if index == 0 { HEADER + count * 3 } else { short(self.bytes, HEADER + count + (index - 1) * 2) }
    }

    #[inline]
    pub(crate) fn slot(self, index: usize) -> Slot<'a> {
        let at = self.start(index, self.len());
        let head = self.bytes.get(at..at + 5).unwrap_or(&[0; 5]);
        Slot {
            bytes: self.bytes,
            start: at as u32,
            number: index as u16,
            flags: head[0],
            name_bytes: head[1],
            lens: [head[2], head[3], head[4]],
        }
    }

    /// Finds a name by its tag: one pass over `count` bytes, then nearly always one comparison.
    #[inline]
    pub(crate) fn find(self, name: &[u8]) -> Option<usize> {
        self.find_tagged(name, name_tag(name))
    }

    #[inline]
    pub(crate) fn find_tagged(self, name: &[u8], tag: u8) -> Option<usize> {
        let count = self.len();
        let tags = self.bytes.get(HEADER..HEADER + count)?;
        let mut from = 0;
        while let Some(found) = tags.get(from..)?.iter().position(|&t| t == tag) {
            let index = from + found;
            if self.slot(index).name() == name {
                return Some(index);
            }
            from = index + 1;
        }
        None
    }

    pub(crate) fn slots(self) -> impl Iterator<Item = Slot<'a>> {
        (0..self.len()).map(move |i| self.slot(i))
    }

    /// Adds up what a page holds by itself.
    pub(crate) fn summary(self) -> Summary {
        let mut sum = Summary::default();
        for slot in self.slots() {
            sum.add(&slot);
        }
        sum
    }

    /// Checks every boundary once, so that reading needs no checks that could fail, and adds up what
    /// the page holds on the way.
    pub(crate) fn validate(self) -> Result<Summary, &'static str> {
        let count = self.len();
        if count == 0 || count > ENTRIES_MAX {
            return Err("a page has no entries or too many");
        }
        let mut at = HEADER + count * 3;
        let mut before: &[u8] = &[];
        let mut sum = Summary::default();
        for index in 0..count {
            let end = short(self.bytes, HEADER + count + index * 2);
            if end < at + 5 || end + TAIL > self.bytes.len() {
                return Err("an entry ends outside its page");
            }
            let slot = self.slot(index);
            if slot.end_of_fields() + slot.name_len() > end || slot.end() != end {
                return Err("an entry's fields end outside it");
            }
            if Kind::from_code(slot.flags & FLAG_KIND).is_none() {
                return Err("an entry is of no known kind");
            }
            let name = slot.name();
            // Every name sorts after the empty one, so this refuses empty names as well.
            if name <= before {
                return Err("entries are out of order");
            }
            if name.iter().fold(false, |bad, &b| bad | (b == b'/') | (b == 0)) {
                return Err("a name holds a slash or a NUL");
            }
            if slot.kind() == Kind::Dir && slot.dir_number() != sum.dirs as usize {
                return Err("a directory has a wrong number");
            }
            sum.add(&slot);
            before = name;
            at = end;
        }
        if at + TAIL == self.bytes.len() { Ok(sum) } else { Err("a page has bytes left over") }
    }
}

/// What a page holds by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Summary {
    /// Files and symlinks.
    pub(crate) files: u64,
    /// Their sizes.
    pub(crate) bytes: u64,
    pub(crate) dirs: u32,
}

impl Summary {
    #[inline]
    fn add(&mut self, slot: &Slot<'_>) {
        if slot.kind().is_counted() {
            self.files += 1;
            self.bytes = self.bytes.saturating_add(slot.size());
        } else {
            self.dirs += 1;
        }
    }
}

impl<'a> Slot<'a> {
    #[inline]
    fn at(&self) -> usize {
        self.start as usize
    }

    #[inline]
    fn name_len(&self) -> usize {
        usize::from(self.name_bytes)
    }

    #[inline]
    fn len_of(&self, field: usize) -> usize {
        let pair = self.lens[field / 2];
        usize::from(if field.is_multiple_of(2) { pair & 15 } else { pair >> 4 })
    }

    #[inline]
    fn end_of_fields(&self) -> usize {
        self.at() + 5 + (0..6).map(|f| self.len_of(f)).sum::<usize>()
    }

    #[inline]
    fn after_name(&self) -> usize {
        self.end_of_fields() + self.name_len()
    }

    #[inline]
    fn extra_at(&self) -> Option<usize> {
        let seq = if self.flags & FLAG_SEQ != 0 { 8 } else { 0 };
        let mode = if self.flags & FLAG_MODE != 0 { 4 } else { 0 };
        (self.flags & FLAG_EXTRA != 0).then(|| self.after_name() + seq + mode)
    }

    /// Which extras follow, and where the first of them starts.
    #[inline]
    fn extras(&self) -> Option<(u8, usize)> {
        let at = self.extra_at()?;
        Some((*self.bytes.get(at)?, at + 1))
    }

    fn end(&self) -> usize {
        let seq = if self.flags & FLAG_SEQ != 0 { 8 } else { 0 };
        let mode = if self.flags & FLAG_MODE != 0 { 4 } else { 0 };
        let plain = self.after_name() + seq + mode;
        let Some((which, at)) = self.extras() else { return plain };
        let hash = if which & EXTRA_HASH != 0 { 16 } else { 0 };
        let missing = if which & EXTRA_MISSING != 0 { 8 } else { 0 };
        let at = at + hash + missing;
        if which & EXTRA_TARGET != 0 { at + 2 + short(self.bytes, at) } else { at }
    }

    #[inline]
    pub(crate) fn name(&self) -> &'a [u8] {
        let at = self.end_of_fields();
        self.bytes.get(at..at + self.name_len()).unwrap_or_default()
    }

    #[inline]
    pub(crate) fn kind(&self) -> Kind {
        Kind::from_code(self.flags & FLAG_KIND).unwrap_or(Kind::File)
    }

    /// True for a file that had other names too when it was seen.
    #[inline]
    pub(crate) fn is_linked(&self) -> bool {
        self.flags & FLAG_LINKED != 0
    }

    #[inline]
    pub(crate) fn is_racy(&self) -> bool {
        self.flags & FLAG_RACY != 0
    }

    #[inline]
    pub(crate) fn size(&self) -> u64 {
        field(self.bytes, self.at() + 5, self.len_of(0))
    }

    /// Of a directory: which of the directories of its page it is.
    #[inline]
    pub(crate) fn dir_number(&self) -> usize {
        field(self.bytes, self.at() + 5, self.len_of(0)) as usize
    }

    #[inline]
    pub(crate) fn id(&self) -> u64 {
        let len = self.len_of(5);
        let delta = unzigzag(field(self.bytes, self.end_of_fields() - len, len));
        word(self.bytes, 16).wrapping_add(u64::from(self.number)).wrapping_add(delta as u64)
    }

    #[inline]
    pub(crate) fn seq(&self) -> u64 {
        if self.flags & FLAG_SEQ != 0 { word(self.bytes, self.after_name()) } else { word(self.bytes, 8) }
    }

    #[inline]
    pub(crate) fn mtime_ns(&self) -> i64 {
        let at = self.at() + 5 + self.len_of(0);
        (word(self.bytes, 24) as i64).wrapping_add(unzigzag(field(self.bytes, at, self.len_of(1))))
    }

    #[inline]
    fn mode(&self) -> u32 {
        if self.flags & FLAG_MODE == 0 {
            return (word(self.bytes, 0) >> 32) as u32;
        }
        let seq = if self.flags & FLAG_SEQ != 0 { 8 } else { 0 };
        field(self.bytes, self.after_name() + seq, 4) as u32
    }

    /// Everything a look saw. Meaningless for a directory, whose own head holds it.
    #[inline]
    pub(crate) fn stat(&self) -> Stat {
        let (bytes, mut at) = (self.bytes, self.at() + 5);
        let mut next = |f: usize| {
            let len = self.len_of(f);
            let value = field(bytes, at, len);
            at += len;
            value
        };
        let size = next(0);
        let mtime_ns = (word(bytes, 24) as i64).wrapping_add(unzigzag(next(1)));
        let ctime = next(2);
        let ctime_ns = if self.len_of(2) == 0 {
            mtime_ns
        } else {
            (word(bytes, 32) as i64).wrapping_add(unzigzag(ctime))
        };
        let btime = next(3);
        let btime_ns =
            if self.flags & FLAG_NO_BTIME != 0 { 0 } else { ctime_ns.wrapping_add(unzigzag(btime)) };
        let inode = word(bytes, 40).wrapping_add(unzigzag(next(4)) as u64);
        let (kind, mode, linked) = (self.kind(), self.mode(), self.is_linked());
        Stat { kind, size, mtime_ns, ctime_ns, btime_ns, inode, mode, linked }
    }

    #[inline]
    pub(crate) fn hash(&self) -> Option<u128> {
        let (which, at) = self.extras()?;
        if which & EXTRA_HASH == 0 {
            return None;
        }
        let bytes = self.bytes.get(at..)?.first_chunk::<16>()?;
        Some(u128::from_le_bytes(*bytes))
    }

    #[inline]
    pub(crate) fn missing_since_ns(&self) -> Option<i64> {
        let (which, at) = self.extras()?;
        let hash = if which & EXTRA_HASH != 0 { 16 } else { 0 };
        (which & EXTRA_MISSING != 0).then(|| word(self.bytes, at + hash) as i64)
    }

    #[inline]
    pub(crate) fn target(&self) -> Option<&'a [u8]> {
        let (which, at) = self.extras()?;
        if which & EXTRA_TARGET == 0 {
            return None;
        }
        let hash = if which & EXTRA_HASH != 0 { 16 } else { 0 };
        let missing = if which & EXTRA_MISSING != 0 { 8 } else { 0 };
        let at = at + hash + missing;
        self.bytes.get(at + 2..at + 2 + short(self.bytes, at))
    }

    pub(crate) fn to_record(self) -> Record {
        let is_dir = self.kind() == Kind::Dir;
        Record {
            name: self.name().into(),
            stat: if is_dir { Stat::EMPTY_DIR } else { self.stat() },
            id: self.id(),
            seq: if is_dir { SEQ_OF_PAGE } else { self.seq() },
            racy: self.is_racy(),
            hash: self.hash(),
            target: self.target().map(Into::into),
            missing_since_ns: self.missing_since_ns(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record() -> impl Strategy<Value = Record> {
        let stat = (
            prop_oneof![Just(Kind::File), Just(Kind::Symlink)],
            any::<u64>(),
            any::<i64>(),
            prop_oneof![Just(None), any::<i64>().prop_map(Some)],
            prop_oneof![Just(0), any::<i64>()],
            any::<u64>(),
            any::<u32>(),
        );
        let extras = (
            any::<Option<u128>>(),
            prop::option::of(prop::collection::vec(any::<u8>(), 0..40)),
            any::<Option<i64>>(),
        );
        let name = prop::collection::vec(1u8..=255, 1..30)
            .prop_map(|n| n.into_iter().map(|b| if b == b'/' { b'_' } else { b }).collect::<Vec<_>>());
        (name, stat, any::<u64>(), any::<u64>(), any::<bool>(), extras).prop_map(
            |(name, (kind, size, mtime_ns, ctime, btime_ns, inode, mode), id, seq, racy, extras)| Record {
                name: name.into(),
                stat: Stat {
                    kind,
                    size,
                    mtime_ns,
                    ctime_ns: ctime.unwrap_or(mtime_ns),
                    btime_ns,
                    inode,
                    mode,
                    linked: mode % 2 == 1,
                },
                id,
                seq,
                racy,
                hash: extras.0,
                target: extras.1.map(Into::into),
                missing_since_ns: extras.2,
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_packed_is_read_back(mut records in prop::collection::vec(record(), 1..300), seq in 0..u64::MAX - 1) {
            records.sort_by(|a, b| a.name.cmp(&b.name));
            records.dedup_by(|a, b| a.name == b.name);
            let pages = pack(&records, seq);
            let mut read = Vec::new();
            for page in &pages {
                let view = PageView::new(page);
                prop_assert_eq!(view.validate(), Ok(view.summary()));
                for (i, slot) in view.slots().enumerate() {
                    prop_assert_eq!(view.find(slot.name()), Some(i));
                    prop_assert_eq!(slot.size(), slot.stat().size);
                    prop_assert_eq!(slot.mtime_ns(), slot.stat().mtime_ns);
                }
                prop_assert_eq!(view.find(b"\x00not there"), None);
                read.extend(view.slots().map(Slot::to_record));
            }
            for record in &mut records {
                record.seq = if record.seq == SEQ_OF_PAGE { seq } else { record.seq };
            }
            prop_assert_eq!(read, records);
        }

        #[test]
        fn a_damaged_page_never_panics(
            records in prop::collection::vec(record(), 1..20),
            hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut records = records;
            records.sort_by(|a, b| a.name.cmp(&b.name));
            records.dedup_by(|a, b| a.name == b.name);
            let mut page = pack(&records, 1).remove(0).to_vec();
            for (at, value) in hits {
                let at = at.index(page.len());
                page[at] = value;
            }
            page.truncate(cut.index(page.len() + 1));
            let view = PageView::new(&page);
            let _ = view.validate();
            for slot in view.slots().take(300) {
                let _ = (slot.to_record(), slot.end());
            }
            let _ = view.find(b"a");
        }
    }

    #[test]
    fn stubs_take_little_room() {
        let stubs: Vec<_> = (0..100u64).map(|i| Record::stub(format!("{i:03}").as_bytes(), 7 + i)).collect();
        let pages = pack(&stubs, 9);
        assert_eq!(pages.len(), 1);
        assert!(pages[0].len() < 48 + 8 + 100 * 12, "{}", pages[0].len());
        assert!(
            PageView::new(&pages[0]).slots().zip(7..).all(|(s, id)| s.id() == id && s.kind() == Kind::Dir)
        );
    }
}
