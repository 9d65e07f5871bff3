//! Keys and engines as people see them.

use anyhow::Result;
use lamassu_core::ids::KeyRef;
use lamassu_core::kms::{
    BOUND_RESOURCES, EngineDescription, EngineStatus, Key, KmsError, KmsService as _,
    SupportedKeyType,
};
use lamassu_core::query::ListRequest;
use serde_json::Value;

use super::{Export, ListKeys};
use crate::commands::Session;
use crate::commands::failure::{About, Noun, Refusal as _};
use crate::commands::fields::KEY_FIELDS;
use crate::commands::files;
use crate::commands::listing::{self, Conditions};
use crate::commands::output::{ListPrinter, Record, Shape};
use crate::commands::values::at;

const KEYS: Shape<Key> = Shape {
    headings: &[
        "NAME", "ALIASES", "TYPE", "ENGINE", "STATUS", "CREATED", "ID",
    ],
    row: |key, _| {
        vec![
            key.name.clone(),
            key.aliases.join(","),
            kind(key),
            key.engine_id.to_string(),
            key.status.as_str().to_owned(),
            at(key.creation_ts),
            key.key_id.to_string(),
        ]
    },
    id: |key| key.key_id.to_string(),
};

const ENGINES: Shape<EngineDescription> = Shape {
    headings: &["ID", "DEFAULT", "HEALTH", "TYPE", "PROVIDER", "KEY TYPES"],
    row: |engine, _| {
        let types: Vec<_> = engine.supported_key_types.iter().map(key_types).collect();
        vec![
            engine.id.to_string(),
            if engine.default { "yes" } else { "no" }.to_owned(),
            health(engine),
            engine.engine_type.clone(),
            engine.provider.clone(),
            types.join(" "),
        ]
    },
    id: |engine| engine.id.to_string(),
};

fn kind(key: &Key) -> String {
    format!("{}-{}", key.algorithm, key.size)
}

fn key_types(supported: &SupportedKeyType) -> String {
    let sizes: Vec<_> = supported.sizes.iter().map(u32::to_string).collect();
    format!("{}-{}", supported.key_type, sizes.join("/"))
}

fn health(engine: &EngineDescription) -> String {
    let word = match engine.health.status {
        EngineStatus::Ok => "ok",
        EngineStatus::Failing => "failing",
        EngineStatus::Unopened => "unopened",
    };
    match &engine.health.error {
        Some(error) => format!("{word}: {error}"),
        None => word.to_owned(),
    }
}

/// A key in full.
pub(super) fn record(key: &Key) -> Record {
    let metadata = key.metadata.iter();
    let own = metadata.filter(|(name, _)| *name != BOUND_RESOURCES);
    let own: serde_json::Map<_, _> = own
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let metadata = match own.is_empty() {
        true => String::new(),
        false => Value::Object(own).to_string(),
    };
    vec![
        ("id", key.key_id.to_string()),
        ("name", key.name.clone()),
        ("aliases", key.aliases.join(", ")),
        ("type", kind(key)),
        ("engine", key.engine_id.to_string()),
        ("status", key.status.as_str().to_owned()),
        ("created", at(key.creation_ts)),
        ("tags", key.tags.join(", ")),
        ("certificates", certificates(key).join(", ")),
        ("used", usage(key)),
        ("metadata", metadata),
        ("uri", key.pkcs11_uri.clone()),
    ]
}

/// Serial numbers of the certificates that are bound to a key.
pub(super) fn certificates(key: &Key) -> Vec<&str> {
    let bound = key.metadata.get(BOUND_RESOURCES).and_then(Value::as_array);
    let serials = bound.into_iter().flatten();
    serials
        .filter_map(|one| one.get("resource_id").and_then(Value::as_str))
        .collect()
}

fn usage(key: &Key) -> String {
    let operations = key.usage.iter().flatten();
    let told: Vec<_> = operations
        .map(|(operation, usage)| {
            let (count, last) = (usage.count, at(usage.last_used_ts));
            format!("{operation} {count}, last {last}")
        })
        .collect();
    told.join("; ")
}

/// Prints a key.
pub(super) fn print(session: &Session, key: &Key) -> Result<()> {
    session.print(key, key.key_id.as_str(), || record(key))
}

/// The key that is named.
pub(super) async fn find(session: &Session, key: &str) -> Result<Key> {
    let found = session.kms.key(&session.caller, &KeyRef::from(key)).await;
    found.about(About::key(key))
}

/// Fails where no engine has this id: a list of what is in it would be empty, and look like an answer.
/// Whoever may not see the engines is believed.
pub(crate) async fn known_engine(session: &Session, engine: Option<&str>) -> Result<()> {
    let Some(engine) = engine else {
        return Ok(());
    };
    let known = session.kms.engines(&session.caller).await;
    let is_known = known.map_or(true, |all| all.iter().any(|one| one.id.as_str() == engine));
    let found = if is_known {
        Ok(())
    } else {
        Err(KmsError::EngineNotFound)
    };
    found.about(About::new(Noun::Engine, engine))
}

pub(super) async fn list(session: &Session, asked: &ListKeys) -> Result<()> {
    known_engine(session, asked.engine.as_deref()).await?;
    let conditions = Conditions::default()
        .with("engine_id[equal]", asked.engine.as_deref())
        .with("algorithm[equal_ignorecase]", asked.algorithm.as_deref())
        .with("status[equal_ignorecase]", asked.status.as_deref())
        .with("name[contains_ignorecase]", asked.name.as_deref())
        .with("tags[contains]", asked.tag.as_deref());
    let request = asked.list.request(KEY_FIELDS, conditions)?;
    listing::print(session, &asked.list, request, &KEYS, async |request| {
        Ok(session.kms.keys(&session.caller, request).await?)
    })
    .await
}

pub(super) async fn one(session: &Session, key: &str) -> Result<()> {
    print(session, &find(session, key).await?)
}

pub(super) async fn export(session: &Session, asked: &Export) -> Result<()> {
    let key = find(session, &asked.key).await?;
    files::write(
        &asked.out,
        &files::public_key(asked.format, &key.public_key),
    )
}

pub(super) async fn engines(session: &Session) -> Result<()> {
    let engines = session.kms.engines(&session.caller).await?;
    let mut printer = ListPrinter::new(session, &ENGINES);
    printer.page(&engines)?;
    printer.end()
}

pub(super) async fn stats(session: &Session, filters: &[String]) -> Result<()> {
    let request = ListRequest {
        filters: listing::filters(filters, KEY_FIELDS)?,
        ..ListRequest::default()
    };
    let stats = session.kms.stats(&session.caller, &request).await?;
    let told = |counts: &std::collections::BTreeMap<String, i64>| {
        let counts: Vec<_> = counts
            .iter()
            .map(|(name, n)| format!("{name} {n}"))
            .collect();
        counts.join(", ")
    };
    session.print(&stats, &stats.total_keys.to_string(), || {
        vec![
            ("keys", stats.total_keys.to_string()),
            ("per engine", told(&stats.keys_distribution_per_engine)),
            ("per type", told(&stats.keys_distribution_per_algorithm)),
        ]
    })
}
