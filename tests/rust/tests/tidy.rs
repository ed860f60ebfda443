//! The rules of the source tree itself, checked by reading `core/src`: who may name whom, which
//! dependency lives where, what a library never does.
//!
//! The tables come first; whoever adds a module gives it a place there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Layers from the bottom to the top. A module may name modules of its own layer and below.
const LAYERS: &[&[&str]] = &[
    // Plain values and what everybody may use.
    &[
        "bell",
        "bytes",
        "clock",
        "entry",
        "error",
        "events",
        "hash",
        "ignore",
        "operation",
        "options",
        "path",
        "root_record",
        "signal",
        "sys",
    ],
    &["store", "snapshot", "journal"],
    &["commit"],
    &["scan", "root"],
    &["live"],
    &["work"],
    // The public face; its parts know each other.
    &["warden", "mirror", "arrow", "batch", "changes", "export", "fleet", "metrics", "status"],
];

/// Hooks for these tests, absent from a release: they reach everywhere and are reached from
/// everywhere.
const EXEMPT: &[&str] = &["testing"];

/// File, name, reason: arrows that point up on purpose.
const UPWARD: &[(&str, &str, &str)] =
    &[("options.rs", "Warden", "`Options::open` is the last word of its builder")];

/// A dependency and the only places that may name it: a folder, or one file.
const HOMES: &[(&str, &[&str])] = &[
    ("redb", &["store/"]),
    ("jwalk", &["scan/"]),
    ("rayon", &["scan/"]),
    ("xxhash_rust", &["hash.rs"]),
    ("rustix", &["bell.rs", "sys.rs", "scan/", "store/", "root/", "live/", "testing.rs"]),
    ("arc_swap", &["snapshot/", "mirror/outbox.rs"]),
    ("imbl", &["mirror/"]),
    ("mime_guess", &["mirror/options.rs"]),
    ("object_store", &["mirror/"]),
    ("redis", &["fleet/"]),
    ("reqwest", &["mirror/"]),
    ("serde_json", &["mirror/"]),
    ("tokio", &["mirror/"]),
    ("self_cell", &["snapshot/"]),
    ("arrow_array", &["arrow.rs", "export.rs"]),
    ("arrow_schema", &["arrow.rs", "export.rs"]),
    ("parquet", &["export.rs"]),
    ("notify", &["live/"]),
    ("croner", &["live/schedule.rs"]),
    ("jiff", &["live/schedule.rs"]),
];

/// What a library that is linked into other people's programs does not do.
const FORBIDDEN: &[&str] = &[
    "std::env",
    "env::var",
    "env::args",
    "home_dir",
    "println!",
    "eprintln!",
    "print!",
    "eprint!",
    "dbg!",
    "io::stdout",
    "io::stderr",
    "io::stdin",
    "process::exit",
];

/// A file is one noun; more lines, its own tests not counted, are more nouns.
const LINES_MAX: usize = 600;

/// One source file without comments, string contents and test modules.
struct Source {
    /// Relative to `core/src`, with `/`.
    name: String,
    text: String,
    code: String,
}

