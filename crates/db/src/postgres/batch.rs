//! One database transaction for many write sets, in two round trips.
//!
//! All statements of all sets go out at once; what each found is looked at before `COMMIT` is
//! sent. Where everything is as expected, that is all. A set that fails costs a rollback: the
//! others go again as one batch, and behind them, each under a savepoint of its own, those whose
//! failure may have been the doing of another set that failed.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, StreamExt as _};
use tokio_postgres::{Client, Error, Statement as Prepared};

use super::failure::{
    commit_error, db_error, is_aftermath, is_gone, is_outdated_plan, is_worth_repeating,
};
use super::session::{Fixed, INSERT_EVENTS, Session, check_parameters};
use crate::error::{Cause, CommitError, DbError};
use crate::statement::Statement;
use crate::value::Value;
use crate::write_set::{Committed, PlannedStep, Seq, StepKind, WriteSet};

/// Guards of one batch that are remembered as held.
const HELD_GUARDS: usize = 32;

pub(super) type Outcome = Result<Committed, CommitError>;

/// Why nothing of a batch is known to be stored.
#[derive(Debug)]
pub(super) enum Broken {
    /// Nothing was stored; the connection is of no further use.
    Lost(DbError),
    /// Nothing was stored; the same batch may succeed when it is repeated.
    Overtaken(Error),
    /// Nothing was stored; it failed as a whole.
    Failed(CommitError),
    /// The connection broke while the transaction was being confirmed.
    InDoubt {
        /// The transaction's id.
        id: i64,
        /// What the sets are told if it was committed.
        outcomes: Vec<Outcome>,
        cause: Cause,
    },
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        if is_gone(&error) || is_outdated_plan(&error) {
            Self::Lost(db_error(error, "transaction"))
        } else if is_worth_repeating(&error) {
            Self::Overtaken(error)
        } else {
            Self::Failed(CommitError::Db(db_error(error, "transaction")))
        }
    }
}

/// Names a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark<'a> {
    pub(super) process: &'a str,
    pub(super) batch: i64,
}

/// An answer, unless the server stays silent for longer than it works on any statement.
async fn in_time<T>(within: Duration, answer: impl Future<Output = T>) -> Result<T, Broken> {
    tokio::time::timeout(within, answer)
        .await
        .map_err(|elapsed| Broken::Lost(DbError::Unreachable(Arc::new(elapsed))))
}

/// Applies the sets in one transaction and commits it; one outcome per set.
///
/// `mark` names the batch: that of the process, and which one of its batches.
pub(super) async fn run(
    session: &mut Session,
    sets: &[&WriteSet],
    mark: Mark<'_>,
) -> Result<Vec<Outcome>, Broken> {
    let answer_within = session.answer_within;
    let fixed = in_time(answer_within, session.fixed()).await??;
    let mut outcomes: Vec<Option<Outcome>> = vec![None; sets.len()];
    let mut all = Vec::with_capacity(sets.len());
    for (index, set) in sets.iter().enumerate() {
        match in_time(answer_within, prepare(session, index, set)).await?? {
            Ok(prepared) => all.push(prepared),
            Err(error) => set_outcome(&mut outcomes, index, Err(error)),
        }
    }
    // In one order everywhere, so that two processes rarely wait for each other in a circle.
    all.sort_by(|a, b| a.order().cmp(&b.order()));
    let mut batch = Batch {
        client: &session.client,
        answer_within: session.answer_within,
        fixed: &fixed,
        mark,
        patience: Patience::Full,
        outcomes,
    };
    match batch.apply(&all).await? {
        Some(id) => batch.commit(id).await,
        None => Ok(finished(batch.outcomes)),
    }
}

fn finished(outcomes: Vec<Option<Outcome>>) -> Vec<Outcome> {
    let lost = || Err(CommitError::Db(DbError::Closed));
    outcomes
        .into_iter()
        .map(|outcome| outcome.unwrap_or_else(lost))
        .collect()
}

