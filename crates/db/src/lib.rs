//! Storage: write sets with group commit, event log, audit, leases, migrations, list queries.
//!
//! A transaction is a value. A service reads what it needs (rows carry a `revision`), decides, and
//! hands over a [`WriteSet`]: the statements, what each must find, the events and the audit record.
//! [`Db::commit`] applies all of it or nothing and says which expectation failed; a lost race is
//! answered by starting again from the read. Nothing holds a transaction open, so one writer can
//! put all sets that wait into one commit to disk.
//!
//! ```no_run
//! # use lamassu_core::caller::Caller;
//! use lamassu_db::{AuditRecord, Check, CommitError, Db, Event, WriteSet, params, sql};
//!
//! const REVISION: Check = Check::new("device revision");
//!
//! async fn rename(db: &Db, caller: &Caller, id: &str, name: &str) -> Result<(), CommitError> {
//!     loop {
//!         // 1. Read.
//!         let query = sql("SELECT revision FROM device WHERE id = $1", params![id]);
//!         let Some(row) = db.row_opt(query).await? else {
//!             return Ok(());
//!         };
//!         let revision: i64 = row.get("revision")?;
//!         // 2. Decide: what changes, what it may assume, what is told about it.
//!         let mut set = WriteSet::new();
//!         set.expect_one(
//!             sql(
//!                 "UPDATE device SET name = $1, revision = revision + 1 \
//!                  WHERE id = $2 AND revision = $3",
//!                 params![name, id, revision],
//!             ),
//!             REVISION,
//!         );
//!         let now = db.now();
//!         set.event(
//!             Event::new("device.update", "service/devmanager", caller, now)
//!                 .subject(format!("device/{id}"))
//!                 .data(&serde_json::json!({ "id": id, "name": name })),
//!         );
//!         set.audit(AuditRecord::done(caller, "device.update", format!("device/{id}"), now));
//!         // 3. Commit; a lost race starts again.
//!         match db.commit(set).await {
//!             Err(error) if error.failed(REVISION) => {}
//!             result => return result.map(drop),
//!         }
//!     }
//! }
//! ```
//!
//! A service's real loop is bounded: [`retry_races`] runs such an [`Attempt`] up to eight times.
//!
//! Deliberately absent: transactions that span awaits, an object mapper, joins across services,
//! polling. Statements are constant texts that both databases take (`$1`, `$2`, …); instants are
//! microseconds in `BIGINT` columns ([`instant`]), JSON is text.
//!
//! Where next: [`Db`] and [`WriteSet`]; [`Subscription`] for who reacts to events; [`Job`] and
//! [`Lease`] for background work; [`list`] for list endpoints; `backend.rs` for the port that a
//! database implements and `sqlite.rs` for the one that does.

mod audit;
mod backend;
mod data_dir;
mod db;
mod dead_letter;
mod error;
mod event;
pub mod instant;
mod job;
mod lease;
pub mod list;
mod log;
mod metrics;
mod migrate;
mod outage;
mod postgres;
mod race;
mod row;
mod settings;
mod signals;
mod sqlite;
mod statement;
mod subscription;
mod system_caller;
mod value;
mod write_set;

pub use audit::{AuditRecord, Outcome, RefusalLog, trim_refusals};
pub use backend::Dialect;
pub use data_dir::{DataDir, create_private_dir};
pub use db::Db;
pub use dead_letter::{
    DeadLetter, dead_letter, dead_letters, discard_dead_letter, replay_dead_letter,
};
pub use error::{Cause, CommitError, DbError, MigrationError, OpenError};
pub use event::{Event, LoggedEvent};
pub use job::{Job, JobError, NextRun, run_job};
pub use lease::{HeldLease, Lease, held_leases, while_leased};
pub use log::{LogLimits, TrimLog, trim_log};
pub use metrics::describe_metrics;
pub use migrate::{MigrateOnStart, Migration, Schema};
pub use postgres::{PostgresOptions, TlsMode, TlsOptions};
pub use race::{Attempt, retry_races, retry_races_up_to};
pub use row::{Column, Readings, Row, RowStream, readable};
pub use settings::{
    installation_id, mark_restored, report_setting, restored_at, setting_or_insert,
};
pub use signals::CommitWatcher;
pub use sqlite::{SqliteOptions, check_sqlite, copy_sqlite};
pub use statement::{Statement, in_list, sql, sql_of_few};
pub use subscription::{
    EventHandler, HandlerError, MAX_COUNTED_LAG, RetryPolicy, StartAt, Subscription,
    SubscriptionStatus, forget_subscription, subscriptions,
};
pub use system_caller::system_caller;
pub use value::{FromValue, Json, Mismatch, Value};
pub use write_set::{Check, Committed, Expectation, Seq, Step, WriteSet};
