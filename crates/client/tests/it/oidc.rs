use std::sync::Arc;
use std::time::Duration;

use lamassu_client::{
    AuthMode, ClientConfig, ClientCredentials, Credentials, CredentialsError, JwtOptions,
    MintToken, Wallet,
};
use lamassu_core::duration::WireDuration;

use crate::server::{Act, Server, answer, answer_text};

async fn provider(tokens: Vec<Act>) -> (Server, Arc<ClientCredentials>) {
    provider_within(tokens, "30s").await
}

/// For calls that may take so long.
async fn provider_within(mut tokens: Vec<Act>, timeout: &str) -> (Server, Arc<ClientCredentials>) {
    // The address of the token endpoint is known only once the server runs, so it is configured.
    let server = Server::start(std::mem::take(&mut tokens)).await;
    let mut config = server.config();
    config.timeout = timeout.parse().unwrap();
    config.jwt_options = JwtOptions {
        oidc_client_id: "ca service".to_owned(),
        oidc_client_secret: Some("s3:cret".to_owned().into()),
        token_url: format!("http://127.0.0.1:{}/token", server.port),
        scopes: vec!["a".to_owned(), "b".to_owned()],
        refresh_margin: WireDuration::from_secs(30),
        ..JwtOptions::default()
    };
    (server, Arc::new(ClientCredentials::new(&config).unwrap()))
}

fn token(name: &str, seconds: u32) -> Act {
    let body =
        format!(r#"{{"access_token":"{name}","expires_in":{seconds},"token_type":"Bearer"}}"#);
    answer(200, "", &body)
}

async fn bearer(credentials: &ClientCredentials) -> String {
    let authorization = credentials.authorization().await.unwrap().unwrap();
    authorization.value.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_token_is_fetched_once_for_everybody_who_waits() {
    let (server, credentials) = provider(vec![token("one", 300), token("two", 300)]).await;
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let credentials = Arc::clone(&credentials);
            tokio::spawn(async move { bearer(&credentials).await })
        })
        .collect();
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap(), "Bearer one");
    }
    assert_eq!(server.n_asked(), 1);
    let asked = server.asked().remove(0);
    // base64 of `ca%20service:s3%3Acret` (RFC 6749 section 2.3.1)
    assert!(
        asked.contains("authorization: Basic Y2ElMjBzZXJ2aWNlOnMzJTNBY3JldA=="),
        "{asked}"
    );
    assert!(asked.ends_with("grant_type=client_credentials&scope=a%20b"));
}

#[tokio::test]
async fn a_refused_token_is_dropped_but_not_its_successor() {
    let (server, credentials) = provider(vec![token("one", 300), token("two", 300)]).await;
    let one = credentials.authorization().await.unwrap().unwrap();
    credentials.refused(&one);
    assert_eq!(bearer(&credentials).await, "Bearer two");
    credentials.refused(&one);
    assert_eq!(bearer(&credentials).await, "Bearer two");
    assert_eq!(server.n_asked(), 2);
}

#[tokio::test]
async fn a_provider_that_wants_the_secret_in_the_body_gets_it_there() {
    let refused = answer(401, "", r#"{"error":"invalid_client"}"#);
    let (server, credentials) = provider(vec![refused, token("one", 300)]).await;
    assert_eq!(bearer(&credentials).await, "Bearer one");
    let asked = server.asked().remove(1);
    assert!(asked.ends_with("&client_id=ca%20service&client_secret=s3%3Acret"));
    assert!(!asked.contains("authorization:"));
}

#[tokio::test]
async fn a_provider_that_gives_none_is_an_error_that_names_no_secret() {
    let (_server, credentials) = provider(vec![answer(500, "", "s3:cret")]).await;
    let error = credentials.authorization().await.unwrap_err();
    let cause = error.source().unwrap().to_string();
    assert_eq!(
        (error.to_string().as_str(), cause.as_str()),
        (
            "the identity provider gave no token",
            "the identity provider answered 500 Internal Server Error"
        )
    );
    assert!(!format!("{credentials:?}").contains("s3:cret"));
}

#[tokio::test]
async fn a_provider_that_fails_is_asked_once_for_everybody_who_waits() {
    let (server, credentials) = provider(vec![answer(500, "", "")]).await;
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let credentials = Arc::clone(&credentials);
            tokio::spawn(async move { credentials.authorization().await.is_err() })
        })
        .collect();
    for waiting in waiting {
        assert!(waiting.await.unwrap());
    }
    assert_eq!(server.n_asked(), 1);
}

