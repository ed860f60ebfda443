//! Between Python's values and the engine's: paths, bytes, times, words out of a list, places in a sequence.
//!
//! Paths come in as `str` (encoded as `os.fsencode` does), `bytes` or `os.PathLike`, and go out decoded as
//! `os.fsdecode` does: what went out always comes in as the same bytes.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use pyo3::exceptions::{PyIndexError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{
    PyBytes, PyDateTime, PyDelta, PyDeltaAccess, PyMapping, PyMemoryView, PySlice, PyString, PyTzInfo,
    PyTzInfoAccess,
};
use treewarden::{ChangeKind, Compare, ContentHash, Durability, Kind, Walker};

use crate::errors;

pub(crate) const KINDS: &[(&str, Kind)] =
    &[("file", Kind::File), ("dir", Kind::Dir), ("symlink", Kind::Symlink)];

pub(crate) const CHANGE_KINDS: &[(&str, ChangeKind)] = &[
    ("added", ChangeKind::Added),
    ("modified", ChangeKind::Modified),
    ("moved", ChangeKind::Moved),
    ("missing", ChangeKind::Missing),
    ("restored", ChangeKind::Restored),
    ("forgotten", ChangeKind::Forgotten),
];

pub(crate) const DURABILITIES: &[(&str, Durability)] =
    &[("durable", Durability::Durable), ("relaxed", Durability::Relaxed)];

pub(crate) const CONTENT_HASHES: &[(&str, ContentHash)] =
    &[("off", ContentHash::Off), ("changed", ContentHash::Changed)];

pub(crate) const COMPARES: &[(&str, Compare)] = &[
    ("auto", Compare::Auto),
    ("full", Compare::Full),
    ("no_inode", Compare::NoInode),
    ("no_ctime", Compare::NoCtime),
    ("size_mtime", Compare::SizeMtime),
];

pub(crate) const WALKERS: &[(&str, Walker)] =
    &[("auto", Walker::Auto), ("fd", Walker::Fd), ("jwalk", Walker::Jwalk)];

/// The value of a word.
///
/// # Errors
///
/// `InvalidArgumentError`, which lists the possible words.
pub(crate) fn one_of<T: Copy>(
    py: Python<'_>,
    what: &str,
    given: &str,
    possible: &[(&str, T)],
) -> PyResult<T> {
    if let Some((_, value)) = possible.iter().find(|(word, _)| *word == given) {
        return Ok(*value);
    }
    let words: Vec<String> = possible.iter().map(|(word, _)| format!("`{word}`")).collect();
    let words = match words.split_last() {
        Some((last, first)) if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        _ => words.concat(),
    };
    let given = treewarden::escape(given.as_bytes());
    let (message, hint) = (format!("{what} `{given}` is unknown"), format!("there are {words}"));
    Err(errors::invalid_with_hint(py, message, hint))
}

