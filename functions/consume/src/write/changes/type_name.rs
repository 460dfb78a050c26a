//! Parses types as change sets give them: `character varying(30)`, `VARCHAR(30)`, `_int4`,
//! `timestamp(3) with time zone`.
//!
//! The texts are not trusted. A text is either one of the spellings below or a name to look up ([`Parsed::Other`]). A
//! spelling itself never gets into the SQL that we send: that SQL is built from words in our code and from the
//! spelling's numbers. A name is passed to PostgreSQL as a bound value.

use super::types::{Type, own};

/// What a given text means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Parsed {
    /// A built-in type.
    BuiltIn(Given),
    /// A type that someone may have created: an enum, a domain, an extension's type.
    Other(Other),
}

/// A type that a change set gives and that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    /// The type that a new column gets.
    pub(super) ty: Type,
    /// Another type that the text can mean. wal2json removes the quotes of `"char"`, and `char` without quotes is the
    /// SQL name of `character(1)`. A new column becomes `character(1)`, which rejects values that are too long, whereas
    /// `"char"` would silently cut a value to one byte.
    pub(super) or: Option<Type>,
}

impl Given {
    pub(super) fn is(&self, ty: &Type) -> bool {
        self.ty == *ty || self.or.as_ref() == Some(ty)
    }
}

/// A type to look up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Other {
    pub(super) schema: Option<String>,
    pub(super) name: String,
    /// The modifiers as SQL writes them: `('Point',4326)`, or empty.
    pub(super) modifiers: String,
    pub(super) array: bool,
}

/// The maximum length of a text. It is more than any type needs, with its schema, name, quotes and modifiers.
const LONGEST_BYTES: usize = 512;
const NAME_BYTES: usize = 63;

/// Parses a type's text. Returns `None` if the text cannot be a type.
pub(super) fn parse(text: &str) -> Option<Parsed> {
    if text.len() > LONGEST_BYTES || text.contains('\0') {
        return None;
    }
    let (text, array) = without_array(text.trim());
    let sql_name = text.strip_prefix("pg_catalog.").unwrap_or(text);
    built_in_type(sql_name, array)
        .map(Parsed::BuiltIn)
        // The catalogue's name of an array type has a leading `_`.
        .or_else(|| built_in_type(sql_name.strip_prefix('_')?, true).map(Parsed::BuiltIn))
        .or_else(|| other_type(text, array).map(Parsed::Other))
}

/// Removes an array's brackets. PostgreSQL stores neither the number of dimensions nor their lengths.
fn without_array(mut text: &str) -> (&str, bool) {
    let mut array = false;
    while let Some((element, length)) = text.strip_suffix(']').and_then(|text| text.rsplit_once('[')) {
        if !length.trim().bytes().all(|byte| byte.is_ascii_digit()) {
            break;
        }
        (text, array) = (element.trim_end(), true);
    }
    (text, array)
}

fn built_in_type(text: &str, array: bool) -> Option<Given> {
    let (words, modifiers) = words_and_modifiers(text)?;
    let modifiers = modifiers.as_deref();
    let type_of = |name: &str, modifiers: &str| Type::own(name, modifiers, array);
    let plain = |name: &str| modifiers.is_none().then(|| type_of(name, ""))?;
    let with = |name: &str, default: &str| match modifiers {
        None => type_of(name, default),
        Some([length]) => type_of(name, &format!("({length})")),
        Some(_) => None,
    };
    // PostgreSQL reduces a precision above 6 (microseconds) to 6, with a warning.
    let time = |name: &str| match modifiers {
        None => type_of(name, ""),
        Some([precision]) if *precision >= 0 => type_of(name, &format!("({})", precision.min(&6))),
        Some(_) => None,
    };
    let ty = match words.as_str() {
        "int" | "integer" => plain("int4"),
        "smallint" => plain("int2"),
        "bigint" => plain("int8"),
        "real" => plain("float4"),
        "double precision" => plain("float8"),
        "float" => match modifiers {
            None | Some([25..=53]) => type_of("float8", ""),
            Some([1..=24]) => type_of("float4", ""),
            Some(_) => None,
        },
        "numeric" | "decimal" | "dec" => match modifiers {
            None => type_of("numeric", ""),
            Some([precision]) => type_of("numeric", &format!("({precision},0)")),
            Some([precision, scale]) => type_of("numeric", &format!("({precision},{scale})")),
            Some(_) => None,
        },
        "boolean" => plain("bool"),
        "character varying"
        | "char varying"
        | "nchar varying"
        | "national character varying"
        | "national char varying"
        | "varchar" => with("varchar", ""),
        "character" | "char" | "nchar" | "national character" | "national char" => with("bpchar", "(1)"),
        "bpchar" => with("bpchar", ""),
        "bit" => with("bit", "(1)"),
        "bit varying" | "varbit" => with("varbit", ""),
        "time" | "time without time zone" => time("time"),
        "time with time zone" | "timetz" => time("timetz"),
        "timestamp" | "timestamp without time zone" => time("timestamp"),
        "timestamp with time zone" | "timestamptz" => time("timestamptz"),
        interval if interval == "interval" || interval.starts_with("interval ") => {
            interval_type(interval.trim_start_matches("interval"), modifiers, array)
        }
        // Many of the catalogue's names are also valid in SQL: for example, `text`, `uuid` and `int4`.
        name => own(name).and_then(|_| plain(name)),
    }?;
    let or = if words == "char" && modifiers.is_none() { type_of("char", "") } else { None };
    Some(Given { ty, or })
}

