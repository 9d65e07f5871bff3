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
#[expect(clippy::too_many_lines, reason = "a table")]
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
            "NameTooLong",
            asked(
                put.clone(),
                &at(&id, "name"),
                json!({"name": "n".repeat(1_001)}),
                400,
                "name is longer than 1000 octets",
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
            "KeyRequested",
            Met::Tested(
                include_str!("deletion.rs"),
                "a_key_that_a_request_for_a_ca_waits_with_stays",
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
            "EngineNotOpened",
            Met::Tested(
                include_str!("unopened.rs"),
                "whatever_needs_an_engine_that_did_not_open_is_put_off",
                "crypto engine faulty-1 did not open",
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

/// Errors of the layer around all services, and those of lists, patches and storage, which every
/// service passes on.
#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn errors_that_services_share_have_their_status_and_text() {
    let kms = fixture().await;
    let id = kms.made_id(FILESYSTEM).await;
    kms.put(&format!("/v1/keys/{id}/metadata"), json!({"patches": []}))
        .await;
    let get = |path: &str, text: &str| asked(Method::GET, path, Value::Null, 400, text);
    let nul = "holds the character U+0000, which cannot be stored";
    let bodies = include_str!("../../../../http/tests/it/bodies.rs");
    let edge = include_str!("../../../../http/tests/it/edge.rs");
    let second = include_str!("../../../devices/tests/it/v2.rs");
    let http = [
        (
            "Json",
            asked(
                Method::POST,
                "/v1/keys",
                json!({"size": []}),
                400,
                "json: cannot unmarshal array into field size of type int",
            ),
        ),
        (
            "TooLarge",
            Met::Tested(
                bodies,
                "bodies_are_limited_whether_or_not_they_announce_their_length",
                "request body too large",
            ),
        ),
        (
            "TooSlow",
            Met::Tested(
                bodies,
                "a_body_that_does_not_arrive_is_given_up",
                "request timeout",
            ),
        ),
        (
            "BrokenBody",
            Met::Tested(
                bodies,
                "a_body_that_breaks_off_is_a_bad_request",
                "request body could not be read",
            ),
        ),
        (
            "PathParameter",
            get("/v1/keys/%ff", "invalid path parameter"),
        ),
        (
            "NulInPath",
            get("/v1/keys/a%00", &format!("path parameter id {nul}")),
        ),
        (
            "NulInQuery",
            get("/v1/keys?x=%00", &format!("query parameter x {nul}")),
        ),
        (
            "StrictJson",
            Met::Tested(second, "a_body_that_is_no_json_is_refused", "EOF"),
        ),
        (
            "UnknownMembers",
            Met::Tested(
                include_str!("../../../devices/tests/it/group_actions.rs"),
                "what_is_no_action_is_refused",
                "unknown field 'nope'",
            ),
        ),
        (
            "MediaType",
            Met::Tested(
                second,
                "patches_of_what_is_not_written_are_refused_with_its_name",
                "unsupported media type",
            ),
        ),
        (
            "Condition",
            Met::Tested(
                second,
                "a_revision_guards_changes_and_saves_bodies",
                "malformed header If-Match",
            ),
        ),
        (
            "Method",
            Met::Tested(
                second,
                "a_method_that_a_path_does_not_have_is_told_so",
                "method not allowed",
            ),
        ),
        (
            "RateLimited",
            Met::Tested(
                include_str!("../../../dms/tests/it/operating.rs"),
                "an_address_that_floods_est_is_told_to_wait",
                "too many requests from this address",
            ),
        ),
        (
            "Unserialisable",
            Met::Never("every reply is made of types that always become JSON"),
        ),
        (
            "TaskLost",
            Met::Tested(
                edge,
                "a_panic_is_an_internal_error_with_the_request_id",
                "internal error",
            ),
        ),
        (
            "ForeignOrigin",
            Met::Tested(
                edge,
                "without_enforcement_a_foreign_page_reads_and_changes_nothing",
                "cross-origin requests need authentication to be enforced",
            ),
        ),
        (
            "Overloaded",
            Met::Tested(
                include_str!("../../../../http/tests/it/admission.rs"),
                "one_works_one_waits_and_the_rest_is_told_to_come_back",
                "assert_refused",
            ),
        ),
        (
            "Unguarded",
            Met::Tested(
                include_str!("../../../../http/tests/it/guard.rs"),
                "a_handler_past_the_route_table_has_no_caller_and_fails",
                "internal error",
            ),
        ),
    ];
    let strict = include_str!("../../../../testing/src/lists/refusals.rs");
    let ignored = "check_what_is_ignored";
    let query = [
        (
            "InvalidOperand",
            get(
                "/v1/keys?filter=name[gt]x",
                "invalid filter operand 'gt' for field 'name' of type 0",
            ),
        ),
        (
            "InvalidValue",
            get(
                "/v1/keys?filter=size[gt]x",
                "invalid value for field 'size': not an integer",
            ),
        ),
        (
            "InvalidJsonPath",
            get(
                "/v1/keys?filter=metadata[jsonpath]x",
                "invalid JSONPath expression: unexpected `x` at character 1",
            ),
        ),
        (
            "InvalidBookmark",
            get("/v1/keys?bookmark=x", "not a valid bookmark"),
        ),
        (
            "UnknownField",
            Met::Tested(strict, ignored, "unknown filter field 'nope'"),
        ),
        (
            "MalformedFilter",
            Met::Tested(strict, ignored, "malformed filter 'nope'"),
        ),
        (
            "InvalidSort",
            Met::Tested(strict, ignored, "invalid sort 'nope'"),
        ),
        (
            "UnknownParameter",
            Met::Tested(
                second,
                "what_a_list_does_not_have_is_refused",
                "unknown query parameter 'page'",
            ),
        ),
        (
            "InvalidParameter",
            Met::Tested(
                second,
                "what_a_list_does_not_have_is_refused",
                "invalid query parameter 'count': ",
            ),
        ),
        (
            "LimitExceeded",
            Met::Tested(
                include_str!("../../../ca/tests/it/revocations.rs"),
                "what_restricts_nothing_or_cannot_be_understood_revokes_nothing",
                "the filters of a request have at most 32768 bytes",
            ),
        ),
    ];
    let storage = [
        (
            "Unavailable",
            Met::Tested(
                include_str!("lookup.rs"),
                "a_closed_database_is_overload_and_nothing_else",
                "503, \"storage unavailable\"",
            ),
        ),
        (
            "PeerAway",
            Met::Tested(
                include_str!("../../../../../tests/it/between.rs"),
                "processes_speak_https_and_name_the_cause_when_a_certificate_is_not_believed",
                "does not answer",
            ),
        ),
        (
            "OutcomeUnknown",
            Met::Never(
                "needs a server that stays away between COMMIT and its answer; a test of lamassu-db \
                 meets it there, and that of lamassu-client reads it back from the wire",
            ),
        ),
        (
            "Internal",
            Met::Never("a row that cannot be read or a statement that is wrong: a defect"),
        ),
    ];
    let routes = (kms.routes)(QueryLimits::default());
    let http_errors = include_str!("../../../../http/src/failure.rs");
    check_table(http_errors, "HttpError", &routes, &http).await;
    let query_errors = include_str!("../../../../core/src/query/error.rs");
    check_table(query_errors, "QueryError", &routes, &query).await;
    let failures = include_str!("../../../../core/src/error.rs");
    check_table(failures, "StorageFailure", &routes, &storage).await;
}
