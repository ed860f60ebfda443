//! The journal of a warden as a stream: who appends to it, and who reads it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use treewarden_core::fleet::{Consumer, Fleet, Publisher, Stop};

use super::lease::{LeaderObject, tw_leader};
use super::tw_fleet;
use crate::args::{Out, timeout, tw_bytes};
use crate::border::{Failure, Outcome, call};
use crate::error::{TW_STATUS_TIMEOUT, tw_error, tw_status};
use crate::handle::{self, Object, Opaque};
use crate::list::{List, stream_item, stream_items, tw_list};
use crate::options::{OptionsObject, publisher_wanted, takeover_after, tw_options};
use crate::warden::{WardenObject, tw_warden};

/// Appends the changes of a warden to a stream, for the consumers of other machines: every change once, in order,
/// whatever is killed when. Only one publisher of a warden and a stream may run at a time. Free it with
/// `tw_publisher_free`; it keeps the state file open until then, or until `tw_warden_close`.
pub struct tw_publisher(Opaque);

struct PublisherObject {
    publisher: Mutex<Publisher>,
    runs: Arc<Mutex<Runs>>,
}

impl Object for PublisherObject {
    type Opaque = tw_publisher;
    const NAME: &'static str = "tw_publisher";
}

/// The calls of `tw_publisher_run`, and what ends them.
#[derive(Default)]
struct Runs {
    /// Of all that are under way; where there is none, of the next.
    stop: Stop,
    under_way: usize,
    /// Nobody can run it any more but those that have begun.
    is_freed: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One call of `tw_publisher_run`.
struct Run<'r> {
    runs: &'r Mutex<Runs>,
    stop: Stop,
}

impl<'r> Run<'r> {
    fn begin(runs: &'r Mutex<Runs>) -> Self {
        let mut all = lock(runs);
        all.under_way += 1;
        Self { runs, stop: all.stop.clone() }
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        let mut all = lock(self.runs);
        all.under_way -= 1;
        // A stop has no way back: the next run gets a new one.
        if all.under_way == 0 && all.stop.is_stopped() && !all.is_freed {
            all.stop = Stop::new();
        }
    }
}

impl PublisherObject {
    fn new(publisher: Publisher) -> Self {
        Self { publisher: Mutex::new(publisher), runs: Arc::default() }
    }

    fn run(&self) -> Outcome<()> {
        let run = Run::begin(&self.runs);
        Ok(lock(&self.publisher).run(&run.stop)?)
    }
}

/// Reads a stream as one of a group, whose consumers divide the changes among themselves. Any thread may use it; two
/// that read at once share the changes. Free it with `tw_consumer_free`.
pub struct tw_consumer(Opaque);

struct ConsumerObject(Arc<Consumer>);

impl Object for ConsumerObject {
    type Opaque = tw_consumer;
    const NAME: &'static str = "tw_consumer";
}

/// Gives what appends the journal of a warden to the stream of that name, UTF-8. Its place is the cursor `fleet.STREAM`
/// of the warden. `options` are of the kind `TW_OPTIONS_PUBLISHER`, or NULL for the defaults. `leader` may be NULL;
/// with one the stream refuses, from the first entry on, everyone with a lower token and everyone without. It takes the
/// token as it is: a leader of later needs a publisher of its own.
///
/// `*publisher` is the caller's, to be freed with `tw_publisher_free`. Does not ask Redis yet, and never waits. Any
/// thread. `TW_STATUS_INVALID_ARGUMENT` for a bad name, `TW_STATUS_LEASE_LOST` for a leader that has given its lease
/// back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_fleet_publisher(
    fleet: *const tw_fleet,
    stream: tw_bytes,
    warden: *const tw_warden,
    options: *const tw_options,
    leader: *const tw_leader,
    publisher: *mut *mut tw_publisher,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(publisher, "publisher")?;
            let stream = stream.text("stream")?;
            let wanted = handle::with_optional::<OptionsObject, _>(options, publisher_wanted)?;
            let leader = handle::with_optional::<LeaderObject, _>(leader, |leader| {
                leader.map(LeaderObject::ready).transpose()
            })?;
            let made = handle::with::<Fleet, _>(fleet, |fleet| {
                handle::with::<WardenObject, _>(warden, |object| {
                    let root = wanted.root.as_deref();
                    fleet.publisher(stream, &object.warden, root).map_err(Failure::from)
                })
            })?;
            let made = match wanted.entries_max {
                Some(entries) => made.entries_max(entries)?,
                None => made,
            };
            let made = match &leader {
                Some(leader) => made.fenced(leader),
                None => made,
            };
            out.write(handle::put(PublisherObject::new(made))?);
            Ok(())
        })
    }
}

