//! The key of an event's record. The key decides the partition, and Kafka keeps records in order only within a
//! partition. Therefore, all events about one row must have the same key, even if the events spell the key's value
//! differently: `AB…` and `ab…` are the same UUID, and `10:00Z` and `11:00+01:00` are the same time.

use std::borrow::Cow;

use serde_json::Value;

use super::{Column, ColumnType, Contract, Mode, canonical, composed, json};

impl Contract {
    /// Returns the key of an event's record: a single value as text, or several values as a JSON array. In modes
    /// `upsert` and `entity`, equal values have the same text. Returns `None` if the contract has no key, or if the key
    /// is a single value that is missing or null.
    pub fn record_key<'e>(&self, event: &'e Value) -> Option<Cow<'e, str>> {
        match self.key.as_slice() {
            [] => None,
            [pointer] => text(self.one_spelling(0, pointer.get(event)?)),
            several => {
                let values = several.iter().enumerate().map(|(index, pointer)| match pointer.get(event) {
                    Some(value) => self.one_spelling(index, value).into_owned(),
                    None => Value::Null,
                });
                Some(Cow::Owned(canonical::text(&Value::Array(values.collect()))))
            }
        }
    }

    /// Returns the record key for a key that a person has typed. `key` is a single value as text, or several values as
    /// a JSON array.
    pub fn record_key_from_text(&self, key: &str) -> String {
        let given = match (self.key.as_slice(), json::parse(key.as_bytes())) {
            ([_, _, ..], Ok(Value::Array(values))) => {
                let values = values.iter().enumerate().map(|(index, value)| self.one_spelling(index, value));
                return canonical::text(&Value::Array(values.map(Cow::into_owned).collect()));
            }
            ([_], Ok(number @ Value::Number(_))) if self.key_column(0).is_some_and(|column| column.ty.is_number()) => {
                number
            }
            _ => Value::from(key),
        };
        text(self.one_spelling(0, &given)).map_or_else(|| key.to_owned(), Cow::into_owned)
    }

    fn one_spelling<'v>(&self, index: usize, value: &'v Value) -> Cow<'v, Value> {
        self.key_column(index).map_or(Cow::Borrowed(value), |column| column.one_spelling(value))
    }

    /// Returns the column that holds the key's part with this index, or `None` in modes `append` and `changes`.
    fn key_column(&self, index: usize) -> Option<&Column> {
        let (landing, key) = match &self.mode {
            Mode::Upsert { landing, key, .. } => (landing, key),
            Mode::Entity(entity) => (&entity.landing, &entity.key),
            Mode::Append { .. } | Mode::Changes(_) => return None,
        };
        landing.columns.get(*key.get(index)?)
    }
}

impl Column {
    /// Returns a value as text, as [`Contract::record_key`] does if the key is a single value in this column. Returns
    /// `None` if the value is null.
    pub fn key_text<'v>(&self, value: &'v Value) -> Option<Cow<'v, str>> {
        text(self.one_spelling(value))
    }

    /// Rewrites a value so that equal values of the column have the same spelling. A value that does not fit the column
    /// is returned unchanged.
    fn one_spelling<'v>(&self, value: &'v Value) -> Cow<'v, Value> {
        let spelled = match (self.ty, value) {
            (_, Value::Null) => None,
            (
                ColumnType::Uuid
                | ColumnType::Date
                | ColumnType::Timestamp
                | ColumnType::Timestamptz
                | ColumnType::Real
                | ColumnType::Double,
                value,
            ) => self.as_stored(value),
            (_, Value::String(text)) if self.is_composed => match composed(text) {
                Cow::Borrowed(_) => None,
                Cow::Owned(text) => Some(Value::from(text)),
            },
            // These values stay unchanged. Numbers are written as canonical JSON later, which gives equal numbers the
            // same spelling. Other equal values already have the same spelling.
            (
                ColumnType::Boolean
                | ColumnType::Smallint
                | ColumnType::Integer
                | ColumnType::Bigint
                | ColumnType::Numeric
                | ColumnType::Text
                | ColumnType::Jsonb,
                _,
            ) => None,
        };
        spelled.map_or(Cow::Borrowed(value), Cow::Owned)
    }

    /// Returns a value in the form in which PostgreSQL would show the stored value, except that points in time end in
    /// `Z`.
    fn as_stored(&self, value: &Value) -> Option<Value> {
        let mut cell = Vec::new();
        self.encode_value(Some(value), &mut cell).ok()?;
        match self.ty.show(cell.get(4..)?)? {
            Value::String(text) => match text.strip_suffix("+00:00") {
                Some(utc) => Some(Value::from(format!("{utc}Z"))),
                None => Some(Value::from(text)),
            },
            stored @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                Some(stored)
            }
        }
    }
}

