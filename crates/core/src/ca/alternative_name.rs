//! Subject alternative names as clients write them.

use std::net::IpAddr;

use lamassu_x509::GeneralName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SanType;

/// One name that a certificate shall have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlternativeName {
    /// Its form: `DNS`, `IP`, `Email` or `URI`.
    #[serde(rename = "type")]
    pub san_type: SanType,
    /// The name.
    #[schemars(example = &"gateway-7.example.com")]
    pub value: String,
}

/// Why a text is no name of the form that it shall have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlternativeNameError {
    /// It has another syntax.
    #[error("{0:?} is no IP address")]
    IpAddress(String),
    /// A text does not say everything about such a name.
    #[error("alternative names of type {0} are in requests only")]
    Form(SanType),
}

impl AlternativeName {
    /// The name as it is in certificates. Whether it may be issued is looked at later, as for names of
    /// requests.
    ///
    /// # Errors
    ///
    /// [`AlternativeNameError`].
    pub fn to_general_name(&self) -> Result<GeneralName, AlternativeNameError> {
        let text = || self.value.clone();
        Ok(match self.san_type {
            SanType::Dns => GeneralName::Dns(text()),
            SanType::Email => GeneralName::Rfc822(text()),
            SanType::Uri => GeneralName::Uri(text()),
            SanType::Ip => {
                let address = self.value.parse::<IpAddr>();
                GeneralName::Ip(address.map_err(|_| AlternativeNameError::IpAddress(text()))?)
            }
            form @ (SanType::DirectoryName | SanType::Other) => {
                return Err(AlternativeNameError::Form(form));
            }
        })
    }

    /// A name of a certificate; `None` where a text does not say everything about it.
    pub fn of(name: &GeneralName) -> Option<Self> {
        let (san_type, value) = match name {
            GeneralName::Dns(text) => (SanType::Dns, text.clone()),
            GeneralName::Rfc822(text) => (SanType::Email, text.clone()),
            GeneralName::Uri(text) => (SanType::Uri, text.clone()),
            GeneralName::Ip(address) => (SanType::Ip, address.to_string()),
            GeneralName::Directory(_) | GeneralName::Other(_) => return None,
        };
        Some(Self { san_type, value })
    }
}
