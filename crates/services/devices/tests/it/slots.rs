//! Slots of devices: versions, overlap, rollback, all types of secrets.

use http::Method;
use lamassu_core::ca::CertificateStatus;
use lamassu_core::ca::certificate::ATTACHED_TO;
use lamassu_core::ids::SerialNumber;
use lamassu_db::sql;
use serde_json::{Value, json};
use time::Duration;

use crate::support::{Fixture, caller, fixture};

pub(crate) const SLOTS: &str = "/v2/devices/dev-1/slots";
pub(crate) const IDENTITY: &str = "/v2/devices/dev-1/slots/identity";
const ED25519: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ pump";

pub(crate) async fn registered() -> Fixture {
    let fixture = fixture().await;
    fixture.register("dev-1").await;
    fixture
}

pub(crate) async fn issued(fixture: &Fixture) -> SerialNumber {
    fixture.issued("dev-1").await.serial_number
}

pub(crate) async fn add(fixture: &Fixture, slot: &str, version: Value) -> Value {
    fixture
        .ok(Method::POST, &format!("{slot}/versions"), version)
        .await
}

/// The states of a slot's versions, oldest first, and which is active.
pub(crate) async fn states(fixture: &Fixture, slot: &str) -> (Vec<String>, Value) {
    let slot = fixture.ok(Method::GET, slot, Value::Null).await;
    let versions = slot["versions"].as_array().unwrap().iter().rev();
    let states = versions.map(|version| version["state"].as_str().unwrap().to_owned());
    (states.collect(), slot["active_version"].clone())
}

#[tokio::test]
async fn a_rotation_overlaps_rolls_back_and_falls_back() {
    let fixture = registered().await;
    let (first, second) = (issued(&fixture).await, issued(&fixture).await);
    let version = add(
        &fixture,
        IDENTITY,
        json!({"secret": {"serial_number": first}}),
    )
    .await;
    assert_eq!(
        (&version["state"], &version["bind_mode"]),
        (&json!("ACTIVE"), &json!("PROVISIONED"))
    );
    let pending = json!({"secret": {"serial_number": second}, "activate": false});
    add(&fixture, IDENTITY, pending).await;
    assert_eq!(
        states(&fixture, IDENTITY).await,
        (vec!["ACTIVE".into(), "PENDING".into()], json!(0))
    );

    let activate = format!("{IDENTITY}/versions/1/activate");
    let slot = fixture
        .ok(Method::POST, &activate, json!({"overlap": "24h"}))
        .await;
    assert_eq!(slot["versions"][1]["overlap_until"], "2026-03-02T09:00:00Z");
    let device = fixture.device("dev-1").await;
    let identity = device.identity.unwrap();
    assert_eq!((identity.active_version, identity.versions.len()), (1, 2));
    let entry = identity.events.values().next_back().unwrap();
    assert_eq!(
        (entry.event_type.as_str(), entry.description.as_str()),
        ("RE-PROVISIONED", "New Active Version set to 1")
    );

    fixture
        .ok(
            Method::POST,
            &format!("{IDENTITY}/versions/0/activate"),
            Value::Null,
        )
        .await;
    assert_eq!(
        states(&fixture, IDENTITY).await,
        (vec!["ACTIVE".into(), "SUPERSEDED".into()], json!(0))
    );
    let history = fixture
        .ok(Method::GET, "/v2/devices/dev-1/events", Value::Null)
        .await;
    assert_eq!(
        history["list"][0]["description"],
        "Active Version rolled back from 1 to 0"
    );
    fixture.follow().await;
    let attached = |certificate: lamassu_core::ca::Certificate| {
        certificate.metadata.unwrap().contains_key(ATTACHED_TO)
    };
    assert!(attached(fixture.certificate(&first).await));
    assert!(!attached(fixture.certificate(&second).await));

    let revoke = json!({"reason": "KeyCompromise", "fallback": true});
    fixture
        .ok(
            Method::POST,
            &format!("{IDENTITY}/versions/0/revoke"),
            revoke,
        )
        .await;
    assert_eq!(
        states(&fixture, IDENTITY).await,
        (vec!["REVOKED".into(), "ACTIVE".into()], json!(1))
    );
    assert_eq!(fixture.statuses("dev-1").await, ("ACTIVE", "ACTIVE"));
    fixture.follow().await;
    assert_eq!(
        fixture.certificate(&first).await.status,
        CertificateStatus::Revoked
    );
    assert!(attached(fixture.certificate(&second).await));
    let again = format!("{IDENTITY}/versions/0/activate");
    assert_eq!(
        fixture.refused(Method::POST, &again, Value::Null).await,
        (409, "version_not_activatable".to_owned())
    );
    let last = json!({"reason": "Superseded", "fallback": true});
    fixture
        .ok(Method::POST, &format!("{IDENTITY}/versions/1/revoke"), last)
        .await;
    assert_eq!(fixture.statuses("dev-1").await, ("REVOKED", "REVOKED"));
}

