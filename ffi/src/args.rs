//! Arguments: bytes that come in, places that results go to. Everything is checked before anything is done.

use std::ffi::{OsStr, c_char};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use crate::border::{Failure, Outcome};

/// Some bytes that somebody else owns. `ptr` may be NULL when `len` is 0.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tw_bytes {
    /// The first byte. There is no zero at the end.
    pub ptr: *const u8,
    /// How many there are.
    pub len: usize,
}

impl tw_bytes {
    pub(crate) const NONE: Self = Self { ptr: std::ptr::null(), len: 0 };

    /// A view of bytes that the object of a handle owns.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self { ptr: bytes.as_ptr(), len: bytes.len() }
    }

    pub(crate) fn of_option(bytes: Option<&[u8]>) -> Self {
        bytes.map_or(Self::NONE, Self::of)
    }

    /// The bytes of an argument.
    ///
    /// # Safety
    ///
    /// `ptr` points to `len` bytes that nobody changes meanwhile, or is NULL.
    pub(crate) unsafe fn read<'a>(self, what: &str) -> Outcome<&'a [u8]> {
        match (self.ptr.is_null(), self.len) {
            (_, 0) => Ok(&[]),
            (true, len) => Err(Failure::invalid(format!("`{what}` is NULL, with a length of {len}"))),
            (false, len) if isize::try_from(len).is_err() => {
                Err(Failure::invalid(format!("`{what}` has a length of {len} bytes, which is none")))
            }
            // SAFETY: the caller says that there are so many bytes.
            (false, len) => Ok(unsafe { std::slice::from_raw_parts(self.ptr, len) }),
        }
    }

    /// The text of an argument: UTF-8.
    ///
    /// # Safety
    ///
    /// As [`tw_bytes::read`].
    pub(crate) unsafe fn text<'a>(self, what: &str) -> Outcome<&'a str> {
        // SAFETY: as promised.
        let bytes = unsafe { self.read(what)? };
        std::str::from_utf8(bytes).map_err(|_| Failure::invalid(format!("`{what}` is not UTF-8")))
    }

    /// A path on this disk.
    ///
    /// # Safety
    ///
    /// As [`tw_bytes::read`].
    pub(crate) unsafe fn path(self, what: &str) -> Outcome<PathBuf> {
        // SAFETY: as promised.
        Ok(PathBuf::from(OsStr::from_bytes(unsafe { self.read(what)? })))
    }
}

/// No struct of this interface will ever be larger: whoever says so has made a mistake.
const STRUCT_BYTES_MAX: usize = 64 * 1024;

/// A place that a result goes to.
pub(crate) struct Out<T> {
    place: *mut T,
    bytes: usize,
}

impl<T: Copy> Out<T> {
    /// A single value whose size never changes: a number, a handle.
    ///
    /// # Safety
    ///
    /// `place` may be written to, or is NULL.
    pub(crate) unsafe fn new(place: *mut T, what: &str) -> Outcome<Self> {
        // SAFETY: as promised.
        unsafe { Self::sized(place, size_of::<T>(), what) }
    }

    /// A struct that may grow: the caller's header may know more or fewer fields.
    ///
    /// # Safety
    ///
    /// `bytes` bytes may be written at `place`, or it is NULL.
    pub(crate) unsafe fn sized(place: *mut T, bytes: usize, what: &str) -> Outcome<Self> {
        if place.is_null() {
            return Err(Failure::invalid(format!("`{what}` is NULL")));
        }
        if !place.is_aligned() {
            return Err(Failure::invalid(format!("`{what}` is not aligned")));
        }
        if bytes == 0 || bytes > STRUCT_BYTES_MAX || !bytes.is_multiple_of(align_of::<T>()) {
            return Err(Failure::invalid(format!("{bytes} is not the size of a struct for `{what}`")));
        }
        Ok(Self { place, bytes })
    }

    /// Writes as many bytes as both know; what only the caller knows is zero.
    #[inline]
    pub(crate) fn write(&self, value: T) {
        if self.bytes == size_of::<T>() {
            // SAFETY: it is aligned, and so many bytes may be written there.
            unsafe { self.place.write(value) };
            return;
        }
        let known = self.bytes.min(size_of::<T>());
        let value = MaybeUninit::new(value);
        // SAFETY: so many bytes may be written there, and `value` has them; they do not overlap.
        unsafe {
            std::ptr::copy_nonoverlapping(value.as_ptr().cast::<u8>(), self.place.cast::<u8>(), known);
            self.place.cast::<u8>().add(known).write_bytes(0, self.bytes - known);
        }
    }
}

