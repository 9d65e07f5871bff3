//! Dates in filters.

use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime, PrimitiveDateTime, UtcOffset};

const WITH_T: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second][optional [.[subsecond]]]");
const WITH_SPACE: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second][optional [.[subsecond]]]");
const DAY: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");

/// Reads RFC 3339, `YYYY-MM-DDTHH:MM:SS`, `YYYY-MM-DD HH:MM:SS` or `YYYY-MM-DD`; without an offset
/// it is UTC, a bare day is its midnight. The result is UTC.
pub fn parse_instant(text: &str) -> Option<OffsetDateTime> {
    let text = text.trim();
    // The reader of RFC 3339 takes any byte between day and time.
    let is_separated = matches!(text.as_bytes().get(10), Some(b'T' | b't' | b' '));
    if is_separated && let Ok(instant) = OffsetDateTime::parse(text, &Rfc3339) {
        return instant.checked_to_offset(UtcOffset::UTC);
    }
    PrimitiveDateTime::parse(text, WITH_T)
        .or_else(|_| PrimitiveDateTime::parse(text, WITH_SPACE))
        .or_else(|_| Date::parse(text, DAY).map(Date::midnight))
        .ok()
        .map(PrimitiveDateTime::assume_utc)
}
