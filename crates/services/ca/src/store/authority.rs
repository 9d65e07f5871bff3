//! CAs: each points at its current certificate.

use lamassu_core::ca::{CertificateAuthority, IssuerMetadata};
use lamassu_core::ids::{CaId, ProfileId};
use lamassu_core::pem::CertificateDer;
use lamassu_core::timestamp::Timestamp;
use lamassu_core::va::CrlShards;
use lamassu_db::list::ListTable;
use lamassu_db::{
    Check, Db, DbError, Expectation, Json, Readings, Row, Statement, WriteSet, in_list, params,
    sql, sql_of_few,
};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::certificate::{CertificateId, StoredCertificate, certificate_columns};
use crate::fields::AUTHORITY_FIELDS;
use crate::own_windows;

/// The CA's id is free.
pub(crate) const FREE: Check = Check::new("CA id is free");

/// The CA is as it was read: its certificate, its default profile and its certificate's status.
pub(crate) const UNCHANGED: Check = Check::new("CA unchanged");

/// No such CA exists.
pub(crate) const ABSENT: Check = Check::new("CA absent");

/// How CAs are listed.
pub(crate) const TABLE: ListTable = ListTable {
    table: "certificate_authority_entry",
    columns: &[
        "ca_id",
        "ca_revision",
        "ca_created_at",
        "ca_level",
        "ca_profile_id",
        "ca_metadata",
        "ca_crl_shards",
        "id",
        "serial_number",
        "revision",
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
    key: "ca_id",
    created: "ca_created_at",
    fields: AUTHORITY_FIELDS,
};

/// How many CAs one statement names.
const IDS_PER_STATEMENT: usize = 512;

/// What precedes the condition of every read.
macro_rules! select_authority {
    ($condition:literal) => {
        concat!(
            "SELECT ca_id, ca_revision, ca_created_at, ca_level, ca_profile_id, ca_metadata, \
             ca_crl_shards, ",
            certificate_columns!(),
            " FROM certificate_authority_entry ",
            $condition
        )
    };
}

/// A CA as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct StoredAuthority {
    /// Counts changes of the CA and of its certificate's status.
    pub(crate) revision: i64,
    pub(crate) certificate_id: CertificateId,
    /// Counts changes of the certificate.
    pub(crate) certificate_revision: i64,
    pub(crate) authority: CertificateAuthority,
}

impl StoredAuthority {
    /// A CA that has just been stored.
    pub(crate) fn new(authority: CertificateAuthority, certificate_id: CertificateId) -> Self {
        Self {
            revision: 1,
            certificate_id,
            certificate_revision: 1,
            authority,
        }
    }
}

impl From<&StoredAuthority> for StoredCertificate {
    /// The CA's certificate.
    fn from(stored: &StoredAuthority) -> Self {
        Self {
            id: stored.certificate_id.clone(),
            revision: stored.certificate_revision,
            certificate: stored.authority.certificate.clone(),
        }
    }
}

impl TryFrom<&Row> for StoredAuthority {
    type Error = DbError;

    fn try_from(row: &Row) -> Result<Self, DbError> {
        let StoredCertificate {
            id,
            revision: certificate_revision,
            certificate,
        } = StoredCertificate::try_from(row)?;
        let metadata: Json<Map<String, Value>> = row.get("ca_metadata")?;
        let crl_shards = row.get::<Option<u32>>("ca_crl_shards")?;
        let crl_shards = crl_shards.map(CrlShards::try_from).transpose();
        let authority = CertificateAuthority {
            id: row.get::<String>("ca_id")?.into(),
            serial_number: certificate.serial_number.clone(),
            certificate,
            metadata: metadata.0,
            creation_ts: Timestamp(row.get("ca_created_at")?),
            level: row.get("ca_level")?,
            profile_id: row.get::<String>("ca_profile_id")?.into(),
            crl_shards: crl_shards
                .map_err(|_| DbError::corrupt("crl_shards", "no number of shards"))?,
        };
        Ok(Self {
            revision: row.get("ca_revision")?,
            certificate_id: id,
            certificate_revision,
            authority,
        })
    }
}

/// The CA of this id.
pub(crate) async fn by_id(db: &Db, id: &CaId) -> Result<Option<StoredAuthority>, DbError> {
    const TEXT: &str = select_authority!("WHERE ca_id = $1");
    let row = db.row_opt(sql(TEXT, params![id.as_str()])).await?;
    row.as_ref().map(StoredAuthority::try_from).transpose()
}

/// The CAs whose current certificate this is.
pub(crate) async fn by_certificate(
    db: &Db,
    certificate: &CertificateId,
) -> Result<Vec<StoredAuthority>, DbError> {
    let rows = db.rows(of_certificate(certificate)).await?;
    rows.iter().map(StoredAuthority::try_from).collect()
}

