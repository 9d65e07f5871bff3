//! CAs and certificates that were made elsewhere.
//!
//! 1. The certificate is read, and refused where software written in Go could not read the lists
//!    that hold it; its issuer is looked for; a key that is sent along must be the certificate's.
//! 2. A key that the KMS has is used; one that it does not have is handed to it under an operation,
//!    as for a CA that is made here.
//! 3. One write set stores certificate and CA, gives the CA those CAs below it that were here
//!    before it, and leaves a cascade that does the same with certificates.
//!
//! A certificate that is here already keeps its row: a revoked one does not become good again
//! because it is imported once more. What the lint says of new certificates does not apply.

use std::collections::HashSet;

use bytes::Bytes;
use lamassu_core::ca::{
    CaError, CaRequestStatus, Certificate, CertificateAuthority, CertificateStatus,
    CertificateType, ImportCa, ImportCertificate, IssuerMetadata,
};
use lamassu_core::caller::Caller;
use lamassu_core::error::{ErrorKind, ServiceError as _, StorageFailure};
use lamassu_core::ids::{CaId, CaRequestId, EngineId, KeyId, ProfileId};
use lamassu_core::kms::{ImportKey, KmsError, PrivateKeyBytes, key_name};
use lamassu_core::timestamp::Timestamp;
use lamassu_core::va::CrlShards;
use lamassu_crypto::{PrivateKey, PublicKey};
use lamassu_db::{Attempt, Expectation, WriteSet, retry_races};
use lamassu_x509 as x509;
use time::OffsetDateTime;

use crate::cascade;
use crate::create_ca::or_fresh;
use crate::describe;
use crate::events::Teller;
use crate::issuer::{UNKNOWN, as_issuer, is_child};
use crate::metrics;
use crate::own_key::OwnKey;
use crate::record::new_certificate;
use crate::service::CaService;
use crate::store::authority::{self, StoredAuthority};
use crate::store::cascade::{self as stored_cascade, Kind, StoredCascade};
use crate::store::certificate::{self, CertificateId, StoredCertificate, become_authority};
use crate::store::{ca_request, operation, profile};

/// A CA that nothing speaks against so far.
#[derive(Debug)]
struct Found {
    id: CaId,
    parsed: x509::Certificate,
    public_key: PublicKey,
    profile_id: ProfileId,
    preferred_parent: Option<CaId>,
    crl_shards: Option<CrlShards>,
    /// How many requests waited for it before its key was looked for. Whoever withdraws one destroys the key.
    answered: Expectation,
}

/// Whether the private key came with the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeySent {
    Yes,
    No,
}

/// The CA as it will be stored, with everything that one write set says of it.
struct Placed {
    certificate_id: CertificateId,
    ca: CertificateAuthority,
    parent: Option<StoredAuthority>,
    stored: Option<StoredCertificate>,
}

impl CaService {
    /// Takes in a CA.
    pub(crate) async fn import(
        &self,
        caller: &Caller,
        request: ImportCa,
    ) -> Result<CertificateAuthority, CaError> {
        let id = or_fresh(request.id)?;
        self.ready.check_shards(request.crl_shards)?;
        if !request.profile_id.is_empty() {
            self.ready.forget_profile(&request.profile_id);
            self.ready.profile(&request.profile_id).await?;
        }
        let (parsed, public_key) = self.readable(request.certificate.der())?;
        refuse_end_entity(&parsed)?;
        let private_key = request.private_key;
        if let Some(private_key) = &private_key
            && *private_key.public_key() != public_key
        {
            return Err(CaError::KeyMismatch);
        }
        let key_id = KeyId::from(public_key.key_id_sha256_hex());
        let is_answer = ca_request::waits_with(&self.db, &key_id).await;
        let found = Found {
            id,
            parsed,
            public_key,
            profile_id: request.profile_id,
            preferred_parent: request.parent,
            crl_shards: request.crl_shards,
            answered: match is_answer.map_err(StorageFailure::from)? {
                true => Expectation::Exactly(1),
                false => Expectation::Any,
            },
        };
        let taken = authority::exists(&self.db, &found.id).await;
        if taken.map_err(StorageFailure::from)? {
            return Err(CaError::CaExists);
        }
        self.refuse_other_key(&found.id, &key_id).await?;
        let sent = match &private_key {
            Some(_) => KeySent::Yes,
            None => KeySent::No,
        };
        let own = self
            .imported_key(caller, &found, private_key.as_deref(), request.engine_id)
            .await?;
        let placed = retry_races(|| self.try_import(caller, &found, own.as_ref(), sent)).await;
        match placed {
            Ok((ca, cascades)) => {
                metrics::authority_imported();
                tracing::info!(ca_id = %ca.id, serial_number = %ca.serial_number, "ca imported");
                if let Some(own) = &own {
                    self.name_after(caller, own, &ca.certificate).await;
                    self.settle(caller, own, &ca.serial_number).await;
                }
                self.begin_cascades(caller, cascades).await;
                Ok(ca)
            }
            Err(error) => {
                if let Some(own) = &own {
                    self.undo(caller, own).await;
                }
                Err(error)
            }
        }
    }

