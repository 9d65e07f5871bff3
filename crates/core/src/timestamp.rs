//! Points in time on the wire: RFC 3339, UTC, up to nanoseconds.

use std::fmt;

use crate::schema::schemas;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};
use time::format_description::well_known::Rfc3339;
use time::macros::datetime;
use time::{OffsetDateTime, UtcOffset};

/// A point in time; "no value" on the wire is [`Timestamp::ZERO`], never `null`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub OffsetDateTime);

impl Timestamp {
    /// `0001-01-01T00:00:00Z`: absent.
    pub const ZERO: Self = Self(datetime!(0001-01-01 00:00:00 UTC));

    /// Whether it is the "no value" of the wire.
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }

    /// Microseconds since 1970, as stored; finer digits are cut.
    pub fn to_micros(self) -> i64 {
        let micros = self.0.unix_timestamp_nanos().div_euclid(1000);
        i64::try_from(micros).unwrap_or(if micros < 0 { i64::MIN } else { i64::MAX })
    }

    /// From microseconds since 1970; `None` outside the years 1 to 9999.
    pub fn from_micros(micros: i64) -> Option<Self> {
        let time =
            OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros).saturating_mul(1000))
                .ok()?;
        (time.year() >= 1).then_some(Self(time))
    }

    /// The same time with whole microseconds, as it will be read back from storage.
    #[must_use]
    pub fn truncated_to_micros(self) -> Self {
        Self::from_micros(self.to_micros()).unwrap_or(self)
    }
}

impl Default for Timestamp {
    fn default() -> Self {
        Self::ZERO
    }
}

impl From<OffsetDateTime> for Timestamp {
    fn from(time: OffsetDateTime) -> Self {
        Self(time.checked_to_offset(UtcOffset::UTC).unwrap_or(time))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self
            .0
            .checked_to_offset(UtcOffset::UTC)
            .ok_or(fmt::Error)?
            .format(&Rfc3339)
            .map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text is no time of the years 1 to 9999 in UTC, as RFC 3339 writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 time")]
pub struct NoTimestamp;

impl std::str::FromStr for Timestamp {
    type Err = NoTimestamp;

    fn from_str(text: &str) -> Result<Self, NoTimestamp> {
        let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| NoTimestamp)?;
        let time = time.checked_to_offset(UtcOffset::UTC).ok_or(NoTimestamp)?;
        // Storage has no year before.
        (time.year() >= 1).then_some(Self(time)).ok_or(NoTimestamp)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TimestampVisitor;
        impl Visitor<'_> for TimestampVisitor {
            type Value = Timestamp;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an RFC 3339 time")
            }
            fn visit_unit<E>(self) -> Result<Timestamp, E> {
                Ok(Timestamp::ZERO)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
                text.parse()
                    .map_err(|error| E::custom(format!("parsing time {text:?}: {error}")))
            }
        }
        deserializer.deserialize_any(TimestampVisitor)
    }
}

schemas!(Timestamp: {
    "type": "string",
    "format": "date-time",
    "description": "A time, RFC 3339; `0001-01-01T00:00:00Z` where there is none.",
    "examples": ["2026-03-02T09:15:27.481233Z"],
});

#[cfg(test)]
mod tests {
    use super::{NoTimestamp, Timestamp};

    #[test]
    fn text_has_only_the_digits_it_needs() {
        for text in [
            "0001-01-01T00:00:00Z",
            "2026-03-02T09:15:27.481233Z",
            "2026-01-10T08:00:01.5Z",
            "9999-12-31T23:59:59.999Z",
        ] {
            let time: Timestamp = text.parse().unwrap();
            assert_eq!(time.to_string(), text);
            assert_eq!(Timestamp::from_micros(time.to_micros()), Some(time));
        }
    }

    #[test]
    fn another_zone_is_read_and_written_as_utc() {
        let time: Timestamp = "2026-01-10T10:00:00+02:00".parse().unwrap();
        assert_eq!(time.to_string(), "2026-01-10T08:00:00Z");
        for refused in [
            "2026-01-10",
            "9999-12-31T23:59:59-05:00",
            "0001-01-01T00:00:00+00:01",
            "0000-12-31T23:59:59Z",
        ] {
            assert_eq!(refused.parse::<Timestamp>(), Err(NoTimestamp), "{refused}");
        }
    }
}
