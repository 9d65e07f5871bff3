//! Refusals of EST: JSON with text and code, and the status that this installation's clients know.
//!
//! Every status of an error comes from its kind, with the one exception that stands here by name:
//! under `est.status_codes: reference` EST answers 400 and 500 only, as older clients expect.
//! Text, code and log are the same either way.

use axum::response::{IntoResponse, Response};
use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, StatusCode};
use lamassu_core::dms::{BearerTokens, CredentialRefusal, DmsError};
use lamassu_http::Failure;

use crate::config::StatusCodes;

/// HTTP wants a challenge with 401; no client knows a scheme for what TLS does.
const CHALLENGE: HeaderValue = HeaderValue::from_static("ClientCertificate realm=\"est\"");
/// RFC 7030 3.2.3, spelled as libest reads it.
const BASIC: HeaderValue = HeaderValue::from_static("Basic realm=\"estrealm\"");
/// RFC 6750 3.
const BEARER: HeaderValue = HeaderValue::from_static("Bearer realm=\"estrealm\"");
/// Both of them. libest goes by the first scheme, and sends a token only where that is `Bearer`.
const BEARER_OR_CERTIFICATE: HeaderValue =
    HeaderValue::from_static("Bearer realm=\"estrealm\", ClientCertificate realm=\"est\"");

/// An error on its way to an EST client.
#[derive(Debug)]
pub(super) struct EstFailure {
    error: DmsError,
    status_codes: StatusCodes,
}

impl EstFailure {
    pub(super) const fn new(error: DmsError, status_codes: StatusCodes) -> Self {
        Self {
            error,
            status_codes,
        }
    }
}

impl IntoResponse for EstFailure {
    fn into_response(self) -> Response {
        let reference = match self.status_codes {
            StatusCodes::Standard => None,
            StatusCodes::Reference => Some(reference_status(&self.error)),
        };
        let challenge = challenge(&self.error);
        let mut response = Failure::from(self.error).into_response();
        if response.status() == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        if let Some(status) = reference {
            *response.status_mut() = status;
        }
        response
    }
}

/// What a client is asked for.
const fn challenge(error: &DmsError) -> HeaderValue {
    match error {
        DmsError::ClientCertificateMissing(BearerTokens::Taken) => BEARER_OR_CERTIFICATE,
        DmsError::Credential(CredentialRefusal::PasswordMissing) => BASIC,
        DmsError::Credential(CredentialRefusal::TokenMissing | CredentialRefusal::TokenInvalid) => {
            BEARER
        }
        _ => CHALLENGE,
    }
}

/// The status under `est.status_codes: reference`: 400 for what cannot be read, 500 for everything
/// else.
const fn reference_status(error: &DmsError) -> StatusCode {
    match error {
        DmsError::LabelMissing
        | DmsError::MediaType
        | DmsError::BodyEncoding
        | DmsError::MalformedCsr(_) => StatusCode::BAD_REQUEST,
        DmsError::Validation
        | DmsError::IdMismatch
        | DmsError::DmsNotFound
        | DmsError::DmsExists
        | DmsError::Protocol
        | DmsError::ClientCertificateMissing(_)
        | DmsError::AuthModeUnsupported
        | DmsError::NoAuthForbidden
        | DmsError::InvalidCertificate(_)
        | DmsError::ExpiredCertificate
        | DmsError::PresentedRevoked
        | DmsError::ActiveRevoked
        | DmsError::CsrSignature
        | DmsError::NoCommonName
        | DmsError::OtherDms
        | DmsError::ForbiddenNewEnrollment
        | DmsError::NotPreregistered
        | DmsError::DeviceNotFound
        | DmsError::Decommissioned
        | DmsError::NoDeviceCertificate
        | DmsError::SubjectChanged
        | DmsError::WindowClosed(_)
        | DmsError::CommonNameMismatch
        | DmsError::ProfileSignsCa
        | DmsError::CaProfile
        | DmsError::SlotChanged
        | DmsError::Settings(_)
        | DmsError::PasswordNotFound
        | DmsError::Patch(_)
        | DmsError::Webhook(_)
        | DmsError::Credential(_)
        | DmsError::DeviceRefused(_)
        | DmsError::Renewal(_)
        | DmsError::Keygen(_)
        | DmsError::Approval(_)
        | DmsError::ChannelBinding(_)
        | DmsError::Query(_)
        | DmsError::Misconfigured(_)
        | DmsError::Ca(_)
        | DmsError::Device(_)
        | DmsError::Storage(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
