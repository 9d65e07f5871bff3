//! `simplereenroll` (RFC 7030 §4.2.2): a device renews its certificate.

use lamassu_core::ca::enrollment::{Detach, Revoke};
use lamassu_core::ca::{
    CaError, Certificate, CertificateStatus, EnrollmentMode, RenewalWindows, Superseded,
};
use lamassu_core::caller::{Caller, ClientCertificateChain};
use lamassu_core::device::slot::SupersededPolicy;
use lamassu_core::device::{Device, EnrollmentEvent, IdentitySlot, SlotState};
use lamassu_core::dms::settings::{KeyReuse, ReenrollmentSettings};
use lamassu_core::dms::{CertificateRefusal, Dms, DmsError, EstRequest, RenewalRefusal};
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::{CaId, SerialNumber};
use lamassu_core::pem::CertificateDer;
use lamassu_x509::VerifiedCsr;
use time::{Duration, OffsetDateTime};

use crate::authenticate::{Asker, Attempt, chain, token_for_certificate};
use crate::credential::{AuthMode, ExpiredRenewal, Presented};
use crate::enroll::check_owner;
use crate::issue::Approved;
use crate::request::{DeviceRequest, Possession};
use crate::service::DmsManager;
use crate::sweep::holds;
use crate::{channel_binding, profile, subject};

/// Who asks for a renewal.
#[derive(Debug)]
pub(crate) enum Renewer {
    /// Whoever this is.
    Asker(Asker),
    /// The holder of a certificate that this very request has superseded: its answer was lost.
    Repeats(CertificateDer),
}

/// A device and the certificate that is to be renewed.
#[derive(Debug)]
pub(crate) struct Renewed {
    pub(crate) device: Device,
    pub(crate) active: Certificate,
    /// When the next one must be renewed.
    pub(crate) windows: RenewalWindows,
    /// What becomes of the active one, where the device's slot or groups say so.
    pub(crate) superseded: SupersededPolicy,
}

impl DmsManager {
    /// Renews a device's certificate.
    pub(crate) async fn reenroll_device(
        &self,
        caller: &Caller,
        est: EstRequest,
    ) -> Result<CertificateDer, DmsError> {
        let request = DeviceRequest::parse(est.csr.clone())?;
        let dms = self.est_dms(est.label.as_ref()).await?;
        // 1. Who asks.
        let attempt = Attempt {
            caller,
            dms: &dms,
            est: &est,
            request: &request,
            mode: EnrollmentMode::Reenroll,
        };
        let Asker {
            caller,
            presented,
            password,
        } = match self.renewer(attempt).await? {
            Renewer::Repeats(certificate) => return Ok(certificate),
            Renewer::Asker(admitted) => admitted,
        };
        channel_binding::check(&dms, &request, &est)?;
        // 2. For which device, and which of its certificates.
        let renewed = self.renewed(&caller, &dms, &request, presented.as_deref());
        let Renewed {
            device,
            active,
            windows,
            superseded: policy,
        } = renewed.await?;
        // 3. Whether it may be renewed now.
        let csr = self.check_renewal(&caller, &dms, &request, &active).await?;
        let profile = profile::choose(&self.directory, &caller, &dms.settings).await?;
        let approved = Approved {
            dms: &dms,
            request: &request,
            csr,
            mode: EnrollmentMode::Reenroll,
            announce: Some(EnrollmentEvent::Reenroll),
            profile,
            superseded: Some(superseded(
                &dms.settings.reenrollment_settings,
                policy,
                &active,
            )),
            slot: SlotState::of(Some(&device)),
            create: None,
            windows,
        };
        self.issue_once(&caller, approved, password).await
    }

    /// The device that asks, and its certificate; refuses one that presents another's.
    pub(crate) async fn renewed(
        &self,
        caller: &Caller,
        dms: &Dms,
        request: &DeviceRequest,
        presented: Option<&Presented>,
    ) -> Result<Renewed, DmsError> {
        let id = &request.device_id;
        let found = self.devices.enrolling_device(caller, id, None).await?;
        let device = found.device.ok_or(DmsError::DeviceNotFound)?;
        check_owner(dms, &device)?;
        let active = self.active_certificate(caller, dms, &device).await?;
        if let Some(presented) = presented {
            self.check_of_device(caller, presented, &device, &active)
                .await?;
        }
        Ok(Renewed {
            device,
            active,
            superseded: found.superseded,
            windows: found
                .renewal
                .over(dms.settings.reenrollment_settings.renewal_windows()),
        })
    }

