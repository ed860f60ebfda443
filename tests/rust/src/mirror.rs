//! Mirrors in tests: a storage in memory that remembers every call and fails as it is told to, the naive
//! reference of what a remote copy holds, and the usual ways to open a mirror and to run it.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use treewarden::mirror::{
    Capabilities, Cloudflare, Credentials, Listed, Mirror, MirrorContext, MirrorOptions, MirrorReport, Purge,
    Put, Storage, StorageError, StorageFault, StorageResult, Stored, Target,
};

use crate::s3::{ACCESS_KEY, Request, SECRET_KEY};
use crate::world::{ROOT, World};

/// Key → content.
pub type Objects = BTreeMap<String, Vec<u8>>;

/// What the addresses of all objects begin with.
pub const PUBLIC: &str = "https://cdn.example/base";

/// The bucket of the mirrors to S3.
pub const BUCKET: &str = "bucket";

/// The zone of the CDN of the tests.
pub const ZONE: &str = "zone1";

/// The token of the CDN of the tests.
pub const TOKEN: &str = "cdn-token-of-the-tests";

/// The points of a run at which a child can be told to die.
pub const KILL_POINTS: [&str; 11] = [
    "mirror-begun",
    "mirror-sent",
    "mirror-parts",
    "mirror-answered",
    "mirror-acknowledged",
    "mirror-delete-begun",
    "mirror-deleted",
    "mirror-delete-noted",
    "mirror-purge-begun",
    "mirror-purged",
    "mirror-purge-noted",
];

/// One MiB.
pub const MIB: u64 = 1 << 20;

// ---------------------------------------------------------------------------------- the reference

/// What a remote copy of a directory must hold, according to `std::fs`: every file whose name is UTF-8 and can be
/// a key, under the prefix.
#[must_use]
pub fn naive(dir: &Path, prefix: &str) -> Objects {
    let mut objects = Objects::new();
    let mut open = vec![(dir.to_path_buf(), prefix.to_owned())];
    while let Some((path, above)) = open.pop() {
        for entry in fs::read_dir(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())) {
            let entry = entry.unwrap();
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.contains(|c: char| c.is_ascii_control() || matches!(c, '\u{fffe}' | '\u{ffff}')) {
                continue;
            }
            let key = if above.is_empty() { name } else { format!("{above}/{name}") };
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                open.push((entry.path(), key));
            } else if kind.is_file() {
                objects.insert(key, fs::read(entry.path()).unwrap());
            }
        }
    }
    objects
}

/// Compares two sets of objects and prints only the keys in which they differ.
pub fn assert_equal(what: &str, expected: &Objects, found: &Objects) {
    let mut lines = Vec::new();
    for (key, content) in expected {
        match found.get(key) {
            None => lines.push(format!("  lacks  {key:?}")),
            Some(other) if other != content => {
                lines.push(format!("  wants  {key:?}  {}", begin(content)));
                lines.push(format!("  found  {key:?}  {}", begin(other)));
            }
            Some(_) => {}
        }
    }
    lines.extend(
        found.keys().filter(|key| !expected.contains_key(*key)).map(|key| format!("  extra  {key:?}")),
    );
    let total = lines.len();
    lines.truncate(40);
    assert!(total == 0, "{what}: {total} lines differ\n{}", lines.join("\n"));
}

fn begin(content: &[u8]) -> String {
    let shown = &content[..content.len().min(24)];
    format!("{} bytes: {}", content.len(), shown.escape_ascii())
}

// ---------------------------------------------------------------------------------- opening and running

/// Everything of [`ROOT`], with short waits between attempts.
#[must_use]
pub fn options() -> MirrorOptions {
    MirrorOptions::new(ROOT).uploads_max(4).retry(3, Duration::from_millis(1), Duration::from_millis(4))
}

