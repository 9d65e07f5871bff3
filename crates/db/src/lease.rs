//! Leases: which of several processes runs a job or reads along for a subscription.
//!
//! A lease is a row with an end. PostgreSQL's session locks were considered: they are free of
//! writes, but they live in one connection, end for a holder that is well when that connection
//! breaks or a pool in between shares it out, and stay for as long as the server believes in a
//! peer that has vanished from the network. A row ends by its time whatever happened, at the
//! price of a small write per lease and third of its time. Clocks of processes that differ by more
//! than that time make a lease wander; what must be exclusive checks rows besides.
//!
//! SQLite needs none of this in [`while_leased`]: the lock of the data directory proves that no
//! other process runs, and nothing is written where nothing happens.

use std::time::Duration;

use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::backend::Dialect;
use crate::db::Db;
use crate::error::{CommitError, DbError};
use crate::outage::is_outage;
use crate::params;
use crate::statement::sql;
use crate::write_set::{Check, Expectation, WriteSet};

const HELD: Check = Check::new("lease");

/// The exclusive right to do something, until it expires or is released.
///
/// A holder that cannot renew in time must stop: another process may have taken over. Dropping a
/// lease without [`Lease::release`] leaves it to expire.
#[derive(Debug)]
pub struct Lease {
    db: Db,
    name: String,
    holder: String,
    ttl: Duration,
}

impl Lease {
    /// Takes the lease if nobody holds it; `None` when somebody does.
    ///
    /// # Errors
    ///
    /// [`CommitError`].
    pub async fn try_acquire(
        db: &Db,
        name: &str,
        ttl: Duration,
    ) -> Result<Option<Self>, CommitError> {
        let lease = Self {
            db: db.clone(),
            name: name.to_owned(),
            holder: holder(),
            ttl,
        };
        let now = db.now();
        let mut set = WriteSet::new();
        set.expect_one(
            sql(
                "INSERT INTO leases (name, holder, expires_at) VALUES ($1, $2, $3) \
                 ON CONFLICT (name) DO UPDATE \
                 SET holder = excluded.holder, expires_at = excluded.expires_at \
                 WHERE leases.expires_at <= $4",
                params![&lease.name, &lease.holder, now + ttl, now],
            ),
            HELD,
        );
        match db.commit(set).await {
            Ok(_) => Ok(Some(lease)),
            Err(error) if error.failed(HELD) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Extends the lease by its full time from now.
    ///
    /// # Errors
    ///
    /// [`CommitError::Unmet`] when another process has taken it.
    pub async fn renew(&self) -> Result<(), CommitError> {
        let mut set = WriteSet::new();
        set.expect_one(
            sql(
                "UPDATE leases SET expires_at = $1 WHERE name = $2 AND holder = $3",
                params![self.db.now() + self.ttl, &self.name, &self.holder],
            ),
            HELD,
        );
        self.db.commit(set).await.map(drop)
    }

    /// Gives the lease back, so that another process need not wait for it to expire.
    ///
    /// # Errors
    ///
    /// [`CommitError`].
    pub async fn release(self) -> Result<(), CommitError> {
        let mut set = WriteSet::new();
        set.expect(
            sql(
                "DELETE FROM leases WHERE name = $1 AND holder = $2",
                params![&self.name, &self.holder],
            ),
            Expectation::Any,
            HELD,
        );
        set.wake(self.name.clone());
        self.db.commit(set).await.map(drop)
    }
}

/// A lease that somebody holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldLease {
    /// Of what.
    pub name: String,
    /// Host, process, and a token of its own.
    pub holder: String,
    /// When it ends unless it is renewed.
    pub expires_at: OffsetDateTime,
}

/// The leases that have not ended, for whoever must know whether a process works on the database. One
/// of a process that is gone is among them until its time is over.
///
/// # Errors
///
/// [`DbError`].
pub async fn held_leases(db: &Db) -> Result<Vec<HeldLease>, DbError> {
    let rows = db
        .rows(sql(
            "SELECT name, holder, expires_at FROM leases WHERE expires_at > $1 ORDER BY name",
            params![db.now()],
        ))
        .await?;
    rows.iter()
        .map(|row| {
            Ok(HeldLease {
                name: row.get("name")?,
                holder: row.get("holder")?,
                expires_at: row.get("expires_at")?,
            })
        })
        .collect()
}

/// Names this holder: where it runs, for those who look, and what no other holder has.
fn holder() -> String {
    let system = rustix::system::uname();
    let host = system.nodename().to_string_lossy();
    format!("{host}/{}/{}", std::process::id(), Uuid::new_v4().simple())
}

/// Runs `work` for as long as this process holds the lease, again and again until `shutdown`.
///
/// The lease is renewed at a third of its time; when that fails, `work` is dropped at its next
/// await and starts anew with the next lease. `work` ends by itself only when `shutdown` is
/// cancelled, and is waited for then. On SQLite this process is the only one, and just works.
pub async fn while_leased<F: Future<Output = ()>>(
    db: &Db,
    name: &str,
    ttl: Duration,
    shutdown: &CancellationToken,
    mut work: impl FnMut() -> F,
) {
    let mut released = db.signal(name);
    while !shutdown.is_cancelled() {
        released.mark_unchanged();
        if db.dialect() == Dialect::Sqlite {
            work().await;
            continue;
        }
        match Lease::try_acquire(db, name, ttl).await {
            Ok(Some(lease)) => {
                tokio::select! {
                    () = work() => {}
                    lost = keep(&lease, ttl) => match lost {
                        Lost::ToAnother => tracing::warn!(lease = name, "lease lost"),
                        Lost::ByTime => tracing::debug!(lease = name, "lease not renewed"),
                    },
                }
                if let Err(error) = lease.release().await {
                    tracing::debug!(lease = name, %error, "lease not released");
                }
            }
            Ok(None) => {}
            Err(error) if is_outage(&error) => {
                tracing::debug!(lease = name, %error, "lease not taken");
            }
            Err(error) => tracing::warn!(
                lease = name,
                error = &error as &(dyn std::error::Error + 'static),
                "lease not taken"
            ),
        }
        // Not held, lost, or nothing left to do before shutdown.
        tokio::select! {
            () = shutdown.cancelled() => {}
            _released = tokio::time::timeout(ttl / 3, released.changed()) => {}
        }
    }
}

/// How a lease was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lost {
    /// Another process has it.
    ToAnother,
    /// It could not be renewed in time: the database is slow or away.
    ByTime,
}

/// Renews until that fails for longer than the lease lasts or somebody else has it.
async fn keep(lease: &Lease, ttl: Duration) -> Lost {
    let mut every = tokio::time::interval(ttl / 3);
    every.tick().await;
    let mut failures = 0;
    while failures < 2 {
        every.tick().await;
        // A renewal that hangs is none.
        match tokio::time::timeout(ttl / 3, lease.renew()).await {
            Ok(Ok(())) => failures = 0,
            Ok(Err(error)) if error.is_race() => return Lost::ToAnother,
            Ok(Err(_)) | Err(_) => failures += 1,
        }
    }
    Lost::ByTime
}

/// Ends all leases: the caller has proved that no other process runs.
pub(crate) async fn take_over_all(db: &Db) -> Result<(), CommitError> {
    let mut set = WriteSet::new();
    set.execute(sql("DELETE FROM leases", Vec::new()));
    db.commit(set).await.map(drop)
}
