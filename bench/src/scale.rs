//! Lists, statistics and issuing with many certificates and keys in the database.
//!
//! Two installations: one with few rows, one with many. What lists and statistics take is measured
//! on the second, one request at a time; issuing on both in turns, so that what else the machine
//! does meanwhile slows both.

mod cases;
pub(crate) mod fleet;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use http::StatusCode;
use lamassu_core::clock::{Clock as _, SystemClock};
use serde_json::Value;
use time::format_description::well_known::Rfc3339;

use crate::bookmark;
use crate::client::Connection;
use crate::load::{self, percentile_ms};
use crate::plant::Plant;
use crate::rows::{Names, Row};
use crate::seed::{self, Amount};
use crate::server::{Installation, Kind, Server};
use cases::{CASES, Case, Rows};

/// How often each request is sent.
const REPEATS: usize = 15;

/// How many pages are gone through before a page counts as deep.
const DEPTH: usize = 40;

/// Rows of the installation with few.
const FEW: u32 = 10_000;

/// How often it is looked whether the indexes are complete.
const LOOK: Duration = Duration::from_millis(500);

/// How often issuing is measured on each installation.
const ROUNDS: usize = 5;

/// Clients that have certificates issued.
const CLIENTS: u64 = 32;

/// An installation with its rows, running.
struct Place {
    installation: Installation,
    server: Server,
    plant: Plant,
    names: Names,
}

impl Place {
    async fn with(program: &Path, kind: Kind, directory: &Path, amount: Amount) -> Result<Self> {
        let installation = Installation::new(program, kind, directory)?;
        let server = installation.start().await?;
        let plant = Plant::set_up(&installation, &server).await?;
        plant.add_authorities(amount.cas.saturating_sub(1)).await?;
        server.stop()?;
        let begun = Instant::now();
        seed::seed(&installation, &plant.device_serial, amount)?;
        let seeded = begun.elapsed();
        let server = installation.start().await?;
        println!(
            "scale: {} certificates of {} CAs and {} keys, seeded in {:.0} s, started in {:.2} s",
            amount.certificates,
            amount.cas,
            amount.keys,
            seeded.as_secs_f64(),
            server.started_in.as_secs_f64()
        );
        indexed(&installation).await?;
        Ok(Self {
            plant: plant.moved_to(&server),
            installation,
            server,
            names: Names::default(),
        })
    }
}

