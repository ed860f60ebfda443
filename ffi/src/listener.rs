//! A thread of the library that calls the program back, and the handle that ends it.
//!
//! Invariants: nothing is called back once [`Listener::end`] has returned, and the finalizer runs after that. It
//! never runs in the thread that calls back, unless a bug ends that thread. After a `fork` nothing is joined: the
//! handle of a listener is the parent's, so the child can neither free nor drop it.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::Duration;

use crate::args::Out;
use crate::border::{Failure, Outcome, call};
use crate::callback::UserData;
use crate::error::{TW_STATUS_IO, TW_STATUS_OK, TW_STATUS_PANIC, tw_error, tw_status};
use crate::handle::{self, Object, Opaque};

/// A wait that another thread shares may have swallowed the first interrupt: it is repeated, at first after so long.
const AGAIN_MIN: Duration = Duration::from_millis(1);
/// And no more seldom than this.
const AGAIN_MAX: Duration = Duration::from_millis(100);

/// A thread of the library that calls back. `tw_listener_free` ends it.
pub struct tw_listener(Opaque);

/// What a turn of a listening thread has come to.
pub(crate) enum Step {
    /// It goes on.
    Again,
    /// The thread ends by itself, for this reason.
    End(tw_status),
}

pub(crate) struct Listener {
    thread: ThreadId,
    line: Arc<Line>,
    /// `None` once it has ended. Locked until then by whoever ends it, so that others wait, too.
    running: Mutex<Option<Running>>,
}

struct Running {
    /// Gives the user data back, so that the finalizer runs where the listener is freed.
    thread: JoinHandle<UserData>,
    /// Disconnected when the thread has nothing left to do.
    over: Receiver<Infallible>,
    /// Makes a body that waits return.
    interrupt: Box<dyn Fn() + Send>,
}

/// What the thread and the handle share.
struct Line {
    stop: AtomicBool,
    status: AtomicI32,
    process: u32,
}

impl Line {
    /// Also in the child of a callback that has forked: there is nothing to listen to.
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Acquire) || std::process::id() != self.process
    }
}

impl Object for Listener {
    type Opaque = tw_listener;
    const NAME: &'static str = "tw_listener";
}

impl Listener {
    /// Ends the thread, waits for it and runs the finalizer. A second time it does nothing.
    fn end(&self) -> Outcome<()> {
        if thread::current().id() == self.thread {
            return Err(Failure::invalid(
                "a listener cannot be freed from its own callback, whose return it would wait for",
            ));
        }
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Running { thread, over, interrupt }) = running.take() else { return Ok(()) };
        // First: a body that is interrupted finds it set.
        self.line.stop.store(true, Ordering::Release);
        let mut again = AGAIN_MIN;
        loop {
            interrupt();
            match over.recv_timeout(again) {
                Err(RecvTimeoutError::Timeout) => again = (again * 2).min(AGAIN_MAX),
                Err(RecvTimeoutError::Disconnected) => break,
                Ok(never) => match never {},
            }
        }
        let user_data = thread.join();
        drop(running);
        // The finalizer may call anything: no lock is held.
        drop(user_data);
        Ok(())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Nothing is left to be done but where no handle could be made for it.
        let _ = self.end();
    }
}

/// Starts a thread that calls `body` again and again until it says [`Step::End`] or somebody ends it. `body` gets the
/// user data, and what tells whether it is being ended; it goes with the thread, which a panic of it ends, too.
/// `stop` makes it return where it waits, and may be called several times. The finalizer runs also when no thread can
/// be started.
pub(crate) fn start(
    name: &'static str,
    user_data: UserData,
    stop: impl Fn() + Send + Sync + 'static,
    mut body: impl FnMut(&UserData, &dyn Fn() -> bool) -> Step + Send + 'static,
) -> Outcome<*mut tw_listener> {
    let line = Arc::new(Line {
        stop: AtomicBool::new(false),
        status: AtomicI32::new(TW_STATUS_OK),
        process: std::process::id(),
    });
    let its = Arc::clone(&line);
    let (ending, over) = channel::<Infallible>();
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
        let is_over = || its.is_over();
        let ran = catch_unwind(AssertUnwindSafe(|| {
            while !is_over() {
                if let Step::End(status) = body(&user_data, &is_over) {
                    return status;
                }
            }
            TW_STATUS_OK
        }));
        its.status.store(ran.unwrap_or(TW_STATUS_PANIC), Ordering::Release);
        // What it listened to goes before anybody hears that it is over.
        drop(body);
        drop(ending);
        user_data
    });
    let thread =
        thread.map_err(|error| Failure::new(TW_STATUS_IO, format!("cannot start a thread: {error}")))?;
    handle::put(Listener {
        thread: thread.thread().id(),
        line,
        running: Mutex::new(Some(Running { thread, over, interrupt: Box::new(stop) })),
    })
}

/// Tells how a listener fares: `TW_STATUS_OK` while it listens, else the status that ended its thread, for example
/// `TW_STATUS_CLOSED` after `tw_warden_close`, or `TW_STATUS_RESET` where the journal cannot be followed any further.
/// Such a listener calls back no more; it is still to be freed. Never waits. Any thread, the callback included.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_listener_status(
    listener: *const tw_listener,
    status: *mut tw_status,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(status, "status")?;
            handle::with::<Listener, _>(listener, |listener| {
                out.write(listener.line.status.load(Ordering::Acquire));
                Ok(())
            })
        })
    }
}

/// Ends a listener: waits until a callback under way has returned, calls the finalizer, and frees the handle. After
/// that nothing is called back. NULL is allowed.
///
/// Blocks for as long as the callback takes; hold no lock that the callback waits for. Any thread but the one that
/// calls back: from the callback it is `TW_STATUS_INVALID_ARGUMENT`, and nothing happens.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_listener_free(
    listener: *mut tw_listener,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            if !listener.is_null() {
                handle::with::<Listener, _>(listener, Listener::end)?;
            }
            handle::free::<Listener>(listener)
        })
    }
}
