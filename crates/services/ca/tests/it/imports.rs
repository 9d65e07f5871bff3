//! CAs and certificates that were made elsewhere.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::future::join_all;
use http::StatusCode;
use lamassu_crypto::{Curve, KeySpec, PrivateKey};
use lamassu_x509::issue::{CertificateRole, Validity};
use serde_json::{Value, json};
use time::Duration;

use crate::kms::Fault;
use crate::support::{Answer, Foreign, ForeignPlan, World, caller, device_profile, p256, x509};

async fn import(world: &World, id: &str, ca: &Foreign) -> Answer {
    let body = json!({ "id": id, "ca": ca.wire(), "ca_type": "IMPORTED", "ca_chain": null });
    world.post("/v1/cas/import", body).await
}

async fn imported(world: &World, id: &str, ca: &Foreign) -> Value {
    import(world, id, ca).await.with(StatusCode::CREATED)
}

async fn with_key(world: &World, id: &str, ca: &Foreign) -> Answer {
    let body = json!({
        "id": id, "ca": ca.wire(), "private_key": ca.key_wire(), "engine_id": "vault-1",
    });
    world.post("/v1/cas/import", body).await
}

#[tokio::test]
async fn a_ca_without_key_is_shown_as_its_certificate_says() {
    let world = World::new().await;
    let plan = ForeignPlan {
        key: PrivateKey::generate(KeySpec::Ec(Curve::P224)).unwrap(),
        key_identifier: vec![0xab; 36],
        serial: vec![1],
        ..ForeignPlan::root("Foreign Root")
    };
    let root = plan.make();
    let ca = imported(&world, "root-a", &root).await;
    let certificate = &ca["certificate"];
    assert_eq!(ca["serial_number"], "01");
    assert_eq!((&ca["level"], &ca["metadata"]), (&json!(0), &json!({})));
    assert_eq!(certificate["subject_key_id"], json!("ab".repeat(36)));
    assert_eq!(certificate["type"], "IMPORTED_WITHOUT_KEY");
    assert_eq!(certificate["engine_id"], "");
    assert_eq!(certificate["is_ca"], true);
    assert_eq!(
        certificate["key_metadata"],
        json!({ "type": "ECDSA", "bits": 224, "strength": "MEDIUM" })
    );
    assert_eq!(
        certificate["issuer_metadata"],
        json!({ "serial_number": "01", "id": "root-a", "level": 0 })
    );
    assert_eq!(world.ca("root-a").await, ca);
    let event = world.last_event("ca.import").await;
    assert_eq!(
        (&event["subject"], &event["data"]),
        (&json!("ca/root-a"), &ca)
    );
    let record = ("ca.import".to_owned(), "ca/root-a".to_owned());
    assert!(world.audit().await.contains(&record));
    // It has no key to sign with, and may be deleted at any time.
    world.delete("/v1/cas/root-a").await.with(StatusCode::OK);
    assert_eq!(world.now(certificate).await["status"], "REVOKED");
}

#[tokio::test]
async fn a_ca_with_its_key_issues() {
    let world = World::new().await;
    let root = ForeignPlan::root("Foreign Root").make();
    let profile = world.profile(device_profile()).await;
    let body = json!({
        "id": "root-a", "ca": root.wire(), "private_key": root.key_wire(), "profile_id": profile,
    });
    let ca = world
        .post("/v1/cas/import", body)
        .await
        .with(StatusCode::CREATED);
    assert_eq!(ca["certificate"]["type"], "IMPORTED_WITH_KEY");
    assert_eq!(ca["certificate"]["engine_id"], "memory-1");
    let issued = world.issue("root-a", "device-1").await;
    let key = root.certificate.public_key().unwrap();
    assert_eq!(x509(&issued).verify_signed_by(&key), Ok(()));
    assert_eq!(
        issued["authority_key_id"],
        ca["certificate"]["subject_key_id"]
    );
    let key_id = key.key_id_sha256_hex();
    assert_eq!(world.kms.bound(&key_id).len(), 1);
    assert_eq!(world.count("ca_operation").await, 0);
}

#[tokio::test]
async fn an_engine_that_is_not_here_is_passed_over() {
    let world = World::new().await;
    let root = ForeignPlan::root("Foreign Root").make();
    let ca = with_key(&world, "root-a", &root).await;
    let ca = ca.with(StatusCode::CREATED);
    assert_eq!(ca["certificate"]["type"], "IMPORTED_WITH_KEY");
}

#[tokio::test]
async fn a_certificate_for_a_key_of_the_kms_is_managed() {
    let world = World::new().await;
    let key = p256();
    let held = PrivateKey::from_der(&key.to_pkcs8_der().unwrap()).unwrap();
    world.kms.hold(held);
    let plan = ForeignPlan {
        key,
        ..ForeignPlan::root("Foreign Root")
    };
    let ca = imported(&world, "root-a", &plan.make()).await;
    assert_eq!(ca["certificate"]["type"], "MANAGED");
    assert_eq!(ca["certificate"]["engine_id"], "memory-1");
    assert_eq!(world.kms.n_keys(), 1);
}

