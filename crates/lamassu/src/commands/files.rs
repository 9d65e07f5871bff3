//! Files that commands read and write; `-` is standard input or output.

mod kind;

use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, fchown};
use std::path::Path;

use anyhow::{Context as _, Error, Result, bail, ensure};
use clap::ValueEnum;
use lamassu_core::pem::{CertificateDer, PublicKeyDer};
use lamassu_crypto::pem::{self, PemLabel};
use lamassu_crypto::{HashAlgorithm, KeyError, PrivateKey};
use lamassu_x509::pem::{PemError, certificate_ders};
use lamassu_x509::{Certificate, CertificationRequest, pkcs7};
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

pub(super) use self::kind::Kind;
use super::output::write_octets;

/// Longest input that is read into memory.
const MAX_INPUT: usize = 16 * 1024 * 1024;

/// Longest private key: the largest that any engine takes has a tenth of this, as PEM.
const MAX_SECRET: usize = 128 * 1024;

/// First octet of every DER structure that is read here.
const SEQUENCE: u8 = 0x30;

/// The content of a file, or of standard input.
///
/// # Errors
/// It cannot be read, or is too long.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    read_up_to(path, MAX_INPUT)
}

/// The same up to so many bytes.
///
/// # Errors
/// It cannot be read, or is longer.
pub(super) fn read_up_to(path: &Path, most: usize) -> Result<Vec<u8>> {
    let mut octets = Vec::new();
    fill_up_to(path, most, &mut octets)?;
    Ok(octets)
}

fn fill_up_to(path: &Path, most: usize, octets: &mut Vec<u8>) -> Result<()> {
    let name = path.display();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let n = opened(path).and_then(|file| file.take(limit).read_to_end(octets));
    let n = n.with_context(|| format!("{name} cannot be read"))?;
    if n > most {
        return Err(TooLong(format!("{name} is longer than {most} bytes")).into());
    }
    Ok(())
}

fn opened(path: &Path) -> io::Result<Box<dyn io::Read>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    Ok(Box::new(File::open(path)?))
}

/// That a file is longer than what may be read of it.
#[derive(Debug)]
pub(super) struct TooLong(String);

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TooLong {}

/// The digest of a file's content, which may be of any length, or of standard input.
///
/// # Errors
/// It cannot be read.
pub(super) fn digest(path: &Path, hash: HashAlgorithm) -> Result<Vec<u8>> {
    let digest = opened(path).and_then(|file| hash.digest_of(file));
    digest.with_context(|| format!("{} cannot be read", path.display()))
}

/// The content of a file that holds a secret, or of standard input: it is wiped from memory behind its use,
/// and never was in a buffer that grew and left it somewhere else.
///
/// # Errors
/// It cannot be read, or is too long.
pub(super) fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let mut octets = Zeroizing::new(Vec::with_capacity(MAX_SECRET.saturating_mul(2)));
    fill_up_to(path, MAX_SECRET, &mut octets)?;
    Ok(octets)
}

/// Writes a file that may exist, or standard output.
///
/// # Errors
/// It cannot be written.
pub(super) fn write(path: &Path, octets: &[u8]) -> Result<()> {
    if path == Path::new("-") {
        return write_octets(octets);
    }
    keep_private_key(path)?;
    let mut file =
        File::create(path).with_context(|| format!("{} cannot be written", path.display()))?;
    file.write_all(octets)
        .and_then(|()| match file.metadata()?.is_file() {
            true => file.sync_all(),
            // A pipe has nothing to be synchronised with.
            false => Ok(()),
        })
        .with_context(|| format!("{} cannot be written", path.display()))
}

/// Where a file that is there already is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// From its beginning: what it had is gone.
    Anew,
    /// Behind what it has.
    Behind,
}

/// A file that gets its content bit by bit, or standard output. [`check_write`] looks beforehand.
///
/// # Errors
/// It cannot be written.
pub(super) fn writer(path: &Path, start: Start) -> Result<Box<dyn io::Write + Send>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdout()));
    }
    keep_private_key(path)?;
    let opened = match start {
        Start::Anew => File::create(path),
        Start::Behind => File::options().append(true).open(path),
    };
    let file = opened.with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(Box::new(file))
}

/// Refuses to write the file that is read.
///
/// # Errors
/// It is the same one.
pub(super) fn not_the_input(input: &Path, output: &Path) -> Result<()> {
    let input = match input == Path::new("-") {
        true => Path::new("/dev/stdin"),
        false => input,
    };
    if let (Ok(one), Ok(other)) = (fs::metadata(input), fs::metadata(output)) {
        ensure!(
            !one.is_file() || (one.dev(), one.ino()) != (other.dev(), other.ino()),
            "{} is what is read: name another file",
            output.display()
        );
    }
    Ok(())
}

