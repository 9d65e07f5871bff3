//! Binding certificates to devices.

use http::{Method, StatusCode};
use lamassu_core::ca::CertificateStatus;
use lamassu_core::ca::enrollment::Revoke;
use lamassu_core::device::{BindIdentity, DeviceError, SlotState};
use lamassu_core::error::ServiceError;
use lamassu_core::ids::{DeviceId, SerialNumber};
use lamassu_db::{Row, sql, system_caller};
use serde_json::{Value, json};
use time::Duration;

use crate::slots::{IDENTITY, issued, registered, states};
use crate::support::{Fixture, caller, dms, first, fixture, just_in_time, renewal};

#[tokio::test]
async fn the_first_binding_provisions_the_device() {
    let fixture = fixture().await;
    fixture.register("dev-1").await;
    let registered = fixture.device("dev-1").await;
    let announced = fixture
        .service
        .bind_identity(&caller(), first("dev-1", "0a"))
        .await
        .unwrap();
    assert_eq!(announced, registered);

    let (_, device) = fixture.get("/v1/devices/dev-1").await;
    assert_eq!(device["status"], "ACTIVE");
    assert_eq!(
        device["identity"],
        json!({
            "status": "ACTIVE", "active_version": 0, "type": "x509", "versions": {"0": "0a"},
            "expiration_date": "2026-06-09T09:00:00Z",
            "events": {"2026-03-01T09:00:00Z": {"type": "PROVISIONED", "description": ""}},
        })
    );
    // Both entries are of one instant; the later one moves by a microsecond.
    assert_eq!(
        device["events"],
        json!({
            "2026-03-01T09:00:00Z": {"type": "CREATED", "description": ""},
            "2026-03-01T09:00:00.000001Z": {
                "type": "STATUS-UPDATED",
                "description": "Status updated from 'NO_IDENTITY' to 'ACTIVE'",
            },
        })
    );
}

#[tokio::test]
async fn a_binding_tells_status_identity_binding_and_enrollment_in_this_order() {
    let fixture = fixture().await;
    fixture.register("dev-1").await;
    let before = fixture.get("/v1/devices/dev-1").await.1;
    fixture
        .service
        .bind_identity(&caller(), first("dev-1", "0a"))
        .await
        .unwrap();
    let after = fixture.get("/v1/devices/dev-1").await.1;

    let events = fixture.events().await;
    let told: Vec<_> = events[1..]
        .iter()
        .map(|event| (&event["type"], &event["subject"]))
        .collect();
    assert_eq!(
        json!(told),
        json!([
            ["device.status.update", "device/dev-1"],
            ["device.identity.update", "device/dev-1"],
            ["dms.bind-device-id", "device/dev-1"],
            ["dms.enroll", "dms/fleet-1"],
        ])
    );
    for event in &events[1..] {
        assert_eq!(event["source"], "source://lamassu.io/ctx/source/service/ra");
    }
    let pair = json!({"previous": before, "updated": after});
    assert_eq!(events[1]["data"], pair);
    assert_eq!(events[2]["data"], pair);
    assert_eq!(events[3]["data"]["device"], before);
    assert_eq!(events[3]["data"]["dms"]["id"], "fleet-1");
    assert_eq!(events[3]["data"]["certificate"]["serial_number"], "0a");
    let pem = &events[3]["data"]["certificate"]["certificate"];
    assert_eq!(
        events[4]["data"],
        json!({"certificate": pem, "aps": "fleet-1"})
    );
}

#[tokio::test]
async fn a_device_registered_just_in_time_is_announced_as_registered() {
    let fixture = fixture().await;
    let announced = fixture
        .service
        .bind_identity(&caller(), just_in_time("dev-1", "0a"))
        .await;
    let announced = serde_json::to_value(announced.unwrap()).unwrap();
    assert_eq!(announced["status"], "NO_IDENTITY");
    assert_eq!(announced["dms_owner"], "fleet-1");
    assert_eq!(announced["tags"], json!(["jitp"]));
    assert_eq!(announced.get("identity"), None);

    assert_eq!(
        fixture.event_types(0).await,
        [
            "device.create",
            "device.status.update",
            "device.identity.update",
            "dms.bind-device-id",
            "dms.enroll"
        ]
    );
    let events = fixture.events().await;
    assert_eq!(events[0]["data"], announced);
    assert_eq!(events[3]["data"]["device"], announced);
    assert_eq!(fixture.statuses("dev-1").await, ("ACTIVE", "ACTIVE"));
}

