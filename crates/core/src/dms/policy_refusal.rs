//! Refusals of what a DMS asks for: webhook, password, token, devices, renewals.

use crate::ca::EnrollmentMode;
use crate::error::ErrorKind;

/// Why the webhook of a DMS did not let a device through.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookRefusal {
    /// It did not answer in time.
    #[error("external webhook authorization timed out or was canceled: context deadline exceeded")]
    TimedOut,
    /// It answered with another status than success; one of 4xx is its denial.
    #[error("error while calling external webhook: unexpected status code: {0}")]
    Status(u16),
    /// It could not be asked; safe to show.
    #[error("error while calling external webhook: {0}")]
    Failed(String),
    /// It said no.
    #[error("external webhook denied {}", operation(*.0))]
    Denied(EnrollmentMode),
}

/// What texts of refusals call an operation.
const fn operation(mode: EnrollmentMode) -> &'static str {
    match mode {
        EnrollmentMode::Enroll => "enrollment",
        EnrollmentMode::Reenroll => "reenrollment",
    }
}

impl WebhookRefusal {
    pub(super) const fn kind(&self) -> ErrorKind {
        match self {
            Self::TimedOut => ErrorKind::GatewayTimeout,
            Self::Status(400..=499) | Self::Denied(_) => ErrorKind::Forbidden,
            Self::Status(_) | Self::Failed(_) => ErrorKind::BadGateway,
        }
    }

    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::TimedOut => "webhook_timeout",
            Self::Status(400..=499) | Self::Denied(_) => "webhook_denied",
            Self::Status(_) | Self::Failed(_) => "webhook_failed",
        }
    }
}

/// Why a password or a token did not let a device through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialRefusal {
    /// A password is needed and none was presented.
    #[error("user name and password required")]
    PasswordMissing,
    /// No password of this DMS and device is that one, or it is used up, expired or revoked.
    #[error("user name or password not accepted")]
    PasswordRefused,
    /// A token is needed and none was presented.
    #[error("bearer token required")]
    TokenMissing,
    /// The token is not valid.
    #[error("bearer token not accepted")]
    TokenInvalid,
    /// The token does not allow it.
    #[error("bearer token does not allow enrollment")]
    TokenPermission,
    /// The DMS wants to know whether the certificate is revoked, and nobody says.
    #[error("revocation status of the certificate could not be determined")]
    RevocationUnknown,
}

impl CredentialRefusal {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::PasswordMissing,
        Self::PasswordRefused,
        Self::TokenMissing,
        Self::TokenInvalid,
        Self::TokenPermission,
        Self::RevocationUnknown,
    ];

    pub(super) const fn kind(self) -> ErrorKind {
        match self {
            Self::PasswordMissing | Self::TokenMissing | Self::TokenInvalid => {
                ErrorKind::Unauthenticated
            }
            Self::PasswordRefused | Self::TokenPermission => ErrorKind::Forbidden,
            Self::RevocationUnknown => ErrorKind::Unavailable,
        }
    }

    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::PasswordMissing => "password_missing",
            Self::PasswordRefused => "password_refused",
            Self::TokenMissing => "token_missing",
            Self::TokenInvalid => "token_invalid",
            Self::TokenPermission => "token_permission",
            Self::RevocationUnknown => "client_certificate_status_unknown",
        }
    }
}

/// Why a device is none that the DMS takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceRefusal {
    /// The DMS has as many devices as it may have.
    #[error("the DMS has as many devices as it may have: delete some, or raise max_devices")]
    TooMany,
    /// The device is not on the list of the DMS, or its id is not of the form.
    #[error(
        "device is not one that the DMS may enroll: its id must be in allowed_device_ids and match \
         device_id_pattern"
    )]
    NotAllowed,
    /// More requests than the DMS takes.
    #[error("too many requests to this DMS")]
    RateLimited,
}

impl DeviceRefusal {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::TooMany, Self::NotAllowed, Self::RateLimited];

    pub(super) const fn kind(self) -> ErrorKind {
        match self {
            Self::TooMany | Self::NotAllowed => ErrorKind::Forbidden,
            Self::RateLimited => ErrorKind::RateLimited,
        }
    }

    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::TooMany => "device_quota_reached",
            Self::NotAllowed => "device_not_allowed",
            Self::RateLimited => "dms_rate_limited",
        }
    }
}

/// Why a request does not renew the certificate that it is meant to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenewalRefusal {
    /// The key must change.
    #[error("the key must not be that of the certificate to renew")]
    SameKey,
    /// The key must stay.
    #[error("the key must be that of the certificate to renew")]
    OtherKey,
    /// The alternative names must stay.
    #[error("subject alternative names differ from those of the certificate to renew")]
    OtherNames,
}

impl RenewalRefusal {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::SameKey, Self::OtherKey, Self::OtherNames];

    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::SameKey => "renewal_same_key",
            Self::OtherKey => "renewal_other_key",
            Self::OtherNames => "renewal_other_names",
        }
    }
}
