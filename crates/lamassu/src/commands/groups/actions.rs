//! Actions: something is done with all devices of a group, on the server, however many there are.

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use clap::{Args, Subcommand};
use lamassu_core::device_group::{
    ActionKind, ActionState, DeviceGroupService as _, DryRun, Group, GroupAction, StartAction,
    Started,
};
use lamassu_core::query::{Field, Filter};
use serde_json::{Map, Value, json};
use tokio::signal::ctrl_c;

use super::find;
use crate::commands::failure::{About, Noun, Refusal as _};
use crate::commands::fields::{ACTION_FIELDS, DEVICE_FIELDS_IN_V2};
use crate::commands::listing::{self, Conditions, ListArgs};
use crate::commands::output::{Record, Shape};
use crate::commands::progress::{self, Share, Watched};
use crate::commands::question::Question;
use crate::commands::values::at;
use crate::commands::{Commands, Session, members};

/// Something that is done with all devices of a group. GROUP is an id or a name.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ActionsCommand {
    /// Start an action, and wait for its end.
    #[command(subcommand)]
    Start(Deed),
    /// List the actions of a group.
    #[command(visible_alias = "ls")]
    List {
        /// The group.
        group: String,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Show an action, and with which devices it failed.
    Show {
        /// The group.
        group: String,
        /// The action's id.
        action: String,
    },
    /// Wait for the end of an action.
    Wait {
        /// The group.
        group: String,
        /// The action's id.
        action: String,
    },
    /// Put an end to an action: what is done stays done.
    Cancel {
        /// The group.
        group: String,
        /// The action's id.
        action: String,
    },
}

/// What is done.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Deed {
    /// Give devices tags.
    AddTags {
        #[command(flatten)]
        whom: Whom,
        /// Tag; repeatable.
        #[arg(long, value_name = "TEXT", required = true)]
        tag: Vec<String>,
    },
    /// Take tags from devices.
    RemoveTags {
        #[command(flatten)]
        whom: Whom,
        /// Tag; repeatable.
        #[arg(long, value_name = "TEXT", required = true)]
        tag: Vec<String>,
    },
    /// Change members of devices, as a merge patch: {"metadata": {"site": "B3"}}.
    Patch {
        #[command(flatten)]
        whom: Whom,
        /// The patch, JSON or YAML; - is standard input.
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Retire devices for good: they renew no more, and their certificates are revoked.
    Decommission {
        #[command(flatten)]
        whom: Whom,
        /// Why, as RFC 5280 calls it.
        #[arg(long, value_name = "REASON", default_value = "CessationOfOperation")]
        reason: String,
        /// What the history of the devices says.
        #[arg(long, value_name = "TEXT", default_value = "")]
        comment: String,
    },
    /// Revoke the certificates that devices identify themselves with.
    RevokeIdentity {
        #[command(flatten)]
        whom: Whom,
        /// Why, as RFC 5280 calls it.
        #[arg(long, value_name = "REASON")]
        reason: String,
    },
    /// Remove the records of the retired devices.
    Purge {
        #[command(flatten)]
        whom: Whom,
    },
}

/// With which devices.
#[derive(Clone, Debug, Args)]
pub(crate) struct Whom {
    /// The group.
    group: String,
    /// Only with those that fulfil this, for example 'status[equal]EXPIRED'; repeatable, all must hold.
    #[arg(long, value_name = "FIELD[OPERAND]VALUE")]
    filter: Vec<String>,
    /// Only say with how many devices it would be done.
    #[arg(long)]
    dry_run: bool,
    /// Do not wait for the end; `lamassu groups actions show` says how far it is.
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    question: Question,
}

const ACTIONS: Shape<GroupAction> = Shape {
    headings: &["ID", "ACTION", "STATE", "DONE", "OF", "FAILED", "ASKED FOR"],
    row: |action, _| {
        vec![
            action.id.clone(),
            action.action.word().to_owned(),
            action.state.to_string(),
            action.succeeded.to_string(),
            action.matched.to_string(),
            action.failed.to_string(),
            at(action.created_at),
        ]
    },
    id: |action| action.id.clone(),
};