/// Appends what is new, up to about `changes_max` changes (0 counts as 1), and gives how many entries were appended; 0
/// means that there is nothing new. What was appended by a call that failed is not appended again. Where the stream
/// cannot go on from what it holds (another state file, a Redis that has lost data, a journal that was cut off) an
/// entry says so: see `is_reset` of `tw_stream_item`.
///
/// Talks to Redis, reads the state file and waits for commits of the cursor. One thread at a time: another call waits
/// until this one has ended. `TW_STATUS_LEASE_LOST` when another has published with a higher token,
/// `TW_STATUS_UNAVAILABLE` when Redis cannot be reached, `TW_STATUS_CONFLICT` when another publisher moves the same
/// cursor, `TW_STATUS_CLOSED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_publisher_publish(
    publisher: *const tw_publisher,
    changes_max: usize,
    appended: *mut u64,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(appended, "appended")?;
            handle::with::<PublisherObject, _>(publisher, |object| {
                out.write(lock(&object.publisher).publish_once(changes_max)?);
                Ok(())
            })
        })
    }
}

/// Appends what is new, waits for more, and goes on until `tw_publisher_stop`, which ends it with success. Waits over a
/// Redis that cannot be reached. Blocks: give it a thread. One thread at a time. Errors as `tw_publisher_publish`, but
/// for `TW_STATUS_UNAVAILABLE`; it may be called again after one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_publisher_run(
    publisher: *const tw_publisher,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe { call(error, || handle::with::<PublisherObject, _>(publisher, PublisherObject::run)) }
}

/// Ends `tw_publisher_run`; if none runs, the next call. Stops before that count once. One that talks to Redis ends
/// when that has answered. Never waits. Any thread; not from a signal handler.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_publisher_stop(
    publisher: *const tw_publisher,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            handle::with::<PublisherObject, _>(publisher, |object| {
                // Not behind the lock: it wakes whoever runs.
                let stop = lock(&object.runs).stop.clone();
                stop.stop();
                Ok(())
            })
        })
    }
}

/// Frees a publisher; a `tw_publisher_run` under way ends. NULL is allowed. May close the state file, as
/// `tw_warden_free` does, when nothing else keeps it open. Any thread, but not from a callback of the library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_publisher_free(
    publisher: *mut tw_publisher,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            if publisher.is_null() {
                return Ok(());
            }
            let runs = handle::with::<PublisherObject, _>(publisher, |object| Ok(Arc::clone(&object.runs)))?;
            handle::free::<PublisherObject>(publisher)?;
            // In this order no run can begin and not hear of it.
            let stop = {
                let mut all = lock(&runs);
                all.is_freed = true;
                all.stop.clone()
            };
            stop.stop();
            Ok(())
        })
    }
}

/// Gives a reader of the stream of that name. The consumers of one `group` divide the changes among themselves, every
/// group gets all of them. `name` tells the consumers of a group apart, over all machines. All three are UTF-8.
/// `options` are of the kind `TW_OPTIONS_CONSUMER`, or NULL for the defaults. The group comes into being with the first
/// read, at the oldest change that is there.
///
/// `*consumer` is the caller's, to be freed with `tw_consumer_free`. Does not ask Redis yet, and never waits. Any
/// thread. `TW_STATUS_INVALID_ARGUMENT` for a bad name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_fleet_consumer(
    fleet: *const tw_fleet,
    stream: tw_bytes,
    group: tw_bytes,
    name: tw_bytes,
    options: *const tw_options,
    consumer: *mut *mut tw_consumer,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(consumer, "consumer")?;
            let (stream, group, name) = (stream.text("stream")?, group.text("group")?, name.text("name")?);
            let idle = handle::with_optional::<OptionsObject, _>(options, takeover_after)?;
            handle::with::<Fleet, _>(fleet, |fleet| {
                let made = fleet.consumer(stream, group, name)?;
                let made = match idle {
                    Some(idle) => made.takeover_after(idle)?,
                    None => made,
                };
                out.write(handle::put(ConsumerObject(Arc::new(made)))?);
                Ok(())
            })
        })
    }
}

