//! A first enrollment whose answer was lost, asked for again (`repeat_enrollment_window`).
//!
//! The same request with the same credential gets the same certificate while the device still holds it
//! as its active one: a renewal, or another enrollment, means that it got one. The credential may be
//! used up by then (a password for one use), so it is compared with a keyed digest of the one that was
//! accepted; a certificate must still pass all checks.
//!
//! What is asked for is noted before the certificate is made: a crash right after the device was bound
//! loses the answer as well. Which certificate came of it is told by the slot, by the first version
//! that it got since then, and by the request's key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lamassu_core::ca::{CaError, CertificateStatus};
use lamassu_core::caller::ClientCertificateChain;
use lamassu_core::device::IdentitySlot;
use lamassu_core::dms::{CredentialRefusal, DmsError};
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::SerialNumber;
use lamassu_core::pem::CertificateDer;
use lamassu_db::WriteSet;
use lamassu_x509::Certificate;
use time::Duration;

use crate::authenticate::{Asker, Attempt};
use crate::credential::AuthMode;
use crate::service::DmsManager;
use crate::store::repeat::{self as store, Noted, RepeatKey};

/// The longest window.
pub(crate) const MAX_WINDOW: Duration = Duration::days(1);

impl DmsManager {
    /// The certificate that this enrollment was answered with a while ago, if the DMS gives it again.
    /// `asker` is what came of checking the credential.
    pub(crate) async fn repeated(
        &self,
        attempt: Attempt<'_>,
        asker: &Result<Asker, DmsError>,
    ) -> Result<Option<CertificateDer>, DmsError> {
        let settings = &attempt.dms.settings.enrollment_settings;
        let Some(window) = settings.repeat_enrollment_window.value() else {
            return Ok(None);
        };
        let is_used_up = matches!(
            asker,
            Err(DmsError::Credential(CredentialRefusal::PasswordRefused))
        );
        if asker.is_err() && !is_used_up {
            return Ok(None);
        }
        let since = self.db.now().saturating_sub(Duration::from(*window));
        let key = self.repeat_key(attempt).await?;
        let noted = store::noted(&self.db, &key, since).await;
        let Some(noted) = noted.map_err(StorageFailure::from)? else {
            return Ok(None);
        };
        let device = self
            .device_if_any(attempt.caller, &attempt.request.device_id)
            .await?;
        let device = device.filter(|device| device.dms_owner == attempt.dms.id);
        let slot = device.and_then(|device| device.identity);
        let Some(serial) = slot.and_then(|slot| bound_since(&slot, noted.version_before)) else {
            return Ok(None);
        };
        match self
            .ca
            .certificate_of_ca(attempt.caller, &noted.ca, &serial)
            .await
        {
            Ok(issued) if issued.status == CertificateStatus::Active => {
                let parsed = Certificate::from_der(issued.certificate.der().clone())
                    .map_err(|error| StorageFailure::Internal(Box::new(error)))?;
                let is_for_key = parsed.spki_der() == attempt.request.csr.spki_der();
                Ok(is_for_key.then_some(issued.certificate))
            }
            Ok(_) | Err(CaError::CertificateNotFound | CaError::CaNotFound) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Notes an enrollment that is about to be issued, where the DMS gives the answer again. The device
    /// gets its certificate whatever comes of this.
    pub(crate) async fn remember(&self, attempt: Attempt<'_>, version_before: Option<u32>) {
        let settings = &attempt.dms.settings.enrollment_settings;
        if settings.repeat_enrollment_window.value().is_none() {
            return;
        }
        let noted = Noted {
            ca: settings.enrollment_ca.clone(),
            version_before,
        };
        if let Err(error) = self.try_remember(attempt, &noted).await {
            tracing::warn!(
                device_id = %attempt.request.device_id,
                error = &error as &(dyn std::error::Error + 'static),
                "enrollment cannot be repeated"
            );
        }
    }

    async fn try_remember(&self, attempt: Attempt<'_>, noted: &Noted) -> Result<(), DmsError> {
        let key = self.repeat_key(attempt).await?;
        let mut set = WriteSet::new();
        set.execute(store::note(&key, noted, self.db.now()));
        self.db.commit(set).await.map_err(StorageFailure::from)?;
        Ok(())
    }

    async fn repeat_key<'a>(&self, attempt: Attempt<'a>) -> Result<RepeatKey<'a>, DmsError> {
        Ok(RepeatKey {
            dms: &attempt.dms.id,
            device: &attempt.request.device_id,
            csr_digest: STANDARD.encode(attempt.request.digest()),
            credential_digest: self.credential_digest(attempt).await?,
        })
    }

    /// A keyed digest of what the request is authenticated with.
    pub(crate) async fn credential_digest(&self, attempt: Attempt<'_>) -> Result<String, DmsError> {
        self.keyed_digest(&credential(attempt)?).await
    }
}

/// The active certificate, if it was the first one that the slot got after this version.
fn bound_since(slot: &IdentitySlot, version_before: Option<u32>) -> Option<SerialNumber> {
    let after = version_before.map_or(0, |version| version.saturating_add(1));
    let (version, serial) = slot.versions.range(after..).next()?;
    (*version == slot.active_version).then(|| serial.clone())
}

/// What the request is authenticated with, so that no two credentials are the same.
fn credential(attempt: Attempt<'_>) -> Result<Vec<u8>, DmsError> {
    let origin = &attempt.est.origin;
    let chain = attempt.est.client_chain.as_ref();
    let presented = chain.and_then(ClientCertificateChain::end_entity);
    let holder = origin
        .token
        .as_ref()
        .and_then(|token| token.holder.as_ref());
    Ok(match (attempt.auth_mode()?, presented, holder) {
        (AuthMode::Password, ..) => {
            let password = origin.header("Authorization").unwrap_or_default();
            [b"password ", password.as_bytes()].concat()
        }
        (AuthMode::ClientCertificate | AuthMode::CertificateAndWebhook, Some(presented), _) => {
            [b"certificate ", &presented[..]].concat()
        }
        (AuthMode::ClientCertificate | AuthMode::CertificateAndWebhook, None, Some(holder)) => {
            format!("token {} {}", holder.provider, holder.subject).into_bytes()
        }
        (
            AuthMode::ClientCertificate
            | AuthMode::CertificateAndWebhook
            | AuthMode::Webhook
            | AuthMode::Nothing,
            ..,
        ) => b"nothing".to_vec(),
    })
}
