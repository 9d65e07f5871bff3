//! Which requests are repeated, and when.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};

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

/// What the server asks for, in whole seconds; dates are not written by our servers.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::wait;

    #[test]
    fn waits_grow_and_are_bounded() {
        for n in 0..40 {
            let whole = Duration::from_millis(100 << n.min(10)).min(Duration::from_secs(2));
            let wait = wait(n);
            assert!(wait >= whole / 2 && wait <= whole, "{n}: {wait:?}");
        }
    }
}
