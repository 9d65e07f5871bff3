//! Enrollment intents: certificates on their way to a device, and recent re-enrollments.

use bytes::Bytes;
use lamassu_core::ca::enrollment::{Attachment, Detach, Revoke};
use lamassu_core::ca::{Enrollment, EnrollmentMode, OpenEnrollment, Superseded};
use lamassu_core::ids::SerialNumber;
use lamassu_db::{
    Check, Db, DbError, Row, Statement, Value, WriteSet, in_list, params, readable, sql, sql_of_few,
};
use time::OffsetDateTime;

use super::certificate::{CertificateId, StoredCertificate, certificate_columns};
use super::named;

/// The intent is still open.
pub(crate) const OPEN: Check = Check::new("intent is open");

/// The certificate has no intent yet.
pub(crate) const FREE: Check = Check::new("intent key is free");

/// An intent that is open.
#[derive(Clone, Debug)]
pub(crate) struct OpenIntent {
    /// The certificate that was issued under it.
    pub(crate) certificate_id: CertificateId,
    pub(crate) attachment: Attachment,
    pub(crate) superseded: Option<Superseded>,
}

impl TryFrom<&Row> for OpenIntent {
    type Error = DbError;

    fn try_from(row: &Row) -> Result<Self, DbError> {
        let superseded: Option<String> = row.get("superseded_serial_number")?;
        let detach = if row.get("detach")? {
            Detach::Yes
        } else {
            Detach::No
        };
        let revoke = if row.get("revoke")? {
            Revoke::Yes
        } else {
            Revoke::No
        };
        let superseded = superseded
            .map(|text| {
                SerialNumber::parse(&text)
                    .ok_or_else(|| DbError::corrupt("superseded_serial_number", "no serial number"))
            })
            .transpose()?
            .map(|serial_number| Superseded {
                serial_number,
                detach,
                revoke,
            });
        Ok(Self {
            certificate_id: CertificateId::of_row(row, "certificate_id")?,
            attachment: Attachment {
                device_id: row.get::<String>("device_id")?.into(),
                dms_id: row.get::<String>("dms_id")?.into(),
                slot: None,
            },
            superseded,
        })
    }
}

/// The open intent of this certificate.
pub(crate) async fn open(db: &Db, serial: &SerialNumber) -> Result<Option<OpenIntent>, DbError> {
    let query = sql(
        "SELECT certificate_id, device_id, dms_id, superseded_serial_number, detach, revoke \
         FROM enrollment_intent WHERE serial_number = $1 AND state = 'open'",
        params![serial.as_str()],
    );
    let row = db.row_opt(query).await?;
    row.as_ref().map(OpenIntent::try_from).transpose()
}

/// Whether a later enrollment took the place of this certificate, which the device had then.
pub(crate) async fn was_superseded(db: &Db, serial: &SerialNumber) -> Result<bool, DbError> {
    let query = sql(
        "SELECT 1 AS found FROM enrollment_intent WHERE superseded_serial_number = $1 LIMIT 1",
        params![serial.as_str()],
    );
    Ok(db.row_opt(query).await?.is_some())
}

/// Open intents from before `before`, oldest first, behind the one that was opened then and is of
/// this serial number. Those that cannot be read are left out, and none is given only where there are no more.
pub(crate) async fn open_before(
    db: &Db,
    before: OffsetDateTime,
    after: Option<(OffsetDateTime, SerialNumber)>,
    limit: u32,
) -> Result<Vec<OpenEnrollment>, DbError> {
    let mut after = after.map(|(opened, serial)| (opened, serial.as_str().to_owned()));
    loop {
        let rows = db.rows(open_query(before, after, limit)).await?;
        let open = rows.iter().map(|row| {
            Ok(OpenEnrollment {
                serial_number: named(row, "serial_number", SerialNumber::parse)?,
                device_id: row.get::<String>("device_id")?.into(),
                opened_at: row.get("opened_at")?,
            })
        });
        let open: Vec<_> = open.filter_map(readable).collect();
        let Some(last) = rows.last().filter(|_| open.is_empty()) else {
            return Ok(open);
        };
        after = Some((last.get("opened_at")?, last.get("serial_number")?));
    }
}

