//! An open state file: opening and closing it, its roots, and its upkeep.

use std::ffi::c_char;

use treewarden_core::{Clock, Warden};

use crate::args::{Out, TextOut, count, tw_bytes};
use crate::border::{Failure, Outcome, call};
use crate::error::{tw_error, tw_status};
use crate::handle::{self, Object, Opaque};
use crate::list::{List, RootRow, tw_list};
use crate::options::{OptionsObject, open_options, root_options, tw_options};

/// An open state file, and the threads behind it. All functions may be called in any thread, by several at once. Those
/// that change something wait until it is durable (see `TW_OPTION_OPEN_DURABILITY`); reading never waits for them.
///
/// After a `fork` the handle is the parent's: in the child every function returns `TW_STATUS_FORKED`.
pub struct tw_warden(Opaque);

pub(crate) struct WardenObject {
    pub(crate) warden: Warden,
    /// What the program moves by hand, with `TW_OPTION_OPEN_MANUAL_CLOCK_NS`.
    pub(crate) clock: Option<Clock>,
}

impl Object for WardenObject {
    type Opaque = tw_warden;
    const NAME: &'static str = "tw_warden";
}

/// Bytes that `tw_warden_token` needs room for at most, the zero at the end included.
#[allow(dead_code)] // for callers
pub const TW_TOKEN_ROOM: usize = 80;

/// Opens the state file at `path`, or creates it with mode 0600, never through a symlink. Opening changes nothing on
/// disk. `options` are of the kind `TW_OPTIONS_OPEN`, or NULL for the defaults. The file is locked: a second opener, in
/// this process too, gets `TW_STATUS_BUSY`. Free the handle with `tw_warden_free`. Blocks while the file is read. Any
/// thread.
///
/// `TW_STATUS_BUSY`, `TW_STATUS_NOT_FOUND` where the directory does not exist, or the file with
/// `TW_OPTION_OPEN_MUST_EXIST`, `TW_STATUS_NOT_A_STATE_FILE`, `TW_STATUS_NEWER_FORMAT`, `TW_STATUS_CORRUPT`,
/// `TW_STATUS_READ_ONLY`, `TW_STATUS_PERMISSION_DENIED`, `TW_STATUS_STORAGE_FULL`, `TW_STATUS_IO`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_open(
    path: tw_bytes,
    options: *const tw_options,
    warden: *mut *mut tw_warden,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(warden, "warden")?;
            let path = path.path("path")?;
            let (options, clock) = handle::with_optional::<OptionsObject, _>(options, open_options)?;
            let warden = options.open(path)?;
            out.write(handle::put(WardenObject { warden, clock })?);
            Ok(())
        })
    }
}

/// Ends the engine for everything that was made from this handle: stops watching, wakes whoever waits, waits for
/// commits under way, cancels scans that the engine started, and refuses everything new with `TW_STATUS_CLOSED`.
/// Snapshots stay readable. The lock of the file is released, at the latest with the last `tw_changes` that is being
/// read. All handles stay valid and are to be freed. Closing twice does nothing. Blocks. Any thread, but not from a
/// callback of the library.
///
/// Where it fails with `TW_DURABILITY_RELAXED`, the last commits could not be made durable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_close(warden: *mut tw_warden, error: *mut *mut tw_error) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || handle::with::<WardenObject, _>(warden, |object| Ok(object.warden.clone().close()?)))
    }
}

/// Frees the handle. NULL is allowed. The state file is closed as `tw_warden_close` does it when nothing is left that
/// keeps it open: pipelines, mirrors, jobs, batches, followers and calls under way do. What may go wrong at the end is
/// not told: call `tw_warden_close` first to know. May block. Any thread, but not from a callback of the library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_free(warden: *mut tw_warden, error: *mut *mut tw_error) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe { call(error, || handle::free::<WardenObject>(warden)) }
}

/// Gives the number of the last commit. Never waits. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_seq(
    warden: *const tw_warden,
    seq: *mut u64,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(seq, "seq")?;
            handle::with::<WardenObject, _>(warden, |object| {
                out.write(object.warden.seq());
                Ok(())
            })
        })
    }
}

