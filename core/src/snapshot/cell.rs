//! The publication cell: one writer puts the next tree in place, any number of readers take the
//! current one without a lock. A tree whose last reader is gone travels to the reclaiming thread,
//! so dropping a snapshot never costs a reader more than one message.
//!
//! The two primitives come from the sibling module `sync`, so that the model checker in
//! `tests/rust` can compile this very file over its own.

use super::sync::{Arc, Sender, Swap};

/// A published tree. Whoever drops it last sends the tree to be freed elsewhere.
pub(crate) struct Version<T: Send + Sync + 'static> {
    tree: Option<T>,
    seq: u64,
    reclaim: Sender<T>,
}

impl<T: Send + Sync + 'static> Version<T> {
    /// `None` is never seen: the tree leaves in `drop` alone.
    #[inline]
    pub(crate) fn tree(&self) -> Option<&T> {
        self.tree.as_ref()
    }

    #[inline]
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }
}

impl<T: Send + Sync + 'static> Drop for Version<T> {
    fn drop(&mut self) {
        if let Some(tree) = self.tree.take() {
            // Without a receiver the tree comes back in the error and is freed here after all.
            let _ = self.reclaim.send(tree);
        }
    }
}

/// The place where the current tree is found.
pub(crate) struct Cell<T: Send + Sync + 'static> {
    current: Swap<Version<T>>,
    reclaim: Sender<T>,
}

impl<T: Send + Sync + 'static> Cell<T> {
    pub(crate) fn new(tree: T, seq: u64, reclaim: Sender<T>) -> Self {
        let first = Version { tree: Some(tree), seq, reclaim: reclaim.clone() };
        Self { current: Swap::new(Arc::new(first)), reclaim }
    }

    /// Takes the current tree. Lock-free; no syscall.
    #[inline]
    pub(crate) fn load(&self) -> Arc<Version<T>> {
        self.current.load_full()
    }

    /// Puts the next tree in place. Only the commit thread calls this.
    pub(crate) fn publish(&self, tree: T, seq: u64) {
        let next = Version { tree: Some(tree), seq, reclaim: self.reclaim.clone() };
        self.current.store(Arc::new(next));
    }
}
