//! Metrics appear under their names.

use std::collections::BTreeSet;
use std::sync::Mutex;

use lamassu_crypto::Message;
use lamassu_kms::metrics::{CREATED, DELETED, GENERATION, REAPED, SIGNATURES};
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use serde_json::json;
use time::Duration;

use crate::faulty::Fault;
use crate::support::{FAULTY, FILESYSTEM, caller, fixture, key_ref};

/// Remembers which metrics were touched, with their labels.
#[derive(Debug, Default)]
struct Touched(Mutex<BTreeSet<String>>);

impl Touched {
    fn touch(&self, key: &Key) {
        let labels = key
            .labels()
            .map(|label| format!(" {}={}", label.key(), label.value()));
        let line = format!("{}{}", key.name(), labels.collect::<String>());
        self.0.lock().unwrap().insert(line);
    }
}

impl Recorder for Touched {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.touch(key);
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.touch(key);
        Histogram::noop()
    }
}

#[tokio::test]
async fn the_life_of_keys_is_counted() {
    let kms = fixture().await;
    let touched = Touched::default();
    // Requests that change something run in tasks of this thread's runtime.
    let _guard = metrics::set_default_local_recorder(&touched);
    let id = kms.made_id(FILESYSTEM).await;
    let body = json!({"algorithm": "ECDSA_SHA_256", "message": "", "message_type": "raw"});
    kms.post(&format!("/v1/keys/{id}/sign"), body).await;
    let signer = kms.service.signer(&caller(), &key_ref(&id)).await.unwrap();
    let scheme = signer.public_key().default_scheme();
    signer.sign(scheme, Message::Raw(b"")).await.unwrap();
    kms.delete(&format!("/v1/keys/{id}")).await;
    let left = kms.made_id(FAULTY).await;
    kms.faulty.set(Fault::Failing);
    kms.delete(&format!("/v1/keys/{left}")).await;
    kms.faulty.set(Fault::None);
    kms.reap_after(Duration::minutes(1)).await;

    let touched = touched.0.lock().unwrap();
    for line in [
        format!("{CREATED} engine=filesystem-1"),
        format!("{GENERATION} engine=filesystem-1"),
        format!("{SIGNATURES} engine=filesystem-1 purpose=api"),
        format!("{SIGNATURES} engine=filesystem-1 purpose=platform"),
        format!("{DELETED} engine=filesystem-1"),
        format!("{DELETED} engine=faulty-1"),
        REAPED.to_owned(),
    ] {
        assert!(touched.contains(&line), "{line} in {touched:?}");
    }
}
