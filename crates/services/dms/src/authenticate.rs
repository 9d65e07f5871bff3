//! Who asks to enroll or to renew, by everything that the DMS and the installation want to see.

use std::sync::Arc;

use lamassu_core::ca::EnrollmentMode;
use lamassu_core::caller::{Caller, Principal};
use lamassu_core::dms::settings::{EstSettings, ForeignRevocation};
use lamassu_core::dms::{CredentialRefusal, Dms, DmsError, EstRequest, EstToken, TokenHolder};
use lamassu_core::error::StorageFailure;

use crate::config::DualAuth;
use crate::credential::{AuthMode, Presented};
use crate::password::PasswordUse;
use crate::request::DeviceRequest;
use crate::service::DmsManager;
use crate::store;
use crate::webhook::Question;

/// The member of a DMS's metadata that says [`DualAuth`] for it.
const DUAL_AUTH: &str = "lamassu.io/dms/est-dual-auth";

/// An EST request under a DMS.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) dms: &'a Dms,
    pub(crate) est: &'a EstRequest,
    pub(crate) request: &'a DeviceRequest,
    pub(crate) mode: EnrollmentMode,
}

impl Attempt<'_> {
    /// Who may do this.
    pub(crate) fn settings(&self) -> Option<&EstSettings> {
        let settings = &self.dms.settings;
        match self.mode {
            EnrollmentMode::Enroll => Some(&settings.enrollment_settings.est_rfc7030_settings),
            EnrollmentMode::Reenroll => {
                settings.reenrollment_settings.est_rfc7030_settings.as_ref()
            }
        }
    }

    /// How certificates of foreign issuers are looked at.
    pub(crate) fn foreign_revocation(&self) -> ForeignRevocation {
        let settings = self.settings();
        let rules = settings.map(|settings| &settings.client_certificate_settings);
        let rule = rules.and_then(|rules| rules.revocation.value());
        rule.copied().unwrap_or_default()
    }

    /// How it is authenticated.
    pub(crate) fn auth_mode(&self) -> Result<AuthMode, DmsError> {
        let settings = self.settings();
        AuthMode::parse(settings.map_or("", |settings| &settings.auth_mode))
    }
}

/// Who was let through.
#[derive(Debug)]
pub(crate) struct Asker {
    /// The call, made in the name of the credential's holder.
    pub(crate) caller: Caller,
    /// The certificate that was presented, where the DMS asks for one.
    pub(crate) presented: Option<Box<Presented>>,
    /// The password that was presented, where the DMS asks for one; it is not used yet.
    pub(crate) password: Option<PasswordUse>,
}

impl Asker {
    /// Nobody in particular.
    pub(crate) fn anybody(caller: &Caller) -> Self {
        Self {
            caller: caller.clone(),
            presented: None,
            password: None,
        }
    }

    /// The holder of a certificate.
    pub(crate) fn holder(caller: &Caller, presented: Presented) -> Self {
        Self {
            caller: presented.principal(caller),
            presented: Some(Box::new(presented)),
            password: None,
        }
    }

    /// The holder of a password.
    pub(crate) fn by_password((caller, password): (Caller, PasswordUse)) -> Self {
        Self {
            caller,
            presented: None,
            password: Some(password),
        }
    }

    /// The holder of a token that stands for a certificate.
    pub(crate) fn by_token(caller: &Caller, holder: &TokenHolder) -> Self {
        let principal = Principal::Token {
            subject: holder.subject.clone(),
            provider: Arc::from(holder.provider.as_str()),
        };
        Self {
            caller: Caller {
                principal,
                ..caller.clone()
            },
            presented: None,
            password: None,
        }
    }
}

impl DmsManager {
    /// Checks what an enrollment is authenticated with; what follows is done in its name, and at the
    /// expense of the DMS.
    pub(crate) async fn admit_enrollment(&self, attempt: Attempt<'_>) -> Result<Asker, DmsError> {
        let admitted = self.credential(attempt).await?;
        self.ask_webhook(attempt, attempt.auth_mode()?).await?;
        self.limits.check_rate(attempt.dms)?;
        Ok(admitted)
    }

    /// Checks the credential of an enrollment; no webhook is asked.
    pub(crate) async fn credential(&self, attempt: Attempt<'_>) -> Result<Asker, DmsError> {
        let token = self.token_for_certificate(attempt)?;
        let mode = attempt.auth_mode()?;
        let chain = attempt.est.client_chain.as_ref();
        let judge = self.judge(attempt.caller);
        Ok(match mode {
            AuthMode::Nothing => {
                judge.nothing()?;
                Asker::anybody(attempt.caller)
            }
            AuthMode::Webhook => Asker::anybody(attempt.caller),
            AuthMode::Password => Asker::by_password(self.presented_password(attempt).await?),
            AuthMode::ClientCertificate | AuthMode::CertificateAndWebhook => {
                match token.filter(|_| chain.is_none()) {
                    Some(holder) => Asker::by_token(attempt.caller, holder),
                    None => {
                        let rules = attempt
                            .settings()
                            .map(|all| &all.client_certificate_settings);
                        let rules = rules.ok_or(DmsError::AuthModeUnsupported)?;
                        let presented = judge.enrolling(chain, rules).await?;
                        self.revocation(attempt.caller)
                            .check(&presented, attempt.foreign_revocation())
                            .await?;
                        Asker::holder(attempt.caller, presented)
                    }
                }
            }
        })
    }

