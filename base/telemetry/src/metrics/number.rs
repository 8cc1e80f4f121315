//! Numbers as the exposition shows them.

use std::fmt;

/// A number as Go's `strconv.FormatFloat(v, 'g', -1, 64)` writes it: `0.25`, `1e+06`, `1e-05`, `+Inf`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Float(pub(crate) f64);

/// Wraps a number for printing.
pub(crate) fn float(value: f64) -> Float {
    Float(value)
}

impl fmt::Display for Float {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.0;
        if value.is_nan() {
            return f.write_str("NaN");
        }
        if value.is_infinite() {
            return f.write_str(if value > 0.0 { "+Inf" } else { "-Inf" });
        }
        // The exponent decides: plain digits from 1e-4 to just below 1e6.
        let size = value.abs();
        if size == 0.0 || (1e-4..1e6).contains(&size) {
            return write!(f, "{value}");
        }
        let scientific = format!("{value:e}");
        let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        match exponent.strip_prefix('-') {
            Some(digits) => write!(f, "{mantissa}e-{digits:0>2}"),
            None => write!(f, "{mantissa}e+{exponent:0>2}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_look_as_in_go() {
        let table = [
            (0.0, "0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (0.004226, "0.004226"),
            (89.793661, "89.793661"),
            (262_144.0, "262144"),
            (999_999.0, "999999"),
            (1e6, "1e+06"),
            (1_048_576.0, "1.048576e+06"),
            (104_173_568.0, "1.04173568e+08"),
            (4_294_967_296.0, "4.294967296e+09"),
            (9.223372036854776e18, "9.223372036854776e+18"),
            (1e100, "1e+100"),
            (0.0001, "0.0001"),
            (7.2889e-05, "7.2889e-05"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ];
        for (value, expected) in table {
            assert_eq!(float(value).to_string(), expected);
        }
    }
}
