//! Certificates as people see them.

use anyhow::Result;
use lamassu_core::ca::{
    CaService as _, Certificate, CertificateStatus, CertificateType, KeyMetadata,
};
use lamassu_core::ids::CaId;
use lamassu_core::timestamp::Timestamp;
use lamassu_core::usage::{ExtendedKeyUsage, RevocationReason};
use lamassu_crypto::HashAlgorithm;
use lamassu_x509::{Certificate as Read, GeneralName};
use serde_json::Value;
use time::{Duration, OffsetDateTime};

use super::{Export, ListCertificates, One, StatusArg};
use crate::commands::Session;
use crate::commands::cas::{CHAIN, Link};
use crate::commands::failure::{About, Noun, Refusal as _};
use crate::commands::fields::CERTIFICATE_FIELDS;
use crate::commands::files;
use crate::commands::listing::{self, Conditions};
use crate::commands::output::{ListPrinter, Record, Shape, note};
use crate::commands::values::{at, left, subject};

const CERTIFICATES: Shape<Certificate> = Shape {
    headings: &[
        "SERIAL NUMBER",
        "STATUS",
        "COMMON NAME",
        "CA",
        "KEY",
        "EXPIRES",
        "LEFT",
    ],
    row: |certificate, now| {
        vec![
            certificate.serial_number.to_string(),
            status(certificate),
            certificate.subject.common_name.clone(),
            certificate.issuer_metadata.id.to_string(),
            key_kind(&certificate.key_metadata),
            at(certificate.valid_to),
            left_of(certificate, now),
        ]
    },
    id: |certificate| certificate.serial_number.to_string(),
};

/// The status in one word, holds apart: they can be taken back.
pub(crate) fn status(certificate: &Certificate) -> String {
    let is_hold = certificate.revocation_reason == RevocationReason::CertificateHold;
    match certificate.status {
        CertificateStatus::Revoked if is_hold => "ON HOLD".to_owned(),
        status => status.to_string(),
    }
}

/// How long it is still good for something.
pub(crate) fn left_of(certificate: &Certificate, now: OffsetDateTime) -> String {
    match certificate.status {
        CertificateStatus::Active => left(certificate.valid_to, now),
        CertificateStatus::Expired | CertificateStatus::Revoked | CertificateStatus::Inactive => {
            String::new()
        }
    }
}

/// Type and size of a key.
pub(crate) fn key_kind(key: &KeyMetadata) -> String {
    format!("{}-{}", key.key_type, key.bits)
}

fn record(certificate: &Certificate) -> Record {
    let usages = certificate.extensions.key_usage.names().collect::<Vec<_>>();
    let extended = certificate.extensions.extended_key_usage.iter();
    let extended: Vec<_> = extended.copied().map(ExtendedKeyUsage::name).collect();
    let held = match certificate.certificate_type {
        CertificateType::ImportedWithoutKey => "(not here)".to_owned(),
        CertificateType::Managed | CertificateType::ImportedWithKey => {
            certificate.engine_id.to_string()
        }
    };
    let metadata = certificate.metadata.clone().filter(|map| !map.is_empty());
    let metadata = metadata.map(|map| Value::Object(map).to_string());
    let mut record = vec![
        ("serial number", certificate.serial_number.to_string()),
        ("SHA-256", fingerprint(certificate)),
        ("status", status(certificate)),
        ("subject", subject(&certificate.subject)),
        (
            "alternative names",
            alternative_names(certificate).join(", "),
        ),
        ("CA", certificate.issuer_metadata.id.to_string()),
        ("issuer", subject(&certificate.issuer)),
        ("valid from", at(certificate.valid_from)),
        ("expires", at(certificate.valid_to)),
        ("left", left_of(certificate, Session::now())),
        ("key", key_kind(&certificate.key_metadata)),
        ("held", held),
        ("key usage", usages.join(", ")),
        ("extended key usage", extended.join(", ")),
        ("metadata", metadata.unwrap_or_default()),
    ];
    if certificate.status == CertificateStatus::Revoked {
        let reason = certificate.revocation_reason.name().to_owned();
        record.insert(3, ("revoked", at(certificate.revocation_timestamp)));
        record.insert(4, ("reason", reason));
    }
    record
}

/// The digest by which people compare certificates, as the filter `fingerprint` has it.
pub(crate) fn fingerprint(certificate: &Certificate) -> String {
    hex::encode(HashAlgorithm::Sha256.digest(certificate.certificate.der()))
}

