//! `lamassu events`: who reads the event log, and what they could not handle.
//!
//! All of it works beside running processes. An SQLite database is changed by its owner only, so
//! that replaying and discarding are left to the server where one runs ([`Writer`]); where none
//! does, what is marked for replay is handled when it starts again.

mod writer;

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use lamassu_core::clock::{SharedClock, SystemClock};
use lamassu_db::{
    Db, DeadLetter, OpenError, SubscriptionStatus, dead_letter, dead_letters, forget_subscription,
    subscriptions, system_caller,
};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use self::writer::{OPERATOR, Outcome, Writer};
use crate::cli::{EventsCommand, EventsOutput, Forget, Installation, Replay};
use crate::config::Config;
use crate::nearest::nearest;
use crate::storage;
use crate::table::{self, Columns};

/// Dead letters that one query reads.
const PAGE: u32 = 500;

/// Does what the command says.
///
/// # Errors
/// One sentence: the database does not open, or there is no such dead letter.
pub(crate) async fn run(command: &EventsCommand) -> Result<()> {
    match command {
        EventsCommand::Subscriptions(output) => {
            let db = open_for_reading(&output.installation).await?;
            let all = subscriptions(&db).await?;
            let now = db.now();
            db.close().await;
            print_list(output, &SUBSCRIPTIONS, &all, |one| subscription(one, now))
        }
        EventsCommand::DeadLetters(asked) => {
            let db = open_for_reading(&asked.output.installation).await?;
            let all = named_letters(&db, asked.subscription.as_deref()).await?;
            db.close().await;
            print_list(&asked.output, &DEAD_LETTERS, &all, outline)
        }
        EventsCommand::Show(asked) => {
            let db = open_for_reading(&asked.output.installation).await?;
            let found = dead_letter(&db, asked.id).await?;
            db.close().await;
            let letter = found.with_context(|| no_such(asked.id))?;
            crate::print(&serde_json::to_string_pretty(&whole(&letter))?)
        }
        EventsCommand::Replay(asked) => replay(asked).await,
        EventsCommand::Discard(asked) => {
            let writer = Writer::open(&asked.output.installation).await?;
            let outcome = writer.discard(asked.id).await?;
            writer.close().await;
            ensure!(outcome == Outcome::Done, no_such(asked.id));
            crate::print(&format!("dead letter {} is discarded", asked.id))
        }
        EventsCommand::Forget(asked) => forget(asked).await,
    }
}

async fn replay(asked: &Replay) -> Result<()> {
    let writer = Writer::open(&asked.installation).await?;
    let ids = match asked.id {
        Some(id) => vec![id],
        None => {
            let all = named_letters(writer.db(), asked.subscription.as_deref()).await?;
            all.iter().map(|letter| letter.id).collect()
        }
    };
    let mut marked = 0_usize;
    for id in ids {
        match writer.replay(id).await? {
            Outcome::Done => marked += 1,
            // Of all, one that was handled or discarded meanwhile.
            Outcome::NoSuch if asked.all => {}
            Outcome::NoSuch => bail!(no_such(id)),
        }
    }
    writer.close().await;
    crate::print(&format!(
        "{marked} dead letters are tried again by their subscriptions, as soon as those run"
    ))
}

/// By this command itself: of an SQLite database, whoever runs beside it reads the log.
async fn forget(asked: &Forget) -> Result<()> {
    let config = Config::load(&asked.installation)?;
    let db = if config.storage.is_shared() {
        storage::open_beside(&config, clock()).await?
    } else {
        let owned = storage::open_owned(&config, &clock()).await;
        owned.map_err(|error| match error.downcast_ref() {
            Some(OpenError::InUse { .. }) => {
                error.context("stop the server first: it reads the log")
            }
            _ => error,
        })?
    };
    let known = subscriptions(&db).await?;
    let outcome = match known.iter().find(|one| one.name == asked.name) {
        None => {
            let names = known.into_iter().map(|one| one.name).collect();
            Err(anyhow!(no_subscription(&asked.name, &names)))
        }
        Some(one) => {
            let forgotten = forget_subscription(&db, &system_caller(OPERATOR), &one.name).await;
            forgotten.map_err(|error| match error.is_race() {
                true => anyhow!("a process reads for subscription {:?}", one.name),
                false => error.into(),
            })
        }
    };
    db.close().await;
    outcome?;
    crate::print(&format!("subscription {} is forgotten", asked.name))
}

fn no_such(id: i64) -> String {
    format!("there is no dead letter {id}")
}

