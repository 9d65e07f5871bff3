//! The key of a deleted CA: the KMS destroys it, unless somebody else uses it.
//!
//! Others are found by the key itself. What a certificate calls its key is up to whoever issued it, and so is its
//! serial number, which is all that the KMS knows of who uses a key. So everybody is asked before the first
//! certificate is taken from the key: what is taken could be another one's.

use lamassu_core::ca::{CaError, Certificate, CertificateStatus, CertificateType};
use lamassu_core::caller::Caller;
use lamassu_core::error::{ErrorKind, ServiceError as _, StorageFailure};
use lamassu_core::ids::KeyRef;
use lamassu_core::kms::{Key, KmsError};
use lamassu_core::usage::RevocationReason;
use lamassu_crypto::PublicKey;
use lamassu_db::DbError;
use lamassu_x509 as x509;
use time::OffsetDateTime;

use crate::moved_keys::bound_serials;
use crate::service::CaService;
use crate::store::cascade::StoredCascade;
use crate::store::certificate::{self, StoredCertificate, public_key_of};
use crate::store::{authority, ca_request};

/// How many CAs are read at once.
const PAGE: u32 = 500;

impl CaService {
    /// Name and key in the certificate of a deleted CA, as its lists are signed by.
    pub(crate) async fn retired_issuer(
        &self,
        cascade: &StoredCascade,
    ) -> Result<Option<(x509::Name, PublicKey)>, CaError> {
        let own = certificate::by_id(&self.db, &cascade.certificate).await;
        let own = own.map_err(StorageFailure::from)?;
        Ok(own.and_then(|own| issuer_in(&own.certificate)))
    }

    /// The key in the certificate of a deleted CA. The certificate may be deleted by itself meanwhile.
    pub(crate) async fn retired_key(
        &self,
        cascade: &StoredCascade,
    ) -> Result<Option<PublicKey>, CaError> {
        let own = certificate::by_id(&self.db, &cascade.certificate).await;
        let own = own.map_err(StorageFailure::from)?;
        Ok(own.and_then(|own| public_key_of(&own.certificate)))
    }

    /// Lets the KMS destroy the key of a deleted CA, unless somebody else uses it. Only what may
    /// work later is an error.
    pub(crate) async fn destroy_key(
        &self,
        caller: &Caller,
        cascade: &StoredCascade,
    ) -> Result<(), CaError> {
        let Some(public_key) = self.retired_key(cascade).await? else {
            return Ok(());
        };
        let key = match self.key_in_kms(caller, &public_key).await {
            Ok(Some(key)) => key,
            Ok(None) => return Ok(()),
            Err(error) => return later_or_never(error, cascade),
        };
        let Some(own) = self
            .only_use(cascade, &key, &public_key)
            .await
            .map_err(StorageFailure::from)?
        else {
            tracing::info!(ca_id = %cascade.ca, key_id = %key.key_id, "key of a deleted ca is in use");
            return Ok(());
        };
        let key = KeyRef::from(&key.key_id);
        for stored in &own {
            let serial = &stored.certificate.serial_number;
            match self.kms.unbind_certificate(caller, &key, serial).await {
                Ok(()) => {}
                Err(KmsError::KeyNotFound) => return Ok(()),
                Err(error) => return later_or_never(error, cascade),
            }
        }
        match self.kms.delete_key(caller, &key).await {
            Ok(()) | Err(KmsError::KeyNotFound) => Ok(()),
            Err(error) => later_or_never(error, cascade),
        }
    }

    /// The certificates of CAs for the key of a deleted one, if nobody else uses the key: no CA, no certificate,
    /// and no request.
    async fn only_use(
        &self,
        cascade: &StoredCascade,
        key: &Key,
        public_key: &PublicKey,
    ) -> Result<Option<Vec<StoredCertificate>>, DbError> {
        let names = [key.key_id.as_str(), cascade.subject_key_id.as_str()];
        let named = certificate::of_key(&self.db, &names, &bound_serials(&key.metadata)).await?;
        let mut same: Vec<StoredCertificate> = named
            .into_iter()
            .filter(|stored| public_key_of(&stored.certificate).as_ref() == Some(public_key))
            .collect();
        let now = self.db.now();
        if same
            .iter()
            .any(|stored| is_others(&stored.certificate, cascade, now))
            || ca_request::waits_with(&self.db, &key.key_id).await?
            || self.a_ca_has(public_key).await?
        {
            return Ok(None);
        }
        same.retain(|stored| stored.certificate.is_ca);
        Ok(Some(same))
    }

    /// Whether the certificate of any CA is for this key.
    async fn a_ca_has(&self, public_key: &PublicKey) -> Result<bool, DbError> {
        let mut after = None;
        loop {
            let page = authority::page(&self.db, after.as_ref(), PAGE).await?;
            // A CA that cannot be read may have it.
            let page = page.into_iter().map(|(_, read)| read);
            let page: Vec<_> = page.collect::<Result<_, _>>()?;
            let Some(last) = page.last() else {
                return Ok(false);
            };
            after = Some(last.authority.id.clone());
            let mut keys = page
                .iter()
                .filter_map(|ca| public_key_of(&ca.authority.certificate));
            if keys.any(|key| key == *public_key) {
                return Ok(true);
            }
        }
    }
}

/// Name and key in the certificate of a CA, if it can be read.
pub(crate) fn issuer_in(certificate: &Certificate) -> Option<(x509::Name, PublicKey)> {
    let der = certificate.certificate.der().clone();
    let parsed = x509::Certificate::from_der(der).ok()?;
    Some((parsed.subject().clone(), parsed.public_key().ok()?))
}

/// Whether a certificate for the key of a deleted CA is none of that CA's own, present or former, and may be
/// used with the key from now on.
fn is_others(certificate: &Certificate, cascade: &StoredCascade, now: OffsetDateTime) -> bool {
    let is_own = certificate.is_ca && certificate.subject_key_id == cascade.subject_key_id;
    let is_here = certificate.certificate_type != CertificateType::ImportedWithoutKey;
    let has_ended = match certificate.status {
        CertificateStatus::Active | CertificateStatus::Inactive => certificate.valid_to.0 <= now,
        CertificateStatus::Revoked => {
            certificate.revocation_reason != RevocationReason::CertificateHold
        }
        CertificateStatus::Expired => true,
    };
    is_here && !is_own && !has_ended
}

/// A key that is used elsewhere, or that its engine keeps, stays; one whose engine does not answer
/// is destroyed later.
pub(crate) fn later_or_never(error: KmsError, cascade: &StoredCascade) -> Result<(), CaError> {
    if error.kind() == ErrorKind::Unavailable {
        return Err(CaError::KmsRefused(error));
    }
    tracing::warn!(ca_id = %cascade.ca, error = &error as &(dyn std::error::Error + 'static), "key of a deleted ca stays");
    Ok(())
}
