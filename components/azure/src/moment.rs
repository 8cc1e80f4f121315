//! Points in time as HTTP writes them.

use std::time::SystemTime;

use time::OffsetDateTime;

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// `Tue, 24 Nov 2026 12:21:34 GMT` (RFC 9110, 5.6.7).
pub(crate) fn http_date(moment: SystemTime) -> String {
    let moment = OffsetDateTime::from(moment);
    let day = DAYS[usize::from(moment.weekday().number_days_from_monday())];
    let month = MONTHS[usize::from(u8::from(moment.month()) - 1)];
    let (hour, minute, second) = moment.to_hms();
    format!(
        "{day}, {:02} {month} {:04} {hour:02}:{minute:02}:{second:02} GMT",
        moment.day(),
        moment.year()
    )
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn moments_are_in_the_form_of_http() {
        assert_eq!(http_date(UNIX_EPOCH), "Thu, 01 Jan 1970 00:00:00 GMT");
        let later = UNIX_EPOCH + Duration::from_secs(1_795_522_894);
        assert_eq!(http_date(later), "Tue, 24 Nov 2026 12:21:34 GMT");
    }
}
