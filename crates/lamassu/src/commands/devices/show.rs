//! Devices as people see them.

use anyhow::Result;
use lamassu_core::device::slot::{IDENTITY, SlotId, SlotVersion, VersionState};
use lamassu_core::device::{
    Device, DeviceEvent, DeviceService as _, DeviceStats, SlotService as _,
};
use lamassu_core::device_group::{DeviceGroupService as _, GroupOfDevice};
use lamassu_core::ids::{DeviceId, DmsId};
use lamassu_core::query::ListRequest;
use lamassu_core::timestamp::Timestamp;
use lamassu_core::usage::RevocationReason;
use serde_json::Value;

use super::{ListDevices, Which, require_dms};
use crate::commands::Session;
use crate::commands::failure::{About, Noun, Refusal as _};
use crate::commands::fields::DEVICE_FIELDS;
use crate::commands::listing::{self, Conditions};
use crate::commands::output::{Form, ListPrinter, Record, Shape, write};
use crate::commands::values::at;
use crate::table::{Columns, line};

/// Devices in lists.
pub(in crate::commands) const LIST: Shape<Device> = Shape {
    headings: &["ID", "STATUS", "DMS", "TAGS", "EXPIRES", "SERIAL NUMBER"],
    row: |device, _| {
        let identity = device.identity.as_ref();
        let expires = identity.and_then(|slot| slot.expiration_date);
        let serial = identity.and_then(|slot| slot.active_serial());
        vec![
            device.id.to_string(),
            device.status.to_string(),
            device.dms_owner.to_string(),
            device.tags.join(","),
            expires.map(at).unwrap_or_default(),
            serial.map(ToString::to_string).unwrap_or_default(),
        ]
    },
    id: |device| device.id.to_string(),
};

/// Prints a device, without its history.
pub(super) fn print(session: &Session, device: &Device) -> Result<()> {
    session.print(device, device.id.as_str(), || record(device))
}

fn record(device: &Device) -> Record {
    let identity = device.identity.as_ref();
    let serial = identity.and_then(|slot| slot.active_serial());
    let expires = identity.and_then(|slot| slot.expiration_date);
    let metadata = Value::Object(device.metadata.clone()).to_string();
    vec![
        ("id", device.id.to_string()),
        ("status", device.status.to_string()),
        ("DMS", device.dms_owner.to_string()),
        ("registered", at(device.creation_timestamp)),
        ("tags", device.tags.join(", ")),
        (
            "certificate",
            serial.map(ToString::to_string).unwrap_or_default(),
        ),
        ("expires", expires.map(at).unwrap_or_default()),
        (
            "metadata",
            if device.metadata.is_empty() {
                String::new()
            } else {
                metadata
            },
        ),
    ]
}

/// Prints a device with its certificates and its history.
pub(super) async fn one(session: &Session, id: &str) -> Result<()> {
    let device = find(session, id).await?;
    print(session, &device)?;
    if session.output.form() != Form::Text {
        return Ok(());
    }
    if device.identity.is_some() {
        write(&format!("\n{}", versions(session, &device.id).await?))?;
    }
    let slot_events = device.identity.iter().flat_map(|slot| &slot.events);
    let mut events: Vec<(&Timestamp, &DeviceEvent)> =
        device.events.iter().chain(slot_events).collect();
    events.sort_by_key(|(time, _)| **time);
    let headings = ["TIME", "EVENT", "WHAT"].map(str::to_owned);
    let rows = events.into_iter().map(|(time, event)| {
        vec![
            at(*time),
            event.event_type.clone(),
            line(&event.description),
        ]
    });
    let rows = std::iter::once(headings.to_vec()).chain(rows);
    write(&format!("\n{}", Columns::default().rows(rows)))
}

/// The certificates of a device, as a table.
async fn versions(session: &Session, device: &DeviceId) -> Result<String> {
    let id = SlotId {
        device: device.clone(),
        name: IDENTITY.to_owned(),
    };
    let slot = session.devices.slot(&session.caller, &id).await?;
    let headings = ["VERSION", "CERTIFICATE", "ACTIVE", "STATE"].map(str::to_owned);
    let rows = slot.versions.iter().flatten().rev().map(|version| {
        let is_active = slot.active_version == Some(version.version);
        vec![
            version.version.to_string(),
            version.secret.as_str().unwrap_or_default().to_owned(),
            if is_active { "yes" } else { "" }.to_owned(),
            state(version),
        ]
    });
    let rows = std::iter::once(headings.to_vec()).chain(rows);
    Ok(Columns::default().rows(rows))
}

