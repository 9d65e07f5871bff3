//! How a certificate is made from a request.
//!
//! 1. Everything that can refuse does: the request reads, the CA exists and is active, the
//!    request proves its key (or a policy waives that), the profile allows it.
//! 2. The CA's key signs. The signature of a key that is elsewhere is verified before it is believed;
//!    of a key in this process's memory it is looked at that it is the CA's.
//! 3. One write set stores the certificate, its event, its audit record and, for a device, its
//!    intent, for a key of the KMS that it is yet to be marked as used; it fails when the CA or the
//!    profile changed since they were read, and then the story starts again.
//! 4. Only then does anybody see the certificate.

use std::sync::Arc;
use std::time::Instant;

use lamassu_core::ca::{CaError, Certificate, CertificateType, Enrollment, ProfileChoice, SignCsr};
use lamassu_core::caller::Caller;
use lamassu_core::crypto_engine::{KeyLocation, Signer};
use lamassu_core::ids::{CaId, EngineId, ProfileId};
use lamassu_core::pem::CsrDer;
use lamassu_crypto::{Message, PublicKey};
use lamassu_db::{Attempt, CommitError, WriteSet, retry_races};
use lamassu_x509::issue::{Prepared, Profile, Subject, Terms, prepare};
use lamassu_x509::{CertificationRequest, VerifiedCsr, VerifyCsrError};
use serde_json::{Map, Value};

use crate::cache::{IssuingCa, ReadyProfile};
use crate::describe;
use crate::enrollment::attached;
use crate::events::{Change, Teller};
use crate::issue_failure::{not_issued, not_signed};
use crate::limits::Limits;
use crate::metrics;
use crate::own_key::OwnKey;
use crate::record::{draw_serial, new_certificate, read_back};
use crate::rules::rules;
use crate::service::CaService;
use crate::store::certificate::CertificateId;
use crate::store::{authority, intent, profile};

/// A checked request, and what it is for.
#[derive(Debug)]
pub(crate) struct Order<'a> {
    pub(crate) ca: &'a CaId,
    pub(crate) subject: Subject,
    pub(crate) profile: ProfileChoice,
    /// Rules in the place of a profile's.
    pub(crate) imposed: Option<&'a Profile>,
    /// The key of the KMS that it is for; none where the requester holds the private key.
    pub(crate) own: Option<&'a OwnKey>,
    pub(crate) enrollment: Option<&'a Enrollment>,
    /// The metadata of a certificate that is made with its key.
    pub(crate) made_with: Option<&'a Map<String, Value>>,
}

/// The rules of one issuance: of a stored profile, whose revision is checked, or sent along.
pub(crate) enum Rules {
    Stored(Arc<ReadyProfile>),
    Inline(Box<(Profile, Limits)>),
}

impl Rules {
    pub(crate) fn as_profile(&self) -> &Profile {
        match self {
            Self::Stored(ready) => &ready.rules,
            Self::Inline(inline) => &inline.0,
        }
    }

    fn limits(&self) -> &Limits {
        match self {
            Self::Stored(ready) => &ready.limits,
            Self::Inline(inline) => &inline.1,
        }
    }

    /// The stored profile that the rules are of.
    fn profile_id(&self) -> Option<&ProfileId> {
        match self {
            Self::Stored(ready) => Some(&ready.profile.id),
            Self::Inline(_) => None,
        }
    }

    fn guard(&self, set: &mut WriteSet) {
        if let Self::Stored(ready) = self {
            ready.guard(set);
        }
    }
}

impl CaService {
    /// Issues a certificate from a client's request.
    pub(crate) async fn sign(
        &self,
        caller: &Caller,
        ca: &CaId,
        request: SignCsr,
    ) -> Result<Certificate, CaError> {
        let (verified, profile) = self.accept(caller, ca, request).await?;
        let own = self.held_key(caller, verified.public_key()).await?;
        let subject = Subject::of_csr(&verified).map_err(not_issued)?;
        let order = Order {
            ca,
            subject,
            profile,
            imposed: None,
            own: own.as_ref(),
            enrollment: None,
            made_with: None,
        };
        let certificate = self.issue(caller, &order).await?;
        if let Some(own) = &own {
            self.settle(caller, own, &certificate.serial_number).await;
        }
        Ok(certificate)
    }

