//! A bucket, a container or any other [`Storage`] as the place of a partitioned export.
//!
//! Invariant: older parts are deleted once the new one is acknowledged, never before, and the newest one is never
//! deleted. Nothing is kept between two exports: what a killed one left is an unfinished upload at most.

use std::fmt;
use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::error::{Error, ErrorKind, Result};
use crate::mirror::{
    Credentials, Listed, Put, Source, Storage, StorageError, StorageFault, StorageResult, Target,
};
use crate::path::escape;
use crate::scan::CancelToken;

use super::ExportSink;
use super::place::{check_name, check_newest, part_number};

const CONTENT_TYPE: &str = "application/vnd.apache.parquet";
/// Answers that ask to slow down are forgiven so many times as often as failures.
const PATIENCE: u32 = 4;
/// The first pause after such an answer that does not say for how long, in first waits; the longest, in longest ones.
const PAUSE: u32 = 5;
const PAUSE_GROWN: u32 = 3;
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// The longest pause that a storage may ask for.
const ASKED_MAX: Duration = Duration::from_secs(600);
/// The longest wait between two attempts that a caller may ask for.
const WAIT_MAX: Duration = Duration::from_secs(3_600);
/// How often a waiting thread looks whether it was cancelled.
const LOOK: Duration = Duration::from_millis(50);
/// How often it is tried to throw the parts of an unfinished upload away.
const CLEANUPS: u32 = 3;

/// A bucket, a container, or a storage of the program's own as the place of a partitioned export: give it to
/// [`files`](super::files).
///
/// Files of more than 8 MiB are sent in parts of that size, four at a time, and memory holds no more than these. A
/// request that may work the next time is repeated, five times in all by default, with growing waits; a storage that
/// asks to slow down gets the pause that it asks for. An unfinished upload is thrown away when it fails. What a
/// killed process leaves of one is not: set a rule of the bucket that removes incomplete uploads after a day.
///
/// ```no_run
/// use std::path::Path;
/// use treewarden::export::{self, Content, ExportOptions, StorageSink};
/// use treewarden::mirror::{Credentials, Target};
/// use treewarden::{Filter, Warden};
///
/// let warden = Warden::open("state.tw")?;
/// let target = Target::s3("lake").region("eu-central-1");
/// let mut sink = StorageSink::connect(&target, &Credentials::keys("id", "secret"), "trees")?;
/// let options = ExportOptions::new().host("nas-1").token(warden.token());
/// let (snapshot, filter) = (warden.snapshot(), Filter::new());
/// let content = Content::Entries(&snapshot, &filter);
/// let report = export::files(content, &options, Path::new("/var/tmp/exports"), &mut sink)?;
/// println!("{} rows in {} files", report.rows, report.files);
/// # Ok::<(), treewarden::Error>(())
/// ```
pub struct StorageSink {
    storage: Arc<dyn Storage>,
    /// Empty, or with a slash at its end.
    prefix: String,
    cancel: CancelToken,
    attempts_max: u32,
    backoff: Duration,
    backoff_max: Duration,
}

