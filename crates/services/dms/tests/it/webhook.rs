//! Webhooks that decide who enrolls, over real sockets.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, StatusCode};
use lamassu_dms::{EstConfig, WebhookPolicy};
use lamassu_testing::TlsFiles;
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::device::{Answer, Device};
use crate::support::{World, dms};

/// What a webhook was asked, and what it answers.
#[derive(Clone, Debug, Default)]
struct Hook {
    asked: Arc<Mutex<Vec<(HeaderMap, Value)>>>,
    answer: Arc<Mutex<(u16, String)>>,
    tokens: Arc<Mutex<u32>>,
}

impl Hook {
    fn answering(status: u16, body: &str) -> Self {
        let hook = Self::default();
        hook.answer(status, body);
        hook
    }

    fn answer(&self, status: u16, body: &str) {
        *self.answer.lock().unwrap() = (status, body.to_owned());
    }

    fn n_asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn last(&self) -> (HeaderMap, Value) {
        self.asked.lock().unwrap().last().unwrap().clone()
    }

    fn router(&self) -> Router {
        Router::new()
            .route("/verify", post(verify).put(verify))
            .route("/slow", post(std::future::pending::<StatusCode>))
            .route("/oidc", get(discovery))
            .route("/token", post(token))
            .with_state(self.clone())
    }

    /// Serves it; gives its port.
    async fn serve(&self) -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = self.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        port
    }
}

async fn verify(State(hook): State<Hook>, headers: HeaderMap, body: Bytes) -> (StatusCode, String) {
    let body = serde_json::from_slice(&body).unwrap();
    hook.asked.lock().unwrap().push((headers, body));
    let (status, text) = hook.answer.lock().unwrap().clone();
    (StatusCode::from_u16(status).unwrap(), text)
}

async fn discovery(headers: HeaderMap) -> String {
    let host = headers["host"].to_str().unwrap();
    json!({"token_endpoint": format!("http://{host}/token")}).to_string()
}

async fn token(State(hook): State<Hook>, headers: HeaderMap) -> String {
    let basic = format!("Basic {}", STANDARD.encode("client:s3cret"));
    assert_eq!(headers["authorization"], basic.as_str());
    let mut tokens = hook.tokens.lock().unwrap();
    *tokens += 1;
    json!({"access_token": format!("token-{tokens}"), "expires_in": 300}).to_string()
}

/// CAs `boot` and `fleet`, and a DMS in this mode that asks this webhook.
async fn world(config: EstConfig, mode: &str, webhook: &Value) -> World {
    let world = World::with(config, |devices| devices).await;
    world.root("boot").await;
    world.root("fleet").await;
    let est = json!({"auth_mode": mode, "external_webhook_settings": webhook});
    let enrollment = json!({"est_rfc7030_settings": est});
    let reenrollment = json!({"est_rfc7030_settings": est});
    world.created(dms("dms", &enrollment, &reenrollment)).await;
    world
}

async fn enroll(world: &World, name: &str) -> Answer {
    let csr = Device::new(name).csr();
    world.est("simpleenroll", "dms", &csr, None).await
}

fn plain(port: u16, config: &Value) -> Value {
    json!({"name": "hook", "url": format!("http://127.0.0.1:{port}/verify"), "config": config})
}

const YES: &str = r#"{"authorized": true}"#;

