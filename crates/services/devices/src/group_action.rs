//! Starting, reading and cancelling what is done with all members of a group.
//!
//! What an action does with each device is the verb that clients have for one, as a change of its own with
//! its own events, in the name of whoever started it. `group_action_job.rs` does it.

use lamassu_core::caller::Caller;
use lamassu_core::device_group::{
    ActionKind, ActionState, Deed, DeviceGroupError, DryRun, GroupAction, StartAction, Started,
};
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::DeviceGroupId;
use lamassu_core::page::Page;
use lamassu_core::query::{Filter, ListRequest, QueryError, QueryLimit};
use lamassu_core::timestamp::Timestamp;
use lamassu_db::list::{ListError, Restriction, list};
use lamassu_db::{Attempt, AuditRecord, WriteSet, retry_races};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::group_action_job::ACTIONS_JOB;
use crate::group_events::{action_updated, group_subject};
use crate::group_tree::{GroupTree, StoredGroup};
use crate::service::DevicesService;
use crate::store::{
    ACTIONS, DEVICE_FIELDS_IN_V2, GROUP_COLUMN, STATE, STATUS_FIELD, StoredAction, action,
    action_insert, action_moved, members_clear,
};

/// How many devices a dry run shows.
const SAMPLE: u32 = 100;

/// Most actions of one request's filters and parameters, in bytes of JSON.
const MAX_BYTES: usize = 256 * 1024;

impl DevicesService {
    pub(crate) async fn begin_action(
        &self,
        caller: &Caller,
        id: &DeviceGroupId,
        request: StartAction,
    ) -> Result<Started, DeviceGroupError> {
        let tree = self.tree().await?;
        let group = tree.find(id)?;
        Deed::parse(request.action, &request.parameters)?;
        let now = self.db.now();
        let touched = touched(&tree, group, request.action, &request.filter, now)?;
        if serde_json::to_vec(&request.parameters).map_or(usize::MAX, |json| json.len()) > MAX_BYTES
        {
            return Err(DeviceGroupError::Parameters(
                "longer than 256 KiB".to_owned(),
            ));
        }
        if request.dry_run {
            return Ok(Started::DryRun(self.try_out(&touched).await?));
        }
        let action = GroupAction {
            id: Uuid::now_v7().to_string(),
            group_id: group.id.clone(),
            action: request.action,
            parameters: request.parameters,
            filter: request.filter,
            state: ActionState::Queued,
            matched: 0,
            succeeded: 0,
            failed: 0,
            errors: Vec::new(),
            created_at: Timestamp(now),
            started_at: None,
            finished_at: None,
            created_by: caller.principal.auth_id().map(str::to_owned),
        };
        let mut set = WriteSet::new();
        set.execute(action_insert(caller, &action));
        set.audit(AuditRecord::done(
            caller,
            "device-group.action.start",
            format!("{}/actions/{}", group_subject(&group.id), action.id),
            now,
        ));
        set.wake(ACTIONS_JOB);
        self.db.commit(set).await.map_err(StorageFailure::from)?;
        tracing::info!(group_id = %group.id, action_id = %action.id, "device group action queued");
        Ok(Started::Action(Box::new(action)))
    }

    async fn try_out(&self, touched: &[Restriction]) -> Result<DryRun, DeviceGroupError> {
        let (matched, sample) = self.tried(touched, SAMPLE).await?;
        Ok(DryRun { matched, sample })
    }

    pub(crate) async fn list_actions(
        &self,
        id: &DeviceGroupId,
        request: &ListRequest,
    ) -> Result<Page<GroupAction>, DeviceGroupError> {
        let tree = self.tree().await?;
        let group = &tree.find(id)?.id;
        let of_group = [Restriction::Is(GROUP_COLUMN, group.as_str().into())];
        let scope = format!("v2/device-groups/{group}/actions");
        let page = list(&self.db, &ACTIONS, &scope, request, &of_group).await;
        let page = page.map_err(ListError::into_error::<DeviceGroupError>)?;
        let page = page.try_map(|row| StoredAction::try_from(&row).map(|stored| stored.action));
        Ok(page.map_err(StorageFailure::from)?)
    }

    pub(crate) async fn read_action(
        &self,
        group: &DeviceGroupId,
        id: &str,
    ) -> Result<StoredAction, Attempt<DeviceGroupError>> {
        let tree = self.current_groups().await?;
        let group = tree.find(group)?;
        let found = action(&self.db, &group.id, id).await?;
        Ok(found.ok_or(DeviceGroupError::ActionNotFound)?)
    }

    pub(crate) async fn stop_action(
        &self,
        caller: &Caller,
        group: &DeviceGroupId,
        id: &str,
    ) -> Result<GroupAction, DeviceGroupError> {
        retry_races(|| self.try_stop_action(caller, group, id)).await
    }

    async fn try_stop_action(
        &self,
        caller: &Caller,
        group: &DeviceGroupId,
        id: &str,
    ) -> Result<GroupAction, Attempt<DeviceGroupError>> {
        let before = self.read_action(group, id).await?.action;
        if before.state.is_over() {
            return Ok(before);
        }
        let now = self.db.now();
        let after = GroupAction {
            state: ActionState::Cancelled,
            finished_at: Some(Timestamp(now)),
            ..before.clone()
        };
        let mut set = WriteSet::new();
        set.expect_one(action_moved(&after, before.state), STATE);
        set.execute(members_clear(id));
        set.event(action_updated(caller, &after, now));
        set.audit(AuditRecord::done(
            caller,
            "device-group.action.cancel",
            format!("{}/actions/{id}", group_subject(&after.group_id)),
            now,
        ));
        set.wake(ACTIONS_JOB);
        self.db.commit(set).await?;
        Ok(after)
    }
}

/// What the devices fulfil that an action is done with.
///
/// # Errors
/// A filter is none.
pub(crate) fn touched(
    tree: &GroupTree,
    group: &StoredGroup,
    kind: ActionKind,
    filters: &[String],
    now: OffsetDateTime,
) -> Result<Vec<Restriction>, DeviceGroupError> {
    if filters.len() > QueryLimit::Filters.max() {
        return Err(QueryError::LimitExceeded(QueryLimit::Filters).into());
    }
    let mut touched = tree.restrictions(group, now);
    for text in filters {
        let filter = Filter::read_in_v2(DEVICE_FIELDS_IN_V2, text, now)?;
        touched.push(Restriction::Filter(filter));
    }
    if kind == ActionKind::Purge {
        touched.push(Restriction::Is(STATUS_FIELD, "DECOMMISSIONED".into()));
    }
    Ok(touched)
}
