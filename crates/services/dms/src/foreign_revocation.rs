//! Whether a certificate that the platform did not issue is revoked: its OCSP responder is asked, else
//! its CRL is read (RFC 6960, RFC 5280 §5, §6.3).
//!
//! What is asked stands in the certificate, so a certificate of a trusted issuer decides where this
//! process connects to: loopback, link-local and metadata addresses are out of bounds, answers have a
//! length and all of it a deadline. TLS is not verified, since what is fetched is signed and dated, and
//! verifying it could need the same fetch (RFC 5280 §8).
//!
//! A CRL for a part of the certificates (a critical issuing distribution point) counts for those that name
//! the same address. Deliberately absent: delta CRLs, and CRLs for other parts or for some reasons: those
//! tell who is revoked, never who is not.

use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, StatusCode};
use lamassu_client::{AuthMode, ClientConfig, Outbound, PeerError, Protocol};
use lamassu_core::network::AddressPolicy;
use lamassu_x509::crl::CertificateList;
use lamassu_x509::ocsp::{
    CertId, CertStatus, OcspResponse, ReadBasicResponse, ReadSingleResponse, issuer_keys,
    request_to_der,
};
use lamassu_x509::path::{Expiry, PathRules, validate};
use lamassu_x509::{Certificate, oids};
use moka::sync::Cache;
use time::{Duration, OffsetDateTime};
use tokio::sync::Semaphore;

use crate::config::RevocationConfig;
use crate::metrics;

/// Most addresses of each kind that one certificate may send us to.
const MAX_ADDRESSES: usize = 3;
/// Most certificates that are asked about at once.
const MAX_ASKED: usize = 32;
/// Most OCSP answers that are kept.
const MAX_ANSWERS: u64 = 10_000;
/// How far clocks may differ.
const SKEW: Duration = Duration::minutes(5);
/// How long it is remembered that nobody answers, so that not every device waits for that.
const SILENCE: Duration = Duration::seconds(10);

/// How a certificate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is not revoked.
    Good,
    /// It is.
    Revoked,
    /// Nobody says.
    Unknown,
}

/// An answer and until when it is taken for true.
#[derive(Clone, Copy, Debug)]
struct Answer {
    standing: Standing,
    until: OffsetDateTime,
}

/// A list whose signature was verified, and until when it is taken for true.
#[derive(Debug)]
struct KnownList {
    list: CertificateList,
    until: OffsetDateTime,
}

/// Responders and lists of foreign issuers.
#[derive(Debug)]
pub(crate) struct ForeignIssuers {
    config: RevocationConfig,
    outbound: Outbound,
    asked: Semaphore,
    /// By the digests of the certificate and its issuer.
    answers: Cache<Vec<u8>, Answer>,
    /// By address and the digest of the issuer.
    lists: Cache<(String, Vec<u8>), Arc<KnownList>>,
}

/// A certificate and who issued it, at a time.
#[derive(Clone, Copy)]
struct Asked<'a> {
    certificate: &'a Certificate,
    issuer: &'a Certificate,
    now: OffsetDateTime,
}

impl ForeignIssuers {
    /// Opens no connection.
    ///
    /// # Errors
    /// The TLS client cannot be configured.
    pub(crate) fn new(config: &RevocationConfig) -> Result<Self, PeerError> {
        let client = ClientConfig {
            auth_mode: AuthMode::Noauth,
            protocol: Protocol::Https,
            insecure_skip_verify: true,
            timeout: config.timeout,
            connect_timeout: config.timeout,
            max_response_bytes: config.max_crl_bytes,
            addresses: AddressPolicy::outside(&config.allowed_networks),
            ..ClientConfig::default()
        };
        Ok(Self {
            outbound: Outbound::new(&client)?,
            asked: Semaphore::new(MAX_ASKED),
            answers: Cache::new(MAX_ANSWERS),
            lists: Cache::builder()
                .max_capacity(config.crl_cache_bytes)
                .weigher(|_, known: &Arc<KnownList>| {
                    u32::try_from(known.list.as_der().len()).unwrap_or(u32::MAX)
                })
                .build(),
            config: config.clone(),
        })
    }

