//! One run of the harness: the tree, the floor program, the groups asked for, the table.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Result;
use crate::args::{Group, Settings};
use crate::child::{self, Task};
use crate::floor::Floor;
use crate::machine::Machine;
use crate::measure::Contender;
use crate::row::{self, Row};
use crate::table::Table;
use crate::tree::Tree;
use crate::{bindings, kv, latency, live, mirror, scan, snapshot, store, work};

/// What every group needs.
pub(crate) struct Bench {
    pub(crate) tree: Tree,
    pub(crate) floor: Floor,
    /// Keeps trees from run to run.
    pub(crate) folder: PathBuf,
    pub(crate) runs: usize,
    pub(crate) threads: usize,
    /// The file that the group `mirror` uploads to see how much memory that takes.
    pub(crate) large_bytes: u64,
}

impl Bench {
    /// A state file's path in the part of the working folder that ends with the run; what an earlier use left there is removed.
    pub(crate) fn fresh_state(&self, name: &str) -> Result<PathBuf> {
        let path = self.state(name);
        for suffix in ["", "-wal", "-shm"] {
            let mut file = path.clone().into_os_string();
            file.push(suffix);
            match fs::remove_file(&file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(format!("cannot remove {}: {error}", Path::new(&file).display()).into());
                }
                _ => {}
            }
        }
        Ok(path)
    }

    pub(crate) fn state(&self, name: &str) -> PathBuf {
        self.folder.join(STATE).join(name)
    }

    /// The size of a state file; only after its process has ended.
    pub(crate) fn state_bytes(&self, name: &str) -> Result<f64> {
        let path = self.state(name);
        let metadata =
            fs::metadata(&path).map_err(|error| format!("cannot look at {}: {error}", path.display()))?;
        Ok(metadata.len() as f64)
    }

    pub(crate) fn floor_contender(&self) -> Contender<'_> {
        Contender::new("floor", move || {
            let record = self.floor.run(&self.tree.dir, self.threads)?;
            let files = record.get("files").copied().unwrap_or_default() as u64;
            if files != self.tree.files {
                return Err(format!("the floor program saw {files} files of {}", self.tree.files).into());
            }
            Ok(record)
        })
    }

    /// Runs a task on the same state file every round.
    pub(crate) fn contender(&self, task: Task, state: &'static str) -> Contender<'_> {
        Contender::new(task.name(), move || {
            child::measure(task, &self.state(state), &self.tree.dir, self.threads)
        })
    }

    /// Runs a task on a state file that does not exist yet, every round anew.
    pub(crate) fn fresh_contender(&self, task: Task, state: &'static str) -> Contender<'_> {
        Contender::new(task.name(), move || {
            child::measure(task, &self.fresh_state(state)?, &self.tree.dir, self.threads)
        })
    }
}

const STATE: &str = "state";
const PROGRAM: &str = "floor";

pub(crate) fn run(settings: &Settings) -> Result<()> {
    let folder = &settings.folder;
    fs::create_dir_all(folder)
        .map_err(|error| format!("cannot create the working folder {}: {error}", folder.display()))?;
    let folder = folder.canonicalize()?;
    let tree = Tree::prepare(&folder, "tree", settings.files)?;
    tree.settle();
    let machine = Machine::describe(&folder);
    let setting = format!(
        "{}\ntree: {} files in {} directories, {:.1} bytes a name; {} rounds, {} threads",
        machine.text(),
        tree.files,
        tree.dirs,
        tree.name_bytes as f64 / tree.files.max(1) as f64,
        settings.runs,
        settings.threads
    );
    println!("{setting}");
    if settings.group == Group::Tree {
        println!("{}", tree.dir.display());
        return Ok(());
    }

    let floor = Floor::build(&folder.join(PROGRAM))?;
    let state = folder.join(STATE);
    remove_dir(&state)?;
    fs::create_dir(&state)?;
    let bench = Bench {
        tree,
        floor,
        folder,
        runs: settings.runs,
        threads: settings.threads,
        large_bytes: settings.large_bytes,
    };
    for _ in 0..2 {
        bench.floor.run(&bench.tree.dir, bench.threads)?;
    }

    let mut rows = Vec::new();
    let mut phases = None;
    let mut failed = Vec::new();
    for (group, name) in GROUPS {
        if !settings.group.includes(group) {
            continue;
        }
        eprintln!("group {name}");
        rows.push(Row::heading(name));
        // A group that fails must not cost the figures of the others.
        match measure(&bench, group, &mut phases) {
            Ok(more) => {
                if more.iter().any(Row::is_failed) {
                    failed.push(name);
                }
                rows.extend(more);
            }
            Err(error) => {
                eprintln!("treewarden-bench: {name}: {error}");
                rows.push(Row::failed("failed", &*error));
                failed.push(name);
            }
        }
    }
    remove_dir(&state)?;

    let table = row::table(&rows);
    println!("\n{}", table.text());
    if let Some(phases) = &phases {
        println!("{}", phases.text());
    }
    if let Some(file) = &settings.markdown {
        let text = markdown(&setting, &table, phases.as_ref());
        fs::write(file, text).map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("not measured: {}", failed.join(", ")).into()) }
}

