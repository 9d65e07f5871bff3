//! Making, changing and deleting groups.
//!
//! What a group may be depends on the others: whether its parent exists, whether something becomes a
//! circle or too deep, whether its name is free. So a change is decided over all groups as they were at
//! one revision of the whole, and its write set holds at that revision only; who loses that race looks
//! again.

use std::sync::Arc;

use lamassu_core::caller::Caller;
use lamassu_core::device_group::{
    Children, CreateGroup, DeviceGroupError, Group, GroupDocument, GroupEdit,
};
use lamassu_core::ids::DeviceGroupId;
use lamassu_core::revision::Precondition;
use lamassu_core::timestamp::Timestamp;
use lamassu_db::{Attempt, AuditRecord, WriteSet, retry_races};
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::group_criteria::{Rule, parse};
use crate::group_events::{group_created, group_deleted, group_subject, group_updated};
use crate::group_policy;
use crate::group_renewal::follow;
use crate::group_tree::{GroupTree, StoredGroup, canonical};
use crate::metrics;
use crate::service::DevicesService;
use crate::store::{
    GROUP, TREE, actions_cancel, group_delete, group_depth, group_insert, group_update,
    tree_changed,
};

/// The signal of every change of the groups.
pub(crate) const GROUPS_CHANGED: &str = "device-groups";

impl StoredGroup {
    /// A group of this document that has passed the checks that need no other group.
    pub(crate) fn try_new(
        id: DeviceGroupId,
        document: GroupDocument,
        now: OffsetDateTime,
    ) -> Result<Self, DeviceGroupError> {
        let rules = parse(&document.criteria, now)?;
        group_policy::check(&document.policies)?;
        let parent_id = document.parent_id.filter(|parent| !parent.is_empty());
        Ok(Self {
            id,
            document: GroupDocument {
                criteria: rules.iter().map(Rule::shown).collect(),
                parent_id: parent_id.map(|parent| canonical(&parent).unwrap_or(parent)),
                ..document
            },
            rules,
            created_at: Timestamp(now),
            updated_at: Timestamp(now),
            revision: 1,
        })
    }
}

impl DevicesService {
    pub(crate) async fn make_group(
        &self,
        caller: &Caller,
        request: CreateGroup,
    ) -> Result<Group, DeviceGroupError> {
        let now = self.db.now();
        let (id, document) = request.into_parts();
        let id = match id {
            None => Some(DeviceGroupId::new(Uuid::new_v4().to_string())),
            Some(id) => canonical(&id),
        };
        // What is wrong with the criteria is told first, as clients know it.
        let filled = StoredGroup::try_new(id.clone().unwrap_or_default(), document, now)?;
        if id.is_none() {
            return Err(DeviceGroupError::Validation);
        }
        let group = retry_races(|| self.try_make_group(caller, &filled)).await?;
        metrics::groups_changed("create", 1);
        tracing::info!(group_id = %group.id, "device group created");
        Ok(group)
    }

    async fn try_make_group(
        &self,
        caller: &Caller,
        group: &StoredGroup,
    ) -> Result<Group, Attempt<DeviceGroupError>> {
        let now = group.created_at.0;
        let tree = self.current_groups().await?;
        tree.check(group, self.max_group_depth)?;
        if tree.get(&group.id).is_some() {
            return Err(DeviceGroupError::Exists.into());
        }
        let after = tree.with(group.clone());
        let mut set = changed(&tree);
        set.expect_one(group_insert(group, after.depth(group)), GROUP);
        set.event(group_created(caller, &after, group, now));
        follow(&mut set, &tree, &after);
        let subject = group_subject(&group.id);
        set.audit(AuditRecord::done(
            caller,
            "device-group.create",
            subject,
            now,
        ));
        self.db.commit(set).await?;
        let shown = after.show(group);
        self.groups.put(&Arc::new(after));
        Ok(shown)
    }

    pub(crate) async fn change_group(
        &self,
        caller: &Caller,
        id: &DeviceGroupId,
        edit: &GroupEdit,
        expected: &Precondition,
    ) -> Result<Group, DeviceGroupError> {
        retry_races(|| self.try_change_group(caller, id, edit, expected)).await
    }