fn set_outcome(outcomes: &mut [Option<Outcome>], index: usize, outcome: Outcome) {
    if let Some(place) = outcomes.get_mut(index) {
        *place = Some(outcome);
    }
}

/// A write set with its statements as the server knows them.
struct PreparedSet<'s> {
    index: usize,
    set: &'s WriteSet,
    steps: Vec<Prepared>,
    events: Vec<Statement>,
    audit: Vec<Statement>,
}

async fn prepare<'s>(
    session: &mut Session,
    index: usize,
    set: &'s WriteSet,
) -> Result<Result<PreparedSet<'s>, CommitError>, Broken> {
    let mut steps = Vec::with_capacity(set.steps.len());
    for step in &set.steps {
        if let Err(error) = check_parameters(&step.statement) {
            return Ok(Err(error.into()));
        }
        match session.prepare(step.kind, &step.statement).await {
            Ok(prepared) => steps.push(prepared),
            Err(error) if is_gone(&error) => return Err(error.into()),
            Err(error) => return Ok(Err(db_error(error, step.statement.text()).into())),
        }
    }
    let events = set.events.iter().map(crate::log::insert).collect();
    let events: Vec<Statement> = match events {
        Ok(events) => events,
        Err(error) => return Ok(Err(serde_json::Error::into(error))),
    };
    let audit: Vec<Statement> = set.audit.iter().map(crate::AuditRecord::insert).collect();
    // One such text would take the whole batch's events down with it.
    if events
        .iter()
        .chain(&audit)
        .any(|row| row.params().iter().any(holds_nul))
    {
        return Ok(Err(CommitError::Db(DbError::corrupt(
            "event",
            "text holds the character U+0000",
        ))));
    }
    Ok(Ok(PreparedSet {
        index,
        set,
        steps,
        events,
        audit,
    }))
}

fn holds_nul(value: &Value) -> bool {
    matches!(value, Value::Text(text) | Value::Json(text) if text.contains('\0'))
}

impl PreparedSet<'_> {
    /// What its first change is about.
    fn order(&self) -> Option<(&str, &[u8])> {
        let mut writes = self
            .set
            .steps
            .iter()
            .filter(|step| step.kind == StepKind::Write);
        let first = writes.next()?;
        let key = first
            .statement
            .params()
            .iter()
            .find_map(|value| match value {
                Value::Text(text) => Some(text.as_bytes()),
                Value::Bytes(bytes) => Some(bytes),
                Value::Null | Value::Bool(_) | Value::I64(_) | Value::Json(_) => None,
            });
        Some((first.statement.text(), key.unwrap_or_default()))
    }
}

/// What a statement gave.
enum Reply {
    Done,
    Id(i64),
    Count(u64),
    Seqs(Vec<i64>),
}

type Replies<'a> = FuturesOrdered<BoxFuture<'a, Result<Reply, Error>>>;

/// How applying one set went.
enum Applied {
    /// Every statement found what the set expects.
    Met(Committed),
    /// It failed by itself, whatever the others did.
    Refused(CommitError),
    /// It failed, perhaps because of what a set before it did that failed as well.
    Suspect(CommitError),
    /// Its statements were not tried.
    NotTried,
}

/// What the server says about one transaction's statements.
struct Applying<'p, 's> {
    id: Option<i64>,
    sets: Vec<(&'p PreparedSet<'s>, Applied)>,
}

/// How long the sets of a batch wait for rows that other processes hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patience {
    /// As configured.
    Full,
    /// Hardly: one has waited in vain already, and all the others wait with it.
    Spent,
}

impl Patience {
    const fn begin(self) -> &'static str {
        match self {
            Self::Full => "BEGIN",
            Self::Spent => "BEGIN; SET LOCAL lock_timeout = 50",
        }
    }
}

struct Batch<'a> {
    client: &'a Client,
    answer_within: Duration,
    fixed: &'a Fixed,
    mark: Mark<'a>,
    patience: Patience,
    outcomes: Vec<Option<Outcome>>,
}

