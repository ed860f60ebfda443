//! The program's own state: attributes of entries, spaces of keys and values, and batches that become durable in one
//! commit.

use std::sync::{Mutex, MutexGuard, PoisonError};

use treewarden_core::{Batch, Result, Space, escape};

use crate::args::{Out, tw_bytes};
use crate::border::{Failure, Outcome, call};
use crate::error::{TW_STATUS_NOT_FOUND, tw_error, tw_status};
use crate::handle::{self, Object, Opaque};
use crate::list::{List, Pair, tw_list, tw_pair};
use crate::warden::{WardenObject, tw_warden};

/// A value that was read. Free it with `tw_value_free`.
pub struct tw_value(Opaque);

/// The object behind `tw_value`.
pub(crate) struct ValueObject(pub(crate) Vec<u8>);

impl Object for ValueObject {
    type Opaque = tw_value;
    const NAME: &'static str = "tw_value";
}

/// Gives the bytes of a value, which live as long as it. Any thread. Never waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_value_bytes(
    value: *const tw_value,
    bytes: *mut tw_bytes,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(bytes, "bytes")?;
            handle::with::<ValueObject, _>(value, |value| {
                out.write(tw_bytes::of(&value.0));
                Ok(())
            })
        })
    }
}

/// Frees a value, and with it the view of its bytes. NULL is allowed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_value_free(value: *mut tw_value, error: *mut *mut tw_error) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe { call(error, || handle::free::<ValueObject>(value)) }
}

/// Gives the attributes of an entry, there or missing, in the order of their names: read them with `tw_list_pair`,
/// where `number` is 0, free the list with `tw_list_free`. Any thread. Reads the state file, never waits for a commit.
/// `TW_STATUS_NOT_FOUND` for an unknown entry, `TW_STATUS_INVALID_ARGUMENT` for something that is not an address.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_attrs(
    warden: *const tw_warden,
    address: tw_bytes,
    out: *mut *mut tw_list,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let address = address.read("address")?;
            let out = Out::new(out, "out")?;
            let attrs = handle::with::<WardenObject, _>(warden, |object| {
                object.warden.attrs(address).map_err(Failure::from)
            })?;
            let pair = |(name, value): (String, Vec<u8>)| Pair { key: name.into_bytes(), value, number: 0 };
            out.write(handle::put(List::Pairs(attrs.into_iter().map(pair).collect()))?);
            Ok(())
        })
    }
}

/// Sets attributes of an entry in one commit: those that are named, while all others stay. `pairs` is an array of
/// `count` structs of `row_size` bytes, which is `sizeof(tw_pair)`: the name, which is UTF-8 text, in `key`; a `value`
/// whose `ptr` is NULL removes the attribute; `number` does not matter. Attributes follow the entry when it moves, and
/// go when it is forgotten; all of one entry take at most 64 KiB.
///
/// Any thread. Waits until it is durable. `TW_STATUS_NOT_FOUND` for an unknown entry, `TW_STATUS_TOO_LARGE`,
/// `TW_STATUS_INVALID_ARGUMENT` for a bad name or something that is not an address.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_set_attrs(
    warden: *const tw_warden,
    address: tw_bytes,
    pairs: *const tw_pair,
    row_size: usize,
    count: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let address = address.read("address")?;
            let mut attrs = Vec::new();
            for pair in read_pairs(pairs, row_size, count)? {
                let is_removed = pair.value.ptr.is_null() && pair.value.len == 0;
                let value = if is_removed { None } else { Some(pair.value.read("value")?) };
                attrs.push((pair.key.text("key")?, value));
            }
            handle::with::<WardenObject, _>(warden, |object| {
                object.warden.set_attrs(address, attrs)?;
                Ok(())
            })
        })
    }
}

