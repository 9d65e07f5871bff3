//! Certificates that are made together with their keys.

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};

use crate::kms::Fault;
use crate::support::{World, device_profile, p256, signed, x509};
use lamassu_x509::{GeneralName, Name, RequestTemplate};

fn body(ca: &str) -> Value {
    json!({
        "ca_id": ca,
        "key_spec": { "type": "ECDSA", "bits": 256, "engine_id": "", "key_identifier": "" },
        "subject": { "common_name": "service-1" },
    })
}

#[tokio::test]
async fn a_certificate_comes_with_a_new_key() {
    let world = World::new().await;
    world.root("root-a").await;
    let mut asked = body("root-a");
    asked["metadata"] = json!({ "owner": "team", "tier": 1 });
    let made = world.post("/v1/certificates", asked).await;
    let made = made.with(StatusCode::CREATED);
    assert_eq!(made["type"], "MANAGED");
    assert_eq!(made["engine_id"], "memory-1");
    assert_eq!(made["subject"]["common_name"], "service-1");
    assert_eq!(made["metadata"], json!({ "owner": "team", "tier": 1 }));
    assert_eq!(world.now(&made).await, made);
    let key = x509(&made).public_key().unwrap().key_id_sha256_hex();
    assert_eq!(world.kms.bound(&key).len(), 1);
    assert_eq!(world.count("ca_operation").await, 0);
    let told = world.events().await;
    let kinds: Vec<&str> = told.iter().map(|(kind, _)| kind.as_str()).collect();
    let expected = [
        "ca.sign.certificate",
        "certificate.metadata.update",
        "certificate.metadata.update",
        "certificate.create",
    ];
    assert!(kinds.ends_with(&expected), "{kinds:?}");
    assert_eq!(world.last_event("certificate.create").await["data"], made);
}

#[tokio::test]
async fn one_key_may_have_several_certificates() {
    let world = World::new().await;
    world.root("root-a").await;
    let key = world.kms.hold(p256());
    let mut asked = body("root-a");
    // No key type is called so, and that counts as none.
    for (n, key_type, bits) in [(1, "0", 0), (2, "UNKNOWN", 256), (3, "rsa", 2048)] {
        asked["key_spec"] = json!({ "type": key_type, "bits": bits, "key_identifier": key.key_id });
        let made = world.post("/v1/certificates", asked.clone()).await;
        made.with(StatusCode::CREATED);
        assert_eq!(world.kms.bound(key.key_id.as_str()).len(), n);
    }
    assert_eq!(world.kms.n_keys(), 2);
}

/// A relative name: an attribute below 2.5.4 in a string type.
fn rdn(attribute: u8, string_type: u8, text: &str) -> Vec<u8> {
    let length = |bytes: &[u8]| u8::try_from(bytes.len()).unwrap();
    let mut value = vec![
        6,
        3,
        0x55,
        4,
        attribute,
        string_type,
        length(text.as_bytes()),
    ];
    value.extend(text.bytes());
    let mut pair = vec![0x30, length(&value)];
    pair.extend(value);
    let mut set = vec![0x31, length(&pair)];
    set.extend(pair);
    set
}

fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    let body = parts.concat();
    let mut sequence = vec![0x30, u8::try_from(body.len()).unwrap()];
    sequence.extend(body);
    sequence
}

/// Two units, a serial number and a street are more than the wire's subject has; the request had them in an
/// order and in types of its own.
#[tokio::test]
async fn a_successor_has_the_subject_of_the_certificate_before_it() {
    let world = World::new().await;
    world.root("root-a").await;
    let key = p256();
    let subject = Name::from_der(sequence(&[
        rdn(3, 12, "device-1"),
        rdn(11, 12, "A"),
        rdn(11, 19, "B"),
        rdn(5, 19, "S-1"),
        rdn(9, 12, "Main Street 1"),
    ]))
    .unwrap();
    let csr = signed(&key, &RequestTemplate::new(subject, key.public_key()));
    let body = json!({ "csr": csr.to_wire() });
    let old = world.post("/v1/cas/root-a/certificates/sign", body).await;
    let old = old.with(StatusCode::CREATED);
    let key = world.kms.hold(key);
    let asked = json!({
        "ca_id": "root-a", "key_spec": { "key_identifier": key.key_id },
        "successor_of": old["serial_number"],
    });
    let new = world.post("/v1/certificates", asked.clone()).await;
    let new = new.with(StatusCode::CREATED);
    assert_eq!(x509(&new).subject().as_der(), x509(&old).subject().as_der());
    assert_eq!(x509(&new).spki_der(), x509(&old).spki_der());
    // Of another CA, or of nobody.
    world.root("root-b").await;
    for (member, value) in [
        ("ca_id", "root-b"),
        ("successor_of", "00ff"),
        ("successor_of", "x"),
    ] {
        let mut refused = asked.clone();
        refused[member] = json!(value);
        let refused = world.post("/v1/certificates", refused).await;
        assert_eq!(refused.refusal(), (404, "certificate not found"), "{value}");
    }
}

