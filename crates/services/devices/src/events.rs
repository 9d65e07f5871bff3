//! What the device manager tells the event log.

use lamassu_core::ca::Certificate;
use lamassu_core::caller::Caller;
use lamassu_core::device::{Device, EnrollmentEvent};
use lamassu_core::dms::Dms;
use lamassu_core::ids::{DeviceId, DmsId};
use lamassu_core::pem::CertificateDer;
use lamassu_db::Event;
use serde::Serialize;
use time::OffsetDateTime;

use crate::store::StoredDevice;

/// Source of the events about devices.
const DEVICE_MANAGER: &str = "service/devmanager";

/// Source of the events about enrollment: consumers know them as the DMS manager's.
const DMS_MANAGER: &str = "service/ra";

/// The payload of every update.
#[derive(Serialize)]
struct Pair<'a> {
    previous: &'a Device,
    updated: &'a Device,
}

/// The payload of an update of a slot beside the identity.
#[derive(Serialize)]
struct SlotPair<'a> {
    previous: &'a Device,
    updated: &'a Device,
    slot: &'a str,
}

/// The payload of `device.slot.delete`.
#[derive(Serialize)]
struct SlotGone<'a> {
    id: &'a DeviceId,
    slot: &'a str,
}

/// The payload of `device.delete`.
#[derive(Serialize)]
struct Gone<'a> {
    #[serde(rename = "ID")]
    id: &'a DeviceId,
}

/// The payload of `dms.bind-device-id`.
#[derive(Serialize)]
struct Bound<'a> {
    certificate: &'a Certificate,
    dms: &'a Dms,
    device: &'a Device,
}

/// The payload of `dms.enroll` and `dms.reenroll`.
#[derive(Serialize)]
struct Enrolled<'a> {
    certificate: &'a CertificateDer,
    aps: &'a DmsId,
}

/// The subject of events and audit records about a device.
pub(crate) fn device_subject(id: &DeviceId) -> String {
    format!("device/{id}")
}

/// `device.create`
pub(crate) fn device_created(caller: &Caller, device: &Device, now: OffsetDateTime) -> Event {
    Event::new("device.create", DEVICE_MANAGER, caller, now)
        .subject(device_subject(&device.id))
        .data(device)
}

/// `device.status.update`
pub(crate) fn status_updated(
    caller: &Caller,
    previous: &Device,
    updated: &Device,
    now: OffsetDateTime,
) -> Event {
    Event::new("device.status.update", DEVICE_MANAGER, caller, now)
        .subject(device_subject(&updated.id))
        .data(&Pair { previous, updated })
}

/// `device.identity.update`
pub(crate) fn identity_updated(
    caller: &Caller,
    previous: &Device,
    updated: &Device,
    now: OffsetDateTime,
) -> Event {
    Event::new("device.identity.update", DEVICE_MANAGER, caller, now)
        .subject(device_subject(&updated.id))
        .data(&Pair { previous, updated })
}

/// `device.metadata.update`
pub(crate) fn metadata_updated(
    caller: &Caller,
    previous: &Device,
    updated: &Device,
    now: OffsetDateTime,
) -> Event {
    Event::new("device.metadata.update", DEVICE_MANAGER, caller, now)
        .subject(device_subject(&updated.id))
        .data(&Pair { previous, updated })
}

/// `device.update`: something else that clients write.
pub(crate) fn members_updated(
    caller: &Caller,
    previous: &Device,
    updated: &Device,
    now: OffsetDateTime,
) -> Event {
    Event::new("device.update", DEVICE_MANAGER, caller, now)
        .subject(device_subject(&updated.id))
        .data(&Pair { previous, updated })
}

/// `device.slot.update`
pub(crate) fn slot_updated(
    caller: &Caller,
    previous: &Device,
    updated: &Device,
    slot: &str,
    now: OffsetDateTime,
) -> Event {
    Event::new("device.slot.update", DEVICE_MANAGER, caller, now)
        .subject(device_subject(&updated.id))
        .data(&SlotPair {
            previous,
            updated,
            slot,
        })
}

/// `device.slot.delete`
pub(crate) fn slot_deleted(
    caller: &Caller,
    id: &DeviceId,
    slot: &str,
    now: OffsetDateTime,
) -> Event {
    Event::new("device.slot.delete", DEVICE_MANAGER, caller, now)
        .subject(device_subject(id))
        .data(&SlotGone { id, slot })
}

/// `device.delete`
pub(crate) fn device_deleted(caller: &Caller, id: &DeviceId, now: OffsetDateTime) -> Event {
    Event::new("device.delete", DEVICE_MANAGER, caller, now)
        .subject(device_subject(id))
        .data(&Gone { id })
}

/// Whether what clients write differs in more than metadata.
pub(crate) fn differ_beside_metadata(before: &StoredDevice, after: &StoredDevice) -> bool {
    let (one, other) = (&before.device, &after.device);
    before.alias != after.alias
        || one.tags != other.tags
        || one.icon != other.icon
        || one.icon_color != other.icon_color
        || one.dms_owner != other.dms_owner
}

/// `dms.bind-device-id`
pub(crate) fn identity_bound(
    caller: &Caller,
    certificate: &Certificate,
    dms: &Dms,
    device: &Device,
    now: OffsetDateTime,
) -> Event {
    Event::new("dms.bind-device-id", DMS_MANAGER, caller, now)
        .subject(device_subject(&device.id))
        .data(&Bound {
            certificate,
            dms,
            device,
        })
}

/// `dms.enroll` or `dms.reenroll`
pub(crate) fn enrolled(
    caller: &Caller,
    operation: EnrollmentEvent,
    certificate: &CertificateDer,
    dms: &DmsId,
    now: OffsetDateTime,
) -> Event {
    let event_type = match operation {
        EnrollmentEvent::Enroll => "dms.enroll",
        EnrollmentEvent::Reenroll => "dms.reenroll",
    };
    Event::new(event_type, DMS_MANAGER, caller, now)
        .subject(format!("dms/{dms}"))
        .data(&Enrolled {
            certificate,
            aps: dms,
        })
}
