//! Groups as people see them.

use anyhow::Result;
use lamassu_core::device_group::{Criterion, DeviceGroupService as _, Group, GroupNode};
use serde_json::Value;

use super::find;
use crate::commands::Session;
use crate::commands::devices::{LIST, counts};
use crate::commands::failure::{About, Noun, Refusal as _};
use crate::commands::fields::{DEVICE_FIELDS, GROUP_FIELDS};
use crate::commands::listing::{self, Conditions, ListArgs};
use crate::commands::output::{Form, ListPrinter, Record, Shape};
use crate::commands::values::at;

const GROUPS: Shape<Group> = Shape {
    headings: &["NAME", "MEMBERS FULFIL", "BELOW IT", "ID"],
    row: |group, _| {
        vec![
            group.path.join(" / "),
            criteria(&group.document.criteria),
            group.children_count.to_string(),
            group.id.to_string(),
        ]
    },
    id: |group| group.id.to_string(),
};

fn criteria(all: &[Criterion]) -> String {
    let written = all
        .iter()
        .map(|one| format!("{}[{}]{}", one.field, one.operand.0, one.value));
    written.collect::<Vec<_>>().join(" and ")
}

/// Prints a group.
pub(super) fn print(session: &Session, group: &Group) -> Result<()> {
    session.print(group, group.id.as_str(), || record(group))
}

fn record(group: &Group) -> Record {
    let document = &group.document;
    let inherited = group.inherited_criteria.iter().map(|one| Criterion {
        field: one.field.clone(),
        operand: one.operand.clone(),
        value: one.value.clone(),
    });
    let policies = match document.policies.is_empty() {
        true => String::new(),
        false => Value::Object(document.policies.clone()).to_string(),
    };
    vec![
        ("id", group.id.to_string()),
        ("name", document.name.clone()),
        ("description", document.description.clone()),
        ("place", group.path.join(" / ")),
        ("members fulfil", criteria(&document.criteria)),
        ("and from above", criteria(&inherited.collect::<Vec<_>>())),
        ("priority", document.priority.to_string()),
        ("policies", policies),
        ("groups below it", group.children_count.to_string()),
        ("changed", at(group.updated_at)),
    ]
}

pub(super) async fn list(session: &Session, list: &ListArgs) -> Result<()> {
    let request = list.request(GROUP_FIELDS, Conditions::default())?;
    listing::print(session, list, request, &GROUPS, async |request| {
        Ok(session.devices.groups(&session.caller, request).await?)
    })
    .await
}

pub(super) async fn tree(session: &Session) -> Result<()> {
    let roots = session.devices.group_tree(&session.caller).await?;
    if session.output.form() == Form::Json {
        let text = serde_json::to_string_pretty(&roots)?;
        return crate::commands::output::write(&format!("{text}\n"));
    }
    let mut groups = Vec::new();
    flatten(roots, &mut groups);
    let mut printer = ListPrinter::new(session, &GROUPS);
    printer.page(&groups)?;
    printer.end()
}

/// Each group behind the one that it is below; they are nested as deep as the server lets them.
fn flatten(nodes: Vec<GroupNode>, into: &mut Vec<Group>) {
    for GroupNode { group, children } in nodes {
        into.push(group);
        flatten(children.unwrap_or_default(), into);
    }
}

pub(super) async fn devices(session: &Session, group: &str, list: &ListArgs) -> Result<()> {
    let id = find(session, group).await?.id;
    let request = list.request(DEVICE_FIELDS, Conditions::default())?;
    listing::print(session, list, request, &LIST, async |request| {
        let (devices, caller) = (&session.devices, &session.caller);
        let page = devices.group_devices(caller, &id, request).await;
        page.about(About::new(Noun::Group, group))
    })
    .await
}

pub(super) async fn stats(session: &Session, group: &str) -> Result<()> {
    let id = find(session, group).await?.id;
    let stats = session.devices.group_stats(&session.caller, &id).await?;
    counts(session, &stats)
}
