//! What a new CA takes.
//!
//! 1. Everything that can refuse does, before a key exists.
//! 2. The operation is noted, and the key management service makes the key under its name.
//! 3. The certificate is signed, by the new key itself or by the issuing CA.
//! 4. One write set stores certificate and CA, tells of them, and turns the operation into a note
//!    that the key is yet to be marked as used.
//! 5. The key is marked, and the note goes. Where a deleted CA had the id, a cascade tells the two apart.
//!
//! Whatever goes wrong before 4 is done, the key is destroyed: at once when there is an answer to
//! give, by a job when the process died. The key is marked only when its owner is stored, so that
//! no mark of something that never was keeps a key from being destroyed.

mod certificate;

use std::borrow::Borrow;
use std::sync::Arc;

use lamassu_core::ca::{CaError, CertificateAuthority, CreateCa, ProfileChoice};
use lamassu_core::caller::Caller;
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::CaId;
use lamassu_core::kms::key_name;
use lamassu_core::va::CrlShards;
use lamassu_db::{Attempt, WriteSet, retry_races};
use lamassu_x509::issue::KeyPolicy;
use lamassu_x509::{Name, SerialNumber};
use serde_json::{Map, Value};

use self::certificate::described;
pub(crate) use self::certificate::{requested, signed_request};
use crate::cache::ReadyProfile;
use crate::cascade::{self, former_id};
use crate::events::Teller;
use crate::issuer::UNKNOWN;
use crate::metrics;
use crate::own_key::{KeyPurpose, OwnKey};
use crate::record::draw_serial;
use crate::rules::{default_ca_profile, subject_fields};
use crate::service::CaService;
use crate::store::authority::{self, StoredAuthority};
use crate::store::cascade::{self as stored_cascade, Kind, StoredCascade};
use crate::store::certificate::is_issuer;
use crate::store::{operation, profile};

/// Longest id of a CA or of a request for one.
const MAX_ID_OCTETS: usize = 255;

/// A CA that nothing speaks against so far.
#[derive(Debug)]
struct Plan {
    id: CaId,
    parent: Option<CaId>,
    subject: Name,
    metadata: Map<String, Value>,
    default_profile: Arc<ReadyProfile>,
    crl_shards: Option<CrlShards>,
    /// Of the CA's own certificate.
    own_profile: ProfileChoice,
    key_policy: KeyPolicy,
    /// One number for all attempts: only one of them is ever stored.
    serial: SerialNumber,
}

/// What addresses have in the place of a CA's id.
const ADDRESSES: [&str; 3] = ["cn", "import", "requests"];

/// The id that was asked for, or a new one.
///
/// # Errors
///
/// [`CaError::Validation`] for what marks an unknown issuer: such a CA would have issued whatever nobody knows the
/// issuer of. [`CaError::Policy`] for an id that no index takes, together with what stands beside it there, for
/// one that would stand where addresses have a word of their own, and for one that is called as a deleted CA is whose id
/// was taken: the certificates of the two would be mistaken for each other's.
pub(crate) fn or_fresh<Id: Borrow<str> + From<String>>(id: Id) -> Result<Id, CaError> {
    match id.borrow() {
        "" => Ok(Id::from(uuid::Uuid::new_v4().to_string())),
        UNKNOWN => Err(CaError::Validation),
        word if ADDRESSES.contains(&word) => {
            let text = format!("id '{word}' is part of an address");
            Err(CaError::Policy(text))
        }
        long if long.len() > MAX_ID_OCTETS => {
            let text = format!("id is longer than {MAX_ID_OCTETS} octets");
            Err(CaError::Policy(text))
        }
        former if former_id(former).is_some() => Err(CaError::Policy(
            "id ends in '@' and a time, as that of a CA whose id was taken again".to_owned(),
        )),
        _ => Ok(id),
    }
}

