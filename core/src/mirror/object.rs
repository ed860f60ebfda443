//! Buckets, containers and directories, through `object_store`.
//!
//! Invariant: a request is made once, apart from the parts of a large file. Repeating, waiting and slowing down are
//! the mirror's, which does so for all requests together.

mod build;
mod delete;
mod directory;
mod fault;
mod instance;
mod net;
mod parts;
mod sum;
mod wire;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, CopyOptions, GetOptions, ObjectMeta, ObjectStore, PutOptions, PutPayload,
};

use crate::error::Result;

use super::credentials::Credentials;
use super::storage::{
    Capabilities, Listed, Put, Source, Storage, StorageError, StorageFault, StorageResult, Stored,
};
use super::target::Target;

use build::Built;
use directory::Root;
use fault::{Failure, scrub};
use net::{Net, Running};
use parts::Parts;

/// A request is given up when it takes longer than this, and its content longer than at the slowest speed.
const REQUEST: Duration = Duration::from_secs(60);
/// For what a store does by itself: putting parts together, copying, deleting a thousand keys.
const LONG: Duration = Duration::from_secs(600);
const SLOWEST_BYTES_PER_S: u64 = 32 << 10;
/// Objects of a listing that are told at a time.
const PAGE: usize = 1_000;
/// The longest name in a directory.
const NAME_BYTES_MAX: usize = 255;
/// The most components of a name in Azure.
const AZURE_COMPONENTS_MAX: usize = 254;
/// How often, and how many times, a copy is looked at that Azure has not finished when it answers.
const COPY_LOOK: Duration = Duration::from_secs(1);
const COPY_LOOKS_MAX: u32 = 60;
/// While it is written a file has a `#` and a number at its end.
const STAGED_BYTES: usize = 3;

/// What differs from store to store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flavour {
    S3,
    Gcs,
    Azure,
    Directory,
}

/// A place for objects that `object_store` reaches.
pub(super) struct ObjectStorage {
    net: Net,
    store: Arc<dyn ObjectStore>,
    parts: Option<Arc<dyn MultipartStore>>,
    /// The same store, asked to delete objects one by one, where `store` has a request for many.
    singles: Option<Arc<dyn ObjectStore>>,
    /// It has answered that it knows of no such request.
    has_no_bulk: AtomicBool,
    flavour: Flavour,
    root: Option<Root>,
    /// Entity tags are the MD5 sums of what was sent.
    verifies: bool,
    described: String,
    public_url: Option<String>,
    /// The longest first.
    secrets: Vec<String>,
}

impl ObjectStorage {
    /// The target and the credentials have been checked.
    pub(super) fn connect(target: &Target, credentials: &Credentials) -> Result<Self> {
        let Built { store, parts, singles, flavour, root } = build::build(target, credentials)?;
        Ok(Self {
            net: Net::new(flavour == Flavour::Directory)?,
            store,
            parts,
            singles,
            has_no_bulk: AtomicBool::new(false),
            flavour,
            root,
            verifies: flavour == Flavour::S3 && !target.get_opaque_etags(),
            described: target.describe(),
            public_url: target.get_public_url().map(str::to_owned),
            secrets: credentials.secrets(),
        })
    }

    fn told(&self, failure: Failure) -> StorageError {
        failure.told(&self.secrets)
    }

    /// Does work on a thread of the network, and waits for it.
    fn ask<T, W>(&self, limit: Option<Duration>, work: W) -> StorageResult<T>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        self.ask_unless(&|| false, limit, work)
    }

    fn ask_unless<T, W>(
        &self,
        is_cancelled: &dyn Fn() -> bool,
        limit: Option<Duration>,
        work: W,
    ) -> StorageResult<T>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        let running: Running<T> = self.net.start(limit, work);
        running.wait(is_cancelled).map_err(|failure| self.told(failure))
    }

    /// How long a request with so much content may take. A system call cannot be broken off.
    fn limit(&self, base: Duration, content_bytes: u64) -> Option<Duration> {
        (self.flavour != Flavour::Directory)
            .then(|| base + Duration::from_secs(content_bytes / SLOWEST_BYTES_PER_S))
    }

    fn check_root(&self) -> StorageResult<()> {
        self.root.as_ref().map_or(Ok(()), Root::check)
    }

    fn path(&self, key: &str) -> StorageResult<Path> {
        let rejected = |why: &str| {
            Err(StorageError::new(StorageFault::Rejected, scrub(&format!("`{key}` {why}"), &self.secrets)))
        };
        let Ok(path) = Path::parse(key) else {
            return rejected("is no key: it has an empty, `.` or `..` component, or a control character");
        };
        let parsed: &str = path.as_ref();
        if key.is_empty() || parsed != key {
            return rejected("is no key: it is empty, or has a slash at an end");
        }
        if key.len() > self.capabilities().key_bytes_max {
            return rejected("is longer than any key may be");
        }
        if self.flavour == Flavour::Azure {
            // There it becomes a slash, and the object that of another file; a signature over it does not match.
            if key.contains('\\') {
                return rejected("holds a backslash, which Azure takes for a slash");
            }
            if key.split('/').any(|component| component.ends_with('.')) {
                return rejected("has a component that ends in a dot, which Azure cuts off");
            }
            if key.split('/').count() > AZURE_COMPONENTS_MAX {
                return rejected("has more components than a name may have in Azure");
            }
        }
        if self.flavour == Flavour::Directory {
            if key.split('/').any(|component| component.len() > NAME_BYTES_MAX) {
                return rejected("has a component longer than 255 bytes");
            }
            let name = path.filename().unwrap_or_default();
            if name.len() > NAME_BYTES_MAX - STAGED_BYTES {
                return rejected("has a name so long that it cannot be written beside itself");
            }
            let is_number = |end: &str| !end.is_empty() && end.bytes().all(|b| b.is_ascii_digit());
            if name.split_once('#').is_some_and(|(_, end)| is_number(end)) {
                return rejected("ends in `#` and a number, as a file that is being written does");
            }
        }
        Ok(path)
    }

    fn attributes(&self, put: &Put<'_>) -> Attributes {
        let mut attributes = Attributes::new();
        if self.capabilities().attributes {
            attributes.insert(Attribute::ContentType, put.content_type.to_owned().into());
            if let Some(cache_control) = put.cache_control {
                attributes.insert(Attribute::CacheControl, cache_control.to_owned().into());
            }
        }
        attributes
    }

    fn put_whole(&self, path: Path, put: &Put<'_>, size: u64) -> StorageResult<object_store::PutResult> {
        let content = if size == 0 { Bytes::new() } else { read(put.source, 0, size)? };
        put.source.check()?;
        let expected = self.verifies.then(|| sum::hex(&sum::md5(&content)));
        let options = PutOptions::from(self.attributes(put));
        let store = Arc::clone(&self.store);
        self.ask_unless(&|| put.source.is_cancelled(), self.limit(REQUEST, size), async move {
            let payload = PutPayload::from(content);
            let answer = store.put_opts(&path, payload, options).await;
            let done = answer.map_err(|error| Failure::of_put(&error))?;
            match (&expected, &done.e_tag) {
                (Some(expected), Some(tag)) if sum::differs(expected, tag) => Err(mismatch()),
                _ => Ok(done),
            }
        })
    }
}

