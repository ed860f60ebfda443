//! Rate limiters: at most so many requests in any rolling window, for any number of threads.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use treewarden_core::{Permit, RateLimiter, parse_retry_after};

use crate::args::{Out, timeout, tw_bytes};
use crate::border::{Failure, Outcome, call};
use crate::error::{TW_STATUS_TIMEOUT, tw_error, tw_status};
use crate::handle::{self, Object, Opaque};
use crate::options::{OptionsObject, rate_limit, tw_options};

/// Grants at most so many requests in any rolling window.
pub struct tw_limiter(Opaque);

pub(crate) struct LimiterObject {
    pub(crate) limiter: RateLimiter,
    /// It ends with the pipeline, and not before.
    pub(crate) is_of_pipeline: bool,
}

impl Object for LimiterObject {
    type Opaque = tw_limiter;
    const NAME: &'static str = "tw_limiter";
}

/// The right to send one request. The server may count the request at any moment until its answer: so a permit counts
/// from its grant until one window after its end.
pub struct tw_permit(Opaque);

struct PermitObject(Mutex<Option<Permit>>);

impl Object for PermitObject {
    type Opaque = tw_permit;
    const NAME: &'static str = "tw_permit";
}

/// How a limiter stands.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tw_limiter_status_info {
    /// Requests in any window, as asked for.
    pub limit: u32,
    /// Requests in any window at the moment: the limit, or less after throttling.
    pub effective_limit: u32,
    /// The cost of the permits that are out, or that ended less than a window ago.
    pub in_window: u32,
    /// 1 when `paused_until_ns` is set.
    pub has_paused_until: i32,
    /// Calls that wait.
    pub waiting: u64,
    /// Until when nobody is granted anything because of throttling, nanoseconds since 1970 UTC.
    pub paused_until_ns: i64,
    /// Permits that were granted since the limiter was made.
    pub granted: u64,
    /// Reports of throttling since then.
    pub throttled: u64,
    /// Reports of success since then.
    pub succeeded: u64,
}

/// Makes a limiter. `options` are of the kind `TW_OPTIONS_LIMITER`, with a limit and a window. It begins with an
/// empty window: what an earlier process has sent it does not know; that of a pipeline does.
///
/// `*limiter` is the caller's, to be freed with `tw_limiter_free`. Any thread. `TW_STATUS_INVALID_ARGUMENT` without a
/// limit or a window.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_limiter_new(
    options: *const tw_options,
    limiter: *mut *mut tw_limiter,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(limiter, "limiter")?;
            let rate = handle::with_optional::<OptionsObject, _>(options, rate_limit)?;
            let limiter = RateLimiter::new(&rate)?;
            out.write(handle::put(LimiterObject { limiter, is_of_pipeline: false })?);
            Ok(())
        })
    }
}

/// Waits until a request of `cost` may be sent, for at most `timeout_ms` milliseconds; 0: not at all, negative:
/// without end. Calls are served in their order: a small cost never overtakes a large one. A cost above the effective
/// limit waits until the limit has come back.
///
/// `*permit` is the caller's. Hold it until the answer has come, or until it is certain that none will, and end it
/// with one of the `tw_permit_…` functions; then free it.
///
/// Blocks. Any thread. `TW_STATUS_TIMEOUT` when nothing was granted in time and after `tw_limiter_interrupt`;
/// `TW_STATUS_INVALID_ARGUMENT` for a cost of 0 or above the limit, `TW_STATUS_CLOSED` after `tw_limiter_close`. The
/// limiter of a pipeline writes to the state file before a grant now and then; what that says is an error, too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_limiter_acquire(
    limiter: *const tw_limiter,
    cost: u32,
    timeout_ms: i64,
    permit: *mut *mut tw_permit,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(permit, "permit")?;
            handle::with::<LimiterObject, _>(limiter, |limiter| {
                let none = || Failure::new(TW_STATUS_TIMEOUT, "nothing was granted".to_owned());
                let permit = limiter.limiter.acquire(cost, timeout(timeout_ms))?.ok_or_else(none)?;
                out.write(handle::put(PermitObject(Mutex::new(Some(permit))))?);
                Ok(())
            })
        })
    }
}

/// Takes in that the server has refused a request because there were too many: HTTP 429, or 503 with a `Retry-After`.
/// `tw_permit_throttled` does the same and knows which request it was.
///
/// Nobody is granted anything for `retry_after_ms` milliseconds from now (negative: one window; at most seven days),
/// or for as long as an earlier report has asked for. The effective limit falls to four fifths, down to the floor.
/// Requests that were granted before the last such cut belong to the same incident and cut nothing again. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_limiter_throttled(
    limiter: *const tw_limiter,
    retry_after_ms: i64,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            handle::with::<LimiterObject, _>(limiter, |limiter| {
                limiter.limiter.throttled(timeout(retry_after_ms));
                Ok(())
            })
        })
    }
}

/// Takes in that a request has gone well. It is counted; what brings a lowered limit back is time: 5 % of the limit
/// with each full window after the last report of throttling and the end of its pause. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_limiter_succeeded(
    limiter: *const tw_limiter,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            handle::with::<LimiterObject, _>(limiter, |limiter| {
                limiter.limiter.succeeded();
                Ok(())
            })
        })
    }
}

