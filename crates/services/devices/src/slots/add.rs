//! Adding versions to slots.

use lamassu_core::ca::certificate::ATTACHED_TO;
use lamassu_core::ca::{Certificate, CertificateRef, CertificateStatus};
use lamassu_core::caller::Caller;
use lamassu_core::device::RegistryError;
use lamassu_core::device::slot::{
    AddVersion, BindMode, IDENTITY, NewSecret, SecretType, SlotId, SlotStatus, SlotVersion,
    VersionState,
};
use lamassu_core::duration::WireDuration;
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::SerialNumber;
use lamassu_core::pem::CertificateDer;
use lamassu_core::revision::Precondition;
use lamassu_core::timestamp::Timestamp;
use lamassu_db::{Attempt, retry_races};
use serde_json::json;
use time::OffsetDateTime;

use super::secret::{self, Kept};
use super::{ca_refusal, check_name};
use crate::change::{Activation, Change, PROVISIONED, certificate_version};
use crate::lifecycle::Windows;
use crate::owners::OfDms;
use crate::service::DevicesService;
use crate::store::{Slot, StoredDevice, Version, bindings, shown};

/// A secret that was checked, before it has a number.
#[derive(Debug)]
enum Checked {
    Certificate(Box<Certificate>),
    Kept(Kept),
}

impl DevicesService {
    pub(super) async fn add(
        &self,
        caller: &Caller,
        slot: &SlotId,
        request: &AddVersion,
        expected: &Precondition,
    ) -> Result<SlotVersion, RegistryError> {
        check_name(&slot.name)?;
        retry_races(|| self.try_add(caller, slot, request, expected)).await
    }

    async fn try_add(
        &self,
        caller: &Caller,
        slot: &SlotId,
        request: &AddVersion,
        expected: &Precondition,
    ) -> Result<SlotVersion, Attempt<RegistryError>> {
        let stored = self.changeable(slot, expected).await?;
        let secret_type = secret_type(&stored, &slot.name, request)?;
        check_request(request, secret_type, self.db.now())?;
        let checked = self.checked(caller, &stored, slot, secret_type, &request.secret);
        let checked = checked.await?;
        let once = match &checked {
            Checked::Kept(kept) => kept.once.clone(),
            Checked::Certificate(_) => None,
        };
        let dms = self.of_dms(caller, &stored, slot).await?;
        let mut change = Change::of(&stored, self.change_by(caller));
        let slot_is = (slot.name.as_str(), secret_type);
        let number = insert(&mut change, slot_is, request, &checked, dms)?;
        let (set, after) = change.into_write_set("device.slot.version.add");
        self.db.commit(set).await?;
        let slot = after.slots.get(&slot.name);
        let version = slot.and_then(|slot| slot.versions.get(&number));
        let mut version = shown(version.ok_or(RegistryError::VersionNotFound)?);
        if let (Some(token), Some(members)) = (once, version.secret.as_object_mut()) {
            members.insert("token".to_owned(), json!(token));
        }
        Ok(version)
    }

    /// Checks a secret; of certificates the CA service is asked.
    async fn checked(
        &self,
        caller: &Caller,
        stored: &StoredDevice,
        slot: &SlotId,
        secret_type: SecretType,
        new: &NewSecret,
    ) -> Result<Checked, RegistryError> {
        Ok(match secret_type {
            SecretType::X509 => {
                let certificate = self.certificate(caller, stored, slot, new).await?;
                Checked::Certificate(Box::new(certificate))
            }
            SecretType::SshKey => Checked::Kept(secret::ssh(new)?),
            SecretType::Token => {
                let key = secret::key(&self.db).await?;
                Checked::Kept(secret::token(&key, new)?)
            }
            SecretType::Other => {
                let key = secret::key(&self.db).await?;
                Checked::Kept(secret::other(&key, new)?)
            }
        })
    }

    async fn certificate(
        &self,
        caller: &Caller,
        stored: &StoredDevice,
        slot: &SlotId,
        new: &NewSecret,
    ) -> Result<Certificate, RegistryError> {
        let (certificate, der) = named(new)?;
        let found = self.ca.certificate_named(caller, &certificate).await;
        let found = found.map_err(ca_refusal)?;
        if der.is_some_and(|der| der.der() != found.certificate.der()) {
            return Err(RegistryError::CertificateNotFound);
        }
        if found.status != CertificateStatus::Active {
            return Err(RegistryError::CertificateNotActive);
        }
        let id = &stored.device.id;
        if slot.name == IDENTITY && found.subject.common_name != id.as_str() {
            return Err(RegistryError::CommonNameMismatch);
        }
        let attached_to = found
            .metadata
            .as_ref()
            .and_then(|metadata| metadata.get(ATTACHED_TO)?.get("device_id")?.as_str());
        let bound = bindings(&self.db, std::slice::from_ref(&found.serial_number)).await;
        let bound = bound.map_err(StorageFailure::from)?;
        let elsewhere = bound.iter().any(|binding| {
            binding.authority_key_id == found.authority_key_id
                && (binding.device_id != *id || binding.slot != slot.name)
        });
        if elsewhere || attached_to.is_some_and(|device| device != id.as_str()) {
            return Err(RegistryError::CertificateAttached);
        }
        Ok(found)
    }
}

/// The certificate that is meant: by its number, or whole.
fn named(new: &NewSecret) -> Result<(CertificateRef, Option<CertificateDer>), RegistryError> {
    let (serial_number, der) = serial_number(new)?;
    let ca = new.ca_id.clone();
    Ok((
        CertificateRef {
            serial_number,
            ca,
            fingerprint: None,
        },
        der,
    ))
}

