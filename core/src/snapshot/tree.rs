//! Everything at one seq: the roots by name, each with the tree of what is there and the tree of
//! what is missing.

use std::sync::Arc;

use crate::entry::Totals;
use crate::root_record::RootRecord;

use super::node::DirNode;

/// One root at one seq.
#[derive(Debug, Clone)]
pub(crate) struct RootView {
    pub(crate) record: Arc<RootRecord>,
    pub(crate) live: Arc<DirNode>,
    /// Tombstones, in the directories in which they were. A directory without an entry id merely
    /// holds them together.
    pub(crate) gone: Arc<DirNode>,
}

/// All roots at one seq, sorted by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    pub(crate) seq: u64,
    pub(crate) roots: Vec<Arc<RootView>>,
}

impl Tree {
    pub(crate) fn root(&self, name: &[u8]) -> Option<&Arc<RootView>> {
        let at = self.roots.binary_search_by(|r| r.record.name.as_bytes().cmp(name)).ok()?;
        self.roots.get(at)
    }

    pub(crate) fn root_by_id(&self, id: u32) -> Option<&Arc<RootView>> {
        self.roots.iter().find(|r| r.record.id == id)
    }

    /// Puts a root in place of the one with its id, or adds it; the order follows the name.
    pub(crate) fn set_root(&mut self, view: RootView) {
        self.roots.retain(|r| r.record.id != view.record.id);
        let at = self.roots.partition_point(|r| r.record.name < view.record.name);
        self.roots.insert(at, Arc::new(view));
    }

    pub(crate) fn totals(&self) -> Totals {
        let mut sum = Totals::default();
        for root in &self.roots {
            sum.add(root.live.totals);
        }
        sum
    }
}
