//! What a program gives along with a callback: a pointer of its own, and the function that is told when the library
//! lets go of it.

use std::ffi::c_void;

/// Called exactly once, when the library lets go of `user_data`: the callback is not called any more then. That may be
/// in any thread, and at once when the function that was given the callback fails. NULL means that nobody needs to
/// know.
pub(crate) type tw_finalizer = Option<unsafe extern "C" fn(user_data: *mut c_void)>;

/// A pointer of the program. The finalizer is called when this is dropped.
///
/// It is made before any argument of a function is checked, so that a function that fails lets go of it too.
pub(crate) struct UserData {
    ptr: *mut c_void,
    finalizer: tw_finalizer,
}

// SAFETY: the library never follows the pointer. It hands it to the callback and the finalizer only, and whoever gives
// a callback promises that both may be called in any thread.
unsafe impl Send for UserData {}
// SAFETY: as above.
unsafe impl Sync for UserData {}

impl UserData {
    pub(crate) fn new(ptr: *mut c_void, finalizer: tw_finalizer) -> Self {
        Self { ptr, finalizer }
    }

    /// What a callback is called with.
    pub(crate) fn ptr(&self) -> *mut c_void {
        self.ptr
    }
}

impl Drop for UserData {
    fn drop(&mut self) {
        if let Some(finalizer) = self.finalizer.take() {
            // SAFETY: the program gave the two for each other, and this is the only call.
            unsafe { finalizer(self.ptr) };
        }
    }
}
