//! `lamassu login`: signs a person in at the identity provider of another server, and `lamassu
//! logout`. What a login brings is kept in a file ([`kept`]); the commands that talk to that server
//! present it from then on and renew it ([`renewing`]).

mod browser;
mod kept;
mod renewing;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Error, Result, bail, ensure};
use clap::Args;
use lamassu_client::{
    ClientConfig, LoginClient, LoginProvider, LoginTokens, NoAuth, Peer, ProcessClient, Protocol,
};
use lamassu_core::error::StorageFailure;
use lamassu_core::host::is_this_machine;
use lamassu_db::system_caller;

pub(super) use self::renewing::LoggedIn;

use self::kept::{KeptLogin, KeptLogins};
use super::failure::no_answer;
use super::output::note;
use crate::address;
use crate::cli::Installation;
use crate::config::Config;
use crate::whereabouts::trust_anchor;

/// Sign in at the identity provider of a server.
#[derive(Clone, Debug, Args)]
pub(crate) struct Login {
    /// Configuration file of the installation on this machine.
    #[arg(long, value_name = "FILE", env = "LAMASSU_CONFIG_FILE")]
    config: Option<PathBuf>,
    /// Data directory of the installation on this machine; ~/.local/share/lamassu when not said.
    #[arg(long, value_name = "DIR", env = "LAMASSU_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// The server, for example https://pki.example:8443.
    #[arg(long, value_name = "URL", env = "LAMASSU_URL")]
    url: String,
    /// Show a code to type in anywhere instead of opening a browser on this machine.
    #[arg(long)]
    device: bool,
    /// Issuer URL of the identity provider; the one that the server names when not said.
    #[arg(long, value_name = "URL")]
    provider: Option<String>,
    /// Id of this program at the provider; the one that the server names when not said.
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// What to ask for, separated by commas.
    #[arg(
        long,
        value_name = "a,b,…",
        value_delimiter = ',',
        default_value = "openid,offline_access"
    )]
    scopes: Vec<String>,
    /// Whom the token is for (RFC 8707), where the provider wants to be told.
    #[arg(long, value_name = "URI")]
    resource: Option<String>,
    /// PEM file that vouches for the server's certificate, beside what this machine trusts; that of the
    /// installation on this machine when not said.
    #[arg(long, value_name = "FILE", env = "LAMASSU_CA_FILE")]
    ca_file: Option<PathBuf>,
    /// The same for the provider's certificate.
    #[arg(long, value_name = "FILE")]
    provider_ca_file: Option<PathBuf>,
}

/// Forget a login.
#[derive(Clone, Debug, Args)]
pub(crate) struct Logout {
    /// The server.
    #[arg(long, value_name = "URL", env = "LAMASSU_URL")]
    url: String,
}

/// Signs in and keeps what that brings.
///
/// # Errors
/// One sentence.
pub(crate) async fn login(arguments: Login) -> Result<()> {
    let server = address::at(&arguments.url, arguments.anchor()?)?;
    ensure!(
        server.protocol == Protocol::Https || is_this_machine(&server.hostname),
        "{} would get the token in clear: name it by https://",
        address::origin(&server)
    );
    let client = client(&arguments, &server).await?;
    let provider = LoginProvider::discover(client.clone()).await?;
    let tokens = if arguments.device {
        by_code(&provider).await?
    } else {
        browser::sign_in(&provider).await?
    };
    let place = address::origin(&server);
    // Commands look for the installation's own file themselves.
    let login = KeptLogin::new(client, tokens, absolute(arguments.ca_file.as_deref())?);
    let is_renewed = login.can_renew();
    let path = KeptLogins::at_home()?.keep(&place, login)?;
    let how_long = if is_renewed {
        "renewed by itself"
    } else {
        "not renewed: the provider gave no refresh token"
    };
    note(&format!(
        "Logged in to {place} ({how_long}); kept in {}",
        path.display()
    ));
    Ok(())
}

impl Login {
    /// The file that vouches for the server beside what this machine trusts.
    fn anchor(&self) -> Result<Option<PathBuf>> {
        if self.ca_file.is_some() {
            return Ok(self.ca_file.clone());
        }
        let config = Config::load(&Installation {
            config: self.config.clone(),
            data_dir: self.data_dir.clone(),
            strict_config: false,
        })?;
        Ok(Some(trust_anchor(&config.data_dir)).filter(|path| path.exists()))
    }
}

