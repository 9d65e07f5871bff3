//! Fixed keys in a header.

use axum::body::Body;
use http::Request;
use lamassu_auth::{ApiKeyConfig, AuthConfig};
use lamassu_core::permission::Role;
use lamassu_crypto::HashAlgorithm;

use crate::support::Installation;

const LIST: &str = "/api/sample/v1/cas";

fn key(name: &str, key: &str, role: &str) -> ApiKeyConfig {
    ApiKeyConfig {
        name: name.to_owned(),
        sha256: hex::encode(HashAlgorithm::Sha256.digest(key.as_bytes())),
        roles: vec![role.to_owned()],
        ..ApiKeyConfig::default()
    }
}

async fn with_keys(keys: Vec<ApiKeyConfig>) -> Installation {
    Installation::open(&AuthConfig {
        api_keys: keys,
        ..AuthConfig::default()
    })
    .await
}

#[tokio::test]
async fn a_key_gives_the_roles_of_its_holder() {
    let mut connector = key("connector", "k2", "admin");
    connector.header = "X-Connector".to_owned();
    connector.subject = "the connector".to_owned();
    let installation = with_keys(vec![key("importer", "k1", "auditor"), connector]).await;
    let listed = installation.get(LIST, &[("x-api-key", "k1")]).await;
    assert_eq!(listed.json(), "apikey:importer");
    let listed = installation.get(LIST, &[("x-connector", "k2")]).await;
    assert_eq!(listed.json(), "apikey:the connector");
    let create = Request::post(LIST)
        .header("x-api-key", "k1")
        .body(Body::empty())
        .unwrap();
    assert_eq!(
        installation.send(create).await.code(),
        "insufficient_permissions"
    );
}

#[tokio::test]
async fn what_is_nobodys_key_or_several_is_refused() {
    let installation = with_keys(vec![key("a", "k1", "auditor"), key("b", "k2", "auditor")]).await;
    let cases: [&[(&str, &str)]; 5] = [
        &[("x-api-key", "k3")],
        &[("x-api-key", "")],
        &[("x-api-key", "K1")],
        &[("x-api-key", "k1"), ("x-api-key", "k1")],
        &[("x-api-key", "k1"), ("x-api-key", "k2")],
    ];
    for headers in cases {
        let answer = installation.get(LIST, headers).await;
        assert_eq!(answer.code(), "api_key_unknown", "{headers:?}");
    }
    let elsewhere = installation.get(LIST, &[("x-other", "k1")]).await;
    assert_eq!(elsewhere.code(), "token_missing");
}

#[tokio::test]
async fn a_token_decides_before_a_key() {
    let installation = with_keys(vec![key("a", "k1", "auditor")]).await;
    let token = format!("Bearer {}", installation.mint(Role::Admin).await);
    let headers = [("x-api-key", "k1"), ("authorization", token.as_str())];
    assert_eq!(installation.get(LIST, &headers).await.json(), "jwt:alice");
    let headers = [("x-api-key", "k1"), ("authorization", "Bearer nonsense")];
    assert_eq!(
        installation.get(LIST, &headers).await.code(),
        "token_malformed"
    );
}

#[test]
fn what_is_no_digest_or_no_place_is_refused() {
    let refused = |change: fn(&mut ApiKeyConfig)| {
        let mut one = key("a", "k1", "auditor");
        change(&mut one);
        let config = AuthConfig {
            api_keys: vec![one],
            ..AuthConfig::default()
        };
        config.validate().unwrap_err().to_string()
    };
    let cannot_be = "authentication.api_keys: \"a\" needs sha256, the digest of a key in 64 hex \
                     digits, and a header that is not used otherwise";
    assert_eq!(refused(|key| key.sha256 = "k1".to_owned()), cannot_be);
    // The digest of nothing.
    let of_nothing = |key: &mut ApiKeyConfig| {
        key.sha256 = hex::encode(HashAlgorithm::Sha256.digest(b""));
    };
    assert_eq!(refused(of_nothing), cannot_be);
    assert_eq!(
        refused(|key| key.header = "Authorization".to_owned()),
        cannot_be
    );
    assert_eq!(
        refused(|key| key.header = "no header".to_owned()),
        cannot_be
    );
    assert_eq!(
        refused(|key| key.name.clear()),
        "authentication.api_keys: the name \"\" is empty or used twice"
    );
    assert_eq!(
        refused(|key| key.roles = vec!["root".to_owned()]),
        "authentication maps \"a\" to the unknown role \"root\""
    );
}
