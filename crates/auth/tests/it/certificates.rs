//! Client certificates as credentials of management calls: what lets in, and every doubt that does
//! not.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::{Request, StatusCode};
use lamassu_auth::{AuthConfig, ClientCertificateConfig, ConfigError, SubjectField};
use lamassu_core::caller::ClientCertificateChain;
use lamassu_core::clock::{Clock as _, SystemClock};
use lamassu_core::permission::Role;
use lamassu_http::ProvenCertificate;
use lamassu_testing::TlsFiles;
use lamassu_x509::pem::pem_to_der;

use crate::support::{Answer, Forge, Installation, NOW};

const FOR_CLIENTS: &str = "extendedKeyUsage=clientAuth";

/// An installation that believes `ca`, with these roles for names, at the time of the files.
async fn believing(
    files: &TlsFiles,
    change: impl FnOnce(&mut ClientCertificateConfig),
) -> Installation {
    let mut config = AuthConfig {
        client_certificate: ClientCertificateConfig {
            enabled: true,
            ca_cert_files: vec![files.certificate("ca")],
            role_mappings: mapped(&[("operator-*", "auditor"), ("front", "service")]),
            ..ClientCertificateConfig::default()
        },
        ..AuthConfig::default()
    };
    change(&mut config.client_certificate);
    let installation = Installation::open(&config).await;
    installation.clock.advance(SystemClock.now() - NOW);
    installation
}

fn mapped(roles: &[(&str, &str)]) -> BTreeMap<String, Vec<String>> {
    let roles = roles.iter();
    roles
        .map(|&(name, role)| (name.to_owned(), vec![role.to_owned()]))
        .collect()
}

fn chain(files: &TlsFiles, name: &str) -> ClientCertificateChain {
    let pem = std::fs::read(files.certificate(name)).unwrap();
    ClientCertificateChain(Arc::from([Bytes::from(pem_to_der(&pem).unwrap())]))
}

/// A call of a client that proved the key of this certificate, with these headers.
async fn call(
    installation: &Installation,
    request: (&str, &str),
    chain: ClientCertificateChain,
    authorization: Option<&str>,
) -> Answer {
    let (method, path) = request;
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .extension(ProvenCertificate(chain));
    if let Some(value) = authorization {
        request = request.header("authorization", value);
    }
    installation
        .send(request.body(Body::empty()).unwrap())
        .await
}

const LIST: (&str, &str) = ("GET", "/api/sample/v1/cas");
const CREATE: (&str, &str) = ("POST", "/api/sample/v1/cas");
const INTERNAL: (&str, &str) = ("POST", "/api/sample/internal/v1/intents");
const ANYONE: (&str, &str) = ("GET", "/api/sample/v1/anyone");

#[tokio::test]
async fn a_certificate_gives_the_role_that_its_name_has() {
    let files = TlsFiles::make().unwrap();
    files
        .issue("jane", "/CN=operator-jane", FOR_CLIENTS)
        .unwrap();
    files.issue("front", "/CN=front", FOR_CLIENTS).unwrap();
    let installation = believing(&files, |_| {}).await;
    let jane = || chain(&files, "jane");
    let listed = call(&installation, LIST, jane(), None).await;
    assert_eq!(listed.json(), "crt:operator-jane");
    for beyond in [CREATE, INTERNAL] {
        let answer = call(&installation, beyond, jane(), None).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{beyond:?}");
    }
    let intended = call(&installation, INTERNAL, chain(&files, "front"), None).await;
    assert_eq!(intended.json(), "internal:front");
}

#[tokio::test]
async fn a_certificate_gives_nothing_by_itself() {
    let files = TlsFiles::make().unwrap();
    let two_names = "/CN=operator-jane/CN=operator-joe";
    for (name, subject, extension) in [
        ("server", "/CN=operator-jane", "extendedKeyUsage=serverAuth"),
        ("signs", "/CN=operator-jane", "keyUsage=cRLSign"),
        ("two", two_names, FOR_CLIENTS),
        ("other", "/CN=nobody", FOR_CLIENTS),
    ] {
        files.issue(name, subject, extension).unwrap();
    }
    files
        .issue_by("other-ca", "foreign", "/CN=operator-jane", FOR_CLIENTS)
        .unwrap();
    let installation = believing(&files, |_| {}).await;
    for (name, code) in [
        ("server", "client_certificate_usage"),
        ("signs", "client_certificate_usage"),
        ("ca", "client_certificate_usage"),
        ("two", "client_certificate_without_role"),
        ("other", "client_certificate_without_role"),
        ("foreign", "client_certificate_untrusted"),
    ] {
        // A route that asks for no more than a caller is closed, too.
        for route in [LIST, ANYONE] {
            let answer = call(&installation, route, chain(&files, name), None).await;
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (StatusCode::UNAUTHORIZED, code),
                "{name}"
            );
        }
    }
    let unreadable = ClientCertificateChain(Arc::from([Bytes::from_static(b"no certificate")]));
    let answer = call(&installation, LIST, unreadable, None).await;
    assert_eq!(answer.code(), "client_certificate_untrusted");
}