impl fmt::Debug for StorageSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StorageSink")
            .field("storage", &self.storage.describe())
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl StorageSink {
    /// Puts files into a storage, below `prefix`: a path without a slash before it, or nothing. Sends nothing yet.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a prefix that begins no key, `Unsupported` for a storage whose files are served from
    /// where they lie.
    pub fn new(storage: Arc<dyn Storage>, prefix: &str) -> Result<Self> {
        if storage.capabilities().in_place {
            let place = escape(storage.describe().as_bytes());
            return Err(Error::new(ErrorKind::Unsupported, format!("nothing can be put into {place}"))
                .with_hint("its files are served from where they lie: export into a directory there"));
        }
        Ok(Self {
            storage,
            prefix: checked_prefix(prefix)?,
            cancel: CancelToken::new(),
            attempts_max: 5,
            backoff: Duration::from_millis(200),
            backoff_max: Duration::from_secs(20),
        })
    }

    /// Puts files into a target, below `prefix`; [`Target::parse`] reads both from one address. Sends nothing yet.
    ///
    /// # Errors
    ///
    /// As [`Target::connect`] and [`StorageSink::new`].
    pub fn connect(target: &Target, credentials: &Credentials, prefix: &str) -> Result<Self> {
        Self::new(target.connect(credentials)?, prefix)
    }

    /// Stops it with `Cancelled`: between two requests, while it waits, and within a file that is sent. A listing or
    /// deletion under way is waited for.
    #[must_use]
    pub fn cancel(mut self, token: CancelToken) -> Self {
        self.cancel = token;
        self
    }

    /// Sets how often a request is made (default 5, at least 1), the wait before the second time (default 200 ms),
    /// which doubles each time, and the longest wait (default 20 s, at most an hour).
    #[must_use]
    pub fn retry(mut self, attempts: u32, backoff: Duration, backoff_max: Duration) -> Self {
        self.attempts_max = attempts.max(1);
        self.backoff_max = backoff_max.min(WAIT_MAX);
        self.backoff = backoff.min(self.backoff_max);
        self
    }
}

/// Reads the destination of an export that is the address of a store, `s3://BUCKET/PREFIX` and all others that
/// [`Target::parse`] knows, as the target and the prefix in it; `None` for a path.
///
/// # Errors
///
/// As [`Target::parse`]. No error shows the address.
pub fn store_of(dest: &Path) -> Result<Option<(Target, String)>> {
    let bytes = dest.as_os_str().as_bytes();
    let Some(end) = bytes.windows(3).position(|three| three == b"://") else { return Ok(None) };
    let is_inner = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    let is_scheme =
        bytes.first().is_some_and(u8::is_ascii_alphabetic) && bytes.iter().take(end).all(is_inner);
    if !is_scheme {
        return Ok(None);
    }
    let url = dest.to_str().ok_or_else(|| {
        Error::invalid("the address of the store is not UTF-8")
            .with_hint("percent-encode it, or take another prefix")
    })?;
    Target::parse(url).map(Some)
}

/// The prefix of all keys, with its slash.
fn checked_prefix(prefix: &str) -> Result<String> {
    if prefix.is_empty() {
        return Ok(String::new());
    }
    let trimmed = prefix.strip_suffix('/').unwrap_or(prefix);
    let is_step = |component: &str| matches!(component, "" | "." | "..");
    if trimmed.chars().any(char::is_control) || trimmed.split('/').any(is_step) {
        let shown = escape(prefix.as_bytes());
        return Err(Error::invalid(format!("the prefix `{shown}` begins no key"))
            .with_hint("a prefix is a path without a slash before it: `lake/trees`"));
    }
    Ok(format!("{trimmed}/"))
}

impl ExportSink for StorageSink {
    /// Sends the file, which may lie anywhere, and deletes the older parts beside it.
    ///
    /// # Errors
    ///
    /// `PermissionDenied` when the storage refuses the credentials, `NotFound` when the bucket is not there, both at
    /// once; `Io` when it fails as often as it is tried; `Conflict` for a newer part; `TooLarge` and
    /// `InvalidArgument` for a name that makes no key; `Unsupported` for a part in a storage that cannot be listed;
    /// `Cancelled`. After an error the older parts are there. So is the new one where only its deletions failed, and
    /// where the last answer was lost: the next export then removes the older.
    fn put(&mut self, name: &str, file: &Path) -> Result<()> {
        check_name(name)?;
        let key = format!("{}{name}", self.prefix);
        let (folder, last) = key.rsplit_once('/').unwrap_or(("", key.as_str()));
        let number = part_number(last.as_bytes());
        self.check(&key, number.is_some())?;
        let source = FileSource::open(file, &self.cancel)?;
        if let Some(own) = number {
            let newest = self.parts(folder)?.into_iter().map(|(number, _)| number).max();
            check_newest(own, newest, folder.as_bytes())?;
        }
        self.send(&key, &source)?;
        number.map_or(Ok(()), |own| self.remove_older(folder, own))
    }
}

