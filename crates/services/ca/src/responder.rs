//! Certificates of OCSP responders (RFC 6960 §4.2.2.2): for the validation authority, by rules of their
//! own. No profile can ask for them, because who has one answers for the CA.

use lamassu_core::ca::{CaError, Certificate, ProfileChoice};
use lamassu_core::caller::Caller;
use lamassu_core::duration::WireDuration;
use lamassu_core::ids::CaId;
use lamassu_core::pem::CsrDer;
use lamassu_x509::issue::{
    CertificateRole, ExtendedKeyUsageRule, KeyPolicy, KeyUsageRule, Profile, Subject,
    SubjectAltNameRule, SubjectRule, Validity,
};
use lamassu_x509::{Extension, KeyUsageBit, VerifyCsrError, oids};
use time::Duration;

use crate::issue::{Order, read_csr};
use crate::issue_failure::not_issued;
use crate::service::CaService;

/// So long before the present it begins, for relying parties whose clocks are behind.
const BACK_DATING: Duration = Duration::minutes(5);

impl CaService {
    /// Issues a certificate for signing OCSP answers to whoever proves the key.
    pub(crate) async fn issue_responder(
        &self,
        caller: &Caller,
        ca: &CaId,
        csr: &CsrDer,
        validity: WireDuration,
    ) -> Result<Certificate, CaError> {
        let verified = read_csr(csr)?.verify().map_err(|error| match error {
            VerifyCsrError::Key(_) => CaError::Policy(error.to_string()),
            VerifyCsrError::Signature(_) => CaError::CsrSignature,
        })?;
        let rules = responder_rules(validity);
        let order = Order {
            ca,
            subject: Subject::of_csr(&verified).map_err(not_issued)?,
            profile: ProfileChoice::Default,
            imposed: Some(&rules),
            own: None,
            enrollment: None,
            made_with: None,
        };
        self.issue(caller, &order).await
    }
}

fn responder_rules(validity: WireDuration) -> Profile {
    Profile {
        validity: Validity::Duration(validity.into()),
        back_dating: BACK_DATING,
        subject: SubjectRule::Honor,
        key_usage: KeyUsageRule::Replace([KeyUsageBit::DigitalSignature].into_iter().collect()),
        extended_key_usage: ExtendedKeyUsageRule::Replace(vec![oids::KP_OCSP_SIGNING]),
        subject_alt_name: SubjectAltNameRule::Drop,
        role: CertificateRole::EndEntity,
        further_extensions: [Extension::ocsp_nocheck()].into_iter().collect(),
        key_policy: KeyPolicy::Any,
    }
}