#[tokio::test]
async fn only_a_clear_yes_lets_a_device_through() {
    let hook = Hook::answering(200, YES);
    let port = hook.serve().await;
    let world = world(
        EstConfig::default(),
        "EXTERNAL_WEBHOOK",
        &plain(port, &json!({})),
    )
    .await;
    let device = Device::new("d");
    let answer = world.est("simpleenroll", "dms", &device.csr(), None).await;
    assert_eq!(answer.certificates().len(), 1);
    let (_, question) = hook.last();
    assert_eq!(
        (&question["aps"], &question["device_cn"]),
        (&json!("dms"), &json!("d"))
    );
    let request = &question["http_request"];
    assert_eq!(request["url"], "/.well-known/est/dms/simpleenroll");
    assert_eq!(request["headers"]["Content-Type"], "application/pkcs10");
    let pem = STANDARD.decode(question["csr"].as_str().unwrap()).unwrap();
    assert!(pem.starts_with(b"-----BEGIN CERTIFICATE REQUEST-----"));

    let denied = ("external webhook denied enrollment", "webhook_denied");
    let no_json = (
        r#"error while calling external webhook: the answer is no JSON: {"authorized": true} lets a device through"#,
        "webhook_failed",
    );
    let status = |status: &'static str, code| (status, code);
    let unauthorized = status(
        "error while calling external webhook: unexpected status code: 401",
        "webhook_denied",
    );
    let broken = status(
        "error while calling external webhook: unexpected status code: 500",
        "webhook_failed",
    );
    let moved = status(
        "error while calling external webhook: unexpected status code: 302",
        "webhook_failed",
    );
    for (answered, body, status, (text, code)) in [
        (200, r#"{"authorized": false}"#, 403, denied),
        (200, "{}", 403, denied),
        (200, "yes", 502, no_json),
        (401, YES, 403, unauthorized),
        (500, YES, 502, broken),
        (302, YES, 502, moved),
    ] {
        hook.answer(answered, body);
        let refusal = enroll(&world, "refused").await.refusal();
        assert_eq!(
            refusal,
            (status, text.to_owned(), code.to_owned()),
            "{answered} {body}"
        );
    }
    assert_eq!(world.issued_for("refused").await, []);

    hook.answer(200, r#"{"authorized": false}"#);
    world.clock.advance(time::Duration::days(2));
    let again = world
        .est("simplereenroll", "dms", &device.csr(), None)
        .await;
    assert_eq!(again.refusal().1, "external webhook denied reenrollment");
    hook.answer(200, YES);
    let again = world
        .est("simplereenroll", "dms", &device.csr(), None)
        .await;
    assert_eq!(again.certificates().len(), 1);
}

#[tokio::test]
async fn a_webhook_that_cannot_be_asked_lets_nobody_through() {
    let hook = Hook::answering(200, YES);
    let port = hook.serve().await;
    let slow = json!({"url": format!("http://127.0.0.1:{port}/slow"), "config": {"call_timeout": "200ms"}});
    let world = world(EstConfig::default(), "EXTERNAL_WEBHOOK", &slow).await;
    let late =
        "external webhook authorization timed out or was canceled: context deadline exceeded";
    assert_eq!(
        enroll(&world, "d").await.refusal(),
        (504, late.to_owned(), "webhook_timeout".to_owned())
    );
    let unused = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let closed = unused.local_addr().unwrap().port();
    drop(unused);
    let refused = |reason: &str| format!("error while calling external webhook: {reason}");
    for (webhook, reason) in [
        (
            json!({"url": format!("http://127.0.0.1:{closed}/")}),
            "no connection",
        ),
        (
            json!({"url": format!("http://127.0.0.1:{port}/verify"), "method": "GET"}),
            "invalid method: GET",
        ),
        (
            json!({"url": "http://169.254.169.254/latest"}),
            "its address must not be called",
        ),
        (
            json!({"url": "https://127.0.0.1/", "config": {"auth_mode": "mtls", "mtls": {"cert": "/etc/x", "key": "/etc/y"}}}),
            "certificates and keys must be PEM texts, files are not read on this installation",
        ),
    ] {
        let est = json!({"auth_mode": "EXTERNAL_WEBHOOK", "external_webhook_settings": webhook});
        let changed = dms("dms", &json!({"est_rfc7030_settings": est}), &json!({}));
        let (status, answer) = world.call("PUT", "/v1/dms/dms", changed).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_eq!(
            enroll(&world, "d").await.refusal(),
            (502, refused(reason), "webhook_failed".to_owned())
        );
    }
    assert_eq!(hook.n_asked(), 0);
}

#[tokio::test]
async fn in_production_no_webhook_is_on_this_machine() {
    let hook = Hook::answering(200, YES);
    let port = hook.serve().await;
    let production = EstConfig::production();
    let world = world(
        production.clone(),
        "EXTERNAL_WEBHOOK",
        &plain(port, &json!({})),
    )
    .await;
    let text = "error while calling external webhook: its address must not be called";
    assert_eq!(enroll(&world, "d").await.refusal().1, text);
    assert_eq!(hook.n_asked(), 0);

    let allowed = EstConfig {
        webhook: WebhookPolicy {
            allowed_networks: vec!["127.0.0.1".parse().unwrap()],
            ..production.webhook.clone()
        },
        ..production
    };
    let world = self::world(allowed, "EXTERNAL_WEBHOOK", &plain(port, &json!({}))).await;
    assert_eq!(enroll(&world, "d").await.certificates().len(), 1);
}

#[tokio::test]
async fn keys_and_tokens_are_presented_and_the_client_s_own_are_not() {
    let hook = Hook::answering(200, YES);
    let port = hook.serve().await;
    let by_key = plain(
        port,
        &json!({"auth_mode": "apikey", "apikey": {"key": "k3y", "header": ""}}),
    );
    let world = world(EstConfig::default(), "EXTERNAL_WEBHOOK", &by_key).await;
    assert_eq!(enroll(&world, "by-key").await.status, StatusCode::OK);
    assert_eq!(hook.last().0["x-api-key"], "k3y");

    let oidc = json!({
        "client_id": "client", "client_secret": "s3cret",
        "well_known": format!("http://127.0.0.1:{port}/oidc"),
    });
    let by_token = plain(port, &json!({"auth_mode": "jwt", "oidc": oidc}));
    let est = json!({"auth_mode": "EXTERNAL_WEBHOOK", "external_webhook_settings": by_token});
    let changed = dms("dms", &json!({"est_rfc7030_settings": est}), &json!({}));
    world.call("PUT", "/v1/dms/dms", changed).await;
    for name in ["first", "second"] {
        assert_eq!(enroll(&world, name).await.status, StatusCode::OK);
        assert_eq!(hook.last().0["authorization"], "Bearer token-1");
    }
    // A token that is refused is not used again.
    hook.answer(401, "");
    assert_eq!(enroll(&world, "third").await.status, StatusCode::FORBIDDEN);
    assert_eq!(hook.last().0["authorization"], "Bearer token-2");

    let mut request = http::Request::builder()
        .method("POST")
        .uri("/.well-known/est/dms/simpleenroll")
        .header("content-type", "application/pkcs10")
        .header("authorization", "Basic aHVzaA==")
        .header("cookie", "hush")
        .header("x-serial", "4711")
        .body(axum::body::Body::from(Device::new("d").csr()))
        .unwrap();
    let peer: SocketAddr = "192.0.2.1:1".parse().unwrap();
    request
        .extensions_mut()
        .insert(lamassu_http::PeerAddress(peer));
    world.send(request).await;
    let headers = hook.last().1["http_request"]["headers"].clone();
    assert_eq!(headers["X-Serial"], "4711");
    assert_eq!(
        (headers.get("Authorization"), headers.get("Cookie")),
        (None, None)
    );
}

#[tokio::test]
async fn a_webhook_over_tls_proves_itself_and_sees_our_certificate() {
    let files = TlsFiles::make().unwrap();
    let hook = Hook::answering(200, YES);
    let port = serve_tls(&files, hook.router()).await;
    let text = |path| std::fs::read_to_string(path).unwrap();
    let url = format!("https://localhost:{port}/verify");
    let mtls = json!({"cert": text(files.certificate("client")), "key": text(files.key("client"))});
    let webhook = |anchors: Option<String>, verify: bool| {
        json!({"url": url, "config": {
            "auth_mode": "mtls", "mtls": mtls, "ca_cert": anchors, "validate_server_cert": verify,
        }})
    };
    let good = webhook(Some(text(files.certificate("ca"))), true);
    let world = world(EstConfig::default(), "EXTERNAL_WEBHOOK", &good).await;
    assert_eq!(enroll(&world, "d").await.certificates().len(), 1);
    for (webhook, status) in [(webhook(None, true), 502), (webhook(None, false), 200)] {
        let est = json!({"auth_mode": "EXTERNAL_WEBHOOK", "external_webhook_settings": webhook});
        let changed = dms("dms", &json!({"est_rfc7030_settings": est}), &json!({}));
        let (saved, answer) = world.call("PUT", "/v1/dms/dms", changed).await;
        assert_eq!(saved, StatusCode::OK, "{answer}");
        let answer = enroll(&world, &format!("d{status}")).await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.text());
    }
}

/// A server that lets nobody in without a certificate of the CA.
async fn serve_tls(files: &TlsFiles, router: Router) -> u16 {
    let certificate = |name: &str| CertificateDer::from_pem_file(files.certificate(name)).unwrap();
    let mut anchors = RootCertStore::empty();
    anchors.add(certificate("ca")).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(anchors), Arc::clone(&provider));
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(
            vec![certificate("server")],
            PrivateKeyDer::from_pem_file(files.key("server")).unwrap(),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, router) = (acceptor.clone(), router.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let service = hyper_util::service::TowerToHyperService::new(router);
                let io = hyper_util::rt::TokioIo::new(stream);
                let http = hyper::server::conn::http1::Builder::new();
                // A client that goes away is none of the test's business.
                drop(http.serve_connection(io, service).await);
            });
        }
    });
    port
}

