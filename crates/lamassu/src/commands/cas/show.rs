//! CAs as people see them.

use anyhow::Result;
use lamassu_core::ca::{CaService as _, CertificateAuthority, CertificateType, StatusCounts};
use lamassu_core::ids::CaId;
use lamassu_core::pem::CertificateDer;
use lamassu_core::va::{VaRole, VaService as _};
use lamassu_x509::{Certificate, Name};
use serde::Serialize;

use super::{ExportCa, ListCas};
use crate::commands::Session;
use crate::commands::certificates::{fingerprint, key_id, key_kind, left_of, status};
use crate::commands::failure::{About, Refusal as _};
use crate::commands::fields::AUTHORITY_FIELDS;
use crate::commands::files;
use crate::commands::keys::known_engine;
use crate::commands::listing::{self, Conditions};
use crate::commands::output::{Form, ListPrinter, Record, Shape};
use crate::commands::values::{at, duration, subject};

const CAS: Shape<CertificateAuthority> = Shape {
    headings: &[
        "ID",
        "STATUS",
        "COMMON NAME",
        "ISSUER",
        "KEY",
        "HELD",
        "EXPIRES",
        "LEFT",
    ],
    row: |ca, now| {
        let certificate = &ca.certificate;
        vec![
            ca.id.to_string(),
            status(certificate),
            certificate.subject.common_name.clone(),
            issuer(ca),
            key_kind(&certificate.key_metadata),
            held(ca),
            at(certificate.valid_to),
            left_of(certificate, now),
        ]
    },
    id: |ca| ca.id.to_string(),
};

/// The id of the issuing CA, or what is known of it.
fn issuer(ca: &CertificateAuthority) -> String {
    let issuer = &ca.certificate.issuer_metadata.id;
    match issuer.as_str() {
        id if id == ca.id.as_str() => "(root)".to_owned(),
        "-" => "(elsewhere)".to_owned(),
        id => id.to_owned(),
    }
}

/// Where the private key is.
fn held(ca: &CertificateAuthority) -> String {
    match ca.certificate.certificate_type {
        CertificateType::ImportedWithoutKey => "(not here)".to_owned(),
        CertificateType::Managed | CertificateType::ImportedWithKey => {
            ca.certificate.engine_id.to_string()
        }
    }
}

fn record(ca: &CertificateAuthority, role: Option<&VaRole>) -> Record {
    let certificate = &ca.certificate;
    let metadata = match ca.metadata.is_empty() {
        true => String::new(),
        false => serde_json::Value::Object(ca.metadata.clone()).to_string(),
    };
    let delta = role.and_then(|role| role.crl_options.delta_validity.value());
    vec![
        ("id", ca.id.to_string()),
        ("status", status(certificate)),
        ("subject", subject(&certificate.subject)),
        ("issuer", issuer(ca)),
        ("level", ca.level.to_string()),
        ("serial number", ca.serial_number.to_string()),
        ("SHA-256", fingerprint(certificate)),
        ("valid from", at(certificate.valid_from)),
        ("expires", at(certificate.valid_to)),
        ("left", left_of(certificate, Session::now())),
        ("key", key_kind(&certificate.key_metadata)),
        (
            "key id",
            key_id(certificate).unwrap_or_else(|_| certificate.subject_key_id.clone()),
        ),
        ("held", held(ca)),
        ("profile", ca.profile_id.to_string()),
        (
            "CRL shards",
            ca.crl_shards
                .map(|n| u32::from(n).to_string())
                .unwrap_or_default(),
        ),
        (
            "delta CRLs",
            delta
                .map(|valid| format!("valid for {}", duration(*valid)))
                .unwrap_or_default(),
        ),
        ("created", at(ca.creation_ts)),
        ("metadata", metadata),
    ]
}

/// Prints a CA.
pub(super) fn print(session: &Session, ca: &CertificateAuthority) -> Result<()> {
    session.print(ca, ca.id.as_str(), || record(ca, None))
}

/// The same with how its CRLs are made, for whoever may see that.
pub(super) async fn print_whole(session: &Session, ca: &CertificateAuthority) -> Result<()> {
    let role = match session.output.form() {
        Form::Text => {
            let ski = &ca.certificate.subject_key_id;
            session.va.role(&session.caller, ski).await.ok()
        }
        // The JSON is that of the CA service.
        Form::Json | Form::Id => None,
    };
    session.print(ca, ca.id.as_str(), || record(ca, role.as_ref()))
}

