//! The certificate of a new CA: signed by its own key, or by the issuing CA on a request.

use bytes::Bytes;
use lamassu_core::ca::{CaError, CertificateAuthority, CertificateType};
use lamassu_core::caller::Caller;
use lamassu_core::crypto_engine::Signer;
use lamassu_core::timestamp::Timestamp;
use lamassu_crypto::{HashAlgorithm, Message, PublicKey};
use lamassu_x509::issue::{Issuer, Subject, Terms, prepare};
use lamassu_x509::{CertificationRequest, RequestTemplate, VerifiedCsr};
use time::OffsetDateTime;

use super::Plan;
use crate::ca_rules::CaRules;
use crate::cache::IssuingCa;
use crate::describe;
use crate::issue::sign_prepared;
use crate::issue_failure::{no_signer, not_issued, not_signed};
use crate::own_key::OwnKey;
use crate::record::{new_certificate, read_back};
use crate::service::CaService;
use crate::store::certificate::CertificateId;

impl CaService {
    /// Step 3: the DER of the CA's certificate.
    pub(super) async fn sign_own(
        &self,
        caller: &Caller,
        plan: &Plan,
        own: &OwnKey,
        rules: &CaRules,
        parent: Option<&IssuingCa>,
    ) -> Result<Bytes, CaError> {
        let reference = own.reference();
        let own_signer = self
            .kms
            .signer(caller, &reference)
            .await
            .map_err(no_signer)?;
        let key_id = HashAlgorithm::Sha256.digest(own.public_key.spki_der());
        let (subject, issuer, locations) = match parent {
            None => (
                Subject::root(plan.subject.clone(), &own.public_key, key_id.clone()),
                Issuer::Itself {
                    scheme: own.public_key.default_scheme(),
                },
                self.ready.locations(&key_id).of_root(),
            ),
            Some(parent) => {
                let template = RequestTemplate::new(plan.subject.clone(), &own.public_key);
                let request = requested(&template, &own.public_key, &*own_signer).await?;
                (
                    request,
                    parent.issuer.clone(),
                    parent.locations(&plan.serial).into_owned(),
                )
            }
        };
        let terms = Terms {
            profile: &rules.rules,
            serial: &plan.serial,
            now: self.db.now(),
            locations: &locations,
            lint: &self.lint,
        };
        let prepared = prepare(&subject, &issuer, &terms).map_err(not_issued)?;
        rules.limits.check(&prepared.certificate)?;
        match parent {
            None => sign_prepared(prepared, &*own_signer, &own.public_key).await,
            Some(parent) => sign_prepared(prepared, &*parent.signer, parent.public_key()).await,
        }
    }
}

/// A key of ours asks for its certificate as any other would, with a request that proves it. It
/// asks for no key usage: that is the profile's to give.
pub(crate) async fn requested(
    template: &RequestTemplate,
    public_key: &PublicKey,
    signer: &dyn Signer,
) -> Result<Subject, CaError> {
    let verified = signed_request(template, public_key, signer).await?;
    Subject::of_csr(&verified).map_err(not_issued)
}

/// The request, signed by the key that it is about.
pub(crate) async fn signed_request(
    template: &RequestTemplate,
    public_key: &PublicKey,
    signer: &dyn Signer,
) -> Result<VerifiedCsr, CaError> {
    let failed = |cause: Box<dyn std::error::Error + Send + Sync>| {
        CaError::SignFailed("the key's own request failed".into(), Some(cause))
    };
    let scheme = public_key.default_scheme();
    let to_be_signed = template
        .to_be_signed(scheme)
        .map_err(|error| failed(Box::new(error)))?;
    let message = Message::Raw(to_be_signed.as_bytes());
    let signature =
        signer
            .sign(scheme, message)
            .await
            .map_err(|error| match not_signed(error) {
                CaError::SignFailed(_, Some(cause)) => failed(cause),
                // Whoever asks may come back.
                refused => refused,
            })?;
    let request = CertificationRequest::from_der(to_be_signed.assemble(&signature))
        .map_err(|error| failed(Box::new(error)))?;
    request.verify().map_err(|error| failed(Box::new(error)))
}

/// The CA and its certificate as they are stored and shown.
pub(super) fn described(
    plan: &Plan,
    own: &OwnKey,
    parent: Option<&IssuingCa>,
    der: &Bytes,
    now: OffsetDateTime,
) -> Result<(CertificateId, CertificateAuthority), CaError> {
    let parsed = read_back(der)?;
    let key_metadata = describe::key_metadata(Some(own.public_key.spec()));
    let mut certificate = new_certificate(&parsed, der.clone(), key_metadata);
    certificate.certificate_type = CertificateType::Managed;
    certificate.engine_id = own.key.engine_id.clone();
    let level = match parent {
        None => {
            certificate.authority_key_id = certificate.subject_key_id.clone();
            certificate.issuer_metadata.id = plan.id.clone();
            0
        }
        Some(parent) => {
            certificate.authority_key_id = parent.key_id.clone();
            certificate.issuer_metadata = parent.as_issuer();
            parent.level.saturating_add(1)
        }
    };
    let id = CertificateId::new(&certificate.serial_number, parsed.issuer());
    let authority = CertificateAuthority {
        id: plan.id.clone(),
        serial_number: certificate.serial_number.clone(),
        certificate,
        metadata: plan.metadata.clone(),
        creation_ts: Timestamp(now),
        level,
        profile_id: plan.default_profile.profile.id.clone(),
        crl_shards: plan.crl_shards,
    };
    Ok((id, authority))
}
