//! What copies a directory into a bucket otherwise: `rclone sync` and `s5cmd sync`, where they are installed.
//!
//! Both get the number of connections that everybody gets, and else their defaults. rclone is told not to look whether the bucket is
//! there, which saves it a request. Neither sees the environment of the harness: no profile, no proxy, no configuration of a user.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;
use crate::measure::{Record, record};

use super::server::{ACCESS_KEY, REGION, SECRET_KEY};
use super::{CONNECTIONS, Who};

/// Names the program where it is not in `PATH`.
const S5CMD: &str = "TREEWARDEN_BENCH_S5CMD";
const PEAK_EVERY: Duration = Duration::from_millis(5);

/// What is installed here: programs, and their versions.
pub(super) struct Peers {
    rclone: Option<String>,
    s5cmd: Option<(OsString, String)>,
}

/// What a peer is to do.
pub(super) struct Work<'a> {
    pub(super) who: Who,
    pub(super) dir: &'a Path,
    pub(super) port: u16,
    /// What every key begins with; empty for nothing.
    pub(super) prefix: &'a str,
    /// The folder in which it finds its home, and what it complained of.
    pub(super) folder: &'a Path,
}

impl Peers {
    pub(super) fn find() -> Peers {
        let rclone = version(Command::new("rclone").arg("version"));
        let program = std::env::var_os(S5CMD).unwrap_or_else(|| "s5cmd".into());
        let s5cmd = version(Command::new(&program).arg("version"));
        Peers {
            rclone: rclone.map(|version| version.trim_start_matches("rclone ").to_owned()),
            s5cmd: s5cmd.map(|version| (program, version)),
        }
    }

    /// Its version, where it is installed.
    pub(super) fn version(&self, who: Who) -> Option<&str> {
        match who {
            Who::Rclone | Who::RcloneLess => self.rclone.as_deref(),
            Who::S5cmd => self.s5cmd.as_ref().map(|(_, version)| version.as_str()),
            Who::Floor | Who::Ours => None,
        }
    }

    /// Runs it, from its start to its exit.
    pub(super) fn sync(&self, work: &Work<'_>) -> Result<Record> {
        let start = Instant::now();
        let mut command = self.command(work)?;
        let status = command.status().map_err(|error| cannot_run(&command, &error))?;
        let seconds = start.elapsed().as_secs_f64();
        succeeded(status.success(), work)?;
        Ok(record([("seconds", seconds)]))
    }

    /// The same, looking at its memory all the time: the most of it is told only while it runs.
    pub(super) fn sync_and_look(&self, work: &Work<'_>) -> Result<Record> {
        let start = Instant::now();
        let mut command = self.command(work)?;
        let mut child = command.spawn().map_err(|error| cannot_run(&command, &error))?;
        let mut peak_bytes = f64::NAN;
        while matches!(child.try_wait(), Ok(None)) {
            // Once it has ended it has none.
            peak_bytes = peak_of(child.id()).unwrap_or(peak_bytes);
            thread::sleep(PEAK_EVERY);
        }
        let status = child.wait()?;
        let seconds = start.elapsed().as_secs_f64();
        succeeded(status.success(), work)?;
        Ok(record([("seconds", seconds), ("peak_bytes", peak_bytes)]))
    }

    fn command(&self, work: &Work<'_>) -> Result<Command> {
        let mut command = match (work.who, &self.s5cmd) {
            (Who::Rclone, _) => rclone(work, &[]),
            // As its manual advises where requests are dear: one listing of everything, and the times that it tells.
            (Who::RcloneLess, _) => rclone(work, &["--fast-list", "--update", "--use-server-modtime"]),
            (Who::S5cmd, Some((program, _))) => s5cmd(work, program),
            (Who::Floor | Who::Ours | Who::S5cmd, _) => return Err("there is no such program".into()),
        };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(complaints(work))?);
        Ok(command)
    }
}

fn version(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().next().unwrap_or_default().trim();
    (output.status.success() && !line.is_empty()).then(|| line.to_owned())
}

/// A program that finds nothing but what it is given.
fn bare(program: &OsStr, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("HOME", home);
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}

fn rclone(work: &Work<'_>, options: &[&str]) -> Command {
    let connections = CONNECTIONS.to_string();
    let mut command = bare(OsStr::new("rclone"), work.folder);
    command
        .env("RCLONE_CONFIG", "/dev/null")
        .env("RCLONE_CONFIG_BENCH_TYPE", "s3")
        // Addresses with the bucket in the path, and the second kind of listings.
        .env("RCLONE_CONFIG_BENCH_PROVIDER", "Minio")
        .env("RCLONE_CONFIG_BENCH_ACCESS_KEY_ID", ACCESS_KEY)
        .env("RCLONE_CONFIG_BENCH_SECRET_ACCESS_KEY", SECRET_KEY)
        .env("RCLONE_CONFIG_BENCH_ENDPOINT", endpoint(work))
        .env("RCLONE_CONFIG_BENCH_REGION", REGION)
        .env("RCLONE_CONFIG_BENCH_NO_CHECK_BUCKET", "true")
        // One that fails must fail, not begin again.
        .args(["sync", "--retries", "1"])
        .args(["--transfers", connections.as_str(), "--checkers", connections.as_str()])
        .args(options)
        .arg(work.dir)
        .arg(format!("bench:{}/{}", work.who.bucket(), work.prefix));
    command
}

fn s5cmd(work: &Work<'_>, program: &OsStr) -> Command {
    let connections = CONNECTIONS.to_string();
    let slash = if work.prefix.is_empty() { "" } else { "/" };
    // What lies in the directory, and not the directory itself.
    let mut content = work.dir.as_os_str().to_owned();
    content.push("/");
    let mut command = bare(program, work.folder);
    command
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        .env("AWS_REGION", REGION)
        .args(["--log", "error", "--numworkers", connections.as_str()])
        .args(["--endpoint-url", endpoint(work).as_str(), "sync", "--delete"])
        .arg(content)
        .arg(format!("s3://{}/{}{slash}", work.who.bucket(), work.prefix));
    command
}

/// The most memory that a running process has used, in bytes.
fn peak_of(process: u32) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let kilobytes = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(kilobytes.split_whitespace().next()?.parse::<f64>().ok()? * 1024.0)
}

fn endpoint(work: &Work<'_>) -> String {
    format!("http://127.0.0.1:{}", work.port)
}

fn complaints(work: &Work<'_>) -> PathBuf {
    work.folder.join("complaints")
}

fn cannot_run(command: &Command, error: &std::io::Error) -> String {
    format!("cannot run {}: {error}", command.get_program().display())
}

/// Fails with the last thing that it complained of.
fn succeeded(success: bool, work: &Work<'_>) -> Result<()> {
    if success {
        return Ok(());
    }
    let text = fs::read(complaints(work)).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it did not say why");
    Err(format!("it failed: {}", last.escape_debug()).into())
}
