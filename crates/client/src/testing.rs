//! A service reached as other processes reach it, for the tests of services: with
//! `LAMASSU_TEST_CLIENT=http` a suite runs through client, TCP, route table and guard, without it
//! against the service itself.

use std::sync::Arc;

use http::request::Parts;
use lamassu_core::permission::{Permission, Role};
use lamassu_http::testing::TokenNamesRole;
use lamassu_http::{AuthRefusal, Authenticator, Authority, Identity, Routes, Stack};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use crate::config::{AuthMode, ClientConfig, Protocol};
use crate::credentials::{Credentials, MintToken, ServiceToken};
use crate::peer::Peer;

/// Knows one token, [`TestToken`]: another service, which may also do what people may, since the
/// suites do everything.
#[derive(Debug)]
struct KnowsTheToken;

#[async_trait::async_trait]
impl Authenticator for KnowsTheToken {
    async fn authenticate(&self, request: &Parts) -> Result<Identity, AuthRefusal> {
        let identity = TokenNamesRole.authenticate(request).await?;
        if !identity.is_service() {
            return Ok(Identity::anonymous());
        }
        Ok(Identity {
            authority: Authority::Granted {
                roles: vec![Role::Service, Role::Admin],
                scopes: Vec::new(),
            },
            ..identity
        })
    }

    async fn refuse(
        &self,
        request: &Parts,
        identity: &Identity,
        permission: Permission,
    ) -> AuthRefusal {
        TokenNamesRole.refuse(request, identity, permission).await
    }
}

/// The token that [`TokenNamesRole`] takes for another service.
#[derive(Debug)]
struct TestToken;

#[async_trait::async_trait]
impl MintToken for TestToken {
    async fn service_token(&self) -> Result<secrecy::SecretString, crate::CredentialsError> {
        Ok("service".to_owned().into())
    }

    fn refused(&self) {}
}

/// What a call over HTTP is authenticated with in tests.
pub fn service_token() -> Arc<dyn Credentials> {
    Arc::new(ServiceToken(Arc::new(TestToken)))
}

/// Whether services are reached over HTTP in this run.
pub fn is_remote() -> bool {
    #[expect(
        clippy::disallowed_methods,
        reason = "a switch of the tests, which have no configuration"
    )]
    let chosen = std::env::var("LAMASSU_TEST_CLIENT");
    chosen.is_ok_and(|chosen| chosen == "http")
}

/// The block that reaches a listener on loopback; nothing is repeated, so that each test sees
/// the first answer.
pub fn loopback(port: u16) -> ClientConfig {
    ClientConfig {
        auth_mode: AuthMode::Internal,
        protocol: Protocol::Http,
        hostname: "127.0.0.1".to_owned(),
        port,
        retries: 0,
        ..ClientConfig::default()
    }
}

/// Serves `routes` below `prefix` on a port of its own, as long as the test's runtime lives, and
/// gives the peer that reaches them. The peer names no source of its own.
///
/// # Errors
/// There is no port, or the routes do not fit together.
pub async fn serve(prefix: &str, routes: &Routes) -> Result<Peer, Box<dyn std::error::Error>> {
    let router = Stack::new(Arc::new(KnowsTheToken), TaskTracker::new())
        .mount(prefix, routes)
        .build()?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(Peer::new(&loopback(port), "", service_token())?)
}
