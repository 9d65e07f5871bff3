use http::StatusCode;
use lamassu_core::device::RegistryError;

use super::query;
use crate::refusal::{Refusal, Reported, WireError};

impl WireError for RegistryError {
    fn read(refusal: &Refusal) -> Option<Self> {
        let details = || refusal.details.clone();
        refusal
            .one_of([
                Self::Validation(details()),
                Self::UnknownField(details()),
                Self::ImmutableField(details()),
                Self::PrivateKey,
                Self::Forbidden,
                Self::DeviceNotFound,
                Self::SlotNotFound,
                Self::GroupNotFound,
                Self::VersionNotFound,
                Self::CertificateNotFound,
                Self::DeviceExists,
                Self::Decommissioned,
                Self::SecretTypeImmutable,
                Self::IdentityRequired,
                Self::VersionInUse,
                Self::NotActivatable,
                Self::CertificateAttached,
                Self::DuplicateSecret,
                Self::RevisionConflict,
                Self::NotDecommissioned,
                Self::CertificateNotActive,
                Self::CommonNameMismatch,
                Self::DmsNotFound,
                Self::CaUnavailable(Box::new(Reported)),
            ])
            .or_else(|| {
                let rest = refusal.after(StatusCode::BAD_REQUEST, "failed to apply the patch: ")?;
                Some(Self::PatchFailed(rest.to_owned()))
            })
            .or_else(|| {
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                let rest = refusal.after(status, "a policy of device group ")?;
                let id = rest.strip_suffix(" is broken")?;
                Some(Self::PolicyBroken(id.into(), details()))
            })
            .or_else(|| query::read_in_v2(refusal).map(Self::Query))
    }
}