/// Reads an array of pairs, whose struct may have grown since: the caller's rows may be longer than ours.
///
/// # Safety
///
/// `count` rows of `row_size` bytes each may be read at `rows`, or it is NULL.
unsafe fn read_pairs(rows: *const tw_pair, row_size: usize, count: usize) -> Outcome<Vec<tw_pair>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    if rows.is_null() || !rows.is_aligned() {
        return Err(Failure::invalid("`pairs` is NULL, or not aligned"));
    }
    // No version had fewer fields.
    if row_size < size_of::<tw_pair>() || !row_size.is_multiple_of(align_of::<tw_pair>()) {
        return Err(Failure::invalid(format!("{row_size} is not the size of a struct for `pairs`")));
    }
    if row_size.checked_mul(count).is_none_or(|bytes| isize::try_from(bytes).is_err()) {
        return Err(Failure::invalid(format!("{count} rows of `pairs` are more than memory holds")));
    }
    // SAFETY: it is one of the rows that may be read.
    Ok((0..count).map(|index| unsafe { rows.byte_add(index * row_size).read() }).collect())
}

/// Bytes that may be left out.
///
/// # Safety
///
/// `bytes` points to a struct as [`tw_bytes::read`] wants it, or is NULL.
unsafe fn read_optional<'a>(bytes: *const tw_bytes, what: &str) -> Outcome<Option<&'a [u8]>> {
    if bytes.is_null() {
        return Ok(None);
    }
    if !bytes.is_aligned() {
        return Err(Failure::invalid(format!("`{what}` is not aligned")));
    }
    // SAFETY: as promised.
    unsafe { (*bytes).read(what).map(Some) }
}

fn in_space<R>(warden: *const tw_warden, space: &str, work: impl FnOnce(&Space) -> Result<R>) -> Outcome<R> {
    handle::with::<WardenObject, _>(warden, |object| {
        object.warden.space(space).and_then(|space| work(&space)).map_err(Failure::from)
    })
}

/// Reads the value of a key in the space of that name, which is UTF-8 text. Read it with `tw_value_bytes`, free it with
/// `tw_value_free`. Any thread. Reads the state file, never waits for a commit. `TW_STATUS_NOT_FOUND` when the key is
/// not there, `TW_STATUS_INVALID_ARGUMENT` for a bad name or an empty key, `TW_STATUS_TOO_LARGE` for a key over 4 KiB.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_space_get(
    warden: *const tw_warden,
    space: tw_bytes,
    key: tw_bytes,
    out: *mut *mut tw_value,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let (space, key) = (space.text("space")?, key.read("key")?);
            let out = Out::new(out, "out")?;
            let value = in_space(warden, space, |space| space.get(key))?;
            let value = value.ok_or_else(|| {
                let shown = (escape(space.as_bytes()), escape(key));
                let message = format!("the space `{}` has no key `{}`", shown.0, shown.1);
                let mut failure = Failure::new(TW_STATUS_NOT_FOUND, message);
                failure.0.path = Some(key.to_vec());
                failure
            })?;
            out.write(handle::put(ValueObject(value))?);
            Ok(())
        })
    }
}

/// Puts a value under a key. The space comes into being with its first key. Keys have 1 byte to 4 KiB, values up to 16
/// MiB, both are any bytes. Any thread. Waits until it is durable. `TW_STATUS_TOO_LARGE`, `TW_STATUS_INVALID_ARGUMENT`
/// for a bad name or an empty key.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_space_put(
    warden: *const tw_warden,
    space: tw_bytes,
    key: tw_bytes,
    value: tw_bytes,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let (space, key, value) = (space.text("space")?, key.read("key")?, value.read("value")?);
            in_space(warden, space, |space| space.put(key, value))?;
            Ok(())
        })
    }
}

/// Deletes a key, and tells whether it was there: 1 or 0. Any thread. Waits until it is durable; a key that is not
/// there costs no commit. `TW_STATUS_INVALID_ARGUMENT` for a bad name or an empty key.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_space_delete(
    warden: *const tw_warden,
    space: tw_bytes,
    key: tw_bytes,
    was_there: *mut i32,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let (space, key) = (space.text("space")?, key.read("key")?);
            let out = Out::new(was_there, "was_there")?;
            out.write(i32::from(in_space(warden, space, |space| space.delete(key))?));
            Ok(())
        })
    }
}

