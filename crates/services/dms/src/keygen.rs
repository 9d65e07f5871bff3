//! `serverkeygen` (RFC 7030 §4.4): a key made for a device, and a certificate for it.
//!
//! Nothing is made before everything that can refuse has been looked at. The key exists in this
//! process's memory only, until the answer has left; it is never stored, and wiped when dropped.
//!
//! The request's own key and signature say nothing here (clients have to send some), unless the
//! device wants the new key encrypted for it: see `key_delivery.rs`.

use std::sync::Arc;
use std::time::Duration;

use lamassu_core::ca::EnrollmentMode;
use lamassu_core::caller::Caller;
use lamassu_core::dms::approval::ApprovalOperation;
use lamassu_core::dms::settings::ServerKeygenSettings;
use lamassu_core::dms::{DmsError, EstRequest, GeneratedKey, KeygenRefusal, Outcome};
use lamassu_core::error::StorageFailure;
use lamassu_crypto::{Curve, KeySpec, Message, PrivateKey};
use lamassu_x509::RequestTemplate;
use tokio::sync::Semaphore;

use crate::approval::Clearance;
use crate::authenticate::{Asker, Attempt};
use crate::issue::Approved;
use crate::key_delivery::Delivery;
use crate::request::{DeviceRequest, Possession};
use crate::service::DmsManager;

/// Requests that may make a key or wait for it; the others come back later.
const PLACES: usize = 64;

/// How long a request waits for its turn; a device would hang up soon after, and its certificate would
/// have to be taken for delivered.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// Makes keys off the threads that answer requests, a few at a time: RSA of 4096 bits takes a core
/// a second or more.
#[derive(Debug)]
pub(crate) struct KeyMaker {
    places: Semaphore,
    workers: Arc<Semaphore>,
}

impl KeyMaker {
    pub(crate) fn new(n_workers: usize) -> Self {
        Self {
            places: Semaphore::new(PLACES),
            workers: Arc::new(Semaphore::new(n_workers)),
        }
    }

    /// Makes a key. When the caller goes away, a key being made is finished and dropped.
    async fn make(&self, spec: KeySpec) -> Result<PrivateKey, DmsError> {
        let _place = self.places.try_acquire().map_err(|_| KeygenRefusal::Busy)?;
        let turn = Arc::clone(&self.workers).acquire_owned();
        let Ok(Ok(worker)) = tokio::time::timeout(LONGEST_WAIT, turn).await else {
            return Err(KeygenRefusal::Busy.into());
        };
        let made = tokio::task::spawn_blocking(move || {
            let made = PrivateKey::generate(spec);
            drop(worker);
            made
        });
        let internal = |error| DmsError::from(StorageFailure::Internal(error));
        let made = made.await.map_err(|error| internal(Box::new(error)))?;
        made.map_err(|error| internal(Box::new(error)))
    }
}

impl DmsManager {
    /// Makes a key for a device and enrolls it.
    pub(crate) async fn generate_key(
        &self,
        caller: &Caller,
        est: EstRequest,
    ) -> Result<Outcome<GeneratedKey>, DmsError> {
        let asked = DeviceRequest::parse(est.csr.clone())?;
        let dms = self.est_dms(est.label.as_ref()).await?;
        let spec = key_spec(&dms.settings.server_keygen_settings)?;
        // 1. Who asks.
        let attempt = Attempt {
            caller,
            dms: &dms,
            est: &est,
            request: &asked,
            mode: EnrollmentMode::Enroll,
        };
        let Asker {
            caller, password, ..
        } = self.admit_enrollment(attempt).await?;
        let operation = ApprovalOperation::ServerKeygen;
        let bound_by = self.check_binding(attempt, operation).await?;
        let delivery = Delivery::asked_for(&asked, est.client_chain.as_ref())?;
        // 2. For which device, under which rules, with whose approval.
        let admitted = self.admit(&caller, &dms, &asked.device_id).await?;
        let wanted = (operation, bound_by);
        let approval = match self.clearance(&caller, &dms, &asked, wanted).await? {
            Clearance::Given(approval) => approval,
            Clearance::Pending(after) => return Ok(Outcome::Pending(after)),
        };
        // 3. The key, and a request for it with what the device asked for.
        let key = self.keys.make(spec).await?;
        let request = request_for(&asked, &key)?;
        let csr = request.decide_possession(Possession::Required)?;
        // Before there is a certificate: what cannot be delivered is not issued.
        let delivered = self.deliver(&caller, &dms, delivery, &key).await?;
        let approved = Approved {
            dms: &dms,
            request: &request,
            csr,
            mode: EnrollmentMode::Enroll,
            // Clients of the reference know no event of their own for this.
            announce: None,
            profile: admitted.profile,
            superseded: admitted.superseded,
            create: admitted.create,
            slot: admitted.slot,
            windows: admitted.windows,
        };
        let certificate = self.issue_once(&caller, approved, password).await?;
        if let Some(place) = admitted.place {
            place.keep();
        }
        self.close_approval(&caller, approval, &certificate).await;
        Ok(Outcome::Issued(GeneratedKey {
            certificate,
            key: delivered,
        }))
    }
}

