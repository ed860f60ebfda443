//! Large files: sent in parts, several at a time, and thrown away together when one of them fails.
//!
//! The caller's thread reads, one part after another, and waits for memory there; the parts under way need nothing
//! more to come to their end. So however little memory there is, one of them always moves.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::client::HttpErrorKind;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::retry::{RetryContext, RetryFailure, RetryPolicy};
use object_store::{MultipartId, MultipartUpload, PutMultipartOptions, PutPayload, PutResult};

use super::super::storage::{Put, StorageError, StorageFault, StorageResult};
use super::fault::{Failure, tag_of_completed};
use super::net::{Running, within};
use super::wire::Answer;
use super::{Flavour, LONG, ObjectStorage, REQUEST, head, mismatch, read, sum};

const PARTS_MAX: u64 = 10_000;
const MIB: u64 = 1 << 20;
/// The longest part that any store takes, 5 GiB.
const PART_BYTES_MAX: u64 = 5 << 30;
/// A cut connection does not send a large file back to its beginning.
const ATTEMPTS: u32 = 3;
/// How long the parts of a file that was cancelled may take to go.
const CLEARING: Duration = Duration::from_secs(3);
/// Nor does a store that asks to slow down.
const PAUSES: u32 = 6;
/// The longest that is waited because a store asked for it, as the mirror itself does.
const ASKED_MAX: Duration = Duration::from_secs(600);

/// The length of every part but the last: as wanted, or in whole MiB as much as keeps their number in bounds.
fn part_len(size: u64, wanted: u64) -> u64 {
    let wanted = wanted.max(1);
    if size.div_ceil(wanted) <= PARTS_MAX {
        return wanted;
    }
    size.div_ceil(PARTS_MAX).next_multiple_of(MIB)
}

fn backoff(attempt: u32) -> Duration {
    Duration::from_millis(200 << (2 * attempt.clamp(1, ATTEMPTS) - 2))
}

/// How long a part waits when a store asks to slow down for the nth time.
fn pause(asked: Option<Duration>, nth: u32) -> Duration {
    // No time at all is no leave to ask at once.
    let asked = asked.filter(|asked| !asked.is_zero());
    asked.unwrap_or(Duration::from_millis(500 << nth.min(PAUSES))).min(ASKED_MAX)
}

/// Two ways to the same end.
enum Session {
    /// S3 and Google: each part is a request of its own, under an id that outlives this process.
    Numbered { store: Arc<dyn MultipartStore>, id: MultipartId },
    /// Azure and directories: what is left over of these goes by itself.
    Handed(Box<dyn MultipartUpload>),
    /// Complete, or given up.
    Over,
}

/// One file on its way.
pub(super) struct Parts<'a> {
    storage: &'a ObjectStorage,
    path: Path,
    put: &'a Put<'a>,
    session: Session,
    /// In the order of the file.
    window: VecDeque<Running<Option<PartId>>>,
    ids: Vec<PartId>,
    /// The MD5 sums of the parts one after another, where the answer can be compared with them.
    sums: Vec<u8>,
}

impl<'a> Parts<'a> {
    /// Puts a file in parts.
    pub(super) fn put(
        storage: &'a ObjectStorage,
        path: Path,
        put: &'a Put<'a>,
        size: u64,
    ) -> StorageResult<PutResult> {
        let wanted = put.part_bytes.clamp(1, PART_BYTES_MAX);
        let len = match storage.flavour {
            // A file is written to, in however many parts it is read.
            Flavour::Directory => wanted,
            _ => part_len(size, wanted),
        };
        if len > PART_BYTES_MAX {
            let text =
                format!("no store takes {size} bytes: they do not fit into {PARTS_MAX} parts of 5 GiB");
            return Err(StorageError::new(StorageFault::Rejected, text));
        }
        let session = begin(storage, &path, put)?;
        let mut parts =
            Self { storage, path, put, session, window: VecDeque::new(), ids: Vec::new(), sums: Vec::new() };
        let done = parts.send(size, len);
        if done.is_err() {
            parts.give_up();
        }
        done
    }

    fn send(&mut self, size: u64, len: u64) -> StorageResult<PutResult> {
        if let Session::Numbered { id, .. } = &self.session {
            self.put.source.begins(id)?;
        }
        let at_a_time = self.put.parts_at_a_time.max(1);
        let (mut offset, mut index) = (0, 0);
        while offset < size {
            while self.window.len() >= at_a_time {
                self.collect()?;
            }
            let content = read(self.put.source, offset, len.min(size - offset))?;
            offset += content.len() as u64;
            self.start(index, content)?;
            index += 1;
        }
        while !self.window.is_empty() {
            self.collect()?;
        }
        self.put.source.check()?;
        self.complete(index)
    }

