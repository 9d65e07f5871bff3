//! `lamassu profiles`: the rules by which certificates are issued.

mod flags;
mod show;

use anyhow::{Result, bail, ensure};
use clap::{Args, Subcommand};
use lamassu_core::ca::{CaError, CaService as _, IssuanceProfile, ProfileChoice};
use lamassu_core::ids::ProfileId;

use self::flags::ProfileArgs;
use super::failure::{About, Noun, Refusal as _};
use super::fields::PROFILE_FIELDS;
use super::listing::{self, Conditions, ListArgs};
use super::question::Question;
use super::{Commands, Session};

/// Issuance profiles. PROFILE is an id or, where only one profile is called so, a name.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ProfilesCommand {
    /// List profiles.
    #[command(visible_alias = "ls")]
    List(ListProfiles),
    /// Show a profile.
    Show {
        /// The profile.
        profile: String,
    },
    /// Make a profile.
    Create(Box<ProfileArgs>),
    /// Change a profile. What is not said stays; what was issued already does not change.
    Update {
        /// The profile.
        profile: String,
        #[command(flatten)]
        changes: Box<ProfileArgs>,
    },
    /// Delete a profile. CAs that have it as their own issue nothing without another one.
    #[command(visible_alias = "rm")]
    Delete {
        /// The profile.
        profile: String,
        #[command(flatten)]
        question: Question,
    },
}

/// List profiles.
#[derive(Clone, Debug, Args)]
pub(crate) struct ListProfiles {
    /// Whose name contains this, whatever the case.
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    #[command(flatten)]
    list: ListArgs,
}

impl Commands for ProfilesCommand {
    async fn run(&self, session: &Session) -> Result<()> {
        match self {
            Self::List(asked) => show::list(session, asked).await,
            Self::Show { profile } => show::print(session, &find(session, profile).await?),
            Self::Create(asked) => {
                let profile = asked.applied(&IssuanceProfile::default())?;
                ensure!(
                    !profile.name.is_empty(),
                    "a profile needs a name: say --name, or have one in the file"
                );
                let made = session.ca.create_profile(&session.caller, profile).await?;
                show::print(session, &made)
            }
            Self::Update { profile, changes } => {
                let stored = find(session, profile).await?;
                let id = stored.id.clone();
                let mut profile = changes.applied(&stored)?;
                profile.id = id;
                let updated = session.ca.update_profile(&session.caller, profile).await?;
                show::print(session, &updated)
            }
            Self::Delete { profile, question } => delete(session, profile, *question).await,
        }
    }
}

async fn delete(session: &Session, profile: &str, question: Question) -> Result<()> {
    let found = find(session, profile).await?;
    question.ask(&format!("This deletes the profile {:?}.", found.name))?;
    session
        .ca
        .delete_profile(&session.caller, &found.id)
        .await?;
    let id = found.id.as_str();
    session.done(id, &format!("profile {:?} is deleted", found.name))
}

/// The profile of this id, or else the only one of this name.
async fn find(session: &Session, profile: &str) -> Result<IssuanceProfile> {
    let by_id = session
        .ca
        .profile(&session.caller, &ProfileId::from(profile))
        .await;
    if !matches!(by_id, Err(CaError::ProfileNotFound)) {
        return by_id.about(About::new(Noun::Profile, profile));
    }
    let conditions = Conditions::default().with("name[equal]", Some(profile));
    let mut named = listing::first(conditions, PROFILE_FIELDS, async |request| {
        Ok(session.ca.profiles(&session.caller, request).await?)
    })
    .await?;
    match (named.pop(), named.len()) {
        (Some(only), 0) => Ok(only),
        (Some(last), _) => {
            let ids = named.iter().chain([&last]).map(|one| one.id.as_str());
            let ids = ids.collect::<Vec<_>>().join(", ");
            bail!("several profiles are called {profile:?}: name one by its id, of {ids}")
        }
        (None, _) => by_id.about(About::new(Noun::Profile, profile)),
    }
}

/// The id of the profile that is named so.
///
/// # Errors
/// There is none, or there are several.
pub(super) async fn id_of(session: &Session, profile: &str) -> Result<ProfileId> {
    Ok(find(session, profile).await?.id)
}

/// The profile that was chosen, if one was.
///
/// # Errors
/// As [`id_of`].
pub(super) async fn choice(session: &Session, profile: Option<&str>) -> Result<ProfileChoice> {
    Ok(match profile {
        Some(profile) => ProfileChoice::Stored(id_of(session, profile).await?),
        None => ProfileChoice::Default,
    })
}
