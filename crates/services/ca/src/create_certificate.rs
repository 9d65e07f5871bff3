//! A certificate for a key of the KMS: made for it, or there before.
//!
//! Everything that can refuse does before a key is made; what happens to the key afterwards is the
//! same as for a new CA (`create_ca.rs`).

use lamassu_core::ca::{
    CaError, Certificate, CreateCertificate, IssuanceProfile, KeySource, ProfileChoice,
};
use lamassu_core::caller::Caller;
use lamassu_core::ids::CaId;
use lamassu_core::patch::PatchError;
use serde_json::{Map, Value};

use crate::create_ca::requested;
use crate::issue::{MadeFor, Order};
use crate::issue_failure::no_signer;
use crate::own_key::{KeyPurpose, OwnKey};
use crate::rules::subject_fields;
use crate::service::CaService;

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
        let profile = imposed(profile);
        let subject = subject_fields(&subject).to_name();
        let own = {
            let issuing = self.ready.authority(caller, &ca).await?;
            self.ready.forget(&ca, &profile);
            let rules = self.rules_for(&issuing, &profile).await?;
            let purpose = KeyPurpose {
                name: format!(
                    "Key For Cert CN={}",
                    subject.common_name().unwrap_or_default()
                ),
                policy: &rules.as_profile().key_policy,
            };
            self.own_key(caller, purpose, key).await?
        };
        match self
            .certify_key(caller, &ca, &own, subject, profile, &metadata)
            .await
        {
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

    async fn certify_key(
        &self,
        caller: &Caller,
        ca: &CaId,
        own: &OwnKey,
        subject: lamassu_x509::Name,
        profile: ProfileChoice,
        metadata: &Map<String, Value>,
    ) -> Result<Certificate, CaError> {
        let signer = self.kms.signer(caller, &own.reference()).await;
        let signer = signer.map_err(no_signer)?;
        let subject = requested(subject, &own.public_key, &*signer).await?;
        let made = MadeFor { own, metadata };
        let order = Order::for_own_key(ca, subject, profile, made);
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
