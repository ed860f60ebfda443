//! From a path to the key of its object and back, and from a key to its address and back.
//!
//! Invariant: nothing is renamed. Either a path is its key, after the prefix, or there is a reason why it has
//! none; so no two paths ever share an object.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::error::{Error, Result};
use crate::path::escape;

/// What is encoded: all but the unreserved characters of RFC 3986 and the slash between components.
pub(super) const ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// The address of an object below `base`, which has no slash at its end.
pub(super) fn url(base: &str, key: &str) -> String {
    format!("{base}/{}", utf8_percent_encode(key, ENCODED))
}

/// The key that has this address. Characters that need not be encoded may be; what is below another base, has a
/// query or a fragment, or cannot be decoded is nobody's address.
pub(super) fn key_of_url(base: &str, url: &str) -> Option<String> {
    let encoded = url.strip_prefix(base)?.strip_prefix('/')?;
    let foreign = encoded.chars().any(|c| c.is_control() || matches!(c, '?' | '#'));
    if encoded.is_empty() || foreign || !is_well_encoded(encoded) {
        return None;
    }
    percent_decode_str(encoded).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

/// True when each `%` begins two hexadecimal digits.
pub(super) fn is_well_encoded(text: &str) -> bool {
    text.split('%').skip(1).all(|after| {
        let mut digits = after.bytes();
        let mut is_digit = || digits.next().is_some_and(|b| b.is_ascii_hexdigit());
        is_digit() && is_digit()
    })
}

/// Paths below a root as keys below a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyMap {
    /// Empty, or with a slash at its end.
    prefix: String,
}

impl KeyMap {
    /// Keys begin with `prefix` and a slash; an empty one stands for nothing. One trailing slash is forgiven.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when no key can begin so.
    pub(super) fn new(prefix: &str) -> Result<Self> {
        let trimmed = prefix.strip_suffix('/').unwrap_or(prefix);
        if trimmed.is_empty() && prefix.is_empty() {
            return Ok(Self { prefix: String::new() });
        }
        match refusal(trimmed) {
            None => Ok(Self { prefix: format!("{trimmed}/") }),
            Some(reason) => {
                let shown = escape(prefix.as_bytes());
                Err(Error::invalid(format!("the prefix `{shown}` begins no key: it {reason}"))
                    .with_hint("a prefix is a path without a slash before it: `img/public`"))
            }
        }
    }

    /// The prefix without a slash at its end.
    pub(super) fn prefix(&self) -> &str {
        self.prefix.strip_suffix('/').unwrap_or(&self.prefix)
    }

    /// The key of a path relative to the root, or the reason, for people, why it has none.
    pub(super) fn key(&self, relative: &[u8]) -> Result<String, String> {
        let Ok(name) = std::str::from_utf8(relative) else {
            return Err("the name is not UTF-8".to_owned());
        };
        match refusal(name) {
            None => Ok(format!("{}{name}", self.prefix)),
            Some(reason) => Err(format!("the name {reason}")),
        }
    }

    /// The path whose key this is; `None` for a key that no path has.
    pub(super) fn path(&self, key: &str) -> Option<Vec<u8>> {
        let name = key.strip_prefix(self.prefix.as_str())?;
        refusal(name).is_none().then(|| name.as_bytes().to_vec())
    }
}

