//! Reading keys.

use std::collections::BTreeMap;

use lamassu_core::error::StorageFailure;
use lamassu_core::ids::KeyRef;
use lamassu_core::kms::{Key, KeyStats, KeyType, KmsError};
use lamassu_core::page::Page;
use lamassu_core::query::{Filter, ListRequest};
use lamassu_db::list::ListError;
use lamassu_db::{DbError, FromValue as _};

use crate::key_address::KeyAddress;
use crate::service::Kms;
use crate::store::StoredKey;

impl Kms {
    /// The key that a caller names, with its usage.
    pub(crate) async fn find_key(&self, reference: &KeyRef) -> Result<Key, KmsError> {
        let mut key = self.stored_key(reference).await?.key;
        key.usage = Some(self.usage_of(&key.key_id).await?);
        Ok(key)
    }

    /// The row of the key that a caller names.
    pub(crate) async fn stored_key(&self, reference: &KeyRef) -> Result<StoredKey, KmsError> {
        let address = KeyAddress::parse(reference)?;
        let found = self.store.key_by_address(&address).await;
        let found = found.map_err(StorageFailure::from)?;
        found.ok_or(KmsError::KeyNotFound)
    }

    pub(crate) async fn list_keys(&self, request: &ListRequest) -> Result<Page<Key>, KmsError> {
        let page = self.store.keys(request).await;
        let page = page.map_err(ListError::into_error::<KmsError>)?;
        let keys = page.try_map(|row| StoredKey::try_from(&row).map(|stored| stored.key));
        Ok(keys.map_err(StorageFailure::from)?)
    }

    /// The counts per engine sum up to the total. Without filters nothing is counted: triggers did.
    pub(crate) async fn count_keys(&self, filters: &[Filter]) -> Result<KeyStats, KmsError> {
        let (by_engine, by_algorithm) = if filters.is_empty() {
            let counts = self.store.counts().await.map_err(StorageFailure::from)?;
            let by_engine = counts
                .iter()
                .map(|count| (count.engine_id.clone(), count.n));
            let by_engine: Vec<_> = by_engine.collect();
            let by_algorithm = counts.into_iter().map(|count| (count.algorithm, count.n));
            (by_engine, by_algorithm.collect())
        } else {
            let by_engine = self.count_by("engine_id", filters).await?;
            (by_engine, self.count_by("algorithm", filters).await?)
        };
        let engines = self.engines.ids().map(ToString::to_string);
        let algorithms = KeyType::ALL.iter().map(|known| known.as_str().to_owned());
        let per_engine = distribution(engines, by_engine);
        let per_algorithm = distribution(algorithms, by_algorithm);
        Ok(KeyStats {
            total_keys: per_engine.values().sum(),
            keys_distribution_per_engine: per_engine,
            keys_distribution_per_algorithm: per_algorithm,
        })
    }

    async fn count_by(
        &self,
        column: &'static str,
        filters: &[Filter],
    ) -> Result<Vec<(String, i64)>, KmsError> {
        let counted = self.store.count_by(column, filters).await;
        let counted = counted.map_err(ListError::into_error::<KmsError>)?;
        let named = counted.into_iter().map(|(name, n)| {
            let name = String::from_value(&name);
            let name = name.map_err(|mismatch| DbError::corrupt("value", mismatch.to_string()));
            Ok((name.map_err(StorageFailure::from)?, n))
        });
        named.collect()
    }
}

/// Sums by name; the names that must be there begin at 0.
fn distribution(
    names: impl Iterator<Item = String>,
    counted: Vec<(String, i64)>,
) -> BTreeMap<String, i64> {
    let mut counts: BTreeMap<String, i64> = names.map(|name| (name, 0)).collect();
    for (name, n) in counted {
        let count = counts.entry(name).or_default();
        *count = count.saturating_add(n);
    }
    counts
}