/// The CAs whose current certificate calls its key so.
pub(crate) async fn by_subject_key(
    db: &Db,
    subject_key_id: &str,
) -> Result<Vec<StoredAuthority>, DbError> {
    let rows = db.rows(of_subject_key(subject_key_id)).await?;
    rows.iter().map(StoredAuthority::try_from).collect()
}

/// The CAs whose subject has this common name, oldest first.
pub(crate) async fn by_common_name(
    db: &Db,
    common_name: &str,
) -> Result<Vec<StoredAuthority>, DbError> {
    let rows = db.rows(of_common_name(common_name)).await?;
    rows.iter().map(StoredAuthority::try_from).collect()
}

/// The CAs whose current certificate this CA issued.
pub(crate) async fn issued_by(db: &Db, id: &CaId) -> Result<Vec<StoredAuthority>, DbError> {
    issued_by_any(db, std::slice::from_ref(id)).await
}

/// The CAs whose current certificate one of these CAs issued.
pub(crate) async fn issued_by_any(db: &Db, ids: &[CaId]) -> Result<Vec<StoredAuthority>, DbError> {
    let mut found = Vec::new();
    for ids in ids.chunks(IDS_PER_STATEMENT) {
        for row in db.rows(of_issuers(ids)).await? {
            found.push(StoredAuthority::try_from(&row)?);
        }
    }
    Ok(found)
}

/// What precedes and what follows a condition on the current certificates `c` of CAs. From the certificates on
/// (CROSS JOIN keeps that order): the view begins with the CAs, and would go through all of them.
macro_rules! select_by_certificate {
    ($condition:literal, $end:literal) => {
        concat!(
            select_authority!(""),
            "WHERE ca_id IN (SELECT a.id FROM certificate c CROSS JOIN certificate_authority a \
             WHERE a.certificate_id = c.id AND c.is_ca AND ",
            $condition,
            ") ",
            $end
        )
    };
}

pub(super) fn of_certificate(certificate: &CertificateId) -> Statement {
    const TEXT: &str = select_authority!(
        "WHERE ca_id IN (SELECT id FROM certificate_authority WHERE certificate_id = $1) \
         ORDER BY ca_id"
    );
    sql(TEXT, params![certificate.as_str()])
}

pub(super) fn of_subject_key(subject_key_id: &str) -> Statement {
    const TEXT: &str = select_by_certificate!("c.subject_key_id = $1", "ORDER BY ca_id");
    sql(TEXT, params![subject_key_id])
}

pub(super) fn of_common_name(common_name: &str) -> Statement {
    const TEXT: &str = select_by_certificate!(
        "c.subject_common_name = $1",
        "ORDER BY ca_created_at, ca_id LIMIT 1000"
    );
    sql(TEXT, params![common_name])
}

pub(super) fn of_issuers(ids: &[CaId]) -> Statement {
    let mut values = ids.iter().map(|id| id.as_str().into()).collect();
    let list = in_list(&mut values);
    // The ids are what the index of CAs has beside the issuers: one of all certificates is no match for it.
    let text = format!(
        select_by_certificate!("c.issuer_ca_id IN ({}) AND c.id > ''", "ORDER BY ca_id"),
        list
    );
    sql_of_few(text, values)
}

/// The certificates of this CA and of those above it. Deeper than any chain that a relying party
/// follows, nothing is looked for: CAs that certify each other have no end.
pub(crate) async fn chain(db: &Db, ca: &CaId) -> Result<Vec<CertificateDer>, DbError> {
    let query = sql(
        "WITH RECURSIVE chain (depth, ca_id, issuer_ca_id, der) AS (\
         SELECT 0, ca_id, issuer_ca_id, der FROM certificate_authority_entry WHERE ca_id = $1 \
         UNION ALL \
         SELECT chain.depth + 1, e.ca_id, e.issuer_ca_id, e.der FROM chain \
         JOIN certificate_authority_entry e ON e.ca_id = chain.issuer_ca_id \
         WHERE chain.issuer_ca_id <> chain.ca_id AND chain.depth < 15) \
         SELECT der FROM chain ORDER BY depth",
        params![ca.as_str()],
    );
    let mut found: Vec<CertificateDer> = Vec::new();
    for row in db.rows(query).await? {
        let der = CertificateDer::from_der(row.get::<bytes::Bytes>("der")?);
        if found.contains(&der) {
            break;
        }
        found.push(der);
    }
    Ok(found)
}

