//! What the engine tells about itself: status, and the explanation of one path.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::commit::Engine;
use crate::entry::{Entry, Kind, Totals};
use crate::error::{Error, ErrorKind, Result};
use crate::ignore::IgnoreRules;
use crate::live::LiveStatus;
use crate::options::Durability;
use crate::path::{self, escape};
use crate::root;
use crate::root_record::{RootInfo, RootState};
use crate::snapshot::RootView;
use crate::store::FORMAT;
use crate::sys::{self, Errno};
use crate::work::PipelineStatus;

/// The engine at one glance.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// Absolute path of the state file.
    pub path: PathBuf,
    /// Id of the database, 32 hex digits.
    pub database_id: String,
    /// Version of the file format.
    pub format_version: u32,
    /// The last commit.
    pub seq: u64,
    /// Size of the state file in bytes.
    pub file_bytes: u64,
    /// First commit that the journal still tells about.
    pub journal_first_seq: u64,
    /// Last commit that the journal can tell about.
    pub journal_last_seq: u64,
    /// The roots by name.
    pub roots: Vec<RootInfo>,
    /// Sum over all roots.
    pub totals: Totals,
    /// Tombstones of files and symlinks.
    pub missing: u64,
    /// When a commit counts as done.
    pub durability: Durability,
    /// The named cursors with their places.
    pub cursors: Vec<(String, u64)>,
    /// How the roots are watched; `None` while they are not.
    pub live: Option<LiveStatus>,
    /// The pipelines that this process has opened, by name. All of it is at hand: nothing is counted for it.
    pub pipelines: Vec<PipelineStatus>,
}

/// What is on disk under an address at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskView {
    /// `file`, `dir`, `symlink`, or `special` for anything else.
    pub kind: &'static str,
    /// Size in bytes.
    pub size: u64,
    /// Modification time, nanoseconds since 1970 UTC.
    pub mtime_ns: i64,
    /// Time of the last change of the inode, nanoseconds since 1970 UTC.
    pub ctime_ns: i64,
    /// Inode number.
    pub inode: u64,
    /// Type and permission bits.
    pub mode: u32,
}

/// All that is known about one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The address asked about.
    pub address: Vec<u8>,
    /// The root that it names.
    pub root: Option<RootInfo>,
    /// The entry, if it is there.
    pub entry: Option<Entry>,
    /// The tombstone, if it is missing.
    pub missing: Option<Entry>,
    /// What is on disk now.
    pub on_disk: Option<DiskView>,
    /// The pattern that ignores it.
    pub ignored_by: Option<String>,
    /// Its attributes and their sizes in bytes.
    pub attrs: Vec<(String, u64)>,
    /// One word: `current`, `changed`, `new`, `missing`, `gone`, `ignored`, `unknown`, `special`,
    /// `unreadable` or `unavailable`.
    pub verdict: String,
    /// Why, in sentences.
    pub reasons: Vec<String>,
}

pub(crate) fn unknown_entry(address: &[u8]) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no entry `{}`", escape(address)))
        .with_path(address)
        .with_hint("scan its root if it is new")
}

pub(crate) fn root_info(view: &RootView) -> RootInfo {
    let record = &view.record;
    RootInfo {
        name: record.name.clone(),
        path: record.path.clone(),
        id: record.id,
        content_hash: record.content_hash,
        ignore: record.ignore.clone(),
        compare: record.compare,
        compare_asked: record.compare_asked,
        fs_type: root::fs_name(record.identity.fs_type),
        state: record.state.clone(),
        last_scan_ns: Some(record.last_scan_ns).filter(|&ns| ns != 0),
        totals: view.live.totals,
    }
}

pub(crate) fn status(engine: &Engine) -> Result<Status> {
    let shared = engine.load();
    let roots = shared.tree().map(|tree| tree.roots.as_slice()).unwrap_or_default();
    let (counters, cursors) = engine.store.read(|rows| Ok((rows.counters()?, rows.cursors()?)))?;
    let mut totals = Totals::default();
    for view in roots {
        totals.add(view.live.totals);
    }
    Ok(Status {
        path: engine.store.path().to_owned(),
        database_id: format!("{:032x}", engine.database),
        format_version: FORMAT,
        seq: shared.seq(),
        file_bytes: engine.store.file_bytes()?,
        journal_first_seq: counters.journal_floor + 1,
        journal_last_seq: counters.seq,
        roots: roots.iter().map(|view| root_info(view)).collect(),
        totals,
        missing: roots.iter().map(|view| view.gone.totals.files).sum(),
        durability: engine.options.durability,
        cursors,
        live: None,
        pipelines: Vec::new(),
    })
}

pub(crate) fn explain(engine: &Engine, address: &[u8]) -> Result<Explanation> {
    let (name, below) = path::parse(address)?;
    let view = engine.root(name)?;
    let snapshot = engine.snapshot();
    let entry = snapshot.get(address).map(|e| e.to_entry());
    let missing = snapshot.get_missing(address).map(|e| e.to_entry());
    let id = entry.as_ref().or(missing.as_ref()).map(|e| e.id);
    let attrs = match id {
        Some(id) => {
            engine.store.read(|rows| rows.attrs(id))?.into_iter().map(|(k, v)| (k, v.len() as u64)).collect()
        }
        None => Vec::new(),
    };
    let mut told = Explanation {
        address: address.to_vec(),
        root: Some(root_info(&view)),
        entry,
        missing,
        on_disk: None,
        ignored_by: None,
        attrs,
        verdict: String::new(),
        reasons: Vec::new(),
    };
    judge(engine, &view, below, &mut told)?;
    Ok(told)
}

