//! Whole devices: their rows joined with the rows of versions and history.

use std::collections::HashMap;

use lamassu_core::ids::DeviceId;
use lamassu_db::{Db, DbError, Row, Statement, Value, in_list, params, sql, sql_of_few};
use time::OffsetDateTime;

use super::device::id_params;
use super::history::{HistoryRow, HistoryScope, newest};
use super::identity_version::{VersionRow, versions};
use super::{DEVICES, StoredDevice};

/// How many devices one statement names; a page of a list may be longer.
const IDS_PER_STATEMENT: usize = 512;

/// Reads whole devices.
#[derive(Clone, Debug)]
pub(crate) struct DeviceStore {
    db: Db,
    history_limit: u32,
}

impl DeviceStore {
    /// A reader that gives at most `history_limit` entries of each device and of each slot.
    pub(crate) fn new(db: &Db, history_limit: u32) -> Self {
        Self {
            db: db.clone(),
            history_limit,
        }
    }

    /// The device of this id. One snapshot of three indexed reads.
    pub(crate) async fn device(&self, id: &DeviceId) -> Result<Option<StoredDevice>, DbError> {
        Ok(self.devices(std::slice::from_ref(id)).await?.pop())
    }

    /// The devices of these ids, in any order, those that do not exist left out. One snapshot; for
    /// a few hundred ids at most, since one statement names them all.
    pub(crate) async fn devices(&self, ids: &[DeviceId]) -> Result<Vec<StoredDevice>, DbError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut statements = vec![devices(id_params(ids))];
        statements.extend(self.details(ids));
        let mut results = self.db.snapshot(statements).await?.into_iter();
        let rows = results.next().unwrap_or_default();
        let mut devices = rows
            .iter()
            .map(StoredDevice::try_from)
            .collect::<Result<Vec<_>, _>>()?;
        attach(&mut devices, results)?;
        Ok(devices)
    }

    /// The devices of these rows, with versions and history; one more snapshot.
    pub(crate) async fn complete(&self, rows: &[Row]) -> Result<Vec<StoredDevice>, DbError> {
        let mut devices = rows
            .iter()
            .map(StoredDevice::try_from)
            .collect::<Result<Vec<_>, _>>()?;
        let ids: Vec<DeviceId> = devices
            .iter()
            .map(|stored| stored.device.id.clone())
            .collect();
        let chunks = ids.chunks(IDS_PER_STATEMENT);
        let statements: Vec<Statement> = chunks.flat_map(|chunk| self.details(chunk)).collect();
        if !statements.is_empty() {
            attach(&mut devices, self.db.snapshot(statements).await?)?;
        }
        Ok(devices)
    }

    /// What [`attach`] reads: versions, then history.
    fn details(&self, ids: &[DeviceId]) -> [Statement; 2] {
        [
            versions(id_params(ids)),
            newest(id_params(ids), self.history_limit),
        ]
    }
}

/// The devices that time alone should have changed by `now`, longest overdue first.
pub(crate) async fn due_devices(
    db: &Db,
    now: OffsetDateTime,
    limit: u32,
) -> Result<Vec<DeviceId>, DbError> {
    let query = sql(
        "SELECT id FROM device WHERE next_due <= $1 ORDER BY next_due LIMIT $2",
        params![now, limit],
    );
    let rows = db.rows(query).await?;
    rows.iter()
        .map(|row| row.get::<String>("id").map(DeviceId::new))
        .collect()
}

/// When time alone changes a device next.
pub(crate) async fn next_due(db: &Db) -> Result<Option<OffsetDateTime>, DbError> {
    let query = sql(
        "SELECT next_due FROM device WHERE next_due IS NOT NULL ORDER BY next_due LIMIT 1",
        Vec::new(),
    );
    db.row_opt(query)
        .await?
        .map(|row| row.get("next_due"))
        .transpose()
}

fn devices(ids: Vec<Value>) -> Statement {
    let mut values = ids;
    let list = in_list(&mut values);
    let columns = DEVICES.columns.join(", ");
    sql_of_few(
        format!("SELECT {columns} FROM device WHERE id IN ({list})"),
        values,
    )
}

/// Puts versions and history (alternating results) into the devices that they belong to.
fn attach(
    devices: &mut [StoredDevice],
    results: impl IntoIterator<Item = Vec<Row>>,
) -> Result<(), DbError> {
    let places = devices.iter().enumerate();
    let places: HashMap<String, usize> = places
        .map(|(place, stored)| (stored.device.id.as_str().to_owned(), place))
        .collect();
    let mut results = results.into_iter();
    while let (Some(versions), Some(history)) = (results.next(), results.next()) {
        for row in &versions {
            attach_version(devices, &places, VersionRow::try_from(row)?);
        }
        for row in &history {
            attach_history(devices, &places, HistoryRow::try_from(row)?);
        }
    }
    Ok(())
}

fn attach_version(devices: &mut [StoredDevice], places: &HashMap<String, usize>, row: VersionRow) {
    let stored = places
        .get(&row.device_id)
        .and_then(|place| devices.get_mut(*place));
    if let Some(slot) = stored.and_then(|stored| stored.device.identity.as_mut()) {
        slot.versions.insert(row.version, row.serial_number);
    }
}

fn attach_history(devices: &mut [StoredDevice], places: &HashMap<String, usize>, row: HistoryRow) {
    let Some(stored) = places
        .get(&row.device_id)
        .and_then(|place| devices.get_mut(*place))
    else {
        return;
    };
    match row.scope {
        HistoryScope::Device => {
            stored.device.events.insert(row.at, row.event);
        }
        HistoryScope::Identity => {
            if let Some(slot) = &mut stored.device.identity {
                slot.events.insert(row.at, row.event);
            }
        }
    }
}
