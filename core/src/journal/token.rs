//! A place in the journal that knows which database it belongs to.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// A durable place in the journal: the id of the database and a seq. As text it is
/// `tw1-<32 hex digits>-<seq>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token {
    pub(crate) database: u128,
    pub(crate) seq: u64,
}

impl Token {
    /// Returns the seq up to which changes have been seen.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tw1-{:032x}-{}", self.database, self.seq)
    }
}

impl FromStr for Token {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parse = || {
            let (database, seq) = text.strip_prefix("tw1-")?.split_once('-')?;
            let plain =
                |digits: &str, radix: u32| !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
            if database.len() != 32 || !plain(database, 16) || !plain(seq, 10) {
                return None;
            }
            Some(Self { database: u128::from_str_radix(database, 16).ok()?, seq: seq.parse().ok()? })
        };
        parse().ok_or_else(|| {
            Error::invalid(format!("`{}` is not a journal token", crate::path::escape(text.as_bytes())))
                .with_hint("a token looks like `tw1-<32 hex digits>-<number>`; take it from `token()`")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_back_and_nonsense_is_refused() {
        let token = Token { database: 0xfeed, seq: 42 };
        assert_eq!(token.to_string().parse::<Token>().ok(), Some(token));
        for bad in [
            "",
            "tw1-",
            "tw1-12-3",
            "tw2-0000000000000000000000000000feed-1",
            "tw1-0000000000000000000000000000feed--1",
            "tw1-+000000000000000000000000000feed-1",
        ] {
            assert!(bad.parse::<Token>().is_err(), "{bad}");
        }
    }
}
