//! Keys that move to another engine, with the real key management service.

use http::{Method, StatusCode};
use lamassu_ca::MOVED_SUBSCRIPTION;
use lamassu_core::ids::{EngineId, KeyRef};
use lamassu_core::kms::KmsService as _;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::{
    Foreign, ForeignPlan, World, ask, both_services, caller, csr, device_profile, p256, root_body,
    x509,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cas_and_requests_show_the_engine_that_their_key_was_moved_to() {
    let world = World::new().await;
    let (router, kms, service) = both_services(&world.db).await;
    let profile = world.profile(device_profile()).await;
    // What the imported one calls its key is not the key manager's name of it.
    let foreign = |name: u8| {
        let plan = ForeignPlan {
            key_identifier: vec![name; 20],
            ..ForeignPlan::root("Foreign Root")
        };
        plan.make()
    };
    let (foreign, renewed) = (foreign(0xab), foreign(0xcd));
    let import = |id: &str, ca: &Foreign| {
        json!({
            "id": id, "ca": ca.wire(), "private_key": ca.key_wire(), "profile_id": profile,
        })
    };
    let request = json!({
        "id": "asked", "subject": { "common_name": "Asked" },
        "key_metadata": { "type": "ECDSA", "bits": 256 },
    });
    let still = root_body("still", &profile);
    for (path, body) in [
        ("/v1/cas", root_body("made", &profile)),
        ("/v1/cas", still),
        ("/v1/cas/import", import("imported", &foreign)),
        ("/v1/cas/import", import("renewed", &renewed)),
        ("/v1/cas/requests", request),
    ] {
        let answer = ask(&router, Method::POST, path, Some(body.to_string())).await;
        answer.with(StatusCode::CREATED);
    }
    // The certificate that it has from now on is one that nobody imported.
    let path = "/v1/cas/renewed/reissue";
    let again = ask(&router, Method::POST, path, Some("null".to_owned())).await;
    let again = again.with(StatusCode::OK)["certificate"].clone();
    assert_eq!(again["subject_key_id"], json!("cd".repeat(20)));
    let get = async |path: &str| {
        ask(&router, Method::GET, path, None)
            .await
            .with(StatusCode::OK)
    };
    let made = get("/v1/cas/made").await["certificate"].clone();
    let keys = [
        x509(&made).public_key().unwrap().key_id_sha256_hex(),
        foreign
            .certificate
            .public_key()
            .unwrap()
            .key_id_sha256_hex(),
        renewed
            .certificate
            .public_key()
            .unwrap()
            .key_id_sha256_hex(),
        get("/v1/cas/requests/asked").await["key_id"]
            .as_str()
            .unwrap()
            .to_owned(),
    ];
    // There and back and there again: the last move counts.
    for engine in ["memory-2", "memory-1", "memory-2"] {
        for key in &keys {
            kms.move_key(
                &caller(),
                &KeyRef::from(key.as_str()),
                &EngineId::from(engine),
            )
            .await
            .unwrap();
        }
    }
    let shutdown = CancellationToken::new();
    let (subscription, handler) = service.moved_subscription();
    tokio::join!(
        subscription.run(handler, &shutdown),
        world.caught_up(MOVED_SUBSCRIPTION, &shutdown)
    );
    for (id, engine) in [
        ("made", "memory-2"),
        ("imported", "memory-2"),
        ("renewed", "memory-2"),
        ("still", "memory-1"),
    ] {
        let ca = get(&format!("/v1/cas/{id}")).await;
        assert_eq!(ca["certificate"]["engine_id"], engine, "{id}");
        let serial = ca["serial_number"].as_str().unwrap();
        let own = get(&format!("/v1/certificates/{serial}")).await;
        assert_eq!(own["engine_id"], engine, "{id}");
        let body = json!({ "csr": csr(&p256(), "device-1").to_wire() });
        let path = format!("/v1/cas/{id}/certificates/sign");
        let issued = ask(&router, Method::POST, &path, Some(body.to_string())).await;
        let key = x509(&ca["certificate"]).public_key().unwrap();
        assert_eq!(
            x509(&issued.with(StatusCode::CREATED)).verify_signed_by(&key),
            Ok(())
        );
    }
    assert_eq!(get("/v1/cas/requests/asked").await["engine_id"], "memory-2");
    let counted = get("/v1/stats").await;
    let expected = json!({ "memory-1": 1, "memory-2": 3 });
    assert_eq!(counted["cas"]["engine_distribution"], expected);
}
