//! `/internal/v1`: what other services of the installation need.

use axum::extract::State;
use lamassu_core::device::{BindIdentity, Device};
use lamassu_core::device_group::{RenewalPolicy, RenewalQuestion};
use lamassu_core::permission::Permission;
use lamassu_http::{AskedBy, GoJson, Json200, Reply, RoutesBuilder};

use super::Devices;

const INTERNAL: Permission = Permission::new("internal", "devmanager");

pub(super) fn routes(builder: RoutesBuilder<Devices>) -> RoutesBuilder<Devices> {
    builder
        .post(
            "/internal/v1/bindings",
            INTERNAL,
            "Bind a certificate to a device",
            bind,
        )
        .post(
            "/internal/v1/renewal-policies",
            INTERNAL,
            "Ask when a device must renew",
            renewal,
        )
}

async fn renewal(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    GoJson(question): GoJson<RenewalQuestion>,
) -> Reply<Json200<RenewalPolicy>> {
    let RenewalQuestion { device_id, create } = question;
    let policy = devices
        .service
        .renewal_policy(&caller, &device_id, create.as_ref());
    Ok(Json200(policy.await?))
}

async fn bind(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    GoJson(request): GoJson<BindIdentity>,
) -> Reply<Json200<Device>> {
    Ok(Json200(
        devices.service.bind_identity(&caller, request).await?,
    ))
}
