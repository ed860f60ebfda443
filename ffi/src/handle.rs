//! What a handle is: a number in a table, never an address. A handle that was freed, that is of another type or
//! that a child of a `fork` has inherited is recognised, not followed.

use std::any::Any;
use std::marker::PhantomData;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use sharded_slab::{Config, DefaultConfig, Slab};

use crate::border::{Failure, Outcome};
use crate::error::{TW_STATUS_FORKED, TW_STATUS_INVALID_HANDLE, TW_STATUS_TOO_LARGE};

/// One bit is kept free, so that one can be added to every key: no handle is NULL.
struct Keys;

impl Config for Keys {
    const INITIAL_PAGE_SIZE: usize = DefaultConfig::INITIAL_PAGE_SIZE;
    // 32 × (2^20 - 1) handles of each of 32,768 threads that make handles at a time. The other bits say which of the
    // handles in one place is meant.
    const MAX_PAGES: usize = 20;
    const MAX_THREADS: usize = 32_768;
    const RESERVED_BITS: usize = 1;
}

/// Everything that a program holds.
static TABLE: LazyLock<Slab<Slot, Keys>> = LazyLock::new(Slab::new_with_config);

/// How many forks lie between the first process and this one.
static FORKS: LazyLock<&'static AtomicU32> = LazyLock::new(|| {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    extern "C" fn count() {
        COUNT.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: the function only adds to a number, which is allowed in a child of a fork.
    unsafe { libc::pthread_atfork(None, None, Some(count)) };
    &COUNT
});

struct Slot {
    object: Box<dyn Any + Send + Sync>,
    forks: u32,
    /// Of two threads that free it at once one does.
    is_freed: AtomicBool,
}

/// A type that has handles; `Opaque` is what C sees.
pub(crate) trait Object: Any + Send + Sync {
    type Opaque;
    /// What it is called in messages.
    const NAME: &'static str;
}

fn key<O>(handle: *const O) -> Option<usize> {
    handle.addr().checked_sub(1)
}

fn invalid<T: Object>(what: &str) -> Failure {
    Failure::new(TW_STATUS_INVALID_HANDLE, format!("the handle {what}; a handle of `{}` is needed", T::NAME))
}

/// Makes a handle for an object.
pub(crate) fn put<T: Object>(object: T) -> Outcome<*mut T::Opaque> {
    let slot = Slot {
        object: Box::new(object),
        forks: FORKS.load(Ordering::Relaxed),
        is_freed: AtomicBool::new(false),
    };
    match TABLE.insert(slot).and_then(|key| key.checked_add(1)) {
        Some(number) => Ok(std::ptr::without_provenance_mut(number)),
        None => Err(Failure::new(TW_STATUS_TOO_LARGE, "there are too many handles; free some".to_owned())),
    }
}

/// Works on the object of a handle. It lives at least as long as the call, whoever frees it meanwhile.
pub(crate) fn with<T: Object, R>(
    handle: *const T::Opaque,
    work: impl FnOnce(&T) -> Outcome<R>,
) -> Outcome<R> {
    let key = key(handle).ok_or_else(|| invalid::<T>("is NULL"))?;
    let slot = TABLE.get(key).filter(|slot| !slot.is_freed.load(Ordering::Acquire));
    let slot = slot.ok_or_else(|| invalid::<T>("was freed, or never was one"))?;
    if slot.forks != FORKS.load(Ordering::Relaxed) {
        return Err(Failure::new(
            TW_STATUS_FORKED,
            format!("this handle of `{}` was made before a fork, by the parent process", T::NAME),
        ));
    }
    let object = slot.object.downcast_ref::<T>().ok_or_else(|| invalid::<T>("is of another type"))?;
    work(object)
}

/// Frees a handle; NULL is none, and nothing happens. What it stands for ends with the last call that works on it.
pub(crate) fn free<T: Object>(handle: *mut T::Opaque) -> Outcome<()> {
    if handle.is_null() {
        return Ok(());
    }
    // With the checks of any other use.
    with::<T, ()>(handle, |_| Ok(()))?;
    let key = key(handle).ok_or_else(|| invalid::<T>("is NULL"))?;
    let is_ours = TABLE.get(key).is_some_and(|slot| !slot.is_freed.swap(true, Ordering::AcqRel));
    if !is_ours {
        return Err(invalid::<T>("was freed"));
    }
    TABLE.remove(key);
    Ok(())
}

/// A handle that is given as an array element or left out.
pub(crate) fn with_optional<T: Object, R>(
    handle: *const T::Opaque,
    work: impl FnOnce(Option<&T>) -> Outcome<R>,
) -> Outcome<R> {
    if handle.is_null() { work(None) } else { with::<T, R>(handle, |object| work(Some(object))) }
}

/// Only a name: cbindgen writes an incomplete type for it.
pub(crate) type Opaque = PhantomData<()>;