    /// The id of a request that waits is for the CA that it asks for: whoever imports another one under it has
    /// mistaken the file.
    async fn refuse_other_key(&self, id: &CaId, key_id: &KeyId) -> Result<(), CaError> {
        let asked = ca_request::by_id(&self.db, &CaRequestId::from(id.as_str())).await;
        let asked = asked.map_err(StorageFailure::from)?;
        match asked.map(|asked| asked.request) {
            Some(asked) if asked.status == CaRequestStatus::Pending && asked.key_id != *key_id => {
                Err(CaError::NotImportable(format!(
                    "it is not the certificate of request {id}'s key"
                )))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Reads a certificate that was made elsewhere, and its key.
    fn readable(&self, der: &Bytes) -> Result<(x509::Certificate, PublicKey), CaError> {
        let parsed = x509::Certificate::from_der(der.clone())
            .map_err(|error| CaError::NotImportable(error.to_string()))?;
        if !self.config.accept_unreadable_by_go
            && let Some(form) = parsed.unreadable_by_go()
        {
            return Err(CaError::NotImportable(format!(
                "{form}, which software written in Go cannot read \
                 (setting accept_unreadable_by_go)"
            )));
        }
        refuse_long(&parsed)?;
        let public_key = parsed
            .public_key()
            .map_err(|error| CaError::NotImportable(error.to_string()))?;
        Ok((parsed, public_key))
    }

    /// Step 2: the certificate's key, if the KMS has it or gets it.
    async fn imported_key(
        &self,
        caller: &Caller,
        found: &Found,
        private_key: Option<&PrivateKey>,
        engine_id: EngineId,
    ) -> Result<Option<OwnKey>, CaError> {
        if let Some(own) = self.held_key(caller, &found.public_key).await? {
            return Ok(Some(own));
        }
        let Some(private_key) = private_key else {
            return Ok(None);
        };
        let der = private_key
            .to_pkcs8_der()
            .map_err(|error| CaError::KeyNotImported(KmsError::Engine(Box::new(error))))?;
        let name = found.parsed.subject().common_name().unwrap_or_default();
        let operation = self.begin_operation().await?;
        let request = ImportKey {
            private_key: PrivateKeyBytes::new(der.to_vec()),
            engine_id,
            name: key_name("Key For CA CN=", &name),
            operation: Some(operation.clone()),
            ..ImportKey::default()
        };
        let mut imported = self.kms.import_key(caller, request.clone()).await;
        if matches!(imported, Err(KmsError::EngineNotFound)) && !request.engine_id.is_empty() {
            // Clients name engines of other installations here, where the reference looks at none.
            let request = ImportKey {
                engine_id: EngineId::default(),
                ..request
            };
            imported = self.kms.import_key(caller, request).await;
        }
        if let Err(error) = &imported
            && error.kind() == ErrorKind::Conflict
            && let Some(own) = self.held_key(caller, &found.public_key).await?
        {
            // Somebody else brought the same key meanwhile.
            self.discard_or_leave(caller, &operation).await;
            return Ok(Some(own));
        }
        let imported = imported.map_err(CaError::KeyNotImported);
        self.made(caller, operation, imported).await.map(Some)
    }

    async fn try_import(
        &self,
        caller: &Caller,
        found: &Found,
        own: Option<&OwnKey>,
        sent: KeySent,
    ) -> Result<(CertificateAuthority, Vec<String>), Attempt<CaError>> {
        let now = self.db.now();
        let placed = self.place(found, own, sent, now).await?;
        let Placed {
            certificate_id,
            ca,
            parent,
            stored,
        } = &placed;
        let mut set = WriteSet::new();
        if let Some(parent) = parent {
            let parent_id = &parent.authority.id;
            authority::guard(&mut set, parent_id, parent.revision, &parent.certificate_id);
        }
        if !found.profile_id.is_empty() {
            profile::guard_existence(&mut set, &found.profile_id);
        }
        authority::insert(&mut set, ca, certificate_id);
        match stored {
            Some(stored) => become_authority(&mut set, stored, &ca.certificate),
            None => self.insert_certificate(&mut set, certificate_id, &ca.certificate, now),
        }
        if let Some(own) = own {
            own.stored(&mut set, &ca.serial_number, now);
            let fingerprint = hex::encode(found.parsed.fingerprint_sha256());
            let key_id = &own.key.key_id;
            ca_request::close_request(&mut set, key_id, &fingerprint, found.answered);
        }
        let imported = StoredAuthority::new(ca.clone(), certificate_id.clone());
        self.adopt_authorities(&mut set, &imported).await?;
        let adoption = StoredCascade::of(Kind::Adopt, &imported, now);
        stored_cascade::insert(&mut set, &adoption);
        Teller { caller, now }.ca_imported(&mut set, ca);
        match self.db.commit(set).await {
            Ok(_) => Ok((placed.ca, cascade::ids(&[adoption]))),
            Err(error) if error.failed(authority::FREE) => Err(CaError::CaExists.into()),
            Err(error) if error.failed(profile::EXISTS) => Err(CaError::ProfileNotFound.into()),
            // A job took the operation for abandoned and has destroyed the key.
            Err(error) if error.failed(operation::RUNNING) => {
                Err(CaError::from(StorageFailure::from(error)).into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Who issued the CA, on which level it is, and whether its certificate is here already.
    async fn place(
        &self,
        found: &Found,
        own: Option<&OwnKey>,
        sent: KeySent,
        now: OffsetDateTime,
    ) -> Result<Placed, Attempt<CaError>> {
        let parsed = &found.parsed;
        let key_metadata = describe::key_metadata(Some(found.public_key.spec()));
        let mut new = new_certificate(parsed, parsed.as_der().clone(), key_metadata);
        new.status = status_at(parsed, now);
        let certificate_id = CertificateId::new(&new.serial_number, parsed.issuer());
        let stored = certificate::by_id(&self.db, &certificate_id).await?;
        if let Some(stored) = &stored {
            if stored.certificate.certificate != new.certificate {
                return Err(CaError::CertificateExists.into());
            }
            new = stored.certificate.clone();
        }
        new.is_ca = true;
        let (certificate_type, engine_id) = match own {
            None => (CertificateType::ImportedWithoutKey, EngineId::default()),
            Some(own) => match sent {
                KeySent::Yes => (CertificateType::ImportedWithKey, own.key.engine_id.clone()),
                KeySent::No => (CertificateType::Managed, own.key.engine_id.clone()),
            },
        };
        // A second import of the same certificate may know the key that the first one did not.
        if stored.is_none() || own.is_some() {
            new.certificate_type = certificate_type;
            new.engine_id = engine_id;
        }
        let self_signed = parsed.is_self_signed();
        let parent = if self_signed {
            None
        } else {
            self.issuer_of(parsed, found.preferred_parent.as_ref())
                .await?
        };
        let level = match &parent {
            Some(parent) => parent.authority.level.saturating_add(1),
            None => 0,
        };
        let shared = stored.is_some() && new.issuer_metadata.id.as_str() != UNKNOWN;
        if !shared {
            new.issuer_metadata = match &parent {
                Some(parent) => as_issuer(parent),
                None => IssuerMetadata {
                    serial_number: new.serial_number.as_str().to_owned(),
                    id: if self_signed {
                        found.id.clone()
                    } else {
                        CaId::from(UNKNOWN)
                    },
                    level: if self_signed { 0 } else { -1 },
                },
            };
        }
        let ca = CertificateAuthority {
            id: found.id.clone(),
            serial_number: new.serial_number.clone(),
            certificate: new,
            metadata: serde_json::Map::new(),
            creation_ts: Timestamp(now),
            level,
            profile_id: found.profile_id.clone(),
            crl_shards: found.crl_shards,
        };
        Ok(Placed {
            certificate_id,
            ca,
            parent,
            stored,
        })
    }

    /// Gives a new CA the CAs that it issued and that were here before it, and moves everything
    /// below them down. Each CA is visited once, so that CAs which signed each other end.
    async fn adopt_authorities(
        &self,
        set: &mut WriteSet,
        parent: &StoredAuthority,
    ) -> Result<(), Attempt<CaError>> {
        let orphans = authority::issued_by(&self.db, &CaId::from(UNKNOWN)).await?;
        let mut level: Vec<StoredAuthority> = Vec::new();
        for orphan in orphans {
            let certificate = StoredCertificate::from(&orphan);
            if orphan.certificate_id != parent.certificate_id && is_child(parent, &certificate) {
                level.push(orphan);
            }
        }
        let mut visited = HashSet::from([parent.authority.id.clone()]);
        let mut above = vec![parent.clone()];
        while !level.is_empty() {
            let mut placed = Vec::new();
            for child in level {
                if !visited.insert(child.authority.id.clone()) {
                    continue;
                }
                let by = above
                    .iter()
                    .find(|by| by.authority.id == child.authority.certificate.issuer_metadata.id)
                    .unwrap_or(parent);
                let mut moved = child.clone();
                moved.authority.level = by.authority.level.saturating_add(1);
                authority::move_to_level(set, &child, moved.authority.level);
                authority::set_issuer_of_certificate(set, &child, &as_issuer(by));
                placed.push(moved);
            }
            let ids: Vec<_> = placed.iter().map(|ca| ca.authority.id.clone()).collect();
            level = authority::issued_by_any(&self.db, &ids).await?;
            above = placed;
        }
        Ok(())
    }

    /// Takes in a certificate.
    pub(crate) async fn import_one(
        &self,
        caller: &Caller,
        request: ImportCertificate,
    ) -> Result<Certificate, CaError> {
        let (parsed, public_key) = self.readable(request.certificate.der())?;
        let own = self.held_key(caller, &public_key).await?;
        let key_metadata = describe::key_metadata(Some(public_key.spec()));
        let mut new = new_certificate(&parsed, parsed.as_der().clone(), key_metadata);
        new.metadata = request.metadata;
        new.certificate_type = match &own {
            Some(_) => CertificateType::Managed,
            None => CertificateType::ImportedWithoutKey,
        };
        new.engine_id = own
            .as_ref()
            .map(|own| own.key.engine_id.clone())
            .unwrap_or_default();
        let imported =
            retry_races(|| self.try_import_one(caller, &parsed, &new, own.as_ref())).await?;
        metrics::certificate_imported();
        tracing::info!(serial_number = %imported.serial_number, "certificate imported");
        if let Some(own) = &own {
            self.settle(caller, own, &imported.serial_number).await;
        }
        Ok(imported)
    }

    async fn try_import_one(
        &self,
        caller: &Caller,
        parsed: &x509::Certificate,
        new: &Certificate,
        own: Option<&OwnKey>,
    ) -> Result<Certificate, Attempt<CaError>> {
        let now = self.db.now();
        let mut new = new.clone();
        new.status = status_at(parsed, now);
        let issuer = self.issuer_of(parsed, None).await?;
        let mut set = WriteSet::new();
        match &issuer {
            Some(issuer) => {
                new.issuer_metadata = as_issuer(issuer);
                new.authority_key_id = issuer.authority.certificate.subject_key_id.clone();
                let issuer_id = &issuer.authority.id;
                authority::guard(&mut set, issuer_id, issuer.revision, &issuer.certificate_id);
            }
            None => {
                new.issuer_metadata = IssuerMetadata {
                    serial_number: UNKNOWN.to_owned(),
                    id: CaId::from(UNKNOWN),
                    level: -1,
                };
            }
        }
        let id = CertificateId::new(&new.serial_number, parsed.issuer());
        self.insert_certificate(&mut set, &id, &new, now);
        if let Some(own) = own {
            own.stored(&mut set, &new.serial_number, now);
        }
        Teller { caller, now }.certificate_imported(&mut set, &new);
        match self.db.commit(set).await {
            Ok(_) => Ok(new),
            Err(error) if error.failed(certificate::FREE) => Err(CaError::CertificateExists.into()),
            Err(error) => Err(error.into()),
        }
    }
}

/// What is past its end is expired from the start.
fn status_at(parsed: &x509::Certificate, now: OffsetDateTime) -> CertificateStatus {
    if parsed.not_after() < now {
        CertificateStatus::Expired
    } else {
        CertificateStatus::Active
    }
}

/// Refuses what certificates are found by and no index takes; RFC 5280 has 20 octets for a serial
/// number, and digests are what names keys.
fn refuse_long(parsed: &x509::Certificate) -> Result<(), CaError> {
    let subject_key = parsed.subject_key_identifier().map_or(0, |id| id.len());
    let authority_key = parsed.authority_key_identifier().map_or(0, |id| id.len());
    for (what, length, longest) in [
        ("serial number", parsed.serial().as_bytes().len(), 64),
        ("subject key identifier", subject_key, 500),
        ("authority key identifier", authority_key, 500),
    ] {
        if length > longest {
            let why = format!("its {what} is longer than {longest} octets");
            return Err(CaError::NotImportable(why));
        }
    }
    Ok(())
}

/// A certificate that says of itself that it is no CA's issues nothing that anybody believes.
/// Without basic constraints, as roots of the nineties are, a self-signed one is let through.
fn refuse_end_entity(parsed: &x509::Certificate) -> Result<(), CaError> {
    let constraints = parsed.extensions().basic_constraints();
    let is_ca = match constraints {
        Ok(Some(constraints)) => constraints.ca,
        Ok(None) => parsed.is_self_signed(),
        Err(_) => false,
    };
    if is_ca {
        Ok(())
    } else {
        Err(CaError::NotImportable(
            "it is not a CA certificate".to_owned(),
        ))
    }
}
