//! Which issuance profile a DMS enrolls with.

use std::ops::Deref;
use std::sync::Arc;

use lamassu_core::ca::{CaError, IssuanceProfile, ProfileChoice};
use lamassu_core::caller::Caller;
use lamassu_core::dms::{DmsError, DmsSettings};
use lamassu_core::ids::ProfileId;

use crate::directory::Directory;

/// The stored profile that the settings name, if they name one.
fn named(settings: &DmsSettings) -> Option<&ProfileId> {
    settings
        .issuance_profile_id
        .as_ref()
        .filter(|id| !id.is_empty())
}

/// What a profile says, without copying it.
#[derive(Debug)]
pub(crate) enum Effective<'a> {
    /// The one in the settings.
    Inline(&'a IssuanceProfile),
    /// One of the CA service's.
    Stored(Arc<IssuanceProfile>),
}

impl Deref for Effective<'_> {
    type Target = IssuanceProfile;

    fn deref(&self) -> &IssuanceProfile {
        match self {
            Self::Inline(profile) => profile,
            Self::Stored(profile) => profile,
        }
    }
}

/// The profile to issue with: the stored one, else the inline one, else that of the enrollment
/// CA. One that makes CAs is refused: no device may become one.
///
/// A stored profile is handed on by its id, so that the CA applies it as it is when it signs.
pub(crate) async fn choose(
    directory: &Directory,
    caller: &Caller,
    settings: &DmsSettings,
) -> Result<ProfileChoice, DmsError> {
    if effective(directory, caller, settings).await?.sign_as_ca {
        return Err(DmsError::ProfileSignsCa);
    }
    Ok(match (named(settings), &settings.issuance_profile) {
        (Some(id), _) => ProfileChoice::Stored(id.clone()),
        (None, Some(inline)) => ProfileChoice::Inline(Box::new(inline.clone())),
        (None, None) => ProfileChoice::Default,
    })
}

/// What the profile says.
pub(crate) async fn effective<'a>(
    directory: &Directory,
    caller: &Caller,
    settings: &'a DmsSettings,
) -> Result<Effective<'a>, DmsError> {
    let id = match (named(settings), &settings.issuance_profile) {
        (Some(id), _) => id.clone(),
        (None, Some(inline)) => return Ok(Effective::Inline(inline)),
        (None, None) => {
            let enrollment_ca = &settings.enrollment_settings.enrollment_ca;
            directory
                .authority(caller, enrollment_ca)
                .await?
                .authority
                .profile_id
                .clone()
        }
    };
    Ok(Effective::Stored(directory.profile(caller, &id).await?))
}

/// Refuses settings whose profile is known to make CAs. A profile that does not exist yet passes:
/// clients may create it afterwards.
pub(crate) async fn check_before_saving(
    directory: &Directory,
    caller: &Caller,
    settings: &DmsSettings,
) -> Result<(), DmsError> {
    let signs_ca = match (named(settings), &settings.issuance_profile) {
        (Some(id), _) => match directory.profile(caller, id).await {
            Ok(profile) => profile.sign_as_ca,
            Err(CaError::ProfileNotFound) => false,
            Err(error) => return Err(error.into()),
        },
        (None, Some(inline)) => inline.sign_as_ca,
        (None, None) => false,
    };
    if signs_ca {
        Err(DmsError::CaProfile)
    } else {
        Ok(())
    }
}
