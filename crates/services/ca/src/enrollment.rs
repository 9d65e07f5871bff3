//! Certificates on their way to a device: closing and abandoning intents, and what a certificate's
//! metadata says about its device.

use lamassu_core::ca::certificate::{ATTACHED_TO, EXPIRATION_DELTAS};
use lamassu_core::ca::enrollment::{Attachment, Detach, Revoke};
use lamassu_core::ca::{
    CaError, Certificate, CertificateRef, CertificateStatus, RenewalWindows, Superseded,
};
use lamassu_core::caller::Caller;
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::{DeviceId, SerialNumber};
use lamassu_core::usage::RevocationReason;
use lamassu_db::{Attempt, DbError, WriteSet, retry_races};
use serde_json::{Map, Value, json};

use crate::ca_status::add_cascades;
use crate::events::{Change, Teller, certificate_subject};
use crate::lifecycle::with_status;
use crate::metrics;
use crate::service::CaService;
use crate::status::tell_status;
use crate::store::authority::{self, StoredAuthority};
use crate::store::certificate::{ChangedBy, StoredCertificate, by_id, by_name, update};
use crate::store::intent::{self, OpenIntent};

impl CaService {
    /// Closes the intent of a bound certificate and retires the one that it superseded.
    pub(crate) async fn complete(
        &self,
        caller: &Caller,
        serial: &SerialNumber,
    ) -> Result<(), CaError> {
        let cascades = retry_races(|| self.try_complete(caller, serial)).await?;
        self.begin_cascades(caller, cascades).await;
        Ok(())
    }

    async fn try_complete(
        &self,
        caller: &Caller,
        serial: &SerialNumber,
    ) -> Result<Vec<String>, Attempt<CaError>> {
        let Some(open) = intent::open(&self.db, serial).await? else {
            return Ok(Vec::new());
        };
        let teller = Teller {
            caller,
            now: self.db.now(),
        };
        let mut set = WriteSet::new();
        let mut revoked = None;
        match &open.superseded {
            None => intent::remove(&mut set, serial),
            Some(superseded) => {
                intent::complete(&mut set, serial, teller.now);
                if let Some(stored) = self.superseded_certificate(&open, superseded).await? {
                    let retired = self.retire(&mut set, teller, &stored, superseded);
                    revoked = retired.await?;
                }
            }
        }
        teller.audit(
            &mut set,
            "enrollment.complete",
            format!("certificate/{serial}"),
        );
        self.db.commit(set).await?;
        if revoked.is_some() {
            metrics::revoked();
        }
        Ok(revoked.unwrap_or_default())
    }

    /// The certificate that was superseded. Its serial number alone does not say that: others may use the
    /// number, too. It is the one that belongs to the device; or the only one with the number, if it belongs
    /// to no device and is not a CA's.
    async fn superseded_certificate(
        &self,
        open: &OpenIntent,
        superseded: &Superseded,
    ) -> Result<Option<StoredCertificate>, Attempt<CaError>> {
        let mut found = by_name(&self.db, &(&superseded.serial_number).into()).await?;
        let device = &open.attachment.device_id;
        let only = found.len() == 1;
        found.retain(|stored| {
            let certificate = &stored.certificate;
            belongs_to(certificate, device)
                || only && !certificate.is_ca && attachment_of(certificate).is_none()
        });
        Ok(found.into_iter().next())
    }

    /// Revokes a certificate that no device received and closes its intent.
    pub(crate) async fn abandon(
        &self,
        caller: &Caller,
        serial: &SerialNumber,
    ) -> Result<(), CaError> {
        let was_superseded = intent::was_superseded(&self.db, serial).await;
        if was_superseded.map_err(StorageFailure::from)? {
            // The device had it, though its slot may know nothing of it any more.
            return self.complete(caller, serial).await;
        }
        retry_races(|| self.try_abandon(caller, serial)).await
    }