/// Opens the mirror `m` to a storage in memory.
#[must_use]
pub fn open(world: &World, options: &MirrorOptions, memory: &Arc<Memory>) -> Mirror {
    let storage: Arc<dyn Storage> = memory.clone();
    world.warden().mirror_with("m", options, storage, None).unwrap_or_else(|e| panic!("{options:?}: {e}"))
}

/// Runs it once. A run that is given up fails the test; one that leaves something does not.
pub fn run(mirror: &Mirror) -> MirrorReport {
    mirror.sync(&MirrorContext::new()).unwrap_or_else(|e| panic!("sync: {e}"))
}

/// Runs it once; nothing may be left.
pub fn finish(what: &str, mirror: &Mirror) -> MirrorReport {
    let report = run(mirror);
    assert!(report.is_complete(), "{what}: {report:?}");
    report
}

/// The options of every mirror to S3: small parts, and waits that a test can live with.
#[must_use]
pub fn s3_options() -> MirrorOptions {
    MirrorOptions::new(ROOT).prefix("img").uploads_max(4).part_bytes(5 * MIB).memory_bytes(20 * MIB).retry(
        5,
        Duration::from_millis(5),
        Duration::from_millis(40),
    )
}

/// [`BUCKET`] of a server of [`mod@crate::s3`].
#[must_use]
pub fn s3_target(endpoint: &str) -> Target {
    Target::s3(BUCKET).endpoint(endpoint).public_url(PUBLIC)
}

/// The keys that the server knows.
#[must_use]
pub fn s3_credentials() -> Credentials {
    Credentials::keys(ACCESS_KEY, SECRET_KEY)
}

/// The CDN of [`mod@crate::cdn`].
#[must_use]
pub fn cloudflare(endpoint: &str) -> Arc<dyn Purge> {
    let cdn = Cloudflare::new(ZONE, TOKEN).and_then(|cdn| cdn.endpoint(&format!("{endpoint}/client/v4")));
    Arc::new(cdn.unwrap_or_else(|e| panic!("{endpoint}: {e}")))
}

/// True for the begin of an upload in parts.
#[must_use]
pub fn begins(request: &Request) -> bool {
    request.method == "POST" && request.query.starts_with("uploads")
}

/// The key that a request to [`BUCKET`] puts, copies to or begins to send in parts.
#[must_use]
pub fn sends(request: &Request) -> Option<&str> {
    let key = request.path.strip_prefix("/bucket/")?;
    (request.method == "PUT" || begins(request)).then_some(key)
}

// ---------------------------------------------------------------------------------- the storage

/// What a storage was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// An object was to be put.
    Put(String),
    /// An object was to be copied.
    Copy {
        /// From this key.
        from: String,
        /// To this key.
        to: String,
    },
    /// Objects were to be deleted.
    Delete(Vec<String>),
    /// The objects were to be listed.
    List,
    /// Parts were to be thrown away.
    Abort(String),
}

/// An object in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its content.
    pub content: Vec<u8>,
    /// `Content-Type`; empty for one that a test planted.
    pub content_type: String,
    /// `Cache-Control`.
    pub cache_control: Option<String>,
}

type Script = Arc<dyn Fn(&Call) -> Option<StorageError> + Send + Sync>;
type Midway = Arc<dyn Fn(&str) + Send + Sync>;

/// A storage in memory. What is scripted may do anything but fail an assertion: it runs on threads of the engine.
pub struct Memory {
    objects: Arc<Mutex<BTreeMap<String, Kept>>>,
    calls: Mutex<Vec<Call>>,
    script: Mutex<Option<Script>>,
    midway: Mutex<Option<Midway>>,
    delete_max: usize,
    busy: AtomicUsize,
    busiest: AtomicUsize,
}

