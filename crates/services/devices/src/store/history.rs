//! Table `device_event`: history of devices and their slots.

use lamassu_core::caller::Caller;
use lamassu_core::device::DeviceEvent;
use lamassu_core::ids::DeviceId;
use lamassu_core::timestamp::Timestamp;
use lamassu_db::{DbError, Row, Statement, Value, in_list, params, sql_of_few};
use time::OffsetDateTime;

/// What a history entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HistoryScope {
    /// The device itself.
    Device,
    /// Its identity slot.
    Identity,
}

impl HistoryScope {
    /// As stored.
    const fn name(self) -> &'static str {
        match self {
            Self::Device => "",
            Self::Identity => "identity",
        }
    }
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HistoryEntry {
    /// To what.
    pub(crate) scope: HistoryScope,
    /// When; unique within the scope.
    pub(crate) at: Timestamp,
    /// What.
    pub(crate) event: DeviceEvent,
    /// The slot version concerned.
    pub(crate) version: Option<u32>,
}

/// Adds the entries of one change (a handful, at least one), with who caused it.
pub(crate) fn history_insert(
    caller: &Caller,
    device: &DeviceId,
    entries: &[HistoryEntry],
) -> Statement {
    // $1 to $4 are the same in each row.
    let mut values = params![
        device.as_str(),
        caller.principal.auth_type(),
        caller.principal.auth_id(),
        caller.source.as_deref(),
    ];
    let mut rows = Vec::with_capacity(entries.len());
    for entry in entries {
        let [slot, at, event, text, version] = [1, 2, 3, 4, 5].map(|n| values.len() + n);
        rows.push(format!(
            "($1, ${slot}, ${at}, ${event}, ${text}, ${version}, $2, $3, $4)"
        ));
        values.extend(params![
            entry.scope.name(),
            entry.at.0,
            &entry.event.event_type,
            &entry.event.description,
            entry.version,
        ]);
    }
    let text = format!(
        "INSERT INTO device_event (device_id, slot, occurred_at, event_type, description, version, \
         actor_type, actor_id, source) VALUES {}",
        rows.join(", ")
    );
    sql_of_few(text, values)
}

/// The newest entries of devices: at most `limit` of each device and of each of its slots.
pub(super) fn newest(ids: Vec<Value>, limit: u32) -> Statement {
    let mut values = ids;
    let list = in_list(&mut values);
    values.push(limit.into());
    let text = format!(
        "SELECT device_id, slot, occurred_at, event_type, description FROM (\
         SELECT device_id, slot, occurred_at, event_type, description, ROW_NUMBER() OVER \
         (PARTITION BY device_id, slot ORDER BY occurred_at DESC) AS age \
         FROM device_event WHERE device_id IN ({list})) AS newest WHERE age <= ${}",
        values.len()
    );
    sql_of_few(text, values)
}

/// A history entry as read, with its device.
pub(super) struct HistoryRow {
    pub(super) device_id: String,
    pub(super) scope: HistoryScope,
    pub(super) at: Timestamp,
    pub(super) event: DeviceEvent,
}

impl TryFrom<&Row> for HistoryRow {
    type Error = DbError;

    fn try_from(row: &Row) -> Result<Self, DbError> {
        let slot: String = row.get("slot")?;
        let scope = [HistoryScope::Device, HistoryScope::Identity]
            .into_iter()
            .find(|scope| scope.name() == slot)
            .ok_or_else(|| DbError::corrupt("device_event.slot", "unknown slot"))?;
        Ok(Self {
            device_id: row.get("device_id")?,
            scope,
            at: Timestamp(row.get::<OffsetDateTime>("occurred_at")?),
            event: DeviceEvent {
                event_type: row.get("event_type")?,
                description: row.get("description")?,
            },
        })
    }
}
