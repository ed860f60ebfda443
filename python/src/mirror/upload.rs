//! A file on its way to a storage in Python: what its `put` reads from.
//!
//! Invariant: the content is lent for one call of `put`, and what Python has of it may outlive that. So an [`Upload`]
//! only asks, through a channel, a thread that has the content and ends with the call.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use treewarden::ErrorKind;
use treewarden::mirror::{Put, Source, StorageError, StorageFault, StorageResult};

use crate::errors;

/// Bytes of a file that are read at once, beside those that Python has already.
const PIECE_BYTES_MAX: u64 = 8 << 20;

/// Calls `put` of a storage with the content as an upload, which is dead when that has returned. Answers what it
/// answered, and how far the content was read.
pub(super) fn lend<T>(
    put: &Put<'_>,
    call: impl FnOnce(Upload, &Content) -> StorageResult<T>,
) -> (StorageResult<T>, Arc<Content>) {
    let content = Arc::new(Content::new(put.source.size()));
    let shared: &Content = &content;
    let answer = thread::scope(|scope| {
        let (asking, asked) = mpsc::channel();
        let (source, piece_bytes) = (put.source, put.part_bytes.clamp(1, PIECE_BYTES_MAX));
        thread::Builder::new()
            .name("treewarden-read".to_owned())
            .spawn_scoped(scope, move || serve(source, piece_bytes, &asked, shared))
            .map_err(|error| {
                let message = format!("no thread can be started to read a file: {error}");
                StorageError::new(StorageFault::Transient, message)
            })?;
        // Also when the call panics: the scope waits for the thread.
        let _ending = Ending { asking: asking.clone(), content: shared };
        let upload = Upload {
            key: put.key.to_owned(),
            content_type: put.content_type.to_owned(),
            cache_control: put.cache_control.map(str::to_owned),
            content: Arc::clone(&content),
            asking,
            process: std::process::id(),
        };
        call(upload, shared)
    });
    (answer, content)
}

/// What one call of `put`, its upload and the thread that reads for it share.
pub(super) struct Content {
    size: u64,
    taken: AtomicU64,
    /// The call has ended.
    over: AtomicBool,
    fault: Mutex<Option<StorageError>>,
}

impl Content {
    fn new(size: u64) -> Self {
        Self { size, taken: AtomicU64::new(0), over: AtomicBool::new(false), fault: Mutex::new(None) }
    }

    /// Why it cannot be read, once that is so.
    pub(super) fn fault(&self) -> Option<StorageError> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn fail(&self, fault: &StorageError) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault.clone());
    }

    /// Bytes that were read.
    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Acquire)
    }
}

/// What an upload asks the thread that has the content.
enum Request {
    /// At most so many bytes from where the last ones ended.
    Read { len: u64, answers: SyncSender<Answer> },
    /// The call has ended.
    End,
}

enum Answer {
    /// So many bytes follow.
    Length(u64),
    /// The next of them. They count against the memory of all uploads for as long as they are here.
    Piece(Box<dyn AsRef<[u8]> + Send>),
    Failed(StorageError),
}

/// Ends the thread that reads when the call of `put` does, and with it the upload.
struct Ending<'a> {
    asking: Sender<Request>,
    content: &'a Content,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.content.over.store(true, Ordering::Release);
        // It is gone already when it has panicked.
        let _ = self.asking.send(Request::End);
    }
}

/// Reads what is asked for, until the call has ended.
fn serve(source: &dyn Source, piece_bytes: u64, asked: &Receiver<Request>, content: &Content) {
    let mut at = 0;
    while let Ok(Request::Read { len, answers }) = asked.recv() {
        if let Err(error) = hand_out(source, piece_bytes, content, &mut at, len, &answers) {
            content.fail(&error);
            let _ = answers.send(Answer::Failed(error));
        }
    }
}

/// Reads on in pieces. Nobody holds one who waits for the memory of another, so uploads never wait for one another.
fn hand_out(
    source: &dyn Source,
    piece_bytes: u64,
    content: &Content,
    at: &mut u64,
    len: u64,
    answers: &SyncSender<Answer>,
) -> StorageResult<()> {
    if let Some(fault) = content.fault() {
        return Err(fault);
    }
    let end = at.saturating_add(len).min(content.size);
    if answers.send(Answer::Length(end.saturating_sub(*at))).is_err() {
        return Ok(());
    }
    while *at < end && !content.over.load(Ordering::Acquire) {
        let wanted = piece_bytes.min(end - *at);
        let piece = source.read(*at, wanted)?;
        if piece.len() as u64 != wanted {
            let message = "the content has another length than was announced";
            return Err(StorageError::new(StorageFault::Source, message));
        }
        let next = *at + wanted;
        if next == content.size {
            // The last byte is not given away before it is certain that they are all of one file.
            source.check()?;
        }
        if answers.send(Answer::Piece(Box::new(piece))).is_err() {
            return Ok(());
        }
        *at = next;
    }
    Ok(())
}

