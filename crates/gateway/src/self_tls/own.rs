//! The files in `DIR/tls`, and when the server certificate is made anew.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lamassu_x509::pem::{PemLabel, der_to_pem};
use lamassu_x509::{Certificate, GeneralName};
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use time::{Duration, OffsetDateTime};
use tracing::info;

use super::authority::{Authority, issued_at, new_key};
use super::files::{self, Readers};
use super::names::{CertificateNames, Coverage, ServerNames};
use crate::error::GatewayError;
use crate::tls::pem_files;

/// How long before its end a server certificate is replaced.
const RENEW_BEFORE: Duration = Duration::days(60);

/// How long a certificate that only lacks an address of an interface stays: on a host that starts
/// containers or draws temporary IPv6 addresses there is always another one.
const INTERFACE_PATIENCE: Duration = Duration::hours(1);

/// The installation's own TLS material.
#[derive(Clone, Debug)]
pub struct OwnTls {
    dir: PathBuf,
}

impl OwnTls {
    /// The material in `tls` below `data_dir`; nothing is touched yet.
    pub fn in_data_dir(data_dir: &Path) -> Self {
        Self {
            dir: data_dir.join("tls"),
        }
    }

    /// The file that clients trust, for `curl --cacert` and the like.
    pub fn trust_anchor_file(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    fn server_cert_file(&self) -> PathBuf {
        self.dir.join("server.pem")
    }

    fn server_key_file(&self) -> PathBuf {
        self.dir.join("server.key")
    }

    /// The server certificate for `names` at `now`, with its chain and key: the stored one where
    /// it still fits, else a new one, stored before it is returned. Makes the CA where there is
    /// none. Blocking file I/O; a new certificate costs two signatures.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or written, a key file that holds no usable key, or
    /// [`GatewayError::SelfIssue`].
    pub fn server_certificate(
        &self,
        provider: &CryptoProvider,
        names: &ServerNames,
        now: OffsetDateTime,
    ) -> Result<Arc<CertifiedKey>, GatewayError> {
        files::ensure_dir(&self.dir)?;
        let ca_key_file = self.dir.join("ca.key");
        let authority = Authority::open(&self.trust_anchor_file(), &ca_key_file, provider, now)?;
        let shown = self.shown(&authority)?;
        if shown.as_ref().is_some_and(|shown| fits(shown, names, now)) {
            match self.load(provider) {
                // A crash between the two writes below leaves the new key beside the old
                // certificate.
                Err(GatewayError::KeyMismatch { .. }) => {}
                loaded => return loaded,
            }
        }
        let names = names.after(&shown.as_ref().map(names_of).unwrap_or_default());
        let key = new_key(&self.server_key_file())?;
        let der = authority.issue_server(&key, &names, provider, now)?;
        let mut pem = der_to_pem(PemLabel::Certificate, &der);
        pem.push_str(&der_to_pem(
            PemLabel::Certificate,
            authority.certificate().as_der(),
        ));
        files::replace(&self.server_cert_file(), pem.as_bytes(), Readers::Everybody)?;
        info!(
            names = names.dns.len() + names.ip.len(),
            "server certificate issued"
        );
        self.load(provider)
    }

    fn load(&self, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, GatewayError> {
        pem_files::certified_key(provider, &self.server_cert_file(), &self.server_key_file())
    }

    /// The stored certificate, where it is this CA's and its key is there.
    fn shown(&self, authority: &Authority) -> Result<Option<Certificate>, GatewayError> {
        let key = pem_files::read_if_present(&self.server_key_file())?;
        let certificate = pem_files::read_if_present(&self.server_cert_file())?;
        if key.is_none() || certificate.is_none() {
            return Ok(None);
        }
        // What is no chain any more is simply made again.
        let Ok(chain) = pem_files::read_chain(&self.server_cert_file()) else {
            return Ok(None);
        };
        let [shown, anchor, ..] = chain.as_slice() else {
            return Ok(None);
        };
        let same_anchor = **anchor == **authority.certificate().as_der();
        let Ok(ca_key) = authority.certificate().public_key() else {
            return Ok(None);
        };
        let shown = Certificate::from_der(shown.to_vec()).ok();
        Ok(shown.filter(|shown| same_anchor && shown.verify_signed_by(&ca_key).is_ok()))
    }
}

/// Whether a certificate names what it should and is not about to end.
fn fits(shown: &Certificate, names: &ServerNames, now: OffsetDateTime) -> bool {
    let in_time = shown.not_before() <= now && now < shown.not_after() - RENEW_BEFORE;
    in_time
        && match names.coverage(&names_of(shown)) {
            Coverage::Full => true,
            Coverage::LacksInterface => now < issued_at(shown) + INTERFACE_PATIENCE,
            Coverage::Other => false,
        }
}

fn names_of(certificate: &Certificate) -> CertificateNames {
    let mut names = CertificateNames::default();
    for name in certificate
        .extensions()
        .subject_alt_names()
        .unwrap_or_default()
    {
        match name {
            GeneralName::Dns(dns) => {
                names.dns.insert(dns);
            }
            GeneralName::Ip(ip) => {
                names.ip.insert(ip);
            }
            GeneralName::Rfc822(_)
            | GeneralName::Uri(_)
            | GeneralName::Directory(_)
            | GeneralName::Other(_) => {}
        }
    }
    names
}
