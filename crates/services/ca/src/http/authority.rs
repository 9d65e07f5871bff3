//! CAs.

use axum::extract::State;
use lamassu_core::ca::{CaError, Cascade, CertificateAuthority};
use lamassu_core::internal::Base64;
use lamassu_core::page::Page;
use lamassu_core::patch::PatchBody;
use lamassu_http::{AskedBy, GoJson, Json200, Json201, Listed, Members, PathParams, Query, Reply};
use schemars::JsonSchema;
use serde::Serialize;

use super::Ca;
use super::body::{
    CreateCaBody, ImportCaBody, ProfileIdBody, ReissueBody, SignatureBody, StatusBody,
};
use crate::fields::Authorities;

pub(super) async fn list(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    query: Query<Listed<Authorities>>,
) -> Reply<Json200<Page<CertificateAuthority>>> {
    let request = query.request(ca.limits)?;
    Ok(Json200(ca.service.cas(&caller, &request).await?))
}

pub(super) async fn list_by_common_name(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    PathParams(common_name): PathParams<String>,
    query: Query<Listed<Authorities>>,
) -> Reply<Json200<Page<CertificateAuthority>>> {
    let request = query.request(ca.limits)?;
    Ok(Json200(
        ca.service
            .cas_by_common_name(&caller, &common_name, &request)
            .await?,
    ))
}

pub(super) async fn create(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    GoJson(body): GoJson<CreateCaBody>,
) -> Reply<Json201<CertificateAuthority>> {
    Ok(Json201(ca.service.create_ca(&caller, body.into()).await?))
}

pub(super) async fn get(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
) -> Reply<Json200<CertificateAuthority>> {
    Ok(Json200(ca.service.ca(&caller, &id.into()).await?))
}

pub(super) async fn import(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    GoJson(body): GoJson<ImportCaBody>,
) -> Reply<Json201<CertificateAuthority>> {
    let request = body.try_into()?;
    Ok(Json201(ca.service.import_ca(&caller, request).await?))
}

/// 201, as clients know it.
pub(super) async fn set_status(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
    GoJson(body): GoJson<StatusBody>,
) -> Reply<Json201<CertificateAuthority>> {
    let (status, reason) = (body.status()?, body.revocation_reason);
    Ok(Json201(
        ca.service
            .set_ca_status(&caller, &id.into(), status, reason)
            .await?,
    ))
}

pub(super) async fn set_profile(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
    GoJson(body): GoJson<ProfileIdBody>,
) -> Reply<Json200<CertificateAuthority>> {
    Ok(Json200(
        ca.service
            .set_ca_profile(&caller, &id.into(), &body.profile_id)
            .await?,
    ))
}

pub(super) async fn reissue(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
    GoJson(body): GoJson<ReissueBody>,
) -> Reply<Json200<CertificateAuthority>> {
    Ok(Json200(
        ca.service
            .reissue_ca(&caller, &id.into(), body.into())
            .await?,
    ))
}

/// Query parameters.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "read as text")]
pub(super) struct Deletion {
    /// Whether what it issued is deleted with it; refused unless the configuration allows it.
    cascade_delete: Option<bool>,
}

/// An empty object.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Empty")]
pub(super) struct Nothing {}

pub(super) async fn delete(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
    query: Query<Members<Deletion>>,
) -> Reply<Json200<Nothing>> {
    let cascade = match query.first("cascade_delete") {
        Some("true" | "1") => Cascade::Yes,
        Some(_) | None => Cascade::No,
    };
    ca.service.delete_ca(&caller, &id.into(), cascade).await?;
    Ok(Json200(Nothing {}))
}

pub(super) async fn patch_metadata(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
    GoJson(body): GoJson<PatchBody>,
) -> Reply<Json200<CertificateAuthority>> {
    let patches = body.patches.ok_or(CaError::Validation)?;
    Ok(Json200(
        ca.service
            .patch_ca_metadata(&caller, &id.into(), patches)
            .await?,
    ))
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CaSignature")]
pub(super) struct Signed {
    /// The signature, base64.
    signed_data: Base64,
}

pub(super) async fn sign(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
    GoJson(body): GoJson<SignatureBody>,
) -> Reply<Json200<Signed>> {
    let signature = ca
        .service
        .sign_with_ca(&caller, &id.into(), body.into())
        .await?;
    Ok(Json200(Signed {
        signed_data: Base64(signature.into()),
    }))
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CaVerification")]
pub(super) struct Verified {
    /// Whether the key of the CA made the signature.
    valid: bool,
}

pub(super) async fn verify(
    State(ca): State<Ca>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
    GoJson(body): GoJson<SignatureBody>,
) -> Reply<Json200<Verified>> {
    let signature = body.signature.clone();
    let valid = ca
        .service
        .verify_with_ca(&caller, &id.into(), body.into(), &signature.0)
        .await?;
    Ok(Json200(Verified { valid }))
}
