//! The list of CAs.

use http::StatusCode;
use lamassu_ca::AUTHORITY_FIELDS;
use lamassu_core::query::Field;
use lamassu_crypto::HashAlgorithm;
use lamassu_testing::lists::{self, ListOf};
use serde_json::{Value, json};
use time::Duration;

use super::set_metadata;
use crate::support::{ForeignPlan, World, device_profile, root_body, x509};

/// A field of the CA, or of its certificate.
fn shown(field: &Field) -> Option<String> {
    match field.name {
        // CAs do not show these; see `cas_are_found_by_fingerprint_and_alternative_name`.
        "fingerprint" | "san" => None,
        "id" | "profile_id" | "creation_ts" | "level" | "metadata" => lists::by_name(field),
        _ => lists::by_name(field).map(|pointer| {
            let pointer = pointer.replace("/issuer_meta/", "/issuer_metadata/");
            format!("/certificate{pointer}")
        }),
    }
}

fn authorities(world: &World) -> ListOf<'_> {
    ListOf {
        routes: &world.routes,
        path: "/v1/cas",
        name: "/id",
        fields: AUTHORITY_FIELDS,
        shown,
    }
}

/// A root with the document, a subordinate of it, an imported root without a key, a revoked root.
async fn family() -> World {
    let world = World::new().await;
    let root = world.root("root-a").await;
    set_metadata(&world, "/v1/cas/root-a", &lists::document()).await;
    world.clock.advance(Duration::seconds(1));
    world.sub(&root, "Sub-A").await;
    world.clock.advance(Duration::seconds(1));
    let foreign = ForeignPlan::root("Ünlike").make();
    let body = json!({ "id": "imported", "ca": foreign.wire(), "ca_type": "IMPORTED" });
    world
        .post("/v1/cas/import", body)
        .await
        .with(StatusCode::CREATED);
    world.clock.advance(Duration::seconds(1));
    world.root("root-b").await;
    let body = json!({ "status": "REVOKED", "revocation_reason": "KeyCompromise" });
    let set = world.post("/v1/cas/root-b/status", body).await;
    set.with(StatusCode::CREATED);
    world
}

/// Roots that are called like their place.
async fn many(n: usize) -> World {
    let world = World::new().await;
    let profile = world.profile(device_profile()).await;
    for index in 0..n {
        let body = root_body(&format!("ca-{index:02}"), &profile);
        world.post("/v1/cas", body).await.with(StatusCode::CREATED);
        if index % 3 == 0 {
            world.clock.advance(Duration::seconds(1));
        }
    }
    world
}

async fn delete(world: &World, id: &str) {
    let body = json!({ "status": "REVOKED", "revocation_reason": "Superseded" });
    world
        .post(&format!("/v1/cas/{id}/status"), body)
        .await
        .with(StatusCode::CREATED);
    world
        .delete(&format!("/v1/cas/{id}"))
        .await
        .with(StatusCode::OK);
}

#[tokio::test]
async fn filters_of_every_field_select_what_cas_show() {
    let world = family().await;
    authorities(&world).check_filters_of_every_field().await;
    let by_name = ListOf {
        path: "/v1/cas/cn/root-a",
        ..authorities(&world)
    };
    by_name
        .check(&[
            ("", "root-a"),
            ("filter=id[eq]root-b", ""),
            ("filter=level[lt]1", "root-a"),
        ])
        .await;
}

#[tokio::test]
async fn cas_sort_by_every_field() {
    let world = family().await;
    authorities(&world).check_sorts_of_every_field().await;
    authorities(&world)
        .check_path_sorts("metadata", "root-a")
        .await;
}

#[tokio::test]
async fn predicates_look_into_the_metadata_of_cas() {
    let world = family().await;
    authorities(&world)
        .check_predicates("metadata", "root-a")
        .await;
}

#[tokio::test]
async fn queries_for_cas_are_refused_or_ignored_as_everywhere() {
    let world = family().await;
    authorities(&world).check_refusals().await;
    authorities(&world).check_what_is_ignored().await;
}

#[tokio::test]
async fn cas_come_in_pages() {
    let world = many(30).await;
    let profile = world.ca("ca-00").await["profile_id"].clone();
    for id in ["same-1", "same-2"] {
        let mut body = root_body(id, profile.as_str().unwrap());
        body["subject"]["common_name"] = json!("same");
        world.post("/v1/cas", body).await.with(StatusCode::CREATED);
    }
    authorities(&world).check_page_sizes().await;
    let sorts = [
        "",
        "sort_by=id&sort_mode=desc",
        "sort_by=creation_ts&sort_mode=desc",
        "sort_by=level",
    ];
    authorities(&world).check_runs(&sorts).await;
    let certificates = ListOf {
        path: "/v1/certificates",
        name: "/serial_number",
        ..authorities(&world)
    };
    let by_name = ListOf {
        path: "/v1/cas/cn/same",
        ..authorities(&world)
    };
    let foreign = [certificates.bookmark().await, by_name.bookmark().await];
    authorities(&world).check_bookmarks(&foreign).await;
}

#[tokio::test]
async fn cas_that_come_and_go_between_pages_move_no_other() {
    for sort in [
        "sort_by=id&sort_mode=asc",
        "sort_by=subject.common_name&sort_mode=desc",
        "",
    ] {
        let world = many(7).await;
        let profile = world.profile(device_profile()).await;
        let mut n = 0;
        authorities(&world)
            .check_changes_between_pages(
                sort,
                async |id| delete(&world, &id).await,
                async || {
                    n += 1;
                    let body = root_body(&format!("new-{n}"), &profile);
                    world.post("/v1/cas", body).await.with(StatusCode::CREATED);
                },
            )
            .await;
    }
}

#[tokio::test]
async fn statistics_of_cas_take_their_filters() {
    let world = family().await;
    let total = |body: &Value| body["cas"]["total"].as_i64().unwrap();
    authorities(&world)
        .check_statistics("/v1/stats", "ca_filter", total, &["status"])
        .await;
    let by_status = |body: &Value| {
        let counts = body["cas"]["status_distribution"].as_object().unwrap();
        counts.values().filter_map(Value::as_i64).sum()
    };
    authorities(&world)
        .check_statistics("/v1/stats", "ca_filter", by_status, &["status"])
        .await;
}

#[tokio::test]
async fn cas_are_found_by_fingerprint_and_alternative_name() {
    let world = World::new().await;
    let root = world.root("root-a").await;
    world.root("root-b").await;
    let digest = HashAlgorithm::Sha256.digest(x509(&root["certificate"]).as_der());
    let fingerprint = hex::encode(digest);
    let list = authorities(&world);
    list.check_filters(&[
        (&format!("fingerprint[eq]{fingerprint}"), "root-a"),
        ("fingerprint[eq]00", ""),
        ("san[contains]root-a.example", ""),
    ])
    .await;
}
