//! How long a CRL of very many entries takes, and how much memory: from a revocation that was answered
//! to the new list fetched, which holds building, signing, writing it durably and sending it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use http::StatusCode;
use lamassu_x509::Serial;
use lamassu_x509::crl::CertificateList;

use crate::client::{Answer, Connection};
use crate::load::percentile_ms;
use crate::plant::Plant;
use crate::rows::{self, Names};
use crate::server::{Installation, Kind};

/// Entries of the lists.
const ENTRIES: [u32; 2] = [100_000, 1_000_000];

/// Lists that are made of each length.
const LISTS: u64 = 5;

/// How long a list is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often it is asked for.
const LOOK: Duration = Duration::from_millis(5);

/// Seeds entries and prints a line per length.
pub(crate) async fn measure(program: &Path, kind: Kind, directory: &Path) -> Result<()> {
    let installation = Installation::new(program, kind, directory)?;
    let mut server = installation.start().await?;
    let mut plant = Plant::set_up(&installation, &server).await?;
    let names = Names::default();
    let mut there = 0;
    for wanted in ENTRIES {
        server.stop()?;
        installation.seed_revoked(&plant.device_serial, wanted - there)?;
        // As if the validation authority had heard of each.
        installation.fill(
            "INSERT INTO va_revoked (ca_id, serial_number, revoked_at, reason, valid_to) \
             SELECT issuer_ca_id, serial_number, revocation_timestamp, 1, valid_to \
             FROM certificate WHERE status = 'REVOKED' ON CONFLICT DO NOTHING",
        )?;
        there = wanted;
        server = installation.start().await?;
        plant = plant.moved_to(&server);
        let serials = rows::issue(&plant, &names, LISTS).await?;
        let before = server.resident_mb()?;
        let (mut times, last) = lists(&plant, &serials).await?;
        let peak = server.peak_mb()?;
        let bytes = last.as_der().len();
        let n_entries = last.entries().count();
        ensure!(
            n_entries > usize::try_from(wanted)?,
            "{n_entries} entries of more than {wanted}"
        );
        times.sort_unstable();
        println!(
            "crl: {n_entries} entries, {:.1} MB: fetched {:.0} ms after a revocation (most {:.0}); \
             memory {before} MB before, {peak} MB at most",
            f64::from(u32::try_from(bytes)?) / 1e6,
            percentile_ms(&times, 50),
            percentile_ms(&times, 100),
        );
    }
    Ok(())
}

/// Revokes one certificate after the other; how long each list took, and the last one, verified.
async fn lists(plant: &Plant, serials: &[String]) -> Result<(Vec<Duration>, CertificateList)> {
    let mut api = Connection::to(plant.https.clone());
    let mut fetching = Connection::to(plant.http.clone());
    let mut times = Vec::new();
    let mut last = None;
    let mut tag = tag_of(&fetching.send(&plant.crl_request(None)?).await?)?;
    for serial in serials {
        api.send(&plant.revoke_request(serial)?)
            .await?
            .expect(StatusCode::OK)?;
        let begun = Instant::now();
        let answer = loop {
            tokio::time::sleep_until((Instant::now() + LOOK).into()).await;
            let answer = fetching.send(&plant.crl_request(Some(&tag))?).await?;
            if answer.status != StatusCode::NOT_MODIFIED {
                break answer;
            }
            ensure!(begun.elapsed() < PATIENCE, "no new CRL");
        };
        times.push(begun.elapsed());
        tag = tag_of(&answer)?;
        last = Some((serial, answer.expect(StatusCode::OK)?));
    }
    let (serial, der) = last.context("no CRL was made")?;
    let list = CertificateList::from_der(der)?;
    list.verify_signed_by(&plant.ca.public_key()?)?;
    let serial = Serial::from_hex(serial).context("a serial number is hexadecimal")?;
    ensure!(
        list.entry(&serial).is_some(),
        "the last list lacks the last revocation"
    );
    Ok((times, list))
}

fn tag_of(answer: &Answer) -> Result<String> {
    let tag = answer.header("etag").context("a CRL has a tag")?;
    Ok(tag.to_owned())
}