/// Writes the present place in the journal as text, for `tw_warden_changes_since_token`: it knows the database that it
/// belongs to. `token` has room for `room` bytes, `TW_TOKEN_ROOM` are enough; a zero is put at the end. `*len` is the
/// length without it. Never waits. Any thread.
///
/// `TW_STATUS_INVALID_ARGUMENT` when there is not enough room; nothing is written then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_token(
    warden: *const tw_warden,
    token: *mut c_char,
    room: usize,
    len: *mut usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = TextOut::new((token, room), len, "token")?;
            handle::with::<WardenObject, _>(warden, |object| out.write(&object.warden.token().to_string()))
        })
    }
}

/// Writes a name or path of strangers so that it can be shown: UTF-8 as it is, control characters and all other bytes
/// escaped, as in `a\nb\xff`. `text` has room for `room` bytes, four for each byte and one are enough; a zero is put at
/// the end. `*len` is the length without it. Any thread. Never waits.
///
/// `TW_STATUS_INVALID_ARGUMENT` when there is not enough room; nothing is written then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_escape(
    bytes: tw_bytes,
    text: *mut c_char,
    room: usize,
    len: *mut usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = TextOut::new((text, room), len, "text")?;
            out.write(&treewarden_core::escape(bytes.read("bytes")?))
        })
    }
}

/// Adds a directory tree as a root. Nothing is scanned yet. `name` is UTF-8, 1 to 255 bytes without `/` and control
/// characters: the first component of all addresses in it. `dir` is a path on this disk. `options` are of the kind
/// `TW_OPTIONS_ROOT`, or NULL for the defaults. Roots may lie inside one another: a path belongs to the most specific
/// of them. Blocks until it is durable. Any thread.
///
/// `TW_STATUS_ALREADY_EXISTS` when the name or the directory is taken, `TW_STATUS_NOT_FOUND`,
/// `TW_STATUS_INVALID_ARGUMENT` for a bad name or something that is not a directory, `TW_STATUS_PERMISSION_DENIED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_add_root(
    warden: *const tw_warden,
    name: tw_bytes,
    dir: tw_bytes,
    options: *const tw_options,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let (name, dir) = (name.text("name")?, dir.path("dir")?);
            let options = handle::with_optional::<OptionsObject, _>(options, root_options)?;
            handle::with::<WardenObject, _>(warden, |object| {
                object.warden.add_root_with(name, dir, &options)?;
                Ok(())
            })
        })
    }
}

/// Sets ignore rules, content hashes and comparison of a root, all of them; the next scan applies them. `options` are
/// of the kind `TW_OPTIONS_ROOT`, or NULL for the defaults. Blocks until it is durable. Any thread.
///
/// `TW_STATUS_NOT_FOUND` for an unknown root.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_set_root_options(
    warden: *const tw_warden,
    name: tw_bytes,
    options: *const tw_options,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let name = name.text("name")?;
            let options = handle::with_optional::<OptionsObject, _>(options, root_options)?;
            handle::with::<WardenObject, _>(warden, |object| {
                object.warden.set_root_options(name, &options)?;
                Ok(())
            })
        })
    }
}

/// Removes a root with everything known about it: entries, tombstones, attributes. The files themselves are not
/// touched. The journal says for each entry that it was forgotten. Blocks until it is durable. Any thread.
///
/// `TW_STATUS_NOT_FOUND` for an unknown root.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_remove_root(
    warden: *const tw_warden,
    name: tw_bytes,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let name = name.text("name")?;
            handle::with::<WardenObject, _>(warden, |object| Ok(object.warden.remove_root(name)?))
        })
    }
}

/// Says that the tree of a root lies in another directory now, or that a directory made anew under the old path is to
/// be taken for it. What is known of it stays. On another file system the next whole scan takes up the new inode
/// numbers silently: what has the same size and mtime is unchanged. Blocks until it is durable. Any thread.
///
/// `TW_STATUS_NOT_FOUND` for an unknown root or directory; for the directory as `tw_warden_add_root`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_move_root(
    warden: *const tw_warden,
    name: tw_bytes,
    dir: tw_bytes,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let (name, dir) = (name.text("name")?, dir.path("dir")?);
            handle::with::<WardenObject, _>(warden, |object| {
                object.warden.move_root(name, dir)?;
                Ok(())
            })
        })
    }
}

