//! The successor of a certificate, and the hook behind it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use lamassu_client::est::EstRequest;
use lamassu_crypto::PrivateKey;
use lamassu_x509::CsrWishes;
use tokio::task::spawn_blocking;

use super::Renew;
use super::enroll::Ask;
use super::pair::{Held, Pair};
use super::request::{Subject, check_key, key_spec, request, wishes};
use super::schedule::due;
use super::server::ServerArgs;
use super::show::Enrolled;
use crate::commands::Session;
use crate::commands::files;
use crate::commands::output::{OutputArgs, note};
use crate::commands::values::at;

pub(super) async fn run(server: &ServerArgs, output: OutputArgs, asked: &Renew) -> Result<()> {
    let pair = Pair::open(&asked.files.key, &asked.files.cert)?;
    let held = held(&pair)?;
    let hook = owed_hook(&pair, asked).await;
    if asked.if_due {
        let certificate = held.certificate()?;
        let due = due(certificate, asked.at, asked.jitter);
        if due > Session::now() {
            hook?;
            let serial = certificate.serial().to_hex();
            return output.done(
                &serial,
                &format!("{serial} is renewed from {} on", at(due.into())),
            );
        }
    }
    // A hook that fails must not keep the certificate from being renewed; it runs again behind that.
    if let Err(error) = hook {
        note(&format!("{error:#}"));
    }
    let renewed = once(server, asked, &pair, &held).await?;
    owed_hook(&pair, asked)
        .await
        .context("the certificate is renewed")?;
    renewed.print(output)
}

/// Key and certificate of the device.
///
/// # Errors
/// There are none.
pub(super) fn held(pair: &Pair) -> Result<Held> {
    match pair.held()? {
        Some(held) => Ok(held),
        None => bail!(
            "there is no certificate in {} for a key in {}: `lamassu est enroll` gets a first one",
            pair.cert_file().display(),
            pair.key_file().display()
        ),
    }
}

/// Gets a successor and puts it in its place. May be given up at any await: what waits is found by the
/// next one.
///
/// # Errors
/// The server refuses, or a file cannot be written.
pub(super) async fn once(
    server: &ServerArgs,
    asked: &Renew,
    pair: &Pair,
    held: &Held,
) -> Result<Enrolled> {
    let client = server.client(Some(held.identity()?))?;
    let wishes = wishes(&client).await?;
    let new = match asked.same_key {
        true => None,
        false => Some(new_key(asked, pair, held, &wishes.csr)?),
    };
    let key = new.as_ref().unwrap_or(&held.key);
    check_key(key.public_key(), &wishes.csr);
    let subject = Subject::of_certificate(held.certificate()?);
    let csr = request(pair, &subject, key, &wishes)?;
    let ask = Ask::new(&client, &asked.files, pair)?;
    let issued = ask
        .issued(EstRequest::Reenroll, &csr, key.public_key())
        .await?;
    if asked.hook.is_some() {
        files::replace(&pair.hook_file(), b"")?;
    }
    ask.install(issued).await
}

/// The key that waits for its certificate, if it is of the right kind, or else one made now.
fn new_key(asked: &Renew, pair: &Pair, held: &Held, wishes: &CsrWishes) -> Result<PrivateKey> {
    let usual = Some(held.key.public_key().spec());
    let spec = key_spec(asked.key_type.as_ref(), usual, wishes)?;
    let waiting = pair.new_key()?;
    if let Some(waiting) = waiting.filter(|key| key.public_key().spec() == spec) {
        return Ok(waiting);
    }
    let key = PrivateKey::generate(spec)?;
    pair.write_new_key(&key)?;
    Ok(key)
}

/// Runs the hook where a renewal went before it that it has not heard of.
///
/// # Errors
/// It fails.
pub(super) async fn owed_hook(pair: &Pair, asked: &Renew) -> Result<()> {
    let Some(hook) = &asked.hook else {
        return Ok(());
    };
    if !pair.hook_file().exists() {
        return Ok(());
    }
    let command = hook_command(hook, pair.key_file(), pair.cert_file());
    let status = spawn_blocking(move || {
        let mut command = command;
        command.status()
    });
    let status = status.await?.context("the hook does not start")?;
    if !status.success() {
        bail!("the hook failed ({status})");
    }
    files::remove(&pair.hook_file())
}

fn hook_command(hook: &str, key: &Path, cert: &Path) -> Command {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", hook])
        .env("LAMASSU_EST_KEY", key)
        .env("LAMASSU_EST_CERT", cert);
    command
}

#[cfg(test)]
pub(super) mod tests {
    use clap::Parser;
    use lamassu_client::est::EstError;
    use lamassu_crypto::{Curve, KeySpec, PrivateKey};
    use tempfile::TempDir;

    use super::super::pair::tests::certificate_file;
    use super::super::{Est, EstCommand, Renew};
    use super::{OutputArgs, Pair, ServerArgs, files, run};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        est: Est,
    }

    /// A device whose hook is owed and fails, and a server that is away.
    pub(in super::super) struct Owing(TempDir);

    impl Owing {
        pub(in super::super) fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let owing = Self(directory);
            let key = PrivateKey::generate(KeySpec::Ec(Curve::P256)).unwrap();
            let pair = owing.pair();
            pair.write_key(&key).unwrap();
            let certificate = certificate_file(owing.0.path(), &key);
            files::replace(pair.cert_file(), &certificate).unwrap();
            files::replace(&pair.hook_file(), b"").unwrap();
            owing
        }

        fn pair(&self) -> Pair {
            let in_directory = |name| self.0.path().join(name);
            Pair::open(&in_directory("a.key"), &in_directory("a.pem")).unwrap()
        }

        pub(in super::super) fn owes(&self) -> bool {
            self.pair().hook_file().exists()
        }

        /// `est renew` with these words more.
        pub(in super::super) fn renew(&self, more: &str) -> (ServerArgs, OutputArgs, Renew) {
            let directory = self.0.path().display();
            let line = format!(
                "est --url https://127.0.0.1:1 --trust-any-server renew --key {directory}/a.key \
                 --cert {directory}/a.pem --wait 0s --hook false {more}"
            );
            let line = Line::try_parse_from(line.split_whitespace()).unwrap();
            let Est {
                server,
                output,
                command: EstCommand::Renew(asked),
            } = line.est
            else {
                panic!("it is a renewal");
            };
            (server, output, *asked)
        }
    }

    #[tokio::test]
    async fn a_hook_that_fails_keeps_nothing_from_being_renewed() {
        let owing = Owing::new();
        let (server, output, asked) = owing.renew("--if-due --at 99");
        let refused = run(&server, output, &asked).await.unwrap_err();
        assert_eq!(refused.to_string(), "the hook failed (exit status: 1)");
        let (server, output, asked) = owing.renew("--if-due --at 0 --jitter 0");
        let refused = run(&server, output, &asked).await.unwrap_err();
        assert!(refused.downcast_ref::<EstError>().is_some(), "{refused:#}");
        assert!(owing.owes());
    }
}
