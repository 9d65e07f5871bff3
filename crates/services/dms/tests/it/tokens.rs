//! Bearer tokens beside what a DMS asks for.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use lamassu_core::caller::ClientCertificateChain;
use lamassu_core::dms::DmsService;
use lamassu_core::pem::CertificateDer;
use lamassu_db::{params, sql};
use lamassu_dms::{DualAuth, EstConfig, est_routes};
use lamassu_http::Stack;
use lamassu_http::testing::TokenNamesRole;
use serde_json::{Value, json};
use time::Duration;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::device::{Answer, Device};
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
        credentials: (Option<&str>, Option<&CertificateDer>),
    ) -> (u16, String) {
        let answer = self.answer(method, operation, body, credentials).await;
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let code = body["code"].as_str().unwrap_or_default().to_owned();
        (answer.status.as_u16(), code)
    }

    async fn answer(
        &self,
        method: &str,
        operation: &str,
        body: Body,
        (token, certificate): (Option<&str>, Option<&CertificateDer>),
    ) -> Answer {
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
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
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
async fn a_token_beside_the_certificate_is_in_events_and_audit_records() {
    let enrolled = "dms.enroll";
    for (policy, token, expected) in [
        (DualAuth::Off, "auditor", None),
        (DualAuth::Record, "auditor", Some("jwt:auditor")),
        (DualAuth::Record, "wrong", None),
        (DualAuth::RequireValid, "auditor", Some("jwt:auditor")),
        (DualAuth::Alternative, "admin", Some("jwt:admin")),
        (DualAuth::Both, "admin", Some("jwt:admin")),
    ] {
        let scene = Scene::new(policy, &json!({})).await;
        let bootstrap = scene.world.issue("boot", &Device::new("bootstrap")).await;
        let device = Device::new("d");
        let credentials = (Some(token), Some(&bootstrap));
        assert_eq!(scene.ask("simpleenroll", &device, credentials).await.0, 200);
        // Of this service, and of those that it asked.
        for event_type in [enrolled, "ca.sign.certificate", "device.create"] {
            let event = scene.world.event(event_type).await;
            let member = |name: &str| event[name].as_str();
            assert_eq!(member("authtype"), Some("crt"), "{event_type}");
            assert_eq!(member("authid"), Some("bootstrap"), "{event_type}");
            assert_eq!(member("authalso"), expected, "{policy:?} {event_type}");
        }
        let query = sql(
            "SELECT also FROM audit_log WHERE principal = 'bootstrap' AND operation = $1",
            params!["ca.sign.certificate"],
        );
        let row = scene.world.db.row_opt(query).await.unwrap().unwrap();
        let audited: Option<String> = row.get("also").unwrap();
        assert_eq!(audited.as_deref(), expected, "{policy:?}");
    }
    let scene = Scene::new(DualAuth::Record, &json!({})).await;
    let bootstrap = scene.world.issue("boot", &Device::new("bootstrap")).await;
    let device = Device::new("d");
    let credentials = (Some("auditor"), Some(&bootstrap));
    let first = scene.answer(
        "POST",
        "simpleenroll",
        Body::from(device.csr()),
        credentials,
    );
    let first = first.await.certificate();
    scene.world.clock.advance(Duration::days(2));
    let credentials = (Some("operator"), Some(&first));
    assert_eq!(
        scene.ask("simplereenroll", &device, credentials).await.0,
        200
    );
    let event = scene.world.event("dms.reenroll").await;
    assert_eq!(event["authalso"], "jwt:operator");
}

#[tokio::test]
async fn without_a_certificate_a_token_is_asked_for_where_the_dms_takes_one() {
    let certificate = "ClientCertificate realm=\"est\"";
    // libest looks at the first scheme only.
    let any = "Bearer realm=\"estrealm\", ClientCertificate realm=\"est\"";
    let key = "lamassu.io/dms/est-dual-auth";
    let cases = [
        (DualAuth::Off, json!({}), None, certificate),
        (DualAuth::Record, json!({}), Some("admin"), certificate),
        (DualAuth::RequireValid, json!({}), None, certificate),
        (DualAuth::Alternative, json!({}), None, any),
        (DualAuth::Alternative, json!({}), Some("auditor"), any),
        (
            DualAuth::Alternative,
            json!({key: "off"}),
            None,
            certificate,
        ),
        (DualAuth::Off, json!({key: "alternative"}), None, any),
        (DualAuth::Both, json!({}), Some("admin"), any),
    ];
    for (policy, metadata, token, expected) in cases {
        let scene = Scene::new(policy, &metadata).await;
        for operation in ["simpleenroll", "simplereenroll"] {
            let body = Body::from(Device::new("d").csr());
            let answer = scene.answer("POST", operation, body, (token, None)).await;
            let code = answer.refusal().2;
            assert_eq!(code, "client_certificate_missing", "{policy:?} {operation}");
            let challenge = answer.header("www-authenticate");
            assert_eq!(challenge, expected, "{policy:?} {metadata} {operation}");
        }
    }
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
