//! Requests for CAs that somebody else certifies.

use lamassu_core::ca::{CaRequest, CaRequestStatus};
use lamassu_core::ids::{CaRequestId, EngineId, KeyId, OperationId};
use lamassu_core::pem::CsrDer;
use lamassu_core::query::fold;
use lamassu_core::timestamp::Timestamp;
use lamassu_db::list::ListTable;
use lamassu_db::{Check, Db, DbError, Expectation, Json, Row, WriteSet, params, sql};
use serde_json::Value;

use super::named;
use crate::fields::REQUEST_FIELDS;

/// The request's id is free, and its key waits for no other certificate.
pub(crate) const FREE: Check = Check::new("CA request is free");

/// The request is as it was read.
pub(crate) const UNCHANGED: Check = Check::new("CA request unchanged");

macro_rules! columns {
    () => {
        "id, revision, created_at, key_id, engine_id, operation_id, subject, key_metadata, \
         metadata, status, fingerprint, csr"
    };
}

/// How requests are listed.
pub(crate) const TABLE: ListTable = ListTable {
    table: "ca_request",
    columns: &[
        "id",
        "revision",
        "created_at",
        "key_id",
        "engine_id",
        "operation_id",
        "subject",
        "key_metadata",
        "metadata",
        "status",
        "fingerprint",
        "csr",
    ],
    key: "id",
    created: "created_at",
    fields: REQUEST_FIELDS,
};

/// A request as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct StoredRequest {
    pub(crate) revision: i64,
    /// The operation that made the key; none for a key that existed before.
    pub(crate) operation: Option<OperationId>,
    pub(crate) request: CaRequest,
}

impl TryFrom<&Row> for StoredRequest {
    type Error = DbError;

    fn try_from(row: &Row) -> Result<Self, DbError> {
        let Json(subject) = row.get("subject")?;
        let Json(key_metadata) = row.get("key_metadata")?;
        let Json(metadata) = row.get("metadata")?;
        let request = CaRequest {
            id: row.get::<String>("id")?.into(),
            key_id: row.get::<String>("key_id")?.into(),
            engine_id: row.get::<String>("engine_id")?.into(),
            subject,
            key_metadata,
            metadata,
            creation_ts: Timestamp(row.get("created_at")?),
            status: named(row, "status", |name| name.parse().ok())?,
            fingerprint: row.get("fingerprint")?,
            csr: CsrDer::from_der(row.get::<bytes::Bytes>("csr")?),
        };
        Ok(Self {
            revision: row.get("revision")?,
            operation: row.get::<Option<String>>("operation_id")?.map(Into::into),
            request,
        })
    }
}

/// The request of this id.
pub(crate) async fn by_id(db: &Db, id: &CaRequestId) -> Result<Option<StoredRequest>, DbError> {
    const TEXT: &str = concat!("SELECT ", columns!(), " FROM ca_request WHERE id = $1");
    let row = db.row_opt(sql(TEXT, params![id.as_str()])).await?;
    row.as_ref().map(StoredRequest::try_from).transpose()
}

/// Whether a request with this key waits for its certificate.
pub(crate) async fn waits_with(db: &Db, key: &KeyId) -> Result<bool, DbError> {
    let query = sql(
        "SELECT id FROM ca_request WHERE key_id = $1 AND status = 'PENDING'",
        params![key.as_str()],
    );
    Ok(db.row_opt(query).await?.is_some())
}