impl Batch<'_> {
    /// Leaves a transaction open that holds every set that can be applied, and gives its id; none
    /// where nothing can.
    async fn apply(&mut self, all: &[PreparedSet<'_>]) -> Result<Option<i64>, Broken> {
        let together: Vec<_> = all.iter().collect();
        if together.is_empty() {
            return Ok(None);
        }
        let first = self.together(&together, true).await?;
        if first.all_met() {
            return Ok(self.note(first));
        }
        self.control("ROLLBACK").await?;
        let (good, suspects) = self.sort_out(first);

        if good.is_empty() && suspects.is_empty() {
            return Ok(None);
        }
        // Again without those that failed; behind them the suspects, one at a time.
        let second = self.together(&good, true).await?;
        let (id, one_by_one) = if second.all_met() {
            (self.note(second), suspects)
        } else {
            self.control("ROLLBACK").await?;
            let (mut rest, more) = self.sort_out(second);
            rest.extend(more);
            rest.extend(suspects);
            rest.sort_by_key(|set| set.index);
            let opened = self.together(&[], true).await?;
            (self.note(opened), rest)
        };
        for set in one_by_one {
            self.alone(set).await?;
        }
        Ok(id)
    }

    /// Remembers the outcomes of a transaction's sets.
    fn note(&mut self, applying: Applying<'_, '_>) -> Option<i64> {
        for (set, applied) in applying.sets {
            if let Applied::Met(committed) = applied {
                set_outcome(&mut self.outcomes, set.index, Ok(committed));
            }
        }
        applying.id
    }

    /// After a rollback: which sets go again together, and which each alone.
    fn sort_out<'p, 's>(
        &mut self,
        applying: Applying<'p, 's>,
    ) -> (Vec<&'p PreparedSet<'s>>, Vec<&'p PreparedSet<'s>>) {
        let (mut good, mut suspects) = (Vec::new(), Vec::new());
        for (set, applied) in applying.sets {
            match applied {
                Applied::Met(_) | Applied::NotTried => good.push(set),
                Applied::Refused(error) => {
                    if matches!(error, CommitError::Db(DbError::Busy(_))) {
                        self.patience = Patience::Spent;
                    }
                    set_outcome(&mut self.outcomes, set.index, Err(error));
                }
                Applied::Suspect(_) => suspects.push(set),
            }
        }
        (good, suspects)
    }

    /// One set under a savepoint: it fails alone.
    async fn alone(&mut self, set: &PreparedSet<'_>) -> Result<(), Broken> {
        self.control("SAVEPOINT write_set").await?;
        let mut applying = self.together(&[set], false).await?;
        let outcome = match applying.sets.pop() {
            Some((_, Applied::Met(committed))) => Ok(committed),
            Some((_, Applied::Refused(error) | Applied::Suspect(error))) => Err(error),
            Some((_, Applied::NotTried)) | None => Err(CommitError::Db(DbError::Closed)),
        };
        let end = match &outcome {
            Ok(_) => "RELEASE SAVEPOINT write_set",
            Err(_) => "ROLLBACK TO SAVEPOINT write_set; RELEASE SAVEPOINT write_set",
        };
        self.control(end).await?;
        set_outcome(&mut self.outcomes, set.index, outcome);
        Ok(())
    }

    /// Sends all statements of the sets at once and looks at every answer.
    async fn together<'p, 's>(
        &self,
        sets: &[&'p PreparedSet<'s>],
        begin: bool,
    ) -> Result<Applying<'p, 's>, Broken> {
        let (client, fixed, mark) = (self.client, self.fixed, self.mark);
        let audit = columns(sets.iter().flat_map(|set| &set.audit));
        let events = columns(sets.iter().flat_map(|set| &set.events));
        let mut replies = Replies::new();
        if begin {
            let begin = self.patience.begin();
            replies.push_back(Box::pin(async move {
                client.batch_execute(begin).await.map(|()| Reply::Done)
            }));
            replies.push_back(Box::pin(async move {
                let row = client
                    .query_one(&fixed.mark, &[&mark.process, &mark.batch])
                    .await?;
                row.try_get(0).map(Reply::Id)
            }));
        }
        let sent_before = replies.len();
        let mut places = Vec::with_capacity(sets.len());
        let mut held = Held::default();
        for set in sets {
            let mut of_set = Vec::with_capacity(set.steps.len());
            for (step, prepared) in set.set.steps.iter().zip(&set.steps) {
                if let Some(place) = held.place(step) {
                    of_set.push(place);
                    continue;
                }
                held.sent(step, replies.len());
                of_set.push(replies.len());
                replies.push_back(Box::pin(async move {
                    let params = step.statement.params();
                    client.execute_raw(prepared, params).await.map(Reply::Count)
                }));
            }
            places.push(of_set);
        }
        let steps = sent_before..replies.len();
        if let Some(audit) = &audit {
            replies.push_back(Box::pin(async move {
                client
                    .execute_raw(&fixed.audit, audit)
                    .await
                    .map(Reply::Count)
            }));
        }
        if let Some(events) = &events {
            replies.push_back(Box::pin(async move {
                let parameters: Vec<_> = events.iter().map(|column| column as _).collect();
                let rows = client.query(&fixed.events, &parameters).await?;
                let seqs: Result<Vec<i64>, Error> = rows.iter().map(|row| row.try_get(0)).collect();
                seqs.map(Reply::Seqs)
            }));
        }
        let mut answers = Vec::with_capacity(replies.len());
        // Each statement has its time, whatever those before it took.
        while let Some(answer) = in_time(self.answer_within, replies.next()).await? {
            answers.push(answer);
        }
        judge(sets, &places, &steps, answers)
    }

    /// Begins or ends a part of the transaction.
    async fn control(&self, text: &str) -> Result<(), Broken> {
        Ok(in_time(self.answer_within, self.client.batch_execute(text)).await??)
    }

    async fn commit(self, id: i64) -> Result<Vec<Outcome>, Broken> {
        let confirmed =
            tokio::time::timeout(self.answer_within, self.client.batch_execute("COMMIT")).await;
        let outcomes = finished(self.outcomes);
        let cause: Cause = match confirmed {
            Ok(Ok(())) => return Ok(outcomes),
            Ok(Err(error)) if !is_gone(&error) => return Err(error.into()),
            Ok(Err(error)) => Arc::new(error),
            Err(silence) => Arc::new(silence),
        };
        Err(Broken::InDoubt {
            id,
            outcomes,
            cause,
        })
    }
}

