//! Table `va_role`: how the CRLs of a CA are made, and the newest one.

use lamassu_core::ca::Member;
use lamassu_core::duration::WireDuration;
use lamassu_core::ids::CaId;
use lamassu_core::query::{Field, Hex};
use lamassu_core::timestamp::Timestamp;
use lamassu_core::va::{CrlOptions, CrlShards, LatestCrl, VaRole};
use lamassu_db::list::ListTable;
use lamassu_db::{Check, Db, DbError, Row, Statement, Value, WriteSet, params, sql, sql_of_few};
use time::{Duration, OffsetDateTime};

/// What roles can be filtered and sorted by.
pub static ROLE_FIELDS: &[Field] = &[
    Field::string("ca_ski", "ca_ski").hex(Hex::Octets),
    Field::number("latest_crl.version", "crl_number"),
    Field::date("latest_crl.valid_from", "this_update"),
    Field::date("latest_crl.valid_until", "next_update"),
];

/// How roles are listed.
pub(crate) const ROLES: ListTable = ListTable {
    table: "va_role",
    columns: &[
        "ca_ski",
        "ca_id",
        "refresh_interval",
        "validity",
        "subject_key_id_signer",
        "regenerate_on_revoke",
        "crl_number",
        "this_update",
        "next_update",
        "crl_file",
        "crl_digest",
        "changes",
        "next_due",
        "delta_validity",
        "last_number",
        "covered_at",
        "delta_number",
        "delta_this_update",
        "delta_next_update",
        "delta_file",
        "delta_digest",
        "delta_due",
        "crl_shards",
    ],
    key: "ca_ski",
    created: "created_at",
    fields: ROLE_FIELDS,
};

/// No role has this key identifier yet.
pub(crate) const NO_ROLE: Check = Check::new("VA role");

/// The newest CRL is the one that was read.
pub(crate) const CRL_NUMBER: Check = Check::new("CRL number");

/// The entries of the CA have not changed since they were read.
pub(crate) const CHANGES: Check = Check::new("VA role changes");

/// A role as stored: what the wire shows of it, and what the wire does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredRole {
    pub(crate) role: VaRole,
    /// The CA whose certificates the CRLs are about.
    pub(crate) ca_id: CaId,
    /// The file of the newest CRL.
    pub(crate) file: CrlFile,
    /// How often the entries have changed.
    pub(crate) changes: i64,
    /// When the next CRL must be made.
    pub(crate) next_due: Option<OffsetDateTime>,
    /// Number of the newest CRL, complete or delta.
    pub(crate) last_number: u64,
    /// When the entries of the newest complete CRL were read.
    pub(crate) covered_at: OffsetDateTime,
    /// The newest delta CRL.
    pub(crate) delta: StoredDelta,
}

/// The newest delta CRL of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredDelta {
    pub(crate) crl: LatestCrl,
    pub(crate) file: CrlFile,
    /// When the next one must be made.
    pub(crate) due: Option<OffsetDateTime>,
}

impl StoredDelta {
    /// None yet.
    pub(crate) fn none() -> Self {
        Self {
            crl: LatestCrl {
                version: 0,
                valid_from: Timestamp::ZERO,
                valid_until: Timestamp::ZERO,
            },
            file: CrlFile::default(),
            due: None,
        }
    }
}

/// Whose CRL a certificate belongs on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Issuer {
    /// The CA that issued it.
    pub(crate) ca_id: CaId,
    /// How the certificate names the CA's key, lower-case hex; empty where it does not.
    pub(crate) ski: String,
}

/// Where a CRL is, and what it must be; both empty before the first one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CrlFile {
    /// Its name in the folder of the role.
    pub(crate) name: String,
    /// SHA-256 of the DER, lower-case hex.
    pub(crate) digest: String,
}

impl StoredRole {
    /// How long a delta CRL is valid; `None` where none are made.
    pub(crate) fn delta_validity(&self) -> Option<WireDuration> {
        self.role.crl_options.delta_validity.value().copied()
    }

    /// Number of the newest complete CRL, 0 before the first.
    pub(crate) fn number(&self) -> u64 {
        self.role.latest_crl.version
    }
}

/// Roles as they were read, each by itself, behind their key identifiers.
pub(crate) type RoleReadings = Vec<(String, Result<StoredRole, DbError>)>;