    /// Asks the webhook where the mode has one; last, so that it is not told of those who are nobody.
    pub(crate) async fn ask_webhook(
        &self,
        attempt: Attempt<'_>,
        mode: AuthMode,
    ) -> Result<(), DmsError> {
        if !mode.asks_webhook() {
            return Ok(());
        }
        let Some(settings) = attempt.settings() else {
            return Err(DmsError::AuthModeUnsupported);
        };
        let stored = store::by_id(&self.db, &attempt.dms.id).await;
        let stored = stored.map_err(StorageFailure::from)?;
        let secrets = self.unseal(&stored.ok_or(DmsError::DmsNotFound)?).await?;
        let secrets = match attempt.mode {
            EnrollmentMode::Enroll => secrets.enrollment,
            EnrollmentMode::Reenroll => secrets.reenrollment,
        };
        let question = Question {
            dms: attempt.dms,
            mode: attempt.mode,
            csr: &attempt.est.csr,
            device_id: &attempt.request.device_id,
            origin: &attempt.est.origin,
        };
        let hook = &settings.external_webhook_settings;
        Ok(self
            .hooks
            .ask(&self.config, hook, &secrets, &question)
            .await?)
    }

    /// The holder of a token that may stand for a client certificate. Refuses where a token is wanted
    /// that is not there, or one that is there is not good enough.
    pub(crate) fn token_for_certificate<'a>(
        &self,
        attempt: Attempt<'a>,
    ) -> Result<Option<&'a TokenHolder>, DmsError> {
        let token = attempt.est.origin.token.as_ref();
        let policy = self.dual_auth(attempt.dms);
        let holder = token.and_then(|token| token.holder.as_ref());
        let may = |holder: &&TokenHolder| match attempt.mode {
            EnrollmentMode::Enroll => holder.may_enroll,
            EnrollmentMode::Reenroll => holder.may_reenroll,
        };
        match (policy, attempt.mode) {
            (DualAuth::Off, _) => Ok(None),
            (DualAuth::Record, _) | (DualAuth::Both, EnrollmentMode::Reenroll) => {
                record(attempt, token);
                Ok(None)
            }
            (DualAuth::RequireValid, _) => match token {
                Some(EstToken { holder: None }) => Err(CredentialRefusal::TokenInvalid.into()),
                Some(_) | None => {
                    record(attempt, token);
                    Ok(None)
                }
            },
            (DualAuth::Alternative, _) => {
                record(attempt, token);
                Ok(holder.filter(may))
            }
            (DualAuth::Both, EnrollmentMode::Enroll) => {
                if token.is_none() {
                    return Err(CredentialRefusal::TokenMissing.into());
                }
                let holder = holder.ok_or(CredentialRefusal::TokenInvalid)?;
                if !may(&holder) {
                    return Err(CredentialRefusal::TokenPermission.into());
                }
                record(attempt, token);
                Ok(None)
            }
        }
    }

    /// Refuses a token that is not valid beside a request that needs none, where the DMS wants valid
    /// ones.
    pub(crate) fn check_needless_token(
        &self,
        dms: &Dms,
        token: Option<&EstToken>,
    ) -> Result<(), DmsError> {
        match token {
            Some(EstToken { holder: None }) if self.dual_auth(dms) == DualAuth::RequireValid => {
                Err(CredentialRefusal::TokenInvalid.into())
            }
            Some(_) | None => Ok(()),
        }
    }

    /// What the DMS says in its metadata, or else the configuration.
    fn dual_auth(&self, dms: &Dms) -> DualAuth {
        let Some(word) = dms.metadata.get(DUAL_AUTH) else {
            return self.config.dual_auth;
        };
        let own = word.as_str().and_then(DualAuth::parse);
        own.unwrap_or_else(|| {
            // A misspelt word must not let more in than any word would.
            tracing::warn!(dms_id = %dms.id, "metadata {DUAL_AUTH} is none of its words");
            DualAuth::Both
        })
    }
}

/// Notes whose token came beside the request.
fn record(attempt: Attempt<'_>, token: Option<&EstToken>) {
    let (dms_id, device_id) = (&attempt.dms.id, &attempt.request.device_id);
    match token {
        Some(EstToken {
            holder: Some(holder),
        }) => {
            let also = format!("jwt:{}", holder.subject);
            tracing::info!(%dms_id, %device_id, authalso = also, "token presented with an enrollment");
        }
        Some(EstToken { holder: None }) => {
            tracing::warn!(%dms_id, %device_id, "token that is not valid presented with an enrollment");
        }
        None => {}
    }
}
