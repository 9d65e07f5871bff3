//! What crashes leave between the two commits of an enrollment, put right.

use lamassu_core::ca::OpenEnrollment;
use lamassu_core::caller::Caller;
use lamassu_core::device::Device;
use lamassu_core::dms::{DmsError, SweepScope};
use lamassu_core::ids::SerialNumber;
use time::{Duration, OffsetDateTime};

use crate::service::DmsManager;

/// How old an open intent must be before it is taken for abandoned: longer than binding may take
/// ([`BIND_DEADLINE`](crate::issue::BIND_DEADLINE)), and what a queue may hold back after that.
pub(crate) const STALE_AFTER: Duration = Duration::seconds(90);

/// How many intents are read at once.
const PAGE: u32 = 200;

impl DmsManager {
    /// Completes the enrollments whose certificate the device holds and takes the others back.
    /// Those that cannot be decided now stay open for the next sweep.
    pub(crate) async fn sweep(&self, caller: &Caller, scope: SweepScope) -> Result<u32, DmsError> {
        let before = self.sweep_limit(scope);
        let mut handled = 0_u32;
        let mut after = None;
        loop {
            let page = self.ca.open_enrollments(caller, before, after, PAGE);
            let open = page.await?;
            // A page may lack those that cannot be read, and only the last one is empty.
            let Some(last) = open.last() else {
                return Ok(handled);
            };
            // Behind those that stay open, too: they must not keep the others from being settled.
            after = Some((last.opened_at, last.serial_number.clone()));
            for enrollment in &open {
                match self.settle(caller, enrollment).await {
                    Ok(()) => handled = handled.saturating_add(1),
                    Err(error) => tracing::warn!(
                        serial_number = %enrollment.serial_number,
                        device_id = %enrollment.device_id,
                        error = &error as &(dyn std::error::Error + 'static),
                        "open enrollment not settled"
                    ),
                }
            }
        }
    }

    /// Everything opened before this time is swept. What this process opened itself may still be
    /// under way, even where it is known to be alone.
    fn sweep_limit(&self, scope: SweepScope) -> OffsetDateTime {
        match scope {
            SweepScope::All => self.started_at,
            SweepScope::Stale => self.db.now().saturating_sub(STALE_AFTER),
        }
    }

    async fn settle(&self, caller: &Caller, enrollment: &OpenEnrollment) -> Result<(), DmsError> {
        let serial = &enrollment.serial_number;
        let device = self.device_if_any(caller, &enrollment.device_id).await?;
        if device.is_some_and(|device| holds(&device, serial)) {
            self.ca.complete_enrollment(caller, serial).await?;
            tracing::info!(serial_number = %serial, device_id = %enrollment.device_id, "enrollment completed by sweep");
        } else {
            self.ca.abandon_enrollment(caller, serial).await?;
            tracing::info!(serial_number = %serial, device_id = %enrollment.device_id, "enrollment abandoned by sweep");
        }
        Ok(())
    }
}

/// Whether a version of the device's slot is this certificate; any version, because the device may
/// have renewed since.
pub(crate) fn holds(device: &Device, serial: &SerialNumber) -> bool {
    let slot = device.identity.as_ref();
    slot.is_some_and(|slot| slot.versions.values().any(|version| version == serial))
}
