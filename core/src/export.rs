//! Snapshots and changes as Parquet files, for databases and data frames anywhere: behind the feature `parquet`.
//!
//! A file takes its name whole or not at all: it is written as a draft in the same directory, made durable, and
//! renamed. A draft that a killed process has left is removed by the next export into that directory. The columns are
//! those of [`crate::arrow`], words as plain strings, times as UTC timestamps in nanoseconds. Files are compressed with
//! Snappy and hold at most [`ROW_GROUP_ROWS`] rows in a row group. Their key-value metadata says `treewarden.version`,
//! `treewarden.table` (`entries` or `changes`), `treewarden.seq` and, where known, `treewarden.database` and
//! `treewarden.host`.
//!
//! ```
//! # let dir = tempfile::tempdir().unwrap();
//! # let (state, music, lake) = (dir.path().join("state.tw"), dir.path().join("music"), dir.path().join("lake"));
//! # std::fs::create_dir(&music).unwrap();
//! # std::fs::write(music.join("a.mp3"), "la").unwrap();
//! use treewarden::export::{self, ExportOptions};
//! use treewarden::{Filter, Warden};
//!
//! let warden = Warden::open(&state)?;
//! warden.add_root("music", &music)?;
//! warden.scan("music")?;
//! let options = ExportOptions::new().host("nas-1").token(warden.token()).partitioned();
//! let report = export::snapshot(&warden.snapshot(), &Filter::new(), &options, &lake)?;
//! assert_eq!((report.rows, report.files), (1, 1));
//! let part = format!("host=nas-1/root=music/part-{}.parquet", warden.seq());
//! assert!(lake.join(part).exists());
//! # Ok::<(), treewarden::Error>(())
//! ```

mod directory;
mod place;
#[cfg(feature = "mirror")]
mod storage;

use std::collections::{BTreeMap, btree_map};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use crate::arrow::{self, BATCH_ROWS, Table};
use crate::error::{Error, ErrorKind, Result};
use crate::journal::{Change, Token};
use crate::path;
use crate::snapshot::{Filter, Snapshot};

use self::place::Draft;

pub use self::directory::DirectorySink;
#[cfg(feature = "mirror")]
pub use self::storage::{StorageSink, store_of};

/// Rows of one row group at most. An export keeps about that many rows in memory, however many roots there are.
pub const ROW_GROUP_ROWS: usize = 2 * BATCH_ROWS;

/// How an export is made.
#[derive(Debug, Clone, Default)]
pub struct ExportOptions {
    host: Option<String>,
    token: Option<Token>,
    partitioned: bool,
    replace: bool,
}

impl ExportOptions {
    /// One file, which must not exist yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The name of this machine, or whatever tells its trees from those of others: 1 to 255 bytes without `/` and
    /// control characters. A partitioned export needs it.
    #[must_use]
    pub fn host(mut self, name: impl Into<String>) -> Self {
        self.host = Some(name.into());
        self
    }

    /// A token of the warden: the files then say which database they come from.
    #[must_use]
    pub fn token(mut self, token: Token) -> Self {
        self.token = Some(token);
        self
    }

    /// A directory with one file for each root, `host=HOST/root=ROOT/part-SEQ.parquet` below it for a snapshot and
    /// `changes-SEQ.parquet` for changes. The column `root` is in the names instead of the files, as Hive, DuckDB and
    /// Arrow expect it: bytes but ASCII letters, digits, `-`, `.`, `_` and `~` are percent-encoded.
    ///
    /// The part of a snapshot takes the place of all older ones of its host and root; for a moment both are there. A
    /// newer one stays, and refuses it. A root without rows gets a part without rows. Changes are never removed; a
    /// file of the same seq is replaced.
    #[must_use]
    pub fn partitioned(mut self) -> Self {
        self.partitioned = true;
        self
    }

    /// An existing Parquet file is replaced, in one step. What is no Parquet file is still refused.
    #[must_use]
    pub fn replace(mut self) -> Self {
        self.replace = true;
        self
    }
}

/// What an export has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExportReport {
    /// Rows in all files.
    pub rows: u64,
    /// Size of all files, in bytes.
    pub bytes: u64,
    /// Files.
    pub files: u64,
}

