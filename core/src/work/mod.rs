//! Pipelines: what is still to be done about each file, by any number of consumers. ARCHITECTURE.md maps
//! each rule to its place.

mod again;
mod claims;
mod ends;
mod group;
mod job;
mod lifecycle;
mod limiter;
mod options;
mod pipeline;
mod queue;
mod record;
mod retry_after;
mod shared;
mod workers;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::commit::{Engine, Task, WorkTask};
use crate::error::{Error, ErrorKind, Result};
use crate::path::{self, escape};
use crate::store::Owner;

pub use again::{Refresh, RefreshRun, Retry, Tier};
pub use group::{Group, GroupFn};
pub use job::{Completion, Failed, Job};
pub use lifecycle::{Priority, WorkState};
pub use limiter::{LimiterInterrupter, LimiterStatus, Permit, RateLimit, RateLimiter};
pub use options::PipelineOptions;
pub use pipeline::{Pipeline, PipelineInfo, PipelineStatus, RequestReport, WorkExplanation, WorkItem};
pub use retry_after::parse_retry_after;
pub use workers::Workers;

#[cfg(feature = "mirror")]
pub(crate) use record::Version;
use record::damaged;
use shared::Shared;

/// The pipelines of one warden.
pub(crate) struct Work {
    engine: Arc<Engine>,
    /// Drawn at random: leases of another session are void.
    session: u64,
    open: Mutex<HashMap<String, Arc<Shared>>>,
}

impl Work {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self { engine, session: random(), open: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Shared>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every pipeline that is stored, by name.
    pub(crate) fn stored(&self) -> Result<Vec<(u32, String, PipelineOptions)>> {
        let mut all = Vec::new();
        for (id, row) in self.engine.store.read(|rows| rows.owners(Owner::Pipeline))? {
            let (name, options) = PipelineOptions::decode(&row).map_err(damaged)?;
            all.push((id, name, options));
        }
        all.sort_by(|a, b| a.1.cmp(&b.1));
        Ok(all)
    }

    /// Opens a pipeline that there is.
    pub(crate) fn open(&self, name: &str) -> Result<Arc<Shared>> {
        let mut open = self.lock();
        if let Some(shared) = open.get(name) {
            return Ok(Arc::clone(shared));
        }
        let found = self.stored()?.into_iter().find(|(_, found, _)| found == name);
        let Some((id, _, options)) = found else { return Err(unknown(name)) };
        options.group.known()?;
        self.start(&mut open, id, name, options)
    }

    /// Opens a pipeline under these options: it comes into being, or takes them up.
    pub(crate) fn open_with(&self, name: &str, options: &PipelineOptions) -> Result<Arc<Shared>> {
        path::check_name("pipeline", name)?;
        options.check()?;
        let mut open = self.lock();
        let before = self.stored()?.into_iter().find(|(_, found, _)| found == name);
        if let Some((_, _, before)) = &before
            && before.version > options.version
        {
            return Err(Error::invalid(format!(
                "pipeline `{}` is at version {} and cannot go back to {}",
                escape(name.as_bytes()),
                before.version,
                options.version
            ))
            .with_hint("versions only rise: each new one makes everything changed once"));
        }
        let is_same = before.as_ref().is_some_and(|(_, _, before)| before == options);
        let id = before.as_ref().map(|(id, _, _)| *id);
        let id = match id {
            Some(id) if is_same => id,
            id => {
                let row = options.encode(name);
                let id = self.engine.submit(Task::Work(WorkTask::Put { owner: Owner::Pipeline, id, row }))?;
                u32::try_from(id).unwrap_or(u32::MAX)
            }
        };
        match open.get(name) {
            Some(shared) => {
                // A function may be another one under the same name.
                if !is_same || matches!(options.group, Group::By(_)) {
                    shared.change(options)?;
                }
                Ok(Arc::clone(shared))
            }
            None => self.start(&mut open, id, name, options.clone()),
        }
    }

    fn start(
        &self,
        open: &mut HashMap<String, Arc<Shared>>,
        id: u32,
        name: &str,
        options: PipelineOptions,
    ) -> Result<Arc<Shared>> {
        let shared = Arc::new(Shared::open(&self.engine, self.session, id, name, options)?);
        open.insert(name.to_owned(), Arc::clone(&shared));
        Ok(shared)
    }

    /// Removes a pipeline with everything known about its items.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        let mut open = self.lock();
        let found = self.stored()?.into_iter().find(|(_, found, _)| found == name);
        let Some((id, _, _)) = found else { return Err(unknown(name)) };
        self.engine.writable()?;
        let shared = open.remove(name);
        if let Some(shared) = &shared {
            shared.end();
        }
        // What is under way is written first, so that nothing is left behind.
        let _alone =
            shared.as_ref().map(|shared| shared.order.write().unwrap_or_else(PoisonError::into_inner));
        self.engine.submit(Task::Work(WorkTask::Delete(Owner::Pipeline, id)))?;
        Ok(())
    }

    /// How the pipelines stand that are open, by name.
    pub(crate) fn status(&self) -> Result<Vec<PipelineStatus>> {
        let open: Vec<_> = self.lock().values().map(Arc::clone).collect();
        let mut all = Vec::with_capacity(open.len());
        for shared in open {
            match shared.status() {
                // Removed meanwhile.
                Err(error) if error.kind() == ErrorKind::Closed => {}
                status => all.push(status?),
            }
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// Wakes everybody who waits for work.
    pub(crate) fn close(&self) {
        // With the last of it a function of the program may go: not behind the lock.
        let open: Vec<Arc<Shared>> = self.lock().drain().map(|(_, shared)| shared).collect();
        open.iter().for_each(|shared| shared.end());
    }
}

fn unknown(name: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no pipeline `{}`", escape(name.as_bytes())))
        .with_hint("`pipelines` lists them; opening one with options makes it")
}

/// A number that no other session has.
fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    // The keys of the standard library's hasher are drawn from the system.
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}
