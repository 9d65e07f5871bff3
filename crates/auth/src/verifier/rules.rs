//! What the claims of a token must be like, whoever issued it (RFC 7519 section 4.1).

use crate::claims::Claims;
use crate::config::JwtConfig;
use crate::refusal::Refusal;

/// Claims without which no token is accepted.
const MINIMUM_CLAIMS: [&str; 3] = ["sub", "exp", "iat"];

/// The rules of a configuration; times are in seconds, as claims count.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) skew: f64,
    /// `None` sets no limit.
    max_age: Option<f64>,
    pub(super) max_bytes: usize,
    required_claims: Vec<String>,
}

impl Rules {
    pub(super) fn new(jwt: &JwtConfig) -> Self {
        let seconds = |duration| time::Duration::from(duration).as_seconds_f64();
        let mut required_claims = MINIMUM_CLAIMS.map(str::to_owned).to_vec();
        required_claims.extend(jwt.required_claims.iter().cloned());
        Self {
            skew: seconds(jwt.clock_skew),
            max_age: Some(seconds(jwt.max_token_age)).filter(|&age| age > 0.0),
            max_bytes: jwt.max_token_bytes,
            required_claims,
        }
    }

    /// Refuses a token that lacks a required claim, or whose `nbf` is none.
    pub(super) fn check_required(&self, claims: &Claims) -> Result<(), Refusal> {
        let has = |name: &str| match name {
            "sub" => claims.text(name).is_some(),
            "exp" | "iat" | "nbf" => claims.seconds(name).is_some(),
            other => claims.at(other).is_some_and(|value| !value.is_null()),
        };
        let mut required = self.required_claims.iter();
        if let Some(missing) = required.find(|name| !has(name)) {
            return Err(Refusal::Claim(missing.clone()));
        }
        // An `nbf` that cannot be read must not pass for none.
        if claims.0.contains_key("nbf") && !has("nbf") {
            return Err(Refusal::Claim("nbf".to_owned()));
        }
        Ok(())
    }

    /// Refuses a token that is too late, too early or too old at `now`; gives the time when it
    /// expires. Both are in seconds since the Unix epoch.
    pub(super) fn check_times(&self, claims: &Claims, now: f64) -> Result<f64, Refusal> {
        let skew = self.skew;
        let time = |name: &str| claims.seconds(name);
        let expires = time("exp").ok_or_else(|| Refusal::Claim("exp".to_owned()))?;
        let issued = time("iat").ok_or_else(|| Refusal::Claim("iat".to_owned()))?;
        if expires <= now - skew {
            return Err(Refusal::Expired);
        }
        let latest = now + skew;
        let is_early = time("nbf").is_some_and(|nbf| nbf > latest) || issued > latest;
        let is_old = self.max_age.is_some_and(|age| now - issued > age);
        if is_early || is_old {
            return Err(Refusal::NotYetValid);
        }
        Ok(expires)
    }
}
