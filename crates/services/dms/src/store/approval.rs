//! Rows of `approval`.

use lamassu_core::dms::Approval;
use lamassu_core::dms::approval::{ApprovalOperation, ApprovalStatus};
use lamassu_core::ids::{ApprovalId, DeviceId, DmsId, SerialNumber};
use lamassu_core::pem::CsrDer;
use lamassu_core::query::{Field, fold};
use lamassu_core::timestamp::Timestamp;
use lamassu_db::list::ListTable;
use lamassu_db::{Check, Db, DbError, Readings, Row, Statement, params, sql};
use time::OffsetDateTime;

/// The request is not in the queue yet.
pub(crate) const NEW: Check = Check::new("approval is new");
/// The approval is as it was read.
pub(crate) const UNCHANGED: Check = Check::new("approval unchanged");

/// What lists of approvals can be filtered and sorted by.
pub const APPROVAL_FIELDS: &[Field] = &[
    Field::string("id", "id"),
    Field::string("dms_id", "dms_id").folded("dms_id_folded"),
    Field::string("device_id", "device_id").folded("device_id_folded"),
    Field::string("requested_by", "requested_by").folded("requested_by_folded"),
    Field::enumeration("operation", "operation").choices(ApprovalOperation::NAMES),
    Field::enumeration("status", "status").choices(ApprovalStatus::NAMES),
    Field::date("creation_ts", "created_at"),
    Field::date("expiration_ts", "expires_at"),
];

macro_rules! columns {
    ($macro:ident) => {
        $macro!(
            "id",
            "revision",
            "created_at",
            "dms_id",
            "device_id",
            "operation",
            "status",
            "csr",
            "requested_by",
            "expires_at",
            "decided_at",
            "decided_by",
            "reason",
            "certificate_serial",
            "bound_by"
        )
    };
}

macro_rules! listed {
    ($($column:literal),+) => { &[$($column),+] };
}

/// How approvals are listed.
pub(crate) const APPROVALS: ListTable = ListTable {
    table: "approval",
    columns: columns!(listed),
    key: "id",
    created: "created_at",
    fields: APPROVAL_FIELDS,
};

/// An approval and the state of its row.
#[derive(Clone, Debug)]
pub(crate) struct StoredApproval {
    pub(crate) approval: Approval,
    pub(crate) revision: i64,
    /// The credential of the request, as a keyed digest, if it was bound to its connection; or empty.
    pub(crate) bound_by: String,
}

impl TryFrom<&Row> for StoredApproval {
    type Error = DbError;

    fn try_from(row: &Row) -> Result<Self, DbError> {
        let approval = Approval {
            id: row.get::<String>("id")?.into(),
            dms_id: row.get::<String>("dms_id")?.into(),
            device_id: row.get::<String>("device_id")?.into(),
            operation: named(row, "operation")?,
            status: named(row, "status")?,
            csr: CsrDer::from_der(row.get::<bytes::Bytes>("csr")?),
            requested_by: row.get("requested_by")?,
            creation_ts: Timestamp(row.get("created_at")?),
            expiration_ts: Timestamp(row.get("expires_at")?),
            decision_ts: row
                .get::<Option<OffsetDateTime>>("decided_at")?
                .map_or(Timestamp::ZERO, Timestamp),
            decided_by: row.get("decided_by")?,
            reason: row.get("reason")?,
            certificate_serial_number: row.get("certificate_serial")?,
        };
        Ok(Self {
            approval,
            revision: row.get("revision")?,
            bound_by: row.get("bound_by")?,
        })
    }
}

fn named<T: std::str::FromStr>(row: &Row, column: &'static str) -> Result<T, DbError> {
    let name: String = row.get(column)?;
    name.parse()
        .map_err(|_| DbError::corrupt(column, "unknown name"))
}

macro_rules! joined {
    ($first:literal $(, $column:literal)*) => { concat!($first $(, ", ", $column)*) };
}

/// The approval of this id.
pub(crate) async fn by_id(db: &Db, id: &ApprovalId) -> Result<Option<StoredApproval>, DbError> {
    const TEXT: &str = concat!("SELECT ", columns!(joined), " FROM approval WHERE id = $1");
    let row = db.row_opt(sql(TEXT, params![id.as_str()])).await?;
    row.as_ref().map(StoredApproval::try_from).transpose()
}

/// The open approval of a request.
pub(crate) async fn open(
    db: &Db,
    dms: &DmsId,
    operation: ApprovalOperation,
    digest: &[u8],
) -> Result<Option<StoredApproval>, DbError> {
    const TEXT: &str = concat!(
        "SELECT ",
        columns!(joined),
        " FROM approval WHERE dms_id = $1 AND csr_digest = $2 AND operation = $3 \
         AND status IN ('PENDING', 'APPROVED', 'DENIED')"
    );
    let query = sql(TEXT, params![dms.as_str(), digest, operation.name()]);
    let row = db.row_opt(query).await?;
    row.as_ref().map(StoredApproval::try_from).transpose()
}

