//! Tables `device_group_action`, `device_group_action_member` and `device_group_action_error`.

use lamassu_core::caller::Caller;
use lamassu_core::device_group::{ActionFailure, ActionKind, ActionState, GroupAction};
use lamassu_core::ids::{DeviceGroupId, DeviceId};
use lamassu_core::query::Field;
use lamassu_core::timestamp::Timestamp;
use lamassu_db::list::ListTable;
use lamassu_db::{
    Check, Db, DbError, Json, Readings, Row, Statement, Value, in_list, params, sql, sql_of_few,
};
use serde_json::{Map, Value as JsonValue};
use time::OffsetDateTime;

/// Most failures of one action that are kept.
pub(crate) const MAX_ERRORS: u32 = 1_000;

const COLUMNS: &[&str] = &[
    "id",
    "group_id",
    "action",
    "parameters",
    "filters",
    "state",
    "matched",
    "succeeded",
    "failed",
    "created_at",
    "started_at",
    "finished_at",
    "created_by",
    "principal",
    "source",
    "request_id",
];

/// What actions can be filtered and sorted by.
pub static ACTION_FIELDS: &[Field] = &[
    Field::string("id", "id"),
    Field::enumeration("action", "action").choices(ActionKind::WORDS),
    Field::enumeration("state", "state").choices(ActionState::WORDS),
    Field::date("created_at", "created_at"),
    Field::date("finished_at", "finished_at").nullable(),
];

/// How actions are listed.
pub(crate) const ACTIONS: ListTable = ListTable {
    table: "device_group_action",
    columns: COLUMNS,
    key: "id",
    created: "created_at",
    fields: ACTION_FIELDS,
};

/// The column of the group.
pub(crate) const GROUP_COLUMN: &str = "group_id";

/// An action is in the state that was read.
pub(crate) const STATE: Check = Check::new("device group action");

/// An action as stored.
#[derive(Clone, Debug)]
pub(crate) struct StoredAction {
    pub(crate) action: GroupAction,
    /// In whose name it is done, as one service tells it to another.
    pub(crate) principal: String,
    pub(crate) source: Option<String>,
    pub(crate) request_id: String,
}

/// Adds an action.
pub(crate) fn action_insert(caller: &Caller, action: &GroupAction) -> Statement {
    sql(
        "INSERT INTO device_group_action (id, group_id, action, parameters, filters, state, matched, \
         succeeded, failed, created_at, created_by, principal, source, request_id) \
         VALUES ($1, $2, $3, $4, $5, $6, 0, 0, 0, $7, $8, $9, $10, $11)",
        params![
            &action.id,
            action.group_id.as_str(),
            action.action.word(),
            JsonValue::Object(action.parameters.clone()),
            JsonValue::from(action.filter.clone()),
            action.state.word(),
            action.created_at.0,
            action.created_by.as_deref(),
            caller.principal.to_header().unwrap_or_default(),
            caller.source.as_deref(),
            &*caller.request_id,
        ],
    )
}

/// Moves an action on from a state; `matched` is what there is to do.
pub(crate) fn action_moved(action: &GroupAction, from: ActionState) -> Statement {
    sql(
        "UPDATE device_group_action SET state = $1, matched = $2, started_at = $3, finished_at = $4 \
         WHERE id = $5 AND state = $6",
        params![
            action.state.word(),
            count(action.matched),
            action.started_at.map(|at| at.0),
            action.finished_at.map(|at| at.0),
            &action.id,
            from.word(),
        ],
    )
}

/// Counts what was done.
pub(crate) fn action_progress(id: &str, succeeded: u64, failed: u64) -> Statement {
    sql(
        "UPDATE device_group_action SET succeeded = succeeded + $1, failed = failed + $2 \
         WHERE id = $3",
        params![count(succeeded), count(failed), id],
    )
}

/// Ends all actions of a group that is gone.
pub(crate) fn actions_cancel(group: &DeviceGroupId, now: OffsetDateTime) -> Statement {
    sql(
        "UPDATE device_group_action SET state = $1, finished_at = $2 \
         WHERE group_id = $3 AND finished_at IS NULL",
        params![ActionState::Cancelled.word(), now, group.as_str()],
    )
}

/// Has an action still to be done with these devices, of which there is at least one.
pub(crate) fn members_insert(id: &str, devices: &[DeviceId]) -> Statement {
    let mut values = params![id];
    let mut rows = Vec::with_capacity(devices.len());
    for device in devices {
        values.push(device.as_str().into());
        rows.push(format!("($1, ${})", values.len()));
    }
    let text = format!(
        "INSERT INTO device_group_action_member (action_id, device_id) VALUES {} \
         ON CONFLICT DO NOTHING",
        rows.join(", ")
    );
    sql(text, values)
}

/// The devices that an action still has to be done with.
pub(crate) async fn members(db: &Db, id: &str, limit: u32) -> Result<Vec<DeviceId>, DbError> {
    let query = sql(
        "SELECT device_id FROM device_group_action_member WHERE action_id = $1 \
         ORDER BY device_id LIMIT $2",
        params![id, limit],
    );
    let rows = db.rows(query).await?;
    rows.iter()
        .map(|row| row.get::<String>("device_id").map(DeviceId::new))
        .collect()
}

/// How many devices an action has to be done with.
pub(crate) async fn members_count(db: &Db, id: &str) -> Result<u64, DbError> {
    let query = sql(
        "SELECT COUNT(*) AS n FROM device_group_action_member WHERE action_id = $1",
        params![id],
    );
    let row = db.row_opt(query).await?;
    row.map_or(Ok(0), |row| row.get("n"))
}

