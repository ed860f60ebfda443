//! Roots: by what a directory is known again, what its file system can be trusted with, and which
//! root owns a path.

pub(crate) mod guard;

use std::path::Path;

use crate::entry::Compare;
use crate::root_record::{RootIdentity, RootRecord};

pub(crate) use guard::{Guarded, check, open, recreated};

/// What is known of a type of file system: `statfs(2)` number, name, trust, clock tick.
struct FsKind {
    magic: u64,
    name: &'static str,
    compare: Compare,
    tick_ns: i64,
}

/// Other machines, or a program in user space, may change these without the kernel hearing of it.
const REMOTE: [&str; 10] = ["nfs", "ceph", "cifs", "smb2", "9p", "fuse", "afs", "lustre", "gpfs", "vboxsf"];

/// Timestamps of local file systems follow the kernel's coarse clock: this is more than two of its
/// ticks, which take 1 to 10 ms, and is shortened where the kernel says how long they take.
const TICK_LOCAL_NS: i64 = 21_000_000;
/// Servers and user-space file systems keep their own time, some by the second.
const TICK_REMOTE_NS: i64 = 1_100_000_000;
/// FAT counts in two seconds.
const TICK_FAT_NS: i64 = 2_100_000_000;

const fn fs(magic: u64, name: &'static str, compare: Compare, tick_ns: i64) -> FsKind {
    FsKind { magic, name, compare, tick_ns }
}

/// Numbers from `linux/magic.h`. NFS inode numbers and ctimes are the server's and stable by
/// protocol (RFC 1813); FUSE, SMB and 9p may make inode numbers up anew; FAT has neither.
static FILE_SYSTEMS: &[FsKind] = &[
    fs(0xEF53, "ext4", Compare::Full, TICK_LOCAL_NS),
    fs(0x5846_5342, "xfs", Compare::Full, TICK_LOCAL_NS),
    fs(0x9123_683E, "btrfs", Compare::Full, TICK_LOCAL_NS),
    fs(0x2FC1_2FC1, "zfs", Compare::Full, TICK_LOCAL_NS),
    fs(0xF2F5_2010, "f2fs", Compare::Full, TICK_LOCAL_NS),
    fs(0xCA45_1A4E, "bcachefs", Compare::Full, TICK_LOCAL_NS),
    fs(0x0102_1994, "tmpfs", Compare::Full, TICK_LOCAL_NS),
    fs(0x8584_58F6, "ramfs", Compare::Full, TICK_LOCAL_NS),
    fs(0x794C_7630, "overlayfs", Compare::Full, TICK_LOCAL_NS),
    fs(0x7371_7368, "squashfs", Compare::Full, TICK_LOCAL_NS),
    fs(0x6969, "nfs", Compare::Full, TICK_REMOTE_NS),
    fs(0x00C3_6400, "ceph", Compare::Full, TICK_REMOTE_NS),
    fs(0xFF53_4D42, "cifs", Compare::NoInode, TICK_REMOTE_NS),
    fs(0xFE53_4D42, "smb2", Compare::NoInode, TICK_REMOTE_NS),
    fs(0x0102_1997, "9p", Compare::NoInode, TICK_REMOTE_NS),
    fs(0x6573_5546, "fuse", Compare::NoInode, TICK_REMOTE_NS),
    fs(0x5346_414F, "afs", Compare::Full, TICK_REMOTE_NS),
    fs(0x0BD0_0BD0, "lustre", Compare::Full, TICK_REMOTE_NS),
    fs(0x4750_4653, "gpfs", Compare::Full, TICK_REMOTE_NS),
    fs(0x786F_4256, "vboxsf", Compare::NoInode, TICK_REMOTE_NS),
    fs(0x4D44, "vfat", Compare::SizeMtime, TICK_FAT_NS),
    fs(0x2011_BAB0, "exfat", Compare::SizeMtime, TICK_FAT_NS),
    fs(0x7366_746E, "ntfs3", Compare::Full, TICK_LOCAL_NS),
    fs(0x9660, "iso9660", Compare::NoCtime, TICK_REMOTE_NS),
];

fn kind_of(fs_type: u64) -> Option<&'static FsKind> {
    FILE_SYSTEMS.iter().find(|kind| kind.magic == fs_type)
}

/// The comparison for a file system; an unknown one is taken to be a proper one.
pub(crate) fn compare_for(asked: Compare, fs_type: u64) -> Compare {
    match asked {
        Compare::Auto => kind_of(fs_type).map_or(Compare::Full, |kind| kind.compare),
        asked => asked,
    }
}

/// How long after a change a further change may carry the same time.
pub(crate) fn tick_ns(fs_type: u64) -> i64 {
    let tick_ns = kind_of(fs_type).map_or(TICK_LOCAL_NS, |kind| kind.tick_ns);
    if tick_ns == TICK_LOCAL_NS { tick_ns.min(2 * crate::sys::clock_tick_ns() + 1_000_000) } else { tick_ns }
}

