//! Renewal windows of bound certificates follow the policies of groups.

use http::Method;
use lamassu_core::device::BindIdentity;
use lamassu_db::{Job, sql, system_caller};
use serde_json::{Value, json};
use time::Duration;

use crate::groups::{criterion, id};
use crate::support::{Fixture, caller, first, fixture, windows};

impl Fixture {
    async fn run(&self, job: std::sync::Arc<dyn Job>) {
        let caller = system_caller(job.name());
        job.run(&caller, self.db.now()).await.unwrap();
    }

    async fn count(&self, text: &'static str) -> i64 {
        let row = self.db.row_opt(sql(text, vec![])).await.unwrap().unwrap();
        row.get("n").unwrap()
    }

    async fn policies_of(&self, n: u32, policies: Value) {
        let uri = format!("/v2/device-groups/{}", id(n));
        let (status, answer) = self
            .send(Method::PATCH, &uri, json!({"policies": policies}))
            .await;
        assert_eq!(status, 200, "{answer}");
    }
}

/// A binding whose DMS says what the windows are.
fn binding(device: &str, serial: &str) -> BindIdentity {
    let mut binding = first(device, serial);
    let settings = &mut binding.dms.settings.reenrollment_settings;
    settings.preventive_delta = windows().preventive;
    settings.critical_delta = windows().critical;
    binding
}

const KEPT: &str = "SELECT COUNT(*) AS n FROM device_dms_windows";
const TO_ATTACH: &str = "SELECT COUNT(*) AS n FROM device_follow_up WHERE task = 'attach'";

#[tokio::test]
async fn windows_of_bound_certificates_follow_policies_and_come_back() {
    let fixture = fixture().await;
    for (device, serial) in [("dev-1", "0a"), ("dev-2", "0b")] {
        fixture.register(device).await;
        let binding = binding(device, serial);
        fixture
            .service
            .bind_identity(&caller(), binding)
            .await
            .unwrap();
    }
    fixture
        .group(1, None, json!([criterion("id", "eq", "dev-1")]))
        .await;
    fixture.clock.advance(Duration::days(20));
    // Nobody asked for anything.
    fixture.run(fixture.local.renewal_job()).await;
    assert_eq!(
        (fixture.count(KEPT).await, fixture.count(TO_ATTACH).await),
        (0, 0)
    );

    // 80 days are left.
    fixture
        .policies_of(1, json!({"renewal": {"preventive_delta": "90d"}}))
        .await;
    assert_eq!(fixture.statuses("dev-1").await, ("ACTIVE", "ACTIVE"));
    fixture.run(fixture.local.renewal_job()).await;
    assert_eq!(
        fixture.statuses("dev-1").await,
        ("RENEWAL_PENDING", "RENEWAL_PENDING")
    );
    assert_eq!(fixture.statuses("dev-2").await, ("ACTIVE", "ACTIVE"));
    assert_eq!(
        (fixture.count(KEPT).await, fixture.count(TO_ATTACH).await),
        (1, 1)
    );
    // Once is enough.
    let n = fixture.events().await.len();
    fixture.run(fixture.local.renewal_job()).await;
    assert_eq!(fixture.events().await.len(), n);

    // With another policy it is still known what the DMS says.
    fixture
        .policies_of(
            1,
            json!({"renewal": {"preventive_delta": "50d", "critical_delta": "40d"}}),
        )
        .await;
    fixture.run(fixture.local.renewal_job()).await;
    assert_eq!(fixture.statuses("dev-1").await.0, "ACTIVE");
    fixture.clock.advance(Duration::days(45));
    fixture.run(fixture.local.windows_job()).await;
    assert_eq!(fixture.statuses("dev-1").await.0, "EXPIRING_SOON");
    // 35 days are left: too many for the DMS's windows.
    fixture.policies_of(1, json!({"renewal": null})).await;
    fixture.run(fixture.local.renewal_job()).await;
    assert_eq!(fixture.statuses("dev-1").await, ("ACTIVE", "ACTIVE"));
    // The newest windows are still to be told, in place of those before.
    assert_eq!(
        (fixture.count(KEPT).await, fixture.count(TO_ATTACH).await),
        (0, 1)
    );
    fixture.clock.advance(Duration::days(6));
    fixture.run(fixture.local.windows_job()).await;
    assert_eq!(fixture.statuses("dev-1").await.0, "RENEWAL_PENDING");
}