/// A path that means the same wherever a command runs.
fn absolute(path: Option<&Path>) -> Result<Option<PathBuf>> {
    let absolute = path.map(std::path::absolute).transpose();
    absolute.context("a file cannot be named from the root directory")
}

/// The file that vouches for a server's certificate, as it was said at the login.
///
/// # Errors
/// The file with the logins cannot be read.
pub(super) fn anchor(url: &str) -> Result<Option<PathBuf>> {
    let place = address::origin(&address::at(url, None)?);
    let Ok(logins) = KeptLogins::at_home() else {
        return Ok(None);
    };
    Ok(logins.find(&place)?.and_then(KeptLogin::into_server_anchor))
}

/// Forgets what a login brought.
///
/// # Errors
/// One sentence.
pub(crate) fn logout(arguments: &Logout) -> Result<()> {
    let place = address::origin(&address::at(&arguments.url, None)?);
    ensure!(
        KeptLogins::at_home()?.forget(&place)?,
        "nobody is logged in to {place}"
    );
    note(&format!("Logged out of {place}"));
    Ok(())
}

/// What the command line says, and what the server says where that says nothing.
async fn client(arguments: &Login, server: &ClientConfig) -> Result<LoginClient> {
    let said = (arguments.provider.clone(), arguments.client_id.clone());
    let (provider, client_id) = match said {
        (Some(provider), Some(client_id)) => (provider, client_id),
        (provider, client_id) => {
            let config = ClientConfig {
                base_path: "/".to_owned(),
                ..server.clone()
            };
            let peer = Peer::new(&config, "", Arc::new(NoAuth))?;
            let answer = ProcessClient::new(&peer).sign_in(&system_caller("")).await;
            let place = address::origin(server);
            let sign_in = answer.map_err(|failure| match failure {
                failure @ StorageFailure::PeerAway(_) => no_answer(&place, &failure.into()),
                failure => {
                    Error::new(failure).context(format!("{place} does not say how to sign in"))
                }
            })?;
            let provider = match provider {
                Some(provider) => provider,
                None => only_provider(&sign_in.issuers)?,
            };
            (provider, client_id.unwrap_or(sign_in.client_id))
        }
    };
    Ok(LoginClient {
        provider,
        client_id,
        scopes: arguments.scopes.clone(),
        resource: arguments.resource.clone(),
        ca_file: absolute(arguments.provider_ca_file.as_deref())?,
    })
}

/// The provider among the issuers of a server: its own is none.
fn only_provider(issuers: &[String]) -> Result<String> {
    let mut providers = issuers.iter().filter(|issuer| issuer.contains("://"));
    match (providers.next(), providers.next()) {
        (Some(provider), None) => Ok(provider.clone()),
        (Some(_), Some(_)) => bail!(
            "the server accepts several identity providers: name one by --provider: {}",
            issuers.join(", ")
        ),
        (None, _) => bail!(
            "the server names no identity provider: set LAMASSU_TOKEN to a token of `lamassu token` \
             on its machine, or name a provider by --provider"
        ),
    }
}

async fn by_code(provider: &LoginProvider) -> Result<LoginTokens> {
    let code = provider.device_code().await?;
    note(&match &code.verification_uri_complete {
        Some(complete) => format!("Open {complete}\nand confirm the code {}", code.user_code),
        None => format!(
            "Open {}\nand type in the code {}",
            code.verification_uri, code.user_code
        ),
    });
    Ok(provider.typed_in(&code).await?)
}

#[cfg(test)]
mod tests {
    use super::only_provider;

    #[test]
    fn the_servers_own_issuer_is_no_provider() {
        let own = "urn:lamassu:1".to_owned();
        let company = "https://idp.example".to_owned();
        assert_eq!(
            only_provider(&[own.clone(), company.clone()]).unwrap(),
            company
        );
        only_provider(std::slice::from_ref(&own)).unwrap_err();
        only_provider(&[own, company, "https://ci.example".to_owned()]).unwrap_err();
    }
}
