//! Which status an identity slot has, and when time alone changes it. Pure.
//!
//! Statuses order by severity (`ACTIVE` < `RENEWAL_PENDING` < `EXPIRING_SOON` < `EXPIRED` <
//! `REVOKED`), which is the order of [`DeviceStatus`]; of several that apply, the worst counts.

use lamassu_core::ca::{CertificateStatus, RenewalWindows};
use lamassu_core::device::DeviceStatus;
use lamassu_core::timestamp::Timestamp;
use time::OffsetDateTime;

/// When the active certificate enters which part of its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Windows {
    /// `notAfter`.
    pub(crate) not_after: Timestamp,
    /// From here on: renew soon.
    pub(crate) preventive_at: Timestamp,
    /// From here on: renew now.
    pub(crate) critical_at: Timestamp,
}

impl Windows {
    /// The instants of a certificate that ends at `not_after`, in whole microseconds as stored.
    pub(crate) fn of(not_after: Timestamp, windows: RenewalWindows) -> Self {
        // Certificates may end in year 1, before which there is no time that is stored.
        let before = |delta: time::Duration| {
            Timestamp(not_after.0.saturating_sub(delta))
                .max(Timestamp::ZERO)
                .truncated_to_micros()
        };
        Self {
            not_after: not_after.truncated_to_micros(),
            preventive_at: before(windows.preventive.into()),
            critical_at: before(windows.critical.into()),
        }
    }

    /// Of what has no windows before its end.
    pub(crate) const fn at_the_end(end: Timestamp) -> Self {
        Self {
            not_after: end,
            preventive_at: end,
            critical_at: end,
        }
    }

    /// What each part of the certificate's life is called, and when it begins.
    fn stages(&self) -> [(Timestamp, DeviceStatus); 3] {
        [
            (self.preventive_at, DeviceStatus::RenewalPending),
            (self.critical_at, DeviceStatus::ExpiringSoon),
            (self.not_after, DeviceStatus::Expired),
        ]
    }

    /// The status of a slot whose certificate is not revoked.
    pub(crate) fn status_at(&self, now: OffsetDateTime) -> DeviceStatus {
        let entered = self.stages().into_iter().filter(|(at, _)| at.0 <= now);
        entered
            .map(|(_, status)| status)
            .max()
            .unwrap_or(DeviceStatus::Active)
    }

    /// When time alone makes a slot of this status worse; it may lie in the past.
    pub(crate) fn next_due(&self, status: DeviceStatus) -> Option<Timestamp> {
        let ahead = self
            .stages()
            .into_iter()
            .filter(|(_, stage)| *stage > status);
        ahead.map(|(at, _)| at).min()
    }
}

/// The status that a slot takes from its certificate's; `None` where that says nothing.
pub(crate) fn status_of_certificate(status: CertificateStatus) -> Option<DeviceStatus> {
    match status {
        CertificateStatus::Active => Some(DeviceStatus::Active),
        CertificateStatus::Expired => Some(DeviceStatus::Expired),
        CertificateStatus::Revoked => Some(DeviceStatus::Revoked),
        CertificateStatus::Inactive => None,
    }
}

#[cfg(test)]
mod tests {
    use lamassu_core::ca::RenewalWindows;
    use lamassu_core::device::DeviceStatus;
    use lamassu_core::duration::WireDuration;
    use lamassu_core::timestamp::Timestamp;
    use time::macros::datetime;

    use super::Windows;

    fn windows(preventive_days: i64, critical_days: i64) -> Windows {
        let days = |days: i64| WireDuration::from_secs(days * 86_400);
        Windows::of(
            Timestamp(datetime!(2026-06-30 00:00 UTC)),
            RenewalWindows {
                preventive: days(preventive_days),
                critical: days(critical_days),
            },
        )
    }

    #[test]
    fn a_slot_gets_worse_at_each_instant() {
        let windows = windows(20, 5);
        let cases = [
            (datetime!(2026-06-09 23:59:59 UTC), DeviceStatus::Active),
            (
                datetime!(2026-06-10 00:00 UTC),
                DeviceStatus::RenewalPending,
            ),
            (datetime!(2026-06-25 00:00 UTC), DeviceStatus::ExpiringSoon),
            (datetime!(2026-06-30 00:00 UTC), DeviceStatus::Expired),
        ];
        for (now, status) in cases {
            assert_eq!(windows.status_at(now), status, "{now}");
        }
    }

    #[test]
    fn the_next_due_time_is_that_of_the_next_worse_status() {
        let windows = windows(20, 5);
        let cases = [
            (DeviceStatus::Active, Some(windows.preventive_at)),
            (DeviceStatus::RenewalPending, Some(windows.critical_at)),
            (DeviceStatus::ExpiringSoon, Some(windows.not_after)),
            (DeviceStatus::Expired, None),
            (DeviceStatus::Revoked, None),
        ];
        for (status, due) in cases {
            assert_eq!(windows.next_due(status), due, "{status}");
        }
    }

    #[test]
    fn a_critical_window_longer_than_the_preventive_one_wins() {
        let windows = windows(5, 20);
        assert_eq!(
            windows.status_at(datetime!(2026-06-11 00:00 UTC)),
            DeviceStatus::ExpiringSoon
        );
        assert_eq!(
            windows.next_due(DeviceStatus::Active),
            Some(windows.critical_at)
        );
        assert_eq!(
            windows.next_due(DeviceStatus::ExpiringSoon),
            Some(windows.not_after)
        );
    }

    #[test]
    fn windows_never_begin_before_the_first_year() {
        let ends_in_year_1 = Timestamp(datetime!(0001-01-02 00:00 UTC));
        let month = WireDuration::from_secs(30 * 86_400);
        let windows = Windows::of(
            ends_in_year_1,
            RenewalWindows {
                preventive: month,
                critical: month,
            },
        );
        assert_eq!(windows.preventive_at, Timestamp::ZERO);
    }
}
