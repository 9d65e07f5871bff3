//! Roles over HTTP, and who may read them.

use std::sync::Arc;

use lamassu_core::clock::{SharedClock, SystemClock};
use lamassu_core::query::QueryLimits;
use lamassu_http::testing::TokenNamesRole;
use lamassu_http::{Access, Stack, route_audit};
use lamassu_va::routes;
use serde_json::json;
use time::Duration;
use tokio_util::task::TaskTracker;

use crate::support::{World, default_options, whole_seconds};

#[tokio::test]
async fn a_role_has_the_defaults_and_the_number_of_its_crl() {
    let world = World::running().await;
    let ca = world.root("root-a").await;
    world.settle().await;
    let from = whole_seconds(world.db.now());
    let time = |time| lamassu_core::timestamp::Timestamp(time).to_string();
    let options = default_options(&ca);
    let role = json!({
        "ca_ski": ca.ski,
        "crl_options": options,
        "latest_crl": {
            "version": 1,
            "valid_from": time(from),
            "valid_until": time(from + Duration::WEEK),
        },
    });
    let answer = world.get(&format!("/v1/roles/{}", ca.ski)).await;
    assert_eq!(
        answer.header("content-type"),
        "application/json; charset=utf-8"
    );
    assert_eq!(answer.json(200), role);
    // The number makes the SDK that calls this path fail.
    let mut unversioned = role.clone();
    unversioned["latest_crl"]
        .as_object_mut()
        .unwrap()
        .remove("version");
    let answer = world.get(&format!("/roles/{}", ca.ski)).await;
    assert_eq!(answer.json(200), unversioned);
    let listed = world.get("/v1/roles").await.json(200);
    assert_eq!(listed, json!({ "next": "", "list": [role] }));
    let listed = world.get("/roles").await.json(200);
    assert_eq!(listed, json!({ "next": "", "list": [unversioned] }));
}

#[tokio::test]
async fn unknown_roles_are_not_found() {
    let world = World::new().await;
    // Reading makes no role, even where there is a CA.
    let ca = world.root("root-a").await;
    for path in [
        "/v1/roles/0badcafe".to_owned(),
        format!("/roles/{}", ca.ski),
    ] {
        let refused = world.get(&path).await;
        assert_eq!(refused.refusal(), (404, "VA role not found".to_owned()));
    }
}

#[tokio::test]
async fn options_are_replaced_as_a_whole_and_told() {
    let world = World::running().await;
    let ca = world.root("root-a").await;
    world.settle().await;
    // What the reference's own test sends.
    let options = json!({
        "refresh_interval": "6d23h",
        "validity": "2h",
        "subject_key_id_signer": "123",
        "regenerate_on_revoke": false,
    });
    let path = format!("/v1/roles/{}", ca.ski);
    let updated = world.put(&path, options.to_string()).await.json(200);
    assert_eq!(updated["crl_options"], options);
    assert_eq!(updated["latest_crl"]["version"], 1);
    assert_eq!(world.get(&path).await.json(200), updated);
    let events = world.events().await;
    let (kind, subject, data) = events.last().unwrap();
    assert_eq!(kind, "va.role.update");
    assert_eq!(subject, &format!("crl/{}", ca.ski));
    assert_eq!(data, &updated);
    assert_eq!(world.audited("va.role.update").await, 1);
    // No CRL is made for it, but the next one comes an hour before this validity would have ended.
    world.settle().await;
    assert_eq!(world.listed(&ca).await.0, 1);
    world.clock.advance(Duration::HOUR);
    world.settle().await;
    assert_eq!(world.listed(&ca).await.0, 2);
    // The key of the CA signs, whatever the options name.
    let role = world.get(&path).await.json(200);
    let end = world.crl(&ca).await.next_update().unwrap();
    assert_eq!(
        end,
        whole_seconds(world.db.now()) + Duration::hours(2),
        "{role}"
    );
    // A member that is missing is zero, as clients know it.
    let sparse = json!({ "validity": "1d" });
    let updated = world.put(&path, sparse.to_string()).await.json(200);
    let expected = json!({
        "refresh_interval": "0s",
        "validity": "1d",
        "subject_key_id_signer": "",
        "regenerate_on_revoke": false,
    });
    assert_eq!(updated["crl_options"], expected);
    // The path of the SDK.
    let answer = world
        .put(&format!("/roles/{}", ca.ski), options.to_string())
        .await
        .json(200);
    assert_eq!(answer["crl_options"], options);
    assert_eq!(answer["latest_crl"].get("version"), None);
}

