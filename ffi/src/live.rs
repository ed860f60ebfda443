//! What a warden does by itself: watching, pausing, and waiting until it has caught up with the disk.

use std::time::Duration;

use crate::args::{Out, timeout};
use crate::border::{Failure, call};
use crate::error::{tw_error, tw_status};
use crate::handle;
use crate::options::{OptionsObject, tw_options, watch_options};
use crate::warden::{WardenObject, tw_warden};

/// Watches roots from now on: every change on disk is looked at when its directory has been quiet for the debounce,
/// and committed. Returns at once: the first scan runs in the background, and `tw_warden_sync` waits for it.
///
/// `options` are of the kind `TW_OPTIONS_WATCH`. NULL watches all roots, present and future, as the defaults say, and
/// changes nothing where something is watched already. Called again with options it restarts only what differs. A
/// pause stays a pause. Where the system has no room for one more watcher, roots are polled, and the status says so.
///
/// Any thread. `TW_STATUS_NOT_FOUND` for a root that is named and not registered, `TW_STATUS_INVALID_ARGUMENT` for
/// times that make no sense, `TW_STATUS_UNSUPPORTED` for a backend that this system lacks, `TW_STATUS_READ_ONLY`,
/// `TW_STATUS_CLOSED`, `TW_STATUS_IO` where no thread can be started. What was watched before is watched as before
/// then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_watch(
    warden: *const tw_warden,
    options: *const tw_options,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            handle::with::<WardenObject, _>(warden, |object| {
                handle::with_optional::<OptionsObject, _>(options, |options| match options {
                    None => object.warden.watch().map_err(Failure::from),
                    Some(_) => {
                        let options = watch_options(options)?;
                        object.warden.watch_with(&options).map_err(Failure::from)
                    }
                })
            })
        })
    }
}

/// Stops watching, and waits until what it had started has ended. The state stays as it is. Where nothing is watched
/// nothing happens. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_unwatch(warden: *const tw_warden, error: *mut *mut tw_error) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            handle::with::<WardenObject, _>(warden, |object| object.warden.unwatch().map_err(Failure::from))
        })
    }
}

/// Gives 1 between `tw_warden_watch` and `tw_warden_unwatch`, also while it is paused, else 0. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_is_watching(
    warden: *const tw_warden,
    is_watching: *mut i32,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(is_watching, "is_watching")?;
            handle::with::<WardenObject, _>(warden, |object| {
                out.write(i32::from(object.warden.is_watching()));
                Ok(())
            })
        })
    }
}

/// Waits until every change that was made on disk before this call is in the snapshot, and gives the seq of that.
/// Waits for at most `timeout_ms` milliseconds; negative: without end. Debouncing and waiting between scans are cut
/// short. Nothing is written into the trees for it. A root that is unavailable or held keeps its last state.
///
/// Blocks. Any thread. `TW_STATUS_TIMEOUT`: the engine goes on; `TW_STATUS_INVALID_ARGUMENT` when nothing is watched,
/// `TW_STATUS_UNAVAILABLE` while watching is paused, `TW_STATUS_CLOSED`, and what kept a change from being committed,
/// such as `TW_STATUS_STORAGE_FULL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_sync(
    warden: *const tw_warden,
    timeout_ms: i64,
    seq: *mut u64,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(seq, "seq")?;
            handle::with::<WardenObject, _>(warden, |object| {
                // So long that no clock can say when it ends, which stands for no end.
                let wait = timeout(timeout_ms).unwrap_or(Duration::MAX);
                out.write(object.warden.sync(wait)?);
                Ok(())
            })
        })
    }
}

/// Holds everything that the warden does by itself, and returns when no scan is running: one that it had started is
/// cancelled and made up for later, one that the program asked for is waited for. What changes meanwhile is
/// remembered. Scans that the program asks for are still run. A second pause changes nothing.
///
/// Blocks for as long as scans of the program run. Any thread, but never the progress callback of a scan: it would
/// wait for that scan, which waits for the callback. `TW_STATUS_INVALID_ARGUMENT` when nothing is watched,
/// `TW_STATUS_CLOSED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_pause(warden: *const tw_warden, error: *mut *mut tw_error) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            handle::with::<WardenObject, _>(warden, |object| object.warden.pause().map_err(Failure::from))
        })
    }
}

/// Goes on after `tw_warden_pause`, with what has changed meanwhile. Any thread. `TW_STATUS_INVALID_ARGUMENT` when
/// nothing is watched, `TW_STATUS_CLOSED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_resume(warden: *const tw_warden, error: *mut *mut tw_error) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            handle::with::<WardenObject, _>(warden, |object| object.warden.resume().map_err(Failure::from))
        })
    }
}
