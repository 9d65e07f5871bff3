//! Each error of the service, met from outside: its status and its text.

use http::{Method, StatusCode};
use lamassu_core::query::QueryLimits;
use lamassu_testing::patches::PatchedAt;
use lamassu_testing::refusals::{Met, asked, check_table};
use serde_json::{Value, json};

use crate::support::{ForeignPlan, World, csr, device_profile, p256, root_body};

const ERRORS: &str = include_str!("../../../../core/src/ca/error.rs");
const SEVERAL: &str = "several certificates have this serial number, choose by ca_id: ";

/// What is not there, or is there already.
fn existence() -> Vec<(&'static str, Met)> {
    let get = |path: &str, text: &str| asked(Method::GET, path, Value::Null, 404, text);
    let request = json!({
        "id": "request-a",
        "subject": { "common_name": "x" },
        "key_metadata": { "type": "ECDSA", "bits": 256 },
    });
    let mut unknown_key = root_body("root-x", "");
    unknown_key["key_metadata"] = json!({ "key_id": "x" });
    unknown_key["profile_id"] = json!("");
    vec![
        ("CaNotFound", get("/v1/cas/x", "CA not found")),
        (
            "ProfileNotFound",
            get("/v1/profiles/x", "issuance profile not found"),
        ),
        (
            "ProfileGone",
            Met::Tested(
                include_str!("signing.rs"),
                "a_ca_without_its_default_profile_needs_another_one",
                "issuance profile not found: ",
            ),
        ),
        (
            "ProfileInUse",
            Met::Tested(
                include_str!("profiles.rs"),
                "a_profile_that_a_ca_issues_under_stays",
                "409, \"issuance profile is in use by CAs: root-a, root-b\"",
            ),
        ),
        (
            "CertificateNotFound",
            get("/v1/certificates/ab", "certificate not found"),
        ),
        (
            "RequestNotFound",
            get("/v1/cas/requests/x", "CA request not found"),
        ),
        ("JobNotFound", get("/v1/jobs/x", "job not found")),
        (
            "RequestExists",
            asked(
                Method::POST,
                "/v1/cas/requests",
                request,
                409,
                "CA request already exists",
            ),
        ),
        (
            "KeyNotFound",
            Met::Tested(
                include_str!("ca_requests.rs"),
                "a_taken_id_or_a_key_that_waits_already_is_a_conflict",
                "404, \"key not found\"",
            ),
        ),
        (
            "AmbiguousSerial",
            Met::Tested(
                include_str!("certificates.rs"),
                "a_serial_number_of_two_issuers_is_ambiguous_but_below_one_of_them",
                SEVERAL,
            ),
        ),
        (
            "CertificateExists",
            Met::Tested(
                include_str!("imports.rs"),
                "a_certificate_finds_its_issuer_before_and_after",
                "409, \"certificate already exists\"",
            ),
        ),
        (
            "CertificateInUse",
            Met::Tested(
                include_str!("errors.rs"),
                "the_certificate_of_a_ca_stays_when_its_issuer_is_gone",
                "cannot delete certificate: it is the certificate of a CA",
            ),
        ),
    ]
}

/// What a request says wrongly.
async fn requests(world: &World) -> Vec<(&'static str, Met)> {
    let post = |path: &str, body: Value, text: &str| asked(Method::POST, path, body, 400, text);
    let foreign = ForeignPlan::root("Root").make();
    let other = ForeignPlan::root("Other").make();
    let root = world.ca("root-a").await;
    let profile = root["profile_id"].as_str().unwrap();
    let sign = "/v1/cas/root-a/certificates/sign";
    let mut rsa_only = device_profile();
    rsa_only["crypto_enforcement"] = json!({ "enabled": true, "allow_rsa_keys": true });
    vec![
        (
            "Validation",
            post("/v1/cas", json!({}), "struct validation error"),
        ),
        (
            "CaExists",
            asked(
                Method::POST,
                "/v1/cas",
                root_body("root-a", profile),
                409,
                "CA already exists",
            ),
        ),
        (
            "KeySpec",
            post(
                "/v1/certificates",
                json!({ "ca_id": "root-a", "subject": { "common_name": "x" }, "key_spec": {} }),
                "invalid key spec: exactly one of (Type+Bits) or KeyIdentifier must be provided",
            ),
        ),
        (
            "KeyMismatch",
            post(
                "/v1/cas/import",
                json!({ "id": "i", "ca": foreign.wire(), "private_key": other.key_wire() }),
                "CA and the provided key don't match",
            ),
        ),
        (
            "NotImportable",
            Met::Tested(
                include_str!("imports.rs"),
                "refused_imports_leave_nothing",
                "certificate cannot be imported: it is not a CA certificate",
            ),
        ),
        (
            "Patch",
            asked(
                Method::PATCH,
                "/v1/cas/root-a/metadata",
                json!({ "patches": [{ "op": "replace", "path": "/x", "value": 1 }] }),
                400,
                "failed to apply patches to metadata: patches[0]: there is no value at this path",
            ),
        ),
        (
            "MalformedCsr",
            Met::Tested(
                include_str!("signing.rs"),
                "refusals_have_the_texts_of_the_wire",
                "could not parse the certificate request: ",
            ),
        ),
        (
            "CsrSignature",
            Met::Tested(
                include_str!("signing.rs"),
                "possession_is_proven_unless_waived",
                "400, \"invalid CSR signature\"",
            ),
        ),
        (
            "Policy",
            post(
                sign,
                json!({ "csr": csr(&p256(), "x").to_wire(), "profile": rsa_only }),
                "public key is ECDSA, but issuance profile does not allow ECDSA keys",
            ),
        ),
        (
            "Query",
            asked(
                Method::GET,
                "/v1/jobs?bookmark=x",
                Value::Null,
                400,
                "not a valid bookmark",
            ),
        ),
    ]
}

