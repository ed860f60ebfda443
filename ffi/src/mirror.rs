//! Mirrors: a root in step with a remote copy, and a CDN told of it. The addresses of the copies are in
//! `mirror/urls.rs`, a mirror that runs by itself is in `mirror/following.rs`, storages of the program are in
//! `mirror/storage.rs` and `mirror/call.rs`, and what is told is in `list/mirror.rs` and `list/mirror_run.rs`.

mod call;
mod following;
mod storage;
mod urls;

use std::ffi::c_void;

use treewarden_core::CancelToken;
use treewarden_core::mirror::{AuditOptions, Mirror, MirrorContext, MirrorProgress};

use crate::args::{Out, flag, tw_bytes};
use crate::border::{Failure, Outcome, call};
use crate::callback::UserData;
use crate::error::{tw_error, tw_status};
use crate::handle::{self, Object, Opaque};
use crate::list::{List, MirrorRow, tw_list};
use crate::options::{MirrorWanted, OptionsObject, mirror_wanted, tw_options};
use crate::scan::{read_hooks, tw_cancel};
use crate::warden::{WardenObject, tw_warden};

/// A root that is copied to a bucket, a container or a directory, and kept in step with it. Free it with
/// `tw_mirror_free`.
pub struct tw_mirror(Opaque);

impl Object for Mirror {
    type Opaque = tw_mirror;
    const NAME: &'static str = "tw_mirror";
}

/// How far a run has come.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tw_mirror_progress {
    /// Files, copies and deletions that are over, well or not.
    pub done: u64,
    /// All of them.
    pub total: u64,
    /// Bytes read and handed to the network so far. What is sent again counts again.
    pub bytes: u64,
    /// Bytes of all files of the run.
    pub bytes_total: u64,
    /// Bytes a second since the run began.
    pub bytes_per_s: f64,
    /// Where `has_eta_ms` is 1: milliseconds to go.
    pub eta_ms: u64,
    /// 1 when there is an estimate of the time.
    pub has_eta_ms: i32,
    /// Always 0.
    pub reserved: i32,
}

impl From<&MirrorProgress> for tw_mirror_progress {
    fn from(progress: &MirrorProgress) -> Self {
        Self {
            done: progress.done,
            total: progress.total,
            bytes: progress.bytes,
            bytes_total: progress.bytes_total,
            bytes_per_s: progress.bytes_per_s,
            eta_ms: progress.eta_ms.unwrap_or_default(),
            has_eta_ms: i32::from(progress.eta_ms.is_some()),
            reserved: 0,
        }
    }
}

/// Called about ten times a second while a run sends or deletes, in the thread that called `tw_mirror_sync`, and never
/// after that has returned. `progress` is good until it returns. It must neither call `tw_mirror_sync`,
/// `tw_mirror_plan` or `tw_mirror_audit` with this mirror, nor open or remove a mirror, nor close or free the warden:
/// they wait for the run.
pub type tw_mirror_progress_fn =
    Option<unsafe extern "C" fn(progress: *const tw_mirror_progress, user_data: *mut c_void)>;

/// What a run needs besides the options of its mirror. Fill it with zeros first: what is 0 is left out.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tw_mirror_hooks {
    /// Told how far it has come. May be NULL.
    pub progress: tw_mirror_progress_fn,
    /// What `progress` is called with. It must live until the run returns.
    pub user_data: *mut c_void,
    /// Stops it. May be NULL.
    pub cancel: *const tw_cancel,
}

/// What the engine calls, for the hooks of the caller.
///
/// # Safety
///
/// As [`read_hooks`]; what they hold is good until the run has ended.
unsafe fn context(
    hooks: *const tw_mirror_hooks,
    bytes: usize,
    accept_deletes: bool,
) -> Outcome<MirrorContext> {
    let none = tw_mirror_hooks { progress: None, user_data: std::ptr::null_mut(), cancel: std::ptr::null() };
    // SAFETY: as promised.
    let hooks = unsafe { read_hooks(hooks, bytes, none, "tw_mirror_hooks")? };
    let cancel = handle::with_optional::<CancelToken, _>(hooks.cancel, |token| Ok(token.cloned()))?;
    let context = MirrorContext::new().cancel(cancel.unwrap_or_default()).accept_deletes(accept_deletes);
    let Some(progress) = hooks.progress else { return Ok(context) };
    let data = UserData::new(hooks.user_data, None);
    Ok(context.progress(move |told| {
        let told = tw_mirror_progress::from(told);
        // SAFETY: the caller gave the two for each other, and waits for the run that this belongs to.
        unsafe { progress(&raw const told, data.ptr()) };
    }))
}