    /// Issues a certificate for a device, with an open intent.
    pub(crate) async fn sign_enrollment(
        &self,
        caller: &Caller,
        ca: &CaId,
        csr: &VerifiedCsr,
        profile: ProfileChoice,
        enrollment: &Enrollment,
    ) -> Result<Certificate, CaError> {
        let subject = Subject::of_csr(csr).map_err(not_issued)?;
        let order = Order {
            ca,
            subject,
            profile,
            imposed: None,
            own: None,
            enrollment: Some(enrollment),
            made_with: None,
        };
        self.issue(caller, &order).await
    }

    /// Reads the request, finds the CA, and decides on possession.
    async fn accept(
        &self,
        caller: &Caller,
        ca: &CaId,
        request: SignCsr,
    ) -> Result<(VerifiedCsr, ProfileChoice), CaError> {
        let csr = read_csr(&request.csr.ok_or(CaError::CaNotFound)?)?;
        self.ready.authority(caller, ca).await?;
        let verified = if request
            .verify_csr_signature
            .unwrap_or(self.config.verify_csr_signature)
        {
            csr.verify()
        } else {
            csr.waive_possession_by_policy()
        };
        let verified = verified.map_err(|error| match error {
            VerifyCsrError::Key(_) => CaError::Policy(error.to_string()),
            VerifyCsrError::Signature(_) => CaError::CsrSignature,
        })?;
        Ok((verified, request.profile))
    }

    /// Steps 2 to 4.
    pub(crate) async fn issue(
        &self,
        caller: &Caller,
        order: &Order<'_>,
    ) -> Result<Certificate, CaError> {
        let begun = Instant::now();
        let known = self.ready.authority(caller, order.ca).await?;
        let mut outcome = retry_races(|| self.try_issue(caller, order)).await;
        if matches!(outcome, Err(CaError::Policy(_) | CaError::SignFailed(..))) {
            self.ready.forget(order.ca, &order.profile);
            // A refusal may come from a profile that another process has changed meanwhile. What does not sign may be
            // the key of a deleted CA whose id another one has; any other key is not asked twice.
            if matches!(outcome, Err(CaError::Policy(_))) || self.ready.is_outdated(&known).await? {
                outcome = retry_races(|| self.try_issue(caller, order)).await;
            }
        }
        let certificate = outcome?;
        metrics::issued(begun.elapsed().as_secs_f64());
        tracing::info!(
            ca_id = %order.ca,
            serial_number = %certificate.serial_number,
            "certificate issued"
        );
        Ok(certificate)
    }

    async fn try_issue(
        &self,
        caller: &Caller,
        order: &Order<'_>,
    ) -> Result<Certificate, Attempt<CaError>> {
        let ca = self.ready.authority(caller, order.ca).await?;
        let rules = match order.imposed {
            Some(imposed) => Rules::Inline(Box::new((imposed.clone(), Limits::default()))),
            None => self.rules_for(&ca, &order.profile).await?,
        };
        let now = self.db.now();
        let serial = draw_serial(now)?;
        let locations = ca.locations(&serial);
        let terms = Terms {
            profile: rules.as_profile(),
            serial: &serial,
            now,
            locations: &locations,
            lint: &self.lint,
        };
        let prepared = prepare(&order.subject, &ca.issuer, &terms).map_err(not_issued)?;
        rules.limits().check(&prepared.certificate)?;
        let der = sign_prepared(prepared, &*ca.signer, ca.public_key()).await?;
        let (id, certificate) = record(der, &ca, order)?;

        let mut set = WriteSet::new();
        ca.guard(&mut set);
        rules.guard(&mut set);
        if let Some(enrollment) = order.enrollment {
            intent::insert(&mut set, &certificate.serial_number, &id, enrollment, now);
        }
        let teller = Teller { caller, now };
        teller.certificate_signed(&mut set, &certificate);
        if let Some(own) = order.own {
            own.stored(&mut set, &certificate.serial_number, now);
        }
        let certificate = match order.made_with {
            None => certificate,
            Some(metadata) => store_with_key(&mut set, teller, certificate, metadata),
        };
        self.insert_issued(&mut set, &id, &certificate, rules.profile_id(), now);
        match self.db.commit(set).await {
            Ok(_) => Ok(certificate),
            Err(error) => {
                if lost_by_change(&error) {
                    self.ready.forget(order.ca, &order.profile);
                }
                Err(error.into())
            }
        }
    }

