//! Revoking many certificates.
//!
//! 1. One write set stores the job: what was asked for, and how many certificates that is.
//! 2. Batch by batch, one write set revokes certificates, tells of each, and moves the job on. The
//!    move expects the job where it was read, so that a batch is done once, whoever works on it and
//!    wherever a process dies.
//! 3. The last batch ends the job.
//!
//! Certificates are taken in the order in which they became known, up to those that were there when
//! the job began. Some batches are done before the answer, the rest by [`Revocations`].
//!
//! [`Revocations`]: crate::jobs::Revocations

use lamassu_core::ca::{
    CaError, Certificate, CertificateStatus, Job, JobKind, JobStatus, RevokeCertificates,
};
use lamassu_core::caller::Caller;
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::JobId;
use lamassu_core::page::Page;
use lamassu_core::query::{Condition, Filter, ListRequest, QueryError, QueryLimits, UnknownFields};
use lamassu_core::timestamp::Timestamp;
use lamassu_core::usage::RevocationReason;
use lamassu_db::list::{ListError, Restriction, count, list};
use lamassu_db::{Attempt, DbError, Readings, Value, WriteSet, readable, retry_races};
use time::{Duration, OffsetDateTime};

use crate::events::Teller;
use crate::fields::CERTIFICATE_FIELDS;
use crate::jobs::Revocations;
use crate::lifecycle::with_status;
use crate::metrics;
use crate::query::issued_by;
use crate::service::CaService;
use crate::status::tell_status;
use crate::store::certificate::{self, ChangedBy, StoredCertificate, update};
use crate::store::job::{self, Position, StoredJob, Task};

/// Certificates of one write set; fewer after a lost race.
const BATCH: u32 = 500;

/// Batches that are done before the answer.
const BATCHES_BEFORE_ANSWER: u32 = 2;

impl CaService {
    /// Begins to revoke certificates.
    pub(crate) async fn begin_revocations(
        &self,
        caller: &Caller,
        request: RevokeCertificates,
    ) -> Result<Job, CaError> {
        let task = task(request)?;
        let now = self.db.now();
        let filters = filters(&task)?;
        let restrictions = restrictions(&task, now);
        let meant = self.count_meant(&filters, &restrictions).await?;
        if meant == 0 {
            self.are_known(&task).await?;
        }
        let settled = [&*restrictions, &settled(task.revocation_reason)].concat();
        // Something may have been settled in between.
        let total = (meant - self.count_meant(&filters, &settled).await?).max(0);
        let begun = Job {
            id: JobId::from(uuid::Uuid::new_v4().to_string()),
            kind: JobKind::RevokeCertificates,
            status: JobStatus::Running,
            total,
            done: 0,
            failed: 0,
            creation_ts: Timestamp(now),
            error: String::new(),
        };
        let mut set = WriteSet::new();
        job::insert(&mut set, &begun, &task).map_err(StorageFailure::from)?;
        let teller = Teller { caller, now };
        teller.audit(
            &mut set,
            "certificate.revocations",
            format!("job/{}", begun.id),
        );
        self.db.commit(set).await.map_err(StorageFailure::from)?;
        tracing::info!(job = %begun.id, total, "revocation of certificates begun");
        Ok(self.first_batches(caller, begun).await)
    }

    async fn count_meant(
        &self,
        filters: &[Filter],
        restrictions: &[Restriction],
    ) -> Result<i64, CaError> {
        let counted = count(&self.db, &certificate::TABLE, filters, restrictions).await;
        counted.map_err(ListError::into_error::<CaError>)
    }

    /// Whether there are the CA and the profile whose certificates are to be revoked: where there is
    /// nothing to revoke, a mistyped name must not look like success. Certificates of a CA that is
    /// gone are found by its id.
    async fn are_known(&self, task: &Task) -> Result<(), CaError> {
        if let Some(ca) = &task.ca_id {
            self.authority(ca).await?;
        }
        if let Some(profile) = &task.profile_id {
            self.stored_profile(profile).await?;
        }
        Ok(())
    }

