//! The steps from the roots of a state file to those of a configuration. They are decided before
//! anything is done, and taken back when one of them fails: a configuration holds as a whole or not
//! at all.

use std::path::{Path, PathBuf};

use treewarden::{ErrorKind, IgnoreRules, RootInfo, RootOptions, Warden};

use crate::config::{Config, ConfigRoot, Position, Refusal};
use crate::target::Place;
use crate::text;

/// Steps in the order in which they are taken.
#[derive(Debug)]
pub(crate) struct Plan {
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    root: String,
    what: What,
    name_at: Position,
    path_at: Position,
}

#[derive(Debug)]
enum What {
    /// Registers a directory.
    Add { path: PathBuf, options: RootOptions },
    /// Gives a root other lasting options.
    Set { old: Option<RootOptions>, new: RootOptions },
    /// Says that the same tree lies elsewhere.
    Move { from: PathBuf, to: PathBuf },
}

impl Plan {
    /// Looks where the directories lie and compares with the roots there are. Changes nothing.
    pub(crate) fn new(config: &Config, registered: &[RootInfo]) -> Result<Plan, Refusal> {
        let places: Vec<Place> = config.roots.iter().map(|root| Place::find(&root.path)).collect();
        let mut steps: Vec<Step> = Vec::new();
        for (index, (root, place)) in config.roots.iter().zip(&places).enumerate() {
            let mut earlier = config.roots.iter().zip(&places).take(index);
            if let Some((other, _)) = earlier.find(|(_, other)| other.path() == place.path()) {
                return Err(Refusal::at(
                    root.path_at,
                    format!("`path`: `{}` is the root `{}` already", text::path(place.path()), other.name),
                ));
            }
            let known = registered.iter().find(|known| known.name == root.name);
            steps.extend(steps_of(root, place, known, registered, config)?);
        }
        // A directory that a root leaves is free for another one.
        steps.sort_by_key(|step| !matches!(step.what, What::Move { .. }));
        Ok(Plan { steps })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// True when a step makes a root of that name.
    pub(crate) fn adds(&self, root: &str) -> bool {
        self.steps.iter().any(|step| step.root == root && matches!(step.what, What::Add { .. }))
    }

    /// What the steps do, one sentence each.
    pub(crate) fn sentences(&self) -> Vec<String> {
        self.steps.iter().map(Step::sentence).collect()
    }

    /// Takes all steps, or none.
    pub(crate) fn apply(&self, warden: &Warden) -> Result<(), Refusal> {
        for (done, step) in self.steps.iter().enumerate() {
            if let Err(error) = step.take(warden) {
                self.take_back(warden, done);
                return Err(step.refusal(&error));
            }
        }
        Ok(())
    }

    /// Takes back what [`Plan::apply`] did.
    pub(crate) fn undo(&self, warden: &Warden) {
        self.take_back(warden, self.steps.len());
    }

    fn take_back(&self, warden: &Warden, done: usize) {
        for step in self.steps.iter().take(done).rev() {
            // What cannot be taken back is told by the error that led here, or by nothing better.
            let _ = step.take_back(warden);
        }
    }
}

fn steps_of(
    root: &ConfigRoot,
    place: &Place,
    known: Option<&RootInfo>,
    registered: &[RootInfo],
    config: &Config,
) -> Result<Vec<Step>, Refusal> {
    let step = |what| Step { root: root.name.clone(), what, name_at: root.name_at, path_at: root.path_at };
    // A root that is known where it is may be unavailable for now; any other must be there.
    let is_at_home = known.is_some_and(|known| known.path == place.path());
    if let Some(problem) = place.problem().filter(|_| !is_at_home) {
        return Err(Refusal::at(root.path_at, format!("`path`: `{}`: {problem}", text::path(&root.path))));
    }
    let Some(known) = known else {
        // A root of the file may be about to leave that place.
        let owner = registered.iter().find(|other| other.path == place.path());
        if let Some(owner) = owner.filter(|owner| config.root(&owner.name).is_none()) {
            let shown = text::path(place.path());
            return Err(Refusal::at(
                root.path_at,
                format!("`path`: `{shown}` is the root `{}` already", owner.name),
            )
            .with_hint(format!("call it `[roots.{0}]`, or `treewarden root remove {0}`", owner.name)));
        }
        return Ok(vec![step(What::Add { path: place.path().to_path_buf(), options: root.options() })]);
    };
    let mut steps = Vec::new();
    if !is_at_home {
        let (from, to) = (known.path.clone(), place.path().to_path_buf());
        steps.push(step(What::Move { from, to }));
    }
    if !has_options(known, root) {
        steps.push(step(What::Set { old: options_of(known), new: root.options() }));
    }
    Ok(steps)
}

fn has_options(known: &RootInfo, root: &ConfigRoot) -> bool {
    known.ignore.as_slice() == root.rules.patterns()
        && known.content_hash == root.content_hash
        && known.compare_asked == root.compare
}

/// The options that a root has. Its patterns were read once; that they cannot be any more is as good
/// as impossible, and then they cannot be given back.
fn options_of(known: &RootInfo) -> Option<RootOptions> {
    let rules = IgnoreRules::new(known.ignore.iter().cloned()).ok()?;
    let options = RootOptions::default().ignore(rules);
    Some(options.content_hash(known.content_hash).compare(known.compare_asked))
}

impl Step {
    fn take(&self, warden: &Warden) -> treewarden::Result<()> {
        match &self.what {
            What::Add { path, options } => warden.add_root_with(&self.root, path, options).map(drop),
            What::Set { new, .. } => warden.set_root_options(&self.root, new).map(drop),
            What::Move { to, .. } => warden.move_root(&self.root, to).map(drop),
        }
    }

