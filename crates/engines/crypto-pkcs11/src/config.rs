//! Configuration of the engine, and its PIN.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use lamassu_core::duration::WireDuration;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use zeroize::Zeroizing;

use crate::error::ConnectError;

/// Most sessions that one engine opens.
const MAX_SESSIONS: u16 = 64;

/// Options of an engine of type `pkcs11`. Exactly one of the three forms of the PIN is given.
/// Unknown members are refused.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pkcs11Config {
    /// Id of the engine.
    pub id: String,
    /// The module of the token's vendor, a shared library.
    pub module_path: PathBuf,
    /// Label of the token.
    pub token: String,
    /// Serial number of the token, where several have the same label. Default: any.
    #[serde(default)]
    pub token_serial: Option<String>,
    /// The user's PIN. Default: none.
    #[serde(default, deserialize_with = "pin")]
    pub pin: Option<SecretString>,
    /// File that holds the PIN; a line end behind it is not part of it. Default: none.
    #[serde(default)]
    pub pin_file: Option<PathBuf>,
    /// Name of the environment variable that holds the PIN. Default: none.
    #[serde(default)]
    pub pin_env: Option<String>,
    /// How many sessions are kept open: so many calls run in the token at a time. Default: 4.
    #[serde(default = "four")]
    pub sessions: u16,
    /// How long the token may take for one call, waiting for a free session included; making an RSA
    /// key may take five minutes. Default: `10s`.
    #[serde(default = "ten_seconds")]
    pub call_timeout: WireDuration,
    /// What the module wants to find around it.
    #[serde(default)]
    pub module_extra_options: ModuleExtraOptions,
    /// Free members, shown in the engine's description. Default: none.
    #[serde(default)]
    pub metadata: serde_json::Map<String, serde_json::Value>,
}

/// What a module wants to find around it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModuleExtraOptions {
    /// Environment variables that the process must have before the module is loaded. The engine
    /// does not set them: whoever starts the process does.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

impl Pkcs11Config {
    /// Checks what can be checked without reading or opening anything.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], one sentence.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.module_path.as_os_str().is_empty() {
            return Err(ConfigError::NoModule);
        }
        if self.token.is_empty() {
            return Err(ConfigError::NoToken);
        }
        if !(1..=MAX_SESSIONS).contains(&self.sessions) {
            return Err(ConfigError::Sessions);
        }
        if self.call_timeout.is_zero() || self.call_timeout.is_negative() {
            return Err(ConfigError::CallTimeout);
        }
        let n_pins = usize::from(self.pin.is_some())
            + usize::from(self.pin_file.is_some())
            + usize::from(self.pin_env.is_some());
        if n_pins != 1 {
            return Err(ConfigError::Pins);
        }
        if let Some(pin) = &self.pin
            && pin.expose_secret().is_empty()
        {
            return Err(ConfigError::EmptyPin);
        }
        let is_name = |name: &String| !name.is_empty() && !name.contains(['=', '\0']);
        let mut names = self.module_extra_options.env.keys().chain(&self.pin_env);
        match names.find(|name| !is_name(name)) {
            Some(name) => Err(ConfigError::VariableName(name.clone())),
            None => Ok(()),
        }
    }

    /// The PIN, from where it is. `environment` gives the value of a variable.
    pub(crate) fn read_pin(
        &self,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<SecretString, ConnectError> {
        if let Some(pin) = &self.pin {
            return Ok(pin.clone());
        }
        let pin = if let Some(path) = &self.pin_file {
            let text = std::fs::read_to_string(path).map(Zeroizing::new);
            let text = text.map_err(|cause| ConnectError::PinFile(path.clone(), cause))?;
            SecretString::from(text.trim_end_matches(['\r', '\n']))
        } else {
            let name = self.pin_env.as_deref().unwrap_or_default();
            let value = environment(name);
            SecretString::from(value.ok_or_else(|| ConnectError::PinVariable(name.to_owned()))?)
        };
        if pin.expose_secret().is_empty() {
            return Err(ConfigError::EmptyPin.into());
        }
        Ok(pin)
    }

    pub(crate) fn call_timeout(&self) -> Duration {
        time::Duration::from(self.call_timeout)
            .try_into()
            .unwrap_or_default()
    }
}

const fn four() -> u16 {
    4
}

fn ten_seconds() -> WireDuration {
    WireDuration::from_secs(10)
}

/// A PIN is a text. What stands there instead is not repeated in the refusal: it is the PIN.
fn pin<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    match serde_json::Value::deserialize(deserializer) {
        Ok(serde_json::Value::Null) => Ok(None),
        Ok(serde_json::Value::String(pin)) => Ok(Some(SecretString::from(pin))),
        Ok(_) | Err(_) => Err(D::Error::custom("the pin is no text: write it in quotes")),
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No module is named.
    #[error("module_path is empty")]
    NoModule,
    /// No token is named.
    #[error("token is empty")]
    NoToken,
    /// None or several forms of the PIN.
    #[error("exactly one of pin, pin_file and pin_env must be given")]
    Pins,
    /// The PIN is empty.
    #[error("the pin is empty")]
    EmptyPin,
    /// The number of sessions is out of range.
    #[error("sessions must be 1 to {MAX_SESSIONS}")]
    Sessions,
    /// No time for a call.
    #[error("call_timeout must be positive")]
    CallTimeout,
    /// No environment variable can have this name.
    #[error("{0:?} is no name of an environment variable")]
    VariableName(String),
}
