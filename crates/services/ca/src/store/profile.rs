//! Issuance profiles, stored as the JSON that the wire shows.

use lamassu_core::ca::IssuanceProfile;
use lamassu_core::ids::ProfileId;
use lamassu_core::query::fold;
use lamassu_db::list::ListTable;
use lamassu_db::{Check, Db, DbError, Json, Row, Value, WriteSet, params, sql};
use time::OffsetDateTime;

use crate::fields::PROFILE_FIELDS;

/// The profile is as it was read.
pub(crate) const UNCHANGED: Check = Check::new("profile unchanged");

/// The profile exists.
pub(crate) const EXISTS: Check = Check::new("profile exists");

/// The profile's id is free.
pub(crate) const FREE: Check = Check::new("profile id is free");

/// How profiles are listed.
pub(crate) const TABLE: ListTable = ListTable {
    table: "issuance_profile",
    columns: &["id", "revision", "profile"],
    key: "id",
    created: "created_at",
    fields: PROFILE_FIELDS,
};

/// A profile as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct StoredProfile {
    pub(crate) revision: i64,
    pub(crate) profile: IssuanceProfile,
}

impl TryFrom<&Row> for StoredProfile {
    type Error = DbError;

    fn try_from(row: &Row) -> Result<Self, DbError> {
        let Json(profile) = row.get("profile")?;
        Ok(Self {
            revision: row.get("revision")?,
            profile,
        })
    }
}

/// The profile of this id.
pub(crate) async fn by_id(db: &Db, id: &ProfileId) -> Result<Option<StoredProfile>, DbError> {
    let query = sql(
        "SELECT revision, profile FROM issuance_profile WHERE id = $1",
        params![id.as_str()],
    );
    let row = db.row_opt(query).await?;
    row.as_ref().map(StoredProfile::try_from).transpose()
}

/// Adds a profile to what a write set changes.
pub(crate) fn insert(
    set: &mut WriteSet,
    profile: &IssuanceProfile,
    now: OffsetDateTime,
) -> Result<(), DbError> {
    let statement = sql(
        "INSERT INTO issuance_profile (id, revision, created_at, name, name_folded, profile) \
         VALUES ($1, 1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
        params![
            profile.id.as_str(),
            now,
            profile.name.as_str(),
            fold(&profile.name),
            json(profile)?
        ],
    );
    set.expect_one(statement, FREE);
    Ok(())
}

/// Adds the new content of a profile to a write set.
pub(crate) fn update(
    set: &mut WriteSet,
    revision: i64,
    profile: &IssuanceProfile,
) -> Result<(), DbError> {
    let statement = sql(
        "UPDATE issuance_profile SET name = $1, name_folded = $2, profile = $3, \
         revision = revision + 1 WHERE id = $4 AND revision = $5",
        params![
            profile.name.as_str(),
            fold(&profile.name),
            json(profile)?,
            profile.id.as_str(),
            revision,
        ],
    );
    set.expect_one(statement, UNCHANGED);
    Ok(())
}

/// Adds the removal of a profile to a write set.
pub(crate) fn delete(set: &mut WriteSet, id: &ProfileId, revision: i64) {
    let statement = sql(
        "DELETE FROM issuance_profile WHERE id = $1 AND revision = $2",
        params![id.as_str(), revision],
    );
    set.expect_one(statement, UNCHANGED);
}

/// Lets a write set fail unless the profile is at this revision. Ids are random and never used
/// twice, so the revision alone tells whether it is the same.
pub(crate) fn guard(set: &mut WriteSet, id: &ProfileId, revision: i64) {
    let statement = sql(
        "SELECT id FROM issuance_profile WHERE id = $1 AND revision = $2",
        params![id.as_str(), revision],
    );
    set.guard(statement, UNCHANGED);
}

/// Lets a write set fail unless the profile exists.
pub(crate) fn guard_existence(set: &mut WriteSet, id: &ProfileId) {
    let statement = sql(
        "SELECT id FROM issuance_profile WHERE id = $1",
        params![id.as_str()],
    );
    set.guard(statement, EXISTS);
}

fn json(profile: &IssuanceProfile) -> Result<Value, DbError> {
    Json(profile)
        .to_value()
        .map_err(|error| DbError::corrupt("issuance_profile.profile", error.to_string()))
}