/// Why a path is no key, as the end of a sentence.
fn refusal(name: &str) -> Option<&'static str> {
    if name.chars().any(|c| c.is_ascii_control()) {
        return Some("holds a control character");
    }
    // Listings are XML, which has no way to write these.
    if name.contains(['\u{fffe}', '\u{ffff}']) {
        return Some("holds a character that no listing can show");
    }
    name.split('/').find_map(|component| match component {
        "" => Some("is empty, or has an empty component"),
        "." | ".." => Some("has a `.` or `..` component"),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::ErrorKind;

    const BASE: &str = "https://cdn.example.org/img";

    #[test]
    fn everything_but_unreserved_characters_and_slashes_is_encoded() {
        for (key, encoded) in [
            ("a/b.txt", "a/b.txt"),
            ("A-Z_0.9~", "A-Z_0.9~"),
            ("a+b&c?d#e%f g", "a%2Bb%26c%3Fd%23e%25f%20g"),
            ("100%25", "100%2525"),
            ("für.jpg", "f%C3%BCr.jpg"),
            (
                "a\\b\"<>|'()*,;=:@!$[]{}^`",
                "a%5Cb%22%3C%3E%7C%27%28%29%2A%2C%3B%3D%3A%40%21%24%5B%5D%7B%7D%5E%60",
            ),
        ] {
            let url = url(BASE, key);
            assert_eq!(url, format!("{BASE}/{encoded}"));
            assert_eq!(key_of_url(BASE, &url).as_deref(), Some(key));
        }
    }

    #[test]
    fn an_address_may_be_encoded_in_other_ways_but_must_be_one() {
        for (rest, key) in [
            ("/%61/b", Some("a/b")),
            ("/f%c3%bcr", Some("für")),
            ("/für", Some("für")),
            ("/a+b", Some("a+b")),
            ("/a%2Fb", Some("a/b")),
            ("", None),
            ("/", None),
            ("a", None),
            ("2/a", None),
            ("/a?b", None),
            ("/a#b", None),
            ("/a%", None),
            ("/a%2", None),
            ("/a%zz", None),
            ("/a%+1", None),
            ("/%ff", None),
            ("/a\nb", None),
        ] {
            assert_eq!(key_of_url(BASE, &format!("{BASE}{rest}")).as_deref(), key, "{rest}");
        }
        assert_eq!(key_of_url(BASE, "http://cdn.example.org/img/a"), None);
    }

    #[test]
    fn a_path_is_its_key_or_has_none() -> Result<()> {
        let plain = KeyMap::new("")?;
        for (path, ok) in [
            (&b"a"[..], true),
            (b"a/b.c", true),
            (b" a /~#?%", true),
            (b"...", true),
            ("für/\u{e000}\u{fffd}\u{10ffff}".as_bytes(), true),
            (b"", false),
            (b"/a", false),
            (b"a/", false),
            (b"a//b", false),
            (b"./a", false),
            (b"a/../b", false),
            (b"a\nb", false),
            (b"a\0", false),
            (b"a\x7f", false),
            (b"a\xff", false),
            ("a\u{fffe}".as_bytes(), false),
            ("a\u{ffff}".as_bytes(), false),
        ] {
            let key = plain.key(path);
            assert_eq!(key.is_ok(), ok, "{path:?}: {key:?}");
            if let Ok(key) = key {
                assert_eq!(key.as_bytes(), path);
            }
        }
        Ok(())
    }

    #[test]
    fn a_prefix_is_a_path_before_a_slash() -> Result<()> {
        for prefix in ["img/public", "img/public/"] {
            let keys = KeyMap::new(prefix)?;
            assert_eq!(keys.prefix(), "img/public");
            assert_eq!(keys.key(b"a").as_deref(), Ok("img/public/a"));
            assert_eq!(keys.path("img/public/a/b"), Some(b"a/b".to_vec()));
            for foreign in ["img/public", "img/public/", "img/publica", "img/a", "a", "img/public//a"] {
                assert_eq!(keys.path(foreign), None, "{foreign}");
            }
        }
        assert_eq!(KeyMap::new("")?.prefix(), "");
        for wrong in ["/", "/a", "a//", "a//b", ".", "a/..", "a\nb", "a\u{ffff}", "//"] {
            let error = KeyMap::new(wrong).expect_err(wrong);
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{wrong:?}");
            assert!(!error.to_string().contains(wrong) || !wrong.contains('\n'), "{error}");
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn keys_and_addresses_lead_back(
            prefix in prop::sample::select(vec!["", "p", "p/q", "%", "p q/"]),
            relative in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                any::<String>().prop_map(String::into_bytes),
                "[a-c./%#? ü]{1,12}".prop_map(String::into_bytes),
            ],
        ) {
            let keys = KeyMap::new(prefix).unwrap();
            if let Ok(key) = keys.key(&relative) {
                prop_assert_eq!(keys.path(&key), Some(relative));
                prop_assert_eq!(key_of_url(BASE, &url(BASE, &key)), Some(key));
            }
        }

        #[test]
        fn a_key_of_ours_has_one_path(key in "[a-c./p]{0,12}") {
            let keys = KeyMap::new("p").unwrap();
            if let Some(path) = keys.path(&key) {
                prop_assert_eq!(keys.key(&path), Ok(key));
            }
        }

        #[test]
        fn any_text_is_an_address_or_not(rest in any::<String>()) {
            if let Some(key) = key_of_url(BASE, &format!("{BASE}/{rest}")) {
                prop_assert_eq!(key_of_url(BASE, &url(BASE, &key)), Some(key));
            }
        }
    }
}
