//! Renewal windows follow the policies of groups.
//!
//! A certificate that is bound gets the windows that apply then. When a policy changes, or which devices it
//! is about, those that are bound already follow in the background: the change commits together with the
//! wish for it, and a pass over the devices in question fulfils it. A pass that a crash interrupts begins
//! again, which costs reads only, since whoever has the right windows is left alone. One that met a device that
//! cannot be read is made again as well. The certificate's metadata follow as for every change of a slot.
//!
//! The windows of a device's DMS are kept as long as others apply, for the day when they do again.

use async_trait::async_trait;
use lamassu_core::ca::RenewalWindows;
use lamassu_core::caller::Caller;
use lamassu_core::device::DeviceError;
use lamassu_core::device::slot::IDENTITY;
use lamassu_core::device_group::DeviceGroupError;
use lamassu_core::dms::Dms;
use lamassu_core::ids::DeviceId;
use lamassu_core::query::ListRequest;
use lamassu_db::list::{ListError, list};
use lamassu_db::{Attempt, Job, JobError, NextRun, WriteSet, readable, retry_races};
use time::{Duration, OffsetDateTime};

use crate::change::Change;
use crate::group_policy::has_renewal;
use crate::group_read::policies;
use crate::group_tree::{GroupTree, StoredGroup};
use crate::renewal_windows::{is_renewable, of_policy, present};
use crate::service::DevicesService;
use crate::store::{
    DEVICES_IN_V2, dms_windows, dms_windows_delete, dms_windows_put, renewal_due, renewal_followed,
    renewal_wanted, ruled_devices,
};
use crate::values::Purpose;

/// The job that has renewal windows follow policies; also its lease and its signal.
pub const RENEWAL_JOB: &str = "device-group-renewal";

/// Devices of one look.
const BATCH: u32 = 128;

/// From a pass that met devices which cannot be read to the next.
const LOOK_AGAIN: Duration = Duration::hours(1);

/// Adds the wish that devices follow, if a change of groups is about renewal at all.
pub(crate) fn follow(set: &mut WriteSet, before: &GroupTree, after: &GroupTree) {
    let says = |tree: &GroupTree| tree.all().any(|group| has_renewal(group));
    if says(before) || says(after) {
        set.execute(renewal_wanted(after.revision));
        set.wake(RENEWAL_JOB);
    }
}

/// Keeps, with a binding, what its DMS would have; `before` is what the device had.
pub(crate) fn keep_of_dms(
    set: &mut WriteSet,
    tree: &GroupTree,
    device: &DeviceId,
    (before, bound): (Option<RenewalWindows>, RenewalWindows),
    dms: &Dms,
) {
    let of_dms = dms.settings.reenrollment_settings.renewal_windows();
    if bound != of_dms {
        set.execute(dms_windows_put(device, of_dms));
    } else if before.is_some_and(|before| before != of_dms)
        || tree.all().any(|group| has_renewal(group))
    {
        set.execute(dms_windows_delete(device));
    }
}

/// What came of looking at a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// Its windows are those that it should have.
    Taken,
    /// It cannot be read.
    Unreadable,
}

/// See [`RENEWAL_JOB`].
#[derive(Debug)]
pub(crate) struct RenewalJob {
    service: DevicesService,
}

#[async_trait]
impl Job for RenewalJob {
    fn name(&self) -> &'static str {
        RENEWAL_JOB
    }

    async fn run(&self, caller: &Caller, _now: OffsetDateTime) -> Result<NextRun, JobError> {
        let db = &self.service.db;
        let Some(wanted) = renewal_due(db).await? else {
            return Ok(NextRun::WhenWoken);
        };
        let tree = self.service.current_groups().await?;
        let mut n_unread = 0;
        for group in tree.all().filter(|group| has_renewal(group)) {
            n_unread += self.follow_members(caller, &tree, group).await?;
        }
        n_unread += self.follow_ruled(caller, &tree).await?;
        if n_unread > 0 {
            return Ok(NextRun::At(db.now().saturating_add(LOOK_AGAIN)));
        }
        let mut set = WriteSet::new();
        set.execute(renewal_followed(wanted));
        db.commit(set).await?;
        tracing::info!(
            revision = wanted,
            "renewal windows follow the policies of device groups"
        );
        // Perhaps there is a newer wish.
        Ok(NextRun::At(db.now()))
    }
}

