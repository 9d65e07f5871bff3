//! A first certificate, for a key made here or by the server.

use anyhow::{Result, bail, ensure};
use http::StatusCode;
use lamassu_client::est::{EstClient, EstError, EstRequest};
use lamassu_crypto::{PrivateKey, PublicKey};
use lamassu_x509::Certificate;

use super::pair::Pair;
use super::request::{Subject, check_key, key_spec, request, request_without_key, wishes};
use super::server::{ServerArgs, patiently};
use super::show::{Enrolled, chain, pems};
use super::{Enroll, Files, Serverkeygen};
use crate::commands::files;
use crate::commands::output::OutputArgs;

pub(super) async fn enroll(server: &ServerArgs, output: OutputArgs, asked: &Enroll) -> Result<()> {
    let pair = Pair::open(&asked.files.key, &asked.files.cert)?;
    if !asked.force {
        nothing_there(&pair)?;
    }
    let client = server.client(None)?;
    let wishes = wishes(&client).await?;
    let key = match pair.key()? {
        Some(key) => key,
        None => {
            let key = PrivateKey::generate(key_spec(asked.key_type.as_ref(), None, &wishes.csr)?)?;
            // Kept before anybody certifies it.
            pair.write_key(&key)?;
            key
        }
    };
    check_key(key.public_key(), &wishes.csr);
    let csr = request(&pair, &Subject::of(&asked.who), &key, &wishes)?;
    let ask = Ask::new(&client, &asked.files, &pair)?;
    let issued = ask
        .issued(EstRequest::Enroll, &csr, key.public_key())
        .await?;
    ask.install(issued).await?.print(output)
}

pub(super) async fn generated(
    server: &ServerArgs,
    output: OutputArgs,
    asked: &Serverkeygen,
) -> Result<()> {
    let pair = Pair::open(&asked.files.key, &asked.files.cert)?;
    ensure!(
        asked.force || pair.key()?.is_none(),
        "there is a key in {}: --force replaces it",
        pair.key_file().display()
    );
    let client = server.client(None)?;
    let wishes = wishes(&client).await?;
    let csr = request_without_key(&pair, &Subject::of(&asked.who), &wishes)?;
    files::check_replace_key(pair.key_file())?;
    let ask = Ask::new(&client, &asked.files, &pair)?;
    let given = patiently(asked.files.wait, async || client.server_keygen(&csr).await).await;
    let given = ask.judged(given)?;
    // It waits beside the old one, until the certificate is in its file.
    match pair.key()? {
        Some(_) => pair.write_new_key(&given.key)?,
        None => pair.write_key(&given.key)?,
    }
    ask.install(given.certificate).await?.print(output)
}

fn nothing_there(pair: &Pair) -> Result<()> {
    let file = pair.cert_file().display();
    if pair.held()?.is_some() {
        bail!(
            "there is a certificate in {file}: `lamassu est renew` gets its successor, --force enrolls anew"
        );
    }
    ensure!(
        !pair.cert_file().exists(),
        "there is a certificate in {file}, without its key: --force replaces it"
    );
    Ok(())
}

/// Asking for the files of a device.
pub(super) struct Ask<'a> {
    client: &'a EstClient,
    files: &'a Files,
    pair: &'a Pair,
}

impl<'a> Ask<'a> {
    /// Nothing is asked for that could not be written.
    pub(super) fn new(client: &'a EstClient, asked: &'a Files, pair: &'a Pair) -> Result<Self> {
        files::check_replace(pair.cert_file())?;
        if let Some(path) = &asked.cacerts_out {
            files::check_replace(path)?;
        }
        Ok(Self {
            client,
            files: asked,
            pair,
        })
    }

    /// The certificate, once the server has decided.
    pub(super) async fn issued(
        &self,
        request: EstRequest,
        csr: &[u8],
        key: &PublicKey,
    ) -> Result<Certificate> {
        let asked = patiently(self.files.wait, async || {
            self.client.enroll(request, csr, key).await
        });
        self.judged(asked.await)
    }

    /// Forgets a request that the server cannot use: it would be refused the next time, too.
    fn judged<T>(&self, outcome: Result<T>) -> Result<T> {
        if let Err(error) = &outcome
            && let Some(EstError::Refused {
                status: StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY,
                ..
            }) = error.downcast_ref()
        {
            self.pair.give_up()?;
        }
        outcome
    }

    /// Writes what was asked for: CA certificates first, so that everything is there once the
    /// certificate is.
    pub(super) async fn install(&self, issued: Certificate) -> Result<Enrolled> {
        let enrolled = Enrolled::new(self.pair, &issued);
        let cas = match self.files.chain || self.files.cacerts_out.is_some() {
            true => self.client.ca_certs().await,
            false => Ok(Vec::new()),
        };
        let (chain, failure) = match cas {
            Ok(cas) => {
                if let Some(path) = &self.files.cacerts_out {
                    files::replace(path, pems(&cas).as_bytes())?;
                }
                (chain(issued, &cas), None)
            }
            // The certificate is not lost because of what stands beside it.
            Err(error) => (vec![issued], Some(error)),
        };
        self.pair.install(&chain)?;
        match failure {
            None => Ok(enrolled),
            Some(error) => Err(anyhow::Error::new(error).context(format!(
                "the certificate is in {}, without the certificates of the CAs",
                self.pair.cert_file().display()
            ))),
        }
    }
}
