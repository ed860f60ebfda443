//! A configuration file that is in force: noticing that it changed, and bringing what differs into
//! force while everything else goes on.
//!
//! A file that makes no sense, or that the engine cannot take, changes nothing.

use std::mem;
use std::path::Path;
use std::time::{Duration, Instant};

use treewarden::{RootInfo, Warden};

use crate::config::{Config, Source, Stamp};
use crate::failure::Failure;
use crate::message::Message;
use crate::output::Out;
use crate::plan::Plan;

/// How often the file is looked at. One `stat` a second is the price of noticing without a signal,
/// paid only by those who gave a file: the engine watches roots, and a configuration lies in none.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A configuration file, and what it said when it was last good.
pub(crate) struct ConfigFile {
    source: Source,
    config: Config,
    /// The file that was read last, good or not.
    read: Stamp,
    /// The file at the last look.
    seen: Stamp,
    looked: Instant,
}

/// What came of reading a file again.
pub(crate) struct Applied {
    /// Roots that are watched now and have never been scanned.
    pub(crate) unseen: Vec<String>,
}

impl ConfigFile {
    /// Reads and understands a file for the first time.
    pub(crate) fn load(path: &Path) -> Result<ConfigFile, Failure> {
        let source = Source::new(path);
        // First: what is written while it is read is seen as another file later.
        let stamp = source.stamp();
        let config = Config::load(&source)?;
        Ok(ConfigFile { source, config, read: stamp, seen: stamp, looked: Instant::now() })
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// The steps to what the file says. A failure says where in the file.
    pub(crate) fn plan(&self, warden: Option<&Warden>) -> Result<Plan, Failure> {
        self.plan_of(&self.config, warden)
    }

    fn plan_of(&self, config: &Config, warden: Option<&Warden>) -> Result<Plan, Failure> {
        let registered = warden.map(Warden::roots).unwrap_or_default();
        Plan::new(config, &registered).map_err(|refusal| self.source.failure(refusal))
    }

    /// Takes the steps of a plan, all or none.
    pub(crate) fn take(&self, plan: &Plan, warden: &Warden) -> Result<(), Failure> {
        plan.apply(warden).map_err(|refusal| self.source.failure(refusal))
    }

    /// Looks at the file, once in [`LOOK_EVERY`] at most. True when it is another one than was read, and
    /// has been still for a look: a file that is just being written is left alone.
    pub(crate) fn has_changed(&mut self) -> bool {
        if self.looked.elapsed() < LOOK_EVERY {
            return false;
        }
        self.looked = Instant::now();
        let now = self.source.stamp();
        let is_still = mem::replace(&mut self.seen, now) == now;
        is_still && now != self.read
    }

    /// Reads the file again and brings what differs into force; says what came of it. `None` when the
    /// old settings stay.
    pub(crate) fn reload(&mut self, warden: &Warden, out: &Out) -> Option<Applied> {
        self.read = self.source.stamp();
        let applied = Config::load(&self.source)
            .and_then(|new| self.apply(&new, warden).map(|(changes, applied)| (new, changes, applied)));
        match applied {
            Ok((new, changes, applied)) => {
                self.config = new;
                out.say(&Message::ConfigApplied { changes: &changes });
                Some(applied)
            }
            Err(failure) => {
                out.say(&Message::ConfigRefused { message: &failure.message(), hint: failure.hint() });
                None
            }
        }
    }

    fn apply(&self, new: &Config, warden: &Warden) -> Result<(Vec<String>, Applied), Failure> {
        let plan = self.plan_of(new, Some(warden))?;
        let mut changes = plan.sentences();
        changes.extend(differences(&self.config, new, |root| plan.adds(root)));
        if plan.is_empty() && new.options() == self.config.options() {
            return Ok((changes, Applied { unseen: Vec::new() }));
        }
        warden.pause()?;
        let switched = self.switch(new, &plan, warden);
        // Before anything is scanned again.
        let unseen = unseen(new, warden);
        let resumed = warden.resume();
        switched?;
        resumed?;
        Ok((changes, Applied { unseen }))
    }

    /// From the old settings to the new ones, or back.
    fn switch(&self, new: &Config, plan: &Plan, warden: &Warden) -> Result<(), Failure> {
        self.take(plan, warden)?;
        warden.watch_with(&new.options()).map_err(|error| {
            plan.undo(warden);
            // The same options as before: what was possible then is possible now.
            let _ = warden.watch_with(&self.config.options());
            Failure::from(error)
        })
    }
}

/// The roots of `config` that have never been scanned.
fn unseen(config: &Config, warden: &Warden) -> Vec<String> {
    let is_unseen = |root: &RootInfo| root.last_scan_ns.is_none() && config.root(&root.name).is_some();
    warden.roots().into_iter().filter(is_unseen).map(|root| root.name).collect()
}

/// What differs between two files, one sentence each, but for what the steps of a plan say. `is_new` is
/// true of a root that the plan makes.
fn differences(old: &Config, new: &Config, is_new: impl Fn(&str) -> bool) -> Vec<String> {
    let mut sentences = Vec::new();
    for root in &new.roots {
        let name = &root.name;
        match old.root(name) {
            None if !is_new(name) => sentences.push(format!("root `{name}` is watched")),
            Some(before) if before.watch != root.watch => {
                sentences.push(format!("root `{name}` is watched in another way"));
            }
            _ => {}
        }
    }
    let gone = old.roots.iter().filter(|root| new.root(&root.name).is_none());
    sentences.extend(gone.map(|root| format!("root `{}` is not watched any more", root.name)));
    if old.engine != new.engine {
        sentences.push("the engine has other settings".to_owned());
    }
    if old.db != new.db {
        sentences.push("`db` counts from the next start on".to_owned());
    }
    if old.metrics != new.metrics {
        sentences.push("`metrics` counts from the next start on".to_owned());
    }
    sentences
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::differences;
    use crate::config::Config;

    fn config(text: &str) -> Config {
        Config::parse(text, Path::new("/")).expect("the text is good")
    }

    #[test]
    fn what_differs_is_said_and_nothing_else() {
        let old = "[roots.a]\npath = \"tmp\"\n[roots.b]\npath = \"usr\"\n";
        let cases: [(&str, &[&str]); 7] = [
            (old, &[]),
            (
                "metrics = \"0\"\n[roots.a]\npath = \"tmp\"\n[roots.b]\npath = \"usr\"\n",
                &["`metrics` counts from the next start on"],
            ),
            ("# a comment\n[roots.a]\npath = \"tmp\"\ndebounce_ms = 300\n[roots.b]\npath = \"/usr\"\n", &[]),
            ("[roots.a]\npath = \"tmp\"\n", &["root `b` is not watched any more"]),
            (
                "[roots.a]\npath = \"tmp\"\npoll_s = 3\n[roots.b]\npath = \"usr\"\n",
                &["root `a` is watched in another way"],
            ),
            (
                "[watch]\nnice = 5\n[roots.a]\npath = \"tmp\"\n[roots.b]\npath = \"usr\"\n",
                &["the engine has other settings"],
            ),
            (
                "db = \"x\"\n[watch]\nquick = \"1h\"\n\
                 [roots.a]\npath = \"tmp\"\nquick = \"never\"\n[roots.b]\npath = \"usr\"\n",
                &["root `b` is watched in another way", "`db` counts from the next start on"],
            ),
        ];
        let old = config(old);
        for (text, expected) in cases {
            assert_eq!(differences(&old, &config(text), |_| false), expected, "{text}");
        }
        let more =
            config("[roots.a]\npath = \"tmp\"\n[roots.b]\npath = \"usr\"\n[roots.c]\npath = \"var\"\n");
        assert_eq!(differences(&old, &more, |_| false), ["root `c` is watched"]);
        assert!(differences(&old, &more, |root| root == "c").is_empty(), "the plan says it");
    }
}
