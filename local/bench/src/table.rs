//! The figures of one benchmark, which are printed as a table, row by row, and kept for `--json`.

use operator::terminal::say;
use serde_json::{Map, Value, json};

use crate::spread::Spread;

/// One figure, or a label.
#[derive(Debug, Clone)]
pub(crate) enum Cell {
    Text(String),
    /// A number, and the number of decimals to print.
    Number(f64, usize),
    /// A ratio to a baseline.
    Ratio(Spread),
    /// Nothing was measured.
    Empty,
}

impl Cell {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    fn printed(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number, digits) => format!("{number:.digits$}"),
            Self::Ratio(ratio) if ratio.is_reliable() => format!("{:.2}", ratio.median),
            Self::Ratio(ratio) => format!("{:.2} (unreliable)", ratio.median),
            Self::Empty => String::new(),
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Text(text) => json!(text),
            Self::Number(number, _) => json!(number),
            Self::Ratio(ratio) => {
                json!({"median": ratio.median, "spread": ratio.relative, "is_reliable": ratio.is_reliable()})
            }
            Self::Empty => Value::Null,
        }
    }
}

/// A table that is being filled.
#[derive(Debug)]
pub(crate) struct Table {
    title: String,
    columns: Vec<&'static str>,
    rows: Vec<Value>,
}

impl Table {
    /// Prints the title and the names of the columns.
    pub(crate) fn new(title: String, columns: &[&'static str]) -> Self {
        say(&title);
        say("");
        say(format_args!("| {} |", columns.join(" | ")));
        say(format_args!("| {} |", vec!["---"; columns.len()].join(" | ")));
        Self { title, columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Prints a row.
    pub(crate) fn row(&mut self, cells: &[Cell]) {
        let printed: Vec<String> = cells.iter().map(Cell::printed).collect();
        say(format_args!("| {} |", printed.join(" | ")));
        let cells = self.columns.iter().zip(cells).map(|(name, cell)| ((*name).to_owned(), cell.to_json()));
        self.rows.push(Value::Object(cells.collect::<Map<_, _>>()));
    }

    /// Ends the table and returns it as JSON.
    pub(crate) fn end(self) -> Value {
        say("");
        json!({"title": self.title, "rows": self.rows})
    }
}
