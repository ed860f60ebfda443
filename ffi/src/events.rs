//! What a warden tells while it runs: a queue of events for whoever asks, or a thread that calls back with each.

use std::ffi::{c_int, c_void};
use std::os::fd::AsRawFd;
use std::sync::{Mutex, PoisonError};

use treewarden_core::{Counts, Event, Subscription};

use crate::arena::Arena;
use crate::args::{Out, timeout, tw_bytes};
use crate::border::{Failure, call};
use crate::callback::{UserData, tw_finalizer};
use crate::error::{TW_STATUS_TIMEOUT, tw_error, tw_status};
use crate::handle::{self, Object, Opaque};
use crate::list::coverage_number;
use crate::listener::{self, Step, tw_listener};
use crate::warden::{WardenObject, tw_warden};

/// Room for events where the program names none.
const EVENTS_MAX: usize = 1_024;

/// One that this version of the interface does not know; nothing but `kind` is set.
pub const TW_EVENT_UNKNOWN: i32 = -1;
/// A scan of a whole root or of a subtree has begun: `root`, `operation`. A look that follows a change on disk is not
/// a scan.
pub const TW_EVENT_SCAN_STARTED: i32 = 0;
/// How far a scan has come: `root`, `text` (what it is at: `walk`, `hash` or `commit`), `dirs`, `files`, `bytes`,
/// `estimate_files`, `eta_ms`. The newest takes the place of one that was not fetched yet.
pub const TW_EVENT_SCAN_PROGRESS: i32 = 1;
/// A scan has ended, well or not: `root`, `operation`, `operation_status`, `seq`, what it changed, `elapsed_ms`.
pub const TW_EVENT_SCAN_FINISHED: i32 = 2;
/// Something was committed: `first_seq`, `last_seq`, what changed; all 0 where only the program's own state did.
/// Commits that were not fetched yet are told as one range. The last of them is in the snapshot already.
pub const TW_EVENT_COMMITTED: i32 = 3;
/// A root cannot be trusted, or was found empty; its last good state is kept: `root`, `text` (what was found). Told
/// once for each reason.
pub const TW_EVENT_ROOT_UNAVAILABLE: i32 = 4;
/// A root that was unavailable or held is as it should be again: `root`.
pub const TW_EVENT_ROOT_BACK: i32 = 5;
/// Too much would become missing; the last good state is kept until a scan with `TW_OPTION_SCAN_ACCEPT_MISSING`:
/// `root`, `missing` of the `known` files and symlinks.
pub const TW_EVENT_ROOT_HELD: i32 = 6;
/// A root is watched in another way than before: `root`, `coverage`, `text` (why not natively everywhere).
pub const TW_EVENT_COVERAGE_CHANGED: i32 = 7;
/// Notices of the system were lost, or were too many to be remembered: `root`, which is scanned again and is not
/// coherent until then.
pub const TW_EVENT_OVERFLOW: i32 = 8;
/// The scan that an overflow asked for is done, nothing is unknown any more: `root`.
pub const TW_EVENT_COHERENT: i32 = 9;
/// Something failed in the background, and the warden goes on: `text`, and `root` where it concerns one.
pub const TW_EVENT_ERROR: i32 = 10;
/// This queue had no room left, and everything in it was dropped: `restart_seq`. What was missed is in the journal
/// after the last seq that was seen, or as a whole in the snapshot.
pub const TW_EVENT_RESET: i32 = 11;

