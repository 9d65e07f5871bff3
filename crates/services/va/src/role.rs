//! Roles: reading, listing, and making one for a CA.

use lamassu_core::caller::Caller;
use lamassu_core::error::StorageFailure;
use lamassu_core::page::Page;
use lamassu_core::query::ListRequest;
use lamassu_core::timestamp::Timestamp;
use lamassu_core::va::{LatestCrl, VaError, VaRole};
use lamassu_db::WriteSet;
use lamassu_db::list::{ListError, list};
use time::OffsetDateTime;

use crate::authority::Authority;
use crate::crl::{MadeCrl, MakeCrlError, default_options};
use crate::events;
use crate::jobs::CRL_JOB;
use crate::metrics;
use crate::service::VaService;
use crate::store::role::{self, CrlFile, ROLES, StoredRole};

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
        };
        let mut set = WriteSet::new();
        events::role_audited(&mut set, caller, &role, now);
        let stored = StoredRole {
            role,
            ca_id: authority.id.clone(),
            file: CrlFile::default(),
            changes: 0,
            next_due: authority.may_sign_crls().then_some(now),
        };
        role::insert(&mut set, &stored, now);
        set.wake(CRL_JOB);
        set
    }

    /// The role with a new CRL, whose file it writes.
    pub(crate) async fn with_crl(
        &self,
        previous: &StoredRole,
        crl: &MadeCrl,
        now: OffsetDateTime,
    ) -> Result<StoredRole, VaError> {
        let ski = &previous.role.ca_ski;
        let written = self.files.write(ski, crl.number, &crl.der).await;
        let mut next = previous.clone();
        next.file = written.map_err(MakeCrlError::from)?;
        next.next_due = self.renewal_due(&next.role.crl_options, now);
        next.role.latest_crl = LatestCrl {
            version: crl.number,
            valid_from: Timestamp(crl.this_update),
            valid_until: Timestamp(crl.next_update),
        };
        Ok(next)
    }

    /// Adds what is told of a new CRL.
    pub(crate) fn tell_crl(
        &self,
        set: &mut WriteSet,
        caller: &Caller,
        authority: &Authority,
        crl: &MadeCrl,
        now: OffsetDateTime,
    ) {
        let domain = self.config.va_domains.first().map(String::as_str);
        events::crl_created(set, caller, authority, crl, domain, now);
        metrics::crl_made(crl.n_entries);
    }
}
