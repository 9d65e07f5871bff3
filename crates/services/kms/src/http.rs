//! Routes under `/v1` and `/internal/v1`.

mod body;
mod internal;
mod keys;
mod signatures;
mod updates;

use std::sync::Arc;

use http::Method;
use lamassu_core::error::ErrorKind;
use lamassu_core::kms::KmsService;
use lamassu_core::permission::Permission;
use lamassu_core::query::QueryLimits;
use lamassu_http::{Routes, RoutesBuilder};

const READ: Permission = Permission::new("kms", "read");
const CREATE: Permission = Permission::new("kms", "create");
const IMPORT: Permission = Permission::new("kms", "import");
const WRITE: Permission = Permission::new("kms", "write");
const USE: Permission = Permission::new("kms", "use");
const DELETE: Permission = Permission::new("kms", "delete");

/// It clashes with other keys, or with what engine and key allow.
const CONFLICT: &[ErrorKind] = &[ErrorKind::Conflict];

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
        .refuses(CONFLICT)
        .post(
            "/v1/keys/import",
            IMPORT,
            "Import a private key",
            keys::import,
        )
        .refuses(CONFLICT)
        .get("/v1/keys/{id}", READ, "Read a key", keys::read)
        .put(
            "/v1/keys/{id}/name",
            WRITE,
            "Rename a key",
            updates::set_name,
        )
        .put(
            "/v1/keys/{id}/tags",
            WRITE,
            "Replace a key's tags",
            updates::set_tags,
        )
        .put(
            "/v1/keys/{id}/status",
            WRITE,
            "Let a key sign or not",
            updates::set_status,
        )
        .post(
            "/v1/keys/{id}/move",
            WRITE,
            "Move a key into another engine",
            updates::move_key,
        )
        .refuses(CONFLICT)
        .delete("/v1/keys/{id}", DELETE, "Delete a key", keys::delete)
        .refuses(CONFLICT)
        .post(
            "/v1/keys/{id}/sign",
            USE,
            "Sign with a key",
            signatures::sign,
        )
        .refuses(CONFLICT)
        .post(
            "/v1/keys/{id}/verify",
            READ,
            "Verify a signature",
            signatures::verify,
        );
    internal::routes(patches(builder)).build()
}

/// What is patched: PUT and PATCH mean the same.
fn patches(mut builder: RoutesBuilder<Kms>) -> RoutesBuilder<Kms> {
    for method in [Method::PUT, Method::PATCH] {
        builder = builder.route(
            method.clone(),
            "/v1/keys/{id}/metadata",
            WRITE,
            "Patch a key's metadata",
            updates::patch_metadata,
        );
        for path in ["/v1/keys/{id}/alias", "/v1/keys/{id}/aliases"] {
            builder = builder.route(
                method.clone(),
                path,
                WRITE,
                "Patch a key's aliases",
                updates::patch_aliases,
            );
            builder = builder.refuses(CONFLICT);
        }
    }
    builder
}
