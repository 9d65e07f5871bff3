//! v2 of the device manager of another process.

use async_trait::async_trait;
use bytes::Bytes;
use http::header::IF_MATCH;
use http::{HeaderValue, Method};
use lamassu_core::caller::Caller;
use lamassu_core::device::statistics::{CountDevices, DeviceStatistics};
use lamassu_core::device::v2::{
    CountedPage, Decommission, DeviceV2, HistoryItem, Include, ListDevices, ListHistory,
    RegisterDevice,
};
use lamassu_core::device::{DeviceRegistry, RegistryError};
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::DeviceId;
use lamassu_core::patch::{DocumentPatch, PatchBody};
use lamassu_core::percent::encode;
use lamassu_core::query::{Condition, ListRequest};
use lamassu_core::revision::Precondition;
use serde::Serialize;

use crate::device::{DeviceClient, of_device};
use crate::peer::Call;
use crate::retry::Repeat;

const MERGE_PATCH: HeaderValue = HeaderValue::from_static("application/merge-patch+json");
const JSON_PATCH: HeaderValue = HeaderValue::from_static("application/json-patch+json");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

impl Call {
    /// Only at a revision.
    pub(crate) fn expecting(mut self, expected: &Precondition) -> Self {
        let header = expected.to_header();
        if let Some(Ok(value)) = header.map(HeaderValue::try_from) {
            self.headers.insert(IF_MATCH, value);
        }
        self
    }
}

/// A list's query, with what v2 asks for beside it.
pub(crate) fn list_query(request: &ListRequest, count: bool, include: &str) -> String {
    // The second version refuses a list of no values, which every row fulfils.
    let mut asked = request.clone();
    asked
        .filters
        .retain(|filter| filter.condition != Condition::Anything);
    let mut query = asked.to_query();
    for (name, value) in [
        ("count", if count { "true" } else { "" }),
        ("include", include),
    ] {
        if !value.is_empty() {
            if !query.is_empty() {
                query.push('&');
            }
            query.push_str(&format!("{name}={}", encode(value)));
        }
    }
    query
}

pub(crate) fn device_path(id: &DeviceId, rest: &str) -> Result<String, RegistryError> {
    of_device("v2", id, rest).ok_or(RegistryError::DeviceNotFound)
}

fn written<T: Serialize>(value: &T) -> Result<Bytes, StorageFailure> {
    let json = serde_json::to_vec(value);
    json.map(Bytes::from)
        .map_err(|error| StorageFailure::Internal(Box::new(error)))
}

/// A patch and its media type.
pub(crate) fn patch_body(patch: DocumentPatch) -> Result<(Bytes, HeaderValue), StorageFailure> {
    Ok(match patch {
        DocumentPatch::Merge(members) => (written(&members)?, MERGE_PATCH),
        DocumentPatch::Strict(operations) => (written(&operations)?, JSON_PATCH),
        DocumentPatch::Metadata(operations) => {
            let body = PatchBody {
                patches: Some(operations),
            };
            (written(&body)?, JSON)
        }
    })
}

#[async_trait]
impl DeviceRegistry for DeviceClient {
    async fn list_devices(
        &self,
        caller: &Caller,
        request: &ListDevices,
    ) -> Result<CountedPage<DeviceV2>, RegistryError> {
        let include = request.include.to_text();
        let mut query = list_query(&request.request, request.count, &include);
        if let Some(group) = &request.group {
            let separator = if query.is_empty() { "" } else { "&" };
            query.push_str(&format!("{separator}group={}", encode(group.as_str())));
        }
        let call = Call::get(format!("/v2/devices?{query}"));
        self.0.read(caller, call).await
    }

    async fn register_device(
        &self,
        caller: &Caller,
        request: RegisterDevice,
    ) -> Result<DeviceV2, RegistryError> {
        let path = "/v2/devices".to_owned();
        let call = Call::json(Method::POST, path, &request, Repeat::Once)?;
        self.0.read(caller, call).await
    }

    async fn read_device(
        &self,
        caller: &Caller,
        id: &DeviceId,
        include: Include,
    ) -> Result<DeviceV2, RegistryError> {
        let mut path = device_path(id, "")?;
        if include != Include::default() {
            path.push_str(&format!("?include={}", encode(&include.to_text())));
        }
        self.0.read(caller, Call::get(path)).await
    }

    async fn patch_device(
        &self,
        caller: &Caller,
        id: &DeviceId,
        patch: DocumentPatch,
        expected: Precondition,
    ) -> Result<DeviceV2, RegistryError> {
        let body = patch_body(patch)?;
        let path = device_path(id, "")?;
        let call = Call {
            body: Some(body),
            ..Call::bare(Method::PATCH, path, Repeat::Once)
        };
        self.0.read(caller, call.expecting(&expected)).await
    }

    async fn retire_device(
        &self,
        caller: &Caller,
        id: &DeviceId,
        how: Decommission,
        expected: Precondition,
    ) -> Result<DeviceV2, RegistryError> {
        let query = format!(
            "?reason={}&comment={}",
            how.reason.name(),
            encode(&how.comment)
        );
        let path = device_path(id, &query)?;
        let call = Call::bare(Method::DELETE, path, Repeat::Safe);
        self.0.read(caller, call.expecting(&expected)).await
    }

    async fn purge_device(
        &self,
        caller: &Caller,
        id: &DeviceId,
        expected: Precondition,
    ) -> Result<(), RegistryError> {
        let path = device_path(id, "?purge=true")?;
        let call = Call::bare(Method::DELETE, path, Repeat::Once);
        self.0.done(caller, call.expecting(&expected)).await
    }

    async fn statistics(
        &self,
        caller: &Caller,
        request: &CountDevices,
    ) -> Result<DeviceStatistics, RegistryError> {
        let filters = ListRequest {
            filters: request.filters.clone(),
            ..ListRequest::default()
        };
        let words = [
            (request.health, "health"),
            (request.expiration, "expiration"),
        ];
        let words = words.into_iter().filter(|(is_in, _)| *is_in);
        let words: Vec<&str> = words.map(|(_, word)| word).collect();
        let mut query = list_query(&filters, false, &words.join(","));
        if let Some(group_by) = &request.group_by {
            query.push_str(&format!("&group_by={}", encode(&group_by.to_text())));
        }
        if let Some(group) = &request.group {
            query.push_str(&format!("&group={}", encode(group.as_str())));
        }
        let call = Call::get(format!("/v2/stats/devices?{query}"));
        self.0.read(caller, call).await
    }

    async fn device_history(
        &self,
        caller: &Caller,
        id: &DeviceId,
        request: &ListHistory,
    ) -> Result<CountedPage<HistoryItem>, RegistryError> {
        let query = list_query(&request.request, request.count, "");
        let path = device_path(id, &format!("/events?{query}"))?;
        self.0.read(caller, Call::get(path)).await
    }
}