#[tokio::test]
async fn a_renewal_adds_a_version() {
    let fixture = fixture().await;
    fixture.bound("dev-1", "0a").await;
    fixture.clock.advance(Duration::days(1));
    let told = fixture.events().await.len();
    let request = renewal("dev-1", "0b", 0, "0a");
    let announced = fixture
        .service
        .bind_identity(&caller(), request)
        .await
        .unwrap();

    let slot = fixture.device("dev-1").await.identity.unwrap();
    assert_eq!(slot.active_version, 1);
    assert_eq!(json!(slot.versions), json!({"0": "0a", "1": "0b"}));
    assert_eq!(
        json!(slot.events)["2026-03-02T09:00:00Z"],
        json!({"type": "RENEWED", "description": "New Active Version set to 1"})
    );
    assert_eq!(slot.events.len(), 2);
    // The status stayed, so nothing tells of it; the announced identity is the new one already.
    assert_eq!(
        fixture.event_types(told).await,
        [
            "device.identity.update",
            "dms.bind-device-id",
            "dms.reenroll"
        ]
    );
    assert_eq!(announced.identity, Some(slot));
}

/// As most DMSs have it.
#[tokio::test]
async fn what_the_ca_service_revokes_with_a_renewal_is_revoked_here() {
    let fixture = registered().await;
    let policy = json!({"max_versions": 2});
    let put = json!({"secret_type": "x509", "policy": policy});
    fixture.ok(Method::PUT, IDENTITY, put).await;
    let bind = async |request: BindIdentity| {
        let request = BindIdentity {
            revoke_superseded: Revoke::Yes,
            ..request
        };
        let bound = fixture.service.bind_identity(&caller(), request).await;
        bound.unwrap();
    };
    bind(first("dev-1", "0a")).await;
    bind(renewal("dev-1", "0b", 0, "0a")).await;
    let slot = fixture.ok(Method::GET, IDENTITY, Value::Null).await;
    let former = &slot["versions"][1];
    assert_eq!(
        (&former["state"], &former["revocation_reason"]),
        (&json!("REVOKED"), &json!("Superseded"))
    );
    for at in ["superseded_at", "revoked_at"] {
        assert_eq!(former[at], "2026-03-01T09:00:00Z");
    }
    // Nobody asks the CA service again.
    assert_eq!(asked_for(&fixture).await, [""; 0]);
    // What is out of use counts for the limit.
    bind(renewal("dev-1", "0c", 1, "0b")).await;
    let slot = fixture.ok(Method::GET, IDENTITY, Value::Null).await;
    assert_eq!(slot["secrets"], json!({"1": "0b", "2": "0c"}));
    // Of what no version tells any more, nobody could see whether it is revoked.
    assert_eq!(asked_for(&fixture).await, ["revoke 0a", "detach 0a"]);
}

/// What the CA service is asked for.
async fn asked_for(fixture: &Fixture) -> Vec<String> {
    let text = "SELECT task, serial_number FROM device_follow_up ORDER BY task DESC, serial_number";
    let asked = sql(text, vec![]);
    let rows = fixture.db.rows(asked).await.unwrap();
    let text = |row: &Row, column: &str| row.get::<String>(column).unwrap();
    rows.iter()
        .map(|row| format!("{} {}", text(row, "task"), text(row, "serial_number")))
        .collect()
}

