//! Instants as the databases hold them: microseconds since 1970-01-01T00:00:00Z in a `BIGINT`.

use time::OffsetDateTime;

/// The instant in microseconds, rounded down; the years 1 to 9999 fit.
pub fn to_micros(instant: OffsetDateTime) -> i64 {
    // `time` ends at the year 9999 (2.6e17 µs), so the conversion never saturates.
    i64::try_from(instant.unix_timestamp_nanos().div_euclid(1_000)).unwrap_or(i64::MAX)
}

/// The instant (UTC) that [`to_micros`] gave; `None` outside the years 1 to 9999.
pub fn from_micros(micros: i64) -> Option<OffsetDateTime> {
    let instant = OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000).ok()?;
    (1..=9_999).contains(&instant.year()).then_some(instant)
}

/// The instant as it reads back after storing: whole microseconds, UTC.
///
/// Use it on the current time before it goes into an answer, so that create and read agree.
#[must_use]
pub fn truncated(instant: OffsetDateTime) -> OffsetDateTime {
    from_micros(to_micros(instant)).unwrap_or(instant)
}
