//! Authentication and permissions: bearer tokens, the local token issuer, client certificates, fixed
//! keys, roles.
//!
//! [`Auth`] is the [`Authenticator`](lamassu_http::Authenticator) of every process. In mode
//! `enforce` a management call needs a token that one of the configured providers issued; the
//! steps of its verification are in `verifier.rs`, in the order in which they answer. Without a
//! token a configured key decides (`api_key.rs`), and without that a client certificate, where the
//! configuration gives it a role (`certificate.rs`); a presented token that is refused is. The
//! installation itself is one provider: [`LocalIssuer`] keeps ES256 keys in the database, so that
//! all replicas share them, and mints tokens for people (`lamassu token`) and for services.
//!
//! Absent on purpose: permissions (each route declares its own, the guard in `lamassu-http`
//! checks it), sessions and cookies, and tokens in query strings (they leak into logs). What devices
//! enroll with is EST's business.
//!
//! **At rest** the issuer's private keys lie unencrypted in the database: whoever reads the
//! database file (mode 0600) or its backups can mint tokens of any role. They rotate by themselves
//! every 90 days; [`LocalIssuer::replace_keys`] does so at once and ends every token issued before.
//!
//! Where next: [`AuthConfig`] for the keys, [`Provider`] and [`KeySource`] for where keys of
//! others come from, [`routes`] for the public documents and "who am I".

mod api_key;
mod auth;
mod bearer;
mod certificate;
mod claims;
mod config;
mod http;
mod issuer;
mod keys;
pub mod metrics;
mod provider;
mod refusal;
mod roles;
mod token;
mod verifier;

pub use auth::{Auth, AuthError};
pub use certificate::{CertificateRefusal, ClientCaError};
pub use config::{
    ApiKeyConfig, AuthConfig, AuthorizationConfig, ClientCertificateConfig, ConfigError, JwtConfig,
    Mappings, Mode, OneOrMany, ProviderConfig, SubjectField, TokenAlgorithm,
};
pub use http::{routes, service_routes};
pub use issuer::{IssuerError, KeyRotation, LocalIssuer, MAX_TOKEN_TTL, Minted};
pub use keys::{JwksError, KeySet, VerificationKey};
pub use metrics::describe_metrics;
pub use provider::{KeySource, Provider, ProviderError, RoleNames, StaticKeys};
pub use refusal::Refusal;
