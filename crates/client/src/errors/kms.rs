use http::StatusCode;
use lamassu_core::kms::KmsError;
use lamassu_core::patch::PatchError;

use super::query;
use crate::refusal::{Refusal, Reported, WireError};

impl WireError for KmsError {
    fn read(refusal: &Refusal) -> Option<Self> {
        refusal
            .one_of([
                Self::Validation,
                Self::KeyNotFound,
                Self::InvalidUri,
                Self::EngineNotFound,
                Self::KeyEngineMissing,
                Self::UnsupportedAlgorithm,
                Self::NotRsaKey,
                Self::NotEcdsaKey,
                Self::NameTooLong,
                Self::DigestSize,
                Self::AliasType,
                Self::AliasExists,
                Self::PrivateKeyRequired,
                Self::PrivateKeyType,
                Self::PrivateKeyUnreadable,
                Self::ImportFailed(Box::new(Reported)),
                Self::KeyExists,
                Self::KeyUnsettled,
                Self::KeyDisabled,
                Self::KeyInUse,
                Self::KeyRequested,
                Self::Busy,
                Self::SigningKey(Box::new(Reported)),
                Self::EngineUnavailable(Box::new(Reported)),
                Self::Engine(Box::new(Reported)),
            ])
            .or_else(|| with_payload(refusal))
            .or_else(|| query::read(refusal).map(Self::Query))
    }
}

fn with_payload(refusal: &Refusal) -> Option<KmsError> {
    let invalid = StatusCode::BAD_REQUEST;
    if let Some(sent) = refusal.after(invalid, "unsupported message type: ") {
        return Some(KmsError::MessageType(sent.to_owned()));
    }
    if let Some(reason) = refusal.after(invalid, "failed to apply patches to metadata: ") {
        let reason = reason.to_owned();
        return Some(PatchError { reason }.into());
    }
    if let Some(reason) = refusal.after(invalid, "failed to apply patches to aliases: ") {
        return Some(KmsError::AliasPatch(reason.to_owned()));
    }
    if let Some(engine) = refusal.after(
        StatusCode::CONFLICT,
        "operation not supported by crypto engine ",
    ) {
        return Some(KmsError::EngineUnsupported(engine.to_owned()));
    }
    let away = refusal.after(StatusCode::SERVICE_UNAVAILABLE, "crypto engine ");
    if let Some(engine) = away.and_then(|rest| rest.strip_suffix(" did not open")) {
        return Some(KmsError::EngineNotOpened(engine.to_owned()));
    }
    if let Some(rest) = refusal.after(invalid, "key type ") {
        let (key_type, provider) = rest.rsplit_once(" is not supported in engine ")?;
        return Some(KmsError::KeyTypeUnsupported {
            key_type: key_type.to_owned(),
            provider: provider.to_owned(),
        });
    }
    let rest = refusal.after(invalid, "key size ")?;
    let (rest, provider) = rest.rsplit_once(" in engine ")?;
    let (size, key_type) = rest.split_once(" is not supported for key type ")?;
    Some(KmsError::KeySizeUnsupported {
        size: size.parse().ok()?,
        key_type: key_type.to_owned(),
        provider: provider.to_owned(),
    })
}
