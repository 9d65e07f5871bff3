//! Why a credential was refused: text, code, kind and challenge in one table.

use std::time::Duration;

use lamassu_core::error::ErrorKind;
use lamassu_core::permission::Permission;
use lamassu_http::AuthRefusal;

use crate::certificate::CertificateRefusal;

/// When to come back after [`Refusal::KeysUnavailable`].
const KEYS_RETRY: Duration = Duration::from_secs(5);

/// Why a request was not let in; `Display` is the text on the wire.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No token was presented.
    #[error("authentication required")]
    Missing,
    /// The header is not of the Bearer scheme.
    #[error("unsupported authorization scheme")]
    Scheme,
    /// More than one `Authorization` header: proxies might look at different ones.
    #[error("multiple authorization headers")]
    SeveralHeaders,
    /// Too long, or not three base64url parts with JSON objects in the first two.
    #[error("malformed token")]
    Malformed,
    /// `alg`, `typ` or `crit` of the header is not accepted.
    #[error("token algorithm not allowed")]
    Algorithm,
    /// No provider has this issuer.
    #[error("token issuer not trusted")]
    Issuer,
    /// The provider has no such key.
    #[error("token signed with unknown key")]
    Key,
    /// The signature is not that of the key, or the key is not one for the algorithm.
    #[error("invalid token signature")]
    Signature,
    /// A claim is absent or of the wrong type.
    #[error("token lacks required claim: {0}")]
    Claim(String),
    /// Too late, by more than the tolerated skew.
    #[error("token expired")]
    Expired,
    /// Too early, by more than the tolerated skew, or older than tokens may be.
    #[error("token not yet valid")]
    NotYetValid,
    /// Made for somebody else.
    #[error("token audience not allowed")]
    Audience,
    /// The provider's keys cannot be had at the moment.
    #[error("identity provider keys unavailable")]
    KeysUnavailable,
    /// The client certificate is no credential here; the reason is safe to show.
    #[error("client certificate not accepted: {0}")]
    Certificate(CertificateRefusal),
    /// Nobody's key is in the header for keys, or several are.
    #[error("API key not accepted")]
    ApiKey,
    /// The caller is known and lacks this permission.
    #[error("insufficient permissions")]
    Permission(Permission),
}

impl Refusal {
    /// The machine-readable word.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Missing => "token_missing",
            Self::Scheme => "unsupported_scheme",
            Self::SeveralHeaders => "multiple_authorization_headers",
            Self::Malformed => "token_malformed",
            Self::Algorithm => "token_algorithm",
            Self::Issuer => "token_issuer",
            Self::Key => "token_key",
            Self::Signature => "token_signature",
            Self::Claim(_) => "token_claim",
            Self::Expired => "token_expired",
            Self::NotYetValid => "token_not_yet_valid",
            Self::Audience => "token_audience",
            Self::KeysUnavailable => "idp_unavailable",
            Self::Certificate(why) => why.code(),
            Self::ApiKey => "api_key_unknown",
            Self::Permission(_) => "insufficient_permissions",
        }
    }

    /// What kind of failure it is, as the program's one table of statuses knows it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::SeveralHeaders => ErrorKind::Invalid,
            Self::KeysUnavailable => ErrorKind::Unavailable,
            Self::Permission(_) => ErrorKind::Forbidden,
            Self::Missing
            | Self::Scheme
            | Self::Malformed
            | Self::Algorithm
            | Self::Issuer
            | Self::Key
            | Self::Signature
            | Self::Claim(_)
            | Self::Expired
            | Self::NotYetValid
            | Self::Audience
            | Self::Certificate(_)
            | Self::ApiKey => ErrorKind::Unauthenticated,
        }
    }

    /// The kind of credential that was refused, as metrics name it.
    pub(crate) const fn credential(&self) -> &'static str {
        match self {
            Self::Certificate(_) => "crt",
            Self::ApiKey => "apikey",
            Self::Missing
            | Self::Scheme
            | Self::SeveralHeaders
            | Self::Malformed
            | Self::Algorithm
            | Self::Issuer
            | Self::Key
            | Self::Signature
            | Self::Claim(_)
            | Self::Expired
            | Self::NotYetValid
            | Self::Audience
            | Self::KeysUnavailable
            | Self::Permission(_) => "jwt",
        }
    }

    /// The challenge (RFC 6750 section 3); none where another credential would not help.
    fn challenge(&self, realm: &str) -> Option<String> {
        Some(match self {
            Self::KeysUnavailable => return None,
            // Not `invalid_token`: no other token is asked for because of these.
            Self::Missing | Self::Scheme | Self::Certificate(_) | Self::ApiKey => {
                format!("Bearer realm=\"{realm}\"")
            }
            Self::SeveralHeaders => format!("Bearer realm=\"{realm}\", error=\"invalid_request\""),
            Self::Permission(needed) => format!(
                "Bearer realm=\"{realm}\", error=\"insufficient_scope\", scope=\"{needed}\""
            ),
            Self::Malformed
            | Self::Algorithm
            | Self::Issuer
            | Self::Key
            | Self::Signature
            | Self::Claim(_)
            | Self::Expired
            | Self::NotYetValid
            | Self::Audience => format!(
                "Bearer realm=\"{realm}\", error=\"invalid_token\", error_description=\"{self}\""
            ),
        })
    }

    /// The reply, complete but for the request id.
    pub fn to_reply(&self, realm: &str) -> AuthRefusal {
        AuthRefusal {
            kind: self.kind(),
            code: self.code(),
            text: self.to_string(),
            challenge: self.challenge(realm),
            retry_after: (*self == Self::KeysUnavailable).then_some(KEYS_RETRY),
        }
    }
}
