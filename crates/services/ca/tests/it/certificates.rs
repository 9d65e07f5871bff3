use http::StatusCode;
use lamassu_ca::OthersRunning;
use lamassu_core::ca::{CaError, CertificateRef, CertificateStatus};
use lamassu_core::ids::SerialNumber;
use lamassu_core::usage::RevocationReason;
use lamassu_crypto::HashAlgorithm;
use lamassu_db::{WriteSet, params, sql};
use lamassu_x509::issue::CertificateRole;
use lamassu_x509::{GeneralName, RequestTemplate, SubjectFields};
use serde_json::{Value, json};

use crate::support::{ForeignPlan, World, caller, p256, signed, x509};

fn common_names(page: &Value) -> Vec<&str> {
    let list = page["list"].as_array().unwrap().iter();
    list.map(|item| item["subject"]["common_name"].as_str().unwrap())
        .collect()
}

/// Three devices below root-a (one revoked, one expired), one below root-b.
async fn fleet(world: &World) {
    world.root("root-a").await;
    world.root("root-b").await;
    for (ca, name, status) in [
        ("root-a", "active", "ACTIVE"),
        ("root-a", "revoked", "REVOKED"),
        ("root-a", "expired", "EXPIRED"),
        ("root-b", "other", "ACTIVE"),
    ] {
        world.clock.advance(time::Duration::seconds(1));
        let issued = world.issue(ca, name).await;
        let serial = issued["serial_number"].as_str().unwrap();
        let path = format!("/v1/certificates/{serial}/status");
        world
            .put(&path, json!({ "status": status }))
            .await
            .with(StatusCode::OK);
    }
}

#[tokio::test]
async fn lists_are_restricted_by_their_paths() {
    let world = World::new().await;
    fleet(&world).await;
    let cases: [(&str, &[&str]); 10] = [
        (
            "/v1/certificates",
            &["root-a", "root-b", "active", "revoked", "expired", "other"],
        ),
        (
            "/v1/cas/root-a/certificates",
            &["root-a", "active", "revoked", "expired"],
        ),
        (
            "/v1/cas/root-a/certificates/status/ACTIVE",
            &["root-a", "active"],
        ),
        ("/v1/cas/nobody/certificates/status/ACTIVE", &[]),
        ("/v1/certificates/status/REVOKED", &["revoked"]),
        ("/v1/certificates/status/NONSENSE", &[]),
        (
            "/v1/certificates/expiration?expires_after=2026-03-02T00:00:00Z",
            &[],
        ),
        (
            "/v1/certificates/expiration?expires_before=2026-03-02T21:15:30Z",
            &["active"],
        ),
        (
            "/v1/certificates?filter=subject.common_name[contains]e&filter=status[ne]REVOKED",
            &["active", "expired", "other"],
        ),
        (
            "/v1/certificates?filter=is_ca[equal]true&sort_by=subject.common_name&sort_mode=desc",
            &["root-b", "root-a"],
        ),
    ];
    for (path, expected) in cases {
        let page = world.get(path).await.with(StatusCode::OK);
        let mut found = common_names(&page);
        let mut expected = expected.to_vec();
        if !path.contains("sort_by") {
            found.sort_unstable();
            expected.sort_unstable();
        }
        assert_eq!(found, expected, "{path}");
    }
}

#[tokio::test]
async fn usages_are_filtered_by_membership() {
    let world = World::new().await;
    fleet(&world).await;
    let path = "/v1/certificates?filter=extensions.key_usage[contains]CRLSign";
    let page = world.get(path).await.with(StatusCode::OK);
    assert_eq!(common_names(&page).len(), 2);
}

#[tokio::test]
async fn pages_follow_each_other_in_order_of_creation() {
    let world = World::new().await;
    fleet(&world).await;
    let path = "/v1/cas/root-a/certificates";
    let first = world
        .get(&format!("{path}?page_size=3"))
        .await
        .with(StatusCode::OK);
    assert_eq!(common_names(&first), ["root-a", "active", "revoked"]);
    let next = first["next"].as_str().unwrap();
    let second = world
        .get(&format!("{path}?bookmark={next}"))
        .await
        .with(StatusCode::OK);
    assert_eq!(common_names(&second), ["expired"]);
    assert_eq!(second["next"], "");
}