#[tokio::test]
async fn a_group_that_goes_takes_its_windows_with_it() {
    let fixture = fixture().await;
    fixture.group(1, None, json!([])).await;
    fixture
        .policies_of(1, json!({"renewal": {"preventive_delta": "99d"}}))
        .await;
    fixture.register("dev-1").await;
    let mut under_policy = binding("dev-1", "0a");
    let found = fixture
        .service
        .enrolling_device(&caller(), &"dev-1".into(), None)
        .await
        .unwrap();
    under_policy.windows = found.renewal.over(under_policy.windows);
    fixture
        .service
        .bind_identity(&caller(), under_policy)
        .await
        .unwrap();
    assert_eq!(fixture.count(KEPT).await, 1);
    fixture.run(fixture.local.renewal_job()).await;
    fixture.clock.advance(Duration::days(2));
    fixture.run(fixture.local.windows_job()).await;
    assert_eq!(fixture.statuses("dev-1").await.0, "RENEWAL_PENDING");
    let uri = format!("/v2/device-groups/{}", id(1));
    assert_eq!(fixture.send(Method::DELETE, &uri, Value::Null).await.0, 204);
    fixture.run(fixture.local.renewal_job()).await;
    assert_eq!(fixture.statuses("dev-1").await.0, "ACTIVE");
    assert_eq!(fixture.count(KEPT).await, 0);
}

#[tokio::test]
async fn a_slots_policy_comes_before_groups_and_groups_before_the_dms() {
    let fixture = fixture().await;
    let slot = "/v2/devices/dev-1/slots/identity";
    let own = |days: u32| json!({"secret_type": "x509", "policy": {"preventive_delta": format!("{days}d")}});
    fixture.group(1, None, json!([])).await;
    fixture
        .policies_of(
            1,
            json!({"renewal": {"preventive_delta": "60d", "critical_delta": "50d"}}),
        )
        .await;
    fixture.register("dev-1").await;
    fixture.ok(Method::PUT, slot, own(90)).await;
    // Bound as by enrollment: 90 days by the slot, 50 by the group.
    let mut enrolled = binding("dev-1", "0a");
    let found = fixture
        .service
        .enrolling_device(&caller(), &"dev-1".into(), None)
        .await
        .unwrap();
    enrolled.windows = found.renewal.over(enrolled.windows);
    fixture
        .service
        .bind_identity(&caller(), enrolled)
        .await
        .unwrap();
    let windows = async || {
        let text = "SELECT (not_after - preventive_at) / 86400000000 AS preventive, \
            (not_after - critical_at) / 86400000000 AS critical FROM device";
        let row = fixture.db.row_opt(sql(text, vec![])).await.unwrap();
        let row = row.unwrap();
        let days = |name: &str| row.get::<i64>(name).unwrap();
        (days("preventive"), days("critical"))
    };
    assert_eq!(windows().await, (90, 50));
    assert_eq!(
        (fixture.count(KEPT).await, fixture.count(TO_ATTACH).await),
        (1, 1)
    );
    // The job finds nothing to do, and a version that is added over v2 has the same.
    fixture.run(fixture.local.renewal_job()).await;
    assert_eq!(windows().await, (90, 50));
    let certificate = fixture.issued("dev-1").await;
    let added = json!({"secret": {"serial_number": certificate.serial_number.as_str()}});
    fixture
        .ok(Method::POST, &format!("{slot}/versions"), added)
        .await;
    assert_eq!(windows().await, (90, 50));
    // Another policy of the slot counts at once: 15 of 100 days are over.
    fixture.clock.advance(Duration::days(15));
    fixture.run(fixture.local.windows_job()).await;
    assert_eq!(fixture.statuses("dev-1").await.0, "RENEWAL_PENDING");
    fixture.ok(Method::PUT, slot, own(70)).await;
    assert_eq!(windows().await, (70, 50));
    assert_eq!(fixture.statuses("dev-1").await, ("ACTIVE", "ACTIVE"));
    // Without the group it is the slot, then the DMS: 7 days before the end.
    fixture.policies_of(1, json!({"renewal": null})).await;
    fixture.run(fixture.local.renewal_job()).await;
    assert_eq!(windows().await, (70, 7));
    // And without the slot's own the DMS alone, as it was when the certificate was bound.
    fixture
        .ok(
            Method::PUT,
            slot,
            json!({"secret_type": "x509", "policy": {}}),
        )
        .await;
    assert_eq!(windows().await, (30, 7));
    assert_eq!(fixture.count(KEPT).await, 0);
}