    async fn try_change_group(
        &self,
        caller: &Caller,
        id: &DeviceGroupId,
        edit: &GroupEdit,
        expected: &Precondition,
    ) -> Result<Group, Attempt<DeviceGroupError>> {
        let now = self.db.now();
        let tree = self.current_groups().await?;
        let edited = |document| edited(document, edit);
        let Some(before) = tree.get(id) else {
            // What can be refused without knowing the group is refused first.
            parse(&edited(&GroupDocument::default())?.criteria, now)?;
            return Err(DeviceGroupError::NotFound.into());
        };
        if !expected.is_met_by(before.revision) {
            return Err(DeviceGroupError::RevisionConflict.into());
        }
        let document = edited(&before.document)?;
        let group = StoredGroup {
            created_at: before.created_at,
            revision: before.revision.saturating_add(1),
            ..StoredGroup::try_new(before.id.clone(), document, now)?
        };
        tree.check(&group, self.max_group_depth)?;
        if group.document == before.document {
            return Ok(tree.show(before));
        }
        let after = tree.with(group.clone());
        let mut set = changed(&tree);
        set.expect_one(group_update(&group, after.depth(&group)), GROUP);
        if group.document.parent_id != before.document.parent_id {
            for below in after.descendants(&group.id) {
                set.execute(group_depth(&below.id, after.depth(below)));
            }
        }
        set.event(group_updated(
            caller,
            (&tree, before),
            (&after, &group),
            now,
        ));
        follow(&mut set, &tree, &after);
        let subject = group_subject(&group.id);
        set.audit(AuditRecord::done(
            caller,
            "device-group.update",
            subject,
            now,
        ));
        self.db.commit(set).await?;
        metrics::groups_changed("update", 1);
        tracing::info!(group_id = %group.id, "device group changed");
        let shown = after.show(&group);
        self.groups.put(&Arc::new(after));
        Ok(shown)
    }

    pub(crate) async fn remove_group(
        &self,
        caller: &Caller,
        id: &DeviceGroupId,
        children: Children,
        expected: &Precondition,
    ) -> Result<(), DeviceGroupError> {
        retry_races(|| self.try_remove_group(caller, id, children, expected)).await
    }

    async fn try_remove_group(
        &self,
        caller: &Caller,
        id: &DeviceGroupId,
        children: Children,
        expected: &Precondition,
    ) -> Result<(), Attempt<DeviceGroupError>> {
        let now = self.db.now();
        let tree = self.current_groups().await?;
        let group = tree.find(id)?;
        if !expected.is_met_by(group.revision) {
            return Err(DeviceGroupError::RevisionConflict.into());
        }
        let mut set = changed(&tree);
        let mut doomed = vec![group];
        match children {
            Children::Reject if tree.children(Some(&group.id)).next().is_some() => {
                return Err(DeviceGroupError::HasChildren.into());
            }
            Children::Reject => {}
            Children::Cascade => doomed.extend(tree.descendants(&group.id)),
            Children::Reparent => reparent(caller, &mut set, &tree, group, now),
        }
        // Who is below goes first.
        for group in doomed.iter().rev() {
            set.expect_one(group_delete(&group.id), GROUP);
            set.execute(actions_cancel(&group.id, now));
            set.event(group_deleted(caller, &group.id, now));
            let subject = group_subject(&group.id);
            set.audit(AuditRecord::done(
                caller,
                "device-group.delete",
                subject,
                now,
            ));
        }
        let left = tree.all().filter(|group| !doomed.contains(group)).cloned();
        let after = GroupTree::new(tree.revision.saturating_add(1), left);
        follow(&mut set, &tree, &after);
        self.db.commit(set).await?;
        self.refresh_groups().await;
        metrics::groups_changed("delete", doomed.len());
        tracing::info!(group_id = %group.id, n_groups = doomed.len(), "device group deleted");
        Ok(())
    }
}

/// The beginning of every change of these groups.
fn changed(tree: &GroupTree) -> WriteSet {
    let mut set = WriteSet::new();
    set.expect_one(tree_changed(tree.revision), TREE);
    set.wake(GROUPS_CHANGED);
    set
}

/// Moves the groups right below `doomed` to where it was.
fn reparent(
    caller: &Caller,
    set: &mut WriteSet,
    tree: &GroupTree,
    doomed: &StoredGroup,
    now: OffsetDateTime,
) {
    let mut after = tree.clone();
    let mut moved = Vec::new();
    for child in tree.children(Some(&doomed.id)) {
        let mut group = StoredGroup::clone(child);
        group
            .document
            .parent_id
            .clone_from(&doomed.document.parent_id);
        group.revision = group.revision.saturating_add(1);
        group.updated_at = Timestamp(now);
        after = after.with(group.clone());
        moved.push((child, group));
    }
    for (before, group) in &moved {
        set.expect_one(group_update(group, after.depth(group)), GROUP);
        for below in after.descendants(&group.id) {
            set.execute(group_depth(&below.id, after.depth(below)));
        }
        set.event(group_updated(caller, (tree, before), (&after, group), now));
    }
}

/// The document after the edit.
fn edited(document: &GroupDocument, edit: &GroupEdit) -> Result<GroupDocument, DeviceGroupError> {
    let patch = match edit {
        GroupEdit::Replace(document) => return Ok(GroupDocument::clone(document)),
        GroupEdit::Patch(patch) => patch,
    };
    let unreadable = |error: serde_json::Error| DeviceGroupError::Member(error.to_string());
    let whole = serde_json::to_value(document).map_err(unreadable)?;
    let whole = whole.as_object().cloned().unwrap_or_default();
    let patched = patch.apply(&whole);
    let patched = patched.map_err(|error| DeviceGroupError::PatchFailed(error.reason))?;
    if let Some(unknown) = patched.keys().find(|name| !whole.contains_key(*name)) {
        return Err(DeviceGroupError::Member(format!(
            "unknown member '{unknown}'"
        )));
    }
    serde_json::from_value(Value::Object(patched)).map_err(unreadable)
}