#[tokio::test]
async fn a_comment_stands_beside_the_text_that_clients_read() {
    let fixture = registered().await;
    for (number, comment, text) in [
        (0, "by hand", ""),
        (1, "swap", "New Active Version set to 1"),
    ] {
        let serial = issued(&fixture).await;
        let pending = json!({"secret": {"serial_number": serial}, "activate": false});
        add(&fixture, IDENTITY, pending).await;
        let activate = format!("{IDENTITY}/versions/{number}/activate");
        let body = json!({ "comment": comment });
        fixture.ok(Method::POST, &activate, body).await;
        let identity = fixture.device("dev-1").await.identity.unwrap();
        let entry = identity.events.values().next_back().unwrap();
        assert_eq!(entry.description, text);
        let uri = "/v2/devices/dev-1/events?filter=slot[eq]identity";
        let history = fixture.ok(Method::GET, uri, Value::Null).await;
        let item = &history["list"][0];
        assert_eq!(
            (&item["description"], &item["comment"]),
            (&json!(text), &json!(comment))
        );
    }
    let uri = "/v2/devices/dev-1?include=events";
    let events = &fixture.ok(Method::GET, uri, Value::Null).await["events"];
    let comments = events.as_array().unwrap().iter();
    let comments: Vec<_> = comments.map(|item| item["comment"].clone()).collect();
    let expected = json!([null, "swap", null, "by hand"]);
    assert_eq!(Value::Array(comments), expected);
}

#[tokio::test]
async fn an_overlap_ends_at_its_time_once() {
    let fixture = registered().await;
    let policy = json!({"overlap": "1h", "revoke_superseded": true});
    let put = json!({"secret_type": "x509", "policy": policy});
    fixture.ok(Method::PUT, IDENTITY, put).await;
    assert_eq!(
        fixture.refused(Method::GET, IDENTITY, Value::Null).await,
        (404, "slot_not_found".to_owned())
    );
    let (first, second) = (issued(&fixture).await, issued(&fixture).await);
    add(
        &fixture,
        IDENTITY,
        json!({"secret": {"serial_number": first}}),
    )
    .await;
    add(
        &fixture,
        IDENTITY,
        json!({"secret": {"serial_number": second}}),
    )
    .await;
    fixture.pass(Duration::minutes(59)).await;
    assert_eq!(states(&fixture, IDENTITY).await.0, ["SUPERSEDED", "ACTIVE"]);
    fixture.pass(Duration::minutes(1)).await;
    assert_eq!(states(&fixture, IDENTITY).await.0, ["REVOKED", "ACTIVE"]);
    fixture.follow().await;
    let certificate = fixture.certificate(&first).await;
    assert_eq!(certificate.revocation_reason.name(), "Superseded");
    let told = fixture.events().await.len();
    fixture.pass(Duration::ZERO).await;
    assert_eq!(fixture.events().await.len(), told);
    // None at all.
    let third = issued(&fixture).await;
    let version = json!({"secret": {"serial_number": third}, "overlap": "0s"});
    add(&fixture, IDENTITY, version).await;
    assert_eq!(
        states(&fixture, IDENTITY).await.0,
        ["REVOKED", "REVOKED", "ACTIVE"]
    );
}

