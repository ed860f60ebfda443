//! A table of text cells, for the terminal and as Markdown.

pub(crate) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(head: &[&'static str]) -> Table {
        Table { head: head.to_vec(), rows: Vec::new() }
    }

    pub(crate) fn push(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Columns aligned with spaces.
    pub(crate) fn text(&self) -> String {
        let widths = self.widths();
        let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
        let mut lines = vec![
            padded(self.head.iter().copied(), &widths),
            padded(rule.iter().map(String::as_str), &widths),
        ];
        lines.extend(self.rows.iter().map(|row| padded(row.iter().map(String::as_str), &widths)));
        lines.join("\n") + "\n"
    }

    pub(crate) fn markdown(&self) -> String {
        let mut lines =
            vec![format!("| {} |", self.head.join(" | ")), format!("|{}", "---|".repeat(self.head.len()))];
        for row in &self.rows {
            let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
            lines.push(format!("| {} |", cells.join(" | ")));
        }
        lines.join("\n") + "\n"
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self.head.iter().map(|cell| cell.chars().count()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        widths
    }
}

fn padded<'a>(cells: impl Iterator<Item = &'a str>, widths: &[usize]) -> String {
    let mut line = String::new();
    for (cell, width) in cells.zip(widths) {
        line.push_str(cell);
        line.push_str(&" ".repeat(2 + width.saturating_sub(cell.chars().count())));
    }
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Table {
        let mut table = Table::new(&["what", "µs"]);
        table.push(vec!["a|b".to_owned(), "1".to_owned()]);
        table.push(vec!["longer".to_owned(), "20".to_owned()]);
        table
    }

    #[test]
    fn text_is_aligned() {
        assert_eq!(example().text(), "what    µs\n------  --\na|b     1\nlonger  20\n");
    }

    #[test]
    fn markdown_escapes_bars() {
        assert_eq!(example().markdown(), "| what | µs |\n|---|---|\n| a\\|b | 1 |\n| longer | 20 |\n");
    }
}
