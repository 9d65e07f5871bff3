//! Devices: what v1 changes, and v2.

use anyhow::Result;
use serde_json::json;

use crate::support::Plant;
use crate::support::description::Walk;
use crate::support::plant::DeviceKey;

/// What v1 changes of a device, up to its end.
pub(super) fn changes(walk: &mut Walk<'_>) -> Result<()> {
    let device = "devmanager/v1/devices/{id}";
    let id = ["changed"];
    let body = json!({"id": "changed", "dms_id": "walked"});
    walk.call("POST", "devmanager/v1/devices", &[], Some(&body))?;
    for method in ["PUT", "PATCH"] {
        let patch = super::metadata();
        walk.call(method, &format!("{device}/metadata"), &id, Some(&patch))?;
    }
    let slot = json!({"status": "EXPIRED", "active_version": 0, "type": "x509",
        "versions": {"0": "0a"}, "events": {}});
    walk.call("PUT", &format!("{device}/idslot"), &id, Some(&slot))?;
    walk.call("DELETE", &format!("{device}/decommission"), &id, None)?;
    walk.call("DELETE", device, &id, None)?;
    Ok(())
}

pub(super) fn second_version(walk: &mut Walk<'_>, plant: &Plant) -> Result<()> {
    let device = "devmanager/v2/devices/{id}";
    let id = ["second"];
    let body = json!({"id": "second", "dms_owner": "walked", "tags": ["t"], "metadata": {"a": 1}});
    walk.call("POST", "devmanager/v2/devices", &[], Some(&body))?;
    let list = "devmanager/v2/devices?count=true&include=events&filter=alias[ct]x";
    walk.call("GET", list, &[], None)?;
    let patch = json!({"alias": "Pump", "metadata": {"a": null}});
    walk.call("PATCH", device, &id, Some(&patch))?;
    slots(walk, plant)?;
    walk.call("GET", &format!("{device}?include=events"), &id, None)?;
    walk.call("GET", &format!("{device}/events?count=true"), &id, None)?;
    let stats = "devmanager/v2/stats/devices?group_by=tags&include=health,expiration";
    walk.call("GET", stats, &[], None)?;
    walk.call("DELETE", device, &id, None)?;
    Ok(())
}

fn slots(walk: &mut Walk<'_>, plant: &Plant) -> Result<()> {
    let slots = "devmanager/v2/devices/{id}/slots";
    let slot = format!("{slots}/{{slot}}");
    let version = format!("{slot}/versions/{{version}}");
    plant.key_and_csr("second", DeviceKey::P256)?;
    let certificate = plant.sign("issuing", "second", &json!({}))?;
    let secret = json!({"secret": {"serial_number": certificate["serial_number"]}});
    let names = ["second", "identity"];
    walk.call("POST", &format!("{slot}/versions"), &names, Some(&secret))?;
    let names = ["second", "api"];
    let made = json!({"secret_type": "TOKEN", "policy": {"overlap": "1h", "max_versions": 3}});
    walk.call("PUT", &slot, &names, Some(&made))?;
    for activate in [true, false] {
        let token = json!({"secret": {"generate": true}, "activate": activate});
        walk.call("POST", &format!("{slot}/versions"), &names, Some(&token))?;
    }
    walk.call("GET", &slot, &names, None)?;
    walk.call(
        "GET",
        &format!("{slots}?include=versions"),
        &["second"],
        None,
    )?;
    walk.call("GET", &format!("{slot}/versions?count=true"), &names, None)?;
    let names_of = ["second", "api", "1"];
    walk.call("GET", &version, &names_of, None)?;
    let overlap = json!({"overlap": "24h", "revoke_superseded": true});
    walk.call(
        "POST",
        &format!("{version}/activate"),
        &names_of,
        Some(&overlap),
    )?;
    let token = json!({"token": "nobody-s-token-at-all"});
    walk.call("POST", &format!("{slot}/verify"), &names, Some(&token))?;
    let revoke = json!({"reason": "KeyCompromise", "fallback": true});
    walk.call(
        "POST",
        &format!("{version}/revoke"),
        &names_of,
        Some(&revoke),
    )?;
    walk.call("DELETE", &version, &names_of, None)?;
    walk.call("DELETE", &slot, &names, None)?;
    Ok(())
}
