//! Delta CRLs (RFC 5280 §5.2.4): what changed since the newest complete CRL.
//!
//! They are made only where a role says so; then a revocation makes a delta CRL, which is as short as
//! the changes are few, and complete ones are made by their interval. Both share one sequence of
//! numbers. A delta CRL always goes with the newest complete one, so that each new one of those is
//! followed by a delta CRL to it.

use lamassu_core::caller::Caller;
use lamassu_core::va::{Crl, VaError};
use lamassu_db::{Attempt, WriteSet, retry_races};
use time::Duration;

use crate::authorities::Asker;
use crate::ca_failure::no_ca_data;
use crate::crl::{CrlPlan, MakeCrlError, Scope, delta_refresh, end_of};
use crate::files::Series;
use crate::jobs::CRL_JOB;
use crate::renew::unreadable;
use crate::service::VaService;
use crate::store::delta;
use crate::store::role::StoredRole;

/// A change counts as later than a complete CRL if it was noted so long before that one's entries were
/// read: it may have been committed after that, and the clocks of several processes differ.
pub(crate) const DELTA_MARGIN: Duration = Duration::minutes(5);

impl VaService {
    /// Makes the next delta CRL of a role if it is due, and returns the role as it is then.
    pub(crate) async fn renew_delta(
        &self,
        caller: &Caller,
        ski: &str,
    ) -> Result<StoredRole, VaError> {
        retry_races(|| self.try_renew_delta(caller, ski)).await
    }

    async fn try_renew_delta(
        &self,
        caller: &Caller,
        ski: &str,
    ) -> Result<StoredRole, Attempt<VaError>> {
        let previous = self.stored_role(ski).await?.ok_or(VaError::RoleNotFound)?;
        let now = self.db.now();
        let validity = match previous.delta_validity() {
            Some(validity) if previous.delta.due.is_some_and(|due| due <= now) => validity,
            _ => return Ok(previous),
        };
        let authority = self
            .authorities
            .of_role(caller, &previous.ca_id, ski, Asker::Job)
            .await;
        let authority = authority.map_err(no_ca_data)?.ok_or(VaError::CaNotFound)?;
        let plan = CrlPlan {
            number: self.number_after(previous.last_number),
            now,
            next_update: end_of(now, validity),
            scope: Scope::Delta {
                base: previous.number(),
                since: previous.covered_at.saturating_sub(DELTA_MARGIN),
            },
        };
        let crl = self.make_crl(caller, &authority, plan).await;
        let crl = crl.map_err(VaError::from)?;
        let series = Series::delta(&previous);
        let written = self.files.write(&series, crl.number, &crl.der).await;
        let mut next = previous.clone();
        next.last_number = crl.number;
        next.delta.file = written.map_err(MakeCrlError::from).map_err(VaError::from)?;
        next.delta.crl = crl.latest();
        next.delta.due = Some(now.saturating_add(delta_refresh(validity)));
        let mut set = WriteSet::new();
        delta::advance(&mut set, &previous, &next, now);
        self.tell_crl(&mut set, caller, &authority, &crl);
        set.wake(CRL_JOB);
        self.db.commit(set).await?;
        self.keep(&next.delta.file, crl.der);
        tracing::info!(
            ca_ski = ski,
            number = crl.number,
            entries = crl.n_entries,
            "delta crl made"
        );
        Ok(next)
    }

    /// The newest delta CRL. A lost file is replaced by the next one, which is soon.
    pub(crate) async fn newest_delta(&self, ski: &str) -> Result<Crl, VaError> {
        let role = self.stored_role(&ski.to_ascii_lowercase()).await?;
        let role = role.ok_or(VaError::RoleNotFound)?;
        let made = role.delta.crl.version > 0 && role.delta_validity().is_some();
        if !made {
            return Err(VaError::CrlNotFound(None));
        }
        let loaded = self
            .load_series(&Series::delta(&role), &role.delta.crl)
            .await;
        loaded.map_err(unreadable)
    }

    /// Where the delta CRLs of a role are, if there are any.
    pub(crate) fn delta_addresses(&self, role: &StoredRole) -> Vec<String> {
        if role.delta_validity().is_none() {
            return Vec::new();
        }
        let ski = &role.role.ca_ski;
        let domains = self.config.va_domains.iter();
        domains
            .map(|domain| format!("http://{domain}/crl/{ski}/delta"))
            .collect()
    }
}
