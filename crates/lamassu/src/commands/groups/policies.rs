//! Policies of groups: set, shown, removed, one by one.

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use clap::{Args, Subcommand};
use lamassu_core::device_group::{
    DeviceGroupService as _, Group, GroupDocument, GroupEdit, GroupPolicies,
};
use lamassu_core::duration::WireDuration;
use lamassu_core::revision::Precondition;
use serde_json::{Map, Value, json};

use super::find;
use crate::commands::failure::{About, Noun, Refusal as _};
use crate::commands::output::Record;
use crate::commands::{Commands, Session, members};

/// The policies that there are.
const KNOWN: [&str; 5] = [
    "renewal",
    "slots",
    "metadata_schema",
    "required_tags",
    "custom",
];

/// Policies of a group. GROUP is an id or a name.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum PoliciesCommand {
    /// Show the policies of a group, and what they come to with those above it.
    Show {
        /// The group.
        group: String,
    },
    /// Set policies. What is not said stays.
    Set {
        /// The group.
        group: String,
        #[command(flatten)]
        policies: SetPolicies,
    },
    /// Remove policies; those of the groups above apply again.
    #[command(visible_alias = "rm")]
    Remove {
        /// The group.
        group: String,
        /// Which.
        #[arg(value_name = "POLICY", required = true, value_parser = KNOWN)]
        policies: Vec<String>,
    },
}

/// What is asked of members.
#[derive(Clone, Debug, Args)]
pub(crate) struct SetPolicies {
    /// Policies as the API has them, JSON or YAML; - is standard input.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// So long before its end a certificate is to be renewed, for example 30d.
    #[arg(long, value_name = "DURATION")]
    renew_before: Option<WireDuration>,
    /// So long before its end it is urgent.
    #[arg(long, value_name = "DURATION")]
    urgent_before: Option<WireDuration>,
    /// How long the version of a slot stays valid that another one replaces.
    #[arg(long, value_name = "DURATION")]
    overlap: Option<WireDuration>,
    /// Whether it is revoked then.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    revoke_superseded: Option<bool>,
    /// Most versions of a slot.
    #[arg(long, value_name = "N")]
    max_versions: Option<u32>,
    /// The tags that every member must have; repeatable.
    #[arg(long, value_name = "TEXT")]
    require_tag: Vec<String>,
    /// The JSON Schema that metadata must fulfil; - is standard input.
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// What breaks the schema or lacks a tag is only warned of.
    #[arg(long)]
    warn_only: bool,
}

impl Commands for PoliciesCommand {
    async fn run(&self, session: &Session) -> Result<()> {
        match self {
            Self::Show { group } => show(session, &find(session, group).await?).await,
            Self::Set { group, policies } => {
                change(session, group, |known| policies.over(known)).await
            }
            Self::Remove { group, policies } => {
                change(session, group, |mut known| {
                    for policy in policies {
                        if known.remove(policy).is_none() {
                            bail!("the group has no policy {policy:?} of its own");
                        }
                    }
                    Ok(known)
                })
                .await
            }
        }
    }
}