fn text(value: Cow<'_, Value>) -> Option<Cow<'_, str>> {
    match value {
        Cow::Borrowed(Value::Null) | Cow::Owned(Value::Null) => None,
        Cow::Borrowed(Value::String(text)) => Some(Cow::Borrowed(text)),
        Cow::Owned(Value::String(text)) => Some(Cow::Owned(text)),
        value @ (Cow::Borrowed(_) | Cow::Owned(_)) => Some(Cow::Owned(canonical::text(&value))),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    /// Returns a contract in mode `upsert` whose key fills a column of this type.
    fn contract(ty: &str) -> Contract {
        let document = json!({
            "x-sluice": {
                "topic": "t", "partitions": 1, "mode": "upsert", "table": "public.t", "key": ["/id"],
                "columns": {"id": {"from": "/id", "type": ty}},
            },
        });
        Contract::compile(Path::new("t.json"), document.to_string().as_bytes()).expect("valid")
    }

    #[test]
    fn spellings_of_one_value_have_one_key() {
        for (ty, spellings, expected) in [
            (
                "uuid",
                &[
                    json!("0a1b2c3d-0000-4000-8000-00000000abcd"),
                    json!("0A1B2C3D-0000-4000-8000-00000000ABCD"),
                    json!("{0a1b2c3d-0000-4000-8000-00000000abcd}"),
                    json!("0a1b2c3d00004000800000000000abcd"),
                    json!("urn:uuid:0a1b2c3d-0000-4000-8000-00000000abcd"),
                ][..],
                "0a1b2c3d-0000-4000-8000-00000000abcd",
            ),
            ("date", &[json!("2019-05-07"), json!("20190507")], "2019-05-07"),
            ("timestamp", &[json!("2019-05-07 19:54:13.5"), json!("2019-05-07T19:54:13.500")], "2019-05-07T19:54:13.5"),
            (
                "timestamptz",
                &[
                    json!("2019-05-07T10:00:00Z"),
                    json!("2019-05-07T11:00:00+01:00"),
                    json!("2019-05-07T10:00:00.0000001Z"),
                    json!(1_557_223_200),
                    json!(1_557_223_200.0),
                ],
                "2019-05-07T10:00:00Z",
            ),
            ("double precision", &[json!(0.1), number("0.1000000000000000000001"), number("1e-1")], "0.1"),
            ("double precision", &[json!(0.0), number("-0.0"), number("1e-400")], "0"),
            ("real", &[number("16777216"), number("16777217")], "16777216"),
            ("bigint", &[json!(5), number("5.0"), number("50e-1")], "5"),
            ("numeric", &[number("1.50"), number("1.5")], "1.5"),
            ("text", &[json!("AB")], "AB"),
        ] {
            let contract = contract(ty);
            for spelling in spellings {
                let event = json!({"id": spelling});
                assert_eq!(contract.record_key(&event).as_deref(), Some(expected), "{ty} {spelling}");
            }
        }
    }

    #[test]
    fn the_record_key_does_not_depend_on_how_a_person_spells_the_key() {
        let uuid = contract("uuid");
        let expected = "0a1b2c3d-0000-4000-8000-00000000abcd";
        assert_eq!(uuid.record_key_from_text("0A1B2C3D-0000-4000-8000-00000000ABCD"), expected);
        assert_eq!(uuid.record_key_from_text("no uuid"), "no uuid");
        assert_eq!(contract("bigint").record_key_from_text("5.0"), "5");
        assert_eq!(contract("text").record_key_from_text("5.0"), "5.0");
    }

    fn number(text: &str) -> Value {
        serde_json::from_str(text).expect("a number")
    }
}
