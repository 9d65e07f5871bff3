//! What certificates are found by that only their DER says: fingerprint and alternative names.

use bytes::Bytes;
use lamassu_core::query::fold;
use lamassu_crypto::HashAlgorithm;
use lamassu_db::{Db, DbError, Statement, WriteSet, params, sql};
use lamassu_x509::{Certificate, GeneralName};

use super::CertificateId;

/// Longest name that is indexed, in bytes: PostgreSQL takes no much longer one into an index.
const MAX_NAME_BYTES: usize = 1_000;

/// What a common name is found and sorted by: its beginning, where certificates that were made
/// elsewhere have a longer one.
pub(crate) fn indexed(common_name: &str) -> &str {
    let end = common_name.floor_char_boundary(MAX_NAME_BYTES);
    common_name.get(..end).unwrap_or_default()
}

/// Most names of one certificate that are indexed.
const MAX_NAMES: usize = 1_000;

/// The hex SHA-256 of a certificate's DER.
pub(crate) fn fingerprint(der: &[u8]) -> String {
    hex::encode(HashAlgorithm::Sha256.digest(der))
}

/// Adds the alternative names of a certificate to a write set.
pub(super) fn insert_names(set: &mut WriteSet, id: &CertificateId, der: &Bytes) {
    for name in names(der) {
        set.execute(sql(
            "INSERT INTO certificate_san (certificate_id, value, value_folded) \
             VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            params![id.as_str(), name.as_str(), fold(&name)],
        ));
    }
}

/// The alternative names as texts; none of what cannot be read.
fn names(der: &Bytes) -> Vec<String> {
    let Ok(certificate) = Certificate::from_der(der.clone()) else {
        return Vec::new();
    };
    let names = certificate.extensions().subject_alt_names();
    let texts = names.unwrap_or_default().into_iter().filter_map(text);
    texts
        .filter(|name| name.len() <= MAX_NAME_BYTES && !name.contains('\0'))
        .take(MAX_NAMES)
        .collect()
}

fn text(name: GeneralName) -> Option<String> {
    match name {
        GeneralName::Rfc822(text) | GeneralName::Dns(text) | GeneralName::Uri(text) => Some(text),
        GeneralName::Ip(address) => Some(address.to_string()),
        GeneralName::Directory(name) => Some(name.to_string()),
        GeneralName::Other(_) => None,
    }
}

/// Certificates that are not indexed yet, at most `limit`.
pub(crate) async fn unindexed(db: &Db, limit: u32) -> Result<Vec<(CertificateId, Bytes)>, DbError> {
    let rows = db.rows(not_indexed(limit)).await?;
    rows.iter()
        .map(|row| Ok((CertificateId::of_row(row, "id")?, row.get("der")?)))
        .collect()
}

/// In no order: SQLite would look for an order through all of them, batch by batch.
pub(super) fn not_indexed(limit: u32) -> Statement {
    sql(
        "SELECT id, der FROM certificate WHERE fingerprint IS NULL LIMIT $1",
        params![limit],
    )
}

/// Adds to a write set what an older certificate is found by. Whoever else does the same writes the
/// same.
pub(crate) fn index(set: &mut WriteSet, id: &CertificateId, der: &Bytes) {
    set.execute(sql(
        "UPDATE certificate SET fingerprint = $1 WHERE id = $2 AND fingerprint IS NULL",
        params![fingerprint(der), id.as_str()],
    ));
    insert_names(set, id, der);
}
