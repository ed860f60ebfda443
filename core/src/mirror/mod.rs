//! A root in step with a remote copy, and a CDN told of it; behind the feature `mirror`.
//!
//! What should be there follows from a [`Snapshot`](crate::Snapshot), what is there is kept in the state file, one
//! row for each object that a storage has acknowledged. A run sends and deletes the difference: when nothing
//! changed it makes no request at all, and after a crash it goes on where it stopped.
//!
//! ```no_run
//! use treewarden::Warden;
//! use treewarden::mirror::{Credentials, MirrorContext, MirrorOptions, Target};
//!
//! let warden = Warden::open("state.tw")?;
//! let target = Target::s3("photos").region("eu-central-1").public_url("https://cdn.example.com");
//! let credentials = Credentials::keys("id", "secret");
//! let options = MirrorOptions::new("photos/public");
//! let mirror = warden.mirror_to("cdn", &options, &target, &credentials)?;
//! let report = mirror.sync(&MirrorContext::new())?;
//! println!("{} sent, {} deleted", report.uploaded, report.deleted);
//! println!("{:?}", mirror.urls().url("photos/public/a.jpg"));
//! # Ok::<(), treewarden::Error>(())
//! ```
//!
//! Everything is callable from any thread. Calls that use the network block until they are over; a cancel token
//! ends them within a part of a file.

mod audit;
mod credentials;
mod crew;
mod follow;
mod key;
mod object;
mod options;
mod outbox;
mod pace;
mod plan;
mod purge;
mod purging;
mod report;
mod run;
mod shared;
mod source;
mod storage;
mod target;
mod urls;

use std::any::Any;
use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::commit::{Engine, Task, WorkTask};
use crate::error::{Error, ErrorKind, Result};
use crate::path::{check_name, escape, split_root};
use crate::root_record::RootState;
use crate::store::Owner;

pub use audit::{AuditFinding, AuditKind, AuditOptions, AuditReport};
pub use credentials::Credentials;
pub use follow::Following;
pub use options::MirrorOptions;
pub use purge::{Cloudflare, Purge, PurgeError, PurgeFault};
pub use report::{
    MirrorContext, MirrorCounters, MirrorError, MirrorPlan, MirrorProgress, MirrorReport, MirrorStatus,
    MirrorStep,
};
pub use storage::{
    Capabilities, Listed, LocalStorage, Put, Source, Storage, StorageError, StorageFault, StorageResult,
    Stored,
};
pub use target::Target;
pub use urls::{UrlChange, UrlMap};

use options::Row;
use shared::Shared;

/// The mirrors of one warden.
pub(crate) struct Mirrors {
    engine: Arc<Engine>,
    open: Mutex<HashMap<String, Arc<Shared>>>,
}

/// A mirror as it is stored.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct MirrorInfo {
    /// Its name.
    pub name: String,
    /// What it copies, and within which limits.
    pub options: MirrorOptions,
    /// Where to, for people.
    pub place: String,
    /// Where to; `None` for a storage that a program brings along.
    pub target: Option<Target>,
}

impl Mirrors {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self { engine, open: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Shared>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rows(&self) -> Result<Vec<(u32, Row)>> {
        let mut all = Vec::new();
        for (id, row) in self.engine.store.read(|rows| rows.owners(Owner::Mirror))? {
            all.push((id, Row::decode(&row).map_err(|_| outbox::damaged("a mirror"))?));
        }
        all.sort_by(|a, b| a.1.name.cmp(&b.1.name));
        Ok(all)
    }

    fn row(&self, name: &str) -> Result<Option<(u32, Row)>> {
        Ok(self.rows()?.into_iter().find(|(_, row)| row.name == name))
    }

    /// Every mirror, by name.
    pub(crate) fn list(&self) -> Result<Vec<MirrorInfo>> {
        let info = |(_, row): (u32, Row)| MirrorInfo {
            name: row.name,
            options: row.options,
            place: row.place,
            target: row.target,
        };
        Ok(self.rows()?.into_iter().map(info).collect())
    }

