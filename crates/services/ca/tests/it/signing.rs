use http::{Method, StatusCode};
use lamassu_ca::CaConfig;
use lamassu_core::pem::CsrDer;
use lamassu_crypto::{KeySpec, PrivateKey};
use lamassu_db::{params, sql};
use lamassu_x509::{GeneralName, KeyUsage, RequestTemplate, SubjectFields};
use serde_json::{Value, json};

use crate::kms::Fault;
use crate::support::{World, ask, csr, p256, root_body, signed, x509};

#[tokio::test]
async fn the_default_profile_decides() {
    let world = World::new().await;
    let root = world.root("root-a").await;
    let key = p256();
    let request = csr(&key, "device-1");
    let issued = world
        .sign("root-a", json!({ "csr": request.to_wire() }))
        .await;
    let issued = issued.with(StatusCode::CREATED);
    assert_eq!(issued["valid_from"], "2026-03-02T09:15:27Z");
    assert_eq!(issued["valid_to"], "2026-03-02T21:15:27Z");
    assert_eq!(issued["subject"]["common_name"], "device-1");
    assert_eq!(issued["issuer"]["common_name"], "root-a");
    assert_eq!(issued["type"], "IMPORTED_WITHOUT_KEY");
    assert_eq!(issued["engine_id"], "");
    assert_eq!(issued["is_ca"], false);
    assert_eq!(issued["metadata"], json!({}));
    assert_eq!(
        issued["subject_key_id"],
        json!(key.public_key().key_id_sha256_hex())
    );
    assert_eq!(
        issued["authority_key_id"],
        root["certificate"]["subject_key_id"]
    );
    assert_eq!(
        issued["extensions"],
        json!({ "key_usage": ["DigitalSignature"], "extended_key_usage": ["ClientAuth"] })
    );
    assert_eq!(
        issued["issuer_metadata"],
        json!({ "serial_number": root["serial_number"], "id": "root-a", "level": 0 })
    );
    let issuer_key = x509(&root["certificate"]).public_key().unwrap();
    assert_eq!(x509(&issued).verify_signed_by(&issuer_key), Ok(()));
    let serial = issued["serial_number"].as_str().unwrap();
    assert_eq!(
        world.get(&format!("/v1/certificates/{serial}")).await.body,
        issued
    );
    let event = world.last_event("ca.sign.certificate").await;
    assert_eq!(event["subject"], format!("certificate/{serial}"));
    assert_eq!(event["data"], issued);
    let record = (
        "ca.sign.certificate".to_owned(),
        format!("certificate/{serial}"),
    );
    assert!(world.audit().await.contains(&record));
}

#[tokio::test]
async fn an_inline_profile_wins_and_may_end_in_year_1() {
    let world = World::new().await;
    let root = world.root("root-a").await;
    let body = json!({
        "csr": csr(&p256(), "device-1").to_wire(),
        "profile": { "subject": { "organization": "Acme" } },
        "profile_id": root["profile_id"],
    });
    let issued = world.sign("root-a", body).await.with(StatusCode::CREATED);
    assert_eq!(issued["valid_to"], "0001-01-01T00:00:00Z");
    assert_eq!(issued["subject"]["common_name"], "device-1");
    assert_eq!(issued["subject"]["organization"], "Acme");
    assert_eq!(
        issued["extensions"],
        json!({ "key_usage": [], "extended_key_usage": [] })
    );
}

#[tokio::test]
async fn an_inline_profile_gives_no_negative_lifetime() {
    let world = World::new().await;
    world.root("root-a").await;
    let asked = async |member: &str, value: Value| {
        let mut profile = json!({ "validity": { "type": "Duration", "duration": "1h" } });
        profile[member] = value;
        let body = json!({ "csr": csr(&p256(), "device-1").to_wire(), "profile": profile });
        world.sign("root-a", body).await
    };
    let ended = asked("validity", json!({ "type": "Duration", "duration": "-1h" })).await;
    assert_eq!(ended.refusal(), (400, "struct validation error"));
    let future = asked("back_dating", json!("-24h")).await;
    let text = "profile member back_dating: it is negative";
    assert_eq!(future.refusal(), (400, text));
    assert_eq!(world.count("certificate").await, 1);
}

#[tokio::test]
async fn requested_usages_and_names_are_honoured_where_the_profile_says_so() {
    let world = World::new().await;
    world.root("root-a").await;
    let key = p256();
    let subject = SubjectFields::with_common_name("device-1").to_name();
    let template = RequestTemplate::new(subject, key.public_key())
        .with_key_usage(KeyUsage::ca())
        .with_subject_alt_names(&[GeneralName::Dns("device-1.example".to_owned())]);
    let body = json!({
        "csr": signed(&key, &template).to_wire(),
        "profile": {
            "validity": { "type": "Duration", "duration": "1h" },
            "honor_key_usage": true, "honor_extended_key_usages": true,
            "honor_subject": true, "honor_extensions": true,
            "key_usage": ["DataEncipherment"], "extended_key_usages": ["ServerAuth"],
        },
    });
    let issued = world.sign("root-a", body).await.with(StatusCode::CREATED);
    assert_eq!(
        issued["extensions"],
        json!({ "key_usage": ["CertSign", "CRLSign"], "extended_key_usage": [] })
    );
    let names = x509(&issued).extensions().subject_alt_names().unwrap();
    assert_eq!(names, [GeneralName::Dns("device-1.example".to_owned())]);
}

