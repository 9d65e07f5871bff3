//! The `authentication` block of a configuration.

mod credentials;
mod validate;

use std::collections::BTreeMap;
use std::path::PathBuf;

use lamassu_core::duration::WireDuration;
use serde::{Deserialize, Serialize};

pub use credentials::{ApiKeyConfig, ClientCertificateConfig, SubjectField};
pub(crate) use credentials::{NeedsToken, Pattern};
pub use validate::ConfigError;

/// Who may call, and how that is found out.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct AuthConfig {
    /// Whether credentials are verified. Default `enforce`.
    pub mode: Mode,
    /// `realm` of the challenges. Default `lamassu`.
    pub realm: String,
    /// Bearer tokens.
    pub jwt: JwtConfig,
    /// What roles of tokens mean here.
    pub authorization: AuthorizationConfig,
    /// Client certificates of the management API.
    pub client_certificate: ClientCertificateConfig,
    /// Fixed keys. Default none.
    pub api_keys: Vec<ApiKeyConfig>,
    /// Client id that dashboards use at the identity provider. Default `frontend`.
    pub frontend_client_id: String,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            mode: Mode::Enforce,
            realm: "lamassu".to_owned(),
            jwt: JwtConfig::default(),
            authorization: AuthorizationConfig::default(),
            client_certificate: ClientCertificateConfig::default(),
            api_keys: Vec::new(),
            frontend_client_id: "frontend".to_owned(),
        }
    }
}

/// Whether credentials are verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Calls without an acceptable credential are refused.
    Enforce,
    /// Everybody may do everything; tokens and certificates are decoded, unverified, only to name
    /// the caller in events. For use behind a gateway that enforces.
    Passthrough,
    /// Everybody may do everything, and credentials are not even looked at.
    Off,
}

impl Mode {
    /// The word in configurations.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Passthrough => "passthrough",
            Self::Off => "off",
        }
    }
}

/// Rules for bearer tokens (RFC 7519, RFC 6750).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct JwtConfig {
    /// Tolerance for `exp`, `nbf` and `iat`. Default `60s`.
    pub clock_skew: WireDuration,
    /// Claims that every token must have. Default `sub`, `exp`, `iat`.
    pub required_claims: Vec<String>,
    /// Longest time since `iat`; `0s`, the default, sets no limit.
    pub max_token_age: WireDuration,
    /// Longest token, in bytes. Default 16384.
    pub max_token_bytes: usize,
    /// Identity providers beside the local issuer. Default none.
    pub providers: Vec<ProviderConfig>,
}

impl Default for JwtConfig {
    fn default() -> Self {
        Self {
            clock_skew: WireDuration::from_nanos(60_000_000_000),
            required_claims: ["sub", "exp", "iat"].map(str::to_owned).to_vec(),
            max_token_age: WireDuration::from_nanos(0),
            max_token_bytes: 16 * 1024,
            providers: Vec::new(),
        }
    }
}

/// One identity provider whose keys are given in the configuration.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ProviderConfig {
    /// Name in logs and metrics. Required.
    pub name: String,
    /// Accepted values of `iss`, compared exactly. Empty accepts any, for one provider at most.
    pub issuer: OneOrMany,
    /// Keys as a JWK set (RFC 7517) in JSON text.
    pub jwks: Option<String>,
    /// A file with such a set.
    pub jwks_file: Option<PathBuf>,
    /// PEM files with one public key each (`PUBLIC KEY`), which have no `kid`.
    pub public_key_files: Vec<PathBuf>,
    /// Accepted audiences; `*` accepts any, and so does an empty list, but with a warning.
    pub audiences: Vec<String>,
    /// Claims that may hold the audience; the first one present counts. Default `aud`.
    pub audience_claims: Option<Vec<String>>,
    /// Accepted signature algorithms. Default all that there are.
    pub algorithms: Option<Vec<TokenAlgorithm>>,
    /// Where the roles are: a claim name, or a path with dots. Default `realm_access.roles`.
    pub roles_claim: Option<OneOrMany>,
    /// Where the scopes are. Default `scope`, `scp`.
    pub scopes_claim: Option<OneOrMany>,
    /// Where the subject is. Default `sub`.
    pub subject_claim: Option<String>,
    /// What its roles, subjects and clients may do here, instead of the mappings in
    /// `authorization`. Optional for the only provider, required of each where there are several:
    /// a subject of one provider may be somebody else at another.
    pub mappings: Option<Mappings>,
}

/// What the names in the tokens of one provider may do here. Default nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mappings {
    /// Role of a token to built-in roles.
    pub roles: BTreeMap<String, Vec<String>>,
    /// Subject of a token to built-in roles.
    pub subjects: BTreeMap<String, Vec<String>>,
    /// `azp` or `client_id` of a token to built-in roles.
    pub clients: BTreeMap<String, Vec<String>>,
}

/// One text or a list of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// A single text.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl Default for OneOrMany {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl OneOrMany {
    /// The texts as a list.
    pub fn to_vec(&self) -> Vec<String> {
        match self {
            Self::One(text) => vec![text.clone()],
            Self::Many(texts) => texts.clone(),
        }
    }
}

/// Signature algorithms of RFC 7518 and RFC 8037 that tokens may use. `none` and the HMAC family
/// do not exist here, so no list can let them in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of RFC 7518")]
pub enum TokenAlgorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

impl TokenAlgorithm {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::EdDSA,
    ];

    /// The value of `alg`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
        }
    }

    /// The algorithm of this name, which is case-sensitive.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }
}

/// What roles, subjects and clients of the only identity provider may do here; where there are
/// several, each has [`mappings`](ProviderConfig::mappings) of its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct AuthorizationConfig {
    /// Role of a token to built-in roles. Default: `pki-admin` is `admin`. A role of another
    /// issuer that is not mapped grants nothing, not even when it is called like a built-in one.
    pub role_mappings: BTreeMap<String, Vec<String>>,
    /// Subject of a token to built-in roles.
    pub subject_mappings: BTreeMap<String, Vec<String>>,
    /// `azp` or `client_id` of a token to built-in roles.
    pub client_mappings: BTreeMap<String, Vec<String>>,
    /// A scope with this prefix grants the permission behind it. Default `lamassu:`.
    pub scope_prefix: String,
}

impl Default for AuthorizationConfig {
    fn default() -> Self {
        Self {
            role_mappings: BTreeMap::from([("pki-admin".to_owned(), vec!["admin".to_owned()])]),
            subject_mappings: BTreeMap::new(),
            client_mappings: BTreeMap::new(),
            scope_prefix: "lamassu:".to_owned(),
        }
    }
}

/// The name under which the local issuer appears in logs and metrics.
pub(crate) const LOCAL_PROVIDER: &str = "local";
