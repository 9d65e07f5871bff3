//! Default windows: how long before its end a certificate is said to be expiring. Pure.
//!
//! They are for certificates that have no windows of their own in their metadata
//! (`own_windows.rs`). A window that
//! would have begun before the certificate did is none: short-lived certificates never expire
//! "soon".

use lamassu_core::ca::certificate::EXPIRATION_DELTAS;
use lamassu_core::ca::{Certificate, CertificateStatus};
use lamassu_core::duration::WireDuration;
use serde_json::{Map, Value};
use time::{Duration, OffsetDateTime};

use crate::own_windows;

/// A window that a certificate has entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entered {
    /// How long before the end it begins.
    pub(crate) window: WireDuration,
    /// When it began.
    pub(crate) at: OffsetDateTime,
}

/// When the next window of a certificate begins: of its own ones the first that is not marked, else
/// of the default ones the first after `now`. Never while it is not active.
pub(crate) fn next_window(
    windows: &[WireDuration],
    certificate: &Certificate,
    now: OffsetDateTime,
) -> Option<OffsetDateTime> {
    if certificate.status != CertificateStatus::Active {
        return None;
    }
    if let Some(metadata) = own_windows(certificate) {
        return own_windows::next(metadata, certificate.valid_to.0);
    }
    let begins = beginnings(windows, certificate);
    begins.iter().map(|entered| entered.at).find(|at| *at > now)
}

/// The certificate's metadata, if they say when it must be renewed.
pub(crate) fn own_windows(certificate: &Certificate) -> Option<&Map<String, Value>> {
    let metadata = certificate.metadata.as_ref()?;
    metadata.contains_key(EXPIRATION_DELTAS).then_some(metadata)
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
