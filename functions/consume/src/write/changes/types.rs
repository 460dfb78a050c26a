//! Properties of a column's type: how SQL writes the type, whether its values can be compared, and whether they fit an
//! index.

use shared::contract::quoted;

const CATALOGUE: &str = "pg_catalog";

/// A type with its modifiers. Equal values of this struct are the same type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Type {
    pub(super) schema: String,
    /// The type's name in the catalogue. For an array, it is the name of the element type.
    pub(super) name: String,
    /// The modifiers as SQL writes them after the name: `(10,2)`, ` day to second(3)`.
    pub(super) modifiers: String,
    pub(super) array: bool,
    /// Whether the type was created by `create type … as enum`.
    pub(super) enumeration: bool,
    /// Whether the type is an integer type, or a domain over an integer type.
    pub(super) integer: bool,
}

/// What an index stores of a column's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IndexPart {
    /// The value, which takes at most this many bytes.
    Whole(usize),
    /// The first characters, because PostgreSQL refuses a row if one of its values is too long for an index.
    Prefix,
    /// The hash, because the value's length is not limited.
    Hash,
}

/// If an index stores only the beginning of a text, it stores this number of characters.
pub(super) const PREFIX_CHARACTERS: usize = 128;
const LONGEST_CHARACTER_BYTES: usize = 4;

/// The maximum number of bytes in an [`IndexPart::Prefix`].
pub(super) const PREFIX_BYTES: usize = PREFIX_CHARACTERS * LONGEST_CHARACTER_BYTES;

/// The length of a type's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Bytes(usize),
    Text,
    Any,
}

/// A built-in type whose input function reports an invalid value with SQLSTATE class 22.
#[derive(Debug)]
pub(super) struct BuiltIn {
    name: &'static str,
    equality: bool,
    length: Length,
}

const fn built_in_type(name: &'static str, length: Length) -> BuiltIn {
    BuiltIn { name, equality: true, length }
}

/// A type that has no operator `=`.
const fn incomparable(name: &'static str) -> BuiltIn {
    BuiltIn { name, equality: false, length: Length::Any }
}

const OWN: &[BuiltIn] = &[
    built_in_type("bit", Length::Any),
    built_in_type("bool", Length::Bytes(1)),
    built_in_type("bpchar", Length::Text),
    built_in_type("bytea", Length::Any),
    built_in_type("char", Length::Bytes(1)),
    built_in_type("cidr", Length::Bytes(24)),
    built_in_type("date", Length::Bytes(4)),
    built_in_type("datemultirange", Length::Any),
    built_in_type("daterange", Length::Any),
    built_in_type("float4", Length::Bytes(4)),
    built_in_type("float8", Length::Bytes(8)),
    built_in_type("inet", Length::Bytes(24)),
    built_in_type("int2", Length::Bytes(2)),
    built_in_type("int4", Length::Bytes(4)),
    built_in_type("int4multirange", Length::Any),
    built_in_type("int4range", Length::Any),
    built_in_type("int8", Length::Bytes(8)),
    built_in_type("int8multirange", Length::Any),
    built_in_type("int8range", Length::Any),
    built_in_type("interval", Length::Bytes(16)),
    incomparable("json"),
    built_in_type("jsonb", Length::Any),
    built_in_type("macaddr", Length::Bytes(8)),
    built_in_type("macaddr8", Length::Bytes(8)),
    built_in_type("money", Length::Bytes(8)),
    built_in_type("name", Length::Bytes(64)),
    built_in_type("numeric", Length::Any),
    built_in_type("nummultirange", Length::Any),
    built_in_type("numrange", Length::Any),
    built_in_type("oid", Length::Bytes(4)),
    built_in_type("pg_lsn", Length::Bytes(8)),
    built_in_type("text", Length::Text),
    built_in_type("time", Length::Bytes(8)),
    built_in_type("timestamp", Length::Bytes(8)),
    built_in_type("timestamptz", Length::Bytes(8)),
    built_in_type("timetz", Length::Bytes(12)),
    built_in_type("tsmultirange", Length::Any),
    built_in_type("tsrange", Length::Any),
    built_in_type("tstzmultirange", Length::Any),
    built_in_type("tstzrange", Length::Any),
    built_in_type("uuid", Length::Bytes(16)),
    built_in_type("varbit", Length::Any),
    built_in_type("varchar", Length::Text),
];

/// The types whose input functions accept neither a decimal point nor an exponent.
const INTEGERS: [&str; 4] = ["int2", "int4", "int8", "oid"];

/// Finds a built-in type by its name in the catalogue.
pub(super) fn own(name: &str) -> Option<&'static BuiltIn> {
    OWN.binary_search_by_key(&name, |own| own.name).ok().map(|index| &OWN[index])
}

impl Type {
    /// Returns the built-in type with this name, if there is one.
    pub(super) fn own(name: &str, modifiers: &str, array: bool) -> Option<Self> {
        own(name).map(|own| Self {
            schema: CATALOGUE.to_owned(),
            name: own.name.to_owned(),
            modifiers: modifiers.to_owned(),
            array,
            enumeration: false,
            integer: !array && INTEGERS.contains(&own.name),
        })
    }

    fn properties(&self) -> Option<&'static BuiltIn> {
        if self.schema == CATALOGUE { own(&self.name) } else { None }
    }

    pub(super) fn is_built_in(&self) -> bool {
        self.properties().is_some()
    }

    /// Writes the type as in a column's definition.
    pub(super) fn sql(&self) -> String {
        let array = if self.array { "[]" } else { "" };
        if self.schema == CATALOGUE && self.name == "interval" {
            // The modifiers of `interval` have a special syntax, which only the unqualified name allows.
            return format!("interval{}{array}", self.modifiers);
        }
        format!("{}.{}{}{array}", quoted(&self.schema), quoted(&self.name), self.modifiers)
    }

    /// Writes the type as the target of a cast, without modifiers: an explicit cast to `varchar(3)` cuts a longer text,
    /// whereas assigning the text to the column fails.
    pub(super) fn cast(&self) -> String {
        format!("{}.{}{}", quoted(&self.schema), quoted(&self.name), if self.array { "[]" } else { "" })
    }

    /// Whether this is `bytea`. wal2json writes its values as hex digits without `\x`.
    pub(super) fn is_bytea(&self) -> bool {
        !self.array && self.schema == CATALOGUE && self.name == "bytea"
    }

    /// Whether values of this type are compared with `=`. Values of other types are compared as text, because an
    /// extension's `=` can be missing, or outside the search path.
    pub(super) fn has_equality(&self) -> bool {
        self.enumeration || self.properties().is_some_and(|own| own.equality)
    }

    /// Whether equal values can have different texts, as 1 and 1.0 do.
    pub(super) fn has_several_texts(&self) -> bool {
        match self.name.as_str() {
            "numeric" => self.is_built_in() && self.modifiers.is_empty(),
            "float4" | "float8" | "interval" | "jsonb" | "nummultirange" | "numrange" => self.is_built_in(),
            _ => false,
        }
    }

    /// Whether the type reports an invalid value with SQLSTATE class 22.
    pub(super) fn reports_invalid_values(&self) -> bool {
        self.enumeration || self.is_built_in()
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
    fn built_in_types_are_found_by_name() {
        assert!(OWN.is_sorted_by_key(|own| own.name));
        assert!(own("timestamptz").is_some());
        assert!(own("regclass").is_none());
    }

    #[test]
    fn an_index_holds_short_values_whole() {
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
