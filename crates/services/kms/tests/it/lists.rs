//! Lists and statistics.

use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{FAULTY, FILESYSTEM, Fixture, SOFTWARE, fixture};

/// Three keys: alpha (files, tagged), Beta (memory), gamma (memory, RSA).
async fn three() -> Fixture {
    let kms = fixture().await;
    for body in [
        json!({"algorithm": "ECDSA", "size": 256, "name": "alpha", "tags": ["production"],
               "metadata": {"critical": true, "n": 31, "purpose": "signing"}}),
        json!({"algorithm": "ECDSA", "size": 384, "name": "Beta", "engine_id": SOFTWARE,
               "metadata": {"critical": false, "n": 30}}),
        json!({"algorithm": "RSA", "size": 2048, "name": "gamma", "engine_id": SOFTWARE}),
    ] {
        let (status, key) = kms.post("/v1/keys", body).await;
        assert_eq!(status, StatusCode::CREATED, "{key}");
        if key["name"] == "Beta" {
            kms.alias(key["key_id"].as_str().unwrap(), "line-4").await;
        }
        kms.clock.advance(time::Duration::seconds(1));
    }
    kms
}

fn names(page: &Value) -> Vec<&str> {
    let keys = page["list"].as_array().unwrap();
    keys.iter()
        .map(|key| key["name"].as_str().unwrap())
        .collect()
}

async fn listed(kms: &Fixture, query: &str) -> Vec<String> {
    let (status, page) = kms.get(&format!("/v1/keys?{query}")).await;
    assert_eq!(status, StatusCode::OK, "{query}: {page}");
    names(&page).into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn an_empty_list_is_a_list() {
    let kms = fixture().await;
    let expected = (StatusCode::OK, json!({"next": "", "list": []}));
    assert_eq!(kms.get("/v1/keys").await, expected);
}

#[tokio::test]
async fn filters_find_what_they_say() {
    let kms = three().await;
    let cases: [(&str, &[&str]); 18] = [
        ("", &["alpha", "Beta", "gamma"]),
        ("filter=name[eq]alpha", &["alpha"]),
        ("filter=name[eq]missing", &[]),
        ("filter=name[eq_ic]BETA", &["Beta"]),
        ("filter=name[ct]a", &["alpha", "Beta", "gamma"]),
        ("filter=algorithm[ct]RSA", &["gamma"]),
        ("filter=engine_id[ne]filesystem-1", &["Beta", "gamma"]),
        ("filter=size[gt]256", &["Beta", "gamma"]),
        ("filter=has_private_key[eq]false", &[]),
        ("filter=tags[ct]production", &["alpha"]),
        (
            "filter=creation_ts[af]2026-03-02T09:15:28Z",
            &["Beta", "gamma"],
        ),
        ("filter=status[eq]ACTIVE", &["alpha", "Beta", "gamma"]),
        ("filter=status[eq]DISABLED", &[]),
        ("filter=aliases[ct]line-4", &["Beta"]),
        (
            "filter=metadata[jsonpath]$.critical%20==%20true",
            &["alpha"],
        ),
        ("filter=metadata[jsonpath]$.n%20%3E%2030", &["alpha"]),
        (
            "filter=metadata[jsonpath]$.purpose%20starts%20with%20%22sign%22",
            &["alpha"],
        ),
        (
            "filter=engine_id[eq]software-1&filter=algorithm[eq]ECDSA",
            &["Beta"],
        ),
    ];
    for (query, expected) in cases {
        assert_eq!(listed(&kms, query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn pages_follow_each_other_in_order() {
    let kms = three().await;
    let (_, first) = kms
        .get("/v1/keys?page_size=2&sort_by=name&sort_mode=asc")
        .await;
    assert_eq!(names(&first), ["alpha", "Beta"]);
    let bookmark = first["next"].as_str().unwrap();
    let (_, second) = kms.get(&format!("/v1/keys?bookmark={bookmark}")).await;
    assert_eq!(names(&second), ["gamma"]);
    assert_eq!(second["next"], "");
    let descending = listed(&kms, "sort_by=name&sort_mode=desc").await;
    assert_eq!(descending, ["gamma", "Beta", "alpha"]);
}

#[tokio::test]
async fn parameters_that_cannot_be_understood_are_refused() {
    let kms = three().await;
    let cases = [
        (
            "keys?filter=name[gt]a",
            "invalid filter operand 'gt' for field 'name' of type 0",
            "invalid_filter",
        ),
        (
            "keys?bookmark=nonsense",
            "not a valid bookmark",
            "invalid_bookmark",
        ),
        (
            "stats?filter=size[ct]2",
            "invalid filter operand 'ct' for field 'size' of type 3",
            "invalid_filter",
        ),
    ];
    for (query, text, code) in cases {
        assert_eq!(
            kms.get(&format!("/v1/{query}")).await,
            (StatusCode::BAD_REQUEST, json!({"err": text, "code": code}))
        );
    }
    let (status, body) = kms.get("/v1/keys?filter=size[eq]big").await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
}

#[tokio::test]
async fn statistics_name_every_engine_and_every_kind() {
    let kms = three().await;
    let expected = json!({
        "total_keys": 3,
        "keys_distribution_per_engine": {FAULTY: 0, FILESYSTEM: 1, SOFTWARE: 2},
        "keys_distribution_per_algorithm": {"ECDSA": 2, "Ed25519": 0, "ML-DSA": 0, "RSA": 1},
    });
    assert_eq!(kms.get("/v1/stats").await, (StatusCode::OK, expected));
    let (_, rsa) = kms.get("/v1/stats?filter=algorithm[ct]RSA").await;
    let expected = json!({
        "total_keys": 1,
        "keys_distribution_per_engine": {FAULTY: 0, FILESYSTEM: 0, SOFTWARE: 1},
        "keys_distribution_per_algorithm": {"ECDSA": 0, "Ed25519": 0, "ML-DSA": 0, "RSA": 1},
    });
    assert_eq!(rsa, expected);
}

#[tokio::test]
async fn a_malformed_jsonpath_is_refused() {
    let kms = three().await;
    let (status, body) = kms.get("/v1/keys?filter=metadata[jsonpath]$.%5B").await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
}
