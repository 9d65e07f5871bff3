//! Signing and verifying with a key.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Error, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use lamassu_core::ids::KeyRef;
use lamassu_core::kms::algorithm::{name_of, names_for, scheme_of};
use lamassu_core::kms::{Key, KmsError, KmsService as _, SignMessage};
use lamassu_crypto::pem::decode_base64;
use lamassu_crypto::{PublicKey, SignatureScheme};

use super::show::find;
use super::{Sign, Verify};
use crate::commands::Session;
use crate::commands::files::{self, TooLong};
use crate::commands::output::write;

/// What is signed, and how.
#[derive(Clone, Debug, Args)]
pub(crate) struct MessageArgs {
    /// The key.
    key: String,
    /// What is signed; - is standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// For example ECDSA_SHA_256 or RSASSA_PSS_SHA_256; the usual one of the key when not said.
    #[arg(long, value_name = "NAME")]
    algorithm: Option<String>,
    /// The file holds the digest of what is signed.
    #[arg(long)]
    digest: bool,
}

impl MessageArgs {
    fn message(&self, key: &Key) -> Result<SignMessage> {
        let algorithm = match &self.algorithm {
            Some(name) => name.clone(),
            None => usual(key)?.to_owned(),
        };
        let hash = scheme_of(&algorithm).and_then(SignatureScheme::hash);
        let (message, message_type) = match hash {
            _ if self.digest => (files::read(&self.file)?, "digest"),
            // Hashed here, the file may have any length, and stays here.
            Some(hash) => (files::digest(&self.file, hash)?, "digest"),
            None => (self.whole(&algorithm)?, "raw"),
        };
        Ok(SignMessage {
            algorithm,
            message: message.into(),
            message_type: message_type.to_owned(),
        })
    }

    /// What is sent in one request.
    fn whole(&self, algorithm: &str) -> Result<Vec<u8>> {
        files::read(&self.file).map_err(|error| match error.downcast_ref::<TooLong>() {
            Some(too_long) => Error::msg(format!(
                "{too_long}, and {algorithm} takes the message as a whole: RSA and ECDSA keys take files of any \
                 length"
            )),
            None => error,
        })
    }
}

/// The algorithm that a key signs with where nobody says another.
fn usual(key: &Key) -> Result<&'static str> {
    let public = PublicKey::from_spki_der(key.public_key.der()).ok();
    let scheme = public.map(|public| public.default_scheme());
    scheme
        .and_then(name_of)
        .context("this program does not know the kind of the key: say --algorithm")
}

/// The refusal with what would have been right.
fn explained(error: KmsError, key: &Key, algorithm: &str, n_bytes: usize) -> Error {
    match error {
        KmsError::DigestSize => {
            let hash = scheme_of(algorithm).and_then(SignatureScheme::hash);
            let expected = hash.map(|hash| format!(" of {} bytes", hash.output_len()));
            Error::msg(format!(
                "{error}: {algorithm} takes a digest{}, and the file has {n_bytes}",
                expected.unwrap_or_default()
            ))
        }
        KmsError::UnsupportedAlgorithm | KmsError::NotRsaKey | KmsError::NotEcdsaKey => {
            let public = PublicKey::from_spki_der(key.public_key.der()).ok();
            let names = public
                .into_iter()
                .flat_map(|public| names_for(public.spec()));
            let names: Vec<_> = names.collect();
            Error::msg(format!(
                "{error}: {algorithm:?} does not fit the key; there are {}",
                names.join(", ")
            ))
        }
        other => other.into(),
    }
}

pub(super) async fn sign(session: &Session, asked: &Sign) -> Result<()> {
    asked.out.as_deref().map_or(Ok(()), files::check_write)?;
    let key = find(session, &asked.message.key).await?;
    let message = asked.message.message(&key)?;
    let reference = KeyRef::from(&key.key_id);
    let (algorithm, n) = (message.algorithm.clone(), message.message.len());
    let signature = session.kms.sign(&session.caller, &reference, message).await;
    let signature = signature.map_err(|error| explained(error, &key, &algorithm, n))?;
    match &asked.out {
        Some(path) => files::write(path, &signature),
        None => write(&format!("{}\n", STANDARD.encode(signature))),
    }
}

pub(super) async fn verify(session: &Session, asked: &Verify) -> Result<()> {
    files::not_both_stdin(&asked.message.file, &asked.signature)?;
    let key = find(session, &asked.message.key).await?;
    let message = asked.message.message(&key)?;
    let signature = signature(&asked.signature)?;
    let reference = KeyRef::from(&key.key_id);
    let (algorithm, n) = (message.algorithm.clone(), message.message.len());
    let is_valid = session
        .kms
        .verify(&session.caller, &reference, message, &signature)
        .await;
    let is_valid = is_valid.map_err(|error| explained(error, &key, &algorithm, n))?;
    if !is_valid {
        bail!("the signature is not valid");
    }
    session.done(key.key_id.as_str(), "the signature is valid")
}

/// A signature's octets. They are never base64 by chance.
fn signature(path: &Path) -> Result<Vec<u8>> {
    let octets = files::read(path)?;
    Ok(match decode_base64(octets.trim_ascii()) {
        Ok(decoded) => decoded,
        Err(_) => octets,
    })
}