/// Something that happened. The constants of `kind` say which fields are set; the others are 0, empty with a NULL
/// `ptr`, or, for `operation`, `operation_status` and `coverage`, -1.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tw_event {
    /// What it is, `TW_EVENT_…`.
    pub kind: i32,
    /// What ran, `TW_OPERATION_…`.
    pub operation: i32,
    /// How it ended, `TW_OPERATION_STATUS_…`.
    pub operation_status: i32,
    /// How the root is watched now, `TW_COVERAGE_…`.
    pub coverage: i32,
    /// 1 when `estimate_files` is set.
    pub has_estimate_files: i32,
    /// 1 when `eta_ms` is set.
    pub has_eta_ms: i32,
    /// Name of the root, UTF-8.
    pub root: tw_bytes,
    /// A reason or message for people, UTF-8.
    pub text: tw_bytes,
    /// The commit that holds the result of a scan.
    pub seq: u64,
    /// The first commit that the event tells of.
    pub first_seq: u64,
    /// The last one.
    pub last_seq: u64,
    /// The events that follow tell of commits after this one.
    pub restart_seq: u64,
    /// Files and symlinks seen for the first time.
    pub added: u64,
    /// Files and symlinks that changed.
    pub modified: u64,
    /// Files and symlinks found under another path.
    pub moved: u64,
    /// Files and symlinks proved to be gone; of a root that is held, those that would be.
    pub missing: u64,
    /// Files and symlinks that are back again.
    pub restored: u64,
    /// Files and symlinks dropped from the state.
    pub forgotten: u64,
    /// Paths that could not be read.
    pub errors: u64,
    /// Files and symlinks known, of a root that is held.
    pub known: u64,
    /// Directories looked at so far.
    pub dirs: u64,
    /// Files and symlinks looked at so far.
    pub files: u64,
    /// Bytes hashed so far.
    pub bytes: u64,
    /// Files and symlinks that are expected, from the last scan.
    pub estimate_files: u64,
    /// Milliseconds that are still expected.
    pub eta_ms: u64,
    /// How long the scan took, in milliseconds.
    pub elapsed_ms: u64,
}

impl tw_event {
    fn new(kind: i32) -> Self {
        Self {
            kind,
            operation: -1,
            operation_status: -1,
            coverage: -1,
            has_estimate_files: 0,
            has_eta_ms: 0,
            root: tw_bytes::NONE,
            text: tw_bytes::NONE,
            seq: 0,
            first_seq: 0,
            last_seq: 0,
            restart_seq: 0,
            added: 0,
            modified: 0,
            moved: 0,
            missing: 0,
            restored: 0,
            forgotten: 0,
            errors: 0,
            known: 0,
            dirs: 0,
            files: 0,
            bytes: 0,
            estimate_files: 0,
            eta_ms: 0,
            elapsed_ms: 0,
        }
    }

    fn of_root(kind: i32, root: tw_bytes) -> Self {
        Self { root, ..Self::new(kind) }
    }

    fn counting(self, counts: &Counts) -> Self {
        Self {
            added: counts.added,
            modified: counts.modified,
            moved: counts.moved,
            missing: counts.missing,
            restored: counts.restored,
            forgotten: counts.forgotten,
            errors: counts.errors,
            ..self
        }
    }

