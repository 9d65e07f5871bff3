//! Does what was asked for with all members of groups, a few devices at a time.
//!
//! 1. An action that is queued gets its members: they are written down, and that ends with the action being
//!    under way. A crash before that begins again.
//! 2. Each device is changed by itself. What is done with a device a second time, because of a crash between
//!    its change and the note about it, changes nothing, unless a JSON Patch adds to a list.
//! 3. When nobody is left the action is over.
//!
//! One run is one step of one action, so that a process that shall stop need not wait for all of it. An action that
//! cannot be read, such as one of a newer version of the program, waits for one that can read it.

use async_trait::async_trait;
use futures_util::future::join_all;
use lamassu_core::caller::{Caller, Principal};
use lamassu_core::device::slot::{IDENTITY, RevokeVersion, SlotId, VersionId};
use lamassu_core::device::{RegistryError, SlotService};
use lamassu_core::device_group::{ActionFailure, ActionState, Deed, DeviceGroupError, GroupAction};
use lamassu_core::error::{ErrorKind, ServiceError, StorageFailure};
use lamassu_core::ids::DeviceId;
use lamassu_core::patch::DocumentPatch;
use lamassu_core::query::ListRequest;
use lamassu_core::revision::Precondition;
use lamassu_core::timestamp::Timestamp;
use lamassu_db::list::{ListError, list};
use lamassu_db::{Job, JobError, NextRun, WriteSet, readable};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::group_action::touched;
use crate::group_events::action_updated;
use crate::metrics;
use crate::service::DevicesService;
use crate::store::{
    DEVICES_IN_V2, MAX_ERRORS, STATE, StoredAction, action_moved, action_progress, actions_expire,
    error_insert, members, members_clear, members_count, members_done, members_insert, oldest_end,
    open_actions,
};
use crate::values::Purpose;

/// The job that works on actions; also its lease and its signal.
pub const ACTIONS_JOB: &str = "device-group-actions";

/// Devices of one step. Their changes share commits.
const BATCH: u32 = 64;

/// Actions of one look, of which the first that can be read is worked on.
const LOOK: u32 = 16;

/// From one look at actions that cannot be read to the next.
const LOOK_AGAIN: Duration = Duration::minutes(1);

/// Members that are written down at a time.
const MEMBERS: u32 = 1_000;

/// How long actions are kept when they are over.
const KEPT: Duration = Duration::days(30);

/// Attempts to take tags from a device that others change at the same time.
const ATTEMPTS: usize = 8;

/// See [`ACTIONS_JOB`].
#[derive(Debug)]
pub(crate) struct ActionsJob {
    service: DevicesService,
}

#[async_trait]
impl Job for ActionsJob {
    fn name(&self) -> &'static str {
        ACTIONS_JOB
    }

    async fn run(&self, caller: &Caller, now: OffsetDateTime) -> Result<NextRun, JobError> {
        let db = &self.service.db;
        let open = open_actions(db, LOOK).await?;
        let is_idle = open.is_empty();
        let Some(open) = open.into_iter().find_map(readable) else {
            let next = self.expire(now).await?;
            return Ok(match is_idle {
                true => next,
                false => NextRun::At(now.saturating_add(LOOK_AGAIN)),
            });
        };
        match open.action.state {
            ActionState::Queued => self.freeze(caller, &open, now).await?,
            _ => self.advance(caller, &open, now).await?,
        }
        Ok(NextRun::At(now))
    }
}

impl ActionsJob {
    pub(crate) const fn new(service: DevicesService) -> Self {
        Self { service }
    }

    /// Removes what is old; gives when there is more to do.
    async fn expire(&self, now: OffsetDateTime) -> Result<NextRun, JobError> {
        let db = &self.service.db;
        let oldest = oldest_end(db).await?;
        let due = oldest.map(|at| at.saturating_add(KEPT));
        match due {
            Some(due) if due < now => {
                let mut set = WriteSet::new();
                for statement in actions_expire(now.saturating_sub(KEPT)) {
                    set.execute(statement);
                }
                db.commit(set).await?;
                Ok(NextRun::At(now))
            }
            // A moment later, so that it is over by then.
            Some(due) => Ok(NextRun::At(due.saturating_add(Duration::SECOND))),
            None => Ok(NextRun::WhenWoken),
        }
    }

