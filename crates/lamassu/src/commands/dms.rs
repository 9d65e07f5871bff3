//! `lamassu dms`: device manufacturing systems, the enrollment policies of fleets.

mod flags;
mod show;

use anyhow::{Result, ensure};
use clap::{Args, Subcommand};
use lamassu_core::dms::{Dms, DmsService as _};
use lamassu_core::ids::DmsId;
use lamassu_core::patch::apply_to_object;

use self::flags::DmsArgs;
use super::failure::{About, Noun, Refusal as _};
use super::listing::ListArgs;
use super::metadata::MetadataChanges;
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

/// Make a DMS.
#[derive(Clone, Debug, Args)]
pub(crate) struct CreateDms {
    /// Its id: the label in the addresses of EST.
    dms: String,
    #[command(flatten)]
    settings: DmsArgs,
    #[command(flatten)]
    metadata: super::metadata::NewMetadata,
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
    show::print(session, &made.about(about)?)
}

async fn update(session: &Session, asked: &UpdateDms) -> Result<()> {
    let operations = asked.metadata.operations();
    ensure!(
        asked.settings.says_something() || !operations.is_empty(),
        "nothing to change: say what, by --file or a flag"
    );
    let stored = find(session, &asked.dms).await?;
    let mut changed = asked.settings.applied(session, &stored).await?;
    changed.metadata = apply_to_object(&changed.metadata, &operations, &[])?;
    // A file of another DMS does not rename this one.
    changed.id = stored.id;
    let updated = session.dms.update_dms(&session.caller, changed).await;
    show::print(session, &updated.about(About::new(Noun::Dms, &asked.dms))?)
}

/// The DMS of this id.
pub(super) async fn find(session: &Session, id: &str) -> Result<Dms> {
    let found = session.dms.dms(&session.caller, &DmsId::from(id)).await;
    found.about(About::new(Noun::Dms, id))
}