#[tokio::test]
async fn a_certificate_that_is_bound_again_outlives_its_former_overlap() {
    let fixture = registered().await;
    let policy = json!({"overlap": "24h", "revoke_superseded": true});
    let put = json!({"secret_type": "x509", "policy": policy});
    fixture.ok(Method::PUT, IDENTITY, put).await;
    let (one, other) = (issued(&fixture).await, issued(&fixture).await);
    let (one, other) = (one.as_str(), other.as_str());
    for request in [
        first("dev-1", one),
        renewal("dev-1", other, 0, one),
        renewal("dev-1", one, 1, other),
    ] {
        fixture
            .service
            .bind_identity(&caller(), request)
            .await
            .unwrap();
    }
    let (now, active) = states(&fixture, IDENTITY).await;
    assert_eq!(now, ["RETIRED", "SUPERSEDED", "ACTIVE"]);
    assert_eq!(active, 2);
    fixture.pass(Duration::hours(24)).await;
    fixture.follow().await;
    let now = states(&fixture, IDENTITY).await.0;
    assert_eq!(now, ["RETIRED", "REVOKED", "ACTIVE"]);
    let status = async |serial: &str| {
        let serial = SerialNumber::parse(serial).unwrap();
        fixture.certificate(&serial).await.status
    };
    assert_eq!(status(one).await, CertificateStatus::Active);
    assert_eq!(status(other).await, CertificateStatus::Revoked);
    // Under its other number it is no way out either.
    let revoke = json!({"reason": "KeyCompromise", "fallback": true});
    let uri = format!("{IDENTITY}/versions/2/revoke");
    fixture.ok(Method::POST, &uri, revoke).await;
    assert_eq!(fixture.statuses("dev-1").await, ("REVOKED", "REVOKED"));
}

#[tokio::test]
async fn a_renewal_out_of_a_window_makes_slot_and_device_active() {
    let fixture = fixture().await;
    fixture.bound("dev-1", "0a").await;
    fixture.clock.advance(Duration::days(75));
    fixture
        .local
        .windows_job()
        .run(&system_caller("test"), fixture.db.now())
        .await
        .unwrap();
    assert_eq!(
        fixture.statuses("dev-1").await,
        ("RENEWAL_PENDING", "RENEWAL_PENDING")
    );
    let request = renewal("dev-1", "0b", 0, "0a");
    let mut request = BindIdentity {
        mode: "RE-PROVISIONED".to_owned(),
        ..request
    };
    request.certificate.valid_to.0 += Duration::days(200);
    let announced = fixture
        .service
        .bind_identity(&caller(), request)
        .await
        .unwrap();
    assert_eq!(announced.status.name(), "RENEWAL_PENDING");

    assert_eq!(fixture.statuses("dev-1").await, ("ACTIVE", "ACTIVE"));
    let slot = fixture.device("dev-1").await.identity.unwrap();
    let texts: Vec<_> = slot.events.values().rev().take(2).rev().collect();
    assert_eq!(
        json!(texts),
        json!([
            {"type": "RE-PROVISIONED", "description": "New Active Version set to 1"},
            {
                "type": "STATUS-UPDATED",
                "description": "Identity Slot Status updated from 'RENEWAL_PENDING' to 'ACTIVE'",
            },
        ])
    );
    assert_eq!(json!(slot.expiration_date), json!("2026-12-26T09:00:00Z"));
}

#[tokio::test]
async fn repeating_a_binding_changes_nothing() {
    let fixture = fixture().await;
    fixture
        .service
        .bind_identity(&caller(), just_in_time("dev-1", "0a"))
        .await
        .unwrap();
    let (device, told) = (fixture.device("dev-1").await, fixture.events().await.len());
    let repeated = fixture
        .service
        .bind_identity(&caller(), just_in_time("dev-1", "0a"))
        .await;
    assert_eq!(repeated.unwrap(), device);
    assert_eq!(fixture.device("dev-1").await, device);
    assert_eq!(fixture.events().await.len(), told);
}

