//! The engine's front door: one open state file and the threads behind it.

#[cfg(feature = "mirror")]
mod mirrors;
mod pipelines;
mod watch;

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::batch::{Batch, Space};
use crate::changes::{Changes, Cursor};
use crate::commit::{Engine, RootChange, Task};
use crate::error::{Error, Result};
use crate::journal::Token;
use crate::live::Live;
use crate::operation::Operation;
use crate::options::{Options, RootOptions, ScanOptions, VerifyOptions};
use crate::path::{self, escape};
use crate::root;
use crate::root_record::{RootIdentity, RootInfo, RootRecord, RootState};
use crate::scan::{self, Errand, Report, ScanContext, Scanner, Target, VerifyReport};
use crate::snapshot::Snapshot;
use crate::status::{self, Explanation, Status};
use crate::store::{Config, Faults, Rows, Store};
use crate::sys::{self, Errno};
use crate::work::Work;

/// An open state file: roots, scans, snapshots, the journal, and the program's own state.
///
/// Cheap to clone; clones are the same warden. All methods may be called from any thread. The
/// methods that change something wait until it is durable (see [`crate::Durability`]); reading
/// never waits for them. The file is closed when the last clone is gone, or by [`Warden::close`].
///
/// A warden does not survive `fork`: in the child its methods answer `Forked`, and dropping it does nothing.
/// Snapshots stay readable there. The lock of the file stays with the parent and with children that do not
/// `exec`.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// # let (state, photos) = (dir.path().join("state.tw"), dir.path().join("photos"));
/// # std::fs::create_dir(&photos).unwrap();
/// # std::fs::write(photos.join("a.jpg"), "x").unwrap();
/// use treewarden::Warden;
///
/// let warden = Warden::open(&state)?;
/// warden.add_root("photos", &photos)?;
/// let report = warden.scan("photos")?;
/// assert_eq!(report.added, 1);
///
/// let snapshot = warden.snapshot();
/// let entry = snapshot.get("photos/a.jpg").expect("just scanned");
/// assert_eq!(entry.size(), 1);
/// # Ok::<(), treewarden::Error>(())
/// ```
#[derive(Clone)]
pub struct Warden {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Arc<Engine>,
    scanner: Arc<Scanner>,
    live: Arc<Live>,
    work: Arc<Work>,
    #[cfg(feature = "mirror")]
    mirrors: Arc<crate::mirror::Mirrors>,
    /// On the clock that is never set.
    opened_ns: i64,
}

impl Inner {
    fn close(&self) -> Result<()> {
        self.engine.check_process()?;
        // Whoever waits for an event or a commit is woken first: the rest may take a moment.
        self.engine.hub.close();
        self.engine.signal.close();
        self.work.close();
        #[cfg(feature = "mirror")]
        self.mirrors.close();
        self.live.close();
        self.engine.close()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.engine.is_forked() {
            // Its threads are not here to be waited for, its locks may be held by them, and unlocking the file
            // would unlock it for the parent: it stays as it is until the child ends.
            std::mem::forget(Arc::clone(&self.engine));
            std::mem::forget(Arc::clone(&self.scanner));
            std::mem::forget(Arc::clone(&self.live));
            std::mem::forget(Arc::clone(&self.work));
            #[cfg(feature = "mirror")]
            std::mem::forget(Arc::clone(&self.mirrors));
            return;
        }
        let _ = self.close();
    }
}

impl std::fmt::Debug for Warden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Warden").field("path", &self.inner.engine.store.path()).finish_non_exhaustive()
    }
}

/// The result of a compaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactReport {
    /// Size of the file before, in bytes.
    pub before_bytes: u64,
    /// Size of the file after, in bytes.
    pub after_bytes: u64,
}

/// The result of a rebuild.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RebuildReport {
    /// Roots saved.
    pub roots: u64,
    /// Files and symlinks saved.
    pub entries: u64,
    /// Rows that could not be read.
    pub lost_rows: u64,
    /// Values of spaces saved.
    pub spaces_rows: u64,
    /// Where the damaged file is kept.
    pub kept_as: PathBuf,
}