    /// Waits for the oldest part.
    fn collect(&mut self) -> StorageResult<()> {
        if let Some(part) = self.window.pop_front() {
            self.ids.extend(
                part.wait(&|| self.put.source.is_cancelled())
                    .map_err(|failure| self.storage.told(failure))?,
            );
        }
        Ok(())
    }

    fn start(&mut self, index: usize, content: Bytes) -> StorageResult<()> {
        let limit = self.storage.limit(REQUEST, content.len() as u64);
        let running = match &mut self.session {
            Session::Numbered { store, id } => {
                let sum = self.storage.verifies.then(|| sum::md5(&content));
                self.sums.extend(sum.iter().flatten());
                let part = Part {
                    store: Arc::clone(store),
                    path: self.path.clone(),
                    id: id.clone(),
                    index,
                    payload: PutPayload::from(content),
                    sum: sum.map(|sum| sum::hex(&sum)),
                    limit: limit.unwrap_or(LONG),
                };
                self.storage.net.start(None, async move { part.send().await.map(Some) })
            }
            Session::Handed(upload) => {
                let part = upload.put_part(PutPayload::from(content));
                // The attempts of a part are made inside.
                let limit = limit.map(|limit| limit * ATTEMPTS + backoff(ATTEMPTS));
                self.storage.net.start(limit, async move {
                    part.await.map(|()| None).map_err(|error| Failure::of_put(&error))
                })
            }
            Session::Over => return Err(over()),
        };
        self.window.push_back(running);
        Ok(())
    }

    fn complete(&mut self, count: usize) -> StorageResult<PutResult> {
        let limit = self.storage.limit(LONG, 0);
        let path = self.path.clone();
        match std::mem::replace(&mut self.session, Session::Over) {
            Session::Numbered { store, id } => {
                // Kept for giving up: a failed completion leaves the parts.
                self.session = Session::Numbered { store: Arc::clone(&store), id: id.clone() };
                let ids = std::mem::take(&mut self.ids);
                let cancelled = || self.put.source.is_cancelled();
                let done = self.storage.ask_unless(&cancelled, limit, async move {
                    let answer = store.complete_multipart(&path, &id, ids).await;
                    answer.or_else(|error| match tag_of_completed(&error) {
                        Some(tag) => Ok(put_result(tag)),
                        None => Err(Failure::of_put(&error)),
                    })
                });
                let expected = sum::of_parts(&self.sums, count);
                let done = match done {
                    Err(error)
                        if matches!(error.fault, StorageFault::Transient | StorageFault::Throttled(_)) =>
                    {
                        self.found(&expected).ok_or(error)?
                    }
                    done => done?,
                };
                let differs = |tag: &str| sum::differs(&expected, tag);
                if self.storage.verifies && done.e_tag.as_deref().is_some_and(differs) {
                    return Err(self.storage.told(mismatch()));
                }
                Ok(done)
            }
            Session::Handed(mut upload) => self
                .storage
                .ask(limit, async move { upload.complete().await.map_err(|error| Failure::of_put(&error)) }),
            Session::Over => Err(over()),
        }
    }

    /// What the answer would have said that did not come, or said nothing: an object is there that has the sum of
    /// these parts.
    fn found(&mut self, expected: &str) -> Option<PutResult> {
        if !self.storage.verifies {
            return None;
        }
        let (store, path) = (Arc::clone(&self.storage.store), self.path.clone());
        let limit = self.storage.limit(REQUEST, 0);
        let found = self.storage.ask(limit, async move { head(&*store, &path).await }).ok()?;
        let tag = found.e_tag.filter(|tag| sum::unquoted(tag).eq_ignore_ascii_case(expected))?;
        // It may be there since before, with the same content: then the parts are left over.
        self.give_up();
        Some(put_result(tag))
    }

    /// Throws the parts away as far as the store lets it; what is left has its id on disk.
    fn give_up(&mut self) {
        // A part that arrives after the rest was thrown away would stay.
        self.window.clear();
        if let Session::Numbered { store, id } = std::mem::replace(&mut self.session, Session::Over) {
            let path = self.path.clone();
            // Who cancelled does not wait long; then the next run throws them away.
            let limit = if self.put.source.is_cancelled() { CLEARING } else { REQUEST };
            let running = self.storage.net.start(Some(limit), async move {
                store.abort_multipart(&path, &id).await.map_err(|error| Failure::of(&error))
            });
            let gone = running.wait_for_end().map_err(|failure| self.storage.told(failure));
            if let Err(error) = gone
                && error.fault != StorageFault::NotFound
            {
                tracing::warn!("parts of an unfinished upload could not be thrown away: {error}");
            }
        }
    }
}

fn put_result(tag: String) -> PutResult {
    PutResult { e_tag: Some(tag), version: None, extensions: Default::default() }
}

fn over() -> StorageError {
    StorageError::new(StorageFault::Transient, "the upload is over already")
}

