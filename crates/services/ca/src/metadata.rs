//! Metadata of CAs and certificates, changed by JSON Patch.
//!
//! A patch is computed on what is read and stored only while that has not changed: two patches at
//! the same time are one after the other. A patch that changes nothing is told as an update, too, as
//! clients know it.

use lamassu_core::ca::certificate::EXPIRATION_DELTAS;
use lamassu_core::ca::{CaError, Certificate, CertificateAuthority, CertificateRef};
use lamassu_core::caller::Caller;
use lamassu_core::ids::CaId;
use lamassu_core::patch::{PatchOperation, apply_to_object};
use lamassu_db::{Attempt, WriteSet, retry_races_up_to};

use crate::events::{Change, Teller, certificate_subject};
use crate::jobs::CertificateExpiry;
use crate::service::CaService;
use crate::store::authority;
use crate::store::certificate::{ChangedBy, update};

/// How often a patch is attempted: of those that read the same revision one wins, so as many times
/// as there may reasonably be at the same time.
const ATTEMPTS: usize = 64;

impl CaService {
    /// Patches the metadata of a CA.
    pub(crate) async fn patch_ca(
        &self,
        caller: &Caller,
        id: &CaId,
        patches: &[PatchOperation],
    ) -> Result<CertificateAuthority, CaError> {
        retry_races_up_to(ATTEMPTS, || self.try_patch_ca(caller, id, patches)).await
    }

    async fn try_patch_ca(
        &self,
        caller: &Caller,
        id: &CaId,
        patches: &[PatchOperation],
    ) -> Result<CertificateAuthority, Attempt<CaError>> {
        let stored = self.stored_authority(id).await?;
        let metadata = apply_to_object(&stored.authority.metadata, patches, &[]);
        let updated = CertificateAuthority {
            metadata: metadata.map_err(CaError::from)?,
            ..stored.authority.clone()
        };
        let mut set = WriteSet::new();
        authority::update(&mut set, &stored, &updated, &stored.certificate_id);
        let change = Change {
            previous: &stored.authority,
            updated: &updated,
        };
        let now = self.db.now();
        if updated.metadata.contains_key(EXPIRATION_DELTAS) {
            // One of the windows may begin before the job looks again.
            set.wake(CertificateExpiry::NAME);
        }
        Teller { caller, now }.ca_changed(&mut set, "ca.metadata.update", &change);
        self.db.commit(set).await?;
        Ok(updated)
    }

    /// Patches the metadata of a certificate.
    pub(crate) async fn patch_certificate(
        &self,
        caller: &Caller,
        named: &CertificateRef,
        patches: &[PatchOperation],
    ) -> Result<Certificate, CaError> {
        let attempt = || self.try_patch_certificate(caller, named, patches);
        retry_races_up_to(ATTEMPTS, attempt).await
    }

    async fn try_patch_certificate(
        &self,
        caller: &Caller,
        named: &CertificateRef,
        patches: &[PatchOperation],
    ) -> Result<Certificate, Attempt<CaError>> {
        let stored = self.certificate_named(named).await?;
        let mut updated = stored.certificate.clone();
        if !patches.is_empty() {
            // Metadata that were never given count as empty ones once somebody writes to them.
            let metadata = updated.metadata.take().unwrap_or_default();
            let patched = apply_to_object(&metadata, patches, &[]);
            updated.metadata = Some(patched.map_err(CaError::from)?);
        }
        let now = self.db.now();
        let teller = Teller { caller, now };
        let mut set = WriteSet::new();
        update(&mut set, &stored, &updated, None, ChangedBy::Request);
        let change = Change {
            previous: &stored.certificate,
            updated: &updated,
        };
        teller.certificate_metadata(&mut set, &change);
        self.attach_authorities(&mut set, teller, &stored, &updated)
            .await?;
        self.wake_if_due_soon(&mut set, &updated, now);
        let subject = certificate_subject(&updated);
        teller.audit(&mut set, "certificate.metadata.update", subject);
        self.db.commit(set).await?;
        Ok(updated)
    }
}
