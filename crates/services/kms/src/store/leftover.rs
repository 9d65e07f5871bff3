//! Material in engines that no key needs: what a move puts somewhere, and what it leaves behind.

use lamassu_core::crypto_engine::KeyHandle;
use lamassu_core::ids::EngineId;
use lamassu_db::{Check, DbError, Row, Statement, WriteSet, params, sql};
use time::OffsetDateTime;

/// The leftover is in the state that was expected.
pub(crate) const LEFTOVER: Check = Check::new("key leftover");

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeftoverState {
    /// A move is putting it there and will need it.
    Moving,
    /// The engine is to forget it.
    Leaving,
}

impl LeftoverState {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Moving => "moving",
            Self::Leaving => "leaving",
        }
    }
}

/// What an engine may hold for no key.
#[derive(Clone, Debug)]
pub(crate) struct Leftover {
    pub(crate) handle: KeyHandle,
    pub(crate) engine_id: EngineId,
    pub(crate) state: LeftoverState,
    /// Since when it is in this state.
    pub(crate) since: OffsetDateTime,
}

impl TryFrom<&Row> for Leftover {
    type Error = DbError;

    fn try_from(row: &Row) -> Result<Self, DbError> {
        Ok(Self {
            handle: super::row::handle(row)?,
            engine_id: EngineId::from(row.get::<String>("engine_id")?),
            state: match row.get::<String>("state")?.as_str() {
                "moving" => LeftoverState::Moving,
                "leaving" => LeftoverState::Leaving,
                _ => return Err(DbError::corrupt("state", "unknown state")),
            },
            since: row.get("state_changed_at")?,
        })
    }
}

pub(super) fn of_engine(engine: &EngineId, limit: u32) -> Statement {
    sql(
        "SELECT handle, engine_id, state, state_changed_at FROM kms_key_leftover \
         WHERE engine_id = $1 ORDER BY state_changed_at, handle LIMIT $2",
        params![engine.as_str(), limit],
    )
}

/// Expects that no leftover has this handle ([`LEFTOVER`]).
pub(crate) fn insert_leftover(set: &mut WriteSet, leftover: &Leftover) {
    set.expect_one(
        sql(
            "INSERT INTO kms_key_leftover (handle, engine_id, state, state_changed_at) \
             VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
            params![
                leftover.handle.as_str(),
                leftover.engine_id.as_str(),
                leftover.state.as_str(),
                leftover.since,
            ],
        ),
        LEFTOVER,
    );
}

/// Takes a leftover from the move that made it, which then cannot use it any more. Expects that the
/// move has not used it ([`LEFTOVER`]).
pub(crate) fn claim_leftover(set: &mut WriteSet, handle: &KeyHandle, now: OffsetDateTime) {
    set.expect_one(
        sql(
            "UPDATE kms_key_leftover SET state = 'leaving', state_changed_at = $1 \
             WHERE handle = $2 AND state = 'moving'",
            params![now, handle.as_str()],
        ),
        LEFTOVER,
    );
}

/// Expects the state ([`LEFTOVER`]).
pub(crate) fn remove_leftover(set: &mut WriteSet, handle: &KeyHandle, state: LeftoverState) {
    set.expect_one(
        sql(
            "DELETE FROM kms_key_leftover WHERE handle = $1 AND state = $2",
            params![handle.as_str(), state.as_str()],
        ),
        LEFTOVER,
    );
}
