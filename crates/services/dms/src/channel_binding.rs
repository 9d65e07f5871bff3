//! Channel binding (RFC 7030 §3.5): the challenge password of a request is the base64 of a value
//! that only the two ends of its TLS connection know. Here that is `tls-exporter` (RFC 9266);
//! `tls-unique` is not to be had from the TLS library, and not defined under TLS 1.3.
//!
//! What cannot be verified never counts as verified: where the DMS requires a binding it is refused,
//! otherwise it is an ordinary challenge password, which says nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lamassu_core::dms::settings::ChannelBindingMode;
use lamassu_core::dms::{ChannelBindingRefusal, Dms, DmsError, EstRequest};

use crate::request::DeviceRequest;

/// The mode of a DMS.
pub(crate) fn mode(dms: &Dms) -> ChannelBindingMode {
    let said = dms.settings.enrollment_settings.channel_binding.value();
    said.copied().unwrap_or(ChannelBindingMode::IfPossible)
}

/// Refuses a request that belongs to another connection, or does not say to which.
pub(crate) fn check(dms: &Dms, request: &DeviceRequest, est: &EstRequest) -> Result<(), DmsError> {
    let password = request.csr.challenge_password();
    let password = password.filter(|password| !password.is_empty());
    let password = password.map(|password| &**password);
    Ok(judge(mode(dms), password, est.exporter.as_deref())?)
}

fn judge(
    mode: ChannelBindingMode,
    password: Option<&[u8]>,
    exporter: Option<&[u8]>,
) -> Result<(), ChannelBindingRefusal> {
    match (mode, password, exporter) {
        (ChannelBindingMode::Off, ..)
        | (ChannelBindingMode::IfPossible, None, _)
        | (ChannelBindingMode::IfPossible, Some(_), None) => Ok(()),
        (ChannelBindingMode::Required, _, None) => Err(ChannelBindingRefusal::Unavailable),
        (ChannelBindingMode::Required, None, Some(_)) => Err(ChannelBindingRefusal::Missing),
        (ChannelBindingMode::Required, Some(password), Some(exporter)) => {
            if decoded(password).as_deref() == Some(exporter) {
                Ok(())
            } else {
                Err(ChannelBindingRefusal::Mismatch)
            }
        }
        // A password of another length is no binding of this kind.
        (ChannelBindingMode::IfPossible, Some(password), Some(exporter)) => {
            match decoded(password) {
                Some(value) if value.len() == exporter.len() && value != exporter => {
                    Err(ChannelBindingRefusal::Mismatch)
                }
                Some(_) | None => Ok(()),
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

    use super::judge;

    #[test]
    fn only_what_was_verified_counts_as_verified() {
        let (own, other) = ([7_u8; 32], [8_u8; 32]);
        let [right, wrong] = [own, other].map(|value| STANDARD.encode(value).into_bytes());
        let secret = b"secret".to_vec();
        let cases = [
            (Mode::Off, Some(&wrong), true, Ok(())),
            (Mode::IfPossible, None, true, Ok(())),
            (Mode::IfPossible, Some(&right), true, Ok(())),
            (Mode::IfPossible, Some(&wrong), true, Err(Refusal::Mismatch)),
            (Mode::IfPossible, Some(&secret), true, Ok(())),
            (Mode::IfPossible, Some(&wrong), false, Ok(())),
            (Mode::Required, Some(&right), true, Ok(())),
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
