//! Numbers of devices for v2.
//!
//! All devices by status are counted as they change (`store/count.rs`), so that this number costs nothing
//! however many there are. What a filter or a group restricts is counted in one grouped query. All numbers
//! of an answer are of one snapshot.

use std::collections::BTreeMap;

use lamassu_core::device::statistics::{
    Breakdown, CountDevices, DeviceStatistics, Expiration, GroupBy, Health,
};
use lamassu_core::device::{DeviceStatus, RegistryError};
use lamassu_core::error::StorageFailure;
use lamassu_core::timestamp::Timestamp;
use lamassu_db::list::{ListError, Restriction, selection};
use lamassu_db::{DbError, Dialect, FromValue as _, Row, Statement, Value, sql};
use serde_json::Value as JsonValue;
use time::{Duration, OffsetDateTime};

use crate::service::DevicesService;
use crate::store::{DEVICES_IN_V2, END_COLUMN, OWNER_COLUMN, STATUS_FIELD, by_status, counters};
use crate::values::Purpose;

/// Within which times ends are counted.
const WINDOWS: [Duration; 4] = [
    Duration::days(1),
    Duration::days(7),
    Duration::days(30),
    Duration::days(90),
];

/// Most values of a breakdown; all others are one.
const MAX_VALUES: usize = 100;

type Distribution = BTreeMap<DeviceStatus, u64>;

/// What an answer tells.
struct Numbers {
    distribution: Distribution,
    expiration: Option<Expiration>,
    breakdown: Option<Vec<Breakdown>>,
}

impl DevicesService {
    /// Counts the devices that fulfil the filters and these restrictions.
    pub(crate) async fn statistics_of(
        &self,
        request: &CountDevices,
        restrictions: &[Restriction],
    ) -> Result<DeviceStatistics, RegistryError> {
        let now = self.db.now();
        let narrowed = self
            .narrowed_by(&request.filters, restrictions, Purpose::Number)
            .await;
        let restrictions: &[Restriction] =
            &narrowed.map_err(ListError::into_error::<RegistryError>)?;
        let distribution = if request.filters.is_empty() && restrictions.is_empty() {
            counters()
        } else {
            self.distribution(request, restrictions)?
        };
        let mut asked = vec![distribution];
        if request.expiration {
            asked.push(self.expiration(request, restrictions, now)?);
        }
        if let Some(group_by) = &request.group_by {
            asked.push(self.breakdown(request, restrictions, group_by)?);
        }
        let results = self.db.snapshot(asked).await;
        let numbers = Numbers::of(request, results.map_err(StorageFailure::from)?);
        let Numbers {
            distribution,
            expiration,
            breakdown,
        } = numbers.map_err(StorageFailure::from)?;
        Ok(DeviceStatistics {
            total: distribution.values().sum(),
            health: request.health.then(|| Health::of(&distribution)),
            status_distribution: distribution,
            as_of: Timestamp(now),
            expiration,
            breakdown,
        })
    }

    fn distribution(
        &self,
        request: &CountDevices,
        restrictions: &[Restriction],
    ) -> Result<Statement, RegistryError> {
        let columns = [STATUS_FIELD];
        let filters = &request.filters;
        let chosen = selection(&self.db, &DEVICES_IN_V2, &columns, filters, restrictions);
        let chosen = chosen.map_err(ListError::into_error::<RegistryError>)?;
        let text = format!(
            "WITH chosen AS ({}) SELECT status, COUNT(*) AS n FROM chosen GROUP BY status",
            chosen.text()
        );
        Ok(sql(text, chosen.params().to_vec()))
    }

    /// How many identities end within each time: one range of an index.
    fn expiration(
        &self,
        request: &CountDevices,
        restrictions: &[Restriction],
        now: OffsetDateTime,
    ) -> Result<Statement, RegistryError> {
        let gone = ["EXPIRED", "REVOKED"].map(Value::from).to_vec();
        let ends = WINDOWS.map(|duration| now.saturating_add(duration));
        let last = ends.last().copied().unwrap_or(now);
        let mut all = restrictions.to_vec();
        all.extend([
            Restriction::Above(END_COLUMN, now.into()),
            Restriction::Below(END_COLUMN, last.into()),
            Restriction::NoneOf("slot_status", gone),
        ]);
        let filters = &request.filters;
        let chosen = selection(&self.db, &DEVICES_IN_V2, &[END_COLUMN], filters, &all);
        let chosen = chosen.map_err(ListError::into_error::<RegistryError>)?;
        Ok(ending(self.db.dialect(), &chosen, ends))
    }

    fn breakdown(
        &self,
        request: &CountDevices,
        restrictions: &[Restriction],
        group_by: &GroupBy,
    ) -> Result<Statement, RegistryError> {
        let columns = [column_of(group_by), STATUS_FIELD];
        let filters = &request.filters;
        let chosen = selection(&self.db, &DEVICES_IN_V2, &columns, filters, restrictions);
        let chosen = chosen.map_err(ListError::into_error::<RegistryError>)?;
        Ok(breakdown_of(self.db.dialect(), &chosen, group_by))
    }
}

impl Numbers {
    /// Reads the results of what the request asked for, in that order.
    fn of(request: &CountDevices, results: Vec<Vec<Row>>) -> Result<Self, DbError> {
        let mut results = results.into_iter();
        let mut next = || results.next().unwrap_or_default();
        Ok(Self {
            distribution: whole(&by_status(&next())?),
            expiration: request
                .expiration
                .then(|| ends_within(&next()))
                .transpose()?,
            breakdown: match request.group_by {
                Some(_) => Some(ranked(&next())?),
                None => None,
            },
        })
    }
}

