//! Files that commands read and write; `-` is standard input or output.

use std::io::{Read as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use clap::ValueEnum;
use lamassu_core::pem::{CertificateDer, CsrDer, PublicKeyDer};
use lamassu_x509::pem::{PemError, certificate_ders, pem_to_der};
use lamassu_x509::pkcs7;

use super::output::write_octets;

/// Longest input that is read into memory: what is signed is sent in one request.
const MAX_INPUT: u64 = 16 * 1024 * 1024;

/// First octet of every DER structure that is read here.
const SEQUENCE: u8 = 0x30;

/// The content of a file, or of standard input.
///
/// # Errors
/// It cannot be read, or is too long.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    let mut octets = Vec::new();
    let name = path.display();
    let n = if path == Path::new("-") {
        std::io::stdin()
            .lock()
            .take(MAX_INPUT + 1)
            .read_to_end(&mut octets)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_INPUT + 1).read_to_end(&mut octets))
    };
    let n = n.with_context(|| format!("{name} cannot be read"))?;
    ensure!(
        u64::try_from(n).is_ok_and(|n| n <= MAX_INPUT),
        "{name} is longer than {MAX_INPUT} bytes"
    );
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
    let mut file = std::fs::File::create(path)
        .with_context(|| format!("{} cannot be written", path.display()))?;
    file.write_all(octets)
        .and_then(|()| file.sync_all())
        .with_context(|| format!("{} cannot be written", path.display()))
}

/// The first certificate of a file, PEM or DER, and how many more it holds.
///
/// # Errors
/// There is none.
pub(super) fn certificate(path: &Path) -> Result<(CertificateDer, usize)> {
    let octets = read(path)?;
    if octets.first() == Some(&SEQUENCE) {
        return Ok((CertificateDer::from_der(octets), 0));
    }
    let ders = certificate_ders(&octets).collect::<Result<Vec<_>, PemError>>();
    let ders = ders.with_context(|| format!("{} holds no certificate", path.display()))?;
    let n_more = ders.len().saturating_sub(1);
    let first = ders.into_iter().next();
    let first = first.with_context(|| {
        format!(
            "{} holds no certificate, neither as PEM nor as DER",
            path.display()
        )
    })?;
    Ok((CertificateDer::from_der(first), n_more))
}

/// The certification request of a file, PEM or DER.
///
/// # Errors
/// There is none.
pub(super) fn csr(path: &Path) -> Result<CsrDer> {
    let octets = read(path)?;
    let der = match octets.first() {
        Some(&SEQUENCE) => octets,
        _ => pem_to_der(&octets).with_context(|| {
            format!(
                "{} holds no request, neither as PEM nor as DER",
                path.display()
            )
        })?,
    };
    Ok(CsrDer::from_der(der))
}

/// In which form certificates are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum CertificateFormat {
    /// PEM, one block behind the other.
    #[default]
    Pem,
    /// DER; of a chain one certificate behind the other.
    Der,
    /// PKCS#7 (.p7b), DER.
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
