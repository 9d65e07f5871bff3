//! Nobody reaches a handler whose access was not decided.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::{Method, Request, StatusCode};
use lamassu_core::caller::Principal;
use lamassu_core::permission::{Permission, Role};
use lamassu_http::testing::{AllowAll, TokenNamesRole};
use lamassu_http::{
    Access, AskedBy, Authenticator, Identity, Json200, Reply, Routes, Stack, route_audit,
};
use tokio_util::task::TaskTracker;

use crate::support::{ask, router, send};

async fn who(AskedBy(caller): AskedBy) -> Reply<Json200<String>> {
    let source = caller.source.as_deref().unwrap_or("own");
    let id = caller.principal.auth_id().unwrap_or("nobody").to_owned();
    Ok(Json200(format!("{id} via {source}")))
}

fn sample() -> Routes {
    Routes::builder("sample", ())
        .get("/v1/cas", Permission::new("ca", "read"), "List", who)
        .post("/v1/cas", Permission::new("ca", "create"), "Create", who)
        .put(
            "/v1/cas/{id}/metadata",
            Permission::new("ca", "write"),
            "Change",
            who,
        )
        .delete(
            "/v1/cas/{id}",
            Permission::new("ca", "delete"),
            "Delete",
            who,
        )
        .post(
            "/internal/v1/intents",
            Permission::new("internal", "ca"),
            "Intend",
            who,
        )
        .get("/v1/me", Access::Authenticated, "Who am I", who)
        .get("/crl/{*ski}", Access::Public, "CRL", who)
        .build()
}

#[tokio::test]
async fn anonymous_callers_are_challenged_with_the_request_id() {
    let answer = ask(&router(&sample()), Method::GET, "/api/sample/v1/cas", "").await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        answer.header("www-authenticate"),
        Some("Bearer realm=\"test\"")
    );
    let body = answer.json();
    assert_eq!(body["err"], "authentication required");
    assert_eq!(body["code"], "token_missing");
    assert_eq!(body["request_id"], answer.header("x-request-id").unwrap());
}

#[tokio::test]
async fn a_role_without_the_permission_is_told_which_one_it_lacks() {
    let answer = ask(
        &router(&sample()),
        Method::POST,
        "/api/sample/v1/cas",
        "auditor",
    )
    .await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(answer.json()["err"], "insufficient permissions");
    let challenge = answer.header("www-authenticate").unwrap();
    assert!(challenge.ends_with("scope=\"ca:create\""), "{challenge}");
}

#[tokio::test]
async fn access_is_decided_per_route_and_method() {
    let router = router(&sample());
    let cases = [
        (Method::GET, "/v1/cas", "auditor", StatusCode::OK),
        (Method::POST, "/v1/cas", "admin", StatusCode::OK),
        (Method::PUT, "/v1/cas/a/metadata", "admin", StatusCode::OK),
        (
            Method::PUT,
            "/v1/cas/a/metadata",
            "operator",
            StatusCode::FORBIDDEN,
        ),
        (
            Method::POST,
            "/internal/v1/intents",
            "admin",
            StatusCode::FORBIDDEN,
        ),
        (
            Method::POST,
            "/internal/v1/intents",
            "service",
            StatusCode::OK,
        ),
        (Method::GET, "/v1/me", "alerts-user", StatusCode::OK),
        (Method::GET, "/v1/me", "no-role", StatusCode::UNAUTHORIZED),
        (Method::GET, "/crl/ab/c", "", StatusCode::OK),
        (Method::GET, "/crl/ab", "no-role", StatusCode::OK),
    ];
    for (method, path, role, expected) in cases {
        let answer = ask(&router, method.clone(), &format!("/api/sample{path}"), role).await;
        assert_eq!(answer.status, expected, "{method} {path} as {role:?}");
    }
}

#[tokio::test]
async fn only_a_peer_service_names_the_event_source() {
    let router = router(&sample());
    for (role, expected) in [
        ("admin", "\"admin via own\""),
        ("service", "\"service via service/ra\""),
    ] {
        let request = Request::get("/api/sample/v1/me")
            .header("authorization", format!("Bearer {role}"))
            .header("X-Lms-Source", "service/ra")
            .body(Body::empty())
            .unwrap();
        assert_eq!(send(&router, request).await.text(), expected);
    }
}

#[tokio::test]
async fn only_a_peer_service_asks_on_behalf_of_somebody_and_may_do_no_more_by_it() {
    let router = router(&sample());
    let jane = Principal::Token {
        subject: "jane".to_owned(),
        provider: "local".into(),
    };
    let jane = jane.to_header().unwrap();
    let too_long = format!("{jane}{}", "A".repeat(4096));
    for (role, principal, expected) in [
        ("admin", &jane, "\"admin via own\""),
        ("service", &jane, "\"jane via own\""),
        ("service", &"e30".to_owned(), "\"service via own\""),
        ("service", &too_long, "\"service via own\""),
    ] {
        let request = Request::get("/api/sample/v1/me")
            .header("authorization", format!("Bearer {role}"))
            .header("X-Lms-Principal", principal)
            .body(Body::empty())
            .unwrap();
        assert_eq!(send(&router, request).await.text(), expected, "{role}");
    }
    let request = Request::post("/api/sample/internal/v1/intents")
        .header("authorization", "Bearer admin")
        .header("x-lms-principal", Principal::System.to_header().unwrap())
        .body(Body::empty())
        .unwrap();
    assert_eq!(send(&router, request).await.status, StatusCode::FORBIDDEN);
}

fn stack(authenticator: Arc<dyn Authenticator>) -> Stack {
    Stack::new(authenticator, TaskTracker::new()).mount("/api/sample", &sample())
}

#[tokio::test]
async fn the_audit_passes_a_guarded_table() {
    let stack = stack(Arc::new(TokenNamesRole));
    let table = stack.route_table();
    let router = stack.build().unwrap();
    let open = route_audit::audit(&router, &table, |role| role.name().to_owned()).await;
    assert_eq!(open, []);
}

#[tokio::test]
async fn the_audit_finds_every_route_that_lets_somebody_in() {
    let stack = stack(Arc::new(AllowAll));
    let table = stack.route_table();
    let router = stack.build().unwrap();
    let open = route_audit::audit(&router, &table, |role| role.name().to_owned()).await;
    let asked: usize = table
        .iter()
        .map(|route| match route.info.access {
            Access::Public => 0,
            Access::Authenticated => 1,
            Access::Permission(needed) => {
                1 + Role::ALL.iter().filter(|role| !role.allows(needed)).count()
            }
        })
        .sum();
    assert_eq!(open.len(), asked);
    assert_eq!(
        open[0].to_string(),
        "GET /api/sample/v1/cas answered 200 OK to nobody"
    );
}

#[tokio::test]
async fn a_handler_past_the_route_table_has_no_caller_and_fails() {
    async fn me(identity: Identity) -> Reply<Json200<usize>> {
        Ok(Json200(identity.role_names().len()))
    }
    let router = Router::new().route("/me", axum::routing::get(me));
    let answer = ask(&router, Method::GET, "/me", "admin").await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(answer.json()["err"], "internal error");
}
