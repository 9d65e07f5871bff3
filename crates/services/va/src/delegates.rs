//! Delegated OCSP responders (RFC 6960 §4.2.2.2): keys of this process that CAs certify for signing
//! answers, so that a CA's own key signs once in days and not once per question.
//!
//! A key lives in memory and with its process. Its certificate is short-lived, says that nobody needs
//! to ask whether it is revoked, and is renewed by whoever asks first after two thirds of its validity;
//! others are answered under the one before meanwhile. Where a CA does not certify a responder, because
//! it is revoked for example, its own key signs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use async_trait::async_trait;
use lamassu_core::ca::{CaError, CaService};
use lamassu_core::caller::Caller;
use lamassu_core::crypto_engine::{EngineError, KeyLocation, Signer};
use lamassu_core::duration::WireDuration;
use lamassu_core::error::{ErrorKind, ServiceError};
use lamassu_core::ids::CaId;
use lamassu_core::pem::CsrDer;
use lamassu_crypto::{Curve, KeyError, KeySpec, Message, PrivateKey, PublicKey, SignatureScheme};
use lamassu_db::{CommitWatcher, Event};
use lamassu_x509::ocsp::ResponderId;
use lamassu_x509::{AlgorithmError, Certificate, ParseError, RequestTemplate, SubjectFields};
use time::{Duration, OffsetDateTime};

use crate::authority::Authority;
use crate::responder::Responder;
use crate::service::VaService;
use crate::signing::SigningError;

/// When a certificate that was not renewed is tried again.
const RETRY: Duration = Duration::MINUTE;

/// Why a CA has no delegated responder.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DelegateError {
    /// The CA does not certify it.
    #[error("the CA does not certify an OCSP responder")]
    Refused(#[source] CaError),
    /// The key cannot be made.
    #[error("the key of the OCSP responder cannot be made")]
    Key(#[from] KeyError),
    /// The request for its certificate cannot be made.
    #[error("the request of the OCSP responder cannot be made")]
    Request(#[from] AlgorithmError),
    /// The request cannot be signed.
    #[error("the key of the OCSP responder does not sign")]
    Sign(#[from] lamassu_crypto::SignError),
    /// The certificate cannot be read.
    #[error("the certificate of the OCSP responder cannot be read")]
    Certificate(#[from] ParseError),
}

impl DelegateError {
    /// Whether it may work later.
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::Refused(error) => error.kind() == ErrorKind::Unavailable,
            Self::Key(_) | Self::Request(_) | Self::Sign(_) | Self::Certificate(_) => false,
        }
    }
}

/// The responders of all CAs that were asked about.
#[derive(Debug, Default)]
pub(crate) struct Delegates(Mutex<HashMap<CaId, Arc<Slot>>>);

/// The responder of one CA.
#[derive(Debug, Default)]
struct Slot {
    current: RwLock<Option<Arc<Delegate>>>,
    /// Held by who makes the next one.
    making: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Delegate {
    responder: Responder,
    /// Of its certificate, lower-case hex.
    serial: String,
    renew_at: OffsetDateTime,
}

impl Slot {
    fn current(&self) -> Option<Arc<Delegate>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }

    fn set(&self, delegate: Option<Arc<Delegate>>) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = delegate;
    }
}

impl Delegates {
    fn slot(&self, ca: &CaId) -> Arc<Slot> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry(ca.clone()).or_default())
    }

    /// Follows what is told of certificates and CAs, here or in another process.
    pub(crate) fn heard(&self, event_type: &str, subject: Option<&str>) {
        match event_type {
            "certificate.status.update" => {
                let subject = subject.unwrap_or_default();
                self.give_up(subject.strip_prefix("certificate/"));
            }
            "ca.import" | "ca.reissue" | "ca.status.update" | "ca.delete" => self.give_up(None),
            _ => {}
        }
    }

    /// Gives up responders: all, or the one whose certificate has this serial number.
    fn give_up(&self, serial: Option<&str>) {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|_, slot| match (serial, slot.current()) {
            (Some(serial), Some(current)) => current.serial != serial,
            (Some(_), None) => true,
            (None, _) => false,
        });
    }
}

impl CommitWatcher for Delegates {
    fn committed(&self, events: &[Event]) {
        for event in events {
            self.heard(event.event_type(), event.subject_text());
        }
    }

    fn doubted(&self) {
        self.give_up(None);
    }
}

