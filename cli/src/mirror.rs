//! `treewarden mirror`: roots in step with a remote copy. Credentials are found here, in the environment, and
//! nowhere else: the engine asks nobody for them, and the state file holds none.

mod add;
pub(crate) mod credentials;
mod follow;
mod profile;
mod progress;
mod report;
pub(crate) mod store;
mod sync;

use std::io::Write;
use std::sync::Arc;

use treewarden::mirror::{Credentials, Mirror, MirrorInfo, Purge};
use treewarden::{ErrorKind, Warden, escape};

use self::credentials::idle;
use self::report::{ListLine, StatusLine, UnknownLine};
use crate::address::{self, os_bytes};
use crate::args::{MirrorCommand, MirrorUrlsArgs};
use crate::failure::{Failure, Outcome};
use crate::message::Message;
use crate::output::Out;
use crate::state::StateFile;
use crate::text::printable;

pub(crate) fn run(state: &StateFile, command: &MirrorCommand, out: &mut Out) -> Result<Outcome, Failure> {
    match command {
        MirrorCommand::Add(args) => add::run(state, args, out),
        MirrorCommand::List => list(state, out),
        MirrorCommand::Remove { name } => remove(state, name, out),
        MirrorCommand::Status { name } => status(state, name.as_deref(), out),
        MirrorCommand::Urls(args) => urls(state, args, out),
        MirrorCommand::Sync(args) => sync::run(state, args, out),
        MirrorCommand::Audit(args) => sync::audit(state, args, out),
        MirrorCommand::Follow(args) => follow::run(state, args, out),
    }
}

/// The mirrors of these names, or all of them; at least one, in order of their names.
fn chosen(warden: &Warden, names: &[String]) -> Result<Vec<MirrorInfo>, Failure> {
    let mut all = warden.mirrors()?;
    if let Some(name) = names.iter().find(|name| !all.iter().any(|info| info.name == **name)) {
        return Err(unknown(name, &all));
    }
    if !names.is_empty() {
        all.retain(|info| names.contains(&info.name));
    }
    if all.is_empty() {
        return Err(Failure::new("there are no mirrors yet").with_hint(HOW_TO_ADD));
    }
    Ok(all)
}

const HOW_TO_ADD: &str = "`treewarden mirror add NAME ROOT TARGET` makes one";

/// Whoever misses a name is told which there are.
fn unknown(name: &str, all: &[MirrorInfo]) -> Failure {
    let failure = Failure::new(format!("there is no mirror `{}`", escape(name.as_bytes())));
    let names: Vec<&str> = all.iter().map(|info| info.name.as_str()).collect();
    failure.with_hint(if names.is_empty() {
        HOW_TO_ADD.to_owned()
    } else {
        format!("the mirrors are: {}", names.join(", "))
    })
}

/// Opens a mirror as it was made.
fn open(
    warden: &Warden,
    info: &MirrorInfo,
    credentials: &Credentials,
    cdn: Option<&Arc<dyn Purge>>,
) -> Result<Mirror, Failure> {
    warden.mirror(&info.name, credentials, cdn.cloned()).map_err(|error| about(&info.name, error.into()))
}

/// The same failure, and which mirror it is about.
fn about(name: &str, failure: Failure) -> Failure {
    match failure {
        Failure::Said { message, hint, code } => {
            Failure::Said { message: format!("mirror `{name}`: {message}"), hint, code }
        }
        Failure::Output(error) => Failure::Output(error),
    }
}

fn list(state: &StateFile, out: &mut Out) -> Result<Outcome, Failure> {
    let warden = state.open_to_read()?;
    let mut rows = Vec::new();
    for info in &warden.mirrors()? {
        let prefix = open(&warden, info, &idle(), None).ok().map(|mirror| mirror.status().prefix);
        if out.json {
            out.object(&ListLine::new(info, prefix.as_deref()))?;
        } else {
            let place = report::with_prefix(&info.place, prefix.as_deref().unwrap_or_default());
            rows.push(vec![printable(&info.name), escape(info.options.address()), place]);
        }
    }
    out.table(0, &[], &rows)?;
    Ok(Outcome::Complete)
}

fn remove(state: &StateFile, name: &str, out: &Out) -> Result<Outcome, Failure> {
    let warden = state.open()?;
    warden.remove_mirror(name).map_err(|error| match error.kind() {
        ErrorKind::NotFound => unknown(name, &warden.mirrors().unwrap_or_default()),
        _ => error.into(),
    })?;
    out.notice(&format!("mirror `{name}` is forgotten, its objects stay where they are"));
    Ok(Outcome::Complete)
}

/// Ends as incomplete when of one of the mirrors it cannot be told.
fn status(state: &StateFile, name: Option<&str>, out: &mut Out) -> Result<Outcome, Failure> {
    let warden = state.open_to_read()?;
    let mirrors = match name {
        Some(name) => chosen(&warden, &[name.to_owned()])?,
        None => warden.mirrors()?,
    };
    let mut is_known = true;
    for info in &mirrors {
        let status = match open(&warden, info, &idle(), None) {
            Ok(mirror) => mirror.status(),
            Err(failure) => {
                is_known = false;
                let message = failure.message();
                if out.json {
                    out.object(&UnknownLine::new(info, &message))?;
                } else {
                    out.say(&Message::Error { root: None, message: &message });
                }
                continue;
            }
        };
        if out.json {
            out.object(&StatusLine::new(&status))?;
        } else {
            writeln!(out, "{}", printable(&status.name))?;
            out.sheet(&report::sheet(&status))?;
        }
    }
    Ok(Outcome::complete_if(is_known))
}

fn urls(state: &StateFile, args: &MirrorUrlsArgs, out: &mut Out) -> Result<Outcome, Failure> {
    let warden = state.open_to_read()?;
    for info in &chosen(&warden, std::slice::from_ref(&args.name))? {
        if info.target.as_ref().is_some_and(|target| target.get_public_url().is_none()) {
            return Err(about(&info.name, Failure::new("its objects have no public address"))
                .with_hint("`mirror add` with the same words and --public-url URL gives them one"));
        }
        let urls = open(&warden, info, &idle(), None)?.urls();
        let Some(place) = args.place.as_deref().filter(|_| !args.all) else {
            for (path, url) in urls.iter() {
                report::print_url(&path, &url, out)?;
            }
            continue;
        };
        let place_bytes = os_bytes(place);
        let is_url = place_bytes.starts_with(b"https://") || place_bytes.starts_with(b"http://");
        if is_url {
            let url = place.to_string_lossy();
            let path = urls
                .path(&url)
                .ok_or_else(|| about(&info.name, Failure::new("no file has an object with this address")))?;
            report::print_url(&path, &url, out)?;
            continue;
        }
        let address = address::typed(Some(place));
        if let Some(url) = urls.url(&address) {
            report::print_url(&address, &url, out)?;
            continue;
        }
        let mut is_found = false;
        for (path, url) in urls.iter().filter(|(path, _)| is_below(path, &address)) {
            is_found = true;
            report::print_url(&path, &url, out)?;
        }
        if !is_found {
            let message = format!("nothing at `{}` has an object that is acknowledged", escape(&address));
            return Err(about(&info.name, Failure::new(message))
                .with_hint(format!("`treewarden mirror sync {}` copies what is missing", info.name)));
        }
    }
    Ok(Outcome::Complete)
}

fn is_below(path: &[u8], address: &[u8]) -> bool {
    path.strip_prefix(address).is_some_and(|rest| rest.starts_with(b"/"))
}