/// What is exported.
pub enum Content<'a> {
    /// The entries of a snapshot that pass a filter.
    Entries(&'a Snapshot, &'a Filter),
    /// Changes in the order given, and the seq up to which they go.
    Changes(Box<dyn Iterator<Item = Result<Change>> + 'a>, u64),
}

impl Content<'_> {
    fn seq(&self) -> u64 {
        match self {
            Self::Entries(snapshot, _) => snapshot.seq(),
            Self::Changes(_, seq) => *seq,
        }
    }

    fn table(&self) -> &'static str {
        match self {
            Self::Entries(..) => "entries",
            Self::Changes(..) => "changes",
        }
    }

    /// The beginning of the names of its files in a partition.
    fn stem(&self) -> &'static str {
        match self {
            Self::Entries(..) => "part",
            Self::Changes(..) => "changes",
        }
    }
}

/// Where the files of a partitioned export go.
pub trait ExportSink {
    /// Takes a complete and durable file over, under this name: `/` between its components, ASCII only. The file may
    /// be moved away or read; what is left of it is removed afterwards.
    ///
    /// When the last component is `part-N.parquet`, the file takes the place of all of that form below the same name
    /// whose number is smaller: they are to be removed once it is in place. The one with the greatest number is never
    /// to be removed.
    ///
    /// # Errors
    ///
    /// Any; the export ends with it. Files that were put before stay.
    fn put(&mut self, name: &str, file: &Path) -> Result<()>;
}

/// Writes the entries that pass a filter to a file, or below a directory when
/// [partitioned](ExportOptions::partitioned). Blocks until it is durable; any thread may call it.
///
/// # Errors
///
/// `AlreadyExists` for a file that is there, `NotFound` for a directory that is not, `InvalidArgument` for a bad or
/// missing host and for a directory in the place of a file, `Conflict` for a newer part of the same host and root and
/// for two roots whose names the file system takes for one, `TooLarge` for a root or host whose encoded name does not
/// fit a directory, and `StorageFull`, `ReadOnly`, `PermissionDenied` or `Io`. After an error no file has taken its
/// name, but for the parts of a partitioned export that were already in place.
pub fn snapshot(
    snapshot: &Snapshot,
    filter: &Filter,
    options: &ExportOptions,
    dest: &Path,
) -> Result<ExportReport> {
    export(Content::Entries(snapshot, filter), options, dest)
}

/// Writes changes to a file, or below a directory, as [`snapshot`] does. `seq` is where they end:
/// [`Changes::last_seq`](crate::Changes::last_seq), from which the next export goes on.
///
/// # Errors
///
/// As [`snapshot`], and the first error of the iterator.
pub fn changes(
    rows: impl IntoIterator<Item = Result<Change>>,
    seq: u64,
    options: &ExportOptions,
    dest: &Path,
) -> Result<ExportReport> {
    export(Content::Changes(Box::new(rows.into_iter()), seq), options, dest)
}

/// Makes the files of a partitioned export and hands them to a sink, one for each root. They are written in `staging`,
/// a directory that exists, and are all complete before the first is handed over. Takes a descriptor for each root.
///
/// # Errors
///
/// As [`snapshot`], and those of the sink.
pub fn files(
    content: Content<'_>,
    options: &ExportOptions,
    staging: &Path,
    sink: &mut dyn ExportSink,
) -> Result<ExportReport> {
    let host = partition("host", options.checked_host()?);
    let (stem, seq) = (content.stem(), content.seq());
    let parts = staged(content, options, staging, true)?;
    let mut report = ExportReport::default();
    for (root, part) in &parts {
        let name = format!("{host}/{}/{stem}-{seq}.parquet", partition("root", root));
        sink.put(&name, &part.draft.path)?;
        report.count(part);
    }
    Ok(report)
}

/// Writes a table as one Parquet file to `out`, which is flushed. Returns the bytes written.
///
/// # Errors
///
/// Those of the table and of `out`; what was written until then is no Parquet file.
pub fn to_writer(table: Table, out: impl Write + Send) -> Result<u64> {
    let facts = vec![fact("version", env!("CARGO_PKG_VERSION"))];
    let mut writer = writer(out, table.schema(), facts).map_err(|error| failed(error, None))?;
    for rows in table {
        writer.write(&rows.map_err(of_arrow)?).map_err(|error| failed(error, None))?;
    }
    writer.finish().map_err(|error| failed(error, None))?;
    Ok(writer.bytes_written() as u64)
}

