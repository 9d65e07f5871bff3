//! The authenticator of a process.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::request::Parts;
use lamassu_core::caller::{Caller, ClientCertificateChain, Principal};
use lamassu_core::clock::SharedClock;
use lamassu_core::permission::Permission;
use lamassu_db::{AuditRecord, Db, RefusalLog};
use lamassu_http::{AuthRefusal, Authenticator, Authority, Identity, PeerAddress, RequestContext};
use lamassu_x509::Certificate;
use moka::sync::Cache;
use tracing::{info, warn};

use crate::api_key::ApiKeys;
use crate::bearer::bearer_token;
use crate::certificate::{Certificates, ClientCaError};
use crate::config::{AuthConfig, ConfigError, Mode, NeedsToken};
use crate::issuer::{IssuerError, LocalIssuer};
use crate::metrics;
use crate::provider::{Provider, ProviderError};
use crate::refusal::Refusal;
use crate::token::UnverifiedToken;
use crate::verifier::{Hearsay, Refused, Verifier};

/// How many refusals are stored in the audit log per minute.
const AUDITED_PER_MINUTE: u32 = 120;
/// How many addresses the limit of the failure log tells apart.
const MAX_LOGGED_ADDRESSES: u64 = 10_000;
/// Refusals of one address are logged at most so often.
const LOG_INTERVAL: Duration = Duration::from_secs(1);
/// Longest path that goes into an audit record, in characters.
const MAX_AUDITED_PATH: usize = 256;

