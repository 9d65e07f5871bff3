//! `lamassu crl`: fetches revocation lists, shows and verifies them, and looks certificates up in them.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use bytes::Bytes;
use clap::{Args, Subcommand};
use lamassu_core::timestamp::Timestamp;
use lamassu_x509::Certificate;
use lamassu_x509::crl::{CertificateList, CrlReason, CrlRefusal, RevokedEntry};
use lamassu_x509::pem::{PemLabel, der_to_pem, pem_to_der};
use serde::Serialize;

use super::Session;
use super::files::{self, Kind};
use super::output::{Form, OutputArgs, note, write};
use super::relying::{CLOCK_SKEW, IssuerArgs, is_web, web_address};
use super::values::{at, name};
use super::verdict::{ListKind, Status, Times, Verdict};
use crate::table::{Columns, line};

/// First octet of a list in DER.
const SEQUENCE: u8 = 0x30;

/// Fetch revocation lists, show and verify them, and look certificates up in them.
#[derive(Clone, Debug, Args)]
pub(crate) struct Crl {
    #[command(flatten)]
    output: OutputArgs,
    #[command(subcommand)]
    command: CrlCommand,
}

/// Revocation lists.
#[derive(Clone, Debug, Subcommand)]
enum CrlCommand {
    /// Fetch a list and write it to a file.
    Fetch(Fetch),
    /// Show a list, and how many it holds; with --entries each of them.
    Show {
        /// The list, PEM or DER; - is standard input.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// With every entry.
        #[arg(long)]
        entries: bool,
    },
    /// Check that a list is complete, of this issuer, and the newest that there must be.
    Verify {
        /// The list, PEM or DER; - is standard input.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Certificate of the CA whose list it is (PEM or DER).
        #[arg(long, value_name = "FILE")]
        issuer: PathBuf,
    },
    /// Say whether a certificate is revoked; the exit code is 0 when it is good, 3 when it is revoked, 4 when the list
    /// is not about it, 1 when there is no list that can be believed.
    Check(Check),
}

/// Fetch a list.
#[derive(Clone, Debug, Args)]
struct Fetch {
    /// A certificate that says where the list is, PEM or DER.
    #[arg(value_name = "CERT", required_unless_present = "url")]
    certificate: Option<PathBuf>,
    /// Where the list is.
    #[arg(long, value_name = "URL", value_parser = web_address, conflicts_with = "certificate")]
    url: Option<String>,
    /// The file; - is standard output.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Fetch the delta CRL that the list names: what changed since.
    #[arg(long)]
    delta: bool,
    /// Write PEM instead of DER.
    #[arg(long)]
    pem: bool,
    #[command(flatten)]
    issuer: IssuerArgs,
}

/// Look a certificate up.
#[derive(Clone, Debug, Args)]
struct Check {
    /// The certificate, PEM or DER; its chain may stand behind it.
    #[arg(value_name = "CERT")]
    certificate: PathBuf,
    #[command(flatten)]
    issuer: IssuerArgs,
    /// A list that is there, PEM or DER.
    #[arg(long, value_name = "FILE")]
    crl: Option<PathBuf>,
    /// Where the list is; where the certificate says when not said.
    #[arg(long, value_name = "URL", value_parser = web_address, conflicts_with = "crl")]
    url: Option<String>,
}

/// Does what the command says.
///
/// # Errors
/// There is no list that can be believed, or the certificate is not good.
pub(crate) async fn run(asked: &Crl) -> Result<()> {
    match &asked.command {
        CrlCommand::Fetch(fetch) => fetched(asked.output, fetch).await,
        CrlCommand::Show { file, entries } => show(asked.output, &read(file)?, *entries),
        CrlCommand::Verify { file, issuer } => verify(asked.output, &read(file)?, issuer),
        CrlCommand::Check(check) => look_up(asked.output, check).await,
    }
}

/// A list as it is shown.
#[derive(Serialize)]
struct Shown {
    issuer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u64>,
    this_update: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_update: Option<Timestamp>,
    /// What it is about; everything where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    n_entries: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    entries: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    serial_number: String,
    revocation_date: Timestamp,
    reason: String,
}

impl Entry {
    fn of(entry: &RevokedEntry) -> Self {
        Self {
            serial_number: entry.serial.to_hex(),
            revocation_date: entry.revocation_date.into(),
            reason: format!("{:?}", entry.reason),
        }
    }
}