/// Looks, before there is something that must not be lost, whether [`write()`] will be able to write it.
///
/// # Errors
/// It cannot be written.
pub(super) fn check_write(path: &Path) -> Result<()> {
    if path == Path::new("-") {
        return Ok(());
    }
    keep_private_key(path)?;
    let opened = match fs::metadata(path) {
        // Whoever reads a pipe would take this for the end.
        Ok(found) if !found.is_file() && !found.is_dir() => Ok(()),
        Ok(_) => File::options().write(true).open(path).map(drop),
        Err(_) => tempfile::tempfile_in(directory(path)).map(drop),
    };
    opened.with_context(|| format!("{} cannot be written", path.display()))
}

/// The same for [`replace`].
///
/// # Errors
/// It cannot be written.
pub(super) fn check_replace(path: &Path) -> Result<()> {
    keep_private_key(path)?;
    check_replace_key(path)
}

/// The same for the file of a private key, which gives way to another one.
///
/// # Errors
/// It cannot be written.
pub(super) fn check_replace_key(path: &Path) -> Result<()> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let made = match target.is_dir() {
        true => Err(io::ErrorKind::IsADirectory.into()),
        false => NamedTempFile::new_in(directory(&target)).map(drop),
    };
    made.with_context(|| format!("{} cannot be written", path.display()))
}

/// Fails where a file holds a private key, of which there may be no other copy.
///
/// # Errors
/// It does.
fn keep_private_key(path: &Path) -> Result<()> {
    // A pipe is not read from.
    if !fs::metadata(path).is_ok_and(|found| found.is_file()) {
        return Ok(());
    }
    // What is too long for a key, or cannot be read, is none that is known.
    let octets = read_secret(path).unwrap_or_default();
    ensure!(
        !kind::has_private_key(&octets),
        "{} holds a private key, and is not written over: name another file, or remove this one",
        path.display()
    );
    Ok(())
}

/// Fails where a file is known to be something else than what is wanted.
///
/// # Errors
/// It says what it is.
pub(super) fn check_kind(wanted: Kind, path: &Path, octets: &[u8]) -> Result<()> {
    match Kind::of(octets) {
        Some(found) if found != wanted => bail!("{} is {found}, not {wanted}", path.display()),
        Some(_) | None => Ok(()),
    }
}

/// The first certificate of a file, PEM or DER, and how many more it holds.
///
/// # Errors
/// There is none.
pub(super) fn certificate(path: &Path) -> Result<(CertificateDer, usize)> {
    let mut ders = ders(path)?.into_iter();
    let first = ders.next().context("no certificate")?;
    Ok((read_certificate(path, first)?, ders.len()))
}

/// The same where the file holds no private key: it would be passed over.
///
/// # Errors
/// There is no certificate, or a key beside it.
pub(super) fn certificate_alone(path: &Path) -> Result<(CertificateDer, usize)> {
    let octets = Zeroizing::new(read(path)?);
    let mut ders = ders_in(path, octets.to_vec())?.into_iter();
    let first = ders.next().context("no certificate")?;
    ensure!(
        !kind::has_private_key(&octets),
        "{path} holds a private key, too: --private-key {path} takes it in; without it, import a file with the \
         certificate alone",
        path = path.display()
    );
    Ok((read_certificate(path, first)?, ders.len()))
}

/// The certificates of a file.
#[derive(Debug)]
pub(super) struct Bundle {
    /// At least one.
    pub(super) ders: Vec<Vec<u8>>,
    /// Whether the first one is the one that is meant: PKCS#7 holds a set.
    pub(super) is_in_order: bool,
}

/// The certificates of a file, PEM, DER or PKCS#7.
///
/// # Errors
/// There is none.
pub(super) fn bundle(path: &Path) -> Result<Bundle> {
    let octets = read(path)?;
    let is_set = Kind::of(&octets) == Some(Kind::Pkcs7);
    Ok(Bundle {
        ders: match is_set {
            true => pkcs7_ders(path, octets)?,
            false => ders_in(path, octets)?,
        },
        is_in_order: !is_set,
    })
}

fn pkcs7_ders(path: &Path, octets: Vec<u8>) -> Result<Vec<Vec<u8>>> {
    let name = path.display();
    let der = match octets.first() {
        Some(&SEQUENCE) => octets,
        _ => pem::blocks(&octets)
            .find(|block| block.label() == Some(PemLabel::Pkcs7))
            .context("no PKCS#7")?
            .der()?,
    };
    let read = pkcs7::certificates(der);
    let read = read.with_context(|| format!("{name} is no PKCS#7 message that can be read"))?;
    ensure!(!read.is_empty(), "{name} holds no certificate");
    Ok(read.iter().map(|one| one.as_der().to_vec()).collect())
}

