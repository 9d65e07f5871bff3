//! The routes: management under `/v1`, EST under `/.well-known/est`, both for other services
//! under `/internal/v1`.

mod approval;
mod est;
mod est_body;
mod est_failure;
mod est_multipart;
mod est_origin;
mod est_reply;
mod internal;
mod management;
mod passwords;
mod refused;

pub use est::est_routes;
pub use management::routes;
