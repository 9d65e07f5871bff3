//! Every variant, rendered by the HTTP layer, is read back as the same one.
//!
//! The lists are made by exhaustive matches: a new variant must be entered before this compiles.

use std::time::Duration;

use axum::response::IntoResponse as _;
use http_body_util::BodyExt as _;
use lamassu_core::ca::{CaError, EnrollmentMode};
use lamassu_core::dead_letter::DeadLetterError;
use lamassu_core::device::{DeviceError, RegistryError};
use lamassu_core::device_group::DeviceGroupError;
use lamassu_core::dms::{
    ApprovalRefusal, CertificateRefusal, ChannelBindingRefusal, CredentialRefusal, DeviceRefusal,
    DmsError, KeygenRefusal, RenewalRefusal, WebhookRefusal,
};
use lamassu_core::error::{ErrorDetail, ServiceError, StorageFailure};
use lamassu_core::kms::KmsError;
use lamassu_core::patch::PatchError;
use lamassu_core::query::{QueryError, QueryLimit};
use lamassu_core::va::{CrlFault, OptionsFault, VaError};
use lamassu_http::Failure;

use crate::refusal::{Reported, WireError, refused};
use crate::retry::Repeat;
use crate::transport::Answer;

/// What the HTTP layer makes of an error, as a client receives it.
async fn rendered<E: ServiceError>(error: E) -> Answer {
    let (parts, body) = Failure::from(error).into_response().into_parts();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: body.collect().await.unwrap().to_bytes(),
        exporter: None,
    }
}

/// The variant's name and payload. Causes stay behind, so what stands in their place is left out.
fn identity(error: &impl std::fmt::Debug) -> String {
    let text = format!("{error:?}");
    text.replace("\"cause\"", "_")
        .replace("ToldOnce(Reported)", "_")
        .replace("Reported", "_")
}

async fn reads_back<E: WireError>(error: E) {
    let (sent, text, kind) = (identity(&error), error.to_string(), error.kind());
    let read: E = refused(&rendered(error).await, Repeat::Once);
    assert_eq!(identity(&read), sent);
    assert_eq!((read.to_string(), read.kind()), (text, kind));
}

fn cause() -> Box<dyn std::error::Error + Send + Sync> {
    Box::new(Reported)
}

fn storage<E: From<StorageFailure>>() -> [E; 4] {
    [
        StorageFailure::Unavailable(cause()),
        StorageFailure::PeerAway(cause()),
        StorageFailure::OutcomeUnknown(cause()),
        StorageFailure::Internal(cause()),
    ]
    .map(E::from)
}

fn queries() -> Vec<QueryError> {
    let text = || "it's ' of type 3".to_owned();
    let all = vec![
        QueryError::InvalidOperand {
            operand: "x' for field 'y".to_owned(),
            field: "name".to_owned(),
            type_code: 4,
        },
        QueryError::InvalidValue {
            field: "valid_to".to_owned(),
            reason: text(),
        },
        QueryError::InvalidJsonPath(text()),
        QueryError::InvalidBookmark,
        QueryError::UnknownField(text()),
        QueryError::MalformedFilter(text()),
        QueryError::InvalidSort(text()),
        QueryError::UnknownParameter(text()),
        QueryError::InvalidParameter {
            name: "sort_mode".to_owned(),
            reason: text(),
        },
        QueryError::LimitExceeded(QueryLimit::Filters),
        QueryError::LimitExceeded(QueryLimit::FilterBytes),
        QueryError::LimitExceeded(QueryLimit::ListElements),
    ];
    for error in &all {
        match error {
            QueryError::InvalidOperand { .. }
            | QueryError::InvalidValue { .. }
            | QueryError::InvalidJsonPath(_)
            | QueryError::InvalidBookmark
            | QueryError::UnknownField(_)
            | QueryError::MalformedFilter(_)
            | QueryError::InvalidSort(_)
            | QueryError::UnknownParameter(_)
            | QueryError::InvalidParameter { .. }
            | QueryError::LimitExceeded(_) => {}
        }
    }
    all
}