impl Warden {
    /// Opens the state file at `path`, or creates it (mode 0600, never through a symlink).
    ///
    /// Opening changes nothing on disk. The file is locked: a second opener gets `Busy`.
    ///
    /// # Errors
    ///
    /// `Busy`, `NotAStateFile`, `NewerFormat`, `Corrupt`, `ReadOnly`, `PermissionDenied`,
    /// `StorageFull` or `Io`; `NotFound` where the directory does not exist.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Options::default().open(path)
    }

    /// Returns options to open with.
    #[must_use]
    pub fn options() -> Options {
        Options::default()
    }

    pub(crate) fn open_with(path: &Path, options: Options) -> Result<Self> {
        Self::open_faulty(path, options, Faults::default())
    }

    pub(crate) fn open_faulty(path: &Path, options: Options, faults: Faults) -> Result<Self> {
        let config = Config::new(options.create, options.read_only, options.cache_bytes, faults);
        let store = Store::open(path, config)?;
        let loaded = store.load()?;
        let engine = Engine::start(store, loaded, options)?;
        let scanner = Arc::new(Scanner::default());
        let live = Arc::new(Live::new(Arc::clone(&engine), Arc::clone(&scanner)));
        let work = Arc::new(Work::new(Arc::clone(&engine)));
        #[cfg(feature = "mirror")]
        let mirrors = Arc::new(crate::mirror::Mirrors::new(Arc::clone(&engine)));
        let opened_ns = engine.options.clock.mono_ns();
        let inner = Inner {
            engine,
            scanner,
            live,
            work,
            #[cfg(feature = "mirror")]
            mirrors,
            opened_ns,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    #[cfg(feature = "testing")]
    pub(crate) fn live(&self) -> &Live {
        &self.inner.live
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.inner.engine
    }

    pub(crate) fn uptime_ms(&self) -> u64 {
        let now_ns = self.engine().options.clock.mono_ns();
        now_ns.saturating_sub(self.inner.opened_ns).max(0).unsigned_abs() / 1_000_000
    }

    /// Adds a directory tree as a root. Nothing is scanned yet.
    ///
    /// Roots may lie inside one another: a path belongs to the most specific of them.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` when the name or the directory is taken, `InvalidArgument` for a bad name or
    /// something that is not a directory, `NotFound`, `PermissionDenied`.
    pub fn add_root(&self, name: &str, dir: impl AsRef<Path>) -> Result<RootInfo> {
        self.add_root_with(name, dir, &RootOptions::default())
    }

    /// Adds a directory tree as a root, with ignore rules, content hashes or another comparison.
    ///
    /// # Errors
    ///
    /// As [`Warden::add_root`].
    pub fn add_root_with(
        &self,
        name: &str,
        dir: impl AsRef<Path>,
        options: &RootOptions,
    ) -> Result<RootInfo> {
        path::check_name("root", name)?;
        options.ignore.compile()?;
        let (path, identity) = examine(dir.as_ref())?;
        let record = RootRecord {
            id: 0,
            name: name.to_owned(),
            path,
            identity,
            compare_asked: options.compare,
            compare: root::compare_for(options.compare, identity.fs_type),
            content_hash: options.content_hash,
            ignore: options.ignore.patterns().to_vec(),
            live_node: 0,
            gone_node: 0,
            state: RootState::New,
            last_scan_ns: 0,
            rules_digest: 0,
            adopt: false,
            rebuilt: false,
            last_full_ns: 0,
        };
        self.engine().submit(Task::AddRoot(Box::new(record)))?;
        self.inner.live.roots_changed();
        self.root_info(name)
    }

    /// Changes ignore rules, content hashes and comparison of a root; the next scan applies them.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown root.
    pub fn set_root_options(&self, name: &str, options: &RootOptions) -> Result<RootInfo> {
        options.ignore.compile()?;
        let options = options.clone();
        self.change_root(name, move |record| {
            record.compare_asked = options.compare;
            record.compare = root::compare_for(options.compare, record.identity.fs_type);
            record.content_hash = options.content_hash;
            record.ignore = options.ignore.patterns().to_vec();
        })
    }

    fn change_root(
        &self,
        name: &str,
        change: impl FnOnce(&mut RootRecord) + Send + 'static,
    ) -> Result<RootInfo> {
        let view = self.engine().root(name.as_bytes())?;
        self.engine().submit(Task::ChangeRoot(RootChange::new(view.record.id, change), None))?;
        self.inner.live.roots_changed();
        self.root_info(name)
    }

    /// Removes a root with everything known about it: entries, tombstones, attributes. The files
    /// themselves are not touched. The journal says `forgotten` for each entry.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown root.
    pub fn remove_root(&self, name: &str) -> Result<()> {
        let view = self.engine().root(name.as_bytes())?;
        self.engine().submit(Task::RemoveRoot(view.record.id))?;
        self.inner.live.roots_changed();
        Ok(())
    }

    /// Says that the tree of a root lies in another directory now, or that a directory recreated
    /// under the old path is to be taken for it. Ids, attributes and history stay. On another file
    /// system the next whole scan takes up the new inode numbers silently: what has the same size
    /// and mtime is unchanged.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown root, and as [`Warden::add_root`] for the directory.
    pub fn move_root(&self, name: &str, dir: impl AsRef<Path>) -> Result<RootInfo> {
        let (path, identity) = examine(dir.as_ref())?;
        let known = self.engine().root(name.as_bytes())?.live.totals;
        self.change_root(name, move |record| {
            let has_entries = known.files + known.dirs > 0 || record.state != RootState::New;
            record.adopt |= record.identity != identity && has_entries;
            (record.path, record.identity) = (path, identity);
            record.compare = root::compare_for(record.compare_asked, identity.fs_type);
            if matches!(record.state, RootState::Unavailable { .. }) {
                record.state = record.state_once_there();
            }
        })
    }

    /// Returns all roots in order of their names.
    #[must_use]
    pub fn roots(&self) -> Vec<RootInfo> {
        let shared = self.engine().load();
        shared
            .tree()
            .map(|tree| tree.roots.iter().map(|r| status::root_info(r)).collect())
            .unwrap_or_default()
    }

    fn root_info(&self, name: &str) -> Result<RootInfo> {
        Ok(status::root_info(&*self.engine().root(name.as_bytes())?))
    }

    /// Scans a root or part of one, `music` or `music/2024`, and applies what it finds as one
    /// commit. A scan that finds nothing new writes not one byte.
    ///
    /// A root that is unavailable, or a result that is held, is said in the report.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for something that is not an address, `NotFound` for an unknown root, and
    /// what the store says.
    pub fn scan(&self, target: impl AsRef<[u8]>) -> Result<Report> {
        let options = ScanOptions::new().target(target);
        let mut reports = self.scan_with(&options, &ScanContext::new())?;
        reports.pop().ok_or_else(|| Error::invalid("there is nothing to scan"))
    }

    /// Scans what the options name, root by root; without a target all roots. One report for each
    /// target. A root that cannot be scanned does not stop the others.
    ///
    /// # Errors
    ///
    /// As [`Warden::scan`]; nothing is scanned when a target is wrong. When some targets fail and
    /// others do not, the failures are in their reports.
    pub fn scan_with(&self, options: &ScanOptions, context: &ScanContext) -> Result<Vec<Report>> {
        self.engine().usable()?;
        let mut targets: Vec<(String, Vec<u8>)> = Vec::new();
        for address in &options.targets {
            let (name, below) = path::parse(address)?;
            let view = self.engine().root(name)?;
            targets.push((view.record.name.clone(), below.to_vec()));
        }
        if options.targets.is_empty() {
            targets = self.roots().into_iter().map(|r| (r.name, Vec::new())).collect();
        }
        let mut reports = Vec::with_capacity(targets.len());
        let mut failed = None;
        for (name, below) in &targets {
            let target = Target::Subtree(below);
            let root = self.engine().root(name.as_bytes()).map_or(0, |view| view.record.id);
            let errand = Errand { escort: self.inner.live.escort(root), ..Errand::default() };
            let given = (options, context);
            match scan::scan(self.engine(), &self.inner.scanner, name, target, given, Some(&errand)) {
                Ok(report) => reports.push(report),
                Err(error) => {
                    reports.push(Report::failed(name, options.mode, self.seq(), &error));
                    failed.get_or_insert(error);
                }
            }
        }
        // Reports of the others are worth more than one error; alone, the error says it better.
        match failed {
            Some(error) if reports.iter().all(Report::has_failed) => Err(error),
            _ => Ok(reports),
        }
    }

    /// Takes the current snapshot. Lock-free, no syscall.
    #[must_use]
    #[inline]
    pub fn snapshot(&self) -> Snapshot {
        self.engine().snapshot()
    }

    /// Returns the number of the last commit.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.engine().load().seq()
    }

    /// Iterates over every change after `since`, oldest first, up to now. 0 means from the beginning.
    ///
    /// # Errors
    ///
    /// `Reset` when the journal no longer reaches back that far, or has not come that far: read the
    /// snapshot and go on from [`Error::restart_seq`].
    pub fn changes(&self, since: u64) -> Result<Changes> {
        Changes::since(self.engine(), since)
    }

    /// As [`Warden::changes`], from a token.
    ///
    /// # Errors
    ///
    /// `Reset` also when the token belongs to another database.
    pub fn changes_since_token(&self, token: &Token) -> Result<Changes> {
        Changes::since_token(self.engine(), token)
    }

    /// Returns the present place in the journal.
    #[must_use]
    pub fn token(&self) -> Token {
        Token { database: self.engine().database, seq: self.seq() }
    }

    /// Returns the durable cursor of that name. It comes into being with its first advance and
    /// starts at 0.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a bad name.
    pub fn cursor(&self, name: &str) -> Result<Cursor> {
        Cursor::new(self, name)
    }

    /// Lists the cursors with their places.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub fn cursors(&self) -> Result<Vec<(String, u64)>> {
        self.engine().store.read(Rows::cursors)
    }

    /// Returns the attributes of an entry, there or missing.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown entry.
    pub fn attrs(&self, address: impl AsRef<[u8]>) -> Result<BTreeMap<String, Vec<u8>>> {
        let address = address.as_ref();
        path::parse(address)?;
        let snapshot = self.snapshot();
        let entry = snapshot.get(address).or_else(|| snapshot.get_missing(address));
        let id = entry.map(|e| e.id()).ok_or_else(|| status::unknown_entry(address))?;
        self.engine().store.read(|rows| rows.attrs(id))
    }

    /// Sets attributes of an entry, or removes those given as `None`. They follow the entry when it
    /// moves, and go when it is forgotten. All of one entry take at most 64 KiB.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown entry, `TooLarge`, `InvalidArgument` for a bad name.
    pub fn set_attrs<'a>(
        &self,
        address: impl AsRef<[u8]>,
        attrs: impl IntoIterator<Item = (&'a str, Option<&'a [u8]>)>,
    ) -> Result<u64> {
        let address = address.as_ref();
        let mut batch = self.batch();
        for (name, value) in attrs {
            batch = match value {
                Some(value) => batch.set_attr(address, name, value),
                None => batch.remove_attr(address, name),
            };
        }
        batch.commit()
    }

    /// Returns a named key-value space.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a bad name.
    pub fn space(&self, name: &str) -> Result<Space> {
        Space::new(self, name)
    }

    /// Begins a batch over spaces, attributes and cursors.
    pub fn batch(&self) -> Batch {
        Batch::new(self)
    }

    /// Returns the state of the engine and its roots.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub fn status(&self) -> Result<Status> {
        self.engine().check_process()?;
        let (live, pipelines) = (self.inner.live.status(), self.inner.work.status()?);
        Ok(Status { live, pipelines, ..status::status(self.engine())? })
    }

    /// Returns the newest operations, newest first.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub fn history(&self, limit: usize) -> Result<Vec<Operation>> {
        self.engine().store.read(|rows| rows.operations(limit))
    }

    /// Tells all that is known about one address, and why.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for something that is not an address, `NotFound` for an unknown root.
    pub fn explain(&self, address: impl AsRef<[u8]>) -> Result<Explanation> {
        status::explain(self.engine(), address.as_ref())
    }

    /// Compares the disk with the state, and changes neither.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown root, `Cancelled`.
    pub fn verify(&self, options: &VerifyOptions, context: &ScanContext) -> Result<VerifyReport> {
        self.engine().usable()?;
        scan::verify(self.engine(), &self.inner.scanner, options, context)
    }

    /// Reads every row of the state file and checks it.
    ///
    /// # Errors
    ///
    /// `Corrupt` when one is damaged.
    pub fn check(&self) -> Result<()> {
        self.engine().check()
    }

    /// Rewrites the state file without its free space, if that makes it smaller. Commits wait meanwhile, readers do not. Needs
    /// room for a second copy.
    ///
    /// # Errors
    ///
    /// `StorageFull`, `ReadOnly`, `Io`; the old file stays in place.
    pub fn compact(&self) -> Result<CompactReport> {
        let (before_bytes, after_bytes) = self.engine().compact()?;
        Ok(CompactReport { before_bytes, after_bytes })
    }

    /// Applies the retention of tombstones and journal now; every scan that commits does so too.
    /// Returns how many files and symlinks were forgotten.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub fn maintain(&self) -> Result<u64> {
        self.engine().maintain()
    }

    /// Salvages a damaged state file: what can be read goes into a new file under the same name,
    /// the damaged one is kept as `NAME.damaged-N`. Consumers of the journal get a `Reset`. Scan
    /// afterwards: the trees are the truth, and until a whole scan each root is [`RootState::New`].
    ///
    /// # Errors
    ///
    /// `Busy`, `NotFound`, `NotAStateFile`, `StorageFull`, `Io`.
    pub fn rebuild(path: impl AsRef<Path>) -> Result<RebuildReport> {
        let salvage = Store::rebuild(path.as_ref())?;
        Ok(RebuildReport {
            roots: salvage.roots,
            entries: salvage.entries,
            lost_rows: salvage.lost_rows,
            spaces_rows: salvage.spaces_rows,
            kept_as: salvage.kept_as,
        })
    }

    /// Ends the engine for all clones: stops watching, wakes whoever waits, waits for commits under way, and
    /// refuses new ones; scans that the engine started are cancelled. Snapshots stay readable. The file is closed and its lock released, at the latest with the last
    /// [`Changes`] that is under way. Closing twice does nothing.
    ///
    /// # Errors
    ///
    /// With [`crate::Durability::Relaxed`], when the last commits could not be made durable.
    pub fn close(self) -> Result<()> {
        self.inner.close()
    }
}

/// Resolves and examines the directory of a root.
fn examine(dir: &Path) -> Result<(PathBuf, RootIdentity)> {
    let bytes = dir.as_os_str().as_bytes();
    if bytes.is_empty() {
        return Err(
            Error::invalid("the directory of a root is empty").with_hint("`.` is the current directory")
        );
    }
    let absolute = dir.canonicalize().map_err(|e| Error::io("find the directory", bytes, e))?;
    let fd = sys::open_root(&absolute).map_err(|e| match e {
        Errno::NOTDIR => Error::invalid(format!("`{}` is not a directory", escape(bytes)))
            .with_path(bytes)
            .with_hint("a root is a directory; scan the one that holds the file"),
        e => Error::io("open the directory", bytes, e.into()),
    })?;
    let (identity, _) =
        root::identity(&fd).map_err(|e| Error::io("examine the directory", bytes, e.into()))?;
    Ok((absolute, identity))
}
