//! Proof that no route of a program is open by mistake.
//!
//! [`audit`] sends to *every* declared route a request without credentials, and one with the
//! token of each built-in role that lacks the route's permission, and reports each that was not
//! refused. Programs run it over all their services in their tests; it lives here, beside the
//! guard, so that a new service cannot bring its own weaker idea of the check.

use std::fmt;

use axum::Router;
use axum::body::Body;
use http::header::AUTHORIZATION;
use http::{Method, Request, StatusCode};
use lamassu_core::permission::Role;
use tower::ServiceExt;

use crate::routes::{Access, MountedRoute};

/// A route that let somebody in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenRoute {
    /// The method.
    pub method: Method,
    /// The full declared path.
    pub path: String,
    /// Who asked: `None` without credentials, else the role of the token.
    pub role: Option<Role>,
    /// What was answered instead of 401 or 403.
    pub status: StatusCode,
}

impl fmt::Display for OpenRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = self.role.map_or("nobody", Role::name);
        let Self {
            method,
            path,
            status,
            ..
        } = self;
        write!(f, "{method} {path} answered {status} to {who}")
    }
}

/// Asks every route that is not public as nobody and as each role without its permission.
///
/// `token` makes a bearer token that the router's authenticator accepts, with exactly that role.
/// Returns the requests that were not refused: 401 for nobody, 403 for a role.
pub async fn audit(
    router: &Router,
    table: &[MountedRoute],
    token: impl Fn(Role) -> String,
) -> Vec<OpenRoute> {
    let mut open = Vec::new();
    for route in table {
        let lacking: Vec<Role> = match route.info.access {
            Access::Public => continue,
            Access::Authenticated => Vec::new(),
            Access::Permission(permission) => Role::ALL
                .into_iter()
                .filter(|role| !role.allows(permission))
                .collect(),
        };
        let nobody = std::iter::once(None);
        for role in nobody.chain(lacking.into_iter().map(Some)) {
            let bearer = role.map(|role| format!("Bearer {}", token(role)));
            let status = ask(router, route, bearer).await;
            let expected = match role {
                None => StatusCode::UNAUTHORIZED,
                Some(_) => StatusCode::FORBIDDEN,
            };
            if status != expected {
                open.push(OpenRoute {
                    method: route.info.method.clone(),
                    path: route.path.clone(),
                    role,
                    status,
                });
            }
        }
    }
    open
}

/// A request that cannot even be built was refused by nobody, so it counts as open: 500.
async fn ask(router: &Router, route: &MountedRoute, bearer: Option<String>) -> StatusCode {
    let mut request = Request::builder()
        .method(route.info.method.clone())
        .uri(sample_path(&route.path));
    if let Some(bearer) = bearer {
        request = request.header(AUTHORIZATION, bearer);
    }
    let Ok(request) = request.body(Body::empty()) else {
        return StatusCode::INTERNAL_SERVER_ERROR;
    };
    match router.clone().oneshot(request).await {
        Ok(response) => response.status(),
        Err(never) => match never {},
    }
}

/// The declared path with `x` for every parameter.
fn sample_path(declared: &str) -> String {
    let mut path = String::with_capacity(declared.len());
    let mut depth = 0_u32;
    for character in declared.chars() {
        match character {
            '{' => {
                depth += 1;
                path.push('x');
            }
            '}' => depth = depth.saturating_sub(1),
            other if depth == 0 => path.push(other),
            _ => {}
        }
    }
    path
}