/// Why a path in a root is not the root's: it lies in another root, or is the engine's own file.
fn owner(engine: &Engine, view: &RootView, below: &[u8]) -> Option<String> {
    let shared = engine.load();
    for other in &shared.tree()?.roots {
        let Ok(inside) = other.record.path.strip_prefix(&view.record.path) else { continue };
        let inside = inside.as_os_str().as_bytes();
        if other.record.id != view.record.id && !inside.is_empty() && path::is_within(below, inside) {
            return Some(format!("it belongs to the root `{}`", other.record.name));
        }
    }
    let own = engine.store.path().strip_prefix(&view.record.path).ok()?;
    (own.as_os_str().as_bytes() == below).then(|| "it is the state file itself".to_owned())
}

fn judge(engine: &Engine, view: &RootView, below: &[u8], told: &mut Explanation) -> Result<()> {
    match &view.record.state {
        RootState::New => told.reasons.push("the root has not been scanned yet".to_owned()),
        RootState::Ready => {}
        RootState::Unavailable { reason } => {
            told.reasons.push(format!("at its last scan the root was unavailable: {reason}"));
        }
        RootState::Held { missing, of } => {
            told.reasons.push(format!("the last scan is held: {missing} of {of} files would become missing"));
        }
    }
    let guarded = match root::open(&view.record) {
        Ok(guarded) => guarded,
        Err(reason) => {
            told.reasons.push(reason);
            told.verdict = "unavailable".to_owned();
            return Ok(());
        }
    };
    if let Some(owner) = owner(engine, view, below) {
        told.reasons.push(owner);
        told.verdict = "ignored".to_owned();
        return Ok(());
    }
    let (dir, name) = path::split_last(below);
    let look = sys::open_dir_below(&guarded.fd, dir).and_then(|dir| match name {
        b"" => sys::look_fd(dir),
        name => sys::look_at(dir, &sys::c_name(name)?),
    });
    let look = match look {
        Ok(look) => Some(look),
        Err(Errno::NOENT | Errno::NOTDIR) => None,
        Err(Errno::LOOP) => {
            told.reasons.push("a directory on the way is a symlink, which is not followed".to_owned());
            None
        }
        Err(error) => {
            told.reasons.push(format!("it cannot be looked at: {error}"));
            told.verdict = "unreadable".to_owned();
            return Ok(());
        }
    };
    let is_dir = look.and_then(|l| l.stat).is_some_and(|s| s.kind == Kind::Dir);
    let ignorer = IgnoreRules::new(view.record.ignore.iter().cloned())?.compile()?;
    told.ignored_by = if below.is_empty() { None } else { ignorer.ignored_by(below, is_dir) };
    told.on_disk = look.map(|look| disk_view(look.stat));
    let verdict = verdict(view, told, look.and_then(|l| l.stat), look.is_some());
    told.verdict = verdict.to_owned();
    Ok(())
}

fn disk_view(stat: Option<crate::entry::Stat>) -> DiskView {
    let seen = stat.unwrap_or(crate::entry::Stat::EMPTY_DIR);
    DiskView {
        kind: stat.map_or("special", |s| s.kind.name()),
        size: seen.size,
        mtime_ns: seen.mtime_ns,
        ctime_ns: seen.ctime_ns,
        inode: seen.inode,
        mode: seen.mode,
    }
}

fn verdict(
    view: &RootView,
    told: &mut Explanation,
    stat: Option<crate::entry::Stat>,
    exists: bool,
) -> &'static str {
    let mut say = |text: String| told.reasons.push(text);
    if let Some(pattern) = told.ignored_by.clone() {
        say(format!("it is ignored by the pattern `{}`", escape(pattern.as_bytes())));
        return "ignored";
    }
    match (&told.entry, stat, exists) {
        (Some(entry), Some(stat), _) => {
            let differs = difference(view, entry, &stat);
            if differs.is_empty() {
                say(format!("the disk agrees with the state; last changed in commit {}", entry.seq));
                return "current";
            }
            say(format!("since it was last seen changed: {}; the next scan takes it up", differs.join(", ")));
            "changed"
        }
        (Some(_), None, true) => {
            say("a FIFO, socket or device took its place".to_owned());
            "changed"
        }
        (Some(_), None, false) => {
            say("it is known, but no longer on disk; the next scan makes it missing".to_owned());
            "gone"
        }
        (None, Some(_), _) if told.missing.is_some() => {
            say("it was missing and is back on disk; the next scan restores it".to_owned());
            "new"
        }
        (None, Some(_), _) => {
            say("it is on disk and not known yet; the next scan adds it".to_owned());
            "new"
        }
        (None, None, true) => {
            say("it is a FIFO, socket or device: never opened, never an entry".to_owned());
            "special"
        }
        (None, None, false) if told.missing.is_some() => {
            say("it is missing; its tombstone keeps its id and attributes".to_owned());
            "missing"
        }
        (None, None, false) => {
            say("it is neither known nor on disk".to_owned());
            "unknown"
        }
    }
}

fn difference(view: &RootView, entry: &Entry, stat: &crate::entry::Stat) -> Vec<&'static str> {
    if entry.kind == Kind::Dir && stat.kind == Kind::Dir {
        return Vec::new();
    }
    let compare = view.record.compare;
    let mut out = Vec::new();
    let mut note = |differs: bool, what| {
        if differs {
            out.push(what);
        }
    };
    note(entry.kind != stat.kind, "kind");
    note(entry.size != stat.size, "size");
    note(entry.mtime_ns != stat.mtime_ns, "mtime");
    note(compare.trusts_ctime() && entry.ctime_ns != stat.ctime_ns, "ctime");
    note(compare.trusts_inode() && entry.inode != stat.inode, "inode");
    out
}
