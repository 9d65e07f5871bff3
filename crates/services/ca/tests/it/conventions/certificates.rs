//! The lists of certificates.

use http::StatusCode;
use lamassu_ca::CERTIFICATE_FIELDS;
use lamassu_core::query::Field;
use lamassu_testing::lists::{self, ListOf};
use serde_json::{Value, json};
use time::Duration;

use super::{set_metadata, text};
use crate::support::{ForeignPlan, World};

fn shown(field: &Field) -> Option<String> {
    match field.name {
        // Certificates do not show these; see `certificates_are_found_by_fingerprint_and_…`.
        "fingerprint" | "san" => None,
        "issuer_meta.id" => Some("/issuer_metadata/id".to_owned()),
        _ => lists::by_name(field),
    }
}

fn certificates<'w>(world: &'w World, path: &'w str) -> ListOf<'w> {
    ListOf {
        routes: &world.routes,
        path,
        name: "/serial_number",
        fields: CERTIFICATE_FIELDS,
        shown,
    }
}

/// Certificates of all kinds, the second one with the document; its serial number.
async fn all_kinds() -> (World, String) {
    let world = World::new().await;
    world.root("root-a").await;
    let mut with = String::new();
    for (index, name) in ["Device-1", "device-2", "Übung, \"x\""]
        .into_iter()
        .enumerate()
    {
        world.clock.advance(Duration::seconds(1));
        let issued = world.issue("root-a", name).await;
        let path = format!("/v1/certificates/{}", text(&issued, "serial_number"));
        match index {
            0 => {
                set_metadata(&world, &path, &lists::document()).await;
                text(&issued, "serial_number").clone_into(&mut with);
            }
            1 => {
                let body = json!({ "status": "REVOKED", "revocation_reason": "KeyCompromise" });
                world
                    .put(&format!("{path}/status"), body)
                    .await
                    .with(StatusCode::OK);
            }
            _ => {}
        }
    }
    let foreign = ForeignPlan::root("elsewhere").make();
    world
        .post(
            "/v1/certificates/import",
            json!({ "certificate": foreign.wire() }),
        )
        .await
        .with(StatusCode::CREATED);
    (world, with)
}

/// Certificates of a CA, as many as its list needs for pages.
async fn many(n: usize) -> World {
    let world = World::new().await;
    world.root("root-a").await;
    for index in 1..n {
        world
            .issue("root-a", &format!("device-{}", index / 2))
            .await;
        if index % 3 == 0 {
            world.clock.advance(Duration::seconds(1));
        }
    }
    world
}

#[tokio::test]
async fn filters_of_every_field_select_what_certificates_show() {
    let (world, _) = all_kinds().await;
    for path in [
        "/v1/certificates",
        "/v1/cas/root-a/certificates",
        "/v1/certificates/status/ACTIVE",
    ] {
        certificates(&world, path)
            .check_filters_of_every_field()
            .await;
    }
}

#[tokio::test]
async fn certificates_sort_by_every_field() {
    let (world, with) = all_kinds().await;
    let list = certificates(&world, "/v1/certificates");
    list.check_sorts_of_every_field().await;
    list.check_path_sorts("metadata", &with).await;
}

#[tokio::test]
async fn predicates_look_into_the_metadata_of_certificates() {
    let (world, with) = all_kinds().await;
    let list = certificates(&world, "/v1/certificates");
    list.check_predicates("metadata", &with).await;
}

#[tokio::test]
async fn queries_for_certificates_are_refused_or_ignored_as_everywhere() {
    let (world, _) = all_kinds().await;
    for path in [
        "/v1/certificates",
        "/v1/certificates/status/ACTIVE",
        "/v1/certificates/expiration",
        "/v1/cas/root-a/certificates",
        "/v1/cas/root-a/certificates/status/ACTIVE",
    ] {
        certificates(&world, path).check_refusals().await;
        certificates(&world, path).check_what_is_ignored().await;
    }
}