impl StorageSink {
    /// Refuses what this storage cannot hold, before anything is sent.
    fn check(&self, key: &str, is_part: bool) -> Result<()> {
        let (can, shown) = (self.storage.capabilities(), escape(key.as_bytes()));
        if is_part && !can.list {
            let place = escape(self.storage.describe().as_bytes());
            return Err(Error::new(ErrorKind::Unsupported, format!("{place} cannot be listed"))
                .with_hint("older parts could not be found and would count for ever: take another storage"));
        }
        if key.len() > can.key_bytes_max {
            let text = format!("the key `{shown}` is longer than {} bytes", can.key_bytes_max);
            return Err(Error::new(ErrorKind::TooLarge, text)
                .with_path(key)
                .with_hint("give the root, the host or the prefix a shorter name"));
        }
        self.storage.check_key(key).map_err(|error| self.failed("put", key, &error))
    }

    fn send(&self, key: &str, source: &FileSource<'_>) -> Result<()> {
        let put = Put::new(key, CONTENT_TYPE, source);
        let sent = self.tries("put", key, || {
            let before = source.uploads().len();
            let answer = self.storage.put(&put);
            match &answer {
                // Its own upload is an object now.
                Ok(_) => source.uploads().truncate(before),
                Err(_) => self.throw_away(key, source),
            }
            answer.map(drop)
        });
        let left = source.uploads().len();
        if left > 0 {
            tracing::warn!(
                key = escape(key.as_bytes()),
                left,
                "parts of an unfinished upload are still there"
            );
        }
        sent
    }

    /// Throws the parts away that were sent in vain, also after it was cancelled.
    fn throw_away(&self, key: &str, source: &FileSource<'_>) {
        // Not under the lock: the storage may call the source.
        let uploads = std::mem::take(&mut *source.uploads());
        for id in uploads {
            let mut attempt = 1;
            loop {
                match self.storage.abort(key, &id) {
                    Ok(()) => break,
                    Err(error)
                        if may_work(&error.fault) && attempt < CLEANUPS && !self.cancel.is_cancelled() =>
                    {
                        std::thread::sleep(self.backoff.min(Duration::from_secs(1)));
                        attempt += 1;
                    }
                    Err(_) => {
                        source.uploads().push(id);
                        break;
                    }
                }
            }
        }
    }

    /// The parts of snapshots right in this folder, and their numbers.
    fn parts(&self, folder: &str) -> Result<Vec<(u64, String)>> {
        let begin = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        self.tries("list", folder, || {
            let mut found = Vec::new();
            let mut each = |one: Listed| {
                let name = one.key.strip_prefix(begin.as_str());
                if let Some(number) = name.and_then(|name| part_number(name.as_bytes())) {
                    found.push((number, one.key));
                }
                !self.cancel.is_cancelled()
            };
            self.storage.list(folder, &mut each)?;
            // What was broken off is no listing.
            cancelled(&self.cancel)?;
            Ok(found)
        })
    }

    /// A part of a snapshot takes the place of all older ones.
    fn remove_older(&self, folder: &str, own: u64) -> Result<()> {
        let parts = self.parts(folder)?;
        // An export that began later may have been faster: then its part is the one that stays.
        let newest = parts.iter().map(|(number, _)| *number).fold(own, u64::max);
        let older = parts.iter().filter(|(number, _)| *number < newest);
        let doomed: Vec<&str> = older.map(|(_, key)| key.as_str()).collect();
        for keys in doomed.chunks(self.storage.capabilities().delete_max.max(1)) {
            let deleted = self.tries("remove the older parts of", folder, || {
                let mut answers = self.storage.delete(keys).into_iter();
                keys.iter().try_for_each(|_| match answers.next() {
                    Some(Err(error)) if error.fault != StorageFault::NotFound => Err(error),
                    Some(_) => Ok(()),
                    None => {
                        Err(StorageError::new(StorageFault::Transient, "it did not answer for every key"))
                    }
                })
            });
            deleted.map_err(|error| {
                error.with_hint(
                    "the new one is in place; until the older ones are gone, their rows count, too",
                )
            })?;
        }
        Ok(())
    }

