//! Table `va_shard`: the newest CRLs of shards.

use lamassu_core::timestamp::Timestamp;
use lamassu_core::va::{Bucket, CrlShard, CrlShards, LatestCrl};
use lamassu_db::{Check, Db, DbError, Row, Statement, Value, WriteSet, params, sql, sql_of_few};
use time::{Duration, OffsetDateTime};

use super::role::{CrlFile, Issuer, stored_number};

/// The newest CRL of the shard is the one that was read.
pub(crate) const SHARD_NUMBER: Check = Check::new("CRL number of a shard");

/// A shard as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredShard {
    pub(crate) ca_ski: String,
    pub(crate) shard: CrlShard,
    /// The newest CRL.
    pub(crate) crl: LatestCrl,
    pub(crate) file: CrlFile,
    /// How often the entries have changed.
    pub(crate) changes: i64,
    /// When the next CRL must be made.
    pub(crate) next_due: Option<OffsetDateTime>,
}

/// What precedes the condition of every read.
macro_rules! select_shard {
    ($rest:literal) => {
        concat!(
            "SELECT ca_ski, n_shards, part, crl_number, this_update, next_update, crl_file, \
             crl_digest, changes, next_due FROM va_shard ",
            $rest
        )
    };
}

/// Adds the shards of a CA that are not there yet, and notes how many it has.
pub(crate) fn ensure(
    set: &mut WriteSet,
    ski: &str,
    shards: CrlShards,
    next_due: Option<OffsetDateTime>,
) {
    let n = u32::from(shards);
    set.execute(sql(
        "WITH RECURSIVE parts (part) AS (SELECT CAST(0 AS BIGINT) UNION ALL \
         SELECT part + 1 FROM parts WHERE part + 1 < $1) \
         INSERT INTO va_shard (ca_ski, n_shards, part, next_due) \
         SELECT CAST($2 AS TEXT), CAST($1 AS BIGINT), part, CAST($3 AS BIGINT) FROM parts \
         WHERE true ON CONFLICT DO NOTHING",
        params![n, ski, next_due],
    ));
    set.execute(sql(
        "UPDATE va_role SET crl_shards = $1 WHERE ca_ski = $2",
        params![n, ski],
    ));
}

/// Whether a CA has so many shards already.
pub(crate) async fn has(db: &Db, ski: &str, shards: CrlShards) -> Result<bool, DbError> {
    let query = sql(
        "SELECT crl_shards FROM va_role WHERE ca_ski = $1 AND crl_shards = $2",
        params![ski, u32::from(shards)],
    );
    Ok(db.row_opt(query).await?.is_some())
}

/// One shard.
pub(crate) async fn by_name(
    db: &Db,
    ski: &str,
    shard: CrlShard,
) -> Result<Option<StoredShard>, DbError> {
    const TEXT: &str = select_shard!("WHERE ca_ski = $1 AND n_shards = $2 AND part = $3");
    let query = sql(TEXT, params![ski, u32::from(shard.of()), shard.part()]);
    let row = db.row_opt(query).await?;
    row.as_ref().map(StoredShard::try_from).transpose()
}

/// All shards of a CA.
pub(crate) async fn of_role(db: &Db, ski: &str) -> Result<Vec<StoredShard>, DbError> {
    const TEXT: &str = select_shard!("WHERE ca_ski = $1 ORDER BY n_shards, part");
    let rows = db.rows(sql(TEXT, params![ski])).await?;
    rows.iter().map(StoredShard::try_from).collect()
}

/// Which row it is, whether or not it names a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShardKey {
    ca_ski: String,
    n_shards: i64,
    part: i64,
}

/// The shards whose next CRL is due, each read by itself, the longest overdue first.
pub(crate) async fn due(
    db: &Db,
    now: OffsetDateTime,
    limit: u32,
) -> Result<Vec<(ShardKey, Result<StoredShard, DbError>)>, DbError> {
    const TEXT: &str = select_shard!("WHERE next_due <= $1 ORDER BY next_due LIMIT $2");
    let rows = db.rows(sql(TEXT, params![now, limit])).await?;
    let named = |row: &Row| {
        let key = ShardKey {
            ca_ski: row.get("ca_ski")?,
            n_shards: row.get("n_shards")?,
            part: row.get("part")?,
        };
        Ok((key, row.read("ca_ski")))
    };
    rows.iter().map(named).collect()
}

