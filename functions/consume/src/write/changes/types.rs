//! What is known of a column's type: how SQL writes it, whether its values can be compared, whether they fit an index.

use shared::contract::quoted;

const CATALOGUE: &str = "pg_catalog";

/// A type with its modifiers. Two are the same type when they are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Type {
    pub(super) schema: String,
    /// The catalogue's name, of an array the element's.
    pub(super) name: String,
    /// As SQL writes them behind the name: `(10,2)`, ` day to second(3)`.
    pub(super) modifiers: String,
    pub(super) array: bool,
    /// Made by `create type … as enum`.
    pub(super) enumeration: bool,
}

/// How a column takes part in an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IndexPart {
    /// As it is; a value takes at most so many bytes.
    Whole(usize),
    /// Its first characters: an index refuses a long value, and the row with it.
    Prefix,
    /// Only its hash: nothing is known of its length.
    Hash,
}

/// How many characters of a text an index holds.
pub(super) const PREFIX_CHARACTERS: usize = 128;
const LONGEST_CHARACTER_BYTES: usize = 4;

/// The bytes of a [`IndexPart::Prefix`].
pub(super) const PREFIX_BYTES: usize = PREFIX_CHARACTERS * LONGEST_CHARACTER_BYTES;

/// How long a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Bytes(usize),
    Text,
    Any,
}

/// A type of PostgreSQL's own, whose input functions are known to call a wrong value one (SQLSTATE class 22).
#[derive(Debug)]
pub(super) struct Own {
    name: &'static str,
    equality: bool,
    length: Length,
}

const fn of(name: &'static str, length: Length) -> Own {
    Own { name, equality: true, length }
}

/// Without an operator `=`.
const fn incomparable(name: &'static str) -> Own {
    Own { name, equality: false, length: Length::Any }
}

const OWN: &[Own] = &[
    of("bit", Length::Any),
    of("bool", Length::Bytes(1)),
    of("bpchar", Length::Text),
    of("bytea", Length::Any),
    of("char", Length::Bytes(1)),
    of("cidr", Length::Bytes(24)),
    of("date", Length::Bytes(4)),
    of("datemultirange", Length::Any),
    of("daterange", Length::Any),
    of("float4", Length::Bytes(4)),
    of("float8", Length::Bytes(8)),
    of("inet", Length::Bytes(24)),
    of("int2", Length::Bytes(2)),
    of("int4", Length::Bytes(4)),
    of("int4multirange", Length::Any),
    of("int4range", Length::Any),
    of("int8", Length::Bytes(8)),
    of("int8multirange", Length::Any),
    of("int8range", Length::Any),
    of("interval", Length::Bytes(16)),
    incomparable("json"),
    of("jsonb", Length::Any),
    of("macaddr", Length::Bytes(8)),
    of("macaddr8", Length::Bytes(8)),
    of("money", Length::Bytes(8)),
    of("name", Length::Bytes(64)),
    of("numeric", Length::Any),
    of("nummultirange", Length::Any),
    of("numrange", Length::Any),
    of("oid", Length::Bytes(4)),
    of("pg_lsn", Length::Bytes(8)),
    of("text", Length::Text),
    of("time", Length::Bytes(8)),
    of("timestamp", Length::Bytes(8)),
    of("timestamptz", Length::Bytes(8)),
    of("timetz", Length::Bytes(12)),
    of("tsmultirange", Length::Any),
    of("tsrange", Length::Any),
    of("tstzmultirange", Length::Any),
    of("tstzrange", Length::Any),
    of("uuid", Length::Bytes(16)),
    of("varbit", Length::Any),
    of("varchar", Length::Text),
];

/// A type of PostgreSQL's own by the catalogue's name.
pub(super) fn own(name: &str) -> Option<&'static Own> {
    OWN.binary_search_by_key(&name, |own| own.name).ok().map(|index| &OWN[index])
}

