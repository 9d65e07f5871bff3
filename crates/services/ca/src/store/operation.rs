//! Unfinished changes that span this service and the key management service.
//!
//! A row is there before the key. The write set that stores the key's owner turns it into a note
//! that the key is yet to be marked as used; once it is, the row goes. So whatever a crash leaves
//! says what to do: destroy a key that nobody owns, or mark one that somebody does.

use lamassu_core::ids::{KeyId, KeyRef, OperationId, SerialNumber};
use lamassu_db::{Check, Db, DbError, Expectation, Row, WriteSet, params, sql};
use time::OffsetDateTime;

use super::named;

/// The operation is still under way: nobody took it for abandoned.
pub(crate) const RUNNING: Check = Check::new("operation is running");

/// Nobody is about to destroy the key.
pub(crate) const KEPT: Check = Check::new("key is kept");

/// The operation's id is free.
pub(crate) const FREE: Check = Check::new("operation id is free");

/// What is left to do for an operation that nobody works on any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Remainder {
    /// Its key has no owner.
    Discard,
    /// Its key is not yet marked as used by its certificate.
    Bind(Use),
}

/// Which certificate uses which key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Use {
    pub(crate) key: KeyRef,
    pub(crate) serial_number: SerialNumber,
}

/// Notes that an operation begins.
pub(crate) fn begin(set: &mut WriteSet, id: &OperationId, now: OffsetDateTime) {
    let statement = sql(
        "INSERT INTO ca_operation (id, started_at, state) VALUES ($1, $2, 'running') \
         ON CONFLICT DO NOTHING",
        params![id.as_str(), now],
    );
    set.expect_one(statement, FREE);
}

/// Notes, beside the owner of the key that it made, what is left of an operation.
pub(crate) fn stored(set: &mut WriteSet, id: &OperationId, left: &Use) {
    let statement = sql(
        "UPDATE ca_operation SET state = 'stored', key_id = $1, serial_number = $2 \
         WHERE id = $3 AND state = 'running'",
        params![left.key.as_str(), left.serial_number.as_str(), id.as_str()],
    );
    set.expect_one(statement, RUNNING);
}

/// The same for an operation that made no key and so has not begun before. The key must not be that of an
/// abandoned one.
pub(crate) fn stored_at_once(
    set: &mut WriteSet,
    id: &OperationId,
    left: &Use,
    now: OffsetDateTime,
) {
    let statement = sql(
        "INSERT INTO ca_operation (id, started_at, state, key_id, serial_number) \
         VALUES ($1, $2, 'stored', $3, $4) ON CONFLICT DO NOTHING",
        params![
            id.as_str(),
            now,
            left.key.as_str(),
            left.serial_number.as_str()
        ],
    );
    set.expect_one(statement, FREE);
    let doomed = sql(
        "UPDATE ca_operation SET state = state WHERE key_id = $1 AND state = 'abandoned'",
        params![left.key.as_str()],
    );
    set.expect(doomed, Expectation::Exactly(0), KEPT);
}

/// Ends an operation whose key has an owner now.
pub(crate) fn finish(set: &mut WriteSet, id: &OperationId) {
    let statement = sql(
        "DELETE FROM ca_operation WHERE id = $1 AND state = 'running'",
        params![id.as_str()],
    );
    set.expect_one(statement, RUNNING);
}

/// Notes that the key of an operation that had ended has lost its owner.
pub(crate) fn begin_abandoned(
    set: &mut WriteSet,
    id: &OperationId,
    key: &KeyId,
    now: OffsetDateTime,
) {
    let statement = sql(
        "INSERT INTO ca_operation (id, started_at, state, key_id) \
         VALUES ($1, $2, 'abandoned', $3) ON CONFLICT DO NOTHING",
        params![id.as_str(), now, key.as_str()],
    );
    set.expect_one(statement, FREE);
}

/// From here on the operation cannot store an owner any more, and its key may be destroyed.
pub(crate) fn abandon(set: &mut WriteSet, id: &OperationId) {
    let statement = sql(
        "UPDATE ca_operation SET state = 'abandoned' WHERE id = $1 AND state <> 'stored'",
        params![id.as_str()],
    );
    set.expect_one(statement, RUNNING);
}

/// Forgets an operation of which nothing is left to do.
pub(crate) fn forget(set: &mut WriteSet, id: &OperationId) {
    set.execute(sql(
        "DELETE FROM ca_operation WHERE id = $1",
        params![id.as_str()],
    ));
}

/// An operation that nobody works on any more.
#[derive(Debug)]
pub(crate) struct Stale {
    pub(crate) id: OperationId,
    /// Unless it cannot be read.
    pub(crate) left: Result<Remainder, DbError>,
    started_at: OffsetDateTime,
}

/// Operations that began before `before`, and those that are abandoned already; oldest first, behind
/// one of them.
pub(crate) async fn stale(
    db: &Db,
    before: OffsetDateTime,
    after: Option<&Stale>,
    limit: u32,
) -> Result<Vec<Stale>, DbError> {
    let begin = (OffsetDateTime::UNIX_EPOCH, "");
    let (started_at, id) = after.map_or(begin, |last| (last.started_at, last.id.as_str()));
    let query = sql(
        "SELECT id, started_at, state, key_id, serial_number FROM ca_operation \
         WHERE (started_at < $1 OR state = 'abandoned') AND (started_at, id) > ($2, $3) \
         ORDER BY started_at, id LIMIT $4",
        params![before, started_at, id, limit],
    );
    let rows = db.rows(query).await?;
    rows.iter()
        .map(|row| {
            Ok(Stale {
                id: row.get::<String>("id")?.into(),
                left: remainder(row),
                started_at: row.get("started_at")?,
            })
        })
        .collect()
}

fn remainder(row: &Row) -> Result<Remainder, DbError> {
    if row.get::<String>("state")? != "stored" {
        return Ok(Remainder::Discard);
    }
    Ok(Remainder::Bind(Use {
        key: row.get::<String>("key_id")?.into(),
        serial_number: named(row, "serial_number", SerialNumber::parse)?,
    }))
}

/// When the oldest operation began.
pub(crate) async fn oldest(db: &Db) -> Result<Option<OffsetDateTime>, DbError> {
    let query = sql(
        "SELECT started_at FROM ca_operation ORDER BY started_at LIMIT 1",
        params![],
    );
    let row = db.row_opt(query).await?;
    row.map(|row| row.get("started_at")).transpose()
}
