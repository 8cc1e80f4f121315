//! Floating-point numbers as Go writes them.

/// Writes a number as Go's JSON encoder does: plain digits from 1e-6 up to 1e21, else with an exponent
/// (`1e+21`, `1e-7`). NaN and infinities, which JSON cannot hold, become `null`.
#[must_use]
pub fn format_json(value: f64) -> String {
    if !value.is_finite() {
        return "null".to_owned();
    }
    let size = value.abs();
    if size == 0.0 || (1e-6..1e21).contains(&size) {
        format!("{value}")
    } else {
        with_exponent(value, 1)
    }
}

/// Writes a number as Go's `strconv.FormatFloat(value, 'g', -1, 64)` does: plain digits from 1e-4 up to
/// 1e6, else with an exponent of at least two digits (`1e+06`, `1.5e-05`). Prometheus text uses this form.
#[must_use]
pub fn format_shortest(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let size = value.abs();
    if size == 0.0 || (1e-4..1e6).contains(&size) {
        format!("{value}")
    } else {
        with_exponent(value, 2)
    }
}

fn with_exponent(value: f64, least_digits: usize) -> String {
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{digits:0>least_digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_json_are_plain_up_to_1e21() {
        let table = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (1.5, "1.5"),
            (0.1, "0.1"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (-1.5e300, "-1.5e+300"),
            (1e-6, "0.000001"),
            (1e-7, "1e-7"),
            (1.234e-20, "1.234e-20"),
            (f64::NAN, "null"),
        ];
        for (value, expected) in table {
            assert_eq!(format_json(value), expected);
        }
    }

    #[test]
    fn the_shortest_form_turns_to_exponents_at_1e6() {
        let table = [
            (0.0, "0"),
            (1.0, "1"),
            (1.5, "1.5"),
            (100_000.0, "100000"),
            (1e6, "1e+06"),
            (1_234_567.5, "1.2345675e+06"),
            (1_826_947_372.0, "1.826947372e+09"),
            (1e-4, "0.0001"),
            (1.5e-5, "1.5e-05"),
            (1e100, "1e+100"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ];
        for (value, expected) in table {
            assert_eq!(format_shortest(value), expected);
        }
    }
}
