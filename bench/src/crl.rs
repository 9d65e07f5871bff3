//! How long a CRL of very many entries takes, and how much memory: from a revocation that was answered
//! to the new list fetched, which holds building, signing, writing it durably and sending it. Beside as many
//! entries, the same of what is short: a delta CRL, and the list of one shard.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use http::StatusCode;
use lamassu_core::ids::SerialNumber;
use lamassu_core::va::CrlShards;
use lamassu_x509::Serial;
use lamassu_x509::crl::CertificateList;

use crate::Arguments;
use crate::client::{Answer, Connection};
use crate::load::percentile_ms;
use crate::plant::Plant;
use crate::rows::{self, Names};
use crate::server::{Installation, Kind, Server};

/// Lists that are made of each length.
const LISTS: u64 = 5;

/// How long a list is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often it is asked for.
const LOOK: Duration = Duration::from_millis(5);

/// Into how many shards the certificates are divided at last.
const SHARDS: u32 = 256;

/// Lists of shards have an address.
const DOMAIN: [&str; 2] = ["--domain", "bench.example"];

/// Seeds entries and prints a line per length and kind of list.
pub(crate) async fn measure(arguments: &Arguments, kind: Kind) -> Result<()> {
    let mut installation = Installation::new(&arguments.program, kind, &arguments.directory)?;
    if arguments.apart {
        installation = installation.apart()?;
    }
    let mut server = installation.start_with(&DOMAIN).await?;
    let mut plant = Plant::set_up(&installation, &server).await?;
    let names = Names::default();
    let mut there = 0;
    for wanted in arguments.crl_entries.iter().copied() {
        server.stop()?;
        installation.seed_revoked(&plant.device_serial, wanted.saturating_sub(there))?;
        // As if the validation authority had heard of each.
        installation.fill(
            "INSERT INTO va_revoked \
             (ca_id, serial_number, revoked_at, reason, valid_to, bucket) \
             SELECT issuer_ca_id, serial_number, revocation_timestamp, 1, valid_to, \
             ROW_NUMBER() OVER (ORDER BY serial_number) % 65536 \
             FROM certificate WHERE status = 'REVOKED' ON CONFLICT DO NOTHING",
        )?;
        there = wanted;
        server = installation.start_with(&DOMAIN).await?;
        plant = plant.moved_to(&server);
        complete(&plant, &server, &names, wanted).await?;
        deltas(&plant, &names, wanted).await?;
    }
    server.stop()?;
    installation.fill(&format!(
        "UPDATE certificate_authority SET crl_shards = {SHARDS} WHERE id = 'bench'"
    ))?;
    let server = installation.start_with(&DOMAIN).await?;
    shards(&plant.moved_to(&server), &server, &names, there).await
}

async fn complete(plant: &Plant, server: &Server, names: &Names, wanted: u32) -> Result<()> {
    let serials = rows::issue(plant, names, LISTS).await?;
    let before = server.resident_mb()?;
    let lists = lists(plant, &serials, |_| Ok(String::new())).await?;
    let peak = server.peak_mb()?;
    let n_entries = lists.last.entries().count();
    ensure!(
        n_entries > usize::try_from(wanted)?,
        "{n_entries} entries of more than {wanted}"
    );
    println!(
        "crl: {n_entries} entries, {:.1} MB: {}; memory {before} MB before, {peak} MB at most",
        lists.megabytes()?,
        lists.times()
    );
    Ok(())
}

/// Delta CRLs beside so many entries of the complete one.
async fn deltas(plant: &Plant, names: &Names, revoked: u32) -> Result<()> {
    let mut api = Connection::to(plant.https.clone());
    let request = plant.role_request(Some("1d"))?;
    api.send(&request).await?.expect(StatusCode::OK)?;
    let serials = rows::issue(plant, names, LISTS).await?;
    let lists = lists(plant, &serials, |_| Ok("/delta".to_owned())).await?;
    println!(
        "crl: delta touched beside {revoked} entries: {} entries, {}",
        lists.last.entries().count(),
        lists.times()
    );
    let request = plant.role_request(None)?;
    api.send(&request).await?.expect(StatusCode::OK)?;
    Ok(())
}

