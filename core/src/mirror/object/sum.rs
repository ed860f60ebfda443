//! Entity tags, and the MD5 sums that those of S3 are.

use std::fmt::Write as _;

use md5::{Digest, Md5};

pub(super) fn md5(content: &[u8]) -> Vec<u8> {
    Md5::digest(content).to_vec()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What S3 answers for an object of so many parts: the sum of their sums, and how many there were.
pub(super) fn of_parts(sums: &[u8], parts: usize) -> String {
    format!("{}-{parts}", hex(&md5(sums)))
}

/// A tag as it is compared and kept.
pub(super) fn unquoted(tag: &str) -> String {
    tag.trim_start_matches("W/").trim_matches('"').to_owned()
}

/// True when the tag is a sum like the one that is expected, and another one. Tags of other forms say nothing.
pub(super) fn differs(expected: &str, tag: &str) -> bool {
    let tag = unquoted(tag);
    let form = |tag: &str| {
        let (sum, parts) = tag.split_once('-').map_or((tag, None), |(sum, parts)| (sum, Some(parts)));
        let is_sum = sum.len() == 32 && sum.bytes().all(|b| b.is_ascii_hexdigit());
        let is_count = |parts: &str| !parts.is_empty() && parts.bytes().all(|b| b.is_ascii_digit());
        (is_sum && parts.is_none_or(is_count), parts.is_some())
    };
    form(&tag) == form(expected) && !tag.eq_ignore_ascii_case(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_sum_of_the_same_form_can_differ() {
        let empty = hex(&md5(b""));
        assert_eq!(empty, "d41d8cd98f00b204e9800998ecf8427e");
        let parts = of_parts(&[md5(b"a"), md5(b"b")].concat(), 2);
        for (expected, tag, differ) in [
            (&empty, "\"d41d8cd98f00b204e9800998ecf8427e\"", false),
            (&empty, "D41D8CD98F00B204E9800998ECF8427E", false),
            (&empty, "\"e41d8cd98f00b204e9800998ecf8427e\"", true),
            (&empty, "W/\"e41d8cd98f00b204e9800998ecf8427e\"", true),
            (&empty, "\"e41d8cd98f00b204e9800998ecf8427e-2\"", false),
            (&empty, "\"0x8D4BCC2E4835CD0\"", false),
            (&empty, "", false),
            (&parts, parts.as_str(), false),
            (&parts, "e41d8cd98f00b204e9800998ecf8427e-2", true),
            (&parts, "e41d8cd98f00b204e9800998ecf8427e", false),
            (&parts, "e41d8cd98f00b204e9800998ecf8427e-", false),
        ] {
            assert_eq!(differs(expected, tag), differ, "{expected} {tag}");
        }
    }
}
