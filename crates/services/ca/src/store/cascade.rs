//! Changes that go from a CA to what is below it, and which certificates they concern next.

use lamassu_core::ca::{JobKind, JobStatus};
use lamassu_core::ids::CaId;
use lamassu_db::{Check, Db, DbError, Row, WriteSet, instant, params, sql};
use time::OffsetDateTime;

use super::certificate::{CertificateId, StoredCertificate, certificate_columns};
use super::named;

/// The cascade is as it was read: nobody else went on with it, and no other one took its place.
pub(crate) const PROGRESS: Check = Check::new("cascade progress");

/// The cascade's id is free.
const FREE: Check = Check::new("cascade id is free");

/// What goes down from a CA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Everything below is revoked.
    Revoke,
    /// Everything below is held, because of the CA.
    Hold,
    /// What is held because of the CA is released.
    Release,
    /// The CA is deleted: its certificate and everything below is revoked, its key destroyed.
    Retire,
    /// The CA is new: certificates that it issued and nobody could place are its own now, and those of a deleted
    /// CA of its id are not.
    Adopt,
}

impl Kind {
    const ALL: [Self; 5] = [
        Self::Revoke,
        Self::Hold,
        Self::Release,
        Self::Retire,
        Self::Adopt,
    ];

    /// As stored, and as jobs are called.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Revoke => JobKind::CascadeRevoke.name(),
            Self::Hold => JobKind::CascadeHold.name(),
            Self::Release => JobKind::CascadeRelease.name(),
            Self::Retire => JobKind::DeleteCa.name(),
            // Seen by nobody: a certificate without issuer is nothing that waits.
            Self::Adopt => "ADOPT",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A cascade that is not finished.
#[derive(Clone, Debug)]
pub(crate) struct StoredCascade {
    pub(crate) id: String,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) kind: Kind,
    pub(crate) ca: CaId,
    /// The CA's own certificate when it began.
    pub(crate) certificate: CertificateId,
    /// What that certificate calls its key.
    pub(crate) subject_key_id: String,
    /// The last certificate that was looked at.
    pub(crate) position: String,
    /// How many certificates were changed.
    pub(crate) done: i64,
}

/// How far the last CRL of a deleted CA is: the position of its cascade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FinalCrl {
    /// There was no need yet, or is none.
    NotAsked,
    /// The validation authority is asked for it.
    Asked {
        /// Since when.
        since: OffsetDateTime,
        /// When the last certificate of the CA ends.
        last_end: OffsetDateTime,
    },
    /// It is made, or never will be.
    Settled,
}

impl FinalCrl {
    const SETTLED: &'static str = "settled";

    /// What the position of a retirement says.
    pub(crate) fn of(cascade: &StoredCascade) -> Self {
        let instant = |text: &str| instant::from_micros(text.parse().ok()?);
        let asked = cascade.position.split_once(' ').and_then(|(since, end)| {
            Some(Self::Asked {
                since: instant(since)?,
                last_end: instant(end)?,
            })
        });
        match cascade.position.as_str() {
            Self::SETTLED => Self::Settled,
            _ => asked.unwrap_or(Self::NotAsked),
        }
    }

    /// As it is stored.
    pub(crate) fn position(self) -> String {
        match self {
            Self::NotAsked => String::new(),
            Self::Asked { since, last_end } => {
                let [since, last_end] = [since, last_end].map(instant::to_micros);
                format!("{since} {last_end}")
            }
            Self::Settled => Self::SETTLED.to_owned(),
        }
    }
}

impl TryFrom<&Row> for StoredCascade {
    type Error = DbError;

    fn try_from(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.get("id")?,
            created_at: row.get("created_at")?,
            kind: named(row, "kind", Kind::from_name)?,
            ca: row.get::<String>("ca_id")?.into(),
            certificate: CertificateId::of_row(row, "certificate_id")?,
            subject_key_id: row.get("subject_key_id")?,
            position: row.get("position")?,
            done: row.get("done")?,
        })
    }
}

/// Adds a new cascade to what a write set changes.
pub(crate) fn insert(set: &mut WriteSet, cascade: &StoredCascade) {
    let statement = sql(
        "INSERT INTO ca_cascade \
         (id, created_at, kind, ca_id, certificate_id, subject_key_id, position, done, status, \
         total, failed, error) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, 0, '') ON CONFLICT DO NOTHING",
        params![
            cascade.id.as_str(),
            cascade.created_at,
            cascade.kind.name(),
            cascade.ca.as_str(),
            cascade.certificate.as_str(),
            cascade.subject_key_id.as_str(),
            cascade.position.as_str(),
            cascade.done,
            JobStatus::Running.name(),
        ],
    );
    set.expect_one(statement, FREE);
}

