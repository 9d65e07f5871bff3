//! `lamassu groups`: groups of devices, by what their members fulfil.

mod actions;
mod policies;
mod show;

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Result, bail, ensure};
use clap::{Args, Subcommand};
use lamassu_core::device_group::{
    Children, CreateGroup as NewGroup, Criterion, DeviceGroupError, DeviceGroupService as _, Group,
    GroupDocument, GroupEdit, ListGroups, OperandName, PreviewRequest,
};
use lamassu_core::ids::DeviceGroupId;
use lamassu_core::page::Page;
use lamassu_core::query::ListRequest;
use lamassu_core::revision::Precondition;

use super::failure::{About, Noun, Refusal as _};
use super::fields::GROUP_FIELDS;
use super::listing::{self, Conditions, ListArgs};
use super::members::{self, Members};
use super::question::Question;
use super::{Commands, Session};

/// Groups of devices. GROUP is an id or a name.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum GroupsCommand {
    /// List groups.
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        list: ListArgs,
    },
    /// Show all groups, each below the one that it is in.
    Tree,
    /// Show a group.
    Show {
        /// The group.
        group: String,
    },
    /// Make a group.
    Create {
        /// Its name.
        name: String,
        #[command(flatten)]
        members: Box<GroupArgs>,
    },
    /// Change a group. What is not said stays.
    Update {
        /// The group.
        group: String,
        /// Another name.
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        #[command(flatten)]
        members: Box<GroupArgs>,
    },
    /// Delete a group. Its devices stay.
    #[command(visible_alias = "rm")]
    Delete {
        /// The group.
        group: String,
        /// What becomes of the groups below it: nothing is deleted where there are any (reject), they are
        /// deleted as well (cascade), or they move up (reparent).
        #[arg(long, value_name = "HOW", default_value = "reject",
            value_parser = ["reject", "cascade", "reparent"])]
        children: String,
        #[command(flatten)]
        question: Question,
    },
    /// List the devices of a group.
    Devices {
        /// The group.
        group: String,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Count the devices of a group by status.
    Stats {
        /// The group.
        group: String,
    },
    /// What a group asks of its members: renewal windows, slots, metadata, tags.
    #[command(subcommand)]
    Policies(policies::PoliciesCommand),
    /// Do something with all devices of a group, on the server.
    #[command(subcommand)]
    Actions(actions::ActionsCommand),
    /// Say which devices criteria select, before there is a group.
    Preview {
        /// What members fulfil, for example 'tags[contains]indoor'; repeatable, all must hold.
        #[arg(long = "where", value_name = "FIELD[OPERAND]VALUE", required = true)]
        criteria: Vec<Condition>,
        /// The group that it would be below.
        #[arg(long, value_name = "GROUP")]
        parent: Option<String>,
    },
}

/// The members of a group's document.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct GroupArgs {
    /// Members of the group as the API has them, JSON or YAML; - is standard input.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// What it is for.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// The group that it is below: its members fulfil that one's criteria, too.
    #[arg(long, value_name = "GROUP")]
    parent: Option<String>,
    /// What members fulfil, for example 'tags[contains]indoor'; repeatable, all must hold.
    #[arg(long = "where", value_name = "FIELD[OPERAND]VALUE")]
    criteria: Vec<Condition>,
    /// Of several groups' policies those of the highest priority win.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    priority: Option<i32>,
    /// Whether members that come and go are told as events.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    notify_membership: Option<bool>,
}

/// A criterion as filters are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Condition(Criterion);

impl FromStr for Condition {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "it is written FIELD[OPERAND]VALUE, for example 'tags[contains]indoor'";
        let (field, rest) = text.split_once('[').ok_or(wrong)?;
        let (operand, value) = rest.split_once(']').ok_or(wrong)?;
        Ok(Self(Criterion {
            field: field.to_owned(),
            operand: OperandName::from(operand),
            value: value.to_owned(),
        }))
    }
}

impl Commands for GroupsCommand {
    async fn run(&self, session: &Session) -> Result<()> {
        match self {
            Self::List { list } => show::list(session, list).await,
            Self::Tree => show::tree(session).await,
            Self::Show { group } => show::print(session, &find(session, group).await?),
            Self::Create { name, members } => create(session, name, members).await,
            Self::Update {
                group,
                name,
                members,
            } => update(session, group, name.as_deref(), members).await,
            Self::Delete {
                group,
                children,
                question,
            } => delete(session, group, Children::from_word(children)?, *question).await,
            Self::Devices { group, list } => show::devices(session, group, list).await,
            Self::Stats { group } => show::stats(session, group).await,
            Self::Policies(command) => command.run(session).await,
            Self::Actions(command) => command.run(session).await,
            Self::Preview { criteria, parent } => {
                preview(session, criteria, parent.as_deref()).await
            }
        }
    }
}