#[tokio::test]
async fn refusals_of_the_kms_read_back() {
    let mut all = vec![
        KmsError::Validation,
        KmsError::KeyNotFound,
        KmsError::InvalidUri,
        KmsError::EngineNotFound,
        KmsError::KeyEngineMissing,
        KmsError::KeyTypeUnsupported {
            key_type: "a is not supported in engine b".to_owned(),
            provider: "Software".to_owned(),
        },
        KmsError::KeySizeUnsupported {
            size: 1024,
            key_type: "RSA".to_owned(),
            provider: "Golang FS".to_owned(),
        },
        KmsError::UnsupportedAlgorithm,
        KmsError::NotRsaKey,
        KmsError::NotEcdsaKey,
        KmsError::MessageType("x: y".to_owned()),
        KmsError::DigestSize,
        KmsError::NameTooLong,
        KmsError::Patch(PatchError {
            reason: "patches[0]: a: b".to_owned(),
        }),
        KmsError::AliasPatch("patches[0]: a: b".to_owned()),
        KmsError::AliasType,
        KmsError::AliasExists,
        KmsError::PrivateKeyRequired,
        KmsError::PrivateKeyType,
        KmsError::PrivateKeyUnreadable,
        KmsError::ImportFailed(cause()),
        KmsError::KeyExists,
        KmsError::KeyUnsettled,
        KmsError::KeyDisabled,
        KmsError::KeyInUse,
        KmsError::Busy,
        KmsError::EngineUnsupported("hsm-1".to_owned()),
        KmsError::SigningKey(cause()),
        KmsError::EngineNotOpened("hsm 1 did not open".to_owned()),
        KmsError::EngineUnavailable(cause()),
        KmsError::Engine(cause()),
    ];
    all.extend(queries().into_iter().map(KmsError::Query));
    all.extend(storage());
    for error in all {
        // A new variant must be entered above.
        match error {
            KmsError::Validation
            | KmsError::KeyNotFound
            | KmsError::InvalidUri
            | KmsError::EngineNotFound
            | KmsError::KeyEngineMissing
            | KmsError::KeyTypeUnsupported { .. }
            | KmsError::KeySizeUnsupported { .. }
            | KmsError::UnsupportedAlgorithm
            | KmsError::NotRsaKey
            | KmsError::NotEcdsaKey
            | KmsError::MessageType(_)
            | KmsError::DigestSize
            | KmsError::NameTooLong
            | KmsError::Patch(_)
            | KmsError::AliasPatch(_)
            | KmsError::AliasType
            | KmsError::AliasExists
            | KmsError::PrivateKeyRequired
            | KmsError::PrivateKeyType
            | KmsError::PrivateKeyUnreadable
            | KmsError::ImportFailed(_)
            | KmsError::KeyExists
            | KmsError::KeyUnsettled
            | KmsError::KeyDisabled
            | KmsError::KeyInUse
            | KmsError::Query(_)
            | KmsError::Busy
            | KmsError::EngineUnsupported(_)
            | KmsError::SigningKey(_)
            | KmsError::EngineNotOpened(_)
            | KmsError::EngineUnavailable(_)
            | KmsError::Engine(_)
            | KmsError::Storage(_) => reads_back(error).await,
        }
    }
}