/// Where a page of open approvals ends: the end and the id of its last one.
pub(crate) type Place = (OffsetDateTime, String);

/// Open approvals that end at this time or earlier, oldest first, behind this place; with the next place.
pub(crate) async fn due(
    db: &Db,
    now: OffsetDateTime,
    (ended, id): Place,
    limit: u32,
) -> Result<(Readings<StoredApproval>, Option<Place>), DbError> {
    const TEXT: &str = concat!(
        "SELECT ",
        columns!(joined),
        " FROM approval WHERE status IN ('PENDING', 'APPROVED', 'DENIED') AND expires_at <= $1 \
         AND (expires_at, id) > ($2, $3) ORDER BY expires_at, id LIMIT $4"
    );
    let query = sql(TEXT, params![now, ended, id, i64::from(limit)]);
    let rows = db.rows(query).await?;
    let place = |row: &Row| Ok::<_, DbError>((row.get("expires_at")?, row.get("id")?));
    let next = rows.last().map(place).transpose()?;
    Ok((rows.iter().map(|row| row.read("id")).collect(), next))
}

/// How many approvals nobody has decided on.
pub(crate) async fn pending(db: &Db) -> Result<i64, DbError> {
    let query = sql(
        "SELECT count(*) AS n FROM approval WHERE status = 'PENDING'",
        params![],
    );
    match db.row_opt(query).await? {
        Some(row) => row.get("n"),
        None => Ok(0),
    }
}

/// How many of a DMS, and of one of its devices.
pub(crate) async fn pending_of(
    db: &Db,
    dms: &DmsId,
    device: &DeviceId,
) -> Result<(i64, i64), DbError> {
    let query = sql(
        "SELECT count(*) AS of_dms, count(CASE WHEN device_id = $1 THEN 1 END) AS of_device \
         FROM approval WHERE dms_id = $2 AND status = 'PENDING'",
        params![device.as_str(), dms.as_str()],
    );
    match db.row_opt(query).await? {
        Some(row) => Ok((row.get("of_dms")?, row.get("of_device")?)),
        None => Ok((0, 0)),
    }
}

/// Inserts an approval unless its request is in the queue already.
pub(crate) fn insert(approval: &Approval, digest: &[u8], bound_by: &str) -> Statement {
    let (dms, device) = (approval.dms_id.as_str(), approval.device_id.as_str());
    sql(
        "INSERT INTO approval (id, revision, created_at, dms_id, dms_id_folded, device_id, \
         device_id_folded, operation, status, csr, csr_digest, requested_by, requested_by_folded, \
         expires_at, decided_by, reason, certificate_serial, bound_by) \
         VALUES ($1, 1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, '', '', '', $14) \
         ON CONFLICT DO NOTHING",
        params![
            approval.id.as_str(),
            approval.creation_ts.0,
            dms,
            fold(dms),
            device,
            fold(device),
            approval.operation.name(),
            approval.status.name(),
            approval.csr.der().clone(),
            digest,
            approval.requested_by.as_str(),
            fold(&approval.requested_by),
            approval.expiration_ts.0,
            bound_by,
        ],
    )
}

/// Decides on an approval that is still at this revision.
pub(crate) fn decide(approval: &Approval, revision: i64) -> Statement {
    sql(
        "UPDATE approval SET status = $1, expires_at = $2, decided_at = $3, decided_by = $4, \
         reason = $5, revision = revision + 1 WHERE id = $6 AND revision = $7",
        params![
            approval.status.name(),
            approval.expiration_ts.0,
            approval.decision_ts.0,
            approval.decided_by.as_str(),
            approval.reason.as_str(),
            approval.id.as_str(),
            revision,
        ],
    )
}

/// Closes an approval that is still at this revision, with the certificate that it ended in, if it
/// did.
pub(crate) fn close(
    id: &ApprovalId,
    revision: i64,
    status: ApprovalStatus,
    certificate: Option<&SerialNumber>,
) -> Statement {
    sql(
        "UPDATE approval SET status = $1, certificate_serial = $2, revision = revision + 1 \
         WHERE id = $3 AND revision = $4",
        params![
            status.name(),
            certificate.map_or("", SerialNumber::as_str),
            id.as_str(),
            revision,
        ],
    )
}

/// Ends the open approvals of a DMS. They are of no use from then on, and closed as any that ended.
pub(crate) fn end_of(dms: &DmsId, now: OffsetDateTime) -> Statement {
    sql(
        "UPDATE approval SET expires_at = $1, revision = revision + 1 WHERE dms_id = $2 \
         AND status IN ('PENDING', 'APPROVED', 'DENIED') AND expires_at > $1",
        params![now, dms.as_str()],
    )
}

/// Removes closed approvals that ended before this time.
pub(crate) fn forget(before: OffsetDateTime) -> Statement {
    sql(
        "DELETE FROM approval WHERE status IN ('ISSUED', 'EXPIRED') AND expires_at < $1",
        params![before],
    )
}
