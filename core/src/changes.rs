//! Reading the journal: an iterator over changes, and named cursors whose place is durable.

use std::os::fd::BorrowedFd;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::commit::{Engine, StateOp, Task};
use crate::entry::Kind;
use crate::error::{Error, ErrorKind, Result};
use crate::events::Interrupter;
use crate::journal::{Change, Token};
use crate::path;
use crate::signal::{Interrupt, Listener, Signal, Waited};
use crate::store::Rows;
use crate::warden::Warden;

/// Every change after a seq, oldest first, up to the commit that was the last when it was asked for.
/// It reads a consistent view: nothing that happens meanwhile disturbs it.
#[derive(Debug)]
pub struct Changes {
    rows: Rows,
    place: (u64, u32),
    last: u64,
    row: std::vec::IntoIter<Change>,
    files_only: bool,
    done: bool,
}

impl Changes {
    pub(crate) fn since(engine: &Engine, since: u64) -> Result<Self> {
        // A commit is in the store a moment before it is in the snapshot: nobody hears of it before
        // it can be looked at.
        let published = engine.load().seq();
        let rows = engine.store.rows()?;
        let counters = rows.guarded(Rows::counters)?;
        let last = counters.seq.min(published);
        if since < counters.journal_floor {
            let floor = counters.journal_floor;
            return Err(Error::reset(format!("the journal goes back to {floor}, not to {since}"), last));
        }
        if since > counters.seq {
            return Err(Error::reset(format!("the journal has come to {last}, not to {since}"), last));
        }
        Ok(Self {
            rows,
            place: (since.saturating_add(1), 0),
            last: last.max(since),
            row: Vec::new().into_iter(),
            files_only: false,
            done: false,
        })
    }

    pub(crate) fn since_token(engine: &Engine, token: &Token) -> Result<Self> {
        if token.database != engine.database {
            return Err(Error::reset("the token belongs to another database", engine.load().seq()));
        }
        Self::since(engine, token.seq)
    }

    /// Leaves out directories.
    #[must_use]
    pub fn files_only(mut self) -> Self {
        self.files_only = true;
        self
    }

    /// Returns the commit up to which this iterator goes: where to continue when it has ended.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.last
    }

    /// Reads the next row; false at the end.
    fn fill(&mut self) -> Result<bool> {
        let mut changes = Vec::new();
        match self.rows.guarded(|rows| rows.journal_row(self.place, &mut changes))? {
            Some((seq, _)) if seq > self.last => Ok(false),
            Some(next) => {
                self.place = next;
                self.row = changes.into_iter();
                Ok(true)
            }
            None => Ok(false),
        }
    }
}

impl Iterator for Changes {
    type Item = Result<Change>;

