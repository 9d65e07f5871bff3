//! The keys of the local issuer in the database.

use bytes::Bytes;
use lamassu_db::{Check, CommitError, Db, DbError, Migration, Row, Schema, WriteSet, params, sql};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::IssuerError;
use super::signing_key::SigningKey;

/// The tables of this crate.
pub(super) const SCHEMA: Schema = Schema {
    name: "auth",
    migrations: &[Migration::portable(
        1,
        "signing_keys",
        include_str!("../../migrations/V0001__signing_keys.sql"),
    )],
};

const NEW_GENERATION: Check = Check::new("new generation of signing keys");

const INSERT: &str = "INSERT INTO auth_signing_key (generation, private_key, created_at, active_from) \
                      VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";

/// All keys, oldest first.
pub(super) async fn keys(db: &Db) -> Result<Vec<SigningKey>, IssuerError> {
    let query = sql(
        "SELECT generation, private_key, active_from FROM auth_signing_key ORDER BY generation",
        params![],
    );
    db.rows(query).await?.iter().map(read).collect()
}

fn read(row: &Row) -> Result<SigningKey, IssuerError> {
    let pkcs8: Vec<u8> = row.get("private_key")?;
    SigningKey::from_pkcs8(
        row.get("generation")?,
        row.get("active_from")?,
        Zeroizing::new(pkcs8),
    )
}

/// Stores a key unless its generation exists.
pub(super) async fn insert(
    db: &Db,
    key: &SigningKey,
    now: OffsetDateTime,
) -> Result<(), IssuerError> {
    let mut set = WriteSet::new();
    set.execute(sql(INSERT, values(key, now)?));
    db.commit(set).await?;
    Ok(())
}

/// Stores a key and forgets all others; when somebody else does so at the same time, one wins.
pub(super) async fn replace_all(db: &Db, key: &SigningKey) -> Result<(), IssuerError> {
    let mut set = WriteSet::new();
    set.expect_one(sql(INSERT, values(key, key.active_from())?), NEW_GENERATION);
    set.execute(delete(generation(key.generation())?));
    match db.commit(set).await {
        Err(error) if error.failed(NEW_GENERATION) => Ok(()),
        outcome => Ok(outcome.map(drop)?),
    }
}

/// Forgets the keys older than a generation.
pub(super) async fn delete_before(db: &Db, oldest_kept: u64) -> Result<(), IssuerError> {
    let mut set = WriteSet::new();
    set.execute(delete(generation(oldest_kept)?));
    db.commit(set).await?;
    Ok(())
}

fn delete(oldest_kept: i64) -> lamassu_db::Statement {
    sql(
        "DELETE FROM auth_signing_key WHERE generation < $1",
        params![oldest_kept],
    )
}

fn values(key: &SigningKey, now: OffsetDateTime) -> Result<Vec<lamassu_db::Value>, IssuerError> {
    Ok(params![
        generation(key.generation())?,
        Bytes::copy_from_slice(key.pkcs8()),
        now,
        key.active_from(),
    ])
}

fn generation(generation: u64) -> Result<i64, CommitError> {
    i64::try_from(generation)
        .map_err(|_| DbError::corrupt("auth_signing_key.generation", "out of range").into())
}
