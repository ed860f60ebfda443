//! A limit of requests over all machines, and the permits that it grants.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use treewarden_core::fleet::{Fleet, Permit, SharedLimiter};

use super::tw_fleet;
use crate::args::{Out, count, timeout, tw_bytes};
use crate::border::{Failure, Outcome, call};
use crate::error::{TW_STATUS_NOT_FOUND, TW_STATUS_TIMEOUT, tw_error, tw_status};
use crate::handle::{self, Object, Opaque};
use crate::options::{OptionsObject, shared_rate_limit, tw_options};
use crate::state::{ValueObject, tw_value};

/// Grants at most so many requests in any rolling window, over all machines that ask for the same name. Free it with
/// `tw_shared_limiter_free`.
///
/// Without Redis nothing is granted. After a restart or failover of Redis, when its data was lost, and on a Redis that
/// no fleet of this prefix has used before, nothing is granted for one window and the longest time that a permit may be
/// held: what was granted before is not known. Whoever asks when a permit is free gets it, in no particular order.
pub struct tw_shared_limiter(Opaque);

impl Object for SharedLimiter {
    type Opaque = tw_shared_limiter;
    const NAME: &'static str = "tw_shared_limiter";
}

/// The right to send one request. Hold it until the answer has come, or until it is certain that none will, and not for
/// longer than its limiter allows: `tw_shared_permit_left`. It counts from its grant until one window after its end.
pub struct tw_shared_permit(Opaque);

struct SharedPermitObject(Mutex<Option<Permit>>);

impl Object for SharedPermitObject {
    type Opaque = tw_shared_permit;
    const NAME: &'static str = "tw_shared_permit";
}

impl SharedPermitObject {
    fn lock(&self) -> MutexGuard<'_, Option<Permit>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the permit to end it; nobody waits behind the lock while Redis is told.
    fn take(&self) -> Outcome<Permit> {
        let permit = self.lock().take();
        permit.ok_or_else(|| Failure::invalid("the permit was ended already"))
    }
}

/// Gives the limiter of that name, UTF-8. `options` are of the kind `TW_OPTIONS_LIMITER`, with a limit and a window;
/// throttling pauses everybody and does not lower the limit, so `TW_OPTION_LIMITER_FLOOR_PERMILLE` is refused.
///
/// `hold_max_ms` is the longest time between the grant of a permit and the end of its request, in milliseconds, from 1
/// to a day; 60,000 suits most. The permit of a worker that was killed counts for so long, and a window. All machines
/// give the same limit, window, pacing and time to hold: see `tw_shared_limiter_enforce`.
///
/// `*limiter` is the caller's, to be freed with `tw_shared_limiter_free`. Does not ask Redis yet, and never waits. Any
/// thread. `TW_STATUS_INVALID_ARGUMENT` for a bad name, a rate or a time that makes no sense.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_fleet_limiter(
    fleet: *const tw_fleet,
    name: tw_bytes,
    options: *const tw_options,
    hold_max_ms: i64,
    limiter: *mut *mut tw_shared_limiter,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(limiter, "limiter")?;
            let name = name.text("name")?;
            let hold_max = Duration::from_millis(count(hold_max_ms, "hold_max_ms")?);
            handle::with::<Fleet, _>(fleet, |fleet| {
                let rate = handle::with_optional::<OptionsObject, _>(options, shared_rate_limit)?;
                out.write(handle::put(fleet.limiter_with(name, &rate, hold_max)?)?);
                Ok(())
            })
        })
    }
}

/// A handle for what was granted, or why nothing was.
fn grant(limiter: &SharedLimiter, granted: Option<Permit>) -> Outcome<*mut tw_shared_permit> {
    let permit = granted.ok_or_else(|| {
        let why = limiter.waiting().map_or_else(String::new, |why| format!(": {why}"));
        Failure::new(TW_STATUS_TIMEOUT, format!("nothing was granted{why}"))
    })?;
    handle::put(SharedPermitObject(Mutex::new(Some(permit))))
}

/// Waits until a request may be sent, for at most `timeout_ms` milliseconds; 0: not at all, negative: without end.
/// Redis is waited for like anything else.
///
/// `*permit` is the caller's. End it with one of the `tw_shared_permit_…` functions when the answer has come, then free
/// it.
///
/// Blocks. Any thread. `TW_STATUS_TIMEOUT` when nothing was granted in time and after `tw_shared_limiter_interrupt`;
/// the message says why, as `tw_shared_limiter_waiting` does. `TW_STATUS_INVALID_ARGUMENT` when other machines use the
/// name with another rate or time to hold.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_shared_limiter_acquire(
    limiter: *const tw_shared_limiter,
    timeout_ms: i64,
    permit: *mut *mut tw_shared_permit,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(permit, "permit")?;
            handle::with::<SharedLimiter, _>(limiter, |limiter| {
                out.write(grant(limiter, limiter.acquire(timeout(timeout_ms))?)?);
                Ok(())
            })
        })
    }
}

/// Asks Redis once for a permit, whoever else waits. Otherwise as `tw_shared_limiter_acquire`, but that a Redis that
/// cannot be reached is `TW_STATUS_UNAVAILABLE`. Talks to Redis. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_shared_limiter_try_acquire(
    limiter: *const tw_shared_limiter,
    permit: *mut *mut tw_shared_permit,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(permit, "permit")?;
            handle::with::<SharedLimiter, _>(limiter, |limiter| {
                out.write(grant(limiter, limiter.try_acquire()?)?);
                Ok(())
            })
        })
    }
}

