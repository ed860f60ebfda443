//! A full-text index that follows a folder: what is new or changed is indexed, what moved is found under
//! its new path, what is gone is gone. Killed at any moment it goes on where it was.
//!
//! ```text
//! search_index DIR DATA update           brings the index in DATA up to date
//! search_index DIR DATA watch            and keeps it so, until it is ended
//! search_index DIR DATA search WORDS...  prints the paths of the files that hold all the words
//! ```

mod index;

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use treewarden::{Failed, Job, Pipeline, PipelineOptions, Warden, WorkState};

use index::TextIndex;

type Error = Box<dyn std::error::Error>;

const ROOT: &str = "texts";
/// Jobs of one round: one commit of the index, one of the state file.
const BATCH: usize = 256;
/// Larger files are no texts.
const BYTES_MAX: u64 = 16 << 20;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "search_index: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[OsString]) -> Result<(), Error> {
    let [dir, data, task, words @ ..] = args else {
        return Err("usage: search_index DIR DATA update | watch | search WORDS...".into());
    };
    let (dir, data) = (Path::new(dir), Path::new(data));
    std::fs::create_dir_all(data)?;
    let mut index = TextIndex::open(&data.join("index"))?;
    match task.to_str() {
        Some("update") => update(dir, data, &mut index, false),
        Some("watch") => update(dir, data, &mut index, true),
        Some("search") => {
            let words: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
            let mut out = std::io::stdout().lock();
            for path in index.search(&words.join(" "))? {
                out.write_all(&path)?;
                out.write_all(b"\n")?;
            }
            Ok(())
        }
        _ => Err("the task is one of `update`, `watch` and `search`".into()),
    }
}

fn update(dir: &Path, data: &Path, index: &mut TextIndex, watch: bool) -> Result<(), Error> {
    let warden = Warden::open(data.join("state.tw"))?;
    if warden.roots().is_empty() {
        warden.add_root(ROOT, dir)?;
    }
    // A document is found by its path, so a file that was moved is a change, too.
    let options = PipelineOptions::new().root(ROOT).glob("**/*.{txt,md}").settle_ms(0).paths_matter(true);
    let texts = warden.pipeline_with("full-text", &options)?;
    if watch {
        warden.watch()?;
    } else {
        warden.scan(ROOT)?;
    }
    loop {
        let patience = if watch { None } else { Some(Duration::ZERO) };
        let jobs = texts.claim_wait(BATCH, patience)?;
        if jobs.is_empty() {
            return Ok(());
        }
        round(&texts, index, jobs)?;
    }
}

/// First the index, then the state: killed in between, the same jobs come again and do the same again.
fn round(texts: &Pipeline, index: &mut TextIndex, jobs: Vec<Job>) -> Result<(), Error> {
    let mut done = Vec::with_capacity(jobs.len());
    for job in jobs {
        if let Some(old) = job.done_path() {
            index.remove(old)?;
        }
        if job.state() == WorkState::Missing {
            done.push(job);
            continue;
        }
        match read(&job) {
            Ok(text) => {
                index.put(job.path(), &text)?;
                done.push(job);
            }
            Err(error) => job.fail(&Failed::transient(error.to_string()))?,
        }
    }
    index.commit()?;
    for answer in texts.complete_many(done)? {
        // A lease that was lost is in other hands: they do it again.
        if let Err(error) = answer {
            writeln!(std::io::stderr(), "{error}")?;
        }
    }
    Ok(())
}

fn read(job: &Job) -> std::io::Result<String> {
    let file = std::fs::File::open(job.fs_path())?;
    if file.metadata()?.len() > BYTES_MAX {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut std::io::Read::take(file, BYTES_MAX), &mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