/// By what an open root directory is known again, and the device it lies on. The id of a file system
/// is kept only where it comes from the file system itself: elsewhere it is made of device numbers,
/// which a reboot may deal out anew.
pub(crate) fn identity(dir: impl std::os::fd::AsFd) -> Result<(RootIdentity, u64), rustix::io::Errno> {
    let (mut identity, dev) = crate::sys::identity(dir)?;
    if !matches!(fs_name(identity.fs_type).as_str(), "ext4" | "btrfs" | "zfs" | "tmpfs") {
        identity.fs_id = 0;
    }
    Ok((identity, dev))
}

/// True for a file system whose changes this machine does not hear of.
pub(crate) fn is_remote(fs_type: u64) -> bool {
    kind_of(fs_type).is_some_and(|kind| REMOTE.contains(&kind.name))
}

/// The same by the name of its type in a mount table.
pub(crate) fn is_remote_name(fs_type: &str) -> bool {
    const MORE: [&str; 5] = ["nfs4", "smb3", "smbfs", "glusterfs", "virtiofs"];
    let name = fs_type.split('.').next().unwrap_or_default();
    REMOTE.contains(&name) || MORE.contains(&name)
}

/// The name of a file system type, or its number.
pub(crate) fn fs_name(fs_type: u64) -> String {
    kind_of(fs_type).map_or_else(|| format!("0x{fs_type:x}"), |kind| kind.name.to_owned())
}

/// The engine's own files inside a root: no scan shows them, and no event of theirs counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnFiles {
    /// Relative to the root.
    dir: Vec<u8>,
    /// Name of the state file.
    name: Vec<u8>,
}

impl OwnFiles {
    /// `None` where the state file lies outside.
    pub(crate) fn of(root: &Path, state_file: &Path) -> Option<Self> {
        use std::os::unix::ffi::OsStrExt;
        let root = root.canonicalize().ok()?;
        let dir = state_file.parent()?.strip_prefix(&root).ok()?;
        let name = state_file.file_name()?.as_bytes().to_vec();
        Some(Self { dir: dir.as_os_str().as_bytes().to_vec(), name })
    }

    /// True for the state file and for what is written beside it.
    #[inline]
    pub(crate) fn holds(&self, dir: &[u8], name: &[u8]) -> bool {
        *dir == *self.dir
            && name.strip_prefix(self.name.as_slice()).is_some_and(|rest| {
                rest.is_empty() || rest.starts_with(b"-tw-") || rest.starts_with(b".damaged-")
            })
    }
}

/// The roots that lie inside `root`, as paths relative to it: what is below them is theirs. By
/// component: `/srv/a` does not hold `/srv/a-b`.
pub(crate) fn nested<'a>(root: &RootRecord, all: impl Iterator<Item = &'a RootRecord>) -> Vec<Vec<u8>> {
    use std::os::unix::ffi::OsStrExt;
    all.filter(|other| other.id != root.id)
        .filter_map(|other| other.path.strip_prefix(&root.path).ok())
        .filter(|below| *below != Path::new(""))
        .map(|below| below.as_os_str().as_bytes().to_vec())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remote_file_systems_are_known_by_number_and_by_name() {
        assert!(is_remote(0x6969) && !is_remote(0xEF53) && !is_remote(1));
        for name in ["nfs4", "cifs", "fuse.sshfs", "9p"] {
            assert!(is_remote_name(name), "{name}");
        }
        // A local disk through a program: all changes pass this machine.
        for name in ["ext4", "fuseblk", "overlay", ""] {
            assert!(!is_remote_name(name), "{name}");
        }
    }

    #[test]
    fn own_files_are_known_in_their_directory_only() {
        let own = OwnFiles { dir: b"cfg".to_vec(), name: b"state.db".to_vec() };
        for name in ["state.db", "state.db-tw-live", "state.db.damaged-1"] {
            assert!(own.holds(b"cfg", name.as_bytes()), "{name}");
        }
        assert!(!own.holds(b"", b"state.db") && !own.holds(b"cfg", b"state.dbx") && !own.holds(b"cfg", b"f"));
    }

    #[test]
    fn the_comparison_follows_the_file_system_unless_asked_otherwise() {
        assert_eq!(compare_for(Compare::Auto, 0xEF53), Compare::Full);
        assert_eq!(compare_for(Compare::Auto, 0x6573_5546), Compare::NoInode);
        assert_eq!(compare_for(Compare::Auto, 0x4D44), Compare::SizeMtime);
        assert_eq!(compare_for(Compare::NoCtime, 0x4D44), Compare::NoCtime);
        assert_eq!(compare_for(Compare::Auto, 1), Compare::Full);
        assert_eq!((fs_name(0xEF53).as_str(), fs_name(0x12).as_str()), ("ext4", "0x12"));
    }
}
