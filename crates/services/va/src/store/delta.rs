//! Delta CRLs: the newest one in `va_role`, and table `va_released`.

use lamassu_core::ids::CaId;
use lamassu_db::{Db, DbError, RowStream, Statement, WriteSet, params, sql};
use lamassu_x509::Serial;
use lamassu_x509::crl::{CrlReason, RevokedEntry};
use time::OffsetDateTime;

use super::revoked::{CHUNK, CertificateKey};
use super::role::{CRL_NUMBER, RoleReadings, StoredRole, by_query, stored_number};

/// The roles whose next delta CRL is due, the longest overdue first.
pub(crate) async fn due(db: &Db, now: OffsetDateTime, limit: u32) -> Result<RoleReadings, DbError> {
    by_query(
        db,
        "WHERE delta_due <= $1 ORDER BY delta_due LIMIT $2",
        params![now, limit],
    )
    .await
}

/// Makes `next` the newest delta CRL of a role that has had no CRL since `previous` was read.
pub(crate) fn advance(
    set: &mut WriteSet,
    previous: &StoredRole,
    next: &StoredRole,
    now: OffsetDateTime,
) {
    set.expect_one(
        sql(
            "UPDATE va_role SET last_number = $1, delta_number = $1, delta_this_update = $2, \
             delta_next_update = $3, delta_file = $4, delta_digest = $5, delta_due = CASE \
             WHEN changes <> $6 AND regenerate_on_revoke THEN CAST($7 AS BIGINT) ELSE $8 END \
             WHERE ca_ski = $9 AND last_number = $10 AND delta_validity IS NOT NULL",
            params![
                stored_number(next.last_number),
                next.delta.crl.valid_from.0,
                next.delta.crl.valid_until.0,
                &next.delta.file.name,
                &next.delta.file.digest,
                previous.changes,
                now,
                next.delta.due,
                &next.role.ca_ski,
                stored_number(previous.last_number),
            ],
        ),
        CRL_NUMBER,
    );
}

/// Puts the next attempt off; for good where nobody says until when.
pub(crate) fn postpone(ski: &str, until: Option<OffsetDateTime>) -> Statement {
    sql(
        "UPDATE va_role SET delta_due = $1 WHERE ca_ski = $2",
        params![until, ski],
    )
}

/// Notes that the hold of a certificate was released.
pub(crate) fn released(key: &CertificateKey, at: OffsetDateTime) -> Statement {
    sql(
        "INSERT INTO va_released (ca_id, serial_number, released_at) VALUES ($1, $2, $3) \
         ON CONFLICT (ca_id, serial_number) DO UPDATE SET released_at = excluded.released_at",
        params![key.ca_id.as_str(), key.serial_number.as_str(), at],
    )
}

/// Forgets the releases that no delta CRL has to tell of any more.
pub(crate) fn forget_released(ca_id: &CaId, before: OffsetDateTime) -> Statement {
    sql(
        "DELETE FROM va_released WHERE ca_id = $1 AND released_at < $2",
        params![ca_id.as_str(), before],
    )
}

/// The certificates of a CA whose hold was released at or after `since` and that are not revoked
/// now, by serial number, one chunk after the other.
#[derive(Debug)]
pub(crate) struct ReleasedStream(RowStream);

impl ReleasedStream {
    pub(crate) async fn open(
        db: &Db,
        ca_id: &CaId,
        since: OffsetDateTime,
    ) -> Result<Self, DbError> {
        let query = sql(
            "SELECT serial_number, released_at FROM va_released \
             WHERE ca_id = $1 AND released_at >= $2 AND NOT EXISTS (SELECT 1 FROM va_revoked \
             WHERE va_revoked.ca_id = va_released.ca_id \
             AND va_revoked.serial_number = va_released.serial_number) \
             ORDER BY serial_number",
            params![ca_id.as_str(), since],
        );
        db.stream(query, CHUNK).await.map(Self)
    }

    /// The next chunk; `None` after the last one.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<RevokedEntry>>, DbError> {
        let Some(rows) = self.0.next().await? else {
            return Ok(None);
        };
        let entries = rows.iter().map(|row| {
            let serial = row.get::<String>("serial_number")?;
            Ok(RevokedEntry {
                serial: Serial::from_hex(&serial)
                    .ok_or_else(|| DbError::corrupt("serial_number", "not hexadecimal"))?,
                revocation_date: row.get("released_at")?,
                reason: CrlReason::RemoveFromCrl,
            })
        });
        entries.collect::<Result<_, _>>().map(Some)
    }
}
