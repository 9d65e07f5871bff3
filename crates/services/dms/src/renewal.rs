//! When a device must renew: as its groups say, else as its DMS does.

use lamassu_core::ca::RenewalWindows;
use lamassu_core::caller::Caller;
use lamassu_core::device::CreateDevice;
use lamassu_core::dms::Dms;
use lamassu_core::ids::DeviceId;

use crate::service::DmsManager;

/// When devices of this DMS must renew, unless their groups say otherwise.
const fn of_dms(dms: &Dms) -> RenewalWindows {
    RenewalWindows {
        preventive: dms.settings.reenrollment_settings.preventive_delta,
        critical: dms.settings.reenrollment_settings.critical_delta,
    }
}

impl DmsManager {
    /// When a device of this DMS must renew; `create` is what it is about to be registered as. Whoever
    /// cannot be asked for its groups keeps nobody from a certificate.
    pub(crate) async fn renewal_windows(
        &self,
        caller: &Caller,
        dms: &Dms,
        device: &DeviceId,
        create: Option<&CreateDevice>,
    ) -> RenewalWindows {
        let windows = of_dms(dms);
        match self.devices.renewal_policy(caller, device, create).await {
            Ok(policy) => policy.over(windows),
            Err(error) => {
                tracing::warn!(
                    device_id = %device,
                    error = &error as &(dyn std::error::Error + 'static),
                    "renewal policies not asked for, those of the DMS apply"
                );
                windows
            }
        }
    }
}
