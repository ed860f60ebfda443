//! What a mirror copies, where to, and with which credentials: read from the keywords of `Warden.mirror`. And the way to
//! a store from those of `Warden.export`, which are some of the same.
//!
//! Must never show a value of a credential: what is wrong with one is said by its name alone.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyMapping, PyString};
use treewarden::export::{StorageSink, store_of};
use treewarden::mirror::{Credentials, MirrorOptions, Target};

use crate::convert::{self, Address, FsPath};
use crate::errors::{self, OrRaise};

/// What opens a target. These can be given without an address, too.
const CREDENTIALS: [&str; 9] = [
    "access_key",
    "secret_key",
    "session_token",
    "anonymous",
    "instance",
    "azure_key",
    "azure_sas",
    "service_account",
    "gcs_token",
];

/// Every other keyword. None stands for the default of each.
const OPTIONS: [&str; 20] = [
    "endpoint",
    "region",
    "virtual_hosted",
    "public_url",
    "opaque_etags",
    "prefix",
    "glob",
    "cache_control",
    "content_types",
    "uploads",
    "part_bytes",
    "memory_bytes",
    "bandwidth",
    "attempts",
    "backoff",
    "backoff_max",
    "delete_max",
    "delete_share_percent",
    "settle",
    "purge_new",
];

/// Those that say how a place is reached: a storage in Python knows that by itself.
const REACHED: [&str; 5] = ["endpoint", "region", "virtual_hosted", "public_url", "opaque_etags"];

/// What says how a store is reached to which files are exported, and where they lie until they are there.
const STORE: [&str; 8] =
    ["endpoint", "region", "virtual_hosted", "opaque_etags", "attempts", "backoff", "backoff_max", "staging"];

/// Reads the destination of an export: for a store what puts files there, and the directory for them until then, where
/// one is given; `None` for a path.
///
/// # Errors
///
/// `TypeError` for an unknown keyword and for a value of another type, `InvalidArgumentError` for an address that makes
/// no sense and for a keyword where there is no store; as `StorageSink::connect`.
pub(crate) fn export_sink(
    py: Python<'_>,
    dest: &Path,
    given: Option<&Bound<'_, PyDict>>,
) -> PyResult<Option<(StorageSink, Option<PathBuf>)>> {
    let mut kept = Vec::new();
    for (name, value) in given.into_iter().flatten() {
        let name: String = name.extract()?;
        if !STORE.contains(&name.as_str()) && !CREDENTIALS.contains(&name.as_str()) {
            let message = format!("export() got an unexpected keyword argument '{name}'");
            return Err(PyTypeError::new_err(message));
        }
        if !value.is_none() {
            kept.push((name, value));
        }
    }
    let Some((target, prefix)) = store_of(dest).or_raise(py)? else {
        return match kept.first() {
            None => Ok(None),
            Some((name, _)) => {
                let hint = "leave it out, or export to a store: `s3://BUCKET/PREFIX`";
                Err(errors::invalid_with_hint(py, format!("`{name}` says how a store is reached"), hint))
            }
        };
    };
    let credentials = credentials(py, given)?;
    let mut making = Making { options: MirrorOptions::new(""), target, has_prefix: true, retry: None };
    let mut staging = None;
    for (name, value) in kept.into_iter().filter(|(name, _)| STORE.contains(&name.as_str())) {
        if name == "staging" {
            let FsPath(dir) = value.extract()?;
            staging = Some(dir);
        } else {
            making = making.with(&Value { name: &name, value })?;
        }
    }
    let Making { target, retry, .. } = making;
    let Retry { attempts, backoff, backoff_max } = retry.unwrap_or_default();
    let sink = py.detach(|| StorageSink::connect(&target, &credentials, &prefix)).or_raise(py)?;
    Ok(Some((sink.retry(attempts, backoff, backoff_max), staging)))
}