#[tokio::test]
async fn refusals_of_the_ca_read_back() {
    let mut all = vec![
        CaError::Validation,
        CaError::CaNotFound,
        CaError::CaExists,
        CaError::CaStatus,
        CaError::CaRevoked,
        CaError::CaExpired,
        CaError::CascadeForbidden,
        CaError::IssuerExists,
        CaError::CertificateInUse,
        CaError::CertificateExists,
        CaError::KeyMismatch,
        CaError::KeySpec,
        CaError::NotImportable("x: y".to_owned()),
        CaError::KeyNotImported(KmsError::Busy),
        CaError::KeyNotImported(KmsError::Engine(cause())),
        CaError::Patch(PatchError {
            reason: "x: y".to_owned(),
        }),
        CaError::StatusTransition,
        CaError::ProfileNotFound,
        CaError::CertificateNotFound,
        CaError::RequestNotFound,
        CaError::RequestExists,
        CaError::JobNotFound,
        CaError::AmbiguousSerial("CN=a, CN=b".to_owned()),
        CaError::MalformedCsr("x: y".to_owned()),
        CaError::CsrSignature,
        CaError::Policy("the key is too small".to_owned()),
        CaError::KeyNotFound,
        CaError::KmsRefused(KmsError::Busy),
        CaError::KmsRefused(KmsError::EngineUnavailable(cause())),
        CaError::KmsRefused(KmsError::EngineNotOpened("hsm-1".to_owned())),
        CaError::KmsRefused(KmsError::EngineNotFound),
        CaError::SignFailed("the key did not sign".into(), Some(cause())),
    ];
    all.extend(queries().into_iter().map(CaError::Query));
    all.extend(storage());
    for error in all {
        match error {
            CaError::Validation
            | CaError::CaNotFound
            | CaError::CaExists
            | CaError::CaStatus
            | CaError::CaRevoked
            | CaError::CaExpired
            | CaError::CascadeForbidden
            | CaError::IssuerExists
            | CaError::CertificateInUse
            | CaError::CertificateExists
            | CaError::KeyMismatch
            | CaError::KeySpec
            | CaError::NotImportable(_)
            | CaError::KeyNotImported(_)
            | CaError::Patch(_)
            | CaError::StatusTransition
            | CaError::ProfileNotFound
            | CaError::CertificateNotFound
            | CaError::RequestNotFound
            | CaError::RequestExists
            | CaError::JobNotFound
            | CaError::AmbiguousSerial(_)
            | CaError::MalformedCsr(_)
            | CaError::CsrSignature
            | CaError::Policy(_)
            | CaError::KeyNotFound
            | CaError::Query(_)
            | CaError::KmsRefused(_)
            | CaError::SignFailed(..)
            | CaError::Storage(_) => reads_back(error).await,
        }
    }
}

#[tokio::test]
async fn refusals_of_the_device_manager_read_back() {
    let mut all = vec![
        DeviceError::Validation,
        DeviceError::NotFound,
        DeviceError::Exists,
        DeviceError::Decommissioned,
        DeviceError::SlotChanged,
        DeviceError::Unknown,
        DeviceError::NotDecommissioned,
        DeviceError::Patch(PatchError {
            reason: "patches[0]: x".to_owned(),
        }),
    ];
    all.extend(queries().into_iter().map(DeviceError::Query));
    all.extend(storage());
    for error in all {
        match error {
            DeviceError::Validation
            | DeviceError::NotFound
            | DeviceError::Exists
            | DeviceError::Decommissioned
            | DeviceError::SlotChanged
            | DeviceError::Unknown
            | DeviceError::NotDecommissioned
            | DeviceError::Patch(_)
            | DeviceError::Query(_)
            | DeviceError::Storage(_) => reads_back(error).await,
        }
    }
}

