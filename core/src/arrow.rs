//! Snapshots, changes, jobs and history as Arrow record batches, for data frames and databases: behind the
//! feature `arrow`.
//!
//! Columns have the names of the JSON fields of the command line, but times, which are timestamps in
//! nanoseconds, UTC, and have no `_ns` at the end. A path that is not UTF-8 is escaped in `path` and exact in
//! `path_bytes`, which is null for all others; so it is with `from` and `from_bytes`.

use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, PrimitiveBuilder, StringBuilder, TimestampNanosecondBuilder, UInt32Builder, UInt64Builder,
};
use arrow_array::types::{ArrowDictionaryKeyType, Int8Type, Int32Type};
use arrow_array::{ArrayRef, RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};

pub use arrow_array::ffi_stream::FFI_ArrowArrayStream;

use crate::error::Result;
use crate::journal::Change;
use crate::operation::Operation;
use crate::path::escape;
use crate::snapshot::{Filter, Paths, Snapshot, Walk};
use crate::work::{Job, WorkItem};

/// Rows of one batch at most.
pub const BATCH_ROWS: usize = 65_536;

/// A table that comes in batches of at most [`BATCH_ROWS`] rows. It keeps what it reads from.
pub struct Table {
    schema: SchemaRef,
    batches: Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl Table {
    /// Hands the table over by the Arrow C stream interface.
    /// <https://arrow.apache.org/docs/format/CStreamInterface.html>
    #[must_use]
    pub fn into_stream(self) -> FFI_ArrowArrayStream {
        FFI_ArrowArrayStream::new(Box::new(self))
    }
}

impl Iterator for Table {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batches.next()
    }
}