    fn take_back(&self, warden: &Warden) -> treewarden::Result<()> {
        match &self.what {
            What::Add { .. } => warden.remove_root(&self.root),
            What::Set { old: Some(old), .. } => warden.set_root_options(&self.root, old).map(drop),
            What::Set { old: None, .. } => Ok(()),
            What::Move { from, .. } => warden.move_root(&self.root, from).map(drop),
        }
    }

    /// What the engine says against a step, with the place in the file that it is about.
    fn refusal(&self, error: &treewarden::Error) -> Refusal {
        let is_name = matches!(error.kind(), ErrorKind::InvalidArgument | ErrorKind::AlreadyExists)
            && matches!(self.what, What::Add { .. });
        let at = if is_name { self.name_at } else { self.path_at };
        let refusal = Refusal::at(at, error.message());
        match error.hint() {
            Some(hint) => refusal.with_hint(hint),
            None => refusal,
        }
    }

    fn sentence(&self) -> String {
        let root = &self.root;
        let shown = |path: &Path| text::path(path);
        match &self.what {
            What::Add { path, .. } => format!("new root `{root}`: {}", shown(path)),
            What::Set { .. } => format!("root `{root}` has new options"),
            What::Move { to, .. } => format!("root `{root}` lies at {} now", shown(to)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use tempfile::TempDir;
    use treewarden::{Compare, ContentHash, RootInfo, RootState, Totals};

    use super::Plan;
    use crate::config::Config;

    /// A directory that holds the directories `a` and `b`, by its real path.
    fn world() -> (TempDir, std::path::PathBuf) {
        let dir = TempDir::new().expect("a directory");
        let base = fs::canonicalize(dir.path()).expect("it is there");
        for name in ["a", "b"] {
            fs::create_dir(base.join(name)).expect("a directory");
        }
        (dir, base)
    }

    fn known(name: &str, path: &Path) -> RootInfo {
        RootInfo {
            name: name.to_owned(),
            path: path.to_path_buf(),
            id: 1,
            content_hash: ContentHash::Off,
            ignore: vec!["*.part".to_owned()],
            compare: Compare::Full,
            compare_asked: Compare::Auto,
            fs_type: "ext4".to_owned(),
            state: RootState::Ready,
            last_scan_ns: Some(1),
            totals: Totals::default(),
        }
    }

    /// What a file says is to be done, or where and why not.
    fn plan(text: &str, base: &Path, registered: &[RootInfo]) -> Result<Vec<String>, (String, String)> {
        let config = Config::parse(text, base).expect("the text is good");
        match Plan::new(&config, registered) {
            Ok(plan) => Ok(plan.sentences()),
            Err(refusal) => {
                Err((refusal.position.map(|at| at.to_string()).unwrap_or_default(), refusal.message))
            }
        }
    }

    #[test]
    fn only_what_differs_is_done() {
        let (_dir, base) = world();
        let at = |name: &str| base.join(name);
        let gone = known("x", &at("gone"));
        let x = known("x", &at("a"));
        let same = "[roots.x]\npath = \"a\"\nignore = [\"*.part\"]";
        let cases: [(&str, &[RootInfo], Vec<String>); 7] = [
            (same, std::slice::from_ref(&x), vec![]),
            ("[roots.x]\npath = \"b/../a/\"\nignore = [\"*.part\"]", std::slice::from_ref(&x), vec![]),
            (same, &[], vec![format!("new root `x`: {}", at("a").display())]),
            (
                "[roots.x]\npath = \"b\"\nignore = [\"*.part\"]",
                std::slice::from_ref(&x),
                vec![format!("root `x` lies at {} now", at("b").display())],
            ),
            (
                "[roots.x]\npath = \"a\"",
                std::slice::from_ref(&x),
                vec!["root `x` has new options".to_owned()],
            ),
            (
                "[roots.x]\npath = \"a\"\nignore = [\"*.part\"]\nhash = \"changed\"",
                std::slice::from_ref(&x),
                vec!["root `x` has new options".to_owned()],
            ),
            // A disk that is not mounted is no reason not to start.
            ("[roots.x]\npath = \"gone\"\nignore = [\"*.part\"]", std::slice::from_ref(&gone), vec![]),
        ];
        for (text, registered, expected) in cases {
            assert_eq!(plan(text, &base, registered), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_where_it_stands() {
        let (_dir, base) = world();
        fs::write(base.join("file"), "x").expect("a file");
        let other = known("other", &base.join("a"));
        let cases: [(&str, &[RootInfo], &str, &str); 4] = [
            ("[roots.x]\npath = \"nowhere\"", &[], "2:8", "nowhere"),
            ("[roots.x]\n  path = \"file\"", &[], "2:10", "not a directory"),
            ("[roots.x]\npath = \"a\"\n[roots.y]\npath = \"a\"", &[], "4:8", "`x` already"),
            ("[roots.x]\npath = \"a\"", std::slice::from_ref(&other), "2:8", "`other` already"),
        ];
        for (text, registered, at, part) in cases {
            let (position, message) = plan(text, &base, registered).expect_err(text);
            assert_eq!(position, at, "{text}: {message}");
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