/// Reads a range, whole.
fn read(source: &dyn Source, offset: u64, len: u64) -> StorageResult<Bytes> {
    let content = source.read(offset, len)?;
    if content.len() as u64 == len {
        return Ok(content);
    }
    Err(StorageError::new(StorageFault::Source, "the content has another length than was announced"))
}

fn mismatch() -> Failure {
    Failure::new(
        StorageFault::Transient,
        "",
        "the store answered another checksum than that of what was sent; where its entity tags are no MD5 sums, as \
         with KMS encryption, set `opaque_etags`",
    )
}

async fn head(store: &dyn ObjectStore, path: &Path) -> Result<ObjectMeta, Failure> {
    let options = GetOptions { head: true, ..GetOptions::default() };
    store.get_opts(path, options).await.map(|found| found.meta).map_err(|error| Failure::of(&error))
}

fn stored(tag: Option<&str>) -> Stored {
    Stored { etag: tag.map(sum::unquoted) }
}

/// Waits until a copy is there. Azure answers when it has taken note of it; a source that is deleted before the copy
/// is made leaves an empty object.
async fn copied(store: &dyn ObjectStore, path: &Path) -> Result<ObjectMeta, Failure> {
    for _ in 0..COPY_LOOKS_MAX {
        match head(store, path).await {
            Err(failure) if failure.code == wire::COPY_PENDING => tokio::time::sleep(COPY_LOOK).await,
            answer => return answer,
        }
    }
    Err(Failure::new(StorageFault::Unsupported, "", "the store has not made the copy in time"))
}

type Listing = BoxStream<'static, object_store::Result<ObjectMeta>>;

/// The next objects of a listing, and the rest of it.
async fn page(mut listing: Listing) -> Result<(Vec<Listed>, Option<Listing>), Failure> {
    let mut found = Vec::new();
    while found.len() < PAGE {
        match listing.next().await {
            Some(Ok(meta)) => found.push(Listed {
                size: meta.size,
                etag: meta.e_tag.as_deref().map(sum::unquoted),
                key: meta.location.into(),
            }),
            Some(Err(error)) => return Err(Failure::of(&error)),
            None => return Ok((found, None)),
        }
    }
    Ok((found, Some(listing)))
}

impl Storage for ObjectStorage {
    fn capabilities(&self) -> Capabilities {
        let is_cloud = self.flavour != Flavour::Directory;
        Capabilities {
            copy: true,
            list: true,
            attributes: is_cloud,
            parts: is_cloud,
            delete_max: if self.flavour == Flavour::S3 { 1_000 } else { 100 },
            key_bytes_max: if is_cloud { 1_024 } else { 4_096 },
            in_place: false,
        }
    }

    fn describe(&self) -> String {
        self.described.clone()
    }

    fn directory(&self) -> Option<&std::path::Path> {
        self.root.as_ref().map(Root::path)
    }

    fn public_url(&self) -> Option<&str> {
        self.public_url.as_deref()
    }

    fn check_key(&self, key: &str) -> StorageResult<()> {
        self.path(key).map(drop)
    }

    fn interrupt(&self) {
        self.net.interrupt();
    }

    fn put(&self, put: &Put<'_>) -> StorageResult<Stored> {
        let path = self.path(put.key)?;
        self.check_root()?;
        for value in [Some(put.content_type), put.cache_control].into_iter().flatten() {
            if value.is_empty() || !value.bytes().all(|b| (0x20..0x7f).contains(&b)) {
                let why = scrub(&format!("`{value}` is no value of a header"), &self.secrets);
                return Err(StorageError::new(StorageFault::Rejected, why));
            }
        }
        let _claim = self.root.as_ref().map(|root| root.claim(put.key)).transpose()?;
        let size = put.source.size();
        let done = if size <= put.part_bytes {
            self.put_whole(path, put, size)?
        } else {
            Parts::put(self, path, put, size)?
        };
        Ok(stored(done.e_tag.as_deref()))
    }

    fn delete(&self, keys: &[&str]) -> Vec<StorageResult<()>> {
        if let Err(error) = self.check_root() {
            return vec![Err(error); keys.len()];
        }
        keys.chunks(self.capabilities().delete_max).flat_map(|some| self.delete_some(some)).collect()
    }

