//! The connection that writes, with its prepared statements.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use futures_util::FutureExt as _;
use postgres_types::{ToSql, Type};
use tokio_postgres::{Client, Error, Statement as Prepared};

use super::durability::{RISKS, confirm_when_durable, warn_of};
use super::heads::{ServerRun, server_run};
use super::notification::Notification;
use super::server::Server;
use crate::error::DbError;
use crate::statement::Statement;
use crate::write_set::StepKind;

/// Statements kept prepared; every service's constant texts fit.
const PREPARED_STATEMENTS: usize = 1_024;

/// Appends events, all of a batch at once; the rows go in in the order of the arrays.
pub(super) const INSERT_EVENTS: &str = "INSERT INTO event_log (event_type, subject, source, occurred_at, body) \
     SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[]) \
     RETURNING seq";

/// Stores audit records, all of a batch at once.
pub(super) const INSERT_AUDIT: &str = "INSERT INTO audit_log \
     (occurred_at, principal, credential, operation, resource, result, reason, request_id, also) \
     SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], \
     $6::text[], $7::text[], $8::text[], $9::text[])";

/// Leaves the mark by which the batch's fate can be asked for, and gives the transaction's id, which
/// it has from here on, before it takes places in the log. Being part of every batch, it also sees to
/// what the batch's confirmation is worth.
pub(super) const MARK: &str = concat!(
    "INSERT INTO writer_mark (process, batch) VALUES ($1, $2) \
     ON CONFLICT (process) DO UPDATE SET batch = excluded.batch, marked_at = excluded.marked_at \
     RETURNING CAST(CAST(pg_current_xact_id() AS text) AS bigint), ",
    confirm_when_durable!()
);

/// Marks of processes that are long gone.
const FORGET_MARKS: &str = "DELETE FROM writer_mark WHERE marked_at < now() - interval '7 days'";

/// Tells the other processes.
pub(super) const NOTIFY: &str = "SELECT pg_notify($1, $2)";

/// The line of history that the server is on (another one after a fail-over), and when it was started.
const GREETING: &str = concat!(
    "SELECT substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8), ",
    server_run!()
);

/// The statements that every batch uses.
#[derive(Clone, Debug)]
pub(super) struct Fixed {
    pub(super) mark: Prepared,
    pub(super) events: Prepared,
    pub(super) audit: Prepared,
}

/// A connection that writes.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) timeline: String,
    pub(super) run: ServerRun,
    /// How long an answer may take.
    pub(super) answer_within: Duration,
    fixed: Option<Fixed>,
    prepared: HashMap<(StepKind, Cow<'static, str>), Prepared>,
}

impl Session {
    pub(super) async fn open(server: &Server) -> Result<Self, DbError> {
        let client = server.client().await?;
        let greet = async {
            for risk in client.query(RISKS, &[]).await? {
                warn_of(risk.try_get(0)?);
            }
            let greeting = client.query_one(GREETING, &[]).await?;
            Ok((greeting.try_get(0)?, ServerRun(greeting.try_get(1)?)))
        };
        let (timeline, run) = server.in_time(greet).await?;
        Ok(Self {
            client,
            timeline,
            run,
            answer_within: server.options.answer_within(),
            fixed: None,
            prepared: HashMap::new(),
        })
    }

    /// The statements of every batch, prepared on first use: at the very first start their tables
    /// do not exist yet.
    pub(super) async fn fixed(&mut self) -> Result<Fixed, Error> {
        if let Some(fixed) = &self.fixed {
            return Ok(fixed.clone());
        }
        let client = &self.client;
        client.batch_execute(FORGET_MARKS).await?;
        let (mark, events, audit) = tokio::try_join!(
            client.prepare(MARK),
            client.prepare(INSERT_EVENTS),
            client.prepare(INSERT_AUDIT),
        )?;
        let fixed = Fixed {
            mark,
            events,
            audit,
        };
        self.fixed = Some(fixed.clone());
        Ok(fixed)
    }

    /// Tells the other processes, without waiting for an answer: a lost notification is made up
    /// for by those who wait.
    pub(super) fn notify(&self, channel: &str, told: &Notification) {
        if told.is_empty() {
            return;
        }
        if let Ok(payload) = serde_json::to_string(told) {
            let parameters: [(&(dyn ToSql + Sync), Type); 2] =
                [(&channel, Type::TEXT), (&payload, Type::TEXT)];
            // Polled once, it is on its way.
            let sent = self.client.execute_typed(NOTIFY, &parameters);
            let _not_waited_for = Box::pin(sent).now_or_never();
        }
    }

    /// A step's statement, prepared on first use; its parameters were checked. Outside of
    /// transactions only: a statement that the server refuses would end one.
    pub(super) async fn prepare(
        &mut self,
        kind: StepKind,
        statement: &Statement,
    ) -> Result<Prepared, Error> {
        let key = (kind, statement.sql.clone());
        if let Some(prepared) = self.prepared.get(&key) {
            return Ok(prepared.clone());
        }
        let text = match kind {
            StepKind::Write => Cow::Borrowed(statement.text()),
            StepKind::Guard => Cow::Owned(format!("{} FOR SHARE", statement.text())),
        };
        let prepared = self.client.prepare(&text).await?;
        if self.prepared.len() >= PREPARED_STATEMENTS {
            self.prepared.clear();
        }
        self.prepared.insert(key, prepared.clone());
        Ok(prepared)
    }
}

/// Every parameter that the text names has a value.
pub(super) fn check_parameters(statement: &Statement) -> Result<(), DbError> {
    for part in statement.text().split('$').skip(1) {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let number = part
            .get(..digits)
            .and_then(|digits| digits.parse::<usize>().ok());
        if let Some(number) = number
            && number > statement.params().len()
        {
            return Err(DbError::MissingParameter {
                sql: statement.text().to_owned(),
                parameter: format!("${number}"),
            });
        }
    }
    Ok(())
}
