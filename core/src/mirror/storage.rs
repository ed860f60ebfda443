//! What a mirror asks of a storage, and the storage of files that are already in place.
//!
//! A storage knows objects by their keys and nothing of trees, state or retries: it tries once and says what
//! came of it. Everything is called from several threads at once, and may block.

use std::fmt;
use std::path::Path;
use std::time::Duration;

/// What a storage can do beyond putting and deleting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// An object is copied to another key without being sent again.
    pub copy: bool,
    /// The objects can be listed: an audit needs it.
    pub list: bool,
    /// Content types and cache rules are kept with an object.
    pub attributes: bool,
    /// Larger files are sent in parts, several at a time.
    pub parts: bool,
    /// Keys of one call of [`Storage::delete`] at most.
    pub delete_max: usize,
    /// Bytes of one key at most.
    pub key_bytes_max: usize,
    /// The files are the objects: nothing is sent, nothing is deleted.
    pub in_place: bool,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            copy: false,
            list: false,
            attributes: false,
            parts: false,
            delete_max: 1,
            key_bytes_max: 1_024,
            in_place: false,
        }
    }
}

/// Why a storage did not do what it was asked for, as far as it matters for what comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StorageFault {
    /// It may work the next time: a cut connection, a 500, an answer that makes no sense.
    Transient,
    /// The storage asks everybody to slow down (429, 503), and may say for how long.
    Throttled(Option<Duration>),
    /// The credentials are wrong, have expired or do not allow it. No other request will fare better.
    Denied,
    /// The bucket, the account or the endpoint is not there. No other request will fare better.
    Misconfigured,
    /// There is no such object.
    NotFound,
    /// This object will never be taken: its key or size is not allowed.
    Rejected,
    /// Something else lies where the object belongs, and has to go first: a file in place of a directory, or a name
    /// that the storage takes for the same. Not repeated, but tried again when the deletions of the run are done.
    Occupied,
    /// The storage cannot do this at all.
    Unsupported,
    /// The file could not be read; nothing of it was kept.
    Source,
    /// The file changed while it was read; nothing of it was kept.
    Changed,
    /// The caller cancelled.
    Cancelled,
}

/// A failure of a storage. The message holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageError {
    /// What it means for what comes next.
    pub fault: StorageFault,
    /// What happened, for people.
    pub message: String,
}

impl StorageError {
    /// Returns a failure.
    #[must_use]
    pub fn new(fault: StorageFault, message: impl Into<String>) -> Self {
        Self { fault, message: message.into() }
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StorageError {}

/// A result whose error is [`StorageError`].
pub type StorageResult<T> = Result<T, StorageError>;

/// What is to be put: the content is read in ranges, each at most once and in any order.
pub trait Source: Send + Sync {
    /// Size of the content in bytes.
    fn size(&self) -> u64;

    /// Reads `len` bytes from `offset` on. It waits for memory and for bandwidth where these are limited; the
    /// bytes count against the memory of all uploads until they are dropped. A storage that holds some while it asks
    /// for more must be able to drop them without those: else uploads that each hold a part wait for one another.
    ///
    /// # Errors
    ///
    /// `Source` when the file cannot be read, `Changed` when it is not the one that was announced any more,
    /// `Cancelled`.
    fn read(&self, offset: u64, len: u64) -> StorageResult<bytes::Bytes>;

    /// Fails when the file is not the one that was announced any more. Called after the last range was read
    /// and before the object comes into being.
    ///
    /// # Errors
    ///
    /// `Changed`, and `Source` when it cannot be told.
    fn check(&self) -> StorageResult<()>;

    /// True once the caller wants it to end. Whoever waits for an answer looks at it now and then.
    fn is_cancelled(&self) -> bool {
        false
    }

    /// Tells that parts are about to be sent under this id, so that they can be thrown away after a crash.
    /// Returns when that is on disk.
    ///
    /// # Errors
    ///
    /// `Transient` when it cannot be written down.
    fn begins(&self, upload_id: &str) -> StorageResult<()>;
}

/// An object to put.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Put<'a> {
    /// Where to.
    pub key: &'a str,
    /// `Content-Type`.
    pub content_type: &'a str,
    /// `Cache-Control`.
    pub cache_control: Option<&'a str>,
    /// Content up to this size goes in one piece, above it in parts of this size (bytes).
    pub part_bytes: u64,
    /// Parts of one object under way at a time.
    pub parts_at_a_time: usize,
    /// The content.
    pub source: &'a dyn Source,
}

impl<'a> Put<'a> {
    /// Returns an object to put, in parts of 8 MiB, four at a time.
    #[must_use]
    pub fn new(key: &'a str, content_type: &'a str, source: &'a dyn Source) -> Self {
        Self { key, content_type, cache_control: None, part_bytes: 8 << 20, parts_at_a_time: 4, source }
    }
}

impl fmt::Debug for Put<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Put")
            .field("key", &self.key)
            .field("size", &self.source.size())
            .finish_non_exhaustive()
    }
}

