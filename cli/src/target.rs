//! What a DIR on the command line means: a known root, a part of one, or a directory that becomes a
//! root.

use std::fs;
use std::path::{Path, PathBuf};

use treewarden::{ContentHash, IgnoreRules, RootInfo, RootOptions, Warden};

use crate::address::os_bytes;
use crate::args::RootFlags;
use crate::failure::Failure;
use crate::output::Out;
use crate::text;

/// What is to be done with the directories of a command line.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    /// The command that was given.
    pub(crate) verb: &'static str,
    /// The name that a new root is to have.
    pub(crate) name: Option<&'a str>,
    pub(crate) root: &'a RootFlags,
}

/// A directory as it was typed, and where it lies.
pub(crate) struct Place {
    typed: PathBuf,
    path: PathBuf,
    /// Why it cannot become a root, `None` when it can.
    problem: Option<String>,
}

impl Place {
    /// Looks where `typed` lies. A place that is gone is no failure yet: it may be a root that is
    /// unavailable now, or a part of one that was deleted.
    pub(crate) fn find(typed: &Path) -> Place {
        match fs::canonicalize(typed) {
            Ok(path) => {
                let problem = (!path.is_dir()).then(|| "it is not a directory".to_owned());
                Place { typed: typed.to_path_buf(), path, problem }
            }
            Err(error) => {
                Place { typed: typed.to_path_buf(), path: would_lie(typed), problem: Some(error.to_string()) }
            }
        }
    }

    /// Where it lies, or would.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Why it cannot become a root, `None` when it can.
    pub(crate) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// The failure of a place that only makes sense as a new root, and cannot become one.
    pub(crate) fn require_dir(&self, verb: &str) -> Result<(), Failure> {
        match &self.problem {
            None => Ok(()),
            Some(problem) => {
                Err(Failure::new(format!("cannot {verb} `{}`: {problem}", text::path(&self.typed))))
            }
        }
    }
}

/// Where a path would lie that does not exist: its deepest real ancestor, then the rest as typed.
fn would_lie(typed: &Path) -> PathBuf {
    let absolute = std::path::absolute(typed).unwrap_or_else(|_| typed.to_path_buf());
    for ancestor in absolute.ancestors().skip(1) {
        if let Ok(real) = fs::canonicalize(ancestor)
            && let Ok(rest) = absolute.strip_prefix(ancestor)
        {
            return real.join(rest);
        }
    }
    absolute
}

/// The addresses of all roots; there must be one.
pub(crate) fn every_root(warden: &Warden, request: Request<'_>, out: &Out) -> Result<Vec<Vec<u8>>, Failure> {
    let roots = warden.roots();
    if roots.is_empty() {
        let verb = request.verb;
        return Err(Failure::new(format!("there are no roots to {verb}"))
            .with_hint(format!("`treewarden {verb} DIR` makes a root of DIR")));
    }
    for root in &roots {
        update_options(warden, root, request.root, out)?;
    }
    Ok(roots.into_iter().map(|root| root.name.into_bytes()).collect())
}

/// The addresses of `places`; makes a root of each that does not lie in one. Nothing is
/// changed when one of the places makes no sense.
pub(crate) fn of_places(
    warden: &Warden,
    places: &[Place],
    request: Request<'_>,
    out: &Out,
) -> Result<Vec<Vec<u8>>, Failure> {
    let mut roots = warden.roots();
    for place in places {
        check(place, &roots, request)?;
    }
    let mut targets = Vec::with_capacity(places.len());
    for place in places {
        if let Some((root, rest)) = owner(&roots, &place.path) {
            if rest.as_os_str().is_empty() {
                update_options(warden, root, request.root, out)?;
            }
            targets.push(address(&root.name, &rest));
        } else {
            let root = add(warden, &roots, place, request, out)?;
            targets.push(root.name.clone().into_bytes());
            roots.push(root);
        }
    }
    Ok(targets)
}

/// The most specific root that `path` lies in, and the path below it.
fn owner<'r>(roots: &'r [RootInfo], path: &Path) -> Option<(&'r RootInfo, PathBuf)> {
    let below = |root: &RootInfo| {
        if let Ok(rest) = path.strip_prefix(&root.path) {
            return Some(rest.to_path_buf());
        }
        // The root may have been registered through a symlink.
        let real = fs::canonicalize(&root.path).ok()?;
        path.strip_prefix(real).ok().map(Path::to_path_buf)
    };
    roots
        .iter()
        .filter_map(|root| below(root).map(|rest| (root, rest)))
        .min_by_key(|(_, rest)| rest.components().count())
}