async fn create(session: &Session, name: &str, asked: &GroupArgs) -> Result<()> {
    let document = asked.applied(session, &GroupDocument::default()).await?;
    let GroupDocument {
        name: _,
        description,
        parent_id,
        criteria,
        priority,
        policies,
        notify_membership,
    } = document;
    let new = NewGroup {
        id: None,
        name: name.to_owned(),
        description,
        parent_id,
        criteria,
        priority,
        policies,
        notify_membership,
    };
    let made = session.devices.create_group(&session.caller, new).await;
    show::print(session, &made.about(About::default())?)
}

async fn update(
    session: &Session,
    group: &str,
    name: Option<&str>,
    asked: &GroupArgs,
) -> Result<()> {
    let stored = find(session, group).await?;
    let mut document = asked.applied(session, &stored.document).await?;
    if let Some(name) = name {
        name.clone_into(&mut document.name);
    }
    ensure!(
        document != stored.document,
        "nothing to change: say what, by --file or a flag"
    );
    let edit = GroupEdit::Replace(Box::new(document));
    let (devices, caller) = (&session.devices, &session.caller);
    // What somebody else changed since it was read is not undone.
    let expected = Precondition::OneOf(vec![stored.revision]);
    let updated = devices
        .update_group(caller, &stored.id, edit, expected)
        .await;
    show::print(session, &updated.about(About::new(Noun::Group, group))?)
}

async fn delete(
    session: &Session,
    group: &str,
    children: Children,
    question: Question,
) -> Result<()> {
    let found = find(session, group).await?;
    let below = match children {
        Children::Cascade => " and all below it",
        Children::Reject | Children::Reparent => "",
    };
    let name = &found.document.name;
    question.ask(&format!(
        "This deletes the group {name:?}{below}; devices stay."
    ))?;
    let (devices, caller) = (&session.devices, &session.caller);
    let expected = Precondition::None;
    let deleted = devices
        .delete_group(caller, &found.id, children, expected)
        .await;
    deleted.about(About::new(Noun::Group, group))?;
    session.done(found.id.as_str(), &format!("group {name:?} is deleted"))
}

async fn preview(session: &Session, criteria: &[Condition], parent: Option<&str>) -> Result<()> {
    let parent_id = match parent {
        Some(parent) => Some(find(session, parent).await?.id),
        None => None,
    };
    let request = PreviewRequest {
        criteria: criteria.iter().map(|Condition(one)| one.clone()).collect(),
        parent_id,
    };
    let (devices, caller) = (&session.devices, &session.caller);
    let selected = devices.preview_group(caller, None, request).await?;
    let total = selected.total.to_string();
    session.print(&selected, &total, || {
        let sample = selected.sample.iter().map(ToString::to_string);
        vec![
            ("devices", total.clone()),
            ("oldest", sample.collect::<Vec<_>>().join(", ")),
        ]
    })
}

/// The group of this id, or else of this name, which no other group has.
pub(super) async fn find(session: &Session, group: &str) -> Result<Group> {
    let (devices, caller) = (&session.devices, &session.caller);
    let by_id = devices.group(caller, &DeviceGroupId::from(group)).await;
    // What is no UUID is no id.
    if !matches!(
        by_id,
        Err(DeviceGroupError::NotFound | DeviceGroupError::Validation)
    ) {
        return by_id.about(About::new(Noun::Group, group));
    }
    let conditions = Conditions::default().with("name[equal]", Some(group));
    let mut named = listing::first(conditions, GROUP_FIELDS, async |request| {
        page(session, request).await
    })
    .await?;
    match named.pop() {
        Some(found) => Ok(found),
        None => match Err(DeviceGroupError::NotFound).about(About::new(Noun::Group, group)) {
            Ok(never) => Ok(never),
            Err(error) => bail!(error),
        },
    }
}

/// A page of groups.
pub(super) async fn page(session: &Session, request: &ListRequest) -> Result<Page<Group>> {
    let asked = ListGroups {
        request: request.clone(),
        count: false,
    };
    let page = session.devices.groups(&session.caller, &asked).await?;
    Ok(Page {
        next: page.next,
        list: page.list,
    })
}

impl GroupArgs {
    /// `stored` with what the file and the flags say.
    async fn applied(&self, session: &Session, stored: &GroupDocument) -> Result<GroupDocument> {
        let mut members = Members::default();
        members.put("description", self.description.as_ref());
        members.put("priority", self.priority);
        members.put("notify_membership", self.notify_membership);
        if let Some(parent) = &self.parent {
            members.put("parent_id", Some(find(session, parent).await?.id));
        }
        let criteria: Vec<_> = self.criteria.iter().map(|Condition(one)| one).collect();
        members.put("criteria", (!criteria.is_empty()).then_some(criteria));
        members::applied("group", stored, self.file.as_deref(), members)
    }
}

#[cfg(test)]
mod tests {
    use lamassu_core::device_group::OperandName;

    use super::Condition;

    #[test]
    fn conditions_are_written_as_filters_are() {
        let Condition(read) = "metadata[jsonpath]$.a[*] == 1".parse().unwrap();
        assert_eq!(read.field, "metadata");
        assert_eq!(read.operand, OperandName::from("jsonpath"));
        assert_eq!(read.value, "$.a[*] == 1");
        "tags=a".parse::<Condition>().unwrap_err();
    }
}