impl Commands for ActionsCommand {
    async fn run(&self, session: &Session) -> Result<()> {
        match self {
            Self::Start(deed) => start(session, deed).await,
            Self::List { group, list } => {
                let id = find(session, group).await?.id;
                let request = list.request(ACTION_FIELDS, Conditions::default())?;
                listing::print(session, list, request, &ACTIONS, async |request| {
                    let (devices, caller) = (&session.devices, &session.caller);
                    Ok(devices.actions(caller, &id, request).await?)
                })
                .await
            }
            Self::Show { group, action } => {
                let group = find(session, group).await?;
                print(session, &read(session, &group, action).await?)
            }
            Self::Wait { group, action } => {
                let group = find(session, group).await?;
                let begun = read(session, &group, action).await?;
                follow(session, &group, begun).await
            }
            Self::Cancel { group, action } => {
                let group = find(session, group).await?;
                let (devices, caller) = (&session.devices, &session.caller);
                let cancelled = devices.cancel_action(caller, &group.id, action).await;
                print(session, &cancelled.about(About::new(Noun::Action, action))?)
            }
        }
    }
}

impl Deed {
    const fn whom(&self) -> &Whom {
        match self {
            Self::AddTags { whom, .. }
            | Self::RemoveTags { whom, .. }
            | Self::Patch { whom, .. }
            | Self::Decommission { whom, .. }
            | Self::RevokeIdentity { whom, .. }
            | Self::Purge { whom } => whom,
        }
    }

    /// What it is on the wire, and what it does to devices, as people read it.
    fn asked(&self) -> Result<(ActionKind, Map<String, Value>, String)> {
        let (kind, parameters, told) = match self {
            Self::AddTags { tag, .. } => (
                ActionKind::AddTags,
                json!({"tags": tag}),
                format!("gives the tags {}", tag.join(", ")),
            ),
            Self::RemoveTags { tag, .. } => (
                ActionKind::RemoveTags,
                json!({"tags": tag}),
                format!("takes the tags {}", tag.join(", ")),
            ),
            Self::Patch { file, .. } => {
                let patch = Value::Object(members::read("patch", file)?);
                let told = format!("writes {patch}");
                (ActionKind::Patch, json!({"merge_patch": patch}), told)
            }
            Self::Decommission {
                reason, comment, ..
            } => (
                ActionKind::Decommission,
                json!({"reason": reason, "comment": comment}),
                "retires, for good and with their certificates,".to_owned(),
            ),
            Self::RevokeIdentity { reason, .. } => (
                ActionKind::RevokeIdentity,
                json!({"reason": reason}),
                "revokes the identities".to_owned(),
            ),
            Self::Purge { .. } => (
                ActionKind::Purge,
                json!({}),
                "removes the records of retired devices".to_owned(),
            ),
        };
        let preposition = match self {
            Self::AddTags { .. } | Self::Patch { .. } => " to",
            Self::RemoveTags { .. } => " from",
            Self::RevokeIdentity { .. } | Self::Purge { .. } => " of",
            Self::Decommission { .. } => "",
        };
        let Value::Object(parameters) = parameters else {
            bail!("parameters are an object");
        };
        Ok((kind, parameters, format!("{told}{preposition}")))
    }
}

