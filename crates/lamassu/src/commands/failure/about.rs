//! Things that do not exist, and those that do.

use std::fmt;

use anyhow::Error;
use lamassu_core::ca::{CaError, CaService as _, CertificateStatus};
use lamassu_core::device::{DeviceError, DeviceService as _, RegistryError};
use lamassu_core::device_group::DeviceGroupError;
use lamassu_core::dms::{ApprovalRefusal, DmsError, DmsService as _};
use lamassu_core::ids::CaId;
use lamassu_core::kms::{Key, KmsError, KmsService as _};
use lamassu_core::usage::RevocationReason;

use super::cause;
use crate::commands::Session;
use crate::commands::fields::{
    AUTHORITY_FIELDS, DEVICE_FIELDS, DMS_FIELDS, GROUP_FIELDS, KEY_FIELDS, PROFILE_FIELDS,
};
use crate::commands::groups::page;
use crate::commands::listing::{Conditions, first};
use crate::nearest::nearest;

/// Names of existing things that an error lists at most.
const NAMED: usize = 5;

/// Digits of an id that tell one key from the others for people.
const SHORT_ID: usize = 8;

/// Kinds of things that commands name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::commands) enum Noun {
    Action,
    Approval,
    Ca,
    Certificate,
    Device,
    Dms,
    Engine,
    Group,
    Job,
    Key,
    Profile,
    Request,
}

impl fmt::Display for Noun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Action => "action",
            Self::Approval => "approval",
            Self::Ca => "CA",
            Self::Certificate => "certificate",
            Self::Device => "device",
            Self::Dms => "DMS",
            Self::Engine => "engine",
            Self::Group => "group",
            Self::Job => "job",
            Self::Key => "key",
            Self::Profile => "profile",
            Self::Request => "request",
        })
    }
}

/// What a command names, for the error when one of them does not exist.
#[derive(Debug, Default)]
pub(in crate::commands) struct About(Vec<(Noun, String)>);

impl About {
    pub(in crate::commands) fn new(noun: Noun, id: impl fmt::Display) -> Self {
        Self(vec![(noun, id.to_string())])
    }

    pub(in crate::commands) fn ca(id: impl fmt::Display) -> Self {
        Self::new(Noun::Ca, id)
    }

    pub(in crate::commands) fn key(id: impl fmt::Display) -> Self {
        Self::new(Noun::Key, id)
    }

    /// Names another thing, where the command does.
    #[must_use]
    pub(in crate::commands) fn and(mut self, noun: Noun, id: Option<&str>) -> Self {
        self.0.extend(id.map(|id| (noun, id.to_owned())));
        self
    }
}

/// An error that may say that something does not exist.
pub(in crate::commands) trait Absence:
    std::error::Error + Send + Sync + 'static
{
    /// What does not.
    fn absent(&self) -> Option<Noun>;

    /// Whether a CA is there, and its status does not allow what was asked of it.
    fn is_unfit(&self) -> bool {
        false
    }
}

impl Absence for CaError {
    fn absent(&self) -> Option<Noun> {
        match self {
            Self::CaNotFound => Some(Noun::Ca),
            Self::CertificateNotFound => Some(Noun::Certificate),
            Self::ProfileNotFound => Some(Noun::Profile),
            Self::RequestNotFound => Some(Noun::Request),
            Self::JobNotFound => Some(Noun::Job),
            Self::KeyNotFound => Some(Noun::Key),
            Self::KmsRefused(error) | Self::KeyNotImported(error) => error.absent(),
            _ => None,
        }
    }

    fn is_unfit(&self) -> bool {
        matches!(self, Self::CaStatus)
    }
}

impl Absence for KmsError {
    fn absent(&self) -> Option<Noun> {
        match self {
            Self::KeyNotFound => Some(Noun::Key),
            Self::EngineNotFound => Some(Noun::Engine),
            _ => None,
        }
    }
}

impl Absence for DeviceError {
    fn absent(&self) -> Option<Noun> {
        matches!(self, Self::NotFound | Self::Unknown).then_some(Noun::Device)
    }
}

impl Absence for RegistryError {
    fn absent(&self) -> Option<Noun> {
        matches!(self, Self::DeviceNotFound).then_some(Noun::Device)
    }
}

impl Absence for DmsError {
    fn absent(&self) -> Option<Noun> {
        match self {
            Self::DmsNotFound => Some(Noun::Dms),
            Self::DeviceNotFound => Some(Noun::Device),
            Self::Approval(ApprovalRefusal::NotFound) => Some(Noun::Approval),
            Self::Ca(error) | Self::Misconfigured(error) => error.absent(),
            Self::Device(error) => error.absent(),
            _ => None,
        }
    }
}

