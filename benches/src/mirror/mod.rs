//! Group `mirror`: what it costs to keep a bucket in step with a directory. All rows, in their order:
//!
//! * **Small files.** A private tree of 10,000 files of 4 KiB, one half in one directory: the first upload into an empty bucket; the
//!   same again when nothing changed; after 10 files got other content; after the directory with one half was deleted.
//! * **Large files.** 100 files of 8 MiB into an empty bucket.
//! * **Memory.** The most that a process uses while it uploads one file of 6 GiB (`--large`), its `VmHWM`. rclone reads it
//!   once more, before, for its checksum.
//!
//! One S3 server in a process of its own serves everybody, each in a bucket of its own that is made anew: `s3s-fs` behind hyper, on a
//! port of this machine and on its processors, with an index in memory for listings and `HEAD`. It counts requests; listings, questions
//! and repetitions are all requests. The file of 6 GiB is read there and thrown away, but has the right entity tag.
//!
//! Ours is a process that opens its state, scans, and mirrors; the peers are `rclone sync`, as it is and with the options that its
//! manual gives for fewer requests, and `s5cmd sync --delete`. Each has 10 connections and else its defaults, and is timed from its start
//! to its exit. The floor is a client that walks the source, reads every file and puts it over 10 connections: no signature, no
//! checksum, nothing kept. After each step the bucket must hold as many objects and bytes as the source, or the row fails.
//!
//! Files that are sent have not been touched for 2.5 seconds, so that nobody waits for them to be still. With a smaller `--files` fewer
//! are sent: a hundredth of that number, at least 100, and a hundredth of those as files of 8 MiB.

mod backend;
mod bare;
mod engine;
mod peers;
mod server;
mod source;
mod task;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

pub(crate) use task::Task;

use crate::Result;
use crate::bench::Bench;
use crate::child;
use crate::measure::{Contender, Outcome, Record, Samples, rounds};
use crate::row::{Row, Unit};

use backend::DISCARD;
use peers::Peers;
use server::Server;
use source::{BIG_BYTES, SMALL_BYTES, Source};

/// The part of the working folder that holds the private trees and the buckets.
pub(crate) const FOLDER: &str = "mirror";

/// Most of these figures take seconds each.
const ROUNDS_MAX: usize = 3;

/// What everybody gets: as many as a mirror opens by itself.
const CONNECTIONS: u32 = 10;

const SMALL_FILES: u64 = 10_000;
const BIG_FILES: u64 = 100;
const CHANGED_FILES: u64 = 10;
/// A smaller tree is for trying things out: so much of it, and no less than this, is sent.
const SMALL_SHARE: u64 = 100;
const SMALL_FILES_MIN: u64 = 100;
/// For each of these there is one large file.
const SMALL_PER_BIG: u64 = SMALL_FILES / BIG_FILES;

const SMALL: &str = "mirror-small.tw";
const BIG: &str = "mirror-big.tw";
const LARGE: &str = "mirror-large.tw";

/// What happens to the small files, and what the figures of it begin with.
const FIRST: &str = "first";
const AGAIN: &str = "again";
const CHANGED: &str = "changed";
const REMOVED: &str = "removed";

/// Who brings a bucket in step.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Who {
    Floor,
    Ours,
    Rclone,
    /// With the options for fewer requests.
    RcloneLess,
    S5cmd,
}

impl Who {
    const ALL: [Who; 5] = [Who::Floor, Who::Ours, Who::Rclone, Who::RcloneLess, Who::S5cmd];
    const PEERS: [Who; 3] = [Who::Rclone, Who::RcloneLess, Who::S5cmd];

    /// The name of its bucket, and of its figures.
    fn bucket(self) -> &'static str {
        match self {
            Who::Floor => "floor",
            Who::Ours => "ours",
            Who::Rclone => "rclone",
            Who::RcloneLess => "rclone-less",
            Who::S5cmd => "s5cmd",
        }
    }

    fn is_peer(self) -> bool {
        Who::PEERS.contains(&self)
    }

    /// What it is called in the table, with its version.
    fn title(self, version: &str) -> String {
        match self {
            Who::Floor => format!("  floor: bare PUT, {CONNECTIONS} connections"),
            Who::Ours => "  ours: scan and mirror".to_owned(),
            Who::Rclone => format!("  rclone {version} sync"),
            Who::RcloneLess => format!("  rclone {version} sync, for fewer requests"),
            Who::S5cmd => format!("  s5cmd {version} sync"),
        }
    }
}

