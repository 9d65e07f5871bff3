//! An installation with a foreign identity provider, and a forge for its tokens.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use jsonwebtoken::{Algorithm, EncodingKey};
use lamassu_auth::{Auth, AuthConfig, LocalIssuer, ProviderConfig, routes};
use lamassu_core::clock::{ManualClock, SharedClock};
use lamassu_core::permission::{Permission, Role};
use lamassu_crypto::{Curve, KeySpec, PrivateKey};
use lamassu_db::Db;
use lamassu_http::{Access, AskedBy, Json200, Routes, Stack};
use lamassu_testing::TestDatabase;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// When every test starts.
pub(crate) const NOW: OffsetDateTime = datetime!(2026-01-01 12:00 UTC);
/// The issuer of the foreign provider.
pub(crate) const IDP: &str = "https://idp.example/realms/lamassu";
/// What the foreign provider's tokens are for.
pub(crate) const AUDIENCE: &str = "lamassu-api";

/// A foreign identity provider's key, and whatever tokens a test wants signed with it.
pub(crate) struct Forge {
    signer: EncodingKey,
    spki: Vec<u8>,
    jwk: Value,
}

impl Forge {
    pub(crate) fn new() -> Self {
        let key = PrivateKey::generate(KeySpec::Ec(Curve::P256)).unwrap();
        let point = key.public_key().spki_der().last_chunk::<64>().unwrap();
        Self {
            signer: EncodingKey::from_ec_der(&key.to_pkcs8_der().unwrap()),
            spki: key.public_key().spki_der().to_vec(),
            jwk: json!({
                "kty": "EC", "crv": "P-256", "kid": "k1", "use": "sig", "alg": "ES256",
                "x": URL_SAFE_NO_PAD.encode(&point[..32]),
                "y": URL_SAFE_NO_PAD.encode(&point[32..]),
            }),
        }
    }

    pub(crate) fn jwks(&self) -> String {
        let foreign_use = json!({"kty": "EC", "use": "enc", "kid": "k2"});
        let unknown_kind = json!({"kty": "AKP", "kid": "k3"});
        json!({"keys": [unknown_kind, foreign_use, self.jwk]}).to_string()
    }

    pub(crate) fn public_pem(&self) -> String {
        let base64 = STANDARD.encode(&self.spki);
        format!("-----BEGIN PUBLIC KEY-----\n{base64}\n-----END PUBLIC KEY-----\n")
    }

    /// A token with this header and these claims, whatever they say.
    pub(crate) fn token(&self, header: &Value, claims: &Value) -> String {
        let input = format!("{}.{}", encode(header), encode(claims));
        let signature =
            jsonwebtoken::crypto::sign(input.as_bytes(), &self.signer, Algorithm::ES256).unwrap();
        format!("{input}.{signature}")
    }

    /// A good token, after `change` made one thing of it different.
    pub(crate) fn with(&self, change: impl FnOnce(&mut Value, &mut Value)) -> String {
        let (mut header, mut claims) = (good_header(), good_claims());
        change(&mut header, &mut claims);
        self.token(&header, &claims)
    }

    /// A good token with one claim set, or removed where `value` is null.
    pub(crate) fn with_claim(&self, name: &str, value: Value) -> String {
        self.with(|_, claims| {
            let claims = claims.as_object_mut().unwrap();
            match value {
                Value::Null => claims.remove(name),
                value => claims.insert(name.to_owned(), value),
            };
        })
    }

    pub(crate) fn good(&self) -> String {
        self.with(|_, _| {})
    }
}

pub(crate) fn encode(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}

pub(crate) fn good_header() -> Value {
    json!({"alg": "ES256", "typ": "JWT", "kid": "k1"})
}

pub(crate) fn good_claims() -> Value {
    let now = NOW.unix_timestamp();
    json!({
        "iss": IDP, "sub": "alice", "aud": AUDIENCE, "iat": now, "exp": now + 300,
        "realm_access": {"roles": ["pki-admin", "offline_access"]},
    })
}

