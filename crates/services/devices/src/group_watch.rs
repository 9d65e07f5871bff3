//! The groups as this process knows them, and who of their members comes and goes.
//!
//! Reads look whether a group has changed since, by one row. Changes of devices go by what is known: it is
//! brought up to date whenever a group changes, in this process or another, so that no change of a device
//! waits for a look at its groups.

use std::sync::{Arc, Mutex, PoisonError};

use lamassu_core::caller::Caller;
use lamassu_core::ids::{DeviceGroupId, DeviceId};
use lamassu_db::{DbError, Event, WriteSet};
use serde::Serialize;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::events::device_subject;
use crate::group::GROUPS_CHANGED;
use crate::group_member::groups_of;
use crate::group_tree::{GroupTree, StoredGroup};
use crate::service::DevicesService;
use crate::store::{StoredDevice, group_tree, tree_revision};

const DEVICE_MANAGER: &str = "service/devmanager";

/// How long groups of another process may go unnoticed where nobody was woken for them.
const UNHEARD: std::time::Duration = std::time::Duration::from_secs(60);

/// The groups as they were read last.
#[derive(Debug, Default)]
pub(crate) struct GroupCache(Mutex<Arc<GroupTree>>);

impl GroupCache {
    pub(crate) fn get(&self) -> Arc<GroupTree> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A tree that was read before another one never takes its place.
    pub(crate) fn put(&self, tree: &Arc<GroupTree>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tree.revision > known.revision {
            *known = Arc::clone(tree);
        }
    }

    /// Adds the events of a device that changes: which of the groups that want it told does it come into,
    /// and which does it leave.
    pub(crate) fn tell(
        &self,
        set: &mut WriteSet,
        caller: &Caller,
        before: Option<&StoredDevice>,
        after: Option<&StoredDevice>,
        now: OffsetDateTime,
    ) {
        let tree = self.get();
        if !tree.all().any(|group| group.document.notify_membership) {
            return;
        }
        let Some(device) = after.or(before).map(|stored| &stored.device.id) else {
            return;
        };
        let told = |stored: Option<&StoredDevice>| -> Vec<&StoredGroup> {
            let groups = stored.map(|stored| groups_of(&tree, stored, now));
            let groups = groups.unwrap_or_default().into_iter();
            groups
                .filter(|group| group.document.notify_membership)
                .collect()
        };
        let (was, is) = (told(before), told(after));
        for (event_type, from, to) in [
            ("device-group.member.remove", &was, &is),
            ("device-group.member.add", &is, &was),
        ] {
            for group in from.iter().filter(|group| !to.contains(group)) {
                let event = Event::new(event_type, DEVICE_MANAGER, caller, now)
                    .subject(device_subject(device))
                    .data(&Membership {
                        group_id: &group.id,
                        device_id: device,
                    });
                set.event(event);
            }
        }
    }
}

#[derive(Serialize)]
struct Membership<'a> {
    group_id: &'a DeviceGroupId,
    device_id: &'a DeviceId,
}

impl DevicesService {
    /// All groups as they are now. One read by key, unless a group has changed.
    pub(crate) async fn current_groups(&self) -> Result<Arc<GroupTree>, DbError> {
        let revision = tree_revision(&self.db).await?;
        self.groups_at(revision).await
    }

    /// All groups at this revision or a later one, which was read a moment ago. No read, unless a group has
    /// changed.
    pub(crate) async fn groups_at(&self, revision: i64) -> Result<Arc<GroupTree>, DbError> {
        let cached = self.groups.get();
        if revision == cached.revision {
            return Ok(cached);
        }
        let tree = Arc::new(group_tree(&self.db).await?);
        self.groups.put(&tree);
        Ok(tree)
    }

    /// Reads the groups anew, if that is possible.
    pub(crate) async fn refresh_groups(&self) {
        if let Err(error) = self.current_groups().await {
            let error = &error as &(dyn std::error::Error + 'static);
            tracing::debug!(error, "device groups not read");
        }
    }

    /// Keeps what is known of the groups up to date.
    pub(crate) async fn watch_groups(&self, shutdown: &CancellationToken) {
        let mut changes = self.db.signal(GROUPS_CHANGED);
        while !shutdown.is_cancelled() {
            changes.mark_unchanged();
            self.refresh_groups().await;
            tokio::select! {
                _changed = tokio::time::timeout(UNHEARD, changes.changed()) => {}
                () = shutdown.cancelled() => {}
            }
        }
    }
}
