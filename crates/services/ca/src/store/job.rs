//! Long work, its progress, and which certificates are next.

use lamassu_core::ca::{Job, JobStatus};
use lamassu_core::ids::{CaId, JobId, ProfileId};
use lamassu_core::timestamp::Timestamp;
use lamassu_core::usage::RevocationReason;
use lamassu_db::list::ListTable;
use lamassu_db::{Check, Db, DbError, Json, Row, WriteSet, params, sql};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::named;
use crate::fields::JOB_FIELDS;

/// The job is as far as it was read: nobody else has done the same batch.
pub(crate) const PROGRESS: Check = Check::new("job progress");

/// The job's id is free.
const FREE: Check = Check::new("job id is free");

macro_rules! columns {
    () => {
        "id, revision, created_at, kind, status, total, done, failed, error, task, \
         position_created_at, position_id"
    };
}

/// How jobs are listed, cascades from CAs among them.
pub(crate) const TABLE: ListTable = ListTable {
    table: "ca_job_entry",
    columns: &[
        "id",
        "created_at",
        "kind",
        "status",
        "total",
        "done",
        "failed",
        "error",
    ],
    key: "id",
    created: "created_at",
    fields: JOB_FIELDS,
};

/// A job as it is shown, of table or view.
pub(crate) fn shown(row: &Row) -> Result<Job, DbError> {
    Ok(Job {
        id: row.get::<String>("id")?.into(),
        kind: named(row, "kind", |name| name.parse().ok())?,
        status: named(row, "status", |name| name.parse().ok())?,
        total: row.get("total")?,
        done: row.get("done")?,
        failed: row.get("failed")?,
        creation_ts: Timestamp(row.get("created_at")?),
        error: row.get("error")?,
    })
}

/// The job of this id as it is shown, cascades from CAs among them.
pub(crate) async fn shown_by_id(db: &Db, id: &JobId) -> Result<Option<Job>, DbError> {
    let query = sql(
        "SELECT id, created_at, kind, status, total, done, failed, error FROM ca_job_entry \
         WHERE id = $1",
        params![id.as_str()],
    );
    let row = db.row_opt(query).await?;
    row.as_ref().map(shown).transpose()
}

/// What a job does, as it is stored: filters as the texts that clients send.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) ca_id: Option<CaId>,
    pub(crate) profile_id: Option<ProfileId>,
    pub(crate) issued_after: Timestamp,
    pub(crate) issued_before: Timestamp,
    pub(crate) filter: Vec<String>,
    pub(crate) revocation_reason: RevocationReason,
}

/// The certificate that a job has come to, in the order in which they became known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) created_at: OffsetDateTime,
    pub(crate) id: String,
}

/// A job as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct StoredJob {
    pub(crate) revision: i64,
    pub(crate) task: Task,
    pub(crate) position: Option<Position>,
    pub(crate) job: Job,
}

impl TryFrom<&Row> for StoredJob {
    type Error = DbError;

    fn try_from(row: &Row) -> Result<Self, DbError> {
        let Json(task) = row.get("task")?;
        let created_at: Option<OffsetDateTime> = row.get("position_created_at")?;
        let id: Option<String> = row.get("position_id")?;
        Ok(Self {
            revision: row.get("revision")?,
            task,
            position: created_at
                .zip(id)
                .map(|(created_at, id)| Position { created_at, id }),
            job: shown(row)?,
        })
    }
}

/// The job of this id.
pub(crate) async fn by_id(db: &Db, id: &JobId) -> Result<Option<StoredJob>, DbError> {
    const TEXT: &str = concat!("SELECT ", columns!(), " FROM ca_job WHERE id = $1");
    let row = db.row_opt(sql(TEXT, params![id.as_str()])).await?;
    row.as_ref().map(StoredJob::try_from).transpose()
}

/// The oldest job that goes on.
pub(crate) async fn running(db: &Db) -> Result<Option<JobId>, DbError> {
    let query = sql(
        "SELECT id FROM ca_job WHERE status = 'RUNNING' ORDER BY created_at, id LIMIT 1",
        params![],
    );
    let row = db.row_opt(query).await?;
    row.map(|row| row.get::<String>("id").map(Into::into))
        .transpose()
}

/// Adds a job to a write set.
pub(crate) fn insert(set: &mut WriteSet, job: &Job, task: &Task) -> Result<(), DbError> {
    let task = Json(task)
        .to_value()
        .map_err(|error| DbError::corrupt("ca_job.task", error.to_string()))?;
    let statement = sql(
        "INSERT INTO ca_job (id, revision, created_at, kind, status, total, done, failed, error, \
         task) VALUES ($1, 1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
        params![
            job.id.as_str(),
            job.creation_ts.0,
            job.kind.name(),
            job.status.name(),
            job.total,
            job.done,
            job.failed,
            job.error.as_str(),
            task,
        ],
    );
    set.expect_one(statement, FREE);
    Ok(())
}

/// Ends a job that is running, with the reason.
pub(crate) fn fail(set: &mut WriteSet, id: &JobId, why: &str) {
    set.execute(sql(
        "UPDATE ca_job SET status = $1, error = $2, revision = revision + 1 \
         WHERE id = $3 AND status = $4",
        params![
            JobStatus::Failed.name(),
            why,
            id.as_str(),
            JobStatus::Running.name()
        ],
    ));
}

/// Adds the progress of a job to the write set that makes it.
pub(crate) fn advance(
    set: &mut WriteSet,
    stored: &StoredJob,
    job: &Job,
    position: Option<&Position>,
) {
    let statement = sql(
        "UPDATE ca_job SET status = $1, done = $2, failed = $3, error = $4, \
         position_created_at = $5, position_id = $6, total = $10, revision = revision + 1 \
         WHERE id = $7 AND revision = $8 AND status = $9",
        params![
            job.status.name(),
            job.done,
            job.failed,
            job.error.as_str(),
            position.map(|position| position.created_at),
            position.map(|position| position.id.as_str()),
            job.id.as_str(),
            stored.revision,
            JobStatus::Running.name(),
            job.total,
        ],
    );
    set.expect_one(statement, PROGRESS);
}
