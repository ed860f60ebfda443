//! The entries of a directory that was not known before, collected in one buffer and packed by the
//! thread that listed it. A million new files cost no allocation each.

use std::sync::Arc;

use crate::entry::{Kind, Stat};
use crate::snapshot::{RecordRef, SEQ_OF_PAGE, pack_refs};

/// The entries of a directory that was not known, names in one buffer.
#[derive(Default)]
pub(crate) struct NewEntries {
    names: Vec<u8>,
    items: Vec<NewEntry>,
}

struct NewEntry {
    name: (u32, u32),
    stat: Stat,
    id: u64,
    racy: bool,
    target: Option<Box<[u8]>>,
}

impl NewEntries {
    pub(crate) fn push(&mut self, name: &[u8], stat: Stat, id: u64, racy: bool, target: Option<Box<[u8]>>) {
        let start = self.names.len() as u32;
        self.names.extend_from_slice(name);
        self.items.push(NewEntry { name: (start, self.names.len() as u32), stat, id, racy, target });
    }

    /// Sorts by name, gives ids to those that have none, and packs.
    pub(crate) fn pack(mut self, ids: impl FnOnce(u64) -> u64) -> Vec<Arc<[u8]>> {
        let names = &self.names;
        let name =
            |entry: &NewEntry| names.get(entry.name.0 as usize..entry.name.1 as usize).unwrap_or_default();
        // Some file systems list a name twice when the directory changes meanwhile: the first counts.
        self.items.sort_unstable_by(|a, b| name(a).cmp(name(b)).then(a.name.0.cmp(&b.name.0)));
        self.items.dedup_by(|again, first| name(again) == name(first));
        let first = ids(self.items.len() as u64);
        let refs: Vec<RecordRef<'_>> = self
            .items
            .iter()
            .zip(first..)
            .map(|(entry, id)| RecordRef {
                name: name(entry),
                stat: entry.stat,
                id: if entry.stat.kind == Kind::Dir { entry.id } else { id },
                seq: SEQ_OF_PAGE,
                racy: entry.racy,
                hash: None,
                target: entry.target.as_deref(),
                missing_since_ns: None,
            })
            .collect();
        pack_refs(&refs, 0)
    }
}
