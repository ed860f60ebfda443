//! The command of `work run`: its arguments for one job, the running of it, and what its exit code means.
//! Knows nothing of leases, and ends no job.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use treewarden::Job;

use crate::address::{os_bytes, os_string};

/// Stands for the path.
const MARK: &[u8] = b"{}";
/// From sysexits.h: the input was wrong. `EX_TEMPFAIL`, 75, means what every other code means.
const EX_DATAERR: i32 = 65;
/// So much of the end of a standard error is kept, in bytes.
const REASON_BYTES_MAX: usize = 1_000;
/// How often a command is looked at that does not tell its end by closing its standard error.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A process that a command left behind may hold its standard error open: that is waited for no longer.
const CLOSING_WAIT: Duration = Duration::from_secs(1);

/// A command as it was typed, to be run for any number of jobs.
pub(super) struct CommandLine {
    program: OsString,
    arguments: Vec<OsString>,
    /// What commands print goes to standard output, else nowhere.
    pub(super) shows_stdout: bool,
    /// What commands say on standard error is passed on.
    pub(super) shows_stderr: bool,
}

/// What came of a command.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Done,
    Failed(Trouble),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// The exit code; `None` when a signal ended it.
    pub(super) code: Option<i32>,
    /// It would not go well another time.
    pub(super) is_permanent: bool,
    /// What it said last, or how it ended.
    pub(super) reason: String,
}

impl CommandLine {
    /// The command of these words; `None` when there is none.
    pub(super) fn new(words: &[OsString]) -> Option<CommandLine> {
        let (program, arguments) = words.split_first()?;
        let (program, arguments) = (program.clone(), arguments.to_vec());
        Some(CommandLine { program, arguments, shows_stdout: true, shows_stderr: true })
    }

    pub(super) fn program(&self) -> &Path {
        Path::new(&self.program)
    }

    /// Starts it for a job.
    pub(super) fn start(&self, job: &Job) -> io::Result<Running> {
        let mut command = Command::new(&self.program);
        command
            .args(filled(&self.arguments, job.fs_path().as_os_str()))
            .env("TREEWARDEN_PATH", os_string(job.path()))
            .env("TREEWARDEN_STATE", job.state().name())
            .env("TREEWARDEN_ATTEMPT", job.attempt().to_string())
            .stdin(Stdio::null())
            .stdout(if self.shows_stdout { Stdio::inherit() } else { Stdio::null() })
            .stderr(Stdio::piped());
        // Ctrl-C at a terminal is meant for this program, which lets its commands come to their end.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn()?;
        match Stderr::read(child.stderr.take(), self.shows_stderr) {
            Ok(stderr) => Ok(Running { child, stderr }),
            Err(error) => {
                // A command that nobody listens to would block. It is gone already when this fails.
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }
}

/// A command under way.
pub(super) struct Running {
    child: Child,
    stderr: Stderr,
}

impl Running {
    /// Waits for the end, calling `meanwhile` every now and then.
    pub(super) fn wait(mut self, mut meanwhile: impl FnMut()) -> io::Result<Verdict> {
        let mut nap = Duration::ZERO;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            // As a rule a command lets go of its standard error by ending.
            if self.stderr.is_closed_within(LOOK_EVERY) {
                thread::sleep(nap);
                nap = LOOK_EVERY.min(nap * 2 + Duration::from_millis(1));
            }
            meanwhile();
        };
        self.stderr.is_closed_within(CLOSING_WAIT);
        Ok(verdict(status, &self.stderr.reason()))
    }
}

/// The standard error of a command, read by a thread of its own so that it never blocks.
struct Stderr {
    tail: Arc<Mutex<Vec<u8>>>,
    /// Nothing is ever sent: it hangs up when all is read.
    closed: Receiver<()>,
}

impl Stderr {
    fn read(pipe: Option<ChildStderr>, is_shown: bool) -> io::Result<Stderr> {
        let tail = Arc::new(Mutex::new(Vec::new()));
        let (open, closed) = mpsc::channel();
        let filled = Arc::clone(&tail);
        let read = move || {
            if let Some(mut pipe) = pipe {
                copy(&mut pipe, &filled, is_shown);
            }
            drop(open);
        };
        thread::Builder::new().name("stderr".to_owned()).spawn(read).map(drop)?;
        Ok(Stderr { tail, closed })
    }

    /// Waits for the end of it, but no longer than that.
    fn is_closed_within(&self, wait: Duration) -> bool {
        self.closed.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected)
    }