#[tokio::test]
async fn refusals_of_the_second_version_read_back() {
    let details = || vec![ErrorDetail::new("tags[3]", "not 1 to 256 characters long")];
    let mut all = vec![
        RegistryError::Validation(details()),
        RegistryError::UnknownField(details()),
        RegistryError::ImmutableField(details()),
        RegistryError::PatchFailed("patches[0]: x".to_owned()),
        RegistryError::PrivateKey,
        RegistryError::Forbidden,
        RegistryError::DeviceNotFound,
        RegistryError::SlotNotFound,
        RegistryError::GroupNotFound,
        RegistryError::PolicyBroken("g-1".into(), details()),
        RegistryError::VersionNotFound,
        RegistryError::CertificateNotFound,
        RegistryError::DeviceExists,
        RegistryError::Decommissioned,
        RegistryError::SecretTypeImmutable,
        RegistryError::IdentityRequired,
        RegistryError::VersionInUse,
        RegistryError::NotActivatable,
        RegistryError::CertificateAttached,
        RegistryError::DuplicateSecret,
        RegistryError::RevisionConflict,
        RegistryError::NotDecommissioned,
        RegistryError::CertificateNotActive,
        RegistryError::CommonNameMismatch,
        RegistryError::DmsNotFound,
        RegistryError::CaUnavailable(cause()),
    ];
    all.extend(queries().into_iter().map(RegistryError::Query));
    all.extend(storage());
    for error in all {
        match error {
            RegistryError::Validation(_)
            | RegistryError::UnknownField(_)
            | RegistryError::ImmutableField(_)
            | RegistryError::PatchFailed(_)
            | RegistryError::PrivateKey
            | RegistryError::Forbidden
            | RegistryError::Query(_)
            | RegistryError::DeviceNotFound
            | RegistryError::SlotNotFound
            | RegistryError::GroupNotFound
            | RegistryError::PolicyBroken(..)
            | RegistryError::VersionNotFound
            | RegistryError::CertificateNotFound
            | RegistryError::DeviceExists
            | RegistryError::Decommissioned
            | RegistryError::SecretTypeImmutable
            | RegistryError::IdentityRequired
            | RegistryError::VersionInUse
            | RegistryError::NotActivatable
            | RegistryError::CertificateAttached
            | RegistryError::DuplicateSecret
            | RegistryError::RevisionConflict
            | RegistryError::NotDecommissioned
            | RegistryError::CertificateNotActive
            | RegistryError::CommonNameMismatch
            | RegistryError::DmsNotFound
            | RegistryError::CaUnavailable(_)
            | RegistryError::Storage(_) => reads_back(error).await,
        }
    }
}

#[tokio::test]
async fn refusals_of_dead_letters_read_back() {
    let mut all = vec![DeadLetterError::NotFound];
    all.extend(storage());
    for error in all {
        match error {
            DeadLetterError::NotFound | DeadLetterError::Storage(_) => reads_back(error).await,
        }
    }
}

#[tokio::test]
async fn refusals_of_the_va_read_back() {
    let mut all = vec![
        VaError::RoleNotFound,
        VaError::CaNotFound,
        VaError::CrlNotFound(None),
        VaError::CrlsMadeHere,
        VaError::CrlOutdated,
        VaError::CrlFailed(cause()),
        VaError::Unavailable(cause()),
    ];
    all.extend(queries().into_iter().map(VaError::Query));
    all.extend(OptionsFault::ALL.map(VaError::Options));
    all.extend(CrlFault::ALL.map(VaError::CrlRefused));
    all.extend(storage());
    for error in all {
        match error {
            VaError::RoleNotFound
            | VaError::CaNotFound
            | VaError::CrlNotFound(_)
            | VaError::Options(_)
            | VaError::CrlRefused(_)
            | VaError::CrlsMadeHere
            | VaError::CrlOutdated
            | VaError::Query(_)
            | VaError::CrlFailed(_)
            | VaError::Unavailable(_)
            | VaError::Storage(_) => reads_back(error).await,
        }
    }
}

