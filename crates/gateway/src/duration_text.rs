//! Time-outs in configuration files, in the platform's duration text: `10s`, `1m30s`, `500ms`.
//!
//! For `#[serde(with = "duration_text")]` on a `std::time::Duration`, which cannot be negative.

use std::time::Duration;

use lamassu_core::duration::WireDuration;
use serde::{Deserialize, Deserializer, Serializer, de};

/// Writes the text.
pub(crate) fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    let nanos = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    to.collect_str(&WireDuration::from_nanos(nanos))
}

/// Reads the text; refuses negative durations.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let duration: WireDuration = String::deserialize(from)?
        .parse()
        .map_err(de::Error::custom)?;
    let nanos = u64::try_from(duration.as_nanos())
        .map_err(|_| de::Error::custom("a time-out cannot be negative"))?;
    Ok(Duration::from_nanos(nanos))
}
