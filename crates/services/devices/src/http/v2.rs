//! The routes under `/v2`.

pub(super) mod devices;
mod slots;
pub(super) mod statistics;

use lamassu_core::error::ErrorKind;
use lamassu_http::RoutesBuilder;

use super::{DECOMMISSION, Devices, IDENTITY, READ, WRITE};

pub(super) fn routes(builder: RoutesBuilder<Devices>) -> RoutesBuilder<Devices> {
    let builder = builder
        .get(
            "/v2/stats/devices",
            READ,
            "Count devices",
            statistics::count,
        )
        .refuses(&[ErrorKind::NotFound])
        .get("/v2/devices", READ, "List devices", devices::list)
        .refuses(&[ErrorKind::NotFound])
        .post("/v2/devices", WRITE, "Register a device", devices::register)
        .refuses(&[ErrorKind::Conflict, ErrorKind::Unprocessable])
        .get("/v2/devices/{id}", READ, "Read a device", devices::read)
        .patch(
            "/v2/devices/{id}",
            WRITE,
            "Change what clients write of a device",
            devices::patch,
        )
        .refuses(&[ErrorKind::Conflict, ErrorKind::Unprocessable])
        .delete(
            "/v2/devices/{id}",
            DECOMMISSION,
            "Decommission a device, or remove a decommissioned one",
            devices::remove,
        )
        .refuses(&[ErrorKind::Unprocessable])
        .get(
            "/v2/devices/{id}/events",
            READ,
            "Read the history of a device and its slots",
            devices::history,
        );
    slot_routes(builder)
}

fn slot_routes(builder: RoutesBuilder<Devices>) -> RoutesBuilder<Devices> {
    const CHANGES: &[ErrorKind] = &[ErrorKind::Conflict, ErrorKind::Unprocessable];
    const ASKS_CA: &[ErrorKind] = &[
        ErrorKind::Conflict,
        ErrorKind::Unprocessable,
        ErrorKind::BadGateway,
    ];
    builder
        .get(
            "/v2/devices/{id}/slots",
            READ,
            "List the slots of a device",
            slots::list,
        )
        .get(
            "/v2/devices/{id}/slots/{slot}",
            READ,
            "Read a slot of a device with its versions",
            slots::read,
        )
        .put(
            "/v2/devices/{id}/slots/{slot}",
            WRITE,
            "Make a slot, or set its policy",
            slots::put,
        )
        .refuses(CHANGES)
        .delete(
            "/v2/devices/{id}/slots/{slot}",
            IDENTITY,
            "Delete a slot, and revoke what it holds",
            slots::delete,
        )
        .refuses(CHANGES)
        .get(
            "/v2/devices/{id}/slots/{slot}/versions",
            READ,
            "List the versions of a slot",
            slots::versions,
        )
        .post(
            "/v2/devices/{id}/slots/{slot}/versions",
            IDENTITY,
            "Add a version to a slot",
            slots::add,
        )
        .refuses(ASKS_CA)
        .get(
            "/v2/devices/{id}/slots/{slot}/versions/{version}",
            READ,
            "Read a version of a slot",
            slots::version,
        )
        .delete(
            "/v2/devices/{id}/slots/{slot}/versions/{version}",
            IDENTITY,
            "Delete a version that is not in use",
            slots::delete_version,
        )
        .refuses(CHANGES)
        .post(
            "/v2/devices/{id}/slots/{slot}/versions/{version}/activate",
            IDENTITY,
            "Use a pending version, or a former one again",
            slots::activate,
        )
        .refuses(ASKS_CA)
        .post(
            "/v2/devices/{id}/slots/{slot}/versions/{version}/revoke",
            IDENTITY,
            "Revoke a version",
            slots::revoke,
        )
        .refuses(ASKS_CA)
        .post(
            "/v2/devices/{id}/slots/{slot}/verify",
            READ,
            "Tell whether a token is one of a slot's",
            slots::verify,
        )
}