impl ExportOptions {
    fn checked_host(&self) -> Result<&str> {
        let host = self.host.as_deref().ok_or_else(|| {
            Error::invalid("a partitioned export needs the name of a host")
                .with_hint("give the name that tells this machine from the others")
        })?;
        path::check_name("host", host)?;
        Ok(host)
    }

    fn facts(&self, content: &Content<'_>) -> Vec<KeyValue> {
        let mut facts = vec![
            fact("version", env!("CARGO_PKG_VERSION")),
            fact("table", content.table()),
            fact("seq", &content.seq().to_string()),
        ];
        if let Some(token) = &self.token {
            facts.push(fact("database", &format!("{:032x}", token.database)));
        }
        if let Some(host) = &self.host {
            facts.push(fact("host", host));
        }
        facts
    }
}

impl ExportReport {
    fn count(&mut self, part: &Part) {
        self.rows += part.rows;
        self.bytes += part.bytes;
        self.files += 1;
    }
}

fn export(content: Content<'_>, options: &ExportOptions, dest: &Path) -> Result<ExportReport> {
    #[cfg(feature = "mirror")]
    if store_of(dest)?.is_some() {
        return Err(Error::invalid("the address of a store is no path").with_hint(
            "give a `StorageSink` to `export::files`; in Python, `Warden.export` takes addresses",
        ));
    }
    let report = if options.partitioned {
        options.checked_host()?;
        let mut sink = DirectorySink::new(dest)?;
        files(content, options, dest, &mut sink).inspect_err(|_| sink.remove_empty())
    } else {
        to_file(content, options, dest)
    }?;
    tracing::debug!(rows = report.rows, bytes = report.bytes, files = report.files, "exported");
    Ok(report)
}

fn to_file(content: Content<'_>, options: &ExportOptions, dest: &Path) -> Result<ExportReport> {
    if options.host.is_some() {
        options.checked_host()?;
    }
    place::check_free(dest, options.replace)?;
    let dir = place::parent_of(dest);
    let mut report = ExportReport::default();
    for part in staged(content, options, dir, false)?.values() {
        if options.replace {
            // It may have come into being while the rows were written.
            place::check_free(dest, true)?;
        }
        place::give_name(&part.draft.path, dest, options.replace)?;
        report.count(part);
    }
    place::sync_dir(dir)?;
    Ok(report)
}

/// Writes all files as drafts in `dir`, complete and durable: one for each root, or one under an empty name.
fn staged(
    content: Content<'_>,
    options: &ExportOptions,
    dir: &Path,
    per_root: bool,
) -> Result<BTreeMap<String, Part>> {
    place::remove_left_over(dir);
    let facts = options.facts(&content);
    match content {
        Content::Entries(snapshot, filter) => {
            let table = arrow::entries(snapshot, filter);
            let mut parts = Parts::new(dir, &table.schema(), facts, per_root)?;
            // Without rows there is a file, too: one of before must not stay for the truth.
            let (named, _) = path::split_root(&filter.under);
            let has_part = |root: &&str| named.is_empty() || root.as_bytes() == named;
            for root in snapshot.roots().into_iter().filter(|root| per_root && has_part(root)) {
                parts.part(root)?;
            }
            for batch in table {
                let batch = batch.map_err(of_arrow)?;
                if per_root {
                    for (root, rows) in by_root(&batch)? {
                        parts.write(&root, &rows)?;
                    }
                } else {
                    parts.write("", &batch)?;
                }
            }
            parts.finish()
        }
        Content::Changes(rows, _) => {
            let schema = arrow::changes(Vec::<Result<Change>>::new()).schema();
            let mut parts = Parts::new(dir, &schema, facts, per_root)?;
            let mut rows = rows.fuse();
            loop {
                let groups = next_groups(&mut rows, per_root)?;
                if groups.is_empty() {
                    return parts.finish();
                }
                for (root, group) in groups {
                    for batch in arrow::changes(group.into_iter().map(Ok)) {
                        parts.write(&root, &batch.map_err(of_arrow)?)?;
                    }
                }
            }
        }
    }
}

