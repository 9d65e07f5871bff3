//! What the DMS manager says about the DMS that a device is given to: whether it exists, since v1 takes any name
//! and v2 does not, and what it would have for identities that come over v2.

use std::sync::{Arc, OnceLock, Weak};

use lamassu_core::ca::RenewalWindows;
use lamassu_core::caller::Caller;
use lamassu_core::device::RegistryError;
use lamassu_core::device::slot::{IDENTITY, SlotId};
use lamassu_core::dms::{Dms, DmsError, DmsService};
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::DmsId;

use crate::service::DevicesService;
use crate::store::{StoredDevice, dms_windows};

/// Where DMSs are known.
#[derive(Clone, Debug)]
pub enum Owners {
    /// In this process. The DMS manager needs the device manager itself, so that it is not kept.
    Here(Weak<dyn DmsService>),
    /// In another one.
    Elsewhere(Arc<dyn DmsService>),
}

impl Owners {
    fn get(&self) -> Option<Arc<dyn DmsService>> {
        match self {
            Self::Here(dms) => dms.upgrade(),
            Self::Elsewhere(dms) => Some(Arc::clone(dms)),
        }
    }
}

/// It is known later than the device manager, or never.
pub(crate) type KnownOwners = Arc<OnceLock<Owners>>;

impl DevicesService {
    /// Has v2 refuse owners that are not known there. Before this is called, and where it never is, any name
    /// is taken; of several calls the first counts.
    pub fn ask_for_owners(&self, owners: Owners) {
        drop(self.owners.set(owners));
    }

    pub(crate) async fn check_owner(
        &self,
        caller: &Caller,
        owner: &DmsId,
    ) -> Result<(), RegistryError> {
        let Some(known) = self.owners.get().and_then(Owners::get) else {
            return Ok(());
        };
        match owner_at(&*known, caller, owner).await? {
            Some(_) => Ok(()),
            None => Err(RegistryError::DmsNotFound),
        }
    }

    /// What the device's DMS would have for the versions of this slot. Of a DMS that is not known, the windows
    /// that are kept.
    pub(crate) async fn of_dms(
        &self,
        caller: &Caller,
        stored: &StoredDevice,
        slot: &SlotId,
    ) -> Result<OfDms, RegistryError> {
        if slot.name != IDENTITY {
            return Ok(OfDms::default());
        }
        let device = &stored.device;
        if let Some(known) = self.owners.get().and_then(Owners::get)
            && let Some(dms) = owner_at(&*known, caller, &device.dms_owner).await?
        {
            return Ok(OfDms::says(&dms));
        }
        let kept = dms_windows(&self.db, std::slice::from_ref(&device.id)).await;
        let kept = kept.map_err(StorageFailure::from)?;
        Ok(OfDms {
            windows: kept.get(&device.id).copied(),
            revoke_superseded: None,
        })
    }
}

/// What a DMS would have for identities, where neither slot nor groups say anything.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OfDms {
    pub(crate) windows: Option<RenewalWindows>,
    pub(crate) revoke_superseded: Option<bool>,
}

impl OfDms {
    pub(crate) fn says(dms: &Dms) -> Self {
        let settings = &dms.settings.reenrollment_settings;
        Self {
            windows: Some(settings.renewal_windows()),
            revoke_superseded: Some(settings.revoke_on_reenrollment),
        }
    }
}

async fn owner_at(
    known: &dyn DmsService,
    caller: &Caller,
    owner: &DmsId,
) -> Result<Option<Dms>, RegistryError> {
    match known.dms(caller, owner).await {
        Ok(dms) => Ok(Some(dms)),
        Err(DmsError::DmsNotFound) => Ok(None),
        Err(DmsError::Storage(failure)) => Err(failure.into()),
        Err(error) => Err(StorageFailure::PeerAway(Box::new(error)).into()),
    }
}