/// CAs by id, behind `after`; each is read by itself, and stands behind its id.
pub(crate) async fn page(
    db: &Db,
    after: Option<&CaId>,
    limit: u32,
) -> Result<Vec<(CaId, Result<StoredAuthority, DbError>)>, DbError> {
    const TEXT: &str = select_authority!("WHERE ca_id > $1 ORDER BY ca_id LIMIT $2");
    let rows = db
        .rows(sql(TEXT, params![after.map_or("", CaId::as_str), limit]))
        .await?;
    let named = |row: &Row| Ok((CaId::new(row.get::<String>("ca_id")?), row.read("ca_id")));
    rows.iter().map(named).collect()
}

/// Whether a CA has this id.
pub(crate) async fn exists(db: &Db, id: &CaId) -> Result<bool, DbError> {
    let query = sql(
        "SELECT id FROM certificate_authority WHERE id = $1",
        params![id.as_str()],
    );
    Ok(db.row_opt(query).await?.is_some())
}

/// Adds a CA to what a write set changes.
pub(crate) fn insert(
    set: &mut WriteSet,
    authority: &CertificateAuthority,
    certificate: &CertificateId,
) {
    let statement = sql(
        "INSERT INTO certificate_authority \
         (id, revision, created_at, certificate_id, level, profile_id, metadata, next_window, \
         crl_shards) VALUES ($1, 1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
        params![
            authority.id.as_str(),
            authority.creation_ts.0,
            certificate.as_str(),
            authority.level,
            authority.profile_id.as_str(),
            Value::Object(authority.metadata.clone()),
            window_of(authority),
            authority.crl_shards.map(u32::from),
        ],
    );
    set.expect_one(statement, FREE);
}

/// Adds the metadata of a CA, as it was read otherwise, to a write set.
pub(crate) fn set_metadata(
    set: &mut WriteSet,
    stored: &StoredAuthority,
    updated: &CertificateAuthority,
) {
    let statement = sql(
        "UPDATE certificate_authority SET metadata = $1, next_window = $2, \
         revision = revision + 1 WHERE id = $3 AND revision = $4 AND certificate_id = $5",
        params![
            Value::Object(updated.metadata.clone()),
            window_of(updated),
            updated.id.as_str(),
            stored.revision,
            stored.certificate_id.as_str(),
        ],
    );
    set.expect_one(statement, UNCHANGED);
}

/// When the next window in the CA's own metadata begins. Also of a CA that is not active: the
/// windows are about its certificate's end, which comes all the same.
fn window_of(authority: &CertificateAuthority) -> Option<OffsetDateTime> {
    own_windows::next(&authority.metadata, authority.certificate.valid_to.0)
}

/// CAs of which a window in their metadata may have begun, the longest ago first.
pub(crate) async fn expiring(
    db: &Db,
    now: OffsetDateTime,
    limit: u32,
) -> Result<Readings<StoredAuthority>, DbError> {
    const TEXT: &str = select_authority!(
        "WHERE ca_id IN (SELECT id FROM certificate_authority \
         WHERE next_window IS NOT NULL AND next_window <= $1 ORDER BY next_window LIMIT $2)"
    );
    let rows = db.rows(sql(TEXT, params![now, limit])).await?;
    Ok(rows.iter().map(|row| row.read("ca_id")).collect())
}

/// When the next window in the metadata of any CA begins.
pub(crate) async fn next_window(db: &Db) -> Result<Option<OffsetDateTime>, DbError> {
    let query = sql(
        "SELECT next_window FROM certificate_authority WHERE next_window IS NOT NULL \
         ORDER BY next_window LIMIT 1",
        params![],
    );
    let row = db.row_opt(query).await?;
    row.map(|row| row.get("next_window")).transpose()
}

/// Lets a write set fail unless the CA is at this revision and has this certificate.
///
/// The certificate is part of the question because a CA that was deleted and made again under
/// the same id starts with the same revision.
pub(crate) fn guard(set: &mut WriteSet, id: &CaId, revision: i64, certificate: &CertificateId) {
    let statement = sql(
        "SELECT id FROM certificate_authority WHERE id = $1 AND revision = $2 AND certificate_id = $3",
        params![id.as_str(), revision, certificate.as_str()],
    );
    set.guard(statement, UNCHANGED);
}

/// Tells whoever holds CAs in a cache that the status of their certificate changes.
pub(crate) fn touch_by_certificate(set: &mut WriteSet, certificate: &CertificateId) {
    set.execute(sql(
        "UPDATE certificate_authority SET revision = revision + 1 WHERE certificate_id = $1",
        params![certificate.as_str()],
    ));
}

