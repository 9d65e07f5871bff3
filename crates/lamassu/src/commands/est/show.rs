//! What a server gives everybody, and how an enrollment is shown.

use std::path::PathBuf;

use anyhow::Result;
use lamassu_core::pem::CertificateDer;
use lamassu_core::timestamp::Timestamp;
use lamassu_crypto::KeySpec;
use lamassu_x509::pem::{PemLabel, der_to_pem};
use lamassu_x509::{Certificate, CsrWishes, KeyWish, WantedExtension, WantedRequest};
use serde::Serialize;

use super::CaCerts;
use super::pair::Pair;
use super::server::ServerArgs;
use crate::commands::files;
use crate::commands::output::{OutputArgs, note};
use crate::commands::values::{at, name};

/// Most certificates above an end entity.
const MAX_CHAIN: usize = 10;

pub(super) async fn ca_certs(server: &ServerArgs, asked: &CaCerts) -> Result<()> {
    let CaCerts { format, out } = asked;
    let given = server.client(None)?.ca_certs().await?;
    if given.is_empty() {
        note("the server gives no CA certificates");
    }
    let ders = given
        .iter()
        .map(|one| CertificateDer::from_der(one.as_der().clone()));
    let octets = files::certificates(*format, &ders.collect::<Vec<_>>());
    match out.as_os_str() == "-" {
        true => files::write(out, &octets),
        false => {
            files::check_replace(out)?;
            files::replace(out, &octets)
        }
    }
}

/// What a server wants to see in requests.
#[derive(Serialize)]
struct Wishes {
    subject: Vec<String>,
    key: Option<String>,
    signature: Option<String>,
    extensions: Vec<String>,
    oids: Vec<String>,
}

pub(super) async fn csr_attrs(server: &ServerArgs, output: OutputArgs) -> Result<()> {
    let wishes = server.client(None)?.csr_attrs().await?;
    let told = told(&wishes);
    let id = told.oids.join(" ");
    output.print(&told, &id, || {
        vec![
            ("subject", told.subject.join(", ")),
            ("key", told.key.clone().unwrap_or_default()),
            ("signature", told.signature.clone().unwrap_or_default()),
            ("extensions", told.extensions.join(", ")),
            ("all", told.oids.join(", ")),
        ]
    })
}

fn told(wishes: &CsrWishes) -> Wishes {
    let key = wishes.key().map(|wish| match wish {
        KeyWish::Exactly(spec) => key(spec),
        KeyWish::AnyRsa => "RSA".to_owned(),
        KeyWish::AnyCurve => "ECDSA".to_owned(),
        KeyWish::Unknown => "(not known here)".to_owned(),
    });
    let template = wishes.template();
    let by_template = template.map_or(&[][..], WantedRequest::extensions);
    let extensions = by_template.iter().map(WantedExtension::oid);
    let listed = wishes.extensions();
    Wishes {
        subject: template
            .map(|template| template.subject_parts().collect())
            .unwrap_or_default(),
        key,
        signature: wishes
            .signature_scheme()
            .map(|scheme| format!("{scheme:?}")),
        extensions: extensions
            .chain(listed)
            .map(|oid| oid.to_string())
            .collect(),
        oids: wishes.oids().map(|oid| oid.to_string()).collect(),
    }
}

/// A kind of key, as `--key-type` takes it.
fn key(spec: KeySpec) -> String {
    match spec {
        KeySpec::Rsa(bits) => format!("rsa-{bits}"),
        KeySpec::Ec(curve) => format!("ecdsa-{}", curve.bits()),
        KeySpec::Ed25519 => "ed25519".to_owned(),
        KeySpec::MlDsa44 | KeySpec::MlDsa65 | KeySpec::MlDsa87 => {
            format!("ml-dsa-{}", spec.bits())
        }
    }
}

/// A certificate that is in its file.
#[derive(Serialize)]
pub(super) struct Enrolled {
    serial_number: String,
    subject: String,
    issuer: String,
    valid_from: Timestamp,
    valid_to: Timestamp,
    key_file: PathBuf,
    certificate_file: PathBuf,
}

impl Enrolled {
    pub(super) fn new(pair: &Pair, certificate: &Certificate) -> Self {
        Self {
            serial_number: certificate.serial().to_hex(),
            subject: name(certificate.subject()),
            issuer: name(certificate.issuer()),
            valid_from: certificate.not_before().into(),
            valid_to: certificate.not_after().into(),
            key_file: pair.key_file().to_owned(),
            certificate_file: pair.cert_file().to_owned(),
        }
    }

    pub(super) fn print(&self, output: OutputArgs) -> Result<()> {
        output.print(self, &self.serial_number, || {
            vec![
                ("serial number", self.serial_number.clone()),
                ("subject", self.subject.clone()),
                ("issuer", self.issuer.clone()),
                ("valid from", at(self.valid_from)),
                ("expires", at(self.valid_to)),
                ("certificate", self.certificate_file.display().to_string()),
                ("key", self.key_file.display().to_string()),
            ]
        })
    }

    /// In one line.
    pub(super) fn line(&self) -> String {
        format!("{}, expires {}", self.serial_number, at(self.valid_to))
    }
}

/// A certificate and those of the CAs above it that are among `known`, but for the root.
pub(super) fn chain(certificate: Certificate, known: &[Certificate]) -> Vec<Certificate> {
    let mut chain = vec![certificate];
    while let Some(last) = chain.last()
        && chain.len() < MAX_CHAIN
    {
        let issuer = known.iter().find(|one| {
            one.subject().matches(last.issuer())
                && one
                    .public_key()
                    .is_ok_and(|key| last.verify_signed_by(&key).is_ok())
        });
        match issuer {
            Some(issuer) if !issuer.is_self_signed() && !chain.contains(issuer) => {
                chain.push(issuer.clone());
            }
            Some(_) | None => break,
        }
    }
    chain
}

/// PEM, one behind the other.
pub(super) fn pems(certificates: &[Certificate]) -> String {
    let pems = certificates
        .iter()
        .map(|one| der_to_pem(PemLabel::Certificate, one.as_der()));
    pems.collect()
}
