//! A descriptor for programs that wait with `poll`, `epoll` or an event loop: it is readable while there is
//! something to be taken. Nothing is ever to be read from it by those who wait: whoever takes what there is
//! silences it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::pipe::{PipeFlags, pipe_with};

use crate::error::{Error, ErrorKind, Result};

/// A pipe: one byte in it is a ring.
#[derive(Debug)]
pub(crate) struct Bell {
    ears: OwnedFd,
    rope: OwnedFd,
    /// A child of a `fork` has the same pipe, and no right to empty it.
    process: u32,
}

impl Bell {
    pub(crate) fn new() -> Result<Self> {
        let (ears, rope) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).map_err(|errno| {
            Error::new(ErrorKind::Io, format!("cannot make a descriptor to wait for: {errno}"))
                .with_hint("the limit of open files may have been reached: `ulimit -n` shows it")
                .with_source(std::io::Error::from(errno))
        })?;
        Ok(Self { ears, rope, process: std::process::id() })
    }

    /// From now on it is readable. A full pipe rings already.
    pub(crate) fn ring(&self) {
        let _ = rustix::io::write(&self.rope, &[1]);
    }

    /// From now on it is not.
    pub(crate) fn silence(&self) {
        if self.process != std::process::id() {
            return;
        }
        let mut bytes = [0_u8; 256];
        while rustix::io::read(&self.ears, &mut bytes).is_ok_and(|n| n == bytes.len()) {}
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.ears.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    fn rings(bell: &Bell) -> bool {
        let fd = bell.fd();
        let mut fds = [PollFd::new(&fd, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
    }

    #[test]
    fn it_rings_until_it_is_silenced_however_often_it_was_rung() {
        let bell = Bell::new().unwrap();
        assert!(!rings(&bell));
        for times in [1, 2, 256, 257, 100_000] {
            (0..times).for_each(|_| bell.ring());
            assert!(rings(&bell), "{times}");
            bell.silence();
            assert!(!rings(&bell), "{times}");
        }
    }
}