/// Where in its life a version is: a hold is no revocation for good.
fn state(version: &SlotVersion) -> String {
    let state = version.state;
    match (state, version.revocation_reason, version.overlap_until) {
        (VersionState::Revoked, Some(RevocationReason::CertificateHold), _) => {
            format!("{state} (on hold)")
        }
        (VersionState::Revoked, Some(reason), _) => format!("{state} ({})", reason.name()),
        (VersionState::Superseded, _, Some(end)) => format!("{state} (until {})", at(end)),
        _ => state.to_string(),
    }
}

/// The device of this id.
pub(super) async fn find(session: &Session, id: &str) -> Result<Device> {
    let found = session
        .devices
        .device(&session.caller, &DeviceId::from(id))
        .await;
    found.about(About::new(Noun::Device, id))
}

impl Which {
    pub(super) fn conditions(&self) -> Conditions {
        Conditions::default()
            .with("tags[contains]", self.tag.as_deref())
            .with("id[contains_ignorecase]", self.name.as_deref())
    }

    pub(super) fn owner(&self) -> Option<DmsId> {
        self.dms.as_deref().map(DmsId::from)
    }
}

/// Checks that there is the DMS whose devices are asked for, or was one: an empty list would look like an
/// answer.
pub(super) async fn require_owner(session: &Session, which: &Which) -> Result<()> {
    let Some(dms) = which.dms.as_deref() else {
        return Ok(());
    };
    let Err(missing) = require_dms(session, dms).await else {
        return Ok(());
    };
    let conditions = Conditions::default().with("dms_owner[equal]", Some(dms));
    let request = ListRequest {
        filters: conditions.filters(&[], DEVICE_FIELDS)?,
        ..ListRequest::default()
    };
    match session
        .devices
        .stats(&session.caller, &request)
        .await?
        .total
    {
        0 => Err(missing),
        _ => Ok(()),
    }
}

pub(super) async fn list(session: &Session, asked: &ListDevices) -> Result<()> {
    require_owner(session, &asked.which).await?;
    let status = asked.status.as_ref().map(|text| text.to_ascii_uppercase());
    let conditions = asked
        .which
        .conditions()
        .with("status[equal]", status.as_deref());
    let request = asked.list.request(DEVICE_FIELDS, conditions)?;
    let owner = asked.which.owner();
    listing::print(session, &asked.list, request, &LIST, async |request| {
        let (devices, caller) = (&session.devices, &session.caller);
        Ok(devices.devices(caller, owner.as_ref(), request).await?)
    })
    .await
}

pub(super) async fn stats(session: &Session, which: &Which, filter: &[String]) -> Result<()> {
    require_owner(session, which).await?;
    let owner = which.dms.as_deref();
    let conditions = which.conditions().with("dms_owner[equal]", owner);
    let request = ListRequest {
        filters: conditions.filters(filter, DEVICE_FIELDS)?,
        ..ListRequest::default()
    };
    let stats = session.devices.stats(&session.caller, &request).await?;
    counts(session, &stats)
}

/// Prints how many devices there are.
pub(in crate::commands) fn counts(session: &Session, stats: &DeviceStats) -> Result<()> {
    let DeviceStats {
        total,
        status_distribution,
    } = stats;
    session.print(stats, &total.to_string(), || {
        let by_status = status_distribution.iter();
        let by_status = by_status.map(|(status, n)| (status.name(), n.to_string()));
        [("all", total.to_string())]
            .into_iter()
            .chain(by_status)
            .collect()
    })
}

const GROUPS: Shape<GroupOfDevice> = Shape {
    headings: &["NAME", "ID"],
    row: |group, _| vec![group.path.join(" / "), group.id.to_string()],
    id: |group| group.id.to_string(),
};

/// The groups that a device is in.
pub(super) async fn groups(session: &Session, device: &str) -> Result<()> {
    let (devices, caller) = (&session.devices, &session.caller);
    let id = DeviceId::from(device);
    let groups = devices.groups_of_device(caller, &id).await;
    let groups = groups.about(About::new(Noun::Device, device))?;
    let mut printer = ListPrinter::new(session, &GROUPS);
    printer.page(&groups)?;
    printer.end()
}
