use http::StatusCode;
use lamassu_crypto::PublicKey;
use serde_json::{Value, json};

use crate::kms::Fault;
use crate::support::{ForeignPlan, World, device_profile, p256, root_body, x509};

#[tokio::test]
async fn a_root_is_shown_as_its_certificate_says() {
    let world = World::new().await;
    let profile = world.profile(device_profile()).await;
    let mut body = root_body("root-a", &profile);
    body["subject"]["organization"] = json!("Acme");
    body["metadata"] = json!({ "owner": "team" });
    let ca = world.post("/v1/cas", body).await.with(StatusCode::CREATED);

    let der = x509(&ca["certificate"]);
    let key_id = PublicKey::from_spki_der(der.spki_der())
        .unwrap()
        .key_id_sha256_hex();
    let certificate = &ca["certificate"];
    assert_eq!(ca["id"], "root-a");
    assert_eq!(ca["level"], 0);
    assert_eq!(ca["profile_id"], json!(profile));
    assert_eq!(ca["metadata"], json!({ "owner": "team" }));
    assert_eq!(ca["creation_ts"], "2026-03-02T09:15:27.481233Z");
    assert_eq!(ca["serial_number"], certificate["serial_number"]);
    assert_eq!(certificate["subject"]["organization"], "Acme");
    assert_eq!(certificate["issuer"], certificate["subject"]);
    assert_eq!(certificate["subject_key_id"], json!(key_id));
    assert_eq!(certificate["authority_key_id"], json!(key_id));
    assert_eq!(
        certificate["key_metadata"],
        json!({ "type": "ECDSA", "bits": 256, "strength": "HIGH" })
    );
    assert_eq!(certificate["valid_from"], "2026-03-02T09:15:27Z");
    assert_eq!(certificate["valid_to"], "2036-02-18T09:15:27Z");
    assert_eq!(certificate["status"], "ACTIVE");
    assert_eq!(certificate["type"], "MANAGED");
    assert_eq!(certificate["engine_id"], "memory-1");
    assert_eq!(certificate["metadata"], json!({}));
    assert_eq!(certificate["is_ca"], true);
    assert_eq!(certificate["revocation_reason"], "Unspecified");
    assert_eq!(certificate["revocation_timestamp"], "0001-01-01T00:00:00Z");
    assert_eq!(
        certificate["extensions"],
        json!({ "key_usage": ["CertSign", "CRLSign"], "extended_key_usage": [] })
    );
    assert_eq!(
        certificate["issuer_metadata"],
        json!({ "serial_number": ca["serial_number"], "id": "root-a", "level": 0 })
    );
    assert!(der.is_self_signed());
    assert_eq!(world.get("/v1/cas/root-a").await.with(StatusCode::OK), ca);
    let serial = ca["serial_number"].as_str().unwrap();
    let own = world
        .get(&format!("/v1/certificates/{serial}"))
        .await
        .with(StatusCode::OK);
    assert_eq!(&own, certificate);
    assert_eq!(world.kms.bound(&key_id).len(), 1);
    assert_eq!(world.last_event("ca.create").await["data"], ca);
    assert!(
        world
            .audit()
            .await
            .contains(&("ca.create".to_owned(), "ca/root-a".to_owned()))
    );
    assert_eq!(world.count("ca_operation").await, 0);
}