/// The roles that a query finds; `rest` is what follows its `FROM`.
pub(super) async fn by_query(
    db: &Db,
    rest: &str,
    params: Vec<Value>,
) -> Result<RoleReadings, DbError> {
    let columns = ROLES.columns.join(", ");
    let query = sql_of_few(format!("SELECT {columns} FROM va_role {rest}"), params);
    let rows = db.rows(query).await?;
    let named = |row: &Row| Ok((row.get("ca_ski")?, row.read("ca_ski")));
    rows.iter().map(named).collect()
}

/// The role with this key identifier.
pub(crate) async fn by_ski(db: &Db, ski: &str) -> Result<Option<StoredRole>, DbError> {
    let found = by_query(db, "WHERE ca_ski = $1", params![ski]).await?;
    found.into_iter().next().map(|(_, role)| role).transpose()
}

/// The roles whose next CRL is due, the longest overdue first.
pub(crate) async fn due(db: &Db, now: OffsetDateTime, limit: u32) -> Result<RoleReadings, DbError> {
    let rest = "WHERE next_due <= $1 ORDER BY next_due LIMIT $2";
    by_query(db, rest, params![now, limit]).await
}

/// Roles in the order of their key identifiers, behind `after`.
pub(crate) async fn page(db: &Db, after: &str, limit: u32) -> Result<RoleReadings, DbError> {
    let rest = "WHERE ca_ski > $1 ORDER BY ca_ski LIMIT $2";
    by_query(db, rest, params![after, limit]).await
}

/// How the newest CRLs stand, for metrics and for when to look again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overview {
    /// When the first CRL is due.
    pub(crate) next_due: Option<OffsetDateTime>,
    /// When the oldest newest CRL was made.
    pub(crate) oldest: Option<OffsetDateTime>,
    /// When the first newest CRL expires.
    pub(crate) first_expiry: Option<OffsetDateTime>,
}

/// Looks at all roles at once.
pub(crate) async fn overview(db: &Db) -> Result<Overview, DbError> {
    let query = sql(
        "SELECT (SELECT MIN(next_due) FROM va_role WHERE next_due IS NOT NULL) AS next_due, \
         (SELECT MIN(delta_due) FROM va_role WHERE delta_due IS NOT NULL) AS delta_due, \
         MIN(this_update) AS oldest, MIN(next_update) AS first_expiry \
         FROM va_role WHERE crl_number > 0",
        Vec::new(),
    );
    let row = db.row_opt(query).await?;
    let instant = |column| match &row {
        Some(row) => row.get::<Option<OffsetDateTime>>(column),
        None => Ok(None),
    };
    let dues = [instant("next_due")?, instant("delta_due")?];
    Ok(Overview {
        next_due: dues.into_iter().flatten().min(),
        oldest: instant("oldest")?,
        first_expiry: instant("first_expiry")?,
    })
}

/// Adds a role that must not exist yet.
pub(crate) fn insert(set: &mut WriteSet, stored: &StoredRole, now: OffsetDateTime) {
    let StoredRole {
        role,
        ca_id,
        file,
        changes,
        next_due,
        last_number,
        covered_at: _,
        delta: _,
    } = stored;
    let options = &role.crl_options;
    set.expect_one(
        sql(
            "INSERT INTO va_role (ca_ski, ca_id, created_at, refresh_interval, validity, \
             subject_key_id_signer, regenerate_on_revoke, crl_number, this_update, next_update, \
             crl_file, crl_digest, changes, next_due, last_number, delta_validity) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) \
             ON CONFLICT DO NOTHING",
            params![
                &role.ca_ski,
                ca_id.as_str(),
                now,
                options.refresh_interval.as_nanos(),
                options.validity.as_nanos(),
                &options.subject_key_id_signer,
                options.regenerate_on_revoke,
                stored_number(stored.number()),
                role.latest_crl.valid_from.0,
                role.latest_crl.valid_until.0,
                &file.name,
                &file.digest,
                *changes,
                *next_due,
                stored_number(*last_number),
                stored.delta_validity().map(WireDuration::as_nanos),
            ],
        ),
        NO_ROLE,
    );
}

