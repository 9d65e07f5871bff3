//! `lamassu dms`: device manufacturing systems, the enrollment policies of fleets.

mod doubts;
mod flags;
mod passwords;
mod show;

use anyhow::{Result, ensure};
use clap::{Args, Subcommand};
use lamassu_core::dms::{Dms, DmsService as _};
use lamassu_core::ids::DmsId;

use self::flags::DmsArgs;
use self::passwords::PasswordsCommand;
use super::failure::{About, Noun, Refusal as _};
use super::listing::ListArgs;
use super::metadata::{MetadataChanges, NewMetadata};
use super::question::Question;
use super::{Commands, Session};

/// Device manufacturing systems: who enrolls, under which CA, and when certificates are renewed.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum DmsCommand {
    /// List DMSs.
    #[command(visible_alias = "ls")]
    List(ListDms),
    /// Show a DMS.
    Show {
        /// The DMS's id.
        dms: String,
    },
    /// Make a DMS.
    Create(Box<CreateDms>),
    /// Change settings or metadata. What is not said stays.
    Update(Box<UpdateDms>),
    /// Delete a DMS. Its devices and their certificates stay; nobody renews under it.
    #[command(visible_alias = "rm")]
    Delete {
        /// The DMS's id.
        dms: String,
        #[command(flatten)]
        question: Question,
    },
    /// Enrollment passwords, for devices without a certificate (--auth password).
    #[command(subcommand)]
    Passwords(PasswordsCommand),
    /// List enrollments that were refused lately, and why; the last first.
    Refused(Refused),
    /// Count DMSs.
    Stats,
}

/// List DMSs.
#[derive(Clone, Debug, Args)]
pub(crate) struct ListDms {
    /// Whose name contains this, whatever the case.
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    #[command(flatten)]
    list: ListArgs,
}

/// List enrollments that were refused lately, and why; the last first.
#[derive(Clone, Debug, Args)]
pub(crate) struct Refused {
    /// Of this DMS.
    #[arg(long, value_name = "DMS")]
    dms: Option<String>,
    /// Of this device.
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    #[command(flatten)]
    list: ListArgs,
}

/// Make a DMS.
#[derive(Clone, Debug, Args)]
pub(crate) struct CreateDms {
    /// Its id: the label in the addresses of EST.
    dms: String,
    #[command(flatten)]
    settings: DmsArgs,
    #[command(flatten)]
    metadata: NewMetadata,
}

/// Change a DMS.
#[derive(Clone, Debug, Args)]
pub(crate) struct UpdateDms {
    /// The DMS's id.
    dms: String,
    #[command(flatten)]
    settings: DmsArgs,
    #[command(flatten)]
    metadata: MetadataChanges,
}

impl Commands for DmsCommand {
    async fn run(&self, session: &Session) -> Result<()> {
        match self {
            Self::List(asked) => show::list(session, asked).await,
            Self::Show { dms } => show::print(session, &find(session, dms).await?),
            Self::Create(asked) => create(session, asked).await,
            Self::Update(asked) => update(session, asked).await,
            Self::Delete { dms, question } => delete(session, dms, *question).await,
            Self::Passwords(command) => passwords::run(session, command).await,
            Self::Refused(asked) => passwords::refused(session, asked).await,
            Self::Stats => show::stats(session).await,
        }
    }
}

async fn create(session: &Session, asked: &CreateDms) -> Result<()> {
    let mut new = asked.settings.new_dms(session, &asked.dms).await?;
    new.metadata.extend(asked.metadata.to_map());
    let made = session.dms.create_dms(&session.caller, new).await;
    let about = About::default()
        .and(Noun::Ca, asked.settings.ca())
        .and(Noun::Dms, Some(&asked.dms));
    let made = made.about(about)?;
    doubts::tell(session, &made).await;
    show::print(session, &made)
}

async fn update(session: &Session, asked: &UpdateDms) -> Result<()> {
    let (dms, caller) = (&session.dms, &session.caller);
    let operations = asked.metadata.operations();
    ensure!(
        asked.settings.says_something() || !operations.is_empty(),
        "nothing to change: say what, by --file or a flag"
    );
    let mut stored = find(session, &asked.dms).await?;
    let id = stored.id.clone();
    if asked.settings.says_something() {
        let mut changed = asked.settings.applied(session, &stored).await?;
        // A file of another DMS does not rename this one.
        changed.id = id.clone();
        let updated = dms.update_dms(caller, changed).await;
        stored = updated.about(About::new(Noun::Dms, &asked.dms))?;
        doubts::tell(session, &stored).await;
    }
    if !operations.is_empty() {
        stored = dms.patch_dms_metadata(caller, &id, operations).await?;
    }
    show::print(session, &stored)
}

async fn delete(session: &Session, dms: &str, question: Question) -> Result<()> {
    let found = find(session, dms).await?;
    question.ask(&format!(
        "This deletes the DMS {dms:?}; its devices and their certificates stay."
    ))?;
    let deleted = session.dms.delete_dms(&session.caller, &found.id).await;
    deleted.about(About::new(Noun::Dms, dms))?;
    session.done(dms, &format!("DMS {dms} is deleted"))
}

/// The DMS of this id.
pub(super) async fn find(session: &Session, id: &str) -> Result<Dms> {
    let found = session.dms.dms(&session.caller, &DmsId::from(id)).await;
    found.about(About::new(Noun::Dms, id))
}