impl RecordBatchReader for Table {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

/// The entries that pass a filter, in path order: `root`, `path`, `path_bytes`, `kind`, `size`, `mtime`, `ctime`,
/// `btime`, `inode`, `mode`, `hash` (32 hex digits), `target`, `id`, `seq`, `missing_since`.
#[must_use]
pub fn entries(snapshot: &Snapshot, filter: &Filter) -> Table {
    let schema = schema(&[
        ("root", dictionary(DataType::Int32), false),
        ("path", DataType::Utf8, false),
        ("path_bytes", DataType::Binary, true),
        ("kind", dictionary(DataType::Int8), false),
        ("size", DataType::UInt64, false),
        ("mtime", timestamp(), false),
        ("ctime", timestamp(), false),
        ("btime", timestamp(), true),
        ("inode", DataType::UInt64, false),
        ("mode", DataType::UInt32, false),
        ("hash", DataType::Utf8, true),
        ("target", DataType::Utf8, true),
        ("id", DataType::UInt64, false),
        ("seq", DataType::UInt64, false),
        ("missing_since", timestamp(), true),
    ]);
    let mut walk = Some(snapshot.walk(filter));
    let (mut paths, its) = (Paths::new(), Arc::clone(&schema));
    let batches = std::iter::from_fn(move || {
        let batch = entries_batch(walk.as_mut()?, &mut paths, &its);
        // An empty table is one batch of no rows for nobody: the schema says all.
        match batch {
            Ok(batch) if batch.num_rows() < BATCH_ROWS => {
                walk = None;
                (batch.num_rows() > 0).then_some(Ok(batch))
            }
            batch => Some(batch),
        }
    });
    Table { schema, batches: Box::new(batches) }
}

fn entries_batch(walk: &mut Walk, paths: &mut Paths, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let mut root = Words::<Int32Type>::new();
    let mut path = PathColumn::with_capacity(BATCH_ROWS);
    let mut kind = Words::<Int8Type>::new();
    let (mut size, mut inode) =
        (UInt64Builder::with_capacity(BATCH_ROWS), UInt64Builder::with_capacity(BATCH_ROWS));
    let (mut id, mut seq) =
        (UInt64Builder::with_capacity(BATCH_ROWS), UInt64Builder::with_capacity(BATCH_ROWS));
    let mut mode = UInt32Builder::with_capacity(BATCH_ROWS);
    let (mut mtime, mut ctime, mut btime, mut missing) = (times(), times(), times(), times());
    let (mut hash, mut target) = (StringBuilder::new(), StringBuilder::new());
    walk.each(BATCH_ROWS, |entry| {
        root.push(entry.root());
        path.push(paths.of(entry));
        kind.push(entry.kind().name());
        let meta = entry.meta();
        size.append_value(meta.size);
        mtime.append_value(meta.mtime_ns);
        ctime.append_value(meta.ctime_ns);
        btime.append_option(meta.btime_ns);
        inode.append_value(meta.inode);
        mode.append_value(meta.mode);
        match entry.hash() {
            Some(digest) => hash.append_value(format!("{digest:032x}")),
            None => hash.append_null(),
        }
        match entry.target() {
            Some(bytes) => target.append_value(escape(bytes)),
            None => target.append_null(),
        }
        id.append_value(entry.id());
        seq.append_value(entry.seq());
        missing.append_option(entry.missing_since_ns());
    });
    let (path, path_bytes) = path.finish();
    let columns: Vec<ArrayRef> = vec![
        root.finish(),
        path,
        path_bytes,
        kind.finish(),
        Arc::new(size.finish()),
        Arc::new(mtime.finish()),
        Arc::new(ctime.finish()),
        Arc::new(btime.finish()),
        Arc::new(inode.finish()),
        Arc::new(mode.finish()),
        Arc::new(hash.finish()),
        Arc::new(target.finish()),
        Arc::new(id.finish()),
        Arc::new(seq.finish()),
        Arc::new(missing.finish()),
    ];
    RecordBatch::try_new(Arc::clone(schema), columns)
}

/// Changes in the order given: `seq`, `root`, `kind`, `entry_kind`, `path`, `path_bytes`, `from`, `from_bytes`, `id`. An
/// error of the iterator ends the table with that error.
pub fn changes(changes: impl IntoIterator<Item = Result<Change>, IntoIter: Send + 'static>) -> Table {
    let schema = schema(&[
        ("seq", DataType::UInt64, false),
        ("root", dictionary(DataType::Int32), false),
        ("kind", dictionary(DataType::Int8), false),
        ("entry_kind", dictionary(DataType::Int8), false),
        ("path", DataType::Utf8, false),
        ("path_bytes", DataType::Binary, true),
        ("from", DataType::Utf8, true),
        ("from_bytes", DataType::Binary, true),
        ("id", DataType::UInt64, false),
    ]);
    let its = Arc::clone(&schema);
    in_batches(schema, changes.into_iter(), move |rows: &[Change]| {
        let (mut seq, mut id) = (UInt64Builder::new(), UInt64Builder::new());
        let (mut root, mut kind, mut entry_kind) =
            (Words::<Int32Type>::new(), Words::<Int8Type>::new(), Words::<Int8Type>::new());
        let (mut path, mut from) = (PathColumn::default(), PathColumn::default());
        for change in rows {
            seq.append_value(change.seq);
            root.push(&change.root);
            kind.push(change.kind.name());
            entry_kind.push(change.entry_kind.name());
            path.push(&change.path);
            from.push_option(change.from.as_deref());
            id.append_value(change.id);
        }
        let ((path, path_bytes), (from, from_bytes)) = (path.finish(), from.finish());
        let columns: Vec<ArrayRef> = vec![
            Arc::new(seq.finish()),
            root.finish(),
            kind.finish(),
            entry_kind.finish(),
            path,
            path_bytes,
            from,
            from_bytes,
            Arc::new(id.finish()),
        ];
        RecordBatch::try_new(Arc::clone(&its), columns)
    })
}

/// Jobs in the order given: `path`, `path_bytes`, `state`, `priority`, `attempt`, `token`, `expires`.
#[must_use]
pub fn jobs<'a>(jobs: impl IntoIterator<Item = &'a Job>) -> Table {
    struct Row {
        path: Vec<u8>,
        state: &'static str,
        priority: &'static str,
        attempt: u32,
        token: u64,
        expires_ns: i64,
    }
    let row = |job: &Job| {
        Ok(Row {
            path: job.path().to_vec(),
            state: job.state().name(),
            priority: job.priority().name(),
            attempt: job.attempt(),
            token: job.token(),
            expires_ns: job.expires_ns(),
        })
    };
    let rows: Vec<Result<Row>> = jobs.into_iter().map(row).collect();
    let schema = schema(&[
        ("path", DataType::Utf8, false),
        ("path_bytes", DataType::Binary, true),
        ("state", dictionary(DataType::Int8), false),
        ("priority", dictionary(DataType::Int8), false),
        ("attempt", DataType::UInt32, false),
        ("token", DataType::UInt64, false),
        ("expires", timestamp(), false),
    ]);
    let its = Arc::clone(&schema);
    in_batches(schema, rows.into_iter(), move |rows: &[Row]| {
        let mut path = PathColumn::default();
        let (mut state, mut priority) = (Words::<Int8Type>::new(), Words::<Int8Type>::new());
        let (mut attempt, mut token, mut expires) = (UInt32Builder::new(), UInt64Builder::new(), times());
        for row in rows {
            path.push(&row.path);
            state.push(row.state);
            priority.push(row.priority);
            attempt.append_value(row.attempt);
            token.append_value(row.token);
            expires.append_value(row.expires_ns);
        }
        let (path, path_bytes) = path.finish();
        let columns: Vec<ArrayRef> = vec![
            path,
            path_bytes,
            state.finish(),
            priority.finish(),
            Arc::new(attempt.finish()),
            Arc::new(token.finish()),
            Arc::new(expires.finish()),
        ];
        RecordBatch::try_new(Arc::clone(&its), columns)
    })
}

