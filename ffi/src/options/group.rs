//! A function of the program that says which files are one job.

use std::ffi::c_void;
use std::panic::resume_unwind;

use treewarden_core::Group;

use super::{OptionsObject, TW_OPTIONS_PIPELINE, tw_options};
use crate::args::tw_bytes;
use crate::border::{Failure, call};
use crate::callback::{UserData, tw_finalizer};
use crate::error::{tw_error, tw_status};
use crate::handle;

/// Gives the key of a group; the bytes are copied. To be called from within a `tw_group_fn`, with its `key_out`. Called
/// again, the last key holds.
pub type tw_set_key = unsafe extern "C" fn(key_out: *mut c_void, key: tw_bytes);

/// Says which files are one job: calls `set_key(key_out, key)` with the key of the group that the file `address`
/// belongs to, and returns 0. Without a key the file is left out. Any other result means that it failed: then the file
/// is left out too, and the log tells.
///
/// A key is an address in the same root, `ROOT/…`, of a file, of a directory or of nothing at all, of at most 4,096
/// bytes. The function is called in any thread, in several at once too, whenever a file comes, changes or moves, and
/// must give the same key for the same address as long as its name stays. It must not call the library but for
/// `set_key`. `address` is good until it returns.
pub type tw_group_fn = Option<
    unsafe extern "C" fn(
        address: tw_bytes,
        key_out: *mut c_void,
        set_key: tw_set_key,
        user_data: *mut c_void,
    ) -> i32,
>;

/// The same, not NULL.
type GroupFn = unsafe extern "C" fn(tw_bytes, *mut c_void, tw_set_key, *mut c_void) -> i32;

/// What `key_out` points to.
#[derive(Default)]
enum Key {
    #[default]
    None,
    Given(Vec<u8>),
    /// NULL with a length, or a length beyond all memory.
    Unreadable,
}

unsafe extern "C" fn set_key(key_out: *mut c_void, key: tw_bytes) {
    // SAFETY: `key_out` is what the function was called with, and it has not returned yet.
    let Some(out) = (unsafe { key_out.cast::<Key>().as_mut() }) else { return };
    // SAFETY: the function says that there are so many bytes.
    *out = match unsafe { key.read("key") } {
        Ok(bytes) => Key::Given(bytes.to_vec()),
        Err(_) => Key::Unreadable,
    };
}

fn group(name: &str, function: GroupFn, data: UserData) -> Group {
    Group::by(name, move |address| {
        let mut key = Key::None;
        let key_out = (&raw mut key).cast::<c_void>();
        // SAFETY: the program gave the two for each other, and `key_out` is what `set_key` takes.
        let result = unsafe { function(tw_bytes::of(address), key_out, set_key, data.ptr()) };
        match (result, key) {
            (0, Key::None) => Ok(None),
            (0, Key::Given(key)) => Ok(Some(key)),
            // The engine makes an error of it that names the function and the file. It is no panic: the hook of the
            // process hears nothing.
            (0, Key::Unreadable) => resume_unwind(Box::new("its key is no bytes")),
            (result, _) => resume_unwind(Box::new(format!("its result was {result}"))),
        }
    })
}

/// Groups files by a function, which takes the place of `TW_OPTION_PIPELINE_GROUP`. `pipeline` are options of the kind
/// `TW_OPTIONS_PIPELINE`. The state file keeps the `name` only (UTF-8, 1 to 255 bytes): the program sets the function
/// whenever it opens the pipeline, and another name groups all files anew. `finalizer` is called when neither these
/// options nor a pipeline that was opened with them needs the function any more. Any thread.
///
/// `TW_STATUS_INVALID_ARGUMENT` for options of another kind, a name that is not UTF-8, or no function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_options_set_group(
    pipeline: *mut tw_options,
    name: tw_bytes,
    function: tw_group_fn,
    user_data: *mut c_void,
    finalizer: tw_finalizer,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let data = UserData::new(user_data, finalizer);
            let name = name.text("name")?;
            let function = function.ok_or_else(|| Failure::invalid("`function` is NULL"))?;
            let group = group(name, function, data);
            let old = handle::with::<OptionsObject, _>(pipeline, |pipeline| {
                pipeline.check_kind(TW_OPTIONS_PIPELINE)?;
                Ok(pipeline.lock().group.replace(group))
            })?;
            // Its finalizer may call the library: not under the lock.
            drop(old);
            Ok(())
        })
    }
}
