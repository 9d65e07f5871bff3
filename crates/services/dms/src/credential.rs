//! Who may enroll: what the device must present, and whether that is believed.

use std::sync::Arc;

use lamassu_core::ca::{CaError, CertificateStatus};
use lamassu_core::caller::{Caller, ClientCertificateChain, Principal};
use lamassu_core::dms::settings::{
    AUTH_BOTH, AUTH_CLIENT_CERTIFICATE, AUTH_NONE, AUTH_NONE_ALIAS, AUTH_PASSWORD, AUTH_WEBHOOK,
    ClientCertificateSettings,
};
use lamassu_core::dms::{CertificateRefusal, DmsError};
use lamassu_core::ids::CaId;
use lamassu_x509::Certificate;
use lamassu_x509::client_auth::is_for_clients;
use lamassu_x509::path::{Expiry, PathError, PathIssuer, PathRules};
use time::OffsetDateTime;

use crate::config::{EkuMode, EstConfig};
use crate::directory::{Directory, KnownCa};
use crate::known_paths::KnownPaths;

/// How a DMS authenticates devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuthMode {
    /// By a client certificate.
    ClientCertificate,
    /// By what a webhook says.
    Webhook,
    /// By a client certificate, then by what a webhook says.
    CertificateAndWebhook,
    /// By user name and password.
    Password,
    /// Not at all.
    Nothing,
}

impl AuthMode {
    /// Reads the setting.
    pub(crate) fn parse(text: &str) -> Result<Self, DmsError> {
        match text {
            AUTH_CLIENT_CERTIFICATE => Ok(Self::ClientCertificate),
            AUTH_PASSWORD => Ok(Self::Password),
            AUTH_WEBHOOK => Ok(Self::Webhook),
            AUTH_BOTH => Ok(Self::CertificateAndWebhook),
            AUTH_NONE | AUTH_NONE_ALIAS => Ok(Self::Nothing),
            _ => Err(DmsError::AuthModeUnsupported),
        }
    }

    /// Whether what is presented is known again.
    pub(crate) const fn names_somebody(self) -> bool {
        match self {
            Self::ClientCertificate | Self::CertificateAndWebhook | Self::Password => true,
            Self::Webhook | Self::Nothing => false,
        }
    }

    /// Whether a webhook is asked.
    pub(crate) const fn asks_webhook(self) -> bool {
        match self {
            Self::Webhook | Self::CertificateAndWebhook => true,
            Self::ClientCertificate | Self::Password | Self::Nothing => false,
        }
    }
}

/// A client certificate that a CA which the DMS trusts stands behind.
#[derive(Debug)]
pub(crate) struct Presented {
    pub(crate) certificate: Certificate,
    /// The CA at the end of its path.
    pub(crate) anchor: Arc<KnownCa>,
    pub(crate) issuer: PathIssuer,
}

impl Presented {
    /// The call, made in the name of the certificate's subject.
    pub(crate) fn principal(&self, caller: &Caller) -> Caller {
        let common_name = self.certificate.subject().common_name().unwrap_or_default();
        Caller {
            principal: Principal::certificate(&common_name),
            ..caller.clone()
        }
    }
}

/// Reads presented chains and judges them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judge<'a> {
    pub(crate) directory: &'a Directory,
    pub(crate) paths: &'a KnownPaths,
    pub(crate) config: &'a EstConfig,
    pub(crate) caller: &'a Caller,
    pub(crate) now: OffsetDateTime,
}

