//! The command line, as a value.

use std::path::PathBuf;

use crate::Result;

pub(crate) const USAGE: &str = "\
usage: treewarden-bench [GROUP] [OPTION]...

GROUP is one of
  all       everything (default)
  scan      first scan, rescan, open, memory, size; find, fd, walkdir and jwalk
  store     the same against one row per file in redb and in SQLite
  snapshot  acquire, lookup, iterate, du, diff
  latency   lookups while idle, in a rescan, in a first scan
  kv        key-value get and durable put against bare redb
  work      pipelines: back-fill, memory, claim and complete, requests, limiter; bare redb, SQLite
  bindings  iterate, look up, export, claim and complete: Rust, C, Python; os.walk, os.scandir
  mirror    a bucket in step: first upload, nothing changed, changes, deletions, memory; rclone, s5cmd
  live      watching: latency, set-up, sync, memory, bursts, lost events; watchman, watchfiles
  tree      builds the tree and stops

  --files N        files in the tree (default 1000000)
  --dir DIR        working folder, kept for the next run (default target/bench-data)
  --runs K         rounds (default 5)
  --threads T      threads of the floor, of scans and of jwalk (default 2)
  --large MIB      the large file of the group `mirror`, in MiB (default 6144)
  --markdown FILE  writes the table there too, with machine and method
  --clean          removes what the harness left in the working folder, and stops";

/// Below this the shape of the tree and the parts per million stop meaning anything.
const FILES_MIN: u64 = 1_000;

const LARGE_MIB: u64 = 6 << 10;
/// The largest object that S3 takes.
const LARGE_MIB_MAX: u64 = 5 << 20;

pub(crate) enum Request {
    Help,
    Clean {
        folder: PathBuf,
    },
    /// The hidden command by which the harness measures in a fresh process.
    Child {
        task: String,
        db: PathBuf,
        dir: PathBuf,
        threads: usize,
        /// What it means is the task's own affair.
        count: u64,
    },
    Measure(Settings),
}

pub(crate) struct Settings {
    pub(crate) group: Group,
    pub(crate) files: u64,
    pub(crate) folder: PathBuf,
    pub(crate) runs: usize,
    pub(crate) threads: usize,
    /// The size of the file whose upload tells what memory it takes.
    pub(crate) large_bytes: u64,
    pub(crate) markdown: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Group {
    All,
    Scan,
    Store,
    Snapshot,
    Latency,
    Kv,
    Work,
    Bindings,
    Mirror,
    Live,
    Tree,
}

impl Group {
    fn parse(word: &str) -> Option<Group> {
        Some(match word {
            "all" => Group::All,
            "scan" => Group::Scan,
            "store" => Group::Store,
            "snapshot" => Group::Snapshot,
            "latency" => Group::Latency,
            "kv" => Group::Kv,
            "work" => Group::Work,
            "bindings" => Group::Bindings,
            "mirror" => Group::Mirror,
            "live" => Group::Live,
            "tree" => Group::Tree,
            _ => return None,
        })
    }

    /// Whether a run of `self` includes `other`.
    pub(crate) fn includes(self, other: Group) -> bool {
        self == Group::All || self == other
    }
}

pub(crate) fn parse(words: &[String]) -> Result<Request> {
    if words.first().is_some_and(|word| word == "child") {
        return child(words);
    }
    let mut settings = Settings {
        group: Group::All,
        files: 1_000_000,
        folder: PathBuf::from("target/bench-data"),
        runs: 5,
        threads: 2,
        large_bytes: LARGE_MIB << 20,
        markdown: None,
    };
    let mut clean = false;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-h" | "--help" => return Ok(Request::Help),
            "--clean" => clean = true,
            "--files" => settings.files = number(word, words.next(), FILES_MIN, 1_000_000_000)?,
            "--runs" => settings.runs = number(word, words.next(), 1, 1_000)? as usize,
            "--threads" => settings.threads = number(word, words.next(), 1, 256)? as usize,
            "--large" => settings.large_bytes = number(word, words.next(), 1, LARGE_MIB_MAX)? << 20,
            "--dir" => settings.folder = value(word, words.next())?.into(),
            "--markdown" => settings.markdown = Some(value(word, words.next())?.into()),
            other => {
                settings.group = Group::parse(other).ok_or_else(|| format!("unknown argument `{other}`"))?;
            }
        }
    }
    Ok(if clean { Request::Clean { folder: settings.folder } } else { Request::Measure(settings) })
}

fn child(words: &[String]) -> Result<Request> {
    let [_, task, db, dir, threads, count] = words else {
        return Err("`child` takes TASK DB DIR THREADS COUNT; it is for the harness itself".into());
    };
    let threads = number("THREADS", Some(threads), 1, 256)? as usize;
    let count = number("COUNT", Some(count), 0, u64::MAX)?;
    Ok(Request::Child { task: task.clone(), db: db.into(), dir: dir.into(), threads, count })
}

fn value<'a>(option: &str, word: Option<&'a String>) -> Result<&'a str> {
    Ok(word.map(String::as_str).ok_or_else(|| format!("`{option}` needs a value"))?)
}

fn number(option: &str, word: Option<&String>, least: u64, most: u64) -> Result<u64> {
    let text = value(option, word)?;
    let number: u64 =
        text.replace('_', "").parse().map_err(|_| format!("`{option} {text}` is not a number"))?;
    if !(least..=most).contains(&number) {
        return Err(format!("`{option} {text}` is outside {least} to {most}").into());
    }
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(line: &str) -> Option<Settings> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        match parse(&words) {
            Ok(Request::Measure(settings)) => Some(settings),
            _ => None,
        }
    }

    #[test]
    fn options_may_stand_before_and_after_the_group() {
        let settings = settings("--runs 3 kv --files 2_000").expect("a valid line");
        assert_eq!((settings.group, settings.runs, settings.files), (Group::Kv, 3, 2_000));
    }

    #[test]
    fn the_large_file_is_given_in_mebibytes() {
        let bytes = |line: &str| settings(line).map(|settings| settings.large_bytes);
        assert_eq!(bytes("mirror"), Some(6 << 30));
        assert_eq!(bytes("mirror --large 64"), Some(64 << 20));
    }

    #[test]
    fn nonsense_is_refused() {
        for line in
            ["--files", "--files ten", "--files 5", "--runs 0", "scann", "--threads 100000", "--large 0"]
        {
            assert!(settings(line).is_none(), "{line}");
        }
    }
}