impl RenewalJob {
    pub(crate) const fn new(service: DevicesService) -> Self {
        Self { service }
    }

    /// The members of a group; gives how many of them cannot be read.
    async fn follow_members(
        &self,
        caller: &Caller,
        tree: &GroupTree,
        group: &StoredGroup,
    ) -> Result<usize, JobError> {
        let mut n_unread = 0;
        let db = &self.service.db;
        let restrictions = tree.restrictions(group, db.now());
        let narrowed = self
            .service
            .narrowed_by(&[], &restrictions, Purpose::Page)
            .await;
        let narrowed = narrowed.map_err(ListError::into_error::<DeviceGroupError>)?;
        let mut request = ListRequest {
            page_size: BATCH,
            ..ListRequest::default()
        };
        loop {
            let page = list(db, &DEVICES_IN_V2, RENEWAL_JOB, &request, &narrowed).await;
            let page = page.map_err(ListError::into_error::<DeviceGroupError>)?;
            let ids = page.list.iter().map(|row| row.get::<String>("id"));
            let ids = ids.map(|id| id.map(DeviceId::new));
            let ids: Vec<DeviceId> = ids.collect::<Result<_, _>>()?;
            n_unread += self.follow_each(caller, tree, &ids).await?;
            if page.next.is_empty() {
                return Ok(n_unread);
            }
            request.bookmark = Some(page.next);
        }
    }

    /// Those whom some policy was about; gives how many of them cannot be read.
    async fn follow_ruled(&self, caller: &Caller, tree: &GroupTree) -> Result<usize, JobError> {
        let mut n_unread = 0;
        let mut after = DeviceId::default();
        loop {
            let ids = ruled_devices(&self.service.db, after.as_str(), BATCH).await?;
            let Some(last) = ids.last().cloned() else {
                return Ok(n_unread);
            };
            n_unread += self.follow_each(caller, tree, &ids).await?;
            after = last;
        }
    }

    async fn follow_each(
        &self,
        caller: &Caller,
        tree: &GroupTree,
        ids: &[DeviceId],
    ) -> Result<usize, JobError> {
        let mut n_unread = 0;
        for id in ids {
            if retry_races(|| self.follow_one(caller, tree, id)).await? == Look::Unreadable {
                n_unread += 1;
            }
        }
        Ok(n_unread)
    }

    async fn follow_one(
        &self,
        caller: &Caller,
        tree: &GroupTree,
        id: &DeviceId,
    ) -> Result<Look, Attempt<DeviceError>> {
        let service = &self.service;
        let mut found = service.store.devices(std::slice::from_ref(id)).await?;
        let stored = match found.pop().map(readable) {
            // It is gone.
            None => return Ok(Look::Taken),
            Some(None) => return Ok(Look::Unreadable),
            Some(Some(stored)) => stored,
        };
        let slot = stored.identity().filter(|slot| is_renewable(slot));
        let Some((slot, current)) = slot.and_then(|slot| Some((slot, present(slot)?))) else {
            return Ok(Look::Taken);
        };
        let kept = dms_windows(&service.db, std::slice::from_ref(id)).await?;
        let kept = kept.get(id).copied();
        let of_dms = kept.unwrap_or(current);
        let renewal = policies(tree, &stored, service.db.now()).effective.renewal;
        let wanted = renewal.unwrap_or_default().over(of_dms);
        let wanted = of_policy(&slot.policy).over(wanted);
        if wanted == current {
            return Ok(Look::Taken);
        }
        let mut change = Change::of(&stored, service.change_by(caller));
        change.move_windows(IDENTITY, wanted);
        let mut set = change.into_write_set("device.renewal.update").0;
        set.execute(if wanted == of_dms {
            dms_windows_delete(id)
        } else {
            dms_windows_put(id, of_dms)
        });
        service.db.commit(set).await?;
        tracing::info!(device_id = %id, "renewal windows changed by the policies of its groups");
        Ok(Look::Taken)
    }
}
