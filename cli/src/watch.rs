//! `treewarden watch`: takes directories or a configuration file, makes roots of what is new, and
//! follows them.

use treewarden::{RootWatch, Warden, WatchMode, WatchOptions};

use crate::address::split;
use crate::args::WatchArgs;
use crate::config::with_quiet_times;
use crate::failure::{Failure, Outcome};
use crate::follow::{self, Course};
use crate::metrics::Listening;
use crate::output::Out;
use crate::reload::ConfigFile;
use crate::state::StateFile;
use crate::target::{self, Place, Request};

pub(crate) fn run(
    state: &StateFile,
    args: &WatchArgs,
    config: Option<ConfigFile>,
    out: &mut Out,
) -> Result<Outcome, Failure> {
    out.converse();
    let in_config = config.as_ref().and_then(|file| file.config().metrics.as_ref());
    // An address that is in use is found before anything is created.
    let listening = args.metrics.as_ref().or(in_config).map(Listening::at).transpose()?;
    let (warden, course) = match config {
        Some(file) => by_config(state, file, out)?,
        None => by_flags(state, args, out)?,
    };
    let serving = listening.map(|listening| listening.serve(&warden, out)).transpose()?;
    let followed = follow::run(warden, course, out);
    drop(serving);
    followed
}

fn by_config(state: &StateFile, file: ConfigFile, out: &Out) -> Result<(Warden, Course), Failure> {
    if !state.exists() {
        // What cannot be done is found before anything is created.
        file.plan(None)?;
    }
    let warden = state.open_or_create()?;
    let plan = file.plan(Some(&warden))?;
    file.take(&plan, &warden)?;
    for sentence in plan.sentences() {
        out.notice(&sentence);
    }
    let (scope, options) = (Some(file.config().scope()), file.config().options());
    let course = Course { since: warden.seq(), scope, options, config: Some(file) };
    Ok((warden, course))
}

fn by_flags(state: &StateFile, args: &WatchArgs, out: &Out) -> Result<(Warden, Course), Failure> {
    // A bad pattern is found before anything is created.
    args.root.rules()?;
    let places: Vec<Place> = args.dirs.iter().map(|dir| Place::find(dir)).collect();
    if !state.exists() {
        for place in &places {
            place.require_dir("watch")?;
        }
    }
    let warden = if places.is_empty() { state.open()? } else { state.open_or_create()? };
    let request = Request { verb: "watch", name: args.name.as_deref(), root: &args.root };
    let (scope, options) = if places.is_empty() {
        target::every_root(&warden, request, out)?;
        (None, WatchOptions::new().default_root(root_watch(args)))
    } else {
        let scope = follow::outermost(target::of_places(&warden, &places, request, out)?);
        let options = options_of(&warden, &scope, &root_watch(args));
        (Some(scope), options)
    };
    let course = Course { since: warden.seq(), scope, options, config: None };
    Ok((warden, course))
}

/// A part of a root is watched with all of the root: only the telling is less.
fn options_of(warden: &Warden, scope: &[Vec<u8>], watch: &RootWatch) -> WatchOptions {
    let is_named = |name: &str| scope.iter().any(|address| split(address).0 == name.as_bytes());
    let roots = warden.roots().into_iter().filter(|root| is_named(&root.name));
    roots.fold(WatchOptions::new(), |options, root| options.root(root.name, watch.clone()))
}

fn root_watch(args: &WatchArgs) -> RootWatch {
    let mut watch = RootWatch::new();
    if let Some(poll_s) = args.poll {
        watch = watch.mode(WatchMode::Poll).poll_ms(u64::from(poll_s) * 1_000);
    }
    with_quiet_times(watch, args.debounce_ms.map(u64::from), None)
}
