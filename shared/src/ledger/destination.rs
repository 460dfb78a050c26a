//! Where events land. Each destination has its own progress, so one that is down never delays another.

/// A place where events land.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Destination {
    /// The tables of PostgreSQL.
    Postgresql,
    /// The tables of BigQuery.
    Bigquery,
}

impl Destination {
    /// Returns the value that stands for the destination in the columns `destination`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Postgresql => "postgresql",
            Self::Bigquery => "bigquery",
        }
    }

    /// Returns the destination of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Postgresql, Self::Bigquery].into_iter().find(|destination| destination.name() == name)
    }
}

/// A statement for each destination. The destination is part of the text, so each statement is prepared and planned
/// separately.
#[derive(Debug)]
pub(super) struct PerDestination {
    postgresql: String,
    bigquery: String,
}

impl PerDestination {
    /// Creates the statements. `text` takes the destination as an SQL literal.
    pub(super) fn new(text: impl Fn(&str) -> String) -> Self {
        let for_one = |destination: Destination| text(&format!("'{}'", destination.name()));
        Self { postgresql: for_one(Destination::Postgresql), bigquery: for_one(Destination::Bigquery) }
    }

    pub(super) fn get(&self, destination: Destination) -> &str {
        match destination {
            Destination::Postgresql => &self.postgresql,
            Destination::Bigquery => &self.bigquery,
        }
    }
}
