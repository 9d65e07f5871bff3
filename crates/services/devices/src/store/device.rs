//! Table `device`.

use std::collections::BTreeMap;
use std::str::FromStr;

use lamassu_core::device::{Device, DeviceStatus, IdentitySlot};
use lamassu_core::ids::{DeviceId, DmsId};
use lamassu_core::query::fold;
use lamassu_core::timestamp::Timestamp;
use lamassu_db::{DbError, Json, Row, Statement, Value, params, sql};
use serde_json::{Map, Value as JsonValue};
use time::OffsetDateTime;

use super::StoredDevice;
use crate::lifecycle::Windows;

/// Inserts a device without identity, at revision 1; no row when the id is taken.
pub(crate) fn device_insert(device: &Device, alias: &str) -> Statement {
    sql(
        "INSERT INTO device (id, id_folded, alias, tags, status, icon, icon_color, created_at, \
         metadata, dms_owner, owner_folded, revision) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 1) ON CONFLICT DO NOTHING",
        params![
            device.id.as_str(),
            fold(device.id.as_str()),
            alias,
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

/// Writes status and identity slot of a device that is at the revision before `changed`'s.
pub(crate) fn device_update_identity(
    changed: &StoredDevice,
    next_due: Option<Timestamp>,
) -> Statement {
    let slot = changed.device.identity.as_ref();
    let windows = changed.windows.as_ref();
    sql(
        "UPDATE device SET status = $1, slot_status = $2, slot_type = $3, active_version = $4, \
         not_after = $5, preventive_at = $6, critical_at = $7, next_due = $8, revision = $9 \
         WHERE id = $10 AND revision = $11",
        params![
            changed.device.status.name(),
            slot.map(|slot| slot.status.name()),
            slot.map(|slot| slot.slot_type.as_str()),
            slot.map(|slot| slot.active_version),
            windows.map(|windows| windows.not_after.0),
            windows.map(|windows| windows.preventive_at.0),
            windows.map(|windows| windows.critical_at.0),
            next_due.map(|due| due.0),
            changed.revision,
            changed.device.id.as_str(),
            changed.revision.saturating_sub(1),
        ],
    )
}

impl TryFrom<&Row> for StoredDevice {
    type Error = DbError;

    /// The device without versions and history, which are rows of their own.
    fn try_from(row: &Row) -> Result<Self, DbError> {
        let identity = slot(row)?;
        let windows = match &identity {
            Some(_) => Some(Windows {
                not_after: instant(row, "not_after")?,
                preventive_at: instant(row, "preventive_at")?,
                critical_at: instant(row, "critical_at")?,
            }),
            None => None,
        };
        let device = Device {
            id: DeviceId::new(row.get::<String>("id")?),
            tags: row.get::<Json<Vec<String>>>("tags")?.0,
            status: status(&row.get::<String>("status")?, "device.status")?,
            icon: row.get("icon")?,
            icon_color: row.get("icon_color")?,
            creation_timestamp: instant(row, "created_at")?,
            metadata: row.get::<Json<Map<String, JsonValue>>>("metadata")?.0,
            dms_owner: DmsId::new(row.get::<String>("dms_owner")?),
            identity,
            slots: Map::new(),
            events: BTreeMap::new(),
        };
        Ok(Self {
            device,
            revision: row.get("revision")?,
            windows,
        })
    }
}

/// The identity slot, which is there when it has a status.
fn slot(row: &Row) -> Result<Option<IdentitySlot>, DbError> {
    let Some(name) = row.get::<Option<String>>("slot_status")? else {
        return Ok(None);
    };
    Ok(Some(IdentitySlot {
        status: status(&name, "device.slot_status")?,
        active_version: row.get("active_version")?,
        slot_type: row.get("slot_type")?,
        versions: BTreeMap::new(),
        expiration_date: Some(instant(row, "not_after")?),
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
