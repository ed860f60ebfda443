//! Snapshots: the tree as one commit left it. Looking into one needs no lock and no system call.

use std::sync::{Mutex, MutexGuard, PoisonError};

use treewarden_core::{EntryRef, Filter, Kind, Paths, Snapshot, Walk, escape};

use crate::arena::Arena;
use crate::args::{Out, OutRows, tw_bytes};
use crate::border::{Failure, Outcome, call};
use crate::error::{TW_STATUS_NOT_FOUND, tw_error, tw_status};
use crate::handle::{self, Object, Opaque};
use crate::list::{List, tw_list};
use crate::options::{self, OptionsObject, tw_options};
use crate::warden::{WardenObject, tw_warden};

/// A regular file.
pub const TW_KIND_FILE: i32 = 0;
/// A directory.
pub const TW_KIND_DIR: i32 = 1;
/// A symbolic link: known with its target, never followed.
pub const TW_KIND_SYMLINK: i32 = 2;

pub(crate) fn kind_number(kind: Kind) -> i32 {
    match kind {
        Kind::File => TW_KIND_FILE,
        Kind::Dir => TW_KIND_DIR,
        Kind::Symlink => TW_KIND_SYMLINK,
    }
}

/// All roots as one commit left them. It never changes, whatever happens meanwhile, and outlives its warden. Free it
/// with `tw_snapshot_free`: until then it keeps what has been replaced since in memory.
///
/// Addresses are `ROOT/relative/path` in bytes. Path order is byte order component by component: a directory is
/// followed by everything below it.
pub struct tw_snapshot(Opaque);

impl Object for Snapshot {
    type Opaque = tw_snapshot;
    const NAME: &'static str = "tw_snapshot";
}

/// What a snapshot knows of one path. Times are nanoseconds since 1970 UTC.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tw_entry {
    /// The address, `ROOT/relative/path`. Of `tw_snapshot_get` and `tw_snapshot_get_missing` it is the caller's own.
    pub path: tw_bytes,
    /// Where a symlink points to; NULL for all others.
    pub target: tw_bytes,
    /// Size in bytes, as the file system says.
    pub size: u64,
    /// When it was modified.
    pub mtime_ns: i64,
    /// When its inode was changed.
    pub ctime_ns: i64,
    /// When it was born, where `has_btime` is 1.
    pub btime_ns: i64,
    /// Inode number.
    pub inode: u64,
    /// The stable number of the file: it survives moves and restarts.
    pub id: u64,
    /// The commit that changed this entry last.
    pub seq: u64,
    /// When it went missing, where `is_missing` is 1.
    pub missing_since_ns: i64,
    /// The xxh3-128 of the content, where `has_hash` is 1. The first byte holds the first two of the 32 hex digits.
    pub hash: [u8; 16],
    /// Type and permission bits, as in `stat(2)`.
    pub mode: u32,
    /// `TW_KIND_FILE`, `TW_KIND_DIR` or `TW_KIND_SYMLINK`.
    pub kind: i32,
    /// 1 where the file system keeps times of birth.
    pub has_btime: i32,
    /// 1 where the root keeps hashes.
    pub has_hash: i32,
    /// 1 for a tombstone: it was there and is not any more.
    pub is_missing: i32,
    /// 1 when it was changed so shortly before it was seen that a further change could not be told apart; the next
    /// scan looks closer.
    pub is_racy: i32,
}

const _: () = assert!(size_of::<tw_entry>() == 2 * size_of::<tw_bytes>() + 104, "there is no padding");

/// Counts over a subtree.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct tw_totals {
    /// Files and symlinks.
    pub files: u64,
    /// Directories, without the one that was asked about.
    pub dirs: u64,
    /// Sum of the sizes of files and symlinks.
    pub bytes: u64,
}

/// The target is a view into the snapshot itself: it lives as long as that.
#[inline(always)] // built where it goes
fn row(entry: &EntryRef<'_>, path: tw_bytes) -> tw_entry {
    let (meta, hash, missing_since_ns) = (entry.meta(), entry.hash(), entry.missing_since_ns());
    tw_entry {
        path,
        target: tw_bytes::of_option(entry.target()),
        size: meta.size,
        mtime_ns: meta.mtime_ns,
        ctime_ns: meta.ctime_ns,
        btime_ns: meta.btime_ns.unwrap_or_default(),
        inode: meta.inode,
        id: entry.id(),
        seq: entry.seq(),
        missing_since_ns: missing_since_ns.unwrap_or_default(),
        hash: hash.unwrap_or_default().to_be_bytes(),
        mode: meta.mode,
        kind: kind_number(entry.kind()),
        has_btime: i32::from(meta.btime_ns.is_some()),
        has_hash: i32::from(hash.is_some()),
        is_missing: i32::from(missing_since_ns.is_some()),
        is_racy: i32::from(entry.is_racy()),
    }
}