#[tokio::test]
async fn a_certificate_for_a_ca_is_stored_like_any_other() {
    let world = World::new().await;
    world.root("root-a").await;
    let body = json!({
        "csr": csr(&p256(), "their-ca").to_wire(),
        "profile": {
            "validity": { "type": "Duration", "duration": "1y" },
            "sign_as_ca": true, "honor_subject": true,
        },
    });
    let issued = world.sign("root-a", body).await.with(StatusCode::CREATED);
    assert_eq!(issued["is_ca"], true);
    let serial = issued["serial_number"].as_str().unwrap();
    let stored = world
        .get(&format!("/v1/cas/root-a/certificates/{serial}"))
        .await;
    assert_eq!(stored.with(StatusCode::OK), issued);
}

#[tokio::test]
async fn a_key_of_the_kms_makes_the_certificate_managed() {
    let world = World::new().await;
    world.root("root-a").await;
    let key = p256();
    let request = csr(&key, "server-1").to_wire();
    let key_id = world.kms.hold(key).key_id;
    let issued = world
        .sign("root-a", json!({ "csr": request }))
        .await
        .with(StatusCode::CREATED);
    assert_eq!(issued["type"], "MANAGED");
    assert_eq!(issued["engine_id"], "memory-1");
    let bound = world.kms.bound(key_id.as_str());
    assert_eq!(json!(bound), json!([issued["serial_number"]]));
}

#[tokio::test]
async fn refusals_have_the_texts_of_the_wire() {
    let world = World::new().await;
    world.root("root-a").await;
    let good = csr(&p256(), "device-1").to_wire();
    let rsa_only = json!({ "crypto_enforcement": { "enabled": true, "allow_rsa_keys": true } });
    let p384_only = json!({ "crypto_enforcement":
        { "enabled": true, "allow_ecdsa_keys": true, "allowed_ecdsa_key_sizes": [384] } });
    let cases: Vec<(&str, Value, u16, &str)> = vec![
        ("root-a", json!({}), 404, "CA not found"),
        ("root-a", json!({ "csr": null }), 404, "CA not found"),
        ("nobody", json!({ "csr": good }), 404, "CA not found"),
        (
            "root-a",
            json!({ "csr": "aGVsbG8=" }),
            400,
            "missing cert block",
        ),
        (
            "root-a",
            json!({ "csr": "*" }),
            400,
            "illegal base64 data at input byte 0",
        ),
        (
            "root-a",
            json!({ "csr": CsrDer::from_der(vec![0x30, 3, 1]).to_wire() }),
            400,
            "could not parse the certificate request: malformed certification request: sequence truncated",
        ),
        (
            "root-a",
            json!({ "csr": good, "profile_id": "x" }),
            404,
            "issuance profile not found: x",
        ),
        (
            "root-a",
            json!({ "csr": good, "profile": rsa_only }),
            400,
            "public key is ECDSA, but issuance profile does not allow ECDSA keys",
        ),
        (
            "root-a",
            json!({ "csr": good, "profile": p384_only }),
            400,
            "public key uses ECDSA key with size 256, but issuance profile does not allow this key size",
        ),
    ];
    for (ca, body, status, text) in cases {
        assert_eq!(world.sign(ca, body).await.refusal(), (status, text));
    }
    assert_eq!(world.count("certificate").await, 1);
}

#[tokio::test]
async fn a_size_that_is_not_listed_is_refused_for_rsa_too() {
    let world = World::new().await;
    world.root("root-a").await;
    let key = PrivateKey::generate(KeySpec::Rsa(2048)).unwrap();
    let body = json!({
        "csr": csr(&key, "device-1").to_wire(),
        "profile": { "crypto_enforcement":
            { "enabled": true, "allow_rsa_keys": true, "allowed_rsa_key_sizes": [] } },
    });
    assert_eq!(
        world.sign("root-a", body).await.refusal(),
        (
            400,
            "public key uses RSA key with size 2048, but issuance profile does not allow this key size"
        )
    );
}

/// A request whose signature was made by another key.
fn forged() -> String {
    let (theirs, mine) = (p256(), p256());
    let subject = SubjectFields::with_common_name("device-1").to_name();
    signed(&mine, &RequestTemplate::new(subject, theirs.public_key())).to_wire()
}

#[tokio::test]
async fn possession_is_proven_unless_waived() {
    let world = World::new().await;
    world.root("root-a").await;
    let refused = world.sign("root-a", json!({ "csr": forged() })).await;
    assert_eq!(refused.refusal(), (400, "invalid CSR signature"));
    let body = json!({ "csr": forged(), "verify_csr_signature": false });
    world.sign("root-a", body).await.with(StatusCode::CREATED);
}

