//! Following the journal under a durable name, by waiting, by a descriptor or by a callback; and waiting for a commit.

use std::ffi::{c_int, c_void};
use std::os::fd::AsRawFd;
use std::sync::mpsc;
use std::time::Duration;

use treewarden_core::{Cursor, Delivery, ErrorKind, Follow, Warden};

use crate::args::{self, Out, tw_bytes};
use crate::border::{Failure, Outcome, call};
use crate::callback::{UserData, tw_finalizer};
use crate::changes::{ChangesObject, tw_changes};
use crate::error::{TW_STATUS_TIMEOUT, tw_error, tw_status};
use crate::handle::{self, Object, Opaque};
use crate::listener::{self, Step, tw_listener};
use crate::warden::{WardenObject, tw_warden};

/// How long a delivery that the callback did not take is kept before it comes again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A durable name in the journal, and what has been acknowledged under it. Free it with `tw_follow_free`. It keeps the
/// state file open until then, or until `tw_warden_close`.
pub struct tw_follow(Opaque);

struct FollowObject {
    /// For a listener, which has to have an interrupter of its own.
    warden: Warden,
    follow: Follow,
}

impl Object for FollowObject {
    type Opaque = tw_follow;
    const NAME: &'static str = "tw_follow";
}

/// Called with each delivery. Returns 0 when what it tells has been dealt with: then it is acknowledged. Otherwise it
/// comes again after a second. It is called in a thread of the library, one call at a time. `delivery` is read with
/// `tw_changes_next`; it is freed when the callback returns, and with it all views of it. The callback may acknowledge
/// it by itself, with `tw_changes_ack` or in a batch with `tw_batch_advance`, and then return 0.
pub type tw_delivery_fn =
    Option<unsafe extern "C" fn(delivery: *const tw_changes, user_data: *mut c_void) -> i32>;

/// Waits for a commit after the commit `after`, and gives the number of the last one; at the end of the time as it is,
/// which may be `after` itself. `timeout_ms` is in milliseconds, negative to wait without end. Any thread. Blocks.
/// `TW_STATUS_CLOSED` when the warden is closed, which ends the wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_wait(
    warden: *const tw_warden,
    after: u64,
    timeout_ms: i64,
    seq: *mut u64,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(seq, "seq")?;
            handle::with::<WardenObject, _>(warden, |object| {
                out.write(object.warden.wait(after, args::timeout(timeout_ms))?);
                Ok(())
            })
        })
    }
}

/// Follows the journal under a name, which is UTF-8 text: `tw_follow_next` goes on where the last acknowledged delivery
/// of that name has ended, after a restart too. A new name begins at the beginning of the journal, and comes into being
/// with its first acknowledgement. Free it with `tw_follow_free`. Any thread. Never waits.
/// `TW_STATUS_INVALID_ARGUMENT` for a bad name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_follow(
    warden: *const tw_warden,
    name: tw_bytes,
    out: *mut *mut tw_follow,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let name = name.text("name")?;
            let out = Out::new(out, "out")?;
            let object = handle::with::<WardenObject, _>(warden, |object| {
                let follow = object.warden.follow(name)?;
                Ok(FollowObject { warden: object.warden.clone(), follow })
            })?;
            out.write(handle::put(object)?);
            Ok(())
        })
    }
}

/// Gives what is new, whole commits until there are at least `changes_max` changes (0 counts as 1), and waits for it if
/// need be. `timeout_ms` is in milliseconds, 0 to look only, negative to wait without end. It wakes within a
/// millisecond of a commit. Read what it gives with `tw_changes_next`, acknowledge it with `tw_changes_ack` or
/// `tw_batch_advance`, and free it with `tw_changes_free`; until it is acknowledged it comes again. One thread at a
/// time. Blocks. `TW_STATUS_TIMEOUT` when nothing came in time, and on `tw_follow_interrupt`. `TW_STATUS_RESET` when
/// the journal does not reach back to where this stands: read a snapshot, then call `tw_follow_advance` with
/// `restart_seq` of the error. `TW_STATUS_CLOSED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_follow_next(
    follow: *const tw_follow,
    changes_max: usize,
    timeout_ms: i64,
    out: *mut *mut tw_changes,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(out, "out")?;
            let delivery = handle::with::<FollowObject, _>(follow, |object| {
                let delivery = object.follow.next(changes_max, args::timeout(timeout_ms))?;
                let delivery = delivery.ok_or_else(|| {
                    Failure::new(
                        TW_STATUS_TIMEOUT,
                        "no change came in time, or the wait was interrupted".to_owned(),
                    )
                })?;
                Ok(ChangesObject::delivery(delivery, object.follow.cursor()))
            })?;
            out.write(handle::put(delivery)?);
            Ok(())
        })
    }
}

/// Makes a `tw_follow_next` that waits return `TW_STATUS_TIMEOUT`; if none waits, the next one. Interrupts before that
/// count once. Any thread. Never blocks for long.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_follow_interrupt(
    follow: *const tw_follow,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            handle::with::<FollowObject, _>(follow, |object| {
                object.follow.interrupter().interrupt();
                Ok(())
            })
        })
    }
}

/// Gives a descriptor that becomes readable with each commit and when the warden is closed, for `poll` or an event
/// loop. It is the library's: do not read from it, do not close it; it lives as long as the `tw_follow`. When it is
/// readable call `tw_follow_next` with a timeout of 0 until that returns `TW_STATUS_TIMEOUT`. Wake-ups coalesce, and
/// one may come without a change. Any thread. Never waits. `TW_STATUS_IO` when no descriptor is to be had.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_follow_descriptor(
    follow: *const tw_follow,
    fd: *mut c_int,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(fd, "fd")?;
            handle::with::<FollowObject, _>(follow, |object| {
                out.write(object.follow.descriptor()?.as_raw_fd());
                Ok(())
            })
        })
    }
}

