//! The rules of a CA's own certificate.

use std::sync::Arc;

use lamassu_core::ca::{CaError, ProfileChoice, Validity, ValidityType};
use lamassu_core::ids::ProfileId;
use lamassu_db::WriteSet;
use lamassu_x509::issue::Profile;

use crate::cache::ReadyProfile;
use crate::limits::Limits;
use crate::rules::{default_ca_profile, rules};
use crate::service::CaService;

/// What a profile says of a CA's certificate.
#[derive(Debug)]
pub(crate) struct CaRules {
    pub(crate) rules: Profile,
    pub(crate) limits: Limits,
    stored: Option<Arc<ReadyProfile>>,
}

impl CaRules {
    /// Lets a write set fail when the stored profile that they are of is not as it was read.
    pub(crate) fn guard(&self, set: &mut WriteSet) {
        if let Some(stored) = &self.stored {
            stored.guard(set);
        }
    }
}

impl CaService {
    /// The rules that were chosen, as they are now. A profile without validity gets `otherwise`, if
    /// there is one.
    ///
    /// # Errors
    ///
    /// [`CaError::Validation`] for a profile that makes no CAs.
    pub(crate) async fn ca_rules(
        &self,
        choice: &ProfileChoice,
        otherwise: Option<Validity>,
    ) -> Result<CaRules, CaError> {
        let (mut profile, stored) = match choice {
            ProfileChoice::Inline(profile) => ((**profile).clone(), None),
            ProfileChoice::Stored(id) => {
                let ready = self.current_profile(id).await?;
                (ready.profile.clone(), Some(ready))
            }
            ProfileChoice::Default => (default_ca_profile(Validity::default()), None),
        };
        if !profile.sign_as_ca {
            return Err(CaError::Validation);
        }
        if let (ValidityType::Unset, Some(validity)) = (&profile.validity.validity_type, otherwise)
        {
            profile.validity = validity;
        }
        Ok(CaRules {
            rules: rules(&profile)?,
            limits: Limits::of(&profile)?,
            stored,
        })
    }

    /// The profile as it is now, whatever the cache has.
    pub(crate) async fn current_profile(
        &self,
        id: &ProfileId,
    ) -> Result<Arc<ReadyProfile>, CaError> {
        self.ready.forget_profile(id);
        self.ready.profile(id).await
    }
}