    async fn try_abandon(
        &self,
        caller: &Caller,
        serial: &SerialNumber,
    ) -> Result<(), Attempt<CaError>> {
        let Some(open) = intent::open(&self.db, serial).await? else {
            return Ok(());
        };
        let stored = by_id(&self.db, &open.certificate_id).await?;
        let teller = Teller {
            caller,
            now: self.db.now(),
        };
        let mut set = WriteSet::new();
        intent::remove(&mut set, serial);
        let revoked = stored.and_then(|stored| {
            let reason = RevocationReason::CessationOfOperation;
            let updated = revoked_for_good(&stored.certificate, reason, teller)?;
            Some((stored, updated))
        });
        if let Some((stored, updated)) = &revoked {
            update(&mut set, stored, updated, None, ChangedBy::Request);
            tell_status(&mut set, teller, stored, updated);
        }
        teller.audit(
            &mut set,
            "enrollment.abandon",
            format!("certificate/{serial}"),
        );
        self.db.commit(set).await?;
        if revoked.is_some() {
            metrics::revoked();
            tracing::info!(serial_number = %serial, "undelivered certificate revoked");
        }
        Ok(())
    }

    /// Writes to a certificate's metadata whose it is and when it must be renewed. What is there
    /// already is not written, told or audited again.
    pub(crate) async fn attach(
        &self,
        caller: &Caller,
        named: &CertificateRef,
        attachment: &Attachment,
        windows: RenewalWindows,
    ) -> Result<Certificate, CaError> {
        retry_races(|| self.try_attach(caller, named, attachment, windows)).await
    }

    async fn try_attach(
        &self,
        caller: &Caller,
        named: &CertificateRef,
        attachment: &Attachment,
        windows: RenewalWindows,
    ) -> Result<Certificate, Attempt<CaError>> {
        let stored = self.certificate_named(named).await?;
        let mut updated = stored.certificate.clone();
        let metadata = updated.metadata.take().unwrap_or_default();
        updated.metadata = Some(attached(metadata, attachment, windows));
        if updated == stored.certificate {
            // Nobody asked for an update of metadata, as clients do who expect an event in any case.
            return Ok(updated);
        }
        let teller = Teller {
            caller,
            now: self.db.now(),
        };
        let mut set = WriteSet::new();
        update(&mut set, &stored, &updated, None, ChangedBy::Request);
        let change = Change {
            previous: &stored.certificate,
            updated: &updated,
        };
        teller.certificate_metadata(&mut set, &change);
        teller.audit(
            &mut set,
            "certificate.metadata.update",
            certificate_subject(&updated),
        );
        self.attach_authorities(&mut set, teller, &stored, &updated)
            .await?;
        self.wake_if_due_soon(&mut set, &updated, teller.now);
        self.db.commit(set).await?;
        Ok(updated)
    }

    /// Writes to the metadata of the CAs whose certificate this is that it is attached or detached: they
    /// are the device's, too, a gateway's own for example. Gives those CAs as they are then.
    pub(crate) async fn attach_authorities(
        &self,
        set: &mut WriteSet,
        teller: Teller<'_>,
        stored: &StoredCertificate,
        updated: &Certificate,
    ) -> Result<Vec<StoredAuthority>, DbError> {
        if !updated.is_ca {
            return Ok(Vec::new());
        }
        let attachment = attachment_of(updated);
        let is_news = attachment != attachment_of(&stored.certificate);
        let mut sharing = authority::by_certificate(&self.db, &stored.id).await?;
        for stored in &mut sharing {
            let mut ca = stored.authority.clone();
            ca.certificate = updated.clone();
            if is_news {
                match attachment {
                    Some(attachment) => ca
                        .metadata
                        .insert(ATTACHED_TO.to_owned(), attachment.clone()),
                    None => ca.metadata.remove(ATTACHED_TO),
                };
            }
            if ca.metadata != stored.authority.metadata {
                authority::set_metadata(set, stored, &ca);
                let change = Change {
                    previous: &stored.authority,
                    updated: &ca,
                };
                teller.ca_changed(set, "ca.metadata.update", &change);
            }
            stored.authority = ca;
        }
        Ok(sharing)
    }

