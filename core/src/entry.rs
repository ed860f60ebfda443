//! What is known of one path: what a look at it saw ([`Stat`]), which part of that decides
//! "unchanged" ([`Fingerprint`]), and the whole as a caller gets it ([`Entry`]).

/// What an entry is. Everything else (FIFO, socket, device) is counted and never an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// A regular file.
    File = 0,
    /// A directory.
    Dir = 1,
    /// A symbolic link, recorded with its target and never followed.
    Symlink = 2,
}

impl Kind {
    /// Returns `file`, `dir` or `symlink`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Dir => "dir",
            Self::Symlink => "symlink",
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::File),
            1 => Some(Self::Dir),
            2 => Some(Self::Symlink),
            _ => None,
        }
    }

    /// Files and symlinks are what totals, reports and listings count.
    pub(crate) fn is_counted(self) -> bool {
        self != Self::Dir
    }
}

/// What one look at a path saw. Times are nanoseconds since 1970 UTC, `btime_ns` is 0 where the
/// file system has no birth time, `size` is in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) kind: Kind,
    pub(crate) size: u64,
    pub(crate) mtime_ns: i64,
    pub(crate) ctime_ns: i64,
    pub(crate) btime_ns: i64,
    pub(crate) inode: u64,
    pub(crate) mode: u32,
    /// A file with more names than this one.
    pub(crate) linked: bool,
}

impl Stat {
    pub(crate) const EMPTY_DIR: Self = Self {
        kind: Kind::Dir,
        size: 0,
        mtime_ns: 0,
        ctime_ns: 0,
        btime_ns: 0,
        inode: 0,
        mode: 0,
        linked: false,
    };

    /// False when this is known to be another file than that: by its inode number, or, for numbers are
    /// used again, by its time of birth. True where nothing is known.
    pub(crate) fn is_same_inode(&self, other: &Self) -> bool {
        let born = self.btime_ns == other.btime_ns || self.btime_ns == 0 || other.btime_ns == 0;
        self.inode == 0 || (self.inode == other.inode && born)
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        Fingerprint {
            kind: self.kind,
            size: self.size,
            mtime_ns: self.mtime_ns,
            ctime_ns: self.ctime_ns,
            inode: self.inode,
        }
    }

    /// The identity that a rename keeps. Without a birth time an inode number alone may have been
    /// reused, so size and mtime vouch for it.
    pub(crate) fn identity(&self) -> Identity {
        if self.btime_ns == 0 {
            Identity { kind: self.kind, inode: self.inode, born: self.mtime_ns, size: self.size }
        } else {
            Identity { kind: self.kind, inode: self.inode, born: self.btime_ns, size: 0 }
        }
    }
}

/// The part of an entry that decides "unchanged".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    /// File, directory or symlink.
    pub kind: Kind,
    /// Size in bytes.
    pub size: u64,
    /// Modification time, nanoseconds since 1970 UTC.
    pub mtime_ns: i64,
    /// Time of the last change of the inode, nanoseconds since 1970 UTC.
    pub ctime_ns: i64,
    /// Inode number.
    pub inode: u64,
}

/// Equal for two looks at the same file under two names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    kind: Kind,
    inode: u64,
    born: i64,
    size: u64,
}

/// Which parts of the fingerprint a root's file system can be trusted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Compare {
    /// Chosen from the file system type when the root is added.
    #[default]
    Auto = 0,
    /// Kind, size, mtime, ctime and inode.
    Full = 1,
    /// Without the inode number: file systems that make numbers up (many FUSE file systems).
    NoInode = 2,
    /// Without the ctime: file systems on which it changes by itself.
    NoCtime = 3,
    /// Kind, size and mtime alone: network file systems without stable numbers.
    SizeMtime = 4,
}

