//! `/v1/roles` and `/roles`.

use axum::extract::State;
use lamassu_core::page::Page;
use lamassu_core::query::Field;
use lamassu_core::timestamp::Timestamp;
use lamassu_core::va::{CrlOptions, VaRole};
use lamassu_http::{AskedBy, GoJson, Json200, Listed, Listing, PathParams, Query, Reply};
use schemars::JsonSchema;
use serde::Serialize;

use super::Va;
use crate::store::ROLE_FIELDS;

/// Roles, as lists know them.
pub(super) struct Roles;

impl Listing for Roles {
    const FIELDS: &'static [Field] = ROLE_FIELDS;
}

/// A role without the number of its CRL.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct UnversionedRole {
    /// Hex subject key identifier of the CA.
    #[schemars(example = &"4f1d2c6b8a9e0d3f5c7b1a2e4d6f8c0b9a3e5d71")]
    ca_ski: String,
    /// How its CRLs are made.
    crl_options: CrlOptions,
    /// The newest one.
    latest_crl: UnversionedCrl,
}

/// The newest CRL of a CA.
#[derive(Debug, Serialize, JsonSchema)]
struct UnversionedCrl {
    /// `thisUpdate`.
    valid_from: Timestamp,
    /// `nextUpdate`; zero before the first.
    valid_until: Timestamp,
}

impl From<VaRole> for UnversionedRole {
    fn from(role: VaRole) -> Self {
        Self {
            ca_ski: role.ca_ski,
            crl_options: role.crl_options,
            latest_crl: UnversionedCrl {
                valid_from: role.latest_crl.valid_from,
                valid_until: role.latest_crl.valid_until,
            },
        }
    }
}

pub(super) async fn read(
    State(va): State<Va>,
    AskedBy(caller): AskedBy,
    PathParams(ski): PathParams<String>,
) -> Reply<Json200<VaRole>> {
    Ok(Json200(va.service.role(&caller, &ski).await?))
}

pub(super) async fn read_unversioned(
    State(va): State<Va>,
    AskedBy(caller): AskedBy,
    PathParams(ski): PathParams<String>,
) -> Reply<Json200<UnversionedRole>> {
    let role = va.service.role(&caller, &ski).await?;
    Ok(Json200(role.into()))
}

pub(super) async fn update(
    State(va): State<Va>,
    AskedBy(caller): AskedBy,
    PathParams(ski): PathParams<String>,
    GoJson(options): GoJson<CrlOptions>,
) -> Reply<Json200<VaRole>> {
    let updated = va.service.set_role_options(&caller, &ski, options).await?;
    Ok(Json200(updated))
}

pub(super) async fn update_unversioned(
    va: State<Va>,
    caller: AskedBy,
    ski: PathParams<String>,
    options: GoJson<CrlOptions>,
) -> Reply<Json200<UnversionedRole>> {
    let Json200(updated) = update(va, caller, ski, options).await?;
    Ok(Json200(updated.into()))
}

pub(super) async fn list(
    State(va): State<Va>,
    AskedBy(caller): AskedBy,
    query: Query<Listed<Roles>>,
) -> Reply<Json200<Page<VaRole>>> {
    let request = query.request(va.limits)?;
    Ok(Json200(va.service.roles(&caller, &request).await?))
}

pub(super) async fn list_unversioned(
    State(va): State<Va>,
    AskedBy(caller): AskedBy,
    query: Query<Listed<Roles>>,
) -> Reply<Json200<Page<UnversionedRole>>> {
    let request = query.request(va.limits)?;
    let page = va.service.roles(&caller, &request).await?;
    Ok(Json200(Page {
        next: page.next,
        list: page.list.into_iter().map(UnversionedRole::from).collect(),
    }))
}
