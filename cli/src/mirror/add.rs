//! `treewarden mirror add`: from words to a target and options. Sends nothing, and asks for no credentials.

use serde::Serialize;
use treewarden::mirror::{MirrorInfo, MirrorOptions, Target};

use crate::address;
use crate::args::MirrorAddArgs;
use crate::failure::{Failure, Outcome};
use crate::output::Out;
use crate::state::StateFile;

use super::credentials::{Environment, idle};
use super::report::ListLine;
use super::store::{reached, usage};

const MIB: u64 = 1 << 20;
/// Content in memory at a time, when nothing else is asked for.
const MEMORY_MIB: u64 = 64;

#[derive(Serialize)]
struct AddLine<'a> {
    /// `created`, `changed` or `unchanged`.
    outcome: &'static str,
    #[serde(flatten)]
    mirror: ListLine<'a>,
}

pub(super) fn run(state: &StateFile, args: &MirrorAddArgs, out: &mut Out) -> Result<Outcome, Failure> {
    // What makes no sense is found before anything is opened.
    let (target, prefix) = target(args, &Environment::of_process(), out)?;
    let options = options(args, &prefix);
    let warden = state.open()?;
    let find = || -> Result<Option<MirrorInfo>, Failure> {
        Ok(warden.mirrors()?.into_iter().find(|info| info.name == args.name))
    };
    let before = find()?;
    let mirror = warden.mirror_to(&args.name, &options, &target, &idle())?;
    let (outcome, what) = match &before {
        None => ("created", "new mirror"),
        Some(before) if before.options == options && before.target.as_ref() == Some(&target) => {
            ("unchanged", "these are the options already of mirror")
        }
        Some(_) => ("changed", "new options of mirror"),
    };
    if out.json {
        let prefix = mirror.status().prefix;
        if let Some(info) = &find()? {
            out.object(&AddLine { outcome, mirror: ListLine::new(info, Some(prefix.as_str())) })?;
        }
    } else {
        let name = &args.name;
        out.notice(&format!("{what} `{name}`; `treewarden mirror sync {name}` copies"));
    }
    Ok(Outcome::Complete)
}

/// Where to, and what keys begin with.
fn target(args: &MirrorAddArgs, environment: &Environment, out: &Out) -> Result<(Target, String), Failure> {
    let (target, in_url) = Target::parse(&args.target).map_err(|error| usage(&error))?;
    let prefix = match &args.prefix {
        Some(_) if !in_url.is_empty() => {
            return Err(Failure::usage("the prefix is given twice, in the target and with '--prefix'")
                .with_hint("leave one of them out"));
        }
        Some(prefix) => prefix.clone(),
        None => in_url,
    };
    let mut target = reached(target, &args.store, args.profile.as_deref(), environment, out)?;
    if let Some(url) = &args.public_url {
        target = target.public_url(url.as_str());
        target.check().map_err(|error| usage(&error))?;
    }
    Ok((target, prefix))
}

/// All options: what is not given is as it is by default.
fn options(args: &MirrorAddArgs, prefix: &str) -> MirrorOptions {
    let mut options = MirrorOptions::new(address::typed(Some(&args.address))).prefix(prefix);
    for glob in &args.globs {
        options = options.glob(glob.as_str());
    }
    for (extension, its) in &args.content_types {
        options = options.content_type(extension, its.as_str());
    }
    if let Some(value) = &args.cache_control {
        options = options.cache_control(value.as_str());
    }
    if let Some(uploads) = args.uploads {
        options = options.uploads_max(uploads);
    }
    if let Some(mib) = args.part_mib {
        options = options.part_bytes(mib * MIB);
    }
    // Large parts alone are no mistake: there must be room for one.
    let memory_mib = args.memory_mib.or(args.part_mib.map(|mib| mib.max(MEMORY_MIB)));
    if let Some(mib) = memory_mib {
        options = options.memory_bytes(mib * MIB);
    }
    if let Some(bytes) = args.bandwidth {
        options = options.bandwidth_bytes_per_s(bytes);
    }
    if let Some(objects) = args.delete_max {
        options = options.delete_max(objects);
    }
    if let Some(percent) = args.delete_share {
        options = options.delete_share_percent(percent);
    }
    if let Some(ms) = args.settle_ms {
        options = options.settle_ms(ms);
    }
    options.purge_new(args.purge_new)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use treewarden::mirror::MirrorOptions;

    use super::options;
    use crate::args::{Cli, Command, MirrorCommand};

    fn given(words: &[&str]) -> Option<MirrorOptions> {
        let line = ["treewarden", "mirror", "add", "m", "tree/", "file:///srv"].iter().chain(words);
        let cli = Cli::try_parse_from(line).ok()?;
        match cli.command {
            Command::Mirror(MirrorCommand::Add(args)) => Some(options(&args, "p")),
            _ => None,
        }
    }

    #[test]
    fn flags_are_options() {
        let new = || MirrorOptions::new("tree").prefix("p");
        let mib = 1 << 20;
        let cases: [(&[&str], Option<MirrorOptions>); 13] = [
            (&[], Some(new())),
            (&["--glob", "a", "--glob", "b"], Some(new().glob("b").glob("a"))),
            (&["--cache-control", "no-cache"], Some(new().cache_control("no-cache"))),
            (&["--content-type", "md=text/markdown"], Some(new().content_type("md", "text/markdown"))),
            (
                &["--uploads", "3", "--bandwidth", "10M"],
                Some(new().uploads_max(3).bandwidth_bytes_per_s(10 * mib)),
            ),
            (&["--part-mib", "16"], Some(new().part_bytes(16 * mib).memory_bytes(64 * mib))),
            (&["--part-mib", "100"], Some(new().part_bytes(100 * mib).memory_bytes(100 * mib))),
            (&["--memory-mib", "10"], Some(new().memory_bytes(10 * mib))),
            (
                &["--delete-max", "0", "--delete-share", "10"],
                Some(new().delete_max(0).delete_share_percent(10)),
            ),
            (&["--settle-ms", "0", "--purge-new"], Some(new().settle_ms(0).purge_new(true))),
            (&["--uploads", "0"], None),
            (&["--part-mib", "4"], None),
            (&["--delete-share", "101"], None),
        ];
        for (words, expected) in cases {
            assert_eq!(given(words), expected, "{words:?}");
        }
    }
}