impl Source {
    /// The module at the top of the crate that this file belongs to.
    fn module(&self) -> &str {
        let first = self.name.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    fn is_at_the_top(&self) -> bool {
        !self.name.contains('/')
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../core/src");
    let mut open = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(dir) = open.pop() {
        let entries = fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
        let paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        for path in paths {
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                let text = fs::read_to_string(&path).unwrap();
                let code = without_tests(&without_comments(&text));
                found.push(Source { name, text, code });
            }
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(found.iter().any(|source| source.name == "lib.rs"), "core/src has no lib.rs");
    found
}

#[test]
fn every_dependency_lives_in_its_own_place() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (dependency, homes) in HOMES {
            let at_home = homes.iter().any(|home| source.name == *home || source.name.starts_with(home));
            if !at_home && words(&source.code, &format!("{dependency}::")).next().is_some() {
                wrong.push(format!("{} names {dependency}, which belongs to {homes:?}", source.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_library_reads_no_environment_and_never_prints() {
    let mut wrong = Vec::new();
    for source in sources() {
        for word in FORBIDDEN {
            if words(&source.code, word).next().is_some() {
                wrong.push(format!("{} uses {word}", source.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_is_short_and_says_what_it_is_for() {
    let mut wrong = Vec::new();
    for source in sources() {
        let lines = source.code.lines().count();
        if lines >= LINES_MAX {
            wrong.push(format!("{} has {lines} lines, {LINES_MAX} are too many", source.name));
        }
        if !source.text.starts_with("//!") {
            wrong.push(format!("{} does not begin by saying what it is for", source.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn arrows_between_modules_point_one_way() {
    let sources = sources();
    let exported = re_exports(sources.iter().find(|source| source.name == "lib.rs").unwrap());
    let mut wrong = Vec::new();
    for source in &sources {
        let module = source.module();
        if module == "lib" || EXEMPT.contains(&module) {
            continue;
        }
        let Some(layer) = layer_of(module) else {
            wrong.push(format!("{} has no place in LAYERS (tests/rust/tests/tidy.rs)", source.name));
            continue;
        };
        for named in named_modules(source) {
            let target = exported.get(&named).unwrap_or(&named);
            if EXEMPT.contains(&target.as_str()) {
                continue;
            }
            if UPWARD.iter().any(|(file, name, _)| *file == source.name && *name == named) {
                continue;
            }
            match layer_of(target) {
                Some(other) if other > layer => {
                    wrong.push(format!("{} names crate::{named}, of a higher layer ({target})", source.name));
                }
                Some(_) => {}
                None => {
                    wrong.push(format!("{} names crate::{named}, which LAYERS does not know", source.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// The modules and re-exports named by `crate::…`, and by `super::…` in a file at the top.
fn named_modules(source: &Source) -> Vec<String> {
    let mut named = Vec::new();
    let mut anchors = vec!["crate::"];
    if source.is_at_the_top() {
        anchors.push("super::");
    }
    for anchor in anchors {
        for at in words(&source.code, anchor) {
            named.extend(first_segments(&source.code[at + anchor.len()..]));
        }
    }
    named.sort();
    named.dedup();
    named
}

/// `store::Key` gives `store`; `{store::Key, path, error::{A, B}}` gives `store`, `path`, `error`.
fn first_segments(rest: &str) -> Vec<String> {
    let Some(group) = rest.trim_start().strip_prefix('{') else {
        return identifier(rest).into_iter().collect();
    };
    let mut depth = 0_usize;
    let mut segments = Vec::new();
    let mut begin = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' if depth == 0 => {
                segments.extend(identifier(&group[begin..at]));
                begin = at + 1;
            }
            '}' => {
                segments.extend(identifier(&group[begin..at]));
                break;
            }
            _ => {}
        }
    }
    segments
}

fn identifier(text: &str) -> Option<String> {
    let text = text.trim_start();
    let end = text.find(|c: char| !is_word(c)).unwrap_or(text.len());
    let name = &text[..end];
    (!name.is_empty() && name != "self").then(|| name.to_owned())
}

/// Name → module, for everything that `lib.rs` re-exports.
fn re_exports(lib: &Source) -> BTreeMap<String, String> {
    let mut exported = BTreeMap::new();
    for at in words(&lib.code, "use ") {
        let statement = lib.code[at + "use ".len()..].split(';').next().unwrap_or_default();
        let statement = statement.trim_start().trim_start_matches("crate::").trim_start_matches("self::");
        let Some(module) = identifier(statement) else { continue };
        let mut rest = &statement[module.len()..];
        while let Some(begin) = rest.find(is_word) {
            rest = &rest[begin..];
            let Some(name) = identifier(rest) else { break };
            rest = &rest[name.len()..];
            exported.insert(name, module.clone());
        }
    }
    exported
}

/// Every place where `word` stands by itself and not as the end of a longer word or path.
fn words<'c>(code: &'c str, word: &'c str) -> impl Iterator<Item = usize> + 'c {
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = code[..*at].chars().next_back();
        before.is_none_or(|c| !is_word(c) && c != ':')
            // `::redb::` is the crate as well.
            || code[..*at].strip_suffix("::").is_some_and(|head| !head.chars().next_back().is_some_and(is_word))
    })
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Blanks comments and the contents of strings and character literals; keeps everything's place.
fn without_comments(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let blank = |out: &mut Vec<u8>, from: usize, to: usize| {
        for byte in &mut out[from..to] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
    };
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let end = if rest.starts_with(b"//") {
            at + rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len())
        } else if rest.starts_with(b"/*") {
            at + block_comment(rest)
        } else if let Some(length) = string_literal(bytes, at) {
            at + length
        } else {
            at += 1;
            continue;
        };
        blank(&mut out, at, end);
        at = end;
    }
    String::from_utf8(out).unwrap()
}

/// The length of a block comment; they nest.
fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// The length of a string or character literal that begins here, its prefix not counted.
fn string_literal(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    match rest.first()? {
        b'"' => {
            let mut hashes = 0;
            while at > hashes && bytes[at - hashes - 1] == b'#' {
                hashes += 1;
            }
            let raw = at > hashes && bytes[at - hashes - 1] == b'r';
            Some(if raw { raw_string(rest, hashes) } else { escaped(rest, b'"') })
        }
        b'\'' if rest.get(1) == Some(&b'\\') => Some(escaped(rest, b'\'')),
        b'\'' => {
            // `'x'` is a literal, `'x` is a lifetime; a character may take up to four bytes.
            let close = rest.iter().skip(2).take(4).position(|b| *b == b'\'')? + 2;
            let one = std::str::from_utf8(&rest[1..close]).ok()?.chars().count() == 1;
            one.then_some(close + 1)
        }
        _ => None,
    }
}

fn raw_string(rest: &[u8], hashes: usize) -> usize {
    let mut close = vec![b'"'];
    close.extend(std::iter::repeat_n(b'#', hashes));
    let found = rest[1..].windows(close.len()).position(|window| window == close);
    found.map_or(rest.len(), |found| 1 + found + close.len())
}

fn escaped(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// Removes `#[cfg(test)]` items: tests may look at everything.
fn without_tests(code: &str) -> String {
    let mut out = String::new();
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        out.push_str(&rest[..at]);
        let item = &rest[at..];
        let semicolon = item.find(';').unwrap_or(item.len());
        let brace = item.find('{').unwrap_or(item.len());
        let end = if semicolon < brace { semicolon + 1 } else { brace + matching_brace(&item[brace..]) };
        rest = item.get(end..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

fn matching_brace(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    text.len()
}

#[test]
fn the_reader_of_sources_understands_rust() {
    let text = r##"
        // redb::in_a_comment /* not a block
        let a = "redb::in_a_string \" redb::still"; /* redb:: /* nested */ redb:: */
        let b = r#"redb::raw " redb::"#; let c = '"'; let d = b'\''; let e: &'static str = "";
        use crate::{store::{A, B}, path, error::Error}; redb::real();
        #[cfg(test)]
        mod tests { use crate::warden::Warden; fn f() { redb::in_tests() } }
        crate::journal::x(); not_redb::y(); ::redb::z(); other::redb::w();
    "##;
    let code = without_tests(&without_comments(text));
    assert_eq!(code.lines().count(), text.lines().count() - 1, "{code}");
    assert_eq!(words(&code, "redb::").count(), 2, "{code}");
    let source = Source { name: "a/b.rs".to_owned(), text: String::new(), code };
    assert_eq!(named_modules(&source), ["error", "journal", "path", "store"]);
    assert_eq!(source.module(), "a");

    let lib = without_comments("pub use error::{Error, Result}; mod x; pub use snapshot::Snapshot;");
    let exported = re_exports(&Source { name: "lib.rs".to_owned(), text: String::new(), code: lib });
    assert_eq!(exported.get("Result").map(String::as_str), Some("error"));
    assert_eq!(exported.get("Snapshot").map(String::as_str), Some("snapshot"));
}
