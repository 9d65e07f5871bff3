//! Certificates: DER, status, and columns to find them by.

#[cfg(test)]
mod contains;
mod counts;
mod due;
mod index;
#[cfg(test)]
mod plans;
mod text;
mod write;

use bytes::Bytes;
use lamassu_core::ca::{
    Certificate, CertificateRef, CertificateStatus, IssuerMetadata, KeyMetadata, RevokedEntry,
    StatusInfo,
};
use lamassu_core::ids::{CaId, SerialNumber};
use lamassu_core::pem::CertificateDer;
use lamassu_core::timestamp::Timestamp;
use lamassu_core::usage::RevocationReason;
use lamassu_crypto::PublicKey;
use lamassu_db::list::ListTable;
use lamassu_db::{Db, DbError, Json, Row, Statement, in_list, params, readable, sql, sql_of_few};
use lamassu_x509 as x509;
use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::named;
use crate::describe::Description;
use crate::fields::CERTIFICATE_FIELDS;

pub(crate) use counts::{count_by_status, merge_counts};
pub(crate) use due::{due, expired_early, expiring, next_due};
pub(crate) use index::{fingerprint, index, indexed, unindexed};
pub(crate) use text::add_texts;
pub(crate) use write::{
    Beside, ChangedBy, FREE, become_authority, delete, guard, insert, move_to_engine,
    rename_issuer, set_issuer, set_next_window, superseded, update,
};

/// How certificates are listed.
pub(crate) const TABLE: ListTable = ListTable {
    table: "certificate",
    columns: &[
        "id",
        "serial_number",
        "revision",
        "created_at",
        "der",
        "status",
        "certificate_type",
        "engine_id",
        "metadata",
        "is_ca",
        "subject_key_id",
        "authority_key_id",
        "key_type",
        "key_bits",
        "key_strength",
        "valid_from",
        "valid_to",
        "issuer_ca_id",
        "issuer_serial_number",
        "issuer_level",
        "revocation_timestamp",
        "revocation_reason",
    ],
    key: "id",
    created: "created_at",
    fields: CERTIFICATE_FIELDS,
};

/// How many serial numbers one statement names.
const SERIALS_PER_STATEMENT: usize = 512;

/// The columns that [`StoredCertificate`] reads, of table `certificate` or of the view of CAs.
macro_rules! certificate_columns {
    () => {
        "id, serial_number, revision, der, status, certificate_type, engine_id, metadata, is_ca, \
         subject_key_id, authority_key_id, key_type, key_bits, key_strength, valid_from, valid_to, \
         issuer_ca_id, issuer_serial_number, issuer_level, revocation_timestamp, revocation_reason"
    };
}
pub(crate) use certificate_columns;

/// A certificate's key: serial number and issuer name, since serial numbers repeat across issuers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CertificateId(String);

impl CertificateId {
    /// The key of a certificate with this number and issuer.
    pub(crate) fn new(serial: &SerialNumber, issuer: &x509::Name) -> Self {
        // Half of a SHA-256 tells issuers apart as well as the whole, in half the index.
        let digest = lamassu_crypto::HashAlgorithm::Sha256.digest(issuer.as_der());
        let half = digest.get(..16).unwrap_or(&digest);
        Self(format!("{serial}.{}", hex::encode(half)))
    }