    /// All kinds in one struct; `keep` gives the views of texts.
    fn of(event: &Event, mut keep: impl FnMut(&str) -> tw_bytes) -> Self {
        match event {
            Event::ScanStarted { root, kind } => Self {
                // These numbers are stored: they are the same everywhere.
                operation: i32::from(*kind as u8),
                ..Self::of_root(TW_EVENT_SCAN_STARTED, keep(root))
            },
            Event::ScanProgress { root, phase, dirs, files, bytes, estimate_files, eta_ms } => Self {
                text: keep(phase),
                dirs: *dirs,
                files: *files,
                bytes: *bytes,
                has_estimate_files: i32::from(estimate_files.is_some()),
                estimate_files: estimate_files.unwrap_or_default(),
                has_eta_ms: i32::from(eta_ms.is_some()),
                eta_ms: eta_ms.unwrap_or_default(),
                ..Self::of_root(TW_EVENT_SCAN_PROGRESS, keep(root))
            },
            Event::ScanFinished { root, kind, status, seq, counts, elapsed_ms } => Self {
                operation: i32::from(*kind as u8),
                operation_status: i32::from(*status as u8),
                seq: *seq,
                elapsed_ms: *elapsed_ms,
                ..Self::of_root(TW_EVENT_SCAN_FINISHED, keep(root)).counting(counts)
            },
            Event::Committed { first_seq, last_seq, counts } => Self {
                first_seq: *first_seq,
                last_seq: *last_seq,
                ..Self::new(TW_EVENT_COMMITTED).counting(counts)
            },
            Event::RootUnavailable { root, reason } => {
                Self { text: keep(reason), ..Self::of_root(TW_EVENT_ROOT_UNAVAILABLE, keep(root)) }
            }
            Event::RootBack { root } => Self::of_root(TW_EVENT_ROOT_BACK, keep(root)),
            Event::RootHeld { root, missing, of } => {
                Self { missing: *missing, known: *of, ..Self::of_root(TW_EVENT_ROOT_HELD, keep(root)) }
            }
            Event::CoverageChanged { root, coverage, reason } => Self {
                coverage: coverage_number(*coverage),
                text: reason.as_deref().map_or(tw_bytes::NONE, &mut keep),
                ..Self::of_root(TW_EVENT_COVERAGE_CHANGED, keep(root))
            },
            Event::Overflow { root } => Self::of_root(TW_EVENT_OVERFLOW, keep(root)),
            Event::Coherent { root } => Self::of_root(TW_EVENT_COHERENT, keep(root)),
            Event::Error { root, message } => {
                let root = root.as_deref().map_or(tw_bytes::NONE, &mut keep);
                Self { text: keep(message), ..Self::of_root(TW_EVENT_ERROR, root) }
            }
            Event::Reset { restart_seq } => Self { restart_seq: *restart_seq, ..Self::new(TW_EVENT_RESET) },
            _ => Self::new(TW_EVENT_UNKNOWN),
        }
    }
}

/// A queue of events. It is filled from the moment it is made until it is freed.
pub struct tw_events(Opaque);

struct Events {
    subscription: Subscription,
    /// The texts of the events that were handed out.
    texts: Mutex<Arena>,
}

impl Object for Events {
    type Opaque = tw_events;
    const NAME: &'static str = "tw_events";
}

/// Called with each event. `event` and its views are good until it returns.
pub type tw_event_fn = Option<unsafe extern "C" fn(event: *const tw_event, user_data: *mut c_void)>;

fn room(events_max: usize) -> usize {
    if events_max == 0 { EVENTS_MAX } else { events_max }
}

/// Begins to collect events, at most `events_max` of them; 0 stands for 1,024. Those that say the same again are
/// joined, and when there is no room left all that waits gives way to one `TW_EVENT_RESET`: the warden never waits
/// for whoever listens. The journal is the record; events only say that it is worth a look.
///
/// `*events` is the caller's, to be freed with `tw_events_free`, before or after the warden. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_subscribe(
    warden: *const tw_warden,
    events_max: usize,
    events: *mut *mut tw_events,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(events, "events")?;
            handle::with::<WardenObject, _>(warden, |object| {
                let subscription = object.warden.subscribe_with(room(events_max));
                out.write(handle::put(Events { subscription, texts: Mutex::default() })?);
                Ok(())
            })
        })
    }
}

/// Takes the next event and waits for it, for at most `timeout_ms` milliseconds; 0: not at all, negative: without
/// end. `event_size` is `sizeof(tw_event)`. The views of the event are good until `tw_events_clear` or
/// `tw_events_free`.
///
/// Blocks. Any thread, several at once: each event goes to one of them. `TW_STATUS_TIMEOUT` when none came in time
/// and after `tw_events_interrupt`; `TW_STATUS_CLOSED` when the warden was closed and nothing is left in the queue.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_events_next(
    events: *const tw_events,
    timeout_ms: i64,
    event: *mut tw_event,
    event_size: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::sized(event, event_size, "event")?;
            handle::with::<Events, _>(events, |events| {
                let none = || Failure::new(TW_STATUS_TIMEOUT, "no event has come".to_owned());
                let event = events.subscription.next(timeout(timeout_ms))?.ok_or_else(none)?;
                let mut texts = events.texts.lock().unwrap_or_else(PoisonError::into_inner);
                out.write(tw_event::of(&event, |text| texts.keep(text.as_bytes())));
                Ok(())
            })
        })
    }
}

