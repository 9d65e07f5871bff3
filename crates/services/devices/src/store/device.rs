//! Table `device`.

use std::collections::BTreeMap;
use std::str::FromStr;

use lamassu_core::device::slot::{IDENTITY, SecretType, SlotPolicy, SlotStatus};
use lamassu_core::device::{Device, DeviceStatus};
use lamassu_core::ids::{DeviceId, DmsId, SerialNumber};
use lamassu_core::query::fold;
use lamassu_core::timestamp::Timestamp;
use lamassu_db::{DbError, Json, Row, Statement, Value, WriteSet, params, sql};
use serde_json::{Map, Value as JsonValue};
use time::OffsetDateTime;

use super::slot::{policy, windows};
use super::{REVISION, Slot, StoredDevice};

/// Inserts a device without identity, at revision 1; no row when the id is taken.
pub(crate) fn device_insert(stored: &StoredDevice) -> Statement {
    let device = &stored.device;
    sql(
        "INSERT INTO device (id, id_folded, alias, alias_folded, tags, status, icon, icon_color, \
         created_at, updated_at, metadata, dms_owner, owner_folded, revision) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $10, $11, $12, 1) ON CONFLICT DO NOTHING",
        params![
            device.id.as_str(),
            fold(device.id.as_str()),
            &stored.alias,
            fold(&stored.alias),
            JsonValue::from(device.tags.clone()),
            device.status.name(),
            &device.icon,
            &device.icon_color,
            device.creation_timestamp.0,
            JsonValue::Object(device.metadata.clone()),
            device.dms_owner.as_str(),
            fold(device.dms_owner.as_str()),
        ],
    )
}

/// Writes what clients write of a device that is at the revision before `changed`'s.
pub(crate) fn device_update_members(changed: &StoredDevice) -> Statement {
    let device = &changed.device;
    sql(
        "UPDATE device SET alias = $1, alias_folded = $2, tags = $3, icon = $4, icon_color = $5, \
         metadata = $6, dms_owner = $7, owner_folded = $8, updated_at = $9, revision = $10 \
         WHERE id = $11 AND revision = $12",
        params![
            &changed.alias,
            fold(&changed.alias),
            JsonValue::from(device.tags.clone()),
            &device.icon,
            &device.icon_color,
            JsonValue::Object(device.metadata.clone()),
            device.dms_owner.as_str(),
            fold(device.dms_owner.as_str()),
            changed.updated_at.0,
            changed.revision,
            device.id.as_str(),
            changed.revision.saturating_sub(1),
        ],
    )
}

/// Writes status and identity slot of a device that is at the revision before `changed`'s.
pub(crate) fn device_update_slots(changed: &StoredDevice) -> Statement {
    let slot = changed.identity();
    let shown = slot.filter(|slot| slot.status != SlotStatus::Empty);
    let windows = shown.and_then(|slot| slot.windows.as_ref());
    let next_due = slot.and_then(Slot::next_due);
    sql(
        "UPDATE device SET status = $1, slot_status = $2, slot_type = $3, active_version = $4, \
         not_after = $5, preventive_at = $6, critical_at = $7, next_due = $8, revision = $9, \
         updated_at = $10, decommissioned_at = $11, active_serial = $12, slot_policy = $13, \
         slot_created_at = $14, slot_updated_at = $15, slot_revision = $16, \
         slot_version_floor = $17 WHERE id = $18 AND revision = $19",
        params![
            changed.device.status.name(),
            shown.map(|slot| slot.status.name()),
            shown.map(|slot| slot.type_in_v1.as_str()),
            shown.and_then(|slot| slot.active_version),
            windows.map(|windows| windows.not_after.0),
            windows.map(|windows| windows.preventive_at.0),
            windows.map(|windows| windows.critical_at.0),
            next_due.map(|due| due.0),
            changed.revision,
            changed.updated_at.0,
            changed.decommissioned_at.map(|at| at.0),
            slot.and_then(Slot::active_serial).map(SerialNumber::as_str),
            slot.map(|slot| policy(&slot.policy)),
            slot.map(|slot| slot.created_at.0),
            slot.map(|slot| slot.updated_at.0),
            slot.map(|slot| slot.revision),
            slot.map_or(0, |slot| slot.version_floor),
            changed.device.id.as_str(),
            changed.revision.saturating_sub(1),
        ],
    )
}