/// Opens the mirror of that name. `options` are of the kind `TW_OPTIONS_MIRROR`. With an address and a target the
/// mirror is made where there is none, and takes these options up where it had others; where it copies from and to
/// stays what it was. Without both, or with NULL, it is opened as it was made, with the credentials and the CDN of the
/// options. Nothing is sent yet, and the first use tells whether the store is there.
///
/// The state file keeps no credentials: they are given whenever the mirror is opened, and are in no message and no log.
/// A mirror goes on under those that were given last: handles that were opened before answer `TW_STATUS_CLOSED`, once a
/// run of theirs has ended. `*mirror` is the caller's, to be freed with `tw_mirror_free`; it keeps the warden open.
///
/// Blocks for a commit where something is written. Any thread. `TW_STATUS_NOT_FOUND` without address and target where
/// there is no such mirror, for a root that is not there, and for a directory that is not; `TW_STATUS_UNAVAILABLE` for
/// a root that cannot be trusted; `TW_STATUS_INVALID_ARGUMENT` for a bad name, options, a target or credentials that
/// make no sense, when the mirror copies something else or to another place, and for one of
/// `tw_warden_mirror_storage`; `TW_STATUS_IO` where no thread can be started.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_mirror(
    warden: *const tw_warden,
    name: tw_bytes,
    options: *const tw_options,
    mirror: *mut *mut tw_mirror,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(mirror, "mirror")?;
            let name = name.text("name")?;
            handle::with::<WardenObject, _>(warden, |object| {
                let MirrorWanted { place, credentials, cdn } =
                    handle::with_optional::<OptionsObject, _>(options, mirror_wanted)?;
                let mirror = match place {
                    Some((options, target)) => {
                        object.warden.mirror_to_with(name, &options, &target, &credentials, cdn)?
                    }
                    None => object.warden.mirror(name, &credentials, cdn)?,
                };
                out.write(handle::put(mirror)?);
                Ok(())
            })
        })
    }
}

/// Lists the mirrors in order of their names: rows for `tw_list_mirror`. `tw_list_text` gives the names alone. `*list`
/// is the caller's. Any thread. Reads the state file, never waits for a commit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_mirrors(
    warden: *const tw_warden,
    list: *mut *mut tw_list,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(list, "list")?;
            handle::with::<WardenObject, _>(warden, |object| {
                let rows = object.warden.mirrors()?.into_iter().map(MirrorRow::new).collect();
                out.write(handle::put(List::Mirrors(rows))?);
                Ok(())
            })
        })
    }
}

/// Tells how the mirrors stand that are open, in order of their names: rows for `tw_list_mirror_status`. No request is
/// made; objects are counted. `*list` is the caller's. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_mirror_status(
    warden: *const tw_warden,
    list: *mut *mut tw_list,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(list, "list")?;
            handle::with::<WardenObject, _>(warden, |object| {
                out.write(handle::put(List::MirrorStatus(object.warden.mirror_status()))?);
                Ok(())
            })
        })
    }
}

/// Forgets a mirror and what it knows of its objects, which stay where they are. A run under way ends, and is waited
/// for; handles of the mirror answer `TW_STATUS_CLOSED`. Blocks for a commit. Any thread, but not from its progress
/// callback. `TW_STATUS_NOT_FOUND` when there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_remove_mirror(
    warden: *const tw_warden,
    name: tw_bytes,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let name = name.text("name")?;
            handle::with::<WardenObject, _>(warden, |object| {
                object.warden.remove_mirror(name).map_err(Failure::from)
            })
        })
    }
}