/// Those who gave up first, and those who come when it is known, cause no further request.
#[tokio::test]
async fn a_provider_that_hangs_is_asked_once_and_its_failure_remembered() {
    let (server, credentials) = provider_within(vec![Act::Silence], "400ms").await;
    for _ in 0..3 {
        let asking = credentials.authorization();
        let gave_up = tokio::time::timeout(Duration::from_millis(20), asking).await;
        gave_up.unwrap_err();
    }
    // Sooner than the call would end, which has 400 ms.
    let asking = credentials.authorization();
    let told = tokio::time::timeout(Duration::from_millis(390), asking).await;
    let error = told.expect("told in time").unwrap_err();
    assert_eq!(
        error.source().unwrap().to_string(),
        "the identity provider did not answer in time"
    );
    credentials.authorization().await.unwrap_err();
    assert_eq!(server.n_asked(), 1);
}

/// The first who waits leaves; the token comes all the same, for the next.
#[tokio::test]
async fn a_token_that_nobody_waits_for_any_more_is_kept() {
    let body = r#"{"access_token":"one","expires_in":300}"#;
    let late = Act::Late(Duration::from_millis(100), answer_text(200, "", body));
    let (server, credentials) = provider(vec![late]).await;
    let asking = credentials.authorization();
    let gave_up = tokio::time::timeout(Duration::from_millis(20), asking).await;
    gave_up.unwrap_err();
    assert_eq!(bearer(&credentials).await, "Bearer one");
    assert_eq!(server.n_asked(), 1);
}

#[tokio::test]
async fn a_token_is_used_for_half_of_its_life_at_least_and_never_beyond() {
    // The margin is 30 seconds, longer than either token lives.
    let (server, credentials) = provider(vec![token("one", 0), token("two", 29)]).await;
    assert_eq!(bearer(&credentials).await, "Bearer one");
    assert_eq!(bearer(&credentials).await, "Bearer two");
    assert_eq!(bearer(&credentials).await, "Bearer two");
    assert_eq!(server.n_asked(), 2);
}

/// Whoever would mint a token of our own is not asked.
#[derive(Debug)]
struct NoMint;

#[async_trait::async_trait]
impl MintToken for NoMint {
    async fn service_token(&self) -> Result<secrecy::SecretString, CredentialsError> {
        Err("nobody mints here".into())
    }

    fn refused(&self) {}
}

#[tokio::test]
async fn blocks_that_ask_for_the_same_token_share_it() {
    let (server, _) = provider(vec![token("one", 300), token("two", 300)]).await;
    let mut config = server.config();
    config.auth_mode = AuthMode::Jwt;
    config.jwt_options = JwtOptions {
        oidc_client_id: "front".to_owned(),
        oidc_client_secret: Some("s3:cret".to_owned().into()),
        token_url: format!("http://127.0.0.1:{}/token", server.port),
        ..JwtOptions::default()
    };
    let wallet = Wallet::new(Arc::new(NoMint));
    let of = async |config: &ClientConfig| {
        let credentials = wallet.credentials(config).unwrap();
        let authorization = credentials.authorization().await.unwrap().unwrap();
        authorization.value.to_str().unwrap().to_owned()
    };
    assert_eq!(of(&config).await, "Bearer one");
    config.port = 1;
    assert_eq!(of(&config).await, "Bearer one");
    config.jwt_options.audience = "others".to_owned();
    assert_eq!(of(&config).await, "Bearer two");
}

#[tokio::test]
async fn the_token_endpoint_is_discovered() {
    let (tokens, _) = provider(vec![token("one", 300)]).await;
    let document = format!(
        r#"{{"token_endpoint":"http://127.0.0.1:{}/t"}}"#,
        tokens.port
    );
    let well_known = Server::start(vec![answer(200, "", &document)]).await;
    let mut config = tokens.config();
    config.jwt_options = JwtOptions {
        oidc_client_id: "ca".to_owned(),
        oidc_well_known: format!("http://127.0.0.1:{}/.well-known", well_known.port),
        ..JwtOptions::default()
    };
    let credentials = ClientCredentials::new(&config).unwrap();
    assert_eq!(bearer(&credentials).await, "Bearer one");
    assert!(well_known.asked()[0].starts_with("GET /.well-known "));
    assert!(tokens.asked()[0].starts_with("POST /t "));
}
