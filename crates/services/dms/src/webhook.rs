//! Asking the webhook of a DMS whether a device may have its certificate.
//!
//! Fail closed: only `{"authorized": true}` in an answer with a status of success lets a device
//! through. Each webhook has connections and a token of its own, kept until its settings change.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Method, Request};
use lamassu_client::{
    ApiKeyOptions, AuthMode, ClientConfig, JwtOptions, MtlsOptions, Outbound, OutboundAnswer,
    OutboundError, Protocol,
};
use lamassu_core::ca::EnrollmentMode;
use lamassu_core::dms::webhook::{WebhookConfig, WebhookSettings};
use lamassu_core::dms::{Dms, EstOrigin, WebhookRefusal};
use lamassu_core::duration::WireDuration;
use lamassu_core::ids::{DeviceId, DmsId};
use lamassu_core::json;
use lamassu_core::pem::CsrDer;
use moka::sync::Cache;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::config::EstConfig;
use crate::metrics;
use crate::secrets::WebhookSecrets;

/// How long a webhook may take whose settings do not say.
const TIMEOUT: WireDuration = WireDuration::from_secs(10);
/// Most webhooks whose connections are kept.
const MAX_HOOKS: u64 = 1_000;
/// Most calls of one webhook at once: a slow one must not take all places of the process.
const MAX_CALLS: usize = 64;
/// Longest answer that is read.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// The header of API keys where none is given.
const API_KEY_HEADER: &str = "X-API-Key";
/// Headers that hold credentials of the client.
const CREDENTIALS: [&str; 3] = ["Authorization", "Cookie", "Proxy-Authorization"];

/// The webhooks that were called lately.
#[derive(Debug)]
pub(crate) struct Hooks(Cache<(DmsId, &'static str), Arc<Hook>>);

/// A webhook and its connections.
#[derive(Debug)]
struct Hook {
    settings: WebhookSettings,
    secrets: WebhookSecrets,
    outbound: Outbound,
    calls: Semaphore,
}

/// What a webhook is asked.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    pub(crate) dms: &'a Dms,
    pub(crate) mode: EnrollmentMode,
    pub(crate) csr: &'a Bytes,
    pub(crate) device_id: &'a DeviceId,
    pub(crate) origin: &'a EstOrigin,
}

#[derive(Serialize)]
struct Body<'a> {
    csr: String,
    aps: &'a DmsId,
    device_cn: &'a DeviceId,
    http_request: HttpRequest<'a>,
}

#[derive(Serialize)]
struct HttpRequest<'a> {
    headers: serde_json::Map<String, serde_json::Value>,
    url: &'a str,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Verdict {
    authorized: bool,
}

impl Hooks {
    pub(crate) fn new() -> Self {
        Self(Cache::new(MAX_HOOKS))
    }

    /// Asks the webhook.
    ///
    /// # Errors
    /// [`WebhookRefusal`], unless it lets the device through.
    pub(crate) async fn ask(
        &self,
        config: &EstConfig,
        settings: &WebhookSettings,
        secrets: &WebhookSecrets,
        question: &Question<'_>,
    ) -> Result<(), WebhookRefusal> {
        let timeout = time::Duration::from(timeout_of(settings)).unsigned_abs();
        let asking = async {
            let request = request(config, settings, question)?;
            let hook = self.hook(config, settings, secrets, question)?;
            // The semaphore is never closed.
            let _place = hook.calls.acquire().await;
            let answer = hook.outbound.call(&request).await;
            verdict(answer, question.mode)
        };
        let asked = match tokio::time::timeout(timeout, asking).await {
            Ok(asked) => asked,
            Err(_elapsed) => Err(WebhookRefusal::TimedOut),
        };
        metrics::webhook(&asked);
        if let Err(refusal) = &asked {
            let (dms_id, webhook) = (&question.dms.id, &settings.name);
            tracing::info!(%dms_id, webhook, %refusal, "webhook did not let a device through");
        }
        asked
    }

    fn hook(
        &self,
        config: &EstConfig,
        settings: &WebhookSettings,
        secrets: &WebhookSecrets,
        question: &Question<'_>,
    ) -> Result<Arc<Hook>, WebhookRefusal> {
        let key = (question.dms.id.clone(), question.mode.name());
        if let Some(known) = self.0.get(&key)
            && known.settings == *settings
            && known.secrets == *secrets
        {
            return Ok(known);
        }
        let hook = Arc::new(Hook {
            outbound: outbound(config, settings, secrets)?,
            settings: settings.clone(),
            secrets: secrets.clone(),
            calls: Semaphore::new(MAX_CALLS),
        });
        self.0.insert(key, Arc::clone(&hook));
        Ok(hook)
    }
}

fn timeout_of(settings: &WebhookSettings) -> WireDuration {
    let timeout = settings.config.as_ref().map(|config| config.call_timeout);
    let timeout = timeout.filter(|timeout| !timeout.is_zero() && !timeout.is_negative());
    timeout.unwrap_or(TIMEOUT)
}

