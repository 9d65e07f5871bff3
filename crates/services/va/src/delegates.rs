//! Delegated OCSP responders (RFC 6960 §4.2.2.2): keys that CAs certify for signing answers, so that a
//! CA's own key signs once in days and not once per question.
//!
//! The keys are in the KMS (`responder_key.rs`); each process has its own certificates for them, in
//! memory. A certificate is short-lived, says that nobody needs
//! to ask whether it is revoked, and is renewed by whoever asks first after two thirds of its validity;
//! others are answered under the one before meanwhile. Where a CA does not certify a responder, because
//! it is revoked for example, its own key signs. A responder is given up when a certificate of its key is
//! revoked, when another process has given the key up, or when its CA has another certificate: what this process
//! commits or reads of the log says so at once, and where others may change that, the CA service and the database
//! are asked, as about answers that were signed before. What a key signed is given no more once it is given up.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use lamassu_core::ca::{CaError, CaService, CertificateStatus};
use lamassu_core::caller::Caller;
use lamassu_core::crypto_engine::{EngineError, Signer};
use lamassu_core::duration::WireDuration;
use lamassu_core::error::{ErrorKind, ServiceError, StorageFailure};
use lamassu_core::ids::{CaId, OperationId, SerialNumber};
use lamassu_core::kms::KmsError;
use lamassu_core::pem::CsrDer;
use lamassu_crypto::Message;
use lamassu_db::{CommitError, CommitWatcher, DbError, Event, WriteSet};
use lamassu_x509::ocsp::ResponderId;
use lamassu_x509::{AlgorithmError, Certificate, ParseError, RequestTemplate, SubjectFields};
use time::{Duration, OffsetDateTime};

use crate::authorities::Asker;
use crate::authority::Authority;
use crate::presigned::PresignedAnswers;
use crate::responder::Responder;
use crate::service::VaService;
use crate::signing::SigningError;
use crate::store::responder_key::{self, Ending, ResponderCertificate};

/// When a certificate that was not renewed is tried again.
const RETRY: Duration = Duration::MINUTE;

/// Why a CA has no delegated responder.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DelegateError {
    /// The CA does not certify it.
    #[error("the CA does not certify an OCSP responder")]
    Refused(#[source] CaError),
    /// The KMS has no key for it.
    #[error("the KMS has no key for the OCSP responder")]
    Kms(#[from] KmsError),
    /// Another process makes the key at this moment.
    #[error("the key of the OCSP responder is being made")]
    Busy,
    /// The database does not say which key it is.
    #[error("the key of the OCSP responder is not known")]
    Storage(#[from] StorageFailure),
    /// The request for its certificate cannot be made.
    #[error("the request of the OCSP responder cannot be made")]
    Request(#[from] AlgorithmError),
    /// The request cannot be signed.
    #[error("the key of the OCSP responder does not sign")]
    Sign(#[from] EngineError),
    /// The certificate cannot be read.
    #[error("the certificate of the OCSP responder cannot be read")]
    Certificate(#[from] ParseError),
}

impl DelegateError {
    /// Whether it may work later.
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::Refused(error) => error.kind() == ErrorKind::Unavailable,
            Self::Kms(error) => error.kind() == ErrorKind::Unavailable,
            Self::Sign(error) => error.kind() == ErrorKind::Unavailable,
            Self::Storage(error) => error.kind() == ErrorKind::Unavailable,
            Self::Busy => true,
            Self::Request(_) | Self::Certificate(_) => false,
        }
    }
}

impl From<DbError> for DelegateError {
    fn from(error: DbError) -> Self {
        Self::Storage(error.into())
    }
}

impl From<CommitError> for DelegateError {
    fn from(error: CommitError) -> Self {
        Self::Storage(error.into())
    }
}

/// The responders of all CAs that were asked about.
#[derive(Debug)]
pub(crate) struct Delegates {
    slots: Mutex<HashMap<CaId, Arc<Slot>>>,
    /// Whose responder has a key with these certificates, by serial number, and when they end: what this process or
    /// one before it signed with, and what others may use still.
    certificates: Mutex<HashMap<SerialNumber, (CaId, OffsetDateTime)>>,
    /// Which responders have signed.
    answers: Arc<PresignedAnswers>,
}

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
    delegation: Arc<Delegation>,
    renew_at: OffsetDateTime,
}

impl Delegate {
    /// Whether the CA has the certificate that it had when it certified this one.
    fn is_of(&self, authority: &Authority) -> bool {
        self.delegation.issuer == *authority.certificate.as_der()
    }
}

/// A certificate of a responder's key, under which answers are signed.
#[derive(Debug)]
pub(crate) struct Delegation {
    ca_id: CaId,
    /// What made the key.
    operation: OperationId,
    /// Of the certificate.
    serial: SerialNumber,
    /// The certificate of the CA, DER, as it was when it certified this one.
    issuer: Bytes,
    /// When it was seen last that it is still good; `None` of what signed before a restart.
    seen_at: Mutex<Option<OffsetDateTime>>,
}

impl Delegation {
    fn seen_at(&self) -> Option<OffsetDateTime> {
        *self.seen_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn see(&self, now: OffsetDateTime) {
        *self.seen_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }
}

impl Slot {
    fn current(&self) -> Option<Arc<Delegate>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }

    fn set(&self, delegate: Arc<Delegate>) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Some(delegate);
    }

    fn clear_if(&self, is_it: impl FnOnce(&Delegate) -> bool) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.as_deref().is_some_and(is_it) {
            *current = None;
        }
    }
}