/// The next changes, a batch of them at most, by root: those of several roots may take turns row by row.
fn next_groups(
    rows: &mut dyn Iterator<Item = Result<Change>>,
    per_root: bool,
) -> Result<BTreeMap<String, Vec<Change>>> {
    let mut groups: BTreeMap<String, Vec<Change>> = BTreeMap::new();
    for change in rows.take(BATCH_ROWS) {
        let change = change?;
        let root = if per_root { change.root.clone() } else { String::new() };
        groups.entry(root).or_default().push(change);
    }
    Ok(groups)
}

/// The rows of each root. They lie together: entries come in path order.
fn by_root(batch: &RecordBatch) -> Result<Vec<(String, RecordBatch)>> {
    let strange = || Error::new(ErrorKind::Io, "the table says of a row no root");
    let column = batch.column_by_name("root").ok_or_else(strange)?;
    let column = column.as_dictionary_opt::<Int32Type>().ok_or_else(strange)?;
    let names = column.values().as_string_opt::<i32>().ok_or_else(strange)?;
    let (mut runs, mut start) = (Vec::new(), 0);
    for run in column.keys().values().chunk_by(|a, b| a == b) {
        let key = run.first().and_then(|key| usize::try_from(*key).ok());
        let key = key.filter(|key| *key < names.len()).ok_or_else(strange)?;
        runs.push((names.value(key).to_owned(), batch.slice(start, run.len())));
        start += run.len();
    }
    Ok(runs)
}

/// The files of an export while they are written.
struct Parts<'a> {
    dir: &'a Path,
    schema: SchemaRef,
    /// The columns of the table that go into a file; `None` means all.
    columns: Option<Vec<usize>>,
    facts: Vec<KeyValue>,
    open: BTreeMap<String, Part>,
    /// Rows in memory, in all files.
    buffered: usize,
    drafts: u32,
}

impl<'a> Parts<'a> {
    fn new(dir: &'a Path, table: &SchemaRef, facts: Vec<KeyValue>, per_root: bool) -> Result<Self> {
        let (mut schema, mut columns) = (Arc::clone(table), None);
        if per_root {
            let fields = table.fields().iter().enumerate();
            let kept: Vec<usize> =
                fields.filter(|(_, field)| field.name() != "root").map(|(at, _)| at).collect();
            schema = Arc::new(table.project(&kept).map_err(of_arrow)?);
            columns = Some(kept);
        }
        let mut parts = Self { dir, schema, columns, facts, open: BTreeMap::new(), buffered: 0, drafts: 0 };
        if !per_root {
            parts.part("")?;
        }
        Ok(parts)
    }

    fn part(&mut self, root: &str) -> Result<&mut Part> {
        match self.open.entry(root.to_owned()) {
            btree_map::Entry::Occupied(known) => Ok(known.into_mut()),
            btree_map::Entry::Vacant(place) => {
                let (draft, file) = Draft::create(self.dir, &mut self.drafts)?;
                let writer = writer(file, Arc::clone(&self.schema), self.facts.clone());
                let writer = writer.map_err(|error| failed(error, Some(self.dir)))?;
                Ok(place.insert(Part { draft, writer, rows: 0, bytes: 0 }))
            }
        }
    }

