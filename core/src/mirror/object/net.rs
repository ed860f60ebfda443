//! The threads that wait for the network, and what callers wait for.
//!
//! A caller's thread never runs a future: it waits for a channel. So every call works from any thread, also from
//! one that belongs to another asynchronous runtime, and a panic in a dependency ends one request, not the caller.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::AbortHandle;

use crate::error::{Error, ErrorKind, Result};

use super::super::storage::StorageFault;
use super::fault::{Failure, UNREADABLE};

const THREADS: usize = 2;
/// How often who waits looks whether that is still wanted.
const LOOK: Duration = Duration::from_millis(100);

/// A private runtime.
pub(super) struct Net {
    handle: Handle,
    runtime: Option<Runtime>,
    interrupts: Arc<AtomicU64>,
    patient: bool,
}

impl Net {
    /// `patient`: what has begun cannot be broken off, so it is always waited for.
    pub(super) fn new(patient: bool) -> Result<Self> {
        let built =
            Builder::new_multi_thread().worker_threads(THREADS).thread_name("tw-net").enable_all().build();
        let runtime = built.map_err(|error| {
            Error::new(ErrorKind::Io, format!("no thread can be started for the network: {error}"))
                .with_hint("is there a limit of threads for this process?")
        })?;
        Ok(Self {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
            interrupts: Arc::default(),
            patient,
        })
    }

    /// Starts work that ends within `limit`, or is broken off there.
    pub(super) fn start<T, W>(&self, limit: Option<Duration>, work: W) -> Running<T>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        let (tell, answer) = mpsc::sync_channel(1);
        let task = self.handle.spawn(async move {
            let done = match limit {
                Some(limit) => within(limit, work).await,
                None => work.await,
            };
            // Nobody waits any more when another part of the same file has failed.
            let _ = tell.send(done);
        });
        let interrupts = Arc::clone(&self.interrupts);
        let begun = interrupts.load(Ordering::Acquire);
        Running { answer, task: task.abort_handle(), interrupts, begun, patient: self.patient }
    }

    /// Ends the waits for everything that is under way now.
    pub(super) fn interrupt(&self) {
        self.interrupts.fetch_add(1, Ordering::AcqRel);
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        // A plain drop would wait for requests, and must not happen on a thread of another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Breaks work off that does not end in time.
pub(super) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(Failure::late(limit)))
}

/// Work under way. Dropping it breaks it off.
pub(super) struct Running<T> {
    answer: Receiver<Result<T, Failure>>,
    task: AbortHandle,
    interrupts: Arc<AtomicU64>,
    /// How many there had been at its beginning.
    begun: u64,
    patient: bool,
}

impl<T> Running<T> {
    /// Waits for the end, whoever interrupts: for what has to be cleared away. It needs a limit.
    pub(super) fn wait_for_end(mut self) -> Result<T, Failure> {
        self.patient = true;
        self.wait(&|| false)
    }

    /// Waits for the end, unless it is cancelled or interrupted.
    pub(super) fn wait(&self, is_cancelled: &dyn Fn() -> bool) -> Result<T, Failure> {
        loop {
            match self.answer.recv_timeout(LOOK) {
                Ok(answer) => return answer,
                Err(RecvTimeoutError::Disconnected) => {
                    let text = "the request broke off without an answer";
                    return Err(Failure::new(StorageFault::Transient, UNREADABLE, text));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.patient {
                // It would go on, and undo what comes after it.
                continue;
            }
            if is_cancelled() || self.interrupts.load(Ordering::Acquire) != self.begun {
                return Err(Failure::new(StorageFault::Cancelled, "", "it was cancelled"));
            }
        }
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_waited_for_broken_off_and_survived() {
        let net = Net::new(false).unwrap();
        assert_eq!(net.start(None, async { Ok(7) }).wait(&|| false), Ok(7));
        let never = net.start(Some(Duration::from_millis(20)), std::future::pending::<Result<(), Failure>>());
        assert_eq!(never.wait(&|| false).map_err(|failure| failure.fault), Err(StorageFault::Transient));
        let (tell, told) = mpsc::sync_channel::<()>(0);
        let dropped = net.start(None, async move {
            let _kept = tell;
            std::future::pending::<Result<(), Failure>>().await
        });
        drop(dropped);
        assert!(told.recv().is_err(), "what it held is let go");
        let lost = net.start::<(), _>(None, async { panic!("a bug of a dependency") });
        assert!(lost.wait(&|| false).is_err());
        assert_eq!(net.start(None, async { Ok(8) }).wait(&|| false), Ok(8));
    }

    #[test]
    fn a_thread_of_another_runtime_may_use_and_drop_it() {
        let other = Builder::new_current_thread().build().unwrap();
        other.block_on(async {
            let net = Net::new(false).unwrap();
            assert_eq!(net.start(None, async { Ok(1) }).wait(&|| false), Ok(1));
        });
    }
}
