//! Routes under `/v1` and `/internal/v1`.

mod body;
mod internal;
mod keys;
mod signatures;

use std::sync::Arc;

use lamassu_core::kms::KmsService;
use lamassu_core::permission::Permission;
use lamassu_core::query::QueryLimits;
use lamassu_http::Routes;

const READ: Permission = Permission::new("kms", "read");
const CREATE: Permission = Permission::new("kms", "create");
const USE: Permission = Permission::new("kms", "use");
const DELETE: Permission = Permission::new("kms", "delete");

/// What handlers share.
#[derive(Clone, Debug)]
struct Kms {
    service: Arc<dyn KmsService>,
    limits: QueryLimits,
}

/// The routes of the key management service over any implementation of its trait.
pub fn routes(service: Arc<dyn KmsService>, limits: QueryLimits) -> Routes {
    let builder = Routes::builder("kms", Kms { service, limits })
        .get("/v1/stats", READ, "Count keys", keys::stats)
        .get("/v1/engines", READ, "List crypto engines", keys::engines)
        .get("/v1/keys", READ, "List keys", keys::list)
        .post("/v1/keys", CREATE, "Create a key", keys::create)
        .get("/v1/keys/{id}", READ, "Read a key", keys::read)
        .delete("/v1/keys/{id}", DELETE, "Delete a key", keys::delete)
        .post(
            "/v1/keys/{id}/sign",
            USE,
            "Sign with a key",
            signatures::sign,
        )
        .post(
            "/v1/keys/{id}/verify",
            READ,
            "Verify a signature",
            signatures::verify,
        );
    internal::routes(builder).build()
}
