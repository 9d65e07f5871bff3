//! The next CRL of a role, and the newest one for whoever fetches it.

use std::sync::Arc;

use lamassu_core::caller::Caller;
use lamassu_core::va::{Crl, LatestCrl, VaError};
use lamassu_db::{Attempt, WriteSet, retry_races};
use lamassu_x509::crl::CertificateList;
use time::OffsetDateTime;

use crate::authorities::Asker;
use crate::authority::Authority;
use crate::ca_failure::no_ca_data;
use crate::crl::{CrlPlan, MakeCrlError, Scope, end_of};
use crate::delta::DELTA_MARGIN;
use crate::events;
use crate::files::{FileError, Series};
use crate::jobs::CRL_JOB;
use crate::service::VaService;
use crate::store::delta;
use crate::store::role::{self, CrlFile, StoredRole};

/// When a role gets its next CRL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// When it is due; for the job.
    IfDue,
    /// When the newest one is still this one; for whoever fetches it.
    After(u64),
}

impl Renewal {
    /// Whether it is wanted where the newest CRL has this number, and the next one is due then.
    pub(crate) fn is_wanted(
        self,
        newest: u64,
        next_due: Option<OffsetDateTime>,
        now: OffsetDateTime,
    ) -> bool {
        match self {
            Self::IfDue => next_due.is_some_and(|due| due <= now),
            Self::After(number) => newest == number,
        }
    }

    pub(crate) const fn asker(self) -> Asker {
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
        if !renewal.is_wanted(previous.number(), previous.next_due, now) {
            return Ok(previous);
        }
        let authority = self
            .authorities
            .of_role(caller, &previous.ca_id, ski, renewal.asker())
            .await;
        let authority = authority.map_err(no_ca_data)?.ok_or(VaError::CaNotFound)?;
        if authority.id != previous.ca_id {
            let series = Series::complete(&previous);
            self.refuse_others(&authority, &series, &previous.role.latest_crl, now)
                .await?;
        }
        let plan = self.next_crl(&previous, now);
        let crl = self.make_crl(caller, &authority, plan).await;
        let crl = crl.map_err(VaError::from)?;
        let next = self.with_crl(&previous, &crl, now).await?;
        let mut set = WriteSet::new();
        role::advance(&mut set, &previous, &next, now);
        // What the list after next could still tell of; deltas go with this one.
        let cas = self.authorities.sharing(caller, &authority).await;
        for ca_id in cas.map_err(no_ca_data)? {
            let told = now.saturating_sub(DELTA_MARGIN);
            set.execute(delta::forget_released(&ca_id, told));
        }
        self.tell_crl(&mut set, caller, &authority, &crl);
        if previous.number() == 0 {
            // Behind its first CRL, as clients know it.
            events::role_created(&mut set, caller, &previous.role, now);
        }
        set.wake(CRL_JOB);
        self.db.commit(set).await?;
        self.keep(&next.file, crl.der);
        tracing::info!(
            ca_ski = ski,
            number = crl.number,
            entries = crl.n_entries,
            "crl made"
        );
        Ok(next)
    }

    /// Refuses to replace the last CRL of a deleted CA, while it is valid, by one of a CA that merely calls
    /// its key the same. One with its name and key goes on.
    pub(crate) async fn refuse_others(
        &self,
        authority: &Authority,
        series: &Series,
        latest: &LatestCrl,
        now: OffsetDateTime,
    ) -> Result<(), VaError> {
        if latest.version == 0 || latest.valid_until.0 <= now {
            return Ok(());
        }
        let last = match self.load_series(series, latest).await {
            Ok(last) => last,
            Err(error) if error.is_loss() => return Ok(()),
            Err(error) => return Err(unreadable(error)),
        };
        let issuer = authority.certificate.clone();
        let is_its = move || {
            let list = CertificateList::from_der(last.der).ok();
            let key = issuer.public_key().ok();
            list.zip(key).is_some_and(|(list, key)| {
                list.issuer().matches(issuer.subject()) && list.verify_signed_by(&key).is_ok()
            })
        };
        // A long list takes a while.
        let is_its = tokio::task::spawn_blocking(is_its).await;
        if is_its.map_err(MakeCrlError::from)? {
            Ok(())
        } else {
            Err(MakeCrlError::OthersCrl.into())
        }
    }

    /// The number of the CRL after this one; one more, except for the first after a restore.
    pub(crate) fn number_after(&self, previous: u64) -> u64 {
        previous.saturating_add(1).max(self.number_floor)
    }

    pub(crate) fn next_crl(&self, previous: &StoredRole, now: OffsetDateTime) -> CrlPlan {
        // Once on a list that was made after its end, a certificate leaves it (RFC 5280 §3.3).
        let was_listed = previous.number() > 0 && self.config.crl.prune_expired;
        CrlPlan {
            number: self.number_after(previous.last_number),
            now,
            next_update: end_of(now, previous.role.crl_options.validity),
            scope: Scope::Complete {
                expired_before: was_listed.then_some(previous.role.latest_crl.valid_from.0),
                freshest: self.delta_addresses(previous),
            },
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
        self.load_series(&Series::complete(role), &role.role.latest_crl)
            .await
    }

    /// The newest CRL of a series, from memory or from its file.
    pub(crate) async fn load_series(
        &self,
        series: &Series,
        latest: &LatestCrl,
    ) -> Result<Crl, FileError> {
        let file = series.file();
        let der = match self.served.get(&file.digest) {
            Some(der) => der,
            None => {
                let der = self.files.read(series).await?;
                self.keep(file, der.clone());
                der
            }
        };
        Ok(Crl {
            der,
            digest: file.digest.clone(),
            number: latest.version,
            this_update: latest.valid_from,
            next_update: latest.valid_until,
        })
    }

    /// Keeps a CRL ready to be served. What distinguishes CRLs in memory is the digest: two processes
    /// never agree on one by accident.
    pub(crate) fn keep(&self, file: &CrlFile, der: bytes::Bytes) {
        self.served.insert(file.digest.clone(), der);
    }

    pub(crate) async fn role_on_the_spot(&self, caller: &Caller, ski: &str) -> Result<(), VaError> {
        let authority = self.authorities.by_ski(caller, ski).await;
        let authority = authority.map_err(no_ca_data)?;
        let authority = authority.ok_or(VaError::RoleNotFound)?;
        self.ensure_role(caller, &authority).await
    }

    /// Makes the role of a CA, and its shards, if they are missing.
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
        } else if self.lacks_shards(authority).await? {
            let mut set = WriteSet::new();
            self.add_shards(&mut set, authority);
            self.db.commit(set).await?;
        }
        Ok(())
    }
}

/// The file is there, or was a moment ago: ask again.
pub(crate) fn unreadable(error: FileError) -> VaError {
    VaError::Unavailable(Box::new(error))
}