/// Lists of shards beside so many entries in all of them.
async fn shards(plant: &Plant, server: &Server, names: &Names, revoked: u32) -> Result<()> {
    let of = CrlShards::try_from(SHARDS)?;
    let serials = rows::issue(plant, names, LISTS).await?;
    let place = |serial: &str| {
        let serial = SerialNumber::parse(serial).context("a serial number is hexadecimal")?;
        Ok(format!("/{}", of.of(&serial)))
    };
    let lists = lists(plant, &serials, place).await?;
    println!(
        "crl: shard touched beside {revoked} entries in {SHARDS} shards: {} entries, {:.2} MB: {}; \
         memory {} MB at most",
        lists.last.entries().count(),
        lists.megabytes()?,
        lists.times(),
        server.peak_mb()?
    );
    Ok(())
}

/// How long lists took, and the last one, verified.
struct Lists {
    times: Vec<Duration>,
    last: CertificateList,
}

impl Lists {
    fn times(&self) -> String {
        format!(
            "fetched {:.0} ms after a revocation (most {:.0})",
            percentile_ms(&self.times, 50),
            percentile_ms(&self.times, 100)
        )
    }

    fn megabytes(&self) -> Result<f64> {
        Ok(f64::from(u32::try_from(self.last.as_der().len())?) / 1e6)
    }
}

/// Revokes one certificate after the other; its list is at the place, behind the address of the complete
/// one, that its serial number says.
async fn lists(
    plant: &Plant,
    serials: &[String],
    place: impl Fn(&str) -> Result<String>,
) -> Result<Lists> {
    let mut api = Connection::to(plant.https.clone());
    let mut fetching = Connection::to(plant.http.clone());
    let mut times = Vec::new();
    let mut last = None;
    let mut tags = HashMap::new();
    for serial in serials {
        let place = place(serial)?;
        let known = match tags.remove(&place) {
            Some(tag) => tag,
            None => tag_of(&first(plant, &mut fetching, &place).await?)?,
        };
        api.send(&plant.revoke_request(serial)?)
            .await?
            .expect(StatusCode::OK)?;
        let begun = Instant::now();
        let answer = loop {
            tokio::time::sleep_until((Instant::now() + LOOK).into()).await;
            let request = plant.crl_request_at(&place, Some(&known))?;
            let answer = fetching.send(&request).await?;
            if answer.status != StatusCode::NOT_MODIFIED {
                break answer;
            }
            ensure!(begun.elapsed() < PATIENCE, "no new CRL");
        };
        times.push(begun.elapsed());
        tags.insert(place, tag_of(&answer)?);
        last = Some((serial, answer.expect(StatusCode::OK)?));
    }
    let (serial, der) = last.context("no CRL was made")?;
    let last = CertificateList::from_der(der)?;
    last.verify_signed_by(&plant.ca.public_key()?)?;
    let serial = Serial::from_hex(serial).context("a serial number is hexadecimal")?;
    ensure!(
        last.entry(&serial).is_some(),
        "the last list lacks the last revocation"
    );
    times.sort_unstable();
    Ok(Lists { times, last })
}

/// The list that is there before, once there is one.
async fn first(plant: &Plant, fetching: &mut Connection, place: &str) -> Result<Answer> {
    let begun = Instant::now();
    loop {
        let answer = fetching.send(&plant.crl_request_at(place, None)?).await?;
        if answer.status == StatusCode::OK {
            return Ok(answer);
        }
        ensure!(begun.elapsed() < PATIENCE, "no CRL: {}", answer.status);
        tokio::time::sleep_until((Instant::now() + LOOK).into()).await;
    }
}

fn tag_of(answer: &Answer) -> Result<String> {
    let tag = answer.header("etag").context("a CRL has a tag")?;
    Ok(tag.to_owned())
}
