//! `/v1/approvals`.

use axum::extract::State;
use lamassu_core::caller::Caller;
use lamassu_core::dms::approval::Verdict;
use lamassu_core::dms::{Approval, Decision};
use lamassu_core::error::ErrorKind;
use lamassu_core::ids::ApprovalId;
use lamassu_core::internal::dms::DecisionBody;
use lamassu_core::page::Page;
use lamassu_core::permission::Permission;
use lamassu_core::query::Field;
use lamassu_http::{
    AskedBy, GoJson, Json200, Listed, Listing, PathParams, Query, Reply, RoutesBuilder,
};

use super::management::Management;
use crate::store::APPROVAL_FIELDS;

const READ: Permission = Permission::new("dms", "read");
const APPROVE: Permission = Permission::new("dms", "approve");

/// Decided already, or over.
const DECIDING: &[ErrorKind] = &[ErrorKind::Conflict];

pub(super) fn routes(builder: RoutesBuilder<Management>) -> RoutesBuilder<Management> {
    builder
        .get(
            "/v1/approvals",
            READ,
            "List enrollments that need approval",
            list,
        )
        .get("/v1/approvals/{id}", READ, "Read an approval", read)
        .post(
            "/v1/approvals/{id}/approve",
            APPROVE,
            "Approve an enrollment",
            approve,
        )
        .refuses(DECIDING)
        .post(
            "/v1/approvals/{id}/deny",
            APPROVE,
            "Deny an enrollment",
            deny,
        )
        .refuses(DECIDING)
}

/// Approvals, as lists know them.
struct Approvals;

impl Listing for Approvals {
    const FIELDS: &'static [Field] = APPROVAL_FIELDS;
}

async fn list(
    State(management): State<Management>,
    AskedBy(caller): AskedBy,
    query: Query<Listed<Approvals>>,
) -> Reply<Json200<Page<Approval>>> {
    let request = query.request(management.limits)?;
    Ok(Json200(
        management.service.approvals(&caller, &request).await?,
    ))
}

async fn read(
    State(management): State<Management>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
) -> Reply<Json200<Approval>> {
    let id = ApprovalId::from(id);
    Ok(Json200(management.service.approval(&caller, &id).await?))
}

async fn approve(
    State(management): State<Management>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
    GoJson(body): GoJson<DecisionBody>,
) -> Reply<Json200<Approval>> {
    decide(&management, &caller, id, (Verdict::Approve, body)).await
}

async fn deny(
    State(management): State<Management>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
    GoJson(body): GoJson<DecisionBody>,
) -> Reply<Json200<Approval>> {
    decide(&management, &caller, id, (Verdict::Deny, body)).await
}

async fn decide(
    management: &Management,
    caller: &Caller,
    id: String,
    (verdict, DecisionBody { reason }): (Verdict, DecisionBody),
) -> Reply<Json200<Approval>> {
    let (id, decision) = (ApprovalId::from(id), Decision { verdict, reason });
    let service = &management.service;
    Ok(Json200(
        service.decide_approval(caller, &id, decision).await?,
    ))
}
