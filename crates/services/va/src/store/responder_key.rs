//! Tables `va_responder_key` and `va_responder_certificate`: the keys of delegated OCSP responders, and
//! what their CAs certified of them.

use lamassu_core::ids::{CaId, KeyId, OperationId, SerialNumber};
use lamassu_db::{Check, Db, DbError, Row, WriteSet, params, sql};
use time::OffsetDateTime;

/// The CA has no key for its responder, nor is one being made.
pub(crate) const NONE_YET: Check = Check::new("no key of the OCSP responder");

/// The key is still being made by this operation.
pub(crate) const BEGUN: Check = Check::new("key of the OCSP responder begun");

/// The key of a CA's responder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResponderKey {
    pub(crate) ca_id: CaId,
    /// What made it.
    pub(crate) operation: OperationId,
    /// `None` while it is made.
    pub(crate) key_id: Option<KeyId>,
    pub(crate) begun_at: OffsetDateTime,
}

/// The key of this CA's responder.
pub(crate) async fn of_ca(db: &Db, ca: &CaId) -> Result<Option<ResponderKey>, DbError> {
    let query = sql(
        "SELECT ca_id, operation, key_id, begun_at FROM va_responder_key WHERE ca_id = $1",
        params![ca.as_str()],
    );
    let row = db.row_opt(query).await?;
    row.as_ref().map(ResponderKey::try_from).transpose()
}

/// All keys: one per CA that answers by a responder.
pub(crate) async fn all(db: &Db) -> Result<Vec<ResponderKey>, DbError> {
    let query = sql(
        "SELECT ca_id, operation, key_id, begun_at FROM va_responder_key ORDER BY ca_id",
        Vec::new(),
    );
    let rows = db.rows(query).await?;
    rows.iter().map(ResponderKey::try_from).collect()
}

/// Notes that a key is about to be made.
pub(crate) fn begin(set: &mut WriteSet, ca: &CaId, operation: &OperationId, now: OffsetDateTime) {
    let statement = sql(
        "INSERT INTO va_responder_key (ca_id, operation, begun_at) VALUES ($1, $2, $3) \
         ON CONFLICT DO NOTHING",
        params![ca.as_str(), operation.as_str(), now],
    );
    set.expect_one(statement, NONE_YET);
}

/// Notes that it is made.
pub(crate) fn made(set: &mut WriteSet, ca: &CaId, operation: &OperationId, key: &KeyId) {
    let statement = sql(
        "UPDATE va_responder_key SET key_id = $1 WHERE ca_id = $2 AND operation = $3",
        params![key.as_str(), ca.as_str(), operation.as_str()],
    );
    set.expect_one(statement, BEGUN);
}

/// Notes that it is certified, and forgets what has ended.
pub(crate) fn certified(
    set: &mut WriteSet,
    (ca, operation): (&CaId, &OperationId),
    (serial, not_after): (&SerialNumber, OffsetDateTime),
    now: OffsetDateTime,
) {
    set.execute(sql(
        "DELETE FROM va_responder_certificate WHERE ca_id = $1 AND not_after < $2",
        params![ca.as_str(), now],
    ));
    set.execute(sql(
        "INSERT INTO va_responder_certificate (ca_id, serial_number, operation, not_after) \
         VALUES ($1, $2, $3, $4)",
        params![ca.as_str(), serial.as_str(), operation.as_str(), not_after],
    ));
}

/// A certificate of a responder's key, and when it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) serial: SerialNumber,
    pub(crate) not_after: OffsetDateTime,
}

/// The certificates of a key: those that had not ended when it was certified last.
pub(crate) async fn certificates(
    db: &Db,
    ca: &CaId,
    operation: &OperationId,
) -> Result<Vec<Ending>, DbError> {
    let query = sql(
        "SELECT serial_number, not_after FROM va_responder_certificate \
         WHERE ca_id = $1 AND operation = $2",
        params![ca.as_str(), operation.as_str()],
    );
    let rows = db.rows(query).await?;
    rows.iter().map(Ending::try_from).collect()
}

/// Whether what an operation made is the key of the CA's responder still, and none of its certificates is on the
/// list of the revoked ones.
pub(crate) async fn is_in_use(
    db: &Db,
    ca: &CaId,
    operation: &OperationId,
) -> Result<bool, DbError> {
    let query = sql(
        "SELECT k.ca_id FROM va_responder_key k WHERE k.ca_id = $1 AND k.operation = $2 \
         AND NOT EXISTS (SELECT 1 FROM va_responder_certificate c JOIN va_revoked r \
         ON r.ca_id = c.ca_id AND r.serial_number = c.serial_number \
         WHERE c.ca_id = k.ca_id AND c.operation = k.operation)",
        params![ca.as_str(), operation.as_str()],
    );
    Ok(db.row_opt(query).await?.is_some())
}

/// A certificate of the key of a CA's responder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResponderCertificate {
    pub(crate) ca_id: CaId,
    pub(crate) certificate: Ending,
    /// What made the key.
    pub(crate) operation: OperationId,
}

/// The certificates of all keys that are in use.
pub(crate) async fn all_certificates(db: &Db) -> Result<Vec<ResponderCertificate>, DbError> {
    let query = sql(
        "SELECT c.ca_id, c.serial_number, c.not_after, c.operation \
         FROM va_responder_certificate c \
         JOIN va_responder_key k ON k.ca_id = c.ca_id AND k.operation = c.operation",
        Vec::new(),
    );
    let rows = db.rows(query).await?;
    let certificate = |row: &Row| {
        Ok(ResponderCertificate {
            ca_id: CaId::new(row.get::<String>("ca_id")?),
            certificate: Ending::try_from(row)?,
            operation: OperationId::new(row.get::<String>("operation")?),
        })
    };
    rows.iter().map(certificate).collect()
}

impl TryFrom<&Row> for Ending {
    type Error = DbError;

    fn try_from(row: &Row) -> Result<Self, DbError> {
        let serial = SerialNumber::parse(&row.get::<String>("serial_number")?);
        Ok(Self {
            serial: serial.ok_or_else(|| DbError::corrupt("serial_number", "not hexadecimal"))?,
            not_after: row.get("not_after")?,
        })
    }
}

/// Forgets the key that an operation made, and its certificates.
pub(crate) fn forget(set: &mut WriteSet, ca: &CaId, operation: &OperationId) {
    set.execute(sql(
        "DELETE FROM va_responder_certificate WHERE ca_id = $1 AND operation = $2",
        params![ca.as_str(), operation.as_str()],
    ));
    set.execute(sql(
        "DELETE FROM va_responder_key WHERE ca_id = $1 AND operation = $2",
        params![ca.as_str(), operation.as_str()],
    ));
}

impl TryFrom<&Row> for ResponderKey {
    type Error = DbError;

    fn try_from(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            ca_id: CaId::new(row.get::<String>("ca_id")?),
            operation: OperationId::new(row.get::<String>("operation")?),
            key_id: row.get::<Option<String>>("key_id")?.map(KeyId::new),
            begun_at: row.get("begun_at")?,
        })
    }
}
