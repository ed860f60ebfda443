//! The border: every function of the C interface is one call of [`call`]. Arguments are checked here and in
//! `args.rs`, panics are caught, errors become a status and, where the caller wants one, a `tw_error`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use treewarden_core::Error;

use crate::error::{Details, TW_STATUS_OK, TW_STATUS_PANIC, tw_error, tw_status};
use crate::handle;

/// What a function has come to.
pub(crate) type Outcome<T> = Result<T, Failure>;

/// Why a function has failed.
#[derive(Clone)]
pub(crate) struct Failure(pub(crate) Box<Details>);

impl Failure {
    pub(crate) fn new(status: tw_status, message: String) -> Self {
        Self(Box::new(Details { status, message, path: None, hint: None, restart_seq: None }))
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(crate::error::TW_STATUS_INVALID_ARGUMENT, message.into())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(Box::new(Details {
            status: tw_status::from(error.kind().code()),
            message: error.message().to_owned(),
            path: error.path().map(<[u8]>::to_vec),
            hint: error.hint().map(str::to_owned),
            restart_seq: error.restart_seq(),
        }))
    }
}

/// Runs the body of a function. Nothing is written through any pointer of the caller unless the body succeeds, but
/// for the error.
///
/// # Safety
///
/// `error` is NULL or may be written to.
pub(crate) unsafe fn call(error: *mut *mut tw_error, body: impl FnOnce() -> Outcome<()>) -> tw_status {
    let failure = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return TW_STATUS_OK,
        Ok(Err(failure)) => failure,
        Err(payload) => {
            let text = payload.downcast_ref::<&str>().copied().map(str::to_owned);
            let text = text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
            Failure::new(TW_STATUS_PANIC, format!("a bug in Treewarden, please report it: {text}"))
        }
    };
    let status = failure.0.status;
    if !error.is_null() {
        // A table that is full leaves the caller with the status alone.
        let made = catch_unwind(|| handle::put(*failure.0));
        if let Ok(Ok(made)) = made {
            // SAFETY: the caller promises that it may be written to.
            unsafe { error.write(made) };
        }
    }
    status
}