    fn copy(&self, from: &str, to: &str) -> StorageResult<Stored> {
        let (source, place) = (self.path(from)?, self.path(to)?);
        self.check_root()?;
        let _claim = self.root.as_ref().map(|root| root.claim(to)).transpose()?;
        // A directory copies by hard links, and renaming one name of a file to another one does nothing: the third
        // would be left over.
        let is_there = self.root.as_ref().map_or(Ok(false), |root| root.is_linked(from, to))?;
        let store = Arc::clone(&self.store);
        let meta = self.ask(self.limit(LONG, 0), async move {
            if !is_there {
                let answer = store.copy_opts(&source, &place, CopyOptions::new()).await;
                answer.map_err(|error| Failure::of_copy(&error))?;
            }
            copied(&*store, &place).await
        })?;
        Ok(stored(meta.e_tag.as_deref()))
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(Listed) -> bool) -> StorageResult<()> {
        self.check_root()?;
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        if let Some(root) = &self.root {
            if !prefix.is_empty() {
                // As a directory: its own name is held to less than that of an object.
                self.path(&format!("{prefix}/-"))?;
            }
            return root.list(prefix, &|key| self.path(key).is_ok(), each);
        }
        let (path, below) = match prefix {
            "" => (None, String::new()),
            _ => (Some(self.path(prefix)?), format!("{prefix}/")),
        };
        let limit = self.limit(LONG, 0);
        let store = Arc::clone(&self.store);
        let mut answer = self.ask(limit, async move { page(store.list(path.as_ref())).await })?;
        loop {
            let (found, rest) = answer;
            for one in found {
                // `object_store` cuts the slash of an object that stands for the prefix itself.
                if one.key.starts_with(&below) && !each(one) {
                    return Ok(());
                }
            }
            let Some(rest) = rest else { return Ok(()) };
            answer = self.ask(limit, page(rest))?;
        }
    }

