//! Who changes dead letters: this command, or the server that owns the SQLite database.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use lamassu_auth::LocalIssuer;
use lamassu_client::{Peer, ProcessClient, ServiceToken};
use lamassu_core::dead_letter::DeadLetterError;
use lamassu_core::permission::Role;
use lamassu_db::{
    CommitError, Db, OpenError, discard_dead_letter, replay_dead_letter, system_caller,
};

use super::clock;
use crate::cli::Installation;
use crate::config::Config;
use crate::own_tokens::OwnTokens;
use crate::storage;
use crate::whereabouts::Whereabouts;

/// Who changes something, in the audit log.
pub(super) const OPERATOR: &str = "lamassu events";

/// What to do when the server does not do it.
const NOT_DONE: &str = "the running server did not do it: stop it, repeat this, and start it again";

/// What became of a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// What was asked for.
    Done,
    /// Nothing: there is none.
    NoSuch,
}

/// Changes dead letters.
pub(super) enum Writer {
    /// This command does: the database takes several writers, or nobody else runs.
    Here(Db),
    /// The running server does; this command reads beside it.
    Server { beside: Db, server: ProcessClient },
}

impl Writer {
    /// # Errors
    /// One sentence: the database does not open, or the server that owns it cannot be asked.
    pub(super) async fn open(installation: &Installation) -> Result<Self> {
        let config = Config::load(installation)?;
        if config.storage.is_shared() {
            return Ok(Self::Here(storage::open_beside(&config, clock()).await?));
        }
        match storage::open_owned(&config, &clock()).await {
            Ok(db) => Ok(Self::Here(db)),
            Err(error) => match error.downcast() {
                Ok(owned @ OpenError::InUse { .. }) => Self::through_server(&config, owned).await,
                Ok(other) => Err(other.into()),
                Err(error) => Err(error),
            },
        }
    }

    /// Only the owner of the directory tells where it listens (whoever takes it forgets what the last
    /// one told), so that nobody else gets the token.
    async fn through_server(config: &Config, owned: OpenError) -> Result<Self> {
        let running = Whereabouts::running(&config.data_dir);
        let Some(place) = running.and_then(|whereabouts| whereabouts.secure()) else {
            return Err(owned).context(
                "only the owner of the database changes it, and does not say where it listens: \
                 wait until it is ready or has ended, or stop it, and try again",
            );
        };
        let beside = storage::open_beside(config, clock()).await?;
        let issuer = Arc::new(LocalIssuer::open_existing(&beside, clock()).await?);
        let tokens = OwnTokens::new(&issuer, &clock(), OPERATOR, Role::Service);
        let credentials = ServiceToken(Arc::new(tokens));
        let peer = Peer::new(&place, "", Arc::new(credentials)).context(NOT_DONE)?;
        let server = ProcessClient::new(&peer);
        Ok(Self::Server { beside, server })
    }

    /// The database, for reading.
    pub(super) fn db(&self) -> &Db {
        match self {
            Self::Here(db) | Self::Server { beside: db, .. } => db,
        }
    }

    /// Marks a dead letter for replay.
    ///
    /// # Errors
    /// One sentence.
    pub(super) async fn replay(&self, id: i64) -> Result<Outcome> {
        let caller = system_caller(OPERATOR);
        match self {
            Self::Here(db) => by_this_command(replay_dead_letter(db, &caller, id).await),
            Self::Server { server, .. } => by_server(server.replay_dead_letter(&caller, id).await),
        }
    }

    /// Removes a dead letter.
    ///
    /// # Errors
    /// One sentence.
    pub(super) async fn discard(&self, id: i64) -> Result<Outcome> {
        let caller = system_caller(OPERATOR);
        match self {
            Self::Here(db) => by_this_command(discard_dead_letter(db, &caller, id).await),
            Self::Server { server, .. } => by_server(server.discard_dead_letter(&caller, id).await),
        }
    }

    pub(super) async fn close(self) {
        match self {
            Self::Here(db) | Self::Server { beside: db, .. } => db.close().await,
        }
    }
}

fn by_this_command(outcome: Result<(), CommitError>) -> Result<Outcome> {
    match outcome {
        Ok(()) => Ok(Outcome::Done),
        Err(error) if error.is_race() => Ok(Outcome::NoSuch),
        Err(error) => Err(error.into()),
    }
}

fn by_server(outcome: Result<(), DeadLetterError>) -> Result<Outcome> {
    match outcome {
        Ok(()) => Ok(Outcome::Done),
        Err(DeadLetterError::NotFound) => Ok(Outcome::NoSuch),
        Err(DeadLetterError::Storage(failure)) => Err(failure).context(NOT_DONE),
    }
}
