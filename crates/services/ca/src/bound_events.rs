//! What follows from the binding of a certificate to a device.
//!
//! - Its intent is closed, unless it superseded something: then whoever enrolls closes it, because
//!   the old certificate must be retired before the device gets its answer.
//! - Its status is told again if it is not the one it was bound with. Whoever follows certificates
//!   by their devices reads the event of a change before the binding without knowing whose
//!   certificate it is; a change after the binding it does not miss.

use async_trait::async_trait;
use lamassu_core::ca::{Certificate, CertificateStatus};
use lamassu_core::caller::Caller;
use lamassu_core::ids::{DeviceId, SerialNumber};
use lamassu_db::{Db, EventHandler, HandlerError, LoggedEvent, Subscription, WriteSet};
use serde::Deserialize;

use crate::enrollment::belongs_to;
use crate::events::{Change, Teller};
use crate::store::certificate::{StoredCertificate, guard, with_other_status};
use crate::store::intent;

/// The name of the subscription.
pub const BOUND_SUBSCRIPTION: &str = "ca-enrollment-intents";

/// The type of the event that tells of a bound certificate.
const BOUND: &str = "dms.bind-device-id";

/// The reader of the events that [`BoundEvents`] handles.
pub(crate) fn subscription(db: &Db) -> Subscription {
    Subscription::new(db, BOUND_SUBSCRIPTION, &[BOUND]).batch(256)
}

/// Reacts to certificates that are bound: see the module.
#[derive(Debug)]
pub(crate) struct BoundEvents {
    pub(crate) db: Db,
}

/// The part of a bind event that matters here.
#[derive(Debug, Deserialize)]
struct Bound {
    certificate: BoundCertificate,
    device: BoundDevice,
}

/// The certificate as the device manager knew it.
#[derive(Debug, Deserialize)]
struct BoundCertificate {
    serial_number: SerialNumber,
    status: CertificateStatus,
}

#[derive(Debug, Deserialize)]
struct BoundDevice {
    id: DeviceId,
}

impl Bound {
    /// Whether this is the certificate: serial numbers are unique per issuer only.
    fn is_of(&self, certificate: &Certificate) -> bool {
        self.certificate.serial_number == certificate.serial_number
            && belongs_to(certificate, &self.device.id)
    }
}

#[async_trait]
impl EventHandler for BoundEvents {
    async fn handle(
        &self,
        caller: &Caller,
        events: &[LoggedEvent],
    ) -> Result<WriteSet, HandlerError> {
        let bound = events
            .iter()
            .map(LoggedEvent::data)
            .collect::<Result<Vec<Bound>, _>>()?;
        let mut set = WriteSet::new();
        let serials: Vec<_> = bound
            .iter()
            .map(|Bound { certificate, .. }| &certificate.serial_number)
            .collect();
        if !serials.is_empty() {
            set.execute(intent::remove_first(&serials));
        }
        let known: Vec<_> = bound
            .iter()
            .map(|Bound { certificate, .. }| (&certificate.serial_number, certificate.status))
            .collect();
        let teller = Teller {
            caller,
            now: self.db.now(),
        };
        for changed in with_other_status(&self.db, &known).await? {
            let of_it = bound.iter().find(|bound| bound.is_of(&changed.certificate));
            if let Some(bound) = of_it {
                tell_again(&mut set, teller, &changed, bound.certificate.status);
            }
        }
        Ok(set)
    }
}

/// Tells the present status, unless it changes before that is told: a late word of a hold would
/// undo its release.
fn tell_again(
    set: &mut WriteSet,
    teller: Teller<'_>,
    changed: &StoredCertificate,
    known: CertificateStatus,
) {
    let previous = Certificate {
        status: known,
        ..changed.certificate.clone()
    };
    guard(set, changed);
    let change = Change {
        previous: &previous,
        updated: &changed.certificate,
    };
    teller.certificate_status(set, &change);
}
