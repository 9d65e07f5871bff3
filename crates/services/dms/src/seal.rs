//! Secrets of DMSs in the database: sealed under a key of the installation's own.
//!
//! AES-256-GCM with a random nonce; the id of the DMS is authenticated with it, so that nobody moves the secrets of
//! one to another. The key is in another table, as those of passwords and of devices' slots are: what shows rows
//! of DMSs (a copy of the table, a query, a log of statements) shows no secret. Who has the whole database has both.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::error::Unspecified;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use lamassu_core::dms::DmsError;
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::DmsId;
use lamassu_db::{Attempt, CommitError, Db, DbError, WriteSet, retry_races, setting_or_insert};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use crate::secrets::{DmsSecrets, SecretsRow};
use crate::service::DmsManager;
use crate::store::{self, StoredDms};

/// Under which the key is kept.
const KEY: &str = "dms_secret_key";

/// Secrets as they are stored.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum StoredSecrets {
    /// The base64 of nonce, ciphertext and tag.
    Sealed { sealed: String },
    /// Of a DMS that has none, or that a version before there were seals has stored.
    Clear(SecretsRow),
}

impl fmt::Debug for StoredSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredSecrets")
    }
}

/// The key, read on first use; all processes of an installation share it.
#[derive(Debug, Default)]
pub(crate) struct SealKey(OnceCell<RandomizedNonceKey>);

impl SealKey {
    async fn get(&self, db: &Db) -> Result<&RandomizedNonceKey, CommitError> {
        self.0
            .get_or_try_init(|| async {
                let mut fresh = Zeroizing::new([0_u8; 32]);
                aws_lc_rs::rand::fill(&mut *fresh)
                    .map_err(|error| DbError::Unreachable(Arc::new(error)))?;
                let make = || Bytes::copy_from_slice(&*fresh);
                let bytes = setting_or_insert(db, KEY, make).await?;
                let key = RandomizedNonceKey::new(&AES_256_GCM, &bytes);
                Ok(key.map_err(|_| DbError::corrupt("settings.value", "no AES key"))?)
            })
            .await
    }
}

impl DmsManager {
    /// Secrets for the row of this DMS.
    pub(crate) async fn seal(
        &self,
        id: &DmsId,
        secrets: &DmsSecrets,
    ) -> Result<StoredSecrets, DmsError> {
        let row = SecretsRow::from(secrets);
        if row.is_empty() {
            return Ok(StoredSecrets::Clear(row));
        }
        let key = self.secret_key.get(&self.db).await;
        let key = key.map_err(StorageFailure::from)?;
        let clear =
            serde_json::to_vec(&row).map_err(|error| StorageFailure::Internal(Box::new(error)))?;
        let sealed =
            sealed(key, id, clear).map_err(|error| StorageFailure::Internal(Box::new(error)))?;
        Ok(StoredSecrets::Sealed { sealed })
    }

    /// The secrets of a DMS.
    pub(crate) async fn unseal(&self, stored: &StoredDms) -> Result<DmsSecrets, DmsError> {
        let row = match &stored.secrets {
            StoredSecrets::Clear(row) => row.clone(),
            StoredSecrets::Sealed { sealed } => {
                let key = self.secret_key.get(&self.db).await;
                let key = key.map_err(StorageFailure::from)?;
                let opened = opened(key, &stored.dms.id, sealed);
                let row = opened.and_then(|clear| serde_json::from_slice(&clear).ok());
                row.ok_or_else(foreign_seal)?
            }
        };
        Ok(row.into())
    }

    /// Seals what older versions stored in clear. Usually that is nothing, and one look at a small table.
    pub(crate) async fn seal_older_secrets(&self) -> Result<(), DmsError> {
        let ids = store::with_clear_secrets(&self.db).await;
        let ids = ids.map_err(StorageFailure::from)?;
        for id in &ids {
            retry_races(|| self.seal_older(id)).await?;
        }
        if !ids.is_empty() {
            tracing::info!(sealed = ids.len(), "secrets of dms sealed");
        }
        Ok(())
    }

    async fn seal_older(&self, id: &DmsId) -> Result<(), Attempt<DmsError>> {
        let Some(stored) = store::by_id(&self.db, id).await? else {
            return Ok(());
        };
        let secrets = self.seal(id, &self.unseal(&stored).await?).await?;
        let mut set = WriteSet::new();
        let update =
            store::update(&stored.dms, &secrets, stored.revision).map_err(DmsError::from)?;
        set.expect_one(update, store::REVISION);
        self.db.commit(set).await?;
        Ok(())
    }
}

fn foreign_seal() -> StorageFailure {
    DbError::corrupt("dms.secrets", "not sealed by this installation").into()
}

fn sealed(key: &RandomizedNonceKey, id: &DmsId, mut text: Vec<u8>) -> Result<String, Unspecified> {
    let nonce = key.seal_in_place_append_tag(Aad::from(id.as_str()), &mut text)?;
    let mut sealed = nonce.as_ref().to_vec();
    sealed.append(&mut text);
    Ok(STANDARD.encode(sealed))
}

fn opened(key: &RandomizedNonceKey, id: &DmsId, sealed: &str) -> Option<Zeroizing<Vec<u8>>> {
    let octets = STANDARD.decode(sealed).ok()?;
    let (nonce, text) = octets.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut text = Zeroizing::new(text.to_vec());
    let length = key
        .open_in_place(nonce, Aad::from(id.as_str()), &mut text)
        .ok()?
        .len();
    text.truncate(length);
    Some(text)
}