/// Fills a buffer with the pieces that follow a length. `None`: the upload has ended.
fn fill(
    mut buffer: &mut [u8],
    answers: &Receiver<Answer>,
    content: &Content,
) -> Result<(), Option<StorageError>> {
    while !buffer.is_empty() {
        let piece = match answers.recv() {
            Ok(Answer::Piece(piece)) => piece,
            Ok(Answer::Failed(error)) => return Err(Some(error)),
            Ok(Answer::Length(_)) | Err(_) => return Err(None),
        };
        let bytes: &[u8] = (*piece).as_ref();
        let Some((here, rest)) = std::mem::take(&mut buffer).split_at_mut_checked(bytes.len()) else {
            return Err(None);
        };
        here.copy_from_slice(bytes);
        content.taken.fetch_add(bytes.len() as u64, Ordering::AcqRel);
        buffer = rest;
    }
    Ok(())
}

/// A file on its way to a storage of the program's own: what ``put`` is called with. It is read like a binary file,
/// from its beginning to its end, by any thread, for as long as ``put`` runs.
///
/// Reading waits for memory and bandwidth as the mirror has them. The read that comes to the last byte makes sure that
/// the file is still the one that was announced: before that nothing must count as stored.
#[pyclass(frozen, module = "treewarden")]
pub(crate) struct Upload {
    key: String,
    content_type: String,
    cache_control: Option<String>,
    content: Arc<Content>,
    asking: Sender<Request>,
    process: u32,
}

#[pymethods]
impl Upload {
    /// Where to: the key of the object.
    #[getter]
    fn key(&self) -> &str {
        &self.key
    }

    /// How large the file is, in bytes.
    #[getter]
    fn size(&self) -> u64 {
        self.content.size
    }

    /// Its ``Content-Type``.
    #[getter]
    fn content_type(&self) -> &str {
        &self.content_type
    }

    /// Its ``Cache-Control``, where the mirror has one.
    #[getter]
    fn cache_control(&self) -> Option<&str> {
        self.cache_control.as_deref()
    }

    /// Reads on, as the ``read`` of a file does: ``size`` bytes, or as many as there are; all of them when it is
    /// negative or None. Nothing at the end.
    ///
    /// Let what it raises through: the file is not acknowledged in any case.
    ///
    /// Raises:
    ///     ConflictError: The file changed while it was read. It is sent again later.
    ///     IoError: The file cannot be read.
    ///     CancelledError: The run was cancelled.
    ///     ValueError: The call of ``put`` has ended.
    #[pyo3(signature = (size=Some(-1), /), text_signature = "($self, size=-1, /)")]
    fn read<'py>(&self, py: Python<'py>, size: Option<i64>) -> PyResult<Bound<'py, PyBytes>> {
        if self.process != std::process::id() {
            let message = "this upload was begun before a fork, by the parent process";
            return Err(errors::forked_with_hint(py, message, "read it in the process that calls `put`"));
        }
        let len = size.and_then(|size| u64::try_from(size).ok()).unwrap_or(u64::MAX);
        // Without room: no piece waits anywhere while the next one is read.
        let (answering, answers) = mpsc::sync_channel(0);
        self.asking.send(Request::Read { len, answers: answering }).map_err(|_| over())?;
        // The receiver goes along: threads cannot share it.
        let (first, answers) = py.detach(move || (answers.recv(), answers));
        let len = match first {
            Ok(Answer::Length(len)) => usize::try_from(len).unwrap_or(usize::MAX),
            Ok(Answer::Failed(error)) => return Err(raised(py, &error)),
            Ok(Answer::Piece(_)) | Err(_) => return Err(over()),
        };
        let content = &*self.content;
        PyBytes::new_with(py, len, |buffer| {
            let filled = py.detach(move || fill(buffer, &answers, content));
            filled.map_err(|error| error.map_or_else(over, |error| raised(py, &error)))
        })
    }

    /// True: it is there to be read.
    #[pyo3(signature = ())]
    fn readable(&self) -> bool {
        true
    }

    /// How many bytes have been read.
    #[pyo3(signature = ())]
    fn tell(&self) -> u64 {
        self.content.taken()
    }

    fn __len__(&self) -> usize {
        usize::try_from(self.content.size).unwrap_or(usize::MAX)
    }

    fn __repr__(&self) -> String {
        let key = treewarden::escape(self.key.as_bytes());
        format!("<treewarden.Upload `{key}` of {} bytes>", self.content.size)
    }
}

fn over() -> PyErr {
    PyValueError::new_err("the upload has ended: it can be read for as long as `put` runs")
}

fn raised(py: Python<'_>, error: &StorageError) -> PyErr {
    let kind = match error.fault {
        StorageFault::Changed => ErrorKind::Conflict,
        StorageFault::Cancelled => ErrorKind::Cancelled,
        _ => ErrorKind::Io,
    };
    errors::of_kind(py, kind, &error.message)
}