/// All dead letters, or those of one subscription that there is, oldest first.
async fn named_letters(db: &Db, subscription: Option<&str>) -> Result<Vec<DeadLetter>> {
    let mut all = letters(db).await?;
    let Some(name) = subscription else {
        return Ok(all);
    };
    // One that no program runs any more may have left some.
    let mut known: BTreeSet<_> = all
        .iter()
        .map(|letter| letter.subscription.clone())
        .collect();
    known.extend(subscriptions(db).await?.into_iter().map(|one| one.name));
    if !known.contains(name) {
        bail!(no_subscription(name, &known));
    }
    all.retain(|letter| letter.subscription == name);
    Ok(all)
}

fn no_subscription(name: &str, known: &BTreeSet<String>) -> String {
    let meant = nearest(name, known.iter().map(String::as_str));
    let meant = meant.map(|one| format!(" (did you mean {one}?)"));
    let known: Vec<_> = known.iter().map(String::as_str).collect();
    let known = match known.as_slice() {
        [] => "none ran yet".to_owned(),
        known => format!("there are {}", known.join(", ")),
    };
    let meant = meant.unwrap_or_default();
    format!("there is no subscription {name:?}{meant}; {known}")
}

/// All dead letters, oldest first.
async fn letters(db: &Db) -> Result<Vec<DeadLetter>> {
    let mut all = Vec::new();
    let mut after = 0;
    loop {
        let page = dead_letters(db, after, PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(all);
        };
        after = last.id;
        all.extend(page);
    }
}

async fn open_for_reading(installation: &Installation) -> Result<Db> {
    storage::open_beside(&Config::load(installation)?, clock()).await
}

fn clock() -> SharedClock {
    Arc::new(SystemClock)
}

/// Names of members in JSON, and of columns in capitals.
const SUBSCRIPTIONS: [&str; 5] = ["name", "position", "lag_events", "lag_seconds", "holder"];
const DEAD_LETTERS: [&str; 8] = [
    "id",
    "subscription",
    "seq",
    "type",
    "subject",
    "attempts",
    "failed_at",
    "error",
];

fn subscription(one: &SubscriptionStatus, now: OffsetDateTime) -> Vec<Value> {
    let waits = one.waiting_since.map(|since| (now - since).whole_seconds());
    vec![
        json!(one.name),
        json!(one.position.0),
        json!(one.lag),
        json!(waits.unwrap_or_default().max(0)),
        json!(one.holder),
    ]
}

fn outline(letter: &DeadLetter) -> Vec<Value> {
    vec![
        json!(letter.id),
        json!(letter.subscription),
        json!(letter.seq.0),
        json!(letter.event_type),
        json!(letter.subject),
        json!(letter.attempts),
        json!(letter.failed_at.format(&Rfc3339).unwrap_or_default()),
        json!(letter.error),
    ]
}

fn whole(letter: &DeadLetter) -> Value {
    let mut all = object(&DEAD_LETTERS, outline(letter));
    if let Some(members) = all.as_object_mut() {
        let event = serde_json::from_str(&letter.body);
        members.insert(
            "event".to_owned(),
            event.unwrap_or_else(|_| json!(letter.body)),
        );
    }
    all
}

fn object(names: &[&str], values: Vec<Value>) -> Value {
    names
        .iter()
        .map(|name| (*name).to_owned())
        .zip(values)
        .collect()
}

fn print_list<T>(
    output: &EventsOutput,
    names: &[&str],
    all: &[T],
    values: impl Fn(&T) -> Vec<Value>,
) -> Result<()> {
    if output.json {
        let list: Vec<_> = all.iter().map(|one| object(names, values(one))).collect();
        return crate::print(&serde_json::to_string_pretty(&list)?);
    }
    let mut rows: Vec<Vec<_>> = vec![names.iter().map(|name| name.to_uppercase()).collect()];
    rows.extend(all.iter().map(|one| values(one).iter().map(cell).collect()));
    crate::print(&Columns::default().rows(rows))
}

/// A value in one line.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => table::cell(""),
        Value::String(text) => table::cell(text),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            table::cell(&value.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::no_subscription;

    #[test]
    fn a_misspelt_subscription_is_told_the_known_ones() {
        let known = ["va-ca", "dms-directory"].map(str::to_owned).into();
        assert_eq!(
            no_subscription("dms-dierctory", &known),
            "there is no subscription \"dms-dierctory\" (did you mean dms-directory?); \
             there are dms-directory, va-ca"
        );
        assert_eq!(
            no_subscription("mail", &[].into()),
            "there is no subscription \"mail\"; none ran yet"
        );
    }
}
