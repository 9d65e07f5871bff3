//! Default windows: how long before its end a certificate is said to be expiring. Pure.
//!
//! They are for certificates that have no windows of their own in their metadata. A window that
//! would have begun before the certificate did is none: short-lived certificates never expire
//! "soon".

use lamassu_core::ca::certificate::EXPIRATION_DELTAS;
use lamassu_core::ca::{Certificate, CertificateStatus};
use lamassu_core::duration::WireDuration;
use time::{Duration, OffsetDateTime};

/// A window that a certificate has entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entered {
    /// How long before the end it begins.
    pub(crate) window: WireDuration,
    /// When it began.
    pub(crate) at: OffsetDateTime,
}

/// When the next window of a certificate begins, after `now`; never while it is not active.
pub(crate) fn next_window(
    windows: &[WireDuration],
    certificate: &Certificate,
    now: OffsetDateTime,
) -> Option<OffsetDateTime> {
    if certificate.status != CertificateStatus::Active || has_own_windows(certificate) {
        return None;
    }
    let begins = beginnings(windows, certificate);
    begins.iter().map(|entered| entered.at).find(|at| *at > now)
}

/// Whether the certificate's metadata say when it must be renewed.
pub(crate) fn has_own_windows(certificate: &Certificate) -> bool {
    let metadata = certificate.metadata.as_ref();
    metadata.is_some_and(|metadata| metadata.contains_key(EXPIRATION_DELTAS))
}

/// The windows that began from `since` up to `now`, and when the next one begins.
pub(crate) fn entered(
    windows: &[WireDuration],
    certificate: &Certificate,
    since: OffsetDateTime,
    now: OffsetDateTime,
) -> (Vec<Entered>, Option<OffsetDateTime>) {
    let left: Vec<Entered> = beginnings(windows, certificate)
        .into_iter()
        .filter(|entered| entered.at >= since)
        .collect();
    let next = left.iter().map(|entered| entered.at).find(|at| *at > now);
    (
        left.into_iter()
            .filter(|entered| entered.at <= now)
            .collect(),
        next,
    )
}

/// All windows of a certificate in the order in which they begin.
fn beginnings(windows: &[WireDuration], certificate: &Certificate) -> Vec<Entered> {
    let mut all: Vec<Entered> = windows
        .iter()
        .filter_map(|window| {
            let at = certificate
                .valid_to
                .0
                .checked_sub(Duration::from(*window))?;
            (at > certificate.valid_from.0).then_some(Entered {
                window: *window,
                at,
            })
        })
        .collect();
    all.sort_by_key(|entered| entered.at);
    all
}