/// Waits until the program has added what was seeded to its indexes of parts of texts, which it does in the
/// background on SQLite.
async fn indexed(installation: &Installation) -> Result<()> {
    if installation.kind() == Kind::Postgres {
        return Ok(());
    }
    let begun = Instant::now();
    let missing = "SELECT 1 FROM certificate WHERE rowid > \
                   MIN((SELECT n FROM certificate_text_end), \
                   (SELECT n FROM certificate_serial_text_end)) UNION ALL \
                   SELECT 1 FROM device WHERE rowid > (SELECT n FROM device_text_end) LIMIT 1";
    while !installation.rows(missing)?.is_empty() {
        tokio::time::sleep_until((Instant::now() + LOOK).into()).await;
    }
    println!(
        "scale: parts of texts found by index {:.0} s after the start",
        begun.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Everything on one database.
pub(crate) async fn measure(
    program: &Path,
    kind: Kind,
    directory: &Path,
    amount: Amount,
    duration: Duration,
) -> Result<()> {
    let many = Place::with(program, kind, directory, amount).await?;
    println!(
        "scale: {:<100} {:>9} {:>9} {:>9} {:>9}  (ms: median first, most; median deep, middle)",
        "request", "first", "most", "deep", "middle"
    );
    let sample = sample(&many.installation)?;
    for case in CASES {
        if let Err(error) = ask(&many, case, &sample).await {
            println!("scale: {}: {error:#}", case.ask);
        }
    }
    println!("scale: {} MB resident", many.server.resident_mb()?);
    let few = Amount {
        certificates: FEW,
        keys: 0,
        ..amount
    };
    let few = Place::with(program, kind, directory, few).await?;
    issuing(&few, &many, duration).await
}

/// Lists and statistics of so many certificates and their devices in one installation, without issuing.
pub(crate) async fn large(
    program: &Path,
    kind: Kind,
    directory: &Path,
    amount: Amount,
) -> Result<()> {
    let installation = Installation::new(program, kind, directory)?;
    let server = installation.start().await?;
    let plant = Plant::set_up(&installation, &server).await?;
    plant.add_authorities(amount.cas.saturating_sub(1)).await?;
    server.stop()?;
    let begun = Instant::now();
    seed::seed(&installation, &plant.device_serial, amount)?;
    fleet::seed(
        &installation,
        amount.certificates,
        fleet::Identities::OfCertificates,
    )?;
    let seeded = begun.elapsed();
    let server = installation.start().await?;
    println!(
        "large: {} certificates of {} CAs and their devices, seeded in {:.0} s, started in {:.2} s",
        amount.certificates,
        amount.cas,
        seeded.as_secs_f64(),
        server.started_in.as_secs_f64()
    );
    indexed(&installation).await?;
    let place = Place {
        plant: plant.moved_to(&server),
        installation,
        server,
        names: Names::default(),
    };
    let sample = sample(&place.installation)?;
    for case in CASES {
        if let Err(error) = ask(&place, case, &sample).await {
            println!("large: {}: {error:#}", case.ask);
        }
    }
    fleet::ask_all(&place).await?;
    println!("large: {} MB resident", place.server.resident_mb()?);
    Ok(())
}

/// Names and values of a certificate in the middle, and times.
fn sample(installation: &Installation) -> Result<Vec<(String, String)>> {
    const COLUMNS: [&str; 5] = [
        "serial_number",
        "fingerprint",
        "subject_key_id",
        "subject_common_name",
        "issuer_ca_id",
    ];
    let rows = installation.rows(&format!(
        "SELECT {} FROM certificate WHERE issuer_ca_id <> 'bench' ORDER BY created_at LIMIT 1 \
         OFFSET (SELECT count(*) / 2 FROM certificate)",
        COLUMNS.join(", ")
    ))?;
    let row = rows.first().context("no certificates")?;
    let mut sample: Vec<(String, String)> = COLUMNS
        .iter()
        .zip(row)
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect();
    // Where only certificates for two years end.
    let soon = SystemClock.now() + time::Duration::days(500);
    for (name, at) in [("soon", soon), ("later", soon + time::Duration::days(30))] {
        let micros = at.unix_timestamp_nanos() / 1_000;
        sample.push((format!("{name}_micros"), micros.to_string()));
        sample.push((name.to_owned(), at.format(&Rfc3339)?));
    }
    Ok(sample)
}

fn filled(text: &str, sample: &[(String, String)]) -> String {
    sample.iter().fold(text.to_owned(), |text, (name, value)| {
        text.replace(&format!("{{{name}}}"), value)
    })
}

/// Measures one request: the first page, deep pages, a page in the middle.
async fn ask(place: &Place, case: &Case, sample: &[(String, String)]) -> Result<()> {
    let path = format!("/api/{}", filled(case.ask, sample));
    let mut asking = Asking {
        place,
        connection: Connection::to(place.plant.https.clone()),
    };
    let (first, bookmark) = asking.repeated(&path).await?;
    let mut deep = Vec::new();
    let mut middle = Vec::new();
    if let (Some(rows), Some(bookmark)) = (case.rows, bookmark) {
        let mut next = Some(bookmark.clone());
        for depth in 0..DEPTH + REPEATS {
            let Some(bookmark) = next else { break };
            let (took, following) = asking.once(&behind(&path, &bookmark)).await?;
            if depth >= DEPTH {
                deep.push(took);
            }
            next = following;
        }
        deep.sort_unstable();
        let position = position(&place.installation, rows, sample)?;
        let moved = bookmark::moved(&place.installation, &bookmark, &position)?;
        (middle, _) = asking.repeated(&behind(&path, &moved)).await?;
    }
    let median = |sorted: &[Duration]| match sorted {
        [] => "-".to_owned(),
        sorted => format!("{:.1}", percentile_ms(sorted, 50)),
    };
    println!(
        "scale: {:<100} {:>9} {:>9.1} {:>9} {:>9}",
        case.ask,
        median(&first),
        percentile_ms(&first, 100),
        median(&deep),
        median(&middle),
    );
    Ok(())
}

/// The path of the page behind a bookmark; the rest of the query is of no effect, but for what the
/// route itself takes from it.
fn behind(path: &str, bookmark: &str) -> String {
    format!("{path}&bookmark={bookmark}")
}

/// Where the row in the middle of a list stands.
fn position(
    installation: &Installation,
    rows: Rows,
    sample: &[(String, String)],
) -> Result<Vec<String>> {
    let Rows {
        table,
        condition,
        order,
    } = rows;
    let condition = filled(condition, sample);
    let columns: Vec<&str> = order
        .iter()
        .map(|part| part.trim_end_matches(" DESC"))
        .collect();
    let found = installation.rows(&format!(
        "SELECT {} FROM {table} WHERE {condition} ORDER BY {} \
         LIMIT 1 OFFSET (SELECT count(*) / 2 FROM {table} WHERE {condition})",
        columns.join(", "),
        order.join(", "),
    ))?;
    found.into_iter().next().context("no row in the middle")
}

struct Asking<'a> {
    place: &'a Place,
    connection: Connection,
}

impl Asking<'_> {
    /// How long it took, ascending, and the bookmark of the next page.
    async fn repeated(&mut self, path: &str) -> Result<(Vec<Duration>, Option<String>)> {
        let (_cold, next) = self.once(path).await?;
        let mut took = Vec::with_capacity(REPEATS);
        for _ in 0..REPEATS {
            took.push(self.once(path).await?.0);
        }
        took.sort_unstable();
        Ok((took, next))
    }

    async fn once(&mut self, path: &str) -> Result<(Duration, Option<String>)> {
        let wire = self.place.plant.get_request(path)?;
        let begun = Instant::now();
        let answer = self.connection.send(&wire).await?;
        let took = begun.elapsed();
        let answer: Value = serde_json::from_slice(&answer.expect(StatusCode::OK)?)?;
        let next = answer.get("next").and_then(Value::as_str);
        let next = next.filter(|next| !next.is_empty());
        Ok((took, next.map(str::to_owned)))
    }
}

/// Issuing with few rows and with many, in turns.
async fn issuing(few: &Place, many: &Place, duration: Duration) -> Result<()> {
    let mut shares = Vec::new();
    for round in 0..ROUNDS {
        let with_few = issued_per_second(few, duration).await?;
        let with_many = issued_per_second(many, duration).await?;
        println!(
            "scale: round {round}: sign with {CLIENTS} clients: {with_few:.0}/s with few rows, \
             {with_many:.0}/s with many"
        );
        shares.push(with_many / with_few);
    }
    shares.sort_by(f64::total_cmp);
    let median = shares.get(ROUNDS / 2).context("no rounds")?;
    println!("scale: issuing with many rows: {median:.2} of the rate with few (median)");
    Ok(())
}

async fn issued_per_second(place: &Place, duration: Duration) -> Result<f64> {
    let crew = Row::Sign
        .prepare(&place.plant, &place.names, CLIENTS, duration)
        .await?;
    let outcome = load::run(usize::try_from(CLIENTS)?, duration, || crew.worker()).await?;
    ensure!(outcome.errors == 0, "{} errors", outcome.errors);
    Ok(outcome.per_second())
}
