//! The same call twenty times at once.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::StatusCode;
use lamassu_core::ids::{OperationId, SerialNumber};
use lamassu_core::kms::BOUND_RESOURCES;
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{FILESYSTEM, Fixture, caller, fixture, key_ref, p256_for};

const N: u32 = 20;

/// Runs `call` twenty times in parallel and gives what it gave.
async fn twenty<T: Send + 'static, F>(
    kms: &Arc<Fixture>,
    call: impl Fn(Arc<Fixture>, u32) -> F,
) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
{
    let mut calls = JoinSet::new();
    for n in 0..N {
        calls.spawn(call(Arc::clone(kms), n));
    }
    calls.join_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_creations_make_twenty_keys() {
    let kms = Arc::new(fixture().await);
    let made = twenty(&kms, |kms, _| async move {
        let body = json!({"algorithm": "ECDSA", "size": 256, "name": "same"});
        let (status, key) = kms.post("/v1/keys", body).await;
        (
            status,
            key["key_id"].as_str().unwrap_or_default().to_owned(),
        )
    })
    .await;
    assert!(
        made.iter()
            .all(|(status, _)| *status == StatusCode::CREATED)
    );
    let ids: BTreeSet<_> = made.into_iter().map(|(_, id)| id).collect();
    assert_eq!(ids.len(), 20);
    assert_eq!((kms.n_key_files(), kms.n_rows().await), (20, 20));
    assert_eq!(kms.told().await.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_deletions_delete_once() {
    let kms = Arc::new(fixture().await);
    let id = kms.made_id(FILESYSTEM).await;
    let statuses = twenty(&kms, move |kms, _| {
        let path = format!("/v1/keys/{id}");
        async move { kms.delete(&path).await.0 }
    })
    .await;
    let n_done = statuses
        .iter()
        .filter(|status| **status == StatusCode::OK)
        .count();
    let n_gone = statuses
        .iter()
        .filter(|status| **status == StatusCode::NOT_FOUND)
        .count();
    assert_eq!((n_done, n_gone), (1, 19));
    let told = kms.told().await;
    let n_told = told
        .iter()
        .filter(|(event_type, _)| event_type == "kms.delete")
        .count();
    assert_eq!(n_told, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_certificates_are_bound_and_none_is_lost() {
    let kms = Arc::new(fixture().await);
    let id = kms.made_id(FILESYSTEM).await;
    let key = key_ref(&id);
    twenty(&kms, move |kms, n| {
        let key = key.clone();
        async move {
            let serial = SerialNumber::from_bytes(&[u8::try_from(n).unwrap() + 1]);
            kms.service
                .bind_certificate(&caller(), &key, &serial)
                .await
                .unwrap();
        }
    })
    .await;
    let (_, key) = kms.get(&format!("/v1/keys/{id}")).await;
    let bound = key["metadata"][BOUND_RESOURCES].as_array().unwrap();
    let serials: BTreeSet<_> = bound
        .iter()
        .map(|entry| entry["resource_id"].to_string())
        .collect();
    assert_eq!((bound.len(), serials.len()), (20, 20));
    assert_eq!(kms.told().await.len(), 21);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_certificate_bound_twenty_times_is_bound_once() {
    let kms = Arc::new(fixture().await);
    let id = kms.made_id(FILESYSTEM).await;
    let key = key_ref(&id);
    twenty(&kms, move |kms, _| {
        let key = key.clone();
        async move {
            let serial = SerialNumber::from_bytes(&[7]);
            kms.service
                .bind_certificate(&caller(), &key, &serial)
                .await
                .unwrap();
        }
    })
    .await;
    let (_, key) = kms.get(&format!("/v1/keys/{id}")).await;
    assert_eq!(
        key["metadata"][BOUND_RESOURCES].as_array().unwrap().len(),
        1
    );
    assert_eq!(kms.told().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_operation_begun_twenty_times_makes_one_key() {
    let kms = Arc::new(fixture().await);
    let operation = OperationId::fresh();
    let again = operation.clone();
    let made = twenty(&kms, move |kms, _| {
        let asked = p256_for(&again);
        async move {
            let made = kms.service.create_key(&caller(), asked).await;
            made.map(|key| key.key_id)
                .map_err(|error| error.to_string())
        }
    })
    .await;
    let ids: BTreeSet<_> = made.iter().filter_map(|made| made.as_ref().ok()).collect();
    assert_eq!(ids.len(), 1);
    let refusals: BTreeSet<_> = made.iter().filter_map(|made| made.as_ref().err()).collect();
    assert!(
        refusals
            .iter()
            .all(|text| *text == "key generation queue is full"),
        "{refusals:?}"
    );
    assert_eq!(kms.faulty.n_keys().await, 1);
    assert_eq!(kms.n_rows().await, 1);
}