    /// Writes down the members, page by page, then that the action is under way.
    async fn freeze(
        &self,
        caller: &Caller,
        open: &StoredAction,
        now: OffsetDateTime,
    ) -> Result<(), JobError> {
        let db = &self.service.db;
        let id = &open.action.id;
        let tree = self.service.current_groups().await?;
        let group = tree.find(&open.action.group_id);
        let touched = group.and_then(|group| {
            let GroupAction { action, filter, .. } = &open.action;
            touched(&tree, group, *action, filter, now)
        });
        let Ok(touched) = touched else {
            // The group is gone, or the program knows its words no more.
            return self.finish(caller, open, ActionState::Failed, now).await;
        };
        let touched = self.service.narrowed_by(&[], &touched, Purpose::Page).await;
        let touched = touched.map_err(ListError::into_error::<DeviceGroupError>)?;
        let mut request = ListRequest {
            page_size: MEMBERS,
            ..ListRequest::default()
        };
        let mut set = WriteSet::new();
        set.execute(members_clear(id));
        db.commit(set).await?;
        loop {
            let page = list(db, &DEVICES_IN_V2, id, &request, &touched).await;
            let page = page.map_err(ListError::into_error::<DeviceGroupError>)?;
            let ids = page.list.iter().map(|row| row.get::<String>("id"));
            let ids = ids.map(|id| id.map(DeviceId::new));
            let ids: Vec<DeviceId> = ids.collect::<Result<_, _>>()?;
            if !ids.is_empty() {
                let mut set = WriteSet::new();
                set.execute(members_insert(id, &ids));
                db.commit(set).await?;
            }
            if page.next.is_empty() {
                break;
            }
            request.bookmark = Some(page.next);
        }
        let action = GroupAction {
            state: ActionState::Running,
            matched: members_count(db, id).await?,
            started_at: Some(Timestamp(now)),
            ..open.action.clone()
        };
        self.moved(caller, &action, ActionState::Queued, now).await
    }