    fn write(&mut self, root: &str, rows: &RecordBatch) -> Result<()> {
        let dir = self.dir;
        let kept =
            self.columns.as_ref().map(|columns| rows.project(columns).map_err(of_arrow)).transpose()?;
        let part = self.part(root)?;
        part.writer.write(kept.as_ref().unwrap_or(rows)).map_err(|error| failed(error, Some(dir)))?;
        part.rows += rows.num_rows() as u64;
        self.buffered += rows.num_rows();
        if self.buffered >= ROW_GROUP_ROWS {
            for part in self.open.values_mut() {
                part.writer.flush().map_err(|error| failed(error, Some(dir)))?;
            }
            self.buffered = 0;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<BTreeMap<String, Part>> {
        for part in self.open.values_mut() {
            part.writer.finish().map_err(|error| failed(error, Some(self.dir)))?;
            let file = part.writer.inner();
            file.sync_all().map_err(|error| place::unwritable(self.dir, error))?;
            part.bytes = file.metadata().map_err(|error| place::unwritable(self.dir, error))?.len();
        }
        Ok(self.open)
    }
}

/// One file of an export. The writer keeps it open, and with it its lock, until it has its name.
struct Part {
    // Dropped first: removed while it is still locked.
    draft: Draft,
    writer: ArrowWriter<File>,
    rows: u64,
    bytes: u64,
}

fn writer<W: Write + Send>(
    out: W,
    schema: SchemaRef,
    facts: Vec<KeyValue>,
) -> Result<ArrowWriter<W>, ParquetError> {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_key_value_metadata(Some(facts))
        .set_column_dictionary_enabled(ColumnPath::from("hash"), false);
    // No value of these comes twice, and each is much like the one before: half the file.
    for (column, encoding) in [
        ("path", Encoding::DELTA_BYTE_ARRAY),
        ("from", Encoding::DELTA_BYTE_ARRAY),
        ("inode", Encoding::DELTA_BINARY_PACKED),
        ("id", Encoding::DELTA_BINARY_PACKED),
    ] {
        properties = properties
            .set_column_dictionary_enabled(ColumnPath::from(column), false)
            .set_column_encoding(ColumnPath::from(column), encoding);
    }
    // The schema of Arrow would make words dictionaries again for some readers and not for others.
    let options =
        ArrowWriterOptions::new().with_properties(properties.build()).with_skip_arrow_metadata(true);
    ArrowWriter::try_new_with_options(out, schema, options)
}

fn fact(name: &str, value: &str) -> KeyValue {
    KeyValue::new(format!("treewarden.{name}"), value.to_owned())
}

/// One level of a partition, `column=value`, encoded as DuckDB and Arrow write it and all of them read it.
fn partition(column: &str, value: &str) -> String {
    let mut name = format!("{column}=");
    // The word by which Hive means null.
    let is_null = value == "__HIVE_DEFAULT_PARTITION__";
    for (at, byte) in value.bytes().enumerate() {
        let is_plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if is_plain && !(is_null && at == 0) {
            name.push(char::from(byte));
        } else {
            let _ = write!(name, "%{byte:02X}");
        }
    }
    name
}

/// A failure to write a file in `dir`, or to a writer of the caller.
fn failed(error: ParquetError, dir: Option<&Path>) -> Error {
    let error = match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(error) => {
                return match dir {
                    Some(dir) => place::unwritable(dir, *error),
                    None => Error::new(ErrorKind::of_io(&error), format!("cannot write the export: {error}"))
                        .with_source(*error),
                };
            }
            Err(source) => ParquetError::External(source),
        },
        error => error,
    };
    Error::new(ErrorKind::Io, format!("cannot encode the export: {error}")).with_source(error)
}

/// An error of a table: mostly the one that ended it.
fn of_arrow(error: ArrowError) -> Error {
    let error = match error {
        ArrowError::ExternalError(source) => match source.downcast::<Error>() {
            Ok(error) => return *error,
            Err(source) => ArrowError::ExternalError(source),
        },
        error => error,
    };
    Error::new(ErrorKind::Io, format!("cannot make the rows of the export: {error}")).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_partitions_are_those_that_duckdb_writes() {
        let cases = [
            ("music", "root=music"),
            ("a~b._-c", "root=a~b._-c"),
            ("a b", "root=a%20b"),
            ("a=b+c", "root=a%3Db%2Bc"),
            ("a%2Fb", "root=a%252Fb"),
            ("für", "root=f%C3%BCr"),
            ("*?[a]", "root=%2A%3F%5Ba%5D"),
            ("a\\b:c", "root=a%5Cb%3Ac"),
            ("__HIVE_DEFAULT_PARTITION__", "root=%5F_HIVE_DEFAULT_PARTITION__"),
            ("__HIVE", "root=__HIVE"),
        ];
        for (value, expected) in cases {
            assert_eq!(partition("root", value), expected);
        }
    }
}
