//! What a storage of the program is lent with each call to it: the content of a file, and a place for what it has to
//! say beyond the number that it returns.
//!
//! Invariant: nothing of a run is followed once the call is over, by whoever kept the handle. The content of a file is
//! borrowed from the run, and a handle, which lives for as long as its table says, cannot borrow. So the handle has one
//! end of two channels, and nothing that is borrowed; at their other end a thread reads that cannot outlive the call,
//! for it is a scoped one. When the callback has returned the handle is freed and its end is taken away, under the lock
//! that every read holds: a read that another thread has begun ends in order, a later one is refused. There is nothing
//! `unsafe` in it, and a thread for each file costs less than any answer over a network.

use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use treewarden_core::mirror::{Listed, Put, Source, StorageError, StorageFault, StorageResult};

use super::storage::TW_STORAGE_OK;
use crate::args::{Out, OutBytes, timeout, tw_bytes};
use crate::border::{self, Failure, Outcome};
use crate::error::{
    TW_STATUS_CANCELLED, TW_STATUS_CONFLICT, TW_STATUS_INVALID_HANDLE, TW_STATUS_IO, TW_STATUS_TOO_LARGE,
    tw_error, tw_status,
};
use crate::handle::{self, Object, Opaque};

/// Bytes that are read at once, though fewer are asked for.
const READ_BYTES_MIN: u64 = 256 * 1024;
/// Bytes of an entity tag that are taken.
const ETAG_BYTES_MAX: usize = 1_024;
/// Bytes of a reason that are kept.
const WHY_BYTES_MAX: usize = 1_000;

/// A call of the library to a storage of the program, lent to the callback that it is for. It is the library's, and
/// ends when that returns: a handle that was kept is `TW_STATUS_INVALID_HANDLE` from then on.
pub struct tw_call(Opaque);

/// The callback and its handle share it.
struct Call {
    /// Of `put` alone.
    content: Option<Mutex<Content>>,
    /// Of `list` alone.
    listing: Option<Listing>,
    notes: Mutex<Notes>,
}

struct CallObject(Arc<Call>);

impl Object for CallObject {
    type Opaque = tw_call;
    const NAME: &'static str = "tw_call";
}

/// What the program says beyond the number that it returns.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) etag: Option<String>,
    pub(super) url: Option<String>,
    pub(super) why: String,
    pub(super) wait: Option<Duration>,
    pub(super) listed: Vec<Listed>,
}

/// What a listing is asked for.
struct Listing {
    prefix: String,
    interrupts: Arc<AtomicU64>,
    /// How many interrupts came before it.
    begun: u64,
}

impl Listing {
    fn is_cancelled(&self) -> bool {
        self.interrupts.load(Ordering::Acquire) != self.begun
    }
}

/// Some of a file. It counts against the memory of all uploads for as long as it is here.
type Block = Box<dyn AsRef<[u8]> + Send>;

/// A range to read: from where on, and how much.
type Ask = (u64, u64);

/// The way to the thread that reads.
struct Line {
    asks: Sender<Ask>,
    answers: Receiver<StorageResult<Block>>,
}

/// The content of a file, in its order.
struct Content {
    /// `None` once the call is over.
    line: Option<Line>,
    size: u64,
    /// Bytes that were given.
    given: u64,
    /// What was read ahead, and how much of that was given. It goes before more is read: so no upload that waits for
    /// memory holds some.
    block: Option<(Block, usize)>,
    read_bytes_max: u64,
    /// Why there is no more. It is what the call comes to, whatever the program makes of it.
    fault: Option<StorageError>,
}

