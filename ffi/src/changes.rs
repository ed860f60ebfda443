//! Changes: what the journal tells, what differs between two snapshots, and what was delivered under a durable name.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use treewarden_core::{Change, ChangeKind, Changes, Cursor, Delivery, Kind, Result, Snapshot, Token};

use crate::arena::Arena;
use crate::args::{Out, OutRows, tw_bytes};
use crate::border::{Failure, Outcome, call};
use crate::error::{Details, tw_error, tw_status};
use crate::handle::{self, Object, Opaque};
use crate::snapshot::{kind_number, tw_snapshot};
use crate::warden::{WardenObject, tw_warden};

/// Seen for the first time.
pub const TW_CHANGE_ADDED: i32 = 0;
/// Its fingerprint, or its content, differs.
pub const TW_CHANGE_MODIFIED: i32 = 1;
/// The same file under another path; `from` says where it was.
pub const TW_CHANGE_MOVED: i32 = 2;
/// Proved to be gone. Its tombstone, id and attributes are kept for a while.
pub const TW_CHANGE_MISSING: i32 = 3;
/// A missing entry is back where it was.
pub const TW_CHANGE_RESTORED: i32 = 4;
/// Dropped from the state: a tombstone expired, or the entry became ignored.
pub const TW_CHANGE_FORGOTTEN: i32 = 5;

pub(crate) fn change_number(kind: ChangeKind) -> i32 {
    match kind {
        ChangeKind::Added => TW_CHANGE_ADDED,
        ChangeKind::Modified => TW_CHANGE_MODIFIED,
        ChangeKind::Moved => TW_CHANGE_MOVED,
        ChangeKind::Missing => TW_CHANGE_MISSING,
        ChangeKind::Restored => TW_CHANGE_RESTORED,
        ChangeKind::Forgotten => TW_CHANGE_FORGOTTEN,
    }
}

/// One change.
///
/// The changes of one seq happened at once. They come in an order in which they can be applied one by one, except where
/// entries swapped names: whoever keeps paths applies every `from`, `TW_CHANGE_MISSING` and `TW_CHANGE_FORGOTTEN` of a
/// seq before the rest, or goes by id.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tw_change {
    /// The commit.
    pub seq: u64,
    /// The stable number of the entry.
    pub id: u64,
    /// Name of the root at that time.
    pub root: tw_bytes,
    /// The address, `ROOT/relative/path`.
    pub path: tw_bytes,
    /// Of `TW_CHANGE_MOVED`: the address before. NULL for all others.
    pub from: tw_bytes,
    /// What happened: `TW_CHANGE_…`.
    pub kind: i32,
    /// What it happened to: `TW_KIND_…`.
    pub entry_kind: i32,
}

const _: () = assert!(size_of::<tw_change>() == 3 * size_of::<tw_bytes>() + 24, "there is no padding");

fn row(change: &Change, mut view: impl FnMut(&[u8]) -> tw_bytes) -> tw_change {
    tw_change {
        seq: change.seq,
        id: change.id,
        root: view(change.root.as_bytes()),
        path: view(&change.path),
        from: change.from.as_deref().map_or(tw_bytes::NONE, view),
        kind: change_number(change.kind),
        entry_kind: kind_number(change.entry_kind),
    }
}

/// Changes that are read one array at a time, from the oldest on. Free them with `tw_changes_free`.
pub struct tw_changes(Opaque);

/// The object behind `tw_changes`.
pub(crate) struct ChangesObject {
    last_seq: u64,
    /// The cursor that acknowledging moves; of a delivery only.
    cursor: Option<Cursor>,
    is_acknowledged: Mutex<bool>,
    state: Mutex<State>,
}

impl Object for ChangesObject {
    type Opaque = tw_changes;
    const NAME: &'static str = "tw_changes";
}

/// Changes that still can be had, in whichever way they come.
pub(crate) type Rest = Box<dyn Iterator<Item = Result<Change>> + Send>;

struct State {
    source: Source,
    /// Views of what the journal told.
    arena: Arena,
    files_only: bool,
    has_begun: bool,
    /// It has come to an error: that is told again and again, for silence would pass for the end.
    broken: Option<Failure>,
}

enum Source {
    /// Read while it is asked for. `None` once a stream has it.
    Journal(Option<Box<Changes>>),
    /// All there, up to `at` told already. Views point into it.
    Listed { list: Arc<Listed>, at: usize },
}

enum Listed {
    Diff(Vec<Change>),
    Delivery(Delivery),
}

impl Listed {
    fn changes(&self) -> &[Change] {
        match self {
            Self::Diff(changes) => changes,
            Self::Delivery(delivery) => delivery.changes(),
        }
    }
}

fn is_left_out(files_only: bool, change: &Change) -> bool {
    files_only && change.entry_kind == Kind::Dir
}

fn again(broken: &Failure) -> Failure {
    let Details { status, message, path, hint, restart_seq } = &*broken.0;
    let (message, path, hint) = (message.clone(), path.clone(), hint.clone());
    Failure(Box::new(Details { status: *status, message, path, hint, restart_seq: *restart_seq }))
}

