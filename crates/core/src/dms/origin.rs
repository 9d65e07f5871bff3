//! The HTTP request behind an EST request, as far as policies of DMSs look at it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The HTTP request behind an EST request.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EstOrigin {
    /// Path and query as they came.
    pub url: String,
    /// The first value of every header but `Host`, by its name as in `User-Agent`. Credentials are
    /// among them.
    pub headers: BTreeMap<String, String>,
    /// The client's address, if the listener knows it.
    pub address: Option<IpAddr>,
    /// What the bearer token says, if one was presented.
    pub token: Option<EstToken>,
}

/// A bearer token beside an EST request, verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EstToken {
    /// Whose it is; absent when it is not valid, which is all that is known of it then.
    pub holder: Option<TokenHolder>,
}

/// Whose token it is, and what it allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenHolder {
    /// Claim `sub`.
    pub subject: String,
    /// Who verified it.
    pub provider: String,
    /// Permission `est:enroll`.
    pub may_enroll: bool,
    /// Permission `est:reenroll`.
    pub may_reenroll: bool,
}

impl EstOrigin {
    /// The value of this header, named as in `User-Agent`.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// Headers hold credentials, so only their names are printed.
impl fmt::Debug for EstOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EstOrigin")
            .field("url", &self.url)
            .field("headers", &self.headers.keys())
            .field("address", &self.address)
            .field("token", &self.token)
            .finish()
    }
}