/// What a file holds as a certificate: nothing else leaves this machine as one, it may be a key.
///
/// # Errors
/// It is none.
pub(super) fn read_certificate(path: &Path, der: Vec<u8>) -> Result<CertificateDer> {
    let read = Certificate::from_der(der)
        .with_context(|| format!("{} is no certificate that can be read", path.display()))?;
    Ok(CertificateDer::from_der(read.as_der().clone()))
}

/// All certificates of a file, PEM or DER, as they are read; at least one.
///
/// # Errors
/// There is none, or one cannot be read.
pub(super) fn read_certificates(path: &Path) -> Result<Vec<Certificate>> {
    let read = ders(path)?.into_iter().map(Certificate::from_der);
    read.collect::<Result<Vec<_>, _>>()
        .with_context(|| format!("{} holds a certificate that cannot be read", path.display()))
}

/// The certificates of a file, at least one. What cannot be read is left to whoever gets it.
fn ders(path: &Path) -> Result<Vec<Vec<u8>>> {
    ders_in(path, read(path)?)
}

fn ders_in(path: &Path, octets: Vec<u8>) -> Result<Vec<Vec<u8>>> {
    let ders = match octets.first() {
        Some(&SEQUENCE) => {
            check_kind(Kind::Certificate, path, &octets)?;
            return Ok(vec![octets]);
        }
        _ => certificate_ders(&octets).collect::<Result<Vec<_>, PemError>>(),
    };
    let ders = ders
        .with_context(|| format!("{} holds a certificate that cannot be read", path.display()))?;
    if ders.is_empty() {
        check_kind(Kind::Certificate, path, &octets)?;
        bail!(
            "{} is neither PEM nor DER of {}",
            path.display(),
            Kind::Certificate
        );
    }
    Ok(ders)
}

/// The private key of a file, PEM or DER.
///
/// # Errors
/// There is none, or it is encrypted.
pub(super) fn private_key(path: &Path) -> Result<PrivateKey> {
    read_private_key(path, &read_secret(path)?)
}

/// The private key in the octets of a file, PEM or DER.
///
/// # Errors
/// There is none, or it is encrypted.
pub(super) fn read_private_key(path: &Path, octets: &[u8]) -> Result<PrivateKey> {
    let read = match octets.first() {
        Some(&SEQUENCE) => PrivateKey::from_der(octets),
        _ => PrivateKey::from_pem(octets),
    };
    read.map_err(|error| {
        let found = Kind::of(octets).filter(|found| !found.is_private_key());
        if let Some(found) = found {
            return Error::msg(format!(
                "{} is {found}, not {}",
                path.display(),
                Kind::PrivateKey
            ));
        }
        let fault = key_fault(error, octets);
        Error::msg(format!(
            "{} is no private key that can be read: {fault}",
            path.display()
        ))
    })
}

/// What is wrong with octets that hold no private key.
fn key_fault(error: KeyError, octets: &[u8]) -> String {
    const DECRYPT: &str = "it is encrypted, and decrypted by `openssl pkey -in FILE -out CLEAR`";
    let behind = element_len(octets).and_then(|len| octets.len().checked_sub(len));
    match error {
        KeyError::Encrypted => DECRYPT.to_owned(),
        KeyError::Malformed if octets.first() == Some(&SEQUENCE) => match behind {
            Some(0) => "it is another DER structure, perhaps an encrypted key: `openssl pkey -inform DER -in \
                        FILE -out CLEAR` decrypts it"
                .to_owned(),
            Some(n) => format!("{n} bytes follow behind the DER"),
            None => "the DER is cut off".to_owned(),
        },
        KeyError::NoPemBlock => "it is neither PEM nor DER".to_owned(),
        other => other.to_string(),
    }
}

/// How long the DER element is that the octets begin with.
fn element_len(octets: &[u8]) -> Option<usize> {
    let (first, rest) = octets.get(1..)?.split_first()?;
    let (n_digits, length) = match first {
        0..=0x7f => (0, usize::from(*first)),
        _ => {
            let n = usize::from(first & 0x7f);
            let digits = rest.get(..n).filter(|_| n <= 4)?;
            let number = |sum: usize, digit: &u8| (sum << 8) | usize::from(*digit);
            (n, digits.iter().fold(0, number))
        }
    };
    let len = length.saturating_add(n_digits).saturating_add(2);
    (len <= octets.len()).then_some(len)
}

/// Gives a file new contents: whoever reads it finds the old or the new ones, whole, also after a
/// power cut. It keeps its mode and owner; a new one is its owner's alone.
///
/// # Errors
/// It cannot be written.
pub(super) fn replace(path: &Path, octets: &[u8]) -> Result<()> {
    replace_like(path, path, octets)
}

