//! Tables `device_group` and `device_group_tree`.

use std::sync::Arc;

use lamassu_core::device_group::GroupDocument;
use lamassu_core::ids::DeviceGroupId;
use lamassu_core::query::{Field, fold};
use lamassu_core::timestamp::Timestamp;
use lamassu_db::list::ListTable;
use lamassu_db::{Check, Db, DbError, Json, Row, Statement, params, sql};
use serde_json::{Map, Value as JsonValue};
use time::OffsetDateTime;

use crate::group_criteria::{CodedCriterion, Rule};
use crate::group_tree::{GroupTree, StoredGroup};

/// What groups can be filtered and sorted by.
pub static GROUP_FIELDS: &[Field] = &[
    Field::string("id", "id"),
    Field::string("name", "name").folded("name_folded"),
    Field::string("description", "description"),
    Field::string("parent_id", "parent_id").nullable(),
    Field::date("created_at", "created_at"),
    Field::date("updated_at", "updated_at"),
];

/// The same in v2.
pub static GROUP_FIELDS_IN_V2: &[Field] = &[
    Field::string("id", "id"),
    Field::string("name", "name").folded("name_folded"),
    Field::string("description", "description"),
    Field::string("parent_id", "parent_id").nullable(),
    Field::number("priority", "priority"),
    Field::number("depth", "depth"),
    Field::date("created_at", "created_at"),
    Field::date("updated_at", "updated_at"),
];

/// How groups are listed: which, and in what order. What they look like is in the tree.
pub(crate) const GROUPS: ListTable = ListTable {
    table: "device_group",
    columns: &["id"],
    key: "id",
    created: "created_at",
    fields: GROUP_FIELDS_IN_V2,
};

/// No group has changed since all of them were read.
pub(crate) const TREE: Check = Check::new("device group tree");

/// A group is still there.
pub(crate) const GROUP: Check = Check::new("device group");

/// How often groups have changed.
pub(crate) async fn tree_revision(db: &Db) -> Result<i64, DbError> {
    let row = db.row_opt(revision_query()).await?;
    row.map_or(Ok(0), |row| row.get("revision"))
}

/// All groups.
pub(crate) async fn group_tree(db: &Db) -> Result<GroupTree, DbError> {
    let all = sql(
        "SELECT id, name, description, parent_id, priority, criteria, policies, notify_membership, \
         created_at, updated_at, revision FROM device_group",
        Vec::new(),
    );
    let mut results = db.snapshot(vec![revision_query(), all]).await?.into_iter();
    let revision = revision_in(&results.next().unwrap_or_default())?;
    let rows = results.next().unwrap_or_default();
    let groups = rows
        .iter()
        .map(|row| StoredGroup::try_from(row).map(Arc::new));
    Ok(GroupTree::new(
        revision,
        groups.collect::<Result<Vec<_>, _>>()?,
    ))
}

/// The revision of all groups.
pub(super) fn revision_in(rows: &[Row]) -> Result<i64, DbError> {
    rows.first().map_or(Ok(0), |row| row.get("revision"))
}

pub(super) fn revision_query() -> Statement {
    sql(
        "SELECT revision FROM device_group_tree WHERE id = 1",
        Vec::new(),
    )
}

/// Notes a change of the groups, which were read at this revision.
pub(crate) fn tree_changed(revision: i64) -> Statement {
    sql(
        "UPDATE device_group_tree SET revision = revision + 1 WHERE id = 1 AND revision = $1",
        params![revision],
    )
}

/// Adds a group; no row when id or name is taken.
pub(crate) fn group_insert(group: &StoredGroup, depth: u32) -> Statement {
    let StoredGroup { document, .. } = group;
    sql(
        "INSERT INTO device_group (id, name, name_folded, description, parent_id, depth, priority, \
         criteria, policies, notify_membership, created_at, updated_at, revision) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT DO NOTHING",
        params![
            group.id.as_str(),
            &document.name,
            fold(&document.name),
            &document.description,
            document.parent_id.as_ref().map(DeviceGroupId::as_str),
            depth,
            document.priority,
            coded(&group.rules),
            JsonValue::Object(document.policies.clone()),
            document.notify_membership,
            group.created_at.0,
            group.updated_at.0,
            group.revision,
        ],
    )
}

/// Writes a group anew.
pub(crate) fn group_update(group: &StoredGroup, depth: u32) -> Statement {
    let StoredGroup { document, .. } = group;
    sql(
        "UPDATE device_group SET name = $1, name_folded = $2, description = $3, parent_id = $4, \
         depth = $5, priority = $6, criteria = $7, policies = $8, notify_membership = $9, \
         updated_at = $10, revision = $11 WHERE id = $12",
        params![
            &document.name,
            fold(&document.name),
            &document.description,
            document.parent_id.as_ref().map(DeviceGroupId::as_str),
            depth,
            document.priority,
            coded(&group.rules),
            JsonValue::Object(document.policies.clone()),
            document.notify_membership,
            group.updated_at.0,
            group.revision,
            group.id.as_str(),
        ],
    )
}

/// Notes how deep a group is that moved along with one above it.
pub(crate) fn group_depth(id: &DeviceGroupId, depth: u32) -> Statement {
    sql(
        "UPDATE device_group SET depth = $1 WHERE id = $2",
        params![depth, id.as_str()],
    )
}

/// Removes a group that none is below.
pub(crate) fn group_delete(id: &DeviceGroupId) -> Statement {
    sql(
        "DELETE FROM device_group WHERE id = $1",
        params![id.as_str()],
    )
}

fn coded(rules: &[Rule]) -> JsonValue {
    let criteria = rules.iter().map(CodedCriterion::from);
    let criteria = criteria.map(|criterion| serde_json::to_value(criterion).unwrap_or_default());
    JsonValue::Array(criteria.collect())
}

impl TryFrom<&Row> for StoredGroup {
    type Error = DbError;

    fn try_from(row: &Row) -> Result<Self, DbError> {
        let coded = row.get::<Json<Vec<CodedCriterion>>>("criteria")?.0;
        let rules: Option<Vec<Rule>> = coded.into_iter().map(CodedCriterion::rule).collect();
        let rules = rules.ok_or_else(|| {
            DbError::corrupt("device_group.criteria", "unknown field, operand or value")
        })?;
        let parent: Option<String> = row.get("parent_id")?;
        Ok(Self {
            id: DeviceGroupId::new(row.get::<String>("id")?),
            document: GroupDocument {
                name: row.get("name")?,
                description: row.get("description")?,
                parent_id: parent.map(DeviceGroupId::new),
                criteria: rules.iter().map(Rule::shown).collect(),
                priority: row.get("priority")?,
                policies: row.get::<Json<Map<String, JsonValue>>>("policies")?.0,
                notify_membership: row.get("notify_membership")?,
            },
            rules,
            created_at: Timestamp(row.get::<OffsetDateTime>("created_at")?),
            updated_at: Timestamp(row.get::<OffsetDateTime>("updated_at")?),
            revision: row.get("revision")?,
        })
    }
}
