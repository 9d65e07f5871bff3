//! `lamassu ocsp`: asks an OCSP responder about a certificate, and judges what it answers.

use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow, ensure};
use clap::{Args, ValueEnum};
use lamassu_client::fetch::Fetcher;
use lamassu_crypto::HashAlgorithm;
use lamassu_x509::Certificate;
use lamassu_x509::ocsp::{
    CertId, CertStatus, IssuerKey, OcspResponse, OcspVerdict, issuer_keys, request_to_der,
};

use super::Session;
use super::output::OutputArgs;
use super::relying::{CLOCK_SKEW, IssuerArgs, is_web, web_address};
use super::verdict::{Status, Times, Verdict};

/// Octets of a nonce (RFC 9654 section 2.1).
const NONCE: usize = 32;

/// Ask by OCSP whether a certificate is revoked; the exit code is 0 when it is good, 3 when it is revoked, 4 when
/// the responder does not know it, 1 when there is no answer that can be believed.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example: lamassu ocsp device-1.chain.pem --ca root.pem")]
pub(crate) struct Ocsp {
    /// The certificate, PEM or DER; its chain may stand behind it.
    #[arg(value_name = "CERT")]
    certificate: PathBuf,
    #[command(flatten)]
    issuer: IssuerArgs,
    /// The responder, of a lamassu server http://HOST:8080/api/va/ocsp; where the certificate says when not
    /// said.
    #[arg(long, value_name = "URL", value_parser = web_address)]
    url: Option<String>,
    /// By which hash the issuer is named.
    #[arg(long, value_enum, default_value_t)]
    hash: Hash,
    /// Ask without a nonce: the answer may be one that was made before.
    #[arg(long)]
    no_nonce: bool,
    /// Believe only an answer that was made for this request.
    #[arg(long, conflicts_with = "no_nonce")]
    fresh: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// A hash function, as responders know it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Hash {
    /// SHA-1, which every responder knows; here it only names.
    #[default]
    Sha1,
    /// SHA-256.
    Sha256,
}

/// Asks, judges and tells.
///
/// # Errors
/// There is no answer that can be believed, or the certificate is not good.
pub(crate) async fn run(asked: &Ocsp) -> Result<()> {
    let (certificate, issuer) = asked.issuer.pair(&asked.certificate).await?;
    let urls = match &asked.url {
        Some(url) => vec![url.clone()],
        None => certificate.extensions().access_locations()?.ocsp,
    };
    let fetcher = asked.issuer.fetcher(OcspResponse::MAX_LEN)?;
    let mut failure = anyhow!("the certificate does not say who answers for it: say --url");
    for url in urls.iter().filter(|url| is_web(url)) {
        match ask(asked, &fetcher, url, &certificate, &issuer).await {
            Ok(verdict) => return told(&verdict, &certificate, url).tell(asked.output),
            Err(error) => failure = error,
        }
    }
    if asked.url.as_deref().is_some_and(has_no_path) {
        failure =
            failure.context("is that the responder? that of a lamassu server is at /api/va/ocsp");
    }
    Err(failure)
}

/// Whether an address names a host only.
fn has_no_path(url: &str) -> bool {
    let host = url.split_once("://").map_or(url, |(_, host)| host);
    host.split_once('/').is_none_or(|(_, path)| path.is_empty())
}

async fn ask(
    asked: &Ocsp,
    fetcher: &Fetcher,
    url: &str,
    certificate: &Certificate,
    issuer: &Certificate,
) -> Result<OcspVerdict> {
    let cert_id = CertId::new(&named(issuer, asked.hash)?, certificate.serial());
    let nonce = match asked.no_nonce {
        true => None,
        false => Some(nonce()?),
    };
    let nonce = nonce.as_ref().map(<[u8; NONCE]>::as_slice);
    let request = request_to_der(std::slice::from_ref(&cert_id), nonce);
    let answer = fetcher
        .post(url, "application/ocsp-request", request)
        .await?;
    let response =
        OcspResponse::from_der(answer).with_context(|| format!("{url} gives no OCSP answer"))?;
    let verdict = response
        .judge(&cert_id, nonce, issuer, Session::now(), CLOCK_SKEW)
        .with_context(|| format!("the answer of {url} cannot be believed"))?;
    ensure!(
        verdict.is_fresh || !asked.fresh,
        "the answer of {url} was not made for this request: it has no nonce"
    );
    Ok(verdict)
}

fn named(issuer: &Certificate, hash: Hash) -> Result<IssuerKey> {
    let wanted = match hash {
        Hash::Sha1 => HashAlgorithm::Sha1,
        Hash::Sha256 => HashAlgorithm::Sha256,
    };
    let mut keys = issuer_keys(issuer)?.into_iter();
    keys.find(|key| key.hash_algorithm == wanted)
        .context("the issuer cannot be named by this hash")
}

fn nonce() -> Result<[u8; NONCE]> {
    let mut nonce = [0; NONCE];
    aws_lc_rs::rand::fill(&mut nonce).map_err(|_| anyhow!("there is no randomness"))?;
    Ok(nonce)
}

fn told(verdict: &OcspVerdict, certificate: &Certificate, url: &str) -> Verdict {
    let times = Times {
        this_update: verdict.this_update,
        next_update: verdict.next_update,
    };
    let status = match verdict.status {
        CertStatus::Good => Status::Good,
        CertStatus::Revoked { .. } => Status::Revoked,
        CertStatus::Unknown => Status::Unknown,
    };
    let told = Verdict::new(status, certificate, times, url);
    match verdict.status {
        CertStatus::Revoked {
            revocation_time,
            reason,
        } => told.since(revocation_time, reason),
        CertStatus::Good | CertStatus::Unknown => told,
    }
}
