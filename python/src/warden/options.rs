//! The options of roots and scans, from keyword arguments.

use pyo3::prelude::*;
use treewarden::{IgnoreRules, Publish, RootOptions, ScanMode, ScanOptions};

use crate::convert::{self, Address, COMPARES, CONTENT_HASHES, WALKERS};
use crate::errors::{self, OrRaise};

/// How a root is looked at.
pub(super) fn root(
    py: Python<'_>,
    ignore: Option<&Bound<'_, PyAny>>,
    junk: bool,
    content_hash: &str,
    compare: &str,
) -> PyResult<RootOptions> {
    let patterns = ignore.map(|ignore| convert::strings("ignore", ignore)).transpose()?;
    let given = IgnoreRules::new(patterns.unwrap_or_default()).or_raise(py)?;
    // The preset comes first, so that `!pattern` can take back part of it.
    let preset = if junk { IgnoreRules::junk() } else { IgnoreRules::none() };
    let content_hash = convert::one_of(py, "content_hash", content_hash, CONTENT_HASHES)?;
    let compare = convert::one_of(py, "compare", compare, COMPARES)?;
    Ok(RootOptions::new().ignore(preset.and(given)).content_hash(content_hash).compare(compare))
}

/// What to scan: one target, or several, or by default everything.
pub(super) fn targets(
    py: Python<'_>,
    target: Option<Address>,
    targets: Option<&Bound<'_, PyAny>>,
) -> PyResult<Vec<Vec<u8>>> {
    let several = targets.map(|targets| convert::paths("targets", targets)).transpose()?;
    match (target, several.unwrap_or_default()) {
        (None, several) => Ok(several),
        (Some(one), several) if several.is_empty() => Ok(vec![one.0]),
        (Some(_), _) => Err(errors::invalid_with_hint(
            py,
            "a scan was given both `target` and `targets`",
            "give all of them as `targets`",
        )),
    }
}

/// How to scan.
pub(super) fn scan(
    py: Python<'_>,
    targets: Vec<Vec<u8>>,
    full: bool,
    walker: &str,
    threads: usize,
    accept_missing: bool,
    progressive: bool,
) -> PyResult<ScanOptions> {
    let mode = if full { ScanMode::Full } else { ScanMode::Quick };
    let publish = if progressive { Publish::Progressive } else { Publish::Atomic };
    let walker = convert::one_of(py, "walker", walker, WALKERS)?;
    let mut options = ScanOptions::new().mode(mode).walker(walker).threads(threads).publish(publish);
    if accept_missing {
        options = options.accept_missing();
    }
    Ok(targets.into_iter().fold(options, ScanOptions::target))
}
