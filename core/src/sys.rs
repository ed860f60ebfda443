//! The few syscalls of the engine, all relative to descriptors and none through a symlink. A path
//! below a root is opened component by component, so a rename or a symlink put in the way leads to
//! an error and never outside the root.

use std::ffi::{CStr, CString, OsStr};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};

pub(crate) use rustix::io::Errno;

use crate::entry::{Kind, Stat};
use crate::root_record::RootIdentity;

/// What a look saw, before it is an entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    /// `None` for a FIFO, socket or device.
    pub(crate) stat: Option<Stat>,
    /// Device that the file lies on.
    pub(crate) dev: u64,
    /// Whether something is mounted here; `None` where the system does not say so.
    pub(crate) is_mount: Option<bool>,
}

/// What a listing says of a name's kind; not every file system says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hint {
    Dir,
    /// A file or symlink: to be looked at.
    Leaf,
    Special,
    Unknown,
}

impl Hint {
    pub(crate) fn of(kind: FileType) -> Self {
        match kind {
            FileType::Directory => Self::Dir,
            FileType::RegularFile | FileType::Symlink => Self::Leaf,
            FileType::Unknown => Self::Unknown,
            _ => Self::Special,
        }
    }

    pub(crate) fn of_kind(kind: Kind) -> Self {
        if kind == Kind::Dir { Self::Dir } else { Self::Leaf }
    }
}

const DIR_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK);

/// Opens a root. Its own path may lead through symlinks: the user named it.
pub(crate) fn open_root(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, DIR_FLAGS.difference(OFlags::NOFOLLOW), Mode::empty())
}

/// Opens a directory within another.
pub(crate) fn open_dir_at(dir: impl AsFd, name: &CStr) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(dir, name, DIR_FLAGS, Mode::empty())
}

/// Opens the directory at a relative path below `root`; the empty path is the root again.
pub(crate) fn open_dir_below(root: impl AsFd, path: &[u8]) -> Result<OwnedFd, Errno> {
    let mut current: Option<OwnedFd> = None;
    for name in crate::path::components(path) {
        let name = CString::new(name).map_err(|_| Errno::INVAL)?;
        let next = match &current {
            Some(dir) => open_dir_at(dir, &name),
            None => open_dir_at(root.as_fd(), &name),
        }?;
        current = Some(next);
    }
    match current {
        Some(dir) => Ok(dir),
        None => open_dir_at(root, c"."),
    }
}