#[tokio::test]
async fn a_binding_on_false_assumptions_is_refused() {
    let fixture = fixture().await;
    fixture.bound("dev-1", "0a").await;
    fixture.register("dev-2").await;
    let told = fixture.events().await.len();
    let changed = "device identity changed meanwhile";
    let mut other_owner = renewal("dev-1", "0b", 0, "0a");
    other_owner.dms = Box::new(dms("fleet-2"));
    let cases = [
        (first("dev-1", "0b"), changed),
        (just_in_time("dev-1", "0b"), changed),
        (renewal("dev-1", "0b", 0, "0c"), changed),
        (renewal("dev-1", "0b", 1, "0a"), changed),
        (renewal("dev-2", "0b", 0, "0a"), changed),
        (other_owner, changed),
        (first("nobody", "0b"), "device not found"),
        (renewal("nobody", "0b", 0, "0a"), "device not found"),
        (
            BindIdentity {
                expected: SlotState::NoDevice,
                ..first("nobody", "0b")
            },
            "device not found",
        ),
        (just_in_time("line\nfeed", "0b"), "struct validation error"),
    ];
    for (request, text) in cases {
        let shown = format!("{request:?}");
        let error = fixture
            .service
            .bind_identity(&caller(), request)
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), text, "{shown}");
    }
    assert_eq!(fixture.events().await.len(), told);
    assert_eq!(
        DeviceError::SlotChanged.kind().status(),
        StatusCode::CONFLICT
    );
}

#[tokio::test]
async fn nothing_is_bound_to_a_decommissioned_device() {
    let fixture = fixture().await;
    fixture.register("dev-1").await;
    fixture
        .execute(sql("UPDATE device SET status = 'DECOMMISSIONED'", vec![]))
        .await;
    let error = fixture
        .service
        .bind_identity(&caller(), first("dev-1", "0a"))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "device status does not allow this operation"
    );
    assert_eq!(error.kind().status(), StatusCode::CONFLICT);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_parallel_enrollments_one_is_bound() {
    let fixture = fixture().await;
    let tasks: Vec<_> = (1..=20)
        .map(|number| {
            let service = std::sync::Arc::clone(&fixture.service);
            let request = just_in_time("dev-1", &format!("{number:02x}"));
            tokio::spawn(async move { service.bind_identity(&caller(), request).await })
        })
        .collect();
    let mut bound = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => bound += 1,
            Err(error) => assert_eq!(error.to_string(), "device identity changed meanwhile"),
        }
    }
    assert_eq!(bound, 1);
    let slot = fixture.device("dev-1").await.identity.unwrap();
    assert_eq!((slot.active_version, slot.versions.len()), (0, 1));
    let binds = fixture.event_types(0).await;
    assert_eq!(
        binds
            .iter()
            .filter(|name| *name == "dms.bind-device-id")
            .count(),
        1
    );
}

#[tokio::test]
async fn every_change_is_audited() {
    let fixture = fixture().await;
    fixture
        .service
        .bind_identity(&caller(), just_in_time("dev-1", "0a"))
        .await
        .unwrap();
    let query = "SELECT operation, resource FROM audit_log ORDER BY id";
    let rows = fixture.db.rows(sql(query, vec![])).await.unwrap();
    let records: Vec<(String, String)> = rows
        .iter()
        .map(|row| (row.get(0).unwrap(), row.get(1).unwrap()))
        .collect();
    let record = |operation: &str| (operation.to_owned(), "device/dev-1".to_owned());
    assert_eq!(records, [record("device.create"), record("device.bind")]);
}

#[tokio::test]
async fn history_shows_the_newest_entries_only() {
    let fixture = fixture().await;
    fixture.register("dev-1").await;
    for number in 0..600_i64 {
        let text = "INSERT INTO device_event (device_id, slot, occurred_at, event_type, description) \
                    VALUES ('dev-1', '', $1, 'NOTE', '')";
        fixture
            .execute(sql(text, lamassu_db::params![number]))
            .await;
    }
    let device = fixture
        .service
        .device(&caller(), &DeviceId::from("dev-1"))
        .await
        .unwrap();
    assert_eq!(device.events.len(), 500);
    assert!(
        device
            .events
            .values()
            .any(|event| event.event_type == "CREATED")
    );
}
