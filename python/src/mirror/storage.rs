//! Storages written in Python: objects with `put` and `delete`, called on the threads of a run. And what holds for them
//! and for a function that is a CDN: how they are called, and what their exceptions mean.
//!
//! Must never show the words of an exception outside of the log: they may quote what was sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use pyo3::call::PyCallArgs;
use pyo3::exceptions::{
    PyBaseException, PyFileNotFoundError, PyNotImplementedError, PyOverflowError, PyPermissionError,
    PyTypeError,
};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyCFunction, PyDict, PyMapping, PyString, PyType};
use treewarden::mirror::{
    Capabilities, Listed, LocalStorage, Put, Storage, StorageError, StorageFault, StorageResult, Stored,
    Target,
};

use super::upload;
use crate::errors::{self, OrRaise};

/// Keys of one call of `delete` at most, where the storage does not say it.
const DELETE_MAX: usize = 1_000;
/// Bytes of one key at most, where the storage does not say it.
const KEY_BYTES_MAX: usize = 1_024;
/// Objects of a listing that are taken out of it at once.
const PAGE: usize = 1_000;
/// How often the end of the program looks whether it can go on.
const SLICE: Duration = Duration::from_millis(20);

/// Calls of Python by threads of the engine that are under way.
static CALLS: AtomicUsize = AtomicUsize::new(0);
/// There are no more of them: the program ends.
static ENDING: AtomicBool = AtomicBool::new(false);

/// The storage that an object is.
///
/// # Errors
///
/// `TypeError` for an object without `put` and `delete` and for attributes of another type, `InvalidArgumentError` for
/// attributes that make no sense.
pub(super) fn of(target: &Bound<'_, PyAny>) -> PyResult<Arc<dyn Storage>> {
    let py = target.py();
    let has = |method: &str| -> PyResult<bool> {
        Ok(target.getattr_opt(method)?.is_some_and(|method| method.is_callable()))
    };
    // A class has methods, too, and none of them can be called without an object.
    if target.is_instance_of::<PyType>() || !has("put")? || !has("delete")? {
        let kind = target.get_type().name()?;
        let message = format!(
            "`target` is an address, a directory as a path object, or an object with the methods `put` and \
             `delete`, not {kind}"
        );
        return Err(PyTypeError::new_err(message));
    }
    let name = match text(target, "name")? {
        Some(name) => name,
        None => target.get_type().qualname()?.extract::<String>()?,
    };
    let public = match text(target, "public_url")? {
        Some(url) => {
            // What holds for the option of that name.
            Target::directory("/").public_url(url.as_str()).check().or_raise(py)?;
            Some(LocalStorage::new(&url))
        }
        None => None,
    };
    await_calls_at_end(py)?;
    let mut can = Capabilities::default();
    can.copy = has("copy")?;
    can.list = has("list")?;
    can.attributes = true;
    can.delete_max = count(target, "delete_max", DELETE_MAX)?;
    can.key_bytes_max = count(target, "key_bytes_max", KEY_BYTES_MAX)?;
    Ok(Arc::new(Called {
        object: target.clone().unbind(),
        name: treewarden::escape(name.as_bytes()),
        can,
        has_url: has("url")?,
        has_check_key: has("check_key")?,
        public,
    }))
}

/// An attribute, unless it is None.
fn given<'py>(target: &Bound<'py, PyAny>, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
    Ok(target.getattr_opt(name)?.filter(|value| !value.is_none()))
}

fn text(target: &Bound<'_, PyAny>, name: &str) -> PyResult<Option<String>> {
    let Some(value) = given(target, name)? else { return Ok(None) };
    if !value.is_instance_of::<PyString>() {
        return Err(of_another_type(&value, name, "a str"));
    }
    // The error of Python would quote it.
    let not_text =
        |_| errors::invalid(target.py(), format!("`{name}` of a storage holds what is no character"));
    value.extract::<String>().map(Some).map_err(not_text)
}

fn count(target: &Bound<'_, PyAny>, name: &str, default: usize) -> PyResult<usize> {
    let py = target.py();
    let Some(value) = given(target, name)? else { return Ok(default) };
    // True is a number for Python, and never meant as one.
    if value.is_instance_of::<PyBool>() {
        return Err(of_another_type(&value, name, "an int"));
    }
    match value.extract::<usize>() {
        Ok(count) if count > 0 => Ok(count),
        Err(error) if !error.is_instance_of::<PyOverflowError>(py) => {
            Err(of_another_type(&value, name, "an int"))
        }
        _ => Err(errors::invalid(py, format!("`{name}` of a storage is a number from 1 on"))),
    }
}

