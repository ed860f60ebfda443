//! What went wrong: numbers, and the handle that tells the rest.

use treewarden_core::ErrorKind;

use crate::args::{Out, tw_bytes};
use crate::border::call;
use crate::handle::{self, Object, Opaque};

/// What a function returns: `TW_STATUS_OK`, or why it failed. The numbers never change; those below 100 are those of
/// the Rust and Python packages.
pub type tw_status = i32;

/// It worked.
pub const TW_STATUS_OK: tw_status = 0;
/// An argument has no meaning: an empty name, a bad glob, an address with `..`, NULL where something is needed.
pub const TW_STATUS_INVALID_ARGUMENT: tw_status = 1;
/// The root, entry, directory, file or pipeline does not exist.
pub const TW_STATUS_NOT_FOUND: tw_status = 2;
/// The name is taken.
pub const TW_STATUS_ALREADY_EXISTS: tw_status = 3;
/// Another process, or another handle in this one, holds the state file.
pub const TW_STATUS_BUSY: tw_status = 4;
/// The operating system, a store or a Redis refuses access.
pub const TW_STATUS_PERMISSION_DENIED: tw_status = 5;
/// The root cannot be trusted at the moment, or Redis cannot be reached; nothing was changed.
pub const TW_STATUS_UNAVAILABLE: tw_status = 6;
/// Too much would become missing; waits for `TW_OPTION_SCAN_ACCEPT_MISSING`.
pub const TW_STATUS_HELD: tw_status = 7;
/// The caller cancelled.
pub const TW_STATUS_CANCELLED: tw_status = 8;
/// The journal cannot continue from that place: read the snapshot, then go on from `restart_seq` of the error.
pub const TW_STATUS_RESET: tw_status = 9;
/// A compare-and-set found another value, or a batch raced with a removal.
pub const TW_STATUS_CONFLICT: tw_status = 10;
/// A key, value, name or attribute is over its limit, or there are too many handles.
pub const TW_STATUS_TOO_LARGE: tw_status = 11;
/// The state file is damaged.
pub const TW_STATUS_CORRUPT: tw_status = 12;
/// The file is not a Treewarden state file.
pub const TW_STATUS_NOT_A_STATE_FILE: tw_status = 13;
/// The state file was written by a newer version.
pub const TW_STATUS_NEWER_FORMAT: tw_status = 14;
/// The state file was opened for reading only, or lies on a read-only file system.
pub const TW_STATUS_READ_ONLY: tw_status = 15;
/// The disk (or quota) that holds the state file is full.
pub const TW_STATUS_STORAGE_FULL: tw_status = 16;
/// Any other failure of the operating system.
pub const TW_STATUS_IO: tw_status = 17;
/// The warden has been closed.
pub const TW_STATUS_CLOSED: tw_status = 18;
/// A thread of the engine has failed; snapshots stay readable, everything else is refused.
pub const TW_STATUS_POISONED: tw_status = 19;
/// The operation does not exist on this system or for this root.
pub const TW_STATUS_UNSUPPORTED: tw_status = 20;
/// It did not happen in time; what was asked for goes on.
pub const TW_STATUS_TIMEOUT: tw_status = 21;
/// The lease of a job has run out, and the job was handed out again: nothing was recorded. Or the lease of a fleet is
/// no longer ours, or another publishes with a higher token.
pub const TW_STATUS_LEASE_LOST: tw_status = 22;
/// A bug in the library. Nothing that was acknowledged is lost.
pub const TW_STATUS_PANIC: tw_status = 23;
/// The handle was made before a `fork`, and this is the child.
pub const TW_STATUS_FORKED: tw_status = 24;
/// The handle is NULL, of another type, or was freed.
pub const TW_STATUS_INVALID_HANDLE: tw_status = 100;

const _: () =
    assert!(ErrorKind::Forked as u16 == 24 && ErrorKind::Panic as u16 == 23, "the numbers are the same");