#[tokio::test]
async fn unknown_things_are_refused() {
    let world = World::new().await;
    world.root("root-a").await;
    let not_found = "certificate not found";
    let cases = [
        ("/v1/certificates/abcd", 404, not_found),
        ("/v1/certificates/no-serial", 404, not_found),
        ("/v1/cas/root-a/certificates/abcd", 404, not_found),
        ("/v1/cas/nobody/certificates", 404, "CA not found"),
        (
            "/v1/certificates/expiration?expires_after=yesterday",
            400,
            "invalid value for field 'expires_after': not an RFC 3339 time",
        ),
    ];
    for (path, status, text) in cases {
        assert_eq!(world.get(path).await.refusal(), (status, text), "{path}");
    }
}

#[tokio::test]
async fn serial_numbers_are_read_as_people_write_them() {
    let world = World::new().await;
    let root = world.root("root-a").await;
    let serial = root["serial_number"].as_str().unwrap().to_uppercase();
    let octets = hex::decode(&serial).unwrap();
    let spelt = |separator: &str| {
        let digits: Vec<String> = octets.iter().map(|octet| format!("{octet:02X}")).collect();
        digits.join(separator)
    };
    for written in [
        serial.clone(),
        spelt(":"),
        spelt("-"),
        format!("00{serial}"),
    ] {
        let found = world.get(&format!("/v1/certificates/{written}")).await;
        assert_eq!(found.with(StatusCode::OK), root["certificate"]);
    }
    // The CA in the path comes first, but need not be the issuer.
    let path = format!("/v1/cas/nobody/certificates/{serial}");
    assert_eq!(
        world.get(&path).await.with(StatusCode::OK),
        root["certificate"]
    );
}

/// Another issuer's certificate with the same serial number.
pub(crate) async fn duplicate(world: &World, serial: &str) {
    const COPIED: &str = "serial_number, revision, created_at, der, status, certificate_type, \
        engine_id, metadata, is_ca, subject_common_name, subject_common_name_folded, \
        subject_key_id, authority_key_id, key_type, key_bits, key_strength, key_usage, \
        extended_key_usage, valid_from, valid_to, issuer_serial_number, issuer_level, \
        revocation_timestamp, revocation_reason, next_due, expired_by_job";
    let mut set = WriteSet::new();
    set.execute(sql(
        format!(
            "INSERT INTO certificate (id, issuer_ca_id, {COPIED}) \
             SELECT 'copy', 'root-b', {COPIED} FROM certificate WHERE serial_number = $1"
        ),
        params![serial],
    ));
    world.db.commit(set).await.unwrap();
}