/// The word of a value.
pub(crate) fn word_of<T: Copy + PartialEq>(value: T, possible: &[(&'static str, T)]) -> &'static str {
    possible.iter().find(|(_, possible)| *possible == value).map_or("unknown", |(word, _)| *word)
}

/// An address in a tree, `ROOT/relative/path`, in bytes; or a prefix of addresses.
pub(crate) struct Address(pub(crate) Vec<u8>);

impl Address {
    /// The empty prefix.
    pub(crate) fn everything() -> Self {
        Self(Vec::new())
    }
}

impl FromPyObject<'_, '_> for Address {
    type Error = PyErr;

    fn extract(obj: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        encode_path(&obj).map(Self)
    }
}

/// A path on the disk.
pub(crate) struct FsPath(pub(crate) PathBuf);

impl FromPyObject<'_, '_> for FsPath {
    type Error = PyErr;

    fn extract(obj: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        Ok(Self(OsString::from_vec(encode_path(&obj)?).into()))
    }
}

/// The bytes of a path or address.
pub(crate) fn encode_path(obj: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    if let Ok(bytes) = obj.cast::<PyBytes>() {
        return Ok(bytes.as_bytes().to_vec());
    }
    if obj.is_instance_of::<PyString>() {
        return Ok(obj.extract::<OsString>()?.into_vec());
    }
    // It answers with a str or bytes, or with a TypeError that names the type.
    encode_path(&obj.py().import("os")?.call_method1("fspath", (obj,))?)
}

/// The str of a path or address.
pub(crate) fn decode_path<'py>(py: Python<'py>, path: &[u8]) -> PyResult<Bound<'py, PyString>> {
    // SAFETY: the thread is attached; pointer and length are those of a slice. A new reference to a str comes
    // back, or NULL with an exception set.
    unsafe {
        let text = ffi::PyUnicode_DecodeFSDefaultAndSize(path.as_ptr().cast(), path.len() as ffi::Py_ssize_t);
        Ok(Bound::from_owned_ptr_or_err(py, text)?.cast_into_unchecked())
    }
}

/// A name in a space or the like: str (as UTF-8) or bytes.
pub(crate) struct Key(pub(crate) Vec<u8>);

impl Key {
    /// The empty prefix.
    pub(crate) fn everything() -> Self {
        Self(Vec::new())
    }
}

impl FromPyObject<'_, '_> for Key {
    type Error = PyErr;

    fn extract(obj: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        text_or_bytes(&obj).map(Self)
    }
}

/// Any bytes: `bytes`, `bytearray`, `memoryview`, and whatever has a buffer.
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl FromPyObject<'_, '_> for Bytes {
    type Error = PyErr;

    fn extract(obj: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        bytes_like(&obj).map(Self)
    }
}

/// The bytes of a bytes-like object.
pub(crate) fn bytes_like(obj: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    if let Ok(bytes) = obj.cast::<PyBytes>() {
        return Ok(bytes.as_bytes().to_vec());
    }
    // The buffer protocol itself is not part of the limited API before 3.11.
    let copy = PyMemoryView::from(obj)?.call_method0("tobytes")?;
    Ok(copy.cast::<PyBytes>()?.as_bytes().to_vec())
}

/// The UTF-8 of a str, or the bytes of a bytes-like object.
pub(crate) fn text_or_bytes(obj: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    match obj.cast::<PyString>() {
        Ok(text) => Ok(text.to_cow()?.into_owned().into_bytes()),
        Err(_) => bytes_like(obj),
    }
}

/// The strings of an iterable. A single str is refused: its letters are never meant.
pub(crate) fn strings(what: &str, obj: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    several(what, obj, |item| item.extract::<String>())
}

/// The addresses or paths of an iterable. A single one is refused.
pub(crate) fn paths(what: &str, obj: &Bound<'_, PyAny>) -> PyResult<Vec<Vec<u8>>> {
    several(what, obj, encode_path)
}

fn several<T>(
    what: &str,
    obj: &Bound<'_, PyAny>,
    read: impl Fn(&Bound<'_, PyAny>) -> PyResult<T>,
) -> PyResult<Vec<T>> {
    if obj.is_instance_of::<PyString>() || obj.is_instance_of::<PyBytes>() {
        let name = obj.get_type().name()?;
        return Err(PyTypeError::new_err(format!("`{what}` takes an iterable, not a single {name}")));
    }
    obj.try_iter()?.map(|item| read(&item?)).collect()
}

/// The pairs of a mapping from names to bytes, or to `None` where a name is to go.
pub(crate) fn attrs(obj: &Bound<'_, PyAny>) -> PyResult<Vec<(String, Option<Vec<u8>>)>> {
    let mut attrs = Vec::new();
    for item in obj.cast::<PyMapping>()?.items()? {
        let (name, value): (String, Bound<'_, PyAny>) = item.extract()?;
        let value = if value.is_none() { None } else { Some(bytes_like(&value)?) };
        attrs.push((name, value));
    }
    Ok(attrs)
}

/// A point in time: an aware `datetime`, or an int of nanoseconds since 1970 UTC.
pub(crate) struct TimeNs(pub(crate) i64);

impl FromPyObject<'_, '_> for TimeNs {
    type Error = PyErr;

    fn extract(obj: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        let py = obj.py();
        if let Ok(time) = obj.cast::<PyDateTime>() {
            return ns_of(&time).map(Self);
        }
        match obj.extract::<i64>() {
            Ok(ns) => Ok(Self(ns)),
            Err(error) if error.is_instance_of::<PyTypeError>(py) => Err(PyTypeError::new_err(
                "a time is a datetime with a time zone, or an int: nanoseconds since 1970 UTC",
            )),
            Err(error) => Err(error),
        }
    }
}

fn ns_of(time: &Bound<'_, PyDateTime>) -> PyResult<i64> {
    let py = time.py();
    if time.get_tzinfo().is_none() {
        let message = format!("the datetime {} has no time zone", time.as_any().str()?);
        let hint = "say which one is meant: `datetime.now(timezone.utc)`, or `moment.astimezone()`";
        return Err(errors::invalid_with_hint(py, message, hint));
    }
    let since = time.as_any().sub(epoch(py)?)?.cast_into::<PyDelta>()?;
    let seconds = i128::from(since.get_days()) * 86_400 + i128::from(since.get_seconds());
    let ns = seconds * 1_000_000_000 + i128::from(since.get_microseconds()) * 1_000;
    i64::try_from(ns).map_err(|_| {
        errors::invalid_with_hint(
            py,
            "the datetime is out of range",
            "the years from 1678 to 2261 are possible",
        )
    })
}

/// The aware `datetime` of a time in nanoseconds since 1970 UTC, cut to microseconds.
pub(crate) fn datetime(py: Python<'_>, ns: i64) -> PyResult<Bound<'_, PyAny>> {
    const DAY_US: i64 = 86_400 * 1_000_000;
    let us = ns.div_euclid(1_000);
    let (days, rest) = (us.div_euclid(DAY_US), us.rem_euclid(DAY_US));
    // Some 106,752 days at most, and less than a day.
    let (days, seconds, us) = (days as i32, (rest / 1_000_000) as i32, (rest % 1_000_000) as i32);
    epoch(py)?.as_any().add(PyDelta::new(py, days, seconds, us, false)?)
}

fn epoch(py: Python<'_>) -> PyResult<&Bound<'_, PyDateTime>> {
    static EPOCH: PyOnceLock<Py<PyDateTime>> = PyOnceLock::new();
    let epoch = EPOCH.get_or_try_init(py, || {
        let utc = PyTzInfo::utc(py)?;
        PyDateTime::new(py, 1970, 1, 1, 0, 0, 0, 0, Some(&*utc)).map(Bound::unbind)
    })?;
    Ok(epoch.bind(py))
}

/// A duration in seconds; one beyond all measure is as long as there is.
///
/// # Errors
///
/// `InvalidArgumentError` for a negative one, and for one that is not a number.
pub(crate) fn duration(py: Python<'_>, what: &str, seconds: f64) -> PyResult<Duration> {
    if seconds.is_nan() || seconds < 0.0 {
        return Err(errors::invalid(py, format!("{what} of {seconds} s makes no sense")));
    }
    Ok(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}

/// The longest wait of a call; `None` and infinity wait without end.
///
/// # Errors
///
/// As [`duration`].
pub(crate) fn timeout(py: Python<'_>, seconds: Option<f64>) -> PyResult<Option<Duration>> {
    let wait = seconds.map(|seconds| duration(py, "a timeout", seconds)).transpose()?;
    Ok(wait.filter(|wait| *wait != Duration::MAX))
}

/// A duration in seconds as milliseconds, rounded.
///
/// # Errors
///
/// As [`duration`].
pub(crate) fn millis(py: Python<'_>, what: &str, seconds: f64) -> PyResult<u64> {
    let wait = duration(py, what, seconds)?.saturating_add(Duration::from_micros(500));
    Ok(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
}

/// What `sequence[key]` asks for.
pub(crate) enum Picked {
    /// One of them.
    One(usize),
    /// A slice, place by place.
    Many(Vec<usize>),
}

/// Finds the places that `sequence[key]` means in a sequence of this length.
///
/// # Errors
///
/// `IndexError`, and `TypeError` for a key that is neither an int nor a slice.
pub(crate) fn pick(key: &Bound<'_, PyAny>, len: usize) -> PyResult<Picked> {
    // No sequence in memory is longer than that.
    let places = isize::try_from(len).unwrap_or(isize::MAX);
    if let Ok(slice) = key.cast::<PySlice>() {
        let slice = slice.indices(places)?;
        let step = |place: &isize| place.checked_add(slice.step);
        let picked = std::iter::successors(Some(slice.start), step).take(slice.slicelength);
        return Ok(Picked::Many(picked.map(isize::unsigned_abs).collect()));
    }
    let place: isize = key.extract()?;
    let place = if place < 0 { place.saturating_add(places) } else { place };
    match usize::try_from(place) {
        Ok(place) if place < len => Ok(Picked::One(place)),
        _ => Err(PyIndexError::new_err("index out of range")),
    }
}