    fn reason(&self) -> String {
        reason(&self.tail.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn copy(pipe: &mut ChildStderr, tail: &Mutex<Vec<u8>>, is_shown: bool) {
    let mut buffer = [0; 8 * 1024];
    loop {
        let length = match pipe.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // What cannot be read is over.
            Ok(0) | Err(_) => return,
            Ok(length) => length,
        };
        let piece = buffer.get(..length).unwrap_or_default();
        if is_shown {
            // A closed standard error is no reason to stop the work.
            let _ = io::stderr().lock().write_all(piece);
        }
        let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
        tail.extend_from_slice(piece);
        let surplus = tail.len().saturating_sub(REASON_BYTES_MAX);
        tail.drain(..surplus);
    }
}

/// The arguments with the path in the place of each mark, or at the end when there is no mark.
fn filled(arguments: &[OsString], path: &OsStr) -> Vec<OsString> {
    let is_marked = arguments.iter().any(|argument| mark(os_bytes(argument)).is_some());
    let mut filled: Vec<OsString> = arguments.iter().map(|argument| fill(argument, path)).collect();
    if !is_marked {
        filled.push(path.to_owned());
    }
    filled
}

fn fill(argument: &OsStr, path: &OsStr) -> OsString {
    let mut rest = os_bytes(argument);
    let mut filled = Vec::with_capacity(rest.len() + path.len());
    while let Some(at) = mark(rest) {
        let (before, after) = rest.split_at(at);
        filled.extend_from_slice(before);
        filled.extend_from_slice(os_bytes(path));
        rest = after.strip_prefix(MARK).unwrap_or_default();
    }
    filled.extend_from_slice(rest);
    os_string(&filled)
}

/// Where the first mark is.
fn mark(bytes: &[u8]) -> Option<usize> {
    bytes.windows(MARK.len()).position(|pair| pair == MARK)
}

fn verdict(status: ExitStatus, reason: &str) -> Verdict {
    if status.success() {
        return Verdict::Done;
    }
    let code = status.code();
    let reason = if reason.is_empty() { status.to_string() } else { reason.to_owned() };
    Verdict::Failed(Trouble { code, is_permanent: code == Some(EX_DATAERR), reason })
}

/// The last bytes of a text that fit, in whole characters.
fn reason(tail: &[u8]) -> String {
    // The first character may have been cut.
    let cut = tail.iter().take_while(|byte| (**byte & 0xC0) == 0x80).count();
    let text = String::from_utf8_lossy(tail.get(cut..).unwrap_or_default());
    let text = text.trim();
    // What is no text takes more room when it is shown.
    let from = text.ceil_char_boundary(text.len().saturating_sub(REASON_BYTES_MAX));
    text.get(from..).unwrap_or_default().to_owned()
}

#[cfg(all(test, unix))]
mod tests {
    use std::ffi::{OsStr, OsString};
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::{REASON_BYTES_MAX, Trouble, Verdict, filled, reason, verdict};

    #[test]
    fn the_path_takes_the_place_of_each_mark() {
        let cases: [(&[&str], &[&str]); 6] = [
            (&[], &["/p"]),
            (&["-v"], &["-v", "/p"]),
            (&["{}"], &["/p"]),
            (&["{}", "-o", "{}.png"], &["/p", "-o", "/p.png"]),
            (&["a{}b{}c", "{"], &["a/pb/pc", "{"]),
            (&["{{}}"], &["{/p}"]),
        ];
        for (typed, expected) in cases {
            let typed: Vec<OsString> = typed.iter().map(OsString::from).collect();
            assert_eq!(filled(&typed, OsStr::new("/p")), *expected, "{typed:?}");
        }
        let odd = OsStr::from_bytes(b"/\xff{}\n");
        assert_eq!(filled(&["x".into()], odd), [OsStr::new("x"), odd], "a path is never searched for marks");
    }

    #[test]
    fn exit_codes_decide() {
        let exit = |code: i32| ExitStatus::from_raw(code << 8);
        let failed = |code, is_permanent, reason: &str| {
            Verdict::Failed(Trouble { code, is_permanent, reason: reason.to_owned() })
        };
        assert_eq!(verdict(exit(0), "a warning"), Verdict::Done);
        assert_eq!(verdict(exit(75), "busy"), failed(Some(75), false, "busy"));
        assert_eq!(verdict(exit(65), "broken"), failed(Some(65), true, "broken"));
        assert_eq!(verdict(exit(3), "bad"), failed(Some(3), false, "bad"));
        assert_eq!(verdict(exit(3), ""), failed(Some(3), false, "exit status: 3"));
        let Verdict::Failed(killed) = verdict(ExitStatus::from_raw(9), "") else {
            unreachable!("a signal is no success");
        };
        assert_eq!((killed.code, killed.is_permanent), (None, false));
        assert!(killed.reason.contains("signal: 9"), "{}", killed.reason);
    }

    #[test]
    fn a_reason_is_the_end_in_whole_characters() {
        assert_eq!(reason(b"\n one\ntwo\n"), "one\ntwo");
        assert_eq!(reason(b"\xa4\xa4 cut"), "cut");
        assert_eq!(reason(b"odd \xff"), "odd \u{fffd}");
        let long = reason(&[0xff; REASON_BYTES_MAX]);
        assert!(long.len() <= REASON_BYTES_MAX && long.chars().all(|char| char == '\u{fffd}'));
        assert_eq!(reason(b""), "");
    }
}
