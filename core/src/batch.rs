//! The program's own state: key-value spaces, and batches over spaces, attributes and cursors that
//! become durable in one commit.

use crate::commit::{StateOp, Task};
use crate::error::{Error, ErrorKind, Result};
use crate::path::{self, escape};
use crate::store::Rows;
use crate::warden::Warden;

/// Bytes of a key at most.
const KEY_BYTES_MAX: usize = 4 * 1024;
/// Bytes of a value at most.
const VALUE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A named key-value space in the state file. Keys are 1 byte to 4 KiB, values up to 16 MiB, both
/// any bytes; keys are in byte order. Reading sees the last commit and never waits for the writer.
#[derive(Debug, Clone)]
pub struct Space {
    warden: Warden,
    name: String,
}

impl Space {
    pub(crate) fn new(warden: &Warden, name: &str) -> Result<Self> {
        path::check_name("space", name)?;
        Ok(Self { warden: warden.clone(), name: name.to_owned() })
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the value under a key.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` or `TooLarge` for the key, and what the store says.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        check_key(key.as_ref())?;
        self.warden.engine().store.read(|rows| rows.space_get(&self.name, key.as_ref()))
    }

    /// Puts a value; durable on return. Returns the seq of its commit.
    ///
    /// # Errors
    ///
    /// `TooLarge` and what the store says.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<u64> {
        self.warden.batch().put(&self.name, key, value).commit()
    }

    /// Deletes a key. Returns whether it was there; a key that is not there costs no commit.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        if self.get(key.as_ref())?.is_none() {
            return Ok(false);
        }
        self.warden.batch().delete(&self.name, key).commit()?;
        Ok(true)
    }

    /// Puts `new` (or, with `None`, deletes) if the key holds `expected` (or, with `None`, is not
    /// there). Returns the seq of the commit.
    ///
    /// # Errors
    ///
    /// `Conflict` when it holds anything else.
    pub fn compare_and_set(
        &self,
        key: impl AsRef<[u8]>,
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<u64> {
        self.warden.batch().compare_and_set(&self.name, key, expected, new).commit()
    }

    /// Returns all keys that start with `prefix`, with their values, in byte order.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub fn items(&self, prefix: impl AsRef<[u8]>) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.range(prefix, None, usize::MAX)
    }

    /// Returns up to `limit` keys that start with `prefix` and come after `after`, in byte order.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub fn range(
        &self,
        prefix: impl AsRef<[u8]>,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let read = |rows: &Rows| rows.space_range(&self.name, prefix.as_ref(), after, limit);
        self.warden.engine().store.read(read)
    }
}

/// Steps that happen together: one commit, all or nothing. Built by value; nothing happens before
/// [`Batch::commit`].
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let warden = treewarden::Warden::open(dir.path().join("state.tw"))?;
/// // "Read changes, record what they led to" happens once in effect, whatever is killed when.
/// let delivery = warden.cursor("indexer")?.read(1_000)?;
/// warden.batch().put("index", "files", "0").advance("indexer", delivery.upto()).commit()?;
/// # Ok::<(), treewarden::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a batch does nothing before `commit`"]
pub struct Batch {
    warden: Warden,
    ops: Vec<StateOp>,
    /// The first thing that was wrong; `commit` reports it.
    wrong: Option<Error>,
}

impl Batch {
    pub(crate) fn new(warden: &Warden) -> Self {
        Self { warden: warden.clone(), ops: Vec::new(), wrong: None }
    }

    fn push(mut self, checked: Result<()>, op: impl FnOnce() -> StateOp) -> Self {
        match checked {
            Ok(()) if self.wrong.is_none() => self.ops.push(op()),
            Ok(()) => {}
            Err(error) => {
                self.wrong.get_or_insert(error);
            }
        }
        self
    }

    /// Puts a value into a space.
    pub fn put(self, space: &str, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        let (key, value) = (key.as_ref(), value.as_ref());
        let checked = check_space(space, key).and_then(|()| check_value(key, value));
        self.push(checked, || StateOp::Put {
            space: space.into(),
            key: key.into(),
            value: Some(value.into()),
        })
    }

    /// Deletes a key from a space.
    pub fn delete(self, space: &str, key: impl AsRef<[u8]>) -> Self {
        let key = key.as_ref();
        self.push(check_space(space, key), || StateOp::Put {
            space: space.into(),
            key: key.into(),
            value: None,
        })
    }

    /// Puts (or deletes) a value if the key holds what is expected; otherwise the whole batch is
    /// refused with `Conflict`.
    pub fn compare_and_set(
        self,
        space: &str,
        key: impl AsRef<[u8]>,
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Self {
        let key = key.as_ref();
        let checked =
            check_space(space, key).and_then(|()| new.map_or(Ok(()), |value| check_value(key, value)));
        self.push(checked, || StateOp::CompareAndSet {
            space: space.into(),
            key: key.into(),
            expected: expected.map(Into::into),
            value: new.map(Into::into),
        })
    }

    /// Sets an attribute of an entry.
    pub fn set_attr(self, address: impl AsRef<[u8]>, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.attr(address.as_ref(), name, Some(value.as_ref()))
    }

    /// Removes an attribute of an entry.
    pub fn remove_attr(self, address: impl AsRef<[u8]>, name: &str) -> Self {
        self.attr(address.as_ref(), name, None)
    }

    fn attr(self, address: &[u8], name: &str, value: Option<&[u8]>) -> Self {
        let checked = path::check_name("attribute", name).and_then(|()| path::parse(address).map(|_| ()));
        self.push(checked, || StateOp::Attr {
            path: address.into(),
            name: name.into(),
            value: value.map(Into::into),
        })
    }

    /// Advances a named cursor to `seq`, never backwards.
    pub fn advance(self, cursor: &str, seq: u64) -> Self {
        self.push(path::check_name("cursor", cursor), || StateOp::Advance { cursor: cursor.into(), seq })
    }

    /// Commits all steps at once; durable on return. Returns the seq of the commit; an empty batch
    /// commits nothing and returns the current one.
    ///
    /// # Errors
    ///
    /// The first step that was wrong; `Conflict`, `NotFound`, `TooLarge` from the steps; what the
    /// store says. On an error nothing of the batch has happened.
    pub fn commit(self) -> Result<u64> {
        if let Some(error) = self.wrong {
            return Err(error);
        }
        if self.ops.is_empty() {
            return Ok(self.warden.seq());
        }
        self.warden.engine().submit(Task::State(self.ops))
    }
}

fn check_space(space: &str, key: &[u8]) -> Result<()> {
    path::check_name("space", space)?;
    check_key(key)
}

fn check_key(key: &[u8]) -> Result<()> {
    if key.is_empty() {
        return Err(Error::invalid("a key is empty"));
    }
    if key.len() > KEY_BYTES_MAX {
        return Err(Error::new(
            ErrorKind::TooLarge,
            format!("a key has {} bytes; at most 4,096 fit", key.len()),
        )
        .with_path(key));
    }
    Ok(())
}

fn check_value(key: &[u8], value: &[u8]) -> Result<()> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(Error::new(
            ErrorKind::TooLarge,
            format!("the value of `{}` has {} bytes; at most 16 MiB fit", escape(key), value.len()),
        )
        .with_path(key)
        .with_hint("keep it in a file of its own, and its name here"));
    }
    Ok(())
}