/// The key that the DMS offers.
fn key_spec(settings: &ServerKeygenSettings) -> Result<KeySpec, KeygenRefusal> {
    if !settings.enabled {
        return Err(KeygenRefusal::Disabled);
    }
    let key = &settings.key;
    let spec = match key.key_type.as_str() {
        "RSA" => KeySpec::Rsa(key.bits),
        "ECDSA" => {
            let curve = Curve::ALL
                .into_iter()
                .find(|curve| curve.bits() == key.bits);
            // As the reference has it, of sizes that no curve has.
            KeySpec::Ec(curve.unwrap_or(Curve::P256))
        }
        "Ed25519" => KeySpec::Ed25519,
        other => return Err(KeygenRefusal::KeyType(other.to_owned())),
    };
    if KeySpec::GENERATED.contains(&spec) {
        Ok(spec)
    } else {
        Err(KeygenRefusal::KeyType(format!("RSA {}", key.bits)))
    }
}

/// A request for this key, with subject and extensions of the device's request, signed by the key.
fn request_for(asked: &DeviceRequest, key: &PrivateKey) -> Result<DeviceRequest, DmsError> {
    let template = RequestTemplate::new(asked.csr.subject().clone(), key.public_key());
    let template = asked
        .csr
        .requested_extensions()
        .iter()
        .cloned()
        .fold(template, RequestTemplate::with_extension);
    let internal = |error| StorageFailure::Internal(error);
    let to_be_signed = template
        .to_be_signed(key.default_scheme())
        .map_err(|error| internal(Box::new(error)))?;
    let message = Message::Raw(to_be_signed.as_bytes());
    let signature = key
        .sign(to_be_signed.scheme(), message)
        .map_err(|error| internal(Box::new(error)))?;
    DeviceRequest::parse(to_be_signed.assemble(&signature))
}

#[cfg(test)]
mod tests {
    use lamassu_core::dms::KeygenRefusal;
    use lamassu_core::dms::settings::{KeygenKey, ServerKeygenSettings};
    use lamassu_crypto::{Curve, KeySpec};

    use super::key_spec;

    #[test]
    fn the_key_is_the_one_that_the_dms_names() {
        let offered = |key_type: &str, bits| {
            key_spec(&ServerKeygenSettings {
                enabled: true,
                key: KeygenKey {
                    key_type: key_type.to_owned(),
                    bits,
                },
            })
        };
        let unsupported = |text: &str| Err(KeygenRefusal::KeyType(text.to_owned()));
        let cases = [
            ("RSA", 3072, Ok(KeySpec::Rsa(3072))),
            ("ECDSA", 521, Ok(KeySpec::Ec(Curve::P521))),
            ("ECDSA", 1, Ok(KeySpec::Ec(Curve::P256))),
            ("Ed25519", 0, Ok(KeySpec::Ed25519)),
            ("RSA", 1024, unsupported("RSA 1024")),
            ("DSA", 2048, unsupported("DSA")),
            ("0", 0, unsupported("0")),
        ];
        for (key_type, bits, expected) in cases {
            assert_eq!(offered(key_type, bits), expected, "{key_type} {bits}");
        }
        let disabled = key_spec(&ServerKeygenSettings::default());
        assert_eq!(disabled, Err(KeygenRefusal::Disabled));
    }
}
