//! A backend that may not be there yet. A system can run out of watchers (`fs.inotify.max_user_instances`,
//! open files); then every directory is polled, and each poll tries again.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Result;

use super::backend::{Backend, Sink, Uncovered};

/// Between two tries.
const RETRY: Duration = Duration::from_millis(500);

type Start = dyn Fn(Arc<dyn Sink>) -> Result<Arc<dyn Backend>> + Send + Sync;

/// Starts a backend when it can be started.
pub(crate) struct LazyBackend {
    name: &'static str,
    sink: Arc<dyn Sink>,
    start: Box<Start>,
    inner: Mutex<Inner>,
    /// The backend once it runs; asked for each directory of a scan, so without the lock.
    running: OnceLock<Arc<dyn Backend>>,
    watches_max: AtomicU64,
}

#[derive(Default)]
struct Inner {
    roots: HashMap<u32, PathBuf>,
    tried: Option<Instant>,
    why_not: String,
    stopped: bool,
}

impl LazyBackend {
    pub(crate) fn new(
        name: &'static str,
        sink: Arc<dyn Sink>,
        start: impl Fn(Arc<dyn Sink>) -> Result<Arc<dyn Backend>> + Send + Sync + 'static,
    ) -> Self {
        let new = Self {
            name,
            sink,
            start: Box::new(start),
            inner: Mutex::default(),
            running: OnceLock::new(),
            watches_max: AtomicU64::new(u64::MAX),
        };
        new.backend();
        new
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The backend, started now if it can be.
    #[inline]
    fn backend(&self) -> Option<&Arc<dyn Backend>> {
        self.running.get().or_else(|| self.try_start())
    }

    #[cold]
    fn try_start(&self) -> Option<&Arc<dyn Backend>> {
        let mut inner = self.lock();
        if self.running.get().is_some() || inner.stopped {
            return self.running.get();
        }
        if inner.tried.is_some_and(|tried| tried.elapsed() < RETRY) {
            return None;
        }
        inner.tried = Some(Instant::now());
        match (self.start)(Arc::clone(&self.sink)) {
            Ok(backend) => {
                backend.set_max(self.watches_max.load(Ordering::Relaxed));
                for (root, path) in &inner.roots {
                    backend.add_root(*root, path);
                }
                Some(self.running.get_or_init(|| backend))
            }
            Err(error) => {
                tracing::warn!(%error, "nothing can be watched for now");
                inner.why_not = match error.hint() {
                    Some(hint) => format!("{}; {hint}", error.message()),
                    None => error.message().to_owned(),
                };
                None
            }
        }
    }
}

impl Backend for LazyBackend {
    fn name(&self) -> &'static str {
        self.name
    }

    fn add_root(&self, root: u32, path: &Path) {
        self.lock().roots.insert(root, path.to_owned());
        if let Some(backend) = self.backend() {
            backend.add_root(root, path);
        }
    }

    fn remove_root(&self, root: u32) {
        self.lock().roots.remove(&root);
        if let Some(backend) = self.running.get() {
            backend.remove_root(root);
        }
    }

    fn cover(&self, root: u32, dir: &[u8], fd: BorrowedFd<'_>) -> Result<(), Uncovered> {
        match self.backend() {
            Some(backend) => backend.cover(root, dir, fd),
            None => Err(Uncovered::Denied(self.lock().why_not.clone())),
        }
    }

    fn stamp(&self) -> u64 {
        self.backend().map_or(0, |backend| backend.stamp())
    }

    fn sweep(&self, root: u32, stamp: u64) {
        if let Some(backend) = self.backend() {
            backend.sweep(root, stamp);
        }
    }

    fn sweep_all(&self, root: u32, stamp: u64) {
        if let Some(backend) = self.backend() {
            backend.sweep_all(root, stamp);
        }
    }

    fn watched(&self, root: u32) -> u64 {
        self.backend().map_or(0, |backend| backend.watched(root))
    }

    fn barrier(&self, number: u64) -> Result<()> {
        match self.backend() {
            Some(backend) => backend.barrier(number),
            // There are no events to wait for.
            None => {
                self.sink.barrier(number);
                Ok(())
            }
        }
    }

    fn set_max(&self, watches_max: u64) {
        self.watches_max.store(watches_max, Ordering::Relaxed);
        if let Some(backend) = self.backend() {
            backend.set_max(watches_max);
        }
    }

    fn stop(&self) {
        self.lock().stopped = true;
        if let Some(backend) = self.running.get() {
            backend.stop();
        }
    }
}
