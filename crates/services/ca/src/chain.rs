//! Chains: a certificate and those of the CAs above it.

use lamassu_core::ca::{CaError, CertificateRef};
use lamassu_core::error::StorageFailure;
use lamassu_core::ids::CaId;
use lamassu_core::pem::CertificateDer;

use crate::service::CaService;
use crate::store::authority;

impl CaService {
    /// The certificate of this CA and of those above it.
    pub(crate) async fn chain_of_ca(&self, ca: &CaId) -> Result<Vec<CertificateDer>, CaError> {
        let chain = self.above(ca).await?;
        if chain.is_empty() {
            return Err(CaError::CaNotFound);
        }
        Ok(chain)
    }

    /// The certificate that is named and those of the CAs above it. A CA's own certificate is
    /// there once.
    pub(crate) async fn chain_of_certificate(
        &self,
        named: &CertificateRef,
    ) -> Result<Vec<CertificateDer>, CaError> {
        let stored = self.certificate_named(named).await?;
        let issuer = &stored.certificate.issuer_metadata.id;
        let own = stored.certificate.certificate;
        let mut chain = self.above(issuer).await?;
        chain.retain(|certificate| *certificate != own);
        // A former certificate of a root was issued by the root itself.
        let is_root = lamassu_x509::Certificate::from_der(own.der().clone())
            .is_ok_and(|certificate| certificate.is_self_signed());
        if is_root {
            chain.clear();
        }
        chain.insert(0, own);
        Ok(chain)
    }

    /// From this CA upwards; nothing for a CA that is not here.
    async fn above(&self, ca: &CaId) -> Result<Vec<CertificateDer>, CaError> {
        let found = authority::chain(&self.db, ca).await;
        Ok(found.map_err(StorageFailure::from)?)
    }
}