fn interval_type(fields: &str, modifiers: Option<&[i32]>, array: bool) -> Option<Type> {
    let known = [
        "",
        " year",
        " month",
        " day",
        " hour",
        " minute",
        " second",
        " year to month",
        " day to hour",
        " day to minute",
        " day to second",
        " hour to minute",
        " hour to second",
        " minute to second",
    ];
    let precise = fields.is_empty() || fields.ends_with("second");
    match modifiers {
        _ if !known.contains(&fields) => None,
        None => Type::own("interval", fields, array),
        Some([precision]) if precise && *precision >= 0 => {
            Type::own("interval", &format!("{fields}({})", precision.min(&6)), array)
        }
        Some(_) => None,
    }
}

/// Splits a text such as `timestamp (3) with time zone` into words and numbers. The words are in lower case and
/// separated by single spaces.
fn words_and_modifiers(text: &str) -> Option<(String, Option<Vec<i32>>)> {
    let (head, modifiers, tail) = match text.split_once('(') {
        None => (text, None, ""),
        Some((head, rest)) => {
            let (modifiers, tail) = rest.split_once(')')?;
            let numbers: Option<Vec<i32>> = modifiers.split(',').map(|number| number.trim().parse().ok()).collect();
            (head, Some(numbers?), tail)
        }
    };
    let words: Vec<&str> = head.split_ascii_whitespace().chain(tail.split_ascii_whitespace()).collect();
    let word = |word: &&str| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (!words.is_empty() && words.iter().all(word)).then(|| (words.join(" ").to_ascii_lowercase(), modifiers))
}

/// Parses `mood`, `public.mood`, `public."My mood"` or `geometry(Point,4326)`. Any other text is itself the name:
/// wal2json removes the quotes of a quoted name, so the text may contain any characters.
fn other_type(text: &str, array: bool) -> Option<Other> {
    let fits = |name: &str| !name.is_empty() && name.len() <= NAME_BYTES;
    let named = || {
        let (first, rest) = identifier(text)?;
        let (schema, name, rest) = match rest.strip_prefix('.') {
            None => (None, first, rest),
            Some(rest) => identifier(rest).map(|(name, rest)| (Some(first), name, rest))?,
        };
        let modifiers = match rest.trim() {
            "" => String::new(),
            rest => other_modifiers(rest.strip_prefix('(')?.strip_suffix(')')?)?,
        };
        Some(Other { schema, name, modifiers, array })
    };
    let literal = || Some(Other { schema: None, name: text.to_owned(), modifiers: String::new(), array });
    named().or_else(literal).filter(|other| fits(&other.name) && other.schema.as_deref().is_none_or(fits))
}

/// Parses an identifier, quoted or plain, and returns what follows it.
fn identifier(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '$').unwrap_or(text.len());
        return (end > 0).then(|| (text[..end].to_owned(), &text[end..]));
    };
    let mut name = String::new();
    let mut rest = quoted;
    loop {
        let (part, after) = rest.split_once('"')?;
        name.push_str(part);
        match after.strip_prefix('"') {
            Some(after) => {
                name.push('"');
                rest = after;
            }
            None => return Some((name, after)),
        }
    }
}

