//! Which EST server, whom to believe, and as whom.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Error, Result, anyhow, bail, ensure};
use clap::Args;
use lamassu_client::est::{EstClient, EstError, EstIdentity, EstOptions, EstReply, EstTrust};
use lamassu_client::{Authorization, WrongAddress};
use lamassu_core::duration::WireDuration;
use lamassu_core::timestamp::Timestamp;
use secrecy::SecretString;
use tokio::time::{Instant, sleep_until};

use crate::commands::Session;
use crate::commands::connection::{read_secret, variable};
use crate::commands::failure::told_of_address;
use crate::commands::files;
use crate::commands::output::note;

/// Pause where a server that wants to be asked again does not say when.
const DEFAULT_PAUSE: Duration = Duration::from_secs(10);
/// The shortest pause.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// Which server, and as whom.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "EST server")]
pub(crate) struct ServerArgs {
    /// The server, for example https://pki.example:8443, or the whole address in front of the
    /// operations.
    #[arg(long, value_name = "URL", env = "LAMASSU_EST_URL", global = true)]
    url: Option<String>,
    /// The DMS: the label of EST.
    #[arg(long, value_name = "ID", env = "LAMASSU_EST_DMS", global = true)]
    dms: Option<String>,
    /// PEM file of the CA that vouches for the server; what this machine trusts when not said.
    #[arg(long, value_name = "FILE", env = "LAMASSU_EST_CA", global = true)]
    ca: Option<PathBuf>,
    /// SHA-256 of the server's certificate, in hexadecimal: believe it and no other.
    #[arg(
        long,
        value_name = "SHA-256",
        env = "LAMASSU_EST_FINGERPRINT",
        global = true
    )]
    fingerprint: Option<String>,
    /// Believe any server, for tries in a network that is safe.
    #[arg(long, global = true)]
    trust_any_server: bool,
    /// Certificate that proves who asks (PEM), its chain behind it; needs --auth-key.
    #[arg(long, value_name = "FILE", global = true)]
    auth_cert: Option<PathBuf>,
    /// Its private key (PEM).
    #[arg(long, value_name = "FILE", global = true)]
    auth_key: Option<PathBuf>,
    /// User name for HTTP Basic authentication; the password is in --password-file or the variable
    /// LAMASSU_EST_PASSWORD.
    #[arg(long, value_name = "NAME", global = true)]
    user: Option<String>,
    /// File with the password.
    #[arg(long, value_name = "FILE", global = true)]
    password_file: Option<PathBuf>,
    /// File with a bearer token; also the variable LAMASSU_EST_TOKEN.
    #[arg(long, value_name = "FILE", global = true)]
    token_file: Option<PathBuf>,
    /// How long the server may take to answer.
    #[arg(long, value_name = "DURATION", default_value = "30s", global = true)]
    timeout: WireDuration,
}

impl ServerArgs {
    /// The client, which presents what the command line says, or else `own`.
    ///
    /// # Errors
    /// Something that was said cannot be used.
    pub(super) fn client(&self, own: Option<EstIdentity>) -> Result<EstClient> {
        let url = self.url.clone();
        let options = EstOptions {
            url: url.context("which server? say --url, or set LAMASSU_EST_URL")?,
            label: self.dms.clone(),
            trust: self.trust()?,
            identity: self.identity()?.or(own),
            authorization: self.authorization()?,
            timeout: seconds(self.timeout)?,
        };
        Ok(EstClient::new(&options)?)
    }

    fn trust(&self) -> Result<EstTrust> {
        match (&self.ca, &self.fingerprint, self.trust_any_server) {
            (None, None, false) => Ok(EstTrust::System),
            (Some(path), None, false) => Ok(EstTrust::File(path.clone())),
            (None, Some(text), false) => digest(text).map(EstTrust::Fingerprint),
            (None, None, true) => {
                note("warning: the server is not verified, as --trust-any-server says");
                Ok(EstTrust::Anybody)
            }
            _ => bail!("say one of --ca, --fingerprint and --trust-any-server"),
        }
    }

    fn identity(&self) -> Result<Option<EstIdentity>> {
        let (cert, key) = match (&self.auth_cert, &self.auth_key) {
            (None, None) => return Ok(None),
            (Some(cert), Some(key)) => (cert, key),
            (Some(_), None) | (None, Some(_)) => {
                bail!("--auth-cert and --auth-key belong together")
            }
        };
        let chain = files::read_certificates(cert)?;
        let key = files::private_key(key)?;
        ensure!(
            chain.first().map(|one| &**one.spki_der()) == Some(key.public_key().spki_der()),
            "{} is not the certificate of the key in --auth-key",
            cert.display()
        );
        Ok(Some(EstIdentity::new(&chain, &key)?))
    }

    fn authorization(&self) -> Result<Option<Authorization>> {
        let token = match &self.token_file {
            Some(path) => Some(read_secret("token", path)?),
            None => variable("LAMASSU_EST_TOKEN").map(SecretString::from),
        };
        let made = match (&self.user, token) {
            (None, None) => return Ok(None),
            (Some(user), None) => Authorization::basic(user, &self.password()?),
            (None, Some(token)) => Authorization::bearer(&token),
            (Some(_), Some(_)) => bail!("say --user or a token, not both"),
        };
        made.map(Some)
            .map_err(|error| anyhow!("the credentials cannot be sent: {error}"))
    }

    fn password(&self) -> Result<SecretString> {
        match &self.password_file {
            Some(path) => read_secret("password", path),
            None => variable("LAMASSU_EST_PASSWORD")
                .map(SecretString::from)
                .context("--user needs a password: --password-file, or LAMASSU_EST_PASSWORD"),
        }
    }
}