/// Why authentication cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The configuration is wrong.
    #[error("authentication is misconfigured")]
    Config(#[from] ConfigError),
    /// A configured provider cannot be used.
    #[error("an identity provider cannot be used")]
    Provider(#[from] ProviderError),
    /// The CAs of client certificates cannot be read.
    #[error("client certificates cannot be verified")]
    ClientCa(#[from] ClientCaError),
    /// The local issuer's keys cannot be read or made.
    #[error("the local token issuer cannot start")]
    Issuer(#[from] IssuerError),
}

/// Authenticates the requests of a process.
#[derive(Debug)]
pub struct Auth {
    mode: Mode,
    realm: String,
    frontend_client_id: String,
    issuer: Arc<LocalIssuer>,
    providers: Vec<Arc<Provider>>,
    verifier: Verifier,
    api_keys: ApiKeys,
    certificates: Option<Certificates>,
    refusals: RefusalLog,
    clock: SharedClock,
    lately_logged: Cache<IpAddr, ()>,
}

impl Auth {
    /// Validates the configuration, opens the local issuer (which makes its first key) and reads
    /// the key files of the configured providers.
    ///
    /// # Errors
    /// [`AuthError`]; nothing is served then.
    pub async fn open(
        config: &AuthConfig,
        db: &Db,
        clock: SharedClock,
    ) -> Result<Arc<Self>, AuthError> {
        config.validate()?;
        let issuer = Arc::new(LocalIssuer::open(db, Arc::clone(&clock)).await?);
        let mut providers = vec![Arc::new(LocalIssuer::provider(&issuer))];
        for provider in &config.jwt.providers {
            providers.push(Arc::new(Provider::from_config(provider)?));
        }
        for provider in config.providers_without_audience() {
            warn!(
                provider,
                "tokens of this provider are accepted whatever their audience"
            );
        }
        match config.mode {
            Mode::Enforce => {}
            Mode::Passthrough | Mode::Off => {
                warn!(mode = config.mode.name(), "authentication is not enforced");
            }
        }
        Ok(Arc::new(Self {
            mode: config.mode,
            realm: config.realm.clone(),
            frontend_client_id: config.frontend_client_id.clone(),
            verifier: Verifier::new(
                providers.clone(),
                &config.jwt,
                &config.authorization,
                Arc::clone(&clock),
            ),
            api_keys: ApiKeys::new(&config.api_keys),
            certificates: Certificates::open(&config.client_certificate)?,
            issuer,
            providers,
            refusals: RefusalLog::new(db, AUDITED_PER_MINUTE),
            clock,
            lately_logged: Cache::builder()
                .max_capacity(MAX_LOGGED_ADDRESSES)
                .time_to_live(LOG_INTERVAL)
                .build(),
        }))
    }

    /// The local issuer, for minting tokens and rotating keys.
    pub fn issuer(&self) -> &Arc<LocalIssuer> {
        &self.issuer
    }

    /// Whether credentials are verified.
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    pub(crate) fn frontend_client_id(&self) -> &str {
        &self.frontend_client_id
    }

    pub(crate) fn providers(&self) -> &[Arc<Provider>] {
        &self.providers
    }

    /// One credential decides: a token where there is one, else a fixed key, else a certificate.
    async fn verify(&self, request: &Parts) -> Result<Identity, Refused> {
        let now = self.clock.now();
        let (needed, sufficient) = match &self.certificates {
            Some(certificates) => match certificates.needs_token {
                NeedsToken::Yes => (Some(certificates), None),
                NeedsToken::No => (None, Some(certificates)),
            },
            None => (None, None),
        };
        if let Some(certificates) = needed {
            certificates.demand(request, now)?;
        }
        match bearer_token(&request.headers) {
            Ok(token) => return self.verifier.verify(token).await,
            Err(Refusal::Missing) => {}
            Err(refusal) => return Err(refusal.into()),
        }
        if let Some(identity) = self.api_keys.identity(&request.headers)? {
            return Ok(identity);
        }
        let identity = match sufficient {
            Some(certificates) => certificates.identity(request, now)?,
            None => None,
        };
        identity.ok_or_else(|| Refusal::Missing.into())
    }

    /// Stores the refusal of a credential; a request without one refused nothing of anybody's.
    async fn audit(
        &self,
        request: &Parts,
        principal: Principal,
        operation: &'static str,
        why: String,
    ) {
        let context = RequestContext::of(request);
        let caller = Caller {
            principal,
            also: None,
            source: None,
            request_id: context.request_id,
            trace: context.trace,
        };
        let path: String = request.uri.path().chars().take(MAX_AUDITED_PATH).collect();
        let resource = format!("{} {path}", request.method);
        let record = AuditRecord::done(&caller, operation, resource, self.clock.now()).refused(why);
        if let Err(error) = self.refusals.record(record).await {
            warn!(
                error = &error as &dyn std::error::Error,
                "refusal not audited"
            );
        }
    }

    fn log(&self, request: &Parts, refusal: &Refusal, hearsay: &Hearsay) {
        let peer = request
            .extensions
            .get::<PeerAddress>()
            .map(|peer| peer.0.ip());
        if let Some(peer) = peer {
            let entry = self.lately_logged.entry(peer).or_insert(());
            if !entry.is_fresh() {
                return;
            }
        }
        info!(
            code = refusal.code(),
            provider = hearsay.provider.as_deref(),
            kid = hearsay.key_id.as_deref(),
            iss = hearsay.issuer.as_deref(),
            sub = hearsay.subject.as_deref(),
            off_by_seconds = hearsay.off_by_seconds,
            peer = peer.map(tracing::field::display),
            path = request.uri.path(),
            "credential refused"
        );
    }
}

#[async_trait]
impl Authenticator for Auth {
    async fn authenticate(&self, request: &Parts) -> Result<Identity, AuthRefusal> {
        match self.mode {
            Mode::Off => return Ok(unauthenticated(Principal::Anonymous)),
            Mode::Passthrough => return Ok(unauthenticated(hinted_principal(request))),
            Mode::Enforce => {}
        }
        let Refused { refusal, hearsay } = match self.verify(request).await {
            Ok(identity) => {
                metrics::admitted(identity.principal.auth_type().unwrap_or_default());
                return Ok(identity);
            }
            Err(refused) => refused,
        };
        metrics::refused(refusal.credential(), refusal.code());
        if refusal != Refusal::Missing {
            self.log(request, &refusal, &hearsay);
            let why = refusal.to_string();
            self.audit(request, Principal::Anonymous, "auth.authenticate", why)
                .await;
        }
        Err(refusal.to_reply(&self.realm))
    }

    async fn refuse(
        &self,
        request: &Parts,
        identity: &Identity,
        permission: Permission,
    ) -> AuthRefusal {
        let refusal = Refusal::Permission(permission);
        let kind = identity.principal.auth_type().unwrap_or_default();
        metrics::refused(kind, refusal.code());
        let hearsay = Hearsay {
            subject: identity.principal.auth_id().map(str::to_owned),
            ..Hearsay::default()
        };
        self.log(request, &refusal, &hearsay);
        let why = format!("{refusal}: {permission}");
        self.audit(request, identity.principal.clone(), "auth.authorize", why)
            .await;
        refusal.to_reply(&self.realm)
    }

    fn enforces(&self) -> bool {
        self.mode == Mode::Enforce
    }
}

/// Where nobody is authenticated, everybody may do everything.
fn unauthenticated(principal: Principal) -> Identity {
    Identity {
        principal,
        authority: Authority::Everything,
        expires_at: None,
    }
}

/// Who the caller says it is, for events only. A certificate goes before a token; what cannot be
/// decoded says nothing.
fn hinted_principal(request: &Parts) -> Principal {
    let certificate = request
        .extensions
        .get::<ClientCertificateChain>()
        .and_then(ClientCertificateChain::end_entity)
        .and_then(|der| Certificate::from_der(der.clone()).ok());
    if let Some(certificate) = certificate {
        let common_name = certificate.subject().common_name().unwrap_or_default();
        return Principal::certificate(&common_name);
    }
    let subject = bearer_token(&request.headers)
        .ok()
        .and_then(UnverifiedToken::parse)
        .and_then(|token| token.claims.text("sub").map(str::to_owned));
    match subject {
        Some(subject) => Principal::Token {
            subject,
            provider: Arc::from("unverified"),
        },
        None => Principal::Anonymous,
    }
}