/// A process with routes to try credentials on.
pub(crate) struct Installation {
    pub(crate) auth: Arc<Auth>,
    pub(crate) db: Db,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) router: Router,
    pub(crate) stack: Stack,
    _database: TestDatabase,
}

async fn who(AskedBy(caller): AskedBy) -> Json200<String> {
    let kind = caller.principal.auth_type().unwrap_or("none");
    let id = caller.principal.auth_id().unwrap_or("nobody");
    Json200(format!("{kind}:{id}"))
}

pub(crate) fn sample_routes() -> Routes {
    Routes::builder("sample", ())
        .get("/v1/cas", Permission::new("ca", "read"), "List", who)
        .post("/v1/cas", Permission::new("ca", "create"), "Create", who)
        .delete(
            "/v1/keys/{id}",
            Permission::new("kms", "delete"),
            "Delete",
            who,
        )
        .post(
            "/internal/v1/intents",
            Permission::new("internal", "ca"),
            "Intend",
            who,
        )
        .get("/v1/anyone", Access::Authenticated, "Any caller", who)
        .get("/crl/{ski}", Access::Public, "CRL", who)
        .build()
}

pub(crate) async fn open_db(clock: SharedClock) -> (Db, TestDatabase) {
    let database = TestDatabase::fresh();
    (database.open(&clock).await, database)
}

impl Installation {
    pub(crate) async fn open(config: &AuthConfig) -> Self {
        let clock = Arc::new(ManualClock::at(NOW));
        let shared: SharedClock = Arc::<ManualClock>::clone(&clock);
        let (db, database) = open_db(Arc::clone(&shared)).await;
        let auth = Auth::open(config, &db, shared).await.unwrap();
        let stack = || {
            let authenticator: Arc<dyn lamassu_http::Authenticator> = Arc::<Auth>::clone(&auth);
            Stack::new(authenticator, TaskTracker::new())
                .mount("/api/sample", &sample_routes())
                .mount("/api", &routes(Arc::clone(&auth)))
        };
        Self {
            router: stack().build().unwrap(),
            stack: stack(),
            auth,
            db,
            clock,
            _database: database,
        }
    }

    /// With the forge's owner as an identity provider.
    pub(crate) async fn trusting(forge: &Forge) -> Self {
        Self::open(&trusting(forge)).await
    }

    pub(crate) async fn mint(&self, role: Role) -> String {
        mint(self.auth.issuer(), role).await
    }

    /// GETs a path with these headers.
    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// GETs the sample list with a bearer token.
    pub(crate) async fn list(&self, token: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        self.get("/api/sample/v1/cas", &[("authorization", &bearer)])
            .await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }
}

pub(crate) async fn mint(issuer: &LocalIssuer, role: Role) -> String {
    let minted = issuer.mint("alice", &[role], Duration::HOUR).await.unwrap();
    minted.token.expose_secret().to_owned()
}

pub(crate) fn trusting(forge: &Forge) -> AuthConfig {
    let mut config = AuthConfig::default();
    config.jwt.providers.push(provider(forge));
    config
}

pub(crate) fn provider(forge: &Forge) -> ProviderConfig {
    ProviderConfig {
        name: "idp".to_owned(),
        issuer: lamassu_auth::OneOrMany::One(IDP.to_owned()),
        jwks: Some(forge.jwks()),
        audiences: vec![AUDIENCE.to_owned()],
        ..ProviderConfig::default()
    }
}

/// A reply with its body read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn challenge(&self) -> Option<&str> {
        let value = self.headers.get("www-authenticate")?;
        Some(value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// `code` of a refusal, or what was answered instead.
    pub(crate) fn code(&self) -> String {
        if self.status == StatusCode::OK {
            return "admitted".to_owned();
        }
        self.json()["code"].as_str().unwrap().to_owned()
    }
}
