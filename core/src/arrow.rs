//! Snapshots, changes, jobs and history as Arrow record batches, for data frames and databases: behind the
//! feature `arrow`.
//!
//! Columns have the names of the JSON fields of the command line, but times, which are timestamps in
//! nanoseconds, UTC, and have no `_ns` at the end. A path that is not UTF-8 is escaped in `path` and exact in
//! `path_bytes`, which is null for all others; so it is with `from` and `from_bytes`.

use std::sync::Arc;

use arrow_array::builder::{
    ArrayBuilder, BinaryBuilder, PrimitiveBuilder, StringBuilder, TimestampNanosecondBuilder, UInt32Builder,
    UInt64Builder,
};
use arrow_array::types::{ArrowDictionaryKeyType, Int8Type, Int32Type};
use arrow_array::{Array, ArrayRef, BinaryArray, RecordBatch, RecordBatchReader, StringArray};
use arrow_array::{TimestampNanosecondArray, UInt32Array, UInt64Array, new_null_array};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};

pub use arrow_array::ffi_stream::FFI_ArrowArrayStream;

use crate::entry::Kind;
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
    let (mut paths, mut nulls, its) = (Paths::new(), Nulls::default(), Arc::clone(&schema));
    let batches = std::iter::from_fn(move || {
        let batch = entries_batch(walk.as_mut()?, &mut paths, &mut nulls, &its);
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

fn entries_batch(
    walk: &mut Walk,
    paths: &mut Paths,
    nulls: &mut Nulls,
    schema: &SchemaRef,
) -> Result<RecordBatch, ArrowError> {
    let (mut root, mut kind) = (Words::<Int32Type>::new(), Words::<Int8Type>::new());
    // The snapshot stays where it is: a root is the one before where its name lies in the same place.
    let mut before: (Option<*const str>, Option<Kind>) = (None, None);
    let mut path = PathColumn::with_capacity(BATCH_ROWS);
    let (mut size, mut inode) = (column::<u64>(), column::<u64>());
    let (mut id, mut seq) = (column::<u64>(), column::<u64>());
    let mut mode = column::<u32>();
    let (mut mtime, mut ctime) = (column::<i64>(), column::<i64>());
    let (mut btime, mut missing) = (Sparse(times()), Sparse(times()));
    let (mut hash, mut target) = (Sparse(StringBuilder::new()), Sparse(StringBuilder::new()));
    let mut rows = 0;
    walk.each(BATCH_ROWS, |entry| {
        let (its_root, its_kind) = (entry.root(), entry.kind());
        if before.0.is_some_and(|before| std::ptr::eq(before, its_root)) {
            root.repeat();
        } else {
            root.push(its_root);
            before.0 = Some(its_root);
        }
        if before.1 == Some(its_kind) {
            kind.repeat();
        } else {
            kind.push(its_kind.name());
            before.1 = Some(its_kind);
        }
        path.push(paths.of(entry));
        let meta = entry.meta();
        size.push(meta.size);
        mtime.push(meta.mtime_ns);
        ctime.push(meta.ctime_ns);
        if let Some(at) = meta.btime_ns {
            btime.at(rows).append_value(at);
        }
        inode.push(meta.inode);
        mode.push(meta.mode);
        if let Some(digest) = entry.hash() {
            hash.at(rows).append_value(hex(digest, &mut [0; 32]));
        }
        if let Some(bytes) = entry.target() {
            target.at(rows).append_value(escape(bytes));
        }
        id.push(entry.id());
        seq.push(entry.seq());
        if let Some(at) = entry.missing_since_ns() {
            missing.at(rows).append_value(at);
        }
        rows += 1;
    });
    let (path, path_bytes) = path.finish(nulls);
    let moments = |column: Vec<i64>| -> ArrayRef {
        Arc::new(TimestampNanosecondArray::from(column).with_data_type(timestamp()))
    };
    let columns: Vec<ArrayRef> = vec![
        root.finish(),
        path,
        path_bytes,
        kind.finish(),
        Arc::new(UInt64Array::from(size)),
        moments(mtime),
        moments(ctime),
        btime.finish(rows, &timestamp(), nulls),
        Arc::new(UInt64Array::from(inode)),
        Arc::new(UInt32Array::from(mode)),
        hash.finish(rows, &DataType::Utf8, nulls),
        target.finish(rows, &DataType::Utf8, nulls),
        Arc::new(UInt64Array::from(id)),
        Arc::new(UInt64Array::from(seq)),
        missing.finish(rows, &timestamp(), nulls),
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
        let mut nulls = Nulls::default();
        let ((path, path_bytes), (from, from_bytes)) = (path.finish(&mut nulls), from.finish(&mut nulls));
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
        let (path, path_bytes) = path.finish(&mut Nulls::default());
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
        let (path, path_bytes) = path.finish(&mut Nulls::default());
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

/// A column without nulls, with room for a batch.
fn column<T>() -> Vec<T> {
    Vec::with_capacity(BATCH_ROWS)
}

/// The 32 hex digits of a hash.
fn hex(digest: u128, digits: &mut [u8; 32]) -> &str {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    for (pair, byte) in digits.chunks_exact_mut(2).zip(digest.to_be_bytes()) {
        pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    std::str::from_utf8(digits).unwrap_or_default()
}

/// Columns of nulls alone, which the batches of a table share.
#[derive(Default)]
struct Nulls(Vec<ArrayRef>);

impl Nulls {
    fn column(&mut self, kind: &DataType, rows: usize) -> ArrayRef {
        if let Some(known) = self.0.iter().find(|known| known.data_type() == kind && known.len() >= rows) {
            return known.slice(0, rows);
        }
        let column = new_null_array(kind, rows);
        self.0.push(Arc::clone(&column));
        column
    }
}

/// A column that is built only where it has values: a null costs nothing before a value follows it.
struct Sparse<B>(B);

impl<B: Gaps> Sparse<B> {
    /// Where the value of row `row` is appended. Rows come in ascending order.
    #[inline]
    fn at(&mut self, row: usize) -> &mut B {
        let gap = row.saturating_sub(self.0.len());
        // Even a gap of no rows would make the builder keep book of nulls.
        if gap > 0 {
            self.0.gap(gap);
        }
        &mut self.0
    }

    fn finish(mut self, rows: usize, kind: &DataType, nulls: &mut Nulls) -> ArrayRef {
        if self.0.is_empty() {
            return nulls.column(kind, rows);
        }
        ArrayBuilder::finish(self.at(rows))
    }
}

/// A builder that can append several nulls at once.
trait Gaps: ArrayBuilder {
    fn gap(&mut self, rows: usize);
}

impl Gaps for TimestampNanosecondBuilder {
    fn gap(&mut self, rows: usize) {
        self.append_nulls(rows);
    }
}

impl Gaps for StringBuilder {
    fn gap(&mut self, rows: usize) {
        self.append_nulls(rows);
    }
}

/// A column of few words, each stored once.
struct Words<K: ArrowDictionaryKeyType> {
    words: Vec<String>,
    /// Which word, in how many rows one after the other.
    runs: Vec<(usize, usize)>,
    keys: std::marker::PhantomData<K>,
}

impl<K: ArrowDictionaryKeyType> Words<K>
where
    K::Native: TryFrom<usize>,
{
    fn new() -> Self {
        Self { words: Vec::new(), runs: Vec::new(), keys: std::marker::PhantomData }
    }

    fn push(&mut self, word: &str) {
        // Mostly the same one as before.
        if let Some((last, rows)) = self.runs.last_mut()
            && self.words.get(*last).is_some_and(|last| last == word)
        {
            *rows += 1;
            return;
        }
        let known = self.words.iter().position(|known| known == word);
        let at = known.unwrap_or_else(|| {
            self.words.push(word.to_owned());
            self.words.len() - 1
        });
        self.runs.push((at, 1));
    }

    /// The word of the row before once more; there must be one.
    #[inline]
    fn repeat(&mut self) {
        if let Some((_, rows)) = self.runs.last_mut() {
            *rows += 1;
        }
    }

    fn finish(self) -> ArrayRef {
        let rows = self.runs.iter().map(|(_, rows)| rows).sum();
        let mut keys = PrimitiveBuilder::<K>::with_capacity(rows);
        for (word, rows) in self.runs {
            match K::Native::try_from(word) {
                Ok(key) => keys.append_value_n(key, rows),
                Err(_) => keys.append_nulls(rows),
            }
        }
        let words: StringArray = self.words.iter().map(Some).collect();
        Arc::new(arrow_array::DictionaryArray::<K>::new(keys.finish(), Arc::new(words)))
    }
}

/// A path for people, and the exact one where that is another.
#[derive(Default)]
struct PathColumn(BinaryBuilder);

impl PathColumn {
    fn with_capacity(rows: usize) -> Self {
        Self(BinaryBuilder::with_capacity(rows, rows * 48))
    }

    #[inline]
    fn push(&mut self, path: &[u8]) {
        self.0.append_value(path);
    }

    fn push_option(&mut self, path: Option<&[u8]>) {
        self.0.append_option(path);
    }

    fn finish(mut self, nulls: &mut Nulls) -> (ArrayRef, ArrayRef) {
        let paths = self.0.finish();
        // All of them are looked at together: nearly always there is nothing to escape.
        match StringArray::try_from_binary(paths.clone()) {
            Ok(shown) => (Arc::new(shown), nulls.column(&DataType::Binary, paths.len())),
            Err(_) => escaped(&paths),
        }
    }
}

/// As [`PathColumn::finish`] gives it where not all paths are UTF-8.
fn escaped(paths: &BinaryArray) -> (ArrayRef, ArrayRef) {
    let mut shown = StringBuilder::with_capacity(paths.len(), paths.value_data().len());
    let mut exact = BinaryBuilder::new();
    for path in paths {
        match path.map(|path| (path, std::str::from_utf8(path))) {
            Some((_, Ok(path))) => {
                shown.append_value(path);
                exact.append_null();
            }
            Some((path, Err(_))) => {
                shown.append_value(escape(path));
                exact.append_value(path);
            }
            None => {
                shown.append_null();
                exact.append_null();
            }
        }
    }
    (Arc::new(shown.finish()), Arc::new(exact.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::cast::AsArray;

    #[test]
    fn a_sparse_column_has_its_values_where_they_belong() {
        let tables: [&[Option<&str>]; 7] = [
            &[],
            &[None, None, None],
            &[Some("a"), Some("b")],
            &[None, None, None, Some("a")],
            &[Some("a"), None, None],
            &[None, Some(""), None, None, Some("b"), Some("c"), None],
            &[Some(""), None, Some("")],
        ];
        // The longest comes first once, so that a column of nulls is a part of another.
        let mut nulls = Nulls::default();
        for table in tables.iter().rev().chain(&tables) {
            let mut column = Sparse(StringBuilder::new());
            let mut moments = Sparse(times());
            for (row, value) in table.iter().enumerate() {
                if let Some(value) = value {
                    column.at(row).append_value(value);
                    moments.at(row).append_value(row as i64);
                }
            }
            let column = column.finish(table.len(), &DataType::Utf8, &mut nulls);
            assert_eq!(column.as_string::<i32>().iter().collect::<Vec<_>>(), *table);
            assert_eq!(column.null_count(), table.iter().filter(|value| value.is_none()).count());
            let moments = moments.finish(table.len(), &timestamp(), &mut nulls);
            assert_eq!(moments.data_type(), &timestamp());
            let found: Vec<Option<i64>> =
                moments.as_primitive::<arrow_array::types::TimestampNanosecondType>().iter().collect();
            let at = |(row, value): (usize, &Option<&str>)| value.map(|_| row as i64);
            assert_eq!(found, table.iter().enumerate().map(at).collect::<Vec<_>>());
        }
    }

    #[test]
    fn columns_of_nulls_are_shared_and_as_long_as_asked_for() {
        let mut nulls = Nulls::default();
        for rows in [5, 3, 5, 0, 9] {
            for kind in [DataType::Utf8, DataType::Binary, timestamp()] {
                let column = nulls.column(&kind, rows);
                assert_eq!((column.len(), column.null_count()), (rows, rows));
                assert_eq!(column.data_type(), &kind);
            }
        }
        assert_eq!(nulls.0.len(), 6, "one of 5 rows and one of 9 for each type");
    }

    #[test]
    fn paths_are_shown_and_exact_where_they_are_not_utf8() {
        // Together the two halves of a letter would be one.
        let tables: [&[Option<&[u8]>]; 5] = [
            &[],
            &[Some(b"r/a\\b\n"), None, Some("r/für".as_bytes())],
            &[Some(b"r/a"), Some(b"r/b"), Some(b"r/\xff\n")],
            &[Some(b"r/\xc3"), Some(b"\xbc/r"), None],
            &[None, Some(b"\xff"), Some(b"r/a\n")],
        ];
        for table in tables {
            let mut column = PathColumn::default();
            table.iter().for_each(|path| column.push_option(*path));
            let (shown, exact) = column.finish(&mut Nulls::default());
            let text = |path: &[u8]| match std::str::from_utf8(path) {
                Ok(path) => path.to_owned(),
                Err(_) => escape(path),
            };
            let found: Vec<_> = shown.as_string::<i32>().iter().map(|path| path.map(str::to_owned)).collect();
            assert_eq!(found, table.iter().map(|path| path.map(text)).collect::<Vec<_>>());
            let odd = |path: &Option<&'static [u8]>| path.filter(|path| std::str::from_utf8(path).is_err());
            let found: Vec<_> = exact.as_binary::<i32>().iter().collect();
            assert_eq!(found, table.iter().map(odd).collect::<Vec<_>>());
        }
    }

    #[test]
    fn words_are_stored_once_in_whatever_order_they_come() {
        let mut words = Words::<Int8Type>::new();
        let rows = ["a", "a", "b", "a", "c", "c", "b"];
        rows.iter().for_each(|word| words.push(word));
        words.repeat();
        let column = words.finish();
        let column = column.as_dictionary::<Int8Type>();
        assert_eq!(column.values().as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(column.keys().values(), &[0, 0, 1, 0, 2, 2, 1, 1]);
        assert_eq!(column.null_count(), 0);
        assert_eq!(Words::<Int8Type>::new().finish().len(), 0);
    }

    #[test]
    fn a_hash_has_32_digits() {
        for digest in [0, 1, u128::MAX, 0x0123_4567_89ab_cdef_0011_2233_4455_6677] {
            assert_eq!(hex(digest, &mut [0; 32]), format!("{digest:032x}"));
        }
    }
}