    fn abort(&self, key: &str, upload_id: &str) -> StorageResult<()> {
        let Some(store) = self.parts.clone() else { return Ok(()) };
        if upload_id.is_empty() {
            return Ok(());
        }
        let (path, id) = (self.path(key)?, upload_id.to_owned());
        let done = self.ask(self.limit(REQUEST, 0), async move {
            store.abort_multipart(&path, &id).await.map_err(|error| Failure::of(&error))
        });
        match done {
            Err(error) if error.fault == StorageFault::NotFound => Ok(()),
            done => done,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    struct Memory {
        content: Vec<u8>,
        changed: bool,
        begun: Mutex<Vec<String>>,
    }

    impl Memory {
        fn new(content: impl Into<Vec<u8>>) -> Self {
            Self { content: content.into(), changed: false, begun: Mutex::new(Vec::new()) }
        }
    }

    impl Source for Memory {
        fn size(&self) -> u64 {
            self.content.len() as u64
        }

        fn read(&self, offset: u64, len: u64) -> StorageResult<Bytes> {
            let (begin, len) = (offset as usize, len as usize);
            Ok(Bytes::copy_from_slice(&self.content[begin..begin + len]))
        }

        fn check(&self) -> StorageResult<()> {
            if self.changed { Err(StorageError::new(StorageFault::Source, "it changed")) } else { Ok(()) }
        }

        fn begins(&self, upload_id: &str) -> StorageResult<()> {
            self.begun.lock().unwrap().push(upload_id.to_owned());
            Ok(())
        }
    }

    fn put_of<'a>(key: &'a str, source: &'a Memory) -> Put<'a> {
        Put { part_bytes: 10, parts_at_a_time: 3, ..Put::new(key, "text/plain", source) }
    }

    fn put(storage: &ObjectStorage, key: &str, content: &str) -> StorageResult<Stored> {
        storage.put(&put_of(key, &Memory::new(content)))
    }

    fn directory(path: &std::path::Path) -> ObjectStorage {
        ObjectStorage::connect(&Target::directory(path), &Credentials::none()).unwrap()
    }

    fn listed(storage: &ObjectStorage, prefix: &str) -> Vec<(String, u64)> {
        let mut found = Vec::new();
        let mut each = |one: Listed| {
            found.push((one.key, one.size));
            true
        };
        storage.list(prefix, &mut each).unwrap();
        found.sort();
        found
    }

    /// Every file, with those that are being written.
    fn on_disk(path: &std::path::Path) -> Vec<String> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                names.extend(on_disk(&path));
            } else {
                names.push(path.display().to_string());
            }
        }
        names.sort();
        names
    }

    #[test]
    fn a_directory_keeps_objects() {
        let dir = tempfile::tempdir().unwrap();
        let storage = directory(dir.path());
        let long = "0123456789".repeat(7) + "end";
        for (key, content) in
            [("a", "1"), ("x/y/b", long.as_str()), ("x/z", ""), ("xx", "2"), ("ü #%?+", "3")]
        {
            assert!(put(&storage, key, content).unwrap().etag.is_some());
            assert_eq!(std::fs::read_to_string(dir.path().join(key)).unwrap(), content);
        }
        put(&storage, "a", "new").unwrap();
        let all = [("a", 3_u64), ("x/y/b", 73), ("x/z", 0), ("xx", 1), ("ü #%?+", 1)];
        assert_eq!(listed(&storage, ""), all.map(|(key, size)| (key.to_owned(), size)));
        let below = [("x/y/b", 73_u64), ("x/z", 0)].map(|(key, size)| (key.to_owned(), size));
        assert_eq!(listed(&storage, "x"), below);
        assert_eq!(listed(&storage, "x/"), below);
        assert!(listed(&storage, "none").is_empty());

        for _ in 0..3 {
            storage.copy("a", "x/copy").unwrap();
        }
        put(&storage, "a", "newer").unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("x/copy")).unwrap(), "new");
        let missing = storage.copy("none", "b").unwrap_err();
        assert_eq!(missing.fault, StorageFault::NotFound);

        let deleted =
            storage.delete(&["a", "none", "x/y", "a/b", "x//", "x/y/b", "x/copy", "x/z", "xx", "ü #%?+"]);
        let refused = deleted.iter().map(|answer| answer.clone().err().map(|error| error.fault));
        let refused: Vec<_> = refused.enumerate().filter_map(|(at, fault)| Some((at, fault?))).collect();
        assert_eq!(refused, [(4, StorageFault::Rejected)]);
        assert_eq!(on_disk(dir.path()), [""; 0]);
        // A file in the place of what was a directory.
        put(&storage, "x", "file").unwrap();
    }

    #[test]
    fn a_file_that_changed_leaves_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let storage = directory(dir.path());
        put(&storage, "a", "old").unwrap();
        for content in ["short", "in several parts, one after another"] {
            let source = Memory { changed: true, ..Memory::new(content) };
            let error = storage.put(&put_of("a", &source)).unwrap_err();
            assert_eq!(error.fault, StorageFault::Source);
            assert_eq!(on_disk(dir.path()), [dir.path().join("a").display().to_string()]);
            assert_eq!(std::fs::read_to_string(dir.path().join("a")).unwrap(), "old");
        }
        std::fs::create_dir(dir.path().join("d")).unwrap();
        for content in ["short", "in several parts, one after another"] {
            for key in ["d", "a/below", "a/b/below"] {
                assert_eq!(put(&storage, key, content).unwrap_err().fault, StorageFault::Occupied, "{key}");
                assert_eq!(on_disk(dir.path()), [dir.path().join("a").display().to_string()]);
            }
        }
        assert_eq!(storage.copy("a", "d").unwrap_err().fault, StorageFault::Occupied);
        assert_eq!(storage.copy("a", "a/below").unwrap_err().fault, StorageFault::Occupied);
        assert_eq!(storage.copy("d", "b").unwrap_err().fault, StorageFault::NotFound);
        assert_eq!(storage.copy("a/below", "b").unwrap_err().fault, StorageFault::NotFound);
    }

    #[test]
    fn nothing_outside_of_a_directory_is_touched() {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir(elsewhere.path().join("d")).unwrap();
        std::fs::write(elsewhere.path().join("d/theirs"), "theirs").unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), dir.path().join("link")).unwrap();
        std::os::unix::fs::symlink(elsewhere.path().join("d/theirs"), dir.path().join("file")).unwrap();
        let storage = directory(dir.path());
        put(&storage, "own", "1").unwrap();
        assert_eq!(listed(&storage, ""), [("own".to_owned(), 1)]);
        let rejected = Some(StorageFault::Rejected);
        for key in ["link/new", "link/d/theirs", "link/d/new/new"] {
            for content in ["short", "in several parts, one after another"] {
                assert_eq!(put(&storage, key, content).err().map(|error| error.fault), rejected, "{key}");
            }
            assert_eq!(storage.copy("own", key).err().map(|error| error.fault), rejected, "{key}");
            assert_eq!(storage.copy(key, "new").err().map(|error| error.fault), rejected, "{key}");
        }
        let faults = |keys: &[&str]| -> Vec<Option<StorageFault>> {
            storage.delete(keys).into_iter().map(|answer| answer.err().map(|error| error.fault)).collect()
        };
        assert_eq!(faults(&["link/d/theirs", "none", "own"]), [rejected, None, None]);
        assert_eq!(storage.list("link", &mut |_| true).unwrap_err().fault, StorageFault::Rejected);
        // The link is a name in the directory, what it leads to is not.
        put(&storage, "file", "ours").unwrap();
        assert_eq!(listed(&storage, ""), [("file".to_owned(), 4)]);
        assert_eq!(faults(&["link"]), [None]);
        assert_eq!(on_disk(elsewhere.path()), [elsewhere.path().join("d/theirs").display().to_string()]);
        assert_eq!(std::fs::read_to_string(elsewhere.path().join("d/theirs")).unwrap(), "theirs");
    }

    #[test]
    fn a_directory_is_listed_with_the_tags_that_were_answered() {
        let dir = tempfile::tempdir().unwrap();
        let storage = directory(dir.path());
        let mut answered = Vec::new();
        for (key, content) in [("a", "1"), ("x#1/b", "in several parts, one after another"), ("empty", "")] {
            answered.push((key.to_owned(), put(&storage, key, content).unwrap().etag));
        }
        answered.push(("c".to_owned(), storage.copy("a", "c").unwrap().etag));
        std::fs::write(dir.path().join("a#1"), "being written").unwrap();
        let tags = |prefix: &str| {
            let mut found = Vec::new();
            let mut each = |one: Listed| {
                found.push((one.key, one.etag));
                true
            };
            storage.list(prefix, &mut each).unwrap();
            found.sort();
            found
        };
        answered.sort();
        assert_eq!(tags(""), answered);
        assert_eq!(tags("x#1").len(), 1);
        assert_eq!(storage.list("../x", &mut |_| true).unwrap_err().fault, StorageFault::Rejected);
    }

    #[test]
    fn keys_that_no_file_can_have_are_rejected() {
        let dir = tempfile::tempdir().unwrap();
        let storage = directory(dir.path());
        let (fits, full, long) = ("a".repeat(252), "a".repeat(255), "a".repeat(256));
        for (key, ok) in [
            ("a#", true),
            ("a#b", true),
            ("a#1#2", true),
            ("a#1/b", true),
            (fits.as_str(), true),
            (format!("{full}/a").as_str(), true),
            ("a#1", false),
            ("x/#007", false),
            (full.as_str(), false),
            (format!("{long}/a").as_str(), false),
            ("a/".repeat(2_048).as_str(), false),
            ("", false),
            ("/a", false),
            ("a/", false),
            ("a//b", false),
            ("a/../b", false),
            ("a\nb", false),
        ] {
            let answer = storage.check_key(key);
            assert_eq!(answer.is_ok(), ok, "{key}");
            if ok {
                put(&storage, key, "1").unwrap();
                storage.delete(&[key]).remove(0).unwrap();
            } else {
                let error = answer.unwrap_err();
                assert_eq!(error.fault, StorageFault::Rejected, "{error}");
                assert!(!error.message.contains('\n') && error.message.chars().count() <= 500);
            }
        }
    }

    #[test]
    fn another_directory_in_its_place_is_not_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        assert!(ObjectStorage::connect(&Target::directory(&path), &Credentials::none()).is_err());
        std::fs::create_dir(&path).unwrap();
        let storage = directory(&path);
        put(&storage, "a", "1").unwrap();
        std::fs::rename(&path, dir.path().join("unmounted")).unwrap();
        assert_eq!(put(&storage, "a", "1").unwrap_err().fault, StorageFault::Misconfigured);
        std::fs::create_dir(&path).unwrap();
        assert_eq!(put(&storage, "a", "1").unwrap_err().fault, StorageFault::Misconfigured);
        assert_eq!(storage.delete(&["a"])[0].clone().unwrap_err().fault, StorageFault::Misconfigured);
        let listed = storage.list("", &mut |_| true).unwrap_err();
        assert_eq!(listed.fault, StorageFault::Misconfigured);
        assert_eq!(on_disk(&path), [""; 0]);
    }

    /// Content that nobody could send.
    struct Endless;

    impl Source for Endless {
        fn size(&self) -> u64 {
            7 << 60
        }

        fn read(&self, _: u64, _: u64) -> StorageResult<Bytes> {
            unreachable!("nothing is read")
        }

        fn check(&self) -> StorageResult<()> {
            Ok(())
        }

        fn begins(&self, _: &str) -> StorageResult<()> {
            unreachable!("nothing is sent")
        }
    }

    #[test]
    fn a_file_that_no_store_takes_is_rejected_before_anything_is_sent() {
        let put = Put::new("a", "text/plain", &Endless);
        for storage in [s3("http://127.0.0.1:1".to_owned()), azure("http://127.0.0.1:1".to_owned())] {
            let error = storage.put(&put).unwrap_err();
            assert_eq!(error.fault, StorageFault::Rejected, "{error}");
        }
    }

    /// What a store was asked for.
    type Asked = Arc<Mutex<Vec<String>>>;

    /// Answers HTTP requests, each on a connection of its own: first line and body in, answer out.
    fn serve(answer: impl Fn(&str, &[u8]) -> String + Send + Sync + 'static) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(std::io::Result::ok) {
                let answer = Arc::clone(&answer);
                std::thread::spawn(move || answer_one(stream, &*answer));
            }
        });
        endpoint
    }

    fn answer_one(mut stream: TcpStream, answer: &dyn Fn(&str, &[u8]) -> String) {
        let mut got = Vec::new();
        let mut block = [0; 4096];
        let (head, body_at) = loop {
            if let Some(end) = got.windows(4).position(|four| four == b"\r\n\r\n") {
                break (String::from_utf8_lossy(&got[..end]).into_owned(), end + 4);
            }
            match stream.read(&mut block) {
                Ok(n) if n > 0 => got.extend_from_slice(&block[..n]),
                _ => return,
            }
        };
        let lower = head.to_ascii_lowercase();
        let len = lower.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
        while got.len() < body_at + len.unwrap_or(0) {
            match stream.read(&mut block) {
                Ok(n) if n > 0 => got.extend_from_slice(&block[..n]),
                _ => return,
            }
        }
        let text = answer(head.lines().next().unwrap_or_default(), &got[body_at..]);
        let _ = stream.write_all(text.as_bytes());
    }

    fn http(status: &str, header: &str, body: &str) -> String {
        let len = body.len();
        format!("HTTP/1.1 {status}\r\n{header}Content-Length: {len}\r\nConnection: close\r\n\r\n{body}")
    }

    fn tagged(tag: &str) -> String {
        http("200 OK", &format!("ETag: \"{tag}\"\r\n"), "")
    }

    fn s3(endpoint: String) -> ObjectStorage {
        let target = Target::s3("bucket").endpoint(endpoint);
        ObjectStorage::connect(&target, &Credentials::keys("id", "hushhush")).unwrap()
    }

    #[test]
    fn what_a_store_answers_is_compared_with_what_was_sent() {
        let endpoint = serve(|line, body| match line {
            _ if line.contains("/wrong") => tagged(&sum::hex(&sum::md5(b"else"))),
            _ if line.contains("/opaque") => tagged("no-sum"),
            _ => tagged(&sum::hex(&sum::md5(body))),
        });
        let storage = s3(endpoint);
        let stored = put(&storage, "a b/ü", "content").unwrap();
        assert_eq!(stored.etag.as_deref(), Some("9a0364b9e99bb480dd25e1f0284c8555"));
        assert!(put(&storage, "empty", "").is_ok());
        assert_eq!(put(&storage, "opaque", "content").unwrap().etag.as_deref(), Some("no-sum"));
        assert_eq!(put(&storage, "wrong", "content").unwrap_err().fault, StorageFault::Transient);
    }

    #[test]
    fn refusals_are_understood_and_hold_no_secret() {
        let body = "<Error><Code>SignatureDoesNotMatch</Code><Message>hushhush\r\n</Message></Error>";
        let endpoint = serve(move |line, _| match line {
            _ if line.contains("/slow") => http("503 Slow", "Retry-After: 7\r\n", ""),
            _ if line.contains("/denied") => http("403 Forbidden", "", body),
            _ if line.contains("/moved") => http("301 Moved", "Location: http://127.0.0.1:1/\r\n", ""),
            _ if line.contains("/broken") => String::new(),
            _ => http("404 Not Found", "", "<Error><Code>NoSuchBucket</Code></Error>"),
        });
        let storage = s3(endpoint);
        for (key, fault) in [
            ("slow", StorageFault::Throttled(Some(Duration::from_secs(7)))),
            ("denied", StorageFault::Denied),
            ("moved", StorageFault::Misconfigured),
            ("broken", StorageFault::Transient),
            ("other", StorageFault::Misconfigured),
        ] {
            let error = put(&storage, key, "content").unwrap_err();
            assert_eq!(error.fault, fault, "{key}: {error}");
            assert!(!error.message.contains("hush") && !error.message.contains('\n'), "{error}");
        }
        let nobody = s3("http://127.0.0.1:1".to_owned());
        assert_eq!(put(&nobody, "a", "content").unwrap_err().fault, StorageFault::Transient);
    }

    fn azure(endpoint: String) -> ObjectStorage {
        let target = Target::azure("account", "container").endpoint(endpoint);
        ObjectStorage::connect(&target, &Credentials::azure_key("aHVzaGh1c2g=")).unwrap()
    }

    #[test]
    fn a_copy_in_azure_is_one_when_it_has_been_made() {
        let looks = AtomicUsize::new(0);
        let endpoint = serve(move |line, _| {
            let tags = "ETag: \"0x1\"\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n";
            let status = match line {
                _ if line.starts_with("PUT") => return http("202 Accepted", tags, ""),
                _ if line.contains("/lost") => "failed",
                _ if looks.fetch_add(1, Ordering::Relaxed) == 0 => "pending",
                _ => "success",
            };
            http("200 OK", &format!("{tags}x-ms-copy-status: {status}\r\n"), "")
        });
        let storage = azure(endpoint);
        assert_eq!(storage.copy("a", "b").unwrap().etag.as_deref(), Some("0x1"));
        assert_eq!(storage.copy("a", "lost").unwrap_err().fault, StorageFault::Unsupported);
    }

    #[test]
    fn a_listing_is_whole_or_none() {
        let one = "<Contents><Key>p/a</Key><Size>1</Size><LastModified>2026-01-01T00:00:00Z</LastModified></Contents>";
        let cut = "<IsTruncated>true</IsTruncated>";
        let next = "<NextContinuationToken>t</NextContinuationToken>";
        for (body, begun) in [
            (format!("<Error><Code>InternalError</Code>{one}</Error>"), false),
            (format!("<ListBucketResult>{cut}{one}</ListBucketResult>"), false),
            // Its page is the next one again.
            (format!("<ListBucketResult>{cut}{next}{one}</ListBucketResult>"), true),
        ] {
            let answer = body.clone();
            let asked = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&asked);
            let storage = s3(serve(move |_, _| {
                count.fetch_add(1, Ordering::Relaxed);
                http("200 OK", "", &answer)
            }));
            let error = storage.list("p", &mut |_| true).unwrap_err();
            assert_eq!(error.fault, StorageFault::Transient, "{body}: {error}");
            assert_eq!(asked.load(Ordering::Relaxed), if begun { 2 } else { 1 }, "{body}");
        }
        let whole = format!("<ListBucketResult><IsTruncated>false</IsTruncated>{one}</ListBucketResult>");
        let storage = s3(serve(move |_, _| http("200 OK", "", &whole)));
        assert_eq!(listed(&storage, "p"), [("p/a".to_owned(), 1)]);
    }

    #[test]
    fn keys_that_azure_takes_for_others_are_rejected() {
        let storage = azure("http://127.0.0.1:1".to_owned());
        let (fits, many) = (["a"; 254].join("/"), ["a"; 255].join("/"));
        for key in ["a.b", ".a", "..a/b", "a%5Cb", fits.as_str()] {
            assert!(storage.check_key(key).is_ok(), "{key}");
        }
        for key in ["a\\b", "a.", "a./b", "...", many.as_str()] {
            assert_eq!(storage.check_key(key).unwrap_err().fault, StorageFault::Rejected, "{key}");
        }
    }

    #[test]
    fn a_large_file_is_sent_in_parts_and_a_cut_part_again() {
        let failed = AtomicUsize::new(0);
        let endpoint = serve(move |line, body| {
            if line.starts_with("POST") && line.contains("?uploads") {
                let answer = "<InitiateMultipartUploadResult><UploadId>id-7</UploadId></InitiateMultipartUploadResult>";
                return http("200 OK", "", answer);
            }
            if line.contains("partNumber=2&") && failed.fetch_add(1, Ordering::Relaxed) == 0 {
                return http("500 Oh", "", "");
            }
            if line.starts_with("PUT") {
                return tagged(&sum::hex(&sum::md5(body)));
            }
            let sums = [sum::md5(b"0123456789"), sum::md5(b"0123456789"), sum::md5(b"end")].concat();
            let tag = sum::of_parts(&sums, 3);
            let answer = "CompleteMultipartUploadResult";
            http("200 OK", "", &format!("<{answer}><ETag>\"{tag}\"</ETag></{answer}>"))
        });
        let storage = s3(endpoint);
        let source = Memory::new("01234567890123456789end");
        let stored = storage.put(&put_of("large", &source)).unwrap();
        assert!(stored.etag.is_some_and(|tag| tag.ends_with("-3")));
        assert_eq!(*source.begun.lock().unwrap(), ["id-7"]);
    }

    /// A store that has taken three parts, and what it answers when they are to be put together.
    fn with_parts(
        completed: impl Fn(&str) -> String + Send + Sync + 'static,
        found: &'static str,
    ) -> (String, Asked) {
        let asked = Asked::default();
        let log = Arc::clone(&asked);
        let endpoint = serve(move |line, body| {
            let method = line.split(' ').next().unwrap_or_default();
            log.lock().unwrap().push(method.to_owned());
            match method {
                "POST" if line.contains("?uploads") => {
                    let id = "<UploadId>id-7</UploadId>";
                    http(
                        "200 OK",
                        "",
                        &format!("<InitiateMultipartUploadResult>{id}</InitiateMultipartUploadResult>"),
                    )
                }
                "POST" => completed(&three_parts()),
                "PUT" => tagged(&sum::hex(&sum::md5(body))),
                "HEAD" if found.is_empty() => http("404 Not Found", "", ""),
                "HEAD" if found == "it" => tagged(&three_parts()),
                "HEAD" => tagged(found),
                // It is complete, and nothing is left to throw away.
                _ => http("404 Not Found", "", "<Error><Code>NoSuchUpload</Code></Error>"),
            }
        });
        (endpoint, asked)
    }

    const THREE_PARTS: &str = "01234567890123456789end";

    fn three_parts() -> String {
        sum::of_parts(&[sum::md5(b"0123456789"), sum::md5(b"0123456789"), sum::md5(b"end")].concat(), 3)
    }

    fn complete(key: &str, tag: &str) -> String {
        let told = format!("<Bucket>bucket</Bucket><Key>{key}</Key><ETag>&quot;{tag}&quot;</ETag>");
        http("200 OK", "", &format!("<CompleteMultipartUploadResult>{told}</CompleteMultipartUploadResult>"))
    }

    #[test]
    fn a_key_with_the_word_of_a_failure_is_put_in_parts() {
        for key in ["SlowDown.bin", "a/InternalError/b"] {
            for (opaque, tag) in [(false, three_parts()), (true, "no-sum".to_owned())] {
                let answered = tag.clone();
                let (endpoint, asked) = with_parts(move |_| complete(key, &answered), "");
                let target = Target::s3("bucket").endpoint(endpoint).opaque_etags(opaque);
                let storage = ObjectStorage::connect(&target, &Credentials::keys("id", "hushhush")).unwrap();
                let stored = put(&storage, key, THREE_PARTS).unwrap();
                assert_eq!(stored.etag, Some(tag), "{key}");
                // Nothing was asked for that the answer tells.
                assert_eq!(asked.lock().unwrap().len(), 5, "{key}: {asked:?}");
            }
        }
        // What was sent and what was put together differ, whatever the key.
        let other = sum::of_parts(&sum::md5(b"else"), 3);
        let (endpoint, _) = with_parts(move |_| complete("SlowDown", &other), "");
        assert_eq!(put(&s3(endpoint), "SlowDown", THREE_PARTS).unwrap_err().fault, StorageFault::Transient);
    }

    #[test]
    fn an_answer_that_was_lost_is_found_out() {
        type Answer = fn(&str) -> String;
        let refused = |code: &str| http("200 OK", "", &format!("<Error><Code>{code}</Code></Error>"));
        let answers: [(&str, Answer); 5] = [
            ("lost", |_| String::new()),
            ("cut", |tag| complete("large", tag).replace("</ETag>", "")),
            ("500", |_| http("500 Oh", "", "")),
            ("503", |_| http("503 Slow", "", "")),
            ("504", |_| http("504 Late", "", "")),
        ];
        for (what, answer) in answers {
            let (endpoint, asked) = with_parts(answer, "it");
            let stored = put(&s3(endpoint), "large", THREE_PARTS).unwrap_or_else(|e| panic!("{what}: {e}"));
            assert_eq!(stored.etag, Some(three_parts()), "{what}");
            let asked = asked.lock().unwrap();
            assert!(asked.ends_with(&["HEAD".to_owned(), "DELETE".to_owned()]), "{what}: {asked:?}");
        }
        // Another object, a tag that says nothing, or none: it has failed.
        for (found, code, fault) in [
            ("0cc175b9c0f1b6a831c399e269772661-3", "InternalError", StorageFault::Transient),
            ("no-sum", "SlowDown", StorageFault::Throttled(None)),
            ("", "InternalError", StorageFault::Transient),
        ] {
            let (endpoint, _) = with_parts(move |_| refused(code), found);
            assert_eq!(put(&s3(endpoint), "SlowDown", THREE_PARTS).unwrap_err().fault, fault, "{found}");
        }
        // Where tags are no sums, an object of the same size may be the old one.
        let (endpoint, asked) = with_parts(|_| String::new(), "it");
        let target = Target::s3("bucket").endpoint(endpoint).opaque_etags(true);
        let storage = ObjectStorage::connect(&target, &Credentials::keys("id", "hushhush")).unwrap();
        assert_eq!(put(&storage, "SlowDown", THREE_PARTS).unwrap_err().fault, StorageFault::Transient);
        assert!(!asked.lock().unwrap().contains(&"HEAD".to_owned()));
        // What is refused for good is not asked about.
        let (endpoint, asked) = with_parts(|_| http("403 Forbidden", "", ""), "it");
        assert_eq!(put(&s3(endpoint), "large", THREE_PARTS).unwrap_err().fault, StorageFault::Denied);
        assert!(!asked.lock().unwrap().contains(&"HEAD".to_owned()));
    }

    #[test]
    fn parts_are_thrown_away_when_one_of_them_fails() {
        let aborted = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&aborted);
        let endpoint = serve(move |line, _| {
            if line.starts_with("POST") {
                let answer = "<InitiateMultipartUploadResult><UploadId>id-7</UploadId></InitiateMultipartUploadResult>";
                return http("200 OK", "", answer);
            }
            if line.starts_with("DELETE") && line.contains("uploadId=id-7") {
                seen.fetch_add(1, Ordering::Relaxed);
                return http("204 No Content", "", "");
            }
            http("403 Forbidden", "", "")
        });
        let error = put(&s3(endpoint), "large", "in several parts, one after another").unwrap_err();
        assert_eq!((error.fault, aborted.load(Ordering::Relaxed)), (StorageFault::Denied, 1));
    }

    #[test]
    fn many_keys_are_deleted_at_once_and_each_has_its_answer() {
        let endpoint = serve(|line, body| {
            let body = String::from_utf8_lossy(body);
            if !line.starts_with("POST") || !line.contains("?delete") {
                return http("400 Bad", "", "");
            }
            if body.contains("none-of-it") {
                return http("403 Forbidden", "", "<Error><Code>AccessDenied</Code></Error>");
            }
            let error = |key: &str, code: &str| {
                format!("<Error><Key>{key}</Key><Code>{code}</Code><Message>why</Message></Error>")
            };
            let answers = error("kept", "AccessDenied") + &error("gone", "NoSuchKey");
            http(
                "200 OK",
                "",
                &format!("<DeleteResult><Deleted><Key>a</Key></Deleted>{answers}</DeleteResult>"),
            )
        });
        let storage = s3(endpoint);
        let faults = |keys: &[&str]| -> Vec<Option<StorageFault>> {
            storage.delete(keys).into_iter().map(|answer| answer.err().map(|error| error.fault)).collect()
        };
        let (denied, rejected) = (Some(StorageFault::Denied), Some(StorageFault::Rejected));
        assert_eq!(faults(&["a", "kept", "", "gone"]), [None, denied.clone(), rejected, None]);
        assert_eq!(faults(&["a", "none-of-it"]), [denied.clone(), denied]);
        assert!(faults(&[]).is_empty());
        // The answer names a key that was not asked about: `object_store` panics, and the caller does not.
        assert_eq!(faults(&["a", "b"]), [Some(StorageFault::Transient), Some(StorageFault::Transient)]);
    }

    /// A store that deletes: many objects as `many` answers, and one that is `kept` not at all.
    fn deleting(many: impl Fn(&str) -> String + Send + Sync + 'static) -> (ObjectStorage, Asked) {
        let asked = Asked::default();
        let log = Arc::clone(&asked);
        let endpoint = serve(move |line, body| {
            let mut words = line.split(' ');
            let (method, at) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            log.lock().unwrap().push(format!("{method} {at}"));
            match method {
                "POST" => many(&String::from_utf8_lossy(body)),
                "DELETE" if at.contains("kept") => {
                    http("403 Forbidden", "", "<Error><Code>AccessDenied</Code></Error>")
                }
                "DELETE" if at.contains("gone") => {
                    http("404 Not Found", "", "<Error><Code>NoSuchKey</Code></Error>")
                }
                _ => http("204 No Content", "", ""),
            }
        });
        (s3(endpoint), asked)
    }

    fn deleted(storage: &ObjectStorage, keys: &[&str]) -> Vec<Option<StorageFault>> {
        storage.delete(keys).into_iter().map(|answer| answer.err().map(|error| error.fault)).collect()
    }

    #[test]
    fn a_key_with_the_word_of_a_failure_is_deleted_by_itself() {
        // It names what it deleted, as stores do.
        let (storage, asked) = deleting(|body| {
            let keys = body.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
            let told: String = keys.map(|key| format!("<Deleted><Key>{key}</Key></Deleted>")).collect();
            let error = "<Error><Key>b</Key><Code>AccessDenied</Code><Message>no</Message></Error>";
            http("200 OK", "", &format!("<DeleteResult>{told}{error}</DeleteResult>"))
        });
        let denied = Some(StorageFault::Denied);
        let keys =
            ["SlowDown/kept", "a", "SlowDown", "b", "InternalError.txt", "", "x/SlowDown gone", "slowdown"];
        let rejected = Some(StorageFault::Rejected);
        assert_eq!(
            deleted(&storage, &keys),
            [denied.clone(), None, None, denied, None, rejected, None, None]
        );
        let mut asked = std::mem::take(&mut *asked.lock().unwrap());
        asked.sort();
        let one_by_one = ["InternalError.txt", "SlowDown", "SlowDown/kept", "x/SlowDown%20gone"];
        let mut expected: Vec<String> = one_by_one.map(|key| format!("DELETE /bucket/{key}")).to_vec();
        expected.push("POST /bucket?delete".to_owned());
        assert_eq!(asked, expected);
    }

    #[test]
    fn a_store_that_deletes_one_object_at_a_time_is_asked_so() {
        let denied = Some(StorageFault::Denied);
        for (status, code) in [
            ("501 Not Implemented", "NotImplemented"),
            ("400 Bad Request", "NotImplemented"),
            ("405 Method Not Allowed", "MethodNotAllowed"),
            ("405 Method Not Allowed", ""),
            ("501 Not Implemented", ""),
            ("400 Bad Request", "InvalidArgument"),
            ("400 Bad Request", "InvalidURI"),
            ("400 Bad Request", "MalformedPOSTRequest"),
        ] {
            let body =
                if code.is_empty() { String::new() } else { format!("<Error><Code>{code}</Code></Error>") };
            let (storage, asked) = deleting(move |_| http(status, "", &body));
            assert_eq!(
                deleted(&storage, &["a", "kept", "gone"]),
                [None, denied.clone(), None],
                "{status} {code}"
            );
            assert_eq!(asked.lock().unwrap().len(), 4, "{status} {code}: {asked:?}");
            asked.lock().unwrap().clear();
            assert_eq!(deleted(&storage, &["a"]), [None]);
            assert_eq!(*asked.lock().unwrap(), ["DELETE /bucket/a"], "{status} {code}");
        }
        // What cannot be read says nothing of any key; but the next are deleted together again.
        for told in [
            // Without a `Message`; of a key in another form; no XML at all.
            "<DeleteResult><Error><Key>kept</Key><Code>AccessDenied</Code></Error></DeleteResult>",
            "<DeleteResult><Error><Key>KEPT</Key><Code>AccessDenied</Code><Message>no</Message></Error></DeleteResult>",
            "<DeleteResult",
        ] {
            let (storage, asked) = deleting(move |_| http("200 OK", "", told));
            for _ in 0..2 {
                assert_eq!(deleted(&storage, &["a", "kept", "gone"]), [None, denied.clone(), None], "{told}");
                assert_eq!(std::mem::take(&mut *asked.lock().unwrap()).len(), 4, "{told}");
            }
        }
        // One key alone has an answer of its own, and one that is gone is deleted.
        let (storage, asked) = deleting(|_| http("501 Not Implemented", "", ""));
        assert_eq!((deleted(&storage, &["a"]), asked.lock().unwrap().len()), (vec![None], 2));
        assert_eq!((deleted(&storage, &["kept"]), asked.lock().unwrap().len()), (vec![denied.clone()], 3));

        // What is no word of that is asked again; and what works for none of them proves nothing.
        let (storage, asked) = deleting(|_| http("500 Oh", "", ""));
        let transient = Some(StorageFault::Transient);
        assert_eq!(deleted(&storage, &["a", "b"]), [transient.clone(), transient]);
        assert_eq!(asked.lock().unwrap().len(), 1);
        let (storage, asked) =
            deleting(|_| http("400 Bad", "", "<Error><Code>InvalidArgument</Code></Error>"));
        assert_eq!(deleted(&storage, &["kept", "kept-2"]), [denied.clone(), denied.clone()]);
        assert_eq!(deleted(&storage, &["kept", "kept-2"]), [denied.clone(), denied]);
        assert_eq!(asked.lock().unwrap().len(), 6);
    }
}
