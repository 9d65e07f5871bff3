//! Tokens of the installation's own issuer, whose key all its processes and commands share.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use lamassu_auth::LocalIssuer;
use lamassu_client::{CredentialsError, MintToken};
use lamassu_core::clock::SharedClock;
use lamassu_core::permission::Role;
use secrecy::SecretString;
use time::{Duration, OffsetDateTime};

/// How long a token is valid.
const TOKEN_TTL: Duration = Duration::minutes(15);

/// How long before its end a token is replaced.
const TOKEN_MARGIN: Duration = Duration::minutes(5);

/// Mints a token when there is none, or its end is near.
#[derive(Debug)]
pub(crate) struct OwnTokens {
    issuer: Arc<LocalIssuer>,
    clock: SharedClock,
    subject: String,
    role: Role,
    current: Mutex<Option<(SecretString, OffsetDateTime)>>,
}

impl OwnTokens {
    pub(crate) fn new(
        issuer: &Arc<LocalIssuer>,
        clock: &SharedClock,
        subject: impl Into<String>,
        role: Role,
    ) -> Self {
        Self {
            issuer: Arc::clone(issuer),
            clock: Arc::clone(clock),
            subject: subject.into(),
            role,
            current: Mutex::new(None),
        }
    }
}

#[async_trait]
impl MintToken for OwnTokens {
    async fn service_token(&self) -> Result<SecretString, CredentialsError> {
        let now = self.clock.now();
        let kept = {
            let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            current.clone().filter(|(_, until)| now < *until)
        };
        if let Some((token, _)) = kept {
            return Ok(token);
        }
        let minted = self
            .issuer
            .mint(&self.subject, &[self.role], TOKEN_TTL)
            .await?;
        let token = minted.token;
        let until = now + (TOKEN_TTL - TOKEN_MARGIN);
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        *current = Some((token.clone(), until));
        Ok(token)
    }

    fn refused(&self) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        *current = None;
    }
}
