//! CAs whose certificates are divided into shards with CRLs of their own.

use http::StatusCode;
use lamassu_ca::CaConfig;
use lamassu_core::ids::SerialNumber;
use lamassu_core::va::CrlShards;
use serde_json::json;

use crate::support::{World, device_profile, root_body, x509};

/// The list of its shard, by its serial number; a number of shards is the CA's for good.
#[tokio::test]
async fn a_certificate_of_a_ca_with_shards_names_the_list_of_its_own() {
    let config = CaConfig {
        va_server_domains: vec!["va.example/api/va".to_owned()],
        ..CaConfig::default()
    };
    let world = World::with_config(config).await;
    let mut body = root_body("root-a", &world.profile(device_profile()).await);
    for refused in [0, 1, 1025] {
        body["crl_shards"] = json!(refused);
        let answer = world.post("/v1/cas", body.clone()).await;
        assert_eq!(answer.refusal(), (400, "crl_shards must be 2 to 1024"));
    }
    body["crl_shards"] = json!(16);
    let made = world.post("/v1/cas", body).await.with(StatusCode::CREATED);
    assert_eq!(made["crl_shards"], 16);
    let ski = made["certificate"]["subject_key_id"].as_str().unwrap();
    let answer = world.post("/v1/cas/root-a/reissue", json!({})).await;
    answer.with(StatusCode::OK);
    assert_eq!(world.ca("root-a").await["crl_shards"], 16);
    let shards = CrlShards::try_from(16).unwrap();
    for n in 0..5 {
        let issued = world.issue("root-a", &format!("device-{n}")).await;
        let serial = issued["serial_number"].as_str().unwrap();
        let shard = shards.of(&SerialNumber::parse(serial).unwrap());
        let locations = x509(&issued).extensions().access_locations().unwrap();
        let expected = format!("http://va.example/api/va/crl/{ski}/{shard}");
        assert_eq!(locations.crl, [expected]);
    }
    // A CA below it is a certificate of it, too, and has one list of its own.
    let sub = world.sub(&made, "sub-a").await;
    let locations = x509(&sub["certificate"])
        .extensions()
        .access_locations()
        .unwrap();
    assert!(locations.crl[0].ends_with("-of-16"), "{locations:?}");
    assert_eq!(sub.get("crl_shards"), None);
    let below = world.issue("sub-a", "device-9").await;
    let locations = x509(&below).extensions().access_locations().unwrap();
    assert!(!locations.crl[0].contains("-of-"), "{locations:?}");
}

#[tokio::test]
async fn shards_without_an_address_are_refused() {
    let world = World::new().await;
    let mut body = root_body("root-a", &world.profile(device_profile()).await);
    body["crl_shards"] = json!(16);
    let answer = world.post("/v1/cas", body).await;
    let reason =
        "crl_shards needs an address that certificates name: set va_server_domains (--domain)";
    assert_eq!(answer.refusal(), (400, reason));
    assert_eq!(world.count("certificate_authority").await, 0);
}
