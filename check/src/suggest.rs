//! What was probably meant.

use outrigger_kit::quote::go_quote;

/// `; did you mean "x"?` with the name that is nearest, or nothing if none is near.
pub(crate) fn did_you_mean<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match nearest(given, known) {
        Some(name) => format!("; did you mean {}?", go_quote(name)),
        None => String::new(),
    }
}

/// The name that takes the fewest changes, at most two and at most a third of its letters, letter case aside.
pub(crate) fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = given.to_lowercase();
    let distance = |name: &str| strsim::osa_distance(&lower, &name.to_lowercase());
    let nearest = known.into_iter().min_by_key(|name| distance(name))?;
    let most = (nearest.chars().count() / 3).clamp(1, 2);
    (distance(nearest) <= most).then_some(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_near_is_suggested() {
        let known = ["samplingRate", "stdout", "otel", "zipkin"];
        let table = [
            ("samplingrate", Some("samplingRate")),
            ("samplngRate", Some("samplingRate")),
            ("stduot", Some("stdout")),
            ("otl", Some("otel")),
            ("hotel", Some("otel")),
            ("trace", None),
            ("", None),
        ];
        for (given, expected) in table {
            assert_eq!(nearest(given, known), expected, "{given}");
        }
        assert_eq!(did_you_mean("stdot", known), "; did you mean \"stdout\"?");
    }
}