    /// Tries until it works, it never will, or often enough.
    fn tries<T>(&self, what: &str, at: &str, mut once: impl FnMut() -> StorageResult<T>) -> Result<T> {
        let (mut attempts, mut pauses) = (1, 0);
        let pause_max = self.backoff_max.saturating_mul(PAUSE_GROWN).min(PAUSE_MAX);
        let (mut backoff, mut pause) = (self.backoff, self.backoff.saturating_mul(PAUSE).min(pause_max));
        loop {
            let answer = cancelled(&self.cancel).and_then(|()| once());
            let error = match answer {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let wait = match error.fault {
                StorageFault::Transient if attempts < self.attempts_max => {
                    attempts += 1;
                    let wait = backoff.mul_f64(0.5 + share());
                    backoff = backoff.saturating_mul(2).min(self.backoff_max);
                    wait
                }
                StorageFault::Throttled(asked) if pauses + 1 < self.attempts_max.saturating_mul(PATIENCE) => {
                    pauses += 1;
                    let asked = asked.unwrap_or_default().min(ASKED_MAX);
                    let least = if asked.is_zero() { pause } else { asked };
                    pause = pause.saturating_mul(2).min(pause_max);
                    // Never sooner than it asked for, nor all machines at the same moment.
                    least.mul_f64(1.0 + share() / 2.0)
                }
                _ => return Err(self.failed(what, at, &error)),
            };
            let why = escape(error.message.as_bytes());
            tracing::debug!(at = escape(at.as_bytes()), why, "the storage is asked again");
            self.wait(wait).map_err(|error| self.failed(what, at, &error))?;
        }
    }

    fn wait(&self, time: Duration) -> StorageResult<()> {
        let until = Instant::now() + time;
        loop {
            cancelled(&self.cancel)?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(LOOK));
        }
    }

    /// What a caller is told.
    fn failed(&self, what: &str, at: &str, error: &StorageError) -> Error {
        let (kind, hint) = match error.fault {
            StorageFault::Denied => (
                ErrorKind::PermissionDenied,
                "give other credentials: they must be allowed to list, put and delete below the prefix",
            ),
            StorageFault::Misconfigured | StorageFault::NotFound => {
                (ErrorKind::NotFound, "correct the target")
            }
            StorageFault::Cancelled => (ErrorKind::Cancelled, "what is in place stays"),
            StorageFault::Unsupported => (ErrorKind::Unsupported, "this storage has no such thing"),
            StorageFault::Rejected => (
                ErrorKind::InvalidArgument,
                "give the root, the host or the prefix another name, or export less",
            ),
            _ => (ErrorKind::Io, "export again; what is in place stays"),
        };
        // The words may be those of a program's own storage.
        let (place, why) = (escape(self.storage.describe().as_bytes()), escape(error.message.as_bytes()));
        let text = format!("cannot {what} `{}` in {place}: {why}", escape(at.as_bytes()));
        Error::new(kind, text).with_path(at).with_hint(hint)
    }
}

fn cancelled(token: &CancelToken) -> StorageResult<()> {
    if token.is_cancelled() {
        return Err(StorageError::new(StorageFault::Cancelled, "it was cancelled"));
    }
    Ok(())
}

fn may_work(fault: &StorageFault) -> bool {
    matches!(fault, StorageFault::Transient | StorageFault::Throttled(_))
}

/// A number by chance, from 0 up to 1.
fn share() -> f64 {
    let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
    (random >> 11) as f64 / (1_u64 << 53) as f64
}

