//! The C interface of Treewarden. The header `include/treewarden.h` is made from these sources and is the manual.

#![allow(non_camel_case_types)]
// The contract of all functions is the same; the header opens with it.
#![allow(clippy::missing_safety_doc)]
// What is `pub` here is so for cbindgen and for C, not for another crate.
#![allow(unreachable_pub)]

mod arena;
mod args;
mod arrow;
mod border;
mod callback;
mod changes;
mod error;
mod events;
mod export;
mod fleet;
mod follow;
mod handle;
mod jobs;
mod limiter;
mod list;
mod listener;
mod live;
mod log;
mod metrics;
mod mirror;
mod options;
mod pipeline;
mod scan;
mod snapshot;
mod state;
mod status;
mod warden;
mod workers;
