//! The rows that measure requests per second.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use bytes::Bytes;
use http::StatusCode;
use tokio::sync::Mutex;

use crate::client::{Answer, Connection, Target};
use crate::load::{self, Asked, Asking, Worker};
use crate::plant::Plant;

/// Most requests per second that requests are made beforehand for, where each must be another.
const MADE_PER_SECOND: u64 = 8_000;

/// The same for revocations, whose certificates must be issued first.
const ISSUED_PER_SECOND: u64 = 4_000;

/// Certificates that the rows about many ask for.
const MANY: u64 = 5_000;

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Row {
    /// A CSR signed over REST: HTTPS kept alive, bearer token, P-256, durable.
    Sign,
    /// EST enrollment, a new mutual-TLS connection each, no resumption.
    EnrollFresh,
    /// EST enrollment over a kept mutual-TLS connection.
    EnrollKept,
    /// OCSP by POST over plain HTTP kept alive, P-256 CA, without nonce, one certificate.
    Ocsp,
    /// The same over many certificates.
    OcspMany,
    /// One certificate, with a nonce.
    OcspNonce,
    /// Many certificates, with a nonce.
    OcspNonceMany,
    /// Revocation over REST, each of another certificate, CRLs being made meanwhile.
    Revoke,
}

impl Row {
    pub(crate) const ALL: [Self; 8] = [
        Self::Sign,
        Self::EnrollFresh,
        Self::EnrollKept,
        Self::Ocsp,
        Self::OcspMany,
        Self::OcspNonce,
        Self::OcspNonceMany,
        Self::Revoke,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sign => "sign",
            Self::EnrollFresh => "enroll-fresh",
            Self::EnrollKept => "enroll-kept",
            Self::Ocsp => "ocsp",
            Self::OcspMany => "ocsp-many",
            Self::OcspNonce => "ocsp-nonce",
            Self::OcspNonceMany => "ocsp-nonce-many",
            Self::Revoke => "revoke",
        }
    }

    /// Everything that `clients` clients need for `duration`, made before the clock runs.
    pub(crate) async fn prepare(
        self,
        plant: &Plant,
        names: &Names,
        clients: u64,
        duration: Duration,
    ) -> Result<Crew> {
        let seconds = duration.as_secs().max(1);
        let ceiling = |per_second: u64| per_second.min(1_500 * clients) * seconds;
        let (wires, use_of) = match self {
            Self::Sign => {
                let make = |name: u64| plant.sign_request(&format!("signed-{name}"));
                (made(names, ceiling(MADE_PER_SECOND), make)?, Use::Once)
            }
            Self::EnrollFresh | Self::EnrollKept => {
                let make = |name: u64| plant.enroll_request(&format!("device-{name}"));
                (made(names, ceiling(MADE_PER_SECOND), make)?, Use::Once)
            }
            Self::Ocsp => {
                let wire = plant.ocsp_request(&plant.device_serial, None)?;
                (vec![wire], Use::Again)
            }
            Self::OcspNonce => {
                let make =
                    |name: u64| plant.ocsp_request(&plant.device_serial, Some(&name.to_be_bytes()));
                (made(names, MANY, make)?, Use::Again)
            }
            Self::OcspMany | Self::OcspNonceMany => {
                let make = |serial: &String| {
                    let nonce = names.next().to_be_bytes();
                    let nonce = (self == Self::OcspNonceMany).then_some(&nonce[..]);
                    plant.ocsp_request(serial, nonce)
                };
                let serials = names.issued(plant, MANY).await?;
                let wires = serials.iter().map(make).collect::<Result<_>>()?;
                (wires, Use::Again)
            }
            Self::Revoke => {
                let serials = issue(plant, names, ceiling(ISSUED_PER_SECOND)).await?;
                let make = |serial: &String| plant.revoke_request(serial);
                let wires = serials.iter().map(make).collect::<Result<_>>()?;
                (wires, Use::Once)
            }
        };
        Ok(Crew {
            row: self,
            target: match self {
                Self::Sign | Self::Revoke => plant.https.clone(),
                Self::EnrollFresh | Self::EnrollKept => plant.mutual.clone(),
                Self::Ocsp | Self::OcspMany | Self::OcspNonce | Self::OcspNonceMany => {
                    plant.http.clone()
                }
            },
            stock: Stock::new(wires, use_of),
            serials: None,
        })
    }

    const fn success(self) -> StatusCode {
        match self {
            Self::Sign => StatusCode::CREATED,
            Self::EnrollFresh
            | Self::EnrollKept
            | Self::Ocsp
            | Self::OcspMany
            | Self::OcspNonce
            | Self::OcspNonceMany
            | Self::Revoke => StatusCode::OK,
        }
    }
}

