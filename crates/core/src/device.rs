//! The device registry: what devices look like on the wire, what the service promises.
//!
//! A device has one identity slot; the slot has versions, each a certificate's serial number, of
//! which one is active. Binding a certificate is one compare-and-set on that slot
//! ([`DeviceService::bind_identity`]), the second commit of an enrollment.

mod registry;
pub mod slot;
pub mod statistics;
#[cfg(test)]
mod tests;
pub mod v2;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::ca::enrollment::Revoke;
use crate::ca::{Certificate, RenewalWindows};
use crate::caller::Caller;
use crate::device_group::{DeviceGroupService, RenewalPolicy};
use crate::dms::Dms;
use crate::error::{ErrorKind, ServiceError, StorageFailure};
use crate::ids::{DeviceId, DmsId, SerialNumber};
use crate::internal::device::WireSlotState;
use crate::page::Page;
use crate::patch::{PatchError, PatchOperation};
use crate::query::{ListRequest, QueryError};
use crate::schema::word_schemas;
use crate::timestamp::Timestamp;

use slot::SupersededPolicy;

pub use registry::{DeviceRegistry, RegistryError, SlotService};

/// Everything that the device manager offers.
pub trait DeviceManager: DeviceService + DeviceRegistry + SlotService + DeviceGroupService {}

impl<T: DeviceService + DeviceRegistry + SlotService + DeviceGroupService> DeviceManager for T {}

/// Status of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DeviceStatus {
    /// Registered, without identity.
    NoIdentity,
    /// The identity certificate is valid.
    Active,
    /// The preventive renewal window is entered.
    RenewalPending,
    /// The critical window is entered.
    ExpiringSoon,
    /// The identity certificate has expired.
    Expired,
    /// The identity certificate is revoked.
    Revoked,
    /// Retired; terminal.
    Decommissioned,
}

impl DeviceStatus {
    /// Every status, in the order of the statistics.
    pub const ALL: [Self; 7] = [
        Self::NoIdentity,
        Self::Active,
        Self::RenewalPending,
        Self::ExpiringSoon,
        Self::Expired,
        Self::Revoked,
        Self::Decommissioned,
    ];

    /// Their names on the wire.
    pub const NAMES: &'static [&'static str] = &[
        Self::NoIdentity.name(),
        Self::Active.name(),
        Self::RenewalPending.name(),
        Self::ExpiringSoon.name(),
        Self::Expired.name(),
        Self::Revoked.name(),
        Self::Decommissioned.name(),
    ];

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoIdentity => "NO_IDENTITY",
            Self::Active => "ACTIVE",
            Self::RenewalPending => "RENEWAL_PENDING",
            Self::ExpiringSoon => "EXPIRING_SOON",
            Self::Expired => "EXPIRED",
            Self::Revoked => "REVOKED",
            Self::Decommissioned => "DECOMMISSIONED",
        }
    }
}

impl FromStr for DeviceStatus {
    type Err = DeviceError;

    /// Also reads the two names that older documents use (`RENEWAL_WINDOW`, `ABOUT_TO_EXPIRE`).
    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let name = match text {
            "RENEWAL_WINDOW" => "RENEWAL_PENDING",
            "ABOUT_TO_EXPIRE" => "EXPIRING_SOON",
            name => name,
        };
        Self::ALL
            .into_iter()
            .find(|status| status.name() == name)
            .ok_or(DeviceError::Validation)
    }
}

impl fmt::Display for DeviceStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for DeviceStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for DeviceStatus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// Something that happened to a device or slot; keyed by its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceEvent {
    /// `CREATED`, `PROVISIONED`, `RE-PROVISIONED`, `RENEWED`, `STATUS-UPDATED`, …
    #[serde(rename = "type")]
    #[schemars(example = &"PROVISIONED")]
    pub event_type: String,
    /// Text that dashboards parse.
    #[schemars(example = &"Identity bound")]
    pub description: String,
}

/// The identity slot: a device's certificate and its history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IdentitySlot {
    /// `ACTIVE`, `RENEWAL_PENDING`, `EXPIRING_SOON`, `EXPIRED` or `REVOKED`.
    pub status: DeviceStatus,
    /// Key into `versions`.
    #[schemars(example = 0)]
    pub active_version: u32,
    /// `x509`.
    #[serde(rename = "type")]
    #[schemars(example = &"x509")]
    pub slot_type: String,
    /// Serial numbers by version; the first version is 0.
    #[schemars(example = json!({"0": "5b7f3c0d9a2e41c6b8d0f4e2a1c39b57"}))]
    pub versions: BTreeMap<u32, SerialNumber>,
    /// `notAfter` of the active certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration_date: Option<Timestamp>,
    /// History, keys unique.
    pub events: BTreeMap<Timestamp, DeviceEvent>,
}

impl IdentitySlot {
    /// The active certificate.
    pub fn active_serial(&self) -> Option<&SerialNumber> {
        self.versions.get(&self.active_version)
    }
}

