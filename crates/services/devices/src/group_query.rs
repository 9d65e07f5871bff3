//! Reading groups, and devices by group.

use std::collections::BTreeMap;

use lamassu_core::device::v2::CountedPage;
use lamassu_core::device::{Device, DeviceStats, DeviceStatus};
use lamassu_core::device_group::{DeviceGroupError, Group, ListGroups};
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::DeviceGroupId;
use lamassu_core::page::Page;
use lamassu_core::query::ListRequest;
use lamassu_db::DbError;
use lamassu_db::list::{ListError, count, count_by, list};

use crate::query::{counter, stats_of};
use crate::service::DevicesService;
use crate::store::{DEVICES, GROUPS, STATUS_FIELD};
use crate::values::Purpose;

/// Bookmarks of the list of groups.
const SCOPE: &str = "device-groups";

impl DevicesService {
    pub(crate) async fn read_group(&self, id: &DeviceGroupId) -> Result<Group, DeviceGroupError> {
        let tree = self.current_groups().await.map_err(StorageFailure::from)?;
        Ok(tree.show(tree.find(id)?))
    }

    pub(crate) async fn list_groups(
        &self,
        request: &ListGroups,
    ) -> Result<CountedPage<Group>, DeviceGroupError> {
        let asked = &request.request;
        let page = list(&self.db, &GROUPS, SCOPE, asked, &[]).await;
        let page = page.map_err(ListError::into_error::<DeviceGroupError>)?;
        let total = if request.count {
            let counted = count(&self.db, &GROUPS, &asked.filters, &[]).await;
            let counted = counted.map_err(ListError::into_error::<DeviceGroupError>)?;
            Some(u64::try_from(counted).unwrap_or_default())
        } else {
            None
        };
        let tree = self.tree().await?;
        let mut groups = Vec::with_capacity(page.list.len());
        for row in &page.list {
            let id: String = row.get("id").map_err(StorageFailure::from)?;
            // One that was deleted in between is left out.
            if let Some(group) = tree.get(&id.into()) {
                groups.push(tree.show(group));
            }
        }
        Ok(CountedPage {
            next: page.next,
            list: groups,
            total,
        })
    }

    pub(crate) async fn list_members(
        &self,
        id: &DeviceGroupId,
        request: &ListRequest,
    ) -> Result<Page<Device>, DeviceGroupError> {
        let tree = self.current_groups().await.map_err(StorageFailure::from)?;
        let group = tree.find(id)?;
        let scope = format!("{SCOPE}/{}", group.id);
        let restrictions = tree.restrictions(group, self.db.now());
        let narrowed = self
            .narrowed(DEVICES.fields, &scope, request, &restrictions)
            .await;
        let narrowed = narrowed.map_err(ListError::into_error::<DeviceGroupError>)?;
        let page = list(&self.db, &DEVICES, &scope, request, &narrowed).await;
        let page = page.map_err(ListError::into_error::<DeviceGroupError>)?;
        let devices = self.store.complete(&page.list).await;
        let devices = devices.map_err(StorageFailure::from)?;
        Ok(Page {
            next: page.next,
            list: devices.into_iter().map(|stored| stored.device).collect(),
        })
    }

    pub(crate) async fn count_members(
        &self,
        id: &DeviceGroupId,
    ) -> Result<DeviceStats, DeviceGroupError> {
        let tree = self.current_groups().await.map_err(StorageFailure::from)?;
        let restrictions = tree.restrictions(tree.find(id)?, self.db.now());
        let narrowed = self.narrowed_by(&[], &restrictions, Purpose::Number).await;
        let narrowed = narrowed.map_err(ListError::into_error::<DeviceGroupError>)?;
        let counted = count_by(&self.db, &DEVICES, STATUS_FIELD, &[], &narrowed).await;
        let counted = counted.map_err(ListError::into_error::<DeviceGroupError>)?;
        let counters = counted.iter().map(|(name, rows)| counter(name, *rows));
        let counters: Result<BTreeMap<DeviceStatus, u64>, DbError> = counters.collect();
        Ok(stats_of(&counters.map_err(StorageFailure::from)?))
    }
}