impl Delegates {
    pub(crate) fn new(answers: Arc<PresignedAnswers>) -> Self {
        Self {
            slots: Mutex::default(),
            certificates: Mutex::default(),
            answers,
        }
    }

    /// Notes that the key of this CA's responder has these certificates, and forgets those that have ended.
    fn note(&self, ca: &CaId, certificates: Vec<Ending>, now: OffsetDateTime) {
        let known = self.certificates.lock();
        let mut known = known.unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (_, not_after)| *not_after > now);
        let noted = certificates.into_iter();
        known.extend(noted.map(|Ending { serial, not_after }| (serial, (ca.clone(), not_after))));
    }

    fn slot(&self, ca: &CaId) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry(ca.clone()).or_default())
    }

    /// Follows what is told at a time of certificates and CAs, here or in another process.
    pub(crate) fn heard(&self, event_type: &str, subject: Option<&str>, at: OffsetDateTime) {
        match event_type {
            "certificate.status.update" => {
                let subject = subject.unwrap_or_default();
                match subject.strip_prefix("certificate/") {
                    Some(serial) => self.give_up_key_of(serial, at),
                    None => self.give_up_all(),
                }
            }
            "ca.import" | "ca.reissue" | "ca.status.update" | "ca.delete" => self.give_up_all(),
            _ => {}
        }
    }

    /// Gives up the responder of a CA whose key did not sign, unless there is another by now.
    pub(crate) fn forget(&self, ca: &CaId, failed: &Responder) {
        let slot = self.slot(ca);
        let is_it = |current: &Delegate| Arc::ptr_eq(&current.responder.signer, &failed.signer);
        slot.clear_if(is_it);
    }

    /// Gives up the responder whose key has this certificate, unless that has just ended, which is told as well. It
    /// is revoked then, perhaps because others have the key: what that signed is given no more.
    fn give_up_key_of(&self, serial: &str, at: OffsetDateTime) {
        let Some(serial) = SerialNumber::parse(serial) else {
            return;
        };
        let known = self.certificates.lock();
        let ca = known
            .unwrap_or_else(PoisonError::into_inner)
            .get(&serial)
            .cloned();
        if let Some((ca, not_after)) = ca
            && at < not_after
        {
            // In this order: whoever still signs with it began before its answers are forgotten, and keeps none.
            let slots = self.slots.lock();
            slots.unwrap_or_else(PoisonError::into_inner).remove(&ca);
            self.answers.forget_all();
        }
    }

    fn give_up_all(&self) {
        let slots = self.slots.lock();
        slots.unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl CommitWatcher for Delegates {
    fn committed(&self, events: &[Event]) {
        for event in events {
            self.heard(event.event_type(), event.subject_text(), event.time());
        }
    }

    fn doubted(&self) {
        self.give_up_all();
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
        let found = slot
            .current()
            .filter(|delegate| now < delegate.responder.not_after && delegate.is_of(authority));
        let (usable, refused) = match found {
            Some(found) if self.is_still_good(caller, &found.delegation, now).await? => {
                (Some(found), None)
            }
            found => (None, found),
        };
        if let Some(refused) = &refused {
            // Not looked at again: where the CA certifies nobody any more, each question would.
            slot.clear_if(|current| Arc::ptr_eq(&current.delegation, &refused.delegation));
        }
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
        // It may have another certificate than the one that the question was understood with.
        let current = match &refused {
            Some(_) => self
                .authorities
                .of_role(caller, &authority.id, &authority.ski, Asker::Job)
                .await
                .map_err(DelegateError::Refused)?,
            None => None,
        };
        let authority = current.as_deref().unwrap_or(authority);
        let _making = slot.making.lock().await;
        let made_meanwhile = slot.current().filter(|delegate| {
            let is_refused = refused
                .is_some_and(|refused| Arc::ptr_eq(&refused.delegation, &delegate.delegation));
            now < delegate.renew_at && delegate.is_of(authority) && !is_refused
        });
        if let Some(made) = made_meanwhile {
            return Ok(made.responder.clone());
        }
        let made = self.make_delegate(caller, authority, now).await?;
        let responder = made.responder.clone();
        slot.set(Arc::new(made));
        Ok(responder)
    }

    /// Whether a responder's key is in use, no certificate of it is revoked, and its CA has the certificate that it
    /// had: asked once a second where others may change that, and once of what signed before a restart, else known
    /// without asking. Where it says no, nothing that was signed before is given any more.
    pub(crate) async fn is_still_good(
        &self,
        caller: &Caller,
        delegation: &Delegation,
        now: OffsetDateTime,
    ) -> Result<bool, DelegateError> {
        let seen_at = delegation.seen_at();
        if seen_at.is_some_and(|seen_at| !self.presigned.must_be_seen(seen_at, now)) {
            return Ok(true);
        }
        let Delegation {
            ca_id,
            operation,
            serial,
            issuer,
            seen_at: _,
        } = delegation;
        let (ca, status, is_in_use) = tokio::join!(
            self.ca.ca(caller, ca_id),
            self.ca.certificate_status(caller, ca_id, serial),
            responder_key::is_in_use(&self.db, ca_id, operation),
        );
        let status = status.map_err(DelegateError::Refused)?;
        let is_same = match ca {
            Ok(ca) => ca.certificate.certificate.der() == issuer,
            Err(CaError::CaNotFound) => false,
            Err(error) => return Err(DelegateError::Refused(error)),
        };
        if !is_same {
            self.authorities.outdate();
        }
        let is_active = status.is_some_and(|info| info.status == CertificateStatus::Active);
        let is_good = is_in_use? && is_same && is_active;
        if is_good {
            delegation.see(now);
        } else {
            self.presigned.forget_all();
        }
        Ok(is_good)
    }

    /// Under what answers may have been signed before a restart, by the serial number of the certificate: those of
    /// keys that are in use.
    pub(crate) async fn delegations(
        &self,
        authorities: &[Arc<Authority>],
    ) -> Result<HashMap<SerialNumber, Arc<Delegation>>, DbError> {
        let by_id = |authority: &Arc<Authority>| (authority.id.clone(), Arc::clone(authority));
        let authorities: HashMap<_, _> = authorities.iter().map(by_id).collect();
        let mut delegations = HashMap::new();
        let now = self.db.now();
        for ResponderCertificate {
            ca_id,
            certificate,
            operation,
        } in responder_key::all_certificates(&self.db).await?
        {
            let Some(issuer) = authorities.get(&ca_id) else {
                continue;
            };
            let serial = certificate.serial.clone();
            self.delegates.note(&ca_id, vec![certificate], now);
            let delegation = Delegation {
                ca_id,
                operation,
                serial: serial.clone(),
                issuer: issuer.certificate.as_der().clone(),
                seen_at: Mutex::new(None),
            };
            delegations.insert(serial, Arc::new(delegation));
        }
        Ok(delegations)
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
                    delegation: Arc::clone(&before.delegation),
                    renew_at: now.saturating_add(RETRY),
                }
            }
        };
        let responder = next.responder.clone();
        slot.set(Arc::new(next));
        responder
    }

    async fn make_delegate(
        &self,
        caller: &Caller,
        authority: &Authority,
        now: OffsetDateTime,
    ) -> Result<Delegate, DelegateError> {
        let issuer = authority.certificate.subject().common_name();
        let issuer = issuer.unwrap_or_default();
        let key = self.responder_key(&authority.id, &issuer).await?;
        // It must not outlive the CA's certificate.
        let wanted = Duration::from(self.config.ocsp.responder_validity);
        let validity = wanted.min(authority.certificate.not_after() - now);
        let certificate = certified(
            self.ca.as_ref(),
            caller,
            (authority, &issuer),
            key.signer.as_ref(),
            validity,
        )
        .await?;
        let serial = SerialNumber::from_bytes(certificate.serial().as_bytes());
        let mut of_key = key.certificates;
        of_key.push(Ending {
            serial: serial.clone(),
            not_after: certificate.not_after(),
        });
        self.delegates.note(&authority.id, of_key, now);
        let mut set = WriteSet::new();
        responder_key::certified(
            &mut set,
            (&authority.id, &key.operation),
            (&serial, certificate.not_after()),
            now,
        );
        self.db.commit(set).await?;
        tracing::info!(
            ca_id = %authority.id,
            serial_number = %serial,
            "ocsp responder certified"
        );
        let id =
            ResponderId::by_key(&certificate).unwrap_or_else(|| ResponderId::by_name(&certificate));
        let delegation = Arc::new(Delegation {
            ca_id: authority.id.clone(),
            operation: key.operation,
            serial,
            issuer: authority.certificate.as_der().clone(),
            seen_at: Mutex::new(Some(now)),
        });
        Ok(Delegate {
            responder: Responder {
                id,
                signer: key.signer,
                certificates: vec![certificate.as_der().clone()],
                not_after: certificate.not_after(),
                delegation: Some(Arc::clone(&delegation)),
            },
            delegation,
            renew_at: now.saturating_add((certificate.not_after() - now) * 2 / 3),
        })
    }
}

/// A certificate of the CA for this key.
async fn certified(
    ca: &dyn CaService,
    caller: &Caller,
    (authority, issuer): (&Authority, &str),
    key: &dyn Signer,
    validity: Duration,
) -> Result<Certificate, DelegateError> {
    let name = format!("{issuer} OCSP");
    let subject = SubjectFields::with_common_name(name.trim_start()).to_name();
    let request = RequestTemplate::new(subject, key.public_key());
    let request = request.to_be_signed(key.public_key().default_scheme())?;
    let message = Message::Raw(request.as_bytes());
    let signature = key.sign(request.scheme(), message).await?;
    let csr = CsrDer::from_der(request.assemble(&signature));
    let seconds = WireDuration::from_secs(validity.whole_seconds());
    let issued = ca
        .issue_ocsp_responder(caller, &authority.id, csr, seconds)
        .await
        .map_err(DelegateError::Refused)?;
    Ok(Certificate::from_der(issued.certificate.der().clone())?)
}