/// Reads the credentials among the keywords.
///
/// # Errors
///
/// `TypeError` for a value of another type, `InvalidArgumentError` for several kinds at once. What does not open a
/// target is for the engine to say.
pub(super) fn credentials(py: Python<'_>, given: Option<&Bound<'_, PyDict>>) -> PyResult<Credentials> {
    let text = |name| find(given, name)?.map(|value| value.text()).transpose();
    let flag = |name| find(given, name)?.map_or(Ok(false), |value| value.flag());

    let mut kinds: Vec<(&str, Credentials)> = Vec::new();
    match (text("access_key")?, text("secret_key")?) {
        (Some(id), Some(secret)) => kinds.push(("access_key", Credentials::keys(id, secret))),
        (None, None) => {}
        _ => {
            let message = "`access_key` and `secret_key` belong together";
            return Err(errors::invalid_with_hint(py, message, "give both"));
        }
    }
    if flag("anonymous")? {
        kinds.push(("anonymous", Credentials::anonymous()));
    }
    if flag("instance")? {
        kinds.push(("instance", Credentials::instance()));
    }
    if let Some(key) = text("azure_key")? {
        kinds.push(("azure_key", Credentials::azure_key(key)));
    }
    if let Some(sas) = text("azure_sas")? {
        kinds.push(("azure_sas", Credentials::azure_sas(sas)));
    }
    if let Some(json) = text("service_account")? {
        kinds.push(("service_account", Credentials::gcs_service_account(json)));
    }
    if let Some(token) = text("gcs_token")? {
        kinds.push(("gcs_token", Credentials::gcs_token(token)));
    }
    if let [(first, _), (second, _), ..] = kinds.as_slice() {
        let message = format!("`{first}` and `{second}` are two kinds of credentials");
        return Err(errors::invalid_with_hint(py, message, "give one of them"));
    }
    let credentials = kinds.pop().map_or_else(Credentials::none, |(_, credentials)| credentials);
    Ok(match text("session_token")? {
        Some(token) => credentials.session_token(token),
        None => credentials,
    })
}

/// Refuses whatever is no credential: what is stored holds.
///
/// # Errors
///
/// `InvalidArgumentError`, and `TypeError` for an unknown keyword.
pub(super) fn refuse_all(py: Python<'_>, given: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
    let Some(given) = given else { return Ok(()) };
    for (name, value) in given {
        let name: String = name.extract()?;
        if is_option(&name)? && !value.is_none() {
            let hint =
                "give the address and the target, too, or leave it out to open the mirror as it was made";
            return Err(errors::invalid_with_hint(py, format!("`{name}` says how a mirror is made"), hint));
        }
    }
    Ok(())
}

/// Reads options and target.
///
/// # Errors
///
/// `TypeError` for an unknown keyword and for a value of another type, `InvalidArgumentError` for a value that makes
/// no sense. What makes no sense together is for the engine to say.
pub(super) fn read(
    address: &Address,
    target: &Bound<'_, PyAny>,
    given: Option<&Bound<'_, PyDict>>,
) -> PyResult<(MirrorOptions, Target)> {
    let (target, prefix) = target_of(target)?;
    made(address, target, prefix, given)
}

/// Reads options alone, for a storage in Python.
///
/// # Errors
///
/// As [`read`], and `InvalidArgumentError` for what says how a place is reached, and for credentials.
pub(super) fn read_alone(address: &Address, given: Option<&Bound<'_, PyDict>>) -> PyResult<MirrorOptions> {
    for (name, value) in given.into_iter().flatten() {
        let name: String = name.extract()?;
        let is_its_own = !is_option(&name)? || REACHED.contains(&name.as_str());
        // A flag that is not set says nothing.
        if is_its_own && !value.is_none() && !value.extract::<bool>().is_ok_and(|flag| !flag) {
            let message = format!("`{name}` says how a place is reached, and the target is an object");
            let hint = match name.as_str() {
                "public_url" => "make it an attribute of the object",
                _ => "leave it out: the object knows it by itself",
            };
            return Err(errors::invalid_with_hint(value.py(), message, hint));
        }
    }
    // Nothing that was not refused belongs to a target.
    made(address, Target::directory("/"), String::new(), given).map(|(options, _)| options)
}