impl Judge<'_> {
    /// What a DMS that asks for nothing gets, where the installation lets it ask for nothing.
    pub(crate) fn nothing(&self) -> Result<(), DmsError> {
        if self.config.allow_no_auth {
            Ok(())
        } else {
            Err(DmsError::NoAuthForbidden)
        }
    }

    /// A first enrollment: any certificate under one of the validation CAs, whatever its name.
    pub(crate) async fn enrolling(
        &self,
        chain: &ClientCertificateChain,
        settings: &ClientCertificateSettings,
    ) -> Result<Presented, DmsError> {
        let (end_entity, mut intermediates) = self.chain(chain)?;
        if let Ok(levels) = usize::try_from(settings.chain_level_validation)
            && levels > 0
        {
            intermediates.truncate(levels.saturating_sub(1));
        }
        let expiry = if settings.allow_expired {
            Expiry::Ignored
        } else {
            Expiry::Considered
        };
        let candidate = Candidate {
            end_entity,
            intermediates,
            expiry,
        };
        let presented = self
            .under_one_of(candidate, &settings.validation_cas)
            .await?;
        self.check_usage(&presented.certificate)?;
        Ok(presented)
    }

    /// A renewal: a certificate of the same name, issued by the enrollment CA or one of the
    /// others itself. An expired one passes here; [`check_end`](Self::check_end) is next.
    pub(crate) async fn renewing(
        &self,
        chain: &ClientCertificateChain,
        common_name: &str,
        anchors: &[CaId],
    ) -> Result<Presented, DmsError> {
        let (end_entity, _) = self.chain(chain)?;
        if end_entity.subject().common_name().as_deref() != Some(common_name) {
            return Err(DmsError::InvalidCertificate(
                CertificateRefusal::NameMismatch,
            ));
        }
        let candidate = Candidate {
            end_entity,
            intermediates: Vec::new(),
            expiry: Expiry::Ignored,
        };
        self.under_one_of(candidate, anchors).await
    }

    /// Refuses an expired certificate where the DMS does not let it renew, and one that is not
    /// made for clients.
    pub(crate) fn check_end(
        &self,
        presented: &Presented,
        expired: ExpiredRenewal,
    ) -> Result<(), DmsError> {
        if presented.certificate.not_after() < self.now && expired == ExpiredRenewal::Refused {
            return Err(DmsError::ExpiredCertificate);
        }
        self.check_usage(&presented.certificate)
    }

    /// The presented chain: the end entity, and what can be read of the rest.
    fn chain(
        &self,
        chain: &ClientCertificateChain,
    ) -> Result<(Certificate, Vec<Certificate>), DmsError> {
        let end_entity = chain
            .end_entity()
            .and_then(|der| Certificate::from_der(der.clone()).ok())
            .ok_or(DmsError::InvalidCertificate(CertificateRefusal::Untrusted))?;
        let intermediates = chain.0.iter().take(self.config.max_chain).skip(1);
        let intermediates = intermediates
            .filter_map(|der| Certificate::from_der(der.clone()).ok())
            .collect();
        Ok((end_entity, intermediates))
    }

    /// The first of these CAs that a path leads to. CAs that cannot be had are passed over: one
    /// deleted CA must not lock out the devices of the others.
    async fn under_one_of(
        &self,
        candidate: Candidate,
        anchors: &[CaId],
    ) -> Result<Presented, DmsError> {
        let Candidate {
            end_entity,
            intermediates,
            expiry,
        } = candidate;
        let rules = PathRules {
            now: self.now,
            clock_skew: self.config.clock_skew.into(),
            expiry,
            // The anchor is not part of what the client sent.
            max_certificates: self.config.max_chain.saturating_add(1),
        };
        let mut refusal = CertificateRefusal::Untrusted;
        for id in anchors {
            let Some(anchor) = self.anchor(id).await? else {
                continue;
            };
            let path =
                self.paths
                    .validate(&end_entity, &intermediates, &anchor.certificate, &rules);
            match path {
                Ok(issuer) => {
                    return Ok(Presented {
                        certificate: end_entity,
                        anchor,
                        issuer,
                    });
                }
                Err(error) => {
                    tracing::debug!(ca_id = %id, %error, "client certificate not accepted");
                    refusal = refusal_of(error, refusal);
                }
            }
        }
        Err(DmsError::InvalidCertificate(refusal))
    }

    /// A CA to trust; a revoked one is none.
    async fn anchor(&self, id: &CaId) -> Result<Option<Arc<KnownCa>>, DmsError> {
        match self.directory.authority(self.caller, id).await {
            Ok(anchor) if anchor.authority.certificate.status == CertificateStatus::Revoked => {
                tracing::warn!(ca_id = %id, "validation CA is revoked");
                Ok(None)
            }
            Ok(anchor) => Ok(Some(anchor)),
            Err(CaError::Storage(failure)) => Err(failure.into()),
            Err(error) => {
                tracing::warn!(ca_id = %id, error = &error as &(dyn std::error::Error + 'static), "validation CA not available");
                Ok(None)
            }
        }
    }

    fn check_usage(&self, certificate: &Certificate) -> Result<(), DmsError> {
        if certificate.is_ca() {
            tracing::warn!(serial_number = %certificate.serial(), "client presented a CA certificate");
        }
        let fits = is_for_clients(certificate);
        match self.config.eku_mode {
            EkuMode::Enforce if !fits => {
                Err(DmsError::InvalidCertificate(CertificateRefusal::Usage))
            }
            EkuMode::Warn if !fits => {
                let serial_number = certificate.serial();
                tracing::warn!(%serial_number, "client certificate is not for clients");
                Ok(())
            }
            EkuMode::Enforce | EkuMode::Warn | EkuMode::Off => Ok(()),
        }
    }
}

/// Whether an expired certificate may renew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExpiredRenewal {
    /// It may.
    Allowed,
    /// It may not.
    Refused,
}

struct Candidate {
    end_entity: Certificate,
    intermediates: Vec<Certificate>,
    expiry: Expiry,
}

/// What the device is told when several CAs refuse: the reason that says most.
fn refusal_of(error: PathError, before: CertificateRefusal) -> CertificateRefusal {
    match error {
        PathError::NotYetValid => CertificateRefusal::NotYetValid,
        PathError::Expired => CertificateRefusal::Expired,
        PathError::NoIssuer
        | PathError::Signature
        | PathError::WeakSignature
        | PathError::AlgorithmMismatch
        | PathError::NotACa
        | PathError::PathLength
        | PathError::IssuerNotValid
        | PathError::RepeatedExtension
        | PathError::CriticalExtension
        | PathError::NameConstraints
        | PathError::MalformedExtension
        | PathError::TooLong => before,
    }
}
