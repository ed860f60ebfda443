//! What is mounted below a root, and when that changes, from `/proc/self/mountinfo` (proc(5)). Where there
//! is none nothing is known of mounts until a scan comes by.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use super::backend::Sink;

/// Tells when something is mounted or unmounted, anywhere.
#[cfg(target_os = "linux")]
pub(crate) struct MountWatch {
    stop: std::os::fd::OwnedFd,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[cfg(target_os = "linux")]
impl MountWatch {
    /// `None` where the system does not tell.
    pub(crate) fn start(sink: Arc<dyn Sink>) -> Option<Self> {
        use rustix::event::{PollFd, PollFlags, poll};
        use rustix::fs::{Mode, OFlags};

        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let table = rustix::fs::open("/proc/self/mountinfo", flags, Mode::empty()).ok()?;
        // A byte wakes the thread at the other end.
        let (read, stop) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).ok()?;
        let watch = move || {
            loop {
                // The kernel marks the table as an exception when it changes.
                let mut fds = [PollFd::new(&table, PollFlags::PRI), PollFd::new(&read, PollFlags::IN)];
                match poll(&mut fds, None) {
                    Ok(_) | Err(rustix::io::Errno::INTR) => {}
                    Err(_) => return,
                }
                let [table, read] = &fds;
                if !read.revents().is_empty() {
                    return;
                }
                if table.revents().intersects(PollFlags::PRI | PollFlags::ERR) {
                    sink.mounts_changed();
                }
            }
        };
        let thread = std::thread::Builder::new().name("tw-mounts".to_owned()).spawn(watch).ok()?;
        Some(Self { stop, thread: Some(thread) })
    }

    pub(crate) fn stop(self) {
        // A byte, not the end of the pipe: a forked child may hold that open.
        let _ = rustix::io::write(&self.stop, &[0]);
        if let Some(thread) = self.thread {
            let _ = thread.join();
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) struct MountWatch;

#[cfg(not(target_os = "linux"))]
impl MountWatch {
    pub(crate) fn start(_: Arc<dyn Sink>) -> Option<Self> {
        None
    }

    pub(crate) fn stop(self) {}
}

/// Something that is mounted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mount {
    /// Relative to the root.
    pub(crate) at: Vec<u8>,
    /// As the kernel counts: another mount at the same place has another one.
    pub(crate) id: u64,
    /// Type of the file system.
    pub(crate) fs_type: String,
}

/// What is mounted below `root`.
pub(crate) fn below(root: &Path) -> BTreeSet<Mount> {
    std::fs::read("/proc/self/mountinfo").map(|table| parse(&table, root)).unwrap_or_default()
}

fn parse(table: &[u8], root: &Path) -> BTreeSet<Mount> {
    let parse_line = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b' ');
        let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
        let point = unescape(fields.nth(3)?);
        let at = crate::sys::as_path(&point).strip_prefix(root).ok()?;
        let at = at.as_os_str().as_bytes().to_vec();
        // Optional fields of any number end with a hyphen.
        let fs_type = fields.skip_while(|field| *field != b"-").nth(1)?;
        Some(Mount { at, id, fs_type: String::from_utf8_lossy(fs_type).into_owned() })
    };
    table.split(|byte| *byte == b'\n').filter_map(parse_line).filter(|mount| !mount.at.is_empty()).collect()
}

/// Blanks, tabs, line breaks and backslashes are written as three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let digits = after.get(..3).filter(|d| byte == b'\\' && d.iter().all(|c| (b'0'..=b'7').contains(c)));
        match digits {
            Some(digits) => {
                out.push(digits.iter().fold(0u8, |n, c| n.wrapping_mul(8).wrapping_add(c - b'0')));
                rest = after.get(3..).unwrap_or_default();
            }
            None => out.push(byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_below_a_root_are_found_with_odd_names() {
        let table = b"21 1 8:1 / / rw - ext4 /dev/a rw\n\
            22 21 0:5 / /srv/a\\040b rw shared:1 - tmpfs t rw\n\
            23 21 0:6 / /srv rw - tmpfs t rw\n\
            24 21 0:7 / /srvx rw - tmpfs t rw\n\
            25 21 0:8 / /srv/deep/\\134n rw - tmpfs t rw\n\
            garbage\n";
        let found = parse(table, Path::new("/srv"));
        let mount = |at: &str, id| Mount { at: at.into(), id, fs_type: "tmpfs".to_owned() };
        assert_eq!(found, BTreeSet::from([mount("a b", 22), mount("deep/\\n", 25)]));
        assert_eq!(parse(table, Path::new("/")).len(), 4);
    }
}
