//! HTTP: the routes under `/v1` and `/internal/v1`.

mod devices;
mod groups;
mod groups_v2;
mod internal;

use std::sync::Arc;

use lamassu_core::device::DeviceService;
use lamassu_core::error::ErrorKind;
use lamassu_core::permission::Permission;
use lamassu_core::query::QueryLimits;
use lamassu_http::Routes;

const READ: Permission = Permission::new("device", "read");
const WRITE: Permission = Permission::new("device", "write");

/// What handlers share.
#[derive(Clone, Debug)]
struct Devices {
    service: Arc<dyn DeviceService>,
    limits: QueryLimits,
}

/// The routes of the device manager over any implementation of its trait.
pub fn routes(service: Arc<dyn DeviceService>, limits: QueryLimits) -> Routes {
    let builder = Routes::builder("devmanager", Devices { service, limits })
        .get("/v1/stats", READ, "Count devices", devices::stats)
        .get("/v1/devices", READ, "List devices", devices::list)
        .post("/v1/devices", WRITE, "Register a device", devices::create)
        .refuses(&[ErrorKind::Conflict])
        .get("/v1/devices/{id}", READ, "Read a device", devices::read)
        .get(
            "/v1/devices/dms/{dms_id}",
            READ,
            "List the devices of a DMS",
            devices::list_by_dms,
        );
    internal::routes(groups_v2::routes(groups::routes(builder))).build()
}
