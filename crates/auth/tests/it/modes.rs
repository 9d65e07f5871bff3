//! Without enforcement everybody may do everything, and only `passthrough` asks who it is.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::{Request, StatusCode};
use lamassu_auth::{AuthConfig, Mode};
use lamassu_core::caller::ClientCertificateChain;

use crate::support::{Forge, Installation};

async fn open(mode: Mode) -> Installation {
    Installation::open(&AuthConfig {
        mode,
        ..AuthConfig::default()
    })
    .await
}

#[tokio::test]
async fn off_ignores_every_header() {
    let installation = open(Mode::Off).await;
    let token = Forge::new().good();
    for value in [
        "",
        "Bearer nonsense",
        "Basic YTpi",
        &format!("Bearer {token}"),
    ] {
        let answer = installation
            .get("/api/sample/v1/cas", &[("authorization", value)])
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{value}");
        assert_eq!(answer.json(), "none:nobody", "{value}");
    }
    let request = Request::post("/api/sample/internal/v1/intents")
        .body(Body::empty())
        .unwrap();
    assert_eq!(installation.send(request).await.status, StatusCode::OK);
}

#[tokio::test]
async fn passthrough_decodes_without_believing() {
    let installation = open(Mode::Passthrough).await;
    let token = format!("Bearer {}", Forge::new().good());
    for (value, expected) in [
        (&*token, "jwt:alice"),
        ("Bearer nonsense", "none:nobody"),
        ("Basic YTpi", "none:nobody"),
    ] {
        let answer = installation
            .get("/api/sample/v1/cas", &[("authorization", value)])
            .await;
        assert_eq!(answer.json(), expected, "{value}");
    }
}

#[tokio::test]
async fn pages_of_other_origins_may_call_only_where_credentials_are_enforced() {
    for (mode, expected) in [
        (Mode::Enforce, Some("*")),
        (Mode::Passthrough, None),
        (Mode::Off, None),
    ] {
        let installation = open(mode).await;
        let headers = [("origin", "https://page.example"), ("host", "pki.example")];
        let answer = installation.get("/api/sample/v1/cas", &headers).await;
        let allowed = answer.headers.get("access-control-allow-origin");
        assert_eq!(
            allowed.map(|value| value.to_str().unwrap()),
            expected,
            "{mode:?}"
        );
    }
}

#[tokio::test]
async fn a_certificate_names_the_caller_before_a_token_does() {
    let installation = open(Mode::Passthrough).await;
    let request = Request::get("/api/sample/v1/cas")
        .header("authorization", format!("Bearer {}", Forge::new().good()))
        .extension(chain())
        .body(Body::empty())
        .unwrap();
    assert_eq!(installation.send(request).await.json(), "crt:device-1");
}

/// A certificate with the subject `O=Example, CN=device-1`.
fn chain() -> ClientCertificateChain {
    let der = Bytes::from_static(include_bytes!("testdata/device-1.der"));
    ClientCertificateChain(Arc::from([der]))
}

#[tokio::test]
async fn a_client_certificate_is_no_credential_of_a_management_call() {
    let installation = open(Mode::Enforce).await;
    let request = Request::get("/api/sample/v1/cas")
        .extension(chain())
        .body(Body::empty())
        .unwrap();
    assert_eq!(installation.send(request).await.code(), "token_missing");
}