impl CaService {
    /// Creates a root or subordinate CA.
    pub(crate) async fn create(
        &self,
        caller: &Caller,
        request: CreateCa,
    ) -> Result<CertificateAuthority, CaError> {
        let source = request.key.clone();
        let plan = self.plan(caller, request).await?;
        let purpose = KeyPurpose {
            name: key_name(
                "Key For CA CN=",
                &plan.subject.common_name().unwrap_or_default(),
            ),
            policy: &plan.key_policy,
            metadata: Map::new(),
        };
        let own = self.own_key(caller, purpose, source).await?;
        match self.certify(caller, &plan, &own).await {
            Ok((ca, cascades)) => {
                metrics::authority_created();
                tracing::info!(ca_id = %ca.id, serial_number = %ca.serial_number, "ca created");
                self.settle(caller, &own, &ca.serial_number).await;
                self.begin_cascades(caller, cascades).await;
                Ok(ca)
            }
            Err(error) => {
                self.undo(caller, &own).await;
                Err(error)
            }
        }
    }

    /// Step 1.
    async fn plan(&self, caller: &Caller, request: CreateCa) -> Result<Plan, CaError> {
        if request.profile_id.is_empty()
            || request.expiration.is_incomplete()
            || request.expiration.duration.is_negative()
        {
            return Err(CaError::Validation);
        }
        let id = or_fresh(request.id)?;
        self.ready.check_shards(request.crl_shards)?;
        let default_profile = self.current_profile(&request.profile_id).await?;
        let own_profile = match request.ca_profile {
            ProfileChoice::Default => {
                ProfileChoice::Inline(Box::new(default_ca_profile(request.expiration)))
            }
            chosen => chosen,
        };
        let key_policy = self.ca_rules(&own_profile, None).await?.rules.key_policy;
        if authority::exists(&self.db, &id)
            .await
            .map_err(StorageFailure::from)?
        {
            return Err(CaError::CaExists);
        }
        if let Some(parent) = &request.parent {
            self.ready.authority(caller, parent).await?;
        }
        Ok(Plan {
            id,
            parent: request.parent,
            subject: subject_fields(&request.subject).to_name(),
            metadata: request.metadata,
            default_profile,
            crl_shards: request.crl_shards,
            own_profile,
            key_policy,
            serial: draw_serial(self.db.now())?,
        })
    }

    /// Steps 3 and 4.
    async fn certify(
        &self,
        caller: &Caller,
        plan: &Plan,
        own: &OwnKey,
    ) -> Result<(CertificateAuthority, Vec<String>), CaError> {
        retry_races(|| self.try_certify(caller, plan, own)).await
    }

    async fn try_certify(
        &self,
        caller: &Caller,
        plan: &Plan,
        own: &OwnKey,
    ) -> Result<(CertificateAuthority, Vec<String>), Attempt<CaError>> {
        let rules = self.ca_rules(&plan.own_profile, None).await?;
        let parent = match &plan.parent {
            Some(id) => Some(self.ready.authority(caller, id).await?),
            None => None,
        };
        let der = self
            .sign_own(caller, plan, own, &rules, parent.as_deref())
            .await?;
        let now = self.db.now();
        let (id, ca) = described(plan, own, parent.as_deref(), &der, now)?;

        let mut set = WriteSet::new();
        if let Some(parent) = &parent {
            parent.guard(&mut set);
        }
        rules.guard(&mut set);
        plan.default_profile.guard_existence(&mut set);
        authority::insert(&mut set, &ca, &id);
        self.insert_certificate(&mut set, &id, &ca.certificate, now);
        own.stored(&mut set, &ca.serial_number, now);
        let mut cascades = Vec::new();
        if is_issuer(&self.db, &plan.id).await? {
            // Of a deleted CA that had the id.
            let created = StoredAuthority::new(ca.clone(), id);
            cascades.push(StoredCascade::of(Kind::Adopt, &created, now));
        }
        for cascade in &cascades {
            stored_cascade::insert(&mut set, cascade);
        }
        Teller { caller, now }.ca_created(&mut set, &ca);
        match self.db.commit(set).await {
            Ok(_) => Ok((ca, cascade::ids(&cascades))),
            Err(error) if error.failed(authority::FREE) => Err(CaError::CaExists.into()),
            Err(error) if error.failed(profile::EXISTS) => Err(CaError::ProfileNotFound.into()),
            // A job took the operation for abandoned and has destroyed the key.
            Err(error) if error.failed(operation::RUNNING) => {
                Err(CaError::from(StorageFailure::from(error)).into())
            }
            Err(error) => {
                if let Some(parent) = &plan.parent {
                    self.ready.forget(parent, &ProfileChoice::Default);
                }
                Err(error.into())
            }
        }
    }
}
