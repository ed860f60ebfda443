//! What the runs of a mirror have seen, so that the next one looks only at what may differ.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::snapshot::Snapshot;

use super::peak::Peak;
use super::plan::{Left, LeftSince, Wish};
use super::report::MirrorError;

/// After a run. Empty before the first.
#[derive(Clone, Default)]
pub(super) struct Seen {
    /// Everything that differs from this is in `left`.
    pub(super) known: Option<Snapshot>,
    pub(super) left: Left,
    /// Names that the storage cannot hold: looked at with each run, so that each report tells of them.
    pub(super) refused: HashSet<Vec<u8>>,
    /// What the storage will not take, with the seq of the entry, and what it said.
    pub(super) rejected: HashMap<Arc<str>, (u64, MirrorError)>,
    /// Keys that the credentials were not good for, or that failed as often as they were tried: tried after all
    /// others.
    pub(super) late: HashSet<Arc<str>>,
    /// Against a tree that goes away in pieces.
    pub(super) peak: Peak,
}

impl Seen {
    /// The addresses that may differ; `None`: all.
    pub(super) fn differing(&self, snapshot: &Snapshot) -> Option<BTreeSet<Vec<u8>>> {
        let known = self.known.as_ref()?;
        let mut all: BTreeSet<Vec<u8>> = self.left.keys().chain(&self.refused).cloned().collect();
        for change in snapshot.diff(known) {
            all.extend(change.from);
            all.insert(change.path);
        }
        Some(all)
    }

    /// At this seq a sure object of this address was of the very state of its file.
    pub(super) fn in_step(&self, address: &[u8]) -> Option<u64> {
        match self.left.get(address) {
            Some(since) => since.seq,
            None => self.known.as_ref().map(Snapshot::seq),
        }
    }

    /// A run is over: everything was looked at, and `left` was not finished, also when it was given up.
    pub(super) fn looked(&mut self, snapshot: Snapshot, left: HashSet<Vec<u8>>, now_ns: i64) {
        let seq = self.known.as_ref().map(Snapshot::seq);
        let before = std::mem::take(&mut self.left);
        let since = |path: &Vec<u8>| before.get(path).copied().unwrap_or(LeftSince { ns: now_ns, seq });
        self.left = left
            .into_iter()
            .map(|path| {
                let since = since(&path);
                (path, since)
            })
            .collect();
        self.known = Some(snapshot);
    }

    /// Forgets what was said of keys that are not asked for any more.
    pub(super) fn trim(&mut self, wishes: &[Wish]) {
        let refused = &self.refused;
        self.rejected.retain(|_, (_, error)| refused.contains(&error.path));
        if !self.late.is_empty() {
            let wanted: HashSet<&Arc<str>> = wishes.iter().map(|wish| &wish.key).collect();
            self.late.retain(|key| wanted.contains(key));
        }
    }

    /// Everything is looked at the next time, and asked for anew.
    pub(super) fn forget(&mut self) {
        self.known = None;
        self.left.clear();
        self.rejected.clear();
        self.late.clear();
    }
}
