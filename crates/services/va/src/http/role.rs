//! `/v1/roles` and `/roles`.

use axum::extract::State;
use lamassu_core::page::Page;
use lamassu_core::timestamp::Timestamp;
use lamassu_core::va::{CrlOptions, VaRole};
use lamassu_http::{AskedBy, Json200, PathParams, QueryPairs, Reply};
use serde::Serialize;

use super::Va;
use crate::store::ROLE_FIELDS;

/// A role without the number of its CRL.
#[derive(Debug, Serialize)]
pub(super) struct UnversionedRole {
    ca_ski: String,
    crl_options: CrlOptions,
    latest_crl: UnversionedCrl,
}

#[derive(Debug, Serialize)]
struct UnversionedCrl {
    valid_from: Timestamp,
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

pub(super) async fn list(
    State(va): State<Va>,
    AskedBy(caller): AskedBy,
    query: QueryPairs,
) -> Reply<Json200<Page<VaRole>>> {
    let request = query.list_request(ROLE_FIELDS, va.limits)?;
    Ok(Json200(va.service.roles(&caller, &request).await?))
}

pub(super) async fn list_unversioned(
    State(va): State<Va>,
    AskedBy(caller): AskedBy,
    query: QueryPairs,
) -> Reply<Json200<Page<UnversionedRole>>> {
    let request = query.list_request(ROLE_FIELDS, va.limits)?;
    let page = va.service.roles(&caller, &request).await?;
    Ok(Json200(Page {
        next: page.next,
        list: page.list.into_iter().map(UnversionedRole::from).collect(),
    }))
}