fn failed(reason: impl Into<String>) -> WebhookRefusal {
    WebhookRefusal::Failed(reason.into())
}

fn request(
    config: &EstConfig,
    settings: &WebhookSettings,
    question: &Question<'_>,
) -> Result<Request<Bytes>, WebhookRefusal> {
    let method = match settings.method.as_str() {
        "" | "POST" => Method::POST,
        "PUT" => Method::PUT,
        other => return Err(failed(format!("invalid method: {other}"))),
    };
    let headers =
        question.origin.headers.iter().filter(|(name, _)| {
            config.forward_authorization || !CREDENTIALS.contains(&name.as_str())
        });
    let headers = headers.map(|(name, value)| (name.clone(), value.clone().into()));
    let body = Body {
        csr: CsrDer::from_der(question.csr.clone()).to_wire(),
        aps: &question.dms.id,
        device_cn: question.device_id,
        http_request: HttpRequest {
            headers: headers.collect(),
            url: &question.origin.url,
        },
    };
    let body = serde_json::to_vec(&body).map_err(|error| failed(error.to_string()))?;
    Request::builder()
        .method(method)
        .uri(&settings.url)
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, "application/json")
        .body(Bytes::from(body))
        .map_err(|_| failed("url is no address"))
}

fn verdict(
    answer: Result<OutboundAnswer, OutboundError>,
    mode: EnrollmentMode,
) -> Result<(), WebhookRefusal> {
    let answer = answer.map_err(|error| {
        tracing::warn!(
            error = &error as &(dyn std::error::Error + 'static),
            "webhook could not be asked"
        );
        failed(error.to_string())
    })?;
    if !answer.status.is_success() {
        return Err(WebhookRefusal::Status(answer.status.as_u16()));
    }
    let read = json::from_slice::<Verdict>(&answer.body);
    let verdict = read.map_err(|_| {
        failed(r#"the answer is no JSON: {"authorized": true} lets a device through"#)
    })?;
    if verdict.authorized {
        Ok(())
    } else {
        Err(WebhookRefusal::Denied(mode))
    }
}

/// Connections as the settings say.
fn outbound(
    config: &EstConfig,
    settings: &WebhookSettings,
    secrets: &WebhookSecrets,
) -> Result<Outbound, WebhookRefusal> {
    let default = WebhookConfig::default();
    let hook = settings.config.as_ref().unwrap_or(&default);
    if !hook.validate_server_cert {
        tracing::warn!(webhook = %settings.name, "certificate of webhook is not verified");
    }
    let header = match hook.apikey.header.as_str() {
        "" => API_KEY_HEADER,
        header => header,
    };
    let timeout = timeout_of(settings);
    let client = ClientConfig {
        auth_mode: match hook.auth_mode.as_str() {
            "apikey" => AuthMode::Apikey,
            "jwt" => AuthMode::Jwt,
            "mtls" => AuthMode::Mtls,
            _ => AuthMode::Noauth,
        },
        jwt_options: JwtOptions {
            oidc_client_id: hook.oidc.client_id.clone(),
            oidc_client_secret: Some(secrets.client_secret().into()),
            oidc_well_known: hook.oidc.well_known.clone(),
            ..JwtOptions::default()
        },
        mtls_options: MtlsOptions {
            cert_file: hook.mtls.cert.clone(),
            key_file: secrets.mtls_key().into(),
        },
        apikey_options: ApiKeyOptions {
            key: Some(secrets.api_key().into()),
            key_file: None,
            header: header.to_owned(),
        },
        // `http` is a matter of the address alone; TLS settings are there for `https`.
        protocol: Protocol::Https,
        insecure_skip_verify: !hook.validate_server_cert,
        ca_cert_file: hook.ca_cert.value().map(PathBuf::from),
        timeout,
        connect_timeout: timeout,
        max_response_bytes: MAX_ANSWER_BYTES,
        addresses: config.webhook.addresses(),
        ..ClientConfig::default()
    };
    check_files(config, hook, secrets)?;
    Outbound::new(&client).map_err(|error| {
        tracing::warn!(
            webhook = %settings.name,
            error = &error as &(dyn std::error::Error + 'static),
            "webhook cannot be called"
        );
        failed("credentials or certificates in config cannot be used, see the log")
    })
}

/// Files of this machine are read only where the installation allows that.
fn check_files(
    config: &EstConfig,
    hook: &WebhookConfig,
    secrets: &WebhookSecrets,
) -> Result<(), WebhookRefusal> {
    let is_pem = |text: &str| text.contains("-----BEGIN ");
    let anchors = hook.ca_cert.value().is_none_or(|anchors| is_pem(anchors));
    let mtls = hook.auth_mode != "mtls" || (is_pem(&hook.mtls.cert) && is_pem(secrets.mtls_key()));
    if config.webhook.allow_files || (anchors && mtls) {
        Ok(())
    } else {
        Err(failed(
            "certificates and keys must be PEM texts, files are not read on this installation",
        ))
    }
}