/// The CA that is named.
pub(super) async fn find(session: &Session, ca: &str) -> Result<CertificateAuthority> {
    let found = session.ca.ca(&session.caller, &CaId::from(ca)).await;
    found.about(About::ca(ca))
}

pub(super) async fn list(session: &Session, asked: &ListCas) -> Result<()> {
    known_engine(session, asked.engine.as_deref()).await?;
    let conditions = Conditions::default()
        .with_status(asked.status)
        .with("engine_id[equal]", asked.engine.as_deref())
        .with(
            "subject.common_name[contains_ignorecase]",
            asked.name.as_deref(),
        )
        .with("issuer_metadata.id[equal]", asked.issuer.as_deref());
    let request = asked.list.request(AUTHORITY_FIELDS, conditions)?;
    listing::print(session, &asked.list, request, &CAS, async |request| {
        Ok(session.ca.cas(&session.caller, request).await?)
    })
    .await
}

pub(super) async fn one(session: &Session, ca: &str) -> Result<()> {
    print_whole(session, &find(session, ca).await?).await
}

/// A certificate of a chain, as its bytes say.
#[derive(Debug, Serialize)]
pub(crate) struct Link {
    serial_number: String,
    subject: String,
    issuer: String,
    expires: String,
    certificate: CertificateDer,
}

/// Chains, from the end entity or CA up.
pub(crate) const CHAIN: Shape<Link> = Shape {
    headings: &["SUBJECT", "ISSUER", "EXPIRES", "SERIAL NUMBER"],
    row: |link, _| {
        vec![
            link.subject.clone(),
            link.issuer.clone(),
            link.expires.clone(),
            link.serial_number.clone(),
        ]
    },
    id: |link| link.serial_number.clone(),
};

impl Link {
    /// # Errors
    /// It is no certificate.
    pub(crate) fn read(der: &CertificateDer) -> Result<Self> {
        let certificate = Certificate::from_der(der.der().clone())?;
        let named = |name: &Name| name.common_name().unwrap_or_default();
        Ok(Self {
            serial_number: certificate.serial().to_hex(),
            subject: named(certificate.subject()),
            issuer: named(certificate.issuer()),
            expires: at(certificate.not_after().into()),
            certificate: der.clone(),
        })
    }
}

pub(super) async fn chain(session: &Session, ca: &str) -> Result<()> {
    let ders = session.ca.ca_chain(&session.caller, &CaId::from(ca)).await;
    let ders = ders.about(About::ca(ca))?;
    let links = ders.iter().map(Link::read).collect::<Result<Vec<_>>>()?;
    let mut printer = ListPrinter::new(session, &CHAIN);
    printer.page(&links)?;
    printer.end()
}

pub(super) async fn export(session: &Session, asked: &ExportCa) -> Result<()> {
    let chain = if asked.chain {
        let id = CaId::from(asked.ca.as_str());
        let chain = session.ca.ca_chain(&session.caller, &id).await;
        chain.about(About::ca(&asked.ca))?
    } else {
        vec![find(session, &asked.ca).await?.certificate.certificate]
    };
    files::write(&asked.out, &files::certificates(asked.format, &chain))
}

pub(super) async fn stats(session: &Session) -> Result<()> {
    let stats = session.ca.stats(&session.caller, &[], &[]).await?;
    session.print(&stats, &stats.cas.total.to_string(), || {
        let engines = stats.cas.engine_distribution.iter();
        let engines: Vec<_> = engines.map(|(id, n)| format!("{id} {n}")).collect();
        vec![
            ("CAs", stats.cas.total.to_string()),
            ("by status", counts(stats.cas.status_distribution)),
            ("by engine", engines.join(", ")),
            ("certificates", stats.certificates.total.to_string()),
            ("by status", counts(stats.certificates.status_distribution)),
        ]
    })
}

pub(super) async fn stats_of(session: &Session, ca: &str) -> Result<()> {
    // The statistics of a CA that does not exist are zeros.
    let id = find(session, ca).await?.id;
    let stats = session.ca.stats_of_ca(&session.caller, &id, &[]).await?;
    let total = stats.active + stats.expired + stats.revoked;
    session.print(&stats, &total.to_string(), || {
        vec![
            ("certificates", total.to_string()),
            ("by status", counts(stats)),
        ]
    })
}

fn counts(counts: StatusCounts) -> String {
    let StatusCounts {
        active,
        expired,
        revoked,
    } = counts;
    format!("ACTIVE {active}, EXPIRED {expired}, REVOKED {revoked}")
}
