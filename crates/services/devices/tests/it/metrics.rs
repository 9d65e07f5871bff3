//! Metrics appear under their names.

use std::collections::BTreeSet;
use std::sync::Mutex;

use lamassu_db::system_caller;
use lamassu_devices::metrics::{BOUND, CREATED, SLOT_STATUS};
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use time::Duration;

use crate::support::{caller, fixture, just_in_time};

/// Remembers which counters were touched, with their labels.
#[derive(Debug, Default)]
struct Counters(Mutex<BTreeSet<String>>);

impl Recorder for Counters {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let labels = key
            .labels()
            .map(|label| format!(" {}={}", label.key(), label.value()));
        let line = format!("{}{}", key.name(), labels.collect::<String>());
        self.0.lock().unwrap().insert(line);
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[tokio::test]
async fn changes_are_counted() {
    let fixture = fixture().await;
    let counters = Counters::default();
    let _guard = metrics::set_default_local_recorder(&counters);
    let request = just_in_time("dev-1", "0a");
    fixture
        .service
        .bind_identity(&caller(), request)
        .await
        .unwrap();
    fixture.clock.advance(Duration::days(80));
    fixture
        .local
        .windows_job()
        .run(&system_caller("test"), fixture.db.now())
        .await
        .unwrap();

    let touched = counters.0.lock().unwrap();
    let slot_status = format!("{SLOT_STATUS} status=RENEWAL_PENDING");
    for name in [CREATED, BOUND, slot_status.as_str()] {
        assert!(touched.contains(name), "{name} is not in {touched:?}");
    }
}