/// A duration that is not negative.
pub(super) fn seconds(duration: WireDuration) -> Result<Duration> {
    Duration::try_from(time::Duration::from(duration)).context("a time cannot be negative")
}

/// 32 octets in hexadecimal, as openssl and browsers show them.
fn digest(text: &str) -> Result<[u8; 32]> {
    let digits: String = text
        .trim_start_matches("sha256:")
        .chars()
        .filter(|c| *c != ':' && !c.is_whitespace())
        .collect();
    let octets = hex::decode(digits).ok();
    octets
        .and_then(|octets| octets.try_into().ok())
        .with_context(|| {
            format!("{text:?} is no SHA-256 in hexadecimal, as `openssl x509 -fingerprint -sha256` prints it")
        })
}

/// Asks until the server has decided, or patience is at its end.
///
/// # Errors
/// It refuses, or has not decided.
pub(super) async fn patiently<T>(
    wait: WireDuration,
    mut ask: impl AsyncFnMut() -> Result<EstReply<T>, EstError>,
) -> Result<T> {
    let deadline = Instant::now() + seconds(wait)?;
    loop {
        let (pause, refusal) = match ask().await {
            Ok(EstReply::Given(given)) => return Ok(given),
            Ok(EstReply::Later(pause)) => (pause, None),
            Err(error) if error.is_passing() => (error.retry_after(), Some(error)),
            Err(error) => return Err(error.into()),
        };
        let pause = pause.unwrap_or(DEFAULT_PAUSE).max(SHORTEST_PAUSE);
        let due = Instant::now().checked_add(pause);
        let due = match (due.filter(|due| *due <= deadline), refusal) {
            (Some(due), _) => due,
            (None, Some(refusal)) => return Err(refusal.into()),
            (None, None) => return Err(Undecided(pause).into()),
        };
        note(&format!(
            "{}  the server wants to be asked again in {}",
            now(),
            told(pause)
        ));
        sleep_until(due).await;
    }
}

/// The server has not decided in time, and wants to be asked again after this.
#[derive(Debug)]
pub(super) struct Undecided(pub(super) Duration);

impl std::fmt::Display for Undecided {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pause = told(self.0);
        write!(
            f,
            "the server has not decided yet: the same command asks again, in {pause} at the earliest"
        )
    }
}

impl std::error::Error for Undecided {}

/// The time, in front of what a service tells.
pub(super) fn now() -> Timestamp {
    let now = Session::now();
    now.replace_nanosecond(0).unwrap_or(now).into()
}

/// A pause as people read it.
pub(super) fn told(pause: Duration) -> WireDuration {
    let seconds = i64::try_from(pause.as_secs()).unwrap_or(i64::MAX);
    WireDuration::from_secs(seconds)
}

/// The error with what to do about it.
pub(super) fn explained(error: Error) -> Error {
    let Some(refusal) = error.downcast_ref::<EstError>() else {
        return error;
    };
    if let Some(told) = told_of_address(refusal) {
        let otherwise = match WrongAddress::among(refusal) {
            Some(WrongAddress::Name { .. }) => {
                "; --fingerprint believes its certificate whatever names it has"
            }
            Some(WrongAddress::PlainHttp | WrongAddress::NoHttp(_)) | None => "",
        };
        return anyhow!("{refusal}: {told}{otherwise}");
    }
    let advice = match refusal {
        EstError::Unreachable(cause) if tells_of_certificate(&**cause) => {
            "--ca names the file that vouches for the server, --fingerprint its certificate; for a lamassu \
             server that is tls/ca.pem of its data directory"
                .to_owned()
        }
        EstError::Refused { status, .. } if status.as_u16() == 401 => {
            "say who asks: --auth-cert and --auth-key, --user, or --token-file".to_owned()
        }
        EstError::Refused { status, text, .. }
            if status.as_u16() == 400 && text.contains("'aps.APS'") =>
        {
            "this server has no default DMS: say --dms".to_owned()
        }
        EstError::Refused { status, text, .. } if status.as_u16() == 404 => match text.as_str() {
            "DMS not found" => "--dms names a DMS that is there".to_owned(),
            _ => "is --url the address of an EST server, and does it want a label (--dms)?".to_owned(),
        },
        EstError::Refused {
            retry_after: Some(pause),
            ..
        } => format!("ask again in {}", told(*pause)),
        _ => return error,
    };
    let mut told = refusal.to_string();
    if let Some(cause) = last_cause(refusal) {
        told.push_str(&format!(" ({cause})"));
    }
    anyhow!("{told}: {advice}")
}

/// What is at the bottom of an error, if it is not alone.
fn last_cause(error: &EstError) -> Option<String> {
    let mut cause = std::error::Error::source(error)?;
    while let Some(next) = cause.source() {
        cause = next;
    }
    Some(cause.to_string())
}

fn tells_of_certificate(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.to_string().contains("certificate") {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::digest;

    #[test]
    fn fingerprints_are_read_as_tools_print_them() {
        let plain = "ab".repeat(32);
        let colons = vec!["AB"; 32].join(":");
        assert_eq!(digest(&plain).unwrap(), [0xab; 32]);
        assert_eq!(digest(&colons).unwrap(), [0xab; 32]);
        assert_eq!(digest(&format!("sha256:{plain}")).unwrap(), [0xab; 32]);
        assert!(digest("abcd").is_err() && digest(&"zz".repeat(32)).is_err());
    }
}
