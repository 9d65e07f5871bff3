//! HTTP: OCSP, CRLs and CA certificates for everybody, roles for who may read them.
//!
//! What certificates point at has no version in its path; clients that put `/v1` in front find
//! it there too. `/roles` without version is what an existing SDK calls: it fails on the CRL
//! number, so that one is left out there.

mod caching;
mod crl;
mod ocsp;
mod ocsp_path;
mod role;

use std::sync::Arc;
use std::time::Duration;

use lamassu_core::clock::SharedClock;
use lamassu_core::error::ErrorKind;
use lamassu_core::permission::Permission;
use lamassu_core::query::QueryLimits;
use lamassu_core::va::VaService;
use lamassu_http::{Access, BodyLimits, PathForm, Routes, RoutesBuilder};

const READ: Permission = Permission::new("va", "read");

const WRITE: Permission = Permission::new("va", "write");

/// Longest CRL that is imported, and how long it may take to arrive.
const CRL_BODY: BodyLimits = BodyLimits {
    max_bytes: 64 * 1024 * 1024,
    deadline: Duration::from_secs(60),
};

/// Longest OCSP request in a body, and how long it may take to arrive.
const OCSP_BODY: BodyLimits = BodyLimits {
    max_bytes: 64 * 1024,
    deadline: Duration::from_secs(10),
};

/// What handlers share.
#[derive(Clone, Debug)]
struct Va {
    service: Arc<dyn VaService>,
    clock: SharedClock,
    limits: QueryLimits,
}

/// The routes of the validation authority over any implementation of its trait. The clock is for
/// what caches are told.
pub fn routes(service: Arc<dyn VaService>, clock: SharedClock, limits: QueryLimits) -> Routes {
    let va = Va {
        service,
        clock,
        limits,
    };
    let builder = Routes::builder("va", va);
    ocsp_routes(crl_routes(role_routes(builder))).build()
}

fn role_routes(builder: RoutesBuilder<Va>) -> RoutesBuilder<Va> {
    builder
        .get("/v1/roles", READ, "List VA roles", role::list)
        .get("/v1/roles/{ski}", READ, "Read a VA role", role::read)
        .get("/roles", READ, "List VA roles", role::list_unversioned)
        .get(
            "/roles/{ski}",
            READ,
            "Read a VA role",
            role::read_unversioned,
        )
        .put(
            "/v1/roles/{ski}",
            WRITE,
            "Set how the CRLs of a CA are made",
            role::update,
        )
        .refuses(&[ErrorKind::NotFound])
        .put(
            "/roles/{ski}",
            WRITE,
            "Set how the CRLs of a CA are made",
            role::update_unversioned,
        )
        .refuses(&[ErrorKind::NotFound])
}

/// What certificates point at, and CRLs that come from elsewhere.
fn crl_routes(builder: RoutesBuilder<Va>) -> RoutesBuilder<Va> {
    let public = Access::Public;
    builder
        .get(
            "/crl/{ski}/delta",
            public,
            "Fetch the newest delta CRL of a CA",
            crl::get_delta,
        )
        .route(
            http::Method::HEAD,
            "/crl/{ski}/delta",
            public,
            "Look at the newest delta CRL of a CA",
            crl::head_delta,
        )
        .get(
            "/v1/crl/{ski}/delta",
            public,
            "Fetch the newest delta CRL of a CA",
            crl::get_delta,
        )
        .route(
            http::Method::HEAD,
            "/v1/crl/{ski}/delta",
            public,
            "Look at the newest delta CRL of a CA",
            crl::head_delta,
        )
        .get(
            "/crl/{ski}/{shard}",
            public,
            "Fetch the newest CRL of a shard of a CA",
            crl::get_shard,
        )
        .route(
            http::Method::HEAD,
            "/crl/{ski}/{shard}",
            public,
            "Look at the newest CRL of a shard of a CA",
            crl::head_shard,
        )
        .get(
            "/v1/crl/{ski}/{shard}",
            public,
            "Fetch the newest CRL of a shard of a CA",
            crl::get_shard,
        )
        .route(
            http::Method::HEAD,
            "/v1/crl/{ski}/{shard}",
            public,
            "Look at the newest CRL of a shard of a CA",
            crl::head_shard,
        )
        .get(
            "/crl/{ski}",
            public,
            "Fetch the newest CRL of a CA",
            crl::get,
        )
        .get(
            "/v1/crl/{ski}",
            public,
            "Fetch the newest CRL of a CA",
            crl::get,
        )
        .route(
            http::Method::HEAD,
            "/crl/{ski}",
            public,
            "Look at the newest CRL of a CA",
            crl::head,
        )
        .route(
            http::Method::HEAD,
            "/v1/crl/{ski}",
            public,
            "Look at the newest CRL of a CA",
            crl::head,
        )
        .get(
            "/ca/{ski}",
            public,
            "Fetch the certificate of a CA",
            crl::ca_certificate,
        )
        .get(
            "/v1/ca/{ski}",
            public,
            "Fetch the certificate of a CA",
            crl::ca_certificate,
        )
        .body_limits(CRL_BODY)
        .put(
            "/v1/crl/{ski}",
            WRITE,
            "Import a CRL of a CA whose key is elsewhere",
            crl::import,
        )
        .refuses(&[ErrorKind::NotFound, ErrorKind::Conflict])
}

fn ocsp_routes(builder: RoutesBuilder<Va>) -> RoutesBuilder<Va> {
    let public = Access::Public;
    builder
        .path_form(PathForm::Raw)
        .body_limits(OCSP_BODY)
        .get(
            "/ocsp/{*request}",
            public,
            "Ask for certificate status by OCSP",
            ocsp::get,
        )
        .get(
            "/v1/ocsp/{*request}",
            public,
            "Ask for certificate status by OCSP",
            ocsp::get,
        )
        .post(
            "/ocsp",
            public,
            "Ask for certificate status by OCSP",
            ocsp::post,
        )
        .post(
            "/v1/ocsp",
            public,
            "Ask for certificate status by OCSP",
            ocsp::post,
        )
}
