//! Roles: reading, listing, and making one for a CA.

use lamassu_core::caller::Caller;
use lamassu_core::error::StorageFailure;
use lamassu_core::page::Page;
use lamassu_core::query::ListRequest;
use lamassu_core::timestamp::Timestamp;
use lamassu_core::va::{CrlOptions, LatestCrl, VaError, VaRole};
use lamassu_db::list::{ListError, list};
use lamassu_db::{Attempt, WriteSet, retry_races};
use time::OffsetDateTime;

use crate::authority::Authority;
use crate::crl::{MadeCrl, MakeCrlError, default_options};
use crate::events;
use crate::files::Series;
use crate::jobs::CRL_JOB;
use crate::metrics;
use crate::service::VaService;
use crate::store::role::{self, CrlFile, ROLES, StoredDelta, StoredRole};

impl VaService {
    /// The role with this key identifier.
    pub(crate) async fn stored_role(&self, ski: &str) -> Result<Option<StoredRole>, VaError> {
        let found = role::by_ski(&self.db, ski).await;
        Ok(found.map_err(StorageFailure::from)?)
    }

    pub(crate) async fn list_roles(&self, request: &ListRequest) -> Result<Page<VaRole>, VaError> {
        let page = list(&self.db, &ROLES, "va-roles", request, &[])
            .await
            .map_err(ListError::into_error::<VaError>)?;
        let roles = page.try_map(|row| StoredRole::try_from(&row).map(|stored| stored.role));
        Ok(roles.map_err(StorageFailure::from)?)
    }

    /// The write set that makes the role of a CA. Its first CRL is due at once, and made by the job
    /// or for the first who fetches it, whoever is sooner: making a role needs no key, so that a CA
    /// whose engine is away delays nobody. Where the CA may not sign CRLs, none is ever due.
    ///
    /// Fails on [`NO_ROLE`](role::NO_ROLE) when the role exists by then.
    pub(crate) fn new_role(&self, caller: &Caller, authority: &Authority) -> WriteSet {
        let now = self.db.now();
        let role = VaRole {
            ca_ski: authority.ski.clone(),
            crl_options: default_options(&authority.ski),
            latest_crl: LatestCrl {
                version: 0,
                valid_from: Timestamp(now),
                valid_until: Timestamp::ZERO,
            },
            crl_shards: authority.crl_shards,
        };
        let mut set = WriteSet::new();
        events::role_audited(&mut set, caller, &role, now);
        let stored = StoredRole {
            role,
            ca_id: authority.id.clone(),
            file: CrlFile::default(),
            changes: 0,
            next_due: authority.may_sign_crls().then_some(now),
            last_number: 0,
            covered_at: now,
            delta: StoredDelta::none(),
        };
        role::insert(&mut set, &stored, now);
        self.add_shards(&mut set, authority);
        set.wake(CRL_JOB);
        set
    }

    /// Replaces the options of a role, which is made where there is none and the CA exists.
    pub(crate) async fn replace_options(
        &self,
        caller: &Caller,
        ski: &str,
        options: &CrlOptions,
    ) -> Result<VaRole, VaError> {
        let ski = ski.to_ascii_lowercase();
        if self.stored_role(&ski).await?.is_none() {
            self.role_on_the_spot(caller, &ski).await?;
        }
        let role = retry_races(|| self.try_replace_options(caller, &ski, options)).await?;
        tracing::info!(ca_ski = ski, "va role updated");
        Ok(role)
    }

    async fn try_replace_options(
        &self,
        caller: &Caller,
        ski: &str,
        options: &CrlOptions,
    ) -> Result<VaRole, Attempt<VaError>> {
        let stored = self.stored_role(ski).await?.ok_or(VaError::RoleNotFound)?;
        let options = options.clone().keeping(&stored.role.crl_options);
        options.validate().map_err(VaError::Options)?;
        let now = self.db.now();
        let mut next = stored.clone();
        next.role.crl_options = options;
        self.reschedule(&mut next, &stored, now);
        let mut set = WriteSet::new();
        role::set_options(&mut set, &next);
        self.reschedule_shards(&mut set, &next, now);
        events::role_updated(&mut set, caller, &next.role, now);
        set.wake(CRL_JOB);
        self.db.commit(set).await?;
        Ok(next.role)
    }

    /// When CRLs are due under new options: at once where delta CRLs begin or end, because the
    /// complete one says where they are.
    fn reschedule(&self, next: &mut StoredRole, stored: &StoredRole, now: OffsetDateTime) {
        if stored.number() == 0 || stored.next_due.is_none() {
            // The first one is due anyway, or there is nobody to sign one.
            return;
        }
        if next.delta_validity().is_some() != stored.delta_validity().is_some() {
            next.next_due = Some(now);
            next.delta.due = None;
        } else if stored.next_due > Some(now) {
            let made_at = stored.role.latest_crl.valid_from.0;
            next.next_due = self
                .renewal_due(&next.role.crl_options, made_at)
                .or(stored.next_due);
        }
    }

    /// The role with a new CRL, whose file it writes.
    pub(crate) async fn with_crl(
        &self,
        previous: &StoredRole,
        crl: &MadeCrl,
        now: OffsetDateTime,
    ) -> Result<StoredRole, VaError> {
        let series = Series::complete(previous);
        let written = self.files.write(&series, crl.number, &crl.der).await;
        let mut next = previous.clone();
        next.file = written.map_err(MakeCrlError::from)?;
        next.next_due = self.renewal_due(&next.role.crl_options, now);
        next.last_number = crl.number;
        next.covered_at = now;
        next.role.latest_crl = crl.latest();
        Ok(next)
    }

    /// Adds what is told of a new CRL.
    pub(crate) fn tell_crl(
        &self,
        set: &mut WriteSet,
        caller: &Caller,
        authority: &Authority,
        crl: &MadeCrl,
    ) {
        let domain = self.config.va_domains.first().map(String::as_str);
        events::crl_created(set, caller, authority, crl, domain, self.db.now());
        metrics::crl_made(crl.kind);
    }
}