#[tokio::test]
async fn a_serial_number_of_two_issuers_is_ambiguous_but_below_one_of_them() {
    let world = World::new().await;
    world.root("root-a").await;
    let issued = world.issue("root-a", "device-1").await;
    let serial = issued["serial_number"].as_str().unwrap();
    duplicate(&world, serial).await;
    let text = "several certificates have this serial number, choose by ca_id: ";
    let refused = world.get(&format!("/v1/certificates/{serial}")).await;
    let (status, told) = refused.refusal();
    assert_eq!(status, 409);
    let mut issuers: Vec<&str> = told.strip_prefix(text).unwrap().split(", ").collect();
    issuers.sort_unstable();
    assert_eq!(issuers, ["root-a", "root-b"]);
    let revoke = json!({ "status": "REVOKED" });
    let refused = world
        .put(&format!("/v1/certificates/{serial}/status"), revoke)
        .await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    for ca in ["root-a", "root-b"] {
        let path = format!("/v1/cas/{ca}/certificates/{serial}");
        let found = world.get(&path).await.with(StatusCode::OK);
        assert_eq!(found["issuer_metadata"]["id"], ca);
    }
    let other = world
        .get(&format!("/v1/cas/root-c/certificates/{serial}"))
        .await;
    assert_eq!(other.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn a_ca_named_beside_the_serial_number_chooses_the_certificate() {
    let world = World::new().await;
    world.root("root-a").await;
    let issued = world.issue("root-a", "device-1").await;
    let serial = issued["serial_number"].as_str().unwrap();
    duplicate(&world, serial).await;
    let one = |below: &str, ca: &str| format!("/v1/certificates/{serial}{below}?ca_id={ca}");
    for ca in ["root-a", "root-b"] {
        let found = world.get(&one("", ca)).await.with(StatusCode::OK);
        assert_eq!(found["issuer_metadata"]["id"], ca);
        let file = world.get(&one("/download", ca)).await;
        assert_eq!(file.status, StatusCode::OK);
    }
    // Also where the serial number alone would say which.
    for (path, ca) in [
        (one("", "root-c"), "root-c"),
        (one("/download", "root-c"), ""),
    ] {
        let refused = world.get(&path).await;
        assert_eq!(refused.refusal(), (404, "certificate not found"), "{ca}");
    }
    let patches = json!({ "patches": [{ "op": "add", "path": "/site", "value": "north" }] });
    let patched = world.put(&one("/metadata", "root-b"), patches).await;
    assert_eq!(
        patched.with(StatusCode::OK)["issuer_metadata"]["id"],
        "root-b"
    );
    let revoke = json!({ "status": "REVOKED", "revocation_reason": "KeyCompromise" });
    let revoked = world.put(&one("/status", "root-b"), revoke.clone()).await;
    assert_eq!(revoked.with(StatusCode::OK)["status"], "REVOKED");
    let other = world.get(&one("", "root-a")).await.with(StatusCode::OK);
    assert_eq!(
        (&other["status"], &other["metadata"]),
        (&json!("ACTIVE"), &issued["metadata"])
    );
    let absent = world.put(&one("/status", "root-c"), revoke).await;
    assert_eq!(absent.refusal(), (404, "certificate not found"));
    let kept = world.delete(&one("", "root-a")).await;
    assert_eq!(
        kept.refusal(),
        (400, "cannot delete certificate: issuer CA still exists")
    );
    // There is no CA `root-b`.
    let deleted = world.delete(&one("", "root-b")).await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    let left = world.get(&format!("/v1/certificates/{serial}")).await;
    assert_eq!(left.with(StatusCode::OK)["issuer_metadata"]["id"], "root-a");
}

/// What the client of another process asks for, too.
#[tokio::test]
async fn the_chain_of_the_certificate_of_a_named_ca_is_its_own() {
    let world = World::new().await;
    world.root("root-a").await;
    let issued = world.issue("root-a", "device-1").await;
    let serial: SerialNumber =
        SerialNumber::parse(issued["serial_number"].as_str().unwrap()).unwrap();
    duplicate(&world, serial.as_str()).await;
    for (ca, length) in [("root-a", 2), ("root-b", 1)] {
        let named = CertificateRef::of_ca(serial.clone(), ca.into());
        let chain = world.reached.certificate_chain(&caller(), &named).await;
        assert_eq!(chain.unwrap().len(), length, "{ca}");
        let found = world.reached.certificate_named(&caller(), &named).await;
        assert_eq!(found.unwrap().issuer_metadata.id.as_str(), ca);
    }
    let unnamed = world
        .reached
        .certificate_chain(&caller(), &(&serial).into())
        .await;
    assert!(
        matches!(unnamed, Err(CaError::AmbiguousSerial(_))),
        "{unnamed:?}"
    );
}

#[tokio::test]
async fn the_validation_authority_reads_what_is_revoked() {
    let world = World::new().await;
    fleet(&world).await;
    let service = &world.reached;
    let ca = "root-a".into();
    let revoked = service
        .revoked_certificates(&caller(), &ca, None, 10)
        .await
        .unwrap();
    let [entry] = revoked.as_slice() else {
        panic!("{revoked:?}")
    };
    assert_eq!(entry.revocation_reason, RevocationReason::Unspecified);
    let behind = service
        .revoked_certificates(&caller(), &ca, Some(&entry.serial_number), 10)
        .await;
    assert_eq!(behind.unwrap(), []);
    let status = service
        .certificate_status(&caller(), &ca, &entry.serial_number)
        .await
        .unwrap();
    let status = status.unwrap();
    assert_eq!(status.status, CertificateStatus::Revoked);
    assert_eq!(status.revocation_timestamp, entry.revocation_timestamp);
    assert_eq!(status.valid_to, entry.valid_to);
    let other = "root-b".into();
    let elsewhere = service
        .certificate_status(&caller(), &other, &entry.serial_number)
        .await;
    assert_eq!(elsewhere.unwrap(), None);
    let nothing = SerialNumber::from_bytes(&[1]);
    assert_eq!(
        service
            .certificate_status(&caller(), &ca, &nothing)
            .await
            .unwrap(),
        None
    );
}

#[tokio::test]
async fn authorities_are_read_in_pages_by_id() {
    let world = World::new().await;
    for id in ["root-c", "root-a", "root-b"] {
        world.root(id).await;
    }
    let first = world.reached.authorities(&caller(), None, 2).await.unwrap();
    let ids: Vec<&str> = first.iter().map(|ca| ca.id.as_str()).collect();
    assert_eq!(ids, ["root-a", "root-b"]);
    let rest = world
        .reached
        .authorities(&caller(), first.last().map(|ca| &ca.id), 2)
        .await;
    assert_eq!(
        rest.unwrap()
            .iter()
            .map(|ca| ca.id.as_str())
            .collect::<Vec<_>>(),
        ["root-c"]
    );
}

/// An empty page would be the last one.
#[tokio::test]
async fn behind_authorities_that_cannot_be_read_come_the_others() {
    let world = World::new().await;
    for id in ["root-a", "root-b"] {
        let root = world.root(id).await;
        world.spoil(&root["certificate"]).await;
    }
    world.root("root-c").await;
    let found = world.reached.authorities(&caller(), None, 1).await.unwrap();
    let ids: Vec<&str> = found.iter().map(|ca| ca.id.as_str()).collect();
    assert_eq!(ids, ["root-c"]);
}

/// The serial numbers of the certificates that a filter lets through.
async fn found(world: &World, filter: &str) -> Vec<Value> {
    let page = world
        .get(&format!("/v1/certificates?filter={filter}"))
        .await;
    let page = page.with(StatusCode::OK);
    let list = page["list"].as_array().unwrap().iter();
    list.map(|row| row["serial_number"].clone()).collect()
}

/// A certificate with three alternative names.
async fn issue_with_names(world: &World) -> Value {
    let key = p256();
    let subject = SubjectFields::with_common_name("device-1").to_name();
    let template = RequestTemplate::new(subject, key.public_key()).with_subject_alt_names(&[
        GeneralName::Dns("Device-1.example".to_owned()),
        GeneralName::Uri("urn:dev:ops:1".to_owned()),
        GeneralName::Ip([192, 0, 2, 7].into()),
    ]);
    let body = json!({ "csr": signed(&key, &template).to_wire() });
    world.sign("root-a", body).await.with(StatusCode::CREATED)
}

#[tokio::test]
async fn certificates_are_found_by_fingerprint_and_alternative_name() {
    let world = World::new().await;
    world.root("root-a").await;
    world.issue("root-a", "other").await;
    let issued = issue_with_names(&world).await;
    let digest = HashAlgorithm::Sha256.digest(x509(&issued).as_der());
    let fingerprint = hex::encode(digest);
    let upper = fingerprint.to_uppercase();
    let it = [issued["serial_number"].clone()];
    for filter in [
        format!("fingerprint[equal]{fingerprint}"),
        format!("fingerprint[equal_ignorecase]{upper}"),
        "san[contains]Device-1.example".to_owned(),
        "san[contains_ignorecase]device-1.EXAMPLE".to_owned(),
        "san[contains]urn:dev:ops:1".to_owned(),
        "san[contains]192.0.2.7".to_owned(),
    ] {
        assert_eq!(found(&world, &filter).await, it, "{filter}");
    }
    for filter in ["san[contains]Device-1", "san[contains]device-1.example"] {
        assert_eq!(found(&world, filter).await, [Value::Null; 0], "{filter}");
    }
}

#[tokio::test]
async fn what_was_stored_before_there_was_an_index_is_found_as_well() {
    let world = World::new().await;
    world.root("root-a").await;
    let issued = issue_with_names(&world).await;
    for _ in 0..600 {
        world.issue("root-a", "other").await;
    }
    let before = "san[contains]192.0.2.7";
    // As the tables were before.
    let mut set = WriteSet::new();
    set.execute(sql("UPDATE certificate SET fingerprint = NULL", params![]));
    set.execute(sql("DELETE FROM certificate_san", params![]));
    world.db.commit(set).await.unwrap();
    assert_eq!(found(&world, before).await, [Value::Null; 0]);
    world.started(OthersRunning::No).await;
    assert_eq!(
        found(&world, before).await,
        [issued["serial_number"].clone()]
    );
    let left = world.count("certificate WHERE fingerprint IS NULL").await;
    assert_eq!(left, 0);
}

/// Of two makers, each with number 7, whose CAs are not here.
#[tokio::test]
async fn a_fingerprint_tells_certificates_of_unknown_issuers_apart() {
    let world = World::new().await;
    for name in ["One", "Two"] {
        let root = ForeignPlan::root(name).make();
        let plan = ForeignPlan {
            serial: vec![7],
            role: CertificateRole::EndEntity,
            ..ForeignPlan::below("device", &root)
        };
        let body = json!({ "certificate": plan.make().wire(), "metadata": {} });
        world
            .post("/v1/certificates/import", body)
            .await
            .with(StatusCode::CREATED);
    }
    let refused = world.get("/v1/certificates/07?ca_id=-").await;
    let (status, text) = refused.refusal();
    let text = text.strip_prefix("several certificates have this serial number, choose by ca_id: ");
    let choices: Vec<(&str, &str)> = text
        .unwrap()
        .split("), ")
        .map(|choice| {
            choice
                .strip_prefix("- (")
                .unwrap()
                .split_once(", fingerprint=")
                .unwrap()
        })
        .collect();
    assert_eq!((status, choices.len()), (409, 2), "{choices:?}");
    for (name, fingerprint) in choices {
        let hex = fingerprint.trim_end_matches(')');
        let spelt = hex
            .to_uppercase()
            .as_bytes()
            .chunks(2)
            .map(String::from_utf8_lossy)
            .collect::<Vec<_>>()
            .join(":");
        for path in [
            format!("/v1/certificates/07?ca_id=-&fingerprint={hex}"),
            format!("/v1/certificates/07?fingerprint={spelt}"),
        ] {
            let found = world.get(&path).await.with(StatusCode::OK);
            assert_eq!(found["issuer"]["common_name"], name);
        }
        let named = CertificateRef {
            fingerprint: Some(hex.to_owned()),
            ..SerialNumber::parse("07").unwrap().into()
        };
        let found = world
            .reached
            .certificate_named(&caller(), &named)
            .await
            .unwrap();
        assert_eq!(found.issuer.common_name, name);
    }
    let absent = world.get("/v1/certificates/07?fingerprint=00ff").await;
    assert_eq!(absent.refusal(), (404, "certificate not found"));
    let body = json!({ "status": "REVOKED" });
    let path = "/v1/certificates/07/status?fingerprint=";
    let refused = world.put(path, body).await;
    assert_eq!(
        refused.status,
        StatusCode::CONFLICT,
        "an empty one names none"
    );
}

#[tokio::test]
async fn a_fingerprint_finds_its_certificate_among_very_many_with_one_serial_number() {
    let world = World::new().await;
    let mut fingerprints = Vec::new();
    for n in 0..20 {
        let name = format!("Foreign {n}");
        let plan = ForeignPlan {
            serial: vec![1],
            ..ForeignPlan::root(&name)
        };
        let foreign = plan.make();
        let body = json!({ "certificate": foreign.wire() });
        let answer = world.post("/v1/certificates/import", body).await;
        answer.with(StatusCode::CREATED);
        fingerprints.push((hex::encode(foreign.certificate.fingerprint_sha256()), name));
    }
    for query in ["", "&ca_id=-"] {
        for (fingerprint, name) in &fingerprints {
            let path = format!("/v1/certificates/01?fingerprint={fingerprint}{query}");
            let found = world.get(&path).await.with(StatusCode::OK);
            assert_eq!(found["subject"]["common_name"], json!(name));
        }
    }
}
