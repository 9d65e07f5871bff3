//! A new certificate for a CA's key.
//!
//! The CA keeps its id, level, default profile, key and key identifier, and its name byte for byte
//! where the profile honours the subject, so what it issued stays valid below the new certificate.
//! The former one stays in use until its end: whoever has it goes on.

use std::sync::Arc;

use lamassu_core::ca::certificate::inherited;
use lamassu_core::ca::{
    CaError, Certificate, CertificateAuthority, CertificateStatus, CertificateType, ProfileChoice,
    Validity,
};
use lamassu_core::caller::Caller;
use lamassu_core::crypto_engine::Signer;
use lamassu_core::duration::WireDuration;
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::CaId;
use lamassu_crypto::PublicKey;
use lamassu_db::{Attempt, DbError, WriteSet, retry_races_up_to};
use lamassu_x509 as x509;
use lamassu_x509::issue::{Issuer, Subject, Terms, prepare};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::ca_rules::CaRules;
use crate::cache::IssuingCa;
use crate::events::{Change, Teller};
use crate::issue::sign_prepared;
use crate::issue_failure::not_issued;
use crate::issuer::as_issuer;
use crate::metrics;
use crate::own_key::OwnKey;
use crate::record::{draw_serial, new_certificate, read_back};
use crate::service::CaService;
use crate::store::authority::{self, StoredAuthority};
use crate::store::certificate::{self, CertificateId, StoredCertificate};

const REISSUED_AS: &str = "lamassu.io/ca/reissued-as";
const REISSUED_AT: &str = "lamassu.io/ca/reissued-at";
const REISSUED_FROM: &str = "lamassu.io/ca/reissued-from";
const REISSUE_REASON: &str = "lamassu.io/ca/reissue-reason";

/// How often a reissue is attempted: of those that read the same revision one wins, and each of the
/// others has a certificate of its own to make.
const ATTEMPTS: usize = 64;

/// What a CA's present certificate says, and the key behind it.
struct Present {
    parsed: x509::Certificate,
    public_key: PublicKey,
    signer: Arc<dyn Signer>,
    own: Option<OwnKey>,
}

impl CaService {
    /// Gives a CA a new certificate for the same key.
    pub(crate) async fn reissue(
        &self,
        caller: &Caller,
        id: &CaId,
        profile: &ProfileChoice,
    ) -> Result<CertificateAuthority, CaError> {
        let attempt = || self.try_reissue(caller, id, profile);
        let updated = retry_races_up_to(ATTEMPTS, attempt).await?;
        metrics::authority_reissued();
        tracing::info!(ca_id = %id, serial_number = %updated.serial_number, "ca reissued");
        Ok(updated)
    }

    async fn try_reissue(
        &self,
        caller: &Caller,
        id: &CaId,
        choice: &ProfileChoice,
    ) -> Result<CertificateAuthority, Attempt<CaError>> {
        let stored = self.stored_authority(id).await?;
        let now = self.db.now();
        refuse_ended(&stored.authority.certificate, now)?;
        let certificate = &stored.authority.certificate;
        let lifetime = certificate.valid_to.0 - certificate.valid_from.0;
        let as_before = Validity::lasting(WireDuration::from_secs(lifetime.whole_seconds()));
        let rules = self.ca_rules(choice, Some(as_before)).await?;
        let present = self.present(caller, &stored).await?;
        // A root signs itself; everything else asks its issuing CA, which must be active.
        let parent = if present.parsed.is_self_signed() {
            None
        } else {
            let parent = &stored.authority.certificate.issuer_metadata.id;
            Some(self.ready.authority(caller, parent).await?)
        };
        let der = self
            .sign_again(&present, parent.as_deref(), &rules, now)
            .await?;
        let (certificate_id, updated) = successor(&stored, &present, parent.as_deref(), der)?;

        let mut set = WriteSet::new();
        if let Some(parent) = &parent {
            parent.guard(&mut set);
        }
        rules.guard(&mut set);
        self.insert_certificate(&mut set, &certificate_id, &updated.certificate, now);
        authority::update(&mut set, &stored, &updated, &certificate_id);
        if let Some(own) = &present.own {
            own.stored(&mut set, &updated.serial_number, now);
        }
        let former = StoredCertificate::from(&stored);
        let mut marked = former.certificate.clone();
        let metadata = marked.metadata.get_or_insert_with(Map::new);
        metadata.insert(
            REISSUED_AS.to_owned(),
            Value::from(updated.serial_number.as_str()),
        );
        metadata.insert(REISSUED_AT.to_owned(), Value::from(in_seconds(now)));
        certificate::superseded(&mut set, &former, &marked);
        let change = Change {
            previous: &stored.authority,
            updated: &updated,
        };
        Teller { caller, now }.ca_changed(&mut set, "ca.reissue", &change);
        match self.db.commit(set).await {
            Ok(_) => {
                if let Some(own) = &present.own {
                    self.settle(caller, own, &updated.serial_number).await;
                }
                Ok(updated)
            }
            Err(error) => {
                if let Some(parent) = &parent {
                    self.ready.forget(&parent.id, &ProfileChoice::Default);
                }
                Err(error.into())
            }
        }
    }

