//! Statistics.

use axum::extract::State;
use lamassu_core::ca::{CaStats, StatusCounts};
use lamassu_core::query::{Field, Filter, QueryError};
use lamassu_http::{AskedBy, Json200, PathParams, Query, QueryPairs, QueryPart, QueryParts, Reply};

use super::Ca;
use crate::fields::{AUTHORITY_FIELDS, CERTIFICATE_FIELDS};

/// Filters of CAs and of certificates.
pub(super) struct OfBoth;

impl QueryParts for OfBoth {
    fn describe(parts: &mut Vec<QueryPart>) {
        parts.push(QueryPart::Filter("ca_filter", AUTHORITY_FIELDS));
        OfCertificates::describe(parts);
    }
}

/// Filters of certificates.
pub(super) struct OfCertificates;

impl QueryParts for OfCertificates {
    fn describe(parts: &mut Vec<QueryPart>) {
        parts.push(QueryPart::Filter("cert_filter", CERTIFICATE_FIELDS));
    }
}

/// The filters that are given under this name.
fn filters(
    ca: &Ca,
    query: &QueryPairs,
    name: &str,
    fields: &'static [Field],
) -> Result<Vec<Filter>, QueryError> {
    let pairs = query.0.iter().filter(|(known, _)| known == name);
    let pairs = pairs.map(|(_, value)| ("filter".to_owned(), value.clone()));
    let request = QueryPairs(pairs.collect()).list_request(fields, ca.limits)?;
    Ok(request.filters)
}

pub(super) async fn all(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    query: Query<OfBoth>,
) -> Reply<Json200<CaStats>> {
    let cas = filters(&ca, &query, "ca_filter", AUTHORITY_FIELDS)?;
    let certificates = filters(&ca, &query, "cert_filter", CERTIFICATE_FIELDS)?;
    Ok(Json200(
        ca.service.stats(&caller, &cas, &certificates).await?,
    ))
}

pub(super) async fn of_ca(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
    query: Query<OfCertificates>,
) -> Reply<Json200<StatusCounts>> {
    let certificates = filters(&ca, &query, "cert_filter", CERTIFICATE_FIELDS)?;
    Ok(Json200(
        ca.service
            .stats_of_ca(&caller, &id.into(), &certificates)
            .await?,
    ))
}
