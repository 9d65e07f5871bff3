//! Verification of a token, step by step; the first step that fails answers.
//!
//! The steps: size and form, algorithm, issuer, key, signature, required claims, expiry, not too
//! early, audience. Claims are looked at only once the signature is known to be good, except for
//! `iss`, which chooses the key.
//!
//! Results are remembered by the SHA-256 of the token, for five minutes at most: a dashboard sends
//! the same token in bursts. A remembered result is believed only until the token expires and only
//! while its provider still has the same keys.

mod hearsay;
mod rules;

use std::sync::Arc;
use std::time::Duration;

use lamassu_core::caller::Principal;
use lamassu_core::clock::SharedClock;
use lamassu_core::permission::Role;
use lamassu_crypto::HashAlgorithm;
use lamassu_http::{Authority, Identity};
use moka::sync::Cache;
use time::OffsetDateTime;

pub(crate) use hearsay::{Hearsay, Refused};
use rules::Rules;

use crate::claims::Claims;
use crate::config::{AuthorizationConfig, JwtConfig, TokenAlgorithm};
use crate::provider::{Provider, RoleNames};
use crate::refusal::Refusal;
use crate::roles::RoleMapping;
use crate::token::UnverifiedToken;

/// How long a result is remembered.
const REMEMBERED_FOR: Duration = Duration::from_secs(5 * 60);
/// How many results are remembered.
const MAX_REMEMBERED: u64 = 10_000;
/// Verifies tokens of a set of providers.
#[derive(Debug)]
pub(crate) struct Verifier {
    providers: Vec<Arc<Provider>>,
    rules: Rules,
    mapping: RoleMapping,
    clock: SharedClock,
    remembered: Cache<Vec<u8>, Arc<Remembered>>,
}

#[derive(Debug)]
struct Remembered {
    identity: Identity,
    provider: Arc<Provider>,
    generation: u64,
    expires: f64,
}

impl Verifier {
    pub(crate) fn new(
        providers: Vec<Arc<Provider>>,
        jwt: &JwtConfig,
        authorization: &AuthorizationConfig,
        clock: SharedClock,
    ) -> Self {
        Self {
            providers,
            rules: Rules::new(jwt),
            mapping: RoleMapping::new(&jwt.providers, authorization),
            clock,
            remembered: Cache::builder()
                .max_capacity(MAX_REMEMBERED)
                .time_to_live(REMEMBERED_FOR)
                .build(),
        }
    }

    /// The identity that a token proves.
    pub(crate) async fn verify(&self, token: &str) -> Result<Identity, Refused> {
        if token.len() > self.rules.max_bytes {
            return Err(Refusal::Malformed.into());
        }
        let digest = HashAlgorithm::Sha256.digest(token.as_bytes());
        if let Some(identity) = self.recall(&digest).await {
            return Ok(identity);
        }
        let token = UnverifiedToken::parse(token).ok_or(Refusal::Malformed)?;
        match self.check(&token).await {
            Ok(verified) => {
                let identity = verified.identity.clone();
                self.remembered.insert(digest, Arc::new(verified));
                Ok(identity)
            }
            Err(refusal) => {
                let provider = self.provider(token.claims.text("iss"));
                let hearsay = Hearsay::of(&token, provider, self.now());
                let hearsay = Box::new(hearsay);
                Err(Refused { refusal, hearsay })
            }
        }
    }

    async fn recall(&self, digest: &[u8]) -> Option<Identity> {
        let found = self.remembered.get(digest)?;
        let keys = found.provider.keys.keys().await?;
        let is_good =
            keys.generation() == found.generation && found.expires > self.now() - self.rules.skew;
        is_good.then(|| found.identity.clone())
    }

    async fn check(&self, token: &UnverifiedToken<'_>) -> Result<Remembered, Refusal> {
        let issuer = token.claims.text("iss");
        let provider = self.provider(issuer);
        let algorithm = self.algorithm(token, provider).ok_or(Refusal::Algorithm)?;
        let provider = provider.ok_or(Refusal::Issuer)?;
        let generation = verify_signature(provider, token, algorithm).await?;
        let claims = &token.claims;
        self.rules.check_required(claims)?;
        let expires = self.rules.check_times(claims, self.now())?;
        check_audience(provider, claims)?;
        let identity = self.identity(provider, claims, expires)?;
        Ok(Remembered {
            identity,
            provider: Arc::clone(provider),
            generation,
            expires,
        })
    }

