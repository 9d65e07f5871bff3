//! Whether the DMS that a device is given to exists, as the DMS manager says. v1 takes any name, v2 does not.

use std::sync::{Arc, OnceLock, Weak};

use lamassu_core::caller::Caller;
use lamassu_core::device::RegistryError;
use lamassu_core::dms::{DmsError, DmsService};
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::DmsId;

use crate::service::DevicesService;

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
        match known.dms(caller, owner).await {
            Ok(_) => Ok(()),
            Err(DmsError::DmsNotFound) => Err(RegistryError::DmsNotFound),
            Err(DmsError::Storage(failure)) => Err(failure.into()),
            Err(error) => Err(StorageFailure::PeerAway(Box::new(error)).into()),
        }
    }
}