impl SetPolicies {
    /// The known policies with what the files and the flags say.
    fn over(&self, known: Map<String, Value>) -> Result<Map<String, Value>> {
        let mode = if self.warn_only { "warn" } else { "enforce" };
        let mut said = match &self.file {
            Some(file) => members::read("document of policies", file)?,
            None => Map::new(),
        };
        let mut put = |path: &str, name: &str, value: Option<Value>| {
            if let Some(value) = value {
                let policy = said.entry(path).or_insert_with(|| json!({}));
                if let Some(members) = policy.as_object_mut() {
                    members.insert(name.to_owned(), value);
                }
            }
        };
        let duration = |duration: Option<WireDuration>| duration.map(|duration| json!(duration));
        put("renewal", "preventive_delta", duration(self.renew_before));
        put("renewal", "critical_delta", duration(self.urgent_before));
        put("slots", "overlap", duration(self.overlap));
        put(
            "slots",
            "revoke_superseded",
            self.revoke_superseded.map(Value::from),
        );
        put("slots", "max_versions", self.max_versions.map(Value::from));
        if !self.require_tag.is_empty() {
            let tags = json!({"tags": self.require_tag, "mode": mode});
            said.insert("required_tags".to_owned(), tags);
        }
        if let Some(file) = &self.schema {
            let schema = members::read("JSON Schema", file)?;
            let policy = json!({"schema": schema, "mode": mode});
            said.insert("metadata_schema".to_owned(), policy);
        }
        ensure!(
            !said.is_empty(),
            "which policies? say them by --file or a flag"
        );
        let mut policies = Value::Object(known);
        for (name, value) in said {
            // A schema and tags are set as a whole, of the others the members that are said.
            let whole = matches!(name.as_str(), "metadata_schema" | "required_tags");
            match (policies.get_mut(&name), value) {
                (Some(Value::Object(known)), Value::Object(members)) if !whole => {
                    known.extend(members);
                }
                (_, value) => {
                    if let Some(policies) = policies.as_object_mut() {
                        policies.insert(name, value);
                    }
                }
            }
        }
        match policies {
            Value::Object(policies) => Ok(policies),
            _ => bail!("policies are an object"),
        }
    }
}

/// Changes the policies of a group, unless somebody else changes it at the same time.
async fn change(
    session: &Session,
    group: &str,
    edit: impl FnOnce(Map<String, Value>) -> Result<Map<String, Value>>,
) -> Result<()> {
    let stored = find(session, group).await?;
    let document = GroupDocument {
        policies: edit(stored.document.policies.clone())?,
        ..stored.document.clone()
    };
    ensure!(document != stored.document, "nothing to change");
    let (devices, caller) = (&session.devices, &session.caller);
    let expected = Precondition::OneOf(vec![stored.revision]);
    let edit = GroupEdit::Replace(Box::new(document));
    let updated = devices
        .update_group(caller, &stored.id, edit, expected)
        .await;
    let updated = updated.about(About::new(Noun::Group, group))?;
    show(session, &updated).await
}

async fn show(session: &Session, group: &Group) -> Result<()> {
    let (devices, caller) = (&session.devices, &session.caller);
    let policies = devices.group_policies(caller, &group.id).await?;
    session.print(&policies, group.id.as_str(), || record(group, &policies))
}

fn record(group: &Group, policies: &GroupPolicies) -> Record {
    let own = policies
        .own
        .iter()
        .map(|(name, value)| format!("{name} {value}"));
    let effective = &policies.effective;
    let renewal = effective.renewal.unwrap_or_default();
    let slots = effective.slots.clone().unwrap_or_default();
    let told = |duration: Option<WireDuration>| {
        duration.map_or_else(
            || "as the DMS says".to_owned(),
            |duration| duration.to_string(),
        )
    };
    let tags = effective
        .required_tags
        .iter()
        .flat_map(|rule| &rule.rule.tags);
    vec![
        ("group", group.path.join(" / ")),
        ("its own policies", own.collect::<Vec<_>>().join(", ")),
        ("to be renewed", told(renewal.preventive_delta)),
        ("urgent", told(renewal.critical_delta)),
        (
            "overlap of versions",
            slots
                .superseded
                .overlap
                .map(|overlap| overlap.to_string())
                .unwrap_or_default(),
        ),
        (
            "revokes superseded",
            slots
                .superseded
                .revoke_superseded
                .map(|revoke| revoke.to_string())
                .unwrap_or_default(),
        ),
        (
            "most versions",
            slots
                .max_versions
                .map(|max| max.to_string())
                .unwrap_or_default(),
        ),
        (
            "required tags",
            tags.cloned().collect::<Vec<_>>().join(", "),
        ),
        (
            "schemas of metadata",
            effective.metadata_schema.len().to_string(),
        ),
    ]
}
