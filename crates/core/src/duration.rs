//! The duration text of the wire: `1y1d`, `6d23h`, `1.5h`.

use std::fmt;
use std::str::FromStr;

use crate::schema::schemas;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};

/// A span of time in nanoseconds, as 64 bits hold it (±292 years); may be negative.
///
/// On the wire it is text: an optional sign and one or more `number unit`, units `ns`, `us`
/// (`µs`), `ms`, `s`, `m`, `h`, `d` = 24 h, `w` = 7 d, `y` = 52 w = **364 d**; `0` alone is legal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WireDuration(i64);

/// The units, largest first, with their length in nanoseconds.
const UNITS: [(&str, u64); 9] = [
    ("y", 364 * 86_400_000_000_000),
    ("w", 7 * 86_400_000_000_000),
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Why a text is no duration; `Display` is the text on the wire.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not of the grammar, or out of range.
    #[error("time: invalid duration {0:?}")]
    Invalid(String),
    /// A number without unit.
    #[error("time: missing unit in duration {0:?}")]
    MissingUnit(String),
    /// A unit that does not exist.
    #[error("time: unknown unit {unit:?} in duration {text:?}")]
    UnknownUnit {
        /// The unit as written.
        unit: String,
        /// The whole text.
        text: String,
    },
}

impl WireDuration {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// From nanoseconds.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// From whole seconds, saturating.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }

    /// In nanoseconds.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Whether it is exactly zero, which the wire often takes for "absent".
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// [`is_zero`](Self::is_zero) by reference, as serde's `skip_serializing_if` wants it.
    pub const fn is_zero_ref(&self) -> bool {
        self.is_zero()
    }

    /// Whether it is below zero.
    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }
}

impl From<WireDuration> for time::Duration {
    fn from(duration: WireDuration) -> Self {
        Self::nanoseconds(duration.0)
    }
}

impl fmt::Display for WireDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let mut rest = self.0.unsigned_abs();
        for (unit, length) in UNITS {
            let count = rest / length;
            rest %= length;
            if count > 0 {
                write!(f, "{count}{unit}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for WireDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let invalid = || DurationError::Invalid(text.to_owned());
        let (negative, mut rest) = match text.as_bytes().first() {
            Some(b'-') => (true, text.get(1..).unwrap_or("")),
            Some(b'+') => (false, text.get(1..).unwrap_or("")),
            _ => (false, text),
        };
        if rest == "0" {
            return Ok(Self::ZERO);
        }
        if rest.is_empty() {
            return Err(invalid());
        }
        let mut total: u128 = 0;
        while !rest.is_empty() {
            let (nanos, left) = component(text, rest)?;
            total = total.saturating_add(nanos);
            rest = left;
        }
        let signed = i128::try_from(total).map_err(|_| invalid())?;
        let signed = if negative { -signed } else { signed };
        i64::try_from(signed).map(Self).map_err(|_| invalid())
    }
}

/// One `number unit` at the front of `rest`, in nanoseconds, and what follows it.
fn component<'a>(text: &str, rest: &'a str) -> Result<(u128, &'a str), DurationError> {
    let invalid = || DurationError::Invalid(text.to_owned());
    let (whole, after_whole) = digits(rest);
    let (fraction, after_number) = match after_whole.strip_prefix('.') {
        Some(after_point) => digits(after_point),
        None => ("", after_whole),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err(invalid());
    }
    let end = after_number
        .find(|c: char| c == '.' || c.is_ascii_digit())
        .unwrap_or(after_number.len());
    let (unit, left) = after_number.split_at_checked(end).ok_or_else(invalid)?;
    if unit.is_empty() {
        return Err(DurationError::MissingUnit(text.to_owned()));
    }
    let canonical = if unit == "µs" || unit == "μs" {
        "us"
    } else {
        unit
    };
    let length = UNITS
        .iter()
        .find(|(name, _)| *name == canonical)
        .map(|(_, length)| u128::from(*length));
    let length = length.ok_or_else(|| DurationError::UnknownUnit {
        unit: unit.to_owned(),
        text: text.to_owned(),
    })?;
    let whole: u128 = if whole.is_empty() {
        0
    } else {
        whole.parse().map_err(|_| invalid())?
    };
    let nanos = whole.checked_mul(length).ok_or_else(invalid)?;
    Ok((nanos.saturating_add(fraction_nanos(fraction, length)), left))
}

/// `0.fraction` of `length`, cut to whole nanoseconds. Digits beyond the 18th cannot matter.
fn fraction_nanos(fraction: &str, length: u128) -> u128 {
    let digits = fraction.get(..fraction.len().min(18)).unwrap_or(fraction);
    let value: u128 = digits.parse().unwrap_or(0);
    let scale = digits
        .chars()
        .fold(1u128, |scale, _| scale.saturating_mul(10));
    value.saturating_mul(length) / scale
}

fn digits(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

impl Serialize for WireDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for WireDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DurationVisitor;
        impl Visitor<'_> for DurationVisitor {
            type Value = WireDuration;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration text")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<WireDuration, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(DurationVisitor)
    }
}

schemas!(WireDuration: {
    "type": "string",
    "description": "A span of time: numbers with units from `ns` to `y` (364 days), largest first.",
    "examples": ["12w6d"],
});

#[cfg(test)]
mod tests {
    use super::WireDuration;

    #[test]
    fn prints_largest_unit_first_without_zero_parts() {
        let day = 86_400_000_000_000;
        let cases = [
            (day, "1d"),
            (90 * day, "12w6d"),
            (364 * day, "1y"),
            (365 * day, "1y1d"),
            (3650 * day, "10y1w3d"),
            (0, "0s"),
            (-90_000_000_000, "-1m30s"),
            (i64::MAX, "293y11w5d47m16s854ms775us807ns"),
        ];
        for (nanos, text) in cases {
            let printed = WireDuration::from_nanos(nanos).to_string();
            assert_eq!(printed.parse(), Ok(WireDuration::from_nanos(nanos)));
            if nanos != i64::MAX {
                assert_eq!(printed, text);
            }
        }
    }

    #[test]
    fn reads_any_order_fractions_and_signs() {
        let hour = 3_600_000_000_000;
        let cases = [
            ("0", 0),
            ("1.5h", hour + hour / 2),
            ("-1h", -hour),
            ("+30m1h", hour + hour / 2),
            ("1h1h", 2 * hour),
            (".5h", hour / 2),
            ("8760h", 8760 * hour),
            ("1µs", 1000),
            ("1μs", 1000),
        ];
        for (text, nanos) in cases {
            assert_eq!(text.parse(), Ok(WireDuration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn refuses_with_the_texts_of_the_wire() {
        let cases = [
            ("", "time: invalid duration \"\""),
            ("-", "time: invalid duration \"-\""),
            ("x", "time: invalid duration \"x\""),
            ("1", "time: missing unit in duration \"1\""),
            ("1 h", "time: unknown unit \" h\" in duration \"1 h\""),
            ("5y 8w", "time: unknown unit \"y \" in duration \"5y 8w\""),
            ("400y", "time: invalid duration \"400y\""),
        ];
        for (text, expected) in cases {
            let refused = text.parse::<WireDuration>().unwrap_err();
            assert_eq!(refused.to_string(), expected);
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_printed_reads_back(nanos: i64) {
            let duration = WireDuration::from_nanos(nanos);
            proptest::prop_assert_eq!(duration.to_string().parse(), Ok(duration));
        }

        #[test]
        fn any_text_is_read_or_refused(text: String) {
            drop(text.parse::<WireDuration>());
        }
    }
}