/// A device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Device {
    /// Chosen by the caller.
    pub id: DeviceId,
    /// Free texts.
    #[schemars(example = ["sensor"])]
    pub tags: Vec<String>,
    /// Status.
    pub status: DeviceStatus,
    /// Icon name of the dashboard.
    #[schemars(example = &"Cpu")]
    pub icon: String,
    /// `<icon colour>-<background colour>`.
    #[schemars(example = &"#888888-#e0e0e0")]
    pub icon_color: String,
    /// When it was registered.
    pub creation_timestamp: Timestamp,
    /// Free object.
    pub metadata: Map<String, Value>,
    /// The DMS that it belongs to.
    pub dms_owner: DmsId,
    /// The identity, absent when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<IdentitySlot>,
    /// Further slots; empty in v1.
    pub slots: Map<String, Value>,
    /// History, keys unique.
    pub events: BTreeMap<Timestamp, DeviceEvent>,
}

/// A device to register.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CreateDevice {
    /// Required; at most 512 octets, no control characters.
    pub id: DeviceId,
    /// Kept, not shown in v1.
    #[schemars(example = &"")]
    pub alias: String,
    /// Free texts.
    #[schemars(example = ["sensor"])]
    pub tags: Vec<String>,
    /// Free object.
    pub metadata: Map<String, Value>,
    /// Required.
    pub dms_id: DmsId,
    /// `Cpu` when empty.
    #[schemars(example = &"Cpu")]
    pub icon: String,
    /// `#888888-#e0e0e0` when empty.
    #[schemars(example = &"#888888-#e0e0e0")]
    pub icon_color: String,
}

impl CreateDevice {
    /// Longest id, in octets.
    const MAX_ID_BYTES: usize = 512;

    /// Checks what can be checked without knowing other devices.
    ///
    /// # Errors
    /// [`DeviceError::Validation`] when id or DMS is missing, or the id is longer than 512 octets
    /// or has control characters.
    pub fn check(&self) -> Result<(), DeviceError> {
        let id = self.id.as_str();
        let well_formed = !id.is_empty()
            && id.len() <= Self::MAX_ID_BYTES
            && !id.chars().any(char::is_control)
            && !self.dms_id.is_empty();
        if well_formed {
            Ok(())
        } else {
            Err(DeviceError::Validation)
        }
    }
}

/// An identity slot as v1 replaces it; what is absent has the value of an empty slot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(example = json!({"status": "ACTIVE", "active_version": 0, "type": "x509",
    "versions": {"0": "5b7f3c0d9a2e41c6b8d0f4e2a1c39b57"}}))]
pub struct IdentityReplacement {
    /// `ACTIVE`, `RENEWAL_PENDING`, `EXPIRING_SOON`, `EXPIRED` or `REVOKED`.
    pub status: String,
    /// Key into `versions`.
    pub active_version: u32,
    /// `x509` where it is empty.
    #[serde(rename = "type")]
    pub slot_type: String,
    /// Serial numbers by version.
    pub versions: BTreeMap<u32, SerialNumber>,
    /// When the active certificate ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration_date: Option<Timestamp>,
    /// History to add, by time.
    pub events: BTreeMap<Timestamp, DeviceEvent>,
}

/// Numbers of devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceStats {
    /// All of them.
    #[schemars(example = 3)]
    pub total: u64,
    /// By status; every status is present.
    #[schemars(example = json!({"ACTIVE": 2, "NO_IDENTITY": 1}))]
    pub status_distribution: BTreeMap<DeviceStatus, u64>,
}

/// What an identity slot holds, as compare-and-set compares it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(into = "WireSlotState", try_from = "WireSlotState")]
#[schemars(with = "WireSlotState")]
pub enum SlotState {
    /// The device does not exist.
    NoDevice,
    /// The device exists and has no identity.
    Empty,
    /// The device has an identity.
    Holding {
        /// The active version.
        version: u32,
        /// Its certificate.
        serial_number: SerialNumber,
    },
}

impl SlotState {
    /// The state of a device's slot.
    pub fn of(device: Option<&Device>) -> Self {
        match device {
            None => Self::NoDevice,
            Some(device) => match &device.identity {
                Some(slot) => match slot.active_serial() {
                    Some(serial) => Self::Holding {
                        version: slot.active_version,
                        serial_number: serial.clone(),
                    },
                    None => Self::Empty,
                },
                None => Self::Empty,
            },
        }
    }
}

/// The EST operation that a binding completes, announced after `dms.bind-device-id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EnrollmentEvent {
    /// `dms.enroll`
    Enroll,
    /// `dms.reenroll`
    Reenroll,
}

/// A certificate to bind to a device.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BindIdentity {
    /// The device.
    pub device_id: DeviceId,
    /// The certificate; its serial number becomes the new active version.
    pub certificate: Box<Certificate>,
    /// The DMS; must own the device, and is part of the announced event.
    pub dms: Box<Dms>,
    /// `PROVISIONED`, `RE-PROVISIONED`, `RENEWED`; not checked.
    pub mode: String,
    /// What the slot must still hold; otherwise [`DeviceError::SlotChanged`].
    pub expected: SlotState,
    /// Registers the device in the same write set when it does not exist (just-in-time
    /// provisioning).
    pub create: Option<CreateDevice>,
    /// When the certificate must be renewed.
    pub windows: RenewalWindows,
    /// The EST operation that this completes, if it is one.
    pub announce: Option<EnrollmentEvent>,
    /// Whether the CA service revokes the certificate that this one takes the place of, now that it is bound.
    #[serde(default)]
    pub revoke_superseded: Revoke,
}

