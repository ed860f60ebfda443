//! `treewarden roots` and `treewarden root add|remove|move`.

use std::path::{Path, PathBuf};

use treewarden::{RootInfo, RootState};

use crate::args::{RootAddArgs, RootCommand};
use crate::failure::{Failure, Outcome};
use crate::json::{RootLine, state_name};
use crate::output::Out;
use crate::state::StateFile;
use crate::target;
use crate::text::{self, count, counted, printable, shell_word, size};

pub(crate) fn run(state: &StateFile, command: &RootCommand, out: &mut Out) -> Result<Outcome, Failure> {
    match command {
        RootCommand::Add(args) => add(state, args, out),
        RootCommand::Remove { name } => {
            state.open()?.remove_root(name)?;
            out.notice(&format!("root `{name}` is forgotten, its files are as they were"));
            Ok(Outcome::Complete)
        }
        RootCommand::Move { name, dir } => {
            let root = state.open()?.move_root(name, absolute(dir))?;
            told(&root, &format!("root `{name}` lies at {} now", text::path(&root.path)), out)
        }
    }
}

fn add(state: &StateFile, args: &RootAddArgs, out: &mut Out) -> Result<Outcome, Failure> {
    let mut options = target::new_options(&args.root)?;
    if let Some(compare) = args.compare {
        options = options.compare(compare.into());
    }
    if !state.exists() {
        target::Place::find(&args.dir).require_dir("add")?;
    }
    let root = state.open_or_create()?.add_root_with(&args.name, absolute(&args.dir), &options)?;
    let dir = shell_word(&root.path);
    let message = format!("new root `{}`, not scanned yet: treewarden scan {dir}", root.name);
    told(&root, &message, out)
}

fn told(root: &RootInfo, message: &str, out: &mut Out) -> Result<Outcome, Failure> {
    if out.json {
        out.object(&RootLine::new(root))?;
    } else {
        out.notice(message);
    }
    Ok(Outcome::Complete)
}

pub(crate) fn list(state: &StateFile, out: &mut Out) -> Result<Outcome, Failure> {
    let warden = state.open_to_read()?;
    let roots = warden.roots();
    if out.json {
        for root in &roots {
            out.object(&RootLine::new(root))?;
        }
    } else {
        out.table(0, &[2, 3], &rows(&roots))?;
    }
    Ok(Outcome::Complete)
}

/// One row per root: name, state, files, size, last scan, place. The third and fourth are numbers.
pub(crate) fn rows(roots: &[RootInfo]) -> Vec<Vec<String>> {
    let row = |root: &RootInfo| {
        vec![
            printable(&root.name),
            state_name(&root.state).to_owned(),
            counted(root.totals.files, "file", "files"),
            size(root.totals.bytes),
            root.last_scan_ns.map_or_else(|| "never scanned".to_owned(), text::date),
            text::path(&root.path),
        ]
    };
    roots.iter().map(row).collect()
}

/// What is wrong with a root, `None` when all is well.
pub(crate) fn trouble(root: &RootInfo) -> Option<String> {
    match &root.state {
        RootState::New | RootState::Ready => None,
        RootState::Unavailable { reason } => Some(printable(reason)),
        RootState::Held { missing, of } => Some(format!(
            "{} of {} files are not there any more; if they are gone for good: treewarden scan {} --accept-missing",
            count(*missing),
            count(*of),
            shell_word(&root.path)
        )),
    }
}

/// The engine must not have to know the current directory of this call.
fn absolute(dir: &Path) -> PathBuf {
    std::path::absolute(dir).unwrap_or_else(|_| dir.to_path_buf())
}
