use http::StatusCode;
use lamassu_core::ca::CaError;
use lamassu_core::kms::KmsError;
use lamassu_core::patch::PatchError;

use super::query;
use crate::refusal::{Refusal, Reported, WireError};

impl WireError for CaError {
    /// What has no text of its own comes last: refusals of the KMS that the CA passes on, then the
    /// rules of profiles, whose texts are free.
    fn read(refusal: &Refusal) -> Option<Self> {
        let invalid = StatusCode::BAD_REQUEST;
        refusal
            .one_of([
                Self::Validation,
                Self::CaNotFound,
                Self::CaExists,
                Self::CaStatus,
                Self::CaRevoked,
                Self::CaExpired,
                Self::CascadeForbidden,
                Self::IssuerExists,
                Self::CertificateInUse,
                Self::CertificateExists,
                Self::KeyMismatch,
                Self::KeySpec,
                Self::StatusTransition,
                Self::ProfileNotFound,
                Self::CertificateNotFound,
                Self::RequestNotFound,
                Self::RequestExists,
                Self::JobNotFound,
                Self::CsrSignature,
                Self::KeyNotFound,
            ])
            .or_else(|| with_payload(refusal))
            .or_else(|| query::read(refusal).map(Self::Query))
            .or_else(|| KmsError::read(refusal).map(Self::KmsRefused))
            .or_else(|| {
                (refusal.status == invalid && refusal.code.is_none())
                    .then(|| Self::Policy(refusal.text.clone()))
            })
    }
}

fn with_payload(refusal: &Refusal) -> Option<CaError> {
    let issuers = refusal.after(
        StatusCode::CONFLICT,
        "several certificates have this serial number, choose by ca_id: ",
    );
    if let Some(issuers) = issuers {
        return Some(CaError::AmbiguousSerial(issuers.to_owned()));
    }
    let gone = refusal.after(StatusCode::NOT_FOUND, "issuance profile not found: ");
    if let Some(profile) = gone {
        return Some(CaError::ProfileGone(profile.into()));
    }
    let users = refusal.after(StatusCode::CONFLICT, "issuance profile is in use by CAs: ");
    if let Some(users) = users {
        return Some(CaError::ProfileInUse(users.to_owned()));
    }
    let malformed = refusal.after(
        StatusCode::BAD_REQUEST,
        "could not parse the certificate request: ",
    );
    if let Some(reason) = malformed {
        return Some(CaError::MalformedCsr(reason.to_owned()));
    }
    let not_importable = refusal.after(StatusCode::BAD_REQUEST, "certificate cannot be imported: ");
    if let Some(reason) = not_importable {
        return Some(CaError::NotImportable(reason.to_owned()));
    }
    let unpatched = refusal.after(
        StatusCode::BAD_REQUEST,
        "failed to apply patches to metadata: ",
    );
    if let Some(reason) = unpatched {
        return Some(CaError::Patch(PatchError {
            reason: reason.to_owned(),
        }));
    }
    if let Some(text) = refusal.text.strip_prefix("could not import key: ") {
        let cause = Refusal {
            status: refusal.status,
            text: text.to_owned(),
            code: refusal.code.clone(),
            details: refusal.details.clone(),
            retry_after: refusal.retry_after,
        };
        return KmsError::read(&cause).map(CaError::KeyNotImported);
    }
    let refused = refusal.after(
        StatusCode::INTERNAL_SERVER_ERROR,
        "KMS sign operation failed: ",
    )?;
    Some(CaError::SignFailed(
        refused.to_owned().into(),
        Some(Box::new(Reported)),
    ))
}
