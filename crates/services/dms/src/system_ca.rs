//! The certificate that devices need to trust the platform's own TLS.

use std::fmt;

use lamassu_core::pem::CertificateDer;

/// Gives the trust anchor of the platform's own server certificate, which `cacerts` distributes
/// to devices where a DMS says so.
pub trait SystemCa: Send + Sync + fmt::Debug {
    /// The certificate as it is now; `None` where the installation has none to give out.
    fn certificate(&self) -> Option<CertificateDer>;
}

/// One that never changes, or none at all.
impl SystemCa for Option<CertificateDer> {
    fn certificate(&self) -> Option<CertificateDer> {
        self.clone()
    }
}
