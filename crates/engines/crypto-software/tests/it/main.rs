#![cfg(test)]
//! The engine in memory: the suite of all engines, and what is its own.

mod generator;

use lamassu_crypto_software::{KeyGenerator, SoftwareConfig, SoftwareEngine};
use lamassu_testing::conformance;

fn engine() -> SoftwareEngine {
    let config = SoftwareConfig {
        id: "volatile-1".to_owned(),
        metadata: serde_json::Map::new(),
    };
    SoftwareEngine::new(config, KeyGenerator::new(1))
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms() {
    conformance::conforms(&engine()).await;
}

#[test]
fn describes_itself_as_in_the_documentation() {
    use lamassu_core::crypto_engine::{CryptoEngine as _, EngineType, SecurityLevel};

    let engine = engine();
    let info = engine.info();
    assert_eq!(info.engine_type, EngineType::Golang);
    assert_eq!(info.security_level, SecurityLevel::Host);
    assert_eq!(info.provider, "Software");
}