#[tokio::test]
async fn an_expired_certificate_is_refused_with_the_reason() {
    let files = TlsFiles::make().unwrap();
    files
        .issue("jane", "/CN=operator-jane", FOR_CLIENTS)
        .unwrap();
    let installation = believing(&files, |_| {}).await;
    installation.clock.advance(time::Duration::days(3));
    let answer = call(&installation, LIST, chain(&files, "jane"), None).await;
    assert_eq!(answer.code(), "client_certificate_expired");
    assert_eq!(
        answer.json()["err"],
        "client certificate not accepted: certificate has expired"
    );
    assert_eq!(answer.challenge(), Some("Bearer realm=\"lamassu\""));
}

#[tokio::test]
async fn a_certificate_that_a_proxy_hands_over_is_no_credential() {
    let files = TlsFiles::make().unwrap();
    files
        .issue("jane", "/CN=operator-jane", FOR_CLIENTS)
        .unwrap();
    let installation = believing(&files, |_| {}).await;
    let request = Request::get(LIST.1)
        .extension(chain(&files, "jane"))
        .body(Body::empty())
        .unwrap();
    assert_eq!(installation.send(request).await.code(), "token_missing");
}

#[tokio::test]
async fn switched_off_it_lets_nobody_in() {
    let files = TlsFiles::make().unwrap();
    files
        .issue("jane", "/CN=operator-jane", FOR_CLIENTS)
        .unwrap();
    let installation = believing(&files, |config| config.enabled = false).await;
    let answer = call(&installation, LIST, chain(&files, "jane"), None).await;
    assert_eq!(answer.code(), "token_missing");
}

#[tokio::test]
async fn a_token_decides_before_a_certificate_even_when_it_is_refused() {
    let files = TlsFiles::make().unwrap();
    files
        .issue("jane", "/CN=operator-jane", FOR_CLIENTS)
        .unwrap();
    let installation = believing(&files, |_| {}).await;
    let jane = || chain(&files, "jane");
    let token = format!("Bearer {}", installation.mint(Role::Admin).await);
    let created = call(&installation, CREATE, jane(), Some(&token)).await;
    assert_eq!(created.json(), "jwt:alice");
    let forged = format!("Bearer {}", Forge::new().good());
    let refused = call(&installation, LIST, jane(), Some(&forged)).await;
    assert_eq!(refused.code(), "token_issuer");
}

#[tokio::test]
async fn where_both_are_needed_neither_is_enough() {
    let files = TlsFiles::make().unwrap();
    files.issue("anybody", "/CN=anybody", FOR_CLIENTS).unwrap();
    files
        .issue_by("other-ca", "foreign", "/CN=anybody", FOR_CLIENTS)
        .unwrap();
    let installation = believing(&files, |config| config.required_with_jwt = true).await;
    let token = format!("Bearer {}", installation.mint(Role::Admin).await);
    let anybody = || chain(&files, "anybody");
    let code = async |chain, token| call(&installation, CREATE, chain, token).await.code();
    assert_eq!(code(anybody(), Some(&token)).await, "admitted");
    assert_eq!(code(anybody(), None).await, "token_missing");
    let foreign = chain(&files, "foreign");
    assert_eq!(
        code(foreign, Some(&token)).await,
        "client_certificate_untrusted"
    );
    let headers = [("authorization", token.as_str())];
    let alone = installation.get(LIST.1, &headers).await;
    assert_eq!(alone.code(), "client_certificate_missing");
}

#[tokio::test]
async fn alternative_names_count_where_they_are_asked_for() {
    let files = TlsFiles::make().unwrap();
    let names = "subjectAltName=DNS:a.example,DNS:ops.example,email:ops@example,URI:urn:ops";
    files.issue("ops", "/CN=ops.example", names).unwrap();
    for (field, name, expected) in [
        (SubjectField::SanDns, "ops.example", "admitted"),
        (SubjectField::SanEmail, "ops@example", "admitted"),
        (SubjectField::SanUri, "urn:ops", "admitted"),
        (
            SubjectField::SanUri,
            "ops.example",
            "client_certificate_without_role",
        ),
        (
            SubjectField::Cn,
            "a.example",
            "client_certificate_without_role",
        ),
    ] {
        let installation = believing(&files, |config| {
            config.subject_field = field;
            config.role_mappings = mapped(&[(name, "auditor")]);
        })
        .await;
        let answer = call(&installation, LIST, chain(&files, "ops"), None).await;
        assert_eq!(answer.code(), expected, "{field:?} {name}");
    }
}

#[tokio::test]
async fn what_cannot_be_meant_keeps_the_process_from_starting() {
    let refused = |change: fn(&mut ClientCertificateConfig)| {
        let mut config = AuthConfig::default();
        config.client_certificate.enabled = true;
        config.client_certificate.ca_cert_files = vec!["/ca.pem".into()];
        change(&mut config.client_certificate);
        config.validate().unwrap_err()
    };
    let pattern = "a*b*".to_owned();
    assert_eq!(
        refused(|config| config.ca_cert_files.clear()),
        ConfigError::NoClientCa
    );
    assert_eq!(
        refused(|config| config.role_mappings = mapped(&[("a*b*", "admin")])),
        ConfigError::Pattern { pattern }
    );
    assert_eq!(
        refused(|config| config.role_mappings = mapped(&[("a", "root")])).to_string(),
        "authentication maps \"a\" to the unknown role \"root\""
    );
}
