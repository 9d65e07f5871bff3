//! Changing names, tags, metadata and aliases.

use http::{Method, StatusCode};
use lamassu_crypto::HashAlgorithm;
use serde_json::{Value, json};

use crate::support::{FILESYSTEM, SOFTWARE, base64, fixture, refusal, sample};

/// The routes that change a key, each with a body that it takes.
fn changes() -> [(Method, &'static str, Value); 10] {
    let add = json!({"patches": [{"op": "add", "path": "/a", "value": 1}]});
    let append = json!({"patches": [{"op": "add", "path": "/-", "value": "line-4"}]});
    [
        (Method::PUT, "name", json!({"name": "n"})),
        (Method::PUT, "tags", json!({"tags": []})),
        (Method::PUT, "metadata", add.clone()),
        (Method::PATCH, "metadata", add),
        (Method::PUT, "alias", append.clone()),
        (Method::PUT, "aliases", append.clone()),
        (Method::PATCH, "alias", append.clone()),
        (Method::PATCH, "aliases", append),
        (Method::PUT, "status", json!({"status": "DISABLED"})),
        (Method::POST, "move", json!({"engine_id": SOFTWARE})),
    ]
}

#[tokio::test]
async fn an_unknown_key_is_not_found_whatever_is_changed() {
    let kms = fixture().await;
    for (method, below, body) in changes() {
        let path = format!("/v1/keys/unknown/{below}");
        let refused = kms.change(method, &path, &body).await;
        assert_eq!(refused, refusal(404, "key not found"), "{below}");
    }
    assert_eq!(kms.events().await, Vec::<Value>::new());
}

#[tokio::test]
async fn what_is_required_is_looked_for_before_the_key() {
    let kms = fixture().await;
    for (method, below, _) in changes() {
        for body in [
            json!({}),
            json!({"name": "", "tags": null, "patches": null, "status": "active"}),
        ] {
            let path = format!("/v1/keys/unknown/{below}");
            let refused = kms.change(method.clone(), &path, &body).await;
            assert_eq!(refused, refusal(400, "struct validation error"), "{below}");
        }
    }
}

/// Such a text does not get shorter when PostgreSQL compresses it.
fn random(n_octets: usize) -> String {
    let digests = (0_u32..).map(|n| HashAlgorithm::Sha256.digest(&n.to_be_bytes()));
    let mut text: String = digests
        .take(n_octets / 32 + 1)
        .map(|digest| base64(&digest))
        .collect();
    text.truncate(n_octets);
    text
}

#[tokio::test]
async fn names_and_aliases_have_a_length_that_every_database_takes() {
    let kms = fixture().await;
    let id = kms.made_id(SOFTWARE).await;
    let too_long = refusal(400, "name is longer than 1000 octets");
    let new = |name: &str| json!({"algorithm": "ECDSA", "size": 256, "name": name, "engine_id": SOFTWARE});
    let alias = |alias: &str| json!({"patches": [{"op": "add", "path": "/-", "value": alias}]});
    let renamed = format!("/v1/keys/{id}/name");
    let aliases = format!("/v1/keys/{id}/aliases");
    for n_octets in [1_001, 3_000] {
        let text = random(n_octets);
        assert_eq!(kms.post("/v1/keys", new(&text)).await, too_long);
        assert_eq!(kms.put(&renamed, json!({"name": text})).await, too_long);
        let reason = "failed to apply patches to aliases: an alias is longer than 1000 octets";
        let (status, body) = kms.put(&aliases, alias(&text)).await;
        assert_eq!((status.as_u16(), &body["err"]), (400, &json!(reason)));
    }
    let text = random(1_000);
    let (status, made) = kms.post("/v1/keys", new(&text)).await;
    assert_eq!((status, &made["name"]), (StatusCode::CREATED, &json!(text)));
    let (status, named) = kms.put(&renamed, json!({"name": text})).await;
    assert_eq!((status, &named["name"]), (StatusCode::OK, &json!(text)));
    let (status, aliased) = kms.put(&aliases, alias(&text)).await;
    assert_eq!(
        (status, &aliased["aliases"]),
        (StatusCode::OK, &json!([text]))
    );
    let sent = random(3_000);
    let import = json!({"private_key": sample("prime256v1.sec1.pem"), "name": sent});
    assert_eq!(kms.post("/v1/keys/import", import).await, too_long);
}

#[tokio::test]
async fn a_name_and_tags_are_replaced_and_told_as_a_pair() {
    let kms = fixture().await;
    let before = kms.made(FILESYSTEM, "ECDSA", 256).await;
    let id = before["key_id"].as_str().unwrap();
    let uri = before["pkcs11_uri"].as_str().unwrap();
    kms.alias(id, "line-4").await;
    let (status, named) = kms
        .put(
            "/v1/keys/line-4/name",
            json!({"NAME": "a better one", "x": 1}),
        )
        .await;
    assert_eq!(
        (status, &named["name"]),
        (StatusCode::OK, &json!("a better one"))
    );
    let tags = json!(["b", "a", "b"]);
    let (_, tagged) = kms
        .put(&format!("/v1/keys/{uri}/tags"), json!({"tags": tags}))
        .await;
    assert_eq!(tagged["tags"], tags);
    let (_, read) = kms.get(&format!("/v1/keys/{id}")).await;
    assert_eq!((&read["name"], &read["tags"]), (&named["name"], &tags));
    let (_, cleared) = kms
        .put(&format!("/v1/keys/{id}/tags"), json!({"tags": []}))
        .await;
    assert_eq!(cleared["tags"], json!([]));

    let events = kms.events().await;
    assert_eq!(events[2]["type"], "kms.name.update");
    assert_eq!(events[2]["subject"], "kms/line-4");
    assert_eq!(events[2]["data"]["previous"]["name"], "a key");
    assert_eq!(events[2]["data"]["updated"], named);
    assert_eq!(events[3]["type"], "kms.tags.update");
    assert_eq!(events[3]["subject"], format!("kms/{uri}"));
    let audited = kms.audited().await;
    let expected = ["kms.name.update", &format!("kms/{id}"), "done"].map(str::to_owned);
    assert_eq!(audited[2], expected);
    let found = kms.get("/v1/keys?filter=name[eq_ic]A%20BETTER%20ONE").await;
    assert_eq!(found.1["list"][0]["key_id"], id);
}

#[tokio::test]
async fn metadata_is_patched_all_or_nothing() {
    let kms = fixture().await;
    let id = kms.made_id(FILESYSTEM).await;
    let path = format!("/v1/keys/{id}/metadata");
    let bind = json!({"patches": [
        {"op": "add", "path": "/lamassu.io~1kms~1binded-resources/-",
         "value": {"resource_type": "certificate", "resource_id": "5c3f"}},
        {"op": "add", "path": "/owner/team", "value": "a"},
        {"op": "remove", "path": "/nothing"},
    ]});
    let (status, key) = kms.put(&path, bind).await;
    let expected = json!({
        "lamassu.io/kms/binded-resources": [{"resource_type": "certificate", "resource_id": "5c3f"}],
        "owner": {"team": "a"},
    });
    assert_eq!((status, &key["metadata"]), (StatusCode::OK, &expected));
    let broken = json!({"patches": [
        {"op": "add", "path": "/owner/team", "value": "b"},
        {"op": "replace", "path": "/missing", "value": 1},
    ]});
    let (status, refused) = kms.change(Method::PATCH, &path, &broken).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let text = refused["err"].as_str().unwrap();
    assert!(
        text.starts_with("failed to apply patches to metadata: "),
        "{text}"
    );
    let null = json!({"patches": [{"op": "add", "path": "/n", "value": null}]});
    assert_eq!(kms.put(&path, null).await.0, StatusCode::BAD_REQUEST);
    let (_, read) = kms.get(&format!("/v1/keys/{id}")).await;
    assert_eq!(read["metadata"], expected);

    let all = json!({"patches": [{"op": "add", "path": "", "value": {"only": [null]}}]});
    let (_, replaced) = kms.change(Method::PATCH, &path, &all).await;
    assert_eq!(replaced["metadata"], json!({"only": [null]}));
    let (status, same) = kms.put(&path, json!({"patches": []})).await;
    assert_eq!((status, &same), (StatusCode::OK, &replaced));
    let told = kms.told().await;
    let update = ("kms.metadata.update".to_owned(), format!("kms/{id}"));
    assert_eq!(told[1..], [update.clone(), update.clone(), update]);
}

#[tokio::test]
async fn aliases_are_patched_and_find_their_key_at_once() {
    let kms = fixture().await;
    let id = kms.made_id(FILESYSTEM).await;
    let path = format!("/v1/keys/{id}/alias");
    let add = json!({"patches": [
        {"op": "add", "path": "/-", "value": "b"},
        {"op": "add", "path": "/0", "value": "a \"quoted\" one"},
        {"op": "add", "path": "/-", "value": "c"},
    ]});
    let (status, key) = kms.put(&path, add).await;
    assert_eq!(status, StatusCode::OK, "{key}");
    assert_eq!(key["aliases"], json!(["a \"quoted\" one", "b", "c"]));
    let sign = json!({"algorithm": "ECDSA_SHA_256", "message": "", "message_type": "raw"});
    for alias in ["a%20%22quoted%22%20one", "b", "c"] {
        let (_, found) = kms.get(&format!("/v1/keys/{alias}")).await;
        assert_eq!(found["key_id"], id, "{alias}");
        let signed = kms
            .post(&format!("/v1/keys/{alias}/sign"), sign.clone())
            .await;
        assert_eq!(signed.0, StatusCode::OK, "{alias}");
    }
    let change = json!({"patches": [
        {"op": "replace", "path": "/1", "value": "b2"},
        {"op": "remove", "path": "/0"},
        {"op": "remove", "path": "/7"},
    ]});
    let (_, key) = kms
        .change(Method::PATCH, "/v1/keys/c/aliases", &change)
        .await;
    assert_eq!(key["aliases"], json!(["b2", "c"]));
    for gone in ["b", "a%20%22quoted%22%20one"] {
        let signed = kms
            .post(&format!("/v1/keys/{gone}/sign"), sign.clone())
            .await;
        assert_eq!(signed, refusal(404, "key not found"), "{gone}");
    }
    let told = kms.told().await;
    let update = |named: &str| ("kms.aliases.update".to_owned(), format!("kms/{named}"));
    assert_eq!((&told[1], &told[5]), (&update(&id), &update("c")));
}

#[tokio::test]
async fn an_alias_belongs_to_one_key() {
    let kms = fixture().await;
    let (one, other) = (kms.made_id(FILESYSTEM).await, kms.made_id(SOFTWARE).await);
    kms.alias(&one, "line-4").await;
    let add = |value: Value| json!({"patches": [{"op": "add", "path": "/-", "value": value}]});
    for id in [&one, &other] {
        let path = format!("/v1/keys/{id}/aliases");
        let refused = kms.put(&path, add(json!("line-4"))).await;
        assert_eq!(refused, refusal(409, "duplicate alias found"));
        let refused = kms.put(&path, add(json!(4))).await;
        assert_eq!(refused, refusal(400, "invalid alias value type"));
        let twice = json!({"patches": [
            {"op": "add", "path": "/-", "value": "x"},
            {"op": "add", "path": "/-", "value": "x"},
        ]});
        let refused = kms.put(&path, twice).await;
        assert_eq!(refused, refusal(409, "duplicate alias found"));
        let whole = json!({"patches": [{"op": "remove", "path": ""}]});
        let (status, refused) = kms.put(&path, whole).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        let text = refused["err"].as_str().unwrap();
        assert!(
            text.starts_with("failed to apply patches to aliases: "),
            "{text}"
        );
    }
    // Whoever gives an alias up leaves it to others; so does whoever is deleted.
    kms.delete(&format!("/v1/keys/{one}")).await;
    kms.alias(&other, "line-4").await;
    assert_eq!(kms.get("/v1/keys/line-4").await.1["key_id"], other);
}