impl State {
    fn next(&mut self) -> Option<Result<tw_change>> {
        let Self { source, arena, files_only, .. } = self;
        let files_only = *files_only;
        match source {
            Source::Journal(journal) => {
                let told = |change: &Result<Change>| {
                    !change.as_ref().is_ok_and(|change| is_left_out(files_only, change))
                };
                let change = journal.as_mut()?.find(told)?;
                Some(change.map(|change| row(&change, |bytes| arena.keep(bytes))))
            }
            Source::Listed { list, at } => loop {
                let change = list.changes().get(*at)?;
                *at += 1;
                if !is_left_out(files_only, change) {
                    return Some(Ok(row(change, tw_bytes::of)));
                }
            },
        }
    }

    /// Writes the next changes; none mean the end.
    fn fill(&mut self, rows: &OutRows<tw_change>) -> Outcome<usize> {
        self.has_begun = true;
        let mut filled = 0;
        while self.broken.is_none() && filled < rows.capacity {
            match self.next() {
                Some(Ok(change)) => {
                    rows.write(filled, change);
                    filled += 1;
                }
                Some(Err(error)) => self.broken = Some(error.into()),
                None => break,
            }
        }
        // What came before an error is told first.
        match &self.broken {
            Some(broken) if filled == 0 => Err(again(broken)),
            _ => Ok(filled),
        }
    }
}

impl ChangesObject {
    fn new(last_seq: u64, cursor: Option<Cursor>, source: Source) -> Self {
        let state =
            State { source, arena: Arena::default(), files_only: false, has_begun: false, broken: None };
        Self { last_seq, cursor, is_acknowledged: Mutex::new(false), state: Mutex::new(state) }
    }

    fn journal(changes: Changes) -> Self {
        Self::new(changes.last_seq(), None, Source::Journal(Some(Box::new(changes))))
    }

    fn listed(last_seq: u64, cursor: Option<Cursor>, list: Listed) -> Self {
        Self::new(last_seq, cursor, Source::Listed { list: Arc::new(list), at: 0 })
    }

    /// What came under the name of `cursor`.
    pub(crate) fn delivery(delivery: Delivery, cursor: &Cursor) -> Self {
        Self::listed(delivery.upto(), Some(cursor.clone()), Listed::Delivery(delivery))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The commit up to which they go.
    pub(crate) fn last_seq(&self) -> u64 {
        self.last_seq
    }

    fn cursor(&self) -> Outcome<&Cursor> {
        let none = || Failure::invalid("these changes are no delivery: only `tw_follow_next` gives those");
        self.cursor.as_ref().ok_or_else(none)
    }

    /// Moves the cursor. The delivery stays to be read, and one that could not be acknowledged can be again.
    fn acknowledge(&self) -> Outcome<u64> {
        let cursor = self.cursor()?;
        let mut is_acknowledged = self.is_acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        if *is_acknowledged {
            return Err(Failure::invalid("the delivery has been acknowledged already"));
        }
        let seq = cursor.advance(self.last_seq)?;
        *is_acknowledged = true;
        Ok(seq)
    }

    /// Takes what is left. Views that were handed out stay.
    pub(crate) fn take_rest(&self) -> Outcome<Rest> {
        let mut state = self.lock();
        if let Some(broken) = &state.broken {
            return Err(again(broken));
        }
        state.has_begun = true;
        let files_only = state.files_only;
        let rest: Rest = match &mut state.source {
            Source::Journal(journal) => Box::new(journal.take().into_iter().flatten()),
            Source::Listed { list, at } => {
                let list = Arc::clone(list);
                let len = list.changes().len();
                let left = std::mem::replace(at, len)..len;
                Box::new(left.filter_map(move |index| list.changes().get(index).cloned()).map(Ok))
            }
        };
        let told = move |change: &Result<Change>| !change.as_ref().is_ok_and(|c| is_left_out(files_only, c));
        Ok(Box::new(rest.filter(told)))
    }
}

/// Gives every change after the commit `since`, oldest first, up to now; 0 means from the beginning. It reads a
/// consistent view: what happens meanwhile is not in it. Read it with `tw_changes_next`, free it with
/// `tw_changes_free`. Any thread. Reads the state file, never waits for a commit. `TW_STATUS_RESET` when the journal
/// does not reach back that far, or has not come that far: read a snapshot and go on from `restart_seq` of the error.
/// `TW_STATUS_CLOSED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_changes(
    warden: *const tw_warden,
    since: u64,
    out: *mut *mut tw_changes,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(out, "out")?;
            let changes = handle::with::<WardenObject, _>(warden, |object| {
                object.warden.changes(since).map_err(Failure::from)
            })?;
            out.write(handle::put(ChangesObject::journal(changes))?);
            Ok(())
        })
    }
}