    /// What can be done before the answer. Whatever goes wrong here the job goes on later.
    async fn first_batches(&self, caller: &Caller, begun: Job) -> Job {
        let mut job = begun;
        for _ in 0..BATCHES_BEFORE_ANSWER {
            match self.advance_revocations(caller, &job.id).await {
                Ok(advanced) => job = advanced,
                Err(error) => {
                    tracing::warn!(job = %job.id, error = &error as &(dyn std::error::Error + 'static), "job goes on later");
                    break;
                }
            }
            if job.status != JobStatus::Running {
                return job;
            }
        }
        self.db.wake(Revocations::NAME);
        job
    }

    /// Does one batch of a job.
    pub(crate) async fn advance_revocations(
        &self,
        caller: &Caller,
        id: &JobId,
    ) -> Result<Job, CaError> {
        let mut limit = BATCH;
        retry_races(|| {
            let limit_now = limit;
            limit = (limit / 4).max(1);
            self.try_advance(caller, id, limit_now)
        })
        .await
    }

    /// Ends a job that cannot go on; what it has done stays done.
    pub(crate) async fn give_up_revocations(
        &self,
        id: &JobId,
        why: &CaError,
    ) -> Result<(), CaError> {
        let mut set = WriteSet::new();
        job::fail(&mut set, id, &why.to_string());
        self.db.commit(set).await.map_err(StorageFailure::from)?;
        tracing::error!(job = %id, error = why as &(dyn std::error::Error + 'static), "revocation of certificates given up");
        Ok(())
    }

    async fn try_advance(
        &self,
        caller: &Caller,
        id: &JobId,
        limit: u32,
    ) -> Result<Job, Attempt<CaError>> {
        let stored = self.stored_job(id).await?;
        if stored.job.status != JobStatus::Running {
            return Ok(stored.job);
        }
        let (page, position) = self.next_certificates(&stored, limit).await?;
        let teller = Teller {
            caller,
            now: self.db.now(),
        };
        let mut set = WriteSet::new();
        let mut advanced = stored.job.clone();
        let reason = stored.task.revocation_reason;
        let mut revoked = 0;
        for certificate in page {
            let Some(certificate) = readable(certificate) else {
                advanced.failed += 1;
                continue;
            };
            match revocation(&certificate.certificate, reason, teller.now) {
                Revocation::Due(updated) => {
                    update(&mut set, &certificate, &updated, None, ChangedBy::Request);
                    tell_status(&mut set, teller, &certificate, &updated);
                    revoked += 1;
                    advanced.done += 1;
                }
                Revocation::Unneeded => {}
                Revocation::Refused => advanced.failed += 1,
            }
        }
        if position.is_none() {
            advanced.status = JobStatus::Done;
            // What others revoked meanwhile was not this job's to do.
            advanced.total = advanced.done + advanced.failed;
        }
        job::advance(&mut set, &stored, &advanced, position.as_ref());
        self.db.commit(set).await?;
        metrics::revoked_many(revoked);
        if advanced.status == JobStatus::Done {
            tracing::info!(job = %id, done = advanced.done, "revocation of certificates done");
        }
        Ok(advanced)
    }

    /// What is next, and where that ends; nowhere when it is the last.
    async fn next_certificates(
        &self,
        stored: &StoredJob,
        limit: u32,
    ) -> Result<(Readings<StoredCertificate>, Option<Position>), CaError> {
        let mut restrictions = restrictions(&stored.task, stored.job.creation_ts.0);
        if let Some(Position { created_at, id }) = &stored.position {
            restrictions.push(Restriction::Behind([
                ("created_at", Value::from(*created_at)),
                ("id", Value::from(id.as_str())),
            ]));
        }
        let request = ListRequest {
            page_size: limit,
            filters: filters(&stored.task)?,
            ..ListRequest::default()
        };
        let page = list(
            &self.db,
            &certificate::TABLE,
            "certificates",
            &request,
            &restrictions,
        )
        .await
        .map_err(ListError::into_error::<CaError>)?;
        let position = match page.list.last() {
            Some(last) if !page.next.is_empty() => Some(position_of(last)?),
            Some(_) | None => None,
        };
        let certificates = page.list.iter().map(|row| row.read("id")).collect();
        Ok((certificates, position))
    }

    /// The job of this id.
    pub(crate) async fn stored_job(&self, id: &JobId) -> Result<StoredJob, CaError> {
        let stored = job::by_id(&self.db, id)
            .await
            .map_err(StorageFailure::from)?;
        stored.ok_or(CaError::JobNotFound)
    }

    /// The job of this id as it is shown.
    pub(crate) async fn shown_job(&self, id: &JobId) -> Result<Job, CaError> {
        let shown = job::shown_by_id(&self.db, id)
            .await
            .map_err(StorageFailure::from)?;
        shown.ok_or(CaError::JobNotFound)
    }

    /// Jobs.
    pub(crate) async fn list_jobs(&self, request: &ListRequest) -> Result<Page<Job>, CaError> {
        let page = list(&self.db, &job::TABLE, "jobs", request, &[])
            .await
            .map_err(ListError::into_error::<CaError>)?;
        let page = page.try_map(|row| job::shown(&row));
        Ok(page.map_err(StorageFailure::from)?)
    }
}

fn position_of(row: &lamassu_db::Row) -> Result<Position, CaError> {
    let read = || {
        Ok::<_, DbError>(Position {
            created_at: row.get("created_at")?,
            id: row.get("id")?,
        })
    };
    Ok(read().map_err(StorageFailure::from)?)
}

/// What becomes of one certificate.
enum Revocation {
    /// It is revoked now.
    Due(Box<Certificate>),
    /// It is revoked already.
    Unneeded,
    /// Its status allows no revocation.
    Refused,
}

fn revocation(
    certificate: &Certificate,
    reason: RevocationReason,
    now: OffsetDateTime,
) -> Revocation {
    let is_revoked = certificate.status == CertificateStatus::Revoked;
    if is_revoked && certificate.revocation_reason == reason {
        return Revocation::Unneeded;
    }
    match with_status(certificate, CertificateStatus::Revoked, reason, now) {
        Ok(updated) => Revocation::Due(Box::new(updated)),
        Err(_) if is_revoked => Revocation::Unneeded,
        Err(_) => Revocation::Refused,
    }
}

/// What leaves a certificate as it is: it is revoked, and not on hold, or is to be put on hold again.
fn settled(reason: RevocationReason) -> Vec<Restriction> {
    let revoked = CertificateStatus::Revoked.name();
    let mut settled = vec![Restriction::Is("status", Value::from(revoked))];
    if reason != RevocationReason::CertificateHold {
        let hold = RevocationReason::CertificateHold.name();
        settled.push(Restriction::NoneOf("revocation_reason", vec![hold.into()]));
    }
    settled
}

/// The request as a job keeps it; one that restricts nothing is refused.
fn task(request: RevokeCertificates) -> Result<Task, CaError> {
    let RevokeCertificates {
        ca_id,
        profile_id,
        issued_after,
        issued_before,
        filters,
        reason,
    } = request;
    // Everything contains an empty text, which a script writes whose variable is not set; where it
    // writes `$A:$B`, separators are left of a number.
    let restricts_nothing = |filter: &Filter| {
        let is_no_number = || !filter.value.contains(|c: char| c.is_ascii_hexdigit());
        filter.condition == Condition::Anything
            || filter.value.is_empty()
            || (filter.field.hex.is_some() && is_no_number())
    };
    let is_restricted = ca_id.is_some()
        || profile_id.is_some()
        || !issued_after.is_zero()
        || !issued_before.is_zero()
        || !filters.is_empty();
    if !is_restricted || filters.iter().any(restricts_nothing) {
        return Err(CaError::Validation);
    }
    Ok(Task {
        ca_id,
        profile_id,
        issued_after,
        issued_before,
        filter: filters.iter().map(Filter::to_text).collect(),
        revocation_reason: reason,
    })
}

fn filters(task: &Task) -> Result<Vec<Filter>, QueryError> {
    parse_filters(&task.filter)
}

/// Filters in the syntax of lists. What a list would pass over is an error here: it would widen
/// what is revoked.
pub(crate) fn parse_filters(texts: &[String]) -> Result<Vec<Filter>, QueryError> {
    let pairs: Vec<(String, String)> = texts
        .iter()
        .map(|text| ("filter".to_owned(), text.clone()))
        .collect();
    let limits = QueryLimits {
        unknown_fields: UnknownFields::Refuse,
        ..QueryLimits::default()
    };
    ListRequest::from_pairs(&pairs, CERTIFICATE_FIELDS, limits).map(|request| request.filters)
}

/// Which certificates a job is about, of those that were known when it began.
fn restrictions(task: &Task, begun_at: OffsetDateTime) -> Vec<Restriction> {
    let known_by = begun_at.saturating_add(Duration::MICROSECOND);
    let mut all = vec![
        Restriction::Is("is_ca", Value::from(false)),
        Restriction::Below("created_at", Value::from(known_by)),
    ];
    all.extend(task.ca_id.as_ref().map(issued_by));
    all.extend(
        task.profile_id
            .as_ref()
            .map(|id| Restriction::Is("profile_id", Value::from(id.as_str()))),
    );
    if !task.issued_after.is_zero() {
        all.push(Restriction::Above(
            "created_at",
            Value::from(task.issued_after.0),
        ));
    }
    if !task.issued_before.is_zero() {
        all.push(Restriction::Below(
            "created_at",
            Value::from(task.issued_before.0),
        ));
    }
    all
}