fn serial_number(new: &NewSecret) -> Result<(SerialNumber, Option<CertificateDer>), RegistryError> {
    match (&new.serial_number, &new.certificate) {
        (Some(serial), None) => {
            let serial = SerialNumber::parse(serial);
            Ok((serial.ok_or(RegistryError::CertificateNotFound)?, None))
        }
        (None, Some(text)) => {
            let invalid = |reason: String| RegistryError::invalid("secret.certificate", reason);
            let der =
                CertificateDer::from_wire(text).map_err(|error| invalid(error.to_string()))?;
            let read = lamassu_x509::Certificate::from_der(der.der().clone());
            let read = read.map_err(|error| invalid(error.to_string()))?;
            let serial = SerialNumber::parse(&read.serial().to_hex());
            let serial = serial.ok_or(RegistryError::CertificateNotFound)?;
            Ok((serial, Some(der)))
        }
        (Some(_), Some(_)) | (None, None) => {
            let reason = "one of serial_number and certificate is required";
            Err(RegistryError::invalid("secret", reason))
        }
    }
}

/// What the slot holds, or shall hold.
fn secret_type(
    stored: &StoredDevice,
    name: &str,
    request: &AddVersion,
) -> Result<SecretType, RegistryError> {
    let known = stored.slots.get(name).map(|slot| slot.secret_type);
    let fixed = known.or_else(|| (name == IDENTITY).then_some(SecretType::X509));
    match (fixed, request.secret_type) {
        (Some(fixed), Some(asked)) if fixed != asked => Err(RegistryError::SecretTypeImmutable),
        (Some(fixed), _) => Ok(fixed),
        (None, Some(asked)) => Ok(asked),
        (None, None) => Err(RegistryError::SlotNotFound),
    }
}

fn check_request(
    request: &AddVersion,
    secret_type: SecretType,
    now: OffsetDateTime,
) -> Result<(), RegistryError> {
    if let Some(end) = request.expires_at {
        if secret_type == SecretType::X509 {
            let reason = "certificates have an end of their own";
            return Err(RegistryError::invalid("expires_at", reason));
        }
        if end.0 <= now {
            return Err(RegistryError::invalid("expires_at", "in the past"));
        }
    }
    if request.overlap.is_some_and(WireDuration::is_negative) {
        return Err(RegistryError::invalid("overlap", "negative"));
    }
    if request.overlap.is_some() && !request.activate {
        let reason = "only where the version is activated";
        return Err(RegistryError::invalid("overlap", reason));
    }
    Ok(())
}

/// Puts the secret into the slot; gives its number.
fn insert(
    change: &mut Change<'_>,
    (name, secret_type): (&str, SecretType),
    request: &AddVersion,
    checked: &Checked,
    dms: OfDms,
) -> Result<u32, RegistryError> {
    let now = change.now();
    let policy = change.superseded_policy(name);
    let renewed = change.windows_of(name, dms);
    let slot = change.slot_or_new(name, secret_type);
    let mut version = version(slot.next_version(), request, checked, now);
    let holds = |known: &Version| {
        let same_certificate = known.serial_number.is_some()
            && known.serial_number == version.serial_number
            && known.authority_key_id == version.authority_key_id;
        let same_secret = known.serial_number.is_none() && known.secret == version.secret;
        let same_key =
            secret_type == SecretType::SshKey && known.public_key_id == version.public_key_id;
        !known.state.is_final() && (same_certificate || same_secret || same_key)
    };
    if slot.versions.values().any(holds) {
        return Err(RegistryError::DuplicateSecret);
    }
    let mode = request
        .bind_mode
        .unwrap_or_else(|| bind_mode(slot, &version));
    version.bind_mode = Some(mode.name().to_owned());
    let (number, end) = (version.version, version.expires_at);
    let is_first = slot.status == SlotStatus::Empty;
    let windows = end.map(|end| Windows::of(end, renewed));
    let overlap = request.overlap.or(policy.overlap);
    let revoke_superseded = policy
        .revoke_superseded
        .or(dms.revoke_superseded)
        .unwrap_or(false);
    slot.versions.insert(number, version);
    if request.activate {
        let text = if is_first && name == IDENTITY {
            String::new()
        } else {
            format!("New Active Version set to {number}")
        };
        let entry = if is_first { PROVISIONED } else { mode.name() };
        change.activate(
            name,
            number,
            Activation {
                entry: (entry, text),
                comment: None,
                overlap,
                revoke_superseded,
                windows,
                status: None,
            },
        );
    } else {
        change.version(name, number);
    }
    if let Checked::Certificate(certificate) = checked {
        change.attach(name, (&**certificate).into(), renewed);
    }
    Ok(number)
}

fn version(number: u32, request: &AddVersion, checked: &Checked, now: OffsetDateTime) -> Version {
    match checked {
        Checked::Certificate(certificate) => certificate_version(number, certificate, now),
        Checked::Kept(kept) => {
            let ends = [kept.ends, request.expires_at].into_iter().flatten().min();
            Version {
                fingerprint: kept.fingerprint.clone(),
                public_key_id: kept.public_key_id.clone(),
                expires_at: ends.map(Timestamp::truncated_to_micros),
                ..Version::pending(number, kept.secret.clone(), now)
            }
        }
    }
}

/// The first version, one with the key of the active one, or one with another key.
fn bind_mode(slot: &Slot, version: &Version) -> BindMode {
    let key = version.public_key_id.as_ref();
    match slot.active() {
        None if slot
            .versions
            .values()
            .all(|known| known.state == VersionState::Pending) =>
        {
            BindMode::Provisioned
        }
        Some(active) if key.is_some() && active.public_key_id.as_ref() == key => BindMode::Renewed,
        Some(_) | None => BindMode::ReProvisioned,
    }
}