impl Content {
    /// Hands over what comes next, as much of it as `give` takes; nothing at the end.
    fn read(&mut self, capacity: usize, give: impl FnOnce(&[u8]) -> usize) -> Outcome<()> {
        let Some(line) = &self.line else {
            return Err(Failure::new(TW_STATUS_INVALID_HANDLE, "the call is over".to_owned()));
        };
        if let Some(fault) = &self.fault {
            return Err(failure(fault));
        }
        let left = self.size.saturating_sub(self.given);
        if left == 0 {
            give(&[]);
            return Ok(());
        }
        let is_kept = self.block.is_some();
        let (block, from) = match self.block.take() {
            Some(block) => block,
            None => {
                let wanted = u64::try_from(capacity).unwrap_or(u64::MAX);
                let len = wanted.max(READ_BYTES_MIN).min(self.read_bytes_max).min(left);
                let answer = line.asks.send((self.given, len)).ok().and_then(|()| line.answers.recv().ok());
                let lost =
                    || StorageError::new(StorageFault::Transient, "the thread that reads the file is gone");
                match answer.unwrap_or_else(|| Err(lost())) {
                    Ok(block) => (block, 0),
                    Err(fault) => {
                        let failure = failure(&fault);
                        self.fault = Some(fault);
                        return Err(failure);
                    }
                }
            }
        };
        let rest = (*block).as_ref().get(from..).unwrap_or_default();
        let (len, taken) = (rest.len(), give(rest));
        self.given += taken as u64;
        if taken < len {
            // What is kept holds none of the memory of all uploads: others may wait for it for longer than until the
            // next call.
            let left = || -> Block { Box::new(rest.get(taken..).unwrap_or_default().to_vec()) };
            self.block = Some(if is_kept { (block, from + taken) } else { (left(), 0) });
        }
        Ok(())
    }
}

/// What a program is told of a file that cannot be read on.
fn failure(fault: &StorageError) -> Failure {
    let status = match fault.fault {
        StorageFault::Changed => TW_STATUS_CONFLICT,
        StorageFault::Cancelled => TW_STATUS_CANCELLED,
        _ => TW_STATUS_IO,
    };
    let mut failure = Failure::new(status, fault.message.clone());
    failure.0.hint =
        Some("return from the callback: whatever it answers, nothing is acknowledged".to_owned());
    failure
}

impl Call {
    fn new(content: Option<Mutex<Content>>, listing: Option<Listing>) -> Arc<Self> {
        Arc::new(Self { content, listing, notes: Mutex::default() })
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn content(&self) -> Option<MutexGuard<'_, Content>> {
        Some(self.content.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lends it for as long as `work` runs, which gets the handle and calls whoever uses it.
    fn lend(self: &Arc<Self>, work: impl FnOnce(*const tw_call) -> i32) -> StorageResult<i32> {
        let handle = handle::put(CallObject(Arc::clone(self)))
            .map_err(|failure| StorageError::new(StorageFault::Transient, failure.0.message))?;
        let code = work(handle.cast_const());
        // Nobody else can free it, so it is there, but in a child that the callback has forked.
        let _ = handle::free::<CallObject>(handle);
        Ok(code)
    }
}

/// Nobody reads any more when this is dropped, however that comes: else the thread that reads would wait without end,
/// and whoever waits for that with it.
struct Closing<'a>(&'a Call);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        if let Some(mut content) = self.0.content() {
            content.line = None;
            content.block = None;
        }
    }
}

/// Reads what is asked for, until nobody can ask any more.
fn serve(source: &dyn Source, asked: &Receiver<Ask>, answers: &Sender<StorageResult<Block>>) {
    for (offset, len) in asked {
        let answer = source.read(offset, len).and_then(|block| {
            if offset.saturating_add(len) >= source.size() {
                // The last byte is not given before it is known that all of them were of one file.
                source.check()?;
            }
            let block: Block = Box::new(block);
            Ok(block)
        });
        if answers.send(answer).is_err() {
            return;
        }
    }
}

/// Lends a call, and tells what it has come to.
pub(super) fn lend(work: impl FnOnce(*const tw_call) -> i32) -> StorageResult<(i32, Notes)> {
    let call = Call::new(None, None);
    let code = call.lend(work)?;
    let notes = std::mem::take(&mut *call.notes());
    Ok((code, notes))
}