#[tokio::test]
async fn certificates_come_in_pages() {
    let world = many(31).await;
    let list = certificates(&world, "/v1/certificates");
    list.check_page_sizes().await;
    list.check_runs(&[
        "",
        "sort_by=serial_number&sort_mode=desc",
        "sort_by=subject.common_name&sort_mode=desc",
        "sort_by=valid_to&sort_mode=desc&filter=status[eq]ACTIVE",
        "sort_by=metadata[jsonpath]$.none&sort_mode=desc",
    ])
    .await;
    // One of the same resource is foreign as well: the list behind another path.
    let mut foreign = Vec::new();
    for path in [
        "/v1/cas/root-a/certificates",
        "/v1/certificates/status/ACTIVE",
        "/v1/cas/root-a/certificates/status/ACTIVE",
    ] {
        foreign.push(certificates(&world, path).bookmark().await);
        certificates(&world, path)
            .check_runs(&["", "sort_by=subject.common_name"])
            .await;
    }
    list.check_bookmarks(&foreign).await;
}

/// The SDK repeats `expires_after` and `expires_before`, which are part of the route, on every page.
#[tokio::test]
async fn the_bounds_of_expiration_come_from_every_request() {
    let world = many(7).await;
    let list = certificates(&world, "/v1/certificates/expiration");
    let bounds = "expires_after=2026-03-02T00%3A00%3A00Z&expires_before=2026-03-03T00%3A00%3A00Z";
    let page = list.page(&format!("{bounds}&page_size=4")).await;
    let next = text(&page, "next");
    assert_eq!(list.names(&page).len(), 4);
    let rest = list
        .page(&format!("{bounds}&bookmark={next}&sort_mode=desc"))
        .await;
    assert_eq!((list.names(&rest).len(), &rest["next"]), (2, &json!("")));
    assert_eq!(list.answer(&format!("bookmark={next}")).await, "");
    let bad = "invalid value for field 'expires_before': not an RFC 3339 time";
    list.check(&[
        (
            "expires_after=2026-03-02T00:00:00Z&expires_before=soon",
            bad,
        ),
        ("expires_before=2026-03-02", bad),
        // Without a bound nothing lies before it.
        ("expires_after=2026-03-02T00:00:00Z&expires_before=", ""),
    ])
    .await;
}

#[tokio::test]
async fn certificates_that_come_and_go_between_pages_move_no_other() {
    for sort in [
        "sort_by=serial_number&sort_mode=asc",
        "sort_by=subject.common_name",
        "",
    ] {
        let world = many(8).await;
        world.root("root-b").await;
        // Certificates may go when their issuer is gone.
        let body = json!({ "status": "REVOKED", "revocation_reason": "Superseded" });
        world
            .post("/v1/cas/root-a/status", body)
            .await
            .with(StatusCode::CREATED);
        world.delete("/v1/cas/root-a").await.with(StatusCode::OK);
        let sort = format!("{sort}&filter=issuer_meta.id[eq]root-a");
        let list = certificates(&world, "/v1/certificates");
        let remove = async |serial: String| {
            world
                .delete(&format!("/v1/certificates/{serial}"))
                .await
                .with(StatusCode::NO_CONTENT);
        };
        list.check_changes_between_pages(&sort, remove, async || {
            world.issue("root-b", "new").await;
        })
        .await;
    }
}

#[tokio::test]
async fn statistics_of_certificates_take_their_filters() {
    let (world, _) = all_kinds().await;
    let total = |body: &Value| body["certificates"]["total"].as_i64().unwrap();
    certificates(&world, "/v1/certificates")
        .check_statistics("/v1/stats", "cert_filter", total, &["status"])
        .await;
    let of_ca = |body: &Value| {
        let counts = body.as_object().unwrap();
        counts.values().filter_map(Value::as_i64).sum()
    };
    certificates(&world, "/v1/cas/root-a/certificates")
        .check_statistics("/v1/stats/root-a", "cert_filter", of_ca, &["status"])
        .await;
}
