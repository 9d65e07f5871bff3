//! Paths of the routes.

use lamassu_core::ca::{CaError, CertificateRef};
use lamassu_core::ids::{CaId, CaRequestId, ProfileId};
use lamassu_core::percent::encode;
use lamassu_core::timestamp::Timestamp;

/// `/v1/cas/{id}` and what is below it. No route can name the empty id.
pub(super) fn ca_path(version: &str, id: &CaId, below: &str) -> Result<String, CaError> {
    if id.is_empty() {
        return Err(CaError::CaNotFound);
    }
    Ok(format!("{version}/cas/{}{below}", encode(id.as_str())))
}

/// `/certificates/{sn}` and what is below it, with the CA and the fingerprint if they are named.
pub(super) fn certificate_path(version: &str, named: &CertificateRef, below: &str) -> String {
    let mut path = format!("{version}/certificates/{}{below}", named.serial_number);
    let ca = named.ca.as_ref().map(CaId::as_str);
    for (name, value) in [("ca_id", ca), ("fingerprint", named.fingerprint.as_deref())] {
        if let Some(value) = value {
            path.push(if path.contains('?') { '&' } else { '?' });
            path.push_str(&format!("{name}={}", encode(value)));
        }
    }
    path
}

pub(super) fn request_path(id: &CaRequestId) -> Result<String, CaError> {
    if id.is_empty() {
        return Err(CaError::RequestNotFound);
    }
    Ok(format!("/v1/cas/requests/{}", encode(id.as_str())))
}

pub(super) fn profile_path(id: &ProfileId) -> Result<String, CaError> {
    if id.is_empty() {
        return Err(CaError::ProfileNotFound);
    }
    Ok(format!("/v1/profiles/{}", encode(id.as_str())))
}

/// The query of what is paged by its last item.
pub(super) fn after(after: Option<&str>, limit: u32) -> String {
    match after {
        Some(after) => format!("limit={limit}&after={}", encode(after)),
        None => format!("limit={limit}"),
    }
}

pub(super) fn time(time: impl Into<Timestamp>) -> String {
    encode(&time.into().to_string())
}