fn of_another_type(value: &Bound<'_, PyAny>, name: &str, wanted: &str) -> PyErr {
    match value.get_type().name() {
        Ok(kind) => PyTypeError::new_err(format!("`{name}` of a storage is {wanted}, not {kind}")),
        Err(error) => error,
    }
}

/// An object in Python, and what it said of itself when the mirror was opened.
struct Called {
    object: Py<PyAny>,
    /// As it is shown.
    name: String,
    can: Capabilities,
    has_url: bool,
    has_check_key: bool,
    /// Makes addresses of keys.
    public: Option<LocalStorage>,
}

impl Storage for Called {
    fn capabilities(&self) -> Capabilities {
        self.can
    }

    fn describe(&self) -> String {
        format!("python+{}", self.name)
    }

    fn public_url(&self) -> Option<&str> {
        self.public.as_ref().and_then(Storage::public_url)
    }

    fn url(&self, key: &str) -> Option<String> {
        if self.has_url {
            let answer = attached(|py| {
                let answer = self.call(py, "url", (key,))?;
                self.text_or_none(&answer, "url")
            });
            if let Ok(url) = answer {
                return url;
            }
            // A CDN is rather told too much than nothing.
        }
        self.public.as_ref()?.url(key)
    }

    fn check_key(&self, key: &str) -> StorageResult<()> {
        let (bytes, most) = (key.len(), self.can.key_bytes_max);
        if bytes > most {
            let message = format!("its key has {bytes} bytes, and the storage `{}` takes {most}", self.name);
            return Err(StorageError::new(StorageFault::Rejected, message));
        }
        if !self.has_check_key {
            return Ok(());
        }
        attached(|py| match self.object.bind(py).call_method1("check_key", (key,)) {
            Ok(_) => Ok(()),
            Err(error) => {
                let message = format!("`check_key` of the storage `{}` refuses it", self.name);
                // It is asked with each run, and meant to say no.
                log(py, "debug", &message, &error);
                Err(StorageError::new(StorageFault::Rejected, with_class(py, &message, &error)))
            }
        })
    }

    fn put(&self, put: &Put<'_>) -> StorageResult<Stored> {
        let (answer, lent) = upload::lend(put, |upload, lent| {
            attached(|py| match self.object.bind(py).call_method1("put", (upload,)) {
                Ok(answer) => self.stored(&answer, "put"),
                Err(error) => Err(match lent.fault() {
                    // It is no failure of the storage that there was nothing more to read.
                    Some(fault) => fault,
                    None => self.failed(py, "put", &error),
                }),
            })
        });
        // Whatever it made of that: what it has is not the file.
        if let Some(fault) = lent.fault() {
            return Err(fault);
        }
        let stored = answer?;
        let (taken, size) = (lent.taken(), put.source.size());
        if taken < size {
            let message = format!("the storage `{}` took only {taken} of {size} bytes", self.name);
            return Err(StorageError::new(StorageFault::Rejected, message));
        }
        if size == 0 {
            // There was nothing that had to be read.
            put.source.check()?;
        }
        Ok(stored)
    }

    fn delete(&self, keys: &[&str]) -> Vec<StorageResult<()>> {
        let answers: StorageResult<Vec<StorageResult<()>>> = attached(|py| {
            let answer = self.call(py, "delete", (keys.to_vec(),))?;
            if answer.is_none() {
                return Ok(keys.iter().map(|_| Ok(())).collect());
            }
            match answer.cast::<PyMapping>() {
                Ok(failed) => Ok(keys.iter().map(|key| self.deleted(failed, key)).collect()),
                Err(_) => Err(self.unexpected(&answer, "delete", "a mapping from keys to exceptions")),
            }
        });
        answers.unwrap_or_else(|error| {
            let fault = match error.fault {
                // Which one is not there it has not said, and the others may be.
                StorageFault::NotFound if keys.len() > 1 => StorageFault::Transient,
                fault => fault,
            };
            let error = StorageError::new(fault, error.message);
            keys.iter().map(|_| Err(error.clone())).collect()
        })
    }