#[tokio::test]
async fn a_profile_that_is_sent_along_imposes_its_usages() {
    let world = World::new().await;
    world.root("root-a").await;
    let mut profile = device_profile();
    profile["honor_key_usage"] = json!(true);
    profile["honor_extended_key_usages"] = json!(true);
    profile["validity"]["duration"] = json!("3h");
    let mut asked = body("root-a");
    asked["issuance_profile"] = profile;
    let made = world.post("/v1/certificates", asked).await;
    let made = made.with(StatusCode::CREATED);
    assert_eq!(
        made["extensions"],
        json!({ "key_usage": ["DigitalSignature"], "extended_key_usage": ["ClientAuth"] })
    );
    assert_eq!(made["valid_to"], "2026-03-02T12:15:27Z");
}

#[tokio::test]
async fn refusals_have_the_texts_of_the_wire_and_leave_no_key() {
    let world = World::new().await;
    world.root("root-a").await;
    let spec = "invalid key spec: exactly one of (Type+Bits) or KeyIdentifier must be provided";
    let unknown_key = json!({ "key_identifier": "x" });
    let cases = [
        ("ca_id", json!(""), 400, "struct validation error"),
        ("ca_id", json!("nobody"), 404, "CA not found"),
        ("key_spec", json!({}), 400, spec),
        ("key_spec", json!({ "type": "RSA" }), 400, spec),
        ("key_spec", json!({ "bits": 256 }), 400, spec),
        (
            "key_spec",
            json!({ "type": "UNKNOWN", "bits": 256 }),
            400,
            spec,
        ),
        (
            "key_spec",
            json!({ "type": "RSA", "bits": 2048, "key_identifier": "x" }),
            400,
            spec,
        ),
        ("key_spec", unknown_key, 404, "key not found"),
        (
            "issuance_profile_id",
            json!("x"),
            404,
            "issuance profile not found",
        ),
        (
            "metadata",
            json!({ "a": null }),
            400,
            "failed to apply patches to metadata: a member of the metadata has no value",
        ),
    ];
    for (member, value, status, text) in cases {
        let mut asked = body("root-a");
        asked[member] = value;
        let answer = world.post("/v1/certificates", asked).await;
        assert_eq!(answer.refusal(), (status, text), "{member}");
    }
    let expired = json!({ "status": "EXPIRED" });
    world
        .post("/v1/cas/root-a/status", expired)
        .await
        .with(StatusCode::CREATED);
    let answer = world.post("/v1/certificates", body("root-a")).await;
    assert_eq!(answer.refusal(), (400, "CA Status inconsistent"));
    assert_eq!(
        (world.kms.n_keys(), world.count("certificate").await),
        (1, 1)
    );
}

#[tokio::test]
async fn a_key_that_signs_wrongly_is_destroyed() {
    let world = World::new().await;
    world.root("root-a").await;
    world.kms.fail(Fault::WrongKey);
    let answer = world.post("/v1/certificates", body("root-a")).await;
    let (status, text) = answer.refusal();
    assert_eq!(status, 500);
    assert!(text.starts_with("KMS sign operation failed"), "{text}");
    assert_eq!(
        (world.kms.n_keys(), world.count("ca_operation").await),
        (1, 0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_at_once_are_twenty_certificates_and_keys() {
    let world = World::new().await;
    world.root("root-a").await;
    let asked = || world.post("/v1/certificates", body("root-a"));
    for answer in join_all((0..20).map(|_| asked())).await {
        answer.with(StatusCode::CREATED);
    }
    assert_eq!(world.kms.n_keys(), 21);
    assert_eq!(world.count("certificate").await, 21);
    assert_eq!(world.count("ca_operation").await, 0);
}

#[tokio::test]
async fn alternative_names_are_in_it_where_the_profile_honours_them() {
    let world = World::new().await;
    world.root("root-a").await;
    let mut asked = body("root-a");
    asked["alternative_names"] = json!([
        { "type": "DNS", "value": "service-1.example" },
        { "type": "IP", "value": "192.0.2.7" },
    ]);
    for honours in [true, false] {
        let mut profile = device_profile();
        profile["honor_extensions"] = json!(honours);
        asked["issuance_profile"] = profile;
        let made = world.post("/v1/certificates", asked.clone()).await;
        let names = x509(&made.with(StatusCode::CREATED))
            .extensions()
            .subject_alt_names()
            .unwrap();
        let expected = [
            GeneralName::Dns("service-1.example".to_owned()),
            GeneralName::Ip([192, 0, 2, 7].into()),
        ];
        assert_eq!(names, if honours { &expected[..] } else { &[] });
    }
    let n_keys = world.kms.n_keys();
    for (name, text) in [
        (
            json!({ "type": "IP", "value": "host" }),
            "\"host\" is no IP address",
        ),
        (
            json!({ "type": "Other", "value": "00" }),
            "alternative names of type Other are in requests only",
        ),
    ] {
        asked["alternative_names"] = json!([name]);
        let refused = world.post("/v1/certificates", asked.clone()).await;
        assert_eq!(refused.refusal(), (400, text));
    }
    assert_eq!(world.kms.n_keys(), n_keys);
}
