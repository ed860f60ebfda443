//! Who may scan when, and with which threads.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, ErrorKind, Result};
use crate::sys;

/// How often a scan that waits for another one looks whether it was cancelled.
const WAIT_SLICE: Duration = Duration::from_millis(20);

/// Threads of a scan at most: more never make it faster.
pub(crate) const THREADS_MAX: usize = 256;
/// Threads of a look at a few places at most.
const LOOK_THREADS_MAX: usize = 4;
/// Pools kept although nobody scans with them.
const IDLE_POOLS_MAX: usize = 4;

/// The threads that a scan asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct PoolKey {
    /// 0 means one for each processor.
    pub(super) threads: usize,
    pub(super) nice: i32,
    /// A look at a few places: it has threads of its own, so that it never queues behind a scan.
    pub(super) looks: bool,
}

/// What scans need besides the engine; lives as long as the warden.
#[derive(Default)]
pub(crate) struct Scanner {
    pools: Mutex<HashMap<PoolKey, Arc<ThreadPool>>>,
    /// One scan of a root at a time.
    turns: Mutex<HashMap<u32, Arc<Turn>>>,
}

/// Whose turn it is to scan a root.
#[derive(Default)]
struct Turn {
    taken: Mutex<bool>,
    freed: Condvar,
}

/// Held while a root is scanned.
pub(super) struct MyTurn(Arc<Turn>);

impl Drop for MyTurn {
    fn drop(&mut self) {
        *self.0.taken.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.0.freed.notify_one();
    }
}

impl Scanner {
    pub(super) fn pool(&self, key: PoolKey) -> Result<Arc<ThreadPool>> {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.get(&key) {
            return Ok(Arc::clone(pool));
        }
        if pools.len() >= IDLE_POOLS_MAX {
            pools.retain(|_, pool| Arc::strong_count(pool) > 1);
        }
        let cores = || std::thread::available_parallelism().map_or(2, usize::from);
        let threads = if key.threads == 0 { cores() } else { key.threads.min(THREADS_MAX) };
        let threads = if key.looks { threads.min(LOOK_THREADS_MAX) } else { threads };
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|n| format!("tw-scan-{n}"))
            .start_handler(move |_| sys::be_nice(key.nice))
            .build()
            .map_err(|e| Error::new(ErrorKind::Io, format!("cannot start the threads of a scan: {e}")))?;
        let pool = Arc::new(pool);
        pools.insert(key, Arc::clone(&pool));
        Ok(pool)
    }

    fn turn(&self, root: u32) -> Arc<Turn> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(root).or_default())
    }

    /// Waits until no other scan of the root runs; `None` when cancelled meanwhile.
    pub(super) fn take_turn(&self, root: u32, is_cancelled: impl Fn() -> bool) -> Option<MyTurn> {
        let turn = self.turn(root);
        let mut taken = turn.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while *taken {
            if is_cancelled() {
                return None;
            }
            taken = turn.freed.wait_timeout(taken, WAIT_SLICE).unwrap_or_else(PoisonError::into_inner).0;
        }
        *taken = true;
        drop(taken);
        Some(MyTurn(turn))
    }

    /// Waits until every scan that runs now has ended.
    pub(crate) fn wait_idle(&self) {
        let roots: Vec<u32> =
            self.turns.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect();
        for root in roots {
            drop(self.take_turn(root, || false));
        }
    }
}
