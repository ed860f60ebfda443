//! CDNs that a mirror tells what to forget: Cloudflare, and functions in Python.

use std::sync::Arc;

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use treewarden::mirror::{Purge, PurgeError, PurgeFault, StorageError, StorageFault};

use super::storage;
use crate::convert;
use crate::errors::{self, OrRaise};
use crate::limiter;

/// Addresses that a function is called with at most.
const BATCH_MAX: usize = 30;

/// Cloudflare as the CDN of a mirror: ``warden.mirror(…, cdn=Cloudflare(zone_id, api_token))``. Nothing shows the
/// token, and nothing stores it.
///
/// Args:
///     zone_id: The id that the overview of the zone shows, not the name of the domain.
///     api_token: An API token that may purge the cache of this zone.
///     endpoint: Where the API is, for a gateway in front of it.
///     batch_max: Addresses of one request at most: 1 to 500. What every plan takes is 30.
///     timeout: How long one request may take, in seconds.
///     rate: How many requests go out: a ``RateLimit`` or a tuple of requests and seconds (default 10 a second).
#[pyclass(frozen, module = "treewarden")]
pub(crate) struct Cloudflare {
    cdn: Arc<treewarden::mirror::Cloudflare>,
    zone_id: String,
    process: u32,
}

#[pymethods]
impl Cloudflare {
    #[new]
    #[pyo3(
        signature = (zone_id, api_token, *, endpoint=None, batch_max=30, timeout=30.0, rate=None),
        text_signature = "(zone_id, api_token, *, endpoint=None, batch_max=30, timeout=30.0, rate=None)"
    )]
    fn new(
        py: Python<'_>,
        zone_id: String,
        api_token: String,
        endpoint: Option<String>,
        batch_max: i64,
        timeout: f64,
        rate: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let timeout = convert::duration(py, "`timeout`", timeout)?;
        let batch_max = limiter::whole(py, "`batch_max`", batch_max)? as usize;
        let rate = rate.map(limiter::rate).transpose()?;
        // It reads the certificates of the system.
        let made = py.detach(|| {
            let mut cdn = treewarden::mirror::Cloudflare::new(&zone_id, &api_token)?;
            if let Some(endpoint) = &endpoint {
                cdn = cdn.endpoint(endpoint)?;
            }
            if let Some(rate) = rate {
                cdn = cdn.rate(rate)?;
            }
            cdn.batch_max(batch_max)?.timeout(timeout)
        });
        Ok(Self { cdn: Arc::new(made.or_raise(py)?), zone_id, process: std::process::id() })
    }

    /// The id of the zone.
    #[getter]
    fn zone_id(&self) -> &str {
        &self.zone_id
    }

    fn __repr__(&self) -> String {
        format!("<treewarden.Cloudflare zone_id='{}'>", self.zone_id)
    }
}

impl Drop for Cloudflare {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            // Its thread is the parent's.
            std::mem::forget(Arc::clone(&self.cdn));
        }
    }
}

/// The CDN that an argument means.
///
/// # Errors
///
/// `TypeError` for what is neither a `Cloudflare` nor a function, `ForkedError` for one from before a fork.
pub(super) fn of(cdn: &Bound<'_, PyAny>) -> PyResult<Arc<dyn Purge>> {
    let py = cdn.py();
    if let Ok(cloudflare) = cdn.cast::<Cloudflare>() {
        let cloudflare = cloudflare.get();
        if cloudflare.process != std::process::id() {
            let message = "this CDN was made before a fork, by the parent process";
            return Err(errors::forked_with_hint(py, message, "make one after the fork"));
        }
        return Ok(Arc::clone(&cloudflare.cdn) as Arc<dyn Purge>);
    }
    if !cdn.is_callable() {
        let kind = cdn.get_type().name()?;
        let message = format!("`cdn` is a Cloudflare, or a function of a list of addresses, not {kind}");
        return Err(PyTypeError::new_err(message));
    }
    let name = cdn.getattr_opt(intern!(py, "__qualname__"))?.and_then(|name| name.extract::<String>().ok());
    let name = name.map_or_else(|| "object".to_owned(), |name| treewarden::escape(name.as_bytes()));
    storage::await_calls_at_end(py)?;
    Ok(Arc::new(Called { function: cdn.clone().unbind(), name }))
}

/// A function in Python, called with a list of addresses.
struct Called {
    function: Py<PyAny>,
    /// As it is shown.
    name: String,
}

impl Purge for Called {
    fn describe(&self) -> String {
        format!("python+{}", self.name)
    }

    fn batch_max(&self) -> usize {
        BATCH_MAX
    }

    fn purge(&self, urls: &[String]) -> Result<(), PurgeError> {
        let called = storage::call_python(|py| match self.function.bind(py).call1((urls.to_vec(),)) {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failed(py, &error)),
        });
        let ending = || Err(PurgeError::new(PurgeFault::Transient, "the interpreter is ending"));
        called.unwrap_or_else(ending)
    }
}

impl Called {
    fn failed(&self, py: Python<'_>, error: &PyErr) -> PurgeError {
        let what = format!("the function `{}` that is the CDN failed", self.name);
        let StorageError { fault, message } = storage::failed(py, &what, error);
        let fault = match fault {
            StorageFault::Throttled(wait) => PurgeFault::Throttled(wait),
            StorageFault::Rejected => PurgeFault::Rejected,
            StorageFault::Denied => PurgeFault::Denied,
            _ => PurgeFault::Transient,
        };
        PurgeError::new(fault, message)
    }
}
