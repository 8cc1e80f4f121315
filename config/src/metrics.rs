//! The option about metrics that every program has beside its listener.

use crate::flags::FlagError;

/// Series that a metric may have, unless `--metrics-max-series` says otherwise.
pub(crate) const DEFAULT_MAX_SERIES: i64 = 10_000;

/// Refuses a number of series below zero.
pub(crate) fn check_max_series(number: i64) -> Result<(), FlagError> {
    if number >= 0 {
        return Ok(());
    }
    Err(FlagError::Value(format!(
        "invalid value for 'metrics-max-series' option: must not be negative, got {number}"
    )))
}
