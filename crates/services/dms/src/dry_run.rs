//! Trying a policy: the checks of an enrollment, each by itself, and nothing issued.

use lamassu_core::ca::{CaError, CertificateStatus, EnrollmentMode};
use lamassu_core::caller::{Caller, ClientCertificateChain};
use lamassu_core::dms::settings::PROTOCOL_EST;
use lamassu_core::dms::{Dms, DmsError, DryRun, DryRunCheck, DryRunReport, EstOrigin, EstRequest};
use lamassu_core::error::ServiceError as _;
use lamassu_core::ids::DmsId;

use crate::authenticate::{Asker, Attempt};
use crate::credential::AuthMode;
use crate::profile;
use crate::reenroll::Renewer;
use crate::request::{DeviceRequest, Possession};
use crate::service::DmsManager;

/// What a webhook is told instead of an address.
const URL: &str = "dry-run";

/// The checks made so far.
#[derive(Debug, Default)]
struct Checks(Vec<DryRunCheck>);

impl Checks {
    /// Notes a check; what it gives, if it passed.
    fn note<T>(&mut self, check: &str, outcome: Result<T, DmsError>) -> Option<T> {
        let (passed, refusal) = match outcome {
            Ok(value) => (Some(value), None),
            Err(error) => (None, Some(error)),
        };
        let refusal = refusal.as_ref();
        self.0.push(DryRunCheck {
            check: check.to_owned(),
            passed: Some(passed.is_some()),
            status: refusal.map(|error| error.kind().status().as_u16()),
            err: refusal.map(ToString::to_string),
            code: refusal.and_then(|error| error.code().map(str::to_owned)),
        });
        passed
    }

    /// Notes a check that is not made.
    fn not_tried(&mut self, check: &str) {
        self.0.push(DryRunCheck {
            check: check.to_owned(),
            passed: None,
            status: None,
            err: None,
            code: None,
        });
    }

    fn into_report(self) -> DryRunReport {
        DryRunReport {
            accepted: self.0.iter().all(|check| check.passed != Some(false)),
            checks: self.0,
        }
    }
}

impl DmsManager {
    /// Tries a request.
    pub(crate) async fn try_policy(
        &self,
        caller: &Caller,
        id: &DmsId,
        asked: DryRun,
    ) -> Result<DryRunReport, DmsError> {
        let dms = self.dms_by_id(id).await?;
        let mut checks = Checks::default();
        let chain = asked.certificates.iter().map(|one| one.der().clone());
        let est = EstRequest {
            label: Some(id.clone()),
            csr: asked.csr.der().clone(),
            client_chain: (!asked.certificates.is_empty())
                .then(|| ClientCertificateChain(chain.collect())),
            exporter: None,
            origin: EstOrigin {
                url: URL.to_owned(),
                ..EstOrigin::default()
            },
        };
        let is_est = dms.settings.enrollment_settings.protocol == PROTOCOL_EST;
        checks.note("protocol", is_est.then_some(()).ok_or(DmsError::Protocol));
        let request = DeviceRequest::parse(est.csr.clone());
        let Some(request) = checks.note("request", request) else {
            return Ok(checks.into_report());
        };
        let attempt = Attempt {
            caller,
            dms: &dms,
            est: &est,
            request: &request,
            mode: asked.operation,
        };
        let admitted = self.try_credential(attempt, &mut checks).await;
        if asked.ask_webhook
            && let Ok(mode) = attempt.auth_mode()
            && mode.asks_webhook()
        {
            checks.note("webhook", self.ask_webhook(attempt, mode).await);
        }
        let settings = &dms.settings.enrollment_settings;
        let possession = request.decide_possession(Possession::of(settings.verify_csr_signature));
        checks.note("possession", possession);
        self.try_device(attempt, admitted, &mut checks).await;
        let profile = profile::choose(&self.directory, caller, &dms.settings).await;
        checks.note("profile", profile);
        checks.note("issuer", self.try_issuer(caller, &dms).await);
        Ok(checks.into_report())
    }

    /// Whether the credential passes. A password is never tried: who asks has none of the device's.
    async fn try_credential(&self, attempt: Attempt<'_>, checks: &mut Checks) -> Option<Asker> {
        let mode = attempt.auth_mode();
        let outcome = match (mode, attempt.mode) {
            (Ok(AuthMode::Password), _) => {
                checks.not_tried("credential");
                return Some(Asker::anybody(attempt.caller));
            }
            (Ok(_), EnrollmentMode::Enroll) => self.credential(attempt).await,
            (Ok(_), EnrollmentMode::Reenroll) => match self.renewal_credential(attempt).await {
                Ok(Renewer::Asker(admitted)) => Ok(admitted),
                Ok(Renewer::Repeats(_)) => Ok(Asker::anybody(attempt.caller)),
                Err(error) => Err(error),
            },
            (Err(error), _) => Err(error),
        };
        checks.note("credential", outcome)
    }

    async fn try_device(&self, attempt: Attempt<'_>, admitted: Option<Asker>, checks: &mut Checks) {
        let Attempt {
            caller,
            dms,
            request,
            mode,
            ..
        } = attempt;
        match mode {
            EnrollmentMode::Enroll => {
                // A place that it takes is given back at once.
                checks.note("device", self.admit(caller, dms, &request.device_id).await);
            }
            EnrollmentMode::Reenroll => {
                let presented = admitted.and_then(|admitted| admitted.presented);
                let renewed = self.renewed(caller, dms, request, presented.as_deref());
                if let Some(renewed) = checks.note("device", renewed.await) {
                    let may = self.check_renewal(caller, dms, request, &renewed.active);
                    checks.note("renewal", may.await);
                }
            }
        }
    }

    /// Whether the enrollment CA is there and may issue.
    async fn try_issuer(&self, caller: &Caller, dms: &Dms) -> Result<(), DmsError> {
        let id = &dms.settings.enrollment_settings.enrollment_ca;
        let known = self.directory.authority(caller, id).await?;
        if known.authority.certificate.status == CertificateStatus::Active {
            Ok(())
        } else {
            Err(CaError::CaStatus.into())
        }
    }
}
