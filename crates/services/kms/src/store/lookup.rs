//! Keys by address. Look-ups that are made at the same time are one statement: whoever signs a
//! request asks whether its key is one of ours, and a statement for each of them costs more than
//! all else about it.
//!
//! A few look-ups at a time lead: each asks for itself and for others that wait. A statement begins after
//! everybody whom it answers has asked, so nobody is told what was true before that.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lamassu_db::{Db, DbError, Statement, Value, in_list, sql_of_few};
use tokio::sync::oneshot;

use super::row::StoredKey;
use crate::key_address::KeyAddress;

/// Statements at a time. With one, few who ask would wait for each other more than for the database.
const AT_A_TIME: usize = 4;

/// Most addresses of one statement.
const TOGETHER: usize = 64;

/// Where look-ups meet.
#[derive(Debug)]
pub(super) struct Lookups {
    db: Db,
    line: Arc<Line>,
}

/// Those that wait while others lead.
#[derive(Debug, Default)]
struct Line(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    lookups: VecDeque<Lookup>,
    n_leading: usize,
}

#[derive(Debug)]
struct Lookup {
    address: KeyAddress,
    tell: oneshot::Sender<Told>,
}

/// What becomes of who waits.
#[derive(Debug)]
enum Told {
    /// The keys that were found for all.
    Answer(Result<Arc<[StoredKey]>, DbError>),
    Lead(Turn),
}

/// A lead. Whoever drops it hands it on, whether it was done with it or has gone away.
#[derive(Debug)]
struct Turn(Arc<Line>);

impl Drop for Turn {
    fn drop(&mut self) {
        let mut waiting = self.0.lock();
        let next = loop {
            match waiting.lookups.pop_front() {
                None => {
                    waiting.n_leading = waiting.n_leading.saturating_sub(1);
                    return;
                }
                Some(gone) if gone.tell.is_closed() => {}
                Some(next) => break next,
            }
        };
        drop(waiting);
        // One that has gone just now drops the turn, and so hands it on.
        drop(next.tell.send(Told::Lead(Self(Arc::clone(&self.0)))));
    }
}

impl Line {
    /// A lead, or a place behind those who have one.
    fn join(self: &Arc<Self>, address: &KeyAddress) -> Result<Turn, oneshot::Receiver<Told>> {
        let mut waiting = self.lock();
        if waiting.n_leading < AT_A_TIME {
            waiting.n_leading = waiting.n_leading.saturating_add(1);
            return Ok(Turn(Arc::clone(self)));
        }
        let (tell, told) = oneshot::channel();
        let address = address.clone();
        waiting.lookups.push_back(Lookup { address, tell });
        Err(told)
    }

    /// The first of those that wait, at most `most`.
    fn take(&self, most: usize) -> Vec<Lookup> {
        let mut waiting = self.lock();
        let n_taken = waiting.lookups.len().min(most);
        waiting.lookups.drain(..n_taken).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lookups {
    pub(super) fn new(db: Db) -> Self {
        Self {
            db,
            line: Arc::default(),
        }
    }

    /// The key at an address.
    pub(super) async fn find(&self, address: &KeyAddress) -> Result<Option<StoredKey>, DbError> {
        loop {
            let turn = match self.line.join(address) {
                Ok(turn) => turn,
                Err(told) => match told.await {
                    Ok(Told::Answer(found)) => return found.map(|keys| at(&keys, address)),
                    Ok(Told::Lead(turn)) => turn,
                    // Who asked for us went away.
                    Err(_gone) => continue,
                },
            };
            return self.lead(turn, address).await;
        }
    }

    async fn lead(&self, turn: Turn, own: &KeyAddress) -> Result<Option<StoredKey>, DbError> {
        let mut others = turn.0.take(TOGETHER - 1);
        let addresses = std::iter::once(own).chain(others.iter().map(|other| &other.address));
        let found = self.rows(addresses).await;
        if found.is_err() {
            // Who has come meanwhile does not wait for a database that is away one after the other.
            others.extend(turn.0.take(usize::MAX));
        }
        // The next statement is on its way before these go on.
        drop(turn);
        for other in others {
            // Who has gone needs no answer.
            drop(other.tell.send(Told::Answer(found.clone())));
        }
        found.map(|keys| at(&keys, own))
    }

    /// The keys at any of these addresses.
    async fn rows(
        &self,
        addresses: impl Iterator<Item = &KeyAddress>,
    ) -> Result<Arc<[StoredKey]>, DbError> {
        let rows = self.db.rows(select(addresses)).await?;
        rows.iter().map(StoredKey::try_from).collect()
    }
}

/// The key at an address, of those that were found for several: its id goes before an alias.
fn at(keys: &[StoredKey], address: &KeyAddress) -> Option<StoredKey> {
    let by_id = |id: &str| keys.iter().find(|stored| stored.key.key_id.as_str() == id);
    let found = match address {
        KeyAddress::Id(id) => by_id(id.as_str()),
        KeyAddress::IdOrAlias(name) => by_id(name).or_else(|| {
            let mut all = keys.iter();
            all.find(|stored| stored.key.aliases.contains(name))
        }),
    };
    found.cloned()
}

/// Both by index: a condition that joins them by OR is none that PostgreSQL uses indexes for.
fn select<'a>(addresses: impl Iterator<Item = &'a KeyAddress>) -> Statement {
    let texts = addresses.map(|address| match address {
        KeyAddress::Id(id) => id.as_str(),
        KeyAddress::IdOrAlias(name) => name.as_str(),
    });
    let mut values: Vec<Value> = texts.map(Value::from).collect();
    let list = in_list(&mut values);
    let text = format!(
        concat!(
            super::select_key!("key_id IN ({list})"),
            " UNION ALL ",
            super::select_key!(
                "handle IN (SELECT a.handle FROM kms_key_alias AS a WHERE a.alias IN ({list}))"
            )
        ),
        list = list
    );
    sql_of_few(text, values)
}
