//! Reader threads: each has a connection that cannot write.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, ToSql};
use tokio::sync::{mpsc, oneshot};

use super::failure::db_error;
use super::patience::Patience;
use super::spawn;
use crate::error::{DbError, OpenError};
use crate::row::Row;
use crate::statement::Statement;
use crate::value::Value;

/// What a reader thread is asked for.
#[derive(Debug)]
pub(super) enum Request {
    /// Rows of statements in one snapshot.
    Read {
        statements: Vec<Statement>,
        reply: oneshot::Sender<Result<Vec<Vec<Row>>, DbError>>,
    },
    /// To refuse later requests and, once the queue is empty, end.
    Close,
}

/// The queue that all reader threads take from, one waiting at a time.
pub(super) type Queue = Arc<Mutex<mpsc::Receiver<Request>>>;

pub(super) fn queue(capacity: usize) -> (mpsc::Sender<Request>, Queue) {
    let (sender, receiver) = mpsc::channel(capacity);
    (sender, Arc::new(Mutex::new(receiver)))
}

pub(super) fn start(
    connection: Connection,
    queue: &Queue,
    patience: Patience,
) -> Result<JoinHandle<()>, OpenError> {
    let queue = Arc::clone(queue);
    spawn("db-reader", move || {
        while let Some((statements, reply)) = next(&queue) {
            answer(&connection, &patience, &statements, reply);
        }
    })
}

type Reply = oneshot::Sender<Result<Vec<Vec<Row>>, DbError>>;

type Read = (Vec<Statement>, Reply);

fn answer(connection: &Connection, patience: &Patience, statements: &[Statement], reply: Reply) {
    // The caller may have gone before its turn came.
    if reply.is_closed() {
        return;
    }
    let reply = Arc::new(reply);
    let outcome = read(connection, patience, &reply, statements);
    // Nobody else holds it once the read is over.
    if let Some(reply) = Arc::into_inner(reply) {
        let _gone = reply.send(outcome).is_err();
    }
}

fn next(queue: &Queue) -> Option<Read> {
    let mut receiver = queue.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        match receiver.blocking_recv()? {
            Request::Read { statements, reply } => return Some((statements, reply)),
            Request::Close => receiver.close(),
        }
    }
}

/// Runs the statements in one snapshot. The connection is outside any transaction afterwards,
/// whatever fails: else its next reads would see this snapshot for ever.
fn read(
    connection: &Connection,
    patience: &Patience,
    reply: &Arc<Reply>,
    statements: &[Statement],
) -> Result<Vec<Vec<Row>>, DbError> {
    let caller = Arc::clone(reply);
    let all = || {
        statements
            .iter()
            .map(|statement| rows(connection, statement))
            .collect()
    };
    end_transaction(connection)?;
    let in_snapshot = statements.len() > 1;
    if in_snapshot {
        run(connection, "BEGIN DEFERRED")?;
    }
    let results = patience.while_wanted(connection, move || caller.is_closed(), all);
    if in_snapshot {
        run(connection, "COMMIT").or_else(|error| {
            tracing::warn!(%error, "a read transaction did not end");
            end_transaction(connection)
        })?;
    }
    results
}

/// Rolls back a transaction that is still open.
fn end_transaction(connection: &Connection) -> Result<(), DbError> {
    if connection.is_autocommit() {
        return Ok(());
    }
    run(connection, "ROLLBACK")
}

fn run(connection: &Connection, text: &'static str) -> Result<(), DbError> {
    connection
        .prepare_cached(text)
        .and_then(|mut statement| statement.raw_execute())
        .map(drop)
        .map_err(|error| db_error(error, text))
}

fn rows(connection: &Connection, statement: &Statement) -> Result<Vec<Row>, DbError> {
    let mut all = Vec::new();
    each_row(connection, statement, |row| {
        all.push(row);
        Ok(Next::Continue)
    })?;
    Ok(all)
}

/// Runs a statement and sends its rows in chunks until the consumer is gone.
pub(super) fn stream(
    connection: &Connection,
    statement: &Statement,
    chunk_rows: usize,
    chunks: &mpsc::Sender<Result<Vec<Row>, DbError>>,
) -> Result<(), DbError> {
    let mut chunk = Vec::with_capacity(chunk_rows);
    each_row(connection, statement, |row| {
        chunk.push(row);
        if chunk.len() < chunk_rows {
            return Ok(Next::Continue);
        }
        let full = std::mem::replace(&mut chunk, Vec::with_capacity(chunk_rows));
        match chunks.blocking_send(Ok(full)) {
            Ok(()) => Ok(Next::Continue),
            Err(_) => Ok(Next::Stop),
        }
    })?;
    if !chunk.is_empty() {
        let _gone = chunks.blocking_send(Ok(chunk)).is_err();
    }
    Ok(())
}