/// What went wrong, to what, and what to do about it. Free it with `tw_error_free`.
pub struct tw_error(Opaque);

#[derive(Clone)]
pub(crate) struct Details {
    pub(crate) status: tw_status,
    pub(crate) message: String,
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) hint: Option<String>,
    pub(crate) restart_seq: Option<u64>,
}

impl Object for Details {
    type Opaque = tw_error;
    const NAME: &'static str = "tw_error";
}

/// What a `tw_error` tells. Views live as long as the `tw_error`; those that do not apply have a NULL `ptr`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tw_error_info {
    /// The status that the function returned.
    pub status: tw_status,
    /// 1 when `restart_seq` is set.
    pub has_restart_seq: i32,
    /// Of `TW_STATUS_RESET`: where to go on.
    pub restart_seq: u64,
    /// One sentence, UTF-8, without control characters.
    pub message: tw_bytes,
    /// The path that it is about, as it is: it may hold any bytes but zeros.
    pub path: tw_bytes,
    /// What to do about it, UTF-8.
    pub hint: tw_bytes,
}

/// Tells what an error is about. `info_size` is `sizeof(tw_error_info)`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_error_get(
    error_handle: *const tw_error,
    info: *mut tw_error_info,
    info_size: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::sized(info, info_size, "info")?;
            handle::with::<Details, _>(error_handle, |details| {
                out.write(tw_error_info {
                    status: details.status,
                    has_restart_seq: i32::from(details.restart_seq.is_some()),
                    restart_seq: details.restart_seq.unwrap_or_default(),
                    message: tw_bytes::of(details.message.as_bytes()),
                    path: tw_bytes::of_option(details.path.as_deref()),
                    hint: tw_bytes::of_option(details.hint.as_deref().map(str::as_bytes)),
                });
                Ok(())
            })
        })
    }
}

/// Frees an error. NULL is allowed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_error_free(error_handle: *mut tw_error, error: *mut *mut tw_error) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe { call(error, || handle::free::<Details>(error_handle)) }
}

/// Gives the stable name of a status in snake case, for example `not_found`: static memory, UTF-8, zero-terminated. Of
/// a number that is none `unknown`. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn tw_status_name(status: tw_status) -> *const std::ffi::c_char {
    let name = match status {
        TW_STATUS_OK => c"ok",
        TW_STATUS_INVALID_ARGUMENT => c"invalid_argument",
        TW_STATUS_NOT_FOUND => c"not_found",
        TW_STATUS_ALREADY_EXISTS => c"already_exists",
        TW_STATUS_BUSY => c"busy",
        TW_STATUS_PERMISSION_DENIED => c"permission_denied",
        TW_STATUS_UNAVAILABLE => c"unavailable",
        TW_STATUS_HELD => c"held",
        TW_STATUS_CANCELLED => c"cancelled",
        TW_STATUS_RESET => c"reset",
        TW_STATUS_CONFLICT => c"conflict",
        TW_STATUS_TOO_LARGE => c"too_large",
        TW_STATUS_CORRUPT => c"corrupt",
        TW_STATUS_NOT_A_STATE_FILE => c"not_a_state_file",
        TW_STATUS_NEWER_FORMAT => c"newer_format",
        TW_STATUS_READ_ONLY => c"read_only",
        TW_STATUS_STORAGE_FULL => c"storage_full",
        TW_STATUS_IO => c"io",
        TW_STATUS_CLOSED => c"closed",
        TW_STATUS_POISONED => c"poisoned",
        TW_STATUS_UNSUPPORTED => c"unsupported",
        TW_STATUS_TIMEOUT => c"timeout",
        TW_STATUS_LEASE_LOST => c"lease_lost",
        TW_STATUS_PANIC => c"panic",
        TW_STATUS_FORKED => c"forked",
        TW_STATUS_INVALID_HANDLE => c"invalid_handle",
        _ => c"unknown",
    };
    name.as_ptr()
}