/// Says for people why calls of this process wait now, or why the last one did not get a permit, UTF-8: `all 35 permits
/// of the last 10 s are used; next in 1.2 s`, or that Redis cannot be reached. Read it with `tw_value_bytes`, free it
/// with `tw_value_free`. Never waits. Any thread. `TW_STATUS_NOT_FOUND` when the last one was granted, and before the
/// first.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_shared_limiter_waiting(
    limiter: *const tw_shared_limiter,
    why: *mut *mut tw_value,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(why, "why")?;
            handle::with::<SharedLimiter, _>(limiter, |limiter| {
                let none = || Failure::new(TW_STATUS_NOT_FOUND, "nobody waits for a permit".to_owned());
                let why = limiter.waiting().ok_or_else(none)?;
                out.write(handle::put(ValueObject(why.into_bytes()))?);
                Ok(())
            })
        })
    }
}

/// Takes in that a server has refused a request because there were too many: HTTP 429, or 503 with a `Retry-After`. No
/// machine is granted anything for `retry_after_ms` milliseconds from now (negative: one window; at most seven days),
/// or for as long as an earlier report has asked for. Talks to Redis. Any thread. `TW_STATUS_UNAVAILABLE` when it
/// cannot be told, else as `tw_shared_limiter_acquire`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_shared_limiter_throttled(
    limiter: *const tw_shared_limiter,
    retry_after_ms: i64,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            handle::with::<SharedLimiter, _>(limiter, |limiter| {
                limiter.throttled(timeout(retry_after_ms)).map_err(Failure::from)
            })
        })
    }
}

/// Makes the rate and the time to hold of this handle count for all machines from now on. Those that use others get
/// `TW_STATUS_INVALID_ARGUMENT` until they use these. A longer window or time to hold begins with a wait, because what
/// no longer counted may count again. Talks to Redis. Any thread. `TW_STATUS_UNAVAILABLE` when it cannot be told.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_shared_limiter_enforce(
    limiter: *const tw_shared_limiter,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            handle::with::<SharedLimiter, _>(limiter, |limiter| limiter.enforce().map_err(Failure::from))
        })
    }
}

/// Makes all calls of `tw_shared_limiter_acquire` with this handle that wait return `TW_STATUS_TIMEOUT`; if none waits,
/// the next call. Interrupts before that count once. One that talks to Redis returns when that has answered. Any
/// thread; not from a signal handler.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_shared_limiter_interrupt(
    limiter: *const tw_shared_limiter,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            handle::with::<SharedLimiter, _>(limiter, |limiter| {
                limiter.interrupt();
                Ok(())
            })
        })
    }
}

/// Frees a handle of a limiter; calls that wait return. Permits stay as they are. NULL is allowed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_shared_limiter_free(
    limiter: *mut tw_shared_limiter,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            if limiter.is_null() {
                return Ok(());
            }
            let waiting = handle::with::<SharedLimiter, _>(limiter, |limiter| Ok(limiter.clone()))?;
            handle::free::<SharedLimiter>(limiter)?;
            // In this order no call can begin to wait after the interrupt.
            waiting.interrupt();
            Ok(())
        })
    }
}

/// Gives for how many milliseconds the request may still go on, parts of one not counted; give it no more time than
/// that. 0 when the permit was ended, and when it was held for too long: then the limit is no longer kept. Never waits.
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_shared_permit_left(
    permit: *const tw_shared_permit,
    left_ms: *mut u64,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(left_ms, "left_ms")?;
            handle::with::<SharedPermitObject, _>(permit, |permit| {
                let left = permit.lock().as_ref().map_or(Duration::ZERO, Permit::left);
                out.write(u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
                Ok(())
            })
        })
    }
}

/// Says that the answer has come: the request counts for one more window from now. The handle is still to be freed.
/// Where Redis cannot be told it counts as if it were held to the end, which is no error here. Talks to Redis. Any
/// thread. `TW_STATUS_INVALID_ARGUMENT` for a permit that was ended already.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_shared_permit_done(
    permit: *const tw_shared_permit,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            handle::with::<SharedPermitObject, _>(permit, |permit| {
                permit.take()?.done();
                Ok(())
            })
        })
    }
}

/// Says that nothing was sent and nothing will be: it does not count any more. Otherwise as `tw_shared_permit_done`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_shared_permit_unused(
    permit: *const tw_shared_permit,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            handle::with::<SharedPermitObject, _>(permit, |permit| {
                permit.take()?.unused();
                Ok(())
            })
        })
    }
}

/// Says that the answer was a refusal because there were too many requests, as `tw_shared_limiter_throttled`, and fails
/// as that does; the permit ends all the same. `TW_STATUS_INVALID_ARGUMENT` for a permit that was ended already.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_shared_permit_throttled(
    permit: *const tw_shared_permit,
    retry_after_ms: i64,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            handle::with::<SharedPermitObject, _>(permit, |permit| {
                permit.take()?.throttled(timeout(retry_after_ms)).map_err(Failure::from)
            })
        })
    }
}

/// Frees a permit. One that was not ended is ended as by `tw_shared_permit_done`. NULL is allowed. Talks to Redis then.
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_shared_permit_free(
    permit: *mut tw_shared_permit,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe { call(error, || handle::free::<SharedPermitObject>(permit)) }
}
