//! What a configuration may say, and what keeps a process from starting.

use lamassu_auth::{
    Auth, AuthConfig, AuthError, ConfigError, Mappings, Mode, OneOrMany, ProviderConfig,
};
use lamassu_core::clock::{ManualClock, SharedClock};
use std::sync::Arc;

use crate::support::{Forge, Installation, NOW, open_db, provider, trusting};

#[test]
fn the_defaults_are_the_safe_ones() {
    let config: AuthConfig = serde_json::from_str("{}").unwrap();
    assert_eq!(config.mode, Mode::Enforce);
    assert_eq!(config.jwt.clock_skew.to_string(), "1m");
    assert_eq!(config.jwt.required_claims, ["sub", "exp", "iat"]);
    assert_eq!(config.authorization.role_mappings["pki-admin"], ["admin"]);
    assert_eq!(config.validate(), Ok(()));
}

#[test]
fn an_hmac_algorithm_cannot_be_configured() {
    let hmac = r#"{"jwt": {"providers": [{"name": "a", "algorithms": ["HS256"]}]}}"#;
    let error = serde_json::from_str::<AuthConfig>(hmac)
        .unwrap_err()
        .to_string();
    assert!(error.contains("unknown variant `HS256`"), "{error}");
}

fn with(change: impl FnOnce(&mut AuthConfig)) -> ConfigError {
    let mut config = trusting(&Forge::new());
    change(&mut config);
    config.validate().unwrap_err()
}

fn second(change: impl FnOnce(&mut ProviderConfig)) -> ConfigError {
    with(|config| {
        let mut second = provider(&Forge::new());
        config.jwt.providers[0].mappings = Some(Mappings::default());
        second.mappings = Some(Mappings::default());
        second.name = "second".to_owned();
        second.issuer = OneOrMany::One("https://second.example".to_owned());
        change(&mut second);
        config.jwt.providers.push(second);
    })
}

#[test]
fn a_wrong_configuration_is_refused_with_the_reason() {
    let cases = [
        (
            with(|config| config.realm = "a\"b".to_owned()),
            "authentication.realm holds a quote, a backslash or a control character",
        ),
        (
            with(|config| config.jwt.clock_skew = "-1s".parse().unwrap()),
            "authentication.jwt.clock_skew is negative",
        ),
        (
            second(|provider| provider.name = "local".to_owned()),
            "authentication.jwt.providers: the name \"local\" is empty, reserved or used twice",
        ),
        (
            second(|provider| provider.jwks = None),
            "provider \"second\" needs exactly one of jwks, jwks_file and public_key_files",
        ),
        (
            second(|provider| provider.issuer = provider_issuer()),
            "issuer \"https://idp.example/realms/lamassu\" belongs to two providers",
        ),
        (
            with(|config| {
                config.jwt.providers[0].issuer = OneOrMany::default();
                let mut other = provider(&Forge::new());
                other.name = "other".to_owned();
                other.issuer = OneOrMany::default();
                config.jwt.providers.push(other);
            }),
            "provider \"other\" has no issuer, and it is not the only one without",
        ),
        (
            with(|config| {
                let roles = vec!["root".to_owned()];
                config
                    .authorization
                    .role_mappings
                    .insert("boss".to_owned(), roles);
            }),
            "authentication maps \"boss\" to the unknown role \"root\"",
        ),
        (
            second(|provider| {
                let roles = vec!["root".to_owned()];
                provider.mappings = Some(Mappings::default());
                let subjects = &mut provider.mappings.as_mut().unwrap().subjects;
                subjects.insert("bot".to_owned(), roles);
            }),
            "authentication maps \"bot\" to the unknown role \"root\"",
        ),
        (
            second(|provider| provider.mappings = None),
            "provider \"second\" needs mappings of its own: those in authentication.authorization \
             hold only where it is the only provider",
        ),
    ];
    for (error, expected) in cases {
        assert_eq!(error.to_string(), expected);
    }
}

fn provider_issuer() -> OneOrMany {
    provider(&Forge::new()).issuer
}

#[tokio::test]
async fn one_provider_without_issuer_takes_any() {
    let forge = Forge::new();
    let mut config = trusting(&forge);
    config.jwt.providers[0].issuer = OneOrMany::default();
    let installation = Installation::open(&config).await;
    assert_eq!(installation.list(&forge.good()).await.code(), "admitted");
    let unsigned_by_us = forge.with_claim("iss", installation.auth.issuer().name().into());
    assert_eq!(installation.list(&unsigned_by_us).await.code(), "token_key");
}

#[tokio::test]
async fn keys_come_from_files_too() {
    let forge = Forge::new();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("jwks.json");
    std::fs::write(&file, forge.jwks()).unwrap();
    let mut config = trusting(&forge);
    config.jwt.providers[0].jwks = None;
    config.jwt.providers[0].jwks_file = Some(file);
    let installation = Installation::open(&config).await;
    assert_eq!(installation.list(&forge.good()).await.code(), "admitted");

    let pem = dir.path().join("key.pem");
    std::fs::write(&pem, forge.public_pem()).unwrap();
    config.jwt.providers[0].jwks_file = None;
    config.jwt.providers[0].public_key_files = vec![pem];
    let installation = Installation::open(&config).await;
    assert_eq!(installation.list(&forge.good()).await.code(), "admitted");
    assert_eq!(
        installation.list(&Forge::new().good()).await.code(),
        "token_signature"
    );
}

#[tokio::test]
async fn keys_that_cannot_be_read_keep_the_process_from_starting() {
    let clock: SharedClock = Arc::new(ManualClock::at(NOW));
    let (db, _dir) = open_db(Arc::clone(&clock)).await;
    for (jwks, file) in [
        (Some("{\"keys\": []}"), None),
        (Some("no JSON"), None),
        (None, Some("/nowhere/jwks.json")),
    ] {
        let mut config = trusting(&Forge::new());
        config.jwt.providers[0].jwks = jwks.map(str::to_owned);
        config.jwt.providers[0].jwks_file = file.map(Into::into);
        let error = Auth::open(&config, &db, Arc::clone(&clock))
            .await
            .unwrap_err();
        assert!(matches!(error, AuthError::Provider(_)), "{error:?}");
    }
}
