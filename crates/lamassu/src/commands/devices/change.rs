//! Changing devices, retiring them and forgetting them.

use anyhow::{Result, ensure};
use lamassu_core::device::{DeviceRegistry as _, DeviceService as _};
use lamassu_core::ids::DeviceId;
use lamassu_core::patch::DocumentPatch;
use lamassu_core::revision::Precondition;
use serde_json::{Value, json};

use super::show::{find, print};
use super::{UpdateDevice, require_dms};
use crate::commands::Session;
use crate::commands::failure::{About, Noun, Refusal as _};
use crate::commands::output::note;
use crate::commands::question::Question;

pub(super) async fn update(session: &Session, asked: &UpdateDevice) -> Result<()> {
    let operations = asked.operations();
    ensure!(
        !operations.is_empty(),
        "nothing to change: say --dms, --tag, --no-tags, --set or --unset"
    );
    let (devices, caller) = (&session.devices, &session.caller);
    let id = DeviceId::from(asked.device.as_str());
    if let Some(dms) = &asked.dms {
        require_dms(session, dms).await?;
    }
    // One change: all of it, or nothing.
    let patch = DocumentPatch::Strict(operations);
    let changed = devices.patch_device(caller, &id, patch, Precondition::None);
    let changed = changed
        .await
        .about(About::new(Noun::Device, &asked.device))?;
    for warning in changed.warnings {
        note(&format!("warning: {warning}"));
    }
    print(session, &find(session, &asked.device).await?)
}

impl UpdateDevice {
    /// What changes, as a JSON Patch: a merge patch would not replace a value that is an object.
    fn operations(&self) -> Vec<Value> {
        let put = |path: String, value: Value| json!({"op": "add", "path": path, "value": value});
        let mut operations = Vec::new();
        if let Some(dms) = &self.dms {
            operations.push(put("/dms_owner".to_owned(), json!(dms)));
        }
        if self.no_tags || !self.tag.is_empty() {
            operations.push(put("/tags".to_owned(), json!(self.tag)));
        }
        for member in self.metadata.operations() {
            let path = format!("/metadata{}", member.path.unwrap_or_default());
            let is_unset = member.value.is_none();
            operations.push(put(path.clone(), member.value.unwrap_or_default()));
            if is_unset {
                // It was put there in any case: what is not there cannot be removed.
                operations.push(json!({"op": "remove", "path": path}));
            }
        }
        operations
    }
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
