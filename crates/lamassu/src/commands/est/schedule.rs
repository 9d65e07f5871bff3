//! When to renew, and when to try again.

use std::str::FromStr;
use std::time::Duration;

use lamassu_crypto::HashAlgorithm;
use lamassu_x509::Certificate;
use time::OffsetDateTime;

/// First pause after a failure; doubled from one to the next.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
/// The longest pause after a failure, unless the server asks for more.
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);
/// The longest pause that a server can ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(86_400);
/// The shortest pause.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// A share of a lifetime, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share(u8);

impl FromStr for Share {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let percent = text.trim_end_matches('%').parse().ok();
        percent
            .filter(|percent| *percent < 100)
            .map(Self)
            .ok_or("it is a number from 0 to 99")
    }
}

/// A number from 0 to 1, drawn anew each time.
pub(super) fn draw() -> f64 {
    let mut octets = [0; 2];
    // Without randomness pauses are not spread, which is no reason to fail.
    if aws_lc_rs::rand::fill(&mut octets).is_err() {
        return 0.0;
    }
    part_of_one(octets)
}

/// A number from 0 to 1, always the same one of a certificate: who looks once a day would otherwise draw
/// until an early one comes.
fn drawn_for(certificate: &Certificate) -> f64 {
    let digest = HashAlgorithm::Sha256.digest(certificate.as_der());
    let octets = digest.first_chunk().copied();
    octets.map_or(0.0, part_of_one)
}

fn part_of_one(octets: [u8; 2]) -> f64 {
    f64::from(u16::from_be_bytes(octets)) / f64::from(u16::MAX)
}

/// When a certificate is to be renewed: after a share of its lifetime, and a drawn part of another one
/// later.
pub(super) fn due(certificate: &Certificate, at: Share, jitter: Share) -> OffsetDateTime {
    let life = certificate.not_after() - certificate.not_before();
    let percent = f64::from(at.0) + f64::from(jitter.0) * drawn_for(certificate);
    let wait = life * (percent / 100.0);
    let due = certificate.not_before().checked_add(wait);
    due.unwrap_or_else(|| certificate.not_after())
}

/// The pause after so many failures, from 1: doubled each time, half of it drawn; shorter where little
/// lifetime is left, longer where the server asks for it.
pub(super) fn pause(
    failures: u32,
    left: Duration,
    asked: Option<Duration>,
    drawn: f64,
) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
    // While the certificate is valid there are some tries more.
    let most = match left {
        Duration::ZERO => LONGEST_PAUSE,
        left => LONGEST_PAUSE.min(left / 8),
    };
    let half = doubled.min(most) / 2;
    let own = half + half.mul_f64(drawn.clamp(0.0, 1.0));
    own.max(asked.unwrap_or_default().min(LONGEST_ASKED))
        .max(SHORTEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lamassu_crypto::{Curve, KeySpec, PrivateKey};

    use super::super::certificate;
    use super::{Share, draw, due, pause};

    #[test]
    fn certificates_are_renewed_at_different_times_which_stay() {
        let directory = tempfile::tempdir().unwrap();
        let key = PrivateKey::generate(KeySpec::Ec(Curve::P256)).unwrap();
        let mut shares = Vec::new();
        for _ in 0..8 {
            let one = certificate(directory.path(), &key);
            let (at, jitter) = (Share(50), Share(20));
            assert_eq!(due(&one, at, jitter), due(&one, at, jitter));
            let life = one.not_after() - one.not_before();
            let share = (due(&one, at, jitter) - one.not_before()) / life;
            assert!((0.5..=0.7).contains(&share), "{share}");
            shares.push(share);
        }
        shares.sort_by(f64::total_cmp);
        shares.dedup();
        assert!(shares.len() > 1, "{shares:?}");
    }

    #[test]
    fn pauses_grow_up_to_an_hour_and_leave_time_for_more_tries() {
        let year = Duration::from_secs(31_536_000);
        let after = |failures, left| pause(failures, left, None, 1.0).as_secs();
        assert_eq!([1, 2, 3].map(|n| after(n, year)), [30, 60, 120]);
        assert_eq!(after(30, year), 3_600);
        assert_eq!(after(30, Duration::ZERO), 3_600);
        assert_eq!(after(30, Duration::from_secs(800)), 100);
        assert_eq!(after(30, Duration::from_secs(2)), 1);
        assert_eq!(pause(1, year, None, 0.0).as_secs(), 15);
        let asked = Some(Duration::from_secs(7_200));
        assert_eq!(pause(1, year, asked, 0.5).as_secs(), 7_200);
        let forever = Some(Duration::MAX);
        assert_eq!(pause(1, year, forever, 0.5).as_secs(), 86_400);
    }

    #[test]
    fn shares_are_percent() {
        assert_eq!("67".parse(), Ok(Share(67)));
        assert_eq!("5%".parse(), Ok(Share(5)));
        for wrong in ["100", "-1", "0.5", ""] {
            assert!(wrong.parse::<Share>().is_err(), "{wrong}");
        }
        let drawn = draw();
        assert!((0.0..=1.0).contains(&drawn));
    }
}
