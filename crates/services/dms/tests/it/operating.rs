//! Running a line: what was refused and why, and trying a policy before devices do.

use std::sync::Arc;

use axum::body::Body;
use http::{Request, StatusCode};
use lamassu_core::ca::EnrollmentMode;
use lamassu_core::dms::{DmsService, DryRun};
use lamassu_core::ids::DmsId;
use lamassu_core::pem::{CertificateDer, CsrDer};
use lamassu_dms::{EstConfig, REFUSED_FIELDS, est_routes};
use lamassu_http::testing::AllowAll;
use lamassu_http::{AddressLimit, PeerAddress, Stack};
use lamassu_testing::lists::{self, ListOf};
use serde_json::{Value, json};
use time::Duration;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::device::Device;
use crate::support::{World, caller, dms};

async fn world(enrollment: &Value) -> World {
    let world = World::new().await;
    world.root("boot").await;
    world.root("fleet").await;
    world.created(dms("dms", enrollment, &json!({}))).await;
    world
}

#[tokio::test]
async fn refusals_are_listed_with_their_reasons() {
    let world = world(&json!({})).await;
    let stranger = world.issue("fleet", &Device::new("stranger")).await;
    let csr = Device::new("d").csr();
    world.est("simpleenroll", "dms", &csr, None).await;
    world.clock.advance(Duration::seconds(1));
    world
        .est("simplereenroll", "dms", &csr, Some(&[&stranger]))
        .await;
    world.clock.advance(Duration::seconds(1));
    world.est("simpleenroll", "no\u{fc}where", &csr, None).await;
    world.est("simpleenroll", "dms", b"0", None).await;
    let (status, page) = world
        .call(
            "GET",
            "/v1/refused-enrollments?sort_by=creation_ts",
            Value::Null,
        )
        .await;
    assert_eq!(status, StatusCode::OK, "{page}");
    let list = page["list"].as_array().unwrap();
    let shown: Vec<_> = list
        .iter()
        .map(|row| {
            let text = |name: &str| row[name].as_str().unwrap().to_owned();
            (
                text("dms_id"),
                text("device_id"),
                text("operation"),
                text("code"),
                text("certificate"),
            )
        })
        .collect();
    let row = |dms: &str, device: &str, operation: &str, code: &str, certificate: &str| {
        let text = |text: &str| text.to_owned();
        (
            text(dms),
            text(device),
            text(operation),
            text(code),
            text(certificate),
        )
    };
    assert_eq!(
        shown[0],
        row("dms", "d", "simpleenroll", "client_certificate_missing", "")
    );
    assert_eq!(
        shown[1],
        row(
            "dms",
            "d",
            "simplereenroll",
            "client_certificate_name_mismatch",
            "stranger"
        )
    );
    assert!(shown[2..].contains(&row(
        "no\u{fc}where",
        "d",
        "simpleenroll",
        "dms_not_found",
        ""
    )));
    assert_eq!(
        (list[1]["status"].as_u64(), list[1]["reason"].as_str()),
        (Some(403), Some("invalid certificate"))
    );
    // Who gets through is in no log of refusals.
    let bootstrap = world.issue("boot", &Device::new("bootstrap")).await;
    world
        .est("simpleenroll", "dms", &csr, Some(&[&bootstrap]))
        .await
        .certificate();
    let path =
        "/v1/refused-enrollments?filter=device_id[eq]d&filter=code[eq]client_certificate_missing";
    let (_, page) = world.call("GET", path, Value::Null).await;
    assert_eq!(page["list"].as_array().unwrap().len(), 1);
}

