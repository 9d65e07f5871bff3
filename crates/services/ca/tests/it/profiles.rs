use http::StatusCode;
use lamassu_ca::{CaConfig, LintSeverity};
use lamassu_x509::{GeneralName, RequestTemplate, SubjectFields, oids};
use serde_json::{Value, json};

use crate::support::{World, csr, device_profile, p256, root_body, signed, x509};

#[tokio::test]
async fn a_profile_is_stored_as_it_is_shown() {
    let world = World::new().await;
    let created = world
        .post(
            "/v1/profiles",
            json!({ "id": "mine", "name": "Empty", "extended_key_usages": null }),
        )
        .await
        .with(StatusCode::CREATED);
    let id = created["id"].as_str().unwrap();
    assert_ne!(id, "mine");
    let expected = json!({
        "id": id, "name": "Empty", "description": "",
        "validity": { "type": "", "time": "0001-01-01T00:00:00Z" },
        "sign_as_ca": false,
        "honor_key_usage": false, "key_usage": [],
        "honor_extended_key_usages": false, "extended_key_usages": [],
        "honor_subject": false,
        "subject": {
            "common_name": "", "organization": "", "organization_unit": "",
            "country": "", "state": "", "locality": "",
        },
        "honor_extensions": false,
        "crypto_enforcement": {
            "enabled": false,
            "allow_rsa_keys": false, "allowed_rsa_key_sizes": null,
            "allow_ecdsa_keys": false, "allowed_ecdsa_key_sizes": null,
        },
    });
    assert_eq!(created, expected);
    assert_eq!(
        world
            .get(&format!("/v1/profiles/{id}"))
            .await
            .with(StatusCode::OK),
        expected
    );
}

#[tokio::test]
async fn an_update_replaces_all_but_what_older_clients_do_not_know() {
    let world = World::new().await;
    let mut profile = device_profile();
    profile["crypto_enforcement"] =
        json!({ "enabled": true, "allow_ed25519_keys": true, "allow_mldsa_keys": true });
    let id = world.profile(profile).await;
    let path = format!("/v1/profiles/{id}");
    let body = json!({
        "id": "other", "name": "Renamed", "extended_key_usages": null,
        "crypto_enforcement": { "enabled": true, "allow_mldsa_keys": null },
    });
    let updated = world.put(&path, body).await.with(StatusCode::OK);
    assert_eq!(updated["id"], json!(id));
    assert_eq!(updated["name"], "Renamed");
    assert_eq!(updated["honor_subject"], false);
    assert_eq!(updated["extended_key_usages"], json!([]));
    assert_eq!(updated["crypto_enforcement"]["allow_ed25519_keys"], true);
    assert_eq!(updated["crypto_enforcement"].get("allow_mldsa_keys"), None);
    assert_eq!(world.get(&path).await.with(StatusCode::OK), updated);
}

#[tokio::test]
async fn unknown_profiles_are_not_found() {
    let world = World::new().await;
    let expected = (404, "issuance profile not found");
    assert_eq!(world.get("/v1/profiles/x").await.refusal(), expected);
    assert_eq!(
        world.put("/v1/profiles/x", json!({})).await.refusal(),
        expected
    );
    assert_eq!(world.delete("/v1/profiles/x").await.refusal(), expected);
    assert_eq!(world.count("issuance_profile").await, 0);
}

