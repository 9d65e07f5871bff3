//! `GET /health` of each service, as dashboards and charts ask for it.

use std::sync::Arc;

use axum::extract::State;
use lamassu_gateway::health::HealthReport;
use lamassu_gateway::{BuildInfo, Readiness};
use lamassu_http::{Access, Json200, Routes, Urgency};

/// What the handler needs.
#[derive(Clone, Debug)]
struct Health {
    readiness: Arc<Readiness>,
    build: BuildInfo,
}

/// The route, to be mounted under each service's prefix.
pub(crate) fn routes(readiness: Arc<Readiness>, build: BuildInfo) -> Routes {
    Routes::builder("health", Health { readiness, build })
        .urgency(Urgency::Always)
        .get(
            "/health",
            Access::Authenticated,
            "Whether the service works, and which build it is",
            health,
        )
        .build()
}

async fn health(State(health): State<Health>) -> Json200<HealthReport> {
    Json200(health.readiness.health(&health.build).await)
}