/// Refuses what would be a surprise: a name for what has one, lasting options for a part of a root.
fn check(place: &Place, roots: &[RootInfo], request: Request<'_>) -> Result<(), Failure> {
    let verb = request.verb;
    let Some((root, rest)) = owner(roots, &place.path) else {
        return place.require_dir(verb);
    };
    let typed = text::path(&place.typed);
    let name = &root.name;
    if rest.as_os_str().is_empty() {
        return match request.name {
            Some(asked) if asked != name => {
                Err(Failure::new(format!("`{typed}` is the root `{name}` already"))
                    .with_hint(format!("leave out --name to {verb} it")))
            }
            _ => Ok(()),
        };
    }
    if request.name.is_some() || !request.root.is_empty() {
        let dir = text::shell_word(&place.typed);
        return Err(Failure::new(format!(
            "`{typed}` is a part of the root `{name}`, so --name, --hash, --ignore and --junk do not apply"
        ))
        .with_hint(format!("`treewarden root add NAME {dir}` makes it a root of its own")));
    }
    if place.path.exists() {
        return place.require_dir(verb);
    }
    Ok(())
}

fn add(
    warden: &Warden,
    roots: &[RootInfo],
    place: &Place,
    request: Request<'_>,
    out: &Out,
) -> Result<RootInfo, Failure> {
    let name = match request.name {
        Some(name) => name.to_owned(),
        None => free_name(&base_name(&place.path), |name| roots.iter().any(|root| root.name == name)),
    };
    let root = warden.add_root_with(&name, &place.path, &new_options(request.root)?)?;
    out.notice(&format!("new root `{}`: {}", root.name, text::path(&root.path)));
    Ok(root)
}

/// The options of a new root.
pub(crate) fn new_options(flags: &RootFlags) -> Result<RootOptions, Failure> {
    let mut options = RootOptions::default();
    if let Some(rules) = flags.rules()? {
        options = options.ignore(rules);
    }
    if flags.hash {
        options = options.content_hash(ContentHash::Changed);
    }
    Ok(options)
}

/// Gives a root the options that were asked for, if it does not have them yet.
fn update_options(warden: &Warden, root: &RootInfo, flags: &RootFlags, out: &Out) -> Result<(), Failure> {
    let rules = flags.rules()?;
    let rules_differ = rules.as_ref().is_some_and(|rules| rules.patterns() != root.ignore.as_slice());
    let hash_differs = flags.hash && root.content_hash == ContentHash::Off;
    if !rules_differ && !hash_differs {
        return Ok(());
    }
    let rules = match rules {
        Some(rules) => rules,
        None => IgnoreRules::new(root.ignore.clone())?,
    };
    let hash = if flags.hash { ContentHash::Changed } else { root.content_hash };
    let options = RootOptions::default().ignore(rules).content_hash(hash).compare(root.compare_asked);
    warden.set_root_options(&root.name, &options)?;
    out.notice(&format!("root `{}` has new options", root.name));
    Ok(())
}

/// The name that a directory gives its root: its last component, with what a name cannot hold
/// replaced.
fn base_name(path: &Path) -> String {
    let Some(name) = path.file_name() else {
        return "root".to_owned();
    };
    let unfit = |char: char| char.is_control() || matches!(char, '/' | '\\' | char::REPLACEMENT_CHARACTER);
    name.to_string_lossy().chars().map(|char| if unfit(char) { '_' } else { char }).collect()
}

/// `base`, or the first of `base-2`, `base-3`... that is not taken.
fn free_name(base: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let mut name = base.to_owned();
    let mut number: u64 = 2;
    while is_taken(&name) {
        name = format!("{base}-{number}");
        number += 1;
    }
    name
}

fn address(root: &str, rest: &Path) -> Vec<u8> {
    let mut address = root.as_bytes().to_vec();
    for component in rest.components() {
        address.push(b'/');
        address.extend_from_slice(os_bytes(component.as_os_str()));
    }
    address
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{address, base_name, free_name};

    #[test]
    fn a_root_is_named_after_its_directory() {
        let cases = [
            ("/srv/music", "music"),
            ("/", "root"),
            ("/srv/a\nb\u{1b}", "a_b_"),
            ("/srv/.config", ".config"),
        ];
        for (path, expected) in cases {
            assert_eq!(base_name(Path::new(path)), expected);
        }
    }

    #[test]
    fn a_taken_name_gets_the_first_free_number() {
        let cases: [(&[&str], &str); 4] =
            [(&[], "a"), (&["a"], "a-2"), (&["a", "a-2"], "a-3"), (&["a", "a-3"], "a-2")];
        for (taken, expected) in cases {
            assert_eq!(free_name("a", |name| taken.contains(&name)), expected);
        }
    }

    #[test]
    fn the_address_of_a_part_is_below_that_of_its_root() {
        assert_eq!(address("music", Path::new("")), b"music");
        assert_eq!(address("music", Path::new("2024/live")), b"music/2024/live");
    }
}
