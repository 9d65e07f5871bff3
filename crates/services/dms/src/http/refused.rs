//! `/v1/refused-enrollments`.

use axum::extract::State;
use lamassu_core::dms::RefusedEnrollment;
use lamassu_core::page::Page;
use lamassu_core::query::Field;
use lamassu_http::{AskedBy, Json200, Listed, Listing, Query, Reply};

use super::management::Management;
use crate::store::REFUSED_FIELDS;

/// Refusals, as lists know them.
pub(super) struct Refused;

impl Listing for Refused {
    const FIELDS: &'static [Field] = REFUSED_FIELDS;
}

pub(super) async fn list(
    State(management): State<Management>,
    AskedBy(caller): AskedBy,
    query: Query<Listed<Refused>>,
) -> Reply<Json200<Page<RefusedEnrollment>>> {
    let request = query.request(management.limits)?;
    let service = &management.service;
    Ok(Json200(
        service.refused_enrollments(&caller, &request).await?,
    ))
}
