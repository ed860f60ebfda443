//! Tables for notebooks. File names come from strangers: every text is escaped, twice where it is a path.

use std::fmt::Write as _;

/// Rows that a table shows at most.
pub(crate) const ROWS_MAX: usize = 20;

/// A table of a caption, a heading and rows. `more` rows are mentioned and not shown.
pub(crate) fn table(caption: &str, heading: &[&str], rows: &[Vec<String>], more: u64) -> String {
    let mut out = String::from("<table>");
    if !caption.is_empty() {
        let _ = write!(out, "<caption>{}</caption>", escape(caption));
    }
    if !heading.is_empty() {
        let cells: String = heading.iter().map(|text| format!("<th>{}</th>", escape(text))).collect();
        let _ = write!(out, "<thead><tr>{cells}</tr></thead>");
    }
    out.push_str("<tbody>");
    for row in rows {
        let cells: String = row.iter().map(|text| format!("<td>{}</td>", escape(text))).collect();
        let _ = write!(out, "<tr>{cells}</tr>");
    }
    if more > 0 {
        let columns = heading.len().max(1);
        let _ = write!(out, "<tr><td colspan=\"{columns}\">… and {more} more</td></tr>");
    }
    out.push_str("</tbody></table>");
    out
}

/// Text as it may stand between tags and in attributes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