fn made(
    address: &Address,
    target: Target,
    prefix: String,
    given: Option<&Bound<'_, PyDict>>,
) -> PyResult<(MirrorOptions, Target)> {
    let has_prefix = !prefix.is_empty();
    let options = MirrorOptions::new(&address.0).prefix(prefix);
    let mut making = Making { options, target, has_prefix, retry: None };
    for (name, value) in given.into_iter().flatten() {
        let name: String = name.extract()?;
        if is_option(&name)? && !value.is_none() {
            making = making.with(&Value { name: &name, value })?;
        }
    }
    let Making { options, target, retry, .. } = making;
    Ok(match retry {
        Some(Retry { attempts, backoff, backoff_max }) => {
            (options.retry(attempts, backoff, backoff_max), target)
        }
        None => (options, target),
    })
}

/// True for an option, false for a credential.
fn is_option(name: &str) -> PyResult<bool> {
    if CREDENTIALS.contains(&name) {
        return Ok(false);
    }
    if OPTIONS.contains(&name) {
        return Ok(true);
    }
    Err(PyTypeError::new_err(format!("mirror() got an unexpected keyword argument '{name}'")))
}

fn find<'py>(
    given: Option<&Bound<'py, PyDict>>,
    name: &'static str,
) -> PyResult<Option<Value<'static, 'py>>> {
    let value = match given {
        Some(given) => given.get_item(name)?,
        None => None,
    };
    Ok(value.filter(|value| !value.is_none()).map(|value| Value { name, value }))
}

/// True for an address and for a path: for a target that is no object of the program's own.
///
/// # Errors
///
/// What an attribute of the object raises.
pub(super) fn is_place(target: &Bound<'_, PyAny>) -> PyResult<bool> {
    let is_text = target.is_instance_of::<PyString>() || target.is_instance_of::<PyBytes>();
    Ok(is_text || target.getattr_opt(intern!(target.py(), "__fspath__"))?.is_some())
}

/// A URL as a str; a directory as bytes or a path object. And the prefix in it.
fn target_of(target: &Bound<'_, PyAny>) -> PyResult<(Target, String)> {
    if target.is_instance_of::<PyString>() {
        let url = Value { name: "target", value: target.clone() }.text()?;
        return Target::parse(&url).or_raise(target.py());
    }
    let FsPath(path) = target.extract()?;
    let path = std::path::absolute(&path).unwrap_or(path);
    Ok((Target::directory(path), String::new()))
}

/// How a request is repeated. What is not given is as by default.
struct Retry {
    attempts: u32,
    backoff: Duration,
    backoff_max: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 5, backoff: Duration::from_millis(200), backoff_max: Duration::from_secs(20) }
    }
}

/// A mirror as far as the keywords have been read.
struct Making {
    options: MirrorOptions,
    target: Target,
    /// The target has named one.
    has_prefix: bool,
    retry: Option<Retry>,
}

impl Making {
    fn with(mut self, value: &Value<'_, '_>) -> PyResult<Self> {
        let Self { options, target, .. } = self;
        (self.options, self.target) = match value.name {
            "endpoint" => (options, target.endpoint(value.text()?)),
            "region" => (options, target.region(value.text()?)),
            "virtual_hosted" => (options, target.virtual_hosted(value.flag()?)),
            "public_url" => (options, target.public_url(value.text()?)),
            "opaque_etags" => (options, target.opaque_etags(value.flag()?)),
            "prefix" if self.has_prefix => {
                let message = "the target has a prefix in it, and `prefix` says another";
                return Err(errors::invalid_with_hint(value.py(), message, "give one of them"));
            }
            "prefix" => (options.prefix(value.text()?), target),
            "glob" => (value.words()?.into_iter().fold(options, MirrorOptions::glob), target),
            "cache_control" => (options.cache_control(value.text()?), target),
            "content_types" => {
                let types = value.pairs()?;
                let typed = |options: MirrorOptions, (extension, its): (String, String)| {
                    options.content_type(extension.strip_prefix('.').unwrap_or(&extension), its)
                };
                (types.into_iter().fold(options, typed), target)
            }
            "uploads" => (options.uploads_max(value.number()?), target),
            "part_bytes" => (options.part_bytes(value.number()?), target),
            "memory_bytes" => (options.memory_bytes(value.number()?), target),
            "bandwidth" => (options.bandwidth_bytes_per_s(value.number()?), target),
            "attempts" => {
                self.retry.get_or_insert_default().attempts = value.number()?;
                (options, target)
            }
            "backoff" => {
                self.retry.get_or_insert_default().backoff = value.duration()?;
                (options, target)
            }
            "backoff_max" => {
                self.retry.get_or_insert_default().backoff_max = value.duration()?;
                (options, target)
            }
            "delete_max" => (options.delete_max(value.number()?), target),
            "delete_share_percent" => (options.delete_share_percent(value.number()?), target),
            "settle" => (options.settle_ms(value.millis()?), target),
            // `purge_new`, the last one.
            _ => (options.purge_new(value.flag()?), target),
        };
        Ok(self)
    }
}

