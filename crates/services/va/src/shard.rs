//! CRLs of shards (RFC 5280 §5.2.5): what is revoked of one part of a CA's certificates.
//!
//! Each certificate of a CA with shards names the list of its own one, and each list says critically
//! whose certificates it is about, in the very bytes of their distribution point: it cannot pass for
//! the list of another shard, or for a complete one. A revocation makes the list of one shard anew;
//! the complete list, and the delta CRLs to it, are there beside them. Shards number their lists each
//! for itself, and have no delta CRLs: they are short.

use lamassu_core::caller::Caller;
use lamassu_core::va::{Crl, CrlShard, VaError};
use lamassu_db::{Attempt, DbError, WriteSet, retry_races};
use lamassu_x509::AccessLocations;
use time::OffsetDateTime;

use crate::authority::Authority;
use crate::ca_failure::no_ca_data;
use crate::crl::{CrlPlan, MakeCrlError, Scope, end_of, usable_refresh};
use crate::files::Series;
use crate::renew::{Renewal, unreadable};
use crate::service::VaService;
use crate::shard_job::SHARD_JOB;
use crate::store::role::StoredRole;
use crate::store::shard::{self, StoredShard};

impl VaService {
    /// Whether a CA has shards that are not there yet.
    pub(crate) async fn lacks_shards(&self, authority: &Authority) -> Result<bool, DbError> {
        match authority.crl_shards {
            Some(shards) => Ok(!shard::has(&self.db, &authority.ski, shards).await?),
            None => Ok(false),
        }
    }

    /// Adds the shards of a CA to a write set. Their first CRLs are due at once, as that of a role.
    pub(crate) fn add_shards(&self, set: &mut WriteSet, authority: &Authority) {
        if let Some(shards) = authority.crl_shards {
            let due = authority.may_sign_crls().then(|| self.db.now());
            shard::ensure(set, &authority.ski, shards, due);
            set.wake(SHARD_JOB);
        }
    }

    /// Makes the next CRLs of a role's shards due by its new options.
    pub(crate) fn reschedule_shards(
        &self,
        set: &mut WriteSet,
        role: &StoredRole,
        now: OffsetDateTime,
    ) {
        if role.role.crl_shards.is_some() && self.config.crl_monitoring_job.enabled {
            let interval = usable_refresh(&role.role.crl_options);
            set.execute(shard::reschedule(&role.role.ca_ski, interval, now));
            set.wake(SHARD_JOB);
        }
    }

    /// Makes the next CRL of a shard if it is wanted, and returns the shard as it is then.
    pub(crate) async fn renew_shard(
        &self,
        caller: &Caller,
        (ski, shard): (&str, CrlShard),
        renewal: Renewal,
    ) -> Result<StoredShard, VaError> {
        retry_races(|| self.try_renew_shard(caller, (ski, shard), renewal)).await
    }

    async fn try_renew_shard(
        &self,
        caller: &Caller,
        (ski, shard): (&str, CrlShard),
        renewal: Renewal,
    ) -> Result<StoredShard, Attempt<VaError>> {
        // The shard is read before the entries: what changes in between is seen as not covered.
        let previous = shard::by_name(&self.db, ski, shard).await?;
        let previous = previous.ok_or(VaError::CrlNotFound(None))?;
        let now = self.db.now();
        if !renewal.is_wanted(previous.crl.version, previous.next_due, now) {
            return Ok(previous);
        }
        let role = self.stored_role(ski).await?.ok_or(VaError::RoleNotFound)?;
        let authority = self
            .authorities
            .of_role(caller, &role.ca_id, ski, renewal.asker())
            .await;
        let authority = authority.map_err(no_ca_data)?.ok_or(VaError::CaNotFound)?;
        if authority.id != role.ca_id {
            let series = Series::shard(&previous);
            self.refuse_others(&authority, &series, &previous.crl, now)
                .await?;
        }
        let next_due = self.renewal_due(&role.role.crl_options, now);
        let plan = self.next_of_shard(&previous, &authority, &role, now);
        self.make_shard_crl(caller, &authority, (&previous, next_due), plan)
            .await
    }

    fn next_of_shard(
        &self,
        previous: &StoredShard,
        authority: &Authority,
        role: &StoredRole,
        now: OffsetDateTime,
    ) -> CrlPlan {
        let was_listed = previous.crl.version > 0 && self.config.crl.prune_expired;
        CrlPlan {
            number: self.number_after(previous.crl.version),
            now,
            next_update: end_of(now, role.role.crl_options.validity),
            scope: Scope::Shard {
                shard: previous.shard,
                expired_before: was_listed.then_some(previous.crl.valid_from.0),
                addresses: self.shard_addresses(authority, previous.shard),
            },
        }
    }

