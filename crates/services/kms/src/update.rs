//! Changing what a key is called, labelled and allowed.

use lamassu_core::caller::Caller;
use lamassu_core::ids::KeyRef;
use lamassu_core::kms::{Key, KeyStatus, KmsError};
use lamassu_db::{Attempt, AuditRecord, CommitError, WriteSet, retry_races_up_to};

use crate::create::require_short;
use crate::events;
use crate::service::Kms;
use crate::store::{ALIAS, update_key};

/// How often a change is attempted: of those that read the same revision one wins, so as many times
/// as there may reasonably be at the same time. Certificates that are issued for one key at the same
/// time each bind themselves to it.
const ATTEMPTS: usize = 64;

/// The event of a change, which is also its name in the audit log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Update(&'static str);

impl Update {
    pub(crate) const ALIASES: Self = Self("kms.aliases.update");
    pub(crate) const METADATA: Self = Self("kms.metadata.update");
    pub(crate) const NAME: Self = Self("kms.name.update");
    pub(crate) const STATUS: Self = Self("kms.status.update");
    pub(crate) const TAGS: Self = Self("kms.tags.update");

    pub(crate) const fn as_str(self) -> &'static str {
        self.0
    }
}

impl Kms {
    pub(crate) async fn rename(
        &self,
        caller: &Caller,
        named: &KeyRef,
        name: &str,
    ) -> Result<Key, KmsError> {
        if name.is_empty() {
            return Err(KmsError::Validation);
        }
        require_short(name)?;
        self.update(caller, named, Update::NAME, |key| {
            let name = name.to_owned();
            Ok(Some(Key {
                name,
                ..key.clone()
            }))
        })
        .await
    }

    pub(crate) async fn retag(
        &self,
        caller: &Caller,
        named: &KeyRef,
        tags: &[String],
    ) -> Result<Key, KmsError> {
        self.update(caller, named, Update::TAGS, |key| {
            let tags = tags.to_vec();
            Ok(Some(Key {
                tags,
                ..key.clone()
            }))
        })
        .await
    }

    /// A disabled key stops signing here at once, in other processes as soon as they hear of it, within
    /// a minute at the latest.
    pub(crate) async fn allow(
        &self,
        caller: &Caller,
        named: &KeyRef,
        status: KeyStatus,
    ) -> Result<Key, KmsError> {
        self.update(caller, named, Update::STATUS, |key| {
            Ok(Some(Key {
                status,
                ..key.clone()
            }))
        })
        .await
    }

    /// Changes a key as `change` says, which gives the key as it shall be, or `None` when there is
    /// nothing to do. A compare-and-set on the revision that was read: changes that run at the same
    /// time all survive. What changes nothing is told all the same.
    pub(crate) async fn update(
        &self,
        caller: &Caller,
        named: &KeyRef,
        update: Update,
        change: impl Fn(&Key) -> Result<Option<Key>, KmsError>,
    ) -> Result<Key, KmsError> {
        retry_races_up_to(ATTEMPTS, || self.try_update(caller, named, update, &change)).await
    }

    async fn try_update(
        &self,
        caller: &Caller,
        named: &KeyRef,
        update: Update,
        change: impl Fn(&Key) -> Result<Option<Key>, KmsError>,
    ) -> Result<Key, Attempt<KmsError>> {
        let stored = self.stored_key(named).await?;
        let Some(updated) = change(&stored.key)? else {
            return Ok(stored.key);
        };
        let now = self.db.now();
        let mut set = WriteSet::new();
        update_key(&mut set, &stored, &updated);
        let (previous, event) = (&stored.key, update.as_str());
        set.event(events::updated(
            event,
            caller,
            named,
            events::Pair {
                previous,
                updated: &updated,
            },
            now,
        ));
        let resource = events::resource(&updated.key_id);
        set.audit(AuditRecord::done(caller, event, resource, now));
        self.db.commit(set).await.map_err(alias_taken)?;
        self.cache.forget(&stored.key);
        Ok(updated)
    }
}

/// An alias that somebody has is no race: trying again gives the same answer.
fn alias_taken(error: CommitError) -> Attempt<KmsError> {
    if error.failed(ALIAS) {
        Attempt::Refused(KmsError::AliasExists)
    } else {
        error.into()
    }
}
