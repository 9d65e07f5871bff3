//! Metrics appear under their names and count what they say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use http::StatusCode;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use serde_json::json;
use time::Duration;

use crate::enrollment::supersede;
use crate::support::{World, caller};

/// Remembers which metrics were described and recorded, and what the counters count.
#[derive(Debug, Default)]
struct Recorded {
    described: Mutex<BTreeSet<String>>,
    counters: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    histograms: Mutex<BTreeSet<String>>,
}

impl Recorded {
    fn describe(&self, name: &KeyName) {
        let name = name.as_str().to_owned();
        self.described.lock().unwrap().insert(name);
    }

    /// Names and values of this service's counters that were touched.
    fn counted(&self) -> BTreeMap<String, u64> {
        let counters = self.counters.lock().unwrap();
        counters
            .iter()
            .filter(|(name, _)| name.starts_with("lamassu_ca_"))
            .map(|(name, count)| (name.clone(), count.load(Ordering::Relaxed)))
            .collect()
    }
}

impl Recorder for Recorded {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.describe(&name);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.describe(&name);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.describe(&name);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let mut counters = self.counters.lock().unwrap();
        let count = counters.entry(key.name().to_owned()).or_default();
        Counter::from_arc(Arc::clone(count))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let name = key.name().to_owned();
        self.histograms.lock().unwrap().insert(name);
        Histogram::noop()
    }
}

#[tokio::test]
async fn every_metric_is_described_and_counts() {
    let recorded = Recorded::default();
    let _guard = metrics::set_default_local_recorder(&recorded);
    lamassu_ca::describe_metrics();
    let world = World::new().await;
    world.root("root-a").await;
    world.issue("root-a", "device-1").await;
    world.clock.advance(Duration::hours(13));
    let job = world.service.expiry_job();
    job.run(&caller(), world.db.now()).await.unwrap();

    let counted = recorded.counted();
    let expected = [
        ("lamassu_ca_authorities_created_total", 1),
        ("lamassu_ca_certificates_expired_total", 1),
        ("lamassu_ca_certificates_issued_total", 1),
    ];
    let expected = expected.map(|(name, count)| (name.to_owned(), count));
    assert_eq!(counted, expected.into());
    let duration = "lamassu_ca_issue_duration_seconds";
    assert!(recorded.histograms.lock().unwrap().contains(duration));
    let described = recorded.described.lock().unwrap();
    let revoked = "lamassu_ca_certificates_revoked_total";
    for name in counted
        .keys()
        .map(String::as_str)
        .chain([duration, revoked])
    {
        assert!(described.contains(name), "{name} is not in {described:?}");
    }
}

#[tokio::test]
async fn a_revocation_counts_whatever_its_cause() {
    let recorded = Recorded::default();
    let _guard = metrics::set_default_local_recorder(&recorded);
    let revoked = || recorded.counted()["lamassu_ca_certificates_revoked_total"];
    let world = World::new().await;
    world.root("root-a").await;
    let service = &world.reached;

    let asked_for = world.issue("root-a", "device-1").await;
    let serial = asked_for["serial_number"].as_str().unwrap();
    let path = format!("/v1/certificates/{serial}/status");
    let status = json!({ "status": "REVOKED" });
    world.put(&path, status).await.with(StatusCode::OK);
    assert_eq!(revoked(), 1);

    let old = world.enroll(None).await;
    let new = world.enroll(Some(supersede(&old))).await;
    for _ in 0..2 {
        service
            .complete_enrollment(&caller(), &new.serial_number)
            .await
            .unwrap();
        assert_eq!(revoked(), 2, "the superseded one, once");
    }

    let undelivered = world.enroll(None).await;
    for _ in 0..2 {
        service
            .abandon_enrollment(&caller(), &undelivered.serial_number)
            .await
            .unwrap();
        assert_eq!(revoked(), 3, "the undelivered one, once");
    }
}
