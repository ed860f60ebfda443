//! Leadership over all machines: a lease, and whoever has it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use treewarden_core::fleet::{Fleet, Leader, Lease};

use super::tw_fleet;
use crate::args::{Out, count, flag, timeout, tw_bytes};
use crate::border::{Failure, Outcome, call};
use crate::error::{TW_STATUS_LEASE_LOST, TW_STATUS_TIMEOUT, tw_error, tw_status};
use crate::handle::{self, Object, Opaque};

/// The right to be the leader, of which there is one over all machines. Free it with `tw_lease_free`.
pub struct tw_lease(Opaque);

impl Object for Lease {
    type Opaque = tw_lease;
    const NAME: &'static str = "tw_lease";
}

/// Whoever has a lease. `tw_leader_release` and `tw_leader_free` give it back; what cannot be given back runs out.
pub struct tw_leader(Opaque);

/// The object behind `tw_leader`.
pub(super) struct LeaderObject {
    /// `None` when it was given back. Shared with calls that renew it: nobody waits for Redis behind the lock.
    leader: Mutex<Option<Arc<Leader>>>,
    token: u64,
}

impl Object for LeaderObject {
    type Opaque = tw_leader;
    const NAME: &'static str = "tw_leader";
}

impl LeaderObject {
    fn new(leader: Leader) -> Self {
        Self { token: leader.token(), leader: Mutex::new(Some(Arc::new(leader))) }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Leader>>> {
        self.leader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The engine's, for one call.
    pub(super) fn ready(&self) -> Outcome<Arc<Leader>> {
        let leader = self.lock().clone();
        leader.ok_or_else(|| Failure::new(TW_STATUS_LEASE_LOST, "the lease was given back".to_owned()))
    }
}

/// Gives the lease of that name, UTF-8. A leader that does not renew it loses it `ttl_ms` milliseconds after the last
/// renewal, from 100 to a day; after a restart of Redis nobody gets it for as long. All machines must give the same.
///
/// `*lease` is the caller's, to be freed with `tw_lease_free`. Does not ask Redis yet, and never waits. Any thread.
/// `TW_STATUS_INVALID_ARGUMENT` for a bad name or time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_fleet_lease(
    fleet: *const tw_fleet,
    name: tw_bytes,
    ttl_ms: i64,
    lease: *mut *mut tw_lease,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(lease, "lease")?;
            let name = name.text("name")?;
            let ttl = Duration::from_millis(count(ttl_ms, "ttl_ms")?);
            handle::with::<Fleet, _>(fleet, |fleet| {
                out.write(handle::put(fleet.lease(name, ttl)?)?);
                Ok(())
            })
        })
    }
}

/// Waits until the lease is free and takes it, for at most `timeout_ms` milliseconds; 0: asks once, negative: waits
/// without end. Two calls in one program are two candidates. Redis is waited for as well.
///
/// With a `keep` of 1 a thread of the library renews it from then on, as often as needed, until it is given back;
/// `tw_leader_is_valid` tells whether that works. With 0 call `tw_leader_renew`, more often than each third of the time
/// of the lease.
///
/// `*leader` is the caller's, to be freed with `tw_leader_free`. Blocks. Any thread. `TW_STATUS_TIMEOUT` when the lease
/// was not free in time and after `tw_lease_interrupt`; `TW_STATUS_UNAVAILABLE` when Redis cannot be reached at the end
/// of the time; `TW_STATUS_INVALID_ARGUMENT` when the present leader uses another time; `TW_STATUS_IO` when no thread
/// can be started.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_lease_acquire(
    lease: *const tw_lease,
    timeout_ms: i64,
    keep: i32,
    leader: *mut *mut tw_leader,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(leader, "leader")?;
            let is_kept = flag(i64::from(keep), "keep")?;
            handle::with::<Lease, _>(lease, |lease| {
                let why = "the lease was not free in time, or the wait was interrupted";
                let none = || Failure::new(TW_STATUS_TIMEOUT, why.to_owned());
                let mut leader = lease.acquire(timeout(timeout_ms))?.ok_or_else(none)?;
                if is_kept {
                    leader.keep()?;
                }
                out.write(handle::put(LeaderObject::new(leader))?);
                Ok(())
            })
        })
    }
}

/// Makes all calls of `tw_lease_acquire` with this handle that wait return `TW_STATUS_TIMEOUT`; if none waits, the next
/// call. Interrupts before that count once. One that talks to Redis returns when that has answered. Any thread; not
/// from a signal handler.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_lease_interrupt(lease: *const tw_lease, error: *mut *mut tw_error) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            handle::with::<Lease, _>(lease, |lease| {
                lease.interrupt();
                Ok(())
            })
        })
    }
}

/// Frees a handle of a lease; calls that wait return. A leader stays the leader. NULL is allowed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_lease_free(lease: *mut tw_lease, error: *mut *mut tw_error) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            if lease.is_null() {
                return Ok(());
            }
            let waiting = handle::with::<Lease, _>(lease, |lease| Ok(lease.clone()))?;
            handle::free::<Lease>(lease)?;
            // In this order no call can begin to wait after the interrupt.
            waiting.interrupt();
            Ok(())
        })
    }
}

/// Gives the fencing token: higher than that of every leader before, also where Redis has lost its data. Whoever the
/// leader writes to should refuse a token that is lower than one it has seen, as a stream does: see
/// `tw_fleet_publisher`. Never waits. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_leader_token(
    leader: *const tw_leader,
    token: *mut u64,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(token, "token")?;
            handle::with::<LeaderObject, _>(leader, |leader| {
                out.write(leader.token);
                Ok(())
            })
        })
    }
}

/// Tells whether no other can be the leader now, 1 or 0: by the clocks of this machine, with a tenth of the time as
/// reserve. Work that takes long needs a look at it again and again. Asks nobody, and never waits. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_leader_is_valid(
    leader: *const tw_leader,
    is_valid: *mut i32,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(is_valid, "is_valid")?;
            handle::with::<LeaderObject, _>(leader, |leader| {
                let is_valid = leader.lock().as_ref().is_some_and(|leader| leader.is_valid());
                out.write(i32::from(is_valid));
                Ok(())
            })
        })
    }
}

/// Renews a lease: it is valid for its whole time again. Talks to Redis. Any thread. `TW_STATUS_LEASE_LOST` when it has
/// run out, was given back, or Redis no longer knows it; then it stays lost. `TW_STATUS_UNAVAILABLE` when Redis cannot
/// be reached: `tw_leader_is_valid` says how things stand.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_leader_renew(leader: *const tw_leader, error: *mut *mut tw_error) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            handle::with::<LeaderObject, _>(leader, |leader| leader.ready()?.renew().map_err(Failure::from))
        })
    }
}

/// Gives a lease back, so that another can have it at once. The handle is still to be freed. Giving it back twice does
/// nothing; where Redis cannot be told it runs out, which is no error here. Talks to Redis. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_leader_release(leader: *const tw_leader, error: *mut *mut tw_error) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            handle::with::<LeaderObject, _>(leader, |leader| {
                let ours = leader.lock().take();
                // Not behind the lock: that talks to Redis.
                drop(ours);
                Ok(())
            })
        })
    }
}

/// Frees a leader, and gives its lease back as `tw_leader_release` does. NULL is allowed. Talks to Redis. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_leader_free(leader: *mut tw_leader, error: *mut *mut tw_error) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe { call(error, || handle::free::<LeaderObject>(leader)) }
}
