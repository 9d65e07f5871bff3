//! What v2 of the device manager promises, and why it refuses.

use std::fmt;

use async_trait::async_trait;

use super::slot::{
    ActivateVersion, AddVersion, PutOutcome, PutSlot, RevokeSecrets, RevokeVersion, SlotId,
    SlotList, SlotV2, SlotVersion, VerifiedToken, VerifyToken, VersionId,
};
use super::statistics::{CountDevices, DeviceStatistics};
use super::v2::{
    CountedPage, Decommission, DeviceV2, HistoryItem, Include, ListDevices, ListHistory,
    RegisterDevice,
};
use crate::caller::Caller;
use crate::error::{ErrorDetail, ErrorKind, ServiceError, StorageFailure};
use crate::ids::{DeviceGroupId, DeviceId};
use crate::patch::DocumentPatch;
use crate::query::QueryError;
use crate::revision::Precondition;

/// Devices and their history, as v2 offers them.
#[async_trait]
pub trait DeviceRegistry: Send + Sync + fmt::Debug {
    /// Lists devices.
    async fn list_devices(
        &self,
        caller: &Caller,
        request: &ListDevices,
    ) -> Result<CountedPage<DeviceV2>, RegistryError>;

    /// Registers a device.
    async fn register_device(
        &self,
        caller: &Caller,
        request: RegisterDevice,
    ) -> Result<DeviceV2, RegistryError>;

    /// The device of this id.
    async fn read_device(
        &self,
        caller: &Caller,
        id: &DeviceId,
        include: Include,
    ) -> Result<DeviceV2, RegistryError>;

    /// Changes the members of a device that clients write.
    async fn patch_device(
        &self,
        caller: &Caller,
        id: &DeviceId,
        patch: DocumentPatch,
        expected: Precondition,
    ) -> Result<DeviceV2, RegistryError>;

    /// Retires a device and revokes what its slots hold; once retired, it changes nothing.
    async fn retire_device(
        &self,
        caller: &Caller,
        id: &DeviceId,
        how: Decommission,
        expected: Precondition,
    ) -> Result<DeviceV2, RegistryError>;

    /// Removes the record of a retired device.
    async fn purge_device(
        &self,
        caller: &Caller,
        id: &DeviceId,
        expected: Precondition,
    ) -> Result<(), RegistryError>;

    /// Counts devices.
    async fn statistics(
        &self,
        caller: &Caller,
        request: &CountDevices,
    ) -> Result<DeviceStatistics, RegistryError>;

    /// The history of a device and its slots.
    async fn device_history(
        &self,
        caller: &Caller,
        id: &DeviceId,
        request: &ListHistory,
    ) -> Result<CountedPage<HistoryItem>, RegistryError>;
}

/// The slots of devices, as v2 offers them.
#[async_trait]
pub trait SlotService: Send + Sync + fmt::Debug {
    /// All slots of a device.
    async fn slots(
        &self,
        caller: &Caller,
        device: &DeviceId,
        with_versions: bool,
    ) -> Result<SlotList, RegistryError>;

    /// One slot with its versions.
    async fn slot(&self, caller: &Caller, slot: &SlotId) -> Result<SlotV2, RegistryError>;

    /// The versions of a slot, newest first unless sorted otherwise.
    async fn slot_versions(
        &self,
        caller: &Caller,
        slot: &SlotId,
        request: &ListHistory,
    ) -> Result<CountedPage<SlotVersion>, RegistryError>;

    /// Makes a slot, or sets its policy.
    async fn put_slot(
        &self,
        caller: &Caller,
        slot: &SlotId,
        request: PutSlot,
        expected: Precondition,
    ) -> Result<PutOutcome, RegistryError>;

    /// Deletes a slot.
    async fn delete_slot(
        &self,
        caller: &Caller,
        slot: &SlotId,
        secrets: RevokeSecrets,
        expected: Precondition,
    ) -> Result<(), RegistryError>;

    /// Adds a version, and makes it the active one unless told otherwise.
    async fn add_version(
        &self,
        caller: &Caller,
        slot: &SlotId,
        request: AddVersion,
        expected: Precondition,
    ) -> Result<SlotVersion, RegistryError>;

    /// Makes a version the active one: a pending one, or a former one again.
    async fn activate_version(
        &self,
        caller: &Caller,
        version: &VersionId,
        request: ActivateVersion,
        expected: Precondition,
    ) -> Result<SlotV2, RegistryError>;

    /// Revokes a version.
    async fn revoke_version(
        &self,
        caller: &Caller,
        version: &VersionId,
        request: RevokeVersion,
        expected: Precondition,
    ) -> Result<SlotV2, RegistryError>;

    /// Deletes a version that is not in use.
    async fn delete_version(
        &self,
        caller: &Caller,
        version: &VersionId,
        expected: Precondition,
    ) -> Result<(), RegistryError>;

    /// Whether a token is one of a slot's.
    async fn verify_token(
        &self,
        caller: &Caller,
        slot: &SlotId,
        token: VerifyToken,
    ) -> Result<VerifiedToken, RegistryError>;
}

