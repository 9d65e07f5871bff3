//! Table `device_event`: history of devices and their slots.

use lamassu_core::caller::Caller;
use lamassu_core::device::DeviceEvent;
use lamassu_core::device::v2::{Actor, HistoryItem};
use lamassu_core::ids::DeviceId;
use lamassu_core::query::Field;
use lamassu_core::timestamp::Timestamp;
use lamassu_db::list::ListTable;
use lamassu_db::{DbError, Row, Statement, Value, in_list, params, sql, sql_of_few};
use time::OffsetDateTime;

/// The type of entries that say what of a device a caller changed.
pub(crate) const SHADOW_UPDATED: &str = "SHADOW-UPDATED";

/// What a history entry is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HistoryScope {
    /// The device itself.
    Device,
    /// The slot of this name.
    Slot(String),
}

impl HistoryScope {
    /// As stored.
    fn name(&self) -> &str {
        match self {
            Self::Device => "",
            Self::Slot(name) => name,
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
    /// Whether the entry of that time is taken out instead.
    pub(crate) removes: bool,
    /// What whoever caused it says of it.
    pub(crate) comment: Option<String>,
}

impl HistoryEntry {
    /// Takes out the device's entry of this time, which a later one stands for.
    pub(crate) fn removal(at: Timestamp) -> Self {
        Self {
            scope: HistoryScope::Device,
            at,
            event: DeviceEvent {
                event_type: String::new(),
                description: String::new(),
            },
            version: None,
            removes: true,
            comment: None,
        }
    }
}

/// An entry that says what of a device a caller changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shadow {
    pub(crate) at: Timestamp,
    pub(crate) description: String,
    actor: (Option<String>, Option<String>),
}

impl Shadow {
    /// Whether this caller made it.
    pub(crate) fn is_by(&self, caller: &Caller) -> bool {
        let (actor_type, actor_id) = &self.actor;
        let principal = &caller.principal;
        actor_type.as_deref() == principal.auth_type() && actor_id.as_deref() == principal.auth_id()
    }
}

/// Entries per statement; a connector may write a long history back. Databases take so many parameters only.
const ENTRIES_PER_STATEMENT: usize = 1_000;

/// Writes the entries of one change, with who caused it.
pub(crate) fn history_insert(
    caller: &Caller,
    device: &DeviceId,
    entries: &[HistoryEntry],
) -> Vec<Statement> {
    let (removed, added): (Vec<_>, Vec<_>) = entries.iter().partition(|entry| entry.removes);
    let removals = removed.into_iter().map(|entry| {
        sql(
            "DELETE FROM device_event WHERE device_id = $1 AND slot = $2 AND occurred_at = $3",
            params![device.as_str(), entry.scope.name(), entry.at.0],
        )
    });
    let additions = added.chunks(ENTRIES_PER_STATEMENT);
    let additions = additions.map(|entries| insert(caller, device, entries));
    // Few entries have one, and each column of an insert counts where many are.
    let comments = added.iter().filter_map(|entry| {
        let comment = entry.comment.as_deref()?;
        Some(sql(
            "UPDATE device_event SET comment = $1 \
             WHERE device_id = $2 AND slot = $3 AND occurred_at = $4",
            params![comment, device.as_str(), entry.scope.name(), entry.at.0],
        ))
    });
    removals.chain(additions).chain(comments).collect()
}

/// Removes the history of a device and its slots.
pub(crate) fn history_delete(device: &DeviceId) -> Statement {
    sql(
        "DELETE FROM device_event WHERE device_id = $1",
        params![device.as_str()],
    )
}

/// What clients write back may be older than the history that was read: it is there and stays.
fn insert(caller: &Caller, device: &DeviceId, entries: &[&HistoryEntry]) -> Statement {
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
         actor_type, actor_id, source) VALUES {} ON CONFLICT DO NOTHING",
        rows.join(", ")
    );
    sql_of_few(text, values)
}

/// How histories are listed.
pub(crate) const HISTORY: ListTable = ListTable {
    table: "device_history",
    columns: &[
        "device_id",
        "slot",
        "slot_name",
        "occurred_at",
        "event_type",
        "description",
        "version",
        "actor_type",
        "actor_id",
        "source",
        "scope",
        "comment",
    ],
    key: "slot",
    created: "occurred_at",
    fields: HISTORY_FIELDS,
};

