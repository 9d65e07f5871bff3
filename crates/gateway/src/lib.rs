//! TLS and HTTP listeners in front of the services: what happens to a request before the router.
//!
//! One [`Gateway`] binds an HTTPS port, a plain HTTP port and a loopback port for metrics, and
//! serves one axum `Router` with all services. A request passes, in this order: the accept loop
//! with its limits ([`listener`]), the TLS handshake with an optional client certificate whose
//! key is proven and of which nothing else is judged ([`tls`]), header hygiene and the headers of
//! trusted proxies ([`hygiene`]), what plain HTTP may carry ([`plain_http`]), the gateway's own
//! addresses ([`health`], the status page), the services.
//!
//! Deliberately absent: decoding or cleaning of paths (an OCSP request in a GET path holds `//`,
//! `%2F` and a trailing `/` that mean something), authentication and permissions (they belong to
//! the routes), and, on the gateway's own ports, any judgement of a client certificate beyond
//! possession of its key (which CAs are trusted depends on the device manufacturer that the path
//! addresses).
//!
//! Where next: [`Gateway::bind`] and [`BoundGateway::serve`] in `assembly.rs`, [`GatewayConfig`].

mod assembly;
mod duration_text;
mod environment;
mod error;
mod front;
mod status_page;

pub mod config;
pub mod health;
pub mod hygiene;
pub mod listener;
pub mod metrics;
pub mod plain_http;
pub mod self_tls;
pub mod tls;

pub use assembly::{BoundGateway, Gateway, GatewayParts};
pub use config::GatewayConfig;
pub use environment::Environment;
pub use error::GatewayError;
pub use health::{BuildInfo, Readiness};
pub use metrics::MetricsExporter;