/// Lends a call that takes the objects of a listing. An interrupt ends it.
pub(super) fn lend_listing(
    prefix: &str,
    interrupts: &Arc<AtomicU64>,
    work: impl FnOnce(*const tw_call) -> i32,
) -> StorageResult<(i32, Notes)> {
    let begun = interrupts.load(Ordering::Acquire);
    let listing = Listing { prefix: prefix.to_owned(), interrupts: Arc::clone(interrupts), begun };
    let call = Call::new(None, Some(listing));
    let code = call.lend(work)?;
    if call.listing.as_ref().is_some_and(Listing::is_cancelled) {
        return Err(StorageError::new(StorageFault::Cancelled, "it was cancelled"));
    }
    let notes = std::mem::take(&mut *call.notes());
    Ok((code, notes))
}

/// Lends a call with the content of a file. It fails, whatever the program says, where the file could not be read or is
/// another one, and where the program says that it went well and has not read all of it.
pub(super) fn lend_content(
    put: &Put<'_>,
    work: impl FnOnce(*const tw_call) -> i32,
) -> StorageResult<(i32, Notes)> {
    let source = put.source;
    let size = source.size();
    if size == 0 {
        // There is no last byte to be looked at with.
        source.check()?;
    }
    let (asks, asked) = channel::<Ask>();
    let (answering, answers) = channel::<StorageResult<Block>>();
    let content = Content {
        line: Some(Line { asks, answers }),
        size,
        given: 0,
        block: None,
        read_bytes_max: put.part_bytes.max(1),
        fault: None,
    };
    let call = Call::new(Some(Mutex::new(content)), None);
    let code = thread::scope(|scope| {
        let closing = Closing(&call);
        let reader = thread::Builder::new()
            .name("tw-content".to_owned())
            .spawn_scoped(scope, move || serve(source, &asked, &answering))
            .map_err(|error| {
                StorageError::new(StorageFault::Transient, format!("cannot start a thread: {error}"))
            })?;
        let code = call.lend(work);
        drop(closing);
        // A panic of it is a fault that whoever has asked was told.
        let _ = reader.join();
        code
    })?;
    if let Some(content) = call.content() {
        if let Some(fault) = &content.fault {
            return Err(fault.clone());
        }
        if code == TW_STORAGE_OK && content.given < size {
            let text = format!("the storage took only {} of {size} bytes", content.given);
            return Err(StorageError::new(StorageFault::Rejected, text));
        }
    }
    let notes = std::mem::take(&mut *call.notes());
    Ok((code, notes))
}

/// Works on a call that is under way.
fn with<R>(call: *const tw_call, work: impl FnOnce(&Call) -> Outcome<R>) -> Outcome<R> {
    handle::with::<CallObject, _>(call, |object| work(&object.0))
}

/// An entity tag as it is kept; none for nothing.
///
/// # Safety
///
/// As [`tw_bytes::read`].
unsafe fn etag_of(etag: tw_bytes) -> Outcome<Option<String>> {
    // SAFETY: as promised.
    let etag = unsafe { etag.text("etag")? };
    if etag.len() > ETAG_BYTES_MAX {
        let text = format!("`etag` has {} bytes; at most {ETAG_BYTES_MAX} are kept", etag.len());
        return Err(Failure::new(TW_STATUS_TOO_LARGE, text));
    }
    if etag.chars().any(char::is_control) {
        return Err(Failure::invalid("`etag` holds a control character"));
    }
    Ok((!etag.is_empty()).then(|| etag.to_owned()))
}