    /// Opens a mirror: it comes into being, or takes these options up.
    pub(crate) fn open_with(
        &self,
        name: &str,
        options: &MirrorOptions,
        target: Option<&Target>,
        storage: Arc<dyn Storage>,
        cdn: Option<Arc<dyn Purge>>,
    ) -> Result<Arc<Shared>> {
        check_name("mirror", name)?;
        options.check()?;
        let root = split_root(options.address()).0;
        match &self.engine.root(root)?.record.state {
            RootState::Unavailable { reason } => {
                let text = format!("root `{}` cannot be mirrored: {reason}", escape(root));
                return Err(Error::new(ErrorKind::Unavailable, text).with_path(root));
            }
            RootState::New | RootState::Ready | RootState::Held { .. } => {}
        }
        if let Some(dir) = target.and_then(Target::dir) {
            self.check_apart(&dir.join(options.get_prefix()))?;
        }
        let mut open = self.lock();
        let before = self.row(name)?;
        let place = storage.describe();
        if let Some((_, before)) = &before
            && (before.place != place || !before.options.same_place(options))
        {
            let (name, old) = (escape(name.as_bytes()), escape(before.place.as_bytes()));
            let text = format!("mirror `{name}` copies `{}` to {old}", escape(before.options.address()));
            return Err(Error::invalid(text)
                .with_hint("its objects are there: remove the mirror, and add one for the other place"));
        }
        for (_, other) in self.rows()? {
            let (a, b) = (options.get_prefix(), other.options.get_prefix());
            let overlap = is_prefix_of(a, b) || is_prefix_of(b, a);
            if other.name != name && other.place == place && overlap {
                let text =
                    format!("mirror `{}` copies to the same place already", escape(other.name.as_bytes()));
                return Err(Error::invalid(text)
                    .with_hint("each would delete the objects of the other: give it a prefix"));
            }
        }
        let root = match &before {
            Some((_, before)) => before.root,
            None => self.engine.root(root)?.record.id,
        };
        let row =
            Row { name: name.to_owned(), options: options.clone(), root, place, target: target.cloned() };
        let id = match &before {
            Some((id, before)) if *before == row => *id,
            before => {
                let (owner, id) = (Owner::Mirror, before.as_ref().map(|(id, _)| *id));
                let id = self.engine.submit(Task::Work(WorkTask::Put { owner, id, row: row.encode() }))?;
                u32::try_from(id).unwrap_or(u32::MAX)
            }
        };
        if open.get(name).is_some_and(|shared| shared.is_within_run()) {
            return Err(Error::new(
                ErrorKind::Busy,
                "a mirror cannot be opened anew from within its own run",
            ));
        }
        if let Some(shared) = open.get(name) {
            // Other credentials make it another one; the same storage is taken as it is.
            let is_same_cdn = match (&shared.cdn, &cdn) {
                (Some(a), Some(b)) => Arc::ptr_eq(a, b),
                (None, None) => true,
                _ => false,
            };
            if Arc::ptr_eq(&shared.storage, &storage) && is_same_cdn {
                shared.change(&row)?;
                return Ok(Arc::clone(shared));
            }
            shared.end();
            // A run of the old one is over before the new one reads what it wrote.
            shared.wait_ended();
        }
        let shared = Arc::new(Shared::open(&self.engine, id, &row, storage, cdn)?);
        open.insert(name.to_owned(), Arc::clone(&shared));
        Ok(shared)
    }

    /// Fails when a directory that is written to holds a root, or lies in one: what is copied would be copied again,
    /// or be the file itself.
    fn check_apart(&self, dir: &Path) -> Result<()> {
        let mut real = dir.to_owned();
        let mut rest = PathBuf::new();
        // Of what is not there yet, the place where it will be.
        while let Err(error) = real.canonicalize() {
            let Some(name) = real.file_name().filter(|_| error.kind() == std::io::ErrorKind::NotFound) else {
                break;
            };
            rest = Path::new(name).join(&rest);
            real.pop();
        }
        let real = real.canonicalize().unwrap_or(real).join(rest);
        for root in &self.engine.snapshot().roots_of_tree().to_vec() {
            if real.starts_with(&root.record.path) || root.record.path.starts_with(&real) {
                let text = format!(
                    "root `{}` and the directory of the mirror lie in one another",
                    escape(root.record.name.as_bytes())
                );
                return Err(Error::invalid(text).with_path(real.as_os_str().as_bytes()));
            }
        }
        Ok(())
    }

    /// What is stored of a mirror that is to be opened again.
    pub(crate) fn stored(&self, name: &str) -> Result<(MirrorOptions, Option<Target>)> {
        let found = self.row(name)?.map(|(_, row)| (row.options, row.target));
        found.ok_or_else(|| unknown(name))
    }

    /// Forgets a mirror. Its objects stay where they are.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        let mut open = self.lock();
        let Some((id, _)) = self.row(name)? else { return Err(unknown(name)) };
        self.engine.writable()?;
        if open.get(name).is_some_and(|shared| shared.is_within_run()) {
            return Err(Error::new(ErrorKind::Busy, "a mirror cannot be removed from within its own run"));
        }
        if let Some(shared) = open.remove(name) {
            shared.end();
            shared.wait_ended();
        }
        self.engine.submit(Task::Work(WorkTask::Delete(Owner::Mirror, id)))?;
        Ok(())
    }