/// Ends the holds and releases of a CA that are under way: another status takes their place.
pub(crate) fn supersede(set: &mut WriteSet, ca: &CaId, now: OffsetDateTime) {
    set.execute(sql(
        "UPDATE ca_cascade SET finished_at = $1, status = $2 \
         WHERE ca_id = $3 AND kind IN ($4, $5) AND finished_at IS NULL",
        params![
            now,
            JobStatus::Done.name(),
            ca.as_str(),
            Kind::Hold.name(),
            Kind::Release.name()
        ],
    ));
}

/// Adds to a write set how far a cascade has come with it.
pub(crate) fn advance(set: &mut WriteSet, cascade: &StoredCascade, n_changed: i64, position: &str) {
    let statement = sql(
        "UPDATE ca_cascade SET done = done + $1, position = $2 \
         WHERE id = $3 AND done = $4 AND position = $5 AND finished_at IS NULL",
        params![
            n_changed,
            position,
            cascade.id.as_str(),
            cascade.done,
            cascade.position.as_str()
        ],
    );
    set.expect_one(statement, PROGRESS);
}

/// Adds the end of a cascade to a write set.
pub(crate) fn finish(set: &mut WriteSet, cascade: &StoredCascade, now: OffsetDateTime) {
    set.execute(sql(
        "UPDATE ca_cascade SET finished_at = $1, status = $2 WHERE id = $3 AND finished_at IS NULL",
        params![now, JobStatus::Done.name(), cascade.id.as_str()],
    ));
}

/// Adds to a write set how many certificates a cascade is about, as far as can be told now.
pub(crate) fn set_total(set: &mut WriteSet, id: &str, total: i64) {
    set.execute(sql(
        "UPDATE ca_cascade SET total = $1 WHERE id = $2",
        params![total, id],
    ));
}

/// Removes what ended before this.
pub(crate) fn remove_finished(set: &mut WriteSet, before: OffsetDateTime) {
    set.execute(sql(
        "DELETE FROM ca_cascade WHERE finished_at IS NOT NULL AND finished_at < $1",
        params![before],
    ));
}

/// The cascade of this id, unless it is finished.
pub(crate) async fn open_by_id(db: &Db, id: &str) -> Result<Option<StoredCascade>, DbError> {
    let query = sql(
        "SELECT id, created_at, kind, ca_id, certificate_id, subject_key_id, position, done \
         FROM ca_cascade WHERE id = $1 AND finished_at IS NULL",
        params![id],
    );
    let row = db.row_opt(query).await?;
    row.as_ref().map(StoredCascade::try_from).transpose()
}

/// A place in the order of cascades: when one began, and its id.
pub(crate) type Place = (OffsetDateTime, String);

/// Cascades that are not finished, oldest first, behind one of them.
pub(crate) async fn open(
    db: &Db,
    after: Option<&Place>,
    limit: u32,
) -> Result<Vec<Place>, DbError> {
    let begin = (OffsetDateTime::UNIX_EPOCH, "");
    let (created_at, id) = after.map_or(begin, |(created_at, id)| (*created_at, id.as_str()));
    let query = sql(
        "SELECT id, created_at FROM ca_cascade \
         WHERE finished_at IS NULL AND (created_at, id) > ($1, $2) \
         ORDER BY created_at, id LIMIT $3",
        params![created_at, id, limit],
    );
    let rows = db.rows(query).await?;
    rows.iter()
        .map(|row| Ok((row.get("created_at")?, row.get("id")?)))
        .collect()
}

/// Retirements that wait for the last CRL of their CA, oldest first.
pub(crate) async fn waiting_for_crl(db: &Db) -> Result<Vec<StoredCascade>, DbError> {
    let query = sql(
        "SELECT id, created_at, kind, ca_id, certificate_id, subject_key_id, position, done \
         FROM ca_cascade WHERE finished_at IS NULL AND kind = $1 AND position NOT IN ('', $2) \
         ORDER BY created_at, id LIMIT 1000",
        params![Kind::Retire.name(), FinalCrl::SETTLED],
    );
    let rows = db.rows(query).await?;
    rows.iter().map(StoredCascade::try_from).collect()
}

/// When the last certificate ends that the CA of a retirement issued.
pub(crate) async fn last_end(
    db: &Db,
    cascade: &StoredCascade,
) -> Result<Option<OffsetDateTime>, DbError> {
    let query = sql(
        "SELECT MAX(valid_to) AS last_end FROM certificate \
         WHERE issuer_ca_id = $1 AND created_at <= $2 AND id <> $3",
        params![
            cascade.ca.as_str(),
            cascade.created_at,
            cascade.certificate.as_str()
        ],
    );
    let row = db.row_opt(query).await?;
    row.map_or(Ok(None), |row| row.get("last_end"))
}