impl Compare {
    /// Returns `auto`, `full`, `no_inode`, `no_ctime` or `size_mtime`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Full => "full",
            Self::NoInode => "no_inode",
            Self::NoCtime => "no_ctime",
            Self::SizeMtime => "size_mtime",
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        [Self::Auto, Self::Full, Self::NoInode, Self::NoCtime, Self::SizeMtime]
            .into_iter()
            .find(|c| *c as u8 == code)
    }

    pub(crate) fn trusts_inode(self) -> bool {
        !matches!(self, Self::NoInode | Self::SizeMtime)
    }

    pub(crate) fn trusts_ctime(self) -> bool {
        !matches!(self, Self::NoCtime | Self::SizeMtime)
    }

    /// True when the two fingerprints mean "unchanged". Never "mtime not newer": an older file
    /// put back in place is a change (rule R1 in ARCHITECTURE.md).
    pub(crate) fn same(self, a: &Fingerprint, b: &Fingerprint) -> bool {
        a.kind == b.kind
            && a.size == b.size
            && a.mtime_ns == b.mtime_ns
            && (!self.trusts_ctime() || a.ctime_ns == b.ctime_ns)
            && (!self.trusts_inode() || a.inode == b.inode)
    }
}

/// Everything known about one path, as owned values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Full address, `ROOT/relative/path`, in bytes.
    pub path: Vec<u8>,
    /// File, directory or symlink.
    pub kind: Kind,
    /// Size in bytes, as the file system reports it.
    pub size: u64,
    /// Modification time, nanoseconds since 1970 UTC.
    pub mtime_ns: i64,
    /// Time of the last change of the inode, nanoseconds since 1970 UTC.
    pub ctime_ns: i64,
    /// Time of birth where the file system keeps it, nanoseconds since 1970 UTC.
    pub btime_ns: Option<i64>,
    /// Inode number.
    pub inode: u64,
    /// Type and permission bits as in `stat(2)`.
    pub mode: u32,
    /// xxh3-128 of the content, where the root keeps hashes.
    pub hash: Option<u128>,
    /// Target of a symlink, in bytes.
    pub target: Option<Vec<u8>>,
    /// The stable number of the file: it survives moves and restarts.
    pub id: u64,
    /// The commit that changed this entry last.
    pub seq: u64,
    /// When the entry went missing, nanoseconds since 1970 UTC; `None` while it is there.
    pub missing_since_ns: Option<i64>,
}

impl Entry {
    /// Returns the part that decides "unchanged".
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint {
            kind: self.kind,
            size: self.size,
            mtime_ns: self.mtime_ns,
            ctime_ns: self.ctime_ns,
            inode: self.inode,
        }
    }
}

/// Counts over a subtree. Kept per directory, so any of them is read at once at any depth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Totals {
    /// Files and symlinks.
    pub files: u64,
    /// Directories, without the one asked about.
    pub dirs: u64,
    /// Sum of the sizes of regular files and symlinks, in bytes.
    pub bytes: u64,
}

impl Totals {
    pub(crate) fn add(&mut self, other: Self) {
        self.files += other.files;
        self.dirs += other.dirs;
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unchanged_is_an_equal_fingerprint_within_what_is_trusted() {
        let base = Fingerprint { kind: Kind::File, size: 1, mtime_ns: 10, ctime_ns: 20, inode: 30 };
        let older = Fingerprint { mtime_ns: 9, ..base };
        let ctime = Fingerprint { ctime_ns: 21, ..base };
        let inode = Fingerprint { inode: 31, ..base };
        let size = Fingerprint { size: 2, ..base };
        let kind = Fingerprint { kind: Kind::Symlink, ..base };
        for (compare, ctime_same, inode_same) in [
            (Compare::Full, false, false),
            (Compare::NoInode, false, true),
            (Compare::NoCtime, true, false),
            (Compare::SizeMtime, true, true),
        ] {
            assert!(compare.same(&base, &base));
            assert!(!compare.same(&base, &older), "an older file is a change");
            assert!(!compare.same(&base, &size) && !compare.same(&base, &kind));
            assert_eq!(compare.same(&base, &ctime), ctime_same, "{compare:?}");
            assert_eq!(compare.same(&base, &inode), inode_same, "{compare:?}");
        }
    }
}