fn begin(storage: &ObjectStorage, path: &Path, put: &Put<'_>) -> StorageResult<Session> {
    let options = PutMultipartOptions::from(storage.attributes(put));
    let limit = storage.limit(REQUEST, 0);
    let path = path.clone();
    if let Some(store) = &storage.parts {
        let (store, asked) = (Arc::clone(store), Arc::clone(store));
        let id = storage.ask(limit, async move {
            asked.create_multipart_opts(&path, options).await.map_err(|error| Failure::of_put(&error))
        })?;
        return Ok(Session::Numbered { store, id });
    }
    let store = Arc::clone(&storage.store);
    let options = options.with_retry_policy(Arc::new(Again));
    let upload = storage.ask(limit, async move {
        store.put_multipart_opts(&path, options).await.map_err(|error| Failure::of_put(&error))
    })?;
    Ok(Session::Handed(upload))
}

/// A part, and everything its request needs.
struct Part {
    store: Arc<dyn MultipartStore>,
    path: Path,
    id: MultipartId,
    index: usize,
    payload: PutPayload,
    /// The tag that is expected, in hexadecimal digits.
    sum: Option<String>,
    /// For each attempt.
    limit: Duration,
}

impl Part {
    async fn send(self) -> Result<PartId, Failure> {
        let (mut attempt, mut pauses) = (1, 0);
        loop {
            match within(self.limit, self.send_once()).await {
                // The parts that are there already are worth the wait.
                Err(Failure { fault: StorageFault::Throttled(wait), .. }) if pauses < PAUSES => {
                    pauses += 1;
                    tokio::time::sleep(pause(wait, pauses)).await;
                }
                Err(failure)
                    if failure.fault == StorageFault::Transient
                        && failure.code != "NoSuchUpload"
                        && attempt < ATTEMPTS =>
                {
                    tokio::time::sleep(backoff(attempt)).await;
                    attempt += 1;
                }
                answer => return answer,
            }
        }
    }

    async fn send_once(&self) -> Result<PartId, Failure> {
        let answer = self.store.put_part(&self.path, &self.id, self.index, self.payload.clone()).await;
        let part = answer.map_err(|error| Failure::of_put(&error))?;
        match &self.sum {
            Some(sum) if sum::differs(sum, &part.content_id) => Err(mismatch()),
            _ => Ok(part),
        }
    }
}

/// The same attempts for parts that are handed over.
#[derive(Debug)]
struct Again;

impl Again {
    async fn decide(context: RetryContext) -> bool {
        let attempt = u32::try_from(context.attempt).unwrap_or(u32::MAX);
        let cut = matches!(
            context.failure,
            RetryFailure::Transport(
                HttpErrorKind::Connect
                    | HttpErrorKind::Request
                    | HttpErrorKind::Timeout
                    | HttpErrorKind::Interrupted
            )
        );
        if !cut || attempt >= ATTEMPTS {
            return false;
        }
        tokio::time::sleep(backoff(attempt)).await;
        true
    }
}

/// The desugared form of `async_trait`, by which `object_store` declares it.
impl RetryPolicy for Again {
    fn retry<'life0, 'async_trait>(&'life0 self, context: RetryContext) -> Answer<'async_trait, bool>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(Self::decide(context))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_as_long_as_wanted_until_there_would_be_too_many() {
        let wanted = 8 * MIB;
        for (size, len) in [
            (0, wanted),
            (1, wanted),
            (wanted * PARTS_MAX, wanted),
            (wanted * PARTS_MAX + 1, 9 * MIB),
            (9 * MIB * PARTS_MAX, 9 * MIB),
            (9 * MIB * PARTS_MAX + 1, 10 * MIB),
        ] {
            assert_eq!(part_len(size, wanted), len, "{size}");
        }
        for size in [1, MIB, 5 << 40, u64::MAX] {
            for wanted in [0, 1, 5 * MIB, 5 << 30, u64::MAX] {
                let len = part_len(size, wanted);
                assert!(size.div_ceil(len) <= PARTS_MAX, "{size} in parts of {len}");
                assert!(len == wanted.max(1) || len.is_multiple_of(MIB));
            }
        }
    }

    #[test]
    fn waits_grow() {
        assert_eq!([backoff(1), backoff(2), backoff(3)].map(|wait| wait.as_millis()), [200, 800, 3_200]);
        assert_eq!(backoff(0), backoff(1));
        assert_eq!([1, 2, 6, 60].map(|nth| pause(None, nth).as_secs()), [1, 2, 32, 32]);
        for (asked_s, waited_s) in [(0, 1), (61, 61), (600, 600), (86_400, 600)] {
            assert_eq!(pause(Some(Duration::from_secs(asked_s)), 1).as_secs(), waited_s);
        }
    }
}
