//! Rows of `enrollment_password`.

use lamassu_core::dms::EnrollmentPassword;
use lamassu_core::ids::{DeviceId, DmsId};
use lamassu_core::query::{Field, fold};
use lamassu_core::timestamp::Timestamp;
use lamassu_db::list::ListTable;
use lamassu_db::{Check, Db, DbError, Row, Statement, params, sql};
use time::OffsetDateTime;

/// The password may still be used.
pub(crate) const USABLE: Check = Check::new("enrollment password is usable");
/// The password is there.
pub(crate) const PRESENT: Check = Check::new("enrollment password is there");

/// What lists can be filtered and sorted by.
pub const FIELDS: &[Field] = &[
    Field::string("id", "id"),
    Field::string("username", "username").folded("username_folded"),
    Field::string("device_id", "device_id").folded("device_id_folded"),
    Field::number("max_uses", "max_uses"),
    Field::number("uses", "uses"),
    Field::date("creation_ts", "created_at"),
    Field::date("expiration_ts", "expires_at").nullable(),
    Field::date("revocation_ts", "revoked_at").nullable(),
];

/// How passwords are listed.
pub(crate) const TABLE: ListTable = ListTable {
    table: "enrollment_password",
    columns: &[
        "id",
        "dms_id",
        "username",
        "device_id",
        "max_uses",
        "uses",
        "created_at",
        "expires_at",
        "revoked_at",
    ],
    key: "id",
    created: "created_at",
    fields: FIELDS,
};

/// A password as it is listed.
pub(crate) fn listed(row: &Row) -> Result<EnrollmentPassword, DbError> {
    let instant = |name| Ok::<_, DbError>(row.get::<Option<OffsetDateTime>>(name)?.map(Timestamp));
    Ok(EnrollmentPassword {
        id: row.get("id")?,
        dms_id: DmsId::new(row.get::<String>("dms_id")?),
        username: row.get("username")?,
        device_id: DeviceId::from(row.get::<String>("device_id")?),
        max_uses: row.get("max_uses")?,
        uses: row.get("uses")?,
        creation_ts: Timestamp(row.get("created_at")?),
        expiration_ts: instant("expires_at")?,
        revocation_ts: instant("revoked_at")?,
    })
}

/// A password and the digest of its text.
pub(crate) fn insert(password: &EnrollmentPassword, digest: &str) -> Statement {
    sql(
        "INSERT INTO enrollment_password (id, dms_id, username, username_folded, device_id, \
         device_id_folded, digest, max_uses, uses, created_at, expires_at, revoked_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, $10, NULL)",
        params![
            &password.id,
            password.dms_id.as_str(),
            &password.username,
            fold(&password.username),
            password.device_id.as_str(),
            fold(password.device_id.as_str()),
            digest,
            password.max_uses,
            password.creation_ts.0,
            password.expiration_ts.map(|Timestamp(instant)| instant),
        ],
    )
}

/// What a password that is presented is compared with.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) id: String,
    pub(crate) device_id: DeviceId,
    pub(crate) digest: String,
}

/// The password of this user name and digest, if it may be used now.
pub(crate) async fn usable(
    db: &Db,
    dms: &DmsId,
    (username, digest): (&str, &str),
    now: OffsetDateTime,
) -> Result<Option<Candidate>, DbError> {
    let query = sql(
        "SELECT id, device_id, digest FROM enrollment_password \
         WHERE dms_id = $1 AND username = $2 AND digest = $3 AND uses < max_uses \
         AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $4)",
        params![dms.as_str(), username, digest, now],
    );
    let row = db.row_opt(query).await?;
    row.map(|row| {
        Ok(Candidate {
            id: row.get("id")?,
            device_id: DeviceId::from(row.get::<String>("device_id")?),
            digest: row.get("digest")?,
        })
    })
    .transpose()
}

/// Uses the password once more, if it may be.
pub(crate) fn use_once(id: &str, now: OffsetDateTime) -> Statement {
    sql(
        "UPDATE enrollment_password SET uses = uses + 1 \
         WHERE id = $1 AND uses < max_uses AND revoked_at IS NULL \
         AND (expires_at IS NULL OR expires_at > $2)",
        params![id, now],
    )
}

/// Takes a use back that came to nothing.
pub(crate) fn give_back(id: &str) -> Statement {
    sql(
        "UPDATE enrollment_password SET uses = uses - 1 WHERE id = $1 AND uses > 0",
        params![id],
    )
}

/// Revokes the password of this DMS; the first time counts.
pub(crate) fn revoke(dms: &DmsId, id: &str, now: OffsetDateTime) -> Statement {
    sql(
        "UPDATE enrollment_password SET revoked_at = COALESCE(revoked_at, $3) \
         WHERE dms_id = $1 AND id = $2",
        params![dms.as_str(), id, now],
    )
}

/// Removes all passwords of a DMS.
pub(crate) fn delete_of(dms: &DmsId) -> Statement {
    sql(
        "DELETE FROM enrollment_password WHERE dms_id = $1",
        params![dms.as_str()],
    )
}

/// Removes passwords that were revoked or ended before this time, or were used up and made before it.
pub(crate) fn delete_ended(before: OffsetDateTime) -> Statement {
    sql(
        "DELETE FROM enrollment_password WHERE id IN (SELECT id FROM enrollment_password \
         WHERE revoked_at < $1 OR expires_at < $1 OR (uses >= max_uses AND created_at < $1) \
         LIMIT 1000)",
        params![before],
    )
}
