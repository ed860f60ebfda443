//! Addresses and names. An address is `ROOT/relative/path` in bytes; nothing here assumes UTF-8.
//! Path order is component-wise byte order, which is plain byte order with `/` read as 0.

use std::cmp::Ordering;
use std::fmt::Write as _;

use crate::error::{Error, Result};

/// Returns a form of `bytes` that is safe to print: control characters (C0, DEL, C1), the
/// backslash, invisible direction marks and bytes that are not UTF-8 are written as `\n`, `\t`,
/// `\r`, `\\`, `\x1b` or `\u{202e}`; everything else stays as it is.
///
/// ```
/// assert_eq!(treewarden::escape(b"a\nb\x1b\xff.txt"), r"a\nb\x1b\xff.txt");
/// assert_eq!(treewarden::escape("für Elise".as_bytes()), "für Elise");
/// ```
#[must_use]
pub fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\\' => out.push_str("\\\\"),
                c if c.is_ascii_control() => {
                    let _ = write!(out, "\\x{:02x}", u32::from(c));
                }
                // C1 controls, bidirectional overrides, line separators: they rewrite a terminal's line.
                c if c.is_control()
                    || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}') =>
                {
                    let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
                }
                c => out.push(c),
            }
        }
        for b in chunk.invalid() {
            let _ = write!(out, "\\x{b:02x}");
        }
    }
    out
}

/// Compares two relative paths in path order.
pub(crate) fn compare(a: &[u8], b: &[u8]) -> Ordering {
    // Paths in one tree share long beginnings: whole words first.
    let words = a.chunks_exact(8).zip(b.chunks_exact(8)).take_while(|(x, y)| x == y).count() * 8;
    let (a_rest, b_rest) = (a.get(words..).unwrap_or_default(), b.get(words..).unwrap_or_default());
    let common = words + a_rest.iter().zip(b_rest).take_while(|(x, y)| x == y).count();
    // `/` sorts below every byte a name can hold, and the end of a path below `/`.
    let rank = |path: &[u8]| path.get(common).map_or(0, |&c| if c == b'/' { 1 } else { u16::from(c) + 2 });
    rank(a).cmp(&rank(b))
}

/// Returns `dir/name`, or `name` alone where `dir` is the root itself.
pub(crate) fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() {
        return name.to_vec();
    }
    let mut path = Vec::with_capacity(dir.len() + 1 + name.len());
    path.extend_from_slice(dir);
    path.push(b'/');
    path.extend_from_slice(name);
    path
}

/// Splits a relative path into its directory and its last component.
pub(crate) fn split_last(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&b| b == b'/') {
        Some(at) => (path.get(..at).unwrap_or_default(), path.get(at + 1..).unwrap_or_default()),
        None => (&[], path),
    }
}

/// Iterates over the components of a relative path; the root's own path has none.
pub(crate) fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&b| b == b'/').filter(|c| !c.is_empty())
}

/// True when `path` is `dir` or lies below it, by component.
pub(crate) fn is_within(path: &[u8], dir: &[u8]) -> bool {
    dir.is_empty()
        || path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.first() == Some(&b'/'))
}

/// Splits an address into the root's name and the path below it, without judging the components.
pub(crate) fn split_root(address: &[u8]) -> (&[u8], &[u8]) {
    match address.iter().position(|&b| b == b'/') {
        Some(at) => (address.get(..at).unwrap_or_default(), address.get(at + 1..).unwrap_or_default()),
        None => (address, &[]),
    }
}

/// True for what is no address because a component is empty: `music//a`, and `music//` without its last slash. For
/// lookups that skip empty components on their way.
pub(crate) fn has_empty_component(address: &[u8]) -> bool {
    address.split(|&b| b == b'/').any(<[u8]>::is_empty)
}

/// Checks an address for a call that acts on it: a root's name, then components that are neither
/// empty nor `.` nor `..`. One trailing slash is forgiven.
pub(crate) fn parse(address: &[u8]) -> Result<(&[u8], &[u8])> {
    let complain = |what: &str| {
        Err(Error::invalid(format!("address `{}` {what}", escape(address)))
            .with_path(address)
            .with_hint("an address is the name of a root, then a path inside it: `music/2024/a.mp3`"))
    };
    let trimmed = address.strip_suffix(b"/").unwrap_or(address);
    if trimmed.is_empty() {
        return complain("is empty");
    }
    if trimmed.starts_with(b"/") {
        return complain("is absolute");
    }
    if trimmed.contains(&0) {
        return complain("holds a NUL byte");
    }
    for component in trimmed.split(|&b| b == b'/') {
        match component {
            b"" => return complain("has an empty component"),
            b"." | b".." => return complain("has a `.` or `..` component"),
            _ => {}
        }
    }
    Ok(split_root(trimmed))
}

/// Checks the name of a root, space, cursor or attribute: 1 to 255 bytes, no `/`, no control
/// character, not `.` or `..`.
pub(crate) fn check_name(what: &str, name: &str) -> Result<()> {
    let complain = |why: &str| {
        Err(Error::invalid(format!("{what} name `{}` {why}", escape(name.as_bytes()))).with_path(name))
    };
    match name {
        "" => complain("is empty"),
        "." | ".." => complain("is reserved"),
        _ if name.len() > 255 => complain("is longer than 255 bytes"),
        _ if name.contains('/') => complain("holds a `/`"),
        _ if name.chars().any(char::is_control) => complain("holds a control character"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_order_keeps_a_subtree_together() {
        let mut paths: Vec<&[u8]> =
            vec![b"a.b", b"a-b", b"a/b", b"a", b"a/b/c", b"a/b-c", b"a\x01", b"b", b"", b"ab"];
        paths.sort_by(|a, b| compare(a, b));
        let expected: Vec<&[u8]> =
            vec![b"", b"a", b"a/b", b"a/b/c", b"a/b-c", b"a\x01", b"a-b", b"a.b", b"ab", b"b"];
        assert_eq!(paths, expected);
    }

    #[test]
    fn containment_goes_by_component() {
        for (path, dir, within) in [
            (&b"a/b"[..], &b"a"[..], true),
            (b"a", b"a", true),
            (b"a-b", b"a", false),
            (b"a", b"a/b", false),
            (b"x", b"", true),
        ] {
            assert_eq!(is_within(path, dir), within, "{path:?} in {dir:?}");
        }
    }

    #[test]
    fn addresses_are_judged() {
        for bad in [&b""[..], b"/", b"/abs", b"a//b", b"a/../b", b"a/./b", b"..", b"a/b//", b"a\0b"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(parse(b"a").ok(), Some((&b"a"[..], &b""[..])));
        assert_eq!(parse(b"a/b/c/").ok(), Some((&b"a"[..], &b"b/c"[..])));
        assert_eq!(parse(b"a/\n\xff").ok(), Some((&b"a"[..], &b"\n\xff"[..])));
    }

    #[test]
    fn empty_components_are_found() {
        for (address, has_one) in [
            (&b"a"[..], false),
            (b"a/b", false),
            (b"a/./b", false),
            (b"", true),
            (b"/", true),
            (b"/a", true),
            (b"a/", true),
            (b"a//", true),
            (b"a//b", true),
        ] {
            assert_eq!(has_empty_component(address), has_one, "{address:?}");
        }
    }

    #[test]
    fn escaping_hides_what_moves_a_cursor() {
        assert_eq!(escape("a\u{9b}31m\u{202e}b\\".as_bytes()), "a\\u{9b}31m\\u{202e}b\\\\");
    }
}