/// Makes all calls of `tw_limiter_acquire` that wait return `TW_STATUS_TIMEOUT`; if none waits, the next call.
/// Interrupts before that count once. Any thread; not from a signal handler.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_limiter_interrupt(
    limiter: *const tw_limiter,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            handle::with::<LimiterObject, _>(limiter, |limiter| {
                limiter.limiter.interrupter().interrupt();
                Ok(())
            })
        })
    }
}

/// Ends the limiter: calls that wait, and later ones, get `TW_STATUS_CLOSED`. Permits that are out stay as they are.
/// Closing twice does nothing. Any thread. `TW_STATUS_INVALID_ARGUMENT` for the limiter of a pipeline, which ends
/// with the pipeline.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_limiter_close(
    limiter: *const tw_limiter,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            handle::with::<LimiterObject, _>(limiter, |limiter| {
                if limiter.is_of_pipeline {
                    return Err(Failure::invalid("the limiter of a pipeline is closed with the pipeline"));
                }
                limiter.limiter.close();
                Ok(())
            })
        })
    }
}

/// Tells how a limiter stands. `info_size` is `sizeof(tw_limiter_status_info)`. Never waits. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_limiter_status(
    limiter: *const tw_limiter,
    info: *mut tw_limiter_status_info,
    info_size: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::sized(info, info_size, "info")?;
            handle::with::<LimiterObject, _>(limiter, |limiter| {
                let status = limiter.limiter.status();
                out.write(tw_limiter_status_info {
                    limit: status.limit,
                    effective_limit: status.effective_limit,
                    in_window: status.in_window,
                    has_paused_until: i32::from(status.paused_until_ns.is_some()),
                    waiting: status.waiting as u64,
                    paused_until_ns: status.paused_until_ns.unwrap_or_default(),
                    granted: status.granted,
                    throttled: status.throttled,
                    succeeded: status.succeeded,
                });
                Ok(())
            })
        })
    }
}

/// Frees a handle of a limiter. Permits, and pipelines whose limiter it is, keep the limiter. NULL is allowed. Any
/// thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_limiter_free(limiter: *mut tw_limiter, error: *mut *mut tw_error) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe { call(error, || handle::free::<LimiterObject>(limiter)) }
}

/// Ends a permit, once.
fn end(permit: *const tw_permit, how: impl FnOnce(Permit)) -> Outcome<()> {
    handle::with::<PermitObject, _>(permit, |permit| {
        let permit = permit.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        how(permit.ok_or_else(|| Failure::invalid("the permit was ended already"))?);
        Ok(())
    })
}

/// Says that the answer has come: the request counts for one more window from now. The handle is still to be freed.
/// Any thread. `TW_STATUS_INVALID_ARGUMENT` for a permit that was ended already.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_permit_done(permit: *const tw_permit, error: *mut *mut tw_error) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe { call(error, || end(permit, Permit::done)) }
}

/// Says that the request was sent at once, by a caller that does not wait for answers: it counts for one window from
/// its grant. Then the limit is kept where the requests are sent; at the server only as far as all of them are
/// equally long on the way. Otherwise as `tw_permit_done`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_permit_sent_at_once(
    permit: *const tw_permit,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe { call(error, || end(permit, Permit::sent_at_once)) }
}

/// Says that nothing was sent and nothing will be: it never counted. Pacing goes on from its grant all the same.
/// Otherwise as `tw_permit_done`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_permit_unused(permit: *const tw_permit, error: *mut *mut tw_error) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe { call(error, || end(permit, Permit::unused)) }
}

/// Says that the answer was a refusal because there were too many requests: as `tw_limiter_throttled`, but certain of
/// which request it was. Otherwise as `tw_permit_done`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_permit_throttled(
    permit: *const tw_permit,
    retry_after_ms: i64,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe { call(error, || end(permit, |permit| permit.throttled(timeout(retry_after_ms)))) }
}

/// Frees a permit. One that was not ended is ended as by `tw_permit_done`. NULL is allowed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_permit_free(permit: *mut tw_permit, error: *mut *mut tw_error) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe { call(error, || handle::free::<PermitObject>(permit)) }
}

/// Reads the value of the HTTP header `Retry-After`: seconds, or a date in any of the three forms that HTTP knows.
///
/// Gives how many milliseconds to wait from `now_ns`, nanoseconds since 1970 UTC, which matters for a date alone;
/// parts of a millisecond are rounded up. A date that has passed gives 0, more than seven days give seven days. The
/// date is by the clock of the server: where the two clocks differ, so does the wait.
///
/// Never waits. Any thread. `TW_STATUS_INVALID_ARGUMENT` for what is neither seconds nor a date: `1.5`, `-1`,
/// nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_parse_retry_after(
    header: tw_bytes,
    now_ns: i64,
    wait_ms: *mut i64,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(wait_ms, "wait_ms")?;
            let header = header.text("header")?;
            let since = Duration::from_nanos(now_ns.unsigned_abs());
            let now = match now_ns {
                0.. => SystemTime::UNIX_EPOCH.checked_add(since),
                _ => SystemTime::UNIX_EPOCH.checked_sub(since),
            };
            let now = now.ok_or_else(|| Failure::invalid(format!("`now_ns` cannot be {now_ns}")))?;
            let wait = parse_retry_after(header, now)
                .ok_or_else(|| Failure::invalid("`header` is neither seconds nor a date"))?;
            out.write(i64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX));
            Ok(())
        })
    }
}
