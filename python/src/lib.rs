//! The compiled half of the Python package `treewarden`: thin over the engine of the same name.
//!
//! Each file binds one noun. The rules that hold in all of them:
//!
//! * What can block or is long runs detached from the interpreter, and a wait lets signal handlers run.
//! * Nothing relies on the interpreter's lock: classes are frozen, and what changes in them is behind a lock that is
//!   never held while Python code runs.
//! * Python functions are called on Python's threads only, but for those that are a mirror's storage or CDN.
//! * A handle that was made before a `fork` answers `ForkedError`, one that was closed `ClosedError`.

// pyo3 hands arguments over by value, and a Python signature has as many of them as it has keywords.
#![allow(clippy::needless_pass_by_value, clippy::too_many_arguments)]

mod arrow;
mod aside;
mod change;
mod clock;
mod convert;
mod entry;
mod errors;
mod event_types;
mod export;
mod fleet;
mod follow;
mod handle;
mod history;
mod html;
mod limiter;
mod live;
mod metrics;
mod mirror;
mod program;
mod scan;
mod sequence;
mod snapshot;
mod state;
mod types;
mod warden;
mod work;

use pyo3::prelude::*;

/// The compiled part of ``treewarden``; import its names from there.
///
/// Calls that wait or take long let other threads run, and Ctrl-C ends them. Every class may be used from any
/// thread. A handle that was made before a ``fork`` answers ``ForkedError`` in the child; what belongs to a warden that
/// was closed answers ``ClosedError``.
#[pymodule(gil_used = false)]
fn _treewarden(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_function(wrap_pyfunction!(warden::open, module)?)?;
    module.add_function(wrap_pyfunction!(warden::rebuild, module)?)?;
    module.add_function(wrap_pyfunction!(program::escape, module)?)?;
    module.add_function(wrap_pyfunction!(program::run_program, module)?)?;
    module.add_function(wrap_pyfunction!(limiter::parse_retry_after, module)?)?;
    // For pickles alone, so not in `__all__`.
    module.setattr("_entry", wrap_pyfunction!(entry::restore_entry, module)?)?;
    module.setattr("_change", wrap_pyfunction!(change::restore_change, module)?)?;

    module.add_class::<warden::Warden>()?;
    module.add_class::<scan::CancelToken>()?;
    module.add_class::<clock::Clock>()?;
    module.add_class::<snapshot::Snapshot>()?;
    module.add_class::<snapshot::Entries>()?;
    module.add_class::<entry::Entry>()?;
    module.add_class::<change::Change>()?;
    module.add_class::<change::ChangeList>()?;
    module.add_class::<change::Changes>()?;
    module.add_class::<follow::Cursor>()?;
    module.add_class::<follow::Delivery>()?;
    module.add_class::<follow::Follow>()?;
    module.add_class::<state::Space>()?;
    module.add_class::<state::Batch>()?;
    module.add_class::<history::History>()?;
    module.add_class::<live::RootWatch>()?;
    module.add_class::<live::Events>()?;
    module.add_class::<work::Pipeline>()?;
    module.add_class::<work::Job>()?;
    module.add_class::<work::JobList>()?;
    module.add_class::<work::JobAttrs>()?;
    module.add_class::<work::ItemList>()?;
    module.add_class::<limiter::RateLimit>()?;
    module.add_class::<limiter::RateLimiter>()?;
    module.add_class::<limiter::Permit>()?;
    module.add_class::<mirror::Mirror>()?;
    module.add_class::<mirror::Following>()?;
    module.add_class::<mirror::UrlMap>()?;
    module.add_class::<mirror::Cloudflare>()?;
    module.add_class::<mirror::Upload>()?;
    module.add_class::<fleet::Fleet>()?;
    module.add_class::<fleet::SharedLimiter>()?;
    module.add_class::<fleet::SharedPermit>()?;
    module.add_class::<fleet::Lease>()?;
    module.add_class::<fleet::Leader>()?;
    module.add_class::<fleet::Publisher>()?;
    module.add_class::<fleet::Consumer>()?;
    module.add_class::<fleet::StreamItem>()?;
    Ok(())
}