/// Reads at most `items_max` changes (0 counts as 1, and more than 1,000 as 1,000): first those that other consumers
/// have left lying, else what nobody of the group has been given yet. Waits for one if need be, for at most
/// `timeout_ms` milliseconds; 0: not at all, negative: without end. Redis is waited for as well.
///
/// `*items` is a list of rows for `tw_list_stream_item`. Free it with `tw_list_free`; that acknowledges nothing. What
/// is not acknowledged, by `tw_consumer_ack`, comes again, to this consumer or another, and out of order then.
///
/// Blocks. Any thread. `TW_STATUS_TIMEOUT` when nothing came in time and after `tw_consumer_interrupt`.
/// `TW_STATUS_RESET`, without a `restart_seq`, when changes were cut off before the group was done with them: look at
/// the whole, then call `tw_consumer_accept_reset`. `TW_STATUS_UNAVAILABLE` when Redis cannot be reached at the end of
/// the time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_consumer_next(
    consumer: *const tw_consumer,
    items_max: usize,
    timeout_ms: i64,
    items: *mut *mut tw_list,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(items, "items")?;
            handle::with::<ConsumerObject, _>(consumer, |consumer| {
                let items = consumer.0.next(items_max, timeout(timeout_ms))?;
                if items.is_empty() {
                    let why = "no change came in time, or the wait was interrupted";
                    return Err(Failure::new(TW_STATUS_TIMEOUT, why.to_owned()));
                }
                out.write(handle::put(List::StreamItems(items))?);
                Ok(())
            })
        })
    }
}

/// Acknowledges: the group is done with all of `items`, which `tw_consumer_next` gave. Gives how many that were; those
/// that another consumer has taken over and acknowledged, and those that were acknowledged before, count no more. Talks
/// to Redis. Any thread. `TW_STATUS_INVALID_ARGUMENT` for a list of other rows; `TW_STATUS_UNAVAILABLE` when Redis
/// cannot be reached: they come again, unless they are acknowledged later.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_consumer_ack(
    consumer: *const tw_consumer,
    items: *const tw_list,
    acked: *mut u64,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(acked, "acked")?;
            handle::with::<ConsumerObject, _>(consumer, |consumer| {
                handle::with::<List, _>(items, |list| {
                    out.write(consumer.0.ack(stream_items(list)?)?);
                    Ok(())
                })
            })
        })
    }
}

/// As `tw_consumer_ack`, for the item at `index` alone: 1, or 0 where it counts no more. `TW_STATUS_NOT_FOUND` behind
/// the last one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_consumer_ack_one(
    consumer: *const tw_consumer,
    items: *const tw_list,
    index: usize,
    acked: *mut u64,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(acked, "acked")?;
            handle::with::<ConsumerObject, _>(consumer, |consumer| {
                handle::with::<List, _>(items, |list| {
                    let item = stream_item(list, index)?;
                    out.write(consumer.0.ack(std::slice::from_ref(item))?);
                    Ok(())
                })
            })
        })
    }
}

/// Goes on after `TW_STATUS_RESET`, for the whole group. Gives 1 when there was one, else 0. Talks to Redis. Any
/// thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_consumer_accept_reset(
    consumer: *const tw_consumer,
    was_reset: *mut i32,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(was_reset, "was_reset")?;
            handle::with::<ConsumerObject, _>(consumer, |consumer| {
                out.write(i32::from(consumer.0.accept_reset()?));
                Ok(())
            })
        })
    }
}

/// Makes all calls of `tw_consumer_next` with this handle that wait return `TW_STATUS_TIMEOUT`; if none waits, the next
/// call. Interrupts before that count once. They return within a second, or when a Redis that does not answer has been
/// given up. Any thread; not from a signal handler.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_consumer_interrupt(
    consumer: *const tw_consumer,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            handle::with::<ConsumerObject, _>(consumer, |consumer| {
                consumer.0.interrupt();
                Ok(())
            })
        })
    }
}

/// Frees a handle of a consumer; calls that wait return. What it has read and not acknowledged is taken over by another
/// in time. NULL is allowed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_consumer_free(
    consumer: *mut tw_consumer,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            if consumer.is_null() {
                return Ok(());
            }
            let waiting = handle::with::<ConsumerObject, _>(consumer, |object| Ok(Arc::clone(&object.0)))?;
            handle::free::<ConsumerObject>(consumer)?;
            // In this order no call can begin to wait after the interrupt.
            waiting.interrupt();
            Ok(())
        })
    }
}