/// Gives the commit up to which has been acknowledged under this name; 0 at the beginning. Any thread. Reads the state
/// file, never waits for a commit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_follow_position(
    follow: *const tw_follow,
    seq: *mut u64,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(seq, "seq")?;
            handle::with::<FollowObject, _>(follow, |object| {
                out.write(object.follow.cursor().position()?);
                Ok(())
            })
        })
    }
}

/// Acknowledges up to the commit `seq` without reading, for example after `TW_STATUS_RESET`. Any thread. Waits until it
/// is durable. `TW_STATUS_CONFLICT` when it has come further already; `TW_STATUS_INVALID_ARGUMENT` for a commit that
/// has not been made yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_follow_advance(
    follow: *const tw_follow,
    seq: u64,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            handle::with::<FollowObject, _>(follow, |object| {
                object.follow.cursor().advance(seq)?;
                Ok(())
            })
        })
    }
}

/// Frees a `tw_follow`; a `tw_follow_next` that waits returns, and its listeners go on. What was acknowledged under the
/// name stays. NULL is allowed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_follow_free(follow: *mut tw_follow, error: *mut *mut tw_error) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            if follow.is_null() {
                return Ok(());
            }
            let waiting = handle::with::<FollowObject, _>(follow, |object| Ok(object.follow.interrupter()))?;
            handle::free::<FollowObject>(follow)?;
            // In this order no call can begin to wait after the interrupt.
            waiting.interrupt();
            Ok(())
        })
    }
}

/// Calls `callback` with each delivery of this name, of at least `changes_max` changes where there are so many (0
/// counts as 1), in a thread of the library that this starts. Do not call `tw_follow_next` under the same name
/// meanwhile.
///
/// The thread ends with `tw_listener_free`, which waits for a callback that runs, and by itself with the first error:
/// `tw_listener_status` tells which, such as `TW_STATUS_CLOSED` when the warden is closed, or `TW_STATUS_RESET`, after
/// which a snapshot is to be read, `tw_follow_advance` to be called, and this again. It needs neither the `tw_follow`
/// nor the `tw_warden` any more.
///
/// `finalizer`, which may be NULL, is called with `user_data` exactly once, when the last callback has returned; when
/// this fails, at once. Any thread. Never waits. `TW_STATUS_IO` when no thread is to be had.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_follow_listen(
    follow: *const tw_follow,
    changes_max: usize,
    callback: tw_delivery_fn,
    user_data: *mut c_void,
    finalizer: tw_finalizer,
    out: *mut *mut tw_listener,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            // Before anything can fail: it is finalized whatever comes.
            let user_data = UserData::new(user_data, finalizer);
            let callback = callback.ok_or_else(|| Failure::invalid("`callback` is NULL"))?;
            let out = Out::new(out, "out")?;
            let follow = handle::with::<FollowObject, _>(follow, |object| {
                object.warden.follow(object.follow.cursor().name()).map_err(Failure::from)
            })?;
            out.write(listen(follow, changes_max, callback, user_data)?);
            Ok(())
        })
    }
}

fn listen(
    follow: Follow,
    changes_max: usize,
    callback: unsafe extern "C" fn(*const tw_changes, *mut c_void) -> i32,
    user_data: UserData,
) -> Outcome<*mut tw_listener> {
    let interrupter = follow.interrupter();
    let (stopping, stopped) = mpsc::channel::<()>();
    let stop = move || {
        // The thread waits for one or the other.
        let _ = stopping.send(());
        interrupter.interrupt();
    };
    listener::start("tw-follow", user_data, stop, move |user_data, _| {
        let delivery = match follow.next(changes_max, None) {
            Ok(Some(delivery)) => delivery,
            Ok(None) => return Step::Again,
            Err(error) => return Step::End(Failure::from(error).0.status),
        };
        match hand_over(delivery, follow.cursor(), callback, user_data) {
            Ok(true) => Step::Again,
            Ok(false) => {
                let _ = stopped.recv_timeout(AGAIN_AFTER);
                Step::Again
            }
            Err(failure) => Step::End(failure.0.status),
        }
    })
}

/// Calls the callback and, if it took the delivery, acknowledges that. Returns whether it did.
fn hand_over(
    delivery: Delivery,
    cursor: &Cursor,
    callback: unsafe extern "C" fn(*const tw_changes, *mut c_void) -> i32,
    user_data: &UserData,
) -> Outcome<bool> {
    let upto = delivery.upto();
    let lent = handle::put(ChangesObject::delivery(delivery, cursor))?;
    // SAFETY: the callback and its pointer were given for each other, to be called in any thread, and the handle is a
    // good one until it returns.
    let answer = unsafe { callback(lent, user_data.ptr()) };
    // Only a callback that frees what is not its own makes this fail.
    let _ = handle::free::<ChangesObject>(lent);
    if answer != 0 {
        return Ok(false);
    }
    // Whoever acknowledged by itself, in a batch with what it made of it, pays for no second commit.
    if cursor.position()? >= upto {
        return Ok(true);
    }
    match cursor.advance(upto) {
        Ok(_) => Ok(true),
        // Another consumer of the name was faster: it goes on from there.
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(true),
        Err(error) => Err(error.into()),
    }
}
