//! Rows of `enrollment_repeat`.

use lamassu_core::ids::{CaId, DeviceId, DmsId, SerialNumber};
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

/// The certificate that this enrollment was answered with since then.
pub(crate) async fn answered(
    db: &Db,
    key: &RepeatKey<'_>,
    since: OffsetDateTime,
) -> Result<Option<(CaId, SerialNumber)>, DbError> {
    let query = sql(
        "SELECT ca_id, serial_number FROM enrollment_repeat WHERE dms_id = $1 AND device_id = $2 \
         AND csr_digest = $3 AND credential_digest = $4 AND issued_at >= $5",
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
    let serial = row.get::<String>("serial_number")?;
    let serial = SerialNumber::parse(&serial)
        .ok_or_else(|| DbError::corrupt("serial_number", "is no serial number"))?;
    Ok(Some((CaId::from(row.get::<String>("ca_id")?), serial)))
}

/// Notes what an enrollment was answered with.
pub(crate) fn note(
    key: &RepeatKey<'_>,
    (ca, serial): (&CaId, &SerialNumber),
    now: OffsetDateTime,
) -> Statement {
    sql(
        "INSERT INTO enrollment_repeat \
         (dms_id, device_id, csr_digest, credential_digest, serial_number, ca_id, issued_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) \
         ON CONFLICT (dms_id, device_id, csr_digest, credential_digest) DO UPDATE SET \
         serial_number = excluded.serial_number, ca_id = excluded.ca_id, \
         issued_at = excluded.issued_at",
        params![
            key.dms.as_str(),
            key.device.as_str(),
            &key.csr_digest,
            &key.credential_digest,
            serial.as_str(),
            ca.as_str(),
            now,
        ],
    )
}

/// Forgets some that were answered before this time.
pub(crate) fn delete_before(before: OffsetDateTime) -> Statement {
    sql(
        "DELETE FROM enrollment_repeat WHERE (dms_id, device_id, csr_digest, credential_digest) IN \
         (SELECT dms_id, device_id, csr_digest, credential_digest FROM enrollment_repeat \
         WHERE issued_at < $1 LIMIT 1000)",
        params![before],
    )
}