fn open_query(
    before: OffsetDateTime,
    after: Option<(OffsetDateTime, String)>,
    limit: u32,
) -> Statement {
    match after {
        None => sql(
            "SELECT serial_number, device_id, opened_at FROM enrollment_intent \
             WHERE state = 'open' AND opened_at < $1 ORDER BY opened_at, serial_number LIMIT $2",
            params![before, limit],
        ),
        Some((opened, serial)) => sql(
            "SELECT serial_number, device_id, opened_at FROM enrollment_intent \
             WHERE state = 'open' AND opened_at < $1 AND (opened_at, serial_number) > ($3, $4) \
             ORDER BY opened_at, serial_number LIMIT $2",
            params![before, limit, opened, serial],
        ),
    }
}

/// The newest certificate that a completed re-enrollment since `since` issued for this request in
/// place of this certificate.
pub(crate) async fn repeated(
    db: &Db,
    superseded: &SerialNumber,
    csr_digest: &[u8; 32],
    since: OffsetDateTime,
) -> Result<Option<StoredCertificate>, DbError> {
    const TEXT: &str = concat!(
        "SELECT ",
        certificate_columns!(),
        " FROM certificate WHERE id = (SELECT certificate_id FROM enrollment_intent \
         WHERE superseded_serial_number = $1 AND csr_digest = $2 AND mode = $3 \
         AND state = 'completed' AND closed_at >= $4 ORDER BY closed_at DESC LIMIT 1)"
    );
    let mode = EnrollmentMode::Reenroll.name();
    let query = sql(
        TEXT,
        params![superseded.as_str(), csr_digest.as_slice(), mode, since],
    );
    let row = db.row_opt(query).await?;
    row.as_ref().map(StoredCertificate::try_from).transpose()
}

/// Adds an open intent beside its certificate.
pub(crate) fn insert(
    set: &mut WriteSet,
    serial: &SerialNumber,
    certificate: &CertificateId,
    enrollment: &Enrollment,
    now: OffsetDateTime,
) {
    let superseded = enrollment.superseded.as_ref();
    let statement = sql(
        "INSERT INTO enrollment_intent (serial_number, certificate_id, device_id, dms_id, mode, \
         csr_digest, superseded_serial_number, detach, revoke, opened_at, state, closed_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'open', NULL) ON CONFLICT DO NOTHING",
        params![
            serial.as_str(),
            certificate.as_str(),
            enrollment.attachment.device_id.as_str(),
            enrollment.attachment.dms_id.as_str(),
            enrollment.mode.name(),
            Bytes::copy_from_slice(&enrollment.csr_digest),
            superseded.map(|superseded| superseded.serial_number.as_str()),
            superseded.is_some_and(|superseded| superseded.detach == Detach::Yes),
            superseded.is_some_and(|superseded| superseded.revoke == Revoke::Yes),
            now,
        ],
    );
    set.expect_one(statement, FREE);
}

/// Closes an intent that superseded something; its answer may be asked for again.
pub(crate) fn complete(set: &mut WriteSet, serial: &SerialNumber, now: OffsetDateTime) {
    let statement = sql(
        "UPDATE enrollment_intent SET state = 'completed', closed_at = $1 \
         WHERE serial_number = $2 AND state = 'open'",
        params![now, serial.as_str()],
    );
    set.expect_one(statement, OPEN);
}

/// Removes an open intent that nobody will ask for again.
pub(crate) fn remove(set: &mut WriteSet, serial: &SerialNumber) {
    let statement = sql(
        "DELETE FROM enrollment_intent WHERE serial_number = $1 AND state = 'open'",
        params![serial.as_str()],
    );
    set.expect_one(statement, OPEN);
}

/// Removes the intents of bound certificates (at least one) that are open and superseded nothing.
pub(crate) fn remove_first(serials: &[&SerialNumber]) -> Statement {
    let mut values: Vec<Value> = serials
        .iter()
        .map(|serial| serial.as_str().into())
        .collect();
    let list = in_list(&mut values);
    let text = format!(
        "DELETE FROM enrollment_intent WHERE serial_number IN ({list}) AND state = 'open' \
         AND superseded_serial_number IS NULL"
    );
    sql_of_few(text, values)
}

/// Removes completed intents from before `before`.
pub(crate) fn remove_completed(before: OffsetDateTime) -> Statement {
    sql(
        "DELETE FROM enrollment_intent WHERE state = 'completed' AND opened_at < $1",
        params![before],
    )
}
