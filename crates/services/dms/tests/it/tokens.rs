//! Bearer tokens beside what a DMS asks for.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use lamassu_core::caller::ClientCertificateChain;
use lamassu_core::dms::DmsService;
use lamassu_core::pem::CertificateDer;
use lamassu_dms::{DualAuth, EstConfig, est_routes};
use lamassu_http::Stack;
use lamassu_http::testing::TokenNamesRole;
use serde_json::{Value, json};
use time::Duration;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::device::Device;
use crate::support::{World, dms};

/// An installation under this policy, whose tokens are names of roles.
struct Scene {
    world: World,
    router: Router,
}

impl Scene {
    async fn new(policy: DualAuth, metadata: &Value) -> Self {
        let config = EstConfig {
            dual_auth: policy,
            ..EstConfig::default()
        };
        let world = World::with(config.clone(), |devices| devices).await;
        world.root("boot").await;
        world.root("fleet").await;
        let replaceable = json!({"enable_replaceable_enrollment": true});
        let mut body = dms("dms", &replaceable, &json!({}));
        body["metadata"] = metadata.clone();
        world.created(body).await;
        let manager = Arc::clone(&world.manager) as Arc<dyn DmsService>;
        let router = Stack::new(Arc::new(TokenNamesRole), TaskTracker::new())
            .mount("", &est_routes(manager, config))
            .build()
            .unwrap();
        Self { world, router }
    }

    /// Status and code of the answer to a device with this token and certificate.
    async fn ask(
        &self,
        operation: &str,
        device: &Device,
        credentials: (Option<&str>, Option<&CertificateDer>),
    ) -> (u16, String) {
        let body = Body::from(device.csr());
        self.send("POST", operation, body, credentials).await
    }

    async fn send(
        &self,
        method: &str,
        operation: &str,
        body: Body,
        (token, certificate): (Option<&str>, Option<&CertificateDer>),
    ) -> (u16, String) {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/.well-known/est/dms/{operation}"))
            .header("content-type", "application/pkcs10");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut request = request.body(body).unwrap();
        if let Some(certificate) = certificate {
            let chain = [certificate.der().clone()].into();
            request
                .extensions_mut()
                .insert(ClientCertificateChain(chain));
        }
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        (status, body["code"].as_str().unwrap_or_default().to_owned())
    }
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test]
async fn each_policy_takes_tokens_as_it_says() {
    let fine = refused(200, "");
    let missing = refused(401, "client_certificate_missing");
    let invalid = refused(401, "token_invalid");
    let none = refused(401, "token_missing");
    let no_permission = refused(403, "token_permission");
    // With a certificate: no token, a bad one, one without and one with the permission. Then the
    // same without a certificate.
    let cases = [
        (DualAuth::Off, [&fine, &fine, &fine, &fine], [&missing; 4]),
        (DualAuth::Record, [&fine; 4], [&missing; 4]),
        (
            DualAuth::RequireValid,
            [&fine, &invalid, &fine, &fine],
            [&missing, &invalid, &missing, &missing],
        ),
        (
            DualAuth::Alternative,
            [&fine; 4],
            [&missing, &missing, &missing, &fine],
        ),
        (
            DualAuth::Both,
            [&none, &invalid, &no_permission, &fine],
            [&none, &invalid, &no_permission, &missing],
        ),
    ];
    let tokens = [None, Some("wrong"), Some("auditor"), Some("admin")];
    for (policy, with, without) in cases {
        let scene = Scene::new(policy, &json!({})).await;
        let bootstrap = scene.world.issue("boot", &Device::new("bootstrap")).await;
        for (certificate, expected) in [(Some(&bootstrap), with), (None, without)] {
            for (token, expected) in tokens.into_iter().zip(expected) {
                let device = Device::new("d");
                let answer = scene
                    .ask("simpleenroll", &device, (token, certificate))
                    .await;
                assert_eq!(answer, *expected, "{policy:?} {token:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_token_that_stands_for_a_certificate_is_who_asked_and_may_renew() {
    let scene = Scene::new(DualAuth::Alternative, &json!({})).await;
    let device = Device::new("d");
    let token = (Some("admin"), None);
    assert_eq!(scene.ask("simpleenroll", &device, token).await.0, 200);
    let event = scene.world.event("dms.enroll").await;
    assert_eq!(
        (event["authtype"].as_str(), event["authid"].as_str()),
        (Some("jwt"), Some("admin"))
    );
    scene.world.clock.advance(Duration::days(2));
    let other = (Some("auditor"), None);
    let answer = scene.ask("simplereenroll", &device, other).await;
    assert_eq!(answer, refused(401, "client_certificate_missing"));
    assert_eq!(scene.ask("simplereenroll", &device, token).await.0, 200);
    // A certificate that is presented and refused is not rescued by a token.
    let stranger = scene.world.issue("fleet", &Device::new("x")).await;
    let answer = scene.ask("simpleenroll", &device, (Some("admin"), Some(&stranger)));
    assert_eq!(answer.await.1, "client_certificate_untrusted");
}

#[tokio::test]
async fn a_dms_may_have_a_policy_of_its_own_and_a_misspelt_one_lets_less_through() {
    let key = "lamassu.io/dms/est-dual-auth";
    let device = Device::new("d");
    let own = Scene::new(DualAuth::Off, &json!({key: "alternative"})).await;
    let token = (Some("admin"), None);
    assert_eq!(own.ask("simpleenroll", &device, token).await.0, 200);
    let misspelt = Scene::new(DualAuth::Alternative, &json!({key: "alternatives"})).await;
    let answer = misspelt.ask("simpleenroll", &device, token).await;
    assert_eq!(answer, refused(401, "client_certificate_missing"));
    let answer = misspelt.ask("simpleenroll", &device, (None, None)).await;
    assert_eq!(answer, refused(401, "token_missing"));
}

#[tokio::test]
async fn what_needs_no_token_is_given_beside_any_unless_valid_ones_are_required() {
    for (policy, expected) in [
        (DualAuth::Off, refused(200, "")),
        (DualAuth::Record, refused(200, "")),
        (DualAuth::RequireValid, refused(401, "token_invalid")),
        (DualAuth::Both, refused(200, "")),
    ] {
        let scene = Scene::new(policy, &json!({})).await;
        for operation in ["cacerts", "csrattrs"] {
            for (token, expected) in [
                (None, refused(200, "")),
                (Some("auditor"), refused(200, "")),
                (Some("wrong"), expected.clone()),
            ] {
                let answer = scene
                    .send("GET", operation, Body::empty(), (token, None))
                    .await;
                assert_eq!(answer, expected, "{policy:?} {operation} {token:?}");
            }
        }
    }
}
