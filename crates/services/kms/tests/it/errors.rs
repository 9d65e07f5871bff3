//! Each error of the service, met from outside: its status and its text.

use http::Method;
use lamassu_core::query::QueryLimits;
use lamassu_testing::patches::PatchedAt;
use lamassu_testing::refusals::{Met, asked, check_table};
use serde_json::{Value, json};

use crate::support::{FILESYSTEM, SOFTWARE, base64, fixture, sample};

const ERRORS: &str = include_str!("../../../../core/src/kms/error.rs");
const CREATION: &str = include_str!("creation.rs");
const IMPORT: &str = include_str!("import.rs");

#[tokio::test]
async fn every_error_has_its_status_and_text() {
    let kms = fixture().await;
    let id = kms.made_id(FILESYSTEM).await;
    kms.alias(&id, "nick").await;
    let rsa = kms.made(SOFTWARE, "RSA", 2048).await;
    let rsa = rsa["key_id"].as_str().unwrap();
    let disabled = kms.made_id(SOFTWARE).await;
    kms.put(
        &format!("/v1/keys/{disabled}/status"),
        json!({"status": "DISABLED"}),
    )
    .await;
    let private_key = sample("prime256v1.sec1.pem");
    let key = |algorithm: &str, size: u32| json!({"algorithm": algorithm, "size": size});
    let sign = |algorithm: &str, kind: &str| json!({"algorithm": algorithm, "message": base64(b"x"), "message_type": kind});
    let patch = |path: &str, value: Value| json!({"patches": [{"op": "add", "path": path, "value": value}]});
    let (post, put) = (Method::POST, Method::PUT);
    let at = |id: &str, below: &str| format!("/v1/keys/{id}/{below}");
    let import = |key: Value, engine: &str| json!({"private_key": key, "engine_id": engine});
    kms.post("/v1/keys/import", import(json!(private_key), SOFTWARE))
        .await;
    let table = [
        (
            "Validation",
            asked(
                post.clone(),
                "/v1/keys",
                json!({}),
                400,
                "struct validation error",
            ),
        ),
        (
            "KeyNotFound",
            asked(Method::GET, "/v1/keys/x", Value::Null, 404, "key not found"),
        ),
        (
            "InvalidUri",
            asked(
                Method::GET,
                "/v1/keys/pkcs11:id=x",
                Value::Null,
                400,
                "invalid id format: missing required fields",
            ),
        ),
        (
            "EngineNotFound",
            asked(
                post.clone(),
                &at(&id, "move"),
                json!({"engine_id": "nope"}),
                400,
                "crypto engine not found",
            ),
        ),
        (
            "KeyEngineMissing",
            Met::Tested(
                include_str!("lifecycle.rs"),
                "the_keys_of_a_missing_engine_are_shown_and_counted_but_do_not_sign",
                "500, \"engine not found\"",
            ),
        ),
        (
            "KeyTypeUnsupported",
            asked(
                post.clone(),
                "/v1/keys",
                key("FOO", 256),
                400,
                "key type FOO is not supported in engine Golang",
            ),
        ),
        (
            "KeySizeUnsupported",
            asked(
                post.clone(),
                "/v1/keys",
                key("RSA", 512),
                400,
                "key size 512 is not supported for key type RSA in engine Golang",
            ),
        ),
        (
            "UnsupportedAlgorithm",
            asked(
                post.clone(),
                &at(&id, "sign"),
                sign("RSA", "raw"),
                400,
                "unsupported algorithm",
            ),
        ),
        (
            "NotRsaKey",
            asked(
                post.clone(),
                &at(&id, "sign"),
                sign("RSASSA_PSS_SHA_256", "raw"),
                400,
                "key is not RSA key",
            ),
        ),
        (
            "NotEcdsaKey",
            asked(
                post.clone(),
                &at(rsa, "sign"),
                sign("ECDSA_SHA_256", "raw"),
                400,
                "key is not ECDSA key",
            ),
        ),
        (
            "MessageType",
            asked(
                post.clone(),
                &at(&id, "sign"),
                sign("ECDSA_SHA_256", "plain"),
                400,
                "unsupported message type: plain",
            ),
        ),
        (
            "Patch",
            asked(
                put.clone(),
                &at(&id, "metadata"),
                patch("x", json!(1)),
                400,
                "failed to apply patches to metadata: patches[0]: path does not start with '/'",
            ),
        ),
        (
            "AliasPatch",
            asked(
                put.clone(),
                &at(&id, "aliases"),
                patch("/9", json!("x")),
                400,
                "failed to apply patches to aliases: patches[0]: the index is beyond the end of \
                 the array",
            ),
        ),
        (
            "AliasType",
            asked(
                put.clone(),
                &at(&id, "aliases"),
                patch("/-", json!(4)),
                400,
                "invalid alias value type",
            ),
        ),
        (
            "AliasExists",
            asked(
                put.clone(),
                &at(rsa, "aliases"),
                patch("/-", json!("nick")),
                409,
                "duplicate alias found",
            ),
        ),
        (
            "PrivateKeyRequired",
            asked(
                post.clone(),
                "/v1/keys/import",
                json!({}),
                400,
                "private key is required",
            ),
        ),
        (
            "PrivateKeyType",
            asked(
                post.clone(),
                "/v1/keys/import",
                import(json!(sample("x25519.pem")), SOFTWARE),
                400,
                "tls: found unknown private key type in PKCS#8 wrapping",
            ),
        ),
        (
            "PrivateKeyUnreadable",
            asked(
                post.clone(),
                "/v1/keys/import",
                import(json!(base64(b"garbage")), SOFTWARE),
                400,
                "tls: failed to parse private key",
            ),
        ),
        (
            "ImportFailed",
            Met::Tested(
                IMPORT,
                "an_engine_that_does_not_take_it_leaves_no_trace",
                "500, \"failed to import private key\"",
            ),
        ),
        (
            "KeyExists",
            asked(
                post.clone(),
                "/v1/keys/import",
                import(json!(private_key), FILESYSTEM),
                409,
                "key already exists",
            ),
        ),
        (
            "KeyUnsettled",
            Met::Tested(
                IMPORT,
                "an_engine_that_does_not_take_it_leaves_no_trace",
                "the key is being imported, moved or deleted",
            ),
        ),
        (
            "KeyDisabled",
            asked(
                post.clone(),
                &at(&disabled, "sign"),
                sign("ECDSA_SHA_256", "raw"),
                409,
                "key is disabled",
            ),
        ),
        (
            "DigestSize",
            asked(
                post.clone(),
                &at(&id, "sign"),
                sign("ECDSA_SHA_256", "digest"),
                400,
                "invalid digest size",
            ),
        ),
        (
            "KeyInUse",
            Met::Tested(
                include_str!("deletion.rs"),
                "a_key_that_certificates_use_stays",
                "refusal(409",
            ),
        ),
        (
            "Query",
            asked(
                Method::GET,
                "/v1/keys?bookmark=x",
                Value::Null,
                400,
                "not a valid bookmark",
            ),
        ),
        (
            "Busy",
            Met::Tested(
                CREATION,
                "an_engine_that_fails_leaves_no_trace",
                "503, \"key generation queue is full\"",
            ),
        ),
        (
            "EngineUnsupported",
            Met::Tested(
                include_str!("deletion.rs"),
                "an_engine_that_cannot_delete_keeps_the_key_as_it_was",
                "operation not supported by crypto engine",
            ),
        ),
        (
            "SigningKey",
            Met::Tested(
                include_str!("signatures.rs"),
                "an_engine_that_does_not_answer_is_told_apart_from_one_that_lost_the_key",
                "500, \"could not get signing key\"",
            ),
        ),
        (
            "EngineUnavailable",
            Met::Tested(
                CREATION,
                "an_engine_that_fails_leaves_no_trace",
                "503, \"crypto engine unavailable\"",
            ),
        ),
        (
            "Engine",
            Met::Tested(
                CREATION,
                "an_engine_that_fails_leaves_no_trace",
                "500, \"crypto engine failure\"",
            ),
        ),
        (
            "Storage",
            Met::Tested(
                include_str!("lookup.rs"),
                "a_closed_database_is_overload_and_nothing_else",
                "503, \"storage unavailable\"",
            ),
        ),
    ];
    check_table(
        ERRORS,
        "KmsError",
        &(kms.routes)(QueryLimits::default()),
        &table,
    )
    .await;
}

#[tokio::test]
async fn bodies_that_are_none_are_refused_by_every_route() {
    let kms = fixture().await;
    lamassu_testing::check_bodies(&(kms.routes)(QueryLimits::default()), &[]).await;
}

#[tokio::test]
async fn metadata_of_keys_are_patched_as_everywhere() {
    let kms = fixture().await;
    let id = kms.made_id(SOFTWARE).await;
    let resource = format!("/v1/keys/{id}");
    PatchedAt {
        routes: &kms.routes,
        resource: &resource,
        metadata: &format!("{resource}/metadata"),
        unknown: (
            "/v1/keys/x/metadata",
            http::StatusCode::NOT_FOUND,
            "key not found",
        ),
    }
    .check()
    .await;
}