fn unknown(what: &str, address: &[u8]) -> Failure {
    let message = format!("the snapshot has no {what} `{}`", escape(address));
    let mut failure = Failure::new(TW_STATUS_NOT_FOUND, message);
    failure.0.path = Some(address.to_vec());
    failure
}

/// Takes the state of all roots as the last commit left it. Any thread. Never waits: no lock, no system call. The
/// snapshot is freed with `tw_snapshot_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_warden_snapshot(
    warden: *const tw_warden,
    out: *mut *mut tw_snapshot,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(out, "out")?;
            let snapshot = handle::with::<WardenObject, _>(warden, |object| Ok(object.warden.snapshot()))?;
            out.write(handle::put(snapshot)?);
            Ok(())
        })
    }
}

/// Frees a snapshot, and with it the views of its entries. Iterators, changes and streams made from it go on. NULL is
/// allowed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_snapshot_free(
    snapshot: *mut tw_snapshot,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe { call(error, || handle::free::<Snapshot>(snapshot)) }
}

/// Gives the number of the commit that this is the state of. Any thread. Never waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_snapshot_seq(
    snapshot: *const tw_snapshot,
    seq: *mut u64,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(seq, "seq")?;
            handle::with::<Snapshot, _>(snapshot, |snapshot| {
                out.write(snapshot.seq());
                Ok(())
            })
        })
    }
}

/// Gives how many files and symlinks there are in all roots. Any thread. Never waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_snapshot_len(
    snapshot: *const tw_snapshot,
    len: *mut u64,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(len, "len")?;
            handle::with::<Snapshot, _>(snapshot, |snapshot| {
                out.write(snapshot.len());
                Ok(())
            })
        })
    }
}

/// Lists the names of the roots in order: read them with `tw_list_text`, free the list with `tw_list_free`. Any thread.
/// Never waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_snapshot_roots(
    snapshot: *const tw_snapshot,
    out: *mut *mut tw_list,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(out, "out")?;
            let names = handle::with::<Snapshot, _>(snapshot, |snapshot| {
                Ok(snapshot.roots().into_iter().map(|name| name.as_bytes().to_vec()).collect())
            })?;
            out.write(handle::put(List::Texts(names))?);
            Ok(())
        })
    }
}

/// Finds a file, directory or symlink by its address; the name of a root alone finds its directory. `entry_size` is
/// `sizeof(tw_entry)`. `path` of the entry is the address that was given, `target` lives as long as the snapshot. Any
/// thread. Never waits: no lock, no system call. `TW_STATUS_NOT_FOUND` when nothing is there, and for anything that is
/// not an address.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_snapshot_get(
    snapshot: *const tw_snapshot,
    address: tw_bytes,
    entry: *mut tw_entry,
    entry_size: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let path = address.read("address")?;
            let out = Out::sized(entry, entry_size, "entry")?;
            handle::with::<Snapshot, _>(snapshot, |snapshot| {
                let found = snapshot.get(path).ok_or_else(|| unknown("entry", path))?;
                out.write(row(&found, address));
                Ok(())
            })
        })
    }
}

/// Finds the tombstone of an entry that was there and is missing. All else is as with `tw_snapshot_get`. Any thread.
/// Never waits. `TW_STATUS_NOT_FOUND` when nothing of that address is missing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_snapshot_get_missing(
    snapshot: *const tw_snapshot,
    address: tw_bytes,
    entry: *mut tw_entry,
    entry_size: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let path = address.read("address")?;
            let out = Out::sized(entry, entry_size, "entry")?;
            handle::with::<Snapshot, _>(snapshot, |snapshot| {
                let found = snapshot.get_missing(path).ok_or_else(|| unknown("tombstone", path))?;
                out.write(row(&found, address));
                Ok(())
            })
        })
    }
}

/// Tells whether a file, directory or symlink has that address: 1 or 0. What is missing is not there. Any thread. Never
/// waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_snapshot_contains(
    snapshot: *const tw_snapshot,
    address: tw_bytes,
    is_there: *mut i32,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let path = address.read("address")?;
            let out = Out::new(is_there, "is_there")?;
            handle::with::<Snapshot, _>(snapshot, |snapshot| {
                out.write(i32::from(snapshot.contains(path)));
                Ok(())
            })
        })
    }
}

