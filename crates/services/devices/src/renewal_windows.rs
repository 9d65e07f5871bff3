//! When a version of a slot must be renewed: as the slot's policy says, else the groups of its device, else its
//! DMS.
//!
//! Of an identity that is bound over v2 while nobody knows its DMS, it is as for the certificate before; without
//! one it is 30 and 7 days. Other slots have no windows but those of their policy.

use lamassu_core::ca::{CertificateRef, RenewalWindows};
use lamassu_core::device::slot::{IDENTITY, SlotPolicy, SlotStatus};
use lamassu_core::device_group::RenewalPolicy;
use lamassu_core::duration::WireDuration;
use lamassu_core::ids::DeviceId;
use lamassu_core::timestamp::Timestamp;
use lamassu_db::Statement;

use crate::change::Change;
use crate::follow_up::{Task, What};
use crate::group_policy::has_renewal;
use crate::group_read::policies;
use crate::lifecycle::Windows;
use crate::owners::OfDms;
use crate::store::{Slot, Version, dms_windows_delete, dms_windows_put};

/// Windows of an identity of which nobody says any, as certificates without any have them.
const DEFAULT_WINDOWS: RenewalWindows = RenewalWindows {
    preventive: WireDuration::from_secs(30 * 86_400),
    critical: WireDuration::from_secs(7 * 86_400),
};

const NONE: RenewalWindows = RenewalWindows {
    preventive: WireDuration::ZERO,
    critical: WireDuration::ZERO,
};

/// Windows of an identity for the day that its policy and groups say nothing any more.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kept {
    /// These.
    Windows(RenewalWindows),
    /// None: they apply now.
    Nothing,
}

impl Kept {
    /// As stored.
    pub(crate) fn statement(self, device: &DeviceId) -> Statement {
        match self {
            Self::Windows(windows) => dms_windows_put(device, windows),
            Self::Nothing => dms_windows_delete(device),
        }
    }
}

/// The windows that a slot has now.
pub(crate) fn present(slot: &Slot) -> Option<RenewalWindows> {
    let windows = slot.windows.as_ref()?;
    let before = |at: Timestamp| {
        let nanos = (windows.not_after.0 - at.0).whole_nanoseconds();
        i64::try_from(nanos).ok().map(WireDuration::from_nanos)
    };
    Some(RenewalWindows {
        preventive: before(windows.preventive_at)?,
        critical: before(windows.critical_at)?,
    })
}

/// What a slot says itself.
pub(crate) fn of_policy(policy: &SlotPolicy) -> RenewalPolicy {
    RenewalPolicy {
        preventive_delta: policy.preventive_delta,
        critical_delta: policy.critical_delta,
    }
}

impl Change<'_> {
    /// The windows of the next version of a slot, over v2.
    pub(crate) fn windows_of(&mut self, name: &str, dms: OfDms) -> RenewalWindows {
        let slot = self.after.slots.get(name);
        let own = slot.map(|slot| of_policy(&slot.policy));
        let own = own.unwrap_or_default();
        if name != IDENTITY {
            return own.over(NONE);
        }
        let usual = dms.windows.or_else(|| present(slot?));
        let usual = usual.unwrap_or(DEFAULT_WINDOWS);
        let windows = own.over(self.groups_say().over(usual));
        self.keep_windows(match windows == usual {
            true => Kept::Nothing,
            false => Kept::Windows(usual),
        });
        windows
    }

    fn groups_say(&self) -> RenewalPolicy {
        let tree = self.context.groups.get();
        if !tree.all().any(|group| has_renewal(group)) {
            return RenewalPolicy::default();
        }
        let renewal = policies(&tree, &self.after, self.now()).effective.renewal;
        renewal.unwrap_or_default()
    }

    /// Gives a slot whose version can still be renewed in time other windows, with the status that follows, and
    /// its certificate's metadata, too.
    pub(crate) fn move_windows(&mut self, name: &str, wanted: RenewalWindows) {
        let now = self.now();
        let moved = self.after.slots.get(name).filter(|slot| is_renewable(slot));
        let Some(not_after) = moved.and_then(|slot| slot.windows.as_ref()) else {
            return;
        };
        let windows = Windows::of(not_after.not_after, wanted);
        let Some(slot) = self.slot(name) else { return };
        slot.windows = Some(windows);
        let certificate = slot.active().and_then(Version::certificate);
        self.set_slot_status(name, windows.status_at(now));
        if let Some(certificate) = certificate {
            self.attach(name, certificate, wanted);
        }
    }

    /// Has a certificate's metadata say whose it is, and when it must be renewed.
    pub(crate) fn attach(
        &mut self,
        name: &str,
        certificate: CertificateRef,
        windows: RenewalWindows,
    ) {
        self.follow_up(Task {
            slot: name.to_owned(),
            certificate,
            what: What::Attach {
                dms_id: self.before.device.dms_owner.clone(),
                windows,
            },
        });
    }
}

/// Whether the active version of a slot can still be renewed in time.
pub(crate) const fn is_renewable(slot: &Slot) -> bool {
    matches!(
        slot.status,
        SlotStatus::Active | SlotStatus::RenewalPending | SlotStatus::ExpiringSoon
    )
}
