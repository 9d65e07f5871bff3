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

/// Characters of a refused name that are shown.
const MAX_SHOWN: usize = 64;

/// Longest name, in octets.
const MAX_LEN: usize = 2_048;

/// Why a text is no name of the form that it shall have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlternativeNameError {
    /// It has another syntax.
    #[error("{0:?} is no IP address")]
    IpAddress(String),
    /// It is empty, too long, or has characters that such names cannot have (RFC 5280 §4.2.1.6).
    #[error("{value:?} is no alternative name of type {form}")]
    Text {
        /// Of which type it is to be.
        form: SanType,
        /// The text.
        value: String,
    },
    /// A text does not say everything about such a name.
    #[error("alternative names of type {0} are in requests only")]
    Form(SanType),
}

impl AlternativeName {
    /// The name as it is in certificates. Whether the profile allows it is looked at later, as for names of
    /// requests; what can be no such name is refused here.
    ///
    /// # Errors
    ///
    /// [`AlternativeNameError`].
    pub fn to_general_name(&self) -> Result<GeneralName, AlternativeNameError> {
        let text = || self.value.clone();
        let checked = |has_parts: bool| {
            let is_graphic = self.value.bytes().all(|byte| byte.is_ascii_graphic());
            if is_graphic && has_parts && (1..=MAX_LEN).contains(&self.value.len()) {
                return Ok(text());
            }
            let form = self.san_type;
            let value = self.value.chars().take(MAX_SHOWN).collect();
            Err(AlternativeNameError::Text { form, value })
        };
        Ok(match self.san_type {
            SanType::Dns => GeneralName::Dns(checked(true)?),
            SanType::Email => GeneralName::Rfc822(checked(self.value.contains('@'))?),
            SanType::Uri => GeneralName::Uri(checked(self.value.contains(':'))?),
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
