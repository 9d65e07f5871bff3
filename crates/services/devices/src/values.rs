//! Finding devices by tags, and by values in their metadata at paths that the configuration declares.
//!
//! Such values have a table of their own with an index. It only preselects: what a filter compares in the
//! end is the device itself. A page of devices with a value that thousands have is found sooner by going
//! through the list in its order, from the first device on that has it; to count them, all are looked up. Until the values of a path are there of all devices, which a job
//! sees to after the path was declared, nobody asks for it.

use async_trait::async_trait;
use lamassu_core::caller::Caller;
use lamassu_core::query::{
    Case, Condition, Field, Filter, ListRequest, Membership, PathStep, SortPath,
};
use lamassu_db::list::{ListError, Restriction, asked, selection};
use lamassu_db::{DbError, Dialect, Job, JobError, NextRun, Value, WriteSet, sql};
use serde_json::{Map, Value as JsonValue};
use time::{Duration, OffsetDateTime};

use crate::service::DevicesService;
use crate::store::{
    CREATED_COLUMN, DEVICES, DEVICES_IN_V2, END_COLUMN, VALUES, add_texts, complete_paths,
    devices_behind, devices_with, forget_paths, path_progress, path_put, time_span, value_key,
};

/// The job that keeps what devices are found by; also its lease and its signal.
pub const VALUES_JOB: &str = "device-values";

/// The path under which tags are.
pub(crate) const TAGS: &str = "tags";

/// From how many devices on the order of the list is gone through instead.
const FEW: usize = 4_000;

/// How often new ids and aliases are added to the index of their trigrams.
const INTERVAL: Duration = Duration::seconds(10);

/// What devices are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The next ones in the order of a list.
    Page,
    /// All of them, to be counted.
    Number,
}

/// A declared path: member names from the root of the metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IndexedPath {
    text: String,
    keys: Vec<String>,
}

impl IndexedPath {
    /// Reads `$.member.member`; `None` for any other path.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let path = SortPath::parse(text)?;
        let keys = path.steps().iter().map(|step| match step {
            PathStep::Key(key) => Some(key.clone()),
            PathStep::Index(_) | PathStep::Last => None,
        });
        let keys: Vec<String> = keys.collect::<Option<_>>()?;
        Some(Self {
            text: path.to_sql_json(),
            keys,
        })
    }

    /// The path in one way of writing.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The values there, as a predicate of SQL/JSON looks for them: into arrays, too.
    pub(crate) fn values<'v>(
        &self,
        metadata: &'v Map<String, JsonValue>,
    ) -> impl Iterator<Item = &'v JsonValue> + use<'v> {
        let (first, rest) = match self.keys.split_first() {
            Some((first, rest)) => (metadata.get(first), rest),
            None => (None, self.keys.as_slice()),
        };
        let mut values: Vec<&JsonValue> = first.into_iter().collect();
        for key in rest {
            let members = values.into_iter().flat_map(unwrapped);
            values = members.filter_map(|value| value.get(key)).collect();
        }
        values.into_iter().flat_map(unwrapped)
    }
}

/// The elements of an array, or the value itself.
fn unwrapped(value: &JsonValue) -> Vec<&JsonValue> {
    match value {
        JsonValue::Array(items) => items.iter().collect(),
        other => vec![other],
    }
}

impl DevicesService {
    /// What a page is restricted by, and what makes the devices few that may fulfil that and its filters.
    pub(crate) async fn narrowed(
        &self,
        fields: &'static [Field],
        scope: &str,
        request: &ListRequest,
        restrictions: &[Restriction],
    ) -> Result<Vec<Restriction>, ListError> {
        let asked = asked(&self.db, fields, scope, request).await?;
        self.narrowed_by(&asked.filters, restrictions, Purpose::Page)
            .await
    }

    /// The same for filters.
    pub(crate) async fn narrowed_by(
        &self,
        filters: &[Filter],
        restrictions: &[Restriction],
        purpose: Purpose,
    ) -> Result<Vec<Restriction>, ListError> {
        let mut narrowed = restrictions.to_vec();
        let of_route = restrictions
            .iter()
            .filter_map(|restriction| match restriction {
                Restriction::Filter(filter) => Some(filter),
                _ => None,
            });
        let filters: Vec<&Filter> = filters.iter().chain(of_route).collect();
        if purpose == Purpose::Page
            && let Some(few) = self.few_by_end(&filters).await?
        {
            narrowed.push(few);
            return Ok(narrowed);
        }
        let demands: Vec<(String, String)> = filters
            .iter()
            .flat_map(|filter| self.demands(filter))
            .collect();
        if demands.is_empty() {
            return Ok(narrowed);
        }
        let complete = complete_paths(&self.db).await?;
        let known = demands.iter().filter(|(path, _)| complete.contains(path));
        let mut many = Vec::new();
        for (path, key) in known {
            let devices = devices_with(&self.db, path, key, FEW).await?;
            if devices.len() < FEW {
                let ids = devices.into_iter().map(Into::into).collect();
                narrowed.push(Restriction::OneOf(DEVICES.key, ids));
                return Ok(narrowed);
            }
            many.push((path, key));
        }
        for (path, key) in many {
            narrowed.extend(self.part_with(path, key, purpose).await?);
        }
        Ok(narrowed)
    }