const GROUPS: [(Group, &str); 9] = [
    (Group::Scan, "scan"),
    (Group::Store, "store"),
    (Group::Snapshot, "snapshot"),
    (Group::Latency, "latency"),
    (Group::Kv, "kv"),
    (Group::Work, "work"),
    (Group::Bindings, "bindings"),
    (Group::Mirror, "mirror"),
    // Last: watchman changes the times of the tree's own directory.
    (Group::Live, "live"),
];

fn measure(bench: &Bench, group: Group, phases: &mut Option<Table>) -> Result<Vec<Row>> {
    match group {
        Group::Scan => scan::run(bench),
        Group::Store => store::run(bench),
        Group::Snapshot => snapshot::run(bench),
        Group::Latency => {
            let (rows, table) = latency::run(bench)?;
            *phases = Some(table);
            Ok(rows)
        }
        Group::Kv => kv::run(bench),
        Group::Work => work::run(bench),
        Group::Bindings => bindings::run(bench),
        Group::Mirror => mirror::run(bench),
        Group::Live => live::run(bench),
        Group::All | Group::Tree => Ok(Vec::new()),
    }
}

fn markdown(setting: &str, table: &Table, phases: Option<&Table>) -> String {
    let mut text = String::new();
    for line in setting.lines() {
        text.push_str(&format!("* {line}\n"));
    }
    text.push_str(METHOD);
    text.push_str(&table.markdown());
    if let Some(phases) = phases {
        text.push_str(PHASES);
        text.push_str(&phases.markdown());
    }
    text
}

const METHOD: &str = "
Medians, with the smallest and the largest value in brackets. Floor, ours and peers run in turn in one run, every second round
backwards; caches are warm; whatever walks or opens a database does so in a fresh process. `floor` is `getdents64` and `statx`
relative to open directories, in C, with the same number of threads; ratios are against its median in the same group. Watching: at
most 3 rounds; the engine's own scans do not yield to the load of the harness; until `sync` returns, from the moment at which the
other program was done; changes, removals and bursts in private trees that are gone afterwards. Work: at most 3 rounds; jobs in
batches, each claim and each completion one durable commit; bare redb writes the same rows in the same mode; memory above the open
warden, the page cache of the store included. Bindings: the same state, addresses and jobs in each language, in a process that measures
inside itself; `Rust` is the same in Rust; the border is what a call from C takes longer than one from Rust. Mirror: at most 3 rounds;
private trees, one S3 server on this machine, a bucket and 10 connections for each; from the start of a process to its exit, the scan
included; there `floor` is a client that reads and puts every file, without signature and checksum.

";

const PHASES: &str = "
One thread acquires the snapshot and looks up one random path, over and over. The floor program shares nothing with the engine but
the processor: the same loop beside it shows what the scheduler alone does.

";

/// Removes what the harness leaves behind, and the working folder itself if nothing else lies in it.
pub(crate) fn clean(folder: &Path) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_dir = entry.file_type()?.is_dir();
        let is_tree = name.starts_with("tree-");
        let is_part = [STATE, PROGRAM, live::FOLDER, mirror::FOLDER].contains(&&*name);
        if is_dir && (is_tree || is_part) {
            remove_dir(&entry.path())?;
        } else if !is_dir && is_tree && name.ends_with(".stamp") {
            fs::remove_file(entry.path())?;
        }
    }
    match fs::remove_dir(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::DirectoryNotEmpty => Err(error.into()),
        _ => Ok(()),
    }
}

fn remove_dir(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("cannot remove {}: {error}", dir.display()).into())
        }
        _ => Ok(()),
    }
}
