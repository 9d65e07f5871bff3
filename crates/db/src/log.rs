//! The event log: appending to it, reading it, trimming it.

mod age;
mod trim;

pub use self::trim::{LogLimits, TrimLog, trim_log};
use crate::db::Db;
use crate::error::DbError;
use crate::event::{EVENT_COLUMNS, Event, LoggedEvent};
use crate::params;
use crate::statement::{Statement, sql};
use crate::value::Value;
use crate::write_set::Seq;

/// The statement that appends an event.
pub(crate) fn insert(event: &Event) -> Result<Statement, serde_json::Error> {
    Ok(sql(
        "INSERT INTO event_log (event_type, subject, source, occurred_at, body) \
         VALUES ($1, $2, $3, $4, $5)",
        params![
            event.event_type.as_ref(),
            event.subject.as_deref(),
            &event.source,
            event.time,
            event.to_json()?,
        ],
    ))
}

/// A slice of the log as one subscription sees it.
#[derive(Debug)]
pub(crate) struct Page {
    /// The events it listens to, oldest first.
    pub(crate) events: Vec<LoggedEvent>,
    /// Where the log ended.
    pub(crate) head: Seq,
    /// Everything up to here was looked at.
    pub(crate) scanned_to: Seq,
}

/// Reads up to `limit` events behind `after` and up to `head` that match one of the patterns: an
/// exact type, a prefix ending in `#` (`ca.#`), or `#` for all.
pub(crate) async fn page(
    db: &Db,
    (after, head): (Seq, Seq),
    patterns: &[&'static str],
    limit: u32,
) -> Result<Page, DbError> {
    if head <= after {
        return Ok(Page {
            events: Vec::new(),
            head,
            scanned_to: after,
        });
    }
    let rows = db.rows(select(after, head, patterns, limit)).await?;
    let full = rows.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    let events = rows
        .into_iter()
        .map(LoggedEvent::try_from)
        .collect::<Result<Vec<_>, _>>()?;
    let scanned_to = match events.last() {
        Some(last) if full => last.seq,
        _ => head,
    };
    Ok(Page {
        events,
        head,
        scanned_to,
    })
}

fn select(after: Seq, head: Seq, patterns: &[&'static str], limit: u32) -> Statement {
    let mut values: Vec<Value> = params![after.0, head.0];
    let mut conditions = Vec::new();
    for pattern in patterns {
        let prefix = pattern.strip_suffix('#');
        let number = values.len() + 1;
        match prefix {
            Some("") => conditions.push("1 = 1".to_owned()),
            Some(prefix) => {
                let length = prefix.chars().count();
                conditions.push(format!("substr(event_type, 1, {length}) = ${number}"));
                values.push(prefix.into());
            }
            None => {
                conditions.push(format!("event_type = ${number}"));
                values.push((*pattern).into());
            }
        }
    }
    if conditions.is_empty() {
        conditions.push("1 = 0".to_owned());
    }
    sql(
        format!(
            "SELECT {EVENT_COLUMNS} FROM event_log WHERE seq > $1 AND seq <= $2 AND ({}) \
             ORDER BY seq LIMIT {limit}",
            conditions.join(" OR ")
        ),
        values,
    )
}