/// Items of a pipeline in the order given: `path`, `path_bytes`, `state`, `dead`.
#[must_use]
pub fn items(items: Vec<WorkItem>) -> Table {
    let schema = schema(&[
        ("path", DataType::Utf8, false),
        ("path_bytes", DataType::Binary, true),
        ("state", dictionary(DataType::Int8), false),
        ("dead", DataType::Boolean, false),
    ]);
    let its = Arc::clone(&schema);
    in_batches(schema, items.into_iter().map(Ok), move |rows: &[WorkItem]| {
        let (mut path, mut state) = (PathColumn::default(), Words::<Int8Type>::new());
        for item in rows {
            path.push(&item.path);
            state.push(item.state.name());
        }
        let dead: arrow_array::BooleanArray = rows.iter().map(|item| Some(item.dead)).collect();
        let (path, path_bytes) = path.finish();
        RecordBatch::try_new(Arc::clone(&its), vec![path, path_bytes, state.finish(), Arc::new(dead)])
    })
}

/// Lines of the history in the order given: `id`, `kind`, `root`, `start`, `end`, `seq`, `added`, `modified`, `moved`,
/// `missing`, `restored`, `forgotten`, `errors`, `status`, `error`.
#[must_use]
pub fn operations(operations: Vec<Operation>) -> Table {
    let number = |name| (name, DataType::UInt64, false);
    let schema = schema(&[
        number("id"),
        ("kind", dictionary(DataType::Int8), false),
        ("root", dictionary(DataType::Int32), false),
        ("start", timestamp(), false),
        ("end", timestamp(), false),
        number("seq"),
        number("added"),
        number("modified"),
        number("moved"),
        number("missing"),
        number("restored"),
        number("forgotten"),
        number("errors"),
        ("status", dictionary(DataType::Int8), false),
        ("error", DataType::Utf8, true),
    ]);
    let its = Arc::clone(&schema);
    in_batches(schema, operations.into_iter().map(Ok), move |rows: &[Operation]| {
        let column = |of: fn(&Operation) -> u64| -> ArrayRef {
            Arc::new(rows.iter().map(of).collect::<arrow_array::UInt64Array>())
        };
        let (mut kind, mut root, mut status) =
            (Words::<Int8Type>::new(), Words::<Int32Type>::new(), Words::<Int8Type>::new());
        let (mut start, mut end, mut error) = (times(), times(), StringBuilder::new());
        for operation in rows {
            kind.push(operation.kind.name());
            root.push(&operation.root);
            status.push(operation.status.name());
            start.append_value(operation.start_ns);
            end.append_value(operation.end_ns);
            error.append_option(operation.error.as_deref());
        }
        let columns: Vec<ArrayRef> = vec![
            column(|o| o.id),
            kind.finish(),
            root.finish(),
            Arc::new(start.finish()),
            Arc::new(end.finish()),
            column(|o| o.seq),
            column(|o| o.counts.added),
            column(|o| o.counts.modified),
            column(|o| o.counts.moved),
            column(|o| o.counts.missing),
            column(|o| o.counts.restored),
            column(|o| o.counts.forgotten),
            column(|o| o.counts.errors),
            status.finish(),
            Arc::new(error.finish()),
        ];
        RecordBatch::try_new(Arc::clone(&its), columns)
    })
}