fn show(output: OutputArgs, list: &CertificateList, with_entries: bool) -> Result<()> {
    let entries = match with_entries {
        true => list.entries().map(|entry| Entry::of(&entry)).collect(),
        false => Vec::new(),
    };
    let shown = Shown {
        issuer: name(list.issuer()),
        // Numbers of other CAs may have up to 20 octets.
        number: list.number().ok().flatten().map(|number| number.0),
        this_update: list.this_update().into(),
        next_update: list.next_update().map(Timestamp::from),
        scope: about(list)?,
        n_entries: list.entries().count(),
        entries,
    };
    let number = shown.number.map(|number| number.to_string());
    output.print(&shown, &number.clone().unwrap_or_default(), || {
        let scope = shown.scope.clone().map(|scope| ("about", scope));
        let facts = [
            ("issuer", shown.issuer.clone()),
            ("number", number.unwrap_or_default()),
            ("as of", at(shown.this_update)),
            ("until", shown.next_update.map(at).unwrap_or_default()),
        ];
        let entries = [("revoked", shown.n_entries.to_string())];
        facts.into_iter().chain(scope).chain(entries).collect()
    })?;
    if output.form() != Form::Text || !with_entries {
        return Ok(());
    }
    let headings = ["SERIAL NUMBER", "REVOKED", "REASON"].map(str::to_owned);
    let rows = shown.entries.iter().map(|entry| {
        let cells = [
            &entry.serial_number,
            &at(entry.revocation_date),
            &entry.reason,
        ];
        cells.map(|text| line(text)).to_vec()
    });
    let rows = std::iter::once(headings.to_vec()).chain(rows);
    write(&Columns::default().rows(rows))
}

/// What a list is about that is not complete.
fn about(list: &CertificateList) -> Result<Option<String>> {
    if let Some(base) = list.base_number()? {
        return Ok(Some(format!("changes since the list number {}", base.0)));
    }
    Ok(list.scope()?.map(|scope| scope.to_string()))
}

fn kind(list: &CertificateList) -> Result<ListKind> {
    Ok(match (list.base_number()?, list.scope()?) {
        (Some(_), _) => ListKind::Delta,
        (None, Some(_)) => ListKind::Shard,
        (None, None) => ListKind::Complete,
    })
}

fn verify(output: OutputArgs, list: &CertificateList, issuer: &Path) -> Result<()> {
    let known = files::read_certificates(issuer)?;
    let mut outcome = Err(CrlRefusal::OtherIssuer);
    for one in &known {
        outcome = list.check(one, Session::now(), CLOCK_SKEW);
        if outcome != Err(CrlRefusal::OtherIssuer) {
            break;
        }
    }
    outcome?;
    let until = list.next_update().map(|next| at(next.into()));
    let until = until.unwrap_or_else(|| "nobody says when".to_owned());
    let number = list.number().ok().flatten().map(|number| number.0);
    let number = number.map_or_else(String::new, |number| number.to_string());
    let about = match about(list)? {
        None => "complete".to_owned(),
        Some(about) => format!("about {about}"),
    };
    output.done(
        &number,
        &format!("the CRL is the issuer's, {about}, and valid until {until}"),
    )
}

async fn fetched(output: OutputArgs, asked: &Fetch) -> Result<()> {
    let urls = match (&asked.url, &asked.certificate) {
        (Some(url), _) => vec![url.clone()],
        (None, Some(path)) => points(&files::read_certificates(path)?)?,
        (None, None) => Vec::new(),
    };
    let (mut list, mut url) = first(&asked.issuer, &urls).await?;
    let mut what = "CRL";
    if asked.delta {
        let addresses = list.freshest()?;
        ensure!(!addresses.is_empty(), "the CRL at {url} names no delta CRL");
        (list, url) = first(&asked.issuer, &addresses).await?;
        what = "delta CRL";
        ensure!(
            kind(&list)? == ListKind::Delta,
            "what is at {url} is no delta CRL"
        );
    }
    let octets = match asked.pem {
        true => der_to_pem(PemLabel::Crl, list.as_der()).into_bytes(),
        false => list.as_der().to_vec(),
    };
    if asked.out == Path::new("-") {
        return files::write(&asked.out, &octets);
    }
    files::write(&asked.out, &octets)?;
    let sentence = format!("{} is the {what} at {url}", asked.out.display());
    output.done(&url, &sentence)
}

