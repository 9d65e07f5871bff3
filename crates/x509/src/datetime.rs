//! `Time` (RFC 5280 §4.1.2.5) in both forms, years 1 to 9999.

use time::{Date, Duration, Month, OffsetDateTime, Time, UtcOffset};

use crate::error::Malformation;
use crate::tlv::{GENERALIZED_TIME, Reader, Tlv, UTC_TIME, Writer};

/// Reads a UTCTime or GeneralizedTime.
pub(crate) fn read_time(reader: &mut Reader<'_>) -> Result<OffsetDateTime, Malformation> {
    parse_time(reader.any()?)
}

/// A UTCTime or GeneralizedTime element. Seconds may be missing and an offset may stand in
/// place of `Z` (both were legal before RFC 5280); a fraction is cut off.
pub(crate) fn parse_time(tlv: Tlv<'_>) -> Result<OffsetDateTime, Malformation> {
    let text = std::str::from_utf8(tlv.value).map_err(|_| Malformation::InvalidTime)?;
    let mut digits = Digits(text);
    let year = match tlv.tag {
        UTC_TIME => match digits.number(2)? {
            // RFC 5280 §4.1.2.5.1: two digits name the years 1950 to 2049.
            year if year >= 50 => year.saturating_add(1900),
            year => year.saturating_add(2000),
        },
        GENERALIZED_TIME => digits.number(4)?,
        found => {
            return Err(Malformation::UnexpectedTag {
                expected: UTC_TIME,
                found,
            });
        }
    };
    let time = digits.rest_of_time(year)?;
    if (1..=9999).contains(&time.year()) {
        Ok(time)
    } else {
        Err(Malformation::InvalidTime)
    }
}

/// Appends a certificate's or CRL's `Time`: UTCTime for the years 1950 to 2049, otherwise
/// GeneralizedTime. Fractions of a second are cut.
pub(crate) fn write_time(out: &mut Writer, time: OffsetDateTime) {
    let time = time.to_offset(UtcOffset::UTC);
    if (1950..=2049).contains(&time.year()) {
        let text = generalized(time);
        // Without the century.
        out.element(UTC_TIME, text.get(2..).unwrap_or_default());
    } else {
        write_generalized_time(out, time);
    }
}

/// Appends a GeneralizedTime, the only form in OCSP. Fractions of a second are cut.
pub(crate) fn write_generalized_time(out: &mut Writer, time: OffsetDateTime) {
    let time = time.to_offset(UtcOffset::UTC);
    out.element(GENERALIZED_TIME, &generalized(time));
}

/// Whether `Time` can express this: the years 1 to 9999 in UTC.
pub(crate) fn is_encodable(time: OffsetDateTime) -> bool {
    time.checked_to_offset(UtcOffset::UTC)
        .is_some_and(|time| (1..=9999).contains(&time.year()))
}

/// `YYYYMMDDHHMMSSZ`; written without `format!`, because a CRL has a million of them.
fn generalized(time: OffsetDateTime) -> [u8; 15] {
    let year = u16::try_from(time.year()).unwrap_or_default();
    let [y1, y2] = two_digits(year / 100);
    let [y3, y4] = two_digits(year % 100);
    let [m1, m2] = two_digits(u8::from(time.month()).into());
    let [d1, d2] = two_digits(time.day().into());
    let [h1, h2] = two_digits(time.hour().into());
    let [n1, n2] = two_digits(time.minute().into());
    let [s1, s2] = two_digits(time.second().into());
    [y1, y2, y3, y4, m1, m2, d1, d2, h1, h2, n1, n2, s1, s2, b'Z']
}

/// Decimal digits of a number below 100.
fn two_digits(number: u16) -> [u8; 2] {
    let digit =
        |value: u16| u8::try_from(value % 10).map_or(b'0', |value| b'0'.saturating_add(value));
    [digit(number / 10), digit(number)]
}

/// Decimal digits, taken from the left.
struct Digits<'a>(&'a str);