/// That a certificate, by this alias, was issued by a CA that is here or was, and is the cascade's: issued in the
/// CA's name before the cascade began, and not adopted by another CA that has the id since then.
///
/// A CA may have the mark of unknown issuers for its id, from the time when that was not refused: what has no
/// level was issued by nobody who is here.
macro_rules! concerned {
    ($alias:literal) => {
        concat!(
            $alias,
            "issuer_level >= 0 AND (",
            $alias,
            "issuer_ca_id <> $2 OR (",
            $alias,
            "created_at <= $3 AND ",
            $alias,
            "issuer_serial_number NOT IN (\
             SELECT s.serial_number FROM certificate_authority n \
             JOIN certificate s ON s.id = n.certificate_id \
             WHERE n.id = $2 AND n.created_at > $3 AND s.id <> $4)))"
        )
    };
}

/// What precedes the condition on certificates below a CA, and the condition that they are.
///
/// The CAs below are found from the cascade's row.
macro_rules! below {
    ($columns:expr, $sort:literal) => {
        concat!(
            "WITH RECURSIVE below(id) AS ( \
             SELECT ca_id FROM ca_cascade WHERE id = $1 \
             UNION \
             SELECT a.id FROM below b \
             JOIN certificate c ON c.issuer_ca_id = b.id \
             JOIN certificate_authority a ON a.certificate_id = c.id \
             WHERE c.is_ca AND ",
            concerned!("c."),
            ") SELECT ",
            $columns,
            " FROM certificate WHERE issuer_ca_id IN (SELECT id FROM below) AND id <> $4 AND ",
            concerned!("certificate."),
            " AND ",
            $sort
        )
    };
}

/// Which certificates below a CA are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// Those of CAs that are in use.
    Authorities,
    /// All that are in use.
    InUse,
    /// Those on hold.
    OnHold,
}

/// The next certificates below a CA that a cascade concerns.
pub(crate) async fn below(
    db: &Db,
    cascade: &StoredCascade,
    sort: Sort,
    limit: u32,
) -> Result<Vec<StoredCertificate>, DbError> {
    const AUTHORITIES: &str = below!(
        certificate_columns!(),
        "is_ca AND status IN ('ACTIVE', 'INACTIVE') LIMIT $5"
    );
    const IN_USE: &str = below!(
        certificate_columns!(),
        "status IN ('ACTIVE', 'INACTIVE') LIMIT $5"
    );
    const ON_HOLD: &str = below!(
        certificate_columns!(),
        "status = 'REVOKED' AND revocation_reason = 'CertificateHold' LIMIT $5"
    );
    let text = match sort {
        Sort::Authorities => AUTHORITIES,
        Sort::InUse => IN_USE,
        Sort::OnHold => ON_HOLD,
    };
    let query = sql(
        text,
        params![
            cascade.id.as_str(),
            cascade.ca.as_str(),
            cascade.created_at,
            cascade.certificate.as_str(),
            limit
        ],
    );
    readable_first(&db.rows(query).await?, |_| true)
}

/// Certificates that can be read and are `meant`, as long as there are any: one that cannot holds up no other, and the
/// cascade is not finished while it is there.
fn readable_first(
    rows: &[Row],
    meant: impl Fn(&StoredCertificate) -> bool,
) -> Result<Vec<StoredCertificate>, DbError> {
    let (mut found, mut unread) = (Vec::new(), None);
    for row in rows {
        match row.read("id") {
            Ok(stored) if meant(&stored) => found.push(stored),
            Ok(_) => {}
            Err(error) => unread = Some(error),
        }
    }
    match unread {
        Some(error) if found.is_empty() => Err(error),
        Some(_) | None => Ok(found),
    }
}

/// Whether a CA of this id is deleted, and something is still to do for that.
pub(crate) async fn is_retiring(db: &Db, ca: &CaId) -> Result<bool, DbError> {
    let query = sql(
        "SELECT id FROM ca_cascade WHERE ca_id = $1 AND kind = $2 AND finished_at IS NULL LIMIT 1",
        params![ca.as_str(), Kind::Retire.name()],
    );
    Ok(db.row_opt(query).await?.is_some())
}

/// The next certificates that were issued under the id of the CA of a cascade, but by another CA before it. What
/// this one has adopted names its certificate or its key.
pub(crate) async fn of_predecessor(
    db: &Db,
    cascade: &StoredCascade,
    own: &StoredCertificate,
    limit: u32,
) -> Result<Vec<CertificateId>, DbError> {
    let query = sql(
        "SELECT id FROM certificate WHERE issuer_ca_id = $1 AND created_at <= $2 \
         AND issuer_serial_number <> $3 AND authority_key_id <> $4 AND id <> $5 LIMIT $6",
        params![
            cascade.ca.as_str(),
            cascade.created_at,
            own.certificate.serial_number.as_str(),
            cascade.subject_key_id.as_str(),
            own.id.as_str(),
            limit
        ],
    );
    let rows = db.rows(query).await?;
    rows.iter()
        .map(|row| CertificateId::of_row(row, "id"))
        .collect()
}

