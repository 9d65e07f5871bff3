//! The secrets of a DMS, apart from its settings.

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

/// The secrets of a DMS: of the webhook of enrollment, and of that of re-enrollment.
#[derive(Clone, Debug, Default)]
pub(crate) struct DmsSecrets {
    pub(crate) enrollment: WebhookSecrets,
    pub(crate) reenrollment: WebhookSecrets,
}

/// What a webhook is authenticated to with; empty where there is nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct WebhookSecrets {
    client_secret: SecretString,
    api_key: SecretString,
    mtls_key: SecretString,
}

/// As texts, to be sealed.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SecretsRow {
    enrollment: WebhookRow,
    reenrollment: WebhookRow,
}

#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct WebhookRow {
    #[serde(skip_serializing_if = "String::is_empty")]
    client_secret: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    api_key: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    mtls_key: String,
}

impl SecretsRow {
    /// Whether there is no secret.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl WebhookSecrets {
    pub(crate) fn new(client_secret: String, api_key: String, mtls_key: String) -> Self {
        Self {
            client_secret: client_secret.into(),
            api_key: api_key.into(),
            mtls_key: mtls_key.into(),
        }
    }

    /// For `jwt`.
    pub(crate) fn client_secret(&self) -> &str {
        self.client_secret.expose_secret()
    }

    /// For `apikey`.
    pub(crate) fn api_key(&self) -> &str {
        self.api_key.expose_secret()
    }

    /// For `mtls`.
    pub(crate) fn mtls_key(&self) -> &str {
        self.mtls_key.expose_secret()
    }

    fn to_row(&self) -> WebhookRow {
        WebhookRow {
            client_secret: self.client_secret().to_owned(),
            api_key: self.api_key().to_owned(),
            mtls_key: self.mtls_key().to_owned(),
        }
    }
}

/// Both sides are of the database: no stranger can time this comparison.
impl PartialEq for WebhookSecrets {
    fn eq(&self, other: &Self) -> bool {
        self.client_secret() == other.client_secret()
            && self.api_key() == other.api_key()
            && self.mtls_key() == other.mtls_key()
    }
}

impl From<WebhookRow> for WebhookSecrets {
    fn from(row: WebhookRow) -> Self {
        Self::new(row.client_secret, row.api_key, row.mtls_key)
    }
}

impl From<SecretsRow> for DmsSecrets {
    fn from(row: SecretsRow) -> Self {
        Self {
            enrollment: row.enrollment.into(),
            reenrollment: row.reenrollment.into(),
        }
    }
}

impl From<&DmsSecrets> for SecretsRow {
    fn from(secrets: &DmsSecrets) -> Self {
        Self {
            enrollment: secrets.enrollment.to_row(),
            reenrollment: secrets.reenrollment.to_row(),
        }
    }
}