impl Absence for DeviceGroupError {
    fn absent(&self) -> Option<Noun> {
        match self {
            Self::NotFound => Some(Noun::Group),
            Self::ActionNotFound => Some(Noun::Action),
            Self::DeviceNotFound => Some(Noun::Device),
            _ => None,
        }
    }
}

/// That a thing does not exist which a command named.
#[derive(Debug)]
struct Absent {
    noun: Noun,
    id: String,
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no {} {:?}", self.noun, self.id)
    }
}

/// That the status of a CA which a command named does not allow what was asked.
#[derive(Debug)]
struct Unfit {
    ca: String,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the status of the CA {:?} does not allow it", self.ca)
    }
}

/// What the status of the CA is that does not allow what was asked, and what becomes of that.
pub(super) async fn unfit(session: &Session, error: &Error) -> Option<String> {
    let Unfit { ca } = error.downcast_ref()?;
    let found = session
        .ca
        .ca(&session.caller, &CaId::from(ca.as_str()))
        .await;
    let certificate = found.ok()?.certificate;
    let is_held = certificate.revocation_reason == RevocationReason::CertificateHold;
    let cause = error.root_cause();
    Some(match certificate.status {
        CertificateStatus::Revoked if is_held => format!(
            "{cause}: the CA {ca} is on hold, and issues nothing until `lamassu cas release {ca}`"
        ),
        CertificateStatus::Active => format!(
            "{cause}: the CA {ca} is ACTIVE; one that is revoked or expired, or without key here, can be deleted"
        ),
        status => format!("{cause}: the CA {ca} is {status}; an ACTIVE one issues"),
    })
}

/// What the key manager says of a kind of key, with the engine by its id: it calls engines by who made them.
pub(super) async fn in_engine(session: &Session, error: &Error) -> Option<String> {
    let refusal = cause::<KmsError>(error)?;
    let (KmsError::KeyTypeUnsupported { provider, .. }
    | KmsError::KeySizeUnsupported { provider, .. }) = refusal
    else {
        return None;
    };
    let engines = session.kms.engines(&session.caller).await.ok()?;
    let meant = engines.iter().filter(|one| one.provider == *provider);
    let meant: Vec<_> = meant.map(|one| one.id.to_string()).collect();
    let told = refusal.to_string();
    let before = told.strip_suffix(provider.as_str())?;
    (!meant.is_empty()).then(|| format!("{before}{}", meant.join(" or ")))
}

/// A refusal of a service, and what it is about.
pub(in crate::commands) trait Refusal<T> {
    /// # Errors
    /// The refusal.
    fn about(self, about: About) -> Result<T, Error>;
}

impl<T, E: Absence> Refusal<T> for Result<T, E> {
    fn about(self, About(named): About) -> Result<T, Error> {
        self.map_err(|error| {
            let absent = error.absent();
            let is_unfit = error.is_unfit();
            let named = named.into_iter().find(|(noun, _)| match absent {
                Some(absent) => *noun == absent,
                None => is_unfit && *noun == Noun::Ca,
            });
            match named {
                Some((_, ca)) if is_unfit => Error::new(error).context(Unfit { ca }),
                Some((noun, id)) => Error::new(error).context(Absent { noun, id }),
                None => error.into(),
            }
        })
    }
}

/// A thing that exists.
struct Known {
    /// In a list of some.
    told: String,
    /// What it is called, and how a command names it.
    names: Vec<(String, String)>,
}

impl Known {
    fn named(name: String) -> Self {
        Self {
            told: name.clone(),
            names: vec![(name.clone(), name)],
        }
    }

    /// In how many letters its likest name differs from this one.
    fn distance(&self, name: &str) -> Option<usize> {
        let distances = self.names.iter();
        let distances = distances.map(|(own, _)| strsim::damerau_levenshtein(own, name));
        distances.min()
    }
}

impl From<Key> for Known {
    /// A key without alias is told by its name, which is none for commands: that is its id.
    fn from(key: Key) -> Self {
        let id = key.key_id.to_string();
        let told = match key.aliases.first() {
            Some(alias) => alias.clone(),
            None => format!("{:?} ({}…)", key.name, id.get(..SHORT_ID).unwrap_or(&id)),
        };
        let aliases = key.aliases.into_iter();
        let aliases = aliases.map(|alias| (alias.clone(), alias));
        let others = [(key.name, id.clone()), (id.clone(), id)];
        Self {
            told,
            names: aliases.chain(others).collect(),
        }
    }
}

