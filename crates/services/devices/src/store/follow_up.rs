//! Table `device_follow_up`: certificates that still have to follow their devices.

use lamassu_core::ca::CertificateRef;
use lamassu_core::ids::{CaId, DeviceId, SerialNumber};
use lamassu_db::{Db, DbError, Row, Statement, params, sql};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::follow_up::{Task, What};

/// A task that is due.
#[derive(Clone, Debug)]
pub(crate) struct DueTask {
    pub(crate) id: String,
    pub(crate) device_id: DeviceId,
    pub(crate) task: Task,
    /// How often it failed.
    pub(crate) attempts: u32,
}

/// Adds a task that is due at once.
///
/// On whose a certificate is, it is the last word: a task that waits because the CA service was away would be
/// done after this one, and is taken out.
pub(crate) fn follow_up_insert(
    device: &DeviceId,
    task: &Task,
    now: OffsetDateTime,
) -> Vec<Statement> {
    let overtaken = match task.what {
        What::Revoke(_) => None,
        What::Attach { .. } | What::Detach => Some(overtaken(&task.certificate)),
    };
    let added = sql(
        "INSERT INTO device_follow_up (id, device_id, slot, serial_number, ca_id, task, details, \
         attempts, due_at, created_at, fingerprint) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, $8, $9)",
        params![
            Uuid::now_v7().to_string(),
            device.as_str(),
            &task.slot,
            task.certificate.serial_number.as_str(),
            task.certificate.ca.as_ref().map(CaId::as_str),
            task.what.name(),
            // Words and texts only, which can always be written.
            serde_json::to_string(&task.what).unwrap_or_default(),
            now,
            task.certificate.fingerprint.as_deref(),
        ],
    );
    overtaken.into_iter().chain([added]).collect()
}

/// Takes out what is still to be said of whose the certificate is. Tasks that know no CA are about any of this
/// number, and so are those without a fingerprint where the issuer is not known.
fn overtaken(certificate: &CertificateRef) -> Statement {
    sql(
        "DELETE FROM device_follow_up WHERE serial_number = $1 AND task IN ('attach', 'detach') \
         AND (ca_id = $2 OR ca_id IS NULL) \
         AND ($3 = '' OR fingerprint = $3 OR fingerprint IS NULL)",
        params![
            certificate.serial_number.as_str(),
            certificate.ca.as_ref().map_or("", CaId::as_str),
            certificate.fingerprint.as_deref().unwrap_or_default(),
        ],
    )
}

/// The tasks that are due, oldest first, by their ids.
pub(crate) async fn due_tasks(
    db: &Db,
    now: OffsetDateTime,
    limit: u32,
) -> Result<Vec<(String, Result<DueTask, DbError>)>, DbError> {
    let query = sql(
        "SELECT id, device_id, slot, serial_number, ca_id, fingerprint, details, attempts \
         FROM device_follow_up WHERE due_at <= $1 ORDER BY due_at, id LIMIT $2",
        params![now, limit],
    );
    let rows = db.rows(query).await?;
    rows.iter()
        .map(|row| Ok((row.get("id")?, row.read("id"))))
        .collect()
}

/// When the next task is due.
pub(crate) async fn next_task(db: &Db) -> Result<Option<OffsetDateTime>, DbError> {
    let query = sql(
        "SELECT due_at FROM device_follow_up ORDER BY due_at LIMIT 1",
        Vec::new(),
    );
    let row = db.row_opt(query).await?;
    row.map(|row| row.get("due_at")).transpose()
}

/// The task is done.
pub(crate) fn follow_up_delete(id: &str) -> Statement {
    sql("DELETE FROM device_follow_up WHERE id = $1", params![id])
}

/// The task failed, and is tried again at this time.
pub(crate) fn follow_up_postpone(id: &str, due: OffsetDateTime) -> Statement {
    sql(
        "UPDATE device_follow_up SET attempts = attempts + 1, due_at = $1 WHERE id = $2",
        params![due, id],
    )
}

impl TryFrom<&Row> for DueTask {
    type Error = DbError;

    fn try_from(row: &Row) -> Result<Self, DbError> {
        let serial: String = row.get("serial_number")?;
        let serial_number = SerialNumber::parse(&serial)
            .ok_or_else(|| DbError::corrupt("device_follow_up.serial_number", "none"))?;
        let details: String = row.get("details")?;
        let what: What = serde_json::from_str(&details)
            .map_err(|_| DbError::corrupt("device_follow_up.details", "unknown task"))?;
        Ok(Self {
            id: row.get("id")?,
            device_id: DeviceId::new(row.get::<String>("device_id")?),
            task: Task {
                slot: row.get("slot")?,
                certificate: CertificateRef {
                    serial_number,
                    ca: row.get::<Option<String>>("ca_id")?.map(CaId::new),
                    fingerprint: row.get("fingerprint")?,
                },
                what,
            },
            attempts: row.get("attempts")?,
        })
    }
}
