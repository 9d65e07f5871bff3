//! The routes under `/v2`.

mod devices;

use lamassu_core::error::ErrorKind;
use lamassu_http::RoutesBuilder;

use super::{Devices, READ, WRITE};

pub(super) fn routes(builder: RoutesBuilder<Devices>) -> RoutesBuilder<Devices> {
    builder
        .get("/v2/devices", READ, "List devices", devices::list)
        .post("/v2/devices", WRITE, "Register a device", devices::register)
        .refuses(&[ErrorKind::Conflict])
        .get("/v2/devices/{id}", READ, "Read a device", devices::read)
        .patch(
            "/v2/devices/{id}",
            WRITE,
            "Change what clients write of a device",
            devices::patch,
        )
        .refuses(&[ErrorKind::Conflict])
        .delete(
            "/v2/devices/{id}",
            WRITE,
            "Decommission a device, or remove a decommissioned one",
            devices::remove,
        )
        .refuses(&[ErrorKind::Unprocessable])
        .get(
            "/v2/devices/{id}/events",
            READ,
            "Read the history of a device and its slots",
            devices::history,
        )
}