/// Puts a value, or with a NULL `value` deletes the key, if it holds `expected`, or with a NULL `expected` if it is not
/// there. Both point to the bytes: a pointer to no bytes at all is an empty value, not none. Any thread. Waits until it
/// is durable. `TW_STATUS_CONFLICT` when the key holds anything else, and then nothing has changed; else as
/// `tw_space_put`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_space_compare_and_set(
    warden: *const tw_warden,
    space: tw_bytes,
    key: tw_bytes,
    expected: *const tw_bytes,
    value: *const tw_bytes,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let (space, key) = (space.text("space")?, key.read("key")?);
            let (expected, value) = (read_optional(expected, "expected")?, read_optional(value, "value")?);
            in_space(warden, space, |space| space.compare_and_set(key, expected, value))?;
            Ok(())
        })
    }
}

/// Lists the keys of a space that start with `prefix` and come after `after`, with their values, in byte order, `limit`
/// at most: read them with `tw_list_pair`, where `number` is 0, free the list with `tw_list_free`. An empty `prefix`
/// means all keys, an empty `after` from the first on; to go on, give the last key as `after`. Any thread. Reads the
/// state file, never waits for a commit. `TW_STATUS_INVALID_ARGUMENT` for a bad name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_space_items(
    warden: *const tw_warden,
    space: tw_bytes,
    prefix: tw_bytes,
    after: tw_bytes,
    limit: usize,
    out: *mut *mut tw_list,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let (space, prefix) = (space.text("space")?, prefix.read("prefix")?);
            // No key is empty: all keys come after no bytes.
            let after = Some(after.read("after")?).filter(|after| !after.is_empty());
            let out = Out::new(out, "out")?;
            let items = in_space(warden, space, |space| space.range(prefix, after, limit))?;
            let pair = |(key, value): (Vec<u8>, Vec<u8>)| Pair { key, value, number: 0 };
            out.write(handle::put(List::Pairs(items.into_iter().map(pair).collect()))?);
            Ok(())
        })
    }
}

/// Steps over spaces, attributes and names in the journal that happen together: one commit, all or nothing. Nothing
/// happens before `tw_batch_commit`. Free it with `tw_batch_free`.
pub struct tw_batch(Opaque);

/// `None` once it has been committed.
struct BatchObject(Mutex<Option<Batch>>);

impl Object for BatchObject {
    type Opaque = tw_batch;
    const NAME: &'static str = "tw_batch";
}

impl BatchObject {
    fn lock(&self) -> MutexGuard<'_, Option<Batch>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn was_committed() -> Failure {
    Failure::invalid(
        "the batch has been committed already, or tried to be: begin another with `tw_warden_batch`",
    )
}

fn add(batch: *const tw_batch, step: impl FnOnce(Batch) -> Batch) -> Outcome<()> {
    handle::with::<BatchObject, _>(batch, |object| {
        let mut place = object.lock();
        let batch = place.take().ok_or_else(was_committed)?;
        *place = Some(step(batch));
        Ok(())
    })
}

/// Begins a batch. A step is a copy of what it is given, and is judged by `tw_batch_commit`; one that returns anything
/// but `TW_STATUS_OK` is not in the batch. Free it with `tw_batch_free`. Any thread. Never waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_batch(
    warden: *const tw_warden,
    out: *mut *mut tw_batch,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(out, "out")?;
            let batch = handle::with::<WardenObject, _>(warden, |object| Ok(object.warden.batch()))?;
            out.write(handle::put(BatchObject(Mutex::new(Some(batch))))?);
            Ok(())
        })
    }
}

/// Adds a step: puts a value under a key, as `tw_space_put`. Any thread. Never waits. `TW_STATUS_INVALID_ARGUMENT` when
/// the batch has been committed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_batch_put(
    batch: *const tw_batch,
    space: tw_bytes,
    key: tw_bytes,
    value: tw_bytes,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let (space, key, value) = (space.text("space")?, key.read("key")?, value.read("value")?);
            add(batch, |batch| batch.put(space, key, value))
        })
    }
}

