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

mod apart;
mod attempts;
mod audit;
mod credentials;
mod crew;
mod follow;
mod key;
mod object;
mod options;
mod outbox;
mod pace;
mod pass;
mod peak;
mod plan;
mod purge;
mod purging;
mod report;
mod run;
mod seen;
mod shared;
mod source;
mod storage;
mod target;
mod turn;
mod urls;

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::commit::{Engine, Task, WorkTask};
use crate::error::{Error, ErrorKind, Result};
use crate::path::{check_name, escape, split_root};
use crate::root_record::RootState;
use crate::store::Owner;
use crate::work::RateLimiter;

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
    /// Locked for a moment at a time: a callback of a run may ask for the status of all.
    open: Mutex<HashMap<String, Arc<Shared>>>,
    /// The names of those that are being opened or removed.
    claimed: Mutex<HashSet<String>>,
    released: Condvar,
    /// Of two that are opened to one place at a time, one is refused.
    placing: Mutex<()>,
}

/// A mirror is opened or removed by one thread at a time.
struct Claim<'a> {
    mirrors: &'a Mirrors,
    name: &'a str,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.mirrors.claimed.lock().unwrap_or_else(PoisonError::into_inner).remove(self.name);
        self.mirrors.released.notify_all();
    }
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
        let (open, claimed, placing) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { engine, open, claimed, released: Condvar::new(), placing }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Shared>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody else opens or removes this mirror.
    fn claim<'a>(&'a self, name: &'a str) -> Result<Claim<'a>> {
        self.engine.check_process()?;
        if self.lock().values().any(|shared| shared.is_within_run()) {
            let text = "a mirror cannot be opened or removed from within a run";
            return Err(Error::new(ErrorKind::Busy, text));
        }
        let mut claimed = self.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        while claimed.contains(name) {
            claimed = self.released.wait(claimed).unwrap_or_else(PoisonError::into_inner);
        }
        claimed.insert(name.to_owned());
        Ok(Claim { mirrors: self, name })
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
        apart::check_roots(&self.engine, &*storage, options.get_prefix())?;
        let _claim = self.claim(name)?;
        let place = storage.describe();
        let wanted = Row {
            name: name.to_owned(),
            options: options.clone(),
            root: self.engine.root(root)?.record.id,
            held_of: None,
            place,
            target: target.cloned(),
        };
        let former = self.lock().get(name).map(Arc::clone);
        self.check_place(&wanted, &*storage)?;
        // Other credentials make it another one; the same storage is taken as it is.
        if let Some(former) = &former
            && former.is_over(&storage, cdn.as_ref())
        {
            former.change(options)?;
            return Ok(Arc::clone(former));
        }
        // Whatever makes no sense is refused while the former one still works.
        let rate = cdn.as_ref().and_then(|cdn| cdn.rate());
        let limiter = rate.map(|rate| RateLimiter::new(&rate)).transpose()?;
        if let Some(former) = former {
            former.end();
            // A run of the old one is over before the new one reads what it wrote. Until then it is listed, so that
            // its callbacks are known for what they are.
            former.wait_ended();
            self.lock().remove(name);
        }
        let (id, row) = {
            let _placing = self.placing.lock().unwrap_or_else(PoisonError::into_inner);
            let before = self.check_place(&wanted, &*storage)?;
            // What it knows of its objects stays: the root that they came from, whoever has its name now.
            let (root, held_of) =
                before.as_ref().map_or((wanted.root, None), |(_, row)| (row.root, row.held_of));
            let row = Row { root, held_of, ..wanted };
            match before {
                Some((id, before)) if before == row => (id, row),
                before => {
                    let (owner, id) = (Owner::Mirror, before.map(|(id, _)| id));
                    let id =
                        self.engine.submit(Task::Work(WorkTask::Put { owner, id, row: row.encode() }))?;
                    (u32::try_from(id).unwrap_or(u32::MAX), row)
                }
            }
        };
        let shared = Arc::new(Shared::open(&self.engine, id, &row, storage, cdn, limiter)?);
        self.lock().insert(name.to_owned(), Arc::clone(&shared));
        Ok(shared)
    }

    /// Fails when a mirror copies something else or to another place already, or another mirror copies to this one.
    /// Answers what is stored of it.
    fn check_place(&self, wanted: &Row, storage: &dyn Storage) -> Result<Option<(u32, Row)>> {
        let mut before = None;
        for (id, row) in self.rows()? {
            if row.name != wanted.name {
                apart::check_mirrors(wanted, storage, &row)?;
            } else if row.place == wanted.place && row.options.same_place(&wanted.options) {
                before = Some((id, row));
            } else {
                let (name, old) = (escape(row.name.as_bytes()), escape(row.place.as_bytes()));
                let text = format!("mirror `{name}` copies `{}` to {old}", escape(row.options.address()));
                return Err(Error::invalid(text)
                    .with_hint("its objects are there: remove the mirror, and add one for the other place"));
            }
        }
        Ok(before)
    }

    /// What is stored of a mirror that is to be opened again.
    pub(crate) fn stored(&self, name: &str) -> Result<(MirrorOptions, Option<Target>)> {
        let found = self.row(name)?.map(|(_, row)| (row.options, row.target));
        found.ok_or_else(|| unknown(name))
    }

    /// Forgets a mirror. Its objects stay where they are.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        let _claim = self.claim(name)?;
        let Some((id, _)) = self.row(name)? else { return Err(unknown(name)) };
        self.engine.writable()?;
        let open = self.lock().get(name).map(Arc::clone);
        if let Some(shared) = open {
            shared.end();
            shared.wait_ended();
            self.lock().remove(name);
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
        let open: Vec<Arc<Shared>> = self.lock().values().map(Arc::clone).collect();
        open.iter().for_each(|shared| shared.end());
        open.iter().for_each(|shared| shared.wait_ended());
        self.lock().clear();
    }
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
    /// purges. Nothing changed costs no request. Files that have not been still for long enough are waited for, for
    /// 10 s at most. Another run of the same mirror is waited for.
    ///
    /// A file that fails is in the report, and the run goes on. Deletions wait for
    /// [`MirrorContext::accept_deletes`] when there are very many, and while the root is held.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the root cannot be trusted, `PermissionDenied` and `NotFound` when the storage will take
    /// nothing, `Cancelled`, `Closed`, and what the store says. What was acknowledged before stays so.
    pub fn sync(&self, context: &MirrorContext) -> Result<MirrorReport> {
        let mut result = self.shared.sync(context);
        let is_over = |error: &Error| {
            matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::Closed | ErrorKind::Busy)
        };
        if result.as_ref().is_err_and(is_over) {
            return result;
        }
        // Also after a run that was given up: what was replaced before is to be forgotten.
        let purged = self.shared.purge(&|| context.cancel.is_cancelled()).map_or_else(
            |error| {
                tracing::warn!(%error, "purges wait");
                0
            },
            |(purged, _)| purged,
        );
        if let Ok(report) = &mut result {
            report.purged = purged;
            report.purges_waiting = self.shared.purges().len() as u64;
        }
        result
    }

    /// What the next run would do, with exact counts and bytes. No request is made, and no run is waited for.
    ///
    /// # Errors
    ///
    /// `NotFound` when the root is gone, `Unavailable` when it cannot be trusted, `Busy` within a run of the same
    /// mirror.
    pub fn plan(&self) -> Result<MirrorPlan> {
        self.shared.dry_run()
    }

    /// Lists the storage, compares it with what was acknowledged, and mends what the options allow: with the next
    /// run.
    ///
    /// # Errors
    ///
    /// `Unsupported` for a storage that cannot be listed, and as [`Mirror::sync`].
    pub fn audit(&self, options: &AuditOptions) -> Result<AuditReport> {
        self.shared.audit(options)
    }

    /// The addresses of its objects as they are now. Lock-free.
    #[must_use]
    pub fn urls(&self) -> UrlMap {
        UrlMap::new(self.shared.outbox.objects(), self.shared.scope(), self.shared.storage.public_url())
    }

    /// How it stands. No request is made, and nobody is waited for.
    #[must_use]
    pub fn status(&self) -> MirrorStatus {
        self.shared.status()
    }

    /// Follows the root: a thread runs it after each change, and purges meanwhile, until what is answered is
    /// dropped or stopped. Failures are logged, told by [`Mirror::status`], and tried again with growing waits.
    ///
    /// # Errors
    ///
    /// `Busy` when it follows already, and within a run of it; `Io` when the system gives no thread.
    pub fn follow(&self) -> Result<Following> {
        Following::start(&self.shared)
    }
}
