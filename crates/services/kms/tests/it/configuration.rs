//! The configuration block `crypto_engines`.

use lamassu_crypto_filesystem::FilesystemConfig;
use lamassu_crypto_software::SoftwareConfig;
use lamassu_kms::{CryptoEnginesConfig, EngineKind};
use serde_json::{Value, json};

fn read(block: Value) -> Result<CryptoEnginesConfig, String> {
    serde_json::from_value(block).map_err(|error| error.to_string())
}

fn refused(block: Value) -> String {
    read(block).unwrap().validate().unwrap_err().to_string()
}

#[test]
fn the_object_names_its_default_engine() {
    let config = read(json!({
        "log_level": "info",
        "default_id": "memory",
        "migrate_keys_format": false,
        "engines": [
            {"id": "filesystem-1", "type": "filesystem", "storage_directory": "/crypto/fs",
             "metadata": {"site": "lab"}, "passphrase_file": "/run/secrets/keys"},
            {"id": "memory", "type": "software"},
        ],
    }))
    .unwrap();
    config.validate().unwrap();
    assert_eq!(config.default_id.as_str(), "memory");
    let [files, memory] = config.engines.as_slice() else {
        panic!("two engines: {config:?}");
    };
    assert_eq!(files.kind(), Ok(EngineKind::Filesystem));
    let options: FilesystemConfig = files.options().unwrap();
    assert_eq!(options.id, "filesystem-1");
    assert_eq!(options.storage_directory.to_str(), Some("/crypto/fs"));
    assert_eq!(options.metadata["site"], "lab");
    assert_eq!(memory.kind(), Ok(EngineKind::Software));
    assert_eq!(memory.options::<SoftwareConfig>().unwrap().id, "memory");
}

#[test]
fn the_first_of_a_bare_list_is_the_default() {
    let engines = json!([
        {"id": "a", "type": "software"},
        {"id": "b", "type": "software"},
    ]);
    let config = read(engines.clone()).unwrap();
    assert_eq!(config.default_id.as_str(), "a");
    let same = read(json!({"engines": engines, "default_id": ""})).unwrap();
    assert_eq!(same, config);
}

#[test]
fn what_runs_without_a_configuration_is_one_directory() {
    let config = CryptoEnginesConfig::filesystem_at("/var/lib/lamassu/keys");
    config.validate().unwrap();
    let options: FilesystemConfig = config.engines[0].options().unwrap();
    options.validate().unwrap();
    assert_eq!(options.id, "filesystem-1");
}

#[test]
fn an_unknown_type_is_reported_and_only_refused_as_default() {
    let unknown = json!({"id": "x", "type": "invalid_provider"});
    let config = read(json!([{"id": "a", "type": "software"}, unknown])).unwrap();
    config.validate().unwrap();
    let error = config.engines[1].kind().unwrap_err();
    assert_eq!(
        error.to_string(),
        "no crypto engine of type invalid_provider"
    );
    let text = "no crypto engine of type invalid_provider";
    assert_eq!(refused(json!([unknown])), text);
}

#[test]
fn a_block_that_cannot_work_is_refused() {
    let engine = |id: &str| json!({"id": id, "type": "software"});
    let cases = [
        (
            json!([]),
            r#"the default crypto engine "" is not configured"#,
        ),
        (
            json!({"default_id": "b", "engines": [engine("a")]}),
            r#"the default crypto engine "b" is not configured"#,
        ),
        (
            json!([engine("a"), engine("a")]),
            "two crypto engines have the id a",
        ),
        (
            json!([engine("a;b")]),
            r#"crypto engine id "a;b" is empty or contains ';'"#,
        ),
    ];
    for (block, text) in cases {
        assert_eq!(refused(block), text);
    }
    for engine in [
        json!({"id": "a"}),
        json!({"type": "software"}),
        json!({"id": 1, "type": "software"}),
    ] {
        let text = read(json!([engine])).unwrap_err();
        assert_eq!(
            text,
            "each crypto engine needs an id and a type, both texts"
        );
    }
}

#[test]
fn secrets_are_not_printed() {
    let config = read(json!([
        {"id": "a", "type": "filesystem", "storage_directory": "/x", "passphrase": "hunter2"},
    ]))
    .unwrap();
    assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
}