#[tokio::test]
async fn setting_options_makes_the_role_of_a_ca() {
    let world = World::new().await;
    let ca = world.root("root-a").await;
    let path = format!("/v1/roles/{}", ca.ski.to_uppercase());
    let options = json!({ "validity": "1d" }).to_string();
    let made = world.put(&path, options.clone()).await.json(200);
    assert_eq!(made["ca_ski"], json!(ca.ski));
    assert_eq!(made["latest_crl"]["version"], 0);
    world.run_crl_job().await;
    assert_eq!(world.listed(&ca).await.0, 1);
    let refused = world.put("/v1/roles/0badcafe", options).await;
    assert_eq!(refused.refusal(), (404, "VA role not found".to_owned()));
}

#[tokio::test]
async fn options_that_cannot_work_are_refused() {
    let world = World::running().await;
    let ca = world.root("root-a").await;
    world.settle().await;
    let path = format!("/v1/roles/{}", ca.ski);
    let cases = [
        (
            json!({}),
            "struct validation error: validity must be at least 1s",
        ),
        (
            json!({ "validity": "1d", "refresh_interval": "-1s" }),
            "struct validation error: refresh_interval must not be negative",
        ),
        (
            json!({ "validity": "1d", "delta_validity": "0s" }),
            "struct validation error: delta_validity must be at least 1s",
        ),
        (
            json!({ "validity": "soon" }),
            "time: invalid duration \"soon\"",
        ),
    ];
    for (body, text) in cases {
        let refused = world.put(&path, body.to_string()).await;
        assert_eq!(refused.refusal(), (400, text.to_owned()), "{body}");
    }
    let stored = world.get(&path).await.json(200);
    assert_eq!(stored["crl_options"], default_options(&ca));
}

#[tokio::test]
async fn roles_are_listed_in_pages_one_per_ca() {
    let world = World::running().await;
    for index in 0..5 {
        world.root(&format!("root-{index}")).await;
        world.clock.advance(Duration::seconds(1));
    }
    world.settle().await;
    let mut seen = Vec::new();
    let mut query = "page_size=2".to_owned();
    loop {
        let page = world.get(&format!("/v1/roles?{query}")).await.json(200);
        let list = page["list"].as_array().unwrap().clone();
        seen.extend(list.into_iter().map(|role| role["ca_ski"].clone()));
        match page["next"].as_str().unwrap() {
            "" => break,
            next => query = format!("bookmark={next}"),
        }
    }
    assert_eq!(seen.len(), 5);
    seen.dedup();
    assert_eq!(seen.len(), 5);
    let one = seen[0].as_str().unwrap();
    let filtered = world
        .get(&format!("/v1/roles?filter=ca_ski[eq]{one}"))
        .await;
    assert_eq!(filtered.json(200)["list"].as_array().unwrap().len(), 1);
    let refused = world.get("/v1/roles?bookmark=forged").await;
    assert_eq!(refused.status, 400);
}

#[tokio::test]
async fn everybody_asks_for_status_and_only_readers_for_roles() {
    let world = World::new().await;
    let clock = Arc::new(SystemClock) as SharedClock;
    let routes = routes(Arc::new(world.va.clone()), clock, QueryLimits::default());
    let public: Vec<&str> = routes
        .infos()
        .filter(|info| info.access == Access::Public)
        .map(|info| info.path)
        .collect();
    assert!(public.iter().all(|path| !path.contains("roles")));
    assert_eq!(public.len(), 18);
    let stack = Stack::new(Arc::new(TokenNamesRole), TaskTracker::new()).mount("", &routes);
    let table = stack.route_table();
    let router = stack.build().unwrap();
    let open = route_audit::audit(&router, &table, |role| role.name().to_owned()).await;
    assert_eq!(open, []);
}