/// How long changes of entries may be missing from the complete CRL of a CA with shards, whose own lists
/// have them at once.
const BESIDE_SHARDS: Duration = Duration::minutes(10);

/// Makes `next` the newest CRL of a role whose newest one is still `previous`. Where there are delta CRLs,
/// changes of entries wait for the next complete one, and for a while where there are shards.
///
/// `previous.changes` is what the new CRL covers: entries that changed since make the one after
/// it due at once. So a burst of changes never keeps a CRL from being stored. Delta CRLs go with the
/// newest complete one, so the next one is due.
pub(crate) fn advance(
    set: &mut WriteSet,
    previous: &StoredRole,
    next: &StoredRole,
    now: OffsetDateTime,
) {
    set.expect_one(
        sql(
            "UPDATE va_role SET crl_number = $1, this_update = $2, next_update = $3, \
             crl_file = $4, crl_digest = $5, last_number = $1, covered_at = $11, \
             crl_imported = FALSE, next_due = CASE \
             WHEN changes = $6 OR NOT regenerate_on_revoke OR delta_validity IS NOT NULL THEN $8 \
             WHEN crl_shards IS NULL THEN CAST($7 AS BIGINT) \
             WHEN $8 > CAST($13 AS BIGINT) THEN CAST($13 AS BIGINT) ELSE $8 END, \
             delta_due = CASE WHEN delta_validity IS NULL THEN NULL ELSE CAST($7 AS BIGINT) END \
             WHERE ca_ski = $9 AND crl_number = $10 AND last_number = $12",
            params![
                stored_number(next.number()),
                next.role.latest_crl.valid_from.0,
                next.role.latest_crl.valid_until.0,
                &next.file.name,
                &next.file.digest,
                previous.changes,
                now,
                next.next_due,
                &next.role.ca_ski,
                stored_number(previous.number()),
                next.covered_at,
                stored_number(previous.last_number),
                now.saturating_add(BESIDE_SHARDS),
            ],
        ),
        CRL_NUMBER,
    );
}

/// Replaces the options of a role, and says when the next CRLs are due by them.
pub(crate) fn set_options(set: &mut WriteSet, stored: &StoredRole) {
    let options = &stored.role.crl_options;
    set.expect_one(
        sql(
            "UPDATE va_role SET refresh_interval = $1, validity = $2, \
             subject_key_id_signer = $3, regenerate_on_revoke = $4, delta_validity = $5, \
             next_due = $6, delta_due = $7 WHERE ca_ski = $8 AND last_number = $9",
            params![
                options.refresh_interval.as_nanos(),
                options.validity.as_nanos(),
                &options.subject_key_id_signer,
                options.regenerate_on_revoke,
                stored.delta_validity().map(WireDuration::as_nanos),
                stored.next_due,
                stored.delta.due,
                &stored.role.ca_ski,
                stored_number(stored.last_number),
            ],
        ),
        CRL_NUMBER,
    );
}

/// How a change of entries is noted: `$1` is now, `$2` a while later. The CRL after one that was made
/// elsewhere is made there, too.
macro_rules! note_change {
    ($condition:literal) => {
        concat!(
            "UPDATE va_role SET changes = changes + 1, next_due = CASE \
             WHEN crl_number = 0 OR crl_imported OR NOT regenerate_on_revoke \
             OR delta_validity IS NOT NULL THEN next_due \
             WHEN crl_shards IS NULL THEN CAST($1 AS BIGINT) \
             WHEN next_due > CAST($2 AS BIGINT) THEN CAST($2 AS BIGINT) ELSE next_due END, \
             delta_due = CASE WHEN crl_number > 0 AND NOT crl_imported \
             AND regenerate_on_revoke AND delta_validity IS NOT NULL \
             THEN CAST($1 AS BIGINT) ELSE delta_due END ",
            $condition
        )
    };
}

/// Notes that entries of an issuer's CRL changed; the next one is due if the role wants it at once.
/// The role is that of the CA, or of one that shares its key.
pub(crate) fn entries_changed(issuer: &Issuer, now: OffsetDateTime) -> Statement {
    sql(
        note_change!("WHERE ca_id = $3 OR ca_ski = $4"),
        params![
            now,
            now.saturating_add(BESIDE_SHARDS),
            issuer.ca_id.as_str(),
            &issuer.ski,
        ],
    )
}

