#![cfg(test)]
//! The engine over tokens of SoftHSM2: the suite of all engines, and what is its own.

mod configuration;
mod import;
mod keys;
mod loss;
mod neighbours;

use lamassu_crypto_pkcs11::{ConnectError, Modules, Pkcs11Config, Pkcs11Engine};
use lamassu_testing::{SoftHsm, conformance};
use serde_json::json;

/// A configuration for the token of a test.
fn config() -> Pkcs11Config {
    let config = json!({
        "id": "hsm-1", "module_path": SoftHsm::module(), "token": SoftHsm::TOKEN,
        "pin": SoftHsm::PIN,
    });
    serde_json::from_value(config).unwrap()
}

fn connect(config: Pkcs11Config) -> Result<Pkcs11Engine, ConnectError> {
    Pkcs11Engine::connect(config, &Modules::default(), &|_| None)
}

#[test]
fn conforms() {
    SoftHsm::with_token("conforms", async |_| {
        let engine = connect(config()).unwrap();
        conformance::conforms(&engine).await;
    });
}

#[test]
fn conforms_with_one_session() {
    SoftHsm::with_token("conforms_with_one_session", async |_| {
        let config = Pkcs11Config {
            sessions: 1,
            ..config()
        };
        let engine = connect(config).unwrap();
        conformance::conforms(&engine).await;
    });
}