    fn next(&mut self) -> Option<Result<Change>> {
        loop {
            if let Some(change) = self.row.next() {
                if self.files_only && change.entry_kind == Kind::Dir {
                    continue;
                }
                return Some(Ok(change));
            }
            if self.done {
                return None;
            }
            match self.fill() {
                Ok(true) => {}
                Ok(false) => self.done = true,
                Err(error) => {
                    self.done = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

/// A named place in the journal that survives restarts. What has been read counts as read only when
/// it is acknowledged: a consumer that is killed in between reads it again.
#[derive(Debug, Clone)]
pub struct Cursor {
    warden: Warden,
    name: String,
}

impl Cursor {
    pub(crate) fn new(warden: &Warden, name: &str) -> Result<Self> {
        path::check_name("cursor", name)?;
        Ok(Self { warden: warden.clone(), name: name.to_owned() })
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the seq up to which changes have been acknowledged.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub fn position(&self) -> Result<u64> {
        Ok(self.warden.engine().store.read(|rows| rows.cursor(&self.name))?.unwrap_or(0))
    }

    /// Reads the changes after the cursor: whole commits, until there are at least `changes_max`
    /// (0 counts as 1) or the journal ends.
    ///
    /// # Errors
    ///
    /// `Reset` when the journal no longer reaches back to the cursor: read the snapshot, then
    /// advance the cursor to [`Error::restart_seq`].
    pub fn read(&self, changes_max: usize) -> Result<Delivery> {
        let since = self.position()?;
        let source = Changes::since(self.warden.engine(), since)?;
        let mut changes: Vec<Change> = Vec::new();
        let mut upto = source.last_seq();
        for change in source {
            let change = change?;
            if let Some(last) = changes.last()
                && last.seq != change.seq
                && changes.len() >= changes_max.max(1)
            {
                upto = last.seq;
                break;
            }
            changes.push(change);
        }
        Ok(Delivery { cursor: self.clone(), changes, upto })
    }

    /// Moves the cursor forward without reading, for example after a `Reset`.
    ///
    /// # Errors
    ///
    /// `Conflict` when it is further already.
    pub fn advance(&self, seq: u64) -> Result<u64> {
        let step = StateOp::Advance { cursor: self.name.clone(), seq };
        self.warden.engine().submit(Task::State(vec![step]))
    }
}

/// Follows the journal: blocks until there is something new for its cursor.
///
/// ```no_run
/// # fn main() -> treewarden::Result<()> {
/// # let warden = treewarden::Warden::open("state.tw")?;
/// let follow = warden.follow("indexer")?;
/// while let Some(delivery) = follow.next(1_000, None)? {
///     for change in delivery.changes() {
///         println!("{} {}", change.kind.name(), treewarden::escape(&change.path));
///     }
///     delivery.ack()?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Follow {
    cursor: Cursor,
    signal: Signal,
    interrupt: Interrupt,
    listener: OnceLock<Listener>,
}

impl Follow {
    pub(crate) fn new(cursor: Cursor, signal: &Signal) -> Self {
        Self { cursor, signal: signal.clone(), interrupt: Interrupt::new(signal), listener: OnceLock::new() }
    }

    /// Reads what is new, as [`Cursor::read`] does, and waits for it if need be, at most for `timeout` or
    /// without end. `None` at a timeout and on [`Interrupter::interrupt`]. Wakes within a millisecond of
    /// a commit. A delivery that was not acknowledged comes again.
    ///
    /// # Errors
    ///
    /// `Reset` as [`Cursor::read`]; `Closed` when the warden is closed.
    pub fn next(&self, changes_max: usize, timeout: Option<Duration>) -> Result<Option<Delivery>> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            // First silence, then look: what comes after that rings again.
            if let Some(listener) = self.listener.get() {
                listener.bell.silence();
            }
            let ring = || {
                if let Some(listener) = self.listener.get() {
                    listener.bell.ring();
                }
            };
            let delivery = self.cursor.read(changes_max).inspect_err(|_| ring())?;
            if !delivery.changes().is_empty() {
                ring();
                return Ok(Some(delivery));
            }
            match self.signal.wait(delivery.upto(), deadline, &self.interrupt) {
                Waited::Seq(_) => {}
                Waited::TimedOut | Waited::Interrupted => return Ok(None),
                Waited::Closed => {
                    ring();
                    return Err(Error::new(ErrorKind::Closed, "the warden has been closed"));
                }
            }
        }
    }

    /// Returns the cursor, to advance it after a `Reset`.
    #[must_use]
    pub fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// Returns a descriptor that becomes readable with each commit, and when the warden has been closed: for
    /// programs that wait with `poll` or an event loop. Not to be read from; it lives as long as this. When it
    /// is readable call [`Follow::next`] with a timeout of 0 until that returns `None`; wake-ups coalesce, and
    /// one may come without a change.
    ///
    /// # Errors
    ///
    /// `Io` when no descriptor is to be had.
    pub fn descriptor(&self) -> Result<BorrowedFd<'_>> {
        if self.listener.get().is_none() {
            let _ = self.listener.set(self.signal.listen()?);
        }
        let none = || Error::new(ErrorKind::Io, "there is no descriptor");
        self.listener.get().map(|listener| listener.bell.fd()).ok_or_else(none)
    }

    /// Returns a handle that wakes a waiting [`Follow::next`] from another thread.
    #[must_use]
    pub fn interrupter(&self) -> Interrupter {
        Interrupter::of(&self.interrupt)
    }
}

/// What a cursor has read and not yet acknowledged.
#[derive(Debug)]
#[must_use = "a delivery that is not acknowledged comes again"]
pub struct Delivery {
    cursor: Cursor,
    changes: Vec<Change>,
    upto: u64,
}

impl Delivery {
    /// Returns the changes, oldest first.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Returns the commit up to which this goes: what to advance the cursor to, here or in a
    /// [`crate::Batch`].
    #[must_use]
    pub fn upto(&self) -> u64 {
        self.upto
    }

    /// Acknowledges: advances the cursor durably. Returns the seq of that commit, or, when there was
    /// nothing new, the place of the cursor, without a commit.
    ///
    /// # Errors
    ///
    /// `Conflict` when another consumer of the same name was faster.
    pub fn ack(self) -> Result<u64> {
        // Commits without changes need no acknowledgement: asking again costs nothing.
        if self.changes.is_empty() {
            return self.cursor.position();
        }
        self.cursor.advance(self.upto)
    }
}