/// Brings the remote copy in step with the current snapshot: uploads and copies first, then deletions, then the CDN.
/// Where nothing changed no request is made. What was interrupted goes on, and nothing is sent again that was
/// acknowledged. Files that have not been still for long enough are waited for.
///
/// Deletions wait for confirmation when there are more than `TW_OPTION_MIRROR_DELETE_MAX` and
/// `TW_OPTION_MIRROR_DELETE_SHARE_PERCENT` allow: then `held` of the report tells how many, and a run with an
/// `accept_deletes` of 1 deletes them. While the root itself is held nothing is deleted at all.
///
/// `hooks` may be NULL; `hooks_size` is `sizeof(tw_mirror_hooks)`. `*report` is a list of one row for
/// `tw_list_mirror_report`; what failed comes by `tw_list_mirror_error`, and stopped nothing else. Free it with
/// `tw_list_free`.
///
/// Blocks until all of it is done, and until another run of the mirror is. Any thread. `TW_STATUS_UNAVAILABLE` when the
/// root cannot be trusted or was never scanned: nothing was sent or deleted. `TW_STATUS_PERMISSION_DENIED` and
/// `TW_STATUS_NOT_FOUND` when the store takes nothing, `TW_STATUS_CANCELLED`, `TW_STATUS_CLOSED`. What was acknowledged
/// before stays so.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_mirror_sync(
    mirror: *const tw_mirror,
    accept_deletes: i32,
    hooks: *const tw_mirror_hooks,
    hooks_size: usize,
    report: *mut *mut tw_list,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(report, "report")?;
            let accept_deletes = flag(i64::from(accept_deletes), "accept_deletes")?;
            let context = context(hooks, hooks_size, accept_deletes)?;
            handle::with::<Mirror, _>(mirror, |mirror| {
                let report = mirror.sync(&context)?;
                out.write(handle::put(List::MirrorReport(Box::new(report)))?);
                Ok(())
            })
        })
    }
}

/// Tells what the next run would do, with exact counts and bytes: a list of one row for `tw_list_mirror_plan`; the
/// steps come by `tw_list_mirror_step`, files that the store can hold under no name by `tw_list_mirror_error`. No
/// request is made. `*plan` is the caller's.
///
/// Blocks while a run of the mirror is under way. Any thread. `TW_STATUS_NOT_FOUND` when the root is gone,
/// `TW_STATUS_UNAVAILABLE` when it cannot be trusted, `TW_STATUS_CLOSED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_mirror_plan(
    mirror: *const tw_mirror,
    plan: *mut *mut tw_list,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(plan, "plan")?;
            handle::with::<Mirror, _>(mirror, |mirror| {
                out.write(handle::put(List::MirrorPlan(Box::new(mirror.plan()?)))?);
                Ok(())
            })
        })
    }
}

/// Lists what is in the store, and compares it with what was acknowledged: a list of one row for `tw_list_audit`; the
/// differences come by `tw_list_audit_finding`. With a `repair` of 1 what is lost or different is sent again with the
/// next run. With a `delete_unknown` of 1 objects below the prefix that the mirror knows nothing of are deleted with
/// the next run, as far as its limits for deletions allow. `*report` is the caller's.
///
/// Blocks until all of it is done, and until a run of the mirror is. Any thread. `TW_STATUS_UNSUPPORTED` for a store
/// that cannot be listed, else as `tw_mirror_sync`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_mirror_audit(
    mirror: *const tw_mirror,
    repair: i32,
    delete_unknown: i32,
    report: *mut *mut tw_list,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(report, "report")?;
            let repair = flag(i64::from(repair), "repair")?;
            let delete_unknown = flag(i64::from(delete_unknown), "delete_unknown")?;
            let options = AuditOptions::new().repair(repair).delete_unknown(delete_unknown);
            handle::with::<Mirror, _>(mirror, |mirror| {
                out.write(handle::put(List::Audit(Box::new(mirror.audit(&options)?)))?);
                Ok(())
            })
        })
    }
}

/// Tells how a mirror stands: a list of one row for `tw_list_mirror_status`. No request is made; objects are counted.
/// `*list` is the caller's. Any thread, also while a run is under way.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_mirror_status(
    mirror: *const tw_mirror,
    list: *mut *mut tw_list,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(list, "list")?;
            handle::with::<Mirror, _>(mirror, |mirror| {
                out.write(handle::put(List::MirrorStatus(vec![mirror.status()]))?);
                Ok(())
            })
        })
    }
}

/// Frees a handle of a mirror. What was made from it stays as it is, and calls under way go on. NULL is allowed. May
/// close the state file, as `tw_warden_free` does, when nothing else keeps it open. Any thread, but not from a callback
/// of the library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_mirror_free(mirror: *mut tw_mirror, error: *mut *mut tw_error) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe { call(error, || handle::free::<Mirror>(mirror)) }
}