/// What a storage answered for an object that is in place now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stored {
    /// The entity tag, as it was given, without quotes.
    pub etag: Option<String>,
}

/// An object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key, whole.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its entity tag, without quotes.
    pub etag: Option<String>,
}

/// A place for objects.
///
/// Implement it for a store of your own, and give it to
/// [`Warden::mirror_with`](crate::Warden::mirror_with). Every call tries once: waiting, repeating and slowing
/// down is the mirror's part.
pub trait Storage: Send + Sync {
    /// What it can do. The answer never changes.
    fn capabilities(&self) -> Capabilities;

    /// Where it is, for people and for telling one target from another: without any secret.
    fn describe(&self) -> String;

    /// The directory of this machine in which the objects are files, if that is so: no root may lie in it, nor it in a
    /// root.
    fn directory(&self) -> Option<&Path> {
        None
    }

    /// What the address of each object begins with, for those who read; `None` where nobody can.
    fn public_url(&self) -> Option<&str> {
        None
    }

    /// The address of an object: [`Storage::public_url`], a slash, and the key, percent-encoded.
    fn url(&self, key: &str) -> Option<String> {
        self.public_url().map(|base| super::key::url(base, key))
    }

    /// Fails when no object can have this key. No request is made.
    ///
    /// # Errors
    ///
    /// `Rejected`, with the reason.
    fn check_key(&self, key: &str) -> StorageResult<()>;

    /// Puts an object: whole, or not at all. What was there before is replaced.
    ///
    /// # Errors
    ///
    /// After a failure the old object, the new one or none is there.
    fn put(&self, put: &Put<'_>) -> StorageResult<Stored>;

    /// Deletes objects, at most [`Capabilities::delete_max`]. One that is not there is deleted. Answers in the
    /// order of the keys.
    fn delete(&self, keys: &[&str]) -> Vec<StorageResult<()>>;

    /// Copies an object within the storage.
    ///
    /// # Errors
    ///
    /// `NotFound`, and `Unsupported` by default.
    fn copy(&self, from: &str, to: &str) -> StorageResult<Stored> {
        let _ = (from, to);
        Err(StorageError::new(StorageFault::Unsupported, "this storage copies nothing"))
    }

    /// Tells each object whose key begins with `prefix`, until `each` answers false.
    ///
    /// # Errors
    ///
    /// `Unsupported` by default.
    fn list(&self, prefix: &str, each: &mut dyn FnMut(Listed) -> bool) -> StorageResult<()> {
        let _ = (prefix, each);
        Err(StorageError::new(StorageFault::Unsupported, "this storage cannot be listed"))
    }

    /// Ends the calls that are under way in other threads, as soon as it can: the run was cancelled, or the mirror
    /// closed. Called again and again until they have ended; calls that begin later are not touched.
    fn interrupt(&self) {}

    /// Throws the parts away that were sent under this id. An id that is not known is none any more.
    ///
    /// # Errors
    ///
    /// As [`Storage::put`].
    fn abort(&self, key: &str, upload_id: &str) -> StorageResult<()> {
        let _ = (key, upload_id);
        Ok(())
    }
}

/// Files that are served from where they lie: nothing is sent and nothing deleted, and each has a URL.
#[derive(Debug, Clone)]
pub struct LocalStorage {
    base_url: String,
}

impl LocalStorage {
    /// Returns the storage of files that a server shows below `base_url`.
    #[must_use]
    pub fn new(base_url: &str) -> Self {
        Self { base_url: base_url.trim_end_matches('/').to_owned() }
    }
}

impl Storage for LocalStorage {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            copy: true,
            attributes: true,
            delete_max: 1_000,
            key_bytes_max: usize::MAX,
            in_place: true,
            ..Capabilities::default()
        }
    }

    fn describe(&self) -> String {
        format!("local+{}", self.base_url)
    }

    fn public_url(&self) -> Option<&str> {
        Some(&self.base_url)
    }

    fn check_key(&self, _: &str) -> StorageResult<()> {
        Ok(())
    }

    fn put(&self, _: &Put<'_>) -> StorageResult<Stored> {
        Ok(Stored::default())
    }

    fn delete(&self, keys: &[&str]) -> Vec<StorageResult<()>> {
        keys.iter().map(|_| Ok(())).collect()
    }

    fn copy(&self, _: &str, _: &str) -> StorageResult<Stored> {
        Ok(Stored::default())
    }
}
