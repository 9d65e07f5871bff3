//! Refused credentials and permissions leave a record, so many and no more, and are counted.

use lamassu_core::permission::Role;
use lamassu_db::{params, sql};
use lamassu_http::testing::SeenMetrics;

use crate::support::{Forge, Installation};

async fn records(installation: &Installation) -> Vec<[String; 4]> {
    let query = sql(
        "SELECT principal, operation, resource, reason FROM audit_log ORDER BY occurred_at, resource",
        params![],
    );
    let rows = installation.db.rows(query).await.unwrap();
    rows.iter()
        .map(|row| {
            ["principal", "operation", "resource", "reason"].map(|column| row.get(column).unwrap())
        })
        .collect()
}

#[tokio::test]
async fn a_refusal_is_recorded_with_its_reason_and_never_its_token() {
    let installation = Installation::trusting(&Forge::new()).await;
    installation.list("nonsense").await;
    installation.clock.advance(time::Duration::SECOND);
    let token = installation.mint(Role::KmsManager).await;
    let bearer = format!("Bearer {token}");
    let request = http::Request::post("/api/sample/v1/cas")
        .header("authorization", &bearer)
        .body(axum::body::Body::empty())
        .unwrap();
    installation.send(request).await;
    let expected = [
        [
            "",
            "auth.authenticate",
            "GET /api/sample/v1/cas",
            "malformed token",
        ],
        [
            "alice",
            "auth.authorize",
            "POST /api/sample/v1/cas",
            "insufficient permissions: ca:create",
        ],
    ];
    assert_eq!(records(&installation).await, expected);
}

#[tokio::test]
async fn asking_without_a_credential_is_no_refused_credential() {
    let installation = Installation::trusting(&Forge::new()).await;
    installation.get("/api/sample/v1/cas", &[]).await;
    assert_eq!(records(&installation).await, [[""; 4]; 0]);
}

#[tokio::test]
async fn an_attacker_cannot_fill_the_audit_log() {
    let installation = Installation::trusting(&Forge::new()).await;
    for _ in 0..150 {
        installation.list("nonsense").await;
    }
    assert_eq!(records(&installation).await.len(), 120);
}

#[tokio::test]
async fn every_decision_is_counted_by_its_code() {
    let installation = Installation::trusting(&Forge::new()).await;
    let token = installation.mint(Role::Admin).await;
    let recorder = SeenMetrics::default();
    let guard = metrics::set_default_local_recorder(&recorder);
    installation.list(&token).await;
    installation.list("nonsense").await;
    drop(guard);
    let lines = recorder.lines();
    let ours: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.strip_prefix("lamassu_auth_requests_total "))
        .collect();
    assert_eq!(
        ours,
        [
            "code= kind=jwt result=admitted",
            "code=token_malformed kind=jwt result=refused"
        ]
    );
}