#[tokio::test]
async fn a_setting_waives_possession_and_a_request_can_ask_for_it_all_the_same() {
    let config = CaConfig {
        verify_csr_signature: false,
        ..CaConfig::default()
    };
    let world = World::with_config(config).await;
    world.root("root-a").await;
    world
        .sign("root-a", json!({ "csr": forged() }))
        .await
        .with(StatusCode::CREATED);
    let body = json!({ "csr": forged(), "verify_csr_signature": true });
    assert_eq!(
        world.sign("root-a", body).await.refusal(),
        (400, "invalid CSR signature")
    );
}

#[tokio::test]
async fn a_signature_that_does_not_verify_goes_nowhere() {
    let world = World::new().await;
    world.root("root-a").await;
    world.kms.fail(Fault::WrongKey);
    let request = csr(&p256(), "device-1").to_wire();
    let refused = world.sign("root-a", json!({ "csr": request })).await;
    assert_eq!(
        refused.refusal(),
        (
            500,
            "KMS sign operation failed: the signature does not verify"
        )
    );
    assert_eq!(world.count("certificate").await, 1);
    // The engine is not asked again for what it has just failed to do.
    assert_eq!(world.kms.n_wrong_signatures(), 1);
}

#[tokio::test]
async fn a_ca_that_another_process_made_anew_signs_at_once() {
    let world = World::new().await;
    let root = world.root("root-a").await;
    // A CA whose key does not sign, as a key that is gone, is in the cache of this process.
    world.kms.fail(Fault::WrongKey);
    let refused = world.sign("root-a", json!({ "csr": forged() })).await;
    assert_eq!(refused.refusal(), (400, "invalid CSR signature"));
    world.kms.fail(Fault::None);
    let other = world.replica().await;
    let expired = json!({ "status": "EXPIRED" }).to_string();
    let body = root_body("root-a", root["profile_id"].as_str().unwrap()).to_string();
    for (method, path, body, status) in [
        (
            Method::POST,
            "/v1/cas/root-a/status",
            Some(expired),
            StatusCode::CREATED,
        ),
        (Method::DELETE, "/v1/cas/root-a", None, StatusCode::OK),
        (Method::POST, "/v1/cas", Some(body), StatusCode::CREATED),
    ] {
        ask(&other, method, path, body).await.with(status);
    }
    world.issue("root-a", "device-1").await;
}

#[tokio::test]
async fn addresses_come_from_the_domains() {
    let config = CaConfig {
        va_server_domains: vec!["a.example/api/va".to_owned(), "b.example:8080".to_owned()],
        ..CaConfig::default()
    };
    let world = World::with_config(config).await;
    let root = world.root("root-a").await;
    let key_id = root["certificate"]["subject_key_id"].as_str().unwrap();
    let issued = world.issue("root-a", "device-1").await;
    for certificate in [&root["certificate"], &issued] {
        let locations = x509(certificate).extensions().access_locations().unwrap();
        assert_eq!(
            locations.ocsp,
            ["http://a.example/api/va/ocsp", "http://b.example:8080/ocsp"]
        );
        assert_eq!(
            locations.crl,
            [
                format!("http://a.example/api/va/crl/{key_id}"),
                format!("http://b.example:8080/crl/{key_id}"),
            ]
        );
    }
}

/// Profiles that CAs issue under could be deleted once.
#[tokio::test]
async fn a_ca_without_its_default_profile_needs_another_one() {
    let world = World::new().await;
    let root = world.root("root-a").await;
    world.issue("root-a", "device-1").await;
    let profile = root["profile_id"].as_str().unwrap();
    let gone = "DELETE FROM issuance_profile WHERE id = $1";
    world.execute(sql(gone, params![profile])).await;
    let request = csr(&p256(), "device-2").to_wire();
    let refused = world.sign("root-a", json!({ "csr": request })).await;
    let text = format!("issuance profile not found: {profile}");
    assert_eq!(refused.refusal(), (404, text.as_str()));
    let body = root_body("root-b", profile);
    assert_eq!(
        world.post("/v1/cas", body).await.refusal(),
        (404, "issuance profile not found")
    );
}

/// PostgreSQL stores no U+0000 in texts, and one database must not take what the other does not.
#[tokio::test]
async fn a_subject_with_nul_is_refused_whatever_the_profile_does_with_it() {
    let world = World::new().await;
    world.root("root-a").await;
    let subject = SubjectFields {
        organization: "Ac\0me".to_owned(),
        ..SubjectFields::with_common_name("device-1")
    };
    let key = p256();
    let request = signed(
        &key,
        &RequestTemplate::new(subject.to_name(), key.public_key()),
    );
    for profile in [
        json!({ "honor_subject": true }),
        json!({ "subject": { "organization": "Acme" } }),
    ] {
        let body = json!({ "csr": request.to_wire(), "profile": profile });
        let answer = world.sign("root-a", body).await;
        let (status, error) = answer.refusal();
        assert_eq!(status, 400, "{error}");
        assert!(
            error.contains("subject attribute O holds the character U+0000"),
            "{error}"
        );
    }
    assert_eq!(world.count("certificate").await, 1);
}
