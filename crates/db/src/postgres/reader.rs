//! Reading: pooled connections, each statement prepared once per connection.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use futures_util::{TryStreamExt as _, future};
use tokio::sync::mpsc;
use tokio_postgres::{Column, Error, Statement as Prepared};

use super::failure::{db_error, is_gone, is_outdated_plan, pool_error};
use super::session::check_parameters;
use super::value::type_of;
use crate::error::DbError;
use crate::row::Row;
use crate::statement::{Statement, Texts};
use crate::value::Value;

/// One snapshot for several statements.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Runs the statements in one snapshot; one result per statement.
pub(super) async fn read(
    pool: &Pool,
    statements: &[Statement],
    answer_within: Duration,
) -> Result<Vec<Vec<Row>>, DbError> {
    let mut tried_again = false;
    loop {
        let client = pool.get().await.map_err(pool_error)?;
        let reading = read_on(&client, statements);
        match tokio::time::timeout(answer_within, reading).await {
            Ok(Ok(results)) => return Ok(results),
            Ok(Err((error, sql))) => {
                // A connection that sat in the pool may have broken there, and a plan may be
                // outdated; reading once more harms nobody.
                let again = is_gone(&error) || is_outdated_plan(&error);
                if again {
                    retire(client);
                }
                if !again || tried_again {
                    return Err(db_error(error, &sql));
                }
                tried_again = true;
            }
            Err(_silence) => {
                retire(client);
                return Err(DbError::TimedOut);
            }
        }
    }
}

/// Closes a connection instead of giving it back.
pub(super) fn retire(client: Object) {
    drop(Object::take(client));
}

type Failed = (Error, String);

async fn read_on(client: &Object, statements: &[Statement]) -> Result<Vec<Vec<Row>>, Failed> {
    let mut asked = Vec::with_capacity(statements.len());
    for statement in statements {
        asked.push((statement, prepared(client, statement).await?));
    }
    if let [(statement, prepared)] = asked.as_slice() {
        return Ok(vec![rows(client, statement, prepared.as_ref()).await?]);
    }
    // One round trip: each is on its way when it is polled for the first time. So whoever stops
    // waiting has sent the end along, and no connection goes back with a snapshot from now.
    let reading = asked
        .iter()
        .map(|(statement, prepared)| rows(client, statement, prepared.as_ref()));
    let (begun, results, ended) = future::join3(
        client.batch_execute(BEGIN),
        future::join_all(reading),
        client.batch_execute("COMMIT"),
    )
    .await;
    let fail = |error| (error, "snapshot".to_owned());
    begun.map_err(fail)?;
    let results = results.into_iter().collect::<Result<_, _>>()?;
    ended.map_err(fail)?;
    Ok(results)
}

/// A text of few is prepared once per connection. Those that list requests make are many; none is
/// kept.
async fn prepared(client: &Object, statement: &Statement) -> Result<Option<Prepared>, Failed> {
    match statement.texts {
        Texts::Few => match client.prepare_cached(statement.text()).await {
            Ok(prepared) => Ok(Some(prepared)),
            Err(error) => Err((error, statement.text().to_owned())),
        },
        Texts::Many => Ok(None),
    }
}

async fn rows(
    client: &Object,
    statement: &Statement,
    prepared: Option<&Prepared>,
) -> Result<Vec<Row>, Failed> {
    let fail = |error| (error, statement.text().to_owned());
    let (columns, stream) = match prepared {
        Some(prepared) => {
            let columns = names(prepared.columns());
            let stream = client.query_raw(prepared, statement.params()).await;
            (Some(columns), stream.map_err(fail)?)
        }
        None => {
            let typed = statement
                .params()
                .iter()
                .map(|value| (value, type_of(value)));
            let stream = client.query_typed_raw(statement.text(), typed).await;
            (None, stream.map_err(fail)?)
        }
    };
    let mut columns = columns;
    let mut all = Vec::new();
    futures_util::pin_mut!(stream);
    while let Some(row) = stream.try_next().await.map_err(fail)? {
        let columns = columns.get_or_insert_with(|| names(row.columns()));
        all.push(self::row(&row, columns).map_err(fail)?);
    }
    Ok(all)
}

fn names(columns: &[Column]) -> Arc<[Box<str>]> {
    columns
        .iter()
        .map(|column| Box::from(column.name()))
        .collect()
}

fn row(row: &tokio_postgres::Row, columns: &Arc<[Box<str>]>) -> Result<Row, Error> {
    let values = (0..row.len())
        .map(|position| row.try_get::<_, Value>(position))
        .collect::<Result<_, _>>()?;
    Ok(Row {
        columns: Arc::clone(columns),
        values,
    })
}

/// Runs a statement and sends its rows in chunks until the consumer is gone.
pub(super) async fn stream(
    pool: &Pool,
    statement: &Statement,
    chunk_rows: usize,
    chunks: &mpsc::Sender<Result<Vec<Row>, DbError>>,
) -> Result<(), DbError> {
    check_parameters(statement)?;
    let mut client = pool.get().await.map_err(pool_error)?;
    let sent = send_rows(&mut client, statement, chunk_rows, chunks).await;
    sent.map_err(|error| {
        if is_gone(&error) {
            retire(client);
        }
        db_error(error, statement.text())
    })
}

async fn send_rows(
    client: &mut Object,
    statement: &Statement,
    chunk_rows: usize,
    chunks: &mpsc::Sender<Result<Vec<Row>, DbError>>,
) -> Result<(), Error> {
    let transaction = client.build_transaction().read_only(true).start().await?;
    // A stream may go on for as long as somebody takes its rows.
    let unlimited = "SET LOCAL statement_timeout = 0; \
                     SET LOCAL idle_in_transaction_session_timeout = 0";
    transaction.batch_execute(unlimited).await?;
    let prepared: Prepared = transaction.prepare(statement.text()).await?;
    let columns = names(prepared.columns());
    let portal = transaction.bind_raw(&prepared, statement.params()).await?;
    let size = i32::try_from(chunk_rows.max(1)).unwrap_or(i32::MAX);
    loop {
        let rows = transaction.query_portal(&portal, size).await?;
        let is_last = rows.len() < chunk_rows.max(1);
        let chunk = rows
            .iter()
            .map(|one| row(one, &columns))
            .collect::<Result<Vec<_>, _>>()?;
        if !chunk.is_empty() && chunks.send(Ok(chunk)).await.is_err() {
            break;
        }
        if is_last {
            break;
        }
    }
    transaction.rollback().await
}