/// Opens a file for reading its content. Only ever called for what a look found to be a regular
/// file; `O_NONBLOCK` keeps a FIFO that took its place from blocking.
pub(crate) fn open_file_at(dir: impl AsFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

/// Looks at a name within a directory.
#[inline]
pub(crate) fn look_at(dir: impl AsFd, name: &CStr) -> Result<Look, Errno> {
    look(dir, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// Looks at an open descriptor.
pub(crate) fn look_fd(fd: impl AsFd) -> Result<Look, Errno> {
    look(fd, c"", AtFlags::EMPTY_PATH)
}

#[cfg(target_os = "linux")]
#[inline]
fn look(dir: impl AsFd, name: &CStr, flags: AtFlags) -> Result<Look, Errno> {
    use rustix::fs::{StatxAttributes, StatxFlags, StatxTimestamp};
    let mask = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let x = rustix::fs::statx(dir, name, flags, mask)?;
    let ns = |t: StatxTimestamp| t.tv_sec.saturating_mul(1_000_000_000).saturating_add(i64::from(t.tv_nsec));
    let has_btime = x.stx_mask & StatxFlags::BTIME.bits() != 0;
    let mode = u32::from(x.stx_mode);
    let stat = kind_of(mode).map(|kind| Stat {
        kind,
        size: x.stx_size,
        mtime_ns: ns(x.stx_mtime),
        ctime_ns: ns(x.stx_ctime),
        btime_ns: if has_btime { ns(x.stx_btime) } else { 0 },
        inode: x.stx_ino,
        mode,
        linked: kind != Kind::Dir && x.stx_nlink > 1,
    });
    let says = x.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT);
    Ok(Look {
        stat,
        dev: u64::from(x.stx_dev_major) << 32 | u64::from(x.stx_dev_minor),
        is_mount: says.then(|| x.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)),
    })
}

#[cfg(not(target_os = "linux"))]
fn look(dir: impl AsFd, name: &CStr, flags: AtFlags) -> Result<Look, Errno> {
    let s = if flags.contains(AtFlags::EMPTY_PATH) {
        rustix::fs::fstat(dir)?
    } else {
        rustix::fs::statat(dir, name, flags)?
    };
    let ns = |sec: i64, nsec: i64| sec.saturating_mul(1_000_000_000).saturating_add(nsec);
    let mode = u32::from(s.st_mode);
    let stat = kind_of(mode).map(|kind| Stat {
        kind,
        size: s.st_size as u64,
        mtime_ns: ns(s.st_mtime as i64, s.st_mtime_nsec as i64),
        ctime_ns: ns(s.st_ctime as i64, s.st_ctime_nsec as i64),
        btime_ns: 0,
        inode: s.st_ino as u64,
        mode,
        linked: kind != Kind::Dir && s.st_nlink > 1,
    });
    Ok(Look { stat, dev: s.st_dev as u64, is_mount: None })
}

fn kind_of(mode: u32) -> Option<Kind> {
    match FileType::from_raw_mode(mode) {
        FileType::RegularFile => Some(Kind::File),
        FileType::Directory => Some(Kind::Dir),
        FileType::Symlink => Some(Kind::Symlink),
        _ => None,
    }
}

/// Reads the target of a symlink.
pub(crate) fn read_link_at(dir: impl AsFd, name: &CStr) -> Result<Vec<u8>, Errno> {
    Ok(rustix::fs::readlinkat(dir, name, Vec::new())?.into_bytes())
}

/// Lists a directory a buffer at a time: one call of `each` for a name, until it returns false.
#[cfg(target_os = "linux")]
pub(crate) fn list(dir: impl AsFd, mut each: impl FnMut(&CStr, Hint) -> bool) -> Result<(), Errno> {
    let mut buffer = [MaybeUninit::<u8>::uninit(); 32 * 1024];
    let mut entries = rustix::fs::RawDir::new(dir, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        if !each(name, Hint::of(entry.file_type())) {
            break;
        }
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn list(dir: impl AsFd, mut each: impl FnMut(&CStr, Hint) -> bool) -> Result<(), Errno> {
    for entry in rustix::fs::Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        if !each(name, Hint::of(entry.file_type())) {
            break;
        }
    }
    Ok(())
}

/// By what a root is known again, and the device it lies on, from its open directory.
pub(crate) fn identity(dir: impl AsFd) -> Result<(RootIdentity, u64), Errno> {
    let look = look_fd(dir.as_fd())?;
    let (inode, born_ns) = look.stat.map_or((0, 0), |s| (s.inode, s.btime_ns));
    let fs_id = rustix::fs::fstatvfs(dir.as_fd())?.f_fsid;
    Ok((RootIdentity { inode, fs_type: fs_type(dir)?, fs_id, born_ns }, look.dev))
}

#[cfg(target_os = "linux")]
fn fs_type(dir: impl AsFd) -> Result<u64, Errno> {
    Ok(rustix::fs::fstatfs(dir)?.f_type.cast_unsigned())
}

#[cfg(not(target_os = "linux"))]
fn fs_type(_: impl AsFd) -> Result<u64, Errno> {
    Ok(0)
}

/// Soft limit of open descriptors of this process.
pub(crate) fn descriptor_limit() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(1024)
}

/// Lowers the priority of the calling thread. On Linux niceness belongs to a thread; elsewhere it
/// would be the whole program's, and is left alone.
pub(crate) fn be_nice(nice: i32) {
    if nice == 0 {
        return;
    }
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, nice) {
        tracing::debug!(%error, nice, "the priority of a scanning thread cannot be lowered");
    }
}

/// A name as the system wants it; names never hold a NUL.
pub(crate) fn c_name(name: &[u8]) -> Result<CString, Errno> {
    CString::new(name).map_err(|_| Errno::INVAL)
}

/// A relative path in bytes as a path of the system.
pub(crate) fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// How long a tick of the clock takes from which file systems take their times.
#[cfg(target_os = "linux")]
pub(crate) fn clock_tick_ns() -> i64 {
    let tick = rustix::time::clock_getres(rustix::time::ClockId::RealtimeCoarse);
    tick.tv_sec.saturating_mul(1_000_000_000).saturating_add(tick.tv_nsec).max(0)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn clock_tick_ns() -> i64 {
    10_000_000
}