    /// How this certificate of this issuer stands.
    pub(crate) async fn standing(
        &self,
        certificate: &Certificate,
        issuer: &Certificate,
        now: OffsetDateTime,
    ) -> Standing {
        let key = [certificate, issuer]
            .map(Certificate::fingerprint_sha256)
            .concat();
        if let Some(known) = self.answers.get(&key)
            && now < known.until
        {
            return known.standing;
        }
        let asked = Asked {
            certificate,
            issuer,
            now,
        };
        let timeout = Duration::from(self.config.timeout).unsigned_abs();
        let answer = tokio::time::timeout(timeout, self.ask(asked)).await;
        let answer = answer.unwrap_or(None).unwrap_or_else(|| Answer {
            standing: Standing::Unknown,
            until: now.saturating_add(SILENCE),
        });
        metrics::foreign_revocation(answer.standing);
        self.answers.insert(key, answer);
        answer.standing
    }

    /// The first usable answer of a responder, or else what the first usable list says.
    async fn ask(&self, asked: Asked<'_>) -> Option<Answer> {
        let locations = asked.certificate.extensions().access_locations().ok()?;
        // The semaphore is never closed.
        let _place = self.asked.acquire().await;
        for url in locations.ocsp.iter().take(MAX_ADDRESSES) {
            match self.ask_responder(url, asked).await {
                Ok(answer) => return Some(answer),
                Err(reason) => tracing::debug!(url, reason, "OCSP responder of no use"),
            }
        }
        for url in locations.crl.iter().take(MAX_ADDRESSES) {
            match self.look_up(url, asked).await {
                Ok(answer) => return Some(answer),
                Err(reason) => tracing::debug!(url, reason, "CRL of no use"),
            }
        }
        None
    }

    async fn ask_responder(&self, url: &str, asked: Asked<'_>) -> Result<Answer, &'static str> {
        // SHA-1, as responders everywhere know it; it names the issuer and protects nothing.
        let [issuer, ..] = issuer_keys(asked.issuer).map_err(|_| "the issuer has no key")?;
        let cert_id = CertId::new(&issuer, asked.certificate.serial());
        let body = request_to_der(std::slice::from_ref(&cert_id), None);
        let request = Request::builder()
            .method(Method::POST)
            .uri(url)
            .header(CONTENT_TYPE, "application/ocsp-request")
            .body(body)
            .map_err(|_| "the address is none")?;
        let body = self.fetched(&request).await?;
        let response = OcspResponse::from_der(body).map_err(|_| "no OCSP response")?;
        let basic = response
            .basic
            .ok_or("the responder answers with an error")?;
        verify(&basic, asked)?;
        let single = basic
            .responses
            .iter()
            .find(|single| {
                single.cert_id.serial() == cert_id.serial()
                    && single.cert_id.issuer() == cert_id.issuer()
            })
            .ok_or("the answer is about another certificate")?;
        self.judge(single, asked.now)
    }

    fn judge(
        &self,
        single: &ReadSingleResponse,
        now: OffsetDateTime,
    ) -> Result<Answer, &'static str> {
        let until = self.until(single.this_update, single.next_update, now)?;
        let standing = match single.status {
            CertStatus::Good => Standing::Good,
            CertStatus::Revoked { .. } => Standing::Revoked,
            CertStatus::Unknown => return Err("the responder knows nothing of it"),
        };
        Ok(Answer { standing, until })
    }

