//! Lists and statistics.

use http::StatusCode;
use serde_json::{Value, json};

use crate::faulty::Fault;
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

/// The counts that are kept are those that counting gives.
#[tokio::test]
async fn statistics_follow_a_key_through_its_life() {
    let kms = three().await;
    let agree = async |total: i64| {
        let (_, kept) = kms.get("/v1/stats").await;
        let (_, counted) = kms.get("/v1/stats?filter=size[ge]0").await;
        assert_eq!(kept, counted);
        assert_eq!(kept["total_keys"], total);
    };
    agree(3).await;
    let id = kms.made_id(FILESYSTEM).await;
    agree(4).await;
    let moved = json!({"engine_id": SOFTWARE});
    let (status, key) = kms.post(&format!("/v1/keys/{id}/move"), moved).await;
    assert_eq!(status, StatusCode::OK, "{key}");
    agree(4).await;
    kms.faulty.set(Fault::CannotDelete);
    let held = kms.made_id(FAULTY).await;
    let (status, _) = kms.delete(&format!("/v1/keys/{held}")).await;
    assert_eq!(status, StatusCode::CONFLICT);
    agree(5).await;
    kms.faulty.set(Fault::DeletionFails);
    let (status, _) = kms.delete(&format!("/v1/keys/{held}")).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    agree(4).await;
    let (status, _) = kms.delete(&format!("/v1/keys/{id}")).await;
    assert_eq!(status, StatusCode::OK);
    agree(3).await;
}

#[tokio::test]
async fn parts_of_names_ids_and_tags_find_keys() {
    let kms = three().await;
    let (_, page) = kms.get("/v1/keys?filter=name[eq]gamma").await;
    let id = page["list"][0]["key_id"].as_str().unwrap().to_owned();
    let part = id.get(20..40).unwrap();
    assert_eq!(
        listed(&kms, &format!("filter=key_id[ct]{part}")).await,
        ["gamma"]
    );
    let part = part.to_uppercase();
    assert_eq!(
        listed(&kms, &format!("filter=key_id[ct_ic]{part}")).await,
        ["gamma"]
    );
    assert_eq!(listed(&kms, "filter=name[ct_ic]MMA").await, ["gamma"]);
    assert_eq!(listed(&kms, "filter=name[ct]MMA").await, [""; 0]);
    let path = format!("/v1/keys/{id}");
    let tags = json!({"tags": ["Line 4", "Stra\u{df}e \"x\"", ""]});
    assert_eq!(
        kms.put(&format!("{path}/tags"), tags).await.0,
        StatusCode::OK
    );
    let name = json!({"name": "delta"});
    assert_eq!(
        kms.put(&format!("{path}/name"), name).await.0,
        StatusCode::OK
    );
    for (filter, expected) in [
        ("tags[ct]Line%204", &["delta"] as &[&str]),
        ("tags[ct_ic]LINE%204", &["delta"]),
        ("tags[ct]line%204", &[]),
        ("tags[ct]Line", &[]),
        ("tags[ct]Stra%C3%9Fe%20%22x%22", &["delta"]),
        ("tags[ct_ic]stra%C3%9FE%20%22X%22", &["delta"]),
        ("tags[ct]production", &["alpha"]),
        ("name[ct]elt", &["delta"]),
        ("name[ct]mma", &[]),
    ] {
        assert_eq!(
            listed(&kms, &format!("filter={filter}")).await,
            expected,
            "{filter}"
        );
    }
    assert_eq!(kms.delete(&path).await.0, StatusCode::OK);
    assert_eq!(listed(&kms, "filter=name[ct]elt").await, [""; 0]);
}

#[tokio::test]
async fn a_malformed_jsonpath_is_refused() {
    let kms = three().await;
    let (status, body) = kms.get("/v1/keys?filter=metadata[jsonpath]$.%5B").await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
}

#[tokio::test]
async fn pages_follow_each_other_by_values_of_any_length() {
    let kms = fixture().await;
    let long = "x".repeat(60_000);
    for (name, end) in [("second", ""), ("first", ""), ("third", "y")] {
        let metadata = json!({ "text": format!("{name:.1}{long}{end}") });
        let body = json!({"algorithm": "ECDSA", "size": 256, "name": name, "metadata": metadata});
        let (status, key) = kms.post("/v1/keys", body).await;
        assert_eq!(status, StatusCode::CREATED, "{key}");
        kms.clock.advance(time::Duration::seconds(1));
    }
    for sort in ["metadata[jsonpath]$.text", "metadata"] {
        let mut query = format!("sort_by={sort}&page_size=1");
        let mut seen = Vec::new();
        while !query.is_empty() {
            let (status, page) = kms.get(&format!("/v1/keys?{query}")).await;
            assert_eq!(status, StatusCode::OK, "{page}");
            seen.extend(names(&page).into_iter().map(str::to_owned));
            query = match page["next"].as_str() {
                Some("") | None => String::new(),
                Some(next) => format!("bookmark={next}"),
            };
        }
        assert_eq!(seen, ["first", "second", "third"], "{sort}");
    }
}
