//! Suggests the stream that a caller probably meant by an unknown name.

use shared::contract::Contract;

/// Returns the stream whose name, topic or table is the most similar to `name`: `route` for `routes`, `user-event` for
/// `public.user_events`, `city` for `ctiy`. If several are equally similar, returns the first.
pub(crate) fn similar_stream<'c>(name: &str, streams: impl Iterator<Item = &'c Contract>) -> Option<&'c str> {
    let name = comparable(name);
    let typos_allowed = match name.chars().count() {
        ..4 => 0,
        4..7 => 1,
        7.. => 2,
    };
    let similar = streams.filter_map(|contract| {
        let table = contract.landing().map(|landing| &landing.table);
        let names =
            [Some(contract.stream.clone()), Some(contract.topic.clone()), table.map(|table| table.name.clone())];
        let qualified = table.map(|table| format!("{}.{}", table.schema, table.name));
        let names = names.into_iter().chain([qualified]).flatten();
        let typos = names.map(|candidate| strsim::osa_distance(&name, &comparable(&candidate))).min()?;
        (typos <= typos_allowed).then_some((typos, contract.stream.as_str()))
    });
    similar.min_by_key(|(typos, _)| *typos).map(|(_, stream)| stream)
}

/// Removes differences that do not matter: upper and lower case, `_` in place of `-`, and the plural.
fn comparable(name: &str) -> String {
    let name = name.to_lowercase().replace('_', "-");
    match (name.strip_suffix("ies"), name.strip_suffix('s')) {
        (Some(stem), _) => format!("{stem}y"),
        (None, Some(singular)) => singular.to_owned(),
        (None, None) => name,
    }
}

#[cfg(test)]
mod tests {
    use shared::contract::Registry;

    use super::*;

    fn similar(name: &str) -> Option<String> {
        let registry = Registry::load(None).unwrap();
        similar_stream(name, registry.contracts().map(AsRef::as_ref)).map(str::to_owned)
    }

    #[test]
    fn a_topic_a_table_or_a_plural_leads_to_the_stream() {
        for (name, stream) in [
            ("routes", "route"),
            ("routes_table", "route"),
            ("user-events", "user-event"),
            ("user_events", "user-event"),
            ("public.user_events", "user-event"),
            ("cities", "city"),
            ("public.countries", "country"),
            ("login_attempts", "login"),
            ("City", "city"),
        ] {
            assert_eq!(similar(name).as_deref(), Some(stream), "{name}");
        }
    }

    #[test]
    fn a_longer_name_may_have_more_typing_errors() {
        for (name, stream) in [
            ("ctiy", Some("city")),
            ("cit", None),
            ("rotue", Some("route")),
            ("ruote", Some("route")),
            ("rtoeu", None),
            ("contry", Some("country")),
            ("contnient", Some("continent")),
            ("usr_evnt", Some("user-event")),
            ("none", None),
            ("", None),
        ] {
            assert_eq!(similar(name).as_deref(), stream, "{name}");
        }
    }

    #[test]
    fn only_the_given_streams_are_suggested() {
        let registry = Registry::load(None).unwrap();
        let others = registry.contracts().map(AsRef::as_ref).filter(|contract| contract.stream != "route");
        assert_eq!(similar_stream("routes", others), None);
    }
}
