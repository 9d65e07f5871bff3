//! `lamassu profiles`: the rules by which certificates are issued.

mod flags;
mod show;

use anyhow::{Result, bail, ensure};
use clap::{Args, Subcommand};
use lamassu_core::ca::{CaError, CaService as _, IssuanceProfile, ProfileChoice, ValidityType};
use lamassu_core::dms::DmsService as _;
use lamassu_core::ids::ProfileId;

use self::flags::ProfileArgs;
use super::failure::{About, Noun, Refusal as _};
use super::fields::{AUTHORITY_FIELDS, DMS_FIELDS, PROFILE_FIELDS};
use super::listing::{self, Conditions, ListArgs};
use super::output::note;
use super::question::Question;
use super::{Commands, Session};

/// Issuance profiles. PROFILE is an id or, where only one profile is called so, a name.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ProfilesCommand {
    /// List profiles.
    #[command(visible_alias = "ls")]
    #[command(after_help = "Example: lamassu profiles list --name device")]
    List(ListProfiles),
    /// Show a profile.
    #[command(after_help = "Example: lamassu profiles show Devices")]
    Show {
        /// The profile.
        profile: String,
    },
    /// Make a profile.
    #[command(
        after_help = "Example: lamassu profiles create --name Devices --validity 90d --honor-subject --key-usage DigitalSignature --extended-key-usage ClientAuth"
    )]
    Create(Box<ProfileArgs>),
    /// Change a profile. What is not said stays; what was issued already does not change.
    #[command(after_help = "Example: lamassu profiles update Devices --maximum-validity 180d")]
    Update {
        /// The profile.
        profile: String,
        #[command(flatten)]
        changes: Box<ProfileArgs>,
    },
    /// Delete a profile. CAs that have it as their own issue nothing without another one.
    #[command(visible_alias = "rm")]
    #[command(after_help = "Example: lamassu profiles delete Devices")]
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
                ensure_lasting(&profile)?;
                note_namesakes(session, &profile.name).await;
                let made = session.ca.create_profile(&session.caller, profile).await?;
                show::print(session, &made)
            }
            Self::Update { profile, changes } => {
                let stored = find(session, profile).await?;
                let id = stored.id.clone();
                let mut profile = changes.applied(&stored)?;
                if profile.validity != stored.validity {
                    ensure_lasting(&profile)?;
                }
                if profile.name != stored.name {
                    note_namesakes(session, &profile.name).await;
                }
                profile.id = id;
                let updated = session.ca.update_profile(&session.caller, profile).await?;
                show::print(session, &updated)
            }
            Self::Delete { profile, question } => delete(session, profile, *question).await,
        }
    }
}

/// Fails where certificates would have ended before they began: v1 takes a profile that says nothing of how
/// long they last, and issues them until the year 1.
fn ensure_lasting(profile: &IssuanceProfile) -> Result<()> {
    let validity = &profile.validity;
    let lasts = match validity.validity_type {
        ValidityType::Duration => !validity.duration.is_zero(),
        ValidityType::Time | ValidityType::Unset | ValidityType::Other(_) => {
            validity.time.0 > Session::now()
        }
    };
    ensure!(
        lasts,
        "certificates under this profile would have ended before they began: say --validity, for example \
         90d, or have one in the file, for example {{\"type\": \"Duration\", \"duration\": \"90d\"}}"
    );
    Ok(())
}

/// Says that the name does not name one profile any more.
async fn note_namesakes(session: &Session, name: &str) {
    let named = called(session, name).await.unwrap_or_default();
    if let Some(other) = named.first() {
        note(&format!(
            "warning: there is a profile called {name:?} already, {}: each of them is now named by its id only",
            other.id
        ));
    }
}

async fn delete(session: &Session, profile: &str, question: Question) -> Result<()> {
    let found = find(session, profile).await?;
    let users = users(session, &found.id).await;
    if !users.is_empty() {
        note(&format!(
            "warning: these issue under it, and nothing without another profile: {}",
            users.join(", ")
        ));
    }
    question.ask(&format!("This deletes the profile {:?}.", found.name))?;
    session
        .ca
        .delete_profile(&session.caller, &found.id)
        .await?;
    let id = found.id.as_str();
    session.done(id, &format!("profile {:?} is deleted", found.name))
}

/// The profile of this id, or else the only one of this name.
pub(super) async fn find(session: &Session, profile: &str) -> Result<IssuanceProfile> {
    let by_id = session
        .ca
        .profile(&session.caller, &ProfileId::from(profile))
        .await;
    if !matches!(by_id, Err(CaError::ProfileNotFound)) {
        return by_id.about(About::new(Noun::Profile, profile));
    }
    let mut named = called(session, profile).await?;
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

/// The profiles of this name.
async fn called(session: &Session, name: &str) -> Result<Vec<IssuanceProfile>> {
    let conditions = Conditions::default().with("name[equal]", Some(name));
    listing::first(conditions, PROFILE_FIELDS, async |request| {
        Ok(session.ca.profiles(&session.caller, request).await?)
    })
    .await
}

/// Which CAs and DMSs issue under the profile. Whoever may not list them is told nothing.
async fn users(session: &Session, id: &ProfileId) -> Vec<String> {
    let conditions = Conditions::default().with("profile_id[equal]", Some(id.as_str()));
    let cas = listing::first(conditions, AUTHORITY_FIELDS, async |request| {
        Ok(session.ca.cas(&session.caller, request).await?)
    });
    let cas = cas.await.unwrap_or_default();
    let path = format!("$.issuance_profile_id == \"{id}\"");
    let conditions = Conditions::default().with("settings[jsonpath]", Some(&path));
    let systems = listing::first(conditions, DMS_FIELDS, async |request| {
        Ok(session.dms.dms_list(&session.caller, request).await?)
    });
    let systems = systems.await.unwrap_or_default();
    let cas = cas.iter().map(|ca| format!("the CA {}", ca.id));
    cas.chain(systems.iter().map(|dms| format!("the DMS {}", dms.id)))
        .collect()
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