fn in_batches<T: 'static>(
    schema: SchemaRef,
    mut rows: impl Iterator<Item = Result<T>> + Send + 'static,
    batch: impl Fn(&[T]) -> Result<RecordBatch, ArrowError> + Send + 'static,
) -> Table {
    let batches = std::iter::from_fn(move || {
        let rows: Result<Vec<T>> = rows.by_ref().take(BATCH_ROWS).collect();
        match rows {
            Ok(rows) if rows.is_empty() => None,
            Ok(rows) => Some(batch(&rows)),
            Err(error) => Some(Err(ArrowError::ExternalError(Box::new(error)))),
        }
    });
    Table { schema, batches: Box::new(batches) }
}

fn schema(fields: &[(&str, DataType, bool)]) -> SchemaRef {
    let field = |(name, kind, nullable): &(&str, DataType, bool)| Field::new(*name, kind.clone(), *nullable);
    Arc::new(Schema::new(fields.iter().map(field).collect::<Vec<Field>>()))
}

fn dictionary(key: DataType) -> DataType {
    DataType::Dictionary(Box::new(key), Box::new(DataType::Utf8))
}

fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))
}

fn times() -> TimestampNanosecondBuilder {
    PrimitiveBuilder::new().with_data_type(timestamp())
}

/// A column of few words, each stored once.
struct Words<K: ArrowDictionaryKeyType> {
    words: Vec<String>,
    keys: PrimitiveBuilder<K>,
    last: usize,
}

impl<K: ArrowDictionaryKeyType> Words<K>
where
    K::Native: TryFrom<usize>,
{
    fn new() -> Self {
        Self { words: Vec::new(), keys: PrimitiveBuilder::new(), last: 0 }
    }

    fn push(&mut self, word: &str) {
        // Mostly the same one as before.
        if self.words.get(self.last).is_none_or(|last| last != word) {
            let known = self.words.iter().position(|known| known == word);
            self.last = known.unwrap_or_else(|| {
                self.words.push(word.to_owned());
                self.words.len() - 1
            });
        }
        self.keys.append_option(K::Native::try_from(self.last).ok());
    }

    fn finish(mut self) -> ArrayRef {
        let words: arrow_array::StringArray = self.words.iter().map(Some).collect();
        let keys = self.keys.finish();
        Arc::new(arrow_array::DictionaryArray::<K>::new(keys, Arc::new(words)))
    }
}

/// A path for people, and the exact one where that is another.
#[derive(Default)]
struct PathColumn {
    shown: StringBuilder,
    exact: BinaryBuilder,
}

impl PathColumn {
    fn with_capacity(rows: usize) -> Self {
        Self { shown: StringBuilder::with_capacity(rows, rows * 48), exact: BinaryBuilder::new() }
    }

    fn push(&mut self, path: &[u8]) {
        match std::str::from_utf8(path) {
            Ok(path) => {
                self.shown.append_value(path);
                self.exact.append_null();
            }
            Err(_) => {
                self.shown.append_value(escape(path));
                self.exact.append_value(path);
            }
        }
    }

    fn push_option(&mut self, path: Option<&[u8]>) {
        match path {
            Some(path) => self.push(path),
            None => {
                self.shown.append_null();
                self.exact.append_null();
            }
        }
    }

    fn finish(mut self) -> (ArrayRef, ArrayRef) {
        (Arc::new(self.shown.finish()), Arc::new(self.exact.finish()))
    }
}