/// The value of one keyword.
struct Value<'n, 'py> {
    name: &'n str,
    value: Bound<'py, PyAny>,
}

impl<'py> Value<'_, 'py> {
    fn py(&self) -> Python<'py> {
        self.value.py()
    }

    fn wrong(&self, wanted: &str) -> PyErr {
        match self.value.get_type().name() {
            Ok(kind) => PyTypeError::new_err(format!("`{}` is {wanted}, not {kind}", self.name)),
            Err(error) => error,
        }
    }

    fn text(&self) -> PyResult<String> {
        if !self.value.is_instance_of::<PyString>() {
            return Err(self.wrong("a str"));
        }
        // The error of Python would quote it.
        let not_text = |_| errors::invalid(self.py(), format!("`{}` holds what is no character", self.name));
        self.value.extract().map_err(not_text)
    }

    /// One str, or several.
    fn words(&self) -> PyResult<Vec<String>> {
        if self.value.is_instance_of::<PyString>() {
            return Ok(vec![self.text()?]);
        }
        let words = convert::strings(self.name, &self.value)?;
        if words.is_empty() {
            let hint = "leave it out to copy all files";
            return Err(errors::invalid_with_hint(self.py(), format!("`{}` is empty", self.name), hint));
        }
        Ok(words)
    }

    /// A mapping from str to str.
    fn pairs(&self) -> PyResult<Vec<(String, String)>> {
        let wrong = || self.wrong("a mapping from str to str");
        let items = self.value.cast::<PyMapping>().map_err(|_| wrong())?.items()?;
        items.iter().map(|item| item.extract().map_err(|_| wrong())).collect()
    }

    fn flag(&self) -> PyResult<bool> {
        self.value.extract().map_err(|_| self.wrong("a bool"))
    }

    fn number<T: TryFrom<i64>>(&self) -> PyResult<T> {
        // True is a number for Python, and never meant as one.
        if self.value.is_instance_of::<PyBool>() {
            return Err(self.wrong("an int"));
        }
        let refused = |what: String| errors::invalid(self.py(), format!("`{}` {what}", self.name));
        match self.value.extract::<i64>() {
            Ok(number) => T::try_from(number).map_err(|_| refused(format!("of {number} makes no sense"))),
            Err(error) if error.is_instance_of::<PyOverflowError>(self.py()) => {
                Err(refused("is out of range".to_owned()))
            }
            Err(_) => Err(self.wrong("an int")),
        }
    }

    fn seconds(&self) -> PyResult<f64> {
        if self.value.is_instance_of::<PyBool>() {
            return Err(self.wrong("a number of seconds"));
        }
        self.value.extract().map_err(|_| self.wrong("a number of seconds"))
    }

    fn duration(&self) -> PyResult<Duration> {
        convert::duration(self.py(), &format!("`{}`", self.name), self.seconds()?)
    }

    fn millis(&self) -> PyResult<u64> {
        convert::millis(self.py(), &format!("`{}`", self.name), self.seconds()?)
    }
}
