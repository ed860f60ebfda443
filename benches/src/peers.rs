//! What walks a tree otherwise: `find`, `fd`, walkdir and jwalk, each made to look at every entry's metadata as a scan must.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::hint::black_box;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use jwalk::Parallelism;
use jwalk::rayon::ThreadPoolBuilder;

use crate::Result;
use crate::measure::{Record, record};

/// `find` printing what a scanner would keep.
pub(crate) fn find(dir: &Path) -> Result<Record> {
    timed(Command::new("find").arg(dir).args(["-printf", "%p %s %T@ %C@ %i\\n"]))
}

/// The name under which `fd` is installed here (Debian calls it `fdfind`).
pub(crate) fn fd_program() -> Option<&'static str> {
    ["fd", "fdfind"].into_iter().find(|name| {
        let version = Command::new(name)
            .arg("--version")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        version.is_ok_and(|status| status.success())
    })
}

/// `fd` with a time filter that every file passes: without one it would never call stat.
pub(crate) fn fd(program: &str, dir: &Path, threads: usize) -> Result<Record> {
    let threads = threads.to_string();
    timed(
        Command::new(program)
            .args(["--unrestricted", "--changed-after", "1971-01-01", "--threads", threads.as_str(), "."])
            .arg(dir),
    )
}

fn timed(command: &mut Command) -> Result<Record> {
    let start = Instant::now();
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .map_err(|error| format!("cannot run {command:?}: {error}"))?;
    let seconds = start.elapsed().as_secs_f64();
    if !status.success() {
        return Err(format!("{command:?} failed: {status}").into());
    }
    Ok(record([("seconds", seconds)]))
}

/// walkdir with the metadata of every entry, on one thread.
pub(crate) fn walkdir(dir: &Path) -> Result<Record> {
    let start = Instant::now();
    let (mut files, mut bytes) = (0_u64, 0_u64);
    for entry in walkdir::WalkDir::new(dir).min_depth(1) {
        let metadata = entry?.metadata()?;
        if !metadata.is_dir() {
            files += 1;
            bytes += metadata.len();
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    black_box(bytes);
    Ok(record([("seconds", seconds), ("files", files as f64)]))
}

/// jwalk with the metadata of every entry, taken on its threads.
pub(crate) fn jwalk(dir: &Path, threads: usize) -> Result<Record> {
    let start = Instant::now();
    let (mut files, mut bytes) = (0_u64, 0_u64);
    jwalk_files(dir, threads, |_, metadata| {
        files += 1;
        bytes += metadata.len();
        Ok(())
    })?;
    let seconds = start.elapsed().as_secs_f64();
    black_box(bytes);
    Ok(record([("seconds", seconds), ("files", files as f64)]))
}

/// Hands every file and symlink below `dir` with its path relative to `dir` to `each`, on the calling thread, each directory in name
/// order; the metadata was taken on jwalk's threads.
pub(crate) fn jwalk_files(
    dir: &Path,
    threads: usize,
    mut each: impl FnMut(&[u8], &Metadata) -> Result<()>,
) -> Result<()> {
    let pool = Arc::new(ThreadPoolBuilder::new().num_threads(threads).build()?);
    let walk = jwalk::WalkDirGeneric::<((), Option<Metadata>)>::new(dir)
        .skip_hidden(false)
        .sort(true)
        .parallelism(Parallelism::RayonExistingPool { pool, busy_timeout: None })
        .process_read_dir(|_depth, _path, _state, children| {
            for child in children.iter_mut().flatten() {
                child.client_state = child.metadata().ok();
            }
        });
    let mut path = Vec::new();
    for entry in walk {
        let entry = entry?;
        if entry.file_type.is_dir() {
            continue;
        }
        let metadata = entry
            .client_state
            .as_ref()
            .ok_or_else(|| format!("no metadata for {}", entry.path().display()))?;
        join(&mut path, entry.parent_path.strip_prefix(dir)?, &entry.file_name);
        each(&path, metadata)?;
    }
    Ok(())
}

fn join(path: &mut Vec<u8>, parent: &Path, name: &OsStr) {
    path.clear();
    path.extend_from_slice(parent.as_os_str().as_bytes());
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_walkers_see_every_file() -> Result<()> {
        let folder = tempfile::tempdir()?;
        std::fs::create_dir(folder.path().join("sub"))?;
        for name in ["a", ".hidden", "sub/b"] {
            std::fs::write(folder.path().join(name), "x")?;
        }
        let mut seen = Vec::new();
        jwalk_files(folder.path(), 2, |path, metadata| {
            seen.push((String::from_utf8_lossy(path).into_owned(), metadata.len()));
            Ok(())
        })?;
        seen.sort();
        assert_eq!(seen, [(".hidden".to_owned(), 1), ("a".to_owned(), 1), ("sub/b".to_owned(), 1)]);
        assert_eq!(walkdir(folder.path())?.get("files").map(|files| *files as u64), Some(3));
        Ok(())
    }
}