/// What a state forbids, and what others do not do.
fn states() -> Vec<(&'static str, Met)> {
    let reissues = include_str!("reissues.rs");
    let deletion = include_str!("deletion.rs");
    let texts = "refusals_have_the_texts_of_the_wire";
    let issuing = "only_cas_that_issue_nothing_any_more_are_deleted";
    vec![
        (
            "CaStatus",
            asked(
                Method::DELETE,
                "/v1/cas/root-a",
                Value::Null,
                400,
                "CA Status inconsistent",
            ),
        ),
        (
            "CaRevoked",
            Met::Tested(reissues, texts, "400, \"CA already revoked\""),
        ),
        (
            "CaExpired",
            Met::Tested(reissues, texts, "400, \"CA is expired\""),
        ),
        (
            "CascadeForbidden",
            Met::Tested(
                deletion,
                issuing,
                "cascade delete operations are not allowed by configuration",
            ),
        ),
        (
            "IssuerExists",
            Met::Tested(
                deletion,
                "a_certificate_is_deleted_once_its_ca_is_gone",
                "400, \"cannot delete certificate: issuer CA still exists\"",
            ),
        ),
        (
            "StatusTransition",
            Met::Tested(
                include_str!("status.rs"),
                "a_revocation_has_a_time_and_a_reason_and_is_final",
                "400, \"new status transition not allowed for certificate\"",
            ),
        ),
        (
            "KeyNotImported",
            Met::Tested(
                include_str!("imports.rs"),
                "refused_imports_leave_nothing",
                "could not import key: key generation queue is full",
            ),
        ),
        (
            "KmsRefused",
            Met::Tested(
                include_str!("authorities.rs"),
                "refusals_come_before_a_key_is_made",
                "key type DSA is not supported in engine Memory",
            ),
        ),
        (
            "SignFailed",
            Met::Tested(
                include_str!("authorities.rs"),
                "a_key_that_signs_wrongly_makes_no_ca_and_is_destroyed",
                "KMS sign operation failed: the signature does not verify",
            ),
        ),
        (
            "Storage",
            Met::Tested(
                include_str!("errors.rs"),
                "a_closed_database_is_overload",
                "503, \"storage unavailable\"",
            ),
        ),
    ]
}

#[tokio::test]
async fn every_error_has_its_status_and_text() {
    let world = World::new().await;
    world.root("root-a").await;
    let request = json!({
        "id": "request-a",
        "subject": { "common_name": "x" },
        "key_metadata": { "type": "ECDSA", "bits": 256 },
    });
    let made = world.post("/v1/cas/requests", request).await;
    made.with(StatusCode::CREATED);
    let table = [existence(), requests(&world).await, states()].concat();
    let routes = (world.routes)(QueryLimits::default());
    check_table(ERRORS, "CaError", &routes, &table).await;
}

#[tokio::test]
async fn the_certificate_of_a_ca_stays_when_its_issuer_is_gone() {
    let world = World::new().await;
    let root = world.root("root-a").await;
    let sub = world.sub(&root, "sub-a").await;
    let expired = json!({ "status": "EXPIRED" });
    let set = world.post("/v1/cas/root-a/status", expired).await;
    set.with(StatusCode::CREATED);
    world.delete("/v1/cas/root-a").await.with(StatusCode::OK);
    let path = format!(
        "/v1/certificates/{}",
        sub["serial_number"].as_str().unwrap()
    );
    let refused = world.delete(&path).await;
    let text = "cannot delete certificate: it is the certificate of a CA";
    assert_eq!(refused.refusal(), (409, text));
}

#[tokio::test]
async fn a_closed_database_is_overload() {
    let world = World::new().await;
    world.db.close().await;
    let refused = world.get("/v1/certificates/ab").await;
    assert_eq!(refused.refusal(), (503, "storage unavailable"));
}

#[tokio::test]
async fn bodies_that_are_none_are_refused_by_every_route() {
    let world = World::new().await;
    let bodiless = [
        "POST /internal/v1/enrollments/{sn}/abandon",
        "POST /internal/v1/enrollments/{sn}/complete",
    ];
    lamassu_testing::check_bodies(&(world.routes)(QueryLimits::default()), &bodiless).await;
}

#[tokio::test]
async fn metadata_of_cas_and_certificates_are_patched_as_everywhere() {
    let world = World::new().await;
    world.root("root-a").await;
    let issued = world.issue("root-a", "device-1").await;
    let serial = issued["serial_number"].as_str().unwrap();
    let certificate = format!("/v1/certificates/{serial}");
    for (resource, unknown, text) in [
        ("/v1/cas/root-a", "/v1/cas/x/metadata", "CA not found"),
        (
            &certificate,
            "/v1/certificates/ab/metadata",
            "certificate not found",
        ),
    ] {
        PatchedAt {
            routes: &world.routes,
            resource,
            metadata: &format!("{resource}/metadata"),
            unknown: (unknown, StatusCode::NOT_FOUND, text),
        }
        .check()
        .await;
    }
}