enum Next {
    Continue,
    Stop,
}

fn each_row(
    connection: &Connection,
    statement: &Statement,
    mut take: impl FnMut(Row) -> Result<Next, DbError>,
) -> Result<(), DbError> {
    let fail = |error| db_error(error, statement.text());
    let mut prepared = prepare(connection, statement)?;
    let mut rows = prepared.raw_query();
    let mut columns: Option<Arc<[Box<str>]>> = None;
    while let Some(row) = rows.next().map_err(fail)? {
        // Only now: where tables were changed since, the first step has prepared the statement anew.
        let columns = columns.get_or_insert_with(|| {
            let names = row.as_ref().column_names();
            names.into_iter().map(Box::from).collect()
        });
        let values = columns
            .iter()
            .enumerate()
            .map(|(position, name)| value(row.get_ref(position).map_err(fail)?, name))
            .collect::<Result<_, _>>()?;
        let row = Row {
            columns: Arc::clone(columns),
            values,
        };
        if let Next::Stop = take(row)? {
            break;
        }
    }
    Ok(())
}

/// Prepares a statement (or takes it from the cache) and binds its parameters.
pub(super) fn prepare<'c>(
    connection: &'c Connection,
    statement: &Statement,
) -> Result<CachedStatement<'c>, DbError> {
    let fail = |error| db_error(error, statement.text());
    let mut prepared = connection.prepare_cached(statement.text()).map_err(fail)?;
    for position in 1..=prepared.parameter_count() {
        let value = parameter(&prepared, position, statement)?;
        prepared.raw_bind_parameter(position, value).map_err(fail)?;
    }
    Ok(prepared)
}

/// SQLite numbers `$2`, `$1` by first use; the value is found by the number in the name.
fn parameter<'s>(
    prepared: &CachedStatement<'_>,
    position: usize,
    statement: &'s Statement,
) -> Result<&'s Value, DbError> {
    let name = prepared.parameter_name(position);
    let number = match name {
        Some(name) => name
            .strip_prefix('$')
            .and_then(|digits| digits.parse().ok()),
        None => Some(position),
    };
    number
        .and_then(|number: usize| statement.params().get(number.checked_sub(1)?))
        .ok_or_else(|| DbError::MissingParameter {
            sql: statement.text().to_owned(),
            parameter: name.unwrap_or("?").to_owned(),
        })
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Bool(value) => ValueRef::Integer(i64::from(*value)),
            Self::I64(value) => ValueRef::Integer(*value),
            Self::Text(text) | Self::Json(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

fn value(stored: ValueRef<'_>, column: &str) -> Result<Value, DbError> {
    match stored {
        ValueRef::Null => Ok(Value::Null),
        ValueRef::Integer(value) => Ok(Value::I64(value)),
        ValueRef::Text(bytes) => std::str::from_utf8(bytes)
            .map(|text| Value::Text(text.to_owned()))
            .map_err(|_| DbError::corrupt(column, "text is not UTF-8")),
        ValueRef::Blob(bytes) => Ok(Value::Bytes(Bytes::copy_from_slice(bytes))),
        ValueRef::Real(_) => Err(DbError::corrupt(
            column,
            "floating-point numbers are not used",
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rusqlite::hooks::{AuthAction, AuthContext, Authorization, TransactionOperation};

    use super::*;
    use crate::sqlite::patience::Closing;
    use crate::statement::sql;

    fn snapshot(connection: &Connection) -> Result<Vec<Vec<Row>>, DbError> {
        let patience = Patience::new(Duration::from_secs(20), &Closing::default());
        let (reply, _caller) = oneshot::channel();
        let one = sql("SELECT 1", Vec::new());
        read(connection, &patience, &Arc::new(reply), &[one.clone(), one])
    }

    #[test]
    fn no_failure_leaves_the_connection_in_its_snapshot() {
        let connection = Connection::open_in_memory().expect("database");
        connection.execute_batch("BEGIN").expect("left open");
        assert_eq!(snapshot(&connection).expect("rows").len(), 2);
        assert!(connection.is_autocommit());

        // The authorizer names what it knows; `COMMIT` is the one that it does not.
        let no_commit = |context: AuthContext<'_>| match context.action {
            AuthAction::Transaction {
                operation: TransactionOperation::Unknown,
            } => Authorization::Deny,
            _ => Authorization::Allow,
        };
        connection.authorizer(Some(no_commit)).expect("authorizer");
        connection.flush_prepared_statement_cache();
        assert_eq!(snapshot(&connection).expect("rows").len(), 2);
        assert!(connection.is_autocommit());
    }
}