async fn start(session: &Session, deed: &Deed) -> Result<()> {
    let whom = deed.whom();
    let group = find(session, &whom.group).await?;
    check(&whom.filter, DEVICE_FIELDS_IN_V2)?;
    let (action, parameters, told) = deed.asked()?;
    let request = StartAction {
        action,
        parameters,
        filter: whom.filter.clone(),
        dry_run: true,
    };
    let tried = begin(session, &group, request.clone()).await?;
    let Started::DryRun(tried) = tried else {
        bail!("the server began although it was only to count");
    };
    if whom.dry_run {
        return print_tried(session, &tried);
    }
    ensure!(tried.matched > 0, "there is no such device in the group");
    whom.question.ask(&format!(
        "This {told} {} devices of the group {:?}.",
        tried.matched, group.document.name
    ))?;
    let request = StartAction {
        dry_run: false,
        ..request
    };
    let Started::Action(begun) = begin(session, &group, request).await? else {
        bail!("the server only counted");
    };
    if whom.no_wait {
        return print(session, &begun);
    }
    follow(session, &group, *begun).await
}

/// Filters that are none are refused before anything is asked.
fn check(filters: &[String], fields: &'static [Field]) -> Result<()> {
    for filter in filters {
        Filter::read_in_v2(fields, filter, Session::now())?;
    }
    Ok(())
}

async fn begin(session: &Session, group: &Group, request: StartAction) -> Result<Started> {
    let (devices, caller) = (&session.devices, &session.caller);
    let begun = devices.start_action(caller, &group.id, request).await;
    begun.about(About::new(Noun::Group, &group.document.name))
}

async fn read(session: &Session, group: &Group, action: &str) -> Result<GroupAction> {
    let (devices, caller) = (&session.devices, &session.caller);
    let found = devices.action(caller, &group.id, action).await;
    found.about(About::new(Noun::Action, action))
}

/// Shows how far an action is until it ends, then how it ended.
async fn follow(session: &Session, group: &Group, begun: GroupAction) -> Result<()> {
    let share = |action: &GroupAction| {
        let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        (!action.state.is_over()).then_some(Share {
            done: count(action.succeeded.saturating_add(action.failed)),
            total: count(action.matched),
        })
    };
    let look = async |action: &GroupAction| read(session, group, &action.id).await;
    let action = match progress::watch(begun, ctrl_c(), share, look).await? {
        Watched::Over(action) => action,
        Watched::Left(action) => {
            let (group, id) = (&group.id, &action.id);
            bail!(
                "interrupted behind {} of {} devices, and the server goes on: `lamassu groups actions wait {group} {id}` \
                 watches it, `lamassu groups actions cancel {group} {id}` ends it",
                action.succeeded,
                action.matched
            )
        }
    };
    print(session, &action)?;
    match action.state {
        ActionState::Queued | ActionState::Running | ActionState::Succeeded => Ok(()),
        ActionState::Cancelled => bail!("the action was cancelled"),
        ActionState::PartiallyFailed | ActionState::Failed => {
            bail!("not everything was done: {} devices failed", action.failed)
        }
    }
}

fn print(session: &Session, action: &GroupAction) -> Result<()> {
    session.print(action, &action.id, || record(action))
}

fn print_tried(session: &Session, tried: &DryRun) -> Result<()> {
    session.print(tried, &tried.matched.to_string(), || {
        let oldest = tried.sample.iter().take(10).map(ToString::to_string);
        vec![
            ("devices", tried.matched.to_string()),
            ("oldest", oldest.collect::<Vec<_>>().join(", ")),
        ]
    })
}

fn record(action: &GroupAction) -> Record {
    let mut record = vec![
        ("action", action.id.clone()),
        ("does", action.action.word().to_owned()),
        ("with", Value::Object(action.parameters.clone()).to_string()),
        ("where", action.filter.join(" and ")),
        ("state", action.state.to_string()),
        (
            "done",
            format!("{} of {}", action.succeeded, action.matched),
        ),
        ("failed", action.failed.to_string()),
        ("asked for", at(action.created_at)),
        ("by", action.created_by.clone().unwrap_or_default()),
    ];
    let failures = action.errors.iter().take(10);
    record.extend(failures.map(|failure| {
        let why = format!("{}: {}", failure.device_id, failure.err);
        ("failed with", why)
    }));
    record
}