/// Notes it of one role, if nobody else changed the entries since it was read.
pub(crate) fn entries_changed_since(
    set: &mut WriteSet,
    ski: &str,
    changes: i64,
    now: OffsetDateTime,
) {
    set.expect_one(
        sql(
            note_change!("WHERE ca_ski = $3 AND changes = $4"),
            params![now, now.saturating_add(BESIDE_SHARDS), ski, changes],
        ),
        CHANGES,
    );
}

/// Puts the next attempt off; for good where nobody says until when.
pub(crate) fn postpone(ski: &str, until: Option<OffsetDateTime>) -> Statement {
    sql(
        "UPDATE va_role SET next_due = $1 WHERE ca_ski = $2",
        params![until, ski],
    )
}

/// Notes that the newest CRL was made elsewhere: none is due, nor a delta CRL.
pub(crate) fn imported(ski: &str) -> Statement {
    sql(
        "UPDATE va_role SET crl_imported = TRUE, next_due = NULL, delta_due = NULL \
         WHERE ca_ski = $1",
        params![ski],
    )
}

/// Makes the next CRL due at once where none is ever due: there is a CA again that may sign it.
pub(crate) fn revive(ski: &str, now: OffsetDateTime) -> Statement {
    sql(
        "UPDATE va_role SET next_due = $1 WHERE ca_ski = $2 AND next_due IS NULL",
        params![now, ski],
    )
}

/// Makes the first CRL due wherever there is none and none is due.
pub(crate) fn make_first_due(now: OffsetDateTime) -> Statement {
    sql(
        "UPDATE va_role SET next_due = $1 WHERE crl_number = 0 AND next_due IS NULL",
        params![now],
    )
}

/// Makes the next CRL due wherever the newest one has a number below `number`.
pub(crate) fn make_due_below(number: u64, now: OffsetDateTime) -> Statement {
    sql(
        "UPDATE va_role SET next_due = $1 WHERE crl_number > 0 AND crl_number < $2 \
         AND NOT crl_imported",
        params![now, stored_number(number)],
    )
}

impl TryFrom<&Row> for StoredRole {
    type Error = DbError;

    fn try_from(row: &Row) -> Result<Self, DbError> {
        let duration = |column| row.get(column).map(WireDuration::from_nanos);
        let instant = |column| row.get(column).map(Timestamp);
        let shards = row.get::<Option<u32>>("crl_shards")?;
        let shards = shards.map(CrlShards::try_from).transpose();
        Ok(Self {
            role: VaRole {
                ca_ski: row.get("ca_ski")?,
                crl_options: CrlOptions {
                    refresh_interval: duration("refresh_interval")?,
                    validity: duration("validity")?,
                    subject_key_id_signer: row.get("subject_key_id_signer")?,
                    regenerate_on_revoke: row.get("regenerate_on_revoke")?,
                    delta_validity: row
                        .get::<Option<i64>>("delta_validity")?
                        .map_or(Member::Unsaid, |nanos| {
                            Member::Set(WireDuration::from_nanos(nanos))
                        }),
                },
                latest_crl: LatestCrl {
                    version: row.get("crl_number")?,
                    valid_from: instant("this_update")?,
                    valid_until: instant("next_update")?,
                },
                crl_shards: shards.map_err(|_| DbError::corrupt("crl_shards", "no number"))?,
            },
            ca_id: CaId::new(row.get::<String>("ca_id")?),
            file: CrlFile {
                name: row.get("crl_file")?,
                digest: row.get("crl_digest")?,
            },
            changes: row.get("changes")?,
            next_due: row.get("next_due")?,
            last_number: row.get("last_number")?,
            covered_at: row.get("covered_at")?,
            delta: StoredDelta {
                crl: LatestCrl {
                    version: row.get("delta_number")?,
                    valid_from: instant("delta_this_update")?,
                    valid_until: instant("delta_next_update")?,
                },
                file: CrlFile {
                    name: row.get("delta_file")?,
                    digest: row.get("delta_digest")?,
                },
                due: row.get("delta_due")?,
            },
        })
    }
}

/// A number as a `BIGINT`: CRL numbers grow by one, from microseconds since 1970 after a restore, so
/// the largest is never reached.
pub(super) fn stored_number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