/// Adds a step: deletes a key, there or not. Any thread. Never waits. `TW_STATUS_INVALID_ARGUMENT` when the batch has
/// been committed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_batch_delete(
    batch: *const tw_batch,
    space: tw_bytes,
    key: tw_bytes,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let (space, key) = (space.text("space")?, key.read("key")?);
            add(batch, |batch| batch.delete(space, key))
        })
    }
}

/// Adds a step: puts a value, or deletes the key, if it holds what is expected, as `tw_space_compare_and_set`; else the
/// whole batch is refused with `TW_STATUS_CONFLICT`. Any thread. Never waits. `TW_STATUS_INVALID_ARGUMENT` when the
/// batch has been committed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_batch_compare_and_set(
    batch: *const tw_batch,
    space: tw_bytes,
    key: tw_bytes,
    expected: *const tw_bytes,
    value: *const tw_bytes,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let (space, key) = (space.text("space")?, key.read("key")?);
            let (expected, value) = (read_optional(expected, "expected")?, read_optional(value, "value")?);
            add(batch, |batch| batch.compare_and_set(space, key, expected, value))
        })
    }
}

/// Adds a step: sets an attribute of an entry. `name` is UTF-8 text. Any thread. Never waits.
/// `TW_STATUS_INVALID_ARGUMENT` when the batch has been committed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_batch_set_attr(
    batch: *const tw_batch,
    address: tw_bytes,
    name: tw_bytes,
    value: tw_bytes,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let (address, name) = (address.read("address")?, name.text("name")?);
            let value = value.read("value")?;
            add(batch, |batch| batch.set_attr(address, name, value))
        })
    }
}

/// Adds a step: removes an attribute of an entry. Any thread. Never waits. `TW_STATUS_INVALID_ARGUMENT` when the batch
/// has been committed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_batch_remove_attr(
    batch: *const tw_batch,
    address: tw_bytes,
    name: tw_bytes,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let (address, name) = (address.read("address")?, name.text("name")?);
            add(batch, |batch| batch.remove_attr(address, name))
        })
    }
}

/// Adds a step: acknowledges under the name `cursor`, which is UTF-8 text, up to the commit `seq`, as `tw_changes_ack`
/// does for `tw_changes_upto`. What was made of a delivery and its acknowledgement in one batch happen once, whatever
/// is killed when. Any thread. Never waits. `TW_STATUS_INVALID_ARGUMENT` when the batch has been committed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_batch_advance(
    batch: *const tw_batch,
    cursor: tw_bytes,
    seq: u64,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let cursor = cursor.text("cursor")?;
            add(batch, |batch| batch.advance(cursor, seq))
        })
    }
}

/// Commits all steps at once, and gives the seq of the commit; without any step nothing is committed, and it is the
/// current one. Once: whether it succeeds or not, the batch is used up then. Any thread. Waits until it is durable.
/// After an error nothing of the batch has happened: the first step that was wrong (`TW_STATUS_INVALID_ARGUMENT`,
/// `TW_STATUS_TOO_LARGE`), `TW_STATUS_CONFLICT`, `TW_STATUS_NOT_FOUND`, and what the state file says. A second time it
/// is `TW_STATUS_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_batch_commit(
    batch: *const tw_batch,
    seq: *mut u64,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(seq, "seq")?;
            handle::with::<BatchObject, _>(batch, |object| {
                // Not locked while it waits for the disk.
                let batch = object.lock().take();
                out.write(batch.ok_or_else(was_committed)?.commit()?);
                Ok(())
            })
        })
    }
}

/// Frees a batch; one that was not committed never happens. NULL is allowed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_batch_free(batch: *mut tw_batch, error: *mut *mut tw_error) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe { call(error, || handle::free::<BatchObject>(batch)) }
}