    async fn present(&self, caller: &Caller, stored: &StoredAuthority) -> Result<Present, CaError> {
        let unreadable = |reason: String| StorageFailure::from(DbError::corrupt("der", reason));
        let certificate = &stored.authority.certificate;
        let parsed = x509::Certificate::from_der(certificate.certificate.der().clone())
            .map_err(|error| unreadable(error.to_string()))?;
        let public_key = parsed
            .public_key()
            .map_err(|error| unreadable(error.to_string()))?;
        let signer = self
            .ready
            .signer(caller, &public_key, &certificate.subject_key_id)
            .await?;
        Ok(Present {
            parsed,
            own: self.held_key(caller, &public_key).await?,
            public_key,
            signer,
        })
    }

    async fn sign_again(
        &self,
        present: &Present,
        parent: Option<&IssuingCa>,
        rules: &CaRules,
        now: OffsetDateTime,
    ) -> Result<bytes::Bytes, CaError> {
        let subject =
            Subject::of_certificate(&present.parsed, &present.public_key).map_err(not_issued)?;
        let serial = draw_serial(now)?;
        let (issuer, locations) = match parent {
            None => (
                Issuer::Itself {
                    scheme: present.public_key.default_scheme(),
                },
                self.ready
                    .locations(&present.parsed.key_identifier())
                    .of_root(),
            ),
            Some(parent) => (
                parent.issuer.clone(),
                parent.locations(&serial).into_owned(),
            ),
        };
        let terms = Terms {
            profile: &rules.rules,
            serial: &serial,
            now,
            locations: &locations,
            lint: &self.lint,
        };
        let prepared = prepare(&subject, &issuer, &terms).map_err(not_issued)?;
        rules.limits.check(&prepared.certificate)?;
        match parent {
            None => sign_prepared(prepared, &*present.signer, &present.public_key).await,
            Some(parent) => sign_prepared(prepared, &*parent.signer, parent.public_key()).await,
        }
    }
}

/// A CA that is revoked, on hold or at its end gets no new certificate.
fn refuse_ended(certificate: &Certificate, now: OffsetDateTime) -> Result<(), CaError> {
    match certificate.status {
        CertificateStatus::Revoked => Err(CaError::CaRevoked),
        CertificateStatus::Expired => Err(CaError::CaExpired),
        CertificateStatus::Active | CertificateStatus::Inactive => {
            if certificate.valid_to.0 < now {
                Err(CaError::CaExpired)
            } else {
                Ok(())
            }
        }
    }
}

/// The CA with its new certificate. Its metadata keep what was there: rules of monitoring and
/// connectors among them.
fn successor(
    stored: &StoredAuthority,
    present: &Present,
    parent: Option<&IssuingCa>,
    der: bytes::Bytes,
) -> Result<(CertificateId, CertificateAuthority), CaError> {
    let former = &stored.authority;
    let parsed = read_back(&der)?;
    let mut certificate = new_certificate(&parsed, der, former.certificate.key_metadata.clone());
    certificate.certificate_type = former.certificate.certificate_type;
    // The key may have moved, and nobody noted it yet.
    certificate.engine_id = match &present.own {
        Some(own) if certificate.certificate_type != CertificateType::ImportedWithoutKey => {
            own.key.engine_id.clone()
        }
        _ => former.certificate.engine_id.clone(),
    };
    certificate.issuer_metadata = match parent {
        Some(parent) => parent.as_issuer(),
        None => {
            let mut own = as_issuer(stored);
            own.serial_number = certificate.serial_number.as_str().to_owned();
            own
        }
    };
    let origin = [
        (REISSUED_FROM, former.serial_number.as_str()),
        (REISSUE_REASON, "certificate-reissuance"),
    ]
    .map(|(name, value)| (name.to_owned(), Value::from(value)));
    certificate.metadata = Some(Map::from_iter(origin.clone()));
    let mut metadata = inherited(&former.metadata);
    metadata.extend(origin);
    let id = CertificateId::new(&certificate.serial_number, parsed.issuer());
    let updated = CertificateAuthority {
        id: former.id.clone(),
        serial_number: certificate.serial_number.clone(),
        certificate,
        metadata,
        creation_ts: former.creation_ts,
        level: former.level,
        profile_id: former.profile_id.clone(),
        crl_shards: former.crl_shards,
    };
    Ok((id, updated))
}

/// RFC 3339, to the second.
fn in_seconds(now: OffsetDateTime) -> String {
    let whole = now.replace_nanosecond(0).unwrap_or(now);
    whole.format(&Rfc3339).unwrap_or_default()
}