impl VaService {
    /// The delegated responder of a CA; made or renewed here where it is due.
    pub(crate) async fn delegate(
        &self,
        caller: &Caller,
        authority: &Authority,
    ) -> Result<Responder, SigningError> {
        let slot = self.delegates.slot(&authority.id);
        let now = self.db.now();
        let usable = slot
            .current()
            .filter(|delegate| now < delegate.responder.not_after);
        if let Some(usable) = &usable {
            if now < usable.renew_at {
                return Ok(usable.responder.clone());
            }
            // Somebody is at it: this one still answers.
            let Ok(_making) = slot.making.try_lock() else {
                return Ok(usable.responder.clone());
            };
            return Ok(self.renewed(caller, authority, &slot, usable).await);
        }
        let _making = slot.making.lock().await;
        let made_meanwhile = slot.current().filter(|delegate| now < delegate.renew_at);
        if let Some(made) = made_meanwhile {
            return Ok(made.responder.clone());
        }
        let made = self.make_delegate(caller, authority, now).await?;
        let responder = made.responder.clone();
        slot.set(Some(Arc::new(made)));
        Ok(responder)
    }

    /// The next responder, or for a while the one before if that cannot be had.
    async fn renewed(
        &self,
        caller: &Caller,
        authority: &Authority,
        slot: &Slot,
        before: &Delegate,
    ) -> Responder {
        let now = self.db.now();
        let next = match self.make_delegate(caller, authority, now).await {
            Ok(made) => made,
            Err(error) => {
                tracing::warn!(
                    ca_id = %authority.id,
                    error = &error as &(dyn std::error::Error + 'static),
                    "ocsp responder not renewed"
                );
                Delegate {
                    responder: before.responder.clone(),
                    serial: before.serial.clone(),
                    renew_at: now.saturating_add(RETRY),
                }
            }
        };
        let responder = next.responder.clone();
        slot.set(Some(Arc::new(next)));
        responder
    }

    async fn make_delegate(
        &self,
        caller: &Caller,
        authority: &Authority,
        now: OffsetDateTime,
    ) -> Result<Delegate, DelegateError> {
        let key = PrivateKey::generate(KeySpec::Ec(Curve::P256))?;
        // It must not outlive the CA's certificate.
        let wanted = Duration::from(self.config.ocsp.responder_validity);
        let validity = wanted.min(authority.certificate.not_after() - now);
        let certificate = certified(self.ca.as_ref(), caller, authority, &key, validity).await?;
        tracing::info!(
            ca_id = %authority.id,
            serial_number = %certificate.serial(),
            "ocsp responder certified"
        );
        let id =
            ResponderId::by_key(&certificate).unwrap_or_else(|| ResponderId::by_name(&certificate));
        Ok(Delegate {
            responder: Responder {
                id,
                signer: Arc::new(MemorySigner(key)),
                certificates: vec![certificate.as_der().clone()],
                not_after: certificate.not_after(),
            },
            serial: certificate.serial().to_hex(),
            renew_at: now.saturating_add((certificate.not_after() - now) * 2 / 3),
        })
    }
}

/// A certificate of the CA for this key.
async fn certified(
    ca: &dyn CaService,
    caller: &Caller,
    authority: &Authority,
    key: &PrivateKey,
    validity: Duration,
) -> Result<Certificate, DelegateError> {
    let issuer = authority.certificate.subject().common_name();
    let name = format!("{} OCSP", issuer.unwrap_or_default());
    let subject = SubjectFields::with_common_name(name.trim_start()).to_name();
    let request = RequestTemplate::new(subject, key.public_key());
    let request = request.to_be_signed(key.default_scheme())?;
    let signature = key.sign(request.scheme(), Message::Raw(request.as_bytes()))?;
    let csr = CsrDer::from_der(request.assemble(&signature));
    let seconds = WireDuration::from_secs(validity.whole_seconds());
    let issued = ca
        .issue_ocsp_responder(caller, &authority.id, csr, seconds)
        .await
        .map_err(DelegateError::Refused)?;
    Ok(Certificate::from_der(issued.certificate.der().clone())?)
}

/// A key in the memory of this process.
#[derive(Debug)]
struct MemorySigner(PrivateKey);

#[async_trait]
impl Signer for MemorySigner {
    fn public_key(&self) -> &PublicKey {
        self.0.public_key()
    }

    fn location(&self) -> KeyLocation {
        KeyLocation::Memory
    }

    async fn sign(
        &self,
        scheme: SignatureScheme,
        message: Message<'_>,
    ) -> Result<Vec<u8>, EngineError> {
        Ok(self.0.sign(scheme, message)?)
    }
}