/// That a thing does not exist, and which ones do, where a look at the list is possible.
pub(super) async fn unknown(session: &Session, error: &Error) -> Option<String> {
    let absent: &Absent = error.downcast_ref()?;
    let mut known: Vec<Known> = match absent.noun {
        Noun::Ca => named(authorities(session).await),
        Noun::Device => named(devices(session, &absent.id).await),
        Noun::Dms => named(systems(session).await),
        Noun::Engine => named(engines(session).await),
        Noun::Group => named(groups(session).await),
        Noun::Key => keys(session).await.into_iter().map(Known::from).collect(),
        Noun::Profile => named(profiles(session).await),
        // They are too many to be guessed.
        Noun::Action | Noun::Approval | Noun::Certificate | Noun::Job | Noun::Request => {
            return Some(absent.to_string());
        }
    };
    let names = || known.iter().flat_map(|one| &one.names);
    let meant = nearest(&absent.id, names().map(|(name, _)| name.as_str()));
    let meant = meant.and_then(|meant| names().find(|(name, _)| name == meant));
    let meant = meant.map(|(_, name)| format!(" (did you mean {name}?)"));
    let meant = meant.unwrap_or_default();
    if absent.noun == Noun::Device {
        return Some(format!("{absent}{meant}"));
    }
    known.sort_by_cached_key(|one| one.distance(&absent.id));
    let told: Vec<_> = known.iter().map(|one| one.told.as_str()).collect();
    let listed = match told.get(..NAMED) {
        _ if told.is_empty() => "none is shown to you".to_owned(),
        Some(some) if told.len() > NAMED => format!("there are {} and others", some.join(", ")),
        Some(_) | None => format!("there are {}", told.join(", ")),
    };
    Some(format!("{absent}{meant}; {listed}"))
}

fn named(names: Vec<String>) -> Vec<Known> {
    names.into_iter().map(Known::named).collect()
}

/// Whoever may not list them is told nothing of them.
async fn authorities(session: &Session) -> Vec<String> {
    let list = first(Conditions::default(), AUTHORITY_FIELDS, async |request| {
        Ok(session.ca.cas(&session.caller, request).await?)
    });
    let list = list.await.unwrap_or_default();
    list.iter().map(|one| one.id.to_string()).collect()
}

async fn systems(session: &Session) -> Vec<String> {
    let list = first(Conditions::default(), DMS_FIELDS, async |request| {
        Ok(session.dms.dms_list(&session.caller, request).await?)
    });
    let list = list.await.unwrap_or_default();
    list.iter().map(|one| one.id.to_string()).collect()
}

async fn groups(session: &Session) -> Vec<String> {
    let list = first(Conditions::default(), GROUP_FIELDS, async |request| {
        page(session, request).await
    });
    let list = list.await.unwrap_or_default();
    list.into_iter().map(|one| one.document.name).collect()
}

async fn profiles(session: &Session) -> Vec<String> {
    let list = first(Conditions::default(), PROFILE_FIELDS, async |request| {
        Ok(session.ca.profiles(&session.caller, request).await?)
    });
    let list = list.await.unwrap_or_default();
    let named = list.into_iter().map(|one| match one.name.as_str() {
        "" => one.id.to_string(),
        _ => one.name,
    });
    named.collect()
}

async fn keys(session: &Session) -> Vec<Key> {
    let list = first(Conditions::default(), KEY_FIELDS, async |request| {
        Ok(session.kms.keys(&session.caller, request).await?)
    });
    list.await.unwrap_or_default()
}

/// Of all that there are, those that have a half of this id in theirs: who mistyped it did so in the other half.
async fn devices(session: &Session, id: &str) -> Vec<String> {
    let middle = id.char_indices().nth(id.chars().count() / 2);
    let halves = id.split_at_checked(middle.map_or(0, |(at, _)| at));
    let mut found = Vec::new();
    for half in halves.into_iter().flat_map(<[&str; 2]>::from) {
        let condition = Conditions::default().with("id[contains_ignorecase]", Some(half));
        let list = first(condition, DEVICE_FIELDS, async |request| {
            let (devices, caller) = (&session.devices, &session.caller);
            Ok(devices.devices(caller, None, request).await?)
        });
        found.extend(list.await.unwrap_or_default());
    }
    found.iter().map(|one| one.id.to_string()).collect()
}

async fn engines(session: &Session) -> Vec<String> {
    let list = session.kms.engines(&session.caller).await;
    let list = list.unwrap_or_default();
    list.iter().map(|one| one.id.to_string()).collect()
}
