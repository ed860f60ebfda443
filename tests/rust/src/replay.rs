//! Replays a journal from the start and says what should be there now.
//!
//! It knows the rows alone: addresses, ids and kinds. A consumer that mirrors a tree by reading
//! changes does the same, so whatever this cannot follow, no consumer can.

use std::collections::{BTreeMap, BTreeSet};

use treewarden::{Change, ChangeKind, Snapshot, Warden};

use crate::tree::show;

/// One journal row as plain values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The commit.
    pub seq: u64,
    /// What happened.
    pub kind: ChangeKind,
    /// `file`, `dir` or `symlink`.
    pub entry: &'static str,
    /// Full address.
    pub path: Vec<u8>,
    /// Where it was before, for a move.
    pub from: Option<Vec<u8>>,
    /// The stable number.
    pub id: u64,
}

impl Row {
    /// Copies a change and checks that it makes sense by itself.
    #[must_use]
    pub fn of(change: &Change) -> Self {
        assert!(
            change.path.starts_with(change.root.as_bytes()),
            "{} is not in the root {}",
            show(&change.path),
            change.root
        );
        assert_eq!(
            change.from.is_some(),
            change.kind == ChangeKind::Moved,
            "`from` belongs to moves alone: {}",
            show(&change.path)
        );
        Self::unchecked(change)
    }

    /// Copies a change, sense or nonsense.
    #[must_use]
    pub fn unchecked(change: &Change) -> Self {
        Self {
            seq: change.seq,
            kind: change.kind,
            entry: change.entry_kind.name(),
            path: change.path.clone(),
            from: change.from.clone(),
            id: change.id,
        }
    }

    fn is_root(&self) -> bool {
        !self.path.contains(&b'/')
    }
}

/// All rows with seq greater than `since`, directories included; checks that seqs never fall and
/// that the resume point is the last of them or later.
#[must_use]
pub fn rows_since(warden: &Warden, since: u64) -> Vec<Row> {
    let mut changes = warden.changes(since).unwrap_or_else(|e| panic!("changes since {since}: {e}"));
    let rows: Vec<Row> = changes.by_ref().map(|change| Row::of(&change.unwrap())).collect();
    let mut last = since;
    for row in &rows {
        assert!(row.seq > since, "a row of seq {} for `since {since}`", row.seq);
        assert!(row.seq >= last, "seq falls from {last} to {}", row.seq);
        last = row.seq;
    }
    assert!(changes.last_seq() >= last, "the resume point lies before the last row");
    rows
}

/// What is there according to the journal.
#[derive(Debug, Clone, Default)]
pub struct Replay {
    present: BTreeMap<Vec<u8>, (u64, &'static str)>,
    gone: BTreeSet<u64>,
    seq: u64,
}

impl Replay {
    /// An empty state, before the first commit.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The seq up to which rows have been applied.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Reads what is new in the journal and applies it.
    pub fn catch_up(&mut self, warden: &Warden) {
        let rows = rows_since(warden, self.seq);
        let upto = warden.seq();
        for batch in rows.chunk_by(|a, b| a.seq == b.seq) {
            self.apply(batch);
        }
        self.seq = upto.max(self.seq);
    }

    /// Applies the rows of one seq. They describe one step from a state to the next, so their
    /// order within it must not matter (two names that changed places have no order).
    fn apply(&mut self, rows: &[Row]) {
        let rows: Vec<&Row> = rows.iter().filter(|row| !row.is_root()).collect();
        let mut arriving: Vec<(Vec<u8>, u64, &'static str)> = Vec::new();
        let of_kind = |kind: ChangeKind| rows.iter().copied().filter(move |row| row.kind == kind);

        for row in of_kind(ChangeKind::Moved) {
            let from = row.from.as_ref().unwrap();
            if self.present.get(from).is_some_and(|(id, _)| *id == row.id) {
                self.present.remove(from);
            } else {
                assert!(self.gone.remove(&row.id), "moved, but nobody knew it there: {row:?}");
            }
            arriving.push((row.path.clone(), row.id, row.entry));
        }

        for row in of_kind(ChangeKind::Missing) {
            assert!(self.remove(row), "missing, but it was not there: {row:?}");
            self.gone.insert(row.id);
        }
        for row in of_kind(ChangeKind::Forgotten) {
            let was_there = self.remove(row);
            let was_gone = self.gone.remove(&row.id);
            assert!(was_there || was_gone, "forgotten, but it was not known: {row:?}");
        }
        for (path, id, entry) in arriving {
            self.present.insert(path, (id, entry));
        }
        for row in of_kind(ChangeKind::Restored) {
            assert!(self.gone.remove(&row.id), "restored, but it was not missing: {row:?}");
            self.present.insert(row.path.clone(), (row.id, row.entry));
        }
        for row in of_kind(ChangeKind::Added) {
            let before = self.present.insert(row.path.clone(), (row.id, row.entry));
            assert!(before.is_none(), "added where {before:?} is: {row:?}");
        }
        for row in of_kind(ChangeKind::Modified) {
            let found = self.present.get_mut(&row.path);
            let found = found.unwrap_or_else(|| panic!("modified, but it is not there: {row:?}"));
            assert_eq!(found.0, row.id, "modified under another id: {row:?}");
            found.1 = row.entry;
        }
    }

    fn remove(&mut self, row: &Row) -> bool {
        if self.present.get(&row.path).is_some_and(|(id, _)| *id == row.id) {
            return self.present.remove(&row.path).is_some();
        }
        // It may be reported under the name that its directory has now.
        let elsewhere = self.present.iter().find(|(_, (id, _))| *id == row.id).map(|(path, _)| path.clone());
        elsewhere.is_some_and(|path| self.present.remove(&path).is_some())
    }

    /// Compares with a snapshot of the seq that was caught up with.
    pub fn assert_matches(&self, snapshot: &Snapshot) {
        let found: BTreeMap<Vec<u8>, (u64, &'static str)> = snapshot
            .entries("")
            .map(|entry| (entry.path(), (entry.id(), entry.kind().name())))
            .filter(|(path, _)| path.contains(&b'/'))
            .collect();
        crate::assert_same("the journal, replayed, against the snapshot", &self.present, &found);
        for tombstone in snapshot.missing("") {
            assert!(
                self.gone.contains(&tombstone.id()),
                "a tombstone that the journal never reported missing: {}",
                show(&tombstone.path())
            );
        }
    }
}