    /// The request, if it may renew this certificate now.
    pub(crate) async fn check_renewal(
        &self,
        caller: &Caller,
        dms: &Dms,
        request: &DeviceRequest,
        active: &Certificate,
    ) -> Result<VerifiedCsr, DmsError> {
        let effective = profile::effective(&self.directory, caller, &dms.settings).await?;
        let names = if effective.honor_extensions {
            AlternativeNames::OfRequest
        } else {
            AlternativeNames::OfProfile
        };
        check_renewal(dms, request, active, (names, self.db.now()))
    }

    /// Checks what the DMS asks for; what follows is done at its expense.
    async fn renewer(&self, attempt: Attempt<'_>) -> Result<Renewer, DmsError> {
        let renewer = self.renewal_credential(attempt).await?;
        if let Renewer::Asker(_) = &renewer {
            self.ask_webhook(attempt, attempt.auth_mode()?).await?;
        }
        self.limits.check_rate(attempt.dms)?;
        Ok(renewer)
    }

    /// Checks the credential of a renewal; no webhook is asked.
    pub(crate) async fn renewal_credential(
        &self,
        attempt: Attempt<'_>,
    ) -> Result<Renewer, DmsError> {
        let policy = self.dual_auth(attempt.dms);
        let token = token_for_certificate(attempt, policy)?;
        let mode = attempt.auth_mode()?;
        let has_certificate = attempt.est.client_chain.is_some();
        let asker = match mode {
            AuthMode::Nothing => {
                self.judge(attempt.caller).nothing()?;
                Asker::anybody(attempt.caller)
            }
            AuthMode::Webhook => Asker::anybody(attempt.caller),
            AuthMode::Password => Asker::by_password(self.presented_password(attempt).await?),
            AuthMode::ClientCertificate | AuthMode::CertificateAndWebhook => {
                match token.filter(|_| !has_certificate) {
                    Some(holder) => Asker::by_token(attempt.caller, holder),
                    None => match self.holder(attempt, chain(attempt, policy)?).await? {
                        Renewer::Asker(asker) => asker,
                        repeats @ Renewer::Repeats(_) => return Ok(repeats),
                    },
                }
            }
        };
        Ok(Renewer::Asker(asker.with_token_of(attempt, policy)))
    }

    /// Checks the certificate that is presented.
    async fn holder(
        &self,
        attempt: Attempt<'_>,
        chain: &ClientCertificateChain,
    ) -> Result<Renewer, DmsError> {
        let Attempt {
            caller,
            dms,
            request,
            ..
        } = attempt;
        let judge = self.judge(caller);
        let device_id = request.device_id.as_str();
        let presented = judge.renewing(chain, device_id, &anchors(dms)).await?;
        let expired = if dms.settings.reenrollment_settings.enable_expired_renewal {
            ExpiredRenewal::Allowed
        } else {
            ExpiredRenewal::Refused
        };
        judge.check_end(&presented, expired)?;
        // Before revocation: the certificate that a lost answer superseded is revoked by now.
        if let Some(certificate) = self.lost_answer(caller, dms, request, &presented).await? {
            return Ok(Renewer::Repeats(certificate));
        }
        self.revocation(caller)
            .check(&presented, attempt.foreign_revocation())
            .await?;
        Ok(Renewer::Asker(Asker::holder(caller, presented)))
    }

    /// The certificate that a completed renewal issued for this very request in exchange for the
    /// presented one, while the device still holds it.
    async fn lost_answer(
        &self,
        caller: &Caller,
        dms: &Dms,
        request: &DeviceRequest,
        presented: &Presented,
    ) -> Result<Option<CertificateDer>, DmsError> {
        let Some(serial) = serial_of(presented) else {
            return Ok(None);
        };
        let window: Duration = self.config.repeat_window.into();
        let since = self.db.now().saturating_sub(window);
        let repeated = self
            .ca
            .repeated_reenrollment(caller, &serial, &request.digest(), since)
            .await?;
        let Some(issued) = repeated.filter(|issued| issued.status == CertificateStatus::Active)
        else {
            return Ok(None);
        };
        let device = self.device_if_any(caller, &request.device_id).await?;
        let holds_it = device.is_some_and(|device| {
            let active = device
                .identity
                .as_ref()
                .and_then(IdentitySlot::active_serial);
            device.dms_owner == dms.id && active == Some(&issued.serial_number)
        });
        Ok(holds_it.then_some(issued.certificate))
    }

