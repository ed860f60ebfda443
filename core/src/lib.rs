//! Treewarden keeps, durably and live, **the state of every file in one or many directory trees**,
//! and what has been done about each of them. It is linked into a program; there is no server.
//!
//! A [`Warden`] is one open state file. It scans [roots](Warden::add_root) in parallel and commits
//! what it finds; a [`Snapshot`] is an immutable view of everything at one seq, taken without a lock;
//! the journal tells [what changed](Warden::changes) since; [attributes](Warden::set_attrs) and
//! [spaces](Space) keep the program's own state in the same commits.
//!
//! ```
//! # let dir = tempfile::tempdir().unwrap();
//! # let (state, music) = (dir.path().join("state.tw"), dir.path().join("music"));
//! # std::fs::create_dir(&music).unwrap();
//! # std::fs::write(music.join("a.mp3"), "la").unwrap();
//! use treewarden::{ChangeKind, Warden};
//!
//! let warden = Warden::open(&state)?;
//! warden.add_root("music", &music)?;
//! warden.scan("music")?;
//! let before = warden.seq();
//!
//! std::fs::rename(music.join("a.mp3"), music.join("b.mp3")).unwrap();
//! let report = warden.scan("music")?;
//! assert_eq!(report.moved, 1);
//!
//! for change in warden.changes(before)? {
//!     let change = change?;
//!     assert_eq!(change.kind, ChangeKind::Moved);
//!     assert_eq!(change.path, b"music/b.mp3");
//! }
//! # Ok::<(), treewarden::Error>(())
//! ```
//!
//! The library never reads environment variables or the home directory and never prints; it logs
//! through `tracing`. Unix only at present.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

#[cfg(not(unix))]
compile_error!("Treewarden needs Unix: directory descriptors, byte paths and inode numbers");

#[cfg(feature = "arrow")]
pub mod arrow;
mod batch;
mod bell;
mod bytes;
mod changes;
mod clock;
mod commit;
mod entry;
mod error;
mod events;
#[cfg(feature = "parquet")]
pub mod export;
#[cfg(feature = "fleet")]
pub mod fleet;
mod hash;
mod ignore;
mod journal;
mod live;
mod metrics;
#[cfg(feature = "mirror")]
pub mod mirror;
mod operation;
mod options;
mod path;
mod root;
mod root_record;
mod scan;
mod signal;
mod snapshot;
mod status;
mod store;
mod sys;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(not(feature = "testing"))]
mod testing;
mod warden;
mod work;

pub use batch::{Batch, Space};
pub use changes::{Changes, Cursor, Delivery, Follow};
pub use clock::Clock;
pub use entry::{Compare, Entry, Fingerprint, Kind, Totals};
pub use error::{Error, ErrorKind, Result};
pub use events::{Coverage, Event, Interrupter, Subscription};
pub use ignore::IgnoreRules;
pub use journal::{Change, ChangeKind, Token};
pub use live::{LiveStatus, RootLive, RootWatch, Schedule, WatchBackend, WatchMode, WatchOptions};
pub use metrics::{LastOperation, Metrics, PipelineMetrics, RootMetrics};
pub use operation::{Counts, Operation, OperationKind, OperationStatus};
pub use options::{
    ContentHash, Durability, Options, Publish, RootOptions, ScanMode, ScanOptions, VerifyOptions, Walker,
};
pub use path::escape;
pub use root_record::{RootInfo, RootState};
pub use scan::{
    CancelToken, Difference, DifferenceKind, Held, Phase, Progress, Report, ScanContext, ScanError, Timings,
    VerifyReport,
};
pub use snapshot::{Entries, EntryRef, Filter, Meta, Paths, Snapshot, Walk};
pub use status::{DiskView, Explanation, Status};
pub use warden::{CompactReport, RebuildReport, Warden};
pub use work::{
    Completion, Failed, Group, GroupFn, Job, LimiterInterrupter, LimiterStatus, Permit, Pipeline,
    PipelineInfo, PipelineOptions, PipelineStatus, Priority, RateLimit, RateLimiter, Refresh, RefreshRun,
    RequestReport, Retry, Tier, WorkExplanation, WorkItem, WorkState, Workers, parse_retry_after,
};
