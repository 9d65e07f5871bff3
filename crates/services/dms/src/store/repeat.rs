//! Rows of `enrollment_repeat`.

use lamassu_core::ids::{CaId, DeviceId, DmsId};
use lamassu_db::{Db, DbError, Statement, params, sql};
use time::OffsetDateTime;

/// What an enrollment is known again by.
#[derive(Clone, Debug)]
pub(crate) struct RepeatKey<'a> {
    pub(crate) dms: &'a DmsId,
    pub(crate) device: &'a DeviceId,
    pub(crate) csr_digest: String,
    pub(crate) credential_digest: String,
}

/// An enrollment that was let through.
#[derive(Clone, Debug)]
pub(crate) struct Noted {
    /// The CA that was to issue.
    pub(crate) ca: CaId,
    /// The highest version that the device's slot had had, if any.
    pub(crate) version_before: Option<u32>,
}

/// What was noted of this enrollment since then.
pub(crate) async fn noted(
    db: &Db,
    key: &RepeatKey<'_>,
    since: OffsetDateTime,
) -> Result<Option<Noted>, DbError> {
    let query = sql(
        "SELECT ca_id, version_before FROM enrollment_repeat WHERE dms_id = $1 AND device_id = $2 \
         AND csr_digest = $3 AND credential_digest = $4 AND asked_at >= $5",
        params![
            key.dms.as_str(),
            key.device.as_str(),
            &key.csr_digest,
            &key.credential_digest,
            since,
        ],
    );
    let Some(row) = db.row_opt(query).await? else {
        return Ok(None);
    };
    Ok(Some(Noted {
        ca: CaId::from(row.get::<String>("ca_id")?),
        // None is stored as -1.
        version_before: u32::try_from(row.get::<i64>("version_before")?).ok(),
    }))
}

/// Notes an enrollment that is about to be issued.
pub(crate) fn note(key: &RepeatKey<'_>, noted: &Noted, now: OffsetDateTime) -> Statement {
    sql(
        "INSERT INTO enrollment_repeat \
         (dms_id, device_id, csr_digest, credential_digest, version_before, ca_id, asked_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) \
         ON CONFLICT (dms_id, device_id, csr_digest, credential_digest) DO UPDATE SET \
         version_before = excluded.version_before, ca_id = excluded.ca_id, \
         asked_at = excluded.asked_at",
        params![
            key.dms.as_str(),
            key.device.as_str(),
            &key.csr_digest,
            &key.credential_digest,
            noted.version_before.map_or(-1, i64::from),
            noted.ca.as_str(),
            now,
        ],
    )
}

/// Forgets those of a DMS.
pub(crate) fn delete_of(dms: &DmsId) -> Statement {
    sql(
        "DELETE FROM enrollment_repeat WHERE dms_id = $1",
        params![dms.as_str()],
    )
}

/// Forgets some that were noted before this time.
pub(crate) fn delete_before(before: OffsetDateTime) -> Statement {
    sql(
        "DELETE FROM enrollment_repeat WHERE (dms_id, device_id, csr_digest, credential_digest) IN \
         (SELECT dms_id, device_id, csr_digest, credential_digest FROM enrollment_repeat \
         WHERE asked_at < $1 LIMIT 1000)",
        params![before],
    )
}