/// Of key generation, approvals and channel binding.
fn of_issuing() -> Vec<DmsError> {
    vec![
        DmsError::Keygen(KeygenRefusal::Disabled),
        DmsError::Keygen(KeygenRefusal::KeyType("DSA".to_owned())),
        DmsError::Keygen(KeygenRefusal::Busy),
        DmsError::Keygen(KeygenRefusal::SymmetricKey),
        DmsError::Keygen(KeygenRefusal::UnknownKey),
        DmsError::Keygen(KeygenRefusal::UnfitKey),
        DmsError::Keygen(KeygenRefusal::NoCapabilities),
        DmsError::Keygen(KeygenRefusal::NoCipher),
        DmsError::Approval(ApprovalRefusal::NotFound),
        DmsError::Approval(ApprovalRefusal::NotPending),
        DmsError::Approval(ApprovalRefusal::Denied),
        DmsError::Approval(ApprovalRefusal::QueueFull),
        DmsError::ChannelBinding(ChannelBindingRefusal::Missing),
        DmsError::ChannelBinding(ChannelBindingRefusal::Unavailable),
        DmsError::ChannelBinding(ChannelBindingRefusal::Mismatch),
    ]
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn refusals_of_the_dms_manager_read_back() {
    let mut all = vec![
        DmsError::Validation,
        DmsError::IdMismatch,
        DmsError::DmsNotFound,
        DmsError::DmsExists,
        DmsError::LabelMissing,
        DmsError::Protocol,
        DmsError::ClientCertificateMissing,
        DmsError::AuthModeUnsupported,
        DmsError::NoAuthForbidden,
        DmsError::InvalidCertificate(CertificateRefusal::Untrusted),
        DmsError::InvalidCertificate(CertificateRefusal::NotYetValid),
        DmsError::InvalidCertificate(CertificateRefusal::Expired),
        DmsError::InvalidCertificate(CertificateRefusal::NameMismatch),
        DmsError::InvalidCertificate(CertificateRefusal::Usage),
        DmsError::InvalidCertificate(CertificateRefusal::NotOfDevice),
        DmsError::ExpiredCertificate,
        DmsError::PresentedRevoked,
        DmsError::ActiveRevoked,
        DmsError::MediaType,
        DmsError::BodyEncoding,
        DmsError::MalformedCsr("x: y".to_owned()),
        DmsError::CsrSignature,
        DmsError::NoCommonName,
        DmsError::OtherDms,
        DmsError::ForbiddenNewEnrollment,
        DmsError::NotPreregistered,
        DmsError::DeviceNotFound,
        DmsError::Decommissioned,
        DmsError::NoDeviceCertificate,
        DmsError::SubjectChanged,
        DmsError::WindowClosed(Duration::from_secs(86_400)),
        DmsError::CommonNameMismatch,
        DmsError::ProfileSignsCa,
        DmsError::CaProfile,
        DmsError::SlotChanged,
        DmsError::Misconfigured(CaError::CaNotFound),
        DmsError::Misconfigured(CaError::ProfileNotFound),
        DmsError::Misconfigured(CaError::CaStatus),
        DmsError::Misconfigured(CaError::KmsRefused(KmsError::KeyDisabled)),
        DmsError::Ca(CaError::CertificateNotFound),
        DmsError::Ca(CaError::Policy("the key is too small".to_owned())),
        DmsError::Device(DeviceError::Exists),
        DmsError::PasswordNotFound,
        DmsError::Settings("max_devices must be above zero".to_owned()),
        DmsError::Patch(PatchError {
            reason: "patches[0]: a: b".to_owned(),
        }),
        DmsError::Webhook(WebhookRefusal::TimedOut),
        DmsError::Webhook(WebhookRefusal::Status(401)),
        DmsError::Webhook(WebhookRefusal::Status(500)),
        DmsError::Webhook(WebhookRefusal::Failed("invalid method: GET".to_owned())),
        DmsError::Webhook(WebhookRefusal::Denied(EnrollmentMode::Enroll)),
        DmsError::Webhook(WebhookRefusal::Denied(EnrollmentMode::Reenroll)),
    ];
    all.extend(CredentialRefusal::ALL.map(DmsError::Credential));
    all.extend(DeviceRefusal::ALL.map(DmsError::DeviceRefused));
    all.extend(RenewalRefusal::ALL.map(DmsError::Renewal));
    all.extend(of_issuing());
    all.extend(queries().into_iter().map(DmsError::Query));
    all.extend(storage());
    for error in all {
        match error {
            DmsError::Validation
            | DmsError::IdMismatch
            | DmsError::DmsNotFound
            | DmsError::DmsExists
            | DmsError::LabelMissing
            | DmsError::Protocol
            | DmsError::ClientCertificateMissing
            | DmsError::AuthModeUnsupported
            | DmsError::NoAuthForbidden
            | DmsError::InvalidCertificate(_)
            | DmsError::ExpiredCertificate
            | DmsError::PresentedRevoked
            | DmsError::ActiveRevoked
            | DmsError::MediaType
            | DmsError::BodyEncoding
            | DmsError::MalformedCsr(_)
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
            | DmsError::PasswordNotFound
            | DmsError::Settings(_)
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
            | DmsError::Storage(_) => reads_back(error).await,
        }
    }
}

#[tokio::test]
async fn what_no_service_says_is_a_failure_of_its_kind() {
    let answer = |status: u16| Answer {
        status: http::StatusCode::from_u16(status).unwrap(),
        headers: http::HeaderMap::new(),
        body: "<html>".into(),
        exporter: None,
    };
    let cases = [
        (503, Repeat::Once, "storage unavailable"),
        (502, Repeat::Safe, "storage unavailable"),
        (
            504,
            Repeat::Once,
            "storage did not confirm the change; look before repeating it",
        ),
        (403, Repeat::Safe, "storage failure"),
        (307, Repeat::Safe, "storage failure"),
    ];
    for (status, repeat, text) in cases {
        let read: KmsError = refused(&answer(status), repeat);
        assert_eq!(read.to_string(), text, "{status}");
    }
}

#[tokio::test]
async fn refusals_of_device_groups_read_back() {
    let mut all = vec![
        DeviceGroupError::Validation,
        DeviceGroupError::NotFound,
        DeviceGroupError::Exists,
        DeviceGroupError::Circular,
        DeviceGroupError::TooDeep(10),
        DeviceGroupError::HasChildren,
        DeviceGroupError::CriterionField {
            field: "a' at criteria index 7".to_owned(),
            index: 3,
        },
        DeviceGroupError::CriterionOperand {
            operand: "x' for field 'y".to_owned(),
            field: "tags".to_owned(),
            index: 0,
        },
        DeviceGroupError::Policy {
            name: "renewal".to_owned(),
            reason: "it's ': none".to_owned(),
        },
        DeviceGroupError::TooMany(1_000),
        DeviceGroupError::RevisionConflict,
        DeviceGroupError::ActionNotFound,
        DeviceGroupError::Forbidden,
        DeviceGroupError::Parameters("x: y".to_owned()),
        DeviceGroupError::PatchFailed("a: b".to_owned()),
        DeviceGroupError::Member("unknown member 'x'".to_owned()),
        DeviceGroupError::DeviceNotFound,
    ];
    let of_values = queries().into_iter().filter(|error| {
        matches!(
            error,
            QueryError::InvalidValue { .. }
                | QueryError::InvalidJsonPath(_)
                | QueryError::LimitExceeded(_)
        )
    });
    all.extend(of_values.map(|cause| DeviceGroupError::CriterionValue { index: 2, cause }));
    all.extend(queries().into_iter().map(DeviceGroupError::Query));
    all.extend(storage());
    for error in all {
        // A new variant must be entered above.
        match error {
            DeviceGroupError::Validation
            | DeviceGroupError::NotFound
            | DeviceGroupError::Exists
            | DeviceGroupError::Circular
            | DeviceGroupError::TooDeep(_)
            | DeviceGroupError::HasChildren
            | DeviceGroupError::CriterionField { .. }
            | DeviceGroupError::CriterionOperand { .. }
            | DeviceGroupError::CriterionValue { .. }
            | DeviceGroupError::Policy { .. }
            | DeviceGroupError::TooMany(_)
            | DeviceGroupError::RevisionConflict
            | DeviceGroupError::ActionNotFound
            | DeviceGroupError::Forbidden
            | DeviceGroupError::Parameters(_)
            | DeviceGroupError::PatchFailed(_)
            | DeviceGroupError::Member(_)
            | DeviceGroupError::Query(_)
            | DeviceGroupError::DeviceNotFound
            | DeviceGroupError::Storage(_) => {}
        }
        reads_back(error).await;
    }
}