    /// Where the CRL of a shard is: what the CA writes into certificates, made in the same way.
    fn shard_addresses(&self, authority: &Authority, shard: CrlShard) -> Vec<String> {
        let key = authority.key_identifier();
        let locations = AccessLocations::at_domains(&self.config.va_domains, &key);
        locations.with_crl_part(&shard.to_string()).crl
    }

    /// Makes, stores and tells of a CRL behind which the next one is due then.
    async fn make_shard_crl(
        &self,
        caller: &Caller,
        authority: &Authority,
        (previous, next_due): (&StoredShard, Option<OffsetDateTime>),
        plan: CrlPlan,
    ) -> Result<StoredShard, Attempt<VaError>> {
        let now = plan.now;
        let crl = self.make_crl(caller, authority, plan).await;
        let crl = crl.map_err(VaError::from)?;
        let series = Series::shard(previous);
        let written = self.files.write(&series, crl.number, &crl.der).await;
        let mut next = previous.clone();
        next.file = written.map_err(MakeCrlError::from).map_err(VaError::from)?;
        next.crl = crl.latest();
        next.next_due = next_due;
        let mut set = WriteSet::new();
        shard::advance(&mut set, previous, &next, now);
        self.tell_crl(&mut set, caller, authority, &crl);
        set.wake(SHARD_JOB);
        self.db.commit(set).await?;
        self.keep(&next.file, crl.der);
        tracing::info!(
            ca_ski = previous.ca_ski,
            shard = %previous.shard,
            number = crl.number,
            entries = crl.n_entries,
            "crl of a shard made"
        );
        Ok(next)
    }

    /// The newest CRL of a shard; made here where there is none yet, or its file is lost.
    pub(crate) async fn newest_of_shard(
        &self,
        caller: &Caller,
        ski: &str,
        shard: CrlShard,
    ) -> Result<Crl, VaError> {
        let ski = ski.to_ascii_lowercase();
        let found = self.stored_shard(&ski, shard).await?;
        let stored = match found {
            Some(stored) if stored.crl.version > 0 => stored,
            found => {
                if found.is_none() {
                    self.role_on_the_spot(caller, &ski).await?;
                }
                let first = Renewal::After(0);
                self.renew_shard(caller, (&ski, shard), first).await?
            }
        };
        let load = async |stored: &StoredShard| {
            self.load_series(&Series::shard(stored), &stored.crl).await
        };
        match load(&stored).await {
            Err(error) if error.is_loss() => {
                tracing::error!(
                    ca_ski = ski,
                    %shard,
                    number = stored.crl.version,
                    error = &error as &(dyn std::error::Error + 'static),
                    "crl file lost"
                );
                let lost = Renewal::After(stored.crl.version);
                let stored = self.renew_shard(caller, (&ski, shard), lost).await?;
                load(&stored).await.map_err(unreadable)
            }
            outcome => outcome.map_err(unreadable),
        }
    }

    async fn stored_shard(
        &self,
        ski: &str,
        shard: CrlShard,
    ) -> Result<Option<StoredShard>, VaError> {
        let found = shard::by_name(&self.db, ski, shard).await;
        Ok(found.map_err(lamassu_core::error::StorageFailure::from)?)
    }

    /// Makes the last CRLs of the shards of a deleted CA, valid until then and longer than others.
    pub(crate) async fn finish_shards(
        &self,
        caller: &Caller,
        authority: &Authority,
        needed: OffsetDateTime,
    ) -> Result<(), VaError> {
        let all = shard::of_role(&self.db, &authority.ski).await;
        for stored in all.map_err(lamassu_core::error::StorageFailure::from)? {
            retry_races(|| self.try_finish_shard(caller, authority, stored.shard, needed)).await?;
        }
        Ok(())
    }

    async fn try_finish_shard(
        &self,
        caller: &Caller,
        authority: &Authority,
        shard: CrlShard,
        needed: OffsetDateTime,
    ) -> Result<(), Attempt<VaError>> {
        let ski = &authority.ski;
        let previous = self.stored_shard(ski, shard).await?;
        let previous = previous.ok_or(VaError::CrlNotFound(None))?;
        let role = self.stored_role(ski).await?.ok_or(VaError::RoleNotFound)?;
        let plan = self.next_of_shard(&previous, authority, &role, self.db.now());
        let plan = CrlPlan {
            next_update: plan.next_update.max(needed),
            ..plan
        };
        self.make_shard_crl(caller, authority, (&previous, None), plan)
            .await
            .map(drop)
    }
}
