//! Whole devices: their rows joined with the rows of versions and history.

use std::collections::HashMap;

use lamassu_core::device::v2::HistoryItem;
use lamassu_core::ids::DeviceId;
use lamassu_db::{Db, DbError, Readings, Row, Statement, Value, in_list, params, sql, sql_of_few};
use time::OffsetDateTime;

use super::device::id_params;
use super::group::{revision_in, revision_query};
use super::history::{HistoryRow, HistoryScope, history_item, newest, newest_of_all};
use super::slot::{Slot, slots};
use super::version::{VersionRow, versions};
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

    /// The device of this id. One snapshot of four indexed reads.
    pub(crate) async fn device(&self, id: &DeviceId) -> Result<Option<StoredDevice>, DbError> {
        let mut found = self.devices(std::slice::from_ref(id)).await?;
        found.pop().transpose()
    }

    /// The devices of these ids, in any order and each by itself, those that do not exist left out. One
    /// snapshot; for a few hundred ids at most, since one statement names them all.
    pub(crate) async fn devices(
        &self,
        ids: &[DeviceId],
    ) -> Result<Readings<StoredDevice>, DbError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut statements = vec![devices(id_params(ids))];
        statements.extend(self.details(ids));
        whole(self.db.snapshot(statements).await?)
    }

    /// The device of this id, and the revision of all groups at that moment.
    pub(crate) async fn device_and_groups(
        &self,
        id: &DeviceId,
    ) -> Result<(Option<StoredDevice>, i64), DbError> {
        let ids = std::slice::from_ref(id);
        let mut statements = vec![revision_query(), devices(id_params(ids))];
        statements.extend(self.details(ids));
        let mut results = self.db.snapshot(statements).await?.into_iter();
        let revision = revision_in(&results.next().unwrap_or_default())?;
        Ok((whole(results)?.pop().transpose()?, revision))
    }

    /// Whether there is a device of this id.
    pub(crate) async fn exists(&self, id: &DeviceId) -> Result<bool, DbError> {
        let query = sql(
            "SELECT 1 AS found FROM device WHERE id = $1",
            params![id.as_str()],
        );
        Ok(self.db.row_opt(query).await?.is_some())
    }

    /// The newest history of each of these devices and their slots, newest first.
    pub(crate) async fn newest_history(
        &self,
        ids: &[DeviceId],
        limit: u32,
    ) -> Result<HashMap<DeviceId, Vec<HistoryItem>>, DbError> {
        let mut histories: HashMap<DeviceId, Vec<HistoryItem>> = HashMap::new();
        let chunks = ids.chunks(IDS_PER_STATEMENT);
        let statements: Vec<Statement> = chunks
            .map(|chunk| newest_of_all(id_params(chunk), limit))
            .collect();
        if statements.is_empty() {
            return Ok(histories);
        }
        for rows in self.db.snapshot(statements).await? {
            for row in &rows {
                let id = DeviceId::new(row.get::<String>("device_id")?);
                histories.entry(id).or_default().push(history_item(row)?);
            }
        }
        Ok(histories)
    }

    /// The devices of these rows, with versions and history; one more snapshot.
    pub(crate) async fn complete(&self, rows: &[Row]) -> Result<Vec<StoredDevice>, DbError> {
        let gathered = Gathered::of(rows)?;
        let ids = rows.iter().map(|row| row.get::<String>("id"));
        let ids = ids.map(|id| id.map(DeviceId::new));
        let ids: Vec<DeviceId> = ids.collect::<Result<_, _>>()?;
        let chunks = ids.chunks(IDS_PER_STATEMENT);
        let statements: Vec<Statement> = chunks.flat_map(|chunk| self.details(chunk)).collect();
        let details = match statements.is_empty() {
            true => Vec::new(),
            false => self.db.snapshot(statements).await?,
        };
        gathered.with(details)?.into_iter().collect()
    }

    /// What [`Gathered::with`] takes: slots, versions, then history.
    fn details(&self, ids: &[DeviceId]) -> [Statement; 3] {
        [
            slots(id_params(ids)),
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
        "SELECT id FROM (SELECT id, next_due FROM (SELECT id, next_due FROM device \
         WHERE next_due <= $1 ORDER BY next_due LIMIT $2) AS of_device \
         UNION ALL SELECT device_id, next_due FROM (SELECT device_id, next_due FROM device_slot \
         WHERE next_due <= $1 ORDER BY next_due LIMIT $2) AS of_slot \
         UNION ALL SELECT device_id, next_due FROM (SELECT device_id, next_due FROM slot_version \
         WHERE next_due <= $1 ORDER BY next_due LIMIT $2) AS of_version) AS due \
         GROUP BY id ORDER BY MIN(next_due) LIMIT $2",
        params![now, limit],
    );
    let rows = db.rows(query).await?;
    rows.iter()
        .map(|row| row.get::<String>("id").map(DeviceId::new))
        .collect()
}