/// A complete file, which is read when the storage asks for a range of it.
struct FileSource<'a> {
    file: File,
    facts: Facts,
    shown: String,
    cancel: &'a CancelToken,
    /// Uploads in parts that may have to be thrown away.
    uploads: Mutex<Vec<String>>,
}

/// What tells that a file is another one: its size, and when it was changed.
#[derive(PartialEq, Eq)]
struct Facts {
    size: u64,
    mtime: (i64, i64),
}

impl Facts {
    fn of(file: &File) -> io::Result<Self> {
        let meta = file.metadata()?;
        Ok(Self { size: meta.len(), mtime: (meta.mtime(), meta.mtime_nsec()) })
    }
}

impl<'a> FileSource<'a> {
    fn open(path: &Path, cancel: &'a CancelToken) -> Result<Self> {
        let bytes = path.as_os_str().as_bytes();
        let unread = |error| Error::io("read the export", bytes, error);
        // A FIFO would be waited for.
        if !fs::metadata(path).map_err(unread)?.is_file() {
            return Err(Error::invalid(format!("`{}` is no file", escape(bytes))).with_path(bytes));
        }
        let file = File::open(path).map_err(unread)?;
        let facts = Facts::of(&file).map_err(unread)?;
        Ok(Self { file, facts, shown: escape(bytes), cancel, uploads: Mutex::default() })
    }

    fn uploads(&self) -> MutexGuard<'_, Vec<String>> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unreadable(&self, error: &io::Error) -> StorageError {
        StorageError::new(StorageFault::Source, format!("`{}` cannot be read: {error}", self.shown))
    }

    fn changed(&self) -> StorageError {
        StorageError::new(StorageFault::Changed, format!("`{}` changed while it was read", self.shown))
    }
}

impl Source for FileSource<'_> {
    fn size(&self) -> u64 {
        self.facts.size
    }

    fn read(&self, offset: u64, len: u64) -> StorageResult<Bytes> {
        cancelled(self.cancel)?;
        let mut content = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        self.file.read_exact_at(&mut content, offset).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.changed(),
            _ => self.unreadable(&error),
        })?;
        Ok(Bytes::from(content))
    }

    fn check(&self) -> StorageResult<()> {
        match Facts::of(&self.file) {
            Ok(facts) if facts == self.facts => Ok(()),
            Ok(_) => Err(self.changed()),
            Err(error) => Err(self.unreadable(&error)),
        }
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    fn begins(&self, upload_id: &str) -> StorageResult<()> {
        self.uploads().push(upload_id.to_owned());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_store_is_told_from_a_path() -> Result<()> {
        for path in ["all.parquet", "/srv/lake", "./s3://bucket", "a/b://c", "://x", "3s://x", "", "s3:/x"] {
            assert_eq!(store_of(Path::new(path))?, None, "{path}");
        }
        let found = store_of(Path::new("s3://bucket/lake/trees/"))?;
        assert_eq!(found, Some((Target::s3("bucket"), "lake/trees".to_owned())));
        let found = store_of(Path::new("file:///srv/a%20b"))?;
        assert_eq!(found, Some((Target::directory("/srv/a b"), String::new())));
        for url in ["s3://id:hush@bucket", "https://hush", "s4://hush", "s3://"] {
            let error = store_of(Path::new(url)).expect_err(url);
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{url}");
            assert!(!error.to_string().contains("hush"), "{url}: {error}");
        }
        Ok(())
    }

    #[test]
    fn a_prefix_begins_keys_or_is_refused() -> Result<()> {
        for (prefix, begin) in [("", ""), ("a", "a/"), ("a/b c%/", "a/b c%/")] {
            assert_eq!(checked_prefix(prefix)?, begin);
        }
        for prefix in ["/", "/a", "a//b", "a//", ".", "a/..", "a\nb"] {
            let error = checked_prefix(prefix).expect_err(prefix);
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        }
        Ok(())
    }
}
