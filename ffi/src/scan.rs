//! Scans and verifications: what is told while they run, and how they are stopped.

use std::ffi::c_void;

use treewarden_core::{CancelToken, Phase, Progress, ScanContext};

use crate::args::{Out, tw_bytes};
use crate::border::{Failure, Outcome, call};
use crate::callback::UserData;
use crate::error::{tw_error, tw_status};
use crate::handle::{self, Object, Opaque};
use crate::list::{List, tw_list};
use crate::options::{OptionsObject, scan_options, tw_options, verify_options};
use crate::warden::{WardenObject, tw_warden};

/// Stops scans, verifications and runs of mirrors from outside, as many as were given it. Made by `tw_cancel_new`,
/// freed by `tw_cancel_free`.
pub struct tw_cancel(Opaque);

impl Object for CancelToken {
    type Opaque = tw_cancel;
    const NAME: &'static str = "tw_cancel";
}

/// Listing and looking.
pub const TW_PHASE_WALK: i32 = 0;
/// Reading content.
pub const TW_PHASE_HASH: i32 = 1;
/// Writing and publishing.
pub const TW_PHASE_COMMIT: i32 = 2;

/// How far a scan has come.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tw_progress {
    /// Name of the root, UTF-8.
    pub root: tw_bytes,
    /// Directories listed so far.
    pub dirs: u64,
    /// Files and symlinks looked at, or in `TW_PHASE_HASH` read, so far.
    pub files: u64,
    /// Bytes of the files looked at, or read, so far.
    pub bytes: u64,
    /// Where `has_estimate_files` is 1: files expected, known from the last scan, or to be read.
    pub estimate_files: u64,
    /// Where `has_eta_ms` is 1: milliseconds to go.
    pub eta_ms: u64,
    /// Files a second since the phase began.
    pub files_per_s: f64,
    /// What it is doing, `TW_PHASE_…`.
    pub phase: i32,
    /// 1 when there is an estimate.
    pub has_estimate_files: i32,
    /// 1 when there is an estimate of the time.
    pub has_eta_ms: i32,
    /// Always 0.
    pub reserved: i32,
}

impl From<&Progress> for tw_progress {
    fn from(progress: &Progress) -> Self {
        Self {
            root: tw_bytes::of(progress.root.as_bytes()),
            dirs: progress.dirs,
            files: progress.files,
            bytes: progress.bytes,
            estimate_files: progress.estimate_files.unwrap_or_default(),
            eta_ms: progress.eta_ms.unwrap_or_default(),
            files_per_s: progress.files_per_s,
            phase: match progress.phase {
                Phase::Walk => TW_PHASE_WALK,
                Phase::Hash => TW_PHASE_HASH,
                Phase::Commit => TW_PHASE_COMMIT,
            },
            has_estimate_files: i32::from(progress.estimate_files.is_some()),
            has_eta_ms: i32::from(progress.eta_ms.is_some()),
            reserved: 0,
        }
    }
}

/// Called about ten times a second while a scan runs, in threads of the library, never two at once, and never after the
/// scan has returned. `progress` and its views are good until it returns. It must neither wait for the scan nor call
/// `tw_warden_pause`, `tw_warden_close` or `tw_warden_free`.
pub type tw_progress_fn = Option<unsafe extern "C" fn(progress: *const tw_progress, user_data: *mut c_void)>;

/// What a scan or a verification needs besides its options. Fill it with zeros first: what is 0 is left out.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tw_scan_hooks {
    /// Told how far it has come. May be NULL.
    pub progress: tw_progress_fn,
    /// What `progress` is called with. It must live until the scan returns.
    pub user_data: *mut c_void,
    /// Stops it. May be NULL.
    pub cancel: *const tw_cancel,
}

/// Reads the hooks of the caller, whose header may know more or fewer of them. `read` has none; all fields of its type
/// are pointers that may be NULL, or lengths.
///
/// # Safety
///
/// `hooks` points to `bytes` bytes, or is NULL.
pub(crate) unsafe fn read_hooks<T: Copy>(
    hooks: *const T,
    bytes: usize,
    mut read: T,
    name: &str,
) -> Outcome<T> {
    if hooks.is_null() {
        return Ok(read);
    }
    // Whole fields only: each is as wide as a pointer.
    let is_size = bytes != 0 && bytes.is_multiple_of(size_of::<*const c_void>());
    if !hooks.is_aligned() || !is_size || isize::try_from(bytes).is_err() {
        return Err(Failure::invalid(format!("what was given is not a `{name}` of {bytes} bytes")));
    }
    let known = bytes.min(size_of::<T>());
    // SAFETY: so many bytes are there, as the caller says and as the type has; pointers that are NULL are what `read`
    // begins with, and those that are set are the caller's; any bytes make a length. Behind the known ones there are
    // `bytes - known` more.
    let unknown = unsafe {
        std::ptr::copy_nonoverlapping(hooks.cast::<u8>(), (&raw mut read).cast::<u8>(), known);
        std::slice::from_raw_parts(hooks.cast::<u8>().add(known), bytes - known)
    };
    if unknown.iter().any(|byte| *byte != 0) {
        // To leave out what was asked for would be worse than to refuse it.
        return Err(Failure::invalid(format!(
            "the `{name}` sets something that this version of the library does not know"
        )));
    }
    Ok(read)
}

