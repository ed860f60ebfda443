//! What Treewarden logs, for a callback of the program.
//!
//! This is the one thing that belongs to the process: Rust libraries log into one place. No lock of this file is held
//! while the callback or its finalizer runs, but the engine may hold one of its own where it logs.

use std::cell::Cell;
use std::ffi::c_void;
use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use treewarden_core::escape;

use crate::args::tw_bytes;
use crate::border::{Failure, call};
use crate::callback::{UserData, tw_finalizer};
use crate::error::{TW_STATUS_UNSUPPORTED, tw_error, tw_status};

/// Nothing.
pub const TW_LOG_OFF: i32 = 0;
/// What should not happen, and somebody should look at.
pub const TW_LOG_ERROR: i32 = 1;
/// What did not go as it should, and is made up for.
pub const TW_LOG_WARN: i32 = 2;
/// What is good to know.
pub const TW_LOG_INFO: i32 = 3;
/// What helps to find out why.
pub const TW_LOG_DEBUG: i32 = 4;
/// All there is.
pub const TW_LOG_TRACE: i32 = 5;

/// Called with each line. `level` is `TW_LOG_ERROR` to `TW_LOG_TRACE`, `message` is UTF-8 without control characters,
/// `treewarden::live::post: events were lost; the root is scanned again root=music`, and good until it returns.
pub type tw_log_fn = Option<unsafe extern "C" fn(level: i32, message: tw_bytes, user_data: *mut c_void)>;

static LEVEL_MAX: AtomicI32 = AtomicI32::new(TW_LOG_OFF);
static SINK: RwLock<Option<Arc<Sink>>> = RwLock::new(None);
/// Whether the log comes here. Locked while that or the level changes.
static IS_INSTALLED: Mutex<bool> = Mutex::new(false);

thread_local! {
    /// True while the callback runs in this thread.
    static IS_LOGGING: Cell<bool> = const { Cell::new(false) };
}

struct Sink {
    callback: unsafe extern "C" fn(level: i32, message: tw_bytes, user_data: *mut c_void),
    user_data: UserData,
}

/// A turn of the callback in this thread.
struct Turn;

impl Turn {
    /// `None` where the callback has caused it itself: it would never end.
    fn begin() -> Option<Self> {
        if IS_LOGGING.replace(true) { None } else { Some(Self) }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        IS_LOGGING.set(false);
    }
}

/// Takes what the library logs. There are no spans in it.
struct Log;

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && number(*metadata.level()) <= LEVEL_MAX.load(Ordering::Relaxed)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match LEVEL_MAX.load(Ordering::Relaxed) {
            TW_LOG_OFF => LevelFilter::OFF,
            TW_LOG_ERROR => LevelFilter::ERROR,
            TW_LOG_WARN => LevelFilter::WARN,
            TW_LOG_INFO => LevelFilter::INFO,
            TW_LOG_DEBUG => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        })
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let Some(_turn) = Turn::begin() else { return };
        // A copy: the callback may put another one in its place.
        let sink = SINK.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(sink) = sink else { return };
        let mut line = Line::default();
        event.record(&mut line);
        let text = line.text(event.metadata().target());
        let level = number(*event.metadata().level());
        // SAFETY: the program promises that it may be called so, in any thread.
        unsafe { (sink.callback)(level, tw_bytes::of(text.as_bytes()), sink.user_data.ptr()) };
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn number(level: Level) -> i32 {
    match level {
        Level::ERROR => TW_LOG_ERROR,
        Level::WARN => TW_LOG_WARN,
        Level::INFO => TW_LOG_INFO,
        Level::DEBUG => TW_LOG_DEBUG,
        Level::TRACE => TW_LOG_TRACE,
    }
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Line {
    fn push(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        // Writing into a string fails where the value does not know how to show itself: as far as it came.
        let _ = match field.name() {
            "message" if self.message.is_empty() => write!(self.message, "{value}"),
            name => write!(self.fields, " {name}={value}"),
        };
    }

    fn text(&self, target: &str) -> String {
        let text = format!("{target}: {}{}", self.message, self.fields);
        // Paths are escaped where they are logged: a backslash is no control character, and stays.
        let parts: Vec<String> = text.split('\\').map(|part| escape(part.as_bytes())).collect();
        parts.join("\\")
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push(field, format_args!("{value:?}"));
    }
}

/// Hands what Treewarden logs to a callback, from now on and for the whole process: lines up to `level_max`,
/// `TW_LOG_…`. A second call takes the place of the first. Without a callback, or with `TW_LOG_OFF`, nothing is
/// logged any more.
///
/// The callback may come from any thread and from several at once; it delays what logs. It and the finalizer must call
/// nothing of this library but `tw_set_log`: what logs may hold a lock that the call would wait for. What is logged in
/// the thread of a callback meanwhile is left out. `finalizer` is called once with `user_data` when another callback
/// or none has taken the place and no call is under way, so possibly later and in another thread; at once when this
/// function fails or gives no callback.
///
/// Any thread. `TW_STATUS_INVALID_ARGUMENT` for an unknown level, `TW_STATUS_UNSUPPORTED` in a Rust program that has
/// set another subscriber for this library already.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_set_log(
    level_max: i32,
    callback: tw_log_fn,
    user_data: *mut c_void,
    finalizer: tw_finalizer,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let user_data = UserData::new(user_data, finalizer);
            if !(TW_LOG_OFF..=TW_LOG_TRACE).contains(&level_max) {
                return Err(Failure::invalid(format!(
                    "`level_max` is {level_max}; 0 (off), 1 (error), 2 (warn), 3 (info), 4 (debug) and 5 (trace) \
                     are possible"
                )));
            }
            let callback = callback.filter(|_| level_max != TW_LOG_OFF);
            let sink = callback.map(|callback| Arc::new(Sink { callback, user_data }));
            let level_max = if sink.is_some() { level_max } else { TW_LOG_OFF };
            let mut is_installed = IS_INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
            if sink.is_some() && !*is_installed {
                tracing::subscriber::set_global_default(Log).map_err(|_| {
                    Failure::new(
                        TW_STATUS_UNSUPPORTED,
                        "the program takes the log in another way already".to_owned(),
                    )
                })?;
                *is_installed = true;
            }
            LEVEL_MAX.store(level_max, Ordering::Relaxed);
            let before = std::mem::replace(&mut *SINK.write().unwrap_or_else(PoisonError::into_inner), sink);
            // Each place that logs remembers whether anybody listens.
            tracing::callsite::rebuild_interest_cache();
            drop(is_installed);
            // With it, perhaps, goes its finalizer, which may call this function.
            drop(before);
            Ok(())
        })
    }
}