impl Applying<'_, '_> {
    fn all_met(&self) -> bool {
        let met = |(_, applied): &(_, Applied)| matches!(applied, Applied::Met(_));
        self.id.is_some() && self.sets.iter().all(met)
    }
}

/// What every set's statements found.
fn judge<'p, 's>(
    sets: &[&'p PreparedSet<'s>],
    places: &[Vec<usize>],
    steps: &Range<usize>,
    answers: Vec<Result<Reply, Error>>,
) -> Result<Applying<'p, 's>, Broken> {
    let (mut id, mut seqs) = (None, Vec::new());
    let mut counts: Vec<Option<u64>> = Vec::with_capacity(answers.len());
    let mut failure: Option<(usize, Error)> = None;
    for (place, answer) in answers.into_iter().enumerate() {
        let mut count = None;
        match answer {
            Ok(Reply::Done) => {}
            Ok(Reply::Id(taken)) => id = Some(taken),
            Ok(Reply::Count(found)) => count = Some(found),
            Ok(Reply::Seqs(taken)) => seqs = taken,
            Err(error) if is_aftermath(&error) => {}
            Err(error)
                if is_gone(&error) || is_outdated_plan(&error) || is_worth_repeating(&error) =>
            {
                return Err(error.into());
            }
            // Parameters that do not fit never reach the server, so there may be several.
            Err(error) => {
                failure.get_or_insert((place, error));
            }
        }
        counts.push(count);
    }
    seqs.sort_unstable();
    let mut seqs = seqs.into_iter();
    let mut failed_before = false;
    let mut judged = Vec::with_capacity(sets.len());
    for (set, places) in sets.iter().zip(places) {
        let last_event = seqs.by_ref().take(set.events.len()).last().map(Seq);
        let applied = match set_failure(set, places, &counts, &mut failure) {
            Failure::None(counts) => Applied::Met(Committed { counts, last_event }),
            Failure::NotTried => Applied::NotTried,
            Failure::Of(error) if !failed_before || is_final(&error) => Applied::Refused(error),
            Failure::Of(error) => Applied::Suspect(error),
        };
        if let Applied::Refused(CommitError::Db(
            error @ (DbError::Full(_) | DbError::Unreachable(_)),
        )) = applied
        {
            return Err(Broken::Failed(CommitError::Db(error)));
        }
        failed_before |= matches!(applied, Applied::Refused(_) | Applied::Suspect(_));
        judged.push((*set, applied));
    }
    match failure {
        // `BEGIN`, events or audit records: no set is to blame.
        Some((place, error)) if !steps.contains(&place) => Err(Broken::Failed(CommitError::Db(
            db_error(error, INSERT_EVENTS),
        ))),
        _ => Ok(Applying { id, sets: judged }),
    }
}