    fn copy(&self, from: &str, to: &str) -> StorageResult<Stored> {
        if !self.can.copy {
            return Err(StorageError::new(StorageFault::Unsupported, "this storage copies nothing"));
        }
        attached(|py| {
            let answer = self.call(py, "copy", (from, to))?;
            self.stored(&answer, "copy")
        })
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(Listed) -> bool) -> StorageResult<()> {
        const WANTED: &str = "tuples of a key, a size and an entity tag";
        if !self.can.list {
            return Err(StorageError::new(StorageFault::Unsupported, "this storage cannot be listed"));
        }
        let objects = attached(|py| {
            let objects = self.call(py, "list", (prefix,))?;
            objects.try_iter().map(Bound::unbind).map_err(|_| self.unexpected(&objects, "list", WANTED))
        })?;
        loop {
            let page = attached(|py| {
                let mut page = Vec::new();
                for object in objects.bind(py).into_iter().take(PAGE) {
                    let object = object.map_err(|error| self.failed(py, "list", &error))?;
                    let (key, size, etag) = object
                        .extract::<(String, u64, Option<String>)>()
                        .map_err(|_| self.unexpected(&object, "list", WANTED))?;
                    page.push(Listed { key, size, etag: bare(etag) });
                }
                Ok(page)
            })?;
            let is_last = page.len() < PAGE;
            // Detached: what the engine makes of it is not Python's.
            for listed in page {
                if !each(listed) {
                    return Ok(());
                }
            }
            if is_last {
                return Ok(());
            }
        }
    }
}

impl Called {
    fn call<'py>(
        &self,
        py: Python<'py>,
        method: &str,
        arguments: impl PyCallArgs<'py>,
    ) -> StorageResult<Bound<'py, PyAny>> {
        let answer = self.object.bind(py).call_method1(method, arguments);
        answer.map_err(|error| self.failed(py, method, &error))
    }

    fn stored(&self, answer: &Bound<'_, PyAny>, method: &str) -> StorageResult<Stored> {
        Ok(Stored { etag: bare(self.text_or_none(answer, method)?) })
    }

    fn text_or_none(&self, answer: &Bound<'_, PyAny>, method: &str) -> StorageResult<Option<String>> {
        if answer.is_none() {
            return Ok(None);
        }
        answer.extract::<String>().map(Some).map_err(|_| self.unexpected(answer, method, "a str or None"))
    }

    /// What became of one key, out of those that failed.
    fn deleted(&self, failed: &Bound<'_, PyMapping>, key: &str) -> StorageResult<()> {
        let py = failed.py();
        let failure = failed
            .contains(key)
            .and_then(|has_failed| if has_failed { failed.get_item(key).map(Some) } else { Ok(None) });
        match failure {
            Ok(None) => Ok(()),
            Ok(Some(failure)) if failure.is_instance_of::<PyBaseException>() => {
                Err(self.failed(py, "delete", &PyErr::from_value(failure)))
            }
            Ok(Some(failure)) => Err(self.unexpected(&failure, "delete", "an exception for a key")),
            Err(error) => Err(self.failed(py, "delete", &error)),
        }
    }

    fn failed(&self, py: Python<'_>, method: &str, error: &PyErr) -> StorageError {
        failed(py, &format!("`{method}` of the storage `{}` failed", self.name), error)
    }

    /// A mistake of the program: the same call fares no better.
    fn unexpected(&self, answer: &Bound<'_, PyAny>, method: &str, wanted: &str) -> StorageError {
        let kind = answer.get_type().name().map(|name| name.to_string()).unwrap_or_default();
        let kind = treewarden::escape(kind.as_bytes());
        let message = format!("`{method}` of the storage `{}` answers with {kind}, not {wanted}", self.name);
        StorageError::new(StorageFault::Rejected, message)
    }
}

/// An entity tag without its quotes.
fn bare(etag: Option<String>) -> Option<String> {
    etag.map(|etag| etag.trim_matches('"').to_owned()).filter(|etag| !etag.is_empty())
}

fn attached<T>(call: impl for<'py> FnOnce(Python<'py>) -> StorageResult<T>) -> StorageResult<T> {
    let ending = || Err(StorageError::new(StorageFault::Transient, "the interpreter is ending"));
    call_python(call).unwrap_or_else(ending)
}

/// Calls Python from a thread of the engine. `None` once the interpreter is ending.
pub(super) fn call_python<T>(call: impl for<'py> FnOnce(Python<'py>) -> T) -> Option<T> {
    let _under_way = UnderWay::begin()?;
    Python::try_attach(call)
}