/// Why v2 of the device manager refused. Texts are v1's where it has one.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// A member is missing or breaks a rule.
    #[error("struct validation error")]
    Validation(Vec<ErrorDetail>),
    /// There is no such member.
    #[error("unknown field")]
    UnknownField(Vec<ErrorDetail>),
    /// The member is not for clients to write.
    #[error("immutable field")]
    ImmutableField(Vec<ErrorDetail>),
    /// The patch cannot be applied; the text says why.
    #[error("failed to apply the patch: {0}")]
    PatchFailed(String),
    /// What was sent as a public key is a private one.
    #[error("private keys are not taken here")]
    PrivateKey,
    /// A parameter of a list is wrong.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The caller may retire devices, and not remove their records.
    #[error("insufficient permissions")]
    Forbidden,
    /// No device has this id.
    #[error("device not found")]
    DeviceNotFound,
    /// The device has no slot of this name.
    #[error("slot not found")]
    SlotNotFound,
    /// The slot has no version of this number.
    #[error("version not found")]
    VersionNotFound,
    /// The CA service knows no such certificate.
    #[error("certificate not found")]
    CertificateNotFound,
    /// The id is taken.
    #[error("device already exists")]
    DeviceExists,
    /// No group of devices has this id.
    #[error("device group not found")]
    GroupNotFound,
    /// What is written breaks a policy of this group; where, and how.
    #[error("a policy of device group {0} is broken")]
    PolicyBroken(DeviceGroupId, Vec<ErrorDetail>),
    /// The device is retired.
    #[error("device status does not allow this operation")]
    Decommissioned,
    /// The slot holds secrets of another type.
    #[error("the type of a slot cannot be changed")]
    SecretTypeImmutable,
    /// The identity slot stays.
    #[error("the identity slot cannot be deleted")]
    IdentityRequired,
    /// The version is in use.
    #[error("the version is in use")]
    VersionInUse,
    /// The version cannot be used any more.
    #[error("the version cannot be activated")]
    NotActivatable,
    /// The certificate belongs to another device.
    #[error("the certificate is attached to another device")]
    CertificateAttached,
    /// The slot holds this secret already.
    #[error("the slot holds this secret already")]
    DuplicateSecret,
    /// It is at another revision than the request expects.
    #[error("changed meanwhile")]
    RevisionConflict,
    /// The device is not retired.
    #[error("device status does not allow this operation")]
    NotDecommissioned,
    /// The certificate is not active.
    #[error("the certificate is not active")]
    CertificateNotActive,
    /// The certificate's common name is not the device's id.
    #[error("the common name of the certificate is not the id of the device")]
    CommonNameMismatch,
    /// The DMS manager knows no DMS of this id, which is to own the device.
    #[error("DMS not found")]
    DmsNotFound,
    /// The CA service did not answer; nothing was changed.
    #[error("the CA service does not answer")]
    CaUnavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Storage.
    #[error(transparent)]
    Storage(#[from] StorageFailure),
}

impl RegistryError {
    /// One member breaks a rule.
    pub fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Validation(vec![ErrorDetail::new(field, reason)])
    }
}

impl ServiceError for RegistryError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Validation(_)
            | Self::UnknownField(_)
            | Self::ImmutableField(_)
            | Self::PatchFailed(_)
            | Self::PrivateKey
            | Self::Query(_) => ErrorKind::Invalid,
            Self::Forbidden => ErrorKind::Forbidden,
            Self::DeviceNotFound
            | Self::SlotNotFound
            | Self::GroupNotFound
            | Self::VersionNotFound
            | Self::CertificateNotFound => ErrorKind::NotFound,
            Self::DeviceExists
            | Self::Decommissioned
            | Self::SecretTypeImmutable
            | Self::IdentityRequired
            | Self::VersionInUse
            | Self::NotActivatable
            | Self::CertificateAttached
            | Self::DuplicateSecret => ErrorKind::Conflict,
            Self::RevisionConflict => ErrorKind::PreconditionFailed,
            Self::NotDecommissioned
            | Self::CertificateNotActive
            | Self::CommonNameMismatch
            | Self::DmsNotFound
            | Self::PolicyBroken(..) => ErrorKind::Unprocessable,
            Self::CaUnavailable(_) => ErrorKind::BadGateway,
            Self::Storage(failure) => failure.kind(),
        }
    }

    fn code(&self) -> Option<&'static str> {
        Some(match self {
            Self::Validation(_) => "validation_failed",
            Self::UnknownField(_) => "unknown_field",
            Self::ImmutableField(_) => "immutable_field",
            Self::PatchFailed(_) => "patch_failed",
            Self::PrivateKey => "private_key_not_allowed",
            Self::Query(error) => error.code_in_v2(),
            Self::Forbidden => "insufficient_permissions",
            Self::DeviceNotFound => "device_not_found",
            Self::SlotNotFound => "slot_not_found",
            Self::GroupNotFound => "group_not_found",
            Self::PolicyBroken(..) => "metadata_schema_violation",
            Self::VersionNotFound => "version_not_found",
            Self::CertificateNotFound => "certificate_not_found",
            Self::DeviceExists => "device_exists",
            Self::Decommissioned => "device_decommissioned",
            Self::SecretTypeImmutable => "secret_type_immutable",
            Self::IdentityRequired => "identity_slot_required",
            Self::VersionInUse => "version_in_use",
            Self::NotActivatable => "version_not_activatable",
            Self::CertificateAttached => "certificate_attached",
            Self::DuplicateSecret => "duplicate_secret",
            Self::RevisionConflict => "revision_conflict",
            Self::NotDecommissioned => "device_not_decommissioned",
            Self::CertificateNotActive => "certificate_not_active",
            Self::CommonNameMismatch => "common_name_mismatch",
            Self::DmsNotFound => "dms_not_found",
            Self::CaUnavailable(_) => "ca_unavailable",
            Self::Storage(failure) => failure.code_in_v2(),
        })
    }

    fn details(&self) -> &[ErrorDetail] {
        match self {
            Self::Validation(details)
            | Self::UnknownField(details)
            | Self::ImmutableField(details)
            | Self::PolicyBroken(_, details) => details,
            _ => &[],
        }
    }
}