/// As `tw_warden_changes`, from a token, the text that `tw_warden_token` gave. Any thread. Reads the state file, never
/// waits for a commit. `TW_STATUS_RESET` also when the token belongs to another state file;
/// `TW_STATUS_INVALID_ARGUMENT` for a text that is no token.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_changes_since_token(
    warden: *const tw_warden,
    token: tw_bytes,
    out: *mut *mut tw_changes,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let token: Token = token.text("token")?.parse()?;
            let out = Out::new(out, "out")?;
            let changes = handle::with::<WardenObject, _>(warden, |object| {
                object.warden.changes_since_token(&token).map_err(Failure::from)
            })?;
            out.write(handle::put(ChangesObject::journal(changes))?);
            Ok(())
        })
    }
}

/// Gives what leads from `older` to `newer`, two snapshots of one state file: what was added, modified or moved, or is
/// missing, in path order, each with the seq of the newer entry. Entries are matched by id. It costs what differs, not
/// what is there. Read it with `tw_changes_next`, free it with `tw_changes_free`. Any thread. Never waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_snapshot_diff(
    newer: *const tw_snapshot,
    older: *const tw_snapshot,
    out: *mut *mut tw_changes,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(out, "out")?;
            let changes = handle::with::<Snapshot, _>(newer, |newer| {
                handle::with::<Snapshot, _>(older, |older| {
                    Ok(ChangesObject::listed(newer.seq(), None, Listed::Diff(newer.diff(older))))
                })
            })?;
            out.write(handle::put(changes)?);
            Ok(())
        })
    }
}

/// Writes the next changes into `rows`, an array of `capacity` structs of `row_size` bytes, which is
/// `sizeof(tw_change)`, and how many they are into `count`; 0 means the end. Views in the rows live as long as the
/// changes, or until `tw_changes_clear`. One thread at a time. Those of `tw_warden_changes` are read from the state
/// file, without waiting for a commit; all others are there already. After an error, such as `TW_STATUS_CORRUPT` or
/// `TW_STATUS_IO`, the same error comes again: the rest cannot be had.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_changes_next(
    changes: *const tw_changes,
    rows: *mut tw_change,
    row_size: usize,
    capacity: usize,
    count: *mut usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let rows = OutRows::new(rows, row_size, capacity, "rows")?;
            let out = Out::new(count, "count")?;
            handle::with::<ChangesObject, _>(changes, |changes| {
                out.write(changes.lock().fill(&rows)?);
                Ok(())
            })
        })
    }
}

/// Lets the views in all rows so far go, and their memory: for very many changes, between two calls of
/// `tw_changes_next`. One thread at a time. Never waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_changes_clear(
    changes: *const tw_changes,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            handle::with::<ChangesObject, _>(changes, |changes| {
                changes.lock().arena.clear();
                Ok(())
            })
        })
    }
}

/// Leaves out directories from now on. One thread at a time. Never waits. `TW_STATUS_INVALID_ARGUMENT` after the first
/// `tw_changes_next`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_changes_files_only(
    changes: *const tw_changes,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            handle::with::<ChangesObject, _>(changes, |changes| {
                let mut state = changes.lock();
                if state.has_begun {
                    return Err(Failure::invalid("some of the changes have been read already"));
                }
                state.files_only = true;
                Ok(())
            })
        })
    }
}

/// Gives the commit up to which these changes go: where to go on when all of them have been read. Any thread. Never
/// waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_changes_last_seq(
    changes: *const tw_changes,
    seq: *mut u64,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(seq, "seq")?;
            handle::with::<ChangesObject, _>(changes, |changes| {
                out.write(changes.last_seq);
                Ok(())
            })
        })
    }
}

/// Gives the commit up to which a delivery goes: what to advance its name to, with `tw_changes_ack` or, together with
/// what was made of it, with `tw_batch_advance`. Any thread. Never waits. `TW_STATUS_INVALID_ARGUMENT` for changes that
/// are no delivery.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_changes_upto(
    changes: *const tw_changes,
    seq: *mut u64,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(seq, "seq")?;
            handle::with::<ChangesObject, _>(changes, |changes| {
                changes.cursor()?;
                out.write(changes.last_seq);
                Ok(())
            })
        })
    }
}

/// Acknowledges a delivery, whether all of it has been read or not: it does not come again. Gives the seq of the commit
/// that says so. It can be read on afterwards. Any thread. Waits until it is durable. `TW_STATUS_CONFLICT` when another
/// consumer of the same name has come further; `TW_STATUS_INVALID_ARGUMENT` for changes that are no delivery, and for
/// one that has been acknowledged. After any other error, such as `TW_STATUS_STORAGE_FULL`, it may be tried again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_changes_ack(
    changes: *const tw_changes,
    seq: *mut u64,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(seq, "seq")?;
            handle::with::<ChangesObject, _>(changes, |changes| {
                out.write(changes.acknowledge()?);
                Ok(())
            })
        })
    }
}

/// Frees changes, and with them the views in their rows; at the end or before. A delivery that was not acknowledged
/// comes again. NULL is allowed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_changes_free(changes: *mut tw_changes, error: *mut *mut tw_error) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe { call(error, || handle::free::<ChangesObject>(changes)) }
}
