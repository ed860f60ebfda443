//! Deleting: many objects in one request where the store has one for that, and one by one where it has not.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::StreamExt;
use futures_util::stream;
use object_store::ObjectStore;
use object_store::path::Path;

use crate::path::escape;

use super::super::storage::{StorageFault, StorageResult};
use super::directory::Names;
use super::fault::{Failure, UNREADABLE};
use super::net::Running;
use super::{Flavour, LONG, ObjectStorage};

/// `object_store` takes an answer that holds one of these for a failure, and the answer to a deletion of many objects
/// names each of them.
const FAILURES: [&str; 2] = ["InternalError", "SlowDown"];

/// What stores without a deletion of many objects take the request for, besides those that say that they have none:
/// a new bucket, an upload from a form, an address that is none.
const MISTAKEN: [&str; 4] = ["InvalidArgument", "InvalidRequest", "InvalidURI", "MalformedPOSTRequest"];

impl ObjectStorage {
    /// At most as many as one request takes.
    pub(super) fn delete_some(&self, keys: &[&str]) -> Vec<StorageResult<()>> {
        let mut names = Names::default();
        let doomed: Vec<StorageResult<Option<Path>>> =
            keys.iter().map(|key| self.doomed(key, &mut names)).collect();
        let paths: Vec<Path> = doomed.iter().flatten().flatten().cloned().collect();
        let mut answers = self.delete_paths(&paths).into_iter();
        let mut answer = || answers.next().unwrap_or_else(|| Err(self.told(too_few())));
        let mut done: Vec<StorageResult<()>> =
            doomed.into_iter().map(|path| if path?.is_some() { answer() } else { Ok(()) }).collect();
        if let Some(root) = &self.root {
            root.sync_deleted(keys, &mut done);
        }
        done
    }

    /// `None` when there is nothing of that name.
    fn doomed(&self, key: &str, names: &mut Names) -> StorageResult<Option<Path>> {
        let path = self.path(key)?;
        let is_there = self.root.as_ref().map_or(Ok(true), |root| root.has(key, names))?;
        Ok(is_there.then_some(path))
    }

    fn delete_paths(&self, paths: &[Path]) -> Vec<StorageResult<()>> {
        let Some(singles) = &self.singles else { return self.delete_by(&self.store, paths) };
        let all = self.has_no_bulk.load(Ordering::Relaxed);
        let is_single = |path: &Path| {
            let key: &str = path.as_ref();
            all || FAILURES.iter().any(|word| key.contains(*word))
        };
        let (one_by_one, together): (Vec<Path>, Vec<Path>) = paths.iter().cloned().partition(is_single);
        let mut one_by_one = self.delete_by(singles, &one_by_one).into_iter();
        let mut together = self.delete_together(singles, &together).into_iter();
        let answers =
            paths.iter().map(|path| if is_single(path) { one_by_one.next() } else { together.next() });
        answers.map(|answer| answer.unwrap_or_else(|| Err(self.told(too_few())))).collect()
    }

    /// In one request, or, where the store knows of none, one by one from now on. Where its answer cannot be read, what
    /// is there no more is not known: then these are deleted one by one, and the next again together.
    fn delete_together(&self, singles: &Arc<dyn ObjectStore>, paths: &[Path]) -> Vec<StorageResult<()>> {
        let failure = match self.delete_each(&self.store, paths) {
            Ok(answers) => return answers,
            Err(failure) => failure,
        };
        if failure.code == UNREADABLE {
            return self.delete_by(singles, paths);
        }
        let has_none = failure.fault == StorageFault::Unsupported;
        if !has_none && !MISTAKEN.contains(&failure.code.as_str()) {
            return self.all_failed(failure, paths.len());
        }
        let answers = self.delete_by(singles, paths);
        let is_proved = has_none || answers.iter().any(Result::is_ok);
        if is_proved && !self.has_no_bulk.swap(true, Ordering::Relaxed) {
            let place = escape(self.described.as_bytes());
            tracing::info!(place, "the store deletes one object at a time");
        }
        answers
    }

    /// As the store does it. One answer for each path.
    fn delete_by(&self, store: &Arc<dyn ObjectStore>, paths: &[Path]) -> Vec<StorageResult<()>> {
        self.delete_each(store, paths).unwrap_or_else(|failure| self.all_failed(failure, paths.len()))
    }

    /// Fails when the request for all of them did.
    fn delete_each(
        &self,
        store: &Arc<dyn ObjectStore>,
        paths: &[Path],
    ) -> Result<Vec<StorageResult<()>>, Failure> {
        if paths.is_empty() {
            return Ok(Vec::new());
        }
        let (store, asked) = (Arc::clone(store), paths.to_vec());
        let running: Running<Vec<Result<(), Failure>>> = self.net.start(self.limit(LONG, 0), async move {
            let asked = stream::iter(asked.into_iter().map(Ok::<Path, object_store::Error>)).boxed();
            let answers = store.delete_stream(asked);
            let each = answers.map(|answer| answer.map(drop).map_err(|error| Failure::of(&error)));
            Ok(each.collect::<Vec<_>>().await)
        });
        let answers = running.wait(&|| false)?;
        // A request that failed has one answer for all.
        if answers.len() == paths.len() && (paths.len() > 1 || answers.iter().all(Result::is_ok)) {
            let told = |answer: Result<(), Failure>| answer.or_else(|failure| self.deleted(failure));
            return Ok(answers.into_iter().map(told).collect());
        }
        Err(answers.into_iter().find_map(Result::err).unwrap_or_else(too_few))
    }

    fn all_failed(&self, failure: Failure, count: usize) -> Vec<StorageResult<()>> {
        let answer = self.deleted(failure);
        // That one is gone says nothing of others.
        let answer = if count == 1 { answer } else { answer.and(Err(self.told(too_few()))) };
        vec![answer; count]
    }

    /// What is not there is deleted.
    fn deleted(&self, mut failure: Failure) -> StorageResult<()> {
        let gone = match self.flavour {
            // For a single key it has a code; without one it is the bucket that is not there.
            Flavour::S3 => matches!(failure.code.as_str(), "NoSuchKey" | "NoSuchVersion"),
            Flavour::Gcs | Flavour::Azure => failure.fault == StorageFault::NotFound,
            // A directory is no object, and there is none below a file.
            Flavour::Directory => {
                matches!(failure.code.as_str(), "NotFound" | "IsADirectory" | "NotADirectory")
            }
        };
        if gone {
            return Ok(());
        }
        if failure.fault == StorageFault::NotFound {
            failure.fault = StorageFault::Misconfigured;
        }
        Err(self.told(failure))
    }
}

fn too_few() -> Failure {
    Failure::new(
        StorageFault::Transient,
        UNREADABLE,
        "the store answered for other keys than it was asked about",
    )
}
