//! A certificate for a key of the KMS: made for it, or there before.
//!
//! Everything that can refuse does before a key is made; what happens to the key afterwards is the
//! same as for a new CA (`create_ca.rs`).

use lamassu_core::ca::{
    AlternativeName, CaError, Certificate, CertificateRef, CreateCertificate, IssuanceProfile,
    KeySource, ProfileChoice,
};
use lamassu_core::caller::Caller;
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::{CaId, SerialNumber};
use lamassu_core::kms::key_name;
use lamassu_core::patch::PatchError;
use lamassu_db::DbError;
use lamassu_x509::{self as x509, GeneralName, Name, RequestTemplate};
use serde_json::{Map, Value};

use crate::create_ca::requested;
use crate::issue::Order;
use crate::own_key::{KeyPurpose, OwnKey, kms_refused};
use crate::rules::subject_fields;
use crate::service::CaService;

/// Most alternative names of a certificate.
const MAX_NAMES: usize = 500;

/// A certificate that nothing speaks against so far.
#[derive(Debug)]
struct Wanted {
    ca: CaId,
    subject: Name,
    alternative_names: Vec<GeneralName>,
    profile: ProfileChoice,
    metadata: Map<String, Value>,
}

impl CaService {
    /// Makes a certificate for a key of ours.
    pub(crate) async fn create_for_key(
        &self,
        caller: &Caller,
        request: CreateCertificate,
    ) -> Result<Certificate, CaError> {
        let CreateCertificate {
            ca,
            key,
            subject,
            successor_of,
            alternative_names,
            profile,
            metadata,
        } = request;
        if ca.is_empty() {
            return Err(CaError::Validation);
        }
        if !is_complete(&key) {
            return Err(CaError::KeySpec);
        }
        if metadata.values().any(Value::is_null) {
            return Err(CaError::Patch(PatchError {
                reason: "a member of the metadata has no value".to_owned(),
            }));
        }
        let subject = match successor_of {
            None => subject_fields(&subject).to_name(),
            Some(serial) => self.subject_of(serial, &ca).await?,
        };
        if alternative_names.len() > MAX_NAMES {
            let text = format!("a certificate has at most {MAX_NAMES} alternative names");
            return Err(CaError::Policy(text));
        }
        let names = alternative_names
            .iter()
            .map(AlternativeName::to_general_name);
        let names = names.collect::<Result<Vec<_>, _>>();
        let wanted = Wanted {
            ca,
            subject,
            alternative_names: names.map_err(|error| CaError::Policy(error.to_string()))?,
            profile: imposed(profile),
            metadata,
        };
        let own = self.key_for(caller, &wanted, key).await?;
        match self.certify_key(caller, &wanted, &own).await {
            Ok(certificate) => {
                self.settle(caller, &own, &certificate.serial_number).await;
                Ok(certificate)
            }
            Err(error) => {
                self.undo(caller, &own).await;
                Err(error)
            }
        }
    }

    /// The subject of a certificate that the CA issued, as it is in there.
    async fn subject_of(&self, serial: SerialNumber, ca: &CaId) -> Result<Name, CaError> {
        let named = CertificateRef::of_ca(serial, ca.clone());
        let stored = self.certificate_named(&named).await?;
        let read = x509::Certificate::from_der(stored.certificate.certificate.der().clone());
        let unreadable = |error: x509::ParseError| {
            StorageFailure::from(DbError::corrupt("der", error.to_string()))
        };
        Ok(read.map_err(unreadable)?.subject().clone())
    }

    /// The key, once CA and profile have nothing against it.
    async fn key_for(
        &self,
        caller: &Caller,
        wanted: &Wanted,
        key: KeySource,
    ) -> Result<OwnKey, CaError> {
        let issuing = self.ready.authority(caller, &wanted.ca).await?;
        // What another process changed meanwhile counts before a key is made.
        self.ready.forget(&wanted.ca, &wanted.profile);
        let rules = self.rules_for(&issuing, &wanted.profile).await;
        let rules = rules.map_err(|error| match error {
            // Clients of the reference know this refusal by its text.
            CaError::ProfileGone(_) => CaError::ProfileNotFound,
            other => other,
        })?;
        let purpose = KeyPurpose {
            name: key_name(
                "Key For Cert CN=",
                &wanted.subject.common_name().unwrap_or_default(),
            ),
            policy: &rules.as_profile().key_policy,
            metadata: Map::new(),
        };
        self.own_key(caller, purpose, key).await
    }

    async fn certify_key(
        &self,
        caller: &Caller,
        wanted: &Wanted,
        own: &OwnKey,
    ) -> Result<Certificate, CaError> {
        let signer = self.kms.signer(caller, &own.reference()).await;
        let signer = signer.map_err(kms_refused)?;
        let mut template = RequestTemplate::new(wanted.subject.clone(), &own.public_key);
        if !wanted.alternative_names.is_empty() {
            template = template.with_subject_alt_names(&wanted.alternative_names);
        }
        let subject = requested(&template, &own.public_key, &*signer).await?;
        let order = Order {
            ca: &wanted.ca,
            subject,
            profile: wanted.profile.clone(),
            imposed: None,
            own: Some(own),
            enrollment: None,
            made_with: Some(&wanted.metadata),
        };
        self.issue(caller, &order).await
    }
}

/// Type and bits together, or a key that is there.
fn is_complete(key: &KeySource) -> bool {
    match key {
        KeySource::Existing(reference) => !reference.is_empty(),
        KeySource::New { key_type, bits, .. } => !key_type.is_empty() && *bits != 0,
    }
}

/// A profile that is sent along imposes its key usages: the request that it is applied to is ours
/// and asks for none.
fn imposed(choice: ProfileChoice) -> ProfileChoice {
    match choice {
        ProfileChoice::Inline(profile) => ProfileChoice::Inline(Box::new(IssuanceProfile {
            honor_key_usage: false,
            honor_extended_key_usages: false,
            ..*profile
        })),
        ProfileChoice::Stored(_) | ProfileChoice::Default => choice,
    }
}
