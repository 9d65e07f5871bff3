//! Assembling the tables of a process into one router.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::routing::any;
use http::Method;
use tokio_util::task::TaskTracker;

use crate::admission::{Admission, AdmissionLimits};
use crate::cors::CorsPolicy;
use crate::dispatch::Dispatcher;
use crate::edge;
use crate::identity::Authenticator;
use crate::path::first_segment;
use crate::routes::{Endpoint, MountedRoute, Routes};

/// Why route tables do not fit together: a defect in their declaration, found at start.
#[derive(Debug, thiserror::Error)]
pub enum RouteTableError {
    /// A declared path is none.
    #[error("route {path}: a path starts with a slash")]
    NoPath {
        /// The full path.
        path: String,
    },
    /// The same method and path are declared twice.
    #[error("route {method} {path} is declared twice")]
    Duplicate {
        /// The method.
        method: Method,
        /// The full path.
        path: String,
    },
    /// The path is malformed or takes the same requests as another one.
    #[error("route {path} does not fit into the table")]
    Conflict {
        /// The full path.
        path: String,
        /// What the matcher says.
        #[source]
        source: matchit::InsertError,
    },
}

/// Collects what a process serves.
#[derive(Debug)]
pub struct Stack {
    authenticator: Arc<dyn Authenticator>,
    tasks: TaskTracker,
    admission: AdmissionLimits,
    mounted: Vec<(String, Endpoint)>,
    site: Option<Router>,
}

impl Stack {
    /// A stack without routes. Requests that may change something run in `tasks`; whoever shuts
    /// the process down closes the tracker and waits for it.
    pub fn new(authenticator: Arc<dyn Authenticator>, tasks: TaskTracker) -> Self {
        Self {
            authenticator,
            tasks,
            admission: AdmissionLimits::default(),
            mounted: Vec::new(),
            site: None,
        }
    }

    /// How many requests are worked on at once, over all routes.
    #[must_use]
    pub fn admission(mut self, limits: AdmissionLimits) -> Self {
        self.admission = limits;
        self
    }

    /// Serves `routes` below `prefix`: `/api/ca`, or `""` for a process of one service.
    #[must_use]
    pub fn mount(mut self, prefix: &str, routes: &Routes) -> Self {
        for endpoint in &*routes.endpoints {
            let path = format!("{prefix}{}", endpoint.info.path);
            self.mounted.push((path, endpoint.clone()));
        }
        self
    }

    /// Serves every path whose first segment begins no mounted route (the console and its files),
    /// without authentication.
    #[must_use]
    pub fn site(mut self, site: Router) -> Self {
        self.site = Some(site);
        self
    }

    /// Every mounted route, for tests and the API description.
    pub fn route_table(&self) -> Vec<MountedRoute> {
        self.mounted
            .iter()
            .map(|(path, endpoint)| MountedRoute {
                path: path.clone(),
                info: Arc::clone(&endpoint.info),
            })
            .collect()
    }

    /// The router of the process.
    ///
    /// # Errors
    /// When two declarations do not fit together.
    pub fn build(self) -> Result<Router, RouteTableError> {
        let mut by_path: BTreeMap<String, Vec<Endpoint>> = BTreeMap::new();
        let services: HashSet<_> = self
            .mounted
            .iter()
            .map(|(_, endpoint)| endpoint.info.service)
            .collect();
        let mut first_segments = HashSet::new();
        for (path, endpoint) in self.mounted {
            if !path.starts_with('/') {
                return Err(RouteTableError::NoPath { path });
            }
            first_segments.insert(first_segment(&path).to_owned());
            let endpoints = by_path.entry(path.clone()).or_default();
            let method = &endpoint.info.method;
            if endpoints.iter().any(|other| other.info.method == *method) {
                let method = method.clone();
                return Err(RouteTableError::Duplicate { method, path });
            }
            endpoints.push(endpoint);
        }
        let mut table = matchit::Router::new();
        for (path, endpoints) in by_path.clone() {
            let endpoints: Arc<[Endpoint]> = endpoints.into();
            table
                .insert(path.clone(), endpoints)
                .map_err(|source| RouteTableError::Conflict { path, source })?;
        }
        let dispatcher = Arc::new(Dispatcher {
            authenticator: self.authenticator,
            tasks: self.tasks,
            admission: Admission::new(self.admission, services),
            table,
            first_segments,
            site: self.site,
        });
        Ok(router(by_path, &dispatcher))
    }
}

/// Lets axum do the matching (its path extractors need it) and the dispatcher everything else.
fn router(by_path: BTreeMap<String, Vec<Endpoint>>, dispatcher: &Arc<Dispatcher>) -> Router {
    let mut router = Router::new();
    for (path, endpoints) in by_path {
        let endpoints: Arc<[Endpoint]> = endpoints.into();
        let dispatcher = Arc::clone(dispatcher);
        router = router.route(
            &path,
            any(
                move |request: Request| async move { dispatcher.routed(&endpoints, request).await },
            ),
        );
    }
    let cors = if dispatcher.authenticator.enforces() {
        CorsPolicy::AnyOrigin
    } else {
        CorsPolicy::OwnOrigin
    };
    let dispatcher = Arc::clone(dispatcher);
    router
        .fallback(move |request: Request| async move { dispatcher.unrouted(request).await })
        .layer(axum::middleware::from_fn_with_state(cors, edge::around))
}