/// What histories can be filtered by; they are sorted by time only.
pub(crate) static HISTORY_FIELDS: &[Field] = &[
    Field::date("timestamp", "occurred_at"),
    Field::enumeration("type", "event_type"),
    Field::enumeration("scope", "scope"),
    Field::string("slot", "slot_name").nullable(),
    Field::number("version", "version").nullable(),
];

/// The column that says whose history it is.
pub(crate) const DEVICE_COLUMN: &str = "device_id";

/// An entry as v2 shows it.
pub(crate) fn history_item(row: &Row) -> Result<HistoryItem, DbError> {
    let at: OffsetDateTime = row.get("occurred_at")?;
    let slot: String = row.get("slot")?;
    let actor_type: Option<String> = row.get("actor_type")?;
    let actor_id: Option<String> = row.get("actor_id")?;
    let micros = at.unix_timestamp_nanos().div_euclid(1_000);
    Ok(HistoryItem {
        id: format!("{micros:020}.{slot}"),
        timestamp: Timestamp(at),
        event_type: row.get("event_type")?,
        description: row.get("description")?,
        comment: row.get("comment")?,
        scope: if slot.is_empty() { "device" } else { "slot" }.to_owned(),
        version: row.get("version")?,
        actor: actor_type.map(|actor_type| Actor {
            actor_type,
            id: actor_id.unwrap_or_default(),
        }),
        source: row.get("source")?,
        slot: Some(slot).filter(|slot| !slot.is_empty()),
    })
}

/// The newest entries of each of these devices, of the device and its slots together.
pub(super) fn newest_of_all(ids: Vec<Value>, limit: u32) -> Statement {
    let mut values = ids;
    let list = in_list(&mut values);
    values.push(limit.into());
    let text = format!(
        "SELECT device_id, slot, occurred_at, event_type, description, version, actor_type, \
         actor_id, source, comment FROM (SELECT device_id, slot, occurred_at, event_type, description, \
         version, actor_type, actor_id, source, comment, ROW_NUMBER() OVER \
         (PARTITION BY device_id ORDER BY occurred_at DESC, slot) AS age \
         FROM device_event WHERE device_id IN ({list})) AS newest WHERE age <= ${} \
         ORDER BY device_id, age",
        values.len()
    );
    sql_of_few(text, values)
}

/// The newest entries of devices: at most `limit` of each device and of each of its slots.
pub(super) fn newest(ids: Vec<Value>, limit: u32) -> Statement {
    let mut values = ids;
    let list = in_list(&mut values);
    values.push(limit.into());
    let text = format!(
        "SELECT device_id, slot, occurred_at, event_type, description, actor_type, actor_id FROM (\
         SELECT device_id, slot, occurred_at, event_type, description, actor_type, actor_id, \
         ROW_NUMBER() OVER \
         (PARTITION BY device_id, slot ORDER BY occurred_at DESC) AS age \
         FROM device_event WHERE device_id IN ({list})) AS newest WHERE age <= ${}",
        values.len()
    );
    sql_of_few(text, values)
}

/// A history entry as read.
pub(super) struct HistoryRow {
    pub(super) scope: HistoryScope,
    pub(super) at: Timestamp,
    pub(super) event: DeviceEvent,
    /// The same with its actor, if it says what a caller changed.
    pub(super) shadow: Option<Shadow>,
}

impl TryFrom<&Row> for HistoryRow {
    type Error = DbError;

    fn try_from(row: &Row) -> Result<Self, DbError> {
        let slot: String = row.get("slot")?;
        let scope = if slot.is_empty() {
            HistoryScope::Device
        } else {
            HistoryScope::Slot(slot)
        };
        let at = Timestamp(row.get::<OffsetDateTime>("occurred_at")?);
        let event = DeviceEvent {
            event_type: row.get("event_type")?,
            description: row.get("description")?,
        };
        let shadow = if event.event_type == SHADOW_UPDATED {
            Some(Shadow {
                at,
                description: event.description.clone(),
                actor: (row.get("actor_type")?, row.get("actor_id")?),
            })
        } else {
            None
        };
        Ok(Self {
            scope,
            at,
            event,
            shadow,
        })
    }
}