/// Gone when it is dropped, after an error too.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.0) {
            eprintln!("{error}");
        }
    }
}

struct Stage<'a> {
    bench: &'a Bench,
    folder: &'a Path,
    server: Server,
    peers: Peers,
    /// Why a peer has no figures in this part. That one of them does not work here is no failure of ours.
    failures: RefCell<BTreeMap<Who, String>>,
}

pub(crate) fn run(bench: &Bench) -> Result<Vec<Row>> {
    // Declared first, gone last: the server stops before its folder goes.
    let folder = Folder(bench.folder.join(FOLDER));
    // An earlier run may have been killed.
    remove(&folder.0)?;
    fs::create_dir(&folder.0)?;
    let server = Server::start(&folder.0.join("buckets"))?;
    let stage =
        Stage { bench, folder: &folder.0, server, peers: Peers::find(), failures: RefCell::default() };
    let mut rows = Vec::new();
    for (name, part) in parts() {
        stage.failures.borrow_mut().clear();
        // A figure that fails must not cost the others.
        match part(&stage) {
            Ok(more) => rows.extend(more),
            Err(error) => {
                eprintln!("treewarden-bench: mirror, {name}: {error}");
                rows.push(Row::failed(format!("{name}: failed"), &*error));
            }
        }
    }
    Ok(rows)
}

type Part<'a> = fn(&Stage<'a>) -> Result<Vec<Row>>;

fn parts<'a>() -> [(&'static str, Part<'a>); 3] {
    [("small files", Stage::small), ("large files", Stage::big), ("memory", Stage::memory)]
}