/// An operator looks there first.
#[tokio::test]
async fn what_a_dms_lacks_is_among_the_refusals() {
    let world = world(&json!({})).await;
    let enrollment = json!({
        "est_rfc7030_settings": {"auth_mode": "NO_AUTH"},
        "enrollment_ca": "gone",
    });
    world
        .created(dms("without-ca", &enrollment, &json!({})))
        .await;
    let enrollment = json!({"est_rfc7030_settings": {"auth_mode": "NO_AUTH"}});
    let mut without_profile = dms("without-profile", &enrollment, &json!({}));
    without_profile["settings"]["issuance_profile_id"] = json!("gone");
    world.created(without_profile).await;
    for (label, reason) in [
        ("without-ca", "CA not found"),
        ("without-profile", "issuance profile not found"),
    ] {
        let csr = Device::new("d").csr();
        let answer = world.est("simpleenroll", label, &csr, None).await;
        assert_eq!(answer.status.as_u16(), 500, "{}", answer.text());
        let path = format!("/v1/refused-enrollments?filter=dms_id[eq]{label}");
        let (_, page) = world.call("GET", &path, Value::Null).await;
        let refused = &page["list"][0];
        assert_eq!(
            (&refused["status"], &refused["code"], &refused["reason"]),
            (&json!(500), &json!("dms_misconfigured"), &json!(reason))
        );
    }
}

#[tokio::test]
async fn refusals_are_listed_as_everything_is() {
    let world = world(&json!({})).await;
    let stranger = world.issue("fleet", &Device::new("stranger")).await;
    for (n, label) in ["dms", "Dms", "other", "dms"].into_iter().enumerate() {
        let csr = Device::new(&format!("d{n}")).csr();
        let chain = [&stranger];
        let chain = (n == 0).then_some(&chain[..]);
        let operation = if n == 1 {
            "simplereenroll"
        } else {
            "simpleenroll"
        };
        world.est(operation, label, &csr, chain).await;
        world.clock.advance(Duration::seconds(1));
    }
    let list = ListOf {
        routes: &world.routes,
        path: "/v1/refused-enrollments",
        name: "/id",
        fields: REFUSED_FIELDS,
        shown: lists::by_name,
    };
    list.check_filters_of_every_field().await;
    list.check_sorts_of_every_field().await;
    list.check_refusals().await;
    list.check_what_is_ignored().await;
}

/// Each check that failed with its text, and whether all passed.
async fn tried(world: &World, request: &DryRun) -> (bool, Vec<(String, String)>) {
    let body = serde_json::to_value(request).unwrap();
    let (status, report) = world.call("POST", "/v1/dms/dms/dry-run", body).await;
    assert_eq!(status, StatusCode::OK, "{report}");
    let checks = report["checks"].as_array().unwrap();
    let failed = checks.iter().filter(|check| check["passed"] == false);
    let text = |check: &Value, name: &str| check[name].as_str().unwrap().to_owned();
    let failed = failed.map(|check| (text(check, "check"), text(check, "err")));
    (report["accepted"] == true, failed.collect())
}

fn dry_run(operation: EnrollmentMode, csr: Vec<u8>, chain: &[&CertificateDer]) -> DryRun {
    DryRun {
        operation,
        csr: CsrDer::from_der(csr),
        certificates: chain.iter().map(|one| (*one).clone()).collect(),
        ask_webhook: true,
    }
}

fn failures(all: &[(&str, &str)]) -> (bool, Vec<(String, String)>) {
    let owned = |(check, text): &(&str, &str)| ((*check).to_owned(), (*text).to_owned());
    (all.is_empty(), all.iter().map(owned).collect())
}

#[tokio::test]
async fn a_dry_run_makes_every_check_and_changes_nothing() {
    let world = world(&json!({"allowed_device_ids": ["d"]})).await;
    let bootstrap = world.issue("boot", &Device::new("bootstrap")).await;
    let stranger = world.issue("fleet", &Device::new("x")).await;
    let device = Device::new("d");
    let before = world.event_types().await.len();
    let enroll = EnrollmentMode::Enroll;
    let good = dry_run(enroll, device.csr(), &[&bootstrap]);
    assert_eq!(tried(&world, &good).await, failures(&[]));
    let bad = dry_run(enroll, Device::new("e").broken_csr(), &[&stranger]);
    assert_eq!(
        tried(&world, &bad).await,
        failures(&[
            ("credential", "invalid certificate"),
            ("possession", "invalid CSR signature"),
            (
                "device",
                "device is not one that the DMS may enroll: its id must be in allowed_device_ids and match device_id_pattern"
            ),
        ])
    );
    let none = dry_run(enroll, Vec::new(), &[]);
    let (accepted, failed) = tried(&world, &none).await;
    assert_eq!(
        (accepted, failed[0].0.as_str(), failed.len()),
        (false, "request", 1)
    );
    assert_eq!(world.event_types().await.len(), before);
    assert_eq!(world.issued_for("d").await, []);

    let enrolled = world
        .est("simpleenroll", "dms", &device.csr(), Some(&[&bootstrap]))
        .await;
    let own = enrolled.certificate();
    let renew = dry_run(EnrollmentMode::Reenroll, device.csr(), &[&own]);
    assert_eq!(
        tried(&world, &renew).await,
        failures(&[("renewal", "invalid reenroll window")])
    );
    world.clock.advance(Duration::days(2));
    assert_eq!(tried(&world, &renew).await, failures(&[]));
    let again = dry_run(enroll, device.csr(), &[&bootstrap]);
    assert_eq!(
        tried(&world, &again).await,
        failures(&[("device", "forbiddenNewEnrollment")])
    );
    let (status, _) = world.call("POST", "/v1/dms/x/dry-run", json!({})).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    // Nor is the log of refusals for those who try.
    let (_, page) = world
        .call("GET", "/v1/refused-enrollments", Value::Null)
        .await;
    assert_eq!(page["list"], json!([]));
}