/// How many of the chosen identities end before each instant.
fn ending(dialect: Dialect, chosen: &Statement, ends: [OffsetDateTime; 4]) -> Statement {
    let mut params = chosen.params().to_vec();
    let mut counts = Vec::with_capacity(ends.len());
    for (place, end) in ends.into_iter().enumerate() {
        params.push(end.into());
        let end = parameter(dialect, params.len());
        counts.push(format!(
            "COUNT(CASE WHEN not_after < {end} THEN 1 END) AS within_{place}"
        ));
    }
    // The chosen ones come first, as their parameters do.
    let (chosen, counts) = (chosen.text(), counts.join(", "));
    sql(
        format!("WITH chosen AS ({chosen}) SELECT {counts} FROM chosen"),
        params,
    )
}

fn ends_within(rows: &[Row]) -> Result<Expiration, DbError> {
    let row = rows.first();
    let count = |name: &str| row.map_or(Ok(0), |row| row.get(name));
    Ok(Expiration {
        day: count("within_0")?,
        week: count("within_1")?,
        month: count("within_2")?,
        quarter: count("within_3")?,
    })
}

/// The last parameter of a statement that has so many.
fn parameter(dialect: Dialect, n: usize) -> String {
    match dialect {
        Dialect::Sqlite => "?".to_owned(),
        Dialect::Postgres => format!("${n}"),
    }
}

/// Where the values of a breakdown come from.
const fn column_of(group_by: &GroupBy) -> &'static str {
    match group_by {
        GroupBy::Owner => OWNER_COLUMN,
        GroupBy::Tags => "tags",
        GroupBy::Metadata(_) => "metadata",
    }
}

/// Values and statuses of the chosen devices with their numbers; values as JSON.
fn breakdown_of(dialect: Dialect, chosen: &Statement, group_by: &GroupBy) -> Statement {
    let mut params = chosen.params().to_vec();
    // What is counted, how it becomes JSON, and where it comes from beside the device.
    let (raw, value, join) = match (group_by, dialect) {
        (GroupBy::Owner, Dialect::Sqlite) => ("c.dms_owner", "json_quote(raw)", ""),
        (GroupBy::Owner, Dialect::Postgres) => ("c.dms_owner", "CAST(to_jsonb(raw) AS TEXT)", ""),
        (GroupBy::Tags, Dialect::Sqlite) => (
            "e.value",
            "json_quote(raw)",
            "LEFT JOIN json_each(c.tags) e",
        ),
        (GroupBy::Tags, Dialect::Postgres) => (
            "e.value",
            "CAST(raw AS TEXT)",
            "LEFT JOIN LATERAL jsonb_array_elements(c.tags) AS e(value) ON TRUE",
        ),
        (GroupBy::Metadata(path), Dialect::Sqlite) => {
            params.push(path.to_sql_json().replace("[last]", "[#-1]").into());
            ("c.metadata -> $path", "raw", "")
        }
        (GroupBy::Metadata(path), Dialect::Postgres) => {
            params.push(path.to_sql_json().into());
            (
                "jsonb_path_query_first(c.metadata, CAST($path AS jsonpath))",
                "CAST(raw AS TEXT)",
                "",
            )
        }
    };
    let raw = raw.replace("$path", &parameter(dialect, params.len()));
    // The chosen ones come first, as their parameters do.
    let text = format!(
        "WITH chosen AS ({}) SELECT {value} AS value, status, n FROM \
         (SELECT raw, status, COUNT(*) AS n FROM \
         (SELECT {raw} AS raw, c.status AS status FROM chosen c {join}) AS valued \
         GROUP BY raw, status) AS counted",
        chosen.text()
    );
    sql(text, params)
}

/// The values by their numbers, largest first; those beyond the most that are told, and those of devices
/// without a value, are one.
fn ranked(rows: &[Row]) -> Result<Vec<Breakdown>, DbError> {
    let mut by_value: BTreeMap<Option<String>, Distribution> = BTreeMap::new();
    for row in rows {
        let value: Option<String> = row.get("value")?;
        let value = value.filter(|value| value != "null");
        let status = status(&row.get::<Value>("status")?)?;
        let counts = by_value.entry(value).or_default();
        let count = counts.entry(status).or_default();
        *count = count.saturating_add(number(row.get("n")?));
    }
    let mut rest = by_value.remove(&None);
    let mut values: Vec<_> = by_value.into_iter().collect();
    let total = |counts: &Distribution| counts.values().sum::<u64>();
    values.sort_by(|(one, a), (other, b)| total(b).cmp(&total(a)).then_with(|| one.cmp(other)));
    for (_, counts) in values.drain(values.len().min(MAX_VALUES)..) {
        let rest = rest.get_or_insert_default();
        for (status, n) in counts {
            let count = rest.entry(status).or_default();
            *count = count.saturating_add(n);
        }
    }
    let shown = values.into_iter().chain(rest.map(|counts| (None, counts)));
    Ok(shown
        .map(|(value, counts)| Breakdown {
            value: value.map_or(JsonValue::Null, |text| {
                serde_json::from_str(&text).unwrap_or(JsonValue::String(text))
            }),
            total: total(&counts),
            status_distribution: whole(&counts),
        })
        .collect())
}

/// With every status.
fn whole(counts: &Distribution) -> Distribution {
    let count = |status| (status, counts.get(&status).copied().unwrap_or_default());
    DeviceStatus::ALL.into_iter().map(count).collect()
}

fn status(name: &Value) -> Result<DeviceStatus, DbError> {
    let corrupt = || DbError::corrupt("device.status", "unknown status");
    let name = String::from_value(name).map_err(|_| corrupt())?;
    name.parse().map_err(|_| corrupt())
}

fn number(n: i64) -> u64 {
    u64::try_from(n).unwrap_or_default()
}