/// Certificates of CAs that call their key as the CA of a cascade does and have the same issuer, are no CA's now, and
/// are `meant`.
pub(crate) async fn former(
    db: &Db,
    cascade: &StoredCascade,
    own: &StoredCertificate,
    meant: impl Fn(&StoredCertificate) -> bool,
) -> Result<Vec<StoredCertificate>, DbError> {
    const TEXT: &str = concat!(
        "SELECT ",
        certificate_columns!(),
        " FROM certificate WHERE subject_key_id = $1 AND issuer_ca_id = $2 AND is_ca \
         AND created_at <= $3 AND id <> $4 AND NOT EXISTS (\
         SELECT 1 FROM certificate_authority a WHERE a.certificate_id = certificate.id) \
         ORDER BY id"
    );
    let query = sql(
        TEXT,
        params![
            cascade.subject_key_id.as_str(),
            own.certificate.issuer_metadata.id.as_str(),
            cascade.created_at,
            own.id.as_str()
        ],
    );
    readable_first(&db.rows(query).await?, meant)
}

/// How many certificates a cascade has still to do, those on hold left out; one query.
pub(crate) async fn count_left(db: &Db, cascade: &StoredCascade) -> Result<i64, DbError> {
    const BELOW: &str = below!("COUNT(*) AS n", "status IN ('ACTIVE', 'INACTIVE')");
    const HELD: &str = "SELECT COUNT(*) AS n FROM certificate WHERE held_by = $1";
    let query = match cascade.kind {
        Kind::Release => sql(HELD, params![cascade.ca.as_str()]),
        Kind::Revoke | Kind::Hold | Kind::Retire | Kind::Adopt => sql(
            BELOW,
            params![
                cascade.id.as_str(),
                cascade.ca.as_str(),
                cascade.created_at,
                cascade.certificate.as_str()
            ],
        ),
    };
    let row = db.row_opt(query).await?;
    row.map_or(Ok(0), |row| row.get("n"))
}

/// Certificates that are on hold because of this CA: those of CAs first, the highest ones first.
pub(crate) async fn held_by(
    db: &Db,
    ca: &CaId,
    limit: u32,
) -> Result<Vec<StoredCertificate>, DbError> {
    const AUTHORITIES: &str = concat!(
        "SELECT ",
        certificate_columns!(),
        " FROM certificate WHERE held_by = $1 AND is_ca ORDER BY issuer_level, id LIMIT $2"
    );
    const REST: &str = concat!(
        "SELECT ",
        certificate_columns!(),
        " FROM certificate WHERE held_by = $1 ORDER BY id LIMIT $2"
    );
    let mut unread = None;
    for text in [AUTHORITIES, REST] {
        let rows = db.rows(sql(text, params![ca.as_str(), limit])).await?;
        match readable_first(&rows, |_| true) {
            Ok(held) if held.is_empty() => {}
            Ok(held) => return Ok(held),
            Err(error) => unread = Some(error),
        }
    }
    unread.map_or(Ok(Vec::new()), Err)
}

/// Why certificates of a CA stay on hold: the CA is.
#[derive(Clone, Debug)]
pub(crate) struct HeldIssuer {
    pub(crate) ca: CaId,
    /// Whose hold it is: another CA's, or its own.
    pub(crate) cause: CaId,
}

/// The CAs on hold among the issuers of what is on hold because of this CA.
pub(crate) async fn held_issuers(db: &Db, ca: &CaId) -> Result<Vec<HeldIssuer>, DbError> {
    let query = sql(
        "SELECT a.id AS id, c.held_by AS held_by FROM certificate_authority a \
         JOIN certificate c ON c.id = a.certificate_id \
         WHERE c.status = 'REVOKED' AND c.revocation_reason = 'CertificateHold' \
         AND (c.held_by IS NULL OR c.held_by <> $1)",
        params![ca.as_str()],
    );
    let rows = db.rows(query).await?;
    rows.iter()
        .map(|row| {
            let ca: CaId = row.get::<String>("id")?.into();
            let cause: Option<String> = row.get("held_by")?;
            Ok(HeldIssuer {
                cause: cause.map_or_else(|| ca.clone(), CaId::from),
                ca,
            })
        })
        .collect()
}

/// Adds to a write set whose hold a certificate is on.
pub(crate) fn set_held_by(set: &mut WriteSet, certificate: &CertificateId, cause: Option<&CaId>) {
    set.execute(sql(
        "UPDATE certificate SET held_by = $1 WHERE id = $2",
        params![cause.map(|id| id.as_str().to_owned()), certificate.as_str()],
    ));
}
