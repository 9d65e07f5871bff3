//! `cacerts` (RFC 7030 §4.1): what devices need to build and check chains.

use lamassu_core::ca::CaError;
use lamassu_core::caller::Caller;
use lamassu_core::dms::{Dms, DmsError};
use lamassu_core::ids::CaId;
use lamassu_core::pem::CertificateDer;

use crate::service::DmsManager;

/// Longest chain of CAs that is followed upwards.
const MAX_LEVELS: usize = 16;

impl DmsManager {
    /// The certificates that a DMS distributes: the platform's own, the managed CAs, the
    /// enrollment CA, then their missing parents up to the root; each once.
    pub(crate) async fn distributed(
        &self,
        caller: &Caller,
        dms: &Dms,
    ) -> Result<Vec<CertificateDer>, DmsError> {
        let settings = &dms.settings.ca_distribution_settings;
        let mut certificates = Vec::new();
        if settings.include_system_ca {
            certificates.extend(self.system_ca.certificate());
        }
        let mut listed: Vec<CaId> = settings.managed_cas.clone();
        if settings.include_enrollment_ca {
            listed.push(dms.settings.enrollment_settings.enrollment_ca.clone());
        }
        let mut parents = Vec::new();
        for id in &listed {
            let chain = self.chain_of(caller, id).await?;
            let mut chain = chain.into_iter();
            certificates.extend(chain.next());
            parents.extend(chain);
        }
        certificates.extend(parents);
        Ok(each_once(certificates))
    }

    /// The certificate of a CA and those of its issuers that the CA service has, upwards.
    async fn chain_of(&self, caller: &Caller, id: &CaId) -> Result<Vec<CertificateDer>, DmsError> {
        let mut chain = Vec::new();
        let mut seen: Vec<CaId> = Vec::new();
        let mut next = id.clone();
        while chain.len() < MAX_LEVELS && !seen.contains(&next) {
            let known = match self.directory.authority(caller, &next).await {
                Ok(known) => known,
                // A parent that is gone leaves the chain as long as it is.
                Err(CaError::CaNotFound) if !chain.is_empty() => break,
                Err(error) => return Err(error.into()),
            };
            let certificate = &known.authority.certificate;
            chain.push(certificate.certificate.clone());
            seen.push(next);
            next = certificate.issuer_metadata.id.clone();
            if next.is_empty() || next.as_str() == "-" {
                break;
            }
        }
        Ok(chain)
    }
}

fn each_once(certificates: Vec<CertificateDer>) -> Vec<CertificateDer> {
    let mut kept: Vec<CertificateDer> = Vec::with_capacity(certificates.len());
    for certificate in certificates {
        if !kept.contains(&certificate) {
            kept.push(certificate);
        }
    }
    kept
}
