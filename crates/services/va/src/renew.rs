//! The next CRL of a role, and the newest one for whoever fetches it.

use std::sync::Arc;

use lamassu_core::caller::Caller;
use lamassu_core::va::{Crl, VaError};
use lamassu_db::{Attempt, WriteSet, retry_races};
use time::OffsetDateTime;

use crate::authorities::Asker;
use crate::authority::Authority;
use crate::ca_failure::no_ca_data;
use crate::crl::CrlPlan;
use crate::events;
use crate::files::FileError;
use crate::jobs::CRL_JOB;
use crate::service::VaService;
use crate::store::role::{self, StoredRole};

/// When a role gets its next CRL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// When it is due; for the job.
    IfDue,
    /// When the newest one is still this one; for whoever fetches it.
    After(u64),
}

impl Renewal {
    fn is_wanted(self, role: &StoredRole, now: OffsetDateTime) -> bool {
        match self {
            Self::IfDue => role.next_due.is_some_and(|due| due <= now),
            Self::After(number) => role.number() == number,
        }
    }

    const fn asker(self) -> Asker {
        match self {
            Self::IfDue => Asker::Job,
            Self::After(_) => Asker::Anybody,
        }
    }
}

impl VaService {
    /// Makes the next CRL of a role if it is wanted, and returns the role as it is then.
    ///
    /// The number is taken by compare-and-set, so each number is given to one CRL and none is
    /// left out (but by a restore), whoever else makes CRLs at the same time.
    pub(crate) async fn renew(
        &self,
        caller: &Caller,
        ski: &str,
        renewal: Renewal,
    ) -> Result<StoredRole, VaError> {
        retry_races(|| self.try_renew(caller, ski, renewal)).await
    }

    async fn try_renew(
        &self,
        caller: &Caller,
        ski: &str,
        renewal: Renewal,
    ) -> Result<StoredRole, Attempt<VaError>> {
        // The role is read before the entries: what changes in between is seen as not covered.
        let previous = role::by_ski(&self.db, ski).await?;
        let previous = previous.ok_or(VaError::RoleNotFound)?;
        let now = self.db.now();
        if !renewal.is_wanted(&previous, now) {
            return Ok(previous);
        }
        let authority = self
            .authorities
            .of_role(caller, &previous.ca_id, ski, renewal.asker())
            .await;
        let authority = authority.map_err(no_ca_data)?.ok_or(VaError::CaNotFound)?;
        let plan = self.next_crl(&previous, now);
        let crl = self.make_crl(caller, &authority, plan).await;
        let crl = crl.map_err(VaError::from)?;
        let next = self.with_crl(&previous, &crl, now).await?;
        let mut set = WriteSet::new();
        role::advance(&mut set, &previous, &next, now);
        self.tell_crl(&mut set, caller, &authority, &crl, now);
        if previous.number() == 0 {
            // Behind its first CRL, as clients know it.
            events::role_created(&mut set, caller, &previous.role, now);
        }
        set.wake(CRL_JOB);
        self.db.commit(set).await?;
        self.keep(&next, crl.der);
        tracing::info!(
            ca_ski = ski,
            number = crl.number,
            entries = crl.n_entries,
            "crl made"
        );
        Ok(next)
    }

    /// The number of the CRL after this one; one more, except for the first after a restore.
    pub(crate) fn number_after(&self, previous: u64) -> u64 {
        previous.saturating_add(1).max(self.number_floor)
    }

    fn next_crl(&self, previous: &StoredRole, now: OffsetDateTime) -> CrlPlan {
        // Once on a list that was made after its end, a certificate leaves it (RFC 5280 §3.3).
        let was_listed = previous.number() > 0 && self.config.crl.prune_expired;
        CrlPlan {
            number: self.number_after(previous.number()),
            now,
            validity: previous.role.crl_options.validity,
            expired_before: was_listed.then_some(previous.role.latest_crl.valid_from.0),
        }
    }

    /// The newest CRL; made here where there is none yet, or its file is lost.
    pub(crate) async fn newest_crl(&self, caller: &Caller, ski: &str) -> Result<Crl, VaError> {
        let ski = ski.to_ascii_lowercase();
        let role = match self.stored_role(&ski).await? {
            Some(role) if role.number() > 0 => role,
            stored => {
                if stored.is_none() {
                    self.role_on_the_spot(caller, &ski).await?;
                }
                self.renew(caller, &ski, Renewal::After(0)).await?
            }
        };
        match self.load(&role).await {
            Err(error) if error.is_loss() => {
                tracing::error!(
                    ca_ski = ski,
                    number = role.number(),
                    error = &error as &(dyn std::error::Error + 'static),
                    "crl file lost"
                );
                let lost = Renewal::After(role.number());
                let role = self.renew(caller, &ski, lost).await?;
                self.load(&role).await.map_err(unreadable)
            }
            outcome => outcome.map_err(unreadable),
        }
    }

    /// The CRL that the role points at, from memory or from its file.
    async fn load(&self, role: &StoredRole) -> Result<Crl, FileError> {
        let key = cache_key(role);
        if let Some(der) = self.served.get(&key) {
            return Ok(served(role, der));
        }
        let der = self.files.read(&role.role.ca_ski, &role.file).await?;
        self.served.insert(key, der.clone());
        Ok(served(role, der))
    }

    /// Keeps a CRL ready to be served.
    fn keep(&self, role: &StoredRole, der: bytes::Bytes) {
        self.served.insert(cache_key(role), der);
    }

    async fn role_on_the_spot(&self, caller: &Caller, ski: &str) -> Result<(), VaError> {
        let authority = self.authorities.by_ski(caller, ski).await;
        let authority = authority.map_err(no_ca_data)?;
        let authority = authority.ok_or(VaError::RoleNotFound)?;
        self.ensure_role(caller, &authority).await
    }

    /// Makes the role of a CA if it is missing.
    pub(crate) async fn ensure_role(
        &self,
        caller: &Caller,
        authority: &Arc<Authority>,
    ) -> Result<(), VaError> {
        retry_races(|| self.try_ensure_role(caller, authority)).await
    }

    async fn try_ensure_role(
        &self,
        caller: &Caller,
        authority: &Authority,
    ) -> Result<(), Attempt<VaError>> {
        if role::by_ski(&self.db, &authority.ski).await?.is_none() {
            self.db.commit(self.new_role(caller, authority)).await?;
        }
        Ok(())
    }
}

/// The file is there, or was a moment ago: ask again.
fn unreadable(error: FileError) -> VaError {
    VaError::Unavailable(Box::new(error))
}

/// What distinguishes CRLs in memory: two processes never agree on a digest by accident.
fn cache_key(role: &StoredRole) -> String {
    role.file.digest.clone()
}

fn served(role: &StoredRole, der: bytes::Bytes) -> Crl {
    let latest = &role.role.latest_crl;
    Crl {
        der,
        digest: role.file.digest.clone(),
        number: latest.version,
        this_update: latest.valid_from,
        next_update: latest.valid_until,
    }
}