/// These devices, of which there is at least one, are done with.
pub(crate) fn members_done(id: &str, devices: &[DeviceId]) -> Statement {
    let mut values: Vec<Value> = devices
        .iter()
        .map(|device| device.as_str().into())
        .collect();
    let list = in_list(&mut values);
    values.push(id.into());
    let text = format!(
        "DELETE FROM device_group_action_member WHERE device_id IN ({list}) AND action_id = ${}",
        values.len()
    );
    sql_of_few(text, values)
}

/// Nothing more is to be done.
pub(crate) fn members_clear(id: &str) -> Statement {
    sql(
        "DELETE FROM device_group_action_member WHERE action_id = $1",
        params![id],
    )
}

/// Keeps why an action was not done with a device.
pub(crate) fn error_insert(id: &str, failure: &ActionFailure) -> Statement {
    sql(
        "INSERT INTO device_group_action_error (action_id, device_id, err, code) \
         VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        params![id, failure.device_id.as_str(), &failure.err, &failure.code],
    )
}

/// An action with its failures.
pub(crate) async fn action(
    db: &Db,
    group: &DeviceGroupId,
    id: &str,
) -> Result<Option<StoredAction>, DbError> {
    let found = sql(
        format!(
            "SELECT {} FROM device_group_action WHERE id = $1 AND group_id = $2",
            COLUMNS.join(", ")
        ),
        params![id, group.as_str()],
    );
    let errors = sql(
        "SELECT device_id, err, code FROM device_group_action_error WHERE action_id = $1 \
         ORDER BY device_id",
        params![id],
    );
    let mut results = db.snapshot(vec![found, errors]).await?.into_iter();
    let found = results.next().unwrap_or_default();
    let Some(row) = found.first() else {
        return Ok(None);
    };
    let mut stored = StoredAction::try_from(row)?;
    let errors = results.next().unwrap_or_default();
    stored.action.errors = errors.iter().map(failure).collect::<Result<_, _>>()?;
    Ok(Some(stored))
}

fn failure(row: &Row) -> Result<ActionFailure, DbError> {
    Ok(ActionFailure {
        device_id: DeviceId::new(row.get::<String>("device_id")?),
        err: row.get("err")?,
        code: row.get("code")?,
    })
}

/// The actions that are not over, oldest first.
pub(crate) async fn open_actions(db: &Db, limit: u32) -> Result<Readings<StoredAction>, DbError> {
    let query = sql(
        format!(
            "SELECT {} FROM device_group_action WHERE finished_at IS NULL \
             ORDER BY created_at, id LIMIT $1",
            COLUMNS.join(", ")
        ),
        params![limit],
    );
    let rows = db.rows(query).await?;
    Ok(rows.iter().map(|row| row.read("id")).collect())
}

/// Removes actions that were over before this time, with what belongs to them.
pub(crate) fn actions_expire(before: OffsetDateTime) -> [Statement; 3] {
    let of = |table: &str| {
        format!(
            "DELETE FROM {table} WHERE action_id IN \
             (SELECT id FROM device_group_action WHERE finished_at < $1)"
        )
    };
    [
        sql(of("device_group_action_member"), params![before]),
        sql(of("device_group_action_error"), params![before]),
        sql(
            "DELETE FROM device_group_action WHERE finished_at < $1",
            params![before],
        ),
    ]
}

/// When the action that was over first was so.
pub(crate) async fn oldest_end(db: &Db) -> Result<Option<OffsetDateTime>, DbError> {
    let query = sql(
        "SELECT finished_at FROM device_group_action WHERE finished_at IS NOT NULL \
         ORDER BY finished_at LIMIT 1",
        Vec::new(),
    );
    let row = db.row_opt(query).await?;
    row.map(|row| row.get("finished_at")).transpose()
}

fn count(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

impl TryFrom<&Row> for StoredAction {
    type Error = DbError;

    /// The action without its failures, which are rows of their own.
    fn try_from(row: &Row) -> Result<Self, DbError> {
        let unknown = |column| move |_| DbError::corrupt(column, "unknown word");
        let kind: String = row.get("action")?;
        let state: String = row.get("state")?;
        let at = |column| -> Result<Option<Timestamp>, DbError> {
            Ok(row.get::<Option<OffsetDateTime>>(column)?.map(Timestamp))
        };
        let action = GroupAction {
            id: row.get("id")?,
            group_id: DeviceGroupId::new(row.get::<String>("group_id")?),
            action: kind
                .parse()
                .map_err(unknown("device_group_action.action"))?,
            parameters: row.get::<Json<Map<String, JsonValue>>>("parameters")?.0,
            filter: row.get::<Json<Vec<String>>>("filters")?.0,
            state: state
                .parse()
                .map_err(unknown("device_group_action.state"))?,
            matched: row.get("matched")?,
            succeeded: row.get("succeeded")?,
            failed: row.get("failed")?,
            errors: Vec::new(),
            created_at: Timestamp(row.get::<OffsetDateTime>("created_at")?),
            started_at: at("started_at")?,
            finished_at: at("finished_at")?,
            created_by: row.get("created_by")?,
        };
        Ok(Self {
            action,
            principal: row.get("principal")?,
            source: row.get("source")?,
            request_id: row.get("request_id")?,
        })
    }
}