/// What the engine calls, for the hooks of the caller.
///
/// # Safety
///
/// As [`read_hooks`]; what they hold is good until the scan has ended.
unsafe fn context(hooks: *const tw_scan_hooks, bytes: usize) -> Outcome<ScanContext> {
    let none = tw_scan_hooks { progress: None, user_data: std::ptr::null_mut(), cancel: std::ptr::null() };
    // SAFETY: as promised.
    let hooks = unsafe { read_hooks(hooks, bytes, none, "tw_scan_hooks")? };
    let cancel = handle::with_optional::<CancelToken, _>(hooks.cancel, |token| Ok(token.cloned()))?;
    let context = ScanContext::new().cancel(cancel.unwrap_or_default());
    let Some(progress) = hooks.progress else { return Ok(context) };
    let data = UserData::new(hooks.user_data, None);
    Ok(context.progress(move |told| {
        let told = tw_progress::from(told);
        // SAFETY: the caller gave the two for each other, and waits for the scan that this belongs to.
        unsafe { progress(&raw const told, data.ptr()) };
    }))
}

/// Scans what the options name, one target after the other, and applies what it finds with one commit for each. A scan
/// that finds nothing new writes not one byte. `options` are of the kind `TW_OPTIONS_SCAN`; without a target, or with
/// NULL, all roots are scanned. `hooks` may be NULL; `hooks_size` is `sizeof(tw_scan_hooks)`. The list has one row for
/// `tw_list_report` for each target; free it with `tw_list_free`. Blocks until all of it is done. Any thread.
///
/// A root that is unavailable, a result that is held, and a scan that was cancelled are told by the report, not by the
/// status. `TW_STATUS_INVALID_ARGUMENT` for something that is not an address and `TW_STATUS_NOT_FOUND` for an unknown
/// root: then nothing is scanned. When some targets fail and others do not, the failures are in their reports; when all
/// fail, the status is that of the first.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_scan(
    warden: *const tw_warden,
    options: *const tw_options,
    hooks: *const tw_scan_hooks,
    hooks_size: usize,
    reports: *mut *mut tw_list,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(reports, "reports")?;
            let options = handle::with_optional::<OptionsObject, _>(options, scan_options)?;
            let context = context(hooks, hooks_size)?;
            handle::with::<WardenObject, _>(warden, |object| {
                let reports = object.warden.scan_with(&options, &context)?;
                out.write(handle::put(List::Reports(reports))?);
                Ok(())
            })
        })
    }
}

/// Compares the disk with the state, and changes neither. `options` are of the kind `TW_OPTIONS_VERIFY`, or NULL: all
/// roots, fingerprints only. `hooks` as in `tw_warden_scan`. The list has one row for `tw_list_verify`; the differences
/// come by `tw_list_difference`, paths that could not be looked at by `tw_list_scan_error` with a `report_index` of 0.
/// Free it with `tw_list_free`. Blocks until all of it is done. Any thread.
///
/// `TW_STATUS_NOT_FOUND` for an unknown root, `TW_STATUS_CANCELLED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_verify(
    warden: *const tw_warden,
    options: *const tw_options,
    hooks: *const tw_scan_hooks,
    hooks_size: usize,
    report: *mut *mut tw_list,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(report, "report")?;
            let options = handle::with_optional::<OptionsObject, _>(options, verify_options)?;
            let context = context(hooks, hooks_size)?;
            handle::with::<WardenObject, _>(warden, |object| {
                let report = object.warden.verify(&options, &context)?;
                out.write(handle::put(List::Verify(Box::new(report)))?);
                Ok(())
            })
        })
    }
}

/// Makes something to stop scans and runs of mirrors with. Free it with `tw_cancel_free`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_cancel_new(cancel: *mut *mut tw_cancel, error: *mut *mut tw_error) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(cancel, "cancel")?;
            out.write(handle::put(CancelToken::new())?);
            Ok(())
        })
    }
}

/// Asks all scans and runs of mirrors that were given this to stop, at the next directory, file or block of a file, and
/// those that are given it later to stop at once. There is no way back. Never waits. Any thread, but not from a signal
/// handler.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_cancel_cancel(cancel: *mut tw_cancel, error: *mut *mut tw_error) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            handle::with::<CancelToken, _>(cancel, |token| {
                token.cancel();
                Ok(())
            })
        })
    }
}

/// Frees it; what was given it goes on. NULL is allowed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_cancel_free(cancel: *mut tw_cancel, error: *mut *mut tw_error) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe { call(error, || handle::free::<CancelToken>(cancel)) }
}