/// Gives the totals below an address, at any depth in the time of one look-up. An empty address means all roots, a file
/// counts as one. `totals_size` is `sizeof(tw_totals)`. Any thread. Never waits. `TW_STATUS_NOT_FOUND` when nothing is
/// there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_snapshot_du(
    snapshot: *const tw_snapshot,
    address: tw_bytes,
    totals: *mut tw_totals,
    totals_size: usize,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let path = address.read("address")?;
            let out = Out::sized(totals, totals_size, "totals")?;
            handle::with::<Snapshot, _>(snapshot, |snapshot| {
                let found = snapshot.du(path).ok_or_else(|| unknown("entry", path))?;
                out.write(tw_totals { files: found.files, dirs: found.dirs, bytes: found.bytes });
                Ok(())
            })
        })
    }
}

/// A walk over entries of a snapshot, in path order. Free it with `tw_iter_free`.
pub struct tw_iter(Opaque);

struct Iter(Mutex<Place>);

struct Place {
    walk: Walk,
    paths: Paths,
    arena: Arena,
}

impl Object for Iter {
    type Opaque = tw_iter;
    const NAME: &'static str = "tw_iter";
}

impl Iter {
    fn lock(&self) -> MutexGuard<'_, Place> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Writes the next entries; fewer than there is room for mean the end.
    fn fill(&mut self, rows: &OutRows<tw_entry>) -> usize {
        let Self { walk, paths, arena } = self;
        let mut index = 0;
        walk.each(rows.capacity, |entry| {
            // Targets need no copy: the walk keeps the snapshot that they lie in.
            rows.write(index, row(entry, arena.keep(paths.of(entry))));
            index += 1;
        })
    }
}

/// Reads a filter from options of the kind `TW_OPTIONS_FILTER`; NULL lets every file and symlink through.
pub(crate) fn filter(options: *const tw_options) -> Outcome<Filter> {
    handle::with_optional::<OptionsObject, _>(options, options::filter)
}

/// Begins a walk over the entries that pass a filter, in path order. `filter` are options of the kind
/// `TW_OPTIONS_FILTER`, and are not needed any more afterwards; NULL lets all files and symlinks of all roots through.
/// The iterator keeps what it needs of the snapshot, and is freed with `tw_iter_free`. Any thread. Never waits.
/// `TW_STATUS_INVALID_ARGUMENT` for options of another kind.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_snapshot_iter(
    snapshot: *const tw_snapshot,
    filter: *const tw_options,
    out: *mut *mut tw_iter,
    error: *mut *mut tw_error,
) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            let out = Out::new(out, "out")?;
            let filter = self::filter(filter)?;
            let walk = handle::with::<Snapshot, _>(snapshot, |snapshot| Ok(snapshot.walk(&filter)))?;
            let place = Place { walk, paths: Paths::new(), arena: Arena::default() };
            out.write(handle::put(Iter(Mutex::new(place)))?);
            Ok(())
        })
    }
}

/// Writes the next entries into `rows`, an array of `capacity` structs of `row_size` bytes, which is
/// `sizeof(tw_entry)`, and how many they are into `count`; 0 means the end. Some thousand rows at a time are the
/// fastest. Views in the rows live as long as the iterator, or until `tw_iter_clear`. One thread at a time. Never waits
/// for anything else: no system call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_iter_next(
    iter: *const tw_iter,
    rows: *mut tw_entry,
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
            handle::with::<Iter, _>(iter, |iter| {
                out.write(iter.lock().fill(&rows));
                Ok(())
            })
        })
    }
}

/// Lets the views in all rows so far go, and their memory: for a walk over very many entries, between two calls of
/// `tw_iter_next`. One thread at a time. Never waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_iter_clear(iter: *const tw_iter, error: *mut *mut tw_error) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe {
        call(error, || {
            handle::with::<Iter, _>(iter, |iter| {
                iter.lock().arena.clear();
                Ok(())
            })
        })
    }
}

/// Frees an iterator, and with it the views in its rows; at the end or before. NULL is allowed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tw_iter_free(iter: *mut tw_iter, error: *mut *mut tw_error) -> tw_status {
    // SAFETY: the caller's pointers are as the header says.
    unsafe { call(error, || handle::free::<Iter>(iter)) }
}
