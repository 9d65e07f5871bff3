//! How many CAs and certificates there are.

use http::StatusCode;
use serde_json::json;

use crate::support::World;

#[tokio::test]
async fn everything_is_counted_by_status_and_engine() {
    let world = World::new().await;
    let none = json!({
        "cas": {
            "total": 0,
            "engine_distribution": { "memory-1": 0, "memory-2": 0 },
            "status_distribution": { "ACTIVE": 0, "EXPIRED": 0, "REVOKED": 0 },
        },
        "certificates": {
            "total": 0,
            "ca_distribution": {},
            "status_distribution": { "ACTIVE": 0, "EXPIRED": 0, "REVOKED": 0 },
        },
    });
    assert_eq!(world.get("/v1/stats").await.with(StatusCode::OK), none);
    world.root("root-a").await;
    world.root("root-b").await;
    world.issue("root-a", "device-1").await;
    world
        .post("/v1/cas/root-b/status", json!({ "status": "EXPIRED" }))
        .await
        .with(StatusCode::CREATED);
    let stats = world.get("/v1/stats").await.with(StatusCode::OK);
    let counts = json!({ "ACTIVE": 1, "EXPIRED": 1, "REVOKED": 0 });
    assert_eq!(stats["cas"]["total"], 2);
    assert_eq!(stats["cas"]["status_distribution"], counts);
    assert_eq!(stats["cas"]["engine_distribution"]["memory-1"], 2);
    let counts = json!({ "ACTIVE": 2, "EXPIRED": 1, "REVOKED": 0 });
    assert_eq!(stats["certificates"]["total"], 3);
    assert_eq!(stats["certificates"]["status_distribution"], counts);
}

#[tokio::test]
async fn filters_are_of_cas_or_of_certificates() {
    let world = World::new().await;
    for id in ["root-a", "root-b"] {
        world.root(id).await;
    }
    world.issue("root-a", "device-1").await;
    let path =
        "/v1/stats?ca_filter=id[equal]root-a&cert_filter=subject.common_name[contains]device";
    let stats = world.get(path).await.with(StatusCode::OK);
    assert_eq!(stats["cas"]["total"], 1);
    assert_eq!(stats["cas"]["engine_distribution"]["memory-1"], 1);
    assert_eq!(stats["certificates"]["total"], 1);
    // A filter that is for neither, or on a field that is not there, counts nothing out.
    let path = "/v1/stats?filter=id[equal]root-a&ca_filter=colour[equal]red";
    let stats = world.get(path).await.with(StatusCode::OK);
    assert_eq!(stats["cas"]["total"], 2);
}

#[tokio::test]
async fn a_root_counts_itself() {
    let world = World::new().await;
    world.root("root-a").await;
    let path = "/v1/stats/root-a";
    let one = json!({ "ACTIVE": 1, "EXPIRED": 0, "REVOKED": 0 });
    assert_eq!(world.get(path).await.with(StatusCode::OK), one);
    world.issue("root-a", "device-1").await;
    let filtered = "/v1/stats/root-a?cert_filter=subject.common_name[equal]device-1";
    assert_eq!(world.get(filtered).await.with(StatusCode::OK), one);
    let none = json!({ "ACTIVE": 0, "EXPIRED": 0, "REVOKED": 0 });
    let unknown = world.get("/v1/stats/nobody").await;
    assert_eq!(unknown.with(StatusCode::OK), none);
}

#[tokio::test]
async fn the_status_is_no_filter() {
    let world = World::new().await;
    for path in [
        "/v1/stats?ca_filter=status[equal]ACTIVE",
        "/v1/stats?cert_filter=id[equal]x&cert_filter=status[equal]ACTIVE",
        "/v1/stats/root-a?cert_filter=status[equal]ACTIVE",
    ] {
        let answer = world.get(path).await;
        assert_eq!(answer.refusal(), (400, "struct validation error"), "{path}");
    }
    let answer = world.get("/v1/stats?ca_filter=type[before]x").await;
    assert_eq!(
        answer.refusal(),
        (
            400,
            "invalid filter operand 'before' for field 'type' of type 4"
        )
    );
}