impl Memory {
    /// An empty one.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Self::over(Arc::default(), 1_000)
    }

    /// An empty one that deletes so many objects in one call at most.
    #[must_use]
    pub fn with_delete_max(keys: usize) -> Arc<Self> {
        Self::over(Arc::default(), keys)
    }

    /// The same objects, as another program or the same one with other credentials sees them: nothing is
    /// scripted, and no call is remembered.
    #[must_use]
    pub fn again(&self) -> Arc<Self> {
        Self::over(Arc::clone(&self.objects), self.delete_max)
    }

    fn over(objects: Arc<Mutex<BTreeMap<String, Kept>>>, delete_max: usize) -> Arc<Self> {
        Arc::new(Self {
            objects,
            calls: Mutex::default(),
            script: Mutex::default(),
            midway: Mutex::default(),
            delete_max,
            busy: AtomicUsize::new(0),
            busiest: AtomicUsize::new(0),
        })
    }

    /// Everything that is there.
    #[must_use]
    pub fn objects(&self) -> Objects {
        lock(&self.objects).iter().map(|(key, kept)| (key.clone(), kept.content.clone())).collect()
    }

    /// One object; it must be there.
    #[must_use]
    pub fn kept(&self, key: &str) -> Kept {
        lock(&self.objects).get(key).unwrap_or_else(|| panic!("no object {key:?}")).clone()
    }

    /// Puts an object behind the back of everybody.
    pub fn plant(&self, key: &str, content: &[u8]) {
        let kept = Kept { content: content.to_vec(), content_type: String::new(), cache_control: None };
        lock(&self.objects).insert(key.to_owned(), kept);
    }

    /// Removes an object behind the back of everybody; it must be there.
    pub fn take(&self, key: &str) {
        assert!(lock(&self.objects).remove(key).is_some(), "no object {key:?}");
    }

    /// The calls since the start or the last [`Memory::clear_calls`].
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.calls).clone()
    }

    /// Forgets the calls.
    pub fn clear_calls(&self) {
        lock(&self.calls).clear();
    }

    /// The keys of the calls that put something, sorted; one that was put twice is there twice.
    #[must_use]
    pub fn puts(&self) -> Vec<String> {
        let mut keys: Vec<String> = Vec::new();
        for call in self.calls() {
            if let Call::Put(key) = call {
                keys.push(key);
            }
        }
        keys.sort();
        keys
    }

    /// The copies that were asked for, sorted, as `from -> to`.
    #[must_use]
    pub fn copies(&self) -> Vec<String> {
        let mut copies: Vec<String> = Vec::new();
        for call in self.calls() {
            if let Call::Copy { from, to } = call {
                copies.push(format!("{from} -> {to}"));
            }
        }
        copies.sort();
        copies
    }

    /// The keys that were to be deleted, sorted.
    #[must_use]
    pub fn deletes(&self) -> Vec<String> {
        let mut keys: Vec<String> = Vec::new();
        for call in self.calls() {
            if let Call::Delete(batch) = call {
                keys.extend(batch);
            }
        }
        keys.sort();
        keys
    }

    /// Puts under way at one time, at most.
    #[must_use]
    pub fn busiest(&self) -> usize {
        self.busiest.load(Ordering::SeqCst)
    }

    /// Fails if anything was asked for since [`Memory::clear_calls`].
    pub fn assert_quiet(&self, what: &str) {
        let calls = self.calls();
        assert!(calls.is_empty(), "{what}: {calls:?}");
    }

    /// Asks `script` before every call; what it answers is the failure of that call.
    pub fn script(&self, script: impl Fn(&Call) -> Option<StorageError> + Send + Sync + 'static) {
        *lock(&self.script) = Some(Arc::new(script));
    }

    /// Calls `midway` in every put, when half of the content was read.
    pub fn midway(&self, midway: impl Fn(&str) + Send + Sync + 'static) {
        *lock(&self.midway) = Some(Arc::new(midway));
    }

    /// Everything works again.
    pub fn clear_script(&self) {
        *lock(&self.script) = None;
        *lock(&self.midway) = None;
    }

    fn enter(&self, call: &Call) -> StorageResult<()> {
        lock(&self.calls).push(call.clone());
        // Not under the lock: the script may take its time, and look at everything.
        let script = lock(&self.script).clone();
        match script.and_then(|script| script(call)) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn read(&self, put: &Put<'_>) -> StorageResult<Vec<u8>> {
        let (size, mut content) = (put.source.size(), Vec::new());
        let half = size / 2;
        if half > 0 {
            content.extend_from_slice(&put.source.read(0, half)?);
        }
        let midway = lock(&self.midway).clone();
        if let Some(midway) = midway {
            midway(put.key);
        }
        if size > half {
            content.extend_from_slice(&put.source.read(half, size - half)?);
        }
        put.source.check()?;
        Ok(content)
    }
}