/// Puts off what was due of a device by `now`, since it cannot be read. What is due is only when somebody looks at it:
/// whoever can read the device changes it then as they would have before.
pub(crate) fn device_postpone(
    id: &DeviceId,
    now: OffsetDateTime,
    until: OffsetDateTime,
) -> [Statement; 3] {
    [
        "UPDATE device SET next_due = $1 WHERE id = $2 AND next_due <= $3",
        "UPDATE device_slot SET next_due = $1 WHERE device_id = $2 AND next_due <= $3",
        "UPDATE slot_version SET next_due = $1 WHERE device_id = $2 AND next_due <= $3",
    ]
    .map(|text| sql(text, params![until, id.as_str(), now]))
}

/// When time alone changes a device next.
pub(crate) async fn next_due(db: &Db) -> Result<Option<OffsetDateTime>, DbError> {
    let query = sql(
        "SELECT MIN(next_due) AS next_due FROM (\
         SELECT MIN(next_due) AS next_due FROM device WHERE next_due IS NOT NULL \
         UNION ALL SELECT MIN(next_due) FROM device_slot WHERE next_due IS NOT NULL \
         UNION ALL SELECT MIN(next_due) FROM slot_version WHERE next_due IS NOT NULL) AS due",
        Vec::new(),
    );
    let row = db.row_opt(query).await?;
    row.map_or(Ok(None), |row| row.get("next_due"))
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

/// The devices of the first result, with the rest of it.
fn whole(results: impl IntoIterator<Item = Vec<Row>>) -> Result<Readings<StoredDevice>, DbError> {
    let mut results = results.into_iter();
    Gathered::of(&results.next().unwrap_or_default())?.with(results)
}

/// Devices whose rows are being put together. A row that cannot be read spoils its device only.
struct Gathered {
    devices: Readings<StoredDevice>,
    places: HashMap<String, usize>,
}

impl Gathered {
    /// The devices of these rows.
    fn of(rows: &[Row]) -> Result<Self, DbError> {
        let places = rows.iter().enumerate();
        let places = places.map(|(place, row)| Ok((row.get("id")?, place)));
        Ok(Self {
            places: places.collect::<Result<_, DbError>>()?,
            devices: rows.iter().map(|row| row.read("id")).collect(),
        })
    }

    /// The same with slots, versions and history (results in turn).
    fn with(
        mut self,
        results: impl IntoIterator<Item = Vec<Row>>,
    ) -> Result<Readings<StoredDevice>, DbError> {
        let mut results = results.into_iter();
        while let (Some(slots), Some(versions), Some(history)) =
            (results.next(), results.next(), results.next())
        {
            self.put(&slots, |stored, slot: Slot| {
                stored.slots.insert(slot.name.clone(), slot);
            })?;
            self.put(&versions, |stored, row: VersionRow| {
                if let Some(slot) = stored.slots.get_mut(&row.slot) {
                    slot.versions.insert(row.version.version, row.version);
                }
            })?;
            self.put(&history, attach_history)?;
        }
        for stored in self.devices.iter_mut().flatten() {
            stored.project();
        }
        Ok(self.devices)
    }

    /// Puts each row into the device that it belongs to.
    fn put<'r, T: TryFrom<&'r Row, Error = DbError>>(
        &mut self,
        rows: &'r [Row],
        put: impl Fn(&mut StoredDevice, T),
    ) -> Result<(), DbError> {
        for row in rows {
            let place = self.places.get(&row.get::<String>("device_id")?);
            let device = place.and_then(|place| self.devices.get_mut(*place));
            let Some(device) = device else { continue };
            // Of a device that cannot be read the first reason is told.
            if let Ok(stored) = device {
                match row.read("device_id") {
                    Ok(part) => put(stored, part),
                    Err(error) => *device = Err(error),
                }
            }
        }
        Ok(())
    }
}

fn attach_history(stored: &mut StoredDevice, row: HistoryRow) {
    match row.scope {
        HistoryScope::Device => {
            if let Some(shadow) = row.shadow
                && stored
                    .last_shadow
                    .as_ref()
                    .is_none_or(|last| last.at < shadow.at)
            {
                stored.last_shadow = Some(shadow);
            }
            stored.device.events.insert(row.at, row.event);
        }
        HistoryScope::Slot(name) => {
            if let Some(slot) = stored.slots.get_mut(&name) {
                slot.events.insert(row.at, row.event);
            }
        }
    }
}