#[tokio::test]
async fn tokens_are_shown_once_and_verified() {
    let fixture = registered().await;
    let slot = format!("{SLOTS}/api");
    let put = json!({"secret_type": "TOKEN", "policy": {"overlap": "1h"}});
    assert_eq!(fixture.ok(Method::PUT, &slot, put).await["status"], "EMPTY");
    assert_eq!(fixture.get("/v1/devices/dev-1").await.1["slots"], json!({}));
    let made = add(&fixture, &slot, json!({"secret": {"generate": true}})).await;
    let token = made["secret"]["token"].as_str().unwrap().to_owned();
    assert_eq!(token.len(), 43);
    let brought = "correct-horse-battery";
    let version = json!({"secret": {"token": brought}, "expires_at": "2026-04-01T00:00:00Z"});
    add(&fixture, &slot, version).await;
    let whole = fixture
        .ok(Method::GET, &slot, Value::Null)
        .await
        .to_string();
    assert!(
        !whole.contains(&token) && !whole.contains(brought),
        "{whole}"
    );
    assert!(whole.contains("…tery"), "{whole}");
    let verify = async |token: &str| {
        let body = json!({"token": token});
        fixture
            .ok(Method::POST, &format!("{slot}/verify"), body)
            .await
    };
    assert_eq!(
        verify(brought).await,
        json!({"valid": true, "version": 1, "state": "ACTIVE"})
    );
    let old = json!({"valid": true, "version": 0, "state": "SUPERSEDED"});
    assert_eq!(verify(&token).await, old);
    assert_eq!(
        verify("nobody-s-token-at-all").await,
        json!({"valid": false, "version": null, "state": null})
    );
    fixture.pass(Duration::hours(2)).await;
    let retired = json!({"valid": false, "version": 0, "state": "RETIRED"});
    assert_eq!(verify(&token).await, retired);
    fixture.pass(Duration::days(40)).await;
    assert_eq!(verify(brought).await["valid"], false);
    let v1 = fixture.get("/v1/devices/dev-1").await.1;
    assert_eq!(v1["slots"]["api"]["status"], "EXPIRED");
    assert_eq!(v1["slots"]["api"]["type"], "TOKEN");
    // Only the identity is the device's.
    assert_eq!(v1["status"], "NO_IDENTITY");
}