impl Stage<'_> {
    fn small(&self) -> Result<Vec<Row>> {
        let files = self.small_files();
        let changed = CHANGED_FILES.min(files / 2);
        let mut contenders: Vec<_> = self
            .present(&Who::ALL)
            .map(|who| self.contender(who, move || self.small_steps(who, files, changed)))
            .collect();
        let outcome = rounds(self.rounds(), &mut contenders)?;
        let size = SMALL_BYTES >> 10;
        let mut rows = vec![Row::note(format!("first upload of {files} files of {size} KiB"), "")];
        rows.extend(self.upload_rows(&outcome, FIRST, &[Who::Floor, Who::Ours, Who::Rclone, Who::S5cmd]));
        let everybody = [Who::Ours, Who::Rclone, Who::RcloneLess, Who::S5cmd];
        rows.push(Row::note("nothing changed", ""));
        rows.extend(self.step_rows(&outcome, AGAIN, &everybody));
        rows.push(Row::note(format!("{changed} of {files} files changed"), ""));
        rows.extend(self.step_rows(&outcome, CHANGED, &everybody));
        rows.push(Row::note(format!("a directory of {} files deleted", files / 2), ""));
        rows.extend(self.step_rows(&outcome, REMOVED, &everybody));
        Ok(rows)
    }

    /// One round of one contender, on a tree of its own: each step changes it.
    fn small_steps(&self, who: Who, files: u64, changed: u64) -> Result<Record> {
        let mut source = Source::small(self.folder, files)?;
        self.server.make(who.bucket())?;
        let mut figures = Record::new();
        self.step(who, &source, SMALL, FIRST, &mut figures)?;
        if who != Who::Floor {
            self.step(who, &source, SMALL, AGAIN, &mut figures)?;
            source.change(changed)?;
            self.step(who, &source, SMALL, CHANGED, &mut figures)?;
            source.shrink()?;
            self.step(who, &source, SMALL, REMOVED, &mut figures)?;
        }
        self.server.remove(who.bucket())?;
        Ok(figures)
    }

    fn step(&self, who: Who, source: &Source, state: &str, step: &str, figures: &mut Record) -> Result<()> {
        let is_first = step == FIRST;
        let record = self.counted(who, source, || self.sync(who, &source.dir, state, is_first))?;
        for figure in ["seconds", "requests"] {
            let value = record.get(figure).copied().unwrap_or(f64::NAN);
            figures.insert(format!("{step}_{figure}"), value);
            if is_first {
                // What is told while the rounds go on.
                figures.insert(figure.to_owned(), value);
            }
        }
        Ok(())
    }

    fn big(&self) -> Result<Vec<Row>> {
        const WHO: [Who; 4] = [Who::Floor, Who::Ours, Who::Rclone, Who::S5cmd];
        let files = (self.small_files() / SMALL_PER_BIG).max(1);
        let source = Source::big(self.folder, files)?;
        let one = |who: Who| -> Result<Record> {
            self.server.make(who.bucket())?;
            let mut figures = Record::new();
            self.step(who, &source, BIG, FIRST, &mut figures)?;
            // Before the kernel has written it all down.
            self.server.remove(who.bucket())?;
            Ok(figures)
        };
        let mut contenders: Vec<_> =
            self.present(&WHO).map(|who| self.contender(who, move || one(who))).collect();
        let outcome = rounds(self.rounds(), &mut contenders)?;
        let size = BIG_BYTES >> 20;
        let mut rows = vec![Row::note(format!("first upload of {files} files of {size} MiB"), "")];
        rows.extend(self.upload_rows(&outcome, FIRST, &WHO));
        Ok(rows)
    }

    fn memory(&self) -> Result<Vec<Row>> {
        const WHO: [Who; 3] = [Who::Ours, Who::Rclone, Who::S5cmd];
        let bytes = self.bench.large_bytes;
        let source = Source::large(self.folder, bytes)?;
        let one = |who: Who| -> Result<Record> {
            self.server.make(who.bucket())?;
            let figures = self.counted(who, &source, || self.sync_large(who, &source.dir))?;
            self.server.remove(who.bucket())?;
            Ok(figures)
        };
        let mut contenders: Vec<_> =
            self.present(&WHO).map(|who| self.contender(who, move || one(who))).collect();
        // Memory differs little from run to run, and each takes its time.
        let outcome = rounds(1, &mut contenders)?;
        let gibibytes = bytes as f64 / f64::from(1_u32 << 30);
        let what = format!("peak memory, upload of one file of {gibibytes:.1} GiB");
        let peak = |who: Who| outcome.samples(who.bucket(), "peak_bytes");
        let ours = peak(Who::Ours).median();
        let mut rows = vec![Row::note(what, "")];
        for who in WHO {
            rows.push(self.row(who, &peak(who), Unit::Megabytes, &[(ours, "ours")]));
            if outcome.seconds(who.bucket()).len() > 0 {
                rows.push(Row::samples("    time", &outcome.seconds(who.bucket()), Unit::Seconds));
            }
        }
        let server = self.server.peak_bytes().unwrap_or(f64::NAN);
        rows.push(Row::value("  the server, in all of this group", server, Unit::Megabytes));
        Ok(rows)
    }

    /// Times are told as multiples of the floor and of ours.
    fn upload_rows(&self, outcome: &Outcome, step: &str, who: &[Who]) -> Vec<Row> {
        let seconds = |who: Who| outcome.samples(who.bucket(), &format!("{step}_seconds"));
        let (floor, ours) = (seconds(Who::Floor).median(), seconds(Who::Ours).median());
        let mut rows = Vec::new();
        for &one in who {
            let mut of = vec![(floor, "floor")];
            if one.is_peer() {
                of.push((ours, "ours"));
            }
            rows.push(self.row(one, &seconds(one), Unit::Seconds, &of));
            rows.extend(requests(outcome, step, one));
        }
        rows
    }

    /// Times are told as multiples of ours.
    fn step_rows(&self, outcome: &Outcome, step: &str, who: &[Who]) -> Vec<Row> {
        let seconds = |who: Who| outcome.samples(who.bucket(), &format!("{step}_seconds"));
        let ours = seconds(Who::Ours).median();
        let mut rows = Vec::new();
        for &one in who {
            rows.push(self.row(one, &seconds(one), Unit::Seconds, &[(ours, "ours")]));
            rows.extend(requests(outcome, step, one));
        }
        rows
    }

    fn row(&self, who: Who, samples: &Samples, unit: Unit, of: &[(f64, &str)]) -> Row {
        let version = self.peers.version(who);
        if who.is_peer() {
            let Some(version) = version else {
                return Row::note(who.title("").replace("  sync", " sync"), "not installed");
            };
            if let Some(failure) = self.failures.borrow().get(&who) {
                return Row::note(who.title(version), format!("failed: {failure}"));
            }
        }
        let row = Row::samples(who.title(version.unwrap_or_default()), samples, unit);
        let Some(((value, name), rest)) = of.split_first() else { return row };
        let mut names = (*name).to_owned();
        for (value, other) in rest {
            let ratio = samples.median() / value;
            if ratio.is_finite() {
                names.push_str(&format!(", {ratio:.2} × {other}"));
            }
        }
        row.ratio(samples.median() / value, &names)
    }

    /// Those that are installed here, in their order.
    fn present<'w>(&'w self, who: &'w [Who]) -> impl Iterator<Item = Who> + 'w {
        who.iter().copied().filter(move |who| !who.is_peer() || self.peers.version(*who).is_some())
    }

    /// A peer that fails once has no figures, and the others have theirs.
    fn contender<'c>(&'c self, who: Who, run: impl Fn() -> Result<Record> + 'c) -> Contender<'c> {
        Contender::new(who.bucket(), move || {
            if self.failures.borrow().contains_key(&who) {
                return Ok(Record::new());
            }
            match run() {
                Err(error) if who.is_peer() => {
                    eprintln!("treewarden-bench: mirror, {}: {error}", who.bucket());
                    let text = error.to_string().replace('\n', "; ");
                    self.failures.borrow_mut().insert(who, text);
                    Ok(Record::new())
                }
                done => done,
            }
        })
    }

    /// Runs somebody from start to exit, counts the requests, and looks whether the bucket holds what it should.
    fn counted(&self, who: Who, source: &Source, run: impl FnOnce() -> Result<Record>) -> Result<Record> {
        let before = self.server.requests()?;
        let start = Instant::now();
        let mut record = run()?;
        record.insert("seconds".to_owned(), start.elapsed().as_secs_f64());
        record.insert("requests".to_owned(), self.server.requests()? - before);
        let (objects, bytes) = self.server.totals(who.bucket())?;
        if (objects, bytes) != (source.files, source.bytes) {
            return Err(format!(
                "its bucket holds {objects} objects and {bytes} bytes, the source {} files and {} bytes",
                source.files, source.bytes
            )
            .into());
        }
        Ok(record)
    }

    /// Brings its bucket in step. Ours keeps what it knows in a state, which `is_first` makes anew.
    fn sync(&self, who: Who, dir: &Path, state: &str, is_first: bool) -> Result<Record> {
        match who {
            Who::Floor => self.child(Task::Bare, &self.bench.state(state), dir),
            Who::Ours if is_first => self.child(Task::First, &self.bench.fresh_state(state)?, dir),
            Who::Ours => self.child(Task::Again, &self.bench.state(state), dir),
            Who::Rclone | Who::RcloneLess | Who::S5cmd => self.peers.sync(&self.peer_work(who, dir, "")),
        }
    }

    /// The same for the file that the server throws away.
    fn sync_large(&self, who: Who, dir: &Path) -> Result<Record> {
        if who == Who::Ours {
            return self.child(Task::Large, &self.bench.fresh_state(LARGE)?, dir);
        }
        self.peers.sync_and_look(&self.peer_work(who, dir, DISCARD))
    }

    fn peer_work<'w>(&'w self, who: Who, dir: &'w Path, prefix: &'w str) -> peers::Work<'w> {
        peers::Work { who, dir, port: self.server.port, prefix, folder: self.folder }
    }

    fn child(&self, task: Task, db: &Path, dir: &Path) -> Result<Record> {
        let port = u64::from(self.server.port);
        child::measure_with(child::Task::Mirror(task), db, dir, self.bench.threads, port)
    }

    fn small_files(&self) -> u64 {
        SMALL_FILES.min(self.bench.tree.files / SMALL_SHARE).max(SMALL_FILES_MIN)
    }

    fn rounds(&self) -> usize {
        self.bench.runs.min(ROUNDS_MAX)
    }
}

/// How many requests it took; no row for one without figures.
fn requests(outcome: &Outcome, step: &str, who: Who) -> Option<Row> {
    let samples = outcome.samples(who.bucket(), &format!("{step}_requests"));
    if samples.len() == 0 {
        return None;
    }
    let (least, most) = (samples.least(), samples.most());
    let mut text = format!("{:.0}", samples.median());
    if most - least >= 1.0 {
        text.push_str(&format!(" ({least:.0} - {most:.0})"));
    }
    let row = Row::note("    requests", text);
    let is_quiet = step == AGAIN && who == Who::Ours;
    Some(if is_quiet { row.at_most(most, 0.0, "0 requests") } else { row })
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("cannot remove {}: {error}", folder.display()).into())
        }
        _ => Ok(()),
    }
}
