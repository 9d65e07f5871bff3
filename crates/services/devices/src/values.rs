//! Finding devices by tags, and by values in their metadata at paths that the configuration declares.
//!
//! Such values have a table of their own with an index. It only preselects: what a filter compares in the
//! end is the device itself. A value that thousands have is not looked for there: a page of the list is found
//! sooner by going through it in its order. Until the values of a path are there of all devices, which a job
//! sees to after the path was declared, nobody asks for it.

use async_trait::async_trait;
use lamassu_core::caller::Caller;
use lamassu_core::query::{
    Case, Condition, Field, Filter, ListRequest, Membership, PathStep, SortPath,
};
use lamassu_db::list::{ListError, Restriction, asked};
use lamassu_db::{Dialect, Job, JobError, NextRun, WriteSet};
use serde_json::{Map, Value};
use time::{Duration, OffsetDateTime};

use crate::service::DevicesService;
use crate::store::{
    DEVICES, add_texts, complete_paths, devices_behind, devices_with, forget_paths, path_progress,
    path_put, value_key,
};

/// The job that keeps what devices are found by; also its lease and its signal.
pub const VALUES_JOB: &str = "device-values";

/// The path under which tags are.
pub(crate) const TAGS: &str = "tags";

/// From how many devices on the order of the list is gone through instead.
const FEW: usize = 4_000;

/// How often new ids and aliases are added to the index of their trigrams.
const INTERVAL: Duration = Duration::seconds(10);

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
        metadata: &'v Map<String, Value>,
    ) -> impl Iterator<Item = &'v Value> + use<'v> {
        let (first, rest) = match self.keys.split_first() {
            Some((first, rest)) => (metadata.get(first), rest),
            None => (None, self.keys.as_slice()),
        };
        let mut values: Vec<&Value> = first.into_iter().collect();
        for key in rest {
            let members = values.into_iter().flat_map(unwrapped);
            values = members.filter_map(|value| value.get(key)).collect();
        }
        values.into_iter().flat_map(unwrapped)
    }
}

/// The elements of an array, or the value itself.
fn unwrapped(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        other => vec![other],
    }
}

impl DevicesService {
    /// What makes the devices few that may fulfil a list's filters, if any of them does.
    pub(crate) async fn preselect(
        &self,
        fields: &'static [Field],
        scope: &str,
        request: &ListRequest,
    ) -> Result<Option<Restriction>, ListError> {
        let asked = asked(&self.db, fields, scope, request).await?;
        self.preselect_by(&asked.filters).await
    }

    /// The same for filters.
    pub(crate) async fn preselect_by(
        &self,
        filters: &[Filter],
    ) -> Result<Option<Restriction>, ListError> {
        let demands: Vec<(String, String)> = filters
            .iter()
            .flat_map(|filter| self.demands(filter))
            .collect();
        if demands.is_empty() {
            return Ok(None);
        }
        let complete = complete_paths(&self.db).await?;
        for (path, key) in demands {
            if !complete.contains(&path) {
                continue;
            }
            let devices = devices_with(&self.db, &path, &key, FEW).await?;
            if devices.len() < FEW {
                let ids = devices.into_iter().map(Into::into).collect();
                return Ok(Some(Restriction::OneOf(DEVICES.key, ids)));
            }
        }
        Ok(None)
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
            ) => value_key(&Value::String(value.clone()))
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
