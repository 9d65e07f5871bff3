//! What is kept of a refused credential for the log.

use std::sync::Arc;

use lamassu_x509::Certificate;

use crate::provider::Provider;
use crate::refusal::Refusal;
use crate::token::UnverifiedToken;

/// How much of a refused token's texts goes into a log, in characters.
const MAX_EXCERPT: usize = 128;

/// What a refused credential said about itself; for logs, not believed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hearsay {
    pub(crate) provider: Option<Arc<str>>,
    pub(crate) key_id: Option<String>,
    pub(crate) issuer: Option<String>,
    pub(crate) subject: Option<String>,
    /// By how many seconds it came too late (positive) or too early (negative).
    pub(crate) off_by_seconds: Option<f64>,
}

impl Hearsay {
    /// What `token` says; `now` is in seconds since the Unix epoch.
    pub(super) fn of(
        token: &UnverifiedToken<'_>,
        provider: Option<&Arc<Provider>>,
        now: f64,
    ) -> Self {
        let claims = &token.claims;
        let text = |name: &str| claims.text(name).map(excerpt);
        let starts = claims.seconds("nbf").or_else(|| claims.seconds("iat"));
        let too_late = claims
            .seconds("exp")
            .map(|exp| now - exp)
            .filter(|&by| by > 0.0);
        let too_early = starts.map(|start| now - start).filter(|&by| by < 0.0);
        Self {
            provider: provider.map(|provider| Arc::clone(&provider.name)),
            key_id: token.key_id().map(excerpt),
            issuer: text("iss"),
            subject: text("sub"),
            off_by_seconds: too_late.or(too_early),
        }
    }
}

/// A refused credential.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) refusal: Refusal,
    pub(crate) hearsay: Box<Hearsay>,
}

impl Hearsay {
    /// What a certificate says.
    pub(crate) fn of_certificate(certificate: &Certificate) -> Self {
        Self {
            issuer: Some(excerpt(&certificate.issuer().to_string())),
            subject: Some(excerpt(&certificate.subject().to_string())),
            ..Self::default()
        }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            hearsay: Box::default(),
        }
    }
}

/// The beginning of what a stranger wants in our logs.
fn excerpt(text: &str) -> String {
    text.chars().take(MAX_EXCERPT).collect()
}