    async fn look_up(&self, url: &str, asked: Asked<'_>) -> Result<Answer, &'static str> {
        let known = self.list(url, asked).await?;
        let is_listed = known.list.entry(asked.certificate.serial()).is_some();
        // A list of a part of the certificates is one of this certificate if both name the same address.
        let mut extensions = known.list.extensions().iter();
        let is_of_a_part = extensions.any(|extension| {
            extension.is_critical() && !extension.is(&oids::CE_ISSUING_DISTRIBUTION_POINT)
        }) || !known
            .list
            .is_about(asked.certificate)
            .map_err(|_| "the list does not say whose it is")?;
        let standing = match (is_listed, is_of_a_part) {
            (true, _) => Standing::Revoked,
            (false, false) => Standing::Good,
            (false, true) => return Err("the list is of a part of the certificates"),
        };
        Ok(Answer {
            standing,
            until: known.until,
        })
    }

    async fn list(&self, url: &str, asked: Asked<'_>) -> Result<Arc<KnownList>, &'static str> {
        let key = (url.to_owned(), asked.issuer.fingerprint_sha256());
        if let Some(known) = self.lists.get(&key)
            && asked.now < known.until
        {
            return Ok(known);
        }
        let request = Request::builder()
            .uri(url)
            .body(Bytes::new())
            .map_err(|_| "the address is none")?;
        let body = self.fetched(&request).await?;
        let issuer = asked.issuer.clone();
        // Reading and digesting megabytes takes a while.
        let read = tokio::task::spawn_blocking(move || read_list(body, &issuer)).await;
        let list = read.map_err(|_| "reading the list failed")??;
        let until = self.until(list.this_update(), list.next_update(), asked.now)?;
        let known = Arc::new(KnownList { list, until });
        self.lists.insert(key, Arc::clone(&known));
        Ok(known)
    }

    /// Until when something of this age is taken for true.
    fn until(
        &self,
        this_update: OffsetDateTime,
        next_update: Option<OffsetDateTime>,
        now: OffsetDateTime,
    ) -> Result<OffsetDateTime, &'static str> {
        let longest = now.saturating_add(self.config.max_age.into());
        // What promises no end is only as good as it is new.
        let promised =
            next_update.unwrap_or_else(|| this_update.saturating_add(self.config.max_age.into()));
        if this_update > now.saturating_add(SKEW) {
            return Err("it is from the future");
        }
        if promised < now {
            return Err("it is out of date");
        }
        Ok(promised.min(longest))
    }

    async fn fetched(&self, request: &Request<Bytes>) -> Result<Bytes, &'static str> {
        let answer = self.outbound.call(request).await.map_err(|error| {
            tracing::debug!(
                url = %request.uri(),
                error = &error as &(dyn std::error::Error + 'static),
                "revocation not fetched"
            );
            "nothing was fetched"
        })?;
        if answer.status == StatusCode::OK {
            Ok(answer.body)
        } else {
            Err("the server refuses")
        }
    }
}

fn read_list(body: Bytes, issuer: &Certificate) -> Result<CertificateList, &'static str> {
    let list = CertificateList::from_der(body).map_err(|_| "no CRL")?;
    if !list.issuer().matches(issuer.subject()) {
        return Err("the list is of another issuer");
    }
    let key = issuer.public_key().map_err(|_| "the issuer has no key")?;
    list.verify_signed_by(&key)
        .map_err(|_| "the issuer did not sign the list")?;
    Ok(list)
}

/// Whether the issuer, or a responder that it certified for this, signed the answer (RFC 6960
/// §4.2.2.2).
fn verify(basic: &ReadBasicResponse, asked: Asked<'_>) -> Result<(), &'static str> {
    let is_signed_by = |certificate: &Certificate| {
        let key = certificate.public_key();
        key.is_ok_and(|key| basic.verify_signed_by(&key).is_ok())
    };
    if is_signed_by(asked.issuer) {
        return Ok(());
    }
    let delegates = basic
        .certificates()
        .map_err(|_| "a certificate in the answer is none")?;
    let rules = PathRules {
        now: asked.now,
        clock_skew: SKEW,
        expiry: Expiry::Considered,
        max_certificates: 2,
    };
    let may_answer = |delegate: &&Certificate| {
        let usages = delegate.extensions().extended_key_usage();
        let is_for_that = usages
            .is_ok_and(|usages| usages.is_some_and(|all| all.contains(&oids::KP_OCSP_SIGNING)));
        is_for_that && validate(delegate, &[], asked.issuer, &rules).is_ok()
    };
    if delegates
        .iter()
        .take(MAX_ADDRESSES)
        .filter(may_answer)
        .any(is_signed_by)
    {
        Ok(())
    } else {
        Err("nobody who may signed the answer")
    }
}
