//! Fleets: what several machines share through one Redis. The limit of requests is in `fleet/limiter.rs`, leadership in
//! `fleet/lease.rs`, the journal as a stream in `fleet/stream.rs`, and what comes over one in `list/stream.rs`.
//!
//! No URL is part of any message here: it may hold a password.

mod lease;
mod limiter;
mod stream;

use treewarden_core::fleet::Fleet;

use crate::args::{Out, tw_bytes};
use crate::border::{Failure, call};
use crate::error::{tw_error, tw_status};
use crate::handle::{self, Object, Opaque};
use crate::options::{OptionsObject, fleet_wanted, tw_options};

/// What several machines share through one Redis: limits of requests, leases, and the journals of wardens as streams.
/// Free it with `tw_fleet_free`.
///
/// Everything fails closed: without Redis there is no permit, no leader and no change, and functions that do not wait
/// for it answer `TW_STATUS_UNAVAILABLE`. Connections are made when they are needed, and made anew when they break. A
/// function that talks to Redis blocks until it has answered, at most for the times of `TW_OPTION_FLEET_…_TIMEOUT_MS`
/// and for as long as the system takes to find the host; a wait may be longer than its time by as much. Each of them
/// may fail as `tw_fleet_ping` does.
pub struct tw_fleet(Opaque);

impl Object for Fleet {
    type Opaque = tw_fleet;
    const NAME: &'static str = "tw_fleet";
}

/// Connects to a Redis of version 7 or later, or to a Valkey: `redis://[user:password@]host[:port][/database]` or
/// `unix:///path/to/socket`, UTF-8. User and password are in no message and in no log. It must be a single server, with
/// replicas or without, that evicts no keys. `options` are of the kind `TW_OPTIONS_FLEET`, or NULL for the defaults.
/// With `TW_OPTION_FLEET_LATER` Redis is not asked yet.
///
/// `*fleet` is the caller's, to be freed with `tw_fleet_free`. Talks to Redis. Any thread. `TW_STATUS_INVALID_ARGUMENT`
/// for a URL that is not understood, a database that is not there and a bad prefix; `TW_STATUS_UNSUPPORTED` for TLS,
/// `rediss://`; else as `tw_fleet_ping`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_fleet_connect(
    url: tw_bytes,
    options: *const tw_options,
    fleet: *mut *mut tw_fleet,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(fleet, "fleet")?;
            let url = url.text("url")?;
            let wanted = handle::with_optional::<OptionsObject, _>(options, |said| fleet_wanted(said, url))?;
            let fleet = if wanted.later { wanted.options.connect_later() } else { wanted.options.connect() };
            out.write(handle::put(fleet?)?);
            Ok(())
        })
    }
}

/// Asks Redis for a sign of life. Talks to Redis. Any thread. `TW_STATUS_UNAVAILABLE` when it cannot be reached or does
/// not serve, `TW_STATUS_PERMISSION_DENIED` when it refuses the user, `TW_STATUS_UNSUPPORTED` for one before version 7,
/// one of a cluster and one that evicts keys, `TW_STATUS_IO` when it refuses for another reason.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_fleet_ping(fleet: *const tw_fleet, error: *mut *mut tw_error) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe { call(error, || handle::with::<Fleet, _>(fleet, |fleet| fleet.ping().map_err(Failure::from))) }
}

/// Frees a handle of a fleet. What was made from it stays as it is, with its connections. NULL is allowed. Never waits.
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_fleet_free(fleet: *mut tw_fleet, error: *mut *mut tw_error) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe { call(error, || handle::free::<Fleet>(fleet)) }
}