    /// The devices whose identities end when the filters say, if few do: an index by end has them, which the
    /// database takes for a list in another order only where it guesses right.
    async fn few_by_end(&self, filters: &[&Filter]) -> Result<Option<Restriction>, ListError> {
        let by_end: Vec<Filter> = filters
            .iter()
            .filter(|filter| {
                let of_end = filter.field.column == END_COLUMN;
                of_end && matches!(filter.condition, Condition::Instant(..))
            })
            .map(|filter| (*filter).clone())
            .collect();
        if by_end.is_empty() {
            return Ok(None);
        }
        let all = selection(&self.db, &DEVICES_IN_V2, &[DEVICES.key], &by_end, &[])?;
        let text = format!("{} LIMIT {FEW}", all.text());
        let rows = self.db.rows(sql(text, all.params().to_vec())).await?;
        if rows.len() >= FEW {
            return Ok(None);
        }
        let ids: Result<Vec<Value>, DbError> =
            rows.iter().map(|row| row.get(DEVICES.key)).collect();
        Ok(Some(Restriction::OneOf(DEVICES.key, ids?)))
    }

    /// Where the devices are that have a value which many have.
    async fn part_with(
        &self,
        path: &str,
        key: &str,
        purpose: Purpose,
    ) -> Result<Vec<Restriction>, ListError> {
        if purpose == Purpose::Number {
            return Ok(vec![Restriction::Among {
                column: DEVICES.key,
                of: VALUES,
                having: vec![("path", path.into()), ("value", key.into())],
            }]);
        }
        let Some((first, last)) = time_span(&self.db, path, key).await? else {
            return Ok(Vec::new());
        };
        let moment = Duration::MICROSECOND;
        Ok(vec![
            Restriction::Above(CREATED_COLUMN, first.saturating_sub(moment).into()),
            Restriction::Below(CREATED_COLUMN, last.saturating_add(moment).into()),
        ])
    }

    /// What a device must be found by if it fulfils the filter.
    fn demands(&self, filter: &Filter) -> Vec<(String, String)> {
        match (&filter.condition, filter.field.name) {
            (
                Condition::Element {
                    membership: Membership::In,
                    case: Case::Exact,
                    value,
                },
                "tags",
            ) => value_key(&JsonValue::String(value.clone()))
                .map(|key| (TAGS.to_owned(), key))
                .into_iter()
                .collect(),
            (Condition::JsonPath(path), "metadata") => {
                let demands = path.demands().into_iter();
                let indexed = demands.filter_map(|(keys, value)| {
                    let path = self.indexed.iter().find(|path| path.keys == keys)?;
                    Some((path.text.clone(), value_key(&value)?))
                });
                indexed.collect()
            }
            _ => Vec::new(),
        }
    }

    /// All paths whose values are kept.
    fn kept_paths(&self) -> Vec<String> {
        let declared = self.indexed.iter().map(|path| path.text.clone());
        std::iter::once(TAGS.to_owned()).chain(declared).collect()
    }
}

/// See [`VALUES_JOB`].
#[derive(Debug)]
pub(crate) struct ValuesJob {
    service: DevicesService,
}

impl ValuesJob {
    pub(crate) const fn new(service: DevicesService) -> Self {
        Self { service }
    }

    /// Adds the values of the next devices; whether there were any.
    async fn advance(&self, path: &str) -> Result<bool, JobError> {
        let db = &self.service.db;
        let (done_to, complete) = path_progress(db, path).await?.unwrap_or_default();
        if complete {
            return Ok(false);
        }
        let devices = devices_behind(db, &done_to).await?;
        let mut set = WriteSet::new();
        for device in &devices {
            device.index(&mut set, path, &self.service.indexed);
        }
        let last = devices
            .last()
            .map_or(done_to, |device| device.id.as_str().to_owned());
        set.execute(path_put(path, &last, devices.is_empty()));
        db.commit(set).await?;
        Ok(!devices.is_empty())
    }
}

#[async_trait]
impl Job for ValuesJob {
    fn name(&self) -> &'static str {
        VALUES_JOB
    }

    async fn run(&self, _caller: &Caller, now: OffsetDateTime) -> Result<NextRun, JobError> {
        let db = &self.service.db;
        let paths = self.service.kept_paths();
        let forgotten = forget_paths(db, &paths).await?;
        if !forgotten.is_empty() {
            db.commit(forgotten).await?;
        }
        for path in &paths {
            while self.advance(path).await? {}
        }
        if db.dialect() == Dialect::Postgres {
            return Ok(NextRun::WhenWoken);
        }
        loop {
            let texts = add_texts(db).await?;
            if texts.is_empty() {
                break;
            }
            db.commit(texts).await?;
        }
        Ok(NextRun::At(now + INTERVAL))
    }
}
