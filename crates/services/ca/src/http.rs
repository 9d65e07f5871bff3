//! The service on the wire: one table of routes, one file of handlers per noun.

mod authority;
mod body;
mod ca_request;
mod certificate;
mod download;
mod internal;
mod job;
mod profile;
mod stats;

use std::sync::Arc;

use lamassu_core::ca::CaService;
use lamassu_core::error::ErrorKind;
use lamassu_core::permission::Permission;
use lamassu_core::query::QueryLimits;
use lamassu_http::{Routes, RoutesBuilder};

/// What handlers share.
#[derive(Clone, Debug)]
struct Ca {
    service: Arc<dyn CaService>,
    limits: QueryLimits,
}

const CA_READ: Permission = Permission::new("ca", "read");
const CA_CREATE: Permission = Permission::new("ca", "create");
const CA_SIGN: Permission = Permission::new("ca", "sign");
const CA_SIGN_RAW: Permission = Permission::new("ca", "sign-raw");
const CA_WRITE: Permission = Permission::new("ca", "write");
const CA_REVOKE: Permission = Permission::new("ca", "revoke");
const CA_REISSUE: Permission = Permission::new("ca", "reissue");
const CA_DELETE: Permission = Permission::new("ca", "delete");
const CERTIFICATE_READ: Permission = Permission::new("certificate", "read");
const CERTIFICATE_CREATE: Permission = Permission::new("certificate", "create");
const CERTIFICATE_WRITE: Permission = Permission::new("certificate", "write");
const CERTIFICATE_DELETE: Permission = Permission::new("certificate", "delete");
const CERTIFICATE_REVOKE: Permission = Permission::new("certificate", "revoke");
const PROFILE_READ: Permission = Permission::new("profile", "read");
const PROFILE_WRITE: Permission = Permission::new("profile", "write");
const PROFILE_DELETE: Permission = Permission::new("profile", "delete");

/// Something that is named does not exist, exists already, is in use, or is not the only one.
const NAMED: &[ErrorKind] = &[ErrorKind::NotFound, ErrorKind::Conflict];

/// The routes of the service, local or remote. Paths are those inside the service.
pub fn routes(service: Arc<dyn CaService>, limits: QueryLimits) -> Routes {
    let builder = Routes::builder("ca", Ca { service, limits });
    let builder = authority_routes(builder);
    let builder = authority_change_routes(builder);
    let builder = request_routes(builder);
    let builder = certificate_routes(builder);
    let builder = profile_routes(builder);
    internal::routes(builder).build()
}

fn authority_routes(builder: RoutesBuilder<Ca>) -> RoutesBuilder<Ca> {
    builder
        .get("/v1/cas", CA_READ, "List CAs", authority::list)
        .post(
            "/v1/cas",
            CA_CREATE,
            "Create a root or subordinate CA",
            authority::create,
        )
        .refuses(NAMED)
        .get(
            "/v1/cas/cn/{cn}",
            CA_READ,
            "List CAs by common name",
            authority::list_by_common_name,
        )
        .get("/v1/cas/{id}", CA_READ, "Get a CA", authority::get)
        .get(
            "/v1/cas/{id}/chain",
            CA_READ,
            "Download the certificate of a CA and of those above it",
            download::chain_of_ca,
        )
        .get(
            "/v1/cas/{id}/certificates",
            CA_READ,
            "List the certificates that a CA issued",
            certificate::list_by_ca,
        )
        .get(
            "/v1/cas/{id}/certificates/status/{status}",
            CA_READ,
            "List the certificates that a CA issued, by status",
            certificate::list_by_ca_and_status,
        )
        .post(
            "/v1/cas/{id}/certificates/sign",
            CA_SIGN,
            "Issue a certificate from a request",
            certificate::sign,
        )
        .refuses(NAMED)
        .get(
            "/v1/cas/{id}/certificates/{sn}",
            CA_READ,
            "Get a certificate that a CA issued",
            certificate::get_of_ca,
        )
}

fn authority_change_routes(builder: RoutesBuilder<Ca>) -> RoutesBuilder<Ca> {
    builder
        .post(
            "/v1/cas/import",
            CA_CREATE,
            "Import a CA that was made elsewhere",
            authority::import,
        )
        .refuses(NAMED)
        .put(
            "/v1/cas/{id}/metadata",
            CA_WRITE,
            "Change the metadata of a CA by a JSON Patch",
            authority::patch_metadata,
        )
        .patch(
            "/v1/cas/{id}/metadata",
            CA_WRITE,
            "Change the metadata of a CA by a JSON Patch",
            authority::patch_metadata,
        )
        .post(
            "/v1/cas/{id}/status",
            CA_REVOKE,
            "Revoke, hold, release or expire a CA",
            authority::set_status,
        )
        .refuses(NAMED)
        .post(
            "/v1/cas/{id}/profile",
            CA_WRITE,
            "Give a CA another default profile",
            authority::set_profile,
        )
        .post(
            "/v1/cas/{id}/reissue",
            CA_REISSUE,
            "Give a CA a new certificate for the same key",
            authority::reissue,
        )
        .refuses(NAMED)
        .delete(
            "/v1/cas/{id}",
            CA_DELETE,
            "Delete a CA and revoke what it issued",
            authority::delete,
        )
        .refuses(NAMED)
        .post(
            "/v1/cas/{id}/signature/sign",
            CA_SIGN_RAW,
            "Sign a message with the key of a CA",
            authority::sign,
        )
        .refuses(NAMED)
        .post(
            "/v1/cas/{id}/signature/verify",
            CA_READ,
            "Verify a signature with the key of a CA",
            authority::verify,
        )
        .get(
            "/v1/stats",
            CA_READ,
            "Count CAs and certificates",
            stats::all,
        )
        .get(
            "/v1/stats/{id}",
            CA_READ,
            "Count the certificates that a CA issued",
            stats::of_ca,
        )
}

