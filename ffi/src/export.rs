//! Snapshots and changes as Parquet files, for databases and data frames.

use treewarden_core::Snapshot;
use treewarden_core::export::{self, ExportReport};

use crate::args::{Out, tw_bytes};
use crate::border::call;
use crate::changes::{ChangesObject, tw_changes};
use crate::error::{tw_error, tw_status};
use crate::handle;
use crate::options::{OptionsObject, export_options, tw_options};
use crate::snapshot::{self, tw_snapshot};

/// What an export has written.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tw_export_report {
    /// Rows in all files.
    pub rows: u64,
    /// Size of all files, in bytes.
    pub bytes: u64,
    /// Files.
    pub files: u64,
}

impl From<ExportReport> for tw_export_report {
    fn from(report: ExportReport) -> Self {
        Self { rows: report.rows, bytes: report.bytes, files: report.files }
    }
}

/// Writes the entries that pass a filter as a Parquet file at `path`, or with `TW_OPTION_EXPORT_PARTITIONED` as one
/// file for each root below the directory `path`. `filter` are options of the kind `TW_OPTIONS_FILTER`; NULL lets all
/// files and symlinks of all roots through. `options` are of the kind `TW_OPTIONS_EXPORT`, or NULL: one file, which
/// must not exist yet. `report_size` is `sizeof(tw_export_report)`.
///
/// The columns are those of `tw_snapshot_arrow`; where it is partitioned `root` is in the names of the directories. A
/// file takes its name whole or not at all, and is durable then: a part takes the place of the one before.
///
/// Blocks until it is durable. Any thread. `TW_STATUS_ALREADY_EXISTS` for a file that is there without
/// `TW_OPTION_EXPORT_REPLACE`, or that is no Parquet file; `TW_STATUS_NOT_FOUND` for a directory that is not;
/// `TW_STATUS_INVALID_ARGUMENT` for a bad or missing host and for a directory in the place of a file;
/// `TW_STATUS_CONFLICT` for a newer part of the same host and root;
/// `TW_STATUS_TOO_LARGE` for a root or host whose name makes no name of a directory; `TW_STATUS_STORAGE_FULL`,
/// `TW_STATUS_READ_ONLY`, `TW_STATUS_PERMISSION_DENIED`, `TW_STATUS_IO`. Then no file has taken its name, but for parts
/// that were in place already.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_snapshot_export(
    snapshot: *const tw_snapshot,
    filter: *const tw_options,
    options: *const tw_options,
    path: tw_bytes,
    report: *mut tw_export_report,
    report_size: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::sized(report, report_size, "report")?;
            let path = path.path("path")?;
            let filter = snapshot::filter(filter)?;
            let options = handle::with_optional::<OptionsObject, _>(options, export_options)?;
            handle::with::<Snapshot, _>(snapshot, |snapshot| {
                out.write(export::snapshot(snapshot, &filter, &options, &path)?.into());
                Ok(())
            })
        })
    }
}

/// Writes the changes that are left as a Parquet file, with the columns of `tw_changes_arrow`, as `tw_snapshot_export`
/// writes entries. Partitions of changes are never removed, but one of the same seq is replaced. The changes are taken,
/// also when it fails: `tw_changes_next` is at the end then. `tw_changes_last_seq` is where the next export goes on.
/// `tw_changes_files_only` holds for the file too, and a delivery is acknowledged as ever.
///
/// Blocks until it is durable. One thread at a time. Fails as `tw_snapshot_export`, and with what cannot be read from
/// the state file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_changes_export(
    changes: *const tw_changes,
    options: *const tw_options,
    path: tw_bytes,
    report: *mut tw_export_report,
    report_size: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::sized(report, report_size, "report")?;
            let path = path.path("path")?;
            let options = handle::with_optional::<OptionsObject, _>(options, export_options)?;
            handle::with::<ChangesObject, _>(changes, |changes| {
                let rest = changes.take_rest()?;
                out.write(export::changes(rest, changes.last_seq(), &options, &path)?.into());
                Ok(())
            })
        })
    }
}