/// The id under which the key manager has the certificate's key, if it has it. What the certificate calls
/// its key may be something else, where others issued it.
///
/// # Errors
/// The certificate cannot be read.
pub(crate) fn key_id(certificate: &Certificate) -> Result<String> {
    let read = Read::from_der(certificate.certificate.der().clone())?;
    Ok(read.public_key()?.key_id_sha256_hex())
}

/// The names in the certificate, as they are; none where they cannot be read.
pub(super) fn general_names(certificate: &Certificate) -> Vec<GeneralName> {
    let read = Read::from_der(certificate.certificate.der().clone()).ok();
    let names = read.and_then(|read| read.extensions().subject_alt_names().ok());
    names.unwrap_or_default()
}

/// The names in the certificate for people; what cannot be read is left out, the bytes are still there.
pub(super) fn alternative_names(certificate: &Certificate) -> Vec<String> {
    told_names(general_names(certificate))
}

/// Names for people.
pub(super) fn told_names(names: Vec<GeneralName>) -> Vec<String> {
    names
        .into_iter()
        .map(|name| match name {
            GeneralName::Rfc822(text) | GeneralName::Dns(text) | GeneralName::Uri(text) => text,
            GeneralName::Ip(address) => address.to_string(),
            GeneralName::Directory(name) => name.common_name().unwrap_or_default(),
            GeneralName::Other(_) => "(another form)".to_owned(),
        })
        .collect()
}

/// Prints a certificate.
pub(super) fn print(session: &Session, certificate: &Certificate) -> Result<()> {
    let serial = certificate.serial_number.as_str();
    session.print(certificate, serial, || record(certificate))
}

/// The certificate that is named.
pub(super) async fn find(session: &Session, one: &One) -> Result<Certificate> {
    let named = one.named()?;
    let found = session.ca.certificate_named(&session.caller, &named).await;
    found.about(About::new(Noun::Certificate, &named))
}

pub(super) async fn list(session: &Session, asked: &ListCertificates) -> Result<()> {
    let soon = asked.expires_within.map(|within| {
        let now = Session::now();
        let end = now.checked_add(Duration::from(within)).unwrap_or(now);
        (
            Timestamp::from(now).to_string(),
            Timestamp::from(end).to_string(),
        )
    });
    let status = match (asked.status, &soon) {
        (None, Some(_)) => Some(StatusArg::Active),
        (status, _) => status,
    };
    let conditions = Conditions::default()
        .with_status(status)
        .with(
            "valid_to[after]",
            soon.as_ref().map(|(now, _)| now.as_str()),
        )
        .with(
            "valid_to[before]",
            soon.as_ref().map(|(_, end)| end.as_str()),
        )
        .with(
            "subject.common_name[contains_ignorecase]",
            asked.name.as_deref(),
        )
        .with("san[contains_ignorecase]", asked.san.as_deref());
    let request = asked.list.request(CERTIFICATE_FIELDS, conditions)?;
    let id = asked.ca.as_deref().map(CaId::from);
    listing::print(
        session,
        &asked.list,
        request,
        &CERTIFICATES,
        async |request| {
            let (ca, caller) = (&session.ca, &session.caller);
            match &id {
                Some(id) => ca
                    .certificates_by_ca(caller, id, request)
                    .await
                    .about(About::ca(id)),
                None => Ok(ca.certificates(caller, request).await?),
            }
        },
    )
    .await
}

pub(super) async fn one(session: &Session, one: &One) -> Result<()> {
    print(session, &find(session, one).await?)
}

pub(super) async fn chain(session: &Session, one: &One) -> Result<()> {
    let named = one.named()?;
    let ders = session.ca.certificate_chain(&session.caller, &named).await;
    let ders = ders.about(About::new(Noun::Certificate, &named))?;
    let links = ders.iter().map(Link::read).collect::<Result<Vec<_>>>()?;
    let mut printer = ListPrinter::new(session, &CHAIN);
    printer.page(&links)?;
    printer.end()
}

pub(super) async fn export(session: &Session, asked: &Export) -> Result<()> {
    let certificate = find(session, &asked.one).await?;
    let chain = if asked.chain {
        let (ca, caller) = (&session.ca, &session.caller);
        let chain = ca.certificate_chain(caller, &(&certificate).into()).await?;
        if let [only] = chain.as_slice()
            && !Read::from_der(only.der().clone())?.is_self_signed()
        {
            note(
                "warning: the CA that issued it is not here, nor are those above: this is no chain",
            );
        }
        chain
    } else {
        vec![certificate.certificate]
    };
    files::write(&asked.out, &files::certificates(asked.format, &chain))
}
