//! HTTP: the routes under `/v1`, `/v2` and `/internal/v1`.

mod devices;
mod group_actions;
mod groups;
mod groups_v2;
mod internal;
mod v2;

use std::sync::Arc;

use lamassu_core::clock::SharedClock;
use lamassu_core::device::DeviceManager;
use lamassu_core::error::ErrorKind;
use lamassu_core::permission::Permission;
use lamassu_core::query::QueryLimits;
use lamassu_http::Routes;

const READ: Permission = Permission::new("device", "read");
const WRITE: Permission = Permission::new("device", "write");
const IDENTITY: Permission = Permission::new("device", "identity");
const DECOMMISSION: Permission = Permission::new("device", "decommission");
const DELETE: Permission = Permission::new("device", "delete");

/// What handlers share.
#[derive(Clone, Debug)]
struct Devices {
    service: Arc<dyn DeviceManager>,
    /// For filters whose dates are relative to now.
    clock: SharedClock,
    limits: QueryLimits,
}

/// The routes of the device manager over any implementation of its traits.
pub fn routes(service: Arc<dyn DeviceManager>, clock: SharedClock, limits: QueryLimits) -> Routes {
    let state = Devices {
        service,
        clock,
        limits,
    };
    let builder = Routes::builder("devmanager", state)
        .get("/v1/stats", READ, "Count devices", devices::stats)
        .get("/v1/devices", READ, "List devices", devices::list)
        .post("/v1/devices", WRITE, "Register a device", devices::create)
        .refuses(&[ErrorKind::Conflict])
        .get("/v1/devices/{id}", READ, "Read a device", devices::read)
        .delete(
            "/v1/devices/{id}",
            DELETE,
            "Delete a decommissioned device",
            devices::delete,
        )
        .refuses(&[ErrorKind::Unprocessable])
        .put(
            "/v1/devices/{id}/metadata",
            WRITE,
            "Patch the metadata of a device",
            devices::patch_metadata,
        )
        .patch(
            "/v1/devices/{id}/metadata",
            WRITE,
            "Patch the metadata of a device",
            devices::patch_metadata,
        )
        .put(
            "/v1/devices/{id}/idslot",
            IDENTITY,
            "Replace the identity slot of a device",
            devices::replace_identity,
        )
        .delete(
            "/v1/devices/{id}/decommission",
            DECOMMISSION,
            "Decommission a device",
            devices::decommission,
        )
        .get(
            "/v1/devices/dms/{dms_id}",
            READ,
            "List the devices of a DMS",
            devices::list_by_dms,
        );
    let builder = group_actions::routes(groups_v2::routes(groups::routes(v2::routes(builder))));
    internal::routes(builder).build()
}