    /// The key that is stored in this column.
    pub(crate) fn of_row(row: &Row, column: &'static str) -> Result<Self, DbError> {
        row.get(column).map(Self)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A certificate as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct StoredCertificate {
    pub(crate) id: CertificateId,
    pub(crate) revision: i64,
    pub(crate) certificate: Certificate,
}

impl TryFrom<&Row> for StoredCertificate {
    type Error = DbError;

    fn try_from(row: &Row) -> Result<Self, DbError> {
        let der: Bytes = row.get("der")?;
        let parsed = x509::Certificate::from_der(der.clone())
            .map_err(|error| DbError::corrupt("der", error.to_string()))?;
        let Description {
            subject,
            issuer,
            extensions,
        } = Description::of(&parsed);
        let metadata: Option<Json<Map<String, Value>>> = row.get("metadata")?;
        let certificate = Certificate {
            serial_number: serial(row, "serial_number")?,
            subject_key_id: row.get("subject_key_id")?,
            authority_key_id: row.get("authority_key_id")?,
            metadata: metadata.map(|Json(metadata)| metadata),
            status: named(row, "status", |name| name.parse().ok())?,
            certificate: CertificateDer::from_der(der),
            key_metadata: KeyMetadata {
                key_type: row.get("key_type")?,
                bits: row.get("key_bits")?,
                strength: named(row, "key_strength", |name| name.parse().ok())?,
            },
            subject,
            issuer,
            valid_from: instant(row, "valid_from")?,
            extensions,
            issuer_metadata: IssuerMetadata {
                serial_number: row.get("issuer_serial_number")?,
                id: row.get::<String>("issuer_ca_id")?.into(),
                level: row.get("issuer_level")?,
            },
            valid_to: instant(row, "valid_to")?,
            revocation_timestamp: instant(row, "revocation_timestamp")?,
            revocation_reason: named(row, "revocation_reason", RevocationReason::from_name)?,
            certificate_type: named(row, "certificate_type", |name| name.parse().ok())?,
            engine_id: row.get::<String>("engine_id")?.into(),
            is_ca: row.get("is_ca")?,
        };
        Ok(Self {
            id: CertificateId::of_row(row, "id")?,
            revision: row.get("revision")?,
            certificate,
        })
    }
}

/// A certificate's key, if it is of a kind that can be read.
pub(crate) fn public_key_of(certificate: &Certificate) -> Option<PublicKey> {
    let der = certificate.certificate.der().clone();
    x509::Certificate::from_der(der).ok()?.public_key().ok()
}

fn instant(row: &Row, column: &'static str) -> Result<Timestamp, DbError> {
    row.get::<OffsetDateTime>(column).map(Timestamp)
}

fn serial(row: &Row, column: &'static str) -> Result<SerialNumber, DbError> {
    named(row, column, SerialNumber::parse)
}

/// Every certificate that is named so; hardly ever more than one. Where a fingerprint is named, those whose own is
/// not stored yet are among them.
pub(crate) async fn by_name(
    db: &Db,
    named: &CertificateRef,
) -> Result<Vec<StoredCertificate>, DbError> {
    let CertificateRef {
        serial_number,
        ca,
        fingerprint,
    } = named;
    // In the order of the index on serial numbers: by the key alone, a PostgreSQL server that has no
    // statistics of a young table yet goes through all of it.
    const TEXT: &str = concat!(
        "SELECT ",
        certificate_columns!(),
        " FROM certificate WHERE serial_number = $1 \
         AND (CAST($2 AS TEXT) IS NULL OR fingerprint = $2 OR fingerprint IS NULL) \
         ORDER BY issuer_ca_id, id LIMIT 16"
    );
    const OF_CA: &str = concat!(
        "SELECT ",
        certificate_columns!(),
        " FROM certificate WHERE serial_number = $1 \
         AND (CAST($2 AS TEXT) IS NULL OR fingerprint = $2 OR fingerprint IS NULL) \
         AND issuer_ca_id = $3 ORDER BY id LIMIT 16"
    );
    let mut values = params![serial_number.as_str(), fingerprint.as_deref()];
    let query = match ca {
        None => sql(TEXT, values),
        Some(ca) => {
            values.push(ca.as_str().into());
            sql(OF_CA, values)
        }
    };
    let rows = db.rows(query).await?;
    rows.iter().map(StoredCertificate::try_from).collect()
}

/// Whether a CA of this id has issued a certificate that is still here.
pub(crate) async fn is_issuer(db: &Db, ca: &CaId) -> Result<bool, DbError> {
    let query = sql(
        "SELECT id FROM certificate WHERE issuer_ca_id = $1 LIMIT 1",
        params![ca.as_str()],
    );
    Ok(db.row_opt(query).await?.is_some())
}

/// The certificate with this key.
pub(crate) async fn by_id(
    db: &Db,
    id: &CertificateId,
) -> Result<Option<StoredCertificate>, DbError> {
    const TEXT: &str = concat!(
        "SELECT ",
        certificate_columns!(),
        " FROM certificate WHERE id = $1"
    );
    let row = db.row_opt(sql(TEXT, params![id.as_str()])).await?;
    row.as_ref().map(StoredCertificate::try_from).transpose()
}

/// The certificates whose status is not the one given beside their serial number. One query.
pub(crate) async fn with_other_status(
    db: &Db,
    known: &[(&SerialNumber, CertificateStatus)],
) -> Result<Vec<StoredCertificate>, DbError> {
    let Some(last) = known.last() else {
        return Ok(Vec::new());
    };
    // Filled up to a power of two, so that few texts are prepared.
    let n_pairs = known.len().next_power_of_two();
    let pairs = known.iter().chain(std::iter::repeat(last)).take(n_pairs);
    let values = pairs.flat_map(|(serial, status)| params![serial.as_str(), status.name()]);
    let conditions: Vec<String> = (0..n_pairs)
        .map(|pair| {
            let (serial, status) = (2 * pair + 1, 2 * pair + 2);
            format!("(serial_number = ${serial} AND status <> ${status})")
        })
        .collect();
    let text = format!(
        concat!(
            "SELECT ",
            certificate_columns!(),
            " FROM certificate WHERE {}"
        ),
        conditions.join(" OR ")
    );
    let rows = db.rows(sql_of_few(text, values.collect())).await?;
    rows.iter().map(StoredCertificate::try_from).collect()
}

/// Certificates that call their key one of these, or have one of these serial numbers.
pub(crate) async fn of_key(
    db: &Db,
    names: &[&str],
    serials: &[SerialNumber],
) -> Result<Vec<StoredCertificate>, DbError> {
    let mut values = names.iter().map(|name| (*name).into()).collect();
    let list = in_list(&mut values);
    let text = format!(
        concat!(
            "SELECT ",
            certificate_columns!(),
            " FROM certificate WHERE subject_key_id IN ({}) ORDER BY id"
        ),
        list
    );
    let mut rows = db.rows(sql_of_few(text, values)).await?;
    for serials in serials.chunks(SERIALS_PER_STATEMENT) {
        let mut values = serials
            .iter()
            .map(|serial| serial.as_str().into())
            .collect();
        let list = in_list(&mut values);
        let text = format!(
            concat!(
                "SELECT ",
                certificate_columns!(),
                " FROM certificate WHERE serial_number IN ({})"
            ),
            list
        );
        rows.extend(db.rows(sql_of_few(text, values)).await?);
    }
    rows.iter().map(StoredCertificate::try_from).collect()
}

/// Certificates without known issuer that call the issuer's key so, behind `after` in the order of
/// their keys.
pub(crate) async fn orphans(
    db: &Db,
    authority_key_id: &str,
    after: &str,
    limit: u32,
) -> Result<Vec<StoredCertificate>, DbError> {
    const TEXT: &str = concat!(
        "SELECT ",
        certificate_columns!(),
        " FROM certificate WHERE issuer_ca_id = '-' AND authority_key_id = $1 AND id > $2 \
         ORDER BY id LIMIT $3"
    );
    let query = sql(TEXT, params![authority_key_id, after, limit]);
    let rows = db.rows(query).await?;
    Ok(rows
        .iter()
        .map(|row| row.read("id"))
        .filter_map(readable)
        .collect())
}

/// The status of a certificate that this CA issued.
pub(crate) async fn status_of(
    db: &Db,
    ca: &CaId,
    serial: &SerialNumber,
) -> Result<Option<StatusInfo>, DbError> {
    let query = sql(
        "SELECT status, revocation_timestamp, revocation_reason, valid_to FROM certificate \
         WHERE serial_number = $1 AND issuer_ca_id = $2",
        params![serial.as_str(), ca.as_str()],
    );
    let row = db.row_opt(query).await?;
    row.map(|row| {
        Ok(StatusInfo {
            status: named(&row, "status", |name| name.parse().ok())?,
            revocation_timestamp: instant(&row, "revocation_timestamp")?,
            revocation_reason: named(&row, "revocation_reason", RevocationReason::from_name)?,
            valid_to: instant(&row, "valid_to")?,
        })
    })
    .transpose()
}

/// Revoked certificates of this CA, by serial number, behind `after`.
pub(crate) async fn revoked(
    db: &Db,
    ca: &CaId,
    after: Option<&SerialNumber>,
    limit: u32,
) -> Result<Vec<RevokedEntry>, DbError> {
    let rows = db.rows(revoked_behind(ca, after, limit)).await?;
    rows.iter()
        .map(|row| {
            Ok(RevokedEntry {
                serial_number: serial(row, "serial_number")?,
                revocation_timestamp: instant(row, "revocation_timestamp")?,
                revocation_reason: named(row, "revocation_reason", RevocationReason::from_name)?,
                valid_to: instant(row, "valid_to")?,
            })
        })
        .collect()
}

fn revoked_behind(ca: &CaId, after: Option<&SerialNumber>, limit: u32) -> Statement {
    sql(
        "SELECT serial_number, revocation_timestamp, revocation_reason, valid_to FROM certificate \
         WHERE issuer_ca_id = $1 AND status = 'REVOKED' AND serial_number > $2 \
         ORDER BY serial_number LIMIT $3",
        params![ca.as_str(), after.map_or("", SerialNumber::as_str), limit],
    )
}
