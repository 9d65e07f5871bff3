//! Table `device_slot`: the slots of devices beside the identity.

use std::collections::BTreeMap;
use std::str::FromStr;

use lamassu_core::device::DeviceEvent;
use lamassu_core::device::slot::{SecretType, SlotPolicy, SlotStatus, SlotVersion};
use lamassu_core::ids::{DeviceId, SerialNumber};
use lamassu_core::timestamp::Timestamp;
use lamassu_db::{DbError, Json, Row, Statement, Value, in_list, params, sql, sql_of_few};
use serde_json::Value as JsonValue;
use time::OffsetDateTime;

use super::version::Version;
use crate::lifecycle::Windows;

/// A slot as stored: the identity, whose row is its device's, or another one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Slot {
    pub(crate) name: String,
    pub(crate) secret_type: SecretType,
    /// What v1 calls the type: it stores what it is given.
    pub(crate) type_in_v1: String,
    pub(crate) status: SlotStatus,
    pub(crate) active_version: Option<u32>,
    /// When the active version enters its windows, if it ends.
    pub(crate) windows: Option<Windows>,
    pub(crate) policy: SlotPolicy,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    pub(crate) revision: i64,
    /// Numbers below are not given again, though their versions are gone.
    pub(crate) version_floor: u32,
    pub(crate) versions: BTreeMap<u32, Version>,
    /// The newest history.
    pub(crate) events: BTreeMap<Timestamp, DeviceEvent>,
}

impl Slot {
    /// A slot without versions.
    pub(crate) fn empty(name: &str, secret_type: SecretType, now: OffsetDateTime) -> Self {
        Self {
            name: name.to_owned(),
            secret_type,
            type_in_v1: secret_type.name().to_owned(),
            status: SlotStatus::Empty,
            active_version: None,
            windows: None,
            policy: SlotPolicy::default(),
            created_at: Timestamp(now),
            updated_at: Timestamp(now),
            revision: 0,
            version_floor: 0,
            versions: BTreeMap::new(),
            events: BTreeMap::new(),
        }
    }

    /// The version in use.
    pub(crate) fn active(&self) -> Option<&Version> {
        self.versions.get(&self.active_version?)
    }

    /// The certificate in use.
    pub(crate) fn active_serial(&self) -> Option<&SerialNumber> {
        self.active()?.serial_number.as_ref()
    }

    /// The number of the next version.
    pub(crate) fn next_version(&self) -> u32 {
        let highest = self.versions.keys().next_back();
        let next = highest.map_or(0, |highest| highest.saturating_add(1));
        next.max(self.version_floor)
    }

    /// When time alone changes its status next.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        if self.status == SlotStatus::Empty {
            return None;
        }
        self.windows.as_ref()?.next_due(self.status.of_device())
    }
}

/// Writes the row of a slot that is not the identity.
pub(crate) fn slot_put(device: &DeviceId, slot: &Slot) -> Statement {
    let windows = slot.windows.as_ref();
    sql(
        "INSERT INTO device_slot (device_id, name, secret_type, status, active_version, not_after, \
         preventive_at, critical_at, policy, created_at, updated_at, revision, version_floor, \
         next_due) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) \
         ON CONFLICT (device_id, name) DO UPDATE SET status = excluded.status, \
         active_version = excluded.active_version, not_after = excluded.not_after, \
         preventive_at = excluded.preventive_at, critical_at = excluded.critical_at, \
         policy = excluded.policy, updated_at = excluded.updated_at, \
         revision = excluded.revision, version_floor = excluded.version_floor, next_due = excluded.next_due",
        params![
            device.as_str(),
            &slot.name,
            slot.secret_type.name(),
            (slot.status != SlotStatus::Empty).then(|| slot.status.name()),
            slot.active_version,
            windows.map(|windows| windows.not_after.0),
            windows.map(|windows| windows.preventive_at.0),
            windows.map(|windows| windows.critical_at.0),
            policy(&slot.policy),
            slot.created_at.0,
            slot.updated_at.0,
            slot.revision,
            slot.version_floor,
            slot.next_due().map(|due| due.0),
        ],
    )
}

/// A policy as stored.
pub(crate) fn policy(policy: &SlotPolicy) -> JsonValue {
    // It has no keys but names, and can always be written.
    serde_json::to_value(policy).unwrap_or_default()
}

/// Removes a slot with its versions.
pub(crate) fn slot_delete(device: &DeviceId, name: &str) -> [Statement; 2] {
    [
        "DELETE FROM slot_version WHERE device_id = $1 AND slot = $2",
        "DELETE FROM device_slot WHERE device_id = $1 AND name = $2",
    ]
    .map(|text| sql(text, params![device.as_str(), name]))
}

/// The slots of the devices, without versions.
pub(super) fn slots(ids: Vec<Value>) -> Statement {
    let mut values = ids;
    let list = in_list(&mut values);
    let text = format!(
        "SELECT device_id, name, secret_type, status, active_version, not_after, preventive_at, \
         critical_at, policy, created_at, updated_at, revision, version_floor FROM device_slot \
         WHERE device_id IN ({list})"
    );
    sql_of_few(text, values)
}

impl TryFrom<&Row> for Slot {
    type Error = DbError;

    /// The slot without versions and history, which are rows of their own.
    fn try_from(row: &Row) -> Result<Self, DbError> {
        let corrupt = |column: &str| DbError::corrupt(column, "unknown word");
        let secret_type = SecretType::from_str(&row.get::<String>("secret_type")?)
            .map_err(|_| corrupt("device_slot.secret_type"))?;
        let status = match row.get::<Option<String>>("status")? {
            Some(name) => SlotStatus::from_str(&name).map_err(|_| corrupt("device_slot.status"))?,
            None => SlotStatus::Empty,
        };
        Ok(Self {
            name: row.get("name")?,
            secret_type,
            type_in_v1: secret_type.name().to_owned(),
            status,
            active_version: row.get("active_version")?,
            windows: windows(row)?,
            policy: row.get::<Json<SlotPolicy>>("policy")?.0,
            created_at: Timestamp(row.get("created_at")?),
            updated_at: Timestamp(row.get("updated_at")?),
            revision: row.get("revision")?,
            version_floor: row.get("version_floor")?,
            versions: BTreeMap::new(),
            events: BTreeMap::new(),
        })
    }
}

/// The windows of a row, if it has an end.
pub(super) fn windows(row: &Row) -> Result<Option<Windows>, DbError> {
    let at = |column: &str| row.get::<Option<OffsetDateTime>>(column);
    let (Some(not_after), Some(preventive_at), Some(critical_at)) =
        (at("not_after")?, at("preventive_at")?, at("critical_at")?)
    else {
        return Ok(None);
    };
    Ok(Some(Windows {
        not_after: Timestamp(not_after),
        preventive_at: Timestamp(preventive_at),
        critical_at: Timestamp(critical_at),
    }))
}

/// A version as clients see it.
pub(crate) fn shown(version: &Version) -> SlotVersion {
    SlotVersion {
        version: version.version,
        state: version.state,
        secret: version.secret.clone(),
        fingerprint: version.fingerprint.clone(),
        bind_mode: version.bind_mode.clone(),
        created_at: version.created_at,
        activated_at: version.activated_at,
        expires_at: version.expires_at,
        superseded_at: version.superseded_at,
        overlap_until: version.overlap_until,
        revoked_at: version.revoked_at,
        revocation_reason: version.revocation_reason,
    }
}