    /// The provider whose issuer it is, else the one that takes any.
    fn provider(&self, issuer: Option<&str>) -> Option<&Arc<Provider>> {
        let named = self.providers.iter().find(|provider| {
            let mut own = provider.issuers.iter();
            issuer.is_some_and(|issuer| own.any(|one| one == issuer))
        });
        named.or_else(|| {
            self.providers
                .iter()
                .find(|provider| provider.issuers.is_empty())
        })
    }

    /// The token's algorithm, if its provider allows it; without a provider, if any does.
    fn algorithm(
        &self,
        token: &UnverifiedToken<'_>,
        provider: Option<&Arc<Provider>>,
    ) -> Option<TokenAlgorithm> {
        let algorithm = token.algorithm()?;
        let is_allowed = match provider {
            Some(provider) => provider.algorithms.contains(&algorithm),
            None => self
                .providers
                .iter()
                .any(|one| one.algorithms.contains(&algorithm)),
        };
        is_allowed.then_some(algorithm)
    }

    fn identity(
        &self,
        provider: &Arc<Provider>,
        claims: &Claims,
        expires: f64,
    ) -> Result<Identity, Refusal> {
        let subject = claims
            .text(&provider.subject_claim)
            .ok_or_else(|| Refusal::Claim(provider.subject_claim.clone()))?;
        let authority = self.mapping.authority(provider, subject, claims);
        Ok(Identity {
            principal: principal(provider, subject, &authority),
            authority,
            expires_at: whole_seconds(expires),
        })
    }

    /// Seconds since the Unix epoch, as claims count.
    fn now(&self) -> f64 {
        (self.clock.now() - OffsetDateTime::UNIX_EPOCH).as_seconds_f64()
    }
}

/// Finds the key and checks the signature; gives the generation of the key set it was found in.
async fn verify_signature(
    provider: &Provider,
    token: &UnverifiedToken<'_>,
    algorithm: TokenAlgorithm,
) -> Result<u64, Refusal> {
    let key_id = token.key_id();
    let mut keys = provider.keys.keys().await.ok_or(Refusal::KeysUnavailable)?;
    if !keys.keys().iter().any(|key| key.is_meant_by(key_id)) {
        keys = provider
            .keys
            .keys_after(keys.generation())
            .await
            .ok_or(Refusal::KeysUnavailable)?;
    }
    let mut meant = keys
        .keys()
        .iter()
        .filter(|key| key.is_meant_by(key_id))
        .peekable();
    if meant.peek().is_none() {
        return Err(Refusal::Key);
    }
    let is_signed = meant
        .filter(|key| key.fits(algorithm))
        .any(|key| key.verifies(algorithm, token.signing_input, token.signature));
    if is_signed {
        Ok(keys.generation())
    } else {
        Err(Refusal::Signature)
    }
}

fn check_audience(provider: &Provider, claims: &Claims) -> Result<(), Refusal> {
    if provider.audiences.is_empty() || provider.audiences.iter().any(|one| one == "*") {
        return Ok(());
    }
    let stated = claims
        .first_list(&provider.audience_claims)
        .unwrap_or_default();
    if stated
        .iter()
        .any(|one| provider.audiences.iter().any(|own| own == one))
    {
        Ok(())
    } else {
        Err(Refusal::Audience)
    }
}

/// A peer service is one that our own issuer calls so; elsewhere a role says nothing about what
/// kind of caller it is.
fn principal(provider: &Provider, subject: &str, authority: &Authority) -> Principal {
    let is_service = match authority {
        Authority::Everything => false,
        Authority::Granted { roles, .. } => roles.contains(&Role::Service),
    };
    if is_service && provider.role_names == RoleNames::BuiltIn {
        Principal::Service {
            name: Arc::from(subject),
        }
    } else {
        Principal::Token {
            subject: subject.to_owned(),
            provider: Arc::clone(&provider.name),
        }
    }
}

/// Seconds without their fraction; `None` beyond year 9999.
fn whole_seconds(seconds: f64) -> Option<i64> {
    let since_epoch = time::Duration::checked_seconds_f64(seconds)?;
    let instant = OffsetDateTime::UNIX_EPOCH.checked_add(since_epoch)?;
    Some(instant.unix_timestamp())
}