#[tokio::test]
async fn a_dry_run_asks_the_webhook_only_where_it_is_told_to() {
    let webhook = json!({"url": "http://169.254.169.254/"});
    let est = json!({"auth_mode": "EXTERNAL_WEBHOOK", "external_webhook_settings": webhook});
    let world = world(&json!({"est_rfc7030_settings": est})).await;
    let mut request = dry_run(EnrollmentMode::Enroll, Device::new("d").csr(), &[]);
    let text = "error while calling external webhook: its address must not be called";
    assert_eq!(
        tried(&world, &request).await,
        failures(&[("webhook", text)])
    );
    request.ask_webhook = false;
    assert_eq!(tried(&world, &request).await, failures(&[]));
    let by_trait = world
        .manager
        .dry_run(&caller(), &DmsId::from("dms"), request)
        .await;
    assert!(by_trait.unwrap().accepted);
}

#[tokio::test]
async fn a_dry_run_says_that_no_password_was_tried() {
    let world = world(&json!({"est_rfc7030_settings": {"auth_mode": "HTTP_BASIC"}})).await;
    let request = dry_run(EnrollmentMode::Enroll, Device::new("d").csr(), &[]);
    let body = serde_json::to_value(request).unwrap();
    let (_, report) = world.call("POST", "/v1/dms/dms/dry-run", body).await;
    assert_eq!(report["accepted"], true);
    let checks = report["checks"].as_array().unwrap();
    let credential = checks.iter().find(|check| check["check"] == "credential");
    assert_eq!(
        credential,
        Some(&json!({"check": "credential", "passed": null}))
    );
}

#[tokio::test]
async fn an_address_that_floods_est_is_told_to_wait() {
    let world = world(&json!({})).await;
    let manager = Arc::clone(&world.manager) as Arc<dyn DmsService>;
    let routes = est_routes(manager, EstConfig::default()).limited(AddressLimit::per_second(1));
    let router = Stack::new(Arc::new(AllowAll), TaskTracker::new())
        .mount("", &routes)
        .build()
        .unwrap();
    let ask = async |address: &str| {
        let mut request = Request::get("/.well-known/est/dms/cacerts")
            .body(Body::empty())
            .unwrap();
        let address = PeerAddress(address.parse().unwrap());
        request.extensions_mut().insert(address);
        router.clone().oneshot(request).await.unwrap()
    };
    for _ in 0..5 {
        assert_eq!(ask("203.0.113.9:1").await.status(), StatusCode::OK);
    }
    let refused = ask("203.0.113.9:2").await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["retry-after"], "1");
    let told = axum::body::to_bytes(refused.into_body(), 4096)
        .await
        .unwrap();
    let told = String::from_utf8_lossy(&told);
    assert!(
        told.contains("too many requests from this address"),
        "{told}"
    );
    assert_eq!(ask("203.0.113.10:1").await.status(), StatusCode::OK);
    for _ in 0..20 {
        assert_eq!(ask("127.0.0.1:1").await.status(), StatusCode::OK);
    }
}