/// An array of structs that results go to.
pub(crate) struct OutRows<T> {
    rows: *mut T,
    row_bytes: usize,
    pub(crate) capacity: usize,
}

impl<T: Copy> OutRows<T> {
    /// # Safety
    ///
    /// `capacity` rows of `row_bytes` bytes each may be written at `rows`, or it is NULL.
    pub(crate) unsafe fn new(rows: *mut T, row_bytes: usize, capacity: usize, what: &str) -> Outcome<Self> {
        if capacity == 0 {
            return Err(Failure::invalid(format!("`{what}` has room for no row")));
        }
        if row_bytes.checked_mul(capacity).is_none_or(|bytes| isize::try_from(bytes).is_err()) {
            return Err(Failure::invalid(format!("{capacity} rows of `{what}` are more than memory holds")));
        }
        // SAFETY: as promised.
        unsafe { Out::sized(rows, row_bytes, what)? };
        Ok(Self { rows, row_bytes, capacity })
    }

    /// Writes a row; `index` is below the capacity.
    #[inline]
    pub(crate) fn write(&self, index: usize, value: T) {
        if index < self.capacity {
            // SAFETY: it is one of the rows that may be written to.
            let place = unsafe { self.rows.byte_add(index * self.row_bytes) };
            Out { place, bytes: self.row_bytes }.write(value);
        }
    }
}

/// A buffer that bytes go to, as many as there are.
pub(crate) struct OutBytes {
    place: *mut u8,
    capacity: usize,
}

impl OutBytes {
    /// # Safety
    ///
    /// `capacity` bytes may be written at `place`, or it is NULL.
    pub(crate) unsafe fn new(place: *mut u8, capacity: usize, what: &str) -> Outcome<Self> {
        // SAFETY: as promised.
        unsafe { OutRows::new(place, 1, capacity, what)? };
        Ok(Self { place, capacity })
    }

    /// Writes as many bytes as fit, and answers how many that were.
    pub(crate) fn write(&self, bytes: &[u8]) -> usize {
        let len = bytes.len().min(self.capacity);
        // SAFETY: so many may be written there, `bytes` has them, and they are not the caller's.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.place, len) };
        len
    }
}

/// Room for a zero-terminated text, and for its length without the zero.
pub(crate) struct TextOut<'a> {
    bytes: OutRows<u8>,
    len: Out<usize>,
    what: &'a str,
}

impl<'a> TextOut<'a> {
    /// # Safety
    ///
    /// `room` bytes may be written at `place`, and `len` may be written to; or they are NULL.
    pub(crate) unsafe fn new(
        (place, room): (*mut c_char, usize),
        len: *mut usize,
        what: &'a str,
    ) -> Outcome<Self> {
        // SAFETY: as promised.
        unsafe {
            Ok(Self {
                bytes: OutRows::new(place.cast::<u8>(), 1, room, what)?,
                len: Out::new(len, "len")?,
                what,
            })
        }
    }

    /// Writes all of it, or nothing.
    pub(crate) fn write(&self, text: &str) -> Outcome<()> {
        let needed = text.len() + 1;
        if needed > self.bytes.capacity {
            let (what, room) = (self.what, self.bytes.capacity);
            return Err(Failure::invalid(format!("`{what}` has room for {room} bytes, of {needed}")));
        }
        for (index, byte) in text.bytes().chain([0]).enumerate() {
            self.bytes.write(index, byte);
        }
        self.len.write(text.len());
        Ok(())
    }
}

/// A flag: 0 or 1.
pub(crate) fn flag(value: i64, what: &str) -> Outcome<bool> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Failure::invalid(format!("`{what}` is {value}; 0 (no) and 1 (yes) are possible"))),
    }
}

/// A time to wait: milliseconds, negative for without end.
pub(crate) fn timeout(ms: i64) -> Option<Duration> {
    u64::try_from(ms).ok().map(Duration::from_millis)
}

/// A number that must not be negative.
pub(crate) fn count<N: TryFrom<i64>>(value: i64, what: &str) -> Outcome<N> {
    N::try_from(value).map_err(|_| Failure::invalid(format!("`{what}` cannot be {value}")))
}