/// Removes a device that is at this revision, with its slots; its history stays.
pub(crate) fn device_delete(set: &mut WriteSet, stored: &StoredDevice) {
    let id = stored.device.id.as_str();
    for text in [
        "DELETE FROM slot_version WHERE device_id = $1",
        "DELETE FROM device_slot WHERE device_id = $1",
        "DELETE FROM device_value WHERE device_id = $1",
    ] {
        set.execute(sql(text, params![id]));
    }
    let delete = sql(
        "DELETE FROM device WHERE id = $1 AND revision = $2",
        params![id, stored.revision],
    );
    set.expect_one(delete, REVISION);
}

impl TryFrom<&Row> for StoredDevice {
    type Error = DbError;

    /// The device without versions, further slots and history, which are rows of their own.
    fn try_from(row: &Row) -> Result<Self, DbError> {
        let device = Device {
            id: DeviceId::new(row.get::<String>("id")?),
            tags: row.get::<Json<Vec<String>>>("tags")?.0,
            status: status(&row.get::<String>("status")?, "device.status")?,
            icon: row.get("icon")?,
            icon_color: row.get("icon_color")?,
            creation_timestamp: instant(row, "created_at")?,
            metadata: row.get::<Json<Map<String, JsonValue>>>("metadata")?.0,
            dms_owner: DmsId::new(row.get::<String>("dms_owner")?),
            identity: None,
            slots: Map::new(),
            events: BTreeMap::new(),
        };
        let identity = identity(row)?;
        Ok(Self {
            device,
            alias: row.get("alias")?,
            updated_at: instant(row, "updated_at")?,
            decommissioned_at: row
                .get::<Option<OffsetDateTime>>("decommissioned_at")?
                .map(Timestamp),
            revision: row.get("revision")?,
            slots: identity
                .map(|slot| (IDENTITY.to_owned(), slot))
                .into_iter()
                .collect(),
            last_shadow: None,
        })
    }
}

/// The identity slot, which is there when it has a revision.
fn identity(row: &Row) -> Result<Option<Slot>, DbError> {
    let Some(revision) = row.get::<Option<i64>>("slot_revision")? else {
        return Ok(None);
    };
    let status = match row.get::<Option<String>>("slot_status")? {
        Some(name) => SlotStatus::from_str(&name)
            .map_err(|_| DbError::corrupt("device.slot_status", "unknown status"))?,
        None => SlotStatus::Empty,
    };
    let policy: Option<Json<SlotPolicy>> = row.get("slot_policy")?;
    let type_in_v1: Option<String> = row.get("slot_type")?;
    Ok(Some(Slot {
        name: IDENTITY.to_owned(),
        secret_type: SecretType::X509,
        type_in_v1: type_in_v1.unwrap_or_else(|| SecretType::X509.name().to_owned()),
        status,
        active_version: row.get("active_version")?,
        windows: windows(row)?,
        policy: policy.map(|policy| policy.0).unwrap_or_default(),
        created_at: instant(row, "slot_created_at")?,
        updated_at: instant(row, "slot_updated_at")?,
        revision,
        version_floor: row.get("slot_version_floor")?,
        versions: BTreeMap::new(),
        events: BTreeMap::new(),
    }))
}

pub(super) fn status(name: &str, column: &str) -> Result<DeviceStatus, DbError> {
    DeviceStatus::from_str(name).map_err(|_| DbError::corrupt(column, "unknown status"))
}

fn instant(row: &Row, column: &str) -> Result<Timestamp, DbError> {
    row.get::<OffsetDateTime>(column).map(Timestamp)
}

/// The ids as parameters of an `IN` list.
pub(super) fn id_params(ids: &[DeviceId]) -> Vec<Value> {
    ids.iter().map(|id| Value::from(id.as_str())).collect()
}
