//! Reading a configuration file: ours, or one that was written for the reference.
//!
//! Keys are read in any case, but for those of free maps; a key without a value is as if it was
//! not there, because charts render what is not set that way. What the reference has at the top of
//! a service's own file is put where it is here.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use figment::Figment;
use figment::providers::{Format as _, Json, Serialized, Toml, Yaml};
use figment::value::{Dict, Empty, Value};

use super::first_error;

/// Maps whose keys are the user's own.
const FREE_MAPS: [&str; 8] = [
    "metadata",
    "env",
    "roles",
    "subjects",
    "clients",
    "role_mappings",
    "subject_mappings",
    "client_mappings",
];

/// Where keys of a reference file are here.
const MOVED: [(&str, &[&str]); 8] = [
    ("va_server_domains", &["ca", "va_server_domains"]),
    (
        "certificate_monitoring_job",
        &["ca", "certificate_monitoring_job"],
    ),
    ("va_domains", &["va", "va_domains"]),
    ("crl_monitoring_job", &["va", "crl_monitoring_job"]),
    ("gateway_port_https", &["gateway", "https_port"]),
    ("gateway_port_http", &["gateway", "http_port"]),
    ("est_default_dms", &["est", "default_dms"]),
    (
        "va_storage_directory",
        &["filesystem_storage", "storage_directory"],
    ),
];

/// Keys of the reference that mean nothing here: what they configure is done in another way, or
/// not at all. They are no reason to warn, unless they switch something on.
const WITHOUT_EFFECT: [&str; 10] = [
    "otel",
    "openapi",
    "sse_enabled",
    "assembly_mode",
    "ui_port",
    "populate_sample_data",
    "allow_cascade_delete",
    "publisher_event_bus",
    "subscriber_event_bus",
    "subscriber_dlq_event_bus",
];

/// The file as a provider, by its extension.
///
/// # Errors
/// One sentence: the file cannot be read or is not of its kind.
pub(super) fn read(path: &Path) -> Result<Figment> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("configuration file {} cannot be read", path.display()))?;
    let extension = path
        .extension()
        .and_then(|extension| extension.to_str())
        .unwrap_or_default();
    let figment = match extension.to_ascii_lowercase().as_str() {
        "yml" | "yaml" => Figment::from(Yaml::string(&text)),
        "toml" => Figment::from(Toml::string(&text)),
        "json" => Figment::from(Json::string(&text)),
        other => bail!(
            "configuration file {}: extension {other:?} is none of yml, yaml, toml, json",
            path.display()
        ),
    };
    let given: Dict = figment
        .extract()
        .map_err(|error| first_error(&error))
        .with_context(|| format!("configuration file {}", path.display()))?;
    let mut given = tidied(given);
    settle_reference_keys(&mut given)
        .with_context(|| format!("configuration file {}", path.display()))?;
    Ok(Figment::from(Serialized::defaults(given)))
}

/// Keys of ours that can have no value: the listener is off then. Elsewhere charts write `null` for
/// what nobody has set.
const OFF_WITHOUT_VALUE: [&str; 3] = ["listen", "http_port", "https_port"];

/// Without keys that have no value; keys in lower case where they are ours to name.
fn tidied(given: Dict) -> Dict {
    let mut dict = Dict::new();
    for (key, value) in given {
        let key = key.to_ascii_lowercase();
        let value = match value {
            Value::Empty(_, Empty::None | Empty::Unit)
                if !OFF_WITHOUT_VALUE.contains(&key.as_str()) =>
            {
                continue;
            }
            value if FREE_MAPS.contains(&key.as_str()) => value,
            // Charts quote what they take from values.
            Value::String(tag, text) if key.ends_with("port") => match text.trim().parse::<u16>() {
                Ok(port) => Value::from(port),
                Err(_) => Value::String(tag, text),
            },
            value => tidied_value(value),
        };
        dict.insert(key, value);
    }
    dict
}

fn tidied_value(value: Value) -> Value {
    match value {
        Value::Dict(tag, dict) => Value::Dict(tag, tidied(dict)),
        Value::Array(tag, items) => {
            Value::Array(tag, items.into_iter().map(tidied_value).collect())
        }
        other => other,
    }
}

/// Moves the reference's keys to where ours are, and drops those without effect.
fn settle_reference_keys(given: &mut Dict) -> Result<()> {
    for (name, place) in MOVED {
        if let Some(value) = given.remove(name) {
            put(given, place, value);
        }
    }
    if let Some(Value::Dict(tag, job)) = given.remove("monitoring") {
        for place in [
            ["ca", "certificate_monitoring_job"],
            ["va", "crl_monitoring_job"],
        ] {
            put(given, &place, Value::Dict(tag, job.clone()));
        }
    }
    // The keys of one job have more beside them in charts.
    if let Some(Value::Dict(_, ca)) = given.get_mut("ca")
        && let Some(Value::Dict(_, job)) = ca.get_mut("certificate_monitoring_job")
    {
        job.remove("automatic_ca_rotation");
    }
    for name in WITHOUT_EFFECT {
        if let Some(value) = given.remove(name)
            && is_on(&value)
        {
            super::warn(&format!(
                "{name} is configured and has no effect in this version"
            ));
        }
    }
    Ok(())
}

/// Whether a block switches itself on.
fn is_on(value: &Value) -> bool {
    match value {
        Value::Dict(_, block) => block.iter().any(|(key, value)| match value {
            Value::Dict(..) => is_on(value),
            value => key == "enabled" && is_on(value),
        }),
        Value::Bool(_, on) => *on,
        Value::String(_, text) => text == "true",
        Value::Char(..) | Value::Num(..) | Value::Empty(..) | Value::Array(..) => false,
    }
}

/// Puts a value at a path, unless one is there.
fn put(given: &mut Dict, place: &[&str], value: Value) {
    match place {
        [] => {}
        [name] => {
            given.entry((*name).to_owned()).or_insert(value);
        }
        [name, rest @ ..] => {
            let block = given
                .entry((*name).to_owned())
                .or_insert_with(|| Value::from(Dict::new()));
            if let Value::Dict(_, block) = block {
                put(block, rest, value);
            }
        }
    }
}