/// Adds a request to a write set.
pub(crate) fn insert(
    set: &mut WriteSet,
    request: &CaRequest,
    operation: Option<&OperationId>,
) -> Result<(), DbError> {
    let unwritable = |error: serde_json::Error| DbError::corrupt("ca_request", error.to_string());
    let common_name = request.subject.common_name.as_str();
    let statement = sql(
        "INSERT INTO ca_request (id, revision, created_at, key_id, engine_id, operation_id, \
         subject, subject_common_name, subject_common_name_folded, key_metadata, metadata, \
         status, fingerprint, csr) \
         VALUES ($1, 1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
         ON CONFLICT DO NOTHING",
        params![
            request.id.as_str(),
            request.creation_ts.0,
            request.key_id.as_str(),
            request.engine_id.as_str(),
            operation.map(OperationId::as_str),
            Json(&request.subject).to_value().map_err(unwritable)?,
            common_name,
            fold(common_name),
            Json(&request.key_metadata).to_value().map_err(unwritable)?,
            Value::Object(request.metadata.clone()),
            request.status.name(),
            request.fingerprint.as_str(),
            request.csr.der().clone(),
        ],
    );
    set.expect_one(statement, FREE);
    Ok(())
}

/// Adds the removal of a request to a write set.
pub(crate) fn delete(set: &mut WriteSet, id: &CaRequestId, revision: i64) {
    let statement = sql(
        "DELETE FROM ca_request WHERE id = $1 AND revision = $2",
        params![id.as_str(), revision],
    );
    set.expect_one(statement, UNCHANGED);
}

/// Adds to the write set that stores a CA for this key that nobody waits for its certificate any
/// more; `fingerprint` is the hex SHA-256 of that certificate. Where it is not known that a request waits, none
/// need be there.
pub(crate) fn close_request(
    set: &mut WriteSet,
    key: &KeyId,
    fingerprint: &str,
    expectation: Expectation,
) {
    let statement = sql(
        "UPDATE ca_request SET status = $1, fingerprint = $2, revision = revision + 1 \
         WHERE key_id = $3 AND status = $4",
        params![
            CaRequestStatus::Issued.name(),
            fingerprint,
            key.as_str(),
            CaRequestStatus::Pending.name()
        ],
    );
    set.expect(statement, expectation, UNCHANGED);
}

/// Adds to a write set that the key of requests is in another engine now.
pub(crate) fn move_to_engine(set: &mut WriteSet, key: &KeyId, engine: &EngineId) {
    set.execute(sql(
        "UPDATE ca_request SET engine_id = $1, revision = revision + 1 \
         WHERE key_id = $2 AND engine_id <> $1",
        params![engine.as_str(), key.as_str()],
    ));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lamassu_core::clock::{ManualClock, SharedClock};
    use lamassu_core::ids::OperationId;
    use lamassu_core::subject::Subject;
    use lamassu_testing::TestDatabase;
    use serde_json::Map;

    use super::*;
    use crate::describe::key_metadata;

    #[tokio::test]
    async fn a_certificate_for_its_key_ends_a_request_once() {
        let clock = Arc::new(ManualClock::at(time::OffsetDateTime::UNIX_EPOCH));
        let database = TestDatabase::fresh();
        let db = database.open(&(clock as SharedClock)).await;
        db.migrate(crate::store::SCHEMA).await.unwrap();
        let request = CaRequest {
            id: "a".into(),
            key_id: "key".into(),
            engine_id: "engine".into(),
            subject: Subject::default(),
            key_metadata: key_metadata(None),
            metadata: Map::new(),
            creation_ts: Timestamp(db.now()),
            status: CaRequestStatus::Pending,
            fingerprint: String::new(),
            csr: CsrDer::from_der(vec![1]),
        };
        let mut set = WriteSet::new();
        insert(&mut set, &request, Some(&OperationId::fresh())).unwrap();
        db.commit(set).await.unwrap();
        for (key, fingerprint) in [("other", "00"), ("key", "01"), ("key", "02")] {
            let mut set = WriteSet::new();
            close_request(&mut set, &key.into(), fingerprint, Expectation::Any);
            db.commit(set).await.unwrap();
        }
        let stored = by_id(&db, &request.id).await.unwrap().unwrap();
        let issued = CaRequest {
            status: CaRequestStatus::Issued,
            fingerprint: "01".to_owned(),
            ..request
        };
        assert_eq!((stored.revision, stored.request), (2, issued));
    }
}