    /// Tells of an action in a new state. Who cancelled it meanwhile was faster.
    async fn moved(
        &self,
        caller: &Caller,
        action: &GroupAction,
        from: ActionState,
        now: OffsetDateTime,
    ) -> Result<(), JobError> {
        let mut set = WriteSet::new();
        set.expect_one(action_moved(action, from), STATE);
        set.event(action_updated(caller, action, now));
        match self.service.db.commit(set).await {
            Ok(_) => {
                tracing::info!(
                    group_id = %action.group_id,
                    action_id = %action.id,
                    state = %action.state,
                    "device group action moved on"
                );
                Ok(())
            }
            Err(error) if error.failed(STATE) => {
                let mut set = WriteSet::new();
                set.execute(members_clear(&action.id));
                self.service.db.commit(set).await?;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn finish(
        &self,
        caller: &Caller,
        open: &StoredAction,
        state: ActionState,
        now: OffsetDateTime,
    ) -> Result<(), JobError> {
        metrics::action_over(state);
        let action = GroupAction {
            state,
            finished_at: Some(Timestamp(now)),
            ..open.action.clone()
        };
        self.moved(caller, &action, open.action.state, now).await
    }

    /// Does the deed with the next devices, or finds that nobody is left.
    async fn advance(
        &self,
        caller: &Caller,
        open: &StoredAction,
        now: OffsetDateTime,
    ) -> Result<(), JobError> {
        let (db, action) = (&self.service.db, &open.action);
        let left = members(db, &action.id, BATCH).await?;
        let deed = Deed::parse(action.action, &action.parameters);
        let (Ok(deed), false) = (deed, left.is_empty()) else {
            let state = match (action.succeeded, action.failed) {
                (_, 0) => ActionState::Succeeded,
                (0, _) => ActionState::Failed,
                _ => ActionState::PartiallyFailed,
            };
            return self.finish(caller, open, state, now).await;
        };
        let by = in_the_name_of(caller, open);
        let done = left
            .iter()
            .map(|device| self.service.perform(&by, device, &deed));
        let done = join_all(done).await;
        let mut set = WriteSet::new();
        let (mut settled, mut succeeded, mut failed) = (Vec::new(), 0, 0);
        let mut unavailable = None;
        for (device, done) in left.into_iter().zip(done) {
            match done {
                Ok(()) => succeeded += 1,
                // What passes is no failure of the device: its turn comes again, that of the others does not.
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    unavailable = Some(error);
                    continue;
                }
                Err(error) => {
                    failed += 1;
                    if action.failed.saturating_add(failed) <= u64::from(MAX_ERRORS) {
                        set.execute(error_insert(&action.id, &failure(&device, &error)));
                    }
                }
            }
            settled.push(device);
        }
        if !settled.is_empty() {
            set.execute(members_done(&action.id, &settled));
            set.execute(action_progress(&action.id, succeeded, failed));
            db.commit(set).await?;
        }
        unavailable.map_or(Ok(()), |error| Err(error.into()))
    }
}

fn failure(device: &DeviceId, error: &RegistryError) -> ActionFailure {
    ActionFailure {
        device_id: device.clone(),
        err: error.to_string(),
        code: error.code().unwrap_or_default().to_owned(),
    }
}

/// Who started the action, under this run's own trace.
fn in_the_name_of(caller: &Caller, open: &StoredAction) -> Caller {
    Caller {
        principal: Principal::from_header(&open.principal).unwrap_or(Principal::System),
        source: open.source.as_deref().map(Into::into),
        request_id: open.request_id.as_str().into(),
        ..caller.clone()
    }
}

impl DevicesService {
    /// Does the deed with one device.
    async fn perform(
        &self,
        caller: &Caller,
        device: &DeviceId,
        deed: &Deed,
    ) -> Result<(), RegistryError> {
        let anyhow = Precondition::None;
        match deed {
            Deed::Patch(patch) => {
                self.patch_v2(caller, device, patch, &anyhow).await?;
            }
            Deed::AddTags(tags) => {
                // Doubles are left out.
                let add = |tag: &String| json!({"op": "add", "path": "/tags/-", "value": tag});
                let patch = DocumentPatch::Strict(tags.iter().map(add).collect());
                self.patch_v2(caller, device, &patch, &anyhow).await?;
            }
            Deed::RemoveTags(tags) => self.take_tags(caller, device, tags).await?,
            Deed::Decommission(how) => {
                self.decommission_v2(caller, device, how, &anyhow).await?;
            }
            Deed::RevokeIdentity(reason) => {
                self.revoke_identity(caller, device, *reason).await?;
            }
            Deed::Purge => match self.purge_v2(caller, device, &anyhow).await {
                // Done before a crash.
                Ok(()) | Err(RegistryError::DeviceNotFound) => {}
                Err(error) => return Err(error),
            },
        }
        Ok(())
    }

    async fn take_tags(
        &self,
        caller: &Caller,
        device: &DeviceId,
        tags: &[String],
    ) -> Result<(), RegistryError> {
        let mut outcome = Err(RegistryError::RevisionConflict);
        for _ in 0..ATTEMPTS {
            let stored = self.store.device(device).await;
            let stored = stored.map_err(StorageFailure::from)?;
            let stored = stored.ok_or(RegistryError::DeviceNotFound)?;
            let kept = stored.device.tags.iter().filter(|tag| !tags.contains(tag));
            let kept = Value::from_iter(kept.cloned());
            let patch = DocumentPatch::Merge([("tags".to_owned(), kept)].into_iter().collect());
            let expected = Precondition::OneOf(vec![stored.revision]);
            outcome = self
                .patch_v2(caller, device, &patch, &expected)
                .await
                .map(drop);
            if !matches!(outcome, Err(RegistryError::RevisionConflict)) {
                break;
            }
        }
        outcome
    }

    /// Revokes the active version of the identity; one that is revoked stays so.
    async fn revoke_identity(
        &self,
        caller: &Caller,
        device: &DeviceId,
        reason: lamassu_core::usage::RevocationReason,
    ) -> Result<(), RegistryError> {
        let stored = self.store.device(device).await;
        let stored = stored.map_err(StorageFailure::from)?;
        let stored = stored.ok_or(RegistryError::DeviceNotFound)?;
        let slot = stored.identity().ok_or(RegistryError::SlotNotFound)?;
        let number = slot.active_version.ok_or(RegistryError::VersionNotFound)?;
        let version = VersionId {
            slot: SlotId {
                device: device.clone(),
                name: IDENTITY.to_owned(),
            },
            number,
        };
        let request = RevokeVersion {
            reason,
            fallback: false,
        };
        self.revoke_version(caller, &version, request, Precondition::None)
            .await
            .map(drop)
    }
}
