//! Tables `device_dms_windows` and `device_group_renewal`.

use std::collections::HashMap;

use lamassu_core::ca::RenewalWindows;
use lamassu_core::duration::WireDuration;
use lamassu_core::ids::DeviceId;
use lamassu_db::{Db, DbError, Statement, in_list, params, sql, sql_of_few};

use super::device::id_params;

/// Keeps the windows of the DMS of a device whose groups say otherwise.
pub(crate) fn dms_windows_put(device: &DeviceId, windows: RenewalWindows) -> Statement {
    sql(
        "INSERT INTO device_dms_windows (device_id, preventive, critical) VALUES ($1, $2, $3) \
         ON CONFLICT (device_id) DO UPDATE \
         SET preventive = excluded.preventive, critical = excluded.critical",
        params![
            device.as_str(),
            windows.preventive.as_nanos(),
            windows.critical.as_nanos(),
        ],
    )
}

/// The windows of a device are those of its DMS.
pub(crate) fn dms_windows_delete(device: &DeviceId) -> Statement {
    sql(
        "DELETE FROM device_dms_windows WHERE device_id = $1",
        params![device.as_str()],
    )
}

/// The windows of the DMSs of these devices, where they do not apply.
pub(crate) async fn dms_windows(
    db: &Db,
    devices: &[DeviceId],
) -> Result<HashMap<DeviceId, RenewalWindows>, DbError> {
    if devices.is_empty() {
        return Ok(HashMap::new());
    }
    let mut values = id_params(devices);
    let list = in_list(&mut values);
    let text = format!(
        "SELECT device_id, preventive, critical FROM device_dms_windows WHERE device_id IN ({list})"
    );
    let rows = db.rows(sql_of_few(text, values)).await?;
    rows.iter()
        .map(|row| {
            let windows = RenewalWindows {
                preventive: WireDuration::from_nanos(row.get("preventive")?),
                critical: WireDuration::from_nanos(row.get("critical")?),
            };
            Ok((DeviceId::new(row.get::<String>("device_id")?), windows))
        })
        .collect()
}

/// The next devices, behind this one, whose windows are not those of their DMS.
pub(crate) async fn ruled_devices(
    db: &Db,
    after: &str,
    limit: u32,
) -> Result<Vec<DeviceId>, DbError> {
    let query = sql(
        "SELECT device_id FROM device_dms_windows WHERE device_id > $1 ORDER BY device_id LIMIT $2",
        params![after, limit],
    );
    let rows = db.rows(query).await?;
    rows.iter()
        .map(|row| row.get::<String>("device_id").map(DeviceId::new))
        .collect()
}

/// The windows of devices should follow the groups as they are with the change that this is part of.
pub(crate) fn renewal_wanted(revision: i64) -> Statement {
    sql(
        "UPDATE device_group_renewal SET wanted = $1 WHERE id = 1",
        params![revision],
    )
}

/// They follow the groups as they were at this revision.
pub(crate) fn renewal_followed(revision: i64) -> Statement {
    sql(
        "UPDATE device_group_renewal SET followed = $1 WHERE id = 1",
        params![revision],
    )
}

/// The revision that they should follow, if they do not.
pub(crate) async fn renewal_due(db: &Db) -> Result<Option<i64>, DbError> {
    let query = sql(
        "SELECT wanted FROM device_group_renewal WHERE wanted > followed",
        Vec::new(),
    );
    let row = db.row_opt(query).await?;
    row.map(|row| row.get("wanted")).transpose()
}