/// Parses modifiers: numbers and words. The words become string literals, so that none of them acts as a keyword.
fn other_modifiers(list: &str) -> Option<String> {
    let modifier = |text: &str| match text.trim().parse::<i32>() {
        Ok(number) => Some(number.to_string()),
        Err(_) => {
            let word = text.trim();
            let plain = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            plain.then(|| format!("'{word}'"))
        }
    };
    let modifiers: Option<Vec<String>> = list.split(',').map(modifier).collect();
    Some(format!("({})", modifiers?.join(",")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sql(text: &str) -> Option<String> {
        match parse(text)? {
            Parsed::BuiltIn(given) => Some(given.ty.sql()),
            Parsed::Other(_) => None,
        }
    }

    #[test]
    fn all_spellings_of_a_type_give_the_same_type() {
        for spellings in [
            &["integer", "INT", "int4", "pg_catalog.int4", " Integer "][..],
            &["character varying(30)", "VARCHAR(30)", "varchar ( 30 )", "Character  Varying(30)"],
            &["numeric(10)", "decimal(10,0)", "DEC(10, 0)"],
            &["timestamp(3) with time zone", "TIMESTAMPTZ(3)", "timestamp (3) with time  zone"],
            &["timestamp(6)", "timestamp(9) without time zone"],
            &["character", "character(1)", "CHAR(1)", "char"],
            &["double precision", "float8", "FLOAT", "float(53)"],
            &["integer[]", "_int4", "int4[3][3]", "int [ ]"],
            &["bit", "bit(1)"],
            &["interval day to second(2)", "INTERVAL DAY TO SECOND (2)"],
        ] {
            let first = sql(spellings[0]).expect("known");
            for spelling in spellings {
                assert_eq!(sql(spelling).as_ref(), Some(&first), "{spelling}");
            }
        }
    }

    #[test]
    fn a_built_in_type_is_written_with_its_name_in_the_catalogue() {
        for (given, expected) in [
            ("int2", r#""pg_catalog"."int2""#),
            ("varchar(30)[]", r#""pg_catalog"."varchar"(30)[]"#),
            ("numeric(5,-2)", r#""pg_catalog"."numeric"(5,-2)"#),
            ("bit varying(5)", r#""pg_catalog"."varbit"(5)"#),
            ("interval(3)", "interval(3)"),
            ("interval year to month", "interval year to month"),
            ("jsonb", r#""pg_catalog"."jsonb""#),
            ("time with time zone", r#""pg_catalog"."timetz""#),
        ] {
            assert_eq!(sql(given).as_deref(), Some(expected), "{given}");
        }
    }

    #[test]
    fn a_name_that_is_not_a_built_in_type_is_to_be_looked_up() {
        let other = |schema: Option<&str>, name: &str, modifiers: &str, array| {
            Some(Parsed::Other(Other {
                schema: schema.map(str::to_owned),
                name: name.to_owned(),
                modifiers: modifiers.to_owned(),
                array,
            }))
        };
        assert_eq!(parse("mood"), other(None, "mood", "", false));
        assert_eq!(parse("public.mood[]"), other(Some("public"), "mood", "", true));
        assert_eq!(parse(r#"public."My ""mood""."#), other(None, r#"public."My ""mood""."#, "", false));
        assert_eq!(parse(r#"public."My ""mood""""#), other(Some("public"), r#"My "mood""#, "", false));
        assert_eq!(parse("My mood"), other(None, "My mood", "", false));
        assert_eq!(parse("geometry(Point,4326)"), other(None, "geometry", "('Point',4326)", false));
        assert_eq!(parse("int4(3)"), other(None, "int4", "(3)", false));
        assert_eq!(parse("integer; drop table x"), other(None, "integer; drop table x", "", false));
        assert_eq!(parse("geometry('x')"), other(None, "geometry('x')", "", false));
        assert_eq!(parse("timestamp(3) with"), other(None, "timestamp(3) with", "", false));
    }

    #[test]
    fn text_that_cannot_be_a_type_is_refused() {
        for text in ["", "  ", "[]", "a\0", &"x".repeat(64), &"(".repeat(9999)] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn only_words_and_numbers_reach_sql_whatever_the_text_is(
            text in r#"(int|varchar|interval|numeric|time|_|"|'|;|--|\(|\)|,|[0-9-]| |\[|\]|\.|day|second|é){0,12}"#
        ) {
            let written = match parse(&text) {
                Some(Parsed::BuiltIn(given)) => given.ty.sql(),
                Some(Parsed::Other(other)) => other.modifiers.replace('\'', ""),
                None => String::new(),
            };
            prop_assert!(
                written.bytes().all(|byte| byte.is_ascii_alphanumeric() || br#"_"(),.[] -"#.contains(&byte)),
                "{written}"
            );
            prop_assert!(!written.contains("--"), "{written}");
        }
    }
}