    /// The certificate that the device's slot points at.
    async fn active_certificate(
        &self,
        caller: &Caller,
        dms: &Dms,
        device: &Device,
    ) -> Result<Certificate, DmsError> {
        let slot = device
            .identity
            .as_ref()
            .ok_or(DmsError::NoDeviceCertificate)?;
        let serial = slot.active_serial().ok_or(DmsError::NoDeviceCertificate)?;
        let ca = &dms.settings.enrollment_settings.enrollment_ca;
        match self.ca.certificate_of_ca(caller, ca, serial).await {
            Err(CaError::CertificateNotFound | CaError::CaNotFound) => {
                Err(DmsError::NoDeviceCertificate)
            }
            other => Ok(other?),
        }
    }

    /// Refuses a certificate that is neither the device's active one nor a former one that is
    /// still valid; that it is not revoked is known.
    async fn check_of_device(
        &self,
        caller: &Caller,
        presented: &Presented,
        device: &Device,
        active: &Certificate,
    ) -> Result<(), DmsError> {
        if active.certificate.der() == presented.certificate.as_der() {
            return Ok(());
        }
        let refused = || DmsError::InvalidCertificate(CertificateRefusal::NotOfDevice);
        let serial = serial_of(presented).ok_or_else(refused)?;
        if !holds(device, &serial) || presented.certificate.not_after() < self.db.now() {
            return Err(refused());
        }
        // The slot knows serial numbers only: another CA may have used the same.
        let ca = &presented.anchor.authority.id;
        match self.ca.certificate_of_ca(caller, ca, &serial).await {
            Ok(former) if former.certificate.der() == presented.certificate.as_der() => Ok(()),
            Ok(_) | Err(CaError::CertificateNotFound | CaError::AmbiguousSerial(_)) => {
                Err(refused())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The CAs whose certificates may renew: that of enrollment, then those before it.
fn anchors(dms: &Dms) -> Vec<CaId> {
    let enrollment_ca = &dms.settings.enrollment_settings.enrollment_ca;
    let additional = &dms.settings.reenrollment_settings.additional_validation_cas;
    std::iter::once(enrollment_ca)
        .chain(additional)
        .cloned()
        .collect()
}

fn serial_of(presented: &Presented) -> Option<SerialNumber> {
    SerialNumber::parse(&presented.certificate.serial().to_hex())
}

/// Whose the alternative names of what is issued are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AlternativeNames {
    OfRequest,
    OfProfile,
}

/// The request, if it may renew this certificate now.
fn check_renewal(
    dms: &Dms,
    request: &DeviceRequest,
    active: &Certificate,
    (names, now): (AlternativeNames, OffsetDateTime),
) -> Result<VerifiedCsr, DmsError> {
    let settings = &dms.settings.reenrollment_settings;
    let current = lamassu_x509::Certificate::from_der(active.certificate.der().clone())
        .map_err(|error| StorageFailure::Internal(Box::new(error)))?;
    let is_strict = settings.strict_identity.value() == Some(&true);
    let is_same = if is_strict {
        request.csr.subject().matches(current.subject())
    } else {
        subject::is_same(request.csr.subject(), current.subject())
    };
    if !is_same {
        return Err(DmsError::SubjectChanged);
    }
    if is_strict
        && names == AlternativeNames::OfRequest
        && !request
            .csr
            .requested_extensions()
            .has_same_names(current.extensions())
    {
        return Err(RenewalRefusal::OtherNames.into());
    }
    let is_same_key = request.csr.spki_der() == current.spki_der();
    match settings.key_reuse.value().copied().unwrap_or_default() {
        KeyReuse::Forbidden if is_same_key => return Err(RenewalRefusal::SameKey.into()),
        KeyReuse::Required if !is_same_key => return Err(RenewalRefusal::OtherKey.into()),
        KeyReuse::Allowed | KeyReuse::Forbidden | KeyReuse::Required => {}
    }
    let csr = request.decide_possession(Possession::of(
        dms.settings.enrollment_settings.verify_csr_signature,
    ))?;
    if active.status == CertificateStatus::Revoked {
        return Err(DmsError::ActiveRevoked);
    }
    let delta: Duration = dms.settings.reenrollment_settings.reenrollment_delta.into();
    let opens = active.valid_to.0.saturating_sub(delta);
    match std::time::Duration::try_from(opens - now) {
        Ok(wait) if !wait.is_zero() => Err(DmsError::WindowClosed(wait)),
        // Open already.
        Ok(_) | Err(_) => Ok(csr),
    }
}

fn superseded(
    settings: &ReenrollmentSettings,
    policy: SupersededPolicy,
    active: &Certificate,
) -> Superseded {
    let by_dms = if settings.revoke_on_reenrollment {
        Revoke::Yes
    } else {
        Revoke::No
    };
    Superseded {
        serial_number: active.serial_number.clone(),
        detach: Detach::Yes,
        revoke: policy.revoke_at_once(by_dms),
    }
}
