//! The settings of a webhook, made whole: two spellings become one, and secrets go elsewhere.
//!
//! Secrets are kept apart from the settings, in a column that no filter of the list reads: whoever may
//! list DMSs could otherwise find them out letter by letter. What is shown and told holds
//! [`REDACTED`] in their place; sent back, that stands for what is stored, but only while it goes to
//! where it went before: whoever may change a DMS must not learn its secrets by having them sent to
//! a server of their own.

use http::Uri;
use lamassu_core::dms::DmsError;
use lamassu_core::dms::webhook::{
    FlatApiKey, FlatOidc, REDACTED, WebhookConfig, WebhookOidc, WebhookSettings,
};

use crate::secrets::WebhookSecrets;

/// A webhook as it is stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored<'a> {
    pub(crate) settings: &'a WebhookSettings,
    pub(crate) secrets: &'a WebhookSecrets,
}

/// What is stored and shown of a webhook, and its secrets. `before` is what is stored of it; `others`
/// are further webhooks of the DMS that secrets may be taken from.
pub(crate) fn complete(
    sent: WebhookSettings,
    before: Option<Stored<'_>>,
    others: &[Stored<'_>],
) -> Result<(WebhookSettings, WebhookSecrets), DmsError> {
    let (name, url, method) = (sent.name.clone(), sent.url.clone(), sent.method.clone());
    check_url("external_webhook_settings.url", &url)?;
    let known = before.and_then(|before| before.settings.config.as_ref());
    let mut config = one_spelling(sent, known);
    check_url(
        "external_webhook_settings.config.oidc.well_known",
        &config.oidc.well_known,
    )?;
    let stored: Vec<Stored<'_>> = before.iter().chain(others).copied().collect();
    let secrets = take_secrets(&mut config, &url, &stored)?;
    Ok((both_spellings(name, url, method, config), secrets))
}

/// The two spellings become one. Clients know one or the other and write back what they read of the
/// other, so of each member the one that changed counts, the reference's first.
fn one_spelling(sent: WebhookSettings, known: Option<&WebhookConfig>) -> WebhookConfig {
    let WebhookSettings {
        config,
        log_level,
        auth_mode,
        validate_server_cert,
        api_key_auth,
        oidc_auth,
        ..
    } = sent;
    let is_flat = log_level.is_some()
        || auth_mode.is_some()
        || validate_server_cert.is_some()
        || api_key_auth.is_some()
        || oidc_auth.is_some();
    let base = known.cloned().unwrap_or_default();
    let mut config = config.unwrap_or_else(|| {
        if is_flat {
            base.clone()
        } else {
            WebhookConfig::default()
        }
    });
    config.ca_cert = std::mem::take(&mut config.ca_cert).or_stored(&base.ca_cert);
    // What only restates the word that was shown is no change: `NO_AUTH` stands for an empty mode, too.
    let auth_mode = auth_mode
        .filter(|word| word != to_flat(&base.auth_mode))
        .map(|word| from_flat(&word).to_owned());
    choose(&mut config.log_level, &base.log_level, log_level);
    choose(&mut config.auth_mode, &base.auth_mode, auth_mode);
    choose(
        &mut config.validate_server_cert,
        &base.validate_server_cert,
        validate_server_cert,
    );
    let key = api_key_auth.map(|FlatApiKey { key }| key);
    choose(&mut config.apikey.key, &base.apikey.key, key);
    let oidc = oidc_auth.map(|flat| WebhookOidc {
        client_id: flat.client_id,
        client_secret: flat.client_secret,
        well_known: flat.well_known_url,
    });
    choose(&mut config.oidc, &base.oidc, oidc);
    config
}

/// Takes the other spelling of a member where its own did not change.
fn choose<T: PartialEq>(member: &mut T, before: &T, other: Option<T>) {
    if member == before
        && let Some(other) = other
    {
        *member = other;
    }
}

fn both_spellings(
    name: String,
    url: String,
    method: String,
    config: WebhookConfig,
) -> WebhookSettings {
    WebhookSettings {
        name,
        url,
        method,
        log_level: Some(config.log_level.clone()),
        auth_mode: Some(to_flat(&config.auth_mode).to_owned()),
        validate_server_cert: Some(config.validate_server_cert),
        api_key_auth: Some(FlatApiKey {
            key: config.apikey.key.clone(),
        }),
        oidc_auth: Some(FlatOidc {
            client_id: config.oidc.client_id.clone(),
            client_secret: config.oidc.client_secret.clone(),
            well_known_url: config.oidc.well_known.clone(),
        }),
        config: Some(config),
    }
}

/// The reference's word for a dashboard's.
fn from_flat(word: &str) -> &str {
    match word {
        "NO_AUTH" | "NONE" => "noauth",
        "OIDC" => "jwt",
        "API_KEY" => "apikey",
        "MTLS" => "mtls",
        other => other,
    }
}

/// A dashboard's word for the reference's.
fn to_flat(word: &str) -> &str {
    match word {
        "jwt" => "OIDC",
        "apikey" => "API_KEY",
        "mtls" => "MTLS",
        _ => "NO_AUTH",
    }
}

/// Takes the secrets out of what was sent.
fn take_secrets(
    config: &mut WebhookConfig,
    url: &str,
    stored: &[Stored<'_>],
) -> Result<WebhookSecrets, DmsError> {
    let well_known = config.oidc.well_known.clone();
    let take = |field: &mut String, destination: &str, of: fn(Stored<'_>) -> (&str, &str)| {
        if field.as_str() != REDACTED {
            let sent = std::mem::take(field);
            if !sent.is_empty() {
                REDACTED.clone_into(field);
            }
            return Some(sent);
        }
        let mut known = stored.iter().map(|stored| of(*stored));
        let kept = known
            .find(|(secret, before)| !secret.is_empty() && origin(before) == origin(destination));
        kept.map(|(secret, _)| secret.to_owned())
    };
    let refused = |what: &str| {
        DmsError::Settings(format!(
            "{what} must be sent again: nothing is stored for where it would be sent to now"
        ))
    };
    let client_secret = take(&mut config.oidc.client_secret, &well_known, |stored| {
        let config = stored.settings.config.as_ref();
        let well_known = config.map_or("", |config| &config.oidc.well_known);
        (stored.secrets.client_secret(), well_known)
    });
    let api_key = take(&mut config.apikey.key, url, |stored| {
        (stored.secrets.api_key(), &stored.settings.url)
    });
    // A key for TLS proves something and is not sent, so it may go anywhere.
    let mtls_key = take(&mut config.mtls.key, "", |stored| {
        (stored.secrets.mtls_key(), "")
    });
    Ok(WebhookSecrets::new(
        client_secret.ok_or_else(|| refused("config.oidc.client_secret"))?,
        api_key.ok_or_else(|| refused("config.apikey.key"))?,
        mtls_key.ok_or_else(|| refused("config.mtls.key"))?,
    ))
}

/// Scheme, host and port of an address.
fn origin(url: &str) -> Option<(String, String)> {
    let uri: Uri = url.parse().ok()?;
    let part = |text: &str| text.to_ascii_lowercase();
    Some((part(uri.scheme_str()?), part(uri.authority()?.as_str())))
}

/// Refuses what cannot be called; nothing is fine while nobody is.
fn check_url(name: &str, url: &str) -> Result<(), DmsError> {
    let is_callable = |uri: &Uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
            && uri
                .authority()
                .is_some_and(|authority| !authority.as_str().contains('@'))
    };
    if url.is_empty() || url.parse().as_ref().is_ok_and(is_callable) {
        return Ok(());
    }
    Err(DmsError::Settings(format!(
        "{name} must be an address that begins with http:// or https:// and holds no user name"
    )))
}
