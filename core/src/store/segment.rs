//! Segments: rows that hold the blocks of several directories together. redb gives a value as many
//! pages as the next power of two, and splits a page of small rows in half; rows of just below
//! 16 KiB fill their pages, and a million files need some thousand rows instead of 62,000.
//!
//! ```text
//! segment = u64 checksum of the rest, seeded with the key | block*
//! block   = num node | num number | num length | length bytes
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use crate::bytes::{Malformed, Put, Take};
use crate::hash::checksum;
use crate::snapshot::{BlockOp, Placer};

/// A segment is filled up to here; with its key and redb's header it fits 16 KiB.
pub(super) const FILL_BYTES: usize = 16 * 1024 - 64;
/// A segment whose blocks have grown beyond this sends the growing block elsewhere.
const GROW_BYTES: usize = 32 * 1024 - 64;
/// The numbers in front of a block, at most.
const FRAME_BYTES: usize = 12;

/// How full each segment is, and where new blocks go.
#[derive(Debug, Default, Clone)]
pub(crate) struct Segments {
    bytes: HashMap<u64, usize>,
    open: Option<u64>,
    pub(crate) next: u64,
}

impl Segments {
    pub(super) fn note(&mut self, segment: u64, bytes: usize) {
        self.next = self.next.max(segment.saturating_add(1));
        if bytes == 0 {
            self.bytes.remove(&segment);
        } else {
            self.bytes.insert(segment, bytes);
        }
    }

    /// New blocks of the next commit start a segment of their own: what is written together is
    /// stored together, and nothing that lies still is rewritten for it.
    pub(crate) fn close_open(&mut self) {
        self.open = None;
    }
}

impl Placer for Segments {
    fn place(&mut self, now: Option<(u64, usize)>, len: usize) -> u64 {
        if let Some((segment, old_len)) = now {
            let size = self.bytes.entry(segment).or_insert(0);
            let grown = size.saturating_sub(old_len) + len;
            if grown <= GROW_BYTES || grown <= *size {
                *size = grown;
                return segment;
            }
            *size = size.saturating_sub(old_len + FRAME_BYTES);
        }
        let need = len + FRAME_BYTES;
        if let Some(open) = self.open {
            let size = self.bytes.entry(open).or_insert(8);
            if *size + need <= FILL_BYTES {
                *size += need;
                return open;
            }
        }
        let fresh = self.next;
        self.next += 1;
        self.open = Some(fresh);
        self.bytes.insert(fresh, 8 + need);
        fresh
    }
}

/// One block within a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block<'a> {
    pub(super) node: u64,
    pub(super) number: u32,
    pub(super) bytes: &'a [u8],
}

/// Reads a row, after checking it against its key.
pub(super) fn blocks(segment: u64, row: &[u8]) -> Result<Vec<Block<'_>>, Malformed> {
    let mut take = Take(row);
    let sum = take.u64()?;
    if checksum(segment, take.0) != sum {
        return Err(Malformed);
    }
    let mut out = Vec::new();
    while !take.is_done() {
        let node = take.num()?;
        let number = u32::try_from(take.num()?).map_err(|_| Malformed)?;
        out.push(Block { node, number, bytes: take.bytes()? });
    }
    Ok(out)
}

/// A row that was not there before, each of its blocks put once.
fn fresh(segment: u64, ops: &[&BlockOp]) -> Vec<u8> {
    let mut out = Vec::with_capacity(FILL_BYTES);
    out.resize(8, 0);
    for op in ops {
        if let BlockOp::Put { node, number, bytes, .. } = op {
            out.put_num(*node);
            out.put_num(u64::from(*number));
            out.put_bytes(bytes);
        }
    }
    seal(segment, &mut out);
    out
}

fn seal(segment: u64, row: &mut [u8]) {
    let (sum, body) = row.split_at_mut(8);
    sum.copy_from_slice(&checksum(segment, body).to_le_bytes());
}