/// Puts the next attempt for one shard off.
pub(crate) fn postpone(key: &ShardKey, until: OffsetDateTime) -> Statement {
    sql(
        "UPDATE va_shard SET next_due = $1 WHERE ca_ski = $2 AND n_shards = $3 AND part = $4",
        params![until, &key.ca_ski, key.n_shards, key.part],
    )
}

/// How the newest CRLs stand, for metrics and for when to look again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShardOverview {
    /// How many shards have one.
    pub(crate) count: u64,
    /// When the first CRL is due.
    pub(crate) next_due: Option<OffsetDateTime>,
    /// When the first newest CRL expires.
    pub(crate) first_expiry: Option<OffsetDateTime>,
}

/// Looks at all shards at once, in indexes: it is asked after every revocation.
pub(crate) async fn overview(db: &Db) -> Result<ShardOverview, DbError> {
    let query = overview_of_all();
    let row = db.row_opt(query).await?;
    let instant = |column| match &row {
        Some(row) => row.get::<Option<OffsetDateTime>>(column),
        None => Ok(None),
    };
    Ok(ShardOverview {
        count: row.as_ref().map_or(Ok(0), |row| row.get("n"))?,
        next_due: instant("next_due")?,
        first_expiry: instant("first_expiry")?,
    })
}

fn overview_of_all() -> Statement {
    sql(
        "SELECT (SELECT MIN(next_due) FROM va_shard WHERE next_due IS NOT NULL) AS next_due, \
         (SELECT MIN(next_update) FROM va_shard WHERE crl_number > 0) AS first_expiry, \
         (SELECT COUNT(*) FROM va_shard WHERE crl_number > 0) AS n",
        Vec::new(),
    )
}

/// Makes `next` the newest CRL of a shard whose newest one is still `previous`. `previous.changes` is
/// what it covers, as for complete CRLs.
pub(crate) fn advance(
    set: &mut WriteSet,
    previous: &StoredShard,
    next: &StoredShard,
    now: OffsetDateTime,
) {
    set.expect_one(
        sql(
            "UPDATE va_shard SET crl_number = $1, this_update = $2, next_update = $3, \
             crl_file = $4, crl_digest = $5, next_due = CASE WHEN changes <> $6 AND \
             (SELECT regenerate_on_revoke FROM va_role WHERE va_role.ca_ski = va_shard.ca_ski) \
             THEN CAST($7 AS BIGINT) ELSE $8 END \
             WHERE ca_ski = $9 AND n_shards = $10 AND part = $11 AND crl_number = $12",
            params![
                stored_number(next.crl.version),
                next.crl.valid_from.0,
                next.crl.valid_until.0,
                &next.file.name,
                &next.file.digest,
                previous.changes,
                now,
                next.next_due,
                &next.ca_ski,
                u32::from(next.shard.of()),
                next.shard.part(),
                stored_number(previous.crl.version),
            ],
        ),
        SHARD_NUMBER,
    );
}

/// Notes that entries of an issuer in these buckets changed; the next CRLs of their shards are due if
/// the role wants them at once. Nothing where there are no shards.
pub(crate) fn entries_changed(
    issuer: &Issuer,
    buckets: impl Iterator<Item = Bucket>,
    now: OffsetDateTime,
) -> Statement {
    let mut values: Vec<Value> = params![now, issuer.ca_id.as_str(), &issuer.ski];
    let mut places = Vec::new();
    for Bucket(bucket) in buckets {
        values.push(i64::from(bucket).into());
        places.push(format!("(CAST(${} AS BIGINT))", values.len()));
    }
    let text = format!(
        "WITH changed (bucket) AS (VALUES {}) \
         UPDATE va_shard SET changes = changes + 1, next_due = CASE WHEN crl_number > 0 AND \
         (SELECT regenerate_on_revoke FROM va_role WHERE va_role.ca_ski = va_shard.ca_ski) \
         THEN $1 ELSE next_due END WHERE (ca_ski, n_shards, part) IN \
         (SELECT s.ca_ski, s.n_shards, changed.bucket * s.n_shards / 65536 \
         FROM va_shard s CROSS JOIN changed WHERE s.part = 0 AND s.ca_ski IN \
         (SELECT ca_ski FROM va_role WHERE ca_id = $2 OR ca_ski = $3))",
        places.join(", ")
    );
    sql_of_few(text, values)
}

