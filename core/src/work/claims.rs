//! The claims in force, and their rows: one for each claim, however many jobs it handed out.
//!
//! What a row is for is told when its process has ended: which jobs it had in hand. Who holds what, and until
//! when, is known in memory alone, so a renewal writes nothing. A job that ends leaves the number of its claim in
//! the record of its item, and the row stays until the last job of the claim has ended.

use std::collections::HashMap;

use crate::bytes::{Malformed, Put, Take};

use super::record::ItemKey;

/// The claims of one open pipeline.
#[derive(Debug, Default)]
pub(super) struct Claims {
    next: u64,
    open: HashMap<u64, Vec<(ItemKey, u64)>>,
    /// Claims without a job in hand, whose rows are still there.
    over: Vec<u64>,
}

impl Claims {
    /// Begins a claim of these items under these tokens; its number.
    pub(super) fn begin(&mut self, number: u64, items: Vec<(ItemKey, u64)>) {
        self.open.insert(number, items);
    }

    /// Numbers go on behind this one.
    pub(super) fn begin_after(&mut self, number: u64) {
        self.next = self.next.max(number);
    }

    /// A number for a claim.
    pub(super) fn next(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// A job of a claim is in nobody's hands any more.
    pub(super) fn end(&mut self, number: u64, token: u64) {
        let Some(items) = self.open.get_mut(&number) else { return };
        // Mostly the first one.
        if let Some(at) = items.iter().position(|(_, other)| *other == token) {
            items.swap_remove(at);
        }
        if items.is_empty() {
            self.open.remove(&number);
            self.over.push(number);
        }
    }

    /// It is in hand all the same: its end was not written.
    pub(super) fn resume(&mut self, number: u64, key: ItemKey, token: u64) {
        self.over.retain(|other| *other != number);
        self.open.entry(number).or_default().push((key, token));
    }

    /// The jobs of a claim that are in hand.
    pub(super) fn in_hand(&self, number: u64) -> Option<&[(ItemKey, u64)]> {
        self.open.get(&number).map(Vec::as_slice)
    }

    /// Claims whose rows can go.
    pub(super) fn take_over(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.over)
    }

    /// Their rows are still there.
    pub(super) fn put_back(&mut self, over: Vec<u64>) {
        self.over.extend(over);
    }
}

/// The key of a claim's row: the pipeline, then the claim.
pub(super) fn claim_key(pipeline: u32, number: u64) -> Vec<u8> {
    [&pipeline.to_be_bytes()[..], &number.to_be_bytes()[..]].concat()
}

/// The claim of a key.
pub(super) fn number_of(key: &[u8]) -> Result<u64, Malformed> {
    let number = key.get(4..).and_then(|number| number.try_into().ok()).ok_or(Malformed)?;
    Ok(u64::from_be_bytes(number))
}

/// The row of a claim: the session that made it, and its jobs by the keys of their records, with their
/// tokens.
pub(super) fn encode(session: u64, pipeline: u32, items: &[(ItemKey, u64)]) -> Vec<u8> {
    let mut row = Vec::with_capacity(16 + 24 * items.len());
    row.put_u64(session);
    row.put_num(items.len() as u64);
    for (key, token) in items {
        row.put_bytes(&key.encode(pipeline));
        row.put_u64(*token);
    }
    row
}

/// Reads the row of a claim: its session, its jobs.
#[allow(clippy::type_complexity)]
pub(super) fn decode(row: &[u8]) -> Result<(u64, Vec<(Vec<u8>, u64)>), Malformed> {
    let mut take = Take(row);
    let session = take.u64()?;
    let mut items = Vec::new();
    // Each turn takes bytes or ends: a count that lies reads no more than the row holds.
    for _ in 0..take.num()? {
        let key = take.bytes()?.to_vec();
        ItemKey::decode(&key)?;
        items.push((key, take.u64()?));
    }
    if take.is_done() { Ok((session, items)) } else { Err(Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_goes_when_the_last_job_of_its_claim_has_ended() {
        let mut claims = Claims::default();
        let number = claims.next();
        let key = |id| ItemKey::Entry(id);
        claims.begin(number, vec![(key(1), 11), (key(2), 12)]);
        claims.end(number, 11);
        assert!(claims.take_over().is_empty());
        claims.end(number, 99);
        claims.end(number, 12);
        claims.resume(number, key(2), 12);
        assert!(claims.take_over().is_empty(), "its end was not written");
        claims.end(number, 12);
        assert_eq!(claims.take_over(), [number]);
        assert_ne!(claims.next(), number);
    }

    #[test]
    fn rows_are_read_back_and_damaged_ones_refused() {
        let items = vec![(ItemKey::Entry(7), 1), (ItemKey::Group(b"r/g"[..].into()), u64::MAX)];
        let row = encode(5, 3, &items);
        let read: Vec<_> = items.iter().map(|(key, token)| (key.encode(3), *token)).collect();
        assert_eq!(decode(&row), Ok((5, read)));
        for end in 0..row.len() {
            assert_eq!(decode(&row[..end]), Err(Malformed), "{end} bytes");
        }
        assert_eq!(decode(&[&row[..], &[0]].concat()), Err(Malformed));
        assert_eq!(decode(&[0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f]), Err(Malformed));
    }
}
