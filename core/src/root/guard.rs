//! The root guard (rule R5 in ARCHITECTURE.md): before and after a scan the directory of a root must
//! be the one that it was. Anything else makes the root unavailable and changes nothing.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::io::Errno;

use crate::path::escape;
use crate::root_record::{RootIdentity, RootRecord};
use crate::sys;

/// A root that passed.
#[derive(Debug)]
pub(crate) struct Guarded {
    pub(crate) fd: OwnedFd,
    pub(crate) identity: RootIdentity,
    pub(crate) dev: u64,
}

/// Opens the directory of a root and checks that it is the one that was added. The error is the
/// reason, in words for a person.
pub(crate) fn open(record: &RootRecord) -> Result<Guarded, String> {
    let shown = escape(record.path.as_os_str().as_bytes());
    let fd = sys::open_root(&record.path).map_err(|error| match error {
        Errno::NOENT => format!("`{shown}` does not exist; is a disk not mounted?"),
        Errno::NOTDIR => format!("`{shown}` is no longer a directory"),
        Errno::ACCESS | Errno::PERM => format!("`{shown}` may not be read: permission denied"),
        error => format!("`{shown}` cannot be opened: {error}"),
    })?;
    let (identity, dev) =
        super::identity(&fd).map_err(|error| format!("`{shown}` cannot be examined: {error}"))?;
    same(record, &identity).map_err(|why| format!("`{shown}` {why}"))?;
    Ok(Guarded { fd, identity, dev })
}

/// Checks after the walk that the path still leads to the directory that was walked.
pub(crate) fn check(record: &RootRecord, guarded: &Guarded) -> Result<(), String> {
    let again = open(record)?;
    if (again.identity, again.dev) == (guarded.identity, guarded.dev) {
        Ok(())
    } else {
        let shown = escape(record.path.as_os_str().as_bytes());
        Err(format!("`{shown}` was replaced by another directory during the scan"))
    }
}

/// The identity of a directory that lies in the place of one that was deleted, on the same file system.
pub(crate) fn recreated(record: &RootRecord) -> Option<RootIdentity> {
    let fd = sys::open_root(&record.path).ok()?;
    let (now, _) = super::identity(&fd).ok()?;
    let before = &record.identity;
    (before.fs_type == now.fs_type && before.fs_id == now.fs_id && *before != now).then_some(now)
}

fn same(record: &RootRecord, now: &RootIdentity) -> Result<(), &'static str> {
    let before = &record.identity;
    if before.fs_type != now.fs_type || (before.fs_id != 0 && now.fs_id != 0 && before.fs_id != now.fs_id) {
        return Err(
            "lies on another file system than before; a disk may be missing, or another one mounted in its place",
        );
    }
    let reborn = before.born_ns != 0 && now.born_ns != 0 && before.born_ns != now.born_ns;
    if record.compare.trusts_inode() && (before.inode != now.inode || reborn) {
        return Err("is another directory than before, under the same name");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Compare;
    use crate::options::ContentHash;
    use crate::root_record::RootState;

    #[test]
    fn a_root_is_known_by_file_system_and_inode() {
        let identity = RootIdentity { inode: 5, fs_type: 0xEF53, fs_id: 9, born_ns: 7 };
        let mut record = RootRecord {
            id: 1,
            name: "r".into(),
            path: "/r".into(),
            identity,
            compare_asked: Compare::Auto,
            compare: Compare::Full,
            content_hash: ContentHash::Off,
            ignore: Vec::new(),
            live_node: 1,
            gone_node: 2,
            state: RootState::New,
            last_scan_ns: 0,
            rules_digest: 0,
            adopt: false,
            rebuilt: false,
            last_full_ns: 0,
        };
        assert!(same(&record, &identity).is_ok());
        assert!(same(&record, &RootIdentity { inode: 6, ..identity }).is_err());
        assert!(same(&record, &RootIdentity { fs_type: 1, ..identity }).is_err());
        assert!(same(&record, &RootIdentity { fs_id: 8, ..identity }).is_err());
        assert!(same(&record, &RootIdentity { fs_id: 0, ..identity }).is_ok(), "no id, no opinion");
        assert!(
            same(&record, &RootIdentity { born_ns: 8, ..identity }).is_err(),
            "another disk of the same kind"
        );
        record.compare = Compare::NoInode;
        assert!(same(&record, &RootIdentity { inode: 6, ..identity }).is_ok());
    }
}
