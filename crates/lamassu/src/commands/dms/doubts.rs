//! Why no device can enroll under a DMS that was just made or changed. It is there, so that this is no refusal: what is
//! missing may come later.

use bytes::Bytes;
use lamassu_core::ca::{CaService as _, CertificateStatus, CertificateType, EnrollmentMode};
use lamassu_core::dms::settings::AUTH_NONE;
use lamassu_core::dms::{Dms, DmsService as _, DryRun};
use lamassu_core::pem::CsrDer;
use lamassu_crypto::{Curve, KeySpec, Message, PrivateKey};
use lamassu_x509::{RequestTemplate, SubjectFields};

use crate::commands::Session;
use crate::commands::output::note;

/// Says it on standard error. Whoever may make DMSs need not see CAs, and is told less then.
pub(super) async fn tell(session: &Session, dms: &Dms) {
    let enrollment = &dms.settings.enrollment_settings;
    let ca = &enrollment.enrollment_ca;
    if let Ok(found) = session.ca.ca(&session.caller, ca).await {
        let certificate = found.certificate;
        if certificate.status != CertificateStatus::Active {
            let status = certificate.status;
            warn(&format!(
                "the CA {ca} is {status}, and an ACTIVE one issues"
            ));
        } else if certificate.certificate_type == CertificateType::ImportedWithoutKey {
            warn(&format!("the key of the CA {ca} is not here"));
        }
    }
    if enrollment.est_rfc7030_settings.auth_mode == AUTH_NONE
        && let Some(refusal) = refusal_without_credential(session, dms).await
    {
        warn(&format!(
            "this server does not let devices enroll without a credential ({refusal}): say another --auth"
        ));
    }
}

fn warn(reason: &str) {
    note(&format!("warning: no device enrolls under it: {reason}"));
}

/// What a device would hear that shows no credential: whether that is allowed is the server's configuration.
async fn refusal_without_credential(session: &Session, dms: &Dms) -> Option<String> {
    let tried = DryRun {
        operation: EnrollmentMode::Enroll,
        csr: CsrDer::from_der(csr()?),
        certificates: Vec::new(),
        ask_webhook: false,
    };
    let report = session.dms.dry_run(&session.caller, &dms.id, tried).await;
    let mut checks = report.ok()?.checks.into_iter();
    let credential = checks.find(|check| check.check == "credential")?;
    credential.err.filter(|_| credential.passed == Some(false))
}

/// A request of a device that there is not.
fn csr() -> Option<Bytes> {
    let key = PrivateKey::generate(KeySpec::Ec(Curve::P256)).ok()?;
    let name = SubjectFields::with_common_name("dry-run").to_name();
    let scheme = key.default_scheme();
    let template = RequestTemplate::new(name, key.public_key());
    let request = template.to_be_signed(scheme).ok()?;
    let signature = key.sign(scheme, Message::Raw(request.as_bytes())).ok()?;
    request.assemble_verified(&signature, key.public_key()).ok()
}
