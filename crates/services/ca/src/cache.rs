//! CAs and profiles, ready for signing.
//!
//! An entry may be outdated at any moment, by another process or by this one: whoever issues with
//! it lets the write set check its revision, and drops the entry when that fails. What is not
//! usable (no such CA, not active) is never kept, so a refusal is always of the present.

use std::borrow::Cow;
use std::sync::Arc;

use lamassu_core::ca::{
    CaError, CertificateStatus, IssuanceProfile, IssuerMetadata, ProfileChoice,
};
use lamassu_core::caller::Caller;
use lamassu_core::crypto_engine::Signer;
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::{CaId, KeyRef, ProfileId, SerialNumber};
use lamassu_core::kms::{KmsError, KmsService};
use lamassu_core::va::CrlShards;
use lamassu_crypto::PublicKey;
use lamassu_db::{Db, DbError, WriteSet};
use lamassu_x509::issue::{Issuer, Profile};
use lamassu_x509::{self as x509, AccessLocations, Certificate};
use moka::sync::Cache;

use crate::issue_failure::no_signer;
use crate::limits::Limits;
use crate::rules::rules;
use crate::store::authority::{self, StoredAuthority};
use crate::store::certificate::CertificateId;
use crate::store::profile;

/// An active CA and all that signing with it needs.
#[derive(Debug)]
pub(crate) struct IssuingCa {
    pub(crate) id: CaId,
    pub(crate) serial_number: SerialNumber,
    pub(crate) level: i32,
    pub(crate) default_profile: ProfileId,
    /// As the wire shows it: the authority key id of what this CA issues.
    pub(crate) key_id: String,
    pub(crate) issuer: Issuer,
    locations: AccessLocations,
    crl_shards: Option<CrlShards>,
    pub(crate) signer: Arc<dyn Signer>,
    public_key: PublicKey,
    revision: i64,
    certificate_id: CertificateId,
}

impl IssuingCa {
    /// The key that must have signed. It is the certificate's, so that a signer for another key
    /// is noticed.
    pub(crate) fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// Where the certificate of this serial number can be validated.
    pub(crate) fn locations(&self, serial: &x509::SerialNumber) -> Cow<'_, AccessLocations> {
        match self.crl_shards {
            None => Cow::Borrowed(&self.locations),
            Some(shards) => {
                let shard = shards.of(&SerialNumber::from_bytes(serial.as_bytes()));
                let locations = self.locations.clone();
                Cow::Owned(locations.with_crl_part(&shard.to_string()))
            }
        }
    }

    /// How certificates name this CA as their issuer.
    pub(crate) fn as_issuer(&self) -> IssuerMetadata {
        IssuerMetadata {
            serial_number: self.serial_number.as_str().to_owned(),
            id: self.id.clone(),
            level: self.level,
        }
    }

    /// Lets a write set fail when the CA is not as it was read.
    pub(crate) fn guard(&self, set: &mut WriteSet) {
        authority::guard(set, &self.id, self.revision, &self.certificate_id);
    }
}

/// A stored profile and its rules.
#[derive(Debug)]
pub(crate) struct ReadyProfile {
    pub(crate) rules: Profile,
    pub(crate) limits: Limits,
    pub(crate) profile: IssuanceProfile,
    revision: i64,
}

impl ReadyProfile {
    /// Lets a write set fail when the profile is not as it was read.
    pub(crate) fn guard(&self, set: &mut WriteSet) {
        profile::guard(set, &self.profile.id, self.revision);
    }

    /// Lets a write set fail when the profile is gone.
    pub(crate) fn guard_existence(&self, set: &mut WriteSet) {
        profile::guard_existence(set, &self.profile.id);
    }
}

/// The caches, and where to load from.
#[derive(Debug)]
pub(crate) struct Ready {
    db: Db,
    kms: Arc<dyn KmsService>,
    va_domains: Vec<String>,
    authorities: Cache<CaId, Arc<IssuingCa>>,
    profiles: Cache<ProfileId, Arc<ReadyProfile>>,
}

impl Ready {
    pub(crate) fn new(
        db: Db,
        kms: Arc<dyn KmsService>,
        va_domains: Vec<String>,
        capacity: u64,
    ) -> Self {
        Self {
            db,
            kms,
            va_domains,
            authorities: Cache::new(capacity),
            profiles: Cache::new(capacity),
        }
    }

    /// The CA of this id, if it may issue.
    pub(crate) async fn authority(
        &self,
        caller: &Caller,
        id: &CaId,
    ) -> Result<Arc<IssuingCa>, CaError> {
        if let Some(ready) = self.authorities.get(id) {
            return Ok(ready);
        }
        let stored = authority::by_id(&self.db, id)
            .await
            .map_err(StorageFailure::from)?;
        let stored = stored.ok_or(CaError::CaNotFound)?;
        if stored.authority.certificate.status != CertificateStatus::Active {
            return Err(CaError::CaStatus);
        }
        let ready = Arc::new(self.prepare(caller, stored).await?);
        self.authorities.insert(id.clone(), Arc::clone(&ready));
        Ok(ready)
    }

