//! Every interleaving of publishing, reading and dropping, by the model checker loom. It compiles
//! the very source of the publication cell over loom's primitives; `arc_swap` itself, which has
//! tests of its own, is stood in for by an atomic exchange of handles.

#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

mod sync {
    use loom::sync::Mutex;

    pub(crate) use loom::sync::Arc;

    /// Loads and stores of a handle that happen at once.
    pub(crate) struct Swap<T>(Mutex<Arc<T>>);

    impl<T> Swap<T> {
        pub(crate) fn new(value: Arc<T>) -> Self {
            Self(Mutex::new(value))
        }

        pub(crate) fn load_full(&self) -> Arc<T> {
            Arc::clone(&self.0.lock().unwrap())
        }

        pub(crate) fn store(&self, value: Arc<T>) {
            // The old handle is dropped after the exchange, as arc_swap does it.
            let old = std::mem::replace(&mut *self.0.lock().unwrap(), value);
            drop(old);
        }
    }

    /// The way to the reclaiming thread.
    pub(crate) struct Sender<T>(pub(crate) Arc<Mutex<Vec<T>>>);

    impl<T> Clone for Sender<T> {
        fn clone(&self) -> Self {
            Self(Arc::clone(&self.0))
        }
    }

    impl<T> Sender<T> {
        pub(crate) fn send(&self, value: T) -> Result<(), T> {
            self.0.lock().unwrap().push(value);
            Ok(())
        }
    }
}

#[path = "../../../core/src/snapshot/cell.rs"]
mod cell;

use std::sync::atomic::{AtomicUsize, Ordering};

use cell::Cell;
use loom::sync::{Arc, Mutex};
use loom::thread;
use sync::Sender;

/// A tree that counts how often it is freed.
struct Tree {
    seq: u64,
    freed: std::sync::Arc<AtomicUsize>,
}

impl Drop for Tree {
    fn drop(&mut self) {
        self.freed.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn readers_see_whole_trees_in_order_and_never_free_one() {
    loom::model(|| {
        let freed = std::sync::Arc::new(AtomicUsize::new(0));
        let tree = |seq| Tree { seq, freed: std::sync::Arc::clone(&freed) };
        let retired = Arc::new(Mutex::new(Vec::new()));
        let cell = Arc::new(Cell::new(tree(0), 0, Sender(Arc::clone(&retired))));
        let reader = {
            let cell = Arc::clone(&cell);
            thread::spawn(move || {
                let first = cell.load();
                let second = cell.load();
                assert!(first.seq() <= second.seq(), "a later load never shows an earlier tree");
                for version in [&first, &second] {
                    let tree = version.tree().expect("a tree leaves its version only when it is dropped");
                    assert_eq!(tree.seq, version.seq(), "a version is one seq");
                }
            })
        };
        for seq in 1..=2 {
            cell.publish(tree(seq), seq);
        }
        reader.join().unwrap();
        drop(cell);
        assert_eq!(freed.load(Ordering::SeqCst), 0, "no tree is freed but by the reclaiming thread");
        let mut seqs: Vec<u64> = retired.lock().unwrap().drain(..).map(|tree: Tree| tree.seq).collect();
        seqs.sort_unstable();
        assert_eq!(seqs, [0, 1, 2], "every tree reaches the reclaiming thread once");
        assert_eq!(freed.load(Ordering::SeqCst), 3);
    });
}
