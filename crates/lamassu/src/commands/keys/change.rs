//! Making, importing, changing and moving keys.

use anyhow::{Context as _, Result, bail, ensure};
use lamassu_core::ids::{EngineId, KeyRef};
use lamassu_core::kms::{
    CreateKey as NewKey, ImportKey as ForeignKey, Key, KeyStatus, KmsError, KmsService as _,
    PrivateKeyBytes,
};
use lamassu_core::patch::PatchOperation;
use serde_json::Value;

use super::show::{find, print};
use super::{CreateKey, ImportKey, UpdateKey};
use crate::commands::Session;
use crate::commands::failure::{About, Noun, Refusal as _};
use crate::commands::files;
use crate::commands::progress;

pub(super) async fn create(session: &Session, asked: &CreateKey) -> Result<()> {
    let place = &asked.place;
    nobody_has(session, &place.aliases).await?;
    let request = NewKey {
        algorithm: asked.key_type.name.clone(),
        size: asked.key_type.bits,
        engine_id: EngineId::from(place.engine.as_str()),
        name: asked.name.clone(),
        tags: place.tags.clone(),
        metadata: place.metadata.to_map(),
        operation: None,
    };
    // RSA of many bits takes up to a minute.
    let wait = progress::waiting("making the key");
    let made = session.kms.create_key(&session.caller, request).await;
    wait.finish();
    let key = made.about(About::new(Noun::Engine, &place.engine))?;
    named(session, key, &place.aliases).await
}

pub(super) async fn import(session: &Session, asked: &ImportKey) -> Result<()> {
    let place = &asked.place;
    nobody_has(session, &place.aliases).await?;
    let mut octets = files::read_secret(&asked.file)?;
    // The server would not say what is wrong with it.
    files::read_private_key(&asked.file, &octets)?;
    let request = ForeignKey {
        private_key: PrivateKeyBytes::new(std::mem::take(&mut *octets)),
        engine_id: EngineId::from(place.engine.as_str()),
        name: asked.name.clone(),
        tags: place.tags.clone(),
        metadata: place.metadata.to_map(),
        operation: None,
    };
    let taken = session.kms.import_key(&session.caller, request).await;
    let key = taken.about(About::new(Noun::Engine, &place.engine))?;
    named(session, key, &place.aliases).await
}

/// Checks that aliases are free before there is a key that waits for them.
async fn nobody_has(session: &Session, aliases: &[String]) -> Result<()> {
    for alias in aliases {
        let reference = KeyRef::from(alias.as_str());
        match session.kms.key(&session.caller, &reference).await {
            Ok(key) => bail!("the alias {alias:?} is taken by the key {}", key.key_id),
            Err(KmsError::KeyNotFound) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Gives a new key its aliases, and shows it. Without them it would still be there.
async fn named(session: &Session, key: Key, aliases: &[String]) -> Result<()> {
    let key = if aliases.is_empty() {
        key
    } else {
        let reference = KeyRef::from(&key.key_id);
        let operations = aliases.iter().map(|alias| added(alias)).collect();
        let patched = session
            .kms
            .patch_aliases(&session.caller, &reference, operations)
            .await;
        patched.with_context(|| format!("the key {reference} is there, without its aliases"))?
    };
    print(session, &key)
}

fn added(alias: &str) -> PatchOperation {
    PatchOperation {
        op: "add".to_owned(),
        path: Some("/-".to_owned()),
        value: Some(Value::from(alias)),
        ..PatchOperation::default()
    }
}

pub(super) async fn update(session: &Session, asked: &UpdateKey) -> Result<()> {
    let (kms, caller) = (&session.kms, &session.caller);
    let metadata = asked.metadata.operations();
    let mut key = find(session, &asked.key).await?;
    let id = KeyRef::from(&key.key_id);
    let aliases = alias_operations(&key, asked)?;
    let changes_tags = asked.no_tags || !asked.tags.is_empty();
    ensure!(
        asked.name.is_some() || changes_tags || !aliases.is_empty() || !metadata.is_empty(),
        "nothing to change: say --name, --tag, --no-tags, --add-alias, --remove-alias, --set or \
         --unset"
    );
    // What may clash with another key comes first.
    if !aliases.is_empty() {
        key = kms.patch_aliases(caller, &id, aliases).await?;
    }
    if let Some(name) = &asked.name {
        key = kms.set_name(caller, &id, name.clone()).await?;
    }
    if changes_tags {
        key = kms.set_tags(caller, &id, asked.tags.clone()).await?;
    }
    if !metadata.is_empty() {
        key = kms.patch_metadata(caller, &id, metadata).await?;
    }
    print(session, &key)
}

/// Removals from the end on, so that places keep their numbers, then additions.
fn alias_operations(key: &Key, asked: &UpdateKey) -> Result<Vec<PatchOperation>> {
    let mut places = Vec::new();
    for alias in &asked.remove_alias {
        let place = key.aliases.iter().position(|known| known == alias);
        places.push(place.with_context(|| format!("the key has no alias {alias:?}"))?);
    }
    places.sort_unstable_by(|one, other| other.cmp(one));
    places.dedup();
    let removed = places.into_iter().map(|place| PatchOperation {
        op: "remove".to_owned(),
        path: Some(format!("/{place}")),
        ..PatchOperation::default()
    });
    Ok(removed
        .chain(asked.add_alias.iter().map(|alias| added(alias)))
        .collect())
}

pub(super) async fn disable(session: &Session, key: &str) -> Result<()> {
    set_status(session, key, KeyStatus::Disabled).await
}

pub(super) async fn enable(session: &Session, key: &str) -> Result<()> {
    set_status(session, key, KeyStatus::Active).await
}

async fn set_status(session: &Session, key: &str, status: KeyStatus) -> Result<()> {
    let reference = KeyRef::from(key);
    let changed = session
        .kms
        .set_status(&session.caller, &reference, status)
        .await;
    print(session, &changed.about(About::key(key))?)
}

pub(super) async fn relocate(session: &Session, key: &str, engine: &str) -> Result<()> {
    let reference = find(session, key).await?.key_id;
    let moved = session
        .kms
        .move_key(
            &session.caller,
            &KeyRef::from(&reference),
            &EngineId::from(engine),
        )
        .await;
    print(session, &moved.about(About::new(Noun::Engine, engine))?)
}