/// Puts off what is due of a CA, shards without any CRL and others; for good where nobody says until when.
pub(crate) fn put_off(
    ski: &str,
    first: Option<OffsetDateTime>,
    next: Option<OffsetDateTime>,
    now: OffsetDateTime,
) -> Statement {
    sql(
        "UPDATE va_shard SET next_due = CASE WHEN crl_number = 0 THEN CAST($1 AS BIGINT) \
         ELSE CAST($2 AS BIGINT) END WHERE ca_ski = $3 AND next_due <= $4",
        params![first, next, ski, now],
    )
}

/// Makes the next CRLs due at once where none are ever due: there is a CA again that may sign them.
pub(crate) fn revive(ski: &str, now: OffsetDateTime) -> Statement {
    sql(
        "UPDATE va_shard SET next_due = $1 WHERE ca_ski = $2 AND next_due IS NULL",
        params![now, ski],
    )
}

/// Makes the next CRLs of a CA due by a new interval, if they are due by time only.
pub(crate) fn reschedule(ski: &str, interval: Duration, now: OffsetDateTime) -> Statement {
    let micros = i64::try_from(interval.whole_microseconds()).unwrap_or(i64::MAX / 2);
    sql(
        "UPDATE va_shard SET next_due = this_update + $1 \
         WHERE ca_ski = $2 AND crl_number > 0 AND next_due > $3",
        params![micros, ski, now],
    )
}

/// Makes the first CRL due wherever there is none and none is due.
pub(crate) fn make_first_due(now: OffsetDateTime) -> Statement {
    sql(
        "UPDATE va_shard SET next_due = $1 WHERE crl_number = 0 AND next_due IS NULL",
        params![now],
    )
}

/// Makes the next CRL due wherever the newest one has a number below `number`.
pub(crate) fn make_due_below(number: u64, now: OffsetDateTime) -> Statement {
    sql(
        "UPDATE va_shard SET next_due = $1 WHERE crl_number > 0 AND crl_number < $2",
        params![now, stored_number(number)],
    )
}

impl TryFrom<&Row> for StoredShard {
    type Error = DbError;

    fn try_from(row: &Row) -> Result<Self, DbError> {
        let of = CrlShards::try_from(row.get::<u32>("n_shards")?);
        let shard = of.ok().zip(Some(row.get::<u32>("part")?));
        let shard = shard.and_then(|(of, part)| CrlShard::at(part, of));
        Ok(Self {
            ca_ski: row.get("ca_ski")?,
            shard: shard.ok_or_else(|| DbError::corrupt("part", "no shard"))?,
            crl: LatestCrl {
                version: row.get("crl_number")?,
                valid_from: Timestamp(row.get("this_update")?),
                valid_until: Timestamp(row.get("next_update")?),
            },
            file: CrlFile {
                name: row.get("crl_file")?,
                digest: row.get("crl_digest")?,
            },
            changes: row.get("changes")?,
            next_due: row.get("next_due")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lamassu_core::clock::SystemClock;
    use lamassu_core::va::CrlShards;
    use lamassu_db::list::explain_statement;
    use lamassu_db::{WriteSet, params, sql};
    use lamassu_testing::TestDatabase;
    use time::OffsetDateTime;

    use super::{ensure, overview, overview_of_all};
    use crate::store::SCHEMA;

    #[tokio::test]
    async fn all_shards_are_looked_at_by_index() {
        let database = TestDatabase::fresh();
        let db = database.open(&(Arc::new(SystemClock) as _)).await;
        db.migrate(SCHEMA).await.unwrap();
        let at = |second| OffsetDateTime::from_unix_timestamp(second).unwrap();
        let mut set = WriteSet::new();
        for n in 0..20 {
            let shards = CrlShards::try_from(256).unwrap();
            ensure(&mut set, &format!("{n:040x}"), shards, Some(at(n)));
        }
        let made = "UPDATE va_shard SET crl_number = 1, next_update = $1 + part WHERE part < 100";
        set.execute(sql(made, params![at(1_000)]));
        set.execute(sql("ANALYZE va_shard", params![]));
        db.commit(set).await.unwrap();
        let found = overview(&db).await.unwrap();
        assert_eq!(found.count, 2_000);
        assert_eq!(found.next_due, Some(at(0)));
        assert_eq!(found.first_expiry, Some(at(1_000)));
        let plan = explain_statement(&db, &overview_of_all()).await.unwrap();
        for index in ["va_shard_by_next_due", "va_shard_by_expiry"] {
            assert!(plan.contains(index), "{plan}");
        }
        let without = |line: &str| line == "SCAN va_shard";
        assert!(!plan.lines().any(without), "{plan}");
    }
}