#[tokio::test]
async fn a_request_ends_with_the_certificate_for_its_key() {
    let world = World::new().await;
    let body = json!({
        "id": "request-1",
        "subject": { "common_name": "Sub" },
        "key_metadata": { "type": "ECDSA", "bits": 256 },
    });
    let request = world.post("/v1/cas/requests", body).await;
    let request = request.with(StatusCode::CREATED);
    let key_id = request["key_id"].as_str().unwrap();
    let root = ForeignPlan::root("Foreign Root").make();
    let plan = ForeignPlan {
        key: world.kms.private(key_id),
        ..ForeignPlan::below("Sub", &root)
    };
    let sub = plan.make();
    let ca = imported(&world, "sub", &sub).await;
    assert_eq!(ca["certificate"]["type"], "MANAGED");
    let request = world.get("/v1/cas/requests/request-1").await;
    let request = request.with(StatusCode::OK);
    assert_eq!(request["status"], "ISSUED");
    let fingerprint = hex::encode(sub.certificate.fingerprint_sha256());
    assert_eq!(request["fingerprint"], json!(fingerprint));
}

#[tokio::test]
async fn a_chain_is_linked_in_any_order() {
    let root = ForeignPlan::root("Root").make();
    let middle = ForeignPlan::below("Middle", &root).make();
    let lower = ForeignPlan::below("Lower", &middle).make();
    let cas = [("root", &root), ("middle", &middle), ("lower", &lower)];
    for order in [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ] {
        let world = World::new().await;
        for index in order {
            let (id, ca) = cas[index];
            imported(&world, id, ca).await;
        }
        let mut levels = Vec::new();
        for (id, issuer) in [("root", "root"), ("middle", "root"), ("lower", "middle")] {
            let ca = world.ca(id).await;
            let shown = &ca["certificate"]["issuer_metadata"];
            assert_eq!(shown["id"], json!(issuer), "{order:?}");
            levels.push((ca["level"].as_i64(), shown["level"].as_i64()));
        }
        assert_eq!(
            levels,
            [(Some(0), Some(0)), (Some(1), Some(0)), (Some(2), Some(1))],
            "{order:?}"
        );
    }
}

#[tokio::test]
async fn a_ca_without_known_issuer_says_so() {
    let world = World::new().await;
    let root = ForeignPlan::root("Root").make();
    let lower = ForeignPlan::below("Lower", &root).make();
    let ca = imported(&world, "lower", &lower).await;
    assert_eq!(
        ca["certificate"]["issuer_metadata"],
        json!({ "serial_number": ca["serial_number"], "id": "-", "level": -1 })
    );
    assert_eq!(ca["level"], 0);
}

#[tokio::test]
async fn two_issuers_may_use_one_serial_number() {
    let world = World::new().await;
    let one = ForeignPlan {
        serial: vec![7],
        ..ForeignPlan::root("One")
    };
    let two = ForeignPlan {
        serial: vec![7],
        ..ForeignPlan::root("Two")
    };
    imported(&world, "one", &one.make()).await;
    imported(&world, "two", &two.make()).await;
    let answer = world.get("/v1/certificates/07").await;
    let (status, text) = answer.refusal();
    let start = "several certificates have this serial number, choose by ca_id: ";
    let mut issuers: Vec<&str> = text.strip_prefix(start).unwrap().split(", ").collect();
    issuers.sort_unstable();
    assert_eq!((status, issuers), (409, vec!["one", "two"]));
    let below = world.get("/v1/cas/two/certificates/07").await;
    assert_eq!(below.with(StatusCode::OK)["subject"]["common_name"], "Two");
}

/// Roots of old all have number 1.
#[tokio::test]
async fn a_serial_number_of_many_issuers_is_found_below_each() {
    let world = World::new().await;
    let ids: Vec<String> = (0..18).map(|number| format!("root-{number:02}")).collect();
    for id in &ids {
        let plan = ForeignPlan {
            serial: vec![1],
            ..ForeignPlan::root(id)
        };
        imported(&world, id, &plan.make()).await;
    }
    for id in &ids {
        let path = format!("/v1/cas/{id}/certificates/01");
        let found = world.get(&path).await.with(StatusCode::OK);
        assert_eq!(found["subject"]["common_name"], json!(id));
    }
}

