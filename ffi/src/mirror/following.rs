//! A mirror that follows its root by itself, until its handle is freed.

use treewarden_core::mirror::{Following, Mirror};

use super::tw_mirror;
use crate::args::Out;
use crate::border::call;
use crate::error::{tw_error, tw_status};
use crate::handle::{self, Object, Opaque};

/// Threads of the library that run a mirror after each change. They end when it is freed, with `tw_following_free`, and
/// when the warden is closed.
pub struct tw_following(Opaque);

struct FollowingObject {
    /// Goes first: its threads have ended when the warden may be closed.
    _following: Following,
    _mirror: Mirror,
}

impl Object for FollowingObject {
    type Opaque = tw_following;
    const NAME: &'static str = "tw_following";
}

/// Follows the root of a mirror: threads run the mirror after each commit that changes something, and tell the CDN
/// meanwhile. They hear of commits, not of the disk: `tw_warden_watch` or scans make those. Failures are logged, told
/// by `tw_mirror_status`, and tried again after growing waits; deletions that are held wait for a `tw_mirror_sync` that
/// accepts them.
///
/// `*following` is the caller's, to be freed with `tw_following_free`; it keeps the warden open. Never waits. Any
/// thread. `TW_STATUS_BUSY` when the mirror is followed already, `TW_STATUS_CLOSED`, `TW_STATUS_IO` when no thread can
/// be started.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_mirror_follow(
    mirror: *const tw_mirror,
    following: *mut *mut tw_following,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(following, "following")?;
            handle::with::<Mirror, _>(mirror, |mirror| {
                let object = FollowingObject { _following: mirror.follow()?, _mirror: mirror.clone() };
                out.write(handle::put(object)?);
                Ok(())
            })
        })
    }
}

/// Ends the threads and waits for them: a run ends within a part of a file, and what is acknowledged stays so. NULL is
/// allowed. May close the state file, as `tw_warden_free` does, when nothing else keeps it open. Blocks. Any thread,
/// but not from a callback of the library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_following_free(
    following: *mut tw_following,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe { call(error, || handle::free::<FollowingObject>(following)) }
}