/// A failure of this kind.
#[must_use]
pub fn failure(fault: StorageFault) -> StorageError {
    let message = format!("the test wants {fault:?}");
    StorageError::new(fault, message)
}

impl Storage for Memory {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.copy = true;
        capabilities.list = true;
        capabilities.attributes = true;
        capabilities.delete_max = self.delete_max;
        capabilities
    }

    fn describe(&self) -> String {
        // Another one is another place.
        format!("memory of the tests, {:p}", Arc::as_ptr(&self.objects))
    }

    fn public_url(&self) -> Option<&str> {
        Some(PUBLIC)
    }

    fn check_key(&self, key: &str) -> StorageResult<()> {
        if key.len() > 1_024 { Err(failure(StorageFault::Rejected)) } else { Ok(()) }
    }

    fn put(&self, put: &Put<'_>) -> StorageResult<Stored> {
        let busy = self.busy.fetch_add(1, Ordering::SeqCst) + 1;
        self.busiest.fetch_max(busy, Ordering::SeqCst);
        let content = self.enter(&Call::Put(put.key.to_owned())).and_then(|()| self.read(put));
        self.busy.fetch_sub(1, Ordering::SeqCst);
        let content = content?;
        let stored = Stored { etag: Some(etag(&content)) };
        let kept = Kept {
            content,
            content_type: put.content_type.to_owned(),
            cache_control: put.cache_control.map(str::to_owned),
        };
        lock(&self.objects).insert(put.key.to_owned(), kept);
        Ok(stored)
    }

    fn delete(&self, keys: &[&str]) -> Vec<StorageResult<()>> {
        let call = Call::Delete(keys.iter().map(|key| (*key).to_owned()).collect());
        if let Err(error) = self.enter(&call) {
            return keys.iter().map(|_| Err(error.clone())).collect();
        }
        let mut objects = lock(&self.objects);
        for key in keys {
            objects.remove(*key);
        }
        keys.iter().map(|_| Ok(())).collect()
    }

    fn copy(&self, from: &str, to: &str) -> StorageResult<Stored> {
        self.enter(&Call::Copy { from: from.to_owned(), to: to.to_owned() })?;
        let mut objects = lock(&self.objects);
        let kept = objects.get(from).cloned().ok_or_else(|| failure(StorageFault::NotFound))?;
        let stored = Stored { etag: Some(etag(&kept.content)) };
        objects.insert(to.to_owned(), kept);
        Ok(stored)
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(Listed) -> bool) -> StorageResult<()> {
        self.enter(&Call::List)?;
        let objects = lock(&self.objects).clone();
        for (key, kept) in objects.iter().filter(|(key, _)| key.starts_with(prefix)) {
            let (key, size) = (key.clone(), kept.content.len() as u64);
            if !each(Listed { key, size, etag: Some(etag(&kept.content)) }) {
                break;
            }
        }
        Ok(())
    }

    fn abort(&self, key: &str, _: &str) -> StorageResult<()> {
        self.enter(&Call::Abort(key.to_owned()))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// 32 hex digits that differ with the content, as an MD5 would.
fn etag(content: &[u8]) -> String {
    let half = |seed: u8| {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(seed);
        hasher.write(content);
        hasher.finish()
    };
    format!("{:016x}{:016x}", half(0), half(1))
}
