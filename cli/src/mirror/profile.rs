//! The two files in which the tools of AWS keep profiles: sections in brackets, settings below them. Pure; no
//! file is opened here, and no message made of what stands in one.

use std::collections::BTreeMap;

/// The settings of a section, by their names in lower case; `None` when there is no such section.
///
/// Settings that are indented deeper than the one above them belong to that one, and are left out.
pub(super) fn settings(text: &str, section: &str) -> Option<BTreeMap<String, String>> {
    let mut found: Option<BTreeMap<String, String>> = None;
    let mut is_inside = false;
    let mut level = None;
    for line in text.trim_start_matches('\u{feff}').lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(header) = trimmed.strip_prefix('[') {
            is_inside = normal(header.split(']').next().unwrap_or_default()) == normal(section);
            level = None;
            if is_inside && found.is_none() {
                found = Some(BTreeMap::new());
            }
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        if level.is_some_and(|level| indent > level) {
            continue;
        }
        level = Some(indent);
        if is_inside
            && let Some(settings) = &mut found
            && let Some((name, value)) = trimmed.split_once('=')
        {
            settings.insert(name.trim().to_ascii_lowercase(), bare(value).to_owned());
        }
    }
    found
}

/// The name of a section without quotes, its words one space apart.
fn normal(name: &str) -> String {
    let words: Vec<&str> =
        name.split(|c: char| c.is_whitespace() || c == '"').filter(|w| !w.is_empty()).collect();
    words.join(" ")
}

/// A value without the comment behind it.
fn bare(value: &str) -> &str {
    let comment = [" #", " ;", "\t#", "\t;"].iter().filter_map(|mark| value.find(mark)).min();
    comment.and_then(|at| value.get(..at)).unwrap_or(value).trim()
}

#[cfg(test)]
mod tests {
    use super::settings;

    const FILE: &str = "\u{feff}# a comment\n\
        [default]\n\
        aws_access_key_id = AKIA\n\
        AWS_SECRET_ACCESS_KEY=se/cr+et=\r\n\
        ; another\n\
        s3 =\n\
        \x20 region = not-this\n\
        region = eu-central-1 # where it is\n\
        nonsense\n\
        [profile  \"work place\"]\n\
        \x20   region\t=\tus-west-2\t; there\n\
        \x20   output = json\n\
        [empty]\n\
        [default]\n\
        output = text\n";

    #[test]
    fn settings_are_found_in_their_section() {
        let cases = [
            ("default", "aws_access_key_id", Some("AKIA")),
            ("default", "aws_secret_access_key", Some("se/cr+et=")),
            ("default", "region", Some("eu-central-1")),
            ("default", "output", Some("text")),
            ("default", "nonsense", None),
            ("profile work place", "region", Some("us-west-2")),
            ("profile work place", "output", Some("json")),
            ("profile work place", "aws_access_key_id", None),
            ("empty", "region", None),
        ];
        for (section, name, expected) in cases {
            let settings = settings(FILE, section).expect("there is such a section");
            assert_eq!(settings.get(name).map(String::as_str), expected, "{section} {name}");
        }
        for section in ["work place", "Default", ""] {
            assert_eq!(settings(FILE, section), None, "{section}");
        }
        assert_eq!(settings("", "default"), None);
    }
}
