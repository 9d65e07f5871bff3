//! The public documents about authentication, and "who am I".

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use lamassu_core::caller::Principal;
use lamassu_core::timestamp::Timestamp;
use lamassu_http::{Access, Authority, Identity, Json200, Reply, Routes};
use schemars::JsonSchema;
use serde::Serialize;
use time::OffsetDateTime;

use crate::auth::Auth;
use crate::issuer::Jwks;

/// The routes of the gateway, to be mounted under `/api`: the key set of the local issuer
/// (`/.well-known/jwks.json`), what clients need to sign in (`/.well-known/lamassu-auth`), and
/// who the caller is (`/auth/v1/me`).
pub fn routes(auth: Arc<Auth>) -> Routes {
    let public = Access::Public;
    Routes::builder("auth", auth)
        .get(
            "/.well-known/jwks.json",
            public,
            "Public keys of the local issuer",
            jwks,
        )
        .get(
            "/.well-known/lamassu-auth",
            public,
            "How to sign in",
            sign_in,
        )
        .get(
            "/auth/v1/me",
            Access::Authenticated,
            "Who the caller is",
            me,
        )
        .build()
}

/// The route that every service has for itself, to be mounted beside its own: `/v1/me`.
pub fn service_routes() -> Routes {
    Routes::builder("auth", ())
        .get("/v1/me", Access::Authenticated, "Who the caller is", me)
        .build()
}

async fn jwks(State(auth): State<Arc<Auth>>) -> Reply<Json200<Jwks>> {
    let published = auth.issuer().jwks().await?;
    Ok(Json200(published))
}

/// What a dashboard or a command line needs to configure itself.
#[derive(Debug, Serialize, JsonSchema)]
struct SignIn {
    /// Whether authentication is enforced.
    #[schemars(example = &"enforced")]
    mode: &'static str,
    /// Whose tokens are accepted.
    issuers: Vec<String>,
    /// The client id of the dashboard.
    client_id: String,
    /// Whom tokens must be for.
    audiences: BTreeSet<String>,
}

async fn sign_in(State(auth): State<Arc<Auth>>) -> Json200<SignIn> {
    let providers = auth.providers();
    Json200(SignIn {
        mode: auth.mode().name(),
        issuers: providers
            .iter()
            .flat_map(|one| one.issuers.clone())
            .collect(),
        client_id: auth.frontend_client_id().to_owned(),
        audiences: providers
            .iter()
            .flat_map(|one| one.audiences.clone())
            .collect(),
    })
}

/// Who asks.
#[derive(Debug, Serialize, JsonSchema)]
struct Me {
    /// `sub` of a token, or what names another credential.
    #[schemars(example = &"operator@example.com")]
    subject: String,
    /// How it signed in, for example `jwt`.
    #[serde(rename = "type")]
    #[schemars(example = &"jwt")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    /// Which configured provider issued the token.
    provider: Option<String>,
    /// Its roles.
    roles: BTreeSet<&'static str>,
    /// Everything it may do, as `area:action` with `*` for any.
    permissions: BTreeSet<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    /// When its credential ends.
    expires_at: Option<Timestamp>,
}

async fn me(identity: Identity) -> Json200<Me> {
    let provider = match &identity.principal {
        Principal::Token { provider, .. } => Some(provider.to_string()),
        Principal::Anonymous
        | Principal::Certificate { .. }
        | Principal::ApiKey { .. }
        | Principal::Service { .. }
        | Principal::System => None,
    };
    let expires_at = identity
        .expires_at
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    Json200(Me {
        subject: identity.principal.auth_id().unwrap_or_default().to_owned(),
        kind: identity.principal.auth_type().unwrap_or("anonymous"),
        provider,
        roles: identity.role_names(),
        permissions: permissions(&identity),
        expires_at: expires_at.map(Timestamp::from),
    })
}

/// Everything it may do, as `area:action` with `*` for any.
fn permissions(identity: &Identity) -> BTreeSet<String> {
    match &identity.authority {
        Authority::Everything => BTreeSet::from(["*:*".to_owned()]),
        Authority::Granted { roles, scopes } => {
            let by_role = roles.iter().flat_map(|role| role.grants());
            let by_scope = scopes
                .iter()
                .map(|scope| format!("{}:{}", scope.area, scope.action));
            by_role.map(ToString::to_string).chain(by_scope).collect()
        }
    }
}
