//! `/v1/dms` and `/v1/stats`.

use std::sync::Arc;

use axum::extract::State;
use lamassu_core::dms::{
    BindDevice, Binding, Dms, DmsError, DmsService, DmsSettings, DmsStats, DryRun, DryRunReport,
};
use lamassu_core::error::ErrorKind;
use lamassu_core::ids::DmsId;
use lamassu_core::page::Page;
use lamassu_core::patch::PatchBody;
use lamassu_core::permission::Permission;
use lamassu_core::query::{Field, QueryLimits};
use lamassu_core::timestamp::Timestamp;
use lamassu_http::{
    AskedBy, Counted, GoJson, Json200, Json201, Listed, Listing, NoContent, PathParams, Query,
    Reply, Routes,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{passwords, refused};
use crate::store::FIELDS;

const READ: Permission = Permission::new("dms", "read");
const WRITE: Permission = Permission::new("dms", "write");
const DELETE: Permission = Permission::new("dms", "delete");
const BIND: Permission = Permission::new("dms", "bind");

/// Device or certificate do not exist, do not belong together, or do not allow it.
const BINDING: &[ErrorKind] = &[ErrorKind::NotFound, ErrorKind::Conflict];

/// What the handlers share.
#[derive(Clone, Debug)]
pub(super) struct Management {
    pub(super) service: Arc<dyn DmsService>,
    pub(super) limits: QueryLimits,
}

/// The management routes, and those for other services.
pub fn routes(service: Arc<dyn DmsService>, limits: QueryLimits) -> Routes {
    let builder = Routes::builder("dms", Management { service, limits })
        .get("/v1/stats", READ, "Count DMSs", stats)
        .get("/v1/dms", READ, "List DMSs", list)
        .get(
            "/v1/refused-enrollments",
            READ,
            "List enrollments that were refused lately, and why",
            refused::list,
        )
        .post("/v1/dms", WRITE, "Create a DMS", create)
        .refuses(&[ErrorKind::Conflict])
        .post(
            "/v1/dms/bind-identity",
            BIND,
            "Bind a certificate to a device",
            bind,
        )
        .refuses(BINDING)
        .get("/v1/dms/{id}", READ, "Read a DMS", read)
        .put("/v1/dms/{id}", WRITE, "Replace a DMS", update)
        .delete("/v1/dms/{id}", DELETE, "Delete a DMS", delete)
        .post(
            "/v1/dms/{id}/dry-run",
            WRITE,
            "What the DMS would say to a device",
            dry_run,
        )
        .refuses(&[ErrorKind::NotFound])
        .get(
            "/v1/dms/{id}/passwords",
            READ,
            "List the enrollment passwords of a DMS",
            passwords::list,
        )
        .post(
            "/v1/dms/{id}/passwords",
            WRITE,
            "Make enrollment passwords, which are shown this once",
            passwords::create,
        )
        .refuses(&[ErrorKind::NotFound])
        .delete(
            "/v1/dms/{id}/passwords/{password_id}",
            WRITE,
            "Revoke an enrollment password",
            passwords::revoke,
        )
        .put(
            "/v1/dms/{id}/metadata",
            WRITE,
            "Change the metadata of a DMS by a JSON Patch",
            patch_metadata,
        )
        .patch(
            "/v1/dms/{id}/metadata",
            WRITE,
            "Change the metadata of a DMS by a JSON Patch",
            patch_metadata,
        );
    super::internal::routes(super::approval::routes(builder)).build()
}

/// DMSs, as lists know them.
struct Managed;

impl Listing for Managed {
    const FIELDS: &'static [Field] = FIELDS;
}

/// A DMS as clients send it; `creation_ts` is the server's.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "WriteDms")]
#[schemars(example = json!({
    "id": "assembly-line-1",
    "name": "Assembly line 1",
    "settings": {
        "enrollment_settings": {
            "protocol": "EST_RFC7030",
            "est_rfc7030_settings": {
                "auth_mode": "CLIENT_CERTIFICATE",
                "client_certificate_settings": {
                    "validation_cas": ["bootstrap"],
                    "chain_level_validation": -1,
                },
            },
            "enrollment_ca": "factory-root",
            "registration_mode": "JITP",
            "device_provisioning_profile": {"icon": "Cpu", "tags": ["sensor"]},
        },
        "reenrollment_settings": {
            "revoke_on_reenrollment": true,
            "reenrollment_delta": "12w",
            "preventive_delta": "4w2d",
            "critical_delta": "1w",
        },
        "ca_distribution_settings": {"include_enrollment_ca": true},
        "issuance_profile_id": "0d9d4a52-6f0e-4a0b-8c9b-1f6a4c7f5e21",
    },
}))]
struct DmsBody {
    /// Id and EST label; required.
    id: DmsId,
    /// Free text.
    #[schemars(example = &"Assembly line 1")]
    name: String,
    /// Free object.
    metadata: Map<String, Value>,
    /// The policy.
    settings: DmsSettings,
}