/// Whatever the other sets did, waiting for this one again would only hold them up.
const fn is_final(error: &CommitError) -> bool {
    matches!(error, CommitError::Db(DbError::Busy(_) | DbError::TimedOut))
}

enum Failure {
    None(Vec<u64>),
    Of(CommitError),
    NotTried,
}

/// The first step of a set that failed; takes the error if it is this set's.
fn set_failure(
    set: &PreparedSet<'_>,
    places: &[usize],
    counts: &[Option<u64>],
    failure: &mut Option<(usize, Error)>,
) -> Failure {
    let mut found = Vec::with_capacity(places.len());
    for (step, &place) in set.set.steps.iter().zip(places) {
        if let Some((_, error)) = failure.take_if(|(failed, _)| *failed == place) {
            return Failure::Of(commit_error(error, step.statement.text(), step.check));
        }
        let Some(count) = counts.get(place).copied().flatten() else {
            return Failure::NotTried;
        };
        match step.check {
            Some(check) if !step.expectation.is_met_by(count) => {
                return Failure::Of(CommitError::Unmet {
                    check,
                    found: count,
                });
            }
            _ => found.push(count),
        }
    }
    Failure::None(found)
}

/// The parameters of rows of one statement, turned into an array per column.
fn columns<'r>(rows: impl Iterator<Item = &'r Statement>) -> Option<Vec<Vec<&'r Value>>> {
    let mut columns: Vec<Vec<&Value>> = Vec::new();
    for row in rows {
        columns.resize_with(row.params().len(), Vec::new);
        for (column, value) in columns.iter_mut().zip(row.params()) {
            column.push(value);
        }
    }
    (!columns.is_empty()).then_some(columns)
}

/// Guards that the transaction holds: a row that is locked and unchanged needs no second look.
#[derive(Default)]
struct Held<'s>(Vec<(&'s Statement, usize)>);

impl<'s> Held<'s> {
    /// Where the answer to the same guard is.
    fn place(&self, step: &PlannedStep) -> Option<usize> {
        if step.kind != StepKind::Guard {
            return None;
        }
        let same = self.0.iter().find(|(held, _)| **held == step.statement);
        same.map(|(_, place)| *place)
    }

    fn sent(&mut self, step: &'s PlannedStep, place: usize) {
        if step.kind == StepKind::Guard {
            if self.0.len() < HELD_GUARDS {
                self.0.push((&step.statement, place));
            }
        } else if !only_inserts(step.statement.text()) {
            // It may change what a guard looked at.
            self.0.clear();
        }
    }
}

fn only_inserts(text: &str) -> bool {
    text.starts_with("INSERT") && !text.contains("DO UPDATE")
}
