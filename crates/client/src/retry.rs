//! Which requests are repeated, and when.

use std::time::Duration;

use http::header::{DATE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, StatusCode};
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 section 5.6.7).
const IMF_FIXDATE: &[BorrowedFormatItem<'_>] = format_description!(
    "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
);

/// First wait; doubled from one repeat to the next.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// Longest wait that is ours.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// Whether a request may be repeated after it may have been executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It may: it changes nothing, or a repeat has the same effect and the same answer.
    Safe,
    /// It may not: only a request that certainly never arrived is sent again.
    Once,
}

/// Whether this answer of a server may be another one soon.
pub(crate) fn is_passing(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    )
}

/// How long to wait before repeat number `n`, from 0: exponential, half of it random, so that
/// callers who failed together do not come back together.
pub(crate) fn wait(n: u32) -> Duration {
    let whole = FIRST_WAIT
        .saturating_mul(2_u32.saturating_pow(n))
        .min(MAX_WAIT);
    let half = whole / 2;
    let mut octet = [0];
    // Without randomness there is no jitter, which is no reason to fail.
    if getrandom::fill(&mut octet).is_err() {
        return whole;
    }
    half + half.mul_f64(f64::from(octet[0]) / 255.0)
}

/// What the server asks for: a number of seconds, or a time by its own clock, which the header `Date`
/// has.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let wait = http_date(headers, &RETRY_AFTER)? - http_date(headers, &DATE)?;
    Some(wait.try_into().unwrap_or_default())
}

/// The time in a header.
pub(crate) fn http_date(headers: &HeaderMap, name: &HeaderName) -> Option<OffsetDateTime> {
    let text = headers.get(name)?.to_str().ok()?;
    let date = PrimitiveDateTime::parse(text.trim(), IMF_FIXDATE).ok()?;
    Some(date.assume_utc())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::header::{DATE, RETRY_AFTER};
    use http::{HeaderMap, HeaderValue};

    use super::{retry_after, wait};

    #[test]
    fn pauses_are_seconds_or_times() {
        let pause = |text: &'static str| {
            let date = HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT");
            let asked = HeaderValue::from_static(text);
            retry_after(&HeaderMap::from_iter([(DATE, date), (RETRY_AFTER, asked)]))
        };
        assert_eq!(pause("120"), Some(Duration::from_secs(120)));
        let a_minute = "Sun, 06 Nov 1994 08:50:37 GMT";
        assert_eq!(pause(a_minute), Some(Duration::from_secs(60)));
        let past = "Sun, 06 Nov 1994 08:00:00 GMT";
        assert_eq!(pause(past), Some(Duration::ZERO));
        assert_eq!(pause("soon"), None);
    }

    #[test]
    fn waits_grow_and_are_bounded() {
        for n in 0..40 {
            let whole = Duration::from_millis(100 << n.min(10)).min(Duration::from_secs(2));
            let wait = wait(n);
            assert!(wait >= whole / 2 && wait <= whole, "{n}: {wait:?}");
        }
    }
}