#[tokio::test]
async fn the_webhook_is_asked_only_once_the_certificate_passed() {
    let hook = Hook::answering(200, YES);
    let port = hook.serve().await;
    let mode = "CLIENT_CERTIFICATE_AND_EXTERNAL_WEBHOOK";
    let world = world(EstConfig::default(), mode, &plain(port, &json!({}))).await;
    let device = Device::new("d");
    let stranger = world.issue("fleet", &device).await;
    assert_eq!(
        enroll(&world, "d").await.refusal().2,
        "client_certificate_missing"
    );
    let refused = world
        .est("simpleenroll", "dms", &device.csr(), Some(&[&stranger]))
        .await;
    assert_eq!(refused.refusal().2, "client_certificate_untrusted");
    assert_eq!(hook.n_asked(), 0);
    let bootstrap = world.issue("boot", &Device::new("bootstrap")).await;
    let enrolled = world
        .est("simpleenroll", "dms", &device.csr(), Some(&[&bootstrap]))
        .await;
    assert_eq!((enrolled.certificates().len(), hook.n_asked()), (1, 1));
    world.clock.advance(time::Duration::days(2));
    let refused = world
        .est("simplereenroll", "dms", &device.csr(), Some(&[&bootstrap]))
        .await;
    assert_eq!(
        (refused.refusal().1.as_str(), hook.n_asked()),
        ("invalid certificate", 1)
    );
    let own = enrolled.certificate();
    let renewed = world
        .est("simplereenroll", "dms", &device.csr(), Some(&[&own]))
        .await;
    assert_eq!((renewed.certificates().len(), hook.n_asked()), (1, 2));
}