/// Adds the new certificate, default profile and metadata of a CA to a write set.
pub(crate) fn update(
    set: &mut WriteSet,
    stored: &StoredAuthority,
    updated: &CertificateAuthority,
    certificate: &CertificateId,
) {
    let statement = sql(
        "UPDATE certificate_authority SET certificate_id = $1, level = $2, profile_id = $3, \
         metadata = $4, next_window = $5, revision = revision + 1 \
         WHERE id = $6 AND revision = $7 AND certificate_id = $8",
        params![
            certificate.as_str(),
            updated.level,
            updated.profile_id.as_str(),
            Value::Object(updated.metadata.clone()),
            window_of(updated),
            stored.authority.id.as_str(),
            stored.revision,
            stored.certificate_id.as_str(),
        ],
    );
    set.expect_one(statement, UNCHANGED);
}

/// Adds the removal of a CA to a write set.
pub(crate) fn delete(set: &mut WriteSet, stored: &StoredAuthority) {
    let statement = sql(
        "DELETE FROM certificate_authority \
         WHERE id = $1 AND revision = $2 AND certificate_id = $3",
        params![
            stored.authority.id.as_str(),
            stored.revision,
            stored.certificate_id.as_str(),
        ],
    );
    set.expect_one(statement, UNCHANGED);
}

/// Lets a write set fail unless no CA has this id.
pub(crate) fn guard_absence(set: &mut WriteSet, id: &CaId) {
    let statement = sql(
        "UPDATE certificate_authority SET revision = revision WHERE id = $1",
        params![id.as_str()],
    );
    set.expect(statement, Expectation::Exactly(0), ABSENT);
}

/// That a CA has this default profile and issues under it, or may again: what is on hold comes back.
///
/// It asks of each CA whether it is ended, not whether it is in use: on PostgreSQL a guard that has waited for a reissue
/// does not see the new certificate, and the CA counts. As a value and no EXISTS: else PostgreSQL may gather all
/// certificates that are ended.
macro_rules! issues_under {
    ($before:literal, $behind:literal) => {
        concat!(
            $before,
            " WHERE profile_id = $1 AND (SELECT c.status = 'EXPIRED' \
             OR (c.status = 'REVOKED' AND c.revocation_reason <> 'CertificateHold') \
             FROM certificate c WHERE c.id = certificate_authority.certificate_id) IS NOT TRUE",
            $behind
        )
    };
}

/// The ids of CAs that issue under this profile by default, at most `limit`.
pub(crate) async fn ids_of_profile(
    db: &Db,
    profile: &ProfileId,
    limit: u32,
) -> Result<Vec<String>, DbError> {
    let rows = db.rows(of_profile(profile, limit)).await?;
    rows.iter().map(|row| row.get("id")).collect()
}

pub(super) fn of_profile(profile: &ProfileId, limit: u32) -> Statement {
    const TEXT: &str = issues_under!(
        "SELECT id FROM certificate_authority",
        " ORDER BY id LIMIT $2"
    );
    sql(TEXT, params![profile.as_str(), limit])
}

/// Lets a write set fail unless no CA issues under the profile by default. It stands behind the deletion of the profile,
/// which waits for those who give a CA this profile at the same time, and so sees what they have stored.
pub(crate) fn guard_unused_profile(set: &mut WriteSet, profile: &ProfileId) {
    const TEXT: &str = issues_under!("UPDATE certificate_authority SET revision = revision", "");
    let statement = sql(TEXT, params![profile.as_str()]);
    set.expect(statement, Expectation::Exactly(0), ABSENT);
}

/// Lets a write set fail unless the certificate is no CA's current one.
pub(crate) fn guard_no_user(set: &mut WriteSet, certificate: &CertificateId) {
    let statement = sql(
        "UPDATE certificate_authority SET revision = revision WHERE certificate_id = $1",
        params![certificate.as_str()],
    );
    set.expect(statement, Expectation::Exactly(0), ABSENT);
}

/// Adds the new level of a CA to a write set.
pub(crate) fn move_to_level(set: &mut WriteSet, stored: &StoredAuthority, level: i32) {
    let statement = sql(
        "UPDATE certificate_authority SET level = $1, revision = revision + 1 \
         WHERE id = $2 AND revision = $3",
        params![level, stored.authority.id.as_str(), stored.revision],
    );
    set.expect_one(statement, UNCHANGED);
}

/// Adds who issued a CA's certificate to a write set. CAs that share it say the same.
pub(crate) fn set_issuer_of_certificate(
    set: &mut WriteSet,
    stored: &StoredAuthority,
    issuer: &IssuerMetadata,
) {
    set.execute(sql(
        "UPDATE certificate SET issuer_ca_id = $1, issuer_serial_number = $2, issuer_level = $3, \
         revision = revision + 1 WHERE id = $4",
        params![
            issuer.id.as_str(),
            issuer.serial_number.as_str(),
            issuer.level,
            stored.certificate_id.as_str(),
        ],
    ));
}