fn request_routes(builder: RoutesBuilder<Ca>) -> RoutesBuilder<Ca> {
    builder
        .get(
            "/v1/cas/requests",
            CA_READ,
            "List requests for CAs that somebody else certifies",
            ca_request::list,
        )
        .post(
            "/v1/cas/requests",
            CA_CREATE,
            "Make a key and a request for a CA that somebody else certifies",
            ca_request::create,
        )
        .refuses(NAMED)
        .get(
            "/v1/cas/requests/{id}",
            CA_READ,
            "Get a request for a CA",
            ca_request::get,
        )
        .delete(
            "/v1/cas/requests/{id}",
            CA_DELETE,
            "Delete a request for a CA",
            ca_request::delete,
        )
        .refuses(NAMED)
}

fn certificate_routes(builder: RoutesBuilder<Ca>) -> RoutesBuilder<Ca> {
    builder
        .get(
            "/v1/certificates",
            CERTIFICATE_READ,
            "List certificates",
            certificate::list,
        )
        .get(
            "/v1/certificates/status/{status}",
            CERTIFICATE_READ,
            "List certificates by status",
            certificate::list_by_status,
        )
        .get(
            "/v1/certificates/expiration",
            CERTIFICATE_READ,
            "List certificates by expiration",
            certificate::list_by_expiration,
        )
        .get(
            "/v1/certificates/{sn}",
            CERTIFICATE_READ,
            "Get a certificate",
            certificate::get,
        )
        .refuses(NAMED)
        .post(
            "/v1/certificates",
            CERTIFICATE_CREATE,
            "Create a certificate for a key of the KMS",
            certificate::create,
        )
        .refuses(NAMED)
        .post(
            "/v1/certificates/import",
            CERTIFICATE_CREATE,
            "Import a certificate that was made elsewhere",
            certificate::import,
        )
        .refuses(NAMED)
        .put(
            "/v1/certificates/{sn}/metadata",
            CERTIFICATE_WRITE,
            "Change the metadata of a certificate by a JSON Patch",
            certificate::patch_metadata,
        )
        .refuses(NAMED)
        .patch(
            "/v1/certificates/{sn}/metadata",
            CERTIFICATE_WRITE,
            "Change the metadata of a certificate by a JSON Patch",
            certificate::patch_metadata,
        )
        .refuses(NAMED)
        .delete(
            "/v1/certificates/{sn}",
            CERTIFICATE_DELETE,
            "Delete a certificate whose CA is gone",
            certificate::delete,
        )
        .refuses(NAMED)
        .put(
            "/v1/certificates/{sn}/status",
            CERTIFICATE_REVOKE,
            "Revoke, hold, release or expire a certificate",
            certificate::set_status,
        )
        .refuses(NAMED)
        .get(
            "/v1/certificates/{sn}/download",
            CERTIFICATE_READ,
            "Download a certificate, alone or with its chain",
            download::certificate,
        )
        .refuses(NAMED)
        .post(
            "/v1/certificates/revocations",
            CERTIFICATE_REVOKE,
            "Begin to revoke all certificates that fulfil some conditions",
            job::revoke,
        )
        .refuses(NAMED)
        .get("/v1/jobs", CA_READ, "List jobs", job::list)
        .get("/v1/jobs/{id}", CA_READ, "Get a job", job::get)
}

fn profile_routes(builder: RoutesBuilder<Ca>) -> RoutesBuilder<Ca> {
    builder
        .get(
            "/v1/profiles",
            PROFILE_READ,
            "List issuance profiles",
            profile::list,
        )
        .post(
            "/v1/profiles",
            PROFILE_WRITE,
            "Create an issuance profile",
            profile::create,
        )
        .get(
            "/v1/profiles/{id}",
            PROFILE_READ,
            "Get an issuance profile",
            profile::get,
        )
        .put(
            "/v1/profiles/{id}",
            PROFILE_WRITE,
            "Replace an issuance profile",
            profile::update,
        )
        .delete(
            "/v1/profiles/{id}",
            PROFILE_DELETE,
            "Delete an issuance profile",
            profile::delete,
        )
        .refuses(NAMED)
}
