//! Generates random texts in JSON Schema's formats.

use jiff::Timestamp;
use rand::seq::IndexedRandom as _;
use rand::{Rng, RngExt as _};

const DAY_MS: i64 = 86_400_000;
const NAMES: &[&str] = &["ada", "grace.hopper", "linus_t", "o.brien", "user+tag", "m-curie", "x"];
const HOSTS: &[&str] = &["example.org", "example.com", "mail.example.net", "a-b.example", "xn--bcher-kva.example"];
const PATHS: &[&str] = &["", "/", "/a/b", "/search?q=caf%C3%A9", "/x#top", "/~user/", "/?a=1&b=2"];

/// Returns a text in the format, or `None` for an unknown format. `now_ms` is in milliseconds since the Unix epoch.
pub(super) fn text(format: &str, now_ms: i64, rng: &mut dyn Rng) -> Option<String> {
    let one_of = |rng: &mut dyn Rng, texts: &[&str]| texts.choose(rng).copied().unwrap_or_default().to_owned();
    Some(match format {
        "uuid" => uuid::Builder::from_random_bytes(rng.random()).into_uuid().to_string(),
        "date" => recent(now_ms, rng).strftime("%Y-%m-%d").to_string(),
        "time" => recent(now_ms, rng).strftime("%H:%M:%SZ").to_string(),
        "date-time" => {
            let offset = ["Z", "Z", "Z", "+02:00", "-05:30"].choose(rng).copied().unwrap_or("Z");
            recent(now_ms, rng).strftime("%Y-%m-%dT%H:%M:%S%.3f").to_string() + offset
        }
        "duration" => format!("P{}DT{}H{}M", rng.random_range(0..30), rng.random_range(0..24), rng.random_range(0..60)),
        "email" => format!("{}@{}", one_of(rng, NAMES), one_of(rng, HOSTS)),
        "idn-email" => format!("{}@{}", one_of(rng, &["jörg", "用户", "ada"]), one_of(rng, HOSTS)),
        "hostname" => one_of(rng, HOSTS),
        "idn-hostname" => one_of(rng, &["bücher.example", "例え.example", "example.org"]),
        "ipv4" => std::net::Ipv4Addr::from(rng.random::<u32>()).to_string(),
        "ipv6" => std::net::Ipv6Addr::from(rng.random::<u128>()).to_string(),
        "uri" | "uri-reference" | "iri-reference" | "uri-template" => {
            format!("https://{}{}", one_of(rng, HOSTS), one_of(rng, PATHS))
        }
        "iri" => format!("https://{}/{}", one_of(rng, HOSTS), one_of(rng, &["straße", "москва", ""])),
        "json-pointer" => one_of(rng, &["", "/a", "/a~1b/0", "/é/~0"]),
        "relative-json-pointer" => one_of(rng, &["0", "1/a", "2#"]),
        "regex" => one_of(rng, &["^a+$", "[0-9]{2}", "(x|y)?"]),
        _ => return None,
    })
}

/// Returns a time within the last 30 days, to the millisecond.
pub(super) fn recent(now_ms: i64, rng: &mut dyn Rng) -> Timestamp {
    let at_ms = now_ms - rng.random_range(0..30 * DAY_MS);
    Timestamp::from_millisecond(at_ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;
    use serde_json::{Value, json};

    #[test]
    fn texts_are_generated_in_every_format_of_the_standard() {
        let mut rng = rand::rngs::SmallRng::seed_from_u64(1);
        for format in [
            "uuid",
            "date",
            "time",
            "date-time",
            "duration",
            "email",
            "idn-email",
            "hostname",
            "idn-hostname",
            "ipv4",
            "ipv6",
            "uri",
            "uri-reference",
            "iri",
            "iri-reference",
            "uri-template",
            "json-pointer",
            "relative-json-pointer",
            "regex",
        ] {
            let schema = json!({"format": format});
            let validator = jsonschema::options().should_validate_formats(true).build(&schema);
            for _ in 0..200 {
                let text = text(format, 1_800_000_000_000, &mut rng).map(Value::from).unwrap_or_default();
                assert!(validator.as_ref().is_ok_and(|v| text.is_string() && v.is_valid(&text)), "{format}: {text}");
            }
        }
    }
}
