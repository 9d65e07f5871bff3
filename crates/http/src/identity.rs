//! Who a request comes from and what that allows: the contract between the guard and whoever
//! verifies credentials.

use std::collections::BTreeSet;
use std::fmt;

use async_trait::async_trait;
use http::request::Parts;
use lamassu_core::caller::Principal;
use lamassu_core::permission::{Permission, Role};

use crate::failure::{Failure, HttpError};
use crate::refusal::AuthRefusal;

/// Establishes who sent a request.
///
/// The guard calls [`authenticate`](Self::authenticate) for every route that is not public and
/// for every path that has no route, then checks the permission by itself. An implementation
/// counts and records its refusals; the guard only passes them on.
#[async_trait]
pub trait Authenticator: Send + Sync + fmt::Debug {
    /// The identity behind `request`, from verified credentials only.
    ///
    /// # Errors
    /// The complete reply when nothing acceptable was presented.
    async fn authenticate(&self, request: &Parts) -> Result<Identity, AuthRefusal>;

    /// The reply for an `identity` that lacks `permission`; called once per such request.
    async fn refuse(
        &self,
        request: &Parts,
        identity: &Identity,
        permission: Permission,
    ) -> AuthRefusal;

    /// Whether a request without a credential is refused; true unless said otherwise. Where it is
    /// not, pages of other origins are kept out ([`cors`](mod@crate::cors)).
    fn enforces(&self) -> bool {
        true
    }
}

/// A permission granted by a token's scope; `*` in either place means any.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ScopeGrant {
    /// The area, for example `ca`.
    pub area: String,
    /// The action, for example `read`.
    pub action: String,
}

impl ScopeGrant {
    /// Reads `area:action`; `None` when it is not of that form.
    pub fn parse(text: &str) -> Option<Self> {
        let (area, action) = text.split_once(':')?;
        let plain = |part: &str| !part.is_empty() && !part.contains(':');
        (plain(area) && plain(action)).then(|| Self {
            area: area.to_owned(),
            action: action.to_owned(),
        })
    }

    /// Whether this grant covers `permission`. As with roles, a wildcard area never covers
    /// `internal`; unlike roles, a scope never covers it at all, since scopes are what a user
    /// consents to.
    pub fn covers(&self, permission: Permission) -> bool {
        permission.area != "internal"
            && (self.area == "*" || self.area == permission.area)
            && (self.action == "*" || self.action == permission.action)
    }
}

/// What an identity may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authority {
    /// Everything, internal routes included: authentication is switched off or left to a proxy.
    Everything,
    /// The union of what these roles and scopes grant.
    Granted {
        /// Built-in roles, each once.
        roles: Vec<Role>,
        /// Grants from the token's scopes.
        scopes: Vec<ScopeGrant>,
    },
}

/// The outcome of authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Who it is, for events, audit and logs.
    pub principal: Principal,
    /// What it may do.
    pub authority: Authority,
    /// When the credential expires, seconds since the Unix epoch, if it does.
    pub expires_at: Option<i64>,
}

impl Identity {
    /// Nobody, with no rights: who calls a public route.
    pub const fn anonymous() -> Self {
        Self {
            principal: Principal::Anonymous,
            authority: Authority::Granted {
                roles: Vec::new(),
                scopes: Vec::new(),
            },
            expires_at: None,
        }
    }

    /// Whether this identity has `permission`.
    pub fn allows(&self, permission: Permission) -> bool {
        match &self.authority {
            Authority::Everything => true,
            Authority::Granted { roles, scopes } => {
                roles.iter().any(|role| role.allows(permission))
                    || scopes.iter().any(|scope| scope.covers(permission))
            }
        }
    }

    /// Whether a header such as `x-lms-source` is believed: only from a peer service, or where
    /// nobody is authenticated at all and peers cannot be told apart.
    pub fn is_trusted_peer(&self) -> bool {
        matches!(self.authority, Authority::Everything) || self.is_service()
    }

    /// Whether this is another service of the installation, by its credential.
    pub fn is_service(&self) -> bool {
        match &self.authority {
            Authority::Everything => false,
            Authority::Granted { roles, .. } => roles.contains(&Role::Service),
        }
    }

    /// The names of its roles, sorted.
    pub fn role_names(&self) -> BTreeSet<&'static str> {
        match &self.authority {
            Authority::Everything => BTreeSet::new(),
            Authority::Granted { roles, .. } => roles.iter().map(|role| role.name()).collect(),
        }
    }
}

/// What a bearer token said that was presented on a public route: whose it is, or that it is not valid.
/// Absent from a request's extensions where none was presented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresentedToken(pub Option<Identity>);

impl<S: Sync> axum::extract::FromRequestParts<S> for Identity {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        Ok(parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or(HttpError::Unguarded)?)
    }
}