/// Lists the roots in order of their names: rows for `tw_list_root`. Free the list with `tw_list_free`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_roots(
    warden: *const tw_warden,
    roots: *mut *mut tw_list,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(roots, "roots")?;
            handle::with::<WardenObject, _>(warden, |object| {
                let rows = RootRow::all(object.warden.status()?);
                out.write(handle::put(List::Roots(rows))?);
                Ok(())
            })
        })
    }
}

/// Reads every row of the state file and checks it. Blocks for as long as that takes. Any thread.
///
/// `TW_STATUS_CORRUPT` when one is damaged: `tw_rebuild` saves what can be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_check(warden: *const tw_warden, error: *mut *mut tw_error) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe { call(error, || handle::with::<WardenObject, _>(warden, |object| Ok(object.warden.check()?))) }
}

/// Rewrites the state file without its free space, where that makes it smaller, and gives its sizes before and after,
/// in bytes. It needs room for a second copy. Commits wait meanwhile, readers do not. Blocks. Any thread.
///
/// `TW_STATUS_STORAGE_FULL`, `TW_STATUS_READ_ONLY`, `TW_STATUS_IO`; the old file stays in place.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_compact(
    warden: *const tw_warden,
    before_bytes: *mut u64,
    after_bytes: *mut u64,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let before = Out::new(before_bytes, "before_bytes")?;
            let after = Out::new(after_bytes, "after_bytes")?;
            handle::with::<WardenObject, _>(warden, |object| {
                let report = object.warden.compact()?;
                before.write(report.before_bytes);
                after.write(report.after_bytes);
                Ok(())
            })
        })
    }
}

/// Applies the retention of tombstones, journal and history now; every scan that commits does so too. `*forgotten` says
/// how many files and symlinks were forgotten. Blocks until it is durable. Any thread. `TW_STATUS_READ_ONLY`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_maintain(
    warden: *const tw_warden,
    forgotten: *mut u64,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(forgotten, "forgotten")?;
            handle::with::<WardenObject, _>(warden, |object| {
                out.write(object.warden.maintain()?);
                Ok(())
            })
        })
    }
}

/// Salvages a damaged state file that nobody has open: what can be read goes into a new file under the same name, and
/// the damaged one is kept beside it as `NAME.damaged-N`. The list has one row for `tw_list_rebuild`; free it with
/// `tw_list_free`. Consumers of the journal get `TW_STATUS_RESET`. Scan afterwards: the trees are the truth. Blocks.
/// Any thread.
///
/// `TW_STATUS_BUSY`, `TW_STATUS_NOT_FOUND`, `TW_STATUS_NOT_A_STATE_FILE`, `TW_STATUS_STORAGE_FULL`, `TW_STATUS_IO`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_rebuild(
    path: tw_bytes,
    report: *mut *mut tw_list,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(report, "report")?;
            let report = Warden::rebuild(path.path("path")?)?;
            out.write(handle::put(List::Rebuild(report))?);
            Ok(())
        })
    }
}

/// The clock that the program moves by hand.
fn manual_clock(object: &WardenObject) -> Outcome<&Clock> {
    object.clock.as_ref().ok_or_else(|| {
        Failure::invalid(
            "the clock of the system cannot be moved: open with `TW_OPTION_OPEN_MANUAL_CLOCK_NS`",
        )
    })
}

/// Moves a manual clock forward, for tests. Any thread.
///
/// `TW_STATUS_INVALID_ARGUMENT` for a negative time, and where `TW_OPTION_OPEN_MANUAL_CLOCK_NS` was not set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_clock_advance_ms(
    warden: *const tw_warden,
    ms: i64,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let ms = count(ms, "ms")?;
            handle::with::<WardenObject, _>(warden, |object| {
                manual_clock(object)?.advance_ms(ms);
                Ok(())
            })
        })
    }
}

/// Sets a manual clock, backwards too, to nanoseconds since 1970 UTC, for tests. Any thread.
///
/// `TW_STATUS_INVALID_ARGUMENT` where `TW_OPTION_OPEN_MANUAL_CLOCK_NS` was not set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_clock_set_ns(
    warden: *const tw_warden,
    now_ns: i64,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            handle::with::<WardenObject, _>(warden, |object| {
                manual_clock(object)?.set_ns(now_ns);
                Ok(())
            })
        })
    }
}
