//! `/internal/v1`: what other services of the installation need.

use axum::extract::State;
use lamassu_core::device::{BindIdentity, Device, Enrolling, EnrollingDevice};
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
            "/internal/v1/enrolling-devices",
            INTERNAL,
            "Read a device that is to be given a certificate",
            enrolling,
        )
}

async fn enrolling(
    State(devices): State<Devices>,
    AskedBy(caller): AskedBy,
    GoJson(asked): GoJson<Enrolling>,
) -> Reply<Json200<EnrollingDevice>> {
    let Enrolling { device_id, create } = asked;
    let found = devices
        .service
        .enrolling_device(&caller, &device_id, create.as_ref());
    Ok(Json200(found.await?))
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
