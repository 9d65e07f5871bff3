//! `/api/events/internal/v1`: what `lamassu events` cannot do by itself while this process runs,
//! since it alone writes its SQLite file.

use axum::extract::State;
use lamassu_core::dead_letter::DeadLetterError;
use lamassu_core::permission::Permission;
use lamassu_db::{CommitError, Db, discard_dead_letter, replay_dead_letter};
use lamassu_http::{AskedBy, NoContent, PathParams, Reply, Routes};

const INTERNAL: Permission = Permission::new("internal", "events");

/// The routes, to be mounted under `/api/events`.
pub(crate) fn routes(db: Db) -> Routes {
    Routes::builder("events", db)
        .post(
            "/internal/v1/dead-letters/{id}/replay",
            INTERNAL,
            "Have an event that could not be handled tried again",
            replay,
        )
        .delete(
            "/internal/v1/dead-letters/{id}",
            INTERNAL,
            "Remove an event that could not be handled",
            discard,
        )
        .build()
}

async fn replay(
    State(db): State<Db>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<i64>,
) -> Reply<NoContent> {
    let outcome = replay_dead_letter(&db, &caller, id).await;
    outcome.map_err(refusal)?;
    Ok(NoContent)
}

async fn discard(
    State(db): State<Db>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<i64>,
) -> Reply<NoContent> {
    let outcome = discard_dead_letter(&db, &caller, id).await;
    outcome.map_err(refusal)?;
    Ok(NoContent)
}

fn refusal(error: CommitError) -> DeadLetterError {
    if error.is_race() {
        DeadLetterError::NotFound
    } else {
        DeadLetterError::Storage(error.into())
    }
}
