//! A child process with which a test talks in lines, and which it may kill.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};

use crate::HANG;
use crate::child::words;

/// The child and the lines it has written so far. Killed when dropped.
#[derive(Debug)]
pub struct Talk {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Talk {
    /// Starts a program.
    #[must_use]
    pub fn start(program: &str, args: &[&OsStr]) -> Self {
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{program}: {e}"));
        let stdin = child.stdin.take();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let (heard, lines) = channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            // A line without its end was cut by a kill and says nothing.
            while output.read_line(&mut line).unwrap_or(0) > 0 && line.ends_with('\n') {
                if heard.send(line.trim_end().to_owned()).is_err() {
                    return;
                }
                line.clear();
            }
        });
        Self { child, stdin, lines }
    }

    /// The next line; `None` when the child has ended.
    pub fn line(&mut self) -> Option<String> {
        match self.lines.recv_timeout(HANG) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("the child hangs"),
        }
    }

    /// The `name=value` words of the next line.
    pub fn words(&mut self) -> BTreeMap<String, String> {
        words(&self.line().expect("the child has ended too early"))
    }

    /// Writes a line and returns the `name=value` words of the answer.
    pub fn ask(&mut self, request: &str) -> BTreeMap<String, String> {
        let stdin = self.stdin.as_mut().expect("the talk is over");
        writeln!(stdin, "{request}").unwrap_or_else(|e| panic!("{request}: {e}"));
        self.words()
    }

    /// Ends the child's input and waits for it to end well.
    pub fn end(&mut self) {
        self.stdin = None;
        while self.line().is_some() {}
        let status = self.child.wait().unwrap();
        assert!(status.success(), "the child ended with {status}");
    }

    /// Kills with SIGKILL and returns what was still in the pipe.
    pub fn kill(&mut self) -> Vec<String> {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "the child failed by itself: {status}");
        self.lines.iter().collect()
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