/// Names that were not used before, and certificates that nobody revokes.
#[derive(Debug, Default)]
pub(crate) struct Names {
    next: AtomicU64,
    issued: Mutex<Vec<String>>,
}

impl Names {
    fn next(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    async fn issued(&self, plant: &Plant, count: u64) -> Result<Vec<String>> {
        let mut issued = self.issued.lock().await;
        if issued.is_empty() {
            *issued = issue(plant, self, count).await?;
        }
        Ok(issued.clone())
    }
}

/// Issues so many certificates and gives their serial numbers.
pub(crate) async fn issue(plant: &Plant, names: &Names, count: u64) -> Result<Vec<String>> {
    let make = |name: u64| plant.sign_request(&format!("issued-{name}"));
    let serials = Arc::new(Mutex::new(Vec::new()));
    let crew = Crew {
        row: Row::Sign,
        target: plant.https.clone(),
        stock: Stock::new(made(names, count, make)?, Use::Once),
        serials: Some(Arc::clone(&serials)),
    };
    load::run(32, Duration::from_secs(600), || crew.worker()).await?;
    let serials = std::mem::take(&mut *serials.lock().await);
    Ok(serials)
}

/// So many requests, made on all cores.
fn made(
    names: &Names,
    count: u64,
    make: impl Fn(u64) -> Result<Bytes> + Sync,
) -> Result<Vec<Bytes>> {
    let make_half =
        |count: u64| -> Result<Vec<Bytes>> { (0..count).map(|_| make(names.next())).collect() };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| make_half(count / 2));
        let mut all = make_half(count - count / 2)?;
        all.extend(other.join().map_err(|_| anyhow!("a thread is lost"))??);
        Ok(all)
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// Each request is sent once.
    Once,
    /// After the last comes the first.
    Again,
}

/// Requests for all clients of a measurement.
#[derive(Clone)]
struct Stock {
    wires: Arc<[Bytes]>,
    next: Arc<AtomicUsize>,
    use_of: Use,
}

impl Stock {
    fn new(wires: Vec<Bytes>, use_of: Use) -> Self {
        Self {
            wires: wires.into(),
            next: Arc::new(AtomicUsize::new(0)),
            use_of,
        }
    }

    fn next(&self) -> Option<Bytes> {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        let at = match self.use_of {
            Use::Once => next,
            Use::Again => next.checked_rem(self.wires.len())?,
        };
        self.wires.get(at).cloned()
    }
}

/// What the clients of one measurement share.
#[derive(Clone)]
pub(crate) struct Crew {
    row: Row,
    target: Target,
    stock: Stock,
    /// Where the serial numbers of what was issued go, if anywhere.
    serials: Option<Arc<Mutex<Vec<String>>>>,
}

impl Crew {
    /// One client.
    pub(crate) fn worker(&self) -> Client {
        Client {
            connection: Connection::to(self.target.clone()),
            crew: self.clone(),
        }
    }
}

/// One client of a row.
pub(crate) struct Client {
    crew: Crew,
    connection: Connection,
}

impl Worker for Client {
    fn ask(&mut self) -> Asking<'_> {
        Box::pin(async move {
            let Some(wire) = self.crew.stock.next() else {
                return Ok(Asked::Exhausted);
            };
            let answer = self.connection.send(&wire).await?;
            if self.crew.row == Row::EnrollFresh {
                self.connection.close();
            }
            if is_busy(&answer) {
                return Ok(Asked::TurnedAway);
            }
            let body = answer.expect(self.crew.row.success())?;
            if let Some(serials) = &self.crew.serials {
                let serial = serial_number(&body).context("no serial number")?;
                serials.lock().await.push(serial);
            }
            Ok(Asked::Answered)
        })
    }
}

fn is_busy(answer: &Answer) -> bool {
    answer.status == StatusCode::SERVICE_UNAVAILABLE && answer.header("retry-after").is_some()
}

/// The first member of that name, which is the certificate's own.
fn serial_number(body: &[u8]) -> Option<String> {
    let (_, rest) = std::str::from_utf8(body)
        .ok()?
        .split_once(r#""serial_number":""#)?;
    rest.split_once('"').map(|(serial, _)| serial.to_owned())
}
