//! The token of a login, renewed when it ends or is refused.

use async_trait::async_trait;
use lamassu_client::{Authorization, Credentials, CredentialsError, LoginError, LoginProvider};
use tokio::sync::Mutex;

use super::kept::{KeptLogin, KeptLogins};

/// What a login brought, as credentials of a client.
#[derive(Debug)]
pub(in crate::commands) struct LoggedIn {
    logins: KeptLogins,
    place: String,
    current: Mutex<KeptLogin>,
    /// The token that the server refused, however long it lasts.
    refused: std::sync::Mutex<Option<Authorization>>,
}

impl LoggedIn {
    /// The login to this server, if there is one.
    ///
    /// # Errors
    /// The file with the logins cannot be read.
    pub(in crate::commands) fn find(place: &str) -> anyhow::Result<Option<Self>> {
        let Ok(logins) = KeptLogins::at_home() else {
            return Ok(None);
        };
        let Some(current) = logins.find(place)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            logins,
            place: place.to_owned(),
            current: Mutex::new(current),
            refused: std::sync::Mutex::default(),
        }))
    }

    /// The header of a login, unless its token is at its end or was refused.
    fn presentable(&self, login: &KeptLogin) -> Result<Option<Authorization>, CredentialsError> {
        if !login.is_good() {
            return Ok(None);
        }
        let authorization = Authorization::bearer(login.token())?;
        let refused = self.refused.lock();
        let refused = refused.unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok(Some(authorization).filter(|one| refused.as_ref() != Some(one)))
    }

    /// Another command may have renewed the login meanwhile: a refresh token is good once.
    async fn renew(&self, current: &mut KeptLogin) -> Result<Authorization, CredentialsError> {
        let logins = self.logins.clone();
        let held = tokio::task::spawn_blocking(move || logins.hold()).await??;
        if let Some(kept) = held.find(&self.place)? {
            *current = kept;
            if let Some(authorization) = self.presentable(current)? {
                return Ok(authorization);
            }
        }
        let over = || {
            let place = &self.place;
            format!("the login to {place} is over: run `lamassu login --url {place}`")
        };
        let refresh_token = current.refresh_token().ok_or_else(over)?;
        let provider = LoginProvider::discover(current.client()).await?;
        let tokens = match provider.renewed(refresh_token).await {
            Ok(tokens) => tokens,
            Err(refusal @ LoginError::Refused { .. }) => {
                return Err(anyhow::Error::new(refusal).context(over()).into());
            }
            Err(error) => return Err(error.into()),
        };
        *current = current.renewed(tokens);
        held.keep(&self.place, current.clone())?;
        Authorization::bearer(current.token())
    }
}

#[async_trait]
impl Credentials for LoggedIn {
    async fn authorization(&self) -> Result<Option<Authorization>, CredentialsError> {
        let mut current = self.current.lock().await;
        if let Some(authorization) = self.presentable(&current)? {
            return Ok(Some(authorization));
        }
        self.renew(&mut current).await.map(Some)
    }

    fn refused(&self, refused: &Authorization) {
        let last = self.refused.lock();
        *last.unwrap_or_else(std::sync::PoisonError::into_inner) = Some(refused.clone());
    }
}