impl Type {
    /// A type of PostgreSQL's own; none of this name is none.
    pub(super) fn own(name: &str, modifiers: &str, array: bool) -> Option<Self> {
        own(name).map(|own| Self {
            schema: CATALOGUE.to_owned(),
            name: own.name.to_owned(),
            modifiers: modifiers.to_owned(),
            array,
            enumeration: false,
        })
    }

    fn properties(&self) -> Option<&'static Own> {
        if self.schema == CATALOGUE { own(&self.name) } else { None }
    }

    pub(super) fn is_own(&self) -> bool {
        self.properties().is_some()
    }

    /// As SQL defines a column.
    pub(super) fn sql(&self) -> String {
        let array = if self.array { "[]" } else { "" };
        if self.schema == CATALOGUE && self.name == "interval" {
            // Its modifiers have a syntax of their own.
            return format!("interval{}{array}", self.modifiers);
        }
        format!("{}.{}{}{array}", quoted(&self.schema), quoted(&self.name), self.modifiers)
    }

    /// As a text is cast to it. Without its modifiers: an explicit cast would cut what is too long for the column,
    /// the assignment then refuses it.
    pub(super) fn cast(&self) -> String {
        format!("{}.{}{}", quoted(&self.schema), quoted(&self.name), if self.array { "[]" } else { "" })
    }

    /// wal2json writes it as hex digits without `\x`.
    pub(super) fn is_bytea(&self) -> bool {
        !self.array && self.schema == CATALOGUE && self.name == "bytea"
    }

    /// Whether `=` compares it; else its text is compared. An extension's `=` may be missing, or out of sight.
    pub(super) fn has_equality(&self) -> bool {
        self.enumeration || self.properties().is_some_and(|own| own.equality)
    }

    /// Whether values that are equal may be written differently, such as 1 and 1.0.
    pub(super) fn has_several_texts(&self) -> bool {
        match self.name.as_str() {
            "numeric" => self.is_own() && self.modifiers.is_empty(),
            "float4" | "float8" | "interval" | "jsonb" | "nummultirange" | "numrange" => self.is_own(),
            _ => false,
        }
    }

    /// Whether a value that it does not take is known to be told by SQLSTATE class 22.
    pub(super) fn tells_wrong_values(&self) -> bool {
        self.enumeration || self.is_own()
    }

    pub(super) fn index_part(&self) -> Option<IndexPart> {
        if self.array {
            return None;
        }
        if self.enumeration {
            return Some(IndexPart::Whole(4));
        }
        let limit = || -> Option<usize> { self.modifiers.trim_matches(['(', ')']).split(',').next()?.parse().ok() };
        match self.properties()?.length {
            Length::Bytes(bytes) => Some(IndexPart::Whole(bytes)),
            Length::Text => match limit() {
                Some(characters @ ..=PREFIX_CHARACTERS) => Some(IndexPart::Whole(characters * LONGEST_CHARACTER_BYTES)),
                _ => Some(IndexPart::Prefix),
            },
            Length::Any => match (self.name.as_str(), limit()) {
                ("numeric", Some(digits)) => Some(IndexPart::Whole(digits / 2 + 16)),
                ("numeric" | "bytea", _) => Some(IndexPart::Hash),
                _ => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_types_are_found_by_name() {
        assert!(OWN.is_sorted_by_key(|own| own.name));
        assert!(own("timestamptz").is_some());
        assert!(own("regclass").is_none());
    }

    #[test]
    fn an_index_takes_what_is_short_as_it_is() {
        let part = |name: &str, modifiers: &str| Type::own(name, modifiers, false).and_then(|ty| ty.index_part());
        assert_eq!(part("int4", ""), Some(IndexPart::Whole(4)));
        assert_eq!(part("varchar", "(36)"), Some(IndexPart::Whole(144)));
        assert_eq!(part("varchar", "(129)"), Some(IndexPart::Prefix));
        assert_eq!(part("text", ""), Some(IndexPart::Prefix));
        assert_eq!(part("numeric", "(10,2)"), Some(IndexPart::Whole(21)));
        assert_eq!(part("numeric", ""), Some(IndexPart::Hash));
        assert_eq!(part("jsonb", ""), None);
    }
}
