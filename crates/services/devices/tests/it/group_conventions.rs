//! The conventions of lists, over lists of groups and of their members.

use std::collections::BTreeMap;

use lamassu_core::device::DeviceStatus;
use lamassu_core::percent::encode;
use lamassu_devices::{DEVICE_FIELDS, GROUP_FIELDS};
use lamassu_testing::lists::{self, ListOf};
use serde_json::json;

use crate::conventions::{fleet, many, shown};
use crate::groups::{criterion, id};
use crate::support::{Fixture, fixture};

fn groups(fixture: &Fixture) -> ListOf<'_> {
    ListOf {
        routes: &fixture.routes,
        path: "/v1/device-groups",
        name: "/name",
        fields: GROUP_FIELDS,
        shown: lists::by_name,
    }
}

fn members<'f>(fixture: &'f Fixture, path: &'f str) -> ListOf<'f> {
    ListOf {
        routes: &fixture.routes,
        path,
        name: "/id",
        fields: DEVICE_FIELDS,
        shown,
    }
}

async fn forest() -> Fixture {
    let fixture = fixture().await;
    for (n, parent) in [
        (5, None),
        (1, Some(5)),
        (2, Some(5)),
        (4, None),
        (3, Some(1)),
    ] {
        fixture.group(n, parent, json!([])).await;
    }
    fixture
}

#[tokio::test]
async fn groups_are_listed_as_everything_is() {
    let fixture = forest().await;
    let list = groups(&fixture);
    list.check_filters_of_every_field().await;
    list.check_sorts_of_every_field().await;
    list.check_refusals().await;
    list.check_what_is_ignored().await;
}

#[tokio::test]
async fn groups_come_in_pages() {
    let fixture = fixture().await;
    for n in 0..30 {
        fixture.group(n, None, json!([])).await;
    }
    let list = groups(&fixture);
    list.check_page_sizes().await;
    list.check_runs(&["", "sort_by=name&sort_mode=desc", "sort_by=parent_id"])
        .await;
    list.check_bookmarks(&[]).await;
}

#[tokio::test]
async fn members_are_listed_as_devices_are() {
    let fixture = fleet().await;
    fixture
        .group(1, None, json!([criterion("dms_owner", "eq", "fleet-1")]))
        .await;
    let path = format!("/v1/device-groups/{}/devices", id(1));
    let list = members(&fixture, &path);
    list.check_filters_of_every_field().await;
    list.check_sorts_of_every_field().await;
    list.check_refusals().await;
    list.check_what_is_ignored().await;
}

#[tokio::test]
async fn members_come_in_pages() {
    let fixture = many(30).await;
    fixture
        .group(1, None, json!([criterion("dms_owner", "eq", "fleet-1")]))
        .await;
    fixture.group(2, None, json!([])).await;
    let path = format!("/v1/device-groups/{}/devices", id(1));
    let other = format!("/v1/device-groups/{}/devices", id(2));
    let list = members(&fixture, &path);
    list.check_page_sizes().await;
    list.check_bookmarks(&[
        members(&fixture, &other).bookmark().await,
        members(&fixture, "/v1/devices").bookmark().await,
    ])
    .await;
}

/// A criterion selects what the same filter of a list selects, for each operand of each field, asked of
/// the group and asked of each device: groups have no conditions of their own.
#[tokio::test]
async fn a_criterion_means_what_the_filter_means() {
    let fixture = fleet().await;
    let devices = members(&fixture, "/v1/devices");
    let mut expected_of: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut n = 0;
    for (filter, expected) in devices.expectations().await {
        let (field, rest) = filter.split_once('[').unwrap();
        let (operand, value) = rest.split_once(']').unwrap();
        // What lists ask about statuses that there are not, or of nothing at all, no criterion does; and
        // `=` is no separator here.
        let mut words = value.split(',');
        let is_unknown_status =
            field == "status" && words.any(|word| word.parse::<DeviceStatus>().is_err());
        if is_unknown_status || value == ",," || value.starts_with(['=', ':']) {
            continue;
        }
        n += 1;
        fixture
            .group(n, None, json!([criterion(field, operand, value)]))
            .await;
        let path = format!("/v1/device-groups/{}/devices", id(n));
        assert_eq!(fixture.ids(&path).await, expected, "{filter}");
        for device in expected {
            expected_of.entry(device).or_default().push(id(n));
        }
    }
    assert!(n > 100, "only {n} criteria");
    for device in fixture.ids("/v1/devices").await {
        let path = format!("/v2/devices/{}/groups", encode(&device));
        let expected = expected_of.remove(&device).unwrap_or_default();
        assert_eq!(fixture.ids(&path).await, expected, "{device}");
    }
}