#[tokio::test]
async fn cross_signed_cas_stand_beside_each_other() {
    let world = World::new().await;
    let one = ForeignPlan::root("One").make();
    let two = ForeignPlan::root("Two").make();
    // Each signed the other's key, so each is above and below the other.
    let again = |key: &PrivateKey| PrivateKey::from_der(&key.to_pkcs8_der().unwrap()).unwrap();
    let one_by_two = ForeignPlan {
        key: again(&one.key),
        serial: vec![21],
        ..ForeignPlan::below("One", &two)
    };
    let two_by_one = ForeignPlan {
        key: again(&two.key),
        serial: vec![12],
        ..ForeignPlan::below("Two", &one)
    };
    imported(&world, "one-by-two", &one_by_two.make()).await;
    imported(&world, "two-by-one", &two_by_one.make()).await;
    imported(&world, "one", &one).await;
    imported(&world, "two", &two).await;
    for id in ["one", "two", "one-by-two", "two-by-one"] {
        let issuer = world.ca(id).await["certificate"]["issuer_metadata"]["id"].clone();
        assert_ne!(issuer, "-", "{id}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_here_keeps_its_row() {
    let world = World::new().await;
    let root = ForeignPlan::root("Root").make();
    imported(&world, "root-a", &root).await;
    assert_eq!(
        import(&world, "root-a", &root).await.refusal(),
        (409, "CA already exists")
    );
    let body = json!({ "status": "REVOKED", "revocation_reason": "CACompromise" });
    world
        .post("/v1/cas/root-a/status", body)
        .await
        .with(StatusCode::CREATED);
    let again = imported(&world, "root-b", &root).await;
    assert_eq!(again["certificate"]["status"], "REVOKED");
    assert_eq!(world.count("certificate").await, 1);
}

#[tokio::test]
async fn an_expired_ca_is_expired_from_the_start() {
    let world = World::new().await;
    let plan = ForeignPlan {
        validity: Validity::Duration(Duration::hours(1)),
        ..ForeignPlan::root("Root")
    };
    let ca = imported(&world, "root-a", &plan.make()).await;
    assert_eq!(ca["certificate"]["status"], "EXPIRED");
}

#[tokio::test]
async fn refused_imports_leave_nothing() {
    let world = World::new().await;
    let root = ForeignPlan::root("Root").make();
    let other = ForeignPlan::root("Other").make();
    let leaf = ForeignPlan {
        role: CertificateRole::EndEntity,
        ..ForeignPlan::below("Leaf", &root)
    };
    let leaf = leaf.make();
    let no_ca = "certificate cannot be imported: it is not a CA certificate";
    let mismatch = "CA and the provided key don't match";
    let unreadable = "tls: failed to parse private key";
    let cases = [
        (json!({}), 400, "struct validation error"),
        (
            json!({ "ca": "!" }),
            400,
            "illegal base64 data at input byte 0",
        ),
        (
            json!({ "ca": root.wire(), "private_key": "aGVsbG8=" }),
            400,
            unreadable,
        ),
        (
            json!({ "ca": root.wire(), "private_key": other.key_wire() }),
            400,
            mismatch,
        ),
        (
            json!({ "ca": root.wire(), "profile_id": "x" }),
            404,
            "issuance profile not found",
        ),
        (json!({ "ca": leaf.wire() }), 400, no_ca),
    ];
    for (body, status, text) in cases {
        let answer = world.post("/v1/cas/import", body).await;
        assert_eq!(answer.refusal(), (status, text));
    }
    world.kms.fail(Fault::CannotImport);
    let answer = with_key(&world, "root-a", &root).await;
    let busy = "could not import key: key generation queue is full";
    assert_eq!(answer.refusal(), (503, busy));
    for table in ["certificate", "certificate_authority", "ca_operation"] {
        assert_eq!(world.count(table).await, 0, "{table}");
    }
    assert_eq!(world.kms.n_keys(), 0);
}

#[tokio::test]
async fn what_go_cannot_read_is_refused_unless_a_setting_says_otherwise() {
    let root = ForeignPlan {
        serial: vec![0x81],
        ..ForeignPlan::root("Root")
    };
    let root = root.make();
    // 02 02 00 81 becomes 02 02 ff 81: negative. The signature does not matter here.
    let der = root.certificate.as_der().to_vec();
    let at = der
        .windows(4)
        .position(|octets| octets == [2, 2, 0, 0x81])
        .unwrap();
    let mut negative = der;
    negative[at + 2] = 0xff;
    let wire = lamassu_core::pem::CertificateDer::from_der(negative).to_wire();
    let world = World::new().await;
    let body = json!({ "certificate": wire });
    let answer = world.post("/v1/certificates/import", body.clone()).await;
    let (status, text) = answer.refusal();
    assert_eq!(status, 400);
    assert!(text.contains("negative serial number"), "{text}");
    assert!(text.contains("accept_unreadable_by_go"), "{text}");
    let config = lamassu_ca::CaConfig {
        accept_unreadable_by_go: true,
        ..lamassu_ca::CaConfig::default()
    };
    let world = World::with_config(config).await;
    world
        .post("/v1/certificates/import", body)
        .await
        .with(StatusCode::CREATED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_twenty_imports_wins_and_no_other_key_stays() {
    let world = World::new().await;
    let root = ForeignPlan::root("Root").make();
    let answers = join_all((0..20).map(|_| with_key(&world, "root-a", &root))).await;
    let n_created = answers
        .iter()
        .filter(|answer| answer.status == StatusCode::CREATED)
        .count();
    assert_eq!(n_created, 1);
    for answer in &answers {
        if answer.status != StatusCode::CREATED {
            assert_eq!(answer.refusal(), (409, "CA already exists"));
        }
    }
    assert_eq!(world.count("certificate_authority").await, 1);
    assert_eq!(world.count("ca_operation").await, 0);
}

fn end_entity<'a>(name: &'a str, issuer: &'a Foreign) -> ForeignPlan<'a> {
    ForeignPlan {
        role: CertificateRole::EndEntity,
        ..ForeignPlan::below(name, issuer)
    }
}

#[tokio::test]
async fn a_certificate_finds_its_issuer_before_and_after() {
    let world = World::new().await;
    let root = ForeignPlan::root("Root").make();
    let early = end_entity("device-1", &root).make();
    let late = end_entity("device-2", &root).make();
    let import = async |certificate: &Foreign| {
        let body = json!({ "certificate": certificate.wire(), "metadata": { "a": 1 } });
        let answer = world.post("/v1/certificates/import", body).await;
        answer.with(StatusCode::CREATED)
    };
    let orphan = import(&early).await;
    assert_eq!(orphan["type"], "IMPORTED_WITHOUT_KEY");
    assert_eq!(orphan["metadata"], json!({ "a": 1 }));
    let unknown = json!({ "serial_number": "-", "id": "-", "level": -1 });
    assert_eq!(orphan["issuer_metadata"], unknown);
    let ca = imported(&world, "root-a", &root).await;
    let known = json!({ "serial_number": ca["serial_number"], "id": "root-a", "level": 0 });
    assert_eq!(world.now(&orphan).await["issuer_metadata"], known);
    let found = import(&late).await;
    assert_eq!(found["issuer_metadata"], known);
    assert_eq!(
        found["authority_key_id"],
        ca["certificate"]["subject_key_id"]
    );
    assert_eq!(world.open_cascades().await, 0);
    let job = world.service.cascades_job();
    job.run(&caller(), world.db.now()).await.unwrap();
    let event = world.last_event("certificate.import").await;
    let serial = found["serial_number"].as_str().unwrap();
    let decimal = u128::from_str_radix(serial, 16).unwrap();
    assert_eq!(event["subject"], format!("certificate/{decimal}"));
    let record = (
        "ca.certificate.import".to_owned(),
        format!("certificate/{serial}"),
    );
    assert!(world.audit().await.contains(&record));
    let body = json!({ "certificate": late.wire() });
    assert_eq!(
        world.post("/v1/certificates/import", body).await.refusal(),
        (409, "certificate already exists")
    );
}

#[tokio::test]
async fn an_expired_certificate_is_expired_from_the_start() {
    let world = World::new().await;
    let root = ForeignPlan::root("Root").make();
    let plan = ForeignPlan {
        validity: Validity::Duration(Duration::hours(1)),
        ..end_entity("device-1", &root)
    };
    let body = json!({ "certificate": plan.make().wire() });
    let answer = world.post("/v1/certificates/import", body).await;
    let certificate = answer.with(StatusCode::CREATED);
    assert_eq!(certificate["status"], "EXPIRED");
    assert_eq!(certificate["metadata"], Value::Null);
}

#[tokio::test]
async fn serial_numbers_of_others_may_be_longer_than_ours() {
    let world = World::new().await;
    // Made with openssl, which takes any.
    for (n_octets, taken, pem) in [
        (21, true, include_str!("testdata/serial-21-octets.pem")),
        (64, true, include_str!("testdata/serial-64-octets.pem")),
        (65, false, include_str!("testdata/serial-65-octets.pem")),
    ] {
        let body = json!({ "certificate": BASE64.encode(pem) });
        let answer = world.post("/v1/certificates/import", body).await;
        if taken {
            let imported = answer.with(StatusCode::CREATED);
            let serial = imported["serial_number"].as_str().unwrap();
            assert_eq!(serial.replace('-', "").len(), 2 * n_octets);
            let path = format!("/v1/certificates/{serial}");
            assert_eq!(world.get(&path).await.with(StatusCode::OK), imported);
        } else {
            let text = "certificate cannot be imported: its serial number is longer than 64 octets";
            assert_eq!(answer.refusal(), (400, text));
        }
    }
}