impl DmsBody {
    fn into_dms(self, id: DmsId) -> Dms {
        Dms {
            id,
            name: self.name,
            metadata: self.metadata,
            creation_ts: Timestamp::ZERO,
            settings: self.settings,
        }
    }
}

async fn stats(
    State(management): State<Management>,
    AskedBy(caller): AskedBy,
    query: Query<Counted<Managed>>,
) -> Reply<Json200<DmsStats>> {
    let request = query.request(management.limits)?;
    Ok(Json200(
        management.service.dms_stats(&caller, &request).await?,
    ))
}

async fn list(
    State(management): State<Management>,
    AskedBy(caller): AskedBy,
    query: Query<Listed<Managed>>,
) -> Reply<Json200<Page<Dms>>> {
    let request = query.request(management.limits)?;
    Ok(Json200(
        management.service.dms_list(&caller, &request).await?,
    ))
}

async fn create(
    State(management): State<Management>,
    AskedBy(caller): AskedBy,
    GoJson(body): GoJson<DmsBody>,
) -> Reply<Json201<Dms>> {
    let id = body.id.clone();
    Ok(Json201(
        management
            .service
            .create_dms(&caller, body.into_dms(id))
            .await?,
    ))
}

async fn read(
    State(management): State<Management>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
) -> Reply<Json200<Dms>> {
    Ok(Json200(
        management.service.dms(&caller, &DmsId::from(id)).await?,
    ))
}

/// The path names the DMS; a body that names another one is a mistake.
async fn update(
    State(management): State<Management>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
    GoJson(body): GoJson<DmsBody>,
) -> Reply<Json200<Dms>> {
    let id = DmsId::from(id);
    if !body.id.is_empty() && body.id != id {
        return Err(DmsError::IdMismatch.into());
    }
    Ok(Json200(
        management
            .service
            .update_dms(&caller, body.into_dms(id))
            .await?,
    ))
}

async fn dry_run(
    State(management): State<Management>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
    GoJson(request): GoJson<DryRun>,
) -> Reply<Json200<DryRunReport>> {
    let service = &management.service;
    Ok(Json200(
        service.dry_run(&caller, &DmsId::from(id), request).await?,
    ))
}

/// PUT and PATCH alike.
async fn patch_metadata(
    State(management): State<Management>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
    GoJson(body): GoJson<PatchBody>,
) -> Reply<Json200<Dms>> {
    let operations = body.patches.ok_or(DmsError::Validation)?;
    let service = &management.service;
    let patched = service
        .patch_dms_metadata(&caller, &DmsId::from(id), operations)
        .await?;
    Ok(Json200(patched))
}

async fn delete(
    State(management): State<Management>,
    AskedBy(caller): AskedBy,
    PathParams(id): PathParams<String>,
) -> Reply<NoContent> {
    let service = &management.service;
    service.delete_dms(&caller, &DmsId::from(id)).await?;
    Ok(NoContent)
}

async fn bind(
    State(management): State<Management>,
    AskedBy(caller): AskedBy,
    GoJson(request): GoJson<BindDevice>,
) -> Reply<Json200<Binding>> {
    Ok(Json200(
        management.service.bind_device(&caller, request).await?,
    ))
}
