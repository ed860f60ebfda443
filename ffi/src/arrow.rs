//! Tables by the Arrow C stream interface, for data frames and databases. A stream owns what it reads from: it needs no
//! handle any more, and goes with its own release callback.

use std::sync::PoisonError;

use treewarden_core::Snapshot;
use treewarden_core::arrow::{self, FFI_ArrowArrayStream as ArrowArrayStream, Table};

use crate::border::{Failure, Outcome, call};
use crate::changes::{ChangesObject, tw_changes};
use crate::error::{tw_error, tw_status};
use crate::handle;
use crate::jobs::{JobsObject, tw_jobs};
use crate::list::{List, tw_list};
use crate::options::tw_options;
use crate::snapshot::{self, tw_snapshot};

/// A place that a stream goes to. What is there is overwritten, never released: it need not be anything.
struct Place(*mut ArrowArrayStream);

impl Place {
    /// # Safety
    ///
    /// `place` may be written to, or is NULL.
    unsafe fn new(place: *mut ArrowArrayStream) -> Outcome<Self> {
        if place.is_null() || !place.is_aligned() {
            return Err(Failure::invalid("`out` is NULL, or not aligned"));
        }
        Ok(Self(place))
    }

    fn write(&self, table: Table) {
        // SAFETY: it may be written to. The consumer releases it by its callback, or moves it, as the interface says.
        unsafe { self.0.write(table.into_stream()) };
    }
}

/// Gives the entries that pass a filter as a table, in path order: `root`, `path`, `path_bytes` (where `path` is not
/// UTF-8 and therefore escaped), `kind`, `size`, `mtime`, `ctime`, `btime`, `inode`, `mode`, `hash` (32 hex digits),
/// `target`, `id`, `seq`, `missing_since`; times are nanoseconds, UTC. `filter` are options of the kind
/// `TW_OPTIONS_FILTER`; NULL lets all files and symlinks of all roots through.
///
/// `out` is any memory for the struct, which is written on success only; it needs neither the snapshot nor any other
/// handle, and is freed by its own `release`. Any thread; the stream one thread at a time. Never waits.
/// `TW_STATUS_INVALID_ARGUMENT` for options of another kind.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_snapshot_arrow(
    snapshot: *const tw_snapshot,
    filter: *const tw_options,
    out: *mut ArrowArrayStream,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Place::new(out)?;
            let filter = snapshot::filter(filter)?;
            handle::with::<Snapshot, _>(snapshot, |snapshot| {
                out.write(arrow::entries(snapshot, &filter));
                Ok(())
            })
        })
    }
}

/// Gives the changes that are left as a table, oldest first: `seq`, `root`, `kind`, `entry_kind`, `path`, `path_bytes`,
/// `from`, `from_bytes`, `id`. They are taken: `tw_changes_next` is at the end then. `tw_changes_files_only` holds for
/// the table too, and a delivery is acknowledged as ever. `out` is as with `tw_snapshot_arrow`. One thread at a time.
/// Never waits. What cannot be read from the state file is an error of the stream.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_changes_arrow(
    changes: *const tw_changes,
    out: *mut ArrowArrayStream,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Place::new(out)?;
            handle::with::<ChangesObject, _>(changes, |changes| {
                out.write(arrow::changes(changes.take_rest()?));
                Ok(())
            })
        })
    }
}

/// Gives the jobs that have not been ended as a table: `path`, `path_bytes`, `state`, `priority`, `attempt`, `token`,
/// `expires`. They stay where they are, still to be ended. `out` is as with `tw_snapshot_arrow`. Any thread. Never
/// waits but for a call on the same jobs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_jobs_arrow(
    jobs: *const tw_jobs,
    out: *mut ArrowArrayStream,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Place::new(out)?;
            handle::with::<JobsObject, _>(jobs, |object| {
                let jobs = object.jobs.lock().unwrap_or_else(PoisonError::into_inner);
                out.write(arrow::jobs(jobs.iter().flatten()));
                Ok(())
            })
        })
    }
}

/// Gives the rows of a list as a table. Of `tw_warden_history`: `id`, `kind`, `root`, `start`, `end`, `seq`, `added`,
/// `modified`, `moved`, `missing`, `restored`, `forgotten`, `errors`, `status`, `error`. Of `tw_pipeline_list`: `path`,
/// `path_bytes`, `state`, `dead`. The list stays as it is. `out` is as with `tw_snapshot_arrow`. Any thread. Never
/// waits. `TW_STATUS_INVALID_ARGUMENT` for any other list.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_list_arrow(
    list: *const tw_list,
    out: *mut ArrowArrayStream,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Place::new(out)?;
            handle::with::<List, _>(list, |list| {
                let table = match list {
                    List::Operations(operations) => arrow::operations(operations.clone()),
                    List::WorkItems(items) => arrow::items(items.clone()),
                    _ => {
                        return Err(Failure::invalid(
                            "this list has no table; those of `tw_warden_history` and `tw_pipeline_list` have",
                        ));
                    }
                };
                out.write(table);
                Ok(())
            })
        })
    }
}
