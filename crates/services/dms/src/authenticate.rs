//! Who asks to enroll or to renew, by everything that the DMS and the installation want to see.

use std::sync::Arc;

use lamassu_core::ca::EnrollmentMode;
use lamassu_core::caller::{Caller, ClientCertificateChain, Principal};
use lamassu_core::dms::settings::{EstSettings, ForeignRevocation};
use lamassu_core::dms::{
    BearerTokens, CredentialRefusal, Dms, DmsError, EstRequest, EstToken, TokenHolder,
};
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

    /// The same, with whose token came beside what let them through.
    pub(crate) fn with_token_of(mut self, attempt: Attempt<'_>, policy: DualAuth) -> Self {
        if policy == DualAuth::Off || matches!(self.caller.principal, Principal::Token { .. }) {
            return self;
        }
        let (dms_id, device_id) = (&attempt.dms.id, &attempt.request.device_id);
        match &attempt.est.origin.token {
            Some(EstToken {
                holder: Some(holder),
            }) => self.caller.also = Some(format!("jwt:{}", holder.subject).into()),
            Some(EstToken { holder: None }) => {
                tracing::warn!(%dms_id, %device_id, "token that is not valid presented with an enrollment");
            }
            None => {}
        }
        self
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
        let policy = self.dual_auth(attempt.dms);
        let token = token_for_certificate(attempt, policy)?;
        let mode = attempt.auth_mode()?;
        let has_certificate = attempt.est.client_chain.is_some();
        let judge = self.judge(attempt.caller);
        let asker = match mode {
            AuthMode::Nothing => {
                judge.nothing()?;
                Asker::anybody(attempt.caller)
            }
            AuthMode::Webhook => Asker::anybody(attempt.caller),
            AuthMode::Password => Asker::by_password(self.presented_password(attempt).await?),
            AuthMode::ClientCertificate | AuthMode::CertificateAndWebhook => {
                match token.filter(|_| !has_certificate) {
                    Some(holder) => Asker::by_token(attempt.caller, holder),
                    None => {
                        let rules = attempt
                            .settings()
                            .map(|all| &all.client_certificate_settings);
                        let rules = rules.ok_or(DmsError::AuthModeUnsupported)?;
                        let chain = chain(attempt, policy)?;
                        let presented = judge.enrolling(chain, rules).await?;
                        self.revocation(attempt.caller)
                            .check(&presented, attempt.foreign_revocation())
                            .await?;
                        Asker::holder(attempt.caller, presented)
                    }
                }
            }
        };
        Ok(asker.with_token_of(attempt, policy))
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
    pub(crate) fn dual_auth(&self, dms: &Dms) -> DualAuth {
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

/// The holder of a token that may stand for a client certificate. Refuses where a token is wanted that
/// is not there, or one that is there is not good enough.
pub(crate) fn token_for_certificate(
    attempt: Attempt<'_>,
    policy: DualAuth,
) -> Result<Option<&TokenHolder>, DmsError> {
    let token = attempt.est.origin.token.as_ref();
    let holder = token.and_then(|token| token.holder.as_ref());
    let may = |holder: &&TokenHolder| match attempt.mode {
        EnrollmentMode::Enroll => holder.may_enroll,
        EnrollmentMode::Reenroll => holder.may_reenroll,
    };
    match (policy, attempt.mode) {
        (DualAuth::Off | DualAuth::Record, _) | (DualAuth::Both, EnrollmentMode::Reenroll) => {
            Ok(None)
        }
        (DualAuth::RequireValid, _) => match token {
            Some(EstToken { holder: None }) => Err(CredentialRefusal::TokenInvalid.into()),
            Some(_) | None => Ok(None),
        },
        (DualAuth::Alternative, _) => Ok(holder.filter(may)),
        (DualAuth::Both, EnrollmentMode::Enroll) => {
            if token.is_none() {
                return Err(CredentialRefusal::TokenMissing.into());
            }
            let holder = holder.ok_or(CredentialRefusal::TokenInvalid)?;
            if !may(&holder) {
                return Err(CredentialRefusal::TokenPermission.into());
            }
            Ok(None)
        }
    }
}

/// What is presented where the DMS asks for a client certificate.
pub(crate) fn chain(
    attempt: Attempt<'_>,
    policy: DualAuth,
) -> Result<&ClientCertificateChain, DmsError> {
    let chain = attempt.est.client_chain.as_ref();
    chain.ok_or(DmsError::ClientCertificateMissing(match policy {
        DualAuth::Alternative | DualAuth::Both => BearerTokens::Taken,
        DualAuth::Off | DualAuth::Record | DualAuth::RequireValid => BearerTokens::NotTaken,
    }))
}
