//! How many requests one address may send to public routes.
//!
//! Public routes ask for no credential, so nothing else tells their clients apart. The limit is per
//! process and generous: it is there for the one client in a loop, not for fairness. Requests from this
//! machine are not counted, since they may be anybody's behind a proxy that is not configured.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

/// How many seconds' worth of requests may come at once.
const BURST_SECONDS: u32 = 5;
/// So many checks pass before addresses are forgotten that are quiet.
const CHECKS_BETWEEN_CLEANING: usize = 16_384;

/// A limit of requests per address; a /64 network is one under IPv6.
#[derive(Debug)]
pub struct AddressLimit {
    limiter: DefaultKeyedRateLimiter<IpAddr>,
    clock: DefaultClock,
    checks: AtomicUsize,
}

impl AddressLimit {
    /// So many requests per second, and five times as many at once; none for 0, which is any number.
    pub fn per_second(requests: u32) -> Option<Self> {
        let rate = NonZeroU32::new(requests)?;
        let burst = NonZeroU32::new(requests.saturating_mul(BURST_SECONDS))?;
        Some(Self {
            limiter: RateLimiter::keyed(Quota::per_second(rate).allow_burst(burst)),
            clock: DefaultClock::default(),
            checks: AtomicUsize::new(1),
        })
    }

    /// Counts a request of this address.
    ///
    /// # Errors
    /// How long to wait, when there were too many.
    pub fn admit(&self, address: IpAddr) -> Result<(), Duration> {
        let address = address.to_canonical();
        if address.is_loopback() {
            return Ok(());
        }
        let checks = self.checks.fetch_add(1, Ordering::Relaxed);
        if checks.is_multiple_of(CHECKS_BETWEEN_CLEANING) {
            self.limiter.retain_recent();
        }
        self.limiter
            .check_key(&network(address))
            .map_err(|refused| refused.wait_time_from(self.clock.now()))
    }
}

/// What counts as one client.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use super::AddressLimit;

    #[test]
    fn an_address_is_stopped_and_the_others_are_not() {
        let limit = AddressLimit::per_second(2).unwrap();
        let admitted = |address: &str, n: usize| {
            let address = address.parse().unwrap();
            (0..n).filter(|_| limit.admit(address).is_ok()).count()
        };
        assert_eq!(admitted("203.0.113.9", 10), 10);
        assert!(admitted("203.0.113.9", 10) <= 1);
        assert_eq!(admitted("203.0.113.10", 10), 10);
        // One network is one client.
        assert_eq!(admitted("2001:db8::1", 10), 10);
        assert!(admitted("2001:db8::2", 10) <= 1);
        assert_eq!(admitted("2001:db8:0:1::1", 10), 10);
        assert_eq!(admitted("127.0.0.1", 100), 100);
        assert_eq!(admitted("::ffff:127.0.0.1", 100), 100);
        assert!(AddressLimit::per_second(0).is_none());
    }
}
