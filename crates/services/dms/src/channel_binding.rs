//! Channel binding (RFC 7030 §3.5): the challenge password of a request is the base64 of a value
//! that only the two ends of its TLS connection know. Here that is `tls-exporter` (RFC 9266);
//! `tls-unique` is not to be had from the TLS library, and not defined under TLS 1.3.
//!
//! What cannot be verified never counts as verified: where the DMS requires a binding it is refused,
//! otherwise it is an ordinary challenge password, which says nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lamassu_core::dms::settings::ChannelBindingMode;
use lamassu_core::dms::{ChannelBindingRefusal, Dms, EstRequest};

use crate::request::DeviceRequest;

/// The mode of a DMS.
pub(crate) fn mode(dms: &Dms) -> ChannelBindingMode {
    let said = dms.settings.enrollment_settings.channel_binding.value();
    said.copied().unwrap_or(ChannelBindingMode::IfPossible)
}

/// Octets of a `tls-exporter` (RFC 9266 §2).
const LEN: usize = 32;

/// What a request that is not refused says of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binding {
    /// It is of this one.
    Verified,
    /// Nothing, or nothing that can be verified.
    Unsaid,
}

/// Refuses a request that belongs to another connection, or does not say to which.
pub(crate) fn check(
    dms: &Dms,
    request: &DeviceRequest,
    est: &EstRequest,
) -> Result<Binding, ChannelBindingRefusal> {
    let password = request.csr.challenge_password();
    let password = password.filter(|password| !password.is_empty());
    let password = password.map(|password| &**password);
    judge(mode(dms), password, est.exporter.as_deref())
}

/// Whether a challenge password may be a binding: the device makes another one for each connection.
pub(crate) fn may_be_binding(password: &[u8]) -> bool {
    decoded(password).is_some_and(|value| value.len() == LEN)
}

fn judge(
    mode: ChannelBindingMode,
    password: Option<&[u8]>,
    exporter: Option<&[u8]>,
) -> Result<Binding, ChannelBindingRefusal> {
    match (mode, password, exporter) {
        (ChannelBindingMode::Off, ..)
        | (ChannelBindingMode::IfPossible, None, _)
        | (ChannelBindingMode::IfPossible, Some(_), None) => Ok(Binding::Unsaid),
        (ChannelBindingMode::Required, _, None) => Err(ChannelBindingRefusal::Unavailable),
        (ChannelBindingMode::Required, None, Some(_)) => Err(ChannelBindingRefusal::Missing),
        (ChannelBindingMode::Required, Some(password), Some(exporter)) => {
            if decoded(password).as_deref() == Some(exporter) {
                Ok(Binding::Verified)
            } else {
                Err(ChannelBindingRefusal::Mismatch)
            }
        }
        // A password of another length is no binding of this kind.
        (ChannelBindingMode::IfPossible, Some(password), Some(exporter)) => {
            match decoded(password) {
                Some(value) if value == exporter => Ok(Binding::Verified),
                Some(value) if value.len() == exporter.len() => {
                    Err(ChannelBindingRefusal::Mismatch)
                }
                Some(_) | None => Ok(Binding::Unsaid),
            }
        }
    }
}

fn decoded(password: &[u8]) -> Option<Vec<u8>> {
    STANDARD.decode(password).ok()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use lamassu_core::dms::ChannelBindingRefusal as Refusal;
    use lamassu_core::dms::settings::ChannelBindingMode as Mode;

    use super::{Binding, judge};

    #[test]
    fn only_what_was_verified_counts_as_verified() {
        let (own, other) = ([7_u8; 32], [8_u8; 32]);
        let [right, wrong] = [own, other].map(|value| STANDARD.encode(value).into_bytes());
        let secret = b"secret".to_vec();
        let (verified, unsaid) = (Ok(Binding::Verified), Ok(Binding::Unsaid));
        let cases = [
            (Mode::Off, Some(&wrong), true, unsaid),
            (Mode::IfPossible, None, true, unsaid),
            (Mode::IfPossible, Some(&right), true, verified),
            (Mode::IfPossible, Some(&wrong), true, Err(Refusal::Mismatch)),
            (Mode::IfPossible, Some(&secret), true, unsaid),
            (Mode::IfPossible, Some(&wrong), false, unsaid),
            (Mode::Required, Some(&right), true, verified),
            (Mode::Required, Some(&wrong), true, Err(Refusal::Mismatch)),
            (Mode::Required, Some(&secret), true, Err(Refusal::Mismatch)),
            (Mode::Required, None, true, Err(Refusal::Missing)),
            (
                Mode::Required,
                Some(&right),
                false,
                Err(Refusal::Unavailable),
            ),
        ];
        for (mode, password, has_exporter, expected) in cases {
            let exporter = has_exporter.then_some(&own[..]);
            let verdict = judge(mode, password.map(Vec::as_slice), exporter);
            assert_eq!(verdict, expected, "{mode} {password:?} {has_exporter}");
        }
    }
}