/// A device that is to be given a certificate, by id.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Enrolling {
    /// The device.
    pub device_id: DeviceId,
    /// What it is about to be registered as, if it is not there yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub create: Option<CreateDevice>,
}

/// What enrolling a device has to know of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EnrollingDevice {
    /// The device, if it is there.
    pub device: Option<Device>,
    /// When it must renew, where its groups say so.
    pub renewal: RenewalPolicy,
    /// What becomes of the certificate that it has, where its slot or its groups say so.
    pub superseded: SupersededPolicy,
}

/// The device registry.
#[async_trait]
pub trait DeviceService: Send + Sync + fmt::Debug {
    /// Registers a device.
    async fn create_device(
        &self,
        caller: &Caller,
        request: CreateDevice,
    ) -> Result<Device, DeviceError>;

    /// The device of this id.
    async fn device(&self, caller: &Caller, id: &DeviceId) -> Result<Device, DeviceError>;

    /// Lists devices, of one DMS if named.
    async fn devices(
        &self,
        caller: &Caller,
        owner: Option<&DmsId>,
        request: &ListRequest,
    ) -> Result<Page<Device>, DeviceError>;

    /// Counts devices, with the filters of a list.
    async fn stats(
        &self,
        caller: &Caller,
        request: &ListRequest,
    ) -> Result<DeviceStats, DeviceError>;

    /// Changes the metadata of a device by a JSON Patch.
    async fn patch_metadata(
        &self,
        caller: &Caller,
        id: &DeviceId,
        patches: Vec<PatchOperation>,
    ) -> Result<Device, DeviceError>;

    /// Replaces the identity slot; history is added to, never taken away. A status `REVOKED`
    /// revokes the certificate of the version that was active.
    async fn replace_identity(
        &self,
        caller: &Caller,
        id: &DeviceId,
        slot: IdentityReplacement,
    ) -> Result<Device, DeviceError>;

    /// Retires a device, and revokes every certificate of its slots that is still valid.
    async fn decommission(&self, caller: &Caller, id: &DeviceId) -> Result<Device, DeviceError>;

    /// Removes the record of a retired device.
    async fn delete_device(&self, caller: &Caller, id: &DeviceId) -> Result<(), DeviceError>;

    /// The device that is to be given a certificate, if it is there, and what its slot and its groups
    /// say of renewal; one that is not there yet is about to be registered as `create`.
    async fn enrolling_device(
        &self,
        caller: &Caller,
        id: &DeviceId,
        create: Option<&CreateDevice>,
    ) -> Result<EnrollingDevice, DeviceError>;

    /// Binds a certificate: new slot version, history, status and events in one write set.
    ///
    /// Gives the device as it was before, or as it was just registered; only an identity that was
    /// there before shows the new version already. `dms.bind-device-id` carries the same object.
    ///
    /// Repeating it with a certificate that is already the active version changes nothing.
    async fn bind_identity(
        &self,
        caller: &Caller,
        request: BindIdentity,
    ) -> Result<Device, DeviceError>;
}

/// Why the device manager refused.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// A required member is missing or breaks a rule.
    #[error("struct validation error")]
    Validation,
    /// No device has this id; answered with status 400, which clients rely on.
    #[error("device not found")]
    NotFound,
    /// No device has this id, which is to be changed.
    #[error("device not found")]
    Unknown,
    /// The id is taken.
    #[error("device already exists")]
    Exists,
    /// The patch cannot be applied; the text says why.
    #[error(transparent)]
    Patch(#[from] PatchError),
    /// Only retired devices are removed.
    #[error("device status does not allow this operation")]
    NotDecommissioned,
    /// The device is decommissioned.
    #[error("device status does not allow this operation")]
    Decommissioned,
    /// Another certificate was bound, or the owner changed, since the slot was read.
    #[error("device identity changed meanwhile")]
    SlotChanged,
    /// A list parameter is wrong.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// Storage.
    #[error(transparent)]
    Storage(#[from] StorageFailure),
}

impl ServiceError for DeviceError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Validation | Self::NotFound | Self::Patch(_) | Self::Query(_) => {
                ErrorKind::Invalid
            }
            Self::Unknown => ErrorKind::NotFound,
            Self::NotDecommissioned => ErrorKind::Unprocessable,
            Self::Exists | Self::Decommissioned | Self::SlotChanged => ErrorKind::Conflict,
            Self::Storage(failure) => failure.kind(),
        }
    }

    fn code(&self) -> Option<&'static str> {
        if let Self::Query(error) = self {
            return error.code();
        }
        if let Self::Patch(error) = self {
            return error.code();
        }
        None
    }
}

word_schemas!(
    DeviceStatus: "Status of a device.", DeviceStatus::ALL.iter().map(|status| status.name());
);