/// The row after `ops`, or `None` when nothing is left in it.
pub(super) fn patch(
    segment: u64,
    old: Option<&[u8]>,
    ops: &[&BlockOp],
) -> Result<Option<Vec<u8>>, Malformed> {
    if old.is_none() && ops.iter().all(|op| matches!(op, BlockOp::Put { .. })) {
        return Ok(Some(fresh(segment, ops)));
    }
    // The last word on each block wins; a block that moves within the commit is deleted and put.
    let mut words: HashMap<(u64, u32), Option<&Arc<[u8]>>> = HashMap::with_capacity(ops.len());
    let mut order = Vec::with_capacity(ops.len());
    for op in ops {
        let (key, word) = match op {
            BlockOp::Put { node, number, bytes, .. } => ((*node, *number), Some(bytes)),
            BlockOp::Delete { node, number, .. } => ((*node, *number), None),
        };
        if words.insert(key, word).is_none() {
            order.push(key);
        }
    }
    let mut out = vec![0; 8];
    out.reserve(old.map_or(FILL_BYTES, <[u8]>::len));
    let mut push = |node: u64, number: u32, bytes: &[u8]| {
        out.put_num(node);
        out.put_num(u64::from(number));
        out.put_bytes(bytes);
    };
    if let Some(old) = old {
        for block in blocks(segment, old)? {
            match words.remove(&(block.node, block.number)) {
                None => push(block.node, block.number, block.bytes),
                Some(Some(bytes)) => push(block.node, block.number, bytes),
                Some(None) => {}
            }
        }
    }
    for (node, number) in order {
        if let Some(Some(bytes)) = words.remove(&(node, number)) {
            push(node, number, bytes);
        }
    }
    if out.len() == 8 {
        return Ok(None);
    }
    seal(segment, &mut out);
    Ok(Some(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(node: u64, number: u32, text: &str) -> BlockOp {
        BlockOp::Put { segment: 3, node, number, bytes: text.as_bytes().into() }
    }

    #[test]
    fn a_patched_row_holds_the_last_word_on_each_block() -> Result<(), Malformed> {
        let first = [put(1, 0, "a"), put(1, 1, "b"), put(2, 0, "c")];
        let row = patch(3, None, &first.iter().collect::<Vec<_>>())?.ok_or(Malformed)?;
        let second = [
            BlockOp::Delete { segment: 3, node: 1, number: 0 },
            put(2, 0, "CC"),
            put(4, 0, "d"),
            put(1, 0, "A"),
        ];
        let row = patch(3, Some(&row), &second.iter().collect::<Vec<_>>())?.ok_or(Malformed)?;
        let seen: Vec<_> =
            blocks(3, &row)?.into_iter().map(|b| (b.node, b.number, b.bytes.to_vec())).collect();
        assert_eq!(
            seen,
            [(1, 0, b"A".to_vec()), (1, 1, b"b".to_vec()), (2, 0, b"CC".to_vec()), (4, 0, b"d".to_vec())]
        );
        let all: Vec<_> = seen
            .iter()
            .map(|(node, number, _)| BlockOp::Delete { segment: 3, node: *node, number: *number })
            .collect();
        assert_eq!(patch(3, Some(&row), &all.iter().collect::<Vec<_>>())?, None);
        Ok(())
    }

    #[test]
    fn a_row_under_another_key_or_with_a_flipped_bit_is_refused() {
        let row = patch(3, None, &[&put(1, 0, "some bytes")]).ok().flatten().unwrap_or_default();
        assert!(blocks(4, &row).is_err());
        for at in 0..row.len() {
            let mut bad = row.clone();
            bad[at] ^= 0x10;
            assert!(blocks(3, &bad).is_err(), "bit in byte {at}");
        }
    }

    #[test]
    fn segments_fill_up_and_growing_blocks_leave() {
        let mut segments = Segments::default();
        let places: Vec<u64> = (0..100).map(|_| segments.place(None, 1_000)).collect();
        assert_eq!(places.iter().filter(|p| **p == 0).count(), 16);
        assert_eq!(segments.place(Some((0, 1_000)), 2_000), 0);
        assert_ne!(segments.place(Some((0, 2_000)), 30_000), 0);
    }
}
