//! Table `va_revoked`: the certificates that are revoked now.

use std::collections::HashMap;

use lamassu_core::ids::{CaId, SerialNumber};
use lamassu_core::usage::RevocationReason;
use lamassu_core::va::{Bucket, CrlShard};
use lamassu_db::{Db, DbError, Row, RowStream, Statement, Value, params, sql};
use lamassu_x509::Serial;
use lamassu_x509::crl::{CrlReason, RevokedEntry};
use time::OffsetDateTime;

/// Rows that are read at a time.
pub(super) const CHUNK: usize = 1_000;

/// Which certificate: serial numbers are unique per issuer only.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CertificateKey {
    /// The issuing CA.
    pub(crate) ca_id: CaId,
    /// The serial number.
    pub(crate) serial_number: SerialNumber,
}

/// Since when and why a certificate is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Revocation {
    /// Since when.
    pub(crate) revoked_at: OffsetDateTime,
    /// Why.
    pub(crate) reason: RevocationReason,
    /// The certificate's `notAfter`.
    pub(crate) valid_to: OffsetDateTime,
}

/// Adds an entry or changes it.
pub(crate) fn upsert(
    key: &CertificateKey,
    revocation: Revocation,
    now: OffsetDateTime,
) -> Statement {
    sql(
        "INSERT INTO va_revoked (ca_id, serial_number, revoked_at, reason, valid_to, changed_at, \
         bucket) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (ca_id, serial_number) DO UPDATE \
         SET revoked_at = excluded.revoked_at, reason = excluded.reason, \
         valid_to = excluded.valid_to, changed_at = excluded.changed_at",
        params![
            key.ca_id.as_str(),
            key.serial_number.as_str(),
            revocation.revoked_at,
            u32::from(revocation.reason.code()),
            revocation.valid_to,
            now,
            i64::from(Bucket::of(&key.serial_number).0),
        ],
    )
}

/// Removes an entry.
pub(crate) fn remove(key: &CertificateKey) -> Statement {
    sql(
        "DELETE FROM va_revoked WHERE ca_id = $1 AND serial_number = $2",
        params![key.ca_id.as_str(), key.serial_number.as_str()],
    )
}

/// The entries of these certificates, as far as there are any. One query, by index.
pub(crate) async fn of_certificates(
    db: &Db,
    keys: &[CertificateKey],
) -> Result<HashMap<CertificateKey, Revocation>, DbError> {
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let mut values: Vec<Value> = Vec::with_capacity(keys.len().saturating_mul(2));
    let mut pairs = Vec::with_capacity(keys.len());
    for key in keys {
        values.push(key.ca_id.as_str().into());
        values.push(key.serial_number.as_str().into());
        let last = values.len();
        let first = last.saturating_sub(1);
        pairs.push(format!("(ca_id = ${first} AND serial_number = ${last})"));
    }
    let text = format!(
        "SELECT ca_id, serial_number, revoked_at, reason, valid_to FROM va_revoked WHERE {}",
        pairs.join(" OR ")
    );
    let rows = db.rows(sql(text, values)).await?;
    rows.iter().map(entry).collect()
}

/// Entries of a CA by serial number, behind `after`.
pub(crate) async fn of_ca(
    db: &Db,
    ca_id: &CaId,
    after: Option<&SerialNumber>,
    limit: u32,
) -> Result<Vec<(CertificateKey, Revocation)>, DbError> {
    let query = sql(
        "SELECT ca_id, serial_number, revoked_at, reason, valid_to FROM va_revoked \
         WHERE ca_id = $1 AND serial_number > $2 ORDER BY serial_number LIMIT $3",
        params![
            ca_id.as_str(),
            after.map_or("", SerialNumber::as_str),
            limit
        ],
    );
    let rows = db.rows(query).await?;
    rows.iter().map(entry).collect()
}

/// The entries of a CA, one chunk after the other, without those of certificates that expired before
/// `expired_before`; in the order in which the database reads them soonest, since a CRL needs none.
#[derive(Debug)]
pub(crate) struct EntryStream(RowStream);

impl EntryStream {
    pub(crate) async fn open(
        db: &Db,
        ca_id: &CaId,
        expired_before: Option<OffsetDateTime>,
    ) -> Result<Self, DbError> {
        let since = expired_before.map_or(i64::MIN, lamassu_db::instant::to_micros);
        let query = sql(
            "SELECT serial_number, revoked_at, reason FROM va_revoked \
             WHERE ca_id = $1 AND valid_to >= $2",
            params![ca_id.as_str(), since],
        );
        db.stream(query, CHUNK).await.map(Self)
    }

    /// The same for a CRL of a shard, in the order of its index: of many entries it reads few.
    pub(crate) async fn of_shard(
        db: &Db,
        ca_id: &CaId,
        shard: CrlShard,
        expired_before: Option<OffsetDateTime>,
    ) -> Result<Self, DbError> {
        let since = expired_before.map_or(i64::MIN, lamassu_db::instant::to_micros);
        let (first, behind) = shard.buckets();
        let query = sql(
            "SELECT serial_number, revoked_at, reason FROM va_revoked \
             WHERE ca_id = $1 AND bucket >= $2 AND bucket < $3 AND valid_to >= $4 \
             ORDER BY bucket",
            params![ca_id.as_str(), first, behind, since],
        );
        db.stream(query, CHUNK).await.map(Self)
    }

    /// The same for a delta CRL: what became what it is at or after `since`.
    pub(crate) async fn changed(
        db: &Db,
        ca_id: &CaId,
        since: OffsetDateTime,
    ) -> Result<Self, DbError> {
        let query = sql(
            "SELECT serial_number, revoked_at, reason FROM va_revoked \
             WHERE ca_id = $1 AND changed_at >= $2 ORDER BY serial_number",
            params![ca_id.as_str(), since],
        );
        db.stream(query, CHUNK).await.map(Self)
    }

    /// The next chunk; `None` after the last one.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<RevokedEntry>>, DbError> {
        let Some(rows) = self.0.next().await? else {
            return Ok(None);
        };
        rows.iter().map(listed).collect::<Result<_, _>>().map(Some)
    }
}

fn listed(row: &Row) -> Result<RevokedEntry, DbError> {
    let serial = row.get::<String>("serial_number")?;
    Ok(RevokedEntry {
        serial: Serial::from_hex(&serial)
            .ok_or_else(|| DbError::corrupt("serial_number", "not hexadecimal"))?,
        revocation_date: row.get("revoked_at")?,
        reason: CrlReason::from_code(code(row)?)
            .ok_or_else(|| DbError::corrupt("reason", "not a CRLReason"))?,
    })
}

fn entry(row: &Row) -> Result<(CertificateKey, Revocation), DbError> {
    let serial = row.get::<String>("serial_number")?;
    let key = CertificateKey {
        ca_id: CaId::new(row.get::<String>("ca_id")?),
        serial_number: SerialNumber::parse(&serial)
            .ok_or_else(|| DbError::corrupt("serial_number", "not hexadecimal"))?,
    };
    let revocation = Revocation {
        revoked_at: row.get("revoked_at")?,
        reason: RevocationReason::from_code(code(row)?)
            .ok_or_else(|| DbError::corrupt("reason", "not a CRLReason"))?,
        valid_to: row.get("valid_to")?,
    };
    Ok((key, revocation))
}

fn code(row: &Row) -> Result<u8, DbError> {
    u8::try_from(row.get::<u32>("reason")?)
        .map_err(|_| DbError::corrupt("reason", "not a CRLReason"))
}
