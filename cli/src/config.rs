//! The configuration file of a `treewarden watch` that runs for long: what it says, judged as a whole
//! before anything is done. No state file is opened here, and no directory of a root looked at.
//!
//! A file that makes no sense is refused with one sentence: where, what, and what is allowed.

mod source;
mod table;
mod timing;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use toml::Spanned;
use treewarden::{Compare, ContentHash, IgnoreRules, RootOptions, RootWatch, WatchOptions};

pub(crate) use self::source::{Position, Refusal, Source, Stamp};
pub(crate) use self::timing::with_quiet_times;

use self::source::Text;
use self::table::{Document, RootTable, WatchTable};
use self::timing::whole;
use crate::failure::Failure;
use crate::limits;
use crate::metrics::Address;

/// What a file says.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Absolute.
    pub(crate) db: Option<PathBuf>,
    /// Where the numbers of the engine are served.
    pub(crate) metrics: Option<Address>,
    /// In order of their names; at least one.
    pub(crate) roots: Vec<ConfigRoot>,
    /// What belongs to the engine and to no one root.
    pub(crate) engine: WatchOptions,
}

/// One root of a file. It is as the file says: what the file leaves out has its default.
#[derive(Clone, Debug)]
pub(crate) struct ConfigRoot {
    pub(crate) name: String,
    /// Where the file says so.
    pub(crate) name_at: Position,
    /// Absolute; nobody has looked whether it exists.
    pub(crate) path: PathBuf,
    /// Where the file says so.
    pub(crate) path_at: Position,
    pub(crate) rules: IgnoreRules,
    pub(crate) content_hash: ContentHash,
    pub(crate) compare: Compare,
    pub(crate) watch: RootWatch,
}

impl ConfigRoot {
    /// The lasting options of the root.
    pub(crate) fn options(&self) -> RootOptions {
        RootOptions::default()
            .ignore(self.rules.clone())
            .content_hash(self.content_hash)
            .compare(self.compare)
    }
}

impl Config {
    /// Reads and understands a file.
    pub(crate) fn load(source: &Source) -> Result<Config, Failure> {
        let parsed = source.read().and_then(|text| Config::parse(&text, source.dir()));
        parsed.map_err(|refusal| source.failure(refusal))
    }

    /// Understands `text`; relative paths in it start at `base`, which is absolute.
    pub(crate) fn parse(text: &str, base: &Path) -> Result<Config, Refusal> {
        let document: Document = toml::from_str(text).map_err(|error| Refusal {
            position: error.span().map(|span| Text(text).position(span.start)),
            message: error.message().to_owned(),
            hint: None,
        })?;
        let text = Text(text);
        let defaults = document.watch.timing();
        // Wrong here is wrong, even when every root says otherwise.
        timing::resolve(&defaults, text)?;

        let metrics = document.metrics.as_ref().map(|typed| address(typed, text)).transpose()?;
        let engine = engine_options(&document.watch, text)?;
        let roots = document
            .roots
            .iter()
            .map(|(name, table)| resolve_root(name, table, &defaults, base, text))
            .collect::<Result<Vec<_>, Refusal>>()?;
        if roots.is_empty() {
            return Err(Refusal::anywhere("it names no root to watch")
                .with_hint("a root is a table: `[roots.music]`, and in it `path = \"/srv/music\"`"));
        }
        Ok(Config { db: document.db.map(|db| base.join(db)), metrics, roots, engine })
    }

    /// How all of it is watched.
    pub(crate) fn options(&self) -> WatchOptions {
        let add =
            |options: WatchOptions, root: &ConfigRoot| options.root(root.name.as_str(), root.watch.clone());
        self.roots.iter().fold(self.engine.clone(), add)
    }

    /// The addresses below which changes are told.
    pub(crate) fn scope(&self) -> Vec<Vec<u8>> {
        self.roots.iter().map(|root| root.name.clone().into_bytes()).collect()
    }

    pub(crate) fn root(&self, name: &str) -> Option<&ConfigRoot> {
        self.roots.iter().find(|root| root.name == name)
    }
}

fn address(typed: &Spanned<String>, text: Text<'_>) -> Result<Address, Refusal> {
    Address::parse(typed.get_ref()).map_err(|message| text.refuse(typed, format!("`metrics`: {message}")))
}

/// The settings that belong to the engine and to no one root.
fn engine_options(table: &WatchTable, text: Text<'_>) -> Result<WatchOptions, Refusal> {
    let mut options = WatchOptions::new();
    if let Some(backend) = table.backend {
        options = options.backend(backend.into());
    }
    if let Some(watches) = &table.watches_max {
        options = options.watches_max(whole("watches_max", watches, &limits::WATCHES, "directories", text)?);
    }
    if let Some(threads) = &table.scan_threads {
        let threads = whole("scan_threads", threads, &limits::SCAN_THREADS, "threads", text)?;
        options = options.scan_threads(usize::try_from(threads).unwrap_or(usize::MAX));
    }
    if let Some(nice) = &table.nice {
        let nice = whole("nice", nice, &limits::NICE, "steps", text)?;
        options = options.nice(i32::try_from(nice).unwrap_or(i32::MAX));
    }
    if let Some(yields) = table.yields {
        options = options.yields(yields);
    }
    Ok(options)
}

fn resolve_root(
    name: &Spanned<String>,
    table: &RootTable,
    defaults: &timing::Keys,
    base: &Path,
    text: Text<'_>,
) -> Result<ConfigRoot, Refusal> {
    let Some(path) = &table.path else {
        let message = format!("the root `{}` has no `path`", name.get_ref());
        return Err(text
            .refuse(name, message)
            .with_hint("say which directory it is: `path = \"/srv/music\"`"));
    };
    Ok(ConfigRoot {
        name: name.get_ref().clone(),
        name_at: text.position(name.span().start),
        path: directory(path, base, text)?,
        path_at: text.position(path.span().start),
        rules: rules(table, text)?,
        content_hash: table.hash.map_or(ContentHash::Off, ContentHash::from),
        compare: table.compare.map_or(Compare::Auto, Compare::from),
        watch: timing::resolve(&table.timing().over(defaults), text)?,
    })
}

fn directory(path: &Spanned<PathBuf>, base: &Path, text: Text<'_>) -> Result<PathBuf, Refusal> {
    let typed = path.get_ref();
    if typed.as_os_str().is_empty() {
        return Err(text
            .refuse(path, "`path` is empty")
            .with_hint("`.` is the directory of the configuration file"));
    }
    if typed.starts_with("~") {
        return Err(text
            .refuse(path, "`path` begins with `~`, which means nothing here")
            .with_hint("write the whole path, from `/`"));
    }
    Ok(base.join(typed))
}

fn rules(table: &RootTable, text: Text<'_>) -> Result<IgnoreRules, Refusal> {
    let mut rules = if table.junk == Some(true) { IgnoreRules::junk() } else { IgnoreRules::none() };
    for pattern in table.ignore.iter().flatten() {
        rules = rules
            .with(pattern.get_ref().as_str())
            .map_err(|error| text.refuse_because(pattern, "ignore", &error))?;
    }
    Ok(rules)
}