impl Digits<'_> {
    fn number(&mut self, n_digits: usize) -> Result<i32, Malformation> {
        let (digits, rest) = self
            .0
            .split_at_checked(n_digits)
            .ok_or(Malformation::InvalidTime)?;
        if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(Malformation::InvalidTime);
        }
        self.0 = rest;
        digits.parse().map_err(|_| Malformation::InvalidTime)
    }

    fn two(&mut self) -> Result<u8, Malformation> {
        self.number(2)
            .and_then(|number| u8::try_from(number).map_err(|_| Malformation::InvalidTime))
    }

    fn rest_of_time(&mut self, year: i32) -> Result<OffsetDateTime, Malformation> {
        let month = Month::try_from(self.two()?).map_err(|_| Malformation::InvalidTime)?;
        let day = self.two()?;
        let (hour, minute) = (self.two()?, self.two()?);
        let second = if self.0.starts_with(|c: char| c.is_ascii_digit()) {
            self.two()?
        } else {
            0
        };
        self.skip_fraction()?;
        let date =
            Date::from_calendar_date(year, month, day).map_err(|_| Malformation::InvalidTime)?;
        let time = Time::from_hms(hour, minute, second).map_err(|_| Malformation::InvalidTime)?;
        OffsetDateTime::new_utc(date, time)
            .checked_sub(self.offset()?)
            .ok_or(Malformation::InvalidTime)
    }

    fn skip_fraction(&mut self) -> Result<(), Malformation> {
        let Some(fraction) = self.0.strip_prefix('.') else {
            return Ok(());
        };
        self.0 = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
        if self.0.len() == fraction.len() {
            Err(Malformation::InvalidTime)
        } else {
            Ok(())
        }
    }

    /// `Z`, or `+hhmm` / `-hhmm` east of Greenwich.
    fn offset(&mut self) -> Result<Duration, Malformation> {
        let sign = match self.0.split_at_checked(1) {
            Some(("Z", "")) => return Ok(Duration::ZERO),
            Some(("+", rest)) => {
                self.0 = rest;
                1
            }
            Some(("-", rest)) => {
                self.0 = rest;
                -1
            }
            _ => return Err(Malformation::InvalidTime),
        };
        let (hours, minutes) = (i64::from(self.two()?), i64::from(self.two()?));
        if hours > 23 || minutes > 59 || !self.0.is_empty() {
            return Err(Malformation::InvalidTime);
        }
        let seconds = hours
            .saturating_mul(3600)
            .saturating_add(minutes.saturating_mul(60));
        Ok(Duration::seconds(seconds.saturating_mul(sign)))
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn read(tag: u8, text: &str) -> Result<OffsetDateTime, Malformation> {
        let mut out = Writer::new();
        out.element(tag, text.as_bytes());
        read_time(&mut Reader::new(&out.into_vec()))
    }

    #[test]
    fn both_forms_are_read_with_what_was_once_legal() {
        for (tag, text, time) in [
            (
                UTC_TIME,
                "491231235959Z",
                datetime!(2049-12-31 23:59:59 UTC),
            ),
            (UTC_TIME, "500101000000Z", datetime!(1950-01-01 00:00 UTC)),
            (UTC_TIME, "2601020304Z", datetime!(2026-01-02 03:04 UTC)),
            (
                UTC_TIME,
                "260102030405+0200",
                datetime!(2026-01-02 01:04:05 UTC),
            ),
            (
                UTC_TIME,
                "260102030405-0030",
                datetime!(2026-01-02 03:34:05 UTC),
            ),
            (
                GENERALIZED_TIME,
                "00010101000000Z",
                datetime!(0001-01-01 00:00 UTC),
            ),
            (
                GENERALIZED_TIME,
                "99991231235959.999Z",
                datetime!(9999-12-31 23:59:59 UTC),
            ),
        ] {
            assert_eq!(read(tag, text), Ok(time), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for (tag, text) in [
            (UTC_TIME, ""),
            (UTC_TIME, "260102030405"),
            (UTC_TIME, "261302030405Z"),
            (UTC_TIME, "260230030405Z"),
            (UTC_TIME, "260102240405Z"),
            (UTC_TIME, "260102030405Zx"),
            (UTC_TIME, "260102030405+2400"),
            (UTC_TIME, "ñ60102030405Z"),
            (UTC_TIME, "+60102030405Z"),
            (GENERALIZED_TIME, "00000101000000Z"),
            (GENERALIZED_TIME, "00010101000000+0100"),
            (GENERALIZED_TIME, "99991231235959-0100"),
            (GENERALIZED_TIME, "20260102030405.Z"),
        ] {
            assert_eq!(read(tag, text), Err(Malformation::InvalidTime), "{text}");
        }
    }
}
