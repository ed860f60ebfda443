//! What watches a tree otherwise: watchman, a server that keeps a tree in memory, and watchfiles, the usual watcher of Python programs.
//! Both are measured only until they watch; neither keeps anything for the next start.

use std::fs::{DirBuilder, File};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;
use crate::measure::{Record, parse_record, record};

/// How long a server may take until it answers for the first time.
const UP_WITHIN: Duration = Duration::from_secs(10);
/// How long watchman itself waits for the tree, in milliseconds.
const READY_WITHIN_MS: u64 = 300_000;

/// Prints the seconds from the call of `watch` until its first answer, which with these settings comes as soon as it watches.
const WATCHFILES: &str = "
import json, sys, time
from watchfiles import watch
start = time.monotonic()
next(watch(sys.argv[1], watch_filter=None, debounce=1, step=1, rust_timeout=1, yield_on_timeout=True))
print(json.dumps({'seconds': time.monotonic() - start}))
";

/// The version of watchman, if it is installed.
pub(super) fn watchman_version() -> Option<String> {
    version(Command::new("watchman").arg("--version"))
}

/// The version of watchfiles, if Python has it.
pub(super) fn watchfiles_version() -> Option<String> {
    version(Command::new("python3").args(["-c", "import watchfiles; print(watchfiles.__version__)"]))
}

fn version(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

/// From the request to watch until a query is answered, by a server of our own that runs already and keeps its files in `folder`.
pub(super) fn watchman(dir: &Path, folder: &Path) -> Result<Record> {
    // Watchman touches a file in the watched directory to learn how far the kernel's events have come.
    let modified = dir.metadata()?.modified()?;
    let seconds = Server::start(folder).and_then(|server| {
        let start = Instant::now();
        server.ask(&serde_json::json!(["watch", path_text(dir)?]))?;
        server.ask(&serde_json::json!(["clock", path_text(dir)?, {"sync_timeout": READY_WITHIN_MS}]))?;
        Ok(start.elapsed().as_secs_f64())
    });
    File::open(dir)?.set_modified(modified)?;
    Ok(record([("seconds", seconds?)]))
}

/// From the call until it watches, without the start of Python.
pub(super) fn watchfiles(dir: &Path) -> Result<Record> {
    let output = Command::new("python3").args(["-c", WATCHFILES]).arg(dir).stdin(Stdio::null()).output()?;
    parse_record(&succeeded(&output)?.stdout)
}

/// A watchman server that nobody else knows of.
struct Server {
    process: Child,
    socket: PathBuf,
}

impl Server {
    fn start(folder: &Path) -> Result<Server> {
        // It refuses a socket in a directory that others may write to.
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let socket = folder.join("socket");
        let process = Command::new("watchman")
            .args(["--foreground", "--no-save-state"])
            .arg(option("--sockname=", &socket)?)
            .arg(option("--statefile=", &folder.join("state"))?)
            .arg(option("--logfile=", &folder.join("log"))?)
            .arg(option("--pidfile=", &folder.join("pid"))?)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let server = Server { process, socket };
        let begun = Instant::now();
        loop {
            match server.ask(&serde_json::json!(["version"])) {
                Ok(()) => return Ok(server),
                Err(error) if begun.elapsed() > UP_WITHIN => return Err(error),
                Err(_) => thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// One request, and an answer that is not an error.
    fn ask(&self, request: &serde_json::Value) -> Result<()> {
        let mut client = Command::new("watchman")
            .args(["--json-command", "--no-spawn", "--no-local", "--no-pretty"])
            .arg(option("--sockname=", &self.socket)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut input = client.stdin.take().ok_or("watchman takes no input")?;
        let asked = writeln!(input, "{request}");
        drop(input);
        let output = client.wait_with_output()?;
        let answer: serde_json::Value = serde_json::from_slice(&succeeded(&output)?.stdout)?;
        asked?;
        match answer.get("error") {
            Some(error) => Err(format!("watchman: {error}").into()),
            None => Ok(()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It keeps nothing that would have to be saved.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn path_text(path: &Path) -> Result<&str> {
    Ok(path.to_str().ok_or_else(|| format!("{} is not UTF-8, and JSON needs it to be", path.display()))?)
}

fn option(name: &str, path: &Path) -> Result<String> {
    Ok(format!("{name}{}", path_text(path)?))
}

fn succeeded(output: &Output) -> Result<&Output> {
    if output.status.success() {
        return Ok(output);
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let last = text.lines().next_back().unwrap_or_default();
    Err(format!("{}: {last}", output.status).into())
}