    /// Whether a CA has another certificate than the one that it was read with, or is gone.
    pub(crate) async fn is_outdated(&self, known: &IssuingCa) -> Result<bool, CaError> {
        let stored = authority::by_id(&self.db, &known.id)
            .await
            .map_err(StorageFailure::from)?;
        Ok(stored.is_none_or(|stored| stored.certificate_id != known.certificate_id))
    }

    async fn prepare(
        &self,
        caller: &Caller,
        stored: StoredAuthority,
    ) -> Result<IssuingCa, CaError> {
        let StoredAuthority {
            revision,
            certificate_id,
            authority,
            ..
        } = stored;
        let unreadable = |reason: String| StorageFailure::from(DbError::corrupt("der", reason));
        let certificate = Certificate::from_der(authority.certificate.certificate.der().clone())
            .map_err(|error| unreadable(error.to_string()))?;
        let public_key = certificate
            .public_key()
            .map_err(|error| unreadable(error.to_string()))?;
        let signer = self
            .signer(caller, &public_key, &authority.certificate.subject_key_id)
            .await?;
        Ok(IssuingCa {
            issuer: Issuer::with_certificate(&certificate, public_key.default_scheme()),
            locations: self.locations(&certificate.key_identifier()),
            crl_shards: authority.crl_shards,
            id: authority.id,
            serial_number: authority.serial_number,
            level: authority.level,
            default_profile: authority.profile_id,
            key_id: authority.certificate.subject_key_id,
            signer,
            public_key,
            revision,
            certificate_id,
        })
    }

    /// The key is looked up by its own digest, the id of keys made here, and then by what the
    /// certificate calls it, under which imported keys have an alias. What is found is compared: any key
    /// may have either name for an alias.
    pub(crate) async fn signer(
        &self,
        caller: &Caller,
        public_key: &PublicKey,
        subject_key_id: &str,
    ) -> Result<Arc<dyn Signer>, CaError> {
        let by_digest = KeyRef::from(public_key.key_id_sha256_hex());
        let signer = match self.kms.signer(caller, &by_digest).await {
            Err(KmsError::KeyNotFound) => {
                let by_name = KeyRef::from(subject_key_id);
                self.kms.signer(caller, &by_name).await
            }
            outcome => outcome,
        };
        signer
            .and_then(|signer| match signer.public_key() == public_key {
                true => Ok(signer),
                false => Err(KmsError::KeyNotFound),
            })
            .map_err(no_signer)
    }

    /// Where certificates of the issuer with this key identifier can be validated.
    pub(crate) fn locations(&self, issuer_key_identifier: &[u8]) -> AccessLocations {
        AccessLocations::at_domains(&self.va_domains, issuer_key_identifier)
    }

    /// Refuses shards where certificates would name no list of theirs.
    pub(crate) fn check_shards(&self, shards: Option<CrlShards>) -> Result<(), CaError> {
        if shards.is_some() && self.va_domains.is_empty() {
            let reason = "crl_shards needs an address that certificates name: set va_server_domains (--domain)";
            return Err(CaError::Policy(reason.to_owned()));
        }
        Ok(())
    }

    /// The profile of this id.
    pub(crate) async fn profile(&self, id: &ProfileId) -> Result<Arc<ReadyProfile>, CaError> {
        if let Some(ready) = self.profiles.get(id) {
            return Ok(ready);
        }
        let stored = profile::by_id(&self.db, id)
            .await
            .map_err(StorageFailure::from)?;
        let stored = stored.ok_or(CaError::ProfileNotFound)?;
        let ready = Arc::new(ReadyProfile {
            rules: rules(&stored.profile)?,
            limits: Limits::of(&stored.profile)?,
            profile: stored.profile,
            revision: stored.revision,
        });
        self.profiles.insert(id.clone(), Arc::clone(&ready));
        Ok(ready)
    }

    /// Drops a CA and the profile that it issued with, so that the next attempt reads them anew.
    pub(crate) fn forget(&self, ca: &CaId, profile: &ProfileChoice) {
        let dropped = self.authorities.remove(ca);
        match profile {
            ProfileChoice::Inline(_) => {}
            ProfileChoice::Stored(id) => self.profiles.invalidate(id),
            ProfileChoice::Default => {
                if let Some(ca) = dropped {
                    self.profiles.invalidate(&ca.default_profile);
                }
            }
        }
    }

    /// Drops a profile that is no longer as it was read.
    pub(crate) fn forget_profile(&self, id: &ProfileId) {
        self.profiles.invalidate(id);
    }
}