fn points(certificates: &[Certificate]) -> Result<Vec<String>> {
    let first = certificates.first().context("no certificate")?;
    let points = first.extensions().access_locations()?.crl;
    ensure!(
        !points.is_empty(),
        "the certificate does not say where a CRL is: say --url"
    );
    Ok(points)
}

/// What changed since a list, where it says that somebody tells: without that, it is not the newest.
async fn delta(
    arguments: &IssuerArgs,
    list: &CertificateList,
    issuer: &Certificate,
) -> Result<Option<(CertificateList, String)>> {
    let addresses = list.freshest()?;
    if addresses.is_empty() {
        return Ok(None);
    }
    let (delta, url) = first(arguments, &addresses).await?;
    match delta.check_delta(list, issuer, Session::now(), CLOCK_SKEW) {
        Ok(()) => Ok(Some((delta, url))),
        // A complete list is published before its delta, and caches keep the former delta for a while.
        Err(CrlRefusal::OlderDelta) => Ok(None),
        Err(refusal) => {
            Err(refusal).with_context(|| format!("the delta CRL {url} cannot be believed"))
        }
    }
}

/// The first list that one of these addresses gives.
async fn first(arguments: &IssuerArgs, urls: &[String]) -> Result<(CertificateList, String)> {
    let fetcher = arguments.fetcher(CertificateList::MAX_LEN)?;
    let mut failure = anyhow!("there is no http:// or https:// address of a CRL: say --url");
    for url in urls.iter().filter(|url| is_web(url)) {
        let got = fetcher.get(url).await.map_err(anyhow::Error::from);
        match got.and_then(|octets| parsed(octets).with_context(|| url.clone())) {
            Ok(list) => return Ok((list, url.clone())),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

async fn look_up(output: OutputArgs, asked: &Check) -> Result<()> {
    let (certificate, issuer) = asked.issuer.pair(&asked.certificate).await?;
    let (list, source) = match (&asked.crl, &asked.url) {
        (Some(path), _) => (read(path)?, path.display().to_string()),
        (None, Some(url)) => first(&asked.issuer, std::slice::from_ref(url)).await?,
        (None, None) => {
            let points = points(std::slice::from_ref(&certificate))?;
            first(&asked.issuer, &points).await?
        }
    };
    list.check(&issuer, Session::now(), CLOCK_SKEW)
        .with_context(|| format!("the CRL {source} cannot be believed"))?;
    if !list.is_about(&certificate)? {
        return Verdict::new(Status::Unknown, &certificate, times(&list), &source).tell(output);
    }
    let changed = match &asked.crl {
        Some(_) if list.freshest()?.is_empty() => None,
        Some(_) => {
            note(&format!(
                "warning: {source} names a delta CRL, and what changed since was not looked at: without --crl it is"
            ));
            None
        }
        None => delta(&asked.issuer, &list, &issuer).await?,
    };
    // The delta is newer: what it says counts.
    let lists = changed.iter().map(|(delta, url)| (delta, url));
    let mut lists = lists.chain([(&list, &source)]);
    let found = lists.find_map(|(list, source)| {
        let entry = list.entry(certificate.serial())?;
        Some((entry, list, source))
    });
    let verdict = match found {
        Some((entry, list, source)) if entry.reason != CrlReason::RemoveFromCrl => {
            Verdict::new(Status::Revoked, &certificate, times(list), source)
                .since(entry.revocation_date, entry.reason)
                .found_in(kind(list)?)
        }
        Some(_) | None => Verdict::new(Status::Good, &certificate, times(&list), &source),
    };
    verdict.tell(output)
}

fn times(list: &CertificateList) -> Times {
    Times {
        this_update: list.this_update(),
        next_update: list.next_update(),
    }
}

/// The list in a file.
fn read(path: &Path) -> Result<CertificateList> {
    let octets = files::read_up_to(path, CertificateList::MAX_LEN)?;
    files::check_kind(Kind::Crl, path, &octets)?;
    parsed(octets.into()).with_context(|| format!("{} holds no CRL", path.display()))
}

fn parsed(octets: Bytes) -> Result<CertificateList> {
    let der = match octets.first() {
        Some(&SEQUENCE) => octets,
        Some(_) => pem_to_der(&octets)?.into(),
        None => bail!("it is empty"),
    };
    Ok(CertificateList::from_der(der)?)
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use clap::Parser;
    use lamassu_crypto::{Curve, KeySpec, Message, PrivateKey};
    use lamassu_x509::crl::{
        CertificateList, CrlBuilder, CrlFields, CrlNumber, CrlReason, RevokedEntry,
        delta_crl_indicator, freshest_crl, issuing_distribution_point,
    };
    use lamassu_x509::{Certificate, Extension};
    use tokio::net::TcpListener;

    use super::super::est::certificate;
    use super::super::verdict::{ExitWith, ListKind};
    use super::{Crl, Session, kind, run};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        crl: Crl,
    }

    /// Lists of a CA, and the certificate that they are asked about: its own.
    struct Issuer {
        key: PrivateKey,
        certificate: Certificate,
    }

    impl Issuer {
        /// A list with this number and extension; where there is a reason, the certificate is on it.
        fn list(&self, number: u64, extension: Extension, reason: Option<CrlReason>) -> Vec<u8> {
            let now = Session::now();
            let fields = CrlFields {
                issuer: self.certificate.subject().clone(),
                authority_key_identifier: self.certificate.subject_key_identifier(),
                number: CrlNumber(number),
                this_update: now,
                next_update: now + time::Duration::DAY,
                scheme: self.key.default_scheme(),
            };
            let mut builder = CrlBuilder::new(&fields).unwrap();
            builder.push_extension(extension);
            let entry = reason.map(|reason| RevokedEntry {
                serial: self.certificate.serial().clone(),
                revocation_date: now,
                reason,
            });
            match &entry {
                None => {}
                Some(entry) if entry.reason == CrlReason::RemoveFromCrl => {
                    builder.push_removed(entry).unwrap();
                }
                Some(entry) => builder.push(entry).unwrap(),
            }
            let list = builder.finish();
            let message = Message::Raw(list.as_bytes());
            let signature = self.key.sign(list.scheme(), message).unwrap();
            list.assemble(&signature).to_vec()
        }
    }

    #[test]
    fn lists_are_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let key = PrivateKey::generate(KeySpec::Ec(Curve::P256)).unwrap();
        let certificate = certificate(directory.path(), &key);
        let issuer = Issuer { key, certificate };
        let url = "http://a/crl".to_owned();
        for (extension, expected) in [
            (freshest_crl(vec![url.clone()]).unwrap(), ListKind::Complete),
            (delta_crl_indicator(CrlNumber(6)), ListKind::Delta),
            (issuing_distribution_point(&[url]), ListKind::Shard),
        ] {
            let list = CertificateList::from_der(issuer.list(7, extension, None)).unwrap();
            assert_eq!(kind(&list).unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn a_delta_is_asked_for_and_heeded_unless_the_complete_list_is_newer() {
        let directory = tempfile::tempdir().unwrap();
        let key = PrivateKey::generate(KeySpec::Ec(Curve::P256)).unwrap();
        let certificate = certificate(directory.path(), &key);
        let path = directory.path().join("a.der");
        std::fs::write(&path, certificate.as_der()).unwrap();
        let issuer = Issuer { key, certificate };
        let (held, released) = (CrlReason::CertificateHold, CrlReason::RemoveFromCrl);
        for (complete, (number, base, change), expected) in [
            (None, (6, 5, Some(held)), Ok(())),
            (Some(held), (6, 5, Some(released)), Err(Some(3))),
            (None, (8, 7, Some(held)), Err(Some(3))),
            (Some(held), (8, 7, Some(released)), Ok(())),
            // Of a later list: what changed between the two is not known.
            (None, (9, 8, None), Err(None)),
        ] {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let address = format!("http://{}", listener.local_addr().unwrap());
            let freshest = freshest_crl(vec![format!("{address}/delta")]).unwrap();
            let complete = issuer.list(7, freshest, complete);
            let delta = issuer.list(number, delta_crl_indicator(CrlNumber(base)), change);
            let router = Router::new()
                .route("/crl", get(async move || complete))
                .route("/delta", get(async move || delta));
            let serving = tokio::spawn(axum::serve(listener, router).into_future());
            let line = format!("crl check {} -q --url {address}/crl", path.display());
            let line = Line::try_parse_from(line.split_whitespace()).unwrap();
            let said = run(&line.crl).await;
            let code = |error: anyhow::Error| error.downcast_ref().map(|ExitWith(code)| *code);
            assert_eq!(said.map_err(code), expected, "{number} {base}");
            serving.abort();
        }
    }
}