    /// How the mirrors stand that are open, by name.
    pub(crate) fn status(&self) -> Vec<MirrorStatus> {
        if self.engine.is_forked() {
            // The locks may be held by threads that are not here.
            return Vec::new();
        }
        let open: Vec<_> = self.lock().values().map(Arc::clone).collect();
        let mut all: Vec<_> = open.iter().map(|shared| shared.status()).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Ends every run, and waits for it.
    pub(crate) fn close(&self) {
        let open: Vec<Arc<Shared>> = self.lock().drain().map(|(_, shared)| shared).collect();
        open.iter().for_each(|shared| shared.end());
        open.iter().for_each(|shared| shared.wait_ended());
    }
}

/// True when every key below `b` lies below `a` too.
fn is_prefix_of(a: &str, b: &str) -> bool {
    let (a, b) = (a.trim_end_matches('/'), b.trim_end_matches('/'));
    a.is_empty() || b.strip_prefix(a).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn unknown(name: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no mirror `{}`", escape(name.as_bytes())))
        .with_hint("`mirrors` lists them; `mirror_to` makes one")
}

/// An open mirror. Cheap to clone; clones are the same mirror.
#[derive(Clone)]
pub struct Mirror {
    shared: Arc<Shared>,
    /// Keeps the warden open.
    _warden: Arc<dyn Any + Send + Sync>,
}

impl std::fmt::Debug for Mirror {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mirror")
            .field("name", &self.shared.name)
            .field("place", &self.shared.storage.describe())
            .finish_non_exhaustive()
    }
}

impl Mirror {
    pub(crate) fn new(shared: Arc<Shared>, warden: Arc<dyn Any + Send + Sync>) -> Self {
        Self { shared, _warden: warden }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Its options.
    #[must_use]
    pub fn options(&self) -> MirrorOptions {
        MirrorOptions::clone(&self.shared.options())
    }

    /// Brings the remote copy in step with the current snapshot: uploads and copies first, then deletions, then
    /// purges. Nothing changed costs no request. Files that have not been still for long enough are waited for.
    /// Another run of the same mirror is waited for.
    ///
    /// A file that fails is in the report, and the run goes on. Deletions wait for
    /// [`MirrorContext::accept_deletes`] when there are very many, and while the root is held.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the root cannot be trusted, `PermissionDenied` and `NotFound` when the storage will take
    /// nothing, `Cancelled`, `Closed`, and what the store says. What was acknowledged before stays so.
    pub fn sync(&self, context: &MirrorContext) -> Result<MirrorReport> {
        let mut report = self.shared.sync(context)?;
        match self.shared.purge(&|| context.cancel.is_cancelled()) {
            Ok((purged, _)) => report.purged = purged,
            Err(error) => tracing::warn!(%error, "purges wait"),
        }
        report.purges_waiting = self.shared.purges().len() as u64;
        Ok(report)
    }

    /// What the next run would do, with exact counts and bytes. No request is made.
    ///
    /// # Errors
    ///
    /// `NotFound` when the root is gone, `Unavailable` when it cannot be trusted.
    pub fn plan(&self) -> Result<MirrorPlan> {
        self.shared.dry_run()
    }

    /// Lists the storage, compares it with what was acknowledged, and mends what the options allow: with the next
    /// run.
    ///
    /// # Errors
    ///
    /// `Unsupported` for a storage that cannot be listed, and as [`Mirror::sync`].
    pub fn audit(&self, options: AuditOptions) -> Result<AuditReport> {
        self.shared.audit(options)
    }

    /// The addresses of its objects as they are now. Lock-free.
    #[must_use]
    pub fn urls(&self) -> UrlMap {
        UrlMap::new(self.shared.outbox.objects(), self.shared.scope(), self.shared.storage.public_url())
    }

    /// How it stands. No request is made; it counts the objects.
    #[must_use]
    pub fn status(&self) -> MirrorStatus {
        self.shared.status()
    }

    /// Follows the root: a thread runs it after each change, and purges meanwhile, until what is answered is
    /// dropped or stopped. Failures are logged, told by [`Mirror::status`], and tried again with growing waits.
    ///
    /// # Errors
    ///
    /// `Busy` when it follows already; `Io` when the system gives no thread.
    pub fn follow(&self) -> Result<Following> {
        Following::start(&self.shared)
    }
}
