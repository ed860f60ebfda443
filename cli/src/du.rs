//! `treewarden du`: totals, which the snapshot keeps for every directory. Looks at no disk.

use serde::Serialize;
use treewarden::{Kind, Snapshot, Totals, escape};

use crate::address::{self, split};
use crate::args::DuArgs;
use crate::failure::{Failure, Outcome};
use crate::json;
use crate::output::Out;
use crate::state::StateFile;
use crate::text::{counted, size};

/// The totals of one place.
struct Sum {
    address: Vec<u8>,
    totals: Totals,
}

#[derive(Serialize)]
struct SumLine<'a> {
    root: &'a str,
    path: &'a str,
    files: u64,
    dirs: u64,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
}

pub(crate) fn run(state: &StateFile, args: &DuArgs, out: &mut Out) -> Result<Outcome, Failure> {
    let warden = state.open_to_read()?;
    let snapshot = warden.snapshot();
    let prefix = address::typed(args.prefix.as_deref());
    address::require_known(&warden, &snapshot, &prefix, false)?;
    let starts: Vec<Vec<u8>> = if prefix.is_empty() {
        warden.roots().into_iter().map(|root| root.name.into_bytes()).collect()
    } else {
        vec![prefix]
    };
    let mut sums = Vec::new();
    for start in starts {
        collect(&snapshot, start, args.depth, &mut sums);
    }
    if out.json {
        for sum in &sums {
            print_json(sum, out)?;
        }
    } else {
        let rows: Vec<Vec<String>> = sums.iter().map(row).collect();
        out.table(0, &[0, 1, 2], &rows)?;
    }
    Ok(Outcome::Complete)
}

/// Adds the totals of `start` and of the directories down to `depth` levels below it, in path
/// order. Goes without recursion: a tree may be deeper than the stack.
fn collect(snapshot: &Snapshot, start: Vec<u8>, depth: usize, sums: &mut Vec<Sum>) {
    let mut pending = vec![(start, 0)];
    while let Some((address, level)) = pending.pop() {
        if level < depth {
            let first = pending.len();
            let dirs = snapshot.children(&address).filter(|entry| entry.kind() == Kind::Dir);
            pending.extend(dirs.map(|dir| (dir.path(), level + 1)));
            // The last in is the first out.
            if let Some(children) = pending.get_mut(first..) {
                children.reverse();
            }
        }
        // Nothing is known of a root that was never scanned: that sums up to nothing.
        let totals = snapshot.du(&address).unwrap_or_default();
        sums.push(Sum { address, totals });
    }
}

fn print_json(sum: &Sum, out: &mut Out) -> std::io::Result<()> {
    let (root, path) = split(&sum.address);
    let (root, _) = json::path(root);
    let (path, path_b64) = json::path(path);
    out.object(&SumLine {
        root: &root,
        path: &path,
        files: sum.totals.files,
        dirs: sum.totals.dirs,
        bytes: sum.totals.bytes,
        path_b64,
    })
}

fn row(sum: &Sum) -> Vec<String> {
    let Totals { files, dirs, bytes } = sum.totals;
    vec![size(bytes), counted(files, "file", "files"), counted(dirs, "dir", "dirs"), escape(&sum.address)]
}
