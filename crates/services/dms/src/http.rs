//! The routes: management under `/v1`, EST under `/.well-known/est`.

mod est;
mod est_body;
mod est_failure;
mod est_reply;
mod management;

pub use est::est_routes;
pub use management::routes;
