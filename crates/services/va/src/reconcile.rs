//! The revoked entries compared with the CA service, and roles for CAs that have none.
//!
//! Events keep both up to date; this repairs what events did not tell: CAs from before this
//! service ran, events that were set aside or trimmed away. It changes nothing where nothing is
//! wrong, so a start makes no CRL that is not missing.

use std::collections::HashMap;
use std::sync::Arc;

use lamassu_core::ca::RevokedEntry;
use lamassu_core::caller::Caller;
use lamassu_core::ids::SerialNumber;
use lamassu_core::va::VaError;
use lamassu_db::{Attempt, Statement, WriteSet, retry_races};

use crate::authority::Authority;
use crate::ca_failure::no_ca_data;
use crate::jobs::CRL_JOB;
use crate::service::VaService;
use crate::store::revoked::{self, CertificateKey, Revocation};
use crate::store::role;

/// Entries per call of the CA service.
const PAGE: u32 = 1_000;

/// Statements per write set.
const BATCH: usize = 500;

impl VaService {
    /// Reconciles all CAs; a CA that fails does not keep the others from it.
    pub(crate) async fn reconcile_all(&self, caller: &Caller) -> Result<(), VaError> {
        let mut failed = None;
        for authority in self.authorities.all(caller).await.map_err(no_ca_data)? {
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

    async fn reconcile(&self, caller: &Caller, authority: &Arc<Authority>) -> Result<(), VaError> {
        retry_races(|| self.try_reconcile(caller, authority)).await?;
        self.ensure_role(caller, authority).await?;
        Ok(())
    }

    /// Repairs in batches. Each counts as a change of the role, and happens only if nothing else
    /// changed since the entries were read: an event that was handled meanwhile knows better.
    async fn try_reconcile(
        &self,
        caller: &Caller,
        authority: &Authority,
    ) -> Result<(), Attempt<VaError>> {
        let role = role::by_ski(&self.db, &authority.ski).await?;
        let repairs = self.differences(caller, authority).await?;
        let mut changes = role.as_ref().map_or(0, |role| role.changes);
        for batch in repairs.chunks(BATCH) {
            let mut set = WriteSet::new();
            for statement in batch {
                set.execute(statement.clone());
            }
            if role.is_some() {
                role::entries_changed_since(&mut set, &authority.ski, changes, self.db.now());
                changes = changes.saturating_add(1);
                set.wake(CRL_JOB);
            }
            self.db.commit(set).await?;
        }
        if !repairs.is_empty() {
            tracing::info!(ca_id = %authority.id, repairs = repairs.len(), "revoked certificates reconciled");
        }
        Ok(())
    }

    /// What would make our entries those of the CA service.
    async fn differences(
        &self,
        caller: &Caller,
        authority: &Authority,
    ) -> Result<Vec<Statement>, Attempt<VaError>> {
        let mut ours = revoked::of_ca(&self.db, &authority.id).await?;
        let mut repairs = Vec::new();
        let mut after: Option<SerialNumber> = None;
        loop {
            let page = self
                .ca
                .revoked_certificates(caller, &authority.id, after.as_ref(), PAGE)
                .await
                .map_err(no_ca_data)?;
            repairs.extend(
                page.iter()
                    .filter_map(|entry| repair(authority, entry, &mut ours)),
            );
            match page.last() {
                Some(last) if page.len() >= usize::try_from(PAGE).unwrap_or(usize::MAX) => {
                    after = Some(last.serial_number.clone());
                }
                _ => break,
            }
        }
        // What the CA service did not name is revoked no more.
        repairs.extend(ours.keys().map(revoked::remove));
        Ok(repairs)
    }
}

/// The statement that an entry of the CA service asks for, if ours is missing or another. Takes
/// the entry out of `ours`.
fn repair(
    authority: &Authority,
    entry: &RevokedEntry,
    ours: &mut HashMap<CertificateKey, Revocation>,
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
    (ours.remove(&key) != Some(theirs)).then(|| revoked::upsert(&key, theirs))
}