#[tokio::test]
async fn a_profile_that_a_ca_issues_under_stays() {
    let world = World::new().await;
    let root = world.root("root-b").await;
    world.sub(&root, "root-a").await;
    let used = root["profile_id"].as_str().unwrap();
    let path = format!("/v1/profiles/{used}");
    assert_eq!(
        world.delete(&path).await.refusal(),
        (409, "issuance profile is in use by CAs: root-a, root-b")
    );
    let body = json!({ "profile_id": world.profile(device_profile()).await });
    for ca in ["root-a", "root-b"] {
        let path = format!("/v1/cas/{ca}/profile");
        world.post(&path, body.clone()).await.with(StatusCode::OK);
    }
    world.delete(&path).await.with(StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn cas_that_are_ended_for_good_keep_no_profile() {
    let world = World::new().await;
    let root = world.root("root-a").await;
    for id in ["held", "expired", "revoked"] {
        world.sub(&root, id).await;
    }
    let used = root["profile_id"].as_str().unwrap();
    let path = format!("/v1/profiles/{used}");
    let set = async |id: &str, status: &str, reason: &str| {
        let body = json!({ "status": status, "revocation_reason": reason });
        let answer = world.post(&format!("/v1/cas/{id}/status"), body).await;
        answer.with(StatusCode::CREATED);
    };
    set("held", "REVOKED", "CertificateHold").await;
    set("expired", "EXPIRED", "Unspecified").await;
    set("revoked", "REVOKED", "Superseded").await;
    assert_eq!(
        world.delete(&path).await.refusal(),
        (409, "issuance profile is in use by CAs: held, root-a")
    );
    // With the root, all end.
    set("root-a", "REVOKED", "CACompromise").await;
    world.delete(&path).await.with(StatusCode::NO_CONTENT);
    assert_eq!(world.ca("root-a").await["profile_id"], used);
}

#[tokio::test]
async fn malformed_profiles_have_the_texts_of_the_wire() {
    let world = World::new().await;
    let cases = [
        (
            json!({ "key_usage": ["certsign"] }),
            "unknown key usage: certsign; there are DigitalSignature, ContentCommitment, KeyEncipherment, \
             DataEncipherment, KeyAgreement, CertSign, CRLSign, EncipherOnly, DecipherOnly",
        ),
        (json!({ "key_usage": 7 }), "invalid format"),
        (
            json!({ "extended_key_usages": ["Nothing"] }),
            "unsupported ext key usage: Nothing; there are Any, ServerAuth, ClientAuth, CodeSigning, \
             EmailProtection, IPSECEndSystem, IPSECTunnel, IPSECUser, TimeStamping, OCSPSigning, \
             MicrosoftServerGatedCrypto, NetscapeServerGatedCrypto, MicrosoftCommercialCodeSigning, \
             MicrosoftKernelCodeSigning",
        ),
        (
            json!({ "validity": { "type": "Duration", "duration": "5x" } }),
            "time: unknown unit \"x\" in duration \"5x\"",
        ),
        (
            json!({ "validity": { "type": "Duration", "duration": "-1h" } }),
            "struct validation error",
        ),
    ];
    for (body, text) in cases {
        assert_eq!(
            world.post("/v1/profiles", body).await.refusal(),
            (400, text)
        );
    }
}

#[tokio::test]
async fn every_change_is_told_and_recorded() {
    let world = World::new().await;
    let id = world.profile(device_profile()).await;
    let path = format!("/v1/profiles/{id}");
    world
        .put(&path, json!({ "name": "B" }))
        .await
        .with(StatusCode::OK);
    let change = world.last_event("profile.issuance.update").await;
    assert_eq!(change["data"]["previous"]["name"], "Devices");
    assert_eq!(change["data"]["updated"]["name"], "B");
    world.delete(&path).await.with(StatusCode::NO_CONTENT);
    let removed = world.last_event("profile.issuance.delete").await;
    assert_eq!(removed["data"], json!({ "ProfileID": id }));
    assert_eq!(
        removed["source"],
        "source://lamassu.io/ctx/source/service/ca"
    );
    let subject = format!("profile/{id}");
    let told: Vec<(String, String)> = [
        "profile.issuance.create",
        "profile.issuance.update",
        "profile.issuance.delete",
    ]
    .map(|kind| (kind.to_owned(), subject.clone()))
    .into();
    assert_eq!(world.events().await, told);
    assert_eq!(world.audit().await, told);
}

#[tokio::test]
async fn lists_are_filtered_sorted_and_paged() {
    let world = World::new().await;
    for name in ["b", "C", "a"] {
        world.profile(json!({ "name": name })).await;
    }
    let names = |page: &Value| -> Vec<String> {
        let list = page["list"].as_array().unwrap().iter();
        list.map(|profile| profile["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let first = world
        .get("/v1/profiles?sort_by=name&page_size=2")
        .await
        .with(StatusCode::OK);
    assert_eq!(names(&first), ["a", "b"]);
    let next = first["next"].as_str().unwrap();
    let second = world
        .get(&format!("/v1/profiles?bookmark={next}"))
        .await
        .with(StatusCode::OK);
    assert_eq!(
        (names(&second), second["next"].as_str()),
        (vec!["C".to_owned()], Some(""))
    );
    let one = world
        .get("/v1/profiles?filter=name[eq_ic]c")
        .await
        .with(StatusCode::OK);
    assert_eq!(names(&one), ["C"]);
    assert_eq!(
        world
            .get("/v1/profiles?bookmark=bm90aGluZw")
            .await
            .refusal(),
        (400, "not a valid bookmark")
    );
}

/// A CA profile with every member that older clients do not know.
fn every_member() -> Value {
    json!({
        "name": "Everything", "sign_as_ca": true, "honor_subject": true, "honor_extensions": true,
        "validity": { "type": "Duration", "duration": "90d" },
        "key_usage": ["CertSign", "CRLSign"],
        "allowed_sans": [{ "type": "DNS", "pattern": "[a-z]+\\.example" }, { "type": "IP" }],
        "common_name_pattern": "Sub [0-9]+",
        "maximum_validity": "91d",
        "path_length": 0,
        "name_constraints": {
            "permitted": { "dns": ["example"], "ip": ["192.0.2.0/24"] },
            "excluded": { "email": ["bad.example"], "uri": [".bad.example"] },
        },
        "extended_key_usage_oids": ["1.3.6.1.4.1.99999.1"],
        "back_dating": "1h",
    })
}

const NEW_MEMBERS: [&str; 7] = [
    "allowed_sans",
    "common_name_pattern",
    "maximum_validity",
    "path_length",
    "name_constraints",
    "extended_key_usage_oids",
    "back_dating",
];

#[tokio::test]
async fn members_that_older_clients_do_not_know_survive_their_updates() {
    let world = World::new().await;
    let id = world.profile(every_member()).await;
    let path = format!("/v1/profiles/{id}");
    let stored = world.get(&path).await.with(StatusCode::OK);
    assert_eq!(stored["maximum_validity"], "13w");
    assert_eq!(
        stored["name_constraints"]["permitted"]["ip"],
        json!(["192.0.2.0/24"])
    );
    let mut older = stored.clone();
    for member in NEW_MEMBERS {
        older.as_object_mut().unwrap().remove(member).unwrap();
    }
    let updated = world.put(&path, older.clone()).await.with(StatusCode::OK);
    assert_eq!(updated, stored);
    for member in NEW_MEMBERS {
        older[member] = Value::Null;
    }
    let cleared = world.put(&path, older).await.with(StatusCode::OK);
    for member in NEW_MEMBERS {
        assert_eq!(cleared.get(member), None, "{member}");
    }
    assert_eq!(world.get(&path).await.with(StatusCode::OK), cleared);
}

#[tokio::test]
async fn what_a_new_member_cannot_mean_is_refused_on_writing() {
    let world = World::new().await;
    let id = world.profile(every_member()).await;
    let cases = [
        ("allowed_sans", json!([{ "type": "DNS", "pattern": "(" }])),
        ("common_name_pattern", json!("[")),
        ("maximum_validity", json!("0s")),
        ("maximum_validity", json!("89d")),
        ("name_constraints", json!({})),
        (
            "name_constraints",
            json!({ "permitted": { "ip": ["192.0.2.0/33"] } }),
        ),
        (
            "name_constraints",
            json!({ "excluded": { "dns": ["b\u{fc}cher.example"] } }),
        ),
        ("extended_key_usage_oids", json!(["one"])),
        ("extended_key_usage_oids", json!(["1.3.6.1.5.5.7.3.9"])),
        ("back_dating", json!("-1s")),
        ("maximum_validity", json!("90d")),
    ];
    for (member, value) in cases {
        let mut profile = every_member();
        profile[member] = value.clone();
        let created = world.post("/v1/profiles", profile.clone()).await;
        let updated = world.put(&format!("/v1/profiles/{id}"), profile).await;
        let named = format!("profile member {member}: ");
        for answer in [created, updated] {
            let (status, text) = answer.refusal();
            assert_eq!(status, 400, "{member} {value}");
            assert!(text.starts_with(&named), "{text}");
        }
    }
    let mut profile = every_member();
    profile["sign_as_ca"] = json!(false);
    let refused = world.post("/v1/profiles", profile).await;
    assert_eq!(
        refused.refusal(),
        (
            400,
            "profile member path_length: it is for CAs, and sign_as_ca is not set"
        )
    );
    let unknown = json!({ "allowed_sans": [{ "type": "Phone" }] });
    assert_eq!(
        world.post("/v1/profiles", unknown).await.status,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn every_new_member_is_in_the_certificate() {
    let world = World::new().await;
    world.root("root-a").await;
    let devices = world.profile(device_profile()).await;
    let mut body = root_body("sub-a", &devices);
    body["parent_id"] = json!("root-a");
    body["subject"]["common_name"] = json!("Sub 1");
    body["ca_issuance_profile"] = every_member();
    let ca = world
        .post("/v1/cas", body.clone())
        .await
        .with(StatusCode::CREATED);
    let certificate = x509(&ca["certificate"]);
    let extensions = certificate.extensions();
    let constraints = extensions.basic_constraints().unwrap().unwrap();
    assert_eq!(
        (constraints.ca, constraints.path_len_constraint),
        (true, Some(0))
    );
    assert_eq!(ca["certificate"]["valid_from"], "2026-03-02T08:15:27Z");
    assert_eq!(ca["certificate"]["valid_to"], "2026-05-31T09:15:27Z");
    let purposes = extensions.extended_key_usage().unwrap().unwrap();
    assert_eq!(purposes.len(), 1);
    assert_eq!(purposes[0].to_string(), "1.3.6.1.4.1.99999.1");
    let names = extensions.find(&oids::CE_NAME_CONSTRAINTS).unwrap();
    assert!(names.is_critical());
    // permittedSubtrees: the domain, then the network and its mask.
    let permitted = [
        &b"\xa0\x17\x30\x09\x82\x07example\x30\x0a\x87\x08"[..],
        &[192, 0, 2, 0, 255, 255, 255, 0],
    ];
    assert_eq!(names.value()[2..27], permitted.concat());
    // excludedSubtrees: the mail host, then the domain of hosts in URIs.
    let excluded = b"\xa1\x1f\x30\x0d\x81\x0bbad.example\x30\x0e\x86\x0c.bad.example";
    assert_eq!(names.value()[27..], excluded[..]);
    body["id"] = json!("sub-b");
    body["subject"]["common_name"] = json!("Other");
    assert_eq!(
        world.post("/v1/cas", body).await.refusal(),
        (
            400,
            "common name \"Other\" does not match \"Sub [0-9]+\", as issuance profile requires"
        )
    );
    assert_eq!(world.kms.n_keys(), 2);
}

#[tokio::test]
async fn only_allowed_names_and_lifetimes_are_issued() {
    let world = World::new().await;
    world.root("root-a").await;
    let mut profile = device_profile();
    profile["allowed_sans"] = json!([{ "type": "DNS", "pattern": "[a-z0-9]+\\.example" }]);
    let asked = async |name: GeneralName, profile: &Value| {
        let key = p256();
        let subject = SubjectFields::with_common_name("device-1").to_name();
        let template = RequestTemplate::new(subject, key.public_key());
        let template = template.with_subject_alt_names(&[name]);
        let csr = signed(&key, &template).to_wire();
        let body = json!({ "csr": csr, "profile": profile });
        world.sign("root-a", body).await
    };
    let dns = |name: &str| GeneralName::Dns(name.to_owned());
    asked(dns("d1.example"), &profile)
        .await
        .with(StatusCode::CREATED);
    let refused = "issuance profile does not allow the subject alternative name";
    assert_eq!(
        asked(dns("d1.example.com"), &profile).await.refusal(),
        (400, format!("{refused} DNS \"d1.example.com\"").as_str())
    );
    let address = GeneralName::Ip([192, 0, 2, 1].into());
    assert_eq!(
        asked(address, &profile).await.refusal(),
        (400, format!("{refused} IP \"192.0.2.1\"").as_str())
    );
    profile["maximum_validity"] = json!("12h");
    profile["back_dating"] = json!("1s");
    assert_eq!(
        asked(dns("d1.example"), &profile).await.refusal(),
        (
            400,
            "certificate would last longer than issuance profile allows"
        )
    );
}

#[tokio::test]
async fn a_rule_of_the_lint_can_be_made_to_refuse() {
    let lint = [("no_usage".to_owned(), LintSeverity::Refuse)];
    let config = CaConfig {
        lint: lint.into(),
        ..CaConfig::default()
    };
    let world = World::with_config(config).await;
    world.root("root-a").await;
    let body = json!({
        "csr": csr(&p256(), "device-1").to_wire(),
        "profile": { "validity": { "type": "Duration", "duration": "1h" } },
    });
    assert_eq!(
        world.sign("root-a", body).await.refusal(),
        (
            400,
            "certificate refused by lint: the certificate should have key usages or extended key usages"
        )
    );
}
