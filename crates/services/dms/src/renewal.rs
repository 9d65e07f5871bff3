//! When a device must renew: as its groups say, else as its DMS does.

use lamassu_core::ca::RenewalWindows;
use lamassu_core::dms::Dms;

/// When devices of this DMS must renew, unless their groups say otherwise.
pub(crate) const fn of_dms(dms: &Dms) -> RenewalWindows {
    RenewalWindows {
        preventive: dms.settings.reenrollment_settings.preventive_delta,
        critical: dms.settings.reenrollment_settings.critical_delta,
    }
}
