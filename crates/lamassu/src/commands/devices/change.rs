//! Changing devices, retiring them and forgetting them.

use anyhow::{Result, ensure};
use lamassu_core::device::DeviceService as _;
use lamassu_core::ids::DeviceId;

use super::show::{find, print};
use crate::commands::Session;
use crate::commands::failure::{About, Noun, Refusal as _};
use crate::commands::metadata::MetadataChanges;
use crate::commands::question::Question;

pub(super) async fn update(
    session: &Session,
    device: &str,
    metadata: &MetadataChanges,
) -> Result<()> {
    let operations = metadata.operations();
    ensure!(
        !operations.is_empty(),
        "nothing to change: say --set or --unset"
    );
    let (devices, caller) = (&session.devices, &session.caller);
    let id = DeviceId::from(device);
    let changed = devices.patch_metadata(caller, &id, operations).await;
    print(session, &changed.about(About::new(Noun::Device, device))?)
}

pub(super) async fn decommission(
    session: &Session,
    devices: &[String],
    question: Question,
) -> Result<()> {
    for device in known(session, devices).await? {
        let what =
            format!("This retires the device {device:?} and revokes its certificates, for good.");
        question.ask(&what)?;
        let id = DeviceId::from(device.as_str());
        let retired = session.devices.decommission(&session.caller, &id).await;
        print(session, &retired.about(About::new(Noun::Device, device))?)?;
    }
    Ok(())
}

pub(super) async fn delete(
    session: &Session,
    devices: &[String],
    question: Question,
) -> Result<()> {
    for device in known(session, devices).await? {
        question.ask(&format!(
            "This removes the record of the device {device:?} and its history, for good."
        ))?;
        let id = DeviceId::from(device.as_str());
        let deleted = session.devices.delete_device(&session.caller, &id).await;
        deleted.about(About::new(Noun::Device, device))?;
        session.done(device, &format!("device {device} is removed"))?;
    }
    Ok(())
}

/// All are looked up first: nothing is done where one of them is misspelt.
async fn known<'d>(session: &Session, devices: &'d [String]) -> Result<&'d [String]> {
    for device in devices {
        find(session, device).await?;
    }
    Ok(devices)
}