#[tokio::test]
async fn keys_and_values_are_kept_as_they_are_unless_sensitive() {
    let fixture = registered().await;
    let ssh = format!("{SLOTS}/ssh");
    let version = json!({"secret_type": "SSH_KEY", "secret": {"public_key": ED25519}});
    let added = add(&fixture, &ssh, version).await;
    assert_eq!(added["secret"], ED25519);
    assert!(
        added["fingerprint"]
            .as_str()
            .unwrap()
            .starts_with("SHA256:")
    );
    let other = format!("{SLOTS}/wifi");
    let version = json!({"secret_type": "OTHER", "secret": {"value": {"ssid": "hall"}}});
    assert_eq!(
        add(&fixture, &other, version).await["secret"],
        json!({"ssid": "hall"})
    );
    let version = json!({"secret": {"value": "hidden-text", "sensitive": true}});
    let added = add(&fixture, &other, version).await;
    assert!(
        added["secret"]["hash"]
            .as_str()
            .unwrap()
            .starts_with("sha256:")
    );
    assert!(!added.to_string().contains("hidden-text"));
    let v1 = fixture.get("/v1/devices/dev-1").await.1;
    assert_eq!(
        v1["slots"]["wifi"]["versions"]["0"],
        json!({"ssid": "hall"})
    );
    assert_eq!(v1["slots"]["wifi"]["active_version"], 1);
    let list = fixture.ok(Method::GET, SLOTS, Value::Null).await;
    let names: Vec<_> = list["list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|slot| slot["name"].clone())
        .collect();
    assert_eq!(names, ["ssh", "wifi"]);
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn secrets_are_checked() {
    let fixture = registered().await;
    fixture.register("dev-2").await;
    let other = fixture.issued("dev-2").await.serial_number;
    let revoked = issued(&fixture).await;
    let taken = issued(&fixture).await;
    let (status, reason) = (
        CertificateStatus::Revoked,
        lamassu_core::usage::RevocationReason::Superseded,
    );
    fixture
        .ca
        .set_certificate_status(&caller(), &revoked.clone().into(), status, reason)
        .await
        .unwrap();
    add(
        &fixture,
        IDENTITY,
        json!({"secret": {"serial_number": taken}}),
    )
    .await;
    add(
        &fixture,
        &format!("{SLOTS}/ssh"),
        json!({"secret_type": "SSH_KEY", "secret": {"public_key": ED25519}}),
    )
    .await;
    let pem = format!("-----BEGIN OPENSSH {} KEY-----", "PRIVATE");
    for (slot, secret, status, code) in [
        (
            "identity",
            json!({"serial_number": "77"}),
            404,
            "certificate_not_found",
        ),
        (
            "identity",
            json!({"serial_number": "no hex"}),
            404,
            "certificate_not_found",
        ),
        (
            "identity",
            json!({"serial_number": revoked}),
            422,
            "certificate_not_active",
        ),
        (
            "identity",
            json!({"serial_number": other}),
            422,
            "common_name_mismatch",
        ),
        (
            "identity",
            json!({"serial_number": taken}),
            409,
            "duplicate_secret",
        ),
        ("identity", json!({}), 400, "validation_failed"),
        (
            "identity",
            json!({"serial_number": taken, "certificate": "eA=="}),
            400,
            "validation_failed",
        ),
        (
            "more",
            json!({"serial_number": taken}),
            409,
            "certificate_attached",
        ),
        (
            "ssh",
            json!({"public_key": pem}),
            400,
            "private_key_not_allowed",
        ),
        (
            "ssh",
            json!({"public_key": "ssh-rsa nonsense"}),
            400,
            "validation_failed",
        ),
        (
            "ssh",
            json!({"public_key": ED25519}),
            409,
            "duplicate_secret",
        ),
        ("token", json!({"token": "short"}), 400, "validation_failed"),
        (
            "token",
            json!({"generate": true, "bytes": 1}),
            400,
            "validation_failed",
        ),
        (
            "other",
            json!({"value": "x".repeat(20_000)}),
            400,
            "validation_failed",
        ),
    ] {
        let secret_type = match slot {
            "identity" | "more" => "x509",
            "ssh" => "SSH_KEY",
            "token" => "TOKEN",
            _ => "OTHER",
        };
        let body = json!({"secret_type": secret_type, "secret": secret});
        let uri = format!("{SLOTS}/{slot}/versions");
        let refused = fixture.refused(Method::POST, &uri, body).await;
        assert_eq!(refused, (status, code.to_owned()), "{slot} {secret}");
    }
    let whole = fixture
        .certificate(&issued(&fixture).await)
        .await
        .certificate
        .to_wire();
    add(
        &fixture,
        IDENTITY,
        json!({"secret": {"certificate": whole}}),
    )
    .await;
}

#[tokio::test]
async fn slots_are_made_changed_and_deleted() {
    let fixture = registered().await;
    let slot = format!("{SLOTS}/backup");
    let (status, tag, _) = fixture
        .ask(Method::PUT, &slot, &[], json!({"secret_type": "x509"}))
        .await;
    assert_eq!((status.as_u16(), tag.as_str()), (201, "\"1\""));
    // It is made once.
    let (status, tag, _) = fixture
        .ask(Method::PUT, &slot, &[], json!({"secret_type": "x509"}))
        .await;
    assert_eq!((status.as_u16(), tag.as_str()), (200, "\"1\""));
    let policy = json!({"secret_type": "x509", "policy": {"max_versions": 2}});
    let stale = [("if-match", "\"9\"")];
    let (status, ..) = fixture
        .ask(Method::PUT, &slot, &stale, policy.clone())
        .await;
    assert_eq!(status.as_u16(), 412);
    let (status, tag, _) = fixture
        .ask(Method::PUT, &slot, &[("if-match", "\"1\"")], policy)
        .await;
    assert_eq!((status.as_u16(), tag.as_str()), (200, "\"2\""));
    let other = json!({"secret_type": "TOKEN"});
    assert_eq!(
        fixture.refused(Method::PUT, &slot, other).await,
        (409, "secret_type_immutable".to_owned())
    );
    assert_eq!(
        fixture
            .refused(
                Method::PUT,
                &format!("{SLOTS}/Upper"),
                json!({"secret_type": "TOKEN"})
            )
            .await,
        (400, "validation_failed".to_owned())
    );
    let serial = fixture.issued("anything").await.serial_number;
    add(
        &fixture,
        &slot,
        json!({"secret": {"serial_number": serial}}),
    )
    .await;
    fixture.follow().await;
    let metadata = fixture.certificate(&serial).await.metadata.unwrap();
    assert_eq!(metadata[ATTACHED_TO]["slot"], "backup");
    let told = fixture.events().await.len();
    let (status, ..) = fixture.ask(Method::DELETE, &slot, &[], Value::Null).await;
    assert_eq!(status.as_u16(), 204);
    assert_eq!(fixture.event_types(told).await, ["device.slot.delete"]);
    fixture.follow().await;
    let certificate = fixture.certificate(&serial).await;
    assert_eq!(certificate.status, CertificateStatus::Revoked);
    assert!(!certificate.metadata.unwrap().contains_key(ATTACHED_TO));
    assert_eq!(
        fixture.refused(Method::GET, &slot, Value::Null).await,
        (404, "slot_not_found".to_owned())
    );
}

#[tokio::test]
async fn versions_are_deleted_when_out_of_use() {
    let fixture = registered().await;
    let slot = format!("{SLOTS}/wifi");
    for (n, activate) in [(0, true), (1, true), (2, false)] {
        let version = json!({"secret_type": "OTHER", "secret": {"value": n}, "activate": activate});
        add(&fixture, &slot, version).await;
    }
    let version = |n: u32| format!("{slot}/versions/{n}");
    for n in [0, 1] {
        assert_eq!(
            fixture
                .refused(Method::DELETE, &version(n), Value::Null)
                .await,
            (409, "version_in_use".to_owned())
        );
    }
    let (status, ..) = fixture
        .ask(Method::DELETE, &version(2), &[], Value::Null)
        .await;
    assert_eq!(status.as_u16(), 204);
    assert_eq!(
        fixture.refused(Method::GET, &version(2), Value::Null).await,
        (404, "version_not_found".to_owned())
    );
    // Numbers are not given twice.
    let next = add(&fixture, &slot, json!({"secret": {"value": 3}})).await;
    assert_eq!(next["version"], 3);
    let page = format!("{slot}/versions?filter=state[eq]SUPERSEDED&count=true");
    let page = fixture.ok(Method::GET, &page, Value::Null).await;
    assert_eq!(
        (&page["total"], &page["list"][0]["version"]),
        (&json!(2), &json!(1))
    );
}

#[tokio::test]
async fn a_retired_device_keeps_its_slots_as_they_are() {
    let fixture = registered().await;
    let slot = format!("{SLOTS}/wifi");
    add(
        &fixture,
        &slot,
        json!({"secret_type": "OTHER", "secret": {"value": 1}}),
    )
    .await;
    fixture
        .ok(Method::DELETE, "/v2/devices/dev-1", Value::Null)
        .await;
    let (states, _) = states(&fixture, &slot).await;
    assert_eq!(states, ["REVOKED"]);
    let refused = (409, "device_decommissioned".to_owned());
    let put = json!({"secret_type": "OTHER"});
    assert_eq!(fixture.refused(Method::PUT, &slot, put).await, refused);
    let version = json!({"secret": {"value": 2}});
    let versions = format!("{slot}/versions");
    assert_eq!(
        fixture.refused(Method::POST, &versions, version).await,
        refused
    );
    assert_eq!(
        fixture.refused(Method::DELETE, &slot, Value::Null).await,
        refused
    );
}

#[tokio::test]
async fn without_the_ca_service_nothing_is_changed() {
    let fixture = registered().await;
    let serial = issued(&fixture).await;
    fixture
        .execute(sql("ALTER TABLE certificate RENAME TO away", vec![]))
        .await;
    let version = json!({"secret": {"serial_number": serial}});
    let versions = format!("{IDENTITY}/versions");
    assert_eq!(
        fixture.refused(Method::POST, &versions, version).await,
        (502, "ca_unavailable".to_owned())
    );
    assert_eq!(fixture.get("/v2/devices/dev-1").await.1["revision"], 1);
}

#[tokio::test]
async fn a_word_that_there_is_not_is_refused_by_its_place_and_with_those_that_there_are() {
    let fixture = registered().await;
    let action = "/v2/device-groups/7c9e6679-7425-40de-944b-e07fc1f90ae7/actions";
    let versions = format!("{SLOTS}/api/versions");
    let secret = json!({"token": "0123456789abcdef"});
    for (method, uri, body, place, words) in [
        (
            Method::PUT,
            &*format!("{SLOTS}/api"),
            json!({"secret_type": "PASSWORD"}),
            "secret_type",
            "unknown word PASSWORD; there are x509, TOKEN, SSH_KEY, OTHER",
        ),
        (
            Method::POST,
            &versions,
            json!({"secret": secret, "bind_mode": "LOST"}),
            "bind_mode",
            "unknown word LOST; there are PROVISIONED, RE-PROVISIONED, RENEWED",
        ),
        (
            Method::POST,
            action,
            json!({"action": "sing"}),
            "action",
            "unknown variant `sing`, expected one of `patch`, `add_tags`, `remove_tags`, \
             `decommission`, `revoke_identity`, `purge`",
        ),
        (
            Method::POST,
            &versions,
            json!({"secret": {"token": 1}}),
            "secret.token",
            "invalid type: integer `1`, expected a string",
        ),
    ] {
        let (status, _, answer) = fixture.ask(method, uri, &[], body).await;
        assert_eq!(status.as_u16(), 400, "{answer}");
        let expected = json!({
            "err": format!("json: {words}"),
            "code": "validation_failed",
            "details": [{"field": place, "reason": words}],
        });
        assert_eq!(answer, expected);
    }
}
