//! The header `Retry-After` of an HTTP answer: how long a server asks to be left alone. Pure: the time is
//! a parameter, and nothing is fetched.

use std::time::{Duration, SystemTime};

/// Nobody is made to wait for longer than this, whatever a server says: seven days.
pub(crate) const RETRY_AFTER_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Reads the value of `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date in any of the three
/// forms that HTTP knows.
///
/// Returns how long to wait from `now`, which matters for a date alone. A date that has passed gives
/// zero. More than seven days give seven days, however many digits there are. What is neither seconds
/// nor a date gives `None`: `1.5`, `-1`, `+5`, an empty value. Spaces and tabs around the value do not
/// count. Never panics.
///
/// The date is by the clock of the server: where the two clocks differ, so does the wait.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use treewarden::parse_retry_after;
///
/// let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_717);
/// assert_eq!(parse_retry_after("120", now), Some(Duration::from_secs(120)));
/// assert_eq!(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(Duration::from_secs(60)));
/// assert_eq!(parse_retry_after("soon", now), None);
/// ```
#[must_use]
pub fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim_matches([' ', '\t']);
    let wait = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // Too many digits for a number are still a number.
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        let date = httpdate::parse_http_date(value).ok()?;
        date.duration_since(now).unwrap_or(Duration::ZERO)
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One minute before the date of the examples in the RFC, and a bit.
    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(784_111_717_250)
    }

    #[test]
    fn seconds_are_read() {
        let week = 7 * 86_400;
        for (value, seconds) in [
            ("0", 0),
            ("1", 1),
            ("120", 120),
            ("007", 7),
            (" 30", 30),
            ("30\t ", 30),
            ("604799", week - 1),
            ("604800", week),
            ("604801", week),
            ("18446744073709551615", week),
            ("18446744073709551616", week),
            ("99999999999999999999999999999999999999999999999999", week),
        ] {
            assert_eq!(parse_retry_after(value, now()), Some(Duration::from_secs(seconds)), "{value}");
        }
    }

    #[test]
    fn dates_are_read_in_all_three_forms() {
        for (value, ms) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", 59_750),
            ("Sunday, 06-Nov-94 08:49:37 GMT", 59_750),
            ("Sun Nov  6 08:49:37 1994", 59_750),
            (" Sun, 06 Nov 1994 08:49:37 GMT\t", 59_750),
            ("Sun, 06 Nov 1994 08:48:38 GMT", 750),
            // Passed: a quarter of a second ago, a year ago, at the beginning.
            ("Sun, 06 Nov 1994 08:48:37 GMT", 0),
            ("Sat, 06 Nov 1993 08:49:37 GMT", 0),
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            // Seven days and no more.
            ("Sun, 13 Nov 1994 08:48:36 GMT", 604_798_750),
            ("Sun, 13 Nov 1994 08:48:38 GMT", 604_800_000),
            ("Fri, 31 Dec 9999 23:59:59 GMT", 604_800_000),
        ] {
            assert_eq!(parse_retry_after(value, now()), Some(Duration::from_millis(ms)), "{value}");
        }
    }

    #[test]
    fn garbage_is_not_taken_for_a_wait() {
        for value in [
            "",
            " ",
            "-1",
            "+5",
            "1.5",
            "1e3",
            "0x10",
            "10 s",
            "1 0",
            "10,20",
            "\n10",
            "10\0",
            "\u{661}\u{662}",
            "soon",
            "Sun, 06 Nov 1994",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 06 Foo 1994 08:49:37 GMT",
            "1994-11-06T08:49:37Z",
            "Sön, 06 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(parse_retry_after(value, now()), None, "{value:?}");
        }
    }

    #[test]
    fn no_text_and_no_time_makes_it_panic() {
        let ends = [SystemTime::UNIX_EPOCH, now(), SystemTime::UNIX_EPOCH - Duration::from_secs(1 << 40)];
        let alphabet: Vec<char> = "0123456789 :,-+SunNovGMTJa\t\u{e4}\u{1f980}".chars().collect();
        let mut random = 1_u64;
        for _ in 0..20_000 {
            let mut text = String::new();
            let mut next = || {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                usize::try_from(random >> 33).unwrap()
            };
            for _ in 0..next() % 34 {
                text.push(alphabet[next() % alphabet.len()]);
            }
            for at in ends {
                assert!(parse_retry_after(&text, at).is_none_or(|wait| wait <= RETRY_AFTER_MAX));
            }
        }
    }
}
