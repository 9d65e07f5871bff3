//! `/v2/stats/devices`.

use axum::extract::State;
use lamassu_core::device::RegistryError;
use lamassu_core::device::statistics::{CountDevices, DeviceStatistics, GroupBy};
use lamassu_core::ids::DeviceGroupId;
use lamassu_core::query::{ListRequest, QueryError};
use lamassu_http::{AskedBy, CountedInV2, Json200, Members, Query, QueryPairs, Reply};
use schemars::JsonSchema;

use super::super::Devices;
use super::devices::{Registered, invalid};
use crate::store::DEVICE_FIELDS_IN_V2;

/// Query parameters.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read one by one")]
pub(in crate::http) struct Numbers {
    /// What the devices are divided by: `dms_owner`, `tags` or `metadata[jsonpath]$.path`.
    group_by: Option<String>,
    /// What else is told, a comma list of `health` and `expiration`.
    include: Option<String>,
    /// The group whose members are counted.
    group: Option<DeviceGroupId>,
}

pub(super) async fn count(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    query: Query<(CountedInV2<Registered>, Members<Numbers>)>,
) -> Reply<Json200<DeviceStatistics>> {
    let request = count_request(&query, &devices)?;
    Ok(Json200(
        devices.service.statistics(&caller, &request).await?,
    ))
}

/// What statistics are asked for.
pub(in crate::http) fn count_request(
    query: &QueryPairs,
    devices: &Devices,
) -> Result<CountDevices, RegistryError> {
    let known = |name: &str| matches!(name, "filter" | "group_by" | "include" | "group");
    if let Some((name, _)) = query.0.iter().find(|(name, _)| !known(name)) {
        return Err(QueryError::UnknownParameter(name.clone()).into());
    }
    let others = ["group_by", "include", "group"];
    let now = devices.clock.now();
    let list = ListRequest::from_pairs_in_v2(&query.0, DEVICE_FIELDS_IN_V2, &others, now)?;
    let mut request = CountDevices {
        filters: list.filters,
        group: query.first("group").map(DeviceGroupId::from),
        ..CountDevices::default()
    };
    if let Some(text) = query.first("group_by") {
        let group_by = GroupBy::parse(text);
        let reason = "not dms_owner, tags or a path in metadata";
        request.group_by = Some(group_by.ok_or_else(|| invalid("group_by", reason))?);
    }
    let words = query.first("include").unwrap_or_default().split(',');
    for word in words.filter(|word| !word.is_empty()) {
        match word {
            "health" => request.health = true,
            "expiration" => request.expiration = true,
            other => return Err(invalid("include", &format!("unknown word '{other}'"))),
        }
    }
    Ok(request)
}
