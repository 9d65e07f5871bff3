//! Keys of the KMS that are known by their public half: that of a certificate or of a request.

use lamassu_core::ca::CaError;
use lamassu_core::caller::Caller;
use lamassu_core::ids::KeyRef;
use lamassu_core::kms::{Key, KmsError};
use lamassu_crypto::PublicKey;

use crate::own_key::OwnKey;
use crate::service::CaService;

impl CaService {
    /// The KMS's key with this public half. What is found is compared: a key may have the id of another one,
    /// which is not here, for an alias.
    pub(crate) async fn key_in_kms(
        &self,
        caller: &Caller,
        public_key: &PublicKey,
    ) -> Result<Option<Key>, KmsError> {
        let reference = KeyRef::from(public_key.key_id_sha256_hex());
        let key = match self.kms.key(caller, &reference).await {
            Ok(key) => key,
            Err(KmsError::KeyNotFound) => return Ok(None),
            Err(error) => return Err(error),
        };
        let found = PublicKey::from_spki_der(key.public_key.der());
        Ok(found.is_ok_and(|found| found == *public_key).then_some(key))
    }

    /// The KMS's key with this public half, if it can sign.
    pub(crate) async fn held_key(
        &self,
        caller: &Caller,
        public_key: &PublicKey,
    ) -> Result<Option<OwnKey>, CaError> {
        let key = self.key_in_kms(caller, public_key).await;
        let key = key.map_err(CaError::KmsRefused)?;
        let able = key.filter(|key| key.has_private_key);
        able.map(OwnKey::existing).transpose()
    }
}
