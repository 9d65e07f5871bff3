//! `/v1/dms/{id}/passwords`.

use axum::extract::State;
use lamassu_core::dms::{CreatePasswords, EnrollmentPassword, NewPasswords};
use lamassu_core::ids::DmsId;
use lamassu_core::page::Page;
use lamassu_core::query::Field;
use lamassu_http::{
    AskedBy, GoJson, Json200, Json201, Listed, Listing, NoContent, PathParams, Query, Reply,
};

use super::management::Management;
use crate::store::PASSWORD_FIELDS;

/// Passwords, as lists know them.
pub(super) struct Passwords;

impl Listing for Passwords {
    const FIELDS: &'static [Field] = PASSWORD_FIELDS;
}

pub(super) async fn create(
    State(management): State<Management>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
    GoJson(request): GoJson<CreatePasswords>,
) -> Reply<Json201<NewPasswords>> {
    let service = &management.service;
    let made = service
        .create_passwords(&caller, &DmsId::from(id), request)
        .await?;
    Ok(Json201(made))
}

pub(super) async fn list(
    State(management): State<Management>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
    query: Query<Listed<Passwords>>,
) -> Reply<Json200<Page<EnrollmentPassword>>> {
    let request = query.request(management.limits)?;
    let service = &management.service;
    let page = service
        .passwords(&caller, &DmsId::from(id), &request)
        .await?;
    Ok(Json200(page))
}

pub(super) async fn revoke(
    State(management): State<Management>,
    AskedBy(caller): AskedBy,
    PathParams((id, password)): PathParams<(String, String)>,
) -> Reply<NoContent> {
    let service = &management.service;
    service
        .revoke_password(&caller, &DmsId::from(id), &password)
        .await?;
    Ok(NoContent)
}