    /// Detaches and revokes a superseded certificate, as far as its intent says so, and with it the CAs that have
    /// it; gives the ids of the cascades if it is revoked by that.
    ///
    /// The event of the lost attachment comes first, so that whoever follows both does not take the
    /// revocation for one of the device's certificate.
    async fn retire(
        &self,
        set: &mut WriteSet,
        teller: Teller<'_>,
        stored: &StoredCertificate,
        superseded: &Superseded,
    ) -> Result<Option<Vec<String>>, DbError> {
        let mut detached = stored.clone();
        if superseded.detach == Detach::Yes && detach(&mut detached.certificate) {
            let change = Change {
                previous: &stored.certificate,
                updated: &detached.certificate,
            };
            teller.certificate_metadata(set, &change);
        }
        let sharing = self
            .attach_authorities(set, teller, stored, &detached.certificate)
            .await?;
        let revoked = match superseded.revoke {
            Revoke::Yes => {
                revoked_for_good(&detached.certificate, RevocationReason::Superseded, teller)
            }
            Revoke::No => None,
        };
        let updated = revoked.as_ref().unwrap_or(&detached.certificate);
        if *updated != stored.certificate {
            update(set, stored, updated, None, ChangedBy::Request);
        }
        let Some(updated) = &revoked else {
            return Ok(None);
        };
        for ca in &sharing {
            teller.ca_has_status(set, &ca.authority, updated);
        }
        tell_status(set, teller, &detached, updated);
        let now_is = (CertificateStatus::Revoked, RevocationReason::Superseded);
        Ok(Some(add_cascades(
            set, &sharing, &detached, now_is, teller.now,
        )))
    }
}

/// The certificate, revoked, unless it is for good already. A hold is not: its release would make
/// a certificate good again that no device has or should have.
fn revoked_for_good(
    certificate: &Certificate,
    reason: RevocationReason,
    teller: Teller<'_>,
) -> Option<Certificate> {
    with_status(certificate, CertificateStatus::Revoked, reason, teller.now).ok()
}

/// Removes both members from the metadata; whether there was any.
fn detach(certificate: &mut Certificate) -> bool {
    let Some(metadata) = &mut certificate.metadata else {
        return false;
    };
    [ATTACHED_TO, EXPIRATION_DELTAS]
        .into_iter()
        .filter(|member| metadata.remove(*member).is_some())
        .count()
        > 0
}

/// Whether the certificate's metadata say that it is this device's.
pub(crate) fn belongs_to(certificate: &Certificate, device: &DeviceId) -> bool {
    let attached_to = attachment_of(certificate).and_then(|to| to.get("device_id")?.as_str());
    attached_to == Some(device.as_str())
}

fn attachment_of(certificate: &Certificate) -> Option<&Value> {
    let metadata = certificate.metadata.as_ref()?;
    metadata.get(ATTACHED_TO)
}

/// Metadata with the members that say whose certificate it is and when it must be renewed.
pub(crate) fn attached(
    mut metadata: Map<String, Value>,
    attachment: &Attachment,
    windows: RenewalWindows,
) -> Map<String, Value> {
    let Attachment {
        device_id,
        dms_id,
        slot,
    } = attachment;
    let RenewalWindows {
        preventive,
        critical,
    } = windows;
    metadata.insert(
        EXPIRATION_DELTAS.to_owned(),
        json!([
            { "delta": preventive, "name": "Preventive", "triggered": false },
            { "delta": critical, "name": "Critical", "triggered": false },
        ]),
    );
    let mut attached = json!({ "authorized_by": { "ra_id": dms_id }, "device_id": device_id });
    if let (Some(slot), Some(members)) = (slot, attached.as_object_mut()) {
        members.insert("slot".to_owned(), json!(slot));
    }
    metadata.insert(ATTACHED_TO.to_owned(), attached);
    metadata
}
