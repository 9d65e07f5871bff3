//! The revoked entries compared with the CA service, and roles for CAs that have none.
//!
//! Events keep both up to date; this repairs what events did not tell: CAs from before this
//! service ran, events that were set aside or trimmed away, certificates that have another issuer since a new CA
//! has the id of a deleted one, or is known at last. It happens when a process takes over
//! the job, once a day, and when the CA service wakes it, and changes nothing where nothing is wrong, so a start makes
//! no CRL that is not missing. What it repairs is counted: once the events from before have been handled, it
//! means that some were not.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use lamassu_core::ca::RevokedEntry;
use lamassu_core::caller::Caller;
use lamassu_core::ids::SerialNumber;
use lamassu_core::usage::RevocationReason;
use lamassu_core::va::{Bucket, VaError};
use lamassu_db::{Attempt, Statement, WriteSet, retry_races};

use crate::authority::Authority;
use crate::ca_failure::no_ca_data;
use crate::jobs::CRL_JOB;
use crate::metrics;
use crate::service::VaService;
use crate::shard_job::SHARD_JOB;
use crate::store::delta;
use crate::store::revoked::{self, CertificateKey, Revocation};
use crate::store::role::{self, Issuer};
use crate::store::shard;
use time::OffsetDateTime;

/// Entries that are compared, and repaired in one write set, at a time.
const PAGE: u32 = 500;

impl VaService {
    /// Reconciles all CAs; a CA that fails does not keep the others from it.
    pub(crate) async fn reconcile_all(&self, caller: &Caller) -> Result<(), VaError> {
        let mut failed = None;
        let all = self.authorities.all(caller).await.map_err(no_ca_data)?;
        let ids = all.iter().map(|authority| authority.id.clone()).collect();
        self.sweep_responder_keys(caller, &ids).await?;
        for authority in all {
            if let Err(error) = self.reconcile(caller, &authority).await {
                tracing::warn!(
                    ca_id = %authority.id,
                    error = &error as &(dyn std::error::Error + 'static),
                    "revoked certificates not reconciled"
                );
                failed = Some(error);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    pub(crate) async fn reconcile(
        &self,
        caller: &Caller,
        authority: &Arc<Authority>,
    ) -> Result<(), VaError> {
        let mut after = None;
        let mut n_repairs = 0_usize;
        loop {
            let page =
                retry_races(|| self.reconcile_page(caller, authority, after.as_ref())).await?;
            n_repairs = n_repairs.saturating_add(page.n_repairs);
            after = page.last;
            if after.is_none() {
                break;
            }
        }
        if n_repairs > 0 {
            metrics::entries_repaired(n_repairs);
            tracing::info!(ca_id = %authority.id, repairs = n_repairs, "revoked certificates reconciled");
        }
        self.ensure_role(caller, authority).await?;
        Ok(())
    }

    /// Makes our entries behind `after` those of the CA service, as far as one page of both goes.
    /// It counts as a change of the role, and happens only if nothing else changed since the
    /// entries were read: an event that was handled meanwhile knows better.
    async fn reconcile_page(
        &self,
        caller: &Caller,
        authority: &Authority,
        after: Option<&SerialNumber>,
    ) -> Result<Page, Attempt<VaError>> {
        let role = role::by_ski(&self.db, &authority.ski).await?;
        let theirs = self
            .ca
            .revoked_certificates(caller, &authority.id, after, PAGE)
            .await
            .map_err(no_ca_data)?;
        let ours = revoked::of_ca(&self.db, &authority.id, after, PAGE).await?;
        // Both are known up to here; all the rest, if neither page is full.
        let last = [
            last_if_full(&theirs, |entry| &entry.serial_number),
            last_if_full(&ours, |(key, _)| &key.serial_number),
        ]
        .into_iter()
        .flatten()
        .min();
        let known = |serial: &SerialNumber| last.as_ref().is_none_or(|last| serial <= last);
        let mut ours: HashMap<_, _> = ours
            .into_iter()
            .filter(|(key, _)| known(&key.serial_number))
            .collect();
        let now = self.db.now();
        let mut buckets = BTreeSet::new();
        let mut repairs = Vec::new();
        for entry in theirs.iter().filter(|entry| known(&entry.serial_number)) {
            if let Some(statement) = repair(authority, entry, &mut ours, now) {
                buckets.insert(Bucket::of(&entry.serial_number));
                repairs.push(statement);
            }
        }
        // What the CA service did not name is revoked no more.
        let n_repairs = repairs.len().saturating_add(ours.len());
        for (key, was) in &ours {
            buckets.insert(Bucket::of(&key.serial_number));
            repairs.push(revoked::remove(key));
            if was.reason == RevocationReason::CertificateHold {
                repairs.push(delta::released(key, now));
            }
        }
        if n_repairs > 0 {
            let mut set = WriteSet::new();
            for statement in repairs {
                set.execute(statement);
            }
            if let Some(role) = role {
                role::entries_changed_since(&mut set, &authority.ski, role.changes, now);
                let issuer = Issuer {
                    ca_id: role.ca_id,
                    ski: authority.ski.clone(),
                };
                set.execute(shard::entries_changed(&issuer, buckets.into_iter(), now));
                set.wake(CRL_JOB);
                set.wake(SHARD_JOB);
            }
            self.db.commit(set).await?;
        }
        Ok(Page { last, n_repairs })
    }
}

/// One step of the comparison.
struct Page {
    /// Up to which serial number it went; `None` is the end.
    last: Option<SerialNumber>,
    /// How many entries were repaired.
    n_repairs: usize,
}

/// The last serial number of a page behind which there may be more.
fn last_if_full<T>(page: &[T], serial: impl Fn(&T) -> &SerialNumber) -> Option<SerialNumber> {
    let full = u32::try_from(page.len()).is_ok_and(|n| n >= PAGE);
    page.last()
        .filter(|_| full)
        .map(|last| serial(last).clone())
}

/// The statement that an entry of the CA service asks for, if ours is missing or another. Takes
/// the entry out of `ours`.
fn repair(
    authority: &Authority,
    entry: &RevokedEntry,
    ours: &mut HashMap<CertificateKey, Revocation>,
    now: OffsetDateTime,
) -> Option<Statement> {
    let key = CertificateKey {
        ca_id: authority.id.clone(),
        serial_number: entry.serial_number.clone(),
    };
    let theirs = Revocation {
        revoked_at: entry.revocation_timestamp.truncated_to_micros().0,
        reason: entry.revocation_reason,
        valid_to: entry.valid_to.truncated_to_micros().0,
    };
    (ours.remove(&key) != Some(theirs)).then(|| revoked::upsert(&key, theirs, now))
}
