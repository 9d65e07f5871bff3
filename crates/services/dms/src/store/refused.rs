//! Rows of `refused_enrollment`.

use lamassu_core::dms::RefusedEnrollment;
use lamassu_core::ids::{DeviceId, DmsId};
use lamassu_core::query::{Field, fold};
use lamassu_core::timestamp::Timestamp;
use lamassu_db::list::ListTable;
use lamassu_db::{Db, DbError, Row, Statement, params, sql};
use time::OffsetDateTime;

/// What lists can be filtered and sorted by.
pub const FIELDS: &[Field] = &[
    Field::string("id", "id"),
    Field::string("dms_id", "dms_id").folded("dms_id_folded"),
    Field::string("device_id", "device_id").folded("device_id_folded"),
    Field::string("operation", "operation"),
    Field::string("code", "code"),
    Field::number("status", "status"),
    Field::string("address", "address"),
    Field::string("request_id", "request_id"),
    Field::date("creation_ts", "created_at"),
];

/// How refusals are listed.
pub(crate) const TABLE: ListTable = ListTable {
    table: "refused_enrollment",
    columns: &[
        "id",
        "dms_id",
        "device_id",
        "operation",
        "reason",
        "code",
        "status",
        "certificate",
        "address",
        "request_id",
        "created_at",
    ],
    key: "id",
    created: "created_at",
    fields: FIELDS,
};

/// A refusal as it is listed.
pub(crate) fn listed(row: &Row) -> Result<RefusedEnrollment, DbError> {
    Ok(RefusedEnrollment {
        id: row.get("id")?,
        dms_id: DmsId::new(row.get::<String>("dms_id")?),
        device_id: DeviceId::from(row.get::<String>("device_id")?),
        operation: row.get("operation")?,
        reason: row.get("reason")?,
        code: row.get("code")?,
        status: u16::try_from(row.get::<u32>("status")?).unwrap_or_default(),
        certificate: row.get("certificate")?,
        address: row.get("address")?,
        request_id: row.get("request_id")?,
        creation_ts: Timestamp(row.get("created_at")?),
    })
}

pub(crate) fn insert(refused: &RefusedEnrollment) -> Statement {
    sql(
        "INSERT INTO refused_enrollment (id, dms_id, dms_id_folded, device_id, device_id_folded, \
         operation, reason, code, status, certificate, address, request_id, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        params![
            &refused.id,
            refused.dms_id.as_str(),
            fold(refused.dms_id.as_str()),
            refused.device_id.as_str(),
            fold(refused.device_id.as_str()),
            &refused.operation,
            &refused.reason,
            &refused.code,
            u32::from(refused.status),
            &refused.certificate,
            &refused.address,
            &refused.request_id,
            refused.creation_ts.0,
        ],
    )
}

/// When the newest of those was refused that are beyond the `kept` newest.
pub(crate) async fn beyond(db: &Db, kept: u32) -> Result<Option<OffsetDateTime>, DbError> {
    let query = sql(
        format!(
            "SELECT created_at FROM refused_enrollment \
             ORDER BY created_at DESC, id DESC LIMIT 1 OFFSET {kept}"
        ),
        Vec::new(),
    );
    let row = db.row_opt(query).await?;
    row.map(|row| row.get("created_at")).transpose()
}

/// Removes some that were refused up to this time.
pub(crate) fn delete_until(until: OffsetDateTime) -> Statement {
    sql(
        "DELETE FROM refused_enrollment WHERE id IN (SELECT id FROM refused_enrollment \
         WHERE created_at <= $1 ORDER BY created_at LIMIT 1000)",
        params![until],
    )
}