/// Lets the memory of the views of all events go that this handle has given so far. Who takes many events calls it
/// from time to time. Any thread, as long as none looks at such a view.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_events_clear(events: *const tw_events, error: *mut *mut tw_error) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            handle::with::<Events, _>(events, |events| {
                events.texts.lock().unwrap_or_else(PoisonError::into_inner).clear();
                Ok(())
            })
        })
    }
}

/// Gives a descriptor that is readable while there is an event to be taken, and when the warden has been closed: for
/// programs that wait with `poll` or an event loop. Do not read from it or close it; it lives as long as the handle.
/// Wake-ups coalesce: take events with a timeout of 0 until there is none. Any thread. `TW_STATUS_IO` when no
/// descriptor is to be had.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_events_descriptor(
    events: *const tw_events,
    fd: *mut c_int,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(fd, "fd")?;
            handle::with::<Events, _>(events, |events| {
                out.write(events.subscription.descriptor()?.as_raw_fd());
                Ok(())
            })
        })
    }
}

/// Makes one call of `tw_events_next` that waits return `TW_STATUS_TIMEOUT`; if none waits, the next call. Interrupts
/// before that count once, and no event is lost. Any thread; not from a signal handler.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_events_interrupt(
    events: *const tw_events,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            handle::with::<Events, _>(events, |events| {
                events.subscription.interrupter().interrupt();
                Ok(())
            })
        })
    }
}

/// Ends the collecting and frees the queue with what is in it. A call of `tw_events_next` that waits returns
/// `TW_STATUS_TIMEOUT`; of several, one. NULL is allowed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_events_free(events: *mut tw_events, error: *mut *mut tw_error) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            if events.is_null() {
                return Ok(());
            }
            let waiting = handle::with::<Events, _>(events, |events| Ok(events.subscription.interrupter()))?;
            handle::free::<Events>(events)?;
            // In this order no call can begin to wait after the interrupt.
            waiting.interrupt();
            Ok(())
        })
    }
}

/// Starts a thread of the library that calls `callback` with each event, one after the other; `events_max` as in
/// `tw_warden_subscribe`. The first call may come before this function has returned. Closing the warden ends it,
/// after what is in the queue.
///
/// `*listener` is the caller's: `tw_listener_free` ends the thread. `finalizer` is called once with `user_data` after
/// the last callback, also when this function fails. The callback may call any function but `tw_listener_free` with
/// its own listener. Any thread. `TW_STATUS_INVALID_ARGUMENT` without a callback, `TW_STATUS_IO` when no thread can
/// be started.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_events_listen(
    warden: *const tw_warden,
    events_max: usize,
    callback: tw_event_fn,
    user_data: *mut c_void,
    finalizer: tw_finalizer,
    listener: *mut *mut tw_listener,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let user_data = UserData::new(user_data, finalizer);
            let out = Out::new(listener, "listener")?;
            let callback = callback.ok_or_else(|| Failure::invalid("`callback` is NULL"))?;
            let subscription = handle::with::<WardenObject, _>(warden, |object| {
                Ok(object.warden.subscribe_with(room(events_max)))
            })?;
            let interrupter = subscription.interrupter();
            let stop = move || interrupter.interrupt();
            let body = move |user_data: &UserData, _: &dyn Fn() -> bool| match subscription.next(None) {
                Ok(Some(event)) => {
                    let event = tw_event::of(&event, |text| tw_bytes::of(text.as_bytes()));
                    // The caller promises that it may be called so, in any thread.
                    callback(&raw const event, user_data.ptr());
                    Step::Again
                }
                // Interrupted.
                Ok(None) => Step::Again,
                Err(error) => Step::End(tw_status::from(error.kind().code())),
            };
            out.write(listener::start("tw-tell", user_data, stop, body)?);
            Ok(())
        })
    }
}
