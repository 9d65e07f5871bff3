//! What relying parties need before they can ask about a certificate: its issuer, and a way out.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use lamassu_client::fetch::Fetcher;
use lamassu_core::duration::WireDuration;
use lamassu_x509::path::{self, Expiry, PathRules};
use lamassu_x509::pem::certificate_ders;
use lamassu_x509::{Certificate, pkcs7};

use super::{Session, files};

/// How far clocks may be apart.
pub(super) const CLOCK_SKEW: time::Duration = time::Duration::minutes(5);
/// Longest certificate that is fetched.
const MAX_CERTIFICATE: usize = 1 << 20;
/// Most certificates in a path.
const MAX_PATH: usize = 10;

/// Who issued a certificate, and how long it may take.
#[derive(Clone, Debug, Args)]
pub(super) struct IssuerArgs {
    /// Certificate of the CA that issued it (PEM or DER); the one behind it in its own file when not said.
    #[arg(long, value_name = "FILE")]
    issuer: Option<PathBuf>,
    /// PEM file of CAs that are trusted: the issuer must be one of them, or below one. With it, an issuer
    /// that is in no file is fetched from where the certificate says.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// How long to wait for an answer.
    #[arg(long, value_name = "DURATION", default_value = "20s")]
    timeout: WireDuration,
}

impl IssuerArgs {
    /// What fetches, up to so many bytes.
    ///
    /// # Errors
    /// The time is negative.
    pub(super) fn fetcher(&self, max_bytes: usize) -> Result<Fetcher> {
        let timeout = Duration::try_from(time::Duration::from(self.timeout));
        let timeout = timeout.context("a time cannot be negative")?;
        Ok(Fetcher::new(timeout, max_bytes)?)
    }

    /// A certificate and its issuer, which is trusted as the command line says.
    ///
    /// # Errors
    /// There is none, or it is not trusted.
    pub(super) async fn pair(&self, certificate: &Path) -> Result<(Certificate, Certificate)> {
        let mut known = files::read_certificates(certificate)?;
        let certificate = known.remove(0);
        if let Some(path) = &self.issuer {
            known = files::read_certificates(path)?;
            ensure!(
                issuer_of(&certificate, &known).is_some(),
                "no certificate in {} is that of the issuer",
                path.display()
            );
        }
        let anchors = match &self.ca {
            Some(path) => files::read_certificates(path)?,
            None => Vec::new(),
        };
        let issuer = issuer_of(&certificate, &known)
            .or_else(|| issuer_of(&certificate, &anchors))
            .or_else(|| certificate.is_self_signed().then(|| certificate.clone()));
        let issuer = match issuer {
            Some(issuer) => issuer,
            None => self.fetched(&certificate).await?,
        };
        if !anchors.is_empty() {
            trusted(&issuer, &known, &anchors)?;
        }
        Ok((certificate, issuer))
    }

    /// The issuer from where the certificate says; somebody has to vouch for it then.
    async fn fetched(&self, certificate: &Certificate) -> Result<Certificate> {
        ensure!(
            self.ca.is_some(),
            "the issuer's certificate is not there: say --issuer, or --ca to have it fetched"
        );
        let fetcher = self.fetcher(MAX_CERTIFICATE)?;
        let addresses = certificate.extensions().access_locations()?.ca_issuers;
        let mut failure = None;
        for url in addresses.iter().filter(|url| is_web(url)) {
            match fetcher.get(url).await {
                Ok(octets) => {
                    if let Some(issuer) = issuer_of(certificate, &read(&octets)) {
                        return Ok(issuer);
                    }
                }
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(error) => Err(error).context("the issuer's certificate cannot be fetched"),
            None => bail!("the certificate does not say where its issuer's is: say --issuer"),
        }
    }
}

/// Whether an address can be fetched from here.
pub(super) fn is_web(url: &str) -> bool {
    url.starts_with("http://") || url.starts_with("https://")
}

/// An address that somebody names.
pub(super) fn web_address(text: &str) -> Result<String, &'static str> {
    if is_web(text) {
        Ok(text.to_owned())
    } else {
        Err("an address begins with http:// or https://")
    }
}

/// The one that signed it.
fn issuer_of(certificate: &Certificate, known: &[Certificate]) -> Option<Certificate> {
    let signed = |one: &&Certificate| {
        one.subject().matches(certificate.issuer())
            && one
                .public_key()
                .is_ok_and(|key| certificate.verify_signed_by(&key).is_ok())
    };
    known.iter().find(signed).cloned()
}

/// What is published at an address for issuers: a certificate or a PKCS#7 of some (RFC 5280 section
/// 4.2.2.1), or PEM as others do.
fn read(octets: &bytes::Bytes) -> Vec<Certificate> {
    if let Ok(one) = Certificate::from_der(octets.clone()) {
        return vec![one];
    }
    if let Ok(some) = pkcs7::certificates(octets.clone()) {
        return some;
    }
    let ders = certificate_ders(octets).filter_map(Result::ok);
    ders.filter_map(|der| Certificate::from_der(der).ok())
        .collect()
}

fn trusted(issuer: &Certificate, known: &[Certificate], anchors: &[Certificate]) -> Result<()> {
    let rules = PathRules {
        now: Session::now(),
        clock_skew: CLOCK_SKEW,
        expiry: Expiry::Considered,
        max_certificates: MAX_PATH,
    };
    let judged = |anchor| path::validate(issuer, known, anchor, &rules);
    let mut refusal = None;
    for anchor in anchors {
        match judged(anchor) {
            Ok(_) => return Ok(()),
            Err(path::PathError::NoIssuer) => {}
            Err(error) => refusal = Some(error),
        }
    }
    let error = refusal.unwrap_or(path::PathError::NoIssuer);
    Err(error).context("the issuer is not trusted")
}
