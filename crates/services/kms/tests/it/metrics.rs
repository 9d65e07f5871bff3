//! Metrics appear under their names, and each has a help text.

use lamassu_crypto::Message;
use lamassu_http::testing::SeenMetrics;
use lamassu_kms::metrics::{
    CREATED, DELETED, ENGINE_UP, GENERATION, IMPORTED, MOVED, REAPED, SIGNATURES, USAGE_NOT_STORED,
};
use serde_json::json;
use time::Duration;
use tokio_util::sync::CancellationToken;

use crate::faulty::Fault;
use crate::support::{FAULTY, FILESYSTEM, SOFTWARE, caller, fixture, key_ref, sample};

#[tokio::test]
async fn the_life_of_keys_is_counted() {
    let kms = fixture().await;
    let seen = SeenMetrics::default();
    // Requests that change something run in tasks of this thread's runtime.
    let _guard = metrics::set_default_local_recorder(&seen);
    lamassu_kms::describe_metrics();
    let id = kms.made_id(FILESYSTEM).await;
    let body = json!({"algorithm": "ECDSA_SHA_256", "message": "", "message_type": "raw"});
    kms.post(&format!("/v1/keys/{id}/sign"), body).await;
    let signer = kms.service.signer(&caller(), &key_ref(&id)).await.unwrap();
    let scheme = signer.public_key().default_scheme();
    signer.sign(scheme, Message::Raw(b"")).await.unwrap();
    kms.post(
        &format!("/v1/keys/{id}/move"),
        json!({"engine_id": SOFTWARE}),
    )
    .await;
    kms.delete(&format!("/v1/keys/{id}")).await;
    let imported = json!({"private_key": sample("ed25519.pem"), "engine_id": FILESYSTEM});
    kms.post("/v1/keys/import", imported).await;
    let left = kms.made_id(FAULTY).await;
    kms.faulty.set(Fault::Failing);
    kms.delete(&format!("/v1/keys/{left}")).await;
    kms.get("/v1/engines").await;
    kms.faulty.set(Fault::None);
    kms.reap_after(Duration::minutes(1)).await;
    // What was counted cannot be stored.
    kms.db.close().await;
    let over = CancellationToken::new();
    over.cancel();
    kms.kms.run(&over).await;

    let counts = seen.counts();
    for (line, count) in [
        (format!("{CREATED} engine=filesystem-1"), 1),
        (format!("{GENERATION} engine=filesystem-1"), 0),
        (format!("{SIGNATURES} engine=filesystem-1 purpose=api"), 1),
        (
            format!("{SIGNATURES} engine=filesystem-1 purpose=platform"),
            1,
        ),
        (format!("{MOVED} engine=software-1"), 1),
        (format!("{DELETED} engine=software-1"), 1),
        (format!("{DELETED} engine=faulty-1"), 1),
        (format!("{IMPORTED} engine=filesystem-1"), 1),
        (format!("{ENGINE_UP} engine=faulty-1"), 0),
        (format!("{ENGINE_UP} engine=filesystem-1"), 0),
        (format!("{USAGE_NOT_STORED} "), 1),
        (format!("{REAPED} "), 1),
    ] {
        assert_eq!(counts.get(&line), Some(&count), "{line} in {counts:?}");
    }
    let help = seen.help();
    let ours = counts.keys().filter_map(|line| line.split(' ').next());
    for name in ours.filter(|name| name.starts_with("lamassu_kms_")) {
        assert!(
            help.get(name).is_some_and(|text| !text.is_empty()),
            "{name}"
        );
    }
    assert_eq!(help.len(), 10, "{help:?}");
}
