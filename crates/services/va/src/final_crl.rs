//! The last CRL of a deleted CA: valid until everything that the CA issued has ended.
//!
//! The CA service keeps the key of a deleted CA for a while, names it as long, and is told here when the CRL is
//! made, or when there is none to make: the CA has no role, or cannot sign CRLs. What fails is tried again until
//! the CA service waits no longer. The role keeps this CRL, and gets no other one; so do its shards.

use std::sync::Arc;

use async_trait::async_trait;
use lamassu_core::ca::RetiredCa;
use lamassu_core::caller::Caller;
use lamassu_core::va::{FINAL_CRL_JOB, VaError};
use lamassu_db::{Attempt, Job, JobError, NextRun, WriteSet, retry_races};
use time::{Duration, OffsetDateTime};

use crate::authority::Authority;
use crate::ca_failure::no_ca_data;
use crate::crl::{CrlPlan, Scope};
use crate::metrics;
use crate::service::VaService;
use crate::store::role::{self, StoredRole};

/// How long the CRL is valid behind the end of the last certificate.
const BEHIND_THE_LAST: Duration = Duration::DAY;

/// How often the CA service is asked, should it not have said that it waits: it may be on another database.
const INTERVAL: Duration = Duration::minutes(1);

/// A CRL that could not be made is tried again after this time.
const RETRY: Duration = Duration::seconds(30);

/// The job that makes the last CRLs.
#[derive(Debug)]
pub(crate) struct FinalCrlJob {
    service: VaService,
}

impl FinalCrlJob {
    pub(crate) const fn new(service: VaService) -> Self {
        Self { service }
    }
}

#[async_trait]
impl Job for FinalCrlJob {
    fn name(&self) -> &'static str {
        FINAL_CRL_JOB
    }

    async fn run(&self, caller: &Caller, now: OffsetDateTime) -> Result<NextRun, JobError> {
        let service = &self.service;
        let mut pause = INTERVAL;
        for retired in service.ca.retired_cas(caller).await? {
            if let Err(error) = service.finish_crls(caller, &retired).await {
                metrics::crl_failed();
                tracing::error!(
                    ca_id = %retired.ca,
                    error = &error as &(dyn std::error::Error + 'static),
                    "last crl of a deleted ca not made"
                );
                pause = RETRY;
            }
        }
        Ok(NextRun::At(now.saturating_add(pause)))
    }
}

impl VaService {
    /// The job that makes the last CRLs of deleted CAs.
    pub fn final_crl_job(&self) -> Arc<dyn Job> {
        Arc::new(FinalCrlJob::new(self.clone()))
    }

    /// Makes the last CRL of a deleted CA, and lets the CA service know that it need not wait any more.
    async fn finish_crls(&self, caller: &Caller, retired: &RetiredCa) -> Result<(), VaError> {
        match self.make_final_crl(caller, retired).await {
            Ok(role) => {
                let (ca_ski, number) = (&role.role.ca_ski, role.number());
                tracing::info!(ca_ski, number, "last crl of a deleted ca made");
            }
            Err(VaError::RoleNotFound | VaError::CrlNotFound(_)) => {
                tracing::info!(ca_id = %retired.ca, "no last crl: the deleted ca had none");
            }
            Err(error) => return Err(error),
        }
        let settled = self.ca.settle_retired_ca(caller, &retired.job).await;
        settled.map_err(no_ca_data)
    }

    async fn make_final_crl(
        &self,
        caller: &Caller,
        retired: &RetiredCa,
    ) -> Result<StoredRole, VaError> {
        let authority = Authority::new(retired.ca.clone(), &retired.certificate);
        let authority = Arc::new(authority.map_err(|_| VaError::CrlNotFound(None))?);
        // What certificates call their key is up to who makes them: the role may be of another CA, whose
        // lists go on.
        let role = self.stored_role(&authority.ski).await?;
        if role.is_none_or(|role| role.ca_id != authority.id) {
            return Err(VaError::RoleNotFound);
        }
        // Events may have more to tell.
        self.reconcile(caller, &authority).await?;
        let last_end = retired.last_end.0;
        let role = retry_races(|| self.try_final_crl(caller, &authority, last_end)).await?;
        let needed = needed_until(last_end);
        self.finish_shards(caller, &authority, needed).await?;
        Ok(role)
    }

    async fn try_final_crl(
        &self,
        caller: &Caller,
        authority: &Authority,
        last_end: OffsetDateTime,
    ) -> Result<StoredRole, Attempt<VaError>> {
        let previous = role::by_ski(&self.db, &authority.ski).await?;
        let previous = previous.ok_or(VaError::RoleNotFound)?;
        let now = self.db.now();
        let plan = last_plan(self.next_crl(&previous, now), last_end);
        let crl = self.make_crl(caller, authority, plan).await;
        let crl = crl.map_err(VaError::from)?;
        let mut next = self.with_crl(&previous, &crl, now).await?;
        next.next_due = None;
        let mut set = WriteSet::new();
        role::advance(&mut set, &previous, &next, now);
        self.tell_crl(&mut set, caller, authority, &crl);
        self.db.commit(set).await?;
        self.keep(&next.file, crl.der);
        Ok(next)
    }
}

/// Until when a last CRL must be valid. No date is behind the end of a certificate without a well-defined
/// one; the CRL ends with it then.
fn needed_until(last_end: OffsetDateTime) -> OffsetDateTime {
    last_end.saturating_add(BEHIND_THE_LAST)
}

/// The plan of a CRL behind which there is no other one, nor a delta.
fn last_plan(plan: CrlPlan, last_end: OffsetDateTime) -> CrlPlan {
    let needed = needed_until(last_end);
    let scope = match plan.scope {
        Scope::Complete { expired_before, .. } => Scope::Complete {
            expired_before,
            freshest: Vec::new(),
        },
        other @ (Scope::Delta { .. } | Scope::Shard { .. }) => other,
    };
    CrlPlan {
        next_update: plan.next_update.max(needed),
        scope,
        ..plan
    }
}
