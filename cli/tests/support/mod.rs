//! A world to watch, and a program that watches it.
//!
//! Nothing here waits for a time to pass: a line is awaited, for as long as no machine takes.

// Each test binary has its own copy and uses a part of it.
#![allow(dead_code)]

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// What takes longer than this hangs.
pub(crate) const HANG: Duration = Duration::from_secs(120);

/// A directory with a tree in it, `tree`, and a state file beside the tree.
pub(crate) struct World {
    dir: TempDir,
}

impl World {
    pub(crate) fn new() -> World {
        let world = World { dir: TempDir::new().unwrap() };
        fs::create_dir(world.path("tree")).unwrap();
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file and the directories above it, all at once for whoever watches.
    pub(crate) fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let draft = self.path("draft");
        fs::write(&draft, content).unwrap();
        fs::rename(draft, path).unwrap();
    }

    pub(crate) fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_treewarden"));
        command
            .current_dir(self.dir.path())
            .env_remove("TREEWARDEN_DB")
            .env("HOME", self.path("home"))
            .env("XDG_DATA_HOME", self.path("data"))
            .stdin(Stdio::null())
            .args(args);
        command
    }

    /// Runs a call to its end, on the state file of this world.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).arg("--db").arg(self.path("state.tw")).output().unwrap()
    }

    /// Runs a call that must end well, and returns its lines of JSON.
    pub(crate) fn json(&self, args: &[&str]) -> Vec<Value> {
        let output =
            self.command(args).arg("--json").arg("--db").arg(self.path("state.tw")).output().unwrap();
        assert!(output.status.success(), "{}", err(&output));
        out(&output).lines().map(json).collect()
    }

    /// Starts a call that goes on, on the state file of this world.
    pub(crate) fn start(&self, args: &[&str]) -> Watcher {
        Watcher::new(self.command(args).arg("--db").arg(self.path("state.tw")))
    }

    /// Starts to watch and waits until it does.
    pub(crate) fn watch(&self, args: &[&str]) -> Watcher {
        let mut watcher = self.start(args);
        watcher.err.until("watching ");
        watcher
    }
}

/// A call that goes on. It is killed when it goes out of sight.
pub(crate) struct Watcher {
    pub(crate) child: Child,
    pub(crate) out: Lines,
    pub(crate) err: Lines,
}

/// The lines of a pipe, read by a thread of its own so that none is waited for too long.
pub(crate) struct Lines {
    next: Receiver<String>,
    pub(crate) seen: Vec<String>,
}

impl Lines {
    pub(crate) fn of(pipe: impl Read + Send + 'static) -> Lines {
        let (sender, next) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Lines { next, seen: Vec::new() }
    }

    /// Waits for a line that holds all these parts, and returns it.
    pub(crate) fn until_all(&mut self, parts: &[&str]) -> String {
        loop {
            match self.next.recv_timeout(HANG) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if parts.iter().all(|part| line.contains(part)) {
                        return line;
                    }
                }
                Err(error) => panic!("{error}: no line with {parts:?} after {:#?}", self.seen),
            }
        }
    }

    pub(crate) fn until(&mut self, part: &str) -> String {
        self.until_all(&[part])
    }

    /// Waits for the end of the pipe, and returns all its lines.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        loop {
            match self.next.recv_timeout(HANG) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Disconnected) => return self.seen.clone(),
                Err(RecvTimeoutError::Timeout) => panic!("it goes on after {:#?}", self.seen),
            }
        }
    }
}

impl Watcher {
    pub(crate) fn new(command: &mut Command) -> Watcher {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        Watcher { child, out: Lines::of(out), err: Lines::of(err) }
    }

    pub(crate) fn signal(&self, name: &str) {
        send(self.child.id(), name);
    }

    /// Waits for the end and returns the exit code.
    pub(crate) fn code(&mut self) -> Option<i32> {
        self.out.rest();
        self.err.rest();
        self.child.wait().unwrap().code()
    }

    /// Ends it as a person does; it must end well.
    pub(crate) fn end(mut self) -> (Vec<String>, Vec<String>) {
        self.signal("INT");
        assert_eq!(self.code(), Some(0), "{:#?}", self.err.seen);
        (std::mem::take(&mut self.out.seen), std::mem::take(&mut self.err.seen))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn send(pid: u32, signal: &str) {
    let sent = Command::new("sh").arg("-c").arg(format!("kill -{signal} {pid}")).status().unwrap();
    assert!(sent.success());
}

pub(crate) fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

pub(crate) fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value[field].as_str().unwrap_or("")
}
