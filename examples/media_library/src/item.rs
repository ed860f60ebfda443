//! What a job is about, read from names alone: a movie, or a show with its seasons. Pure.

use std::collections::BTreeSet;

use crate::document::Document;
use crate::service::Request;
use crate::trouble::Trouble;

/// A movie or a show of the library.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Movie {
        title: String,
        year: Option<String>,
    },
    Show {
        name: String,
        /// Those of which there is an episode.
        seasons: BTreeSet<u32>,
    },
}

impl Item {
    /// Reads the key of a group, `ROOT/Movies/Title (Year)` or `ROOT/Shows/Name`, and the addresses of its
    /// files.
    pub(crate) fn new(key: &[u8], files: &[Vec<u8>]) -> Result<Self, Trouble> {
        let Ok(key) = std::str::from_utf8(key) else {
            return Err(Trouble::Hopeless("the name is not UTF-8".to_owned()));
        };
        let mut parts = key.split('/').skip(1);
        match (parts.next(), parts.next()) {
            (Some("Movies"), Some(name)) => {
                let (title, year) = split_year(name);
                Ok(Self::Movie { title: title.to_owned(), year: year.map(str::to_owned) })
            }
            (Some("Shows"), Some(name)) => {
                let seasons = files.iter().filter_map(|file| season(file)).collect();
                Ok(Self::Show { name: name.to_owned(), seasons })
            }
            _ => Err(Trouble::Hopeless("neither a movie nor a show".to_owned())),
        }
    }

    /// Returns what to ask the service for first.
    pub(crate) fn request(&self) -> Request {
        match self {
            Self::Movie { title, year } => {
                let request = Request::new("movie").with("title", title);
                match year {
                    Some(year) => request.with("year", year),
                    None => request,
                }
            }
            Self::Show { name, .. } => Request::new("tv").with("name", name),
        }
    }

    /// Returns the documents besides the first one.
    pub(crate) fn seasons(&self) -> Vec<Document> {
        match self {
            Self::Movie { .. } => Vec::new(),
            Self::Show { seasons, .. } => seasons.iter().copied().map(Document::Season).collect(),
        }
    }
}

fn split_year(name: &str) -> (&str, Option<&str>) {
    match name.strip_suffix(')').and_then(|name| name.rsplit_once(" (")) {
        Some((title, year)) if year.len() == 4 && year.bytes().all(|byte| byte.is_ascii_digit()) => {
            (title, Some(year))
        }
        _ => (name, None),
    }
}

/// The season of an episode, from the address `ROOT/Shows/Name/Season NN/…`.
fn season(file: &[u8]) -> Option<u32> {
    let dir = file.split(|byte| *byte == b'/').nth(3)?;
    std::str::from_utf8(dir).ok()?.strip_prefix("Season ")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_movie_has_a_title_and_perhaps_a_year() {
        for (name, title, year) in [
            ("Heat (1995)", "Heat", Some("1995")),
            ("Heat", "Heat", None),
            ("Heat (remastered)", "Heat (remastered)", None),
            ("Heat (95)", "Heat (95)", None),
            ("(500) Days (2009)", "(500) Days", Some("2009")),
            ("(2009)", "(2009)", None),
        ] {
            assert_eq!(split_year(name), (title, year), "{name}");
        }
    }

    #[test]
    fn a_show_has_the_seasons_of_its_episodes() {
        let files: Vec<Vec<u8>> =
            ["Season 02/b.mkv", "Season 2/a.mkv", "Season 10/c.mkv", "Extras/d.mkv", "e.mkv"]
                .map(|file| format!("library/Shows/Lost/{file}").into_bytes())
                .into();
        let item = Item::new(b"library/Shows/Lost", &files).ok();
        assert_eq!(item, Some(Item::Show { name: "Lost".to_owned(), seasons: BTreeSet::from([2, 10]) }));
        let documents = item.map(|item| item.seasons());
        assert_eq!(documents, Some(vec![Document::Season(2), Document::Season(10)]));
    }

    #[test]
    fn what_is_no_name_is_hopeless() {
        for key in [&b"library/Movies/\xff"[..], b"library/Music/a", b"library/Movies", b"library"] {
            assert!(matches!(Item::new(key, &[]), Err(Trouble::Hopeless(_))), "{key:?}");
        }
    }
}