/// The same, with mode and owner of another file, if that is there.
///
/// # Errors
/// It cannot be written.
pub(super) fn replace_like(path: &Path, model: &Path, octets: &[u8]) -> Result<()> {
    // What a link points to is replaced, not the link.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let written = written(&target, fs::metadata(model).ok().as_ref(), octets);
    written.with_context(|| format!("{} cannot be written", path.display()))
}

fn written(target: &Path, model: Option<&Metadata>, octets: &[u8]) -> io::Result<()> {
    let mut file = NamedTempFile::new_in(directory(target))?;
    file.write_all(octets)?;
    if let Some(model) = model {
        let own = file.as_file().metadata()?;
        if (own.uid(), own.gid()) != (model.uid(), model.gid()) {
            fchown(file.as_file(), Some(model.uid()), Some(model.gid()))?;
        }
        file.as_file().set_permissions(model.permissions())?;
    }
    file.as_file().sync_all()?;
    file.persist(target)?;
    sync_directory(target)
}

/// Gives a file the name of another one, which it replaces.
///
/// # Errors
/// The file system's.
pub(super) fn rename(from: &Path, to: &Path) -> Result<()> {
    let target = fs::canonicalize(to).unwrap_or_else(|_| to.to_owned());
    fs::rename(from, &target)
        .and_then(|()| sync_directory(&target))
        .with_context(|| format!("{} cannot become {}", from.display(), to.display()))
}

/// Removes a file, if it is there.
///
/// # Errors
/// The file system's.
pub(super) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{} cannot be removed", path.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn directory(path: &Path) -> &Path {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or_else(|| Path::new("."))
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(directory(path))?.sync_all()
}

/// The certification request of a file, PEM or DER.
///
/// # Errors
/// There is none.
pub(super) fn csr(path: &Path) -> Result<CertificationRequest> {
    let octets = read(path)?;
    let der = match octets.first() {
        Some(&SEQUENCE) => octets.clone(),
        _ => request_block(path, &octets)?,
    };
    // Nothing else leaves this machine as a request: it may be the key.
    CertificationRequest::from_der(der).or_else(|error| {
        check_kind(Kind::Request, path, &octets)?;
        Err(error).with_context(|| format!("{} is no request that can be read", path.display()))
    })
}

/// The request among blocks of PEM.
fn request_block(path: &Path, octets: &[u8]) -> Result<Vec<u8>> {
    // Not any block: the key may stand in front, and is nobody else's business. Other programs call the
    // request NEW CERTIFICATE REQUEST.
    let labelled =
        |label: Option<PemLabel>| pem::blocks(octets).find(|block| block.label() == label);
    let request = labelled(Some(PemLabel::CertificateRequest)).or_else(|| labelled(None));
    let Some(request) = request else {
        check_kind(Kind::Request, path, octets)?;
        bail!(
            "{} is neither PEM nor DER of {}",
            path.display(),
            Kind::Request
        );
    };
    let der = request.der();
    der.with_context(|| format!("{} is no request that can be read", path.display()))
}

/// In which form certificates are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum CertificateFormat {
    /// PEM, one block behind the other.
    #[default]
    Pem,
    /// DER; of a chain one certificate behind the other.
    Der,
    /// PKCS#7 (.p7b) in DER: `openssl pkcs7 -inform DER` reads it.
    Pkcs7,
}

/// Certificates in a form.
pub(super) fn certificates(format: CertificateFormat, chain: &[CertificateDer]) -> Vec<u8> {
    let ders = chain.iter().map(|one| &**one.der());
    match format {
        CertificateFormat::Pem => chain
            .iter()
            .map(CertificateDer::to_pem)
            .collect::<String>()
            .into(),
        CertificateFormat::Der => ders.collect::<Vec<_>>().concat(),
        CertificateFormat::Pkcs7 => pkcs7::certs_only(ders),
    }
}

/// In which form public keys are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum KeyFormat {
    /// PEM.
    #[default]
    Pem,
    /// DER.
    Der,
}

/// A public key in a form.
pub(super) fn public_key(format: KeyFormat, key: &PublicKeyDer) -> Vec<u8> {
    match format {
        KeyFormat::Pem => key.to_pem().into(),
        KeyFormat::Der => key.der().to_vec(),
    }
}

/// Refuses standard input for two things at once.
///
/// # Errors
/// Both are `-`.
pub(super) fn not_both_stdin(one: &Path, other: &Path) -> Result<()> {
    let stdin = Path::new("-");
    if one == stdin && other == stdin {
        bail!("standard input holds one thing: name a file for the other");
    }
    Ok(())
}