#[tokio::test]
async fn a_subordinate_is_signed_by_its_issuing_ca() {
    let world = World::new().await;
    let root = world.root("root-a").await;
    let profile = root["profile_id"].as_str().unwrap();
    let mut body = root_body("sub-a", profile);
    body["parent_id"] = json!("root-a");
    // Twice as long as its issuer.
    body["ca_expiration"]["duration"] = json!("20y");
    let sub = world.post("/v1/cas", body).await.with(StatusCode::CREATED);
    assert_eq!(sub["level"], 1);
    let certificate = &sub["certificate"];
    assert_eq!(certificate["issuer"]["common_name"], "root-a");
    assert_eq!(
        certificate["authority_key_id"],
        root["certificate"]["subject_key_id"]
    );
    assert_eq!(
        certificate["issuer_metadata"],
        json!({ "serial_number": root["serial_number"], "id": "root-a", "level": 0 })
    );
    let key = x509(&root["certificate"]).public_key().unwrap();
    assert_eq!(x509(certificate).verify_signed_by(&key), Ok(()));
    let leaf = world.issue("sub-a", "device-1").await;
    assert_eq!(leaf["issuer_metadata"]["level"], 1);
    let below = world
        .get("/v1/cas/root-a/certificates")
        .await
        .with(StatusCode::OK);
    assert_eq!(below["list"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_key_that_exists_is_used_and_kept() {
    let world = World::new().await;
    let profile = world.profile(device_profile()).await;
    let key = world.kms.hold(p256());
    let mut body = root_body("root-a", &profile);
    body["key_metadata"] = json!({ "key_id": key.key_id, "type": "0", "bits": 0 });
    let ca = world
        .post("/v1/cas", body.clone())
        .await
        .with(StatusCode::CREATED);
    assert_eq!(ca["certificate"]["subject_key_id"], json!(key.key_id));
    assert_eq!(ca["certificate"]["key_metadata"]["bits"], 256);
    let again = world.post("/v1/cas", body.clone()).await;
    assert_eq!(again.refusal(), (409, "CA already exists"));
    assert_eq!(world.kms.n_keys(), 1);
    body["id"] = json!("root-b");
    body["key_metadata"]["key_id"] = json!("nothing");
    assert_eq!(
        world.post("/v1/cas", body).await.refusal(),
        (404, "key not found")
    );
}

#[tokio::test]
async fn refusals_come_before_a_key_is_made() {
    let world = World::new().await;
    let profile = world.profile(device_profile()).await;
    let ca_profile = json!({ "sign_as_ca": true, "crypto_enforcement": { "enabled": true } });
    let invalid = "struct validation error";
    let cases: Vec<(&str, Value, u16, &str)> = vec![
        ("profile_id", json!(null), 400, invalid),
        (
            "profile_id",
            json!("unknown"),
            404,
            "issuance profile not found",
        ),
        ("ca_expiration", json!({ "type": "Duration" }), 400, invalid),
        ("ca_expiration", json!({ "type": "Time" }), 400, invalid),
        (
            "ca_expiration",
            json!({ "type": "Duration", "duration": "-1h" }),
            400,
            invalid,
        ),
        (
            "ca_issuance_profile",
            json!({ "sign_as_ca": false }),
            400,
            invalid,
        ),
        ("ca_issuance_profile_id", json!(profile), 400, invalid),
        (
            "ca_issuance_profile_id",
            json!("unknown"),
            404,
            "issuance profile not found",
        ),
        ("parent_id", json!("unknown"), 404, "CA not found"),
        (
            "ca_issuance_profile",
            ca_profile,
            400,
            "public key is ECDSA, but issuance profile does not allow ECDSA keys",
        ),
        (
            "key_metadata",
            json!({ "type": "DSA", "bits": 1024 }),
            400,
            "key type DSA is not supported in engine Memory",
        ),
    ];
    for (member, value, status, text) in cases {
        let mut body = root_body("root-a", &profile);
        body[member] = value;
        assert_eq!(
            world.post("/v1/cas", body).await.refusal(),
            (status, text),
            "{member}"
        );
    }
    assert_eq!(world.kms.n_keys(), 0);
    assert_eq!(world.count("certificate").await, 0);
    assert_eq!(world.count("ca_operation").await, 0);
}

#[tokio::test]
async fn an_inactive_issuing_ca_is_refused() {
    let world = World::new().await;
    let root = world.root("root-a").await;
    let serial = root["serial_number"].as_str().unwrap();
    let path = format!("/v1/certificates/{serial}/status");
    world
        .put(&path, json!({ "status": "EXPIRED" }))
        .await
        .with(StatusCode::OK);
    let mut body = root_body("sub-a", root["profile_id"].as_str().unwrap());
    body["parent_id"] = json!("root-a");
    assert_eq!(
        world.post("/v1/cas", body).await.refusal(),
        (400, "CA Status inconsistent")
    );
}

#[tokio::test]
async fn a_key_that_signs_wrongly_makes_no_ca_and_is_destroyed() {
    let world = World::new().await;
    let profile = world.profile(device_profile()).await;
    world.kms.fail(Fault::WrongKey);
    let answer = world.post("/v1/cas", root_body("root-a", &profile)).await;
    assert_eq!(
        answer.refusal(),
        (
            500,
            "KMS sign operation failed: the signature does not verify"
        )
    );
    assert_eq!(world.kms.n_keys(), 0);
    assert_eq!(world.count("certificate_authority").await, 0);
    assert_eq!(world.count("ca_operation").await, 0);
}

#[tokio::test]
async fn a_key_whose_engine_is_away_is_to_be_asked_for_again() {
    let world = World::new().await;
    let profile = world.profile(device_profile()).await;
    world.root("parent").await;
    world.kms.fail(Fault::Away);
    let root = root_body("root-a", &profile);
    let mut child = root_body("child", &profile);
    child["parent_id"] = json!("parent");
    for (path, body) in [
        ("cas", root.clone()),
        ("cas", child),
        ("cas/requests", root),
    ] {
        let answer = world.post(&format!("/v1/{path}"), body).await;
        let (status, text) = answer.refusal();
        assert_eq!((status, text), (503, "crypto engine unavailable"), "{path}");
    }
}

#[tokio::test]
async fn a_full_queue_for_keys_is_told_as_such() {
    let world = World::new().await;
    let profile = world.profile(device_profile()).await;
    world.kms.fail(Fault::Busy);
    let answer = world.post("/v1/cas", root_body("root-a", &profile)).await;
    assert_eq!(answer.refusal(), (503, "key generation queue is full"));
}

#[tokio::test]
async fn lists_know_the_members_of_cas() {
    let world = World::new().await;
    for id in ["root-b", "root-a", "root-c"] {
        world.root(id).await;
    }
    let ids = |page: &Value| -> Vec<String> {
        let list = page["list"].as_array().unwrap().iter();
        list.map(|ca| ca["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let all = world.get("/v1/cas").await.with(StatusCode::OK);
    assert_eq!(all["list"].as_array().unwrap().len(), 3);
    let sorted = world
        .get("/v1/cas?sort_by=id&sort_mode=desc")
        .await
        .with(StatusCode::OK);
    assert_eq!(ids(&sorted), ["root-c", "root-b", "root-a"]);
    let by_name = world.get("/v1/cas/cn/root-b").await.with(StatusCode::OK);
    assert_eq!(ids(&by_name), ["root-b"]);
    assert_eq!(
        ids(&world.get("/v1/cas/cn/ROOT-B").await.with(StatusCode::OK)),
        [""; 0]
    );
    let active = world
        .get("/v1/cas?filter=status[equal]ACTIVE&filter=id[contains]-c")
        .await;
    assert_eq!(ids(&active.with(StatusCode::OK)), ["root-c"]);
    assert_eq!(
        world.get("/v1/cas/nobody").await.refusal(),
        (404, "CA not found")
    );
    assert_eq!(
        world.get("/v1/cas?filter=status[before]x").await.refusal(),
        (
            400,
            "invalid filter operand 'before' for field 'status' of type 4"
        )
    );
}

#[tokio::test]
async fn what_addresses_and_lists_say_otherwise_is_no_id() {
    let world = World::new().await;
    let profile = world.profile(device_profile()).await;
    for (id, why) in [
        ("-", "struct validation error"),
        ("cn", "id 'cn' is part of an address"),
        ("import", "id 'import' is part of an address"),
        ("requests", "id 'requests' is part of an address"),
        (
            "factory@2026-03-02T09:15:28Z",
            "id ends in '@' and a time, as that of a CA whose id was taken again",
        ),
    ] {
        let request = json!({
            "id": id, "subject": { "common_name": "Plant 7" },
            "key_metadata": { "type": "ECDSA", "bits": 256 },
        });
        let import = json!({ "id": id, "ca": ForeignPlan::root("Foreign Root").make().wire() });
        for (path, body) in [
            ("/v1/cas", root_body(id, &profile)),
            ("/v1/cas/import", import),
            ("/v1/cas/requests", request),
        ] {
            let refused = world.post(path, body).await;
            assert_eq!(refused.refusal(), (400, why), "{path}");
        }
    }
    assert_eq!(world.kms.n_keys(), 0);
    let body = root_body("line@factory", &profile);
    world.post("/v1/cas", body).await.with(StatusCode::CREATED);
}
