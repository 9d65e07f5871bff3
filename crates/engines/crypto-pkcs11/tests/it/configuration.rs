//! What is read from the configuration, and what is refused before anything is opened.

use lamassu_core::crypto_engine::{CryptoEngine as _, EngineType, SecurityLevel};
use lamassu_crypto_pkcs11::{
    ConfigError, ConnectError, Modules, Pkcs11Config, Pkcs11Engine, Pkcs11Error,
};
use lamassu_testing::SoftHsm;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::{config, connect};

/// The options of an engine, some of them replaced; null takes one away.
fn options(changes: Value) -> Value {
    let mut options = json!({
        "id": "hsm-1", "module_path": "/usr/lib/module.so", "token": "lamassu", "pin": "1234",
    });
    let Value::Object(changes) = changes else {
        panic!("an object");
    };
    for (name, value) in changes {
        options[name] = value;
    }
    options
}

fn parse(changes: Value) -> Result<Pkcs11Config, serde_json::Error> {
    serde_json::from_value(options(changes))
}

#[test]
fn the_keys_of_the_reference_are_read() {
    let config = parse(json!({
        "module_extra_options": {"env": {"PKCS11_PROXY_SOCKET": "tcp://softhsm:5657"}},
        "metadata": {"site": "lab"},
    }))
    .unwrap();
    config.validate().unwrap();
    assert_eq!(config.token, "lamassu");
    assert_eq!(config.pin.unwrap().expose_secret(), "1234");
    assert_eq!(
        config.module_extra_options.env["PKCS11_PROXY_SOCKET"],
        "tcp://softhsm:5657"
    );
    assert_eq!(config.metadata["site"], "lab");
    assert_eq!(config.sessions, 4);
}

#[test]
fn the_pin_is_in_no_debug_text_and_no_refusal() {
    let config = parse(json!({"pin": "90210"})).unwrap();
    assert!(!format!("{config:?}").contains("90210"));
    let number = parse(json!({"pin": 90210})).unwrap_err();
    assert_eq!(number.to_string(), "the pin is no text: write it in quotes");
}

#[test]
fn unknown_members_are_refused_by_name() {
    let refused = parse(json!({"tokne": "x"})).unwrap_err().to_string();
    assert!(refused.starts_with("unknown field `tokne`"), "{refused}");
}

#[test]
fn what_cannot_work_is_refused_without_opening_anything() {
    for (changes, expected) in [
        (json!({"module_path": ""}), ConfigError::NoModule),
        (json!({"token": ""}), ConfigError::NoToken),
        (json!({"pin": null}), ConfigError::Pins),
        (json!({"pin_file": "/pin"}), ConfigError::Pins),
        (json!({"pin_env": "PIN"}), ConfigError::Pins),
        (json!({"pin": ""}), ConfigError::EmptyPin),
        (json!({"sessions": 0}), ConfigError::Sessions),
        (json!({"sessions": 65}), ConfigError::Sessions),
        (json!({"call_timeout": "0s"}), ConfigError::CallTimeout),
        (
            json!({"module_extra_options": {"env": {"A=B": "C"}}}),
            ConfigError::VariableName("A=B".to_owned()),
        ),
    ] {
        let config = parse(changes.clone()).unwrap();
        assert_eq!(config.validate(), Err(expected), "{changes}");
    }
}

#[test]
fn a_module_that_is_none_is_named() {
    for path in ["/nowhere/module.so", "/usr/lib/x86_64-linux-gnu/libm.so.6"] {
        let refused = connect(parse(json!({"module_path": path})).unwrap()).unwrap_err();
        let expected = format!("the PKCS#11 module {path} cannot be loaded");
        assert_eq!(refused.to_string(), expected);
    }
}

#[test]
fn the_pin_may_be_in_a_file_or_in_the_environment() {
    SoftHsm::with_token(
        "configuration::the_pin_may_be_in_a_file_or_in_the_environment",
        async |_| {
            let directory = tempfile::tempdir().unwrap();
            let file = directory.path().join("pin");
            std::fs::write(&file, format!("{}\n", SoftHsm::PIN)).unwrap();
            let in_file = Pkcs11Config {
                pin: None,
                pin_file: Some(file),
                ..config()
            };
            let modules = Modules::default();
            let engine = Pkcs11Engine::connect(in_file, &modules, &|_| None).unwrap();
            engine.health().await.unwrap();

            let in_environment = Pkcs11Config {
                pin: None,
                pin_env: Some("HSM_PIN".to_owned()),
                ..config()
            };
            let refused = Pkcs11Engine::connect(in_environment.clone(), &modules, &|_| None);
            assert_eq!(
                refused.unwrap_err().to_string(),
                "the environment variable HSM_PIN, which holds the PIN, is not set"
            );
            let lookup = |name: &str| (name == "HSM_PIN").then(|| SoftHsm::PIN.to_owned());
            let second = Pkcs11Engine::connect(in_environment, &modules, &lookup);
            second.unwrap().health().await.unwrap();
        },
    );
}

#[test]
fn a_token_that_is_not_there_is_named() {
    SoftHsm::with_token(
        "configuration::a_token_that_is_not_there_is_named",
        async |_| {
            let refused = connect(Pkcs11Config {
                token: "elsewhere".to_owned(),
                ..config()
            })
            .unwrap_err();
            assert!(
                matches!(&refused, ConnectError::Token(Pkcs11Error::TokenNotFound(label)) if label == "elsewhere"),
                "{refused:?}"
            );
        },
    );
}

#[test]
fn a_refused_pin_is_shown_to_the_token_once() {
    SoftHsm::with_token(
        "configuration::a_refused_pin_is_shown_to_the_token_once",
        async |_| {
            let wrong = Pkcs11Config {
                pin: Some("0000".into()),
                ..config()
            };
            let refused = connect(wrong).unwrap_err();
            assert!(
                matches!(
                    refused,
                    ConnectError::Token(Pkcs11Error::PinRefused(Some(_)))
                ),
                "{refused:?}"
            );
        },
    );
}

#[test]
fn it_describes_itself_as_in_the_documentation() {
    SoftHsm::with_token(
        "configuration::it_describes_itself_as_in_the_documentation",
        async |_| {
            let mut config = config();
            config.metadata.insert("site".to_owned(), json!("lab"));
            let engine = connect(config).unwrap();
            let info = engine.info();
            assert_eq!(info.engine_type, EngineType::Pkcs11);
            assert_eq!(info.security_level, SecurityLevel::Device);
            assert_eq!(info.provider, "SoftHSM");
            assert_eq!(info.name, "SoftHSM v2");
            let sizes: Vec<_> = info.supported.iter().map(|spec| spec.bits()).collect();
            assert_eq!(sizes, [2048, 3072, 4096, 8192, 224, 256, 384, 521, 256]);
            let metadata = serde_json::to_value(&info.metadata).unwrap();
            assert_eq!(
                metadata,
                json!({
                    "site": "lab",
                    "lamassu.io/cryptoengine/pkcs11/cryptoki-version": "2.40",
                    "lamassu.io/cryptoengine/pkcs11/library": "Implementation of PKCS11",
                    "lamassu.io/cryptoengine/pkcs11/manufacturer": "SoftHSM",
                    "lamassu.io/cryptoengine/pkcs11/model": "SoftHSM v2",
                })
            );
        },
    );
}
