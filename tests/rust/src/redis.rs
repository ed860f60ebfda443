//! A Redis of a test's own: on a free port of the loopback interface, without a trace on the disk, killed when
//! it is dropped.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{HANG, skip};

const PROGRAM: &str = "redis-server";

/// A running `redis-server`. What it holds is in memory alone: [`RedisServer::restart`] loses everything.
#[derive(Debug)]
pub struct RedisServer {
    child: Option<Child>,
    port: u16,
    more: Vec<String>,
    dir: TempDir,
}

impl RedisServer {
    /// Starts one for a test. `None`, and a word on stderr, where the program is not installed; on a build
    /// server (`CI=true`) that is a failure.
    #[must_use]
    pub fn start(test: &str) -> Option<Self> {
        Self::start_with(test, &[])
    }

    /// As [`RedisServer::start`], with more arguments.
    #[must_use]
    pub fn start_with(test: &str, more: &[&str]) -> Option<Self> {
        let known = Command::new(PROGRAM).arg("--version").stdout(Stdio::null()).status();
        if known.is_err() {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{test}: {PROGRAM} is not installed");
            skip(test, format!("{PROGRAM} is not installed"));
            return None;
        }
        let more: Vec<String> = more.iter().map(|word| (*word).to_owned()).collect();
        for _ in 0..10 {
            let dir = tempfile::Builder::new().prefix("treewarden-redis-").tempdir().unwrap();
            let mut server = Self { child: None, port: free_port(), more: more.clone(), dir };
            if server.run() {
                return Some(server);
            }
        }
        panic!("{test}: {PROGRAM} does not start");
    }

    /// Starts the program and waits until it answers; false when it ends instead, as for a port that
    /// somebody else was given meanwhile.
    fn run(&mut self) -> bool {
        let port = self.port.to_string();
        let child = Command::new(PROGRAM)
            .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--loglevel", "warning", "--daemonize", "no", "--dir"])
            .arg(self.dir.path())
            .args(&self.more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
        let started = Instant::now();
        while started.elapsed() < HANG {
            if self.child.as_mut().unwrap().try_wait().unwrap().is_some() {
                self.child = None;
                return false;
            }
            // Any answer will do: it may ask for a password.
            if TcpStream::connect(("127.0.0.1", self.port))
                .is_ok_and(|mut s| ask(&mut s, &["PING"]).is_some())
            {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("{PROGRAM} does not answer");
    }

    /// Where it is, for `Fleet::connect`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts it again on the same port, empty.
    pub fn restart(&mut self) {
        self.kill();
        assert!(self.run(), "{PROGRAM} does not start again");
    }

    /// Runs a command and returns the answer as text: strings and numbers as they are, one line for each
    /// element of an array, `(nil)` for nothing, and errors with a `-` before them.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        ask(&mut stream, words).unwrap_or_else(|| panic!("{words:?}: no answer"))
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A port that nobody uses at the moment.
#[must_use]
pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

fn ask(stream: &mut TcpStream, words: &[&str]) -> Option<String> {
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    stream.write_all(request.as_bytes()).ok()?;
    answer(&mut BufReader::new(stream))
}

fn answer(input: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    input.read_line(&mut line).ok()?;
    let line = line.trim_end();
    let (kind, rest) = line.split_at_checked(1)?;
    match kind {
        "+" | ":" => Some(rest.to_owned()),
        "-" => Some(line.to_owned()),
        "$" | "*" if rest == "-1" => Some("(nil)".to_owned()),
        "$" => {
            let mut bytes = vec![0; rest.parse::<usize>().ok()? + 2];
            input.read_exact(&mut bytes).ok()?;
            bytes.truncate(bytes.len() - 2);
            Some(String::from_utf8_lossy(&bytes).into_owned())
        }
        "*" => {
            let mut lines = Vec::new();
            for _ in 0..rest.parse::<usize>().ok()? {
                lines.push(answer(input)?);
            }
            Some(lines.join("\n"))
        }
        _ => None,
    }
}

/// The time since the machine was started, in nanoseconds: the same for all processes, and never set.
#[must_use]
pub fn clock_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let (seconds, ns) = (u64::try_from(time.tv_sec).unwrap(), u64::try_from(time.tv_nsec).unwrap());
    seconds * 1_000_000_000 + ns
}