    pub(crate) async fn rules_for(
        &self,
        ca: &IssuingCa,
        choice: &ProfileChoice,
    ) -> Result<Rules, CaError> {
        let id = match choice {
            ProfileChoice::Inline(profile) => {
                let inline = (rules(profile)?, Limits::of(profile)?);
                return Ok(Rules::Inline(Box::new(inline)));
            }
            ProfileChoice::Stored(id) => id,
            ProfileChoice::Default => &ca.default_profile,
        };
        let ready = self.ready.profile(id).await.map_err(|error| match error {
            CaError::ProfileNotFound if !id.is_empty() => CaError::ProfileGone(id.clone()),
            other => other,
        });
        ready.map(Rules::Stored)
    }
}

/// Adds to a write set what comes with a certificate that is made together with its key; gives it
/// with its metadata. Each member is told as the update that clients know from elsewhere.
fn store_with_key(
    set: &mut WriteSet,
    teller: Teller<'_>,
    mut certificate: Certificate,
    metadata: &Map<String, Value>,
) -> Certificate {
    for (name, value) in metadata {
        let previous = certificate.clone();
        let metadata = certificate.metadata.get_or_insert_with(Map::new);
        metadata.insert(name.clone(), value.clone());
        let change = Change {
            previous: &previous,
            updated: &certificate,
        };
        teller.certificate_metadata(set, &change);
    }
    teller.certificate_created(set, &certificate);
    certificate
}

/// The request's DER, read.
pub(crate) fn read_csr(csr: &CsrDer) -> Result<CertificationRequest, CaError> {
    CertificationRequest::from_der(csr.der().clone())
        .map_err(|error| CaError::MalformedCsr(error.to_string()))
}

/// Whether a commit failed because the CA or the profile is not as it was read.
fn lost_by_change(error: &CommitError) -> bool {
    error.failed(authority::UNCHANGED) || error.failed(profile::UNCHANGED)
}

/// Signs what was prepared. What the issuer's certificate does not verify goes nowhere: a key store
/// that mixes up keys must not reach a relying party. A key in memory is compared with the
/// certificate's instead, which says the same; verifying costs three times what signing does.
pub(crate) async fn sign_prepared(
    prepared: Prepared,
    signer: &dyn Signer,
    issuer_key: &PublicKey,
) -> Result<bytes::Bytes, CaError> {
    let Prepared {
        to_be_signed,
        warnings,
        certificate: _,
    } = prepared;
    if !warnings.is_empty() {
        tracing::debug!(?warnings, "lint warned");
    }
    let signature = signer
        .sign(to_be_signed.scheme(), Message::Raw(to_be_signed.as_bytes()))
        .await
        .map_err(not_signed)?;
    if signer.location() == KeyLocation::Memory && signer.public_key() == issuer_key {
        return Ok(to_be_signed.assemble(&signature));
    }
    to_be_signed
        .assemble_verified(&signature, issuer_key)
        .map_err(|error| {
            CaError::SignFailed(
                "the signature does not verify".into(),
                Some(Box::new(error)),
            )
        })
}

/// The certificate as it is stored and shown.
fn record(
    der: bytes::Bytes,
    ca: &IssuingCa,
    order: &Order<'_>,
) -> Result<(CertificateId, Certificate), CaError> {
    let key = Some(order.subject.key_spec());
    let (certificate_type, engine_id) = match order.own {
        None => (CertificateType::ImportedWithoutKey, EngineId::default()),
        Some(own) => (CertificateType::Managed, own.key.engine_id.clone()),
    };
    let parsed = read_back(&der)?;
    let mut certificate = new_certificate(&parsed, der, describe::key_metadata(key));
    certificate.authority_key_id = ca.key_id.clone();
    certificate.issuer_metadata = ca.as_issuer();
    certificate.certificate_type = certificate_type;
    certificate.engine_id = engine_id;
    if let Some(enrollment) = order.enrollment {
        certificate.metadata = Some(attached(
            Map::new(),
            &enrollment.attachment,
            enrollment.windows,
        ));
    }
    let id = CertificateId::new(&certificate.serial_number, parsed.issuer());
    Ok((id, certificate))
}
