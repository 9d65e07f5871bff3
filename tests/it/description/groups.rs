//! Calls about device groups.

use anyhow::Result;
use serde_json::json;

use super::text;
use crate::support::description::Walk;

/// Walks over groups while the device `by-hand` is there.
pub(super) fn groups(walk: &mut Walk<'_>) -> Result<()> {
    let id = "7a1d6c1e-0000-4000-8000-000000000001";
    let criterion = json!({"field": "tags", "operand": "contains", "value": "t"});
    let v1 = json!({"id": id, "name": "walked", "description": "d", "parent_id": "",
        "criteria": [criterion]});
    walk.call("POST", "devmanager/v1/device-groups", &[], Some(&v1))?;
    let change = json!({"name": "walked on", "description": "", "parent_id": "", "criteria": []});
    walk.call(
        "PUT",
        "devmanager/v1/device-groups/{id}",
        &[id],
        Some(&change),
    )?;
    walk.call("GET", "devmanager/v1/device-groups?sort_by=name", &[], None)?;
    walk.call("GET", "devmanager/v1/device-groups/{id}", &[id], None)?;
    walk.call(
        "GET",
        "devmanager/v1/device-groups/{id}/devices",
        &[id],
        None,
    )?;
    walk.call("GET", "devmanager/v1/device-groups/{id}/stats", &[id], None)?;
    let body = json!({"name": "below", "parent_id": id, "criteria": [],
        "policies": {"renewal": {"critical_delta": "1d"}, "required_tags": ["t"]}});
    let below = walk.call("POST", "devmanager/v2/device-groups", &[], Some(&body))?;
    let below = text(&below, "id")?;
    let group = "devmanager/v2/device-groups/{id}";
    walk.call("GET", group, &[below], None)?;
    walk.call("PUT", group, &[below], Some(&body))?;
    walk.call("PATCH", group, &[below], Some(&json!({"priority": 3})))?;
    walk.call("GET", "devmanager/v2/device-groups", &[], None)?;
    walk.call("GET", "devmanager/v2/device-groups?tree=true", &[], None)?;
    walk.call(
        "GET",
        &format!("{group}/devices?count=true"),
        &[below],
        None,
    )?;
    walk.call("GET", &format!("{group}/stats"), &[below], None)?;
    let started = json!({"action": "add_tags", "parameters": {"tags": ["walked"]}});
    let actions = format!("{group}/actions");
    let action = walk.call("POST", &actions, &[below], Some(&started))?;
    let tried = json!({"action": "purge", "dry_run": true});
    walk.call("POST", &actions, &[below], Some(&tried))?;
    let one = format!("{actions}/{{action_id}}");
    let names = [below, text(&action, "id")?];
    walk.call("GET", &one, &names, None)?;
    walk.call("GET", &actions, &[below], None)?;
    walk.call("DELETE", &one, &names, None)?;
    walk.call("GET", &format!("{group}/children"), &[id], None)?;
    walk.call("GET", &format!("{group}/ancestors"), &[below], None)?;
    walk.call("GET", &format!("{group}/policies"), &[below], None)?;
    let tried = json!({"criteria": [criterion]});
    walk.call("POST", &format!("{group}/preview"), &[below], Some(&tried))?;
    walk.call(
        "POST",
        "devmanager/v2/device-groups/preview",
        &[],
        Some(&tried),
    )?;
    walk.call(
        "GET",
        "devmanager/v2/devices/{id}/groups",
        &["by-hand"],
        None,
    )?;
    walk.call(
        "GET",
        "devmanager/v2/devices/{id}/policies",
        &["by-hand"],
        None,
    )?;
    walk.call("DELETE", group, &[below], None)?;
    walk.call("DELETE", "devmanager/v1/device-groups/{id}", &[id], None)?;
    Ok(())
}