struct UnderWay;

impl UnderWay {
    fn begin() -> Option<Self> {
        CALLS.fetch_add(1, Ordering::SeqCst);
        let under_way = Self;
        // After it was counted: the end of the program looks the other way round.
        if ENDING.load(Ordering::SeqCst) { None } else { Some(under_way) }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        CALLS.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Makes the end of the program wait for [`call_python`]: a thread that is in Python when the interpreter ends never
/// comes back, and whoever waits for it does not either. Ctrl-C ends that wait.
///
/// # Errors
///
/// What `atexit` raises.
pub(super) fn await_calls_at_end(py: Python<'_>) -> PyResult<()> {
    static REGISTERED: AtomicU32 = AtomicU32::new(0);
    let process = std::process::id();
    let before = REGISTERED.swap(process, Ordering::SeqCst);
    if before == process {
        return Ok(());
    }
    if before != 0 {
        // The calls that were under way in the parent are none of this child.
        CALLS.store(0, Ordering::SeqCst);
        ENDING.store(false, Ordering::SeqCst);
    }
    let register = || -> PyResult<()> {
        let end = PyCFunction::new_closure(py, None, None, move |args, _| -> PyResult<bool> {
            let py = args.py();
            // In the child of a fork those that were under way are the parent's.
            let is_own = process == std::process::id();
            if is_own {
                ENDING.store(true, Ordering::SeqCst);
            }
            while is_own && CALLS.load(Ordering::SeqCst) > 0 {
                py.detach(|| thread::sleep(SLICE));
                py.check_signals()?;
            }
            Ok(is_own)
        })?;
        py.import(intern!(py, "atexit"))?.call_method1(intern!(py, "register"), (end,))?;
        Ok(())
    };
    register().inspect_err(|_| REGISTERED.store(0, Ordering::SeqCst))
}

/// What an exception of a program's own storage or CDN means, and a sentence that begins with `what`. It is logged,
/// unless it asks for a pause: whoever does that knows why.
pub(super) fn failed(py: Python<'_>, what: &str, error: &PyErr) -> StorageError {
    let fault = fault_of(py, error).unwrap_or(StorageFault::Transient);
    if !matches!(fault, StorageFault::Throttled(_)) {
        log(py, "error", what, error);
    }
    StorageError::new(fault, with_class(py, what, error))
}

/// The class of an exception, not its words: they may quote what was sent.
fn with_class(py: Python<'_>, what: &str, error: &PyErr) -> String {
    let class = error.get_type(py).name().map(|name| name.to_string()).unwrap_or_default();
    format!("{what} with {}", treewarden::escape(class.as_bytes()))
}

/// What an exception means for what comes next: the words of workers, and those of Python.
fn fault_of(py: Python<'_>, error: &PyErr) -> PyResult<StorageFault> {
    static PUT_OFF: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static PERMANENT: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let value = error.value(py);
    if value.is_instance(PUT_OFF.import(py, "treewarden._errors", "PutOff")?.as_any())? {
        let seconds = value.getattr(intern!(py, "seconds"))?.extract::<f64>()?;
        return Ok(StorageFault::Throttled(Duration::try_from_secs_f64(seconds).ok()));
    }
    if value.is_instance(PERMANENT.import(py, "treewarden._errors", "Permanent")?.as_any())? {
        return Ok(StorageFault::Rejected);
    }
    Ok(if error.is_instance_of::<PyPermissionError>(py) {
        StorageFault::Denied
    } else if error.is_instance_of::<PyFileNotFoundError>(py) {
        StorageFault::NotFound
    } else if error.is_instance_of::<PyNotImplementedError>(py) {
        StorageFault::Unsupported
    } else {
        StorageFault::Transient
    })
}

/// Writes an exception to the log of the package, `logging.getLogger("treewarden")`.
fn log(py: Python<'_>, level: &str, message: &str, error: &PyErr) {
    let written = || -> PyResult<()> {
        let fields = PyDict::new(py);
        fields.set_item(intern!(py, "exc_info"), error.value(py))?;
        let logger = py.import(intern!(py, "logging"))?.call_method1("getLogger", ("treewarden",))?;
        // Without arguments: the message is not taken for a format.
        logger.call_method(level, (message,), Some(&fields))?;
        Ok(())
    };
    if let Err(broken) = written() {
        broken.write_unraisable(py, None);
    }
}