/// Reads on in the file of a `put`: up to `capacity` bytes into `buffer`, at least 1. `*len` is how many it were; it
/// may be fewer than there is room for, and is 0 at the end alone. Before the last byte is given it is made sure that
/// the file is still the one that was announced.
///
/// Blocks for the disk, for memory (`TW_OPTION_MIRROR_MEMORY_BYTES`) and for the line
/// (`TW_OPTION_MIRROR_BANDWIDTH_BYTES_PER_S`). Any thread while the callback runs; reads that come together are done
/// one after the other. `TW_STATUS_CONFLICT` when the file changed, `TW_STATUS_IO` when it cannot be read,
/// `TW_STATUS_CANCELLED`: then the callback is to return, and whatever it answers nothing is acknowledged.
/// `TW_STATUS_INVALID_ARGUMENT` for the call of another callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_call_read(
    call: *const tw_call,
    buffer: *mut c_void,
    capacity: usize,
    len: *mut usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        border::call(error, || {
            let out = OutBytes::new(buffer.cast(), capacity, "buffer")?;
            let len = Out::new(len, "len")?;
            with(call, |call| {
                let content = call.content();
                let mut content = content.ok_or_else(|| Failure::invalid("only `put` has a file to read"))?;
                content.read(capacity, |bytes| {
                    let taken = out.write(bytes);
                    len.write(taken);
                    taken
                })
            })
        })
    }
}

/// Says what entity tag the object of a `put` or a `copy` has been given, UTF-8, without quotes, at most 1,024 bytes;
/// an empty one is none. It is kept, and an audit compares it with the one that is listed. The last one counts.
///
/// Never waits. Any thread while the callback runs. `TW_STATUS_TOO_LARGE`, `TW_STATUS_INVALID_ARGUMENT` for one with
/// control characters or that is not UTF-8.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_call_note_etag(
    call: *const tw_call,
    etag: tw_bytes,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        border::call(error, || {
            let etag = etag_of(etag)?;
            with(call, |call| {
                call.notes().etag = etag;
                Ok(())
            })
        })
    }
}

/// Says which URL the object of a `url` has, UTF-8. The last one counts. Never waits. Any thread while the callback
/// runs. `TW_STATUS_INVALID_ARGUMENT` for one with control characters or that is not UTF-8.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_call_note_url(
    call: *const tw_call,
    url: tw_bytes,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        border::call(error, || {
            let url = url.text("url")?;
            if url.chars().any(char::is_control) {
                return Err(Failure::invalid("`url` holds a control character"));
            }
            with(call, |call| {
                call.notes().url = (!url.is_empty()).then(|| url.to_owned());
                Ok(())
            })
        })
    }
}

/// Says why a callback is about to return something else than `TW_STORAGE_OK`: one sentence without any secret, of
/// which 1,000 bytes are kept. With `TW_STORAGE_THROTTLED` also for how many milliseconds the storage asks everybody to
/// wait; negative: it does not say. The last one counts. Never waits. Any thread while the callback runs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_call_note_failure(
    call: *const tw_call,
    why: tw_bytes,
    retry_after_ms: i64,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        border::call(error, || {
            let why = why.read("why")?;
            let why = String::from_utf8_lossy(why.get(..WHY_BYTES_MAX).unwrap_or(why)).into_owned();
            with(call, |call| {
                let mut notes = call.notes();
                notes.why = why;
                notes.wait = timeout(retry_after_ms);
                Ok(())
            })
        })
    }
}

/// Tells one object of a `list`: its whole key, UTF-8, its size in bytes, and its entity tag as in `tw_call_note_etag`.
/// In any order, each once. An object whose key does not begin with the prefix is passed over. They are in memory until
/// the callback has returned.
///
/// Never waits. Any thread while the callback runs. `TW_STATUS_CANCELLED` when the audit was cancelled: the callback is
/// to return. `TW_STATUS_INVALID_ARGUMENT` for a key that is not UTF-8, and for the call of another callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_call_add_object(
    call: *const tw_call,
    key: tw_bytes,
    size: u64,
    etag: tw_bytes,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        border::call(error, || {
            let (key, etag) = (key.text("key")?, etag_of(etag)?);
            with(call, |call| {
                let listing = call.listing.as_ref();
                let listing = listing.ok_or_else(|| Failure::invalid("only `list` tells objects"))?;
                if listing.is_cancelled() {
                    return Err(Failure::new(TW_STATUS_CANCELLED, "the listing was cancelled".to_owned()));
                }
                if key.starts_with(&listing.prefix) {
                    call.notes().listed.push(Listed { key: key.to_owned(), size, etag });
                }
                Ok(())
            })
        })
    }
}
