//! How long after a revocation was answered OCSP and the CRL say so.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use http::StatusCode;
use lamassu_x509::Serial;
use lamassu_x509::crl::CertificateList;
use lamassu_x509::ocsp::{CertStatus, OcspResponse};

use crate::client::Connection;
use crate::load::percentile_ms;
use crate::plant::Plant;

/// Revocations per measurement.
pub(crate) const REVOCATIONS: usize = 10;

/// How long anything is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often the CRL is asked for.
const LOOK: Duration = Duration::from_millis(5);

/// Waits for a CRL that has so many entries.
pub(crate) async fn wait_for_entries(plant: &Plant, count: u32) -> Result<()> {
    let count = usize::try_from(count)?;
    let begun = Instant::now();
    let mut watch = CrlWatch::new(plant);
    loop {
        if let Some(list) = watch.look(plant).await?
            && list.entries().count() >= count
        {
            return Ok(());
        }
        ensure!(begun.elapsed() < PATIENCE, "no CRL with {count} entries");
    }
}

/// Revokes one certificate after the other; prints how long it took each way.
pub(crate) async fn measure(plant: &Plant, serials: &[String], revoked: u32) -> Result<()> {
    let mut api = Connection::to(plant.https.clone());
    let mut ocsp = Connection::to(plant.http.clone());
    let mut watch = CrlWatch::new(plant);
    let (mut by_ocsp, mut by_crl) = (Vec::new(), Vec::new());
    let mut n_entries = 0;
    for serial in serials {
        // The list that stands before, so that the next one is another.
        while watch.look(plant).await?.is_some() {}
        let revocation = plant.revoke_request(serial)?;
        let question = plant.ocsp_request(serial, None)?;
        api.send(&revocation).await?.expect(StatusCode::OK)?;
        let begun = Instant::now();
        loop {
            let answer = ocsp.send(&question).await?.expect(StatusCode::OK)?;
            if is_revoked(plant, answer)? {
                break;
            }
            ensure!(begun.elapsed() < PATIENCE, "OCSP does not say revoked");
        }
        by_ocsp.push(begun.elapsed());
        let number = Serial::from_hex(serial).context("a serial number is hexadecimal")?;
        loop {
            let received = watch.look(plant).await?;
            let elapsed = begun.elapsed();
            if let Some(list) = received
                && list.entry(&number).is_some()
            {
                by_crl.push(elapsed);
                n_entries = list.entries().count();
                break;
            }
            ensure!(elapsed < PATIENCE, "the CRL does not say revoked");
        }
    }
    by_ocsp.sort_unstable();
    by_crl.sort_unstable();
    println!(
        "freshness: {revoked} revoked before: OCSP says revoked after {:.1} ms (most {:.1}), \
         the CRL ({n_entries} entries, verified) after {:.0} ms (most {:.0})",
        percentile_ms(&by_ocsp, 50),
        percentile_ms(&by_ocsp, 100),
        percentile_ms(&by_crl, 50),
        percentile_ms(&by_crl, 100),
    );
    Ok(())
}

fn is_revoked(plant: &Plant, answer: bytes::Bytes) -> Result<bool> {
    let response = OcspResponse::from_der(answer)?;
    let basic = response.basic.context("no answer from OCSP")?;
    basic.verify_signed_by(&plant.ca.public_key()?)?;
    let single = basic.responses.first().context("an empty OCSP answer")?;
    Ok(matches!(single.status, CertStatus::Revoked { .. }))
}

/// Asks for the CRL and gives it when it is a new one.
struct CrlWatch {
    connection: Connection,
    tag: Option<String>,
}

impl CrlWatch {
    fn new(plant: &Plant) -> Self {
        Self {
            connection: Connection::to(plant.http.clone()),
            tag: None,
        }
    }

    async fn look(&mut self, plant: &Plant) -> Result<Option<CertificateList>> {
        tokio::time::sleep_until((Instant::now() + LOOK).into()).await;
        let wire = plant.crl_request(self.tag.as_deref())?;
        let answer = self.connection.send(&wire).await?;
        if answer.status == StatusCode::NOT_MODIFIED {
            return Ok(None);
        }
        self.tag = answer.header("etag").map(str::to_owned);
        let list = CertificateList::from_der(answer.expect(StatusCode::OK)?)?;
        list.verify_signed_by(&plant.ca.public_key()?)?;
        Ok(Some(list))
    }
}
